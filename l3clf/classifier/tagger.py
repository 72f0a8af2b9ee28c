"""A scikit-learn classifier of sound clips that have several labels, or none.

Rule: it holds parameters and fitted results only; embedding, pooling and the gate are those of `ClipClassifier`.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClassifierMixin

from l3clf.audio.clip import FloatArray
from l3clf.classifier.accuracy import weighted_share
from l3clf.classifier.clip_answering import ClipAnswering
from l3clf.classifier.clip_warnings import silent_clips, warn_of_tag_training
from l3clf.classifier.cross_fitting import pooled
from l3clf.classifier.decision import TAG_POOLINGS, Answers, WindowPredictions, check_pooling, tagged
from l3clf.classifier.event_methods import EventMethods
from l3clf.classifier.inputs import as_cache, as_embedder, as_groups, as_sources, check_limits, digest_of
from l3clf.classifier.tag_fitting import fit_clips, learned_thresholds, out_of_fold
from l3clf.classifier.tag_heads import make_tag_head, tag_probabilities
from l3clf.classifier.tag_labels import (
    TagTargets,
    as_tag_targets,
    check_both_ways,
    exact_matches,
    tag_texts,
    tags_of,
)
from l3clf.classifier.tag_thresholds import check_threshold
from l3clf.errors import L3clfError
from l3clf.networks.threads import one_blas_thread

__all__ = ["ClipTagger"]


class ClipTagger(ClassifierMixin, ClipAnswering, EventMethods):
    """Tag clips: several labels for each, or none; frozen embeddings, pooling, and a head that answers for each tag.

    Parameters
    ----------
    embedder : str or Embedder, default="openl3"
        A name that `load_embedder` knows, or an embedder.
    head : {"logistic", "forest"} or classifier, default="logistic"
        A standardised logistic regression (C=0.1) for each tag, or one random forest of 300 trees for all. Any
        classifier with ``predict_proba`` is used as it is if it learns several labels at once; of others there is one
        for each tag.
    hop_s, center
        See `ClipEmbedder`.
    pooling : {"mean", "mean+std", "max", "probability"}, default="mean"
        The first three pool a clip's embeddings before the head; "probability" trains the head on windows and takes the
        mean of its probabilities.
    sample_rate
        See `ClipEmbedder`.
    class_weight : "balanced" or None, default=None
        Used by the named heads: clips with a tag weigh as much together as those without it.
    threshold : "auto" or float, default="auto"
        From which probability on a clip has a tag, 0 to 1. "auto" learns it for each tag, as the one with the largest
        F1 on clips that were not learned (5 folds, in which groups are kept together). A tag with fewer than five clips
        (with `groups`, or all in one of them) has that of all tags together, and a warning names it.
    gate_dbfs : float, "auto" or None, default=None
        See `ClipClassifier`; to learn a gate, clips without a tag are the background. A clip without a window above the
        gate has no tag.
    cache, n_jobs
        See `ClipEmbedder`.
    on_error : {"raise", "nan"}, default="raise"
        For a clip that cannot be embedded, raise an error once all others are done; or warn, leave it out of the
        training, and predict NaN as its probabilities and no tags.
    random_state : int, default=0
        Seed of the forest.
    verbose, full_scale
        See `ClipEmbedder`.
    gate_hysteresis_db : float, default=0.0
        See `ClipClassifier`.

    Attributes
    ----------
    classes_ : array of shape (n_tags,)
        The tags: sorted labels. For an indicator matrix the columns of a data frame, or else their numbers from 0.
    thresholds_ : array of shape (n_tags,), float64
        The learned thresholds, or the one that was given.
    head_ : classifier
        The fitted head.
    gate_dbfs_, gate_hysteresis_db_, embedder_, failures_, silence_learned_, event_rules_, training_digest_
        See `ClipClassifier`. Digital silence has no tag unless a training clip was silent.

    See Also
    --------
    ClipClassifier : Exactly one label for each clip, or "unknown".

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> hum, hiss = [0.3 * np.sin(np.arange(16000) * 0.1 * k) for k in range(1, 7)], rng.normal(0, 0.1, (6, 16000))
    >>> X = [*hum, *hiss, *(a + b for a, b in zip(hum, hiss))]
    >>> y = ["hum"] * 6 + ["hiss"] * 6 + ["hiss|hum"] * 6
    >>> model = ClipTagger("mfcc", sample_rate=16000, cache=None).fit(X, y)
    >>> model.predict_tags([rng.normal(0, 0.1, 16000), hum[2] + rng.normal(0, 0.1, 16000)])
    [('hiss',), ('hiss', 'hum')]
    >>> model.predict(X[-1:]).tolist()
    [[1, 1]]
    """

    answer_to_silence = "no tag"
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
        threshold: float | str = "auto",
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
        self.threshold = threshold
        self.gate_dbfs = gate_dbfs
        self.cache = cache
        self.n_jobs = n_jobs
        self.on_error = on_error
        self.random_state = random_state
        self.verbose = verbose
        self.full_scale = full_scale
        self.gate_hysteresis_db = gate_hysteresis_db

    def fit(self, X: Iterable[Any], y: Any, groups: ArrayLike | None = None) -> Self:
        """Embed the clips, fit the head, and learn the thresholds.

        Parameters
        ----------
        X : iterable of paths, Clips, 1-D arrays or WindowEmbeddings
        y : array of shape (n_clips, n_tags), data frame, or sequence of sets, lists or texts
            The tags of each clip: an indicator matrix of 0 and 1 (scikit-learn's multilabel form; dense or sparse), a
            set, list or tuple of labels, or a text such as ``dog|rain``, where the empty text is no tag. Labels that
            are numbers are given as sets.
        groups : array of shape (n_clips,), optional
            The recording, speaker, ... of each clip: clips of one group are not learned while others of it tell the
            thresholds.

        Raises
        ------
        ParameterError
            If a parameter is out of range, X and y differ in length, no clip has a tag, or a tag has no clip with it or
            none without it.
        AudioError
            If a clip cannot be embedded and ``on_error="raise"``.
        """
        self._check_parameters()
        make_tag_head(self.head, self.class_weight, self.random_state)  # refused before any file is read
        self.embedder_ = as_embedder(self.embedder)
        self.expected_fingerprint_ = None  # set by load_model
        sources = as_sources(X, self.sample_rate, self.full_scale)
        targets = as_tag_targets(y, len(sources))
        check_both_ways(targets)
        group_of = as_groups(groups, len(sources))
        outcomes = self._embed(sources, self.embedder_)
        self.failures_ = [outcome for outcome in outcomes if isinstance(outcome, L3clfError)]
        vectors = self._learnable(outcomes, [not tags.any() for tags in targets.indicator])
        used = [i for i in range(len(sources)) if len(vectors[i])]
        texts = tag_texts(targets.indicator, targets.classes)
        warn_of_tag_training(sources, texts, outcomes, used, self.gate_in_force()[0])
        kept = TagTargets(targets.indicator[used], targets.classes)
        check_both_ways(kept)
        self._warn_of_forest([vectors[i] for i in used], len(kept.classes), 2)  # each tag, and its absence
        self._fit_tags([vectors[i] for i in used], kept, None if group_of is None else group_of[used])
        self.silence_learned_ = bool(silent_clips(outcomes, used))
        self.event_rules_ = None
        learned = [sources[i] for i in used]
        self.training_digest_ = digest_of(learned, np.array([texts[i] for i in used], object), as_cache(self.cache))
        return self

    def _fit_tags(self, vectors: Sequence[FloatArray], targets: TagTargets, groups: NDArray[Any] | None) -> None:
        def make() -> Any:
            return make_tag_head(self.head, self.class_weight, self.random_state)

        clips = [self._head_input([v]) for v in vectors]
        with one_blas_thread():  # several threads are slower for small systems
            self.head_ = fit_clips(make(), clips, targets.indicator)
            if self.threshold == "auto":
                found = out_of_fold(make, clips, targets.indicator, self.pooling, groups)
        self.classes_ = targets.classes
        if self.threshold == "auto":
            self.thresholds_ = learned_thresholds(found, targets, groups)
        else:
            self.thresholds_ = np.full(len(self.classes_), float(self.threshold))

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_pooling(self.pooling, TAG_POOLINGS)
        check_limits(None, self.gate_dbfs, self.gate_hysteresis_db)
        check_threshold(self.threshold)

    def _row_answers(self, rows: FloatArray, lengths: Sequence[int], pooling: str) -> Answers:
        each = tag_probabilities(self.head_, rows, len(self.classes_))
        return Answers(pooled(each, lengths, pooling), np.ones(len(lengths) or len(rows)))

    def predict_proba(self, X: Iterable[Any]) -> NDArray[np.float64]:
        """Return the probability of each tag for each clip.

        Parameters
        ----------
        X : iterable of paths, Clips, 1-D arrays or WindowEmbeddings

        Returns
        -------
        array of shape (n_clips, n_tags), float64
            Each from 0 to 1 on its own; columns in the order of ``classes_``. A clip without a window above `gate_dbfs`
            has zeros, and so has digital silence if no training clip was silent; one that failed (``on_error="nan"``)
            has NaN.

        Raises
        ------
        AudioError
            If a clip cannot be embedded and ``on_error="raise"``.
        ModelFileError
            If the model was loaded from a file and its embedder now differs from the one it was fitted with.
        """
        return self.clip_answers(X).probabilities

    def predict(self, X: Iterable[Any]) -> NDArray[np.int64]:
        """Return which tags each clip has.

        Parameters
        ----------
        X : iterable of paths, Clips, 1-D arrays or WindowEmbeddings

        Returns
        -------
        array of shape (n_clips, n_tags), int64
            1 for a tag that a clip has; columns in the order of ``classes_``. A clip that failed (``on_error="nan"``)
            has none.
        """
        return self.indicator_of(self.clip_answers(X))

    def predict_tags(self, X: Iterable[Any]) -> list[tuple[Any, ...]]:
        """Return the tags of each clip.

        Parameters
        ----------
        X : iterable of paths, Clips, 1-D arrays or WindowEmbeddings

        Returns
        -------
        list of tuple
            Labels in the order of ``classes_``; none for a clip that failed (``on_error="nan"``).
        """
        return tags_of(self.predict(X), self.classes_)

    def indicator_of(self, answers: Answers) -> NDArray[np.int64]:
        """Return which tags each pool of windows has, by the thresholds in force; see `predict`."""
        return tagged(answers.probabilities, self.thresholds_in_force()).astype(np.int64)

    def labels_of(self, answers: Answers) -> NDArray[Any]:
        """Return the tags of each pool of windows as text such as ``dog|rain``, by the thresholds in force."""
        return np.array(tag_texts(self.indicator_of(answers), self.classes_), np.str_)

    def thresholds_in_force(self) -> NDArray[np.float64]:
        """Return the thresholds that decide: the one that was given for all tags, or else those learned.

        Returns
        -------
        array of shape (n_tags,), float64
        """
        if self.threshold == "auto":
            return self.thresholds_
        return np.full(len(self.classes_), float(self.threshold))

    def threshold_in_force(self) -> NDArray[np.float64]:
        """Return `thresholds_in_force`, by the name that the methods about events know from `ClipClassifier`."""
        return self.thresholds_in_force()

    def predict_windows(self, X: Iterable[Any]) -> list[WindowPredictions]:
        """Return the tags and probabilities of each window of each clip.

        Parameters
        ----------
        X : iterable of paths, Clips, 1-D arrays or WindowEmbeddings

        Returns
        -------
        list of WindowPredictions
            One for each clip; one that failed (``on_error="nan"``) has no windows. Labels are texts such as
            ``dog|rain``, empty for windows without a tag.

        Raises
        ------
        ParameterError
            If the pooling is "mean+std": a single window has no standard deviation.
        """
        return [
            WindowPredictions(self.labels_of(found), found.probabilities, times_s)
            for found, times_s in self._answers_of_windows(X)
        ]

    def score(self, X: Iterable[Any], y: Any, sample_weight: ArrayLike | None = None) -> float:
        """Return the share of clips whose tags are all right, and no other is there: scikit-learn's subset accuracy.

        It is strict: one wrong tag of many makes a clip wrong. For single tags see `l3clf.evaluate.tag_scores`.

        Parameters
        ----------
        X : iterable of paths, Clips, 1-D arrays or WindowEmbeddings
        y : as for `fit`
            The true tags.
        sample_weight : array of shape (n_clips,), optional
            How much each clip counts.

        Returns
        -------
        float
            From 0 to 1. A clip that failed (``on_error="nan"``) is wrong.

        Raises
        ------
        ParameterError
            If there are no clips, X and y differ in length, y has other columns than those of the fit, or the weights
            cannot be used.
        """
        answers = self.clip_answers(X)
        right = exact_matches(self.indicator_of(answers), y, self.classes_)
        right &= ~np.isnan(answers.probabilities).any(axis=1)
        return weighted_share(right, sample_weight)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        tags.classifier_tags.multi_class = False
        tags.target_tags.multi_output = True
        tags.target_tags.single_output = False
        return tags
