"""The pictures of a report as Matplotlib axes: `BaselineReport` has these methods.

Rule: a method draws into the axes that it is given and returns them, as pandas and seaborn do, with scikit-learn's
names of options; matplotlib is imported when the first picture is drawn.
"""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from l3clf.baselines.tag_report import NOTHING, mixed_up, rarest_tags
from l3clf.datasets import ClipTable
from l3clf.errors import ParameterError

__all__ = ["ReportPictures"]


class ReportPictures:
    """Methods that draw a report: what its files show, into axes of the caller's."""

    results: list[Any]
    tags: Any
    data: ClipTable
    vectors: NDArray[np.float32]

    def plot_confusion(
        self,
        ax: Any = None,
        *,
        row: int = 0,
        normalize: Literal["true"] | None = "true",
        order: Literal["similarity", "given"] = "similarity",
        colorbar: bool = True,
    ) -> Any:
        """Draw the confusion matrix of a row of the table; of tags, which are missed and which are predicted instead.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            The axes to draw into. Without them pyplot makes a figure of the size that the classes need. Text is sized
            by the axes' size; ``plt.subplots(..., layout="constrained")`` makes room for long names.
        row : int, default=0
            The row of `table`; the first is the best.
        normalize : {"true", None}, default="true"
            What colours mean: shares of each true class, or numbers of clips. The number in a cell is its clips.
        order : {"similarity", "given"}, default="similarity"
            "similarity" puts classes that are confused with each other side by side; "given" sorts them by name.
        colorbar : bool, default=True
            Whether a bar beside the axes explains the colours.

        Returns
        -------
        matplotlib.axes.Axes
            Its figure is ``.figure``; its cells are ``.collections[0]``.

        Raises
        ------
        ParameterError
            If `ax` is not axes, the table has no such row, or an option is unknown.

        Examples
        --------
        .. code-block:: python

            report = l3clf.baseline(table, ["l3mini"])
            figure, axes = plt.subplots(1, 2, figsize=(12, 6), layout="constrained")
            report.plot_confusion(axes[0])
            report.plot_recall(axes[1])
            figure.savefig("report.pdf")
        """
        if normalize not in ("true", None):
            raise ParameterError(
                f"normalize={normalize!r}; expected 'true' (shares of each true class) or None (clips)"
            )
        from l3clf import plots

        result = _result(self.results, row)
        tags: dict[str, Any] = {}
        if self.tags is not None:
            tags = {"nothing": NOTHING, "classes": [*map(str, self.tags.classes), NOTHING]}
        return plots.draw_confusion(
            *_compared(self, result),
            ax,
            order=order,
            normalise=normalize == "true",
            colour_bar=colorbar,
            title=_title(result),
            **tags,
        )

    def plot_recall(self, ax: Any = None, *, row: int = 0) -> Any:
        """Draw the recall of each class, the worst first, with its 95 % Wilson interval and its clips.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            The axes to draw into. Without them pyplot makes a figure with room for every class.
        row : int, default=0
            The row of `table`; the first is the best.

        Returns
        -------
        matplotlib.axes.Axes

        Raises
        ------
        ParameterError
            If `ax` is not axes, or the table has no such row.
        """
        from l3clf import plots

        result = _result(self.results, row)
        true, predicted = _compared(self, result)
        if self.tags is not None:  # what was predicted where nothing is, is no tag's recall
            true, predicted = zip(
                *(pair for pair in zip(true, predicted, strict=True) if pair[0] != NOTHING), strict=True
            )
        return plots.draw_recall(true, predicted, ax, title=_title(result))

    def plot_map(self, ax: Any = None, *, seed: int = 0) -> Any:
        """Draw all clips as points, close together if the best row's embedder finds them similar; mistakes are ringed.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            The axes to draw into. Without them pyplot makes a figure.
        seed : int, default=0
            Seed of t-SNE. Of more than 3,000 clips a stratified sample is drawn, as the heading says.

        Returns
        -------
        matplotlib.axes.Axes

        Raises
        ------
        ParameterError
            If `ax` is not axes, or `seed` is negative.
        """
        from l3clf import plots

        labels, best = self.data.labels, self.results[0]
        kind: Literal["class", "rarest tag"] = "class"
        if self.tags is None:
            right = labels == best.answers.predictions
        else:
            truth = self.tags.targets.indicator
            right = (truth == best.answers.predictions).all(axis=1)
            labels, kind = np.array(rarest_tags(truth, self.tags.classes)), "rarest tag"
        return plots.draw_map(self.vectors, labels, ax, correct=right, seed=seed, title=_title(best), kind=kind)


def _result(results: list[Any], row: int) -> Any:
    if not 0 <= row < len(results):
        raise ParameterError(f"row={row}; the table has rows 0 to {len(results) - 1}")
    return results[row]


def _compared(report: ReportPictures, result: Any) -> tuple[Any, Any]:
    """Return true and predicted labels, or tags in pairs."""
    if report.tags is None:
        return report.data.labels, result.answers.predictions
    return mixed_up(report.tags.targets.indicator, result.answers, report.tags.classes)


def _title(result: Any) -> str:
    return ", ".join(str(result.row[key]) for key in ("embedder", "head", "pooling"))
