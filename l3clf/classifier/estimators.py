"""Sound clips in scikit-learn's grammar: a transformer and a classifier.

Rule: the estimators hold parameters and fitted results; reading and embedding are `pipeline`'s, decisions are
`decide`'s, heads are `heads`'. What was embedded once is not embedded again while the cache remembers it.
"""

import warnings
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted
from threadpoolctl import threadpool_limits

from l3clf.audio.clip import FloatArray
from l3clf.classifier.decision import VECTOR_POOLINGS, check_pooling, decide, heard, pool_answers, pool_vectors
from l3clf.classifier.heads import make_head
from l3clf.classifier.inputs import (
    Item,
    as_cache,
    as_embedder,
    as_labels,
    as_sources,
    check_limits,
    check_sizes,
    digest_of,
)
from l3clf.embedders import Embedder, WindowEmbeddings
from l3clf.errors import AudioError, ClipWarning, L3clfError, ModelFileError, ParameterError
from l3clf.pipeline import Outcome, embed_sources

__all__ = ["ClipClassifier", "ClipEmbedder", "WindowPredictions"]

MOST_LISTED_FAILURES = 20


@dataclass(frozen=True, eq=False)
class WindowPredictions:
    """What a classifier says of each window of one clip.

    Attributes
    ----------
    labels : array of shape (n_windows,)
        The most probable class, or "unknown" for windows below the gate or the threshold.
    probabilities : array of shape (n_windows, n_classes), float64
        Columns in the order of the classifier's ``classes_``; zeros for windows below the gate.
    times_s : array of shape (n_windows, 2), float64
        Start and end of each window in seconds, clip start = 0.
    """

    labels: NDArray[Any]
    probabilities: NDArray[np.float64]
    times_s: NDArray[np.float64]


class _ClipEstimator(BaseEstimator):
    """What the transformer and the classifier share: from X to the windows of each clip."""

    embedder: Any
    hop_s: float
    center: bool
    sample_rate: int | None
    cache: Any
    n_jobs: int | None
    on_error: str
    verbose: bool

    def _check_parameters(self) -> None:
        if self.on_error not in ("raise", "nan"):
            raise ParameterError(f"on_error={self.on_error!r}; expected 'raise' or 'nan'")
        as_embedder(self.embedder).framing(self.hop_s, self.center)

    def embed(self, X: Iterable[Any]) -> list[Outcome]:
        """Embed clips without pooling; what comes back can be passed as X again, as often as needed.

        Parameters
        ----------
        X : iterable of paths, Clips, 1-D arrays or WindowEmbeddings

        Returns
        -------
        list of WindowEmbeddings or L3clfError
            For each clip its windows, or why there are none, whatever `on_error` says.

        Raises
        ------
        WeightsError
            If the embedder's weights cannot be had.
        """
        return self._embed_items(X, self._own_embedder())[1]

    def _own_embedder(self) -> Embedder:
        return as_embedder(self.embedder)

    def _embed(self, X: Iterable[Any], embedder: Embedder) -> tuple[list[Item], list[Outcome]]:
        """Embed clips, and raise or warn if some failed."""
        items, outcomes = self._embed_items(X, embedder)
        self._report([outcome for outcome in outcomes if isinstance(outcome, L3clfError)], len(items))
        return items, outcomes

    def _embed_items(self, X: Iterable[Any], embedder: Embedder) -> tuple[list[Item], list[Outcome]]:
        """Return the clips, and for each its windows or what went wrong."""
        items = as_sources(X, self.sample_rate)
        outcomes: list[Any] = [item if isinstance(item, WindowEmbeddings) else None for item in items]
        todo = [(i, item) for i, item in enumerate(items) if not isinstance(item, WindowEmbeddings)]
        if todo:
            embedded = embed_sources(
                embedder,
                [source for _, source in todo],
                hop_s=self.hop_s,
                center=self.center,
                cache=as_cache(self.cache),
                n_jobs=self.n_jobs,
                progress=bool(self.verbose),
            )
            for (i, _), outcome in zip(todo, embedded, strict=True):
                outcomes[i] = outcome
        check_sizes(outcomes, embedder)
        return items, outcomes

    def _report(self, failures: Sequence[L3clfError], n: int) -> None:
        """Raise, or warn with a table of the clips that failed."""
        if not failures:
            return
        if self.on_error == "raise" and len(failures) == 1:
            raise failures[0]
        lines = [f"  {failure}" for failure in failures[:MOST_LISTED_FAILURES]]
        if len(failures) > MOST_LISTED_FAILURES:
            lines.append(f"  and {len(failures) - MOST_LISTED_FAILURES} more")
        table = f"{len(failures)} of {n} clips could not be embedded:\n" + "\n".join(lines)
        if self.on_error == "raise":
            raise AudioError(f"{table}\nRepair or leave them out, or pass on_error='nan'.")
        warnings.warn(table, ClipWarning, stacklevel=4)


class ClipEmbedder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, _ClipEstimator):
    """Transform clips into vectors: the pooled embeddings of their windows.

    Parameters
    ----------
    embedder : str or Embedder, default="openl3"
        A name that `load_embedder` knows, or an embedder.
    hop_s : float, default=0.5
        From the start of one window to the start of the next, in seconds.
    center : bool, default=True
        Whether the first window is centred on the clip's start.
    pooling : {"mean", "mean+std", "max"}, default="mean"
        How the windows' embeddings become one vector.
    sample_rate : int or None, default=None
        Rate in Hz of the arrays in X; files know their own.
    cache : "auto", path, EmbeddingCache or None, default="auto"
        Where embeddings are kept: "auto" is the user's cache folder (or ``L3CLF_CACHE``).
    n_jobs : int or None, default=None
        Threads; None and -1 mean one for each core.
    on_error : {"raise", "nan"}, default="raise"
        What happens to a clip that cannot be embedded: an error once all others are done, or a row of
        NaN and a line in a warning.
    verbose : bool, default=False
        Whether to show a progress bar.

    Attributes
    ----------
    embedder_ : Embedder

    Examples
    --------
    >>> import numpy as np
    >>> clips = [np.zeros(8000), np.ones(16000)]
    >>> ClipEmbedder("mfcc", sample_rate=16000, cache=None).fit_transform(clips).shape
    (2, 60)
    """

    def __init__(
        self,
        embedder: Any = "openl3",
        hop_s: float = 0.5,
        center: bool = True,
        pooling: str = "mean",
        sample_rate: int | None = None,
        cache: Any = "auto",
        n_jobs: int | None = None,
        on_error: str = "raise",
        verbose: bool = False,
    ) -> None:
        self.embedder = embedder
        self.hop_s = hop_s
        self.center = center
        self.pooling = pooling
        self.sample_rate = sample_rate
        self.cache = cache
        self.n_jobs = n_jobs
        self.on_error = on_error
        self.verbose = verbose

    def fit(self, X: Iterable[Any], y: Any = None) -> Self:
        """Check the parameters and what kind of things X holds; no clip is read, and there is nothing to learn.

        Parameters
        ----------
        X : iterable of paths, Clips, 1-D arrays or WindowEmbeddings
        y : ignored

        Raises
        ------
        ParameterError
            If a parameter has a value that cannot work.
        """
        self._check_parameters()
        check_pooling(self.pooling, VECTOR_POOLINGS)
        as_sources(X, self.sample_rate)
        self.embedder_ = as_embedder(self.embedder)
        return self

    def transform(self, X: Iterable[Any]) -> FloatArray:
        """Embed and pool clips.

        Parameters
        ----------
        X : iterable of paths, Clips, 1-D arrays or WindowEmbeddings

        Returns
        -------
        array of shape (n_clips, embedding_size), float32
            Twice as wide for "mean+std". With ``on_error="nan"`` a clip that failed is a row of NaN.

        Raises
        ------
        AudioError
            If a clip cannot be embedded and ``on_error="raise"``.
        """
        check_is_fitted(self)
        _, outcomes = self._embed(X, self.embedder_)
        out = np.full((len(outcomes), self._n_features_out), np.nan, np.float32)
        for row, outcome in zip(out, outcomes, strict=True):
            if isinstance(outcome, WindowEmbeddings):
                row[:] = pool_vectors(outcome.vectors, self.pooling)
        return out

    @property
    def _n_features_out(self) -> int:
        return self.embedder_.embedding_size * (2 if self.pooling == "mean+std" else 1)

    def __sklearn_tags__(self) -> Any:
        return _clip_tags(super().__sklearn_tags__())


def _clip_tags(tags: Any) -> Any:
    """X is a list of clips: of paths, or of arrays (the rows of a 2-D array, if all are of one length)."""
    tags.input_tags.two_d_array = True
    tags.input_tags.string = True
    tags.input_tags.allow_nan = False
    if tags.transformer_tags is not None:
        tags.transformer_tags.preserves_dtype = ["float32"]  # whatever the clips are
    return tags


class ClipClassifier(ClassifierMixin, _ClipEstimator):
    """Classify clips: frozen embeddings of their windows, pooling, and a scikit-learn classifier as the head.

    Parameters
    ----------
    embedder : str or Embedder, default="openl3"
        A name that `load_embedder` knows, or an embedder.
    head : {"logistic", "forest"} or classifier, default="logistic"
        Standardised logistic regression (C=0.1), a random forest of 300 trees, or any classifier with
        ``predict_proba``.
    hop_s, center
        See `ClipEmbedder`.
    pooling : {"mean", "mean+std", "max", "probability", "vote"}, default="mean"
        The first three pool a clip's embeddings before the head; the others train the head on windows
        and pool its answers: their mean, or the share of windows won by each class.
    sample_rate : int or None, default=None
        Rate in Hz of the arrays in X; files know their own.
    class_weight : dict, "balanced" or None, default=None
        For the heads with a name; a classifier of your own has its own.
    unknown_threshold : float or None, default=None
        A clip whose best probability is below it is answered with "unknown".
    gate_dbfs : float or None, default=None
        Windows whose RMS level is below it are not heard, in training and afterwards. A clip of which
        nothing is heard is answered with "unknown".
    cache, n_jobs, verbose
        See `ClipEmbedder`.
    on_error : {"raise", "nan"}, default="raise"
        What happens to a clip that cannot be embedded: an error once all others are done; or it is left
        out of the training with a warning, and gets NaN as probabilities and None as class.
    random_state : int, default=0
        Seed of the forest.

    Attributes
    ----------
    classes_ : array of shape (n_classes,)
    head_ : classifier
        The fitted head.
    embedder_ : Embedder
    failures_ : list of L3clfError
        The clips that could not be used, with ``on_error="nan"``.
    training_digest_ : str
        Digest of the clips (their content) and labels that the head was fitted on.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X = [rng.normal(0, 0.1, 16000) for _ in range(4)] + [np.sin(np.arange(16000) * k) for k in (0.1, 0.2, 0.3, 0.4)]
    >>> y = ["noise"] * 4 + ["tone"] * 4
    >>> model = ClipClassifier("mfcc", sample_rate=16000, cache=None).fit(X, y)
    >>> model.predict([np.sin(np.arange(20000) * 0.25)]).tolist()
    ['tone']
    """

    def __init__(
        self,
        embedder: Any = "openl3",
        head: Any = "logistic",
        hop_s: float = 0.5,
        center: bool = True,
        pooling: str = "mean",
        sample_rate: int | None = None,
        class_weight: Any = None,
        unknown_threshold: float | None = None,
        gate_dbfs: float | None = None,
        cache: Any = "auto",
        n_jobs: int | None = None,
        on_error: str = "raise",
        random_state: Any = 0,
        verbose: bool = False,
    ) -> None:
        self.embedder = embedder
        self.head = head
        self.hop_s = hop_s
        self.center = center
        self.pooling = pooling
        self.sample_rate = sample_rate
        self.class_weight = class_weight
        self.unknown_threshold = unknown_threshold
        self.gate_dbfs = gate_dbfs
        self.cache = cache
        self.n_jobs = n_jobs
        self.on_error = on_error
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Iterable[Any], y: ArrayLike) -> Self:
        """Embed the clips and fit the head.

        Parameters
        ----------
        X : iterable of paths, Clips, 1-D arrays or WindowEmbeddings
        y : array of shape (n_clips,)
            Labels: strings, integers or booleans.

        Raises
        ------
        ParameterError
            If a parameter cannot work, X and y differ in length, or there are fewer than two classes.
        AudioError
            If a clip cannot be embedded and ``on_error="raise"``.
        """
        self._check_parameters()
        head = make_head(self.head, self.class_weight, self.random_state)
        self.embedder_ = as_embedder(self.embedder)
        self.expected_fingerprint_ = None
        sources = as_sources(X, self.sample_rate)
        labels = as_labels(y, len(sources))
        items, outcomes = self._embed(sources, self.embedder_)
        self.failures_ = [outcome for outcome in outcomes if isinstance(outcome, L3clfError)]
        used = [i for i, outcome in enumerate(outcomes) if len(self._vectors(outcome))]
        self._report_unused(labels, used, outcomes)
        features, targets = self._training_set([outcomes[i] for i in used], labels[used])
        # Our own heads solve many small systems: BLAS threads only wait for each other (eight times slower).
        with threadpool_limits(1, "blas") if isinstance(self.head, str) else nullcontext():
            self.head_ = head.fit(features, targets)
        self.classes_ = np.asarray(self.head_.classes_)
        self.training_digest_ = digest_of([items[i] for i in used], labels[used], as_cache(self.cache))
        return self

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_pooling(self.pooling)
        check_limits(self.unknown_threshold, self.gate_dbfs)

    def _vectors(self, outcome: Outcome) -> FloatArray:
        """Return the embeddings of the windows that are heard: none for a clip that failed."""
        if not isinstance(outcome, WindowEmbeddings):
            return np.zeros((0, self.embedder_.embedding_size), np.float32)
        return outcome.vectors[heard(outcome.levels_dbfs, self.gate_dbfs)]

    def _report_unused(self, labels: NDArray[Any], used: Sequence[int], outcomes: Sequence[Outcome]) -> None:
        silent = len([out for out in outcomes if isinstance(out, WindowEmbeddings)]) - len(used)
        if silent:
            text = f"{silent} of {len(outcomes)} clips have no window above gate_dbfs={self.gate_dbfs}; left out"
            warnings.warn(text, ClipWarning, stacklevel=3)
        lost = sorted(set(labels.tolist()) - set(labels[list(used)].tolist()), key=str)
        if len(set(labels.tolist())) - len(lost) < 2:
            raise ParameterError(f"y: fewer than two classes have a clip that can be used; none is left of {lost}")
        if lost:
            warnings.warn(f"no clip is left of {', '.join(map(str, lost))}", ClipWarning, stacklevel=3)

    def _training_set(self, outcomes: Sequence[Outcome], labels: NDArray[Any]) -> tuple[FloatArray, NDArray[Any]]:
        vectors = [self._vectors(outcome) for outcome in outcomes]
        if self.pooling in VECTOR_POOLINGS:
            return np.stack([pool_vectors(v, self.pooling) for v in vectors]), labels
        return np.concatenate(vectors), np.repeat(labels, [len(v) for v in vectors])

    def predict_proba(self, X: Iterable[Any]) -> NDArray[np.float64]:
        """Return the probability of each class for each clip.

        Parameters
        ----------
        X : iterable of paths, Clips, 1-D arrays or WindowEmbeddings

        Returns
        -------
        array of shape (n_clips, n_classes), float64
            Columns in the order of ``classes_``. A clip of which nothing is heard (`gate_dbfs`) has zeros;
            one that failed (``on_error="nan"``) has NaN.

        Raises
        ------
        AudioError
            If a clip cannot be embedded and ``on_error="raise"``.
        ModelFileError
            If the model was loaded and the embedder here is not the one it was fitted with.
        """
        check_is_fitted(self)
        self._check_parameters()
        _, outcomes = self._embed(X, self._own_embedder())
        out = np.zeros((len(outcomes), len(self.classes_)))
        vectors = [self._vectors(outcome) for outcome in outcomes]
        audible = [i for i, v in enumerate(vectors) if len(v)]
        if audible:
            out[audible] = self._answers([vectors[i] for i in audible])
        out[[i for i, outcome in enumerate(outcomes) if isinstance(outcome, L3clfError)]] = np.nan
        return out

    def _answers(self, vectors: Sequence[FloatArray]) -> NDArray[np.float64]:
        """Return the head's answer to each clip."""
        if self.pooling in VECTOR_POOLINGS:
            pooled = np.stack([pool_vectors(v, self.pooling) for v in vectors])
            return np.asarray(self.head_.predict_proba(pooled), np.float64)
        ends = np.cumsum([len(v) for v in vectors])[:-1]
        answers = np.asarray(self.head_.predict_proba(np.concatenate(vectors)), np.float64)
        return np.stack([pool_answers(part, self.pooling) for part in np.split(answers, ends)])

    def predict(self, X: Iterable[Any]) -> NDArray[Any]:
        """Return the class of each clip, or "unknown" (`unknown_threshold`, `gate_dbfs`).

        Parameters
        ----------
        X : iterable of paths, Clips, 1-D arrays or WindowEmbeddings

        Returns
        -------
        array of shape (n_clips,)
            Of the labels' type; of objects where a clip is "unknown", or failed and is None.
        """
        return decide(self.predict_proba(X), self.classes_, self.unknown_threshold)

    def predict_windows(self, X: Iterable[Any]) -> list[WindowPredictions]:
        """Return the classes and probabilities of each window of each clip.

        Parameters
        ----------
        X : iterable of paths, Clips, 1-D arrays or WindowEmbeddings

        Returns
        -------
        list of WindowPredictions
            One for each clip; one that failed (``on_error="nan"``) has no windows.

        Raises
        ------
        ParameterError
            If the pooling is "mean+std": one window has no deviation, so the head cannot judge it.
        """
        check_is_fitted(self)
        if self.pooling == "mean+std":
            raise ParameterError('pooling="mean+std" needs several windows; single ones can be judged with "mean"')
        _, outcomes = self._embed(X, self._own_embedder())
        return [self._window_predictions(outcome) for outcome in outcomes]

    def _window_predictions(self, outcome: Outcome) -> WindowPredictions:
        if not isinstance(outcome, WindowEmbeddings):
            return WindowPredictions(self.classes_[:0], np.zeros((0, len(self.classes_))), np.zeros((0, 2)))
        probabilities = np.zeros((len(outcome), len(self.classes_)))
        audible = heard(outcome.levels_dbfs, self.gate_dbfs)
        if audible.any():
            probabilities[audible] = self.head_.predict_proba(outcome.vectors[audible])
        labels = decide(probabilities, self.classes_, self.unknown_threshold)
        return WindowPredictions(labels, probabilities, outcome.times_s)

    def _own_embedder(self) -> Embedder:
        """Return the embedder, checked to be the one the head was fitted with."""
        if not hasattr(self, "embedder_"):
            return super()._own_embedder()
        expected = getattr(self, "expected_fingerprint_", None)
        if expected is not None and self.embedder_.fingerprint != expected:
            raise ModelFileError(
                f"the model was fitted with embedder {self.embedder_.name!r} of fingerprint {expected}, here it has "
                f"{self.embedder_.fingerprint}: use the weights and the l3clf version it was fitted with, or fit again"
            )
        return self.embedder_

    def __sklearn_tags__(self) -> Any:
        return _clip_tags(super().__sklearn_tags__())
