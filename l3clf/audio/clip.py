"""What a clip is: a sound file, a piece of one, or samples in memory.

Rule: a clip only says where the sound is and which part of it is meant; nothing is opened here.
"""

import math
import os
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from l3clf.errors import ParameterError

__all__ = ["Clip", "FloatArray", "Samples", "ScaledClip", "Source", "full_scale_of", "printable_path"]

FloatArray: TypeAlias = NDArray[np.float32]


@dataclass(frozen=True)
class Clip:
    """A sound file, or a piece of one.

    Parameters
    ----------
    path : str or os.PathLike
        The sound file; it is opened only when its samples are needed.
    start_s : float, default=0.0
        Where the piece starts, in seconds from the start of the file.
    end_s : float or None, default=None
        Where the piece ends, in seconds; None means the end of the file.

    Raises
    ------
    ParameterError
        If `path` is not a path, a time is not finite or is negative, or the piece ends before it starts.

    Examples
    --------
    >>> Clip("street.wav", 1.5, 4.0)
    Clip(path='street.wav', start_s=1.5, end_s=4.0)
    """

    path: str
    start_s: float = 0.0
    end_s: float | None = None

    def __init__(self, path: str | os.PathLike[str], start_s: float = 0.0, end_s: float | None = None) -> None:
        # Written by hand, so that any path-like object is accepted and stored as a str.
        if not isinstance(path, str | os.PathLike):
            raise ParameterError(f"path={path!r}; expected a str or a path")
        object.__setattr__(self, "path", os.fsdecode(path))
        try:
            object.__setattr__(self, "start_s", float(start_s))
            object.__setattr__(self, "end_s", None if end_s is None else float(end_s))
        except (TypeError, ValueError):
            raise ParameterError(f"{self}: start_s={start_s!r}, end_s={end_s!r}; expected numbers of seconds") from None
        name = printable_path(self.path)
        if not (math.isfinite(self.start_s) and self.start_s >= 0):
            raise ParameterError(f"{name}: start_s={start_s}; expected a finite number of seconds >= 0")
        if self.end_s is not None and not (math.isfinite(self.end_s) and self.end_s > self.start_s):
            raise ParameterError(f"{name}: end_s={end_s}; expected a number of seconds greater than start_s={start_s}")

    @property
    def is_whole(self) -> bool:
        """Whether the clip is the whole file."""
        return self.start_s == 0.0 and self.end_s is None

    def __str__(self) -> str:
        name = printable_path(self.path)
        if self.is_whole:
            return name
        return f"{name} [{self.start_s:g} s to {'end' if self.end_s is None else f'{self.end_s:g} s'}]"


@dataclass(frozen=True, init=False)
class ScaledClip(Clip):
    """A clip whose floating-point samples have another full scale than 1; integer formats state their own.

    Parameters
    ----------
    clip : Clip
    full_scale : float
        The value of a sample at full scale.
    """

    full_scale: float = 1.0

    def __init__(self, clip: Clip, full_scale: float) -> None:
        super().__init__(clip.path, clip.start_s, clip.end_s)
        object.__setattr__(self, "full_scale", float(full_scale))


@dataclass(frozen=True, eq=False)
class Samples:
    """A clip that is already in memory.

    Parameters
    ----------
    samples : array of shape (n,) or (n, channels)
        Floating point with full scale at 1.0, or integers with full scale at the limits of their type.
    sample_rate : int
        In Hz, from 1,000 to 768,000.
    label : str, default="array"
        The clip's name in messages.
    full_scale : float or None, default=None
        The value of a sample at full scale, if it is another.
    """

    samples: NDArray[Any]
    sample_rate: int
    label: str = "array"
    full_scale: float | None = None

    def __str__(self) -> str:
        return self.label


Source: TypeAlias = Clip | Samples


def full_scale_of(source: Source) -> float | None:
    """Return the full scale that was stated for a clip, or None."""
    return source.full_scale if isinstance(source, Samples | ScaledClip) else None


def printable_path(path: str) -> str:
    """Return a path as shown in messages: quoted and escaped if it holds unprintable characters."""
    return path if path.isprintable() else repr(path)
