"""A scikit-learn classifier of sound clips.

Rule: it holds parameters and fitted results only. Reading and embedding belong to `pipeline`, decisions to `decision`,
heads to `heads`.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from l3clf.audio.clip import FloatArray
from l3clf.audio.clip_augmentation import Augmentation
from l3clf.classifier.accuracy import AccuracyMixin
from l3clf.classifier.augmented import check_augment, check_sources
from l3clf.classifier.clip_answering import ClipAnswering
from l3clf.classifier.clip_embedder import ClipEmbedder  # here too: pickles of earlier versions name this module
from l3clf.classifier.clip_warnings import (
    silent_clips,
    warn_of_background,
    warn_of_training,
)
from l3clf.classifier.cross_fitting import pooled, split_answers, with_distances
from l3clf.classifier.decision import (
    BACKGROUND,
    Answers,
    WindowPredictions,
    check_pooling,
    decide,
)
from l3clf.classifier.event_methods import EventMethods
from l3clf.classifier.heads import make_head
from l3clf.classifier.inputs import (
    as_cache,
    as_embedder,
    as_groups,
    as_labels,
    as_sources,
    check_classes,
    check_limits,
    digest_of,
)
from l3clf.classifier.unknown import (
    Unknown,
    background_clips,
    check_unknown,
    resolved,
)
from l3clf.errors import L3clfError, ParameterError

__all__ = ["ClipClassifier", "ClipEmbedder"]


class ClipClassifier(AccuracyMixin, ClipAnswering, EventMethods):
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
        A clip whose highest probability is below it is predicted as "unknown"; with a background in the head, one
        whose highest probability with the background among the classes is (1 less its `unknown_score`). None is the
        threshold that `unknown` learned, if any.
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
    unknown : None, "auto" or Unknown, default=None
        How sounds are told that were never learned; see `Unknown`. "auto" is ``Unknown()`` where the embedder has a
        bank (no `Filtered` one has) and the pooling is "mean", and ``Unknown(background=None)`` elsewhere. The
        threshold is learned by cross-fitting, and so is the temperature of the head "logistic", whose probabilities are
        calibrated by it. Clips labelled "background" join the background. None learns no threshold.
    augment : None or Augmentation, default=None
        Learn from changed copies of the training clips too: ``augment.copies`` of each, drawn from its content, and
        cached. Clips are mixed with others of their class, or of a class "background". Clips to predict are never
        changed, and neither the threshold of `unknown` nor a gate is learned from copies; windows of a copy count where
        it is above the gate before its change of level.

    Attributes
    ----------
    gate_dbfs_, gate_hysteresis_db_ : float or None, float
        The gate that the model was fitted with: with ``gate_dbfs="auto"``, what was learned.
    classes_ : array of shape (n_classes,)
        Without the background.
    head_ : classifier
        The fitted head. With a background, its classes are numbers, of which the last is the background.
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
    unknown_threshold_ : float, array of shape (n_classes,) or None
        The learned threshold, or those of the classes with ``per_class=True``; None without `unknown`.
    unknown_threshold_interval_ : array of shape (2,) or (n_classes, 2), or None
        95 % interval of the learned threshold, by drawing clips (with `groups`, groups) with replacement; NaN where
        there were too few clips to learn it.
    has_background_ : bool
        Whether the head learned a background.
    typicality_ : Typicality or None
        The distances that tell what is unknown for embedders other than students, without a background.
    temperature_ : float
        By which the logits of the head "logistic" were divided to calibrate them; 1 for others and without `unknown`.

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

    # A pickle of an earlier version has none of these.
    gate_hysteresis_db: float = 0.0
    unknown: Any = None
    augment: Augmentation | None = None
    silence_learned_: bool | None = None
    # Groups that are routed, for the folds of a cross-validation, are those of the fit too.
    __metadata_request__fit = {"groups": True}  # noqa: RUF012 - the form that scikit-learn reads

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
        unknown: Any = None,
        augment: Augmentation | None = None,
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
        self.unknown = unknown
        self.augment = augment

    def fit(self, X: Iterable[Any], y: ArrayLike, groups: ArrayLike | None = None) -> Self:
        """Embed the clips and fit the head.

        Parameters
        ----------
        X : iterable of paths, Clips, 1-D arrays or WindowEmbeddings
            With `augment`, no WindowEmbeddings: their sound cannot be changed any more.
        y : array of shape (n_clips,)
            Labels: strings, integers or booleans. With `unknown`, "background" is no class: it joins the background.
        groups : array of shape (n_clips,), optional
            The recording, speaker, ... of each clip, used with `unknown` only: clips of one group are not learned while
            others of it tell the threshold. Without groups, near-duplicates among the clips make the threshold too
            high.

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
        unknown = resolved(self.unknown, self.embedder_, self.pooling)
        sources = as_sources(X, self.sample_rate, self.full_scale)
        check_sources(sources, self.augment)
        labels = as_labels(y, len(sources))
        group_of = as_groups(groups, len(sources))
        extra = as_sources(background_clips(unknown), None, self.full_scale)
        outcomes = self._embed([*sources, *extra], self.embedder_)
        self.failures_ = [outcome for outcome in outcomes if isinstance(outcome, L3clfError)]
        is_quiet = [label == BACKGROUND for label in labels.tolist()] + [True] * len(extra)
        vectors = self._learnable(outcomes, is_quiet)  # silent clips too: their label may be right
        known = [i for i in range(len(sources)) if unknown is None or not is_quiet[i]]
        check_classes(labels[known])
        used = [i for i in known if len(vectors[i])]
        other = [i for i in np.setdiff1d(np.arange(len(vectors)), known).tolist() if len(vectors[i])]
        warn_of_training(sources, labels, outcomes, known, used, self.gate_in_force()[0])
        targets = labels[used]
        self._warn_of_forest([vectors[i] for i in used], len(np.unique(targets)))
        everything = [*sources, *extra]
        kinds = [*labels.tolist(), *[BACKGROUND] * len(extra)]
        learned_whole = [quiet and self.gate_dbfs == "auto" for quiet in is_quiet]
        copies = self._copies(everything, outcomes, kinds, learned_whole)
        known_copies, other_copies = ([copies[i] for i in chosen] if copies else [] for chosen in (used, other))
        if unknown is None:
            self._fit_head(head, [vectors[i] for i in used], targets, known_copies)
        else:
            warn_of_background(sources, labels, outcomes, used, other)
            background = [vectors[i] for i in other]
            group_of = group_of if group_of is None else group_of[used]
            self._fit_unknown(
                unknown, [vectors[i] for i in used], targets, background, group_of, known_copies, other_copies
            )
        self.silence_learned_ = bool(silent_clips(outcomes, used))
        self.event_rules_ = None
        learned = [everything[i] for i in used + other]
        answers = np.array([*targets.tolist(), *[BACKGROUND] * len(other)], object)
        self.training_digest_ = digest_of(learned, answers, as_cache(self.cache))
        return self

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_pooling(self.pooling)
        check_limits(self.unknown_threshold, self.gate_dbfs, self.gate_hysteresis_db)
        check_unknown(self.unknown)
        check_augment(self.augment)

    def set_params(self, **params: Any) -> Self:
        """Set parameters, as every estimator of scikit-learn does; ``unknown__weight`` is that of an `Unknown`.

        Raises
        ------
        ParameterError
            If `unknown` is no `Unknown`, and so has no parameters of its own.
        """
        nested = next((name for name in params if name.startswith("unknown__")), None)
        unknown = params.get("unknown", self.unknown)
        if nested is not None and not isinstance(unknown, Unknown):
            raise ParameterError(f"{nested}: unknown={unknown!r} has no parameters; give unknown=l3clf.Unknown()")
        super().set_params(**params)
        return self

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
        return self.clip_answers(X).probabilities

    def _row_answers(self, rows: FloatArray, lengths: Sequence[int], pooling: str) -> Answers:
        """Return the answers for the head's input: rows of clips of so many windows, or of windows without lengths."""
        joint = pooled(np.asarray(self.head_.predict_proba(rows), np.float64), lengths, pooling)
        found = split_answers(joint, len(self.classes_))
        if self.typicality_ is None:
            return found
        return with_distances(found, self.typicality_.shares(rows, lengths or 1), self.temperature_)

    def threshold_in_force(self) -> float | NDArray[np.float64] | None:
        """Return the threshold that decides: the one that was given, or else the one that was learned.

        Returns
        -------
        float, array of shape (n_classes,) or None
            A clip is "unknown" where 1 less its unknown score is below it; an array has one for each class.
        """
        return self.unknown_threshold_ if self.unknown_threshold is None else self.unknown_threshold

    def unknown_score(self, X: Iterable[Any]) -> NDArray[np.float64]:
        """Return how far each clip is from every class: 1 less the probability of the best one, background included.

        Parameters
        ----------
        X : iterable of paths, Clips, 1-D arrays or WindowEmbeddings

        Returns
        -------
        array of shape (n_clips,), float64
            From 0 to 1; 1 for a clip without a window that counts, NaN for one that failed (``on_error="nan"``). A clip
            is "unknown" where 1 less this is below the threshold, `unknown_threshold` or the learned
            `unknown_threshold_`.

        Raises
        ------
        AudioError
            If a clip cannot be embedded and ``on_error="raise"``.
        """
        return self.clip_answers(X).unknown_scores

    def predict(self, X: Iterable[Any]) -> NDArray[Any]:
        """Return the class of each clip, or "unknown".

        See `unknown_threshold`, `unknown`, `gate_dbfs` and `silence_learned_`.

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
        return self.labels_of(self.clip_answers(X))

    def labels_of(self, answers: Answers) -> NDArray[Any]:
        """Return the class of each pool of windows, or "unknown", by the threshold in force; see `predict`."""
        return decide(answers.probabilities, self.classes_, self.threshold_in_force(), answers.known_shares)

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
        return [
            WindowPredictions(self.labels_of(found), found.probabilities, times_s)
            for found, times_s in self._answers_of_windows(X)
        ]
