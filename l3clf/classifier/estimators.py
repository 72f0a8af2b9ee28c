"""A scikit-learn classifier of sound clips.

Rule: it holds parameters and fitted results only. Reading and embedding belong to `pipeline`, decisions to `decision`,
heads to `heads`.
"""

from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted

from l3clf.audio.clip import FloatArray
from l3clf.classifier.accuracy import AccuracyMixin
from l3clf.classifier.clip_embedder import ClipEmbedder  # here too: pickles of earlier versions name this module
from l3clf.classifier.clip_warnings import (
    silent_clips,
    warn_of_silence,
    warn_of_silent_labels,
    warn_of_unused,
)
from l3clf.classifier.decision import (
    VECTOR_POOLINGS,
    Answers,
    WindowPredictions,
    above_gate,
    check_pooling,
    counted,
    decide,
    pool_probabilities,
    pool_vectors,
)
from l3clf.classifier.event_methods import EventMethods
from l3clf.classifier.gate import BACKGROUND, learned_gate
from l3clf.classifier.heads import make_head
from l3clf.classifier.inputs import (
    as_cache,
    as_embedder,
    as_labels,
    as_sources,
    check_limits,
    digest_of,
)
from l3clf.embedders import Embedder
from l3clf.errors import L3clfError, ModelFileError, ParameterError
from l3clf.networks.threads import one_blas_thread
from l3clf.pipeline import Outcome

__all__ = ["ClipClassifier", "ClipEmbedder"]


class ClipClassifier(AccuracyMixin, EventMethods):
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
        The first three pool a clip's embeddings before the head; the others train the head on windows and
        pool its predictions: the mean probability, or the share of windows won by each class.
    class_weight : dict, "balanced" or None, default=None
        Used by the named heads; set it on a classifier of your own directly.
    unknown_threshold : float or None, default=None
        A clip whose highest probability is below it is predicted as "unknown".
    gate_dbfs : float, "auto" or None, default=None
        Windows whose RMS level is below it are ignored, in training and in prediction. A clip without a
        window above the gate is predicted as "unknown". "auto" learns it from the levels of the training clips, with
        its hysteresis: it is between background and sound, where these are apart (see `l3clf.classifier.gate`). Clips
        of a class "background" are then its examples of background.
    sample_rate, cache, n_jobs, verbose
        See `ClipEmbedder`.
    on_error : {"raise", "nan"}, default="raise"
        For a clip that cannot be embedded, raise an error once all others are done; or warn, leave it out of
        the training, and predict NaN as its probabilities and as its class "" (None if labels are not strings).
    random_state : int, default=0
        Seed of the forest.
    full_scale : float or None, default=None
        See `ClipEmbedder`.
    gate_hysteresis_db : float, default=0.0
        How far below `gate_dbfs` the level must fall before windows are ignored again. With ``gate_dbfs="auto"``, 0
        means that it is learned.

    Attributes
    ----------
    gate_dbfs_, gate_hysteresis_db_ : float or None, float
        The gate that the model was fitted with: with ``gate_dbfs="auto"``, what was learned.
    classes_ : array of shape (n_classes,)
    head_ : classifier
        The fitted head.
    embedder_ : Embedder
    failures_ : list of L3clfError
        The clips that could not be embedded, with ``on_error="nan"``.
    silence_learned_ : bool or None
        Whether a training clip was digital silence: every window below -100 dBFS. If none was, such a clip is predicted
        as "unknown", with a warning. None in models from files that do not say so: the head answers, as it did.
    event_rules_ : EventRules or None
        The rules of `predict_events` that were tuned for this model, if they were.
    training_digest_ : str
        Digest of the content of the clips and of the labels that the head was fitted on.

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

    # A pickle of an earlier version has neither.
    silence_learned_: bool | None = None
    gate_hysteresis_db: float = 0.0

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
        gate_dbfs: float | str | None = None,
        cache: Any = "auto",
        n_jobs: int | None = None,
        on_error: str = "raise",
        random_state: Any = 0,
        verbose: bool = False,
        full_scale: float | None = None,
        gate_hysteresis_db: float = 0.0,
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
        self.full_scale = full_scale
        self.gate_hysteresis_db = gate_hysteresis_db

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
            If a parameter is out of range, X and y differ in length, or there are fewer than two classes.
        AudioError
            If a clip cannot be embedded and ``on_error="raise"``.
        """
        self._check_parameters()
        head = make_head(self.head, self.class_weight, self.random_state)
        self.embedder_ = as_embedder(self.embedder)
        self.expected_fingerprint_ = None  # set by load_model
        sources = as_sources(X, self.sample_rate, self.full_scale)
        labels = as_labels(y, len(sources))
        outcomes = self._embed(sources, self.embedder_)
        self.failures_ = [outcome for outcome in outcomes if isinstance(outcome, L3clfError)]
        is_background = [label == BACKGROUND for label in labels.tolist()]
        self._learn_gate(outcomes, is_background)
        vectors = [self._vectors(outcome) for outcome in outcomes]  # silent clips too: their label may be right
        if self.gate_dbfs == "auto":  # which was to leave out the background: its clips are learned whole
            vectors = [
                outcome.vectors if quiet and not isinstance(outcome, L3clfError) else v
                for outcome, quiet, v in zip(outcomes, is_background, vectors, strict=True)
            ]
        used = [i for i, v in enumerate(vectors) if len(v)]
        warn_of_unused(labels, used, outcomes, self._gate()[0])
        silent = silent_clips(outcomes, used)
        warn_of_silent_labels(sources, labels, used, silent, outcomes)
        features = self._head_input([vectors[i] for i in used])
        targets = np.repeat(labels[used], 1 if self.pooling in VECTOR_POOLINGS else [len(vectors[i]) for i in used])
        # Our own heads solve many small systems, on which several BLAS threads are eight times slower than one.
        with one_blas_thread() if isinstance(self.head, str) else nullcontext():
            self.head_ = head.fit(features, targets)
        self.classes_ = np.asarray(self.head_.classes_)
        self.silence_learned_ = bool(silent)
        self.event_rules_ = None
        self.training_digest_ = digest_of([sources[i] for i in used], labels[used], as_cache(self.cache))
        return self

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_pooling(self.pooling)
        check_limits(self.unknown_threshold, self.gate_dbfs, self.gate_hysteresis_db)

    def _gate(self) -> tuple[float | None, float]:
        """Return the gate in force, in dBFS, and its hysteresis in dB."""
        if not isinstance(self.gate_dbfs, str):
            return self.gate_dbfs, self.gate_hysteresis_db
        if not hasattr(self, "gate_dbfs_"):
            raise ParameterError("gate_dbfs='auto': not learned; fit the model again")
        return self.gate_dbfs_, self.gate_hysteresis_db or self.gate_hysteresis_db_

    def _learn_gate(self, outcomes: Sequence[Outcome], is_background: Sequence[bool]) -> None:
        """Learn the gate from clips, some of them background, if it is to be learned."""
        self.gate_dbfs_, self.gate_hysteresis_db_ = None, self.gate_hysteresis_db
        if not isinstance(self.gate_dbfs, str):
            self.gate_dbfs_ = self.gate_dbfs
            return
        levels: tuple[list[FloatArray], list[FloatArray]] = ([], [])
        for outcome, quiet in zip(outcomes, is_background, strict=True):
            if not isinstance(outcome, L3clfError):
                levels[quiet].append(outcome.levels_dbfs)
        self.gate_dbfs_, self.gate_hysteresis_db_ = learned_gate(*levels)

    def _vectors(self, outcome: Outcome, silence_learned: bool | None = True) -> FloatArray:
        """Return the embeddings of the windows that count; none for a clip that failed."""
        if isinstance(outcome, L3clfError):
            return np.zeros((0, self.embedder_.embedding_size), np.float32)
        return outcome.vectors[self._counted(outcome.levels_dbfs, silence_learned)]

    def _counted(self, levels_dbfs: FloatArray, silence_learned: bool | None) -> NDArray[np.bool_]:
        """Return which windows of a clip count."""
        return counted(levels_dbfs, above_gate(levels_dbfs, *self._gate()), silence_learned)

    def _head_input(self, vectors: Sequence[FloatArray]) -> FloatArray:
        """Return a row for each clip, or, where the head's probabilities are pooled, for each window."""
        if self.pooling in VECTOR_POOLINGS:
            return np.stack([pool_vectors(v, self.pooling) for v in vectors])
        return np.concatenate(vectors)

    def predict_proba(self, X: Iterable[Any]) -> NDArray[np.float64]:
        """Return the probability of each class for each clip.

        Parameters
        ----------
        X : iterable of paths, Clips, 1-D arrays or WindowEmbeddings

        Returns
        -------
        array of shape (n_clips, n_classes), float64
            Columns in the order of ``classes_``. A clip without a window above `gate_dbfs` has zeros, and so has
            digital silence if no training clip was silent; one that failed (``on_error="nan"``) has NaN.

        Raises
        ------
        AudioError
            If a clip cannot be embedded and ``on_error="raise"``.
        ModelFileError
            If the model was loaded from a file and its embedder now differs from the one it was fitted with.
        """
        return self._clip_answers(X).probabilities

    def _clip_answers(self, X: Iterable[Any]) -> Answers:
        check_is_fitted(self)
        self._check_parameters()  # set_params may have changed them since the fit
        sources = as_sources(X, self.sample_rate, self.full_scale)
        outcomes = self._embed(sources, self._own_embedder())
        warn_of_silence(sources, outcomes, self._gate()[0], self.silence_learned_)
        answers = self.answers([self._vectors(outcome, self.silence_learned_) for outcome in outcomes])
        answers.probabilities[[i for i, outcome in enumerate(outcomes) if isinstance(outcome, L3clfError)]] = np.nan
        return answers

    def answers(self, pools: Sequence[FloatArray]) -> Answers:
        """Return what the head says of pools of windows, such as those of a clip, or the last ones of a stream.

        Parameters
        ----------
        pools : sequence of arrays of shape (n_windows, embedding_size)
            The embeddings of the windows that count, for each decision; none gives zeros.

        Returns
        -------
        Answers
        """
        probabilities = np.zeros((len(pools), len(self.classes_)))
        audible = [i for i, vectors in enumerate(pools) if len(vectors)]
        if audible:
            probabilities[audible] = self._clip_probabilities([pools[i] for i in audible])
        return Answers(probabilities, np.ones(len(pools)))

    def _clip_probabilities(self, vectors: Sequence[FloatArray]) -> NDArray[np.float64]:
        rows = np.asarray(self.head_.predict_proba(self._head_input(vectors)), np.float64)
        if self.pooling in VECTOR_POOLINGS:
            return rows
        ends = np.cumsum([len(v) for v in vectors])[:-1]
        return np.stack([pool_probabilities(part, self.pooling) for part in np.split(rows, ends)])

    def predict(self, X: Iterable[Any]) -> NDArray[Any]:
        """Return the class of each clip, or "unknown" (see `unknown_threshold`, `gate_dbfs`, `silence_learned_`).

        Parameters
        ----------
        X : iterable of paths, Clips, 1-D arrays or WindowEmbeddings

        Returns
        -------
        array of shape (n_clips,)
            Of the labels' type. A clip that failed (``on_error="nan"``) is "" if labels are strings. If they are not,
            it is None, and the array is of objects where a clip failed or is "unknown": such answers are counted
            by `score`, while scikit-learn's own scorers need strings.
        """
        answers = self._clip_answers(X)
        return decide(answers.probabilities, self.classes_, self.unknown_threshold, answers.known_shares)

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
            If the pooling is "mean+std": a single window has no standard deviation.
        """
        check_is_fitted(self)
        if self.pooling == "mean+std":
            raise ParameterError("pooling='mean+std': a single window has no standard deviation; use 'mean'")
        sources = as_sources(X, self.sample_rate, self.full_scale)
        outcomes = self._embed(sources, self._own_embedder())
        warn_of_silence(sources, outcomes, self._gate()[0], self.silence_learned_)
        return [self._window_predictions(outcome) for outcome in outcomes]

    def _window_predictions(self, outcome: Outcome) -> WindowPredictions:
        if isinstance(outcome, L3clfError):
            return WindowPredictions(self.classes_[:0], np.zeros((0, len(self.classes_))), np.zeros((0, 2)))
        probabilities = np.zeros((len(outcome), len(self.classes_)))
        counts = self._counted(outcome.levels_dbfs, self.silence_learned_)
        if counts.any():
            probabilities[counts] = self.head_.predict_proba(outcome.vectors[counts])
        labels = decide(probabilities, self.classes_, self.unknown_threshold)
        return WindowPredictions(labels, probabilities, outcome.times_s)

    def _own_embedder(self) -> Embedder:
        """Return the fitted embedder; raise ModelFileError if it is not the one the head was fitted with."""
        if not hasattr(self, "embedder_"):
            return super()._own_embedder()
        expected = getattr(self, "expected_fingerprint_", None)
        if expected is not None and self.embedder_.fingerprint != expected:
            raise ModelFileError(
                f"embedder {self.embedder_.name!r}: its fingerprint is {self.embedder_.fingerprint}, but the model was "
                f"fitted with {expected}; use the weights and the l3clf version of the fit, or fit again"
            )
        return self.embedder_
