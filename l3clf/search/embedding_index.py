"""Sounds like this one: an index of the embeddings of clips, and the stretches of them that are nearest to a query.

Rule: digital silence is no sound: it is left out of queries and of what is found. Times are those of the file.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone

from l3clf.audio.clip import Clip, FloatArray, Samples
from l3clf.audio.decode import duration_s
from l3clf.classifier.clip_embedder import ClipEmbedder
from l3clf.classifier.clip_warnings import report_failures
from l3clf.classifier.inputs import Item, as_sources, check_sizes, check_whole
from l3clf.embedders import WindowEmbeddings
from l3clf.errors import L3clfError, ParameterError
from l3clf.pipeline import Outcome
from l3clf.search.embedded import embed_items, sound_windows, stretches
from l3clf.search.nearest import nearest_groups, nearest_rows, unit_rows

__all__ = ["EmbeddingIndex", "Match", "similar"]


@dataclass(frozen=True, eq=False)
class Match:
    """A stretch of a clip that is near to a query.

    Attributes
    ----------
    index : int
        Place of the clip among those that were added, from 0.
    clip : Clip, Samples or None
        None for one that was added as embeddings.
    start_s, end_s : float
        Seconds from the start of the file (of the samples, for a clip in memory).
    similarity : float
        Cosine of the angle between the mean embeddings, -1 to 1.
    """

    index: int
    clip: Clip | Samples | None
    start_s: float
    end_s: float
    similarity: float


class EmbeddingIndex:
    """Find the clips, or the parts of recordings, that sound most like a query; exact, by cosine.

    An entry of the index is the mean embedding of a few consecutive windows of a clip, a query the mean of all of its
    windows. Where entries are parts of clips, a query is embedded without centring: they have no zeros before them.

    Parameters
    ----------
    embedder : str or Embedder, default="openl3"
        A name that `load_embedder` knows, or an embedder.
    windows : int or None, default=1
        How many consecutive windows an entry stands for: for recordings, about as many as a query has. A clip with
        fewer is one entry, and so is every clip with None.
    hop_s, center, sample_rate, cache, n_jobs, verbose, full_scale
        See `ClipEmbedder`.
    on_error : {"raise", "nan"}, default="raise"
        For a clip that cannot be embedded, raise an error once all others are added; or warn, and go on without it.

    Attributes
    ----------
    clips : list of Clip, Samples or None
        What was added, in this order.
    failures : list of L3clfError
        The clips that could not be embedded, with ``on_error="nan"``.

    Examples
    --------
    >>> import numpy as np
    >>> tones = [np.sin(np.arange(16000) * k) for k in (0.1, 0.2, 0.8)]
    >>> index = EmbeddingIndex("mfcc", windows=None, sample_rate=16000, cache=None).add(tones)
    >>> [[match.index for match in found] for found in index.search([np.sin(np.arange(16000) * 0.21)], n=2)]
    [[1, 0]]
    """

    def __init__(
        self,
        embedder: Any = "openl3",
        windows: int | None = 1,
        hop_s: float = 0.5,
        center: bool = True,
        sample_rate: int | None = None,
        cache: Any = "auto",
        n_jobs: int | None = None,
        on_error: str = "raise",
        verbose: bool = False,
        full_scale: float | None = None,
    ) -> None:
        if windows is not None:
            check_whole("windows", windows, 1)
        self.windows = windows
        how = ClipEmbedder(embedder, hop_s, center, "mean", sample_rate, cache, n_jobs, on_error, verbose, full_scale)
        self._how = how.fit([])  # checks the parameters
        self.clips: list[Clip | Samples | None] = []
        self.failures: list[L3clfError] = []
        self._of_file: dict[str, list[int]] = {}  # the clips of a file, by its real path
        self._rows = np.zeros((0, self._how.embedder_.embedding_size), np.float32)  # of length 1
        self._times_s = np.zeros((0, 2))  # of each row
        self._owners = np.zeros(0, np.intp)  # the clip of each row, ascending

    def __len__(self) -> int:
        """Return the number of entries."""
        return len(self._rows)

    def __repr__(self) -> str:
        name = self._how.embedder_.name
        return f"<EmbeddingIndex: {name}, {len(self.clips):,} clips, {len(self):,} entries of windows={self.windows}>"

    @classmethod
    def for_query(cls, query: Any, embedder: Any = "openl3", **how: Any) -> Self:
        """Return an empty index whose entries are as long as a query, so that like is compared with like.

        Parameters
        ----------
        query : path, Clip, 1-D array or WindowEmbeddings
        embedder, **how
            The other parameters of the index.

        Raises
        ------
        AudioError
            If the query cannot be embedded.
        ParameterError
            If it is digital silence.
        """
        index = cls(embedder, 1, **how)
        items = as_sources([query], index._how.sample_rate, index._how.full_scale)
        (outcome,) = index._ask(items)
        if isinstance(outcome, L3clfError):
            raise outcome
        index._query("query", items[0], outcome)
        index.windows = sound_windows(outcome)
        return index

    def add(self, X: Iterable[Any]) -> Self:
        """Embed clips, through the cache, and add them to those that are there.

        Parameters
        ----------
        X : iterable of paths, Clips, 1-D arrays or WindowEmbeddings

        Returns
        -------
        EmbeddingIndex
            This one.

        Raises
        ------
        AudioError
            If a clip cannot be embedded and ``on_error="raise"``; the others are added.
        """
        items = as_sources(X, self._how.sample_rate, self._how.full_scale)
        failures: dict[int, L3clfError] = {}
        found: dict[int, tuple[FloatArray, NDArray[np.float64]]] = {}
        for i, outcome in embed_items(self._how, items):
            if isinstance(outcome, L3clfError):
                failures[i] = outcome
            else:
                check_sizes([outcome], self._how.embedder_)
                vectors, times_s = stretches(outcome, self.windows)
                found[i] = unit_rows(vectors), times_s
        self._append(items, found)
        self.failures += [failures[i] for i in sorted(failures)]
        report_failures([failures.get(i, _EMBEDDED) for i in range(len(items))], self._how.on_error)
        return self

    def _append(self, items: Sequence[Item], found: Mapping[int, tuple[FloatArray, NDArray[np.float64]]]) -> None:
        first = len(self.clips)
        rows, times_s, owners = [self._rows], [self._times_s], [self._owners]
        for i, item in enumerate(items):
            if isinstance(item, Clip):
                self._of_file.setdefault(os.path.realpath(item.path), []).append(first + i)
            self.clips.append(None if isinstance(item, WindowEmbeddings) else item)
            if i in found:
                rows.append(found[i][0])
                times_s.append(found[i][1] + (item.start_s if isinstance(item, Clip) else 0.0))
                owners.append(np.full(len(found[i][0]), first + i))
        self._rows, self._times_s = np.concatenate(rows), np.concatenate(times_s)
        self._owners = np.concatenate(owners)

    @classmethod
    def from_vectors(cls, vectors: ArrayLike, embedder: Any) -> Self:
        """Return an index of vectors that are there already, an entry for each.

        Parameters
        ----------
        vectors : array of shape (n_clips, embedding_size)
            Pooled embeddings, as from `ClipEmbedder`.
        embedder : str or Embedder
            The one that made them: queries are embedded by it.

        Raises
        ------
        ParameterError
            If they have another shape, or are not finite.
        """
        index = cls(embedder, windows=None)
        index._rows = unit_rows(index._checked(vectors))
        index._times_s, index._owners = np.zeros((len(index), 2)), np.arange(len(index))
        index.clips = [None] * len(index)
        return index

    def search(
        self, X: Iterable[Any], n: int = 10, *, once: bool = True, leave_out_query: bool = True
    ) -> list[list[Match]]:
        """Find what sounds most like each query.

        Parameters
        ----------
        X : iterable of paths, Clips, 1-D arrays or WindowEmbeddings
            The queries.
        n : int, default=10
            How many matches to return for each.
        once : bool, default=True
            Whether a clip is listed once, with its best stretch; else all of its stretches are.
        leave_out_query : bool, default=True
            Whether to leave out the query itself: what overlaps it in its own file. A copy under another name is found.

        Returns
        -------
        list of list of Match
            For each query, best first; none for one that failed, with ``on_error="nan"``.

        Raises
        ------
        AudioError
            If a query cannot be embedded and ``on_error="raise"``.
        ParameterError
            If a query is digital silence.
        """
        check_whole("n", n, 1)
        items = as_sources(X, self._how.sample_rate, self._how.full_scale)
        outcomes = self._ask(items)
        report_failures(outcomes, self._how.on_error)
        good = [i for i, outcome in enumerate(outcomes) if isinstance(outcome, WindowEmbeddings)]
        queries = (
            unit_rows(np.stack([self._query(f"X[{i}]", items[i], outcomes[i]) for i in good]))
            if good
            else self._rows[:0]
        )
        hidden = [self._own_rows(items[i]) for i in good] if leave_out_query else None
        if once:
            starts = np.flatnonzero(np.diff(self._owners, prepend=-1))
            found = nearest_groups(queries, self._rows, starts, n, hidden)
        else:
            found = nearest_rows(queries, self._rows, n, hidden)
        matches = {
            i: [self._match(*each) for each in zip(*best, strict=True)] for i, best in zip(good, found, strict=True)
        }
        return [matches.get(i, []) for i in range(len(items))]

    def _ask(self, items: Sequence[Item]) -> list[Outcome]:
        """Embed queries."""
        how = clone(self._how).set_params(center=self._how.center and self.windows is None)
        found = dict(embed_items(how, items))
        return [found[i] for i in range(len(items))]

    def _query(self, name: str, item: Item, outcome: Any) -> FloatArray:
        check_sizes([outcome], self._how.embedder_)
        vectors, _ = stretches(outcome, None)
        if not len(vectors):
            shown = name if isinstance(item, WindowEmbeddings) else item
            raise ParameterError(f"{shown}: is digital silence, which sounds like nothing; give another query")
        return np.asarray(vectors[0])

    def _own_rows(self, item: Item) -> NDArray[np.intp]:
        """Return the rows that overlap a query in its own file."""
        if not isinstance(item, Clip):
            return np.zeros(0, np.intp)
        own = self._of_file.get(os.path.realpath(item.path), [])
        rows = np.concatenate([np.zeros(0, np.intp), *(np.arange(*self._rows_of(clip)) for clip in own)])
        start_s, end_s = item.start_s, np.inf if item.end_s is None else item.end_s
        return np.asarray(rows[(self._times_s[rows, 0] < end_s) & (self._times_s[rows, 1] > start_s)])

    def _rows_of(self, clip: int) -> tuple[int, int]:
        first, last = np.searchsorted(self._owners, [clip, clip + 1])
        return int(first), int(last)

    def _match(self, row: int, similarity: float) -> Match:
        owner = int(self._owners[row])
        clip, (start_s, end_s) = self.clips[owner], self._times_s[row].tolist()
        if isinstance(clip, Clip):
            start_s = max(start_s, clip.start_s)
        elif isinstance(clip, Samples):
            start_s, end_s = max(start_s, 0.0), min(end_s, len(clip.samples) / clip.sample_rate)
        if (
            isinstance(clip, Clip)
            and end_s > self._times_s[self._rows_of(owner)[1] - 1, 1] - self._how.embedder_.window_s
        ):
            # Only at the end, where windows may reach beyond it: the length of some files is found by reading them.
            with suppress(L3clfError):  # it was good when it was embedded
                end_s = min(end_s, clip.start_s + duration_s(clip))
        return Match(owner, clip, start_s, end_s, float(similarity))

    def search_vectors(self, vectors: ArrayLike, n: int = 10) -> tuple[FloatArray, NDArray[np.intp]]:
        """Find the entries that are nearest to vectors, without embedding anything.

        Parameters
        ----------
        vectors : array of shape (n_queries, embedding_size)
        n : int, default=10

        Returns
        -------
        similarities : array of shape (n_queries, n), float32
            Cosines, best first.
        places : array of shape (n_queries, n), int
            Places of the entries, from 0. Where the index has fewer entries than `n`, so have the arrays.
        """
        check_whole("n", n, 1)
        found = nearest_rows(unit_rows(self._checked(vectors)), self._rows, n)
        shape = (len(found), min(n, len(self)))
        places = np.array([places for places, _ in found], np.intp).reshape(shape)
        return np.array([values for _, values in found], np.float32).reshape(shape), places

    def _checked(self, vectors: ArrayLike) -> FloatArray:
        found = np.asarray(vectors, np.float32)
        size = self._how.embedder_.embedding_size
        if found.ndim != 2 or found.shape[1] != size:
            raise ParameterError(
                f"vectors: shape {found.shape}; expected (n, {size}), made by embedder {self._how.embedder_.name!r}"
            )
        if not np.isfinite(found).all():
            raise ParameterError("vectors: NaN or infinite values; leave out clips that failed")
        return found


def similar(
    query: Any, clips: Iterable[Any], n: int = 10, *, embedder: Any = "openl3", once: bool = True, **how: Any
) -> list[Match]:
    """Find the clips, or the stretches of recordings as long as the query, that sound most like it.

    Parameters
    ----------
    query : path, Clip or 1-D array
        A sound, or a piece of one, as in ``Clip("dawn.wav", 12.5, 14)``. It is left out where it is among the clips.
    clips : iterable of paths, Clips or 1-D arrays
    n : int, default=10
        How many matches to return.
    embedder : str or Embedder, default="openl3"
    once : bool, default=True
        Whether a clip is listed once, with its best stretch.
    **how
        The other parameters of `EmbeddingIndex`.

    Returns
    -------
    list of Match
        Best first.

    Raises
    ------
    AudioError
        If the query cannot be embedded; or a clip, with ``on_error="raise"``.
    ParameterError
        If the query is digital silence.
    """
    return EmbeddingIndex.for_query(query, embedder, **how).add(clips).search([query], n, once=once)[0]


_EMBEDDED = WindowEmbeddings(np.zeros((0, 0), np.float32), np.zeros((0, 2)), np.zeros(0, np.float32))
