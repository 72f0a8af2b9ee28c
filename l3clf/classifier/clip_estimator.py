"""What the estimators of clips share: from X to the windows of each clip.

Rule: the estimators hold parameters and fitted results only. Reading and embedding belong to `pipeline`.
"""

from collections.abc import Generator, Iterable, Iterator
from dataclasses import fields, replace
from typing import Any, Self

from sklearn.base import BaseEstimator

from l3clf.audio.levels import check_full_scale
from l3clf.classifier.clip_warnings import report_failures
from l3clf.classifier.inputs import as_cache, as_embedder, as_sources, check_sizes
from l3clf.embedders import Embedder, WindowEmbeddings
from l3clf.errors import ParameterError
from l3clf.pipeline import Outcome, embed_each, embed_sources

__all__ = ["ClipEstimator"]


class ClipEstimator(BaseEstimator):
    """Base of the transformer and the classifier: from X to the windows of each clip.

    Subclasses hold the parameters, and the fitted results.
    """

    embedder: Any
    hop_s: float
    center: bool
    sample_rate: int | None
    full_scale: float | None
    cache: Any
    n_jobs: int | None
    on_error: str
    verbose: bool

    def _check_parameters(self) -> None:
        if self.on_error not in ("raise", "nan"):
            raise ParameterError(f"on_error={self.on_error!r}; expected 'raise' or 'nan'")
        check_full_scale(self.full_scale)
        as_embedder(self.embedder).framing(self.hop_s, self.center)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters; with `deep`, those of an embedder, too: ``embedder__band_hz``."""
        found: dict[str, Any] = super().get_params(deep)
        if deep and isinstance(self.embedder, Embedder):
            found |= {f"embedder__{name}": getattr(self.embedder, name) for name in _options(self.embedder)}
        return found

    def set_params(self, **params: Any) -> Self:
        """Set parameters; ``embedder__band_hz`` puts another embedder in the place of the one there is.

        Raises
        ------
        ParameterError
            If an embedder has no such option, or not that value.
        """
        nested = {name: params.pop(name) for name in [*params] if name.startswith("embedder__")}
        super().set_params(**params)
        options = {name.removeprefix("embedder__"): value for name, value in nested.items()}
        known = _options(self.embedder)
        for name in options:
            if name not in known:
                raise ParameterError(
                    f"embedder__{name}: embedder={self.embedder!r} has no such option; give an embedder that has it, "
                    "such as l3clf.Filtered for band_hz and denoise"
                )
        if options:  # embedders do not change: clones share them
            self.embedder = replace(self.embedder, **options)
        return self

    def embed(self, X: Iterable[Any]) -> list[Outcome]:
        """Embed clips without pooling; the windows can be passed as X in later calls.

        Parameters
        ----------
        X : iterable of paths, Clips, 1-D arrays or WindowEmbeddings

        Returns
        -------
        list of WindowEmbeddings or L3clfError
            For each clip its windows, or the error that explains why there are none; `on_error` does not
            apply.

        Raises
        ------
        WeightsError
            If the embedder's weights are not available.
        """
        return self._outcomes(X, self._own_embedder())

    def embed_each(self, X: Iterable[Any]) -> Generator[tuple[int, Outcome], None, None]:
        """Embed clips one after another, so that only a few are in memory at once.

        Parameters
        ----------
        X : iterable of paths, Clips or 1-D arrays

        Yields
        ------
        int
            Place of a clip in X: about in the order of X, but in any.
        WindowEmbeddings or L3clfError
            Its windows, or the error that explains why there are none; see `embed`.

        Raises
        ------
        WeightsError
            If the embedder's weights are not available.
        """
        embedder = self._own_embedder()
        items = as_sources(X, self.sample_rate, self.full_scale)
        sources = [item for item in items if not isinstance(item, WindowEmbeddings)]
        if len(sources) < len(items):
            raise ParameterError("X: WindowEmbeddings, which are embedded already; expected paths, Clips or 1-D arrays")
        return embed_each(
            embedder,
            sources,
            hop_s=self.hop_s,
            center=self.center,
            cache=as_cache(self.cache),
            n_jobs=self.n_jobs,
            progress=self.verbose,
        )

    def _own_embedder(self) -> Embedder:
        return as_embedder(self.embedder)

    def _embed(self, X: Iterable[Any], embedder: Embedder) -> list[Outcome]:
        """Embed clips, and raise or warn if some failed."""
        outcomes = self._outcomes(X, embedder)
        report_failures(outcomes, self.on_error)
        return outcomes

    def _outcomes(self, X: Iterable[Any], embedder: Embedder) -> list[Outcome]:
        items = as_sources(X, self.sample_rate, self.full_scale)
        embedded: Iterator[Outcome] = iter(())
        if todo := [item for item in items if not isinstance(item, WindowEmbeddings)]:  # else no weights are needed
            embedded = iter(
                embed_sources(
                    embedder,
                    todo,
                    hop_s=self.hop_s,
                    center=self.center,
                    cache=as_cache(self.cache),
                    n_jobs=self.n_jobs,
                    progress=self.verbose,
                )
            )
        outcomes = [item if isinstance(item, WindowEmbeddings) else next(embedded) for item in items]
        check_sizes(outcomes, embedder)
        return outcomes

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        # X is a list of paths or arrays; arrays of one length may be the rows of a 2-D array.
        tags.input_tags.two_d_array = True
        tags.input_tags.string = True
        tags.input_tags.allow_nan = False
        return tags


def _options(embedder: Any) -> list[str]:
    """Return the names of the options of an embedder; none of a name, which has no options yet."""
    return [field.name for field in fields(embedder)] if isinstance(embedder, Embedder) else []  # type: ignore[arg-type]
