"""From the pieces of a source to decisions, with what is kept of them and how fast it went.

Rule: nothing is printed here. Whatever ends a source, what it gave is decided about.
"""

import time
from dataclasses import dataclass
from typing import Generic

from l3clf.streaming.kept_sounds import SoundKeeper
from l3clf.streaming.stream_classifier import DecisionT, StreamClassifier
from l3clf.streaming.stream_pieces import Gap, StreamPiece

__all__ = ["Listener", "Pace"]


@dataclass
class Pace:
    """How much was heard, and how fast it was decided about.

    Attributes
    ----------
    heard_s, busy_s : float
        Length of the sound, and the time that was spent on it.
    decisions, gaps : int
    lost_s : float
        Length of the gaps that is known.
    latency_s, max_latency_s : float
        From the arrival of the sound that completes a window to the decision about it: mean and maximum.
    """

    heard_s: float = 0.0
    busy_s: float = 0.0
    decisions: int = 0
    gaps: int = 0
    lost_s: float = 0.0
    max_latency_s: float = 0.0
    _latencies_s: float = 0.0
    _n_latencies: int = 0

    @property
    def latency_s(self) -> float:
        """Mean time from the arrival of sound to the decision about it."""
        return self._latencies_s / max(1, self._n_latencies)

    @property
    def times_real_time(self) -> float:
        """How many seconds of sound are decided about in a second."""
        return self.heard_s / max(self.busy_s, 1e-9)

    def note_latency(self, latency_s: float) -> None:
        """Count the latency of a decision."""
        self._latencies_s += latency_s
        self._n_latencies += 1
        self.max_latency_s = max(self.max_latency_s, latency_s)


class Listener(Generic[DecisionT]):
    """Feeds a stream classifier.

    Parameters
    ----------
    stream : StreamClassifier
    keeper : SoundKeeper or None, default=None
        What keeps the sounds that are recognised.
    """

    def __init__(self, stream: StreamClassifier[DecisionT], keeper: SoundKeeper | None = None) -> None:
        self._stream: StreamClassifier[DecisionT] = stream
        self._keeper = keeper
        self._rate = 0.0
        self.pace = Pace()

    @property
    def time_s(self) -> float:
        """Where the sound that came ends, in seconds from the start of the stream."""
        return self._stream.time_s

    def take(self, piece: StreamPiece) -> list[DecisionT]:
        """Take a piece of sound, or a gap; return the decisions that it completes."""
        if isinstance(piece, Gap):
            self.pace.gaps += 1
            self.pace.lost_s += piece.duration_s
            decisions = self._kept(self._stream.skip(piece.duration_s))
            if self._keeper is not None:
                self._keeper.forget()
            return decisions
        ended = self._at_a_new_rate() if self._rate not in (0.0, piece.sample_rate) else []
        self._rate = piece.sample_rate
        begun_s, start_s = time.perf_counter(), self._stream.time_s
        decisions = self._stream.push(piece.samples, piece.sample_rate)
        now_s = time.perf_counter()
        self.pace.busy_s += now_s - begun_s
        self.pace.heard_s += self._stream.time_s - start_s
        if decisions:
            self.pace.note_latency(now_s - piece.arrived_s)
        if self._keeper is not None:
            self._keeper.hear(start_s, piece.samples, piece.sample_rate)
        return ended + self._kept(decisions)

    def _at_a_new_rate(self) -> list[DecisionT]:
        """End what was heard at the old one: no file that is kept can have two."""
        decisions = self._kept(self._stream.flush())
        if self._keeper is not None:
            self._keeper.forget()
        return decisions

    def finish(self) -> list[DecisionT]:
        """Return the decisions about the end of the stream."""
        decisions = self._kept(self._stream.flush())
        if self._keeper is not None:
            self._keeper.end()
        return decisions

    def _kept(self, decisions: list[DecisionT]) -> list[DecisionT]:
        self.pace.decisions += len(decisions)
        if self._keeper is not None:
            for decision in decisions:
                self._keeper.decide(decision)
        return decisions
