"""A map of the clips: their pooled embeddings in two dimensions, coloured by class, with mistakes ringed.

Rule: the same seed gives the same picture. The projection runs on one thread: parallel sums differ in their last
digits from run to run, and t-SNE amplifies such differences into different maps.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from numbers import Integral
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from threadpoolctl import threadpool_limits

from l3clf.errors import ParameterError, counted
from l3clf.networks.threads import one_blas_thread
from l3clf.plots.common import (
    COLOURS,
    FAINT_INK,
    INK,
    MARKERS,
    PAPER,
    PHONE_IN,
    SOFT_INK,
    WIDTH_IN,
    FloatArray,
    IntArray,
    Lettering,
    StrPath,
    blank,
    draw_heading,
    draw_inner_legend,
    draw_legend,
    draw_small_heading,
    drawn_png,
    given_or_new,
    legend_columns,
    listed,
    ordered,
    phone_axes,
    settled_inches,
    shortened,
    write_png,
)

_MAX_CLIPS = 3000  # beyond this t-SNE is slow, and points cover each other
_MANY_CLIPS = 1000
_MIN_TSNE_CLIPS = 10
_COMPONENTS = 50  # as scikit-learn's documentation of TSNE recommends
_LEGEND_CLASSES = 20
_RINGED = {"class": "misclassified", "rarest tag": "a tag missed or false"}  # by what the colours mean
_WHOLE_LINE_IN = 4.2  # narrower axes have no room for the whole line below them
_MAX_NAMES = 300  # more class names never fit into the map
_NAME_CHARS = 20  # a longer name would hide the points that it names


@dataclass(frozen=True)
class _ClipMap:
    """Clips in the plane: `members` are indices into `classes`, `clips` is their number before sampling."""

    places: FloatArray
    classes: tuple[str, ...]
    members: IntArray
    wrong: npt.NDArray[np.bool_]
    method: str
    clips: int
    kind: str = "class"


# --- what is drawn where --------------------------------------------------------------------------


def _checked(vectors: npt.ArrayLike, labels: list[object]) -> FloatArray:
    try:
        values = np.asarray(vectors, dtype=np.float64)
    except (TypeError, ValueError):
        raise ParameterError("vectors: not a table of numbers; give rows of equal length") from None
    if values.ndim != 2 or len(values) != len(labels) or not values.size:
        raise ParameterError(f"vectors: shape {values.shape}; expected ({len(labels)}, d), a row for each label")
    if bad := len(values) - int(np.isfinite(values).all(axis=1).sum()):
        raise ParameterError(f"vectors: {bad} rows are not finite; leave out the clips that could not be embedded")
    return values


def _checked_mask(correct: Iterable[object] | None, n: int) -> npt.NDArray[np.bool_]:
    if correct is None:
        return np.ones(n, dtype=bool)
    mask = np.asarray(correct if isinstance(correct, np.ndarray) else listed(correct, "correct"))
    if mask.dtype != np.bool_ or mask.shape != (n,):
        raise ParameterError(f"correct: not a list of booleans; give True or False for each of {n} clips")
    return mask


def stratified_sample(members: IntArray, limit: int, seed: int) -> IntArray:
    """Choose clips so that each class keeps its share, and at least one clip if `limit` allows.

    Parameters
    ----------
    members : ndarray of int, shape (n_clips,)
        Each clip's class.
    limit : int
        Number of clips to choose; all are chosen if there are fewer.
    seed : int
        Seed of the random choice within the classes.

    Returns
    -------
    ndarray of int, shape (min(limit, n_clips),)
        Indices of clips, ascending.
    """
    shuffled = np.random.default_rng(seed).permutation(len(members))
    by_class = shuffled[np.argsort(members[shuffled], kind="stable")]
    sizes = np.bincount(members)
    sizes = sizes[sizes > 0]
    # Clip k of a class of n gets k / n: the smallest values hold the same share of every class, and its first clip.
    depth = np.concatenate([np.arange(size) / size for size in sizes])
    return np.sort(by_class[np.argsort(depth, kind="stable")[:limit]]).astype(np.int64)


def project(vectors: FloatArray, seed: int) -> tuple[FloatArray, str]:
    """Project vectors into the plane: standardise, reduce to at most 50 principal components, t-SNE.

    Parameters
    ----------
    vectors : ndarray of float, shape (n_clips, d)
        Finite numbers. Fewer than 10 different rows, or a single dimension that varies, are too little for
        t-SNE: they are shown by their principal components alone.
    seed : int
        Seed of t-SNE.

    Returns
    -------
    places : ndarray of float64, shape (n_clips, 2)
    method : str
        "t-SNE" or "PCA".
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    spread = vectors.std(axis=0)
    varies = spread > 1e-9 * np.abs(vectors).max(axis=0)  # the rest is rounding, and would be scaled up to noise
    if not varies.any():
        return np.zeros((len(vectors), 2)), "PCA"
    scaled = (vectors - vectors.mean(axis=0))[:, varies] / spread[varies]
    with one_blas_thread(), threadpool_limits(1, "openmp"):  # OpenMP's number, unlike that of BLAS, is a thread's own
        pca = PCA(min(_COMPONENTS, *scaled.shape), random_state=seed)
        points = np.hstack([pca.fit_transform(scaled), np.zeros((len(scaled), 1))])
        if len(np.unique(vectors, axis=0)) < _MIN_TSNE_CLIPS or points.shape[1] < 3:
            return points[:, :2], "PCA"
        perplexity = min(30.0, (len(points) - 1) / 3)  # scikit-learn's default, but at most a third of the clips
        steps, angle = (1000, 0.5) if len(points) <= _MANY_CLIPS else (750, 0.7)  # half the time, no visible change
        tsne = TSNE(2, perplexity=perplexity, init="pca", max_iter=steps, angle=angle, random_state=seed)
        return np.asarray(tsne.fit_transform(points[:, :-1]), dtype=np.float64), "t-SNE"


def _map(
    vectors: FloatArray, labels: list[object], correct: npt.NDArray[np.bool_], seed: int, kind: str = "class"
) -> _ClipMap:
    classes = ordered(labels)
    index = {label: i for i, label in enumerate(classes)}
    members = np.array([index[str(label)] for label in labels], dtype=np.int64)
    chosen = stratified_sample(members, _MAX_CLIPS, seed)
    places, method = project(vectors[chosen], seed)
    return _ClipMap(places, classes, members[chosen], ~correct[chosen], method, len(labels), kind)


# --- picture --------------------------------------------------------------------------------------


def embedding_map(
    vectors: npt.ArrayLike,
    labels: Iterable[object],
    out: StrPath,
    *,
    correct: Iterable[object] | None = None,
    title: str | None = None,
    seed: int = 0,
    kind: Literal["class", "rarest tag"] = "class",
    narrow: BinaryIO | None = None,
) -> Path:
    """Draw the clips as points, close together if their vectors are similar, as a PNG.

    The vectors are standardised, reduced to 50 principal components and laid out by t-SNE (by the first
    two components if there are fewer than 10 different clips). Of more than 3,000 clips a stratified
    sample is drawn, as the heading states. Up to 20 classes have a legend of colours and shapes; more
    have their names at their centres, as many as fit.

    Parameters
    ----------
    vectors : array of float, shape (n_clips, d)
        A pooled embedding for each clip; finite.
    labels : iterable of labels, shape (n_clips,)
        Each clip's class.
    out : path
        The PNG to write; its folder is created if necessary.
    correct : iterable of bool, shape (n_clips,), optional
        Whether each clip was classified correctly; the others are ringed in black.
    title : str, optional
        A line above the heading.
    seed : int, 0 or more
        Seed of the sample and of t-SNE.
    kind : {"class", "rarest tag"}, default="class"
        What the labels are, for the words in the picture.
    narrow : binary file, optional
        What a second PNG, drawn for the width of a phone, is written to.

    Returns
    -------
    pathlib.Path
        The file written.

    Raises
    ------
    ParameterError
        If the lengths of `vectors`, `labels` and `correct` differ, a vector is not finite, `seed` is negative,
        or the file cannot be written.
    """
    clips = _placed(vectors, labels, correct, seed, kind)
    marked = correct is not None
    if narrow is not None:
        axes = phone_axes(PHONE_IN + 0.8 + 0.21 * _legend_lines(clips))
        narrow.write(drawn_png(_draw_into(axes, clips, title, Lettering(), marked=marked)))
    return write_png(_map_figure(clips, title, marked=marked), Path(out))


def draw_map(
    vectors: npt.ArrayLike,
    labels: Iterable[object],
    ax: Any = None,
    *,
    correct: Iterable[object] | None = None,
    title: str | None = None,
    seed: int = 0,
    kind: Literal["class", "rarest tag"] = "class",
) -> Any:
    """Draw what `embedding_map` draws into Matplotlib axes.

    Parameters
    ----------
    vectors : array of float, shape (n_clips, d)
    labels : iterable of labels, shape (n_clips,)
    ax : matplotlib.axes.Axes, optional
        The axes to draw into; pyplot makes a figure if there are none.
    correct, title, seed, kind
        As for `embedding_map`.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ParameterError
        As for `embedding_map`, and if `ax` is not axes.
    """
    axes, letters = given_or_new(ax, WIDTH_IN + 0.6, WIDTH_IN + 1.6)
    return _draw_into(axes, _placed(vectors, labels, correct, seed, kind), title, letters, marked=correct is not None)


def _placed(
    vectors: npt.ArrayLike, labels: Iterable[object], correct: Iterable[object] | None, seed: int, kind: str
) -> _ClipMap:
    if not isinstance(seed, Integral) or seed < 0:
        raise ParameterError(f"seed={seed!r}; expected an integer of 0 or more")
    names = listed(labels, "labels")
    return _map(_checked(vectors, names), names, _checked_mask(correct, len(names)), seed, kind)


def _draw_into(axes: Any, clips: _ClipMap, title: str | None, letters: Lettering, *, marked: bool) -> Any:
    """Draw into axes of any size; names are placed last, once the rest has taken its room."""
    axes.set_aspect("equal")
    handles = _draw_points(axes, clips, letters, marked=marked)
    if settled_inches(axes)[0] < _WHOLE_LINE_IN:
        axes.set_xlabel(f"{clips.method}: nearby clips are similar")
    draw_small_heading(axes, _summary(clips, 0), title, letters)
    if handles and axes.figure.get_layout_engine() is not None:
        draw_legend(axes, handles, 0.45, letters)
    elif handles:
        draw_inner_legend(axes, handles, letters)
    if len(clips.classes) > _LEGEND_CLASSES:
        settled_inches(axes)
        draw_small_heading(axes, _summary(clips, _name_classes(axes, clips, letters)), title, letters)
    return axes


def _legend_lines(clips: _ClipMap) -> int:
    if len(clips.classes) > _LEGEND_CLASSES:
        return 1
    names = [shortened(name) for name in (*clips.classes, _RINGED[clips.kind])]
    return -(-len(names) // legend_columns(names, PHONE_IN - 0.2))


def _map_figure(clips: _ClipMap, title: str | None, *, marked: bool) -> Figure:
    figure, axes = blank(WIDTH_IN, WIDTH_IN)
    letters = Lettering()
    handles = _draw_points(axes, clips, letters, marked=marked)
    unnamed = 0 if len(clips.classes) <= _LEGEND_CLASSES else _name_classes(axes, clips, letters)
    if handles:
        draw_legend(axes, handles, 0.45, letters)
    draw_heading(axes, _summary(clips, unnamed), title, WIDTH_IN, letters)
    return figure


def _draw_points(axes: Any, clips: _ClipMap, letters: Lettering, *, marked: bool) -> list[Line2D]:
    """Draw frame, points and rings; return what the legend explains."""
    _set_frame(axes, clips, letters)
    size = float(np.clip(9000 / len(clips.places), 14, 42))  # many points are smaller, but stay visible
    _draw_clips(axes, clips, size)
    ring = [_draw_rings(axes, clips, size, letters)] if marked else []
    if len(clips.classes) > _LEGEND_CLASSES:
        return ring
    looks = zip(clips.classes, map(_style, range(len(clips.classes))), strict=True)
    style: dict[str, Any] = {"linestyle": "", "markersize": 7}
    return [Line2D([], [], marker=m, color=c, label=letters.label(name), **style) for name, (c, m) in looks] + ring


def _set_frame(axes: Any, clips: _ClipMap, letters: Lettering) -> None:
    # One scale for both directions and no ticks: neither direction has a unit.
    low, high = clips.places.min(axis=0), clips.places.max(axis=0)
    half = 0.54 * max(float((high - low).max()), 1e-6)  # half the width plus a margin; above 0 for a single place
    for set_limits, middle in zip((axes.set_xlim, axes.set_ylim), (low + high) / 2, strict=True):
        set_limits(middle - half, middle + half)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_color(FAINT_INK)
    meaning = "nearby clips are similar" + ("; large distances mean little" if clips.method == "t-SNE" else "")
    axes.set_xlabel(f"{clips.method}: {meaning}", labelpad=8, **letters.style(10, SOFT_INK))


def _style(index: int) -> tuple[str, str]:
    return COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)]


def _draw_clips(axes: Any, clips: _ClipMap, size: float) -> None:
    looks = len(COLOURS) * len(MARKERS)  # one call for each look: one for each of thousands of classes is slow
    for index in range(min(looks, len(clips.classes))):
        colour, marker = _style(index)
        x, y = clips.places[clips.members % looks == index].T
        axes.scatter(x, y, s=size, c=colour, marker=marker, edgecolors=PAPER, linewidths=0.4, zorder=2)


def _draw_rings(axes: Any, clips: _ClipMap, size: float, letters: Lettering) -> Line2D:
    x, y = clips.places[clips.wrong].T
    width = 1.1 if len(clips.places) <= _MANY_CLIPS else 0.6
    axes.scatter(x, y, s=2.6 * size, facecolors="none", edgecolors=letters.ink(INK), linewidths=width, zorder=3)
    style: dict[str, Any] = {"markerfacecolor": "none", "markeredgecolor": letters.ink(INK), "markeredgewidth": 1.1}
    return Line2D([], [], linestyle="", marker="o", markersize=10, label=_RINGED[clips.kind], **style)


def _summary(clips: _ClipMap, unnamed: int) -> list[str]:
    shown, classes = len(clips.places), len(clips.classes)
    colours = counted(classes, "class", "classes") if clips.kind == "class" else f"by their {clips.kind}"
    text = f"{counted(clips.clips, 'clip')}, {colours}"
    sample = f"; a stratified sample of {shown:,} is shown" if shown < clips.clips else ""
    return [text + sample] + (
        [f"the names of {unnamed:,} {'classes' if clips.kind == 'class' else 'tags'} do not fit"] if unnamed else []
    )


# --- names in the map -----------------------------------------------------------------------------


def _name_classes(axes: Any, clips: _ClipMap, letters: Lettering) -> int:
    """Write names above the classes' medians, large classes first, without overlap; return how many did not fit."""
    size = 9.0 if len(clips.classes) <= 60 else 7.5
    taken: list[FloatArray] = []
    counts = np.bincount(clips.members, minlength=len(clips.classes))
    for index in np.argsort(-counts, kind="stable")[:_MAX_NAMES]:
        if counts[index]:
            _name_class(axes, clips, int(index), letters, size, taken)
    return len(clips.classes) - len(taken)


def _name_class(
    axes: Any, clips: _ClipMap, index: int, letters: Lettering, size: float, taken: list[FloatArray]
) -> None:
    """Move a name in steps of half a line until it overlaps no other; remove it if there is no free place."""
    middle = np.median(clips.places[clips.members == index], axis=0)
    text = axes.annotate(
        letters.label(clips.classes[index], _NAME_CHARS),
        middle,
        xytext=(0, 0),
        textcoords="offset points",
        ha="center",
        va="center",
        zorder=5,
        path_effects=[withStroke(linewidth=2.5, foreground=letters.ink(PAPER))],
        arrowprops={"arrowstyle": "-", "color": SOFT_INK, "linewidth": 0.7, "shrinkA": 0, "shrinkB": 0},
        **letters.style(size),
    )
    steps = _steps(size)
    boxes = text.get_tightbbox().extents + np.tile(steps * axes.figure.dpi / 72, 2)  # left, lower, right, upper
    frame = axes.get_window_extent().extents
    free = (boxes[:, :2] >= frame[:2]).all(axis=1) & (boxes[:, 2:] <= frame[2:]).all(axis=1)
    if taken:
        others = np.array(taken)
        apart = (boxes[:, np.newaxis, :2] > others[:, 2:]) | (boxes[:, np.newaxis, 2:] < others[:, :2])
        free &= apart.any(axis=2).all(axis=1)
    if not free.any():
        text.remove()
        return
    first = int(free.argmax())
    text.set_position(tuple(steps[first].tolist()))
    taken.append(boxes[first])


@cache
def _steps(size: float) -> FloatArray:
    """Return offsets in points, closest to one line above first; sideways counts half, because names are wide."""
    grid = [(x * 2.0 * size, y * 0.6 * size) for x in range(-4, 5) for y in range(-9, 10)]
    # Rounded, so that ties are decided by the step on every machine.
    return np.array(sorted(grid, key=lambda step: (round(0.5 * abs(step[0]) + abs(step[1] - 1.2 * size), 3), step)))
