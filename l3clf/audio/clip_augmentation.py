"""What may change in copies of training clips: shifts, stretches, pitch, level, noise, rooms and other clips.

The defaults were chosen on small tasks cut from the open pools, heard as they are and as through another microphone in
another room; see the guide small-data.

Rule: a change keeps what makes a clip one of its class; the changes that a student must bear are those of its parent.
"""

from dataclasses import dataclass, replace

import numpy as np

from l3clf.audio import augmentation
from l3clf.audio.augmentation import Range, is_silent, mix, time_shift, time_stretch
from l3clf.audio.clip import FloatArray
from l3clf.errors import ParameterError

__all__ = ["CHANGES", "MAX_COPIES", "Augmentation"]

MAX_COPIES = 1000
CHANGES = ("shift", "stretch", "pitch", "noise", "mix", "band", "colour", "room")
"""Changes that have a probability: the parameter ``p_`` of that name."""


@dataclass(frozen=True)
class Augmentation(augmentation.Augmentation):
    """How copies of training clips are changed: the parameter ``augment`` of `ClipClassifier`.

    Parameters
    ----------
    copies : int, default=4
        How many changed copies of each training clip are learned, beside the clip itself.
    shift_s : (low, high)
        Seconds by which a clip begins later; what leaves at one end is lost.
    stretch, pitch : (low, high)
        Factors of length and frequency, from 0.5 to 2.
    gain_db : (low, high)
        Change of level, of each copy.
    snr_db : (low, high)
        Signal-to-noise ratio of coloured noise, white to brown.
    mix_db : (low, high)
        Level of the clip above a second one of its class, or of a class "background", that is mixed in.
    low_hz, high_hz : (low, high)
        Lower and upper edge of the band that is kept, drawn on a logarithmic scale.
    decay_s : (low, high)
        Time in which the echoes of a room decay by 60 dB.
    direct_db : (low, high)
        Level of the direct sound above the echoes.
    colour_db : float
        Standard deviation of the gain at each of the eight frequencies of the equaliser.
    p_shift, p_stretch, p_pitch, p_noise, p_mix, p_band, p_colour, p_room : float
        Probability of each change, from 0 to 1.

    Raises
    ------
    ParameterError
        If a range, a probability or the number of copies is outside its limits.

    Examples
    --------
    >>> Augmentation(copies=2, p_room=0.5).copies
    2
    """

    gain_db: Range = (-6.0, 6.0)
    snr_db: Range = (10.0, 40.0)
    p_stretch: float = 0.5
    p_pitch: float = 0.5
    p_noise: float = 0.2
    p_mix: float = 0.5
    p_band: float = 0.05
    p_colour: float = 0.2
    p_room: float = 0.1
    copies: int = 4
    shift_s: Range = (-0.1, 0.1)
    p_shift: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        is_whole = isinstance(self.copies, int | np.integer) and not isinstance(self.copies, bool)
        if not is_whole or not 1 <= self.copies <= MAX_COPIES:
            raise ParameterError(f"copies={self.copies!r}; expected a whole number from 1 to {MAX_COPIES}")

    def draw_gain_db(self, rng: np.random.Generator) -> float:
        """Return the change of level for the next sound."""
        return rng.uniform(*self.gain_db)

    def render(
        self,
        samples: FloatArray,
        sample_rate: int,
        rng: np.random.Generator,
        second: FloatArray | None = None,
        below_db: float = 0.0,
    ) -> FloatArray:
        """Return a whole clip after random changes of everything but its level, which `draw_gain_db` draws.

        Parameters
        ----------
        samples : array of shape (n,), float32
        sample_rate : int
            In Hz.
        rng : Generator
        second : array of shape (m,), float32, optional
            A second clip to mix in; it is repeated if it is shorter, and cut anywhere if it is longer.
        below_db : float, default=0.0
            How far the second clip is below the first, in dB; see `draw_mix_db`.

        Returns
        -------
        array of shape (k,), float32
            Shorter or longer than the clip where it was stretched. Digital silence is returned unchanged.
        """
        if is_silent(samples):
            return samples
        if rng.random() < self.p_shift:
            samples = time_shift(samples, sample_rate, rng.uniform(*self.shift_s))
        stretch = self.draw_stretch(rng)
        if stretch != 1:
            samples = time_stretch(samples, sample_rate, stretch)
        samples = replace(self, gain_db=(0.0, 0.0)).apply(samples, sample_rate, rng)
        if second is not None:
            first = int(rng.integers(len(second)))
            around = np.take(second, np.arange(first, first + len(samples)), mode="wrap")
            samples = samples if is_silent(samples) else mix(samples, around, below_db)
        return self.apply_noise(samples, rng)
