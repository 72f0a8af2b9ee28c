"""A classifier, or a tagger, of endless sound.

Rule: decision k is that of the last windows up to k, by the rule of `decision`, and it is the same however the samples
are cut into chunks. What `reset` clears is one object, and it does not grow.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted

from l3clf.audio.clip import FloatArray
from l3clf.audio.sound_file import check_rate
from l3clf.classifier.decision import DEFAULT_WINDOWS, Answers, above_gate, pool_windows, tagged
from l3clf.classifier.estimators import ClipClassifier
from l3clf.classifier.inputs import check_whole
from l3clf.classifier.tag_labels import tags_of
from l3clf.classifier.tagger import ClipTagger
from l3clf.embedders import WindowEmbeddings
from l3clf.embedders.filtered import needs_whole_clips
from l3clf.errors import ParameterError
from l3clf.streaming.stream_segment import STREAM, Segment

__all__ = ["DecisionT", "StreamClassifier", "StreamDecision", "StreamTags"]


@dataclass(frozen=True)
class StreamDecision:
    """What the last windows of a stream are.

    Attributes
    ----------
    label : str, int, bool or float
        A class of the model, or "unknown".
    probability : float
        Of the most probable class, 0 to 1, given that the sound is of one of the classes; 0 if no window counts.
    unknown_score : float
        How far the sound is from every class, 0 to 1; see `ClipClassifier.unknown_score`.
    start_s, end_s : float
        Where the windows begin and end, in seconds from the start of the stream. A padded one ends after the sound.
    level_dbfs : float
        RMS level of the last window, in dB relative to full scale.
    probabilities : array of shape (n_classes,), float64
        Of each class, in the order of the model's ``classes_``.
    """

    label: Any
    probability: float
    unknown_score: float
    start_s: float
    end_s: float
    level_dbfs: float
    probabilities: NDArray[np.float64] = field(repr=False, compare=False)


@dataclass(frozen=True)
class StreamTags:
    """Which tags the last windows of a stream have.

    Attributes
    ----------
    labels : tuple of str or int
        The tags whose probability reaches their threshold, in the order of the model's ``classes_``; none where no
        window counts.
    probabilities : array of shape (n_tags,), float64
        Of each tag on its own, 0 to 1, in the order of the model's ``classes_``; zeros where no window counts.
    start_s, end_s : float
        Where the windows begin and end, in seconds from the start of the stream. A padded one ends after the sound.
    level_dbfs : float
        RMS level of the last window, in dB relative to full scale.
    """

    labels: tuple[Any, ...]
    probabilities: NDArray[np.float64] = field(repr=False, compare=False)
    start_s: float
    end_s: float
    level_dbfs: float


DecisionT = TypeVar("DecisionT", StreamDecision, StreamTags)


@dataclass
class _State:
    """All that a stream remembers: the current segment, and of its last windows what decisions to come need."""

    next_s: float = 0.0  # when the next segment begins
    segment: Segment | None = None
    vectors: FloatArray | None = None
    levels_dbfs: FloatArray = field(default_factory=lambda: np.zeros(0, np.float32))
    above: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, np.bool_))
    starts_s: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))


class StreamClassifier(Generic[DecisionT]):
    """Classify sound as it comes, with a fitted `ClipClassifier` or `ClipTagger`.

    There is a decision for each window, about it and those before it: the same as the model would make about a clip
    of these windows. Memory does not grow, however long the stream is.

    Parameters
    ----------
    model : ClipClassifier or ClipTagger
        Fitted, or from `load_model`. The decisions of a classifier are of the type `StreamDecision`, those of a tagger
        `StreamTags`.
    hop_s : float or None, default=None
        Seconds from one decision to the next; None means that of the model.
    windows : int or None, default=None
        How many windows a decision is about; None means 10, as in a model that is exported to C. Fewer answer faster,
        more are surer.

    Raises
    ------
    ParameterError
        If the model is no classifier and no tagger, its embedder denoises whole clips (`l3clf.Filtered`), `hop_s` does
        not suit it, or `windows` is less than 1.

    Examples
    --------
    >>> import numpy as np, l3clf
    >>> rng = np.random.default_rng(0)
    >>> X = [rng.normal(0, 0.1, 16000) for _ in range(4)] + [np.sin(np.arange(16000) * k) for k in (0.1, 0.2, 0.3, 0.4)]
    >>> y = ["noise"] * 4 + ["tone"] * 4
    >>> model = l3clf.ClipClassifier("mfcc", sample_rate=16000, cache=None).fit(X, y)
    >>> stream = l3clf.StreamClassifier(model, windows=2)
    >>> found = stream.push(rng.normal(0, 0.1, 20000), 16000)
    >>> [(decision.label, decision.start_s, decision.end_s) for decision in found]
    [('noise', 0.0, 1.0)]
    >>> [(decision.label, decision.start_s, decision.end_s) for decision in stream.flush()]
    [('noise', 0.0, 1.5)]
    """

    @overload
    def __init__(
        self: "StreamClassifier[StreamDecision]",
        model: ClipClassifier,
        hop_s: float | None = None,
        windows: int | None = None,
    ) -> None: ...

    @overload
    def __init__(
        self: "StreamClassifier[StreamTags]", model: ClipTagger, hop_s: float | None = None, windows: int | None = None
    ) -> None: ...

    def __init__(
        self, model: ClipClassifier | ClipTagger, hop_s: float | None = None, windows: int | None = None
    ) -> None:
        if not isinstance(model, ClipClassifier | ClipTagger):
            raise ParameterError(
                f"model={model!r}; expected a fitted ClipClassifier or ClipTagger, such as one from l3clf.load_model"
            )
        check_is_fitted(model)
        model._check_parameters()
        self.model = model
        self.hop_s = model.hop_s if hop_s is None else hop_s
        self.windows = DEFAULT_WINDOWS if windows is None else windows
        check_whole("windows", self.windows, 1)
        self._embedder = model._own_embedder()
        if needs_whole_clips(self._embedder):
            raise ParameterError(
                "model: it was fitted with denoise (--denoise), which needs whole clips and not a stream; fit it "
                "without, or with band_hz (--band), which streams have"
            )
        self._embedder.framing(self.hop_s, center=False)  # reports a bad hop before any sound comes
        self._state = _State()

    def reset(self) -> None:
        """Forget all that came: the next sample is the first of a new stream, at 0 s."""
        self._state = _State()

    @property
    def time_s(self) -> float:
        """Where the samples that came end, in seconds from the start of the stream."""
        segment = self._state.segment
        return self._state.next_s if segment is None else segment.end_s

    def push(self, samples: ArrayLike, sample_rate: float) -> list[DecisionT]:
        """Take samples; return the decisions about the windows that they complete.

        Parameters
        ----------
        samples : array of shape (n,) or (n, channels)
            As many as there are, also none: floating point with full scale at 1.0, or integers with full scale at the
            limits of their type, unless the model has another `full_scale`. Channels are mixed to mono.
        sample_rate : float
            In Hz. If it is another than before, what came before is finished as by `flush`, and a segment begins:
            no window and no decision is about samples on both sides.

        Returns
        -------
        list of StreamDecision, or of StreamTags
            In order; none where no window is complete.

        Raises
        ------
        AudioError
            If the shape, type or sample rate is wrong, or a sample is NaN, infinite or above 1e10: none of the samples
            is taken then, and the stream goes on with the next.

        Warns
        -----
        LevelWarning
            Once, if the samples cannot have their full scale, or channels cancel each other in the mix to mono.
        """
        check_rate(sample_rate, STREAM)
        segment = self._state.segment
        if segment is not None and segment.sample_rate == sample_rate:
            return self._decided(segment.push(samples))
        segment = Segment(self._embedder, self.hop_s, sample_rate, self.model.full_scale, self.time_s)
        new = segment.push(samples)  # first, so that nothing has changed where they are refused
        decisions = self.flush()
        self._state.segment = segment
        return decisions + self._decided(new)

    def flush(self) -> list[DecisionT]:
        """Finish a recording: return the decisions about its last windows, padded with zeros as those of a clip.

        What is pushed later goes on at the same time, in a new segment: no window and no decision is about samples on
        both sides, and the gate is closed at its start.
        """
        state = self._state
        if state.segment is None or state.segment.end_s == state.next_s:
            return []
        decisions = self._decided(state.segment.finish())
        self._state = _State(state.segment.end_s)
        return decisions

    def skip(self, duration_s: float) -> list[DecisionT]:
        """Note that sound was lost: finish what came before, as by `flush`, and go on so many seconds later.

        Parameters
        ----------
        duration_s : float

        Returns
        -------
        list of StreamDecision, or of StreamTags

        Raises
        ------
        ParameterError
            If `duration_s` is negative or not finite.
        """
        if not isinstance(duration_s, int | float | np.number) or not 0 <= duration_s < float("inf"):
            raise ParameterError(f"duration_s={duration_s!r}; expected a finite number of seconds of at least 0")
        decisions = self.flush()
        self._state = _State(self._state.next_s + duration_s)
        return decisions

    def _decided(self, new: WindowEmbeddings) -> list[DecisionT]:
        """Return a decision for each new window, and keep what those to come need."""
        state, model, n = self._state, self.model, len(new)
        if n == 0:
            return []
        gate = above_gate(new.levels_dbfs, *model.gate_in_force(), is_open=bool(state.above[-1:].any()))
        vectors = new.vectors if state.vectors is None else np.concatenate([state.vectors, new.vectors])
        levels = np.concatenate([state.levels_dbfs, new.levels_dbfs])
        above = np.concatenate([state.above, gate])
        starts_s = np.concatenate([state.starts_s, new.times_s[:, 0]])
        answers = model.answers(pool_windows(vectors, levels, above, self.windows, model.silence_learned_, n))
        first = len(vectors) - n
        firsts_s = [float(starts_s[max(0, first + k + 1 - self.windows)]) for k in range(n)]
        spans = zip(firsts_s, new.times_s[:, 1].tolist(), new.levels_dbfs.tolist(), strict=True)
        decisions: list[Any] = (_tags if isinstance(model, ClipTagger) else _classes)(model, answers, spans)
        # At least one, for the gate's state; copies, because a long push would stay in memory.
        kept = slice(-max(1, self.windows - 1), None)
        state.vectors, state.levels_dbfs = vectors[kept].copy(), levels[kept].copy()
        state.above, state.starts_s = above[kept].copy(), starts_s[kept].copy()
        return decisions


Spans = Iterable[tuple[float, float, float]]  # start and end in seconds, and level in dBFS


def _classes(model: Any, answers: Answers, spans: Spans) -> list[StreamDecision]:
    labels = model.labels_of(answers).tolist()
    rows = zip(labels, answers.probabilities, answers.unknown_scores.tolist(), spans, strict=True)
    return [StreamDecision(label, float(row.max()), score, *span, row) for label, row, score, span in rows]


def _tags(model: Any, answers: Answers, spans: Spans) -> list[StreamTags]:
    labels = tags_of(tagged(answers.probabilities, model.thresholds_in_force()), model.classes_)
    rows = zip(labels, answers.probabilities, spans, strict=True)
    return [StreamTags(each, row, *span) for each, row, span in rows]
