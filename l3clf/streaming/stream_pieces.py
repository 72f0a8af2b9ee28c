"""What a source of endless sound gives: pieces of it, and gaps where some was lost."""

from dataclasses import dataclass
from typing import TypeAlias

from l3clf.audio.clip import FloatArray

__all__ = ["Gap", "SoundBlock", "StreamPiece"]


@dataclass(frozen=True, eq=False)
class SoundBlock:
    """Sound that follows what came before.

    Attributes
    ----------
    samples : array of shape (n,) or (n, channels), float32
        Full scale at 1.0.
    sample_rate : float
        In Hz.
    arrived_s : float
        When the last of it was there, by `time.perf_counter`.
    """

    samples: FloatArray
    sample_rate: float
    arrived_s: float


@dataclass(frozen=True)
class Gap:
    """Sound that was lost.

    Attributes
    ----------
    duration_s : float
        How long, in seconds; 0 where that is not known.
    reason : str
        Part of a sentence: "the microphone stopped".
    """

    duration_s: float
    reason: str


StreamPiece: TypeAlias = SoundBlock | Gap
