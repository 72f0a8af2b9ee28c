"""Augmentation: the changes that a sound undergoes between its source and a microphone.

Rule: every change is a function of samples and plain numbers, with a known result on a known signal. Only
`Augmentation` draws those numbers, from the generator passed to it, so that the same seed gives the same sound.
"""

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import soxr
from numpy.typing import NDArray
from scipy import fft, signal

from l3clf.audio.clip import FloatArray
from l3clf.errors import ParameterError

__all__ = [
    "RANGES",
    "Augmentation",
    "Range",
    "add_noise",
    "band_limit",
    "coloured_noise",
    "equalise",
    "gain",
    "is_silent",
    "mix",
    "pitch_shift",
    "reverberate",
    "time_shift",
    "time_stretch",
]

Range: TypeAlias = tuple[float, float]

OVERLAP = 4  # frames over each sample in the phase vocoder: squared Hann windows then add up to a constant
VOCODER_FRAME_S = 0.064  # resolves two partials about 30 Hz apart and still follows syllables
EQUALISER_HZ = (60.0, 120.0, 250.0, 500.0, 1000.0, 2000.0, 4000.0, 8000.0)
RINGING_S = 0.1  # padding for the equaliser's impulse response
FILTER_ORDER = 4  # 24 dB per octave
MIN_POWER = 1e-12  # of a sound (-120 dBFS): below it, a signal-to-noise ratio means nothing


def gain(samples: FloatArray, db: float) -> FloatArray:
    """Change the level by `db` decibels."""
    return np.asarray(samples * np.float32(10 ** (db / 20)), np.float32)


def time_shift(samples: FloatArray, sample_rate: int, shift_s: float) -> FloatArray:
    """Let a sound begin later, or earlier if `shift_s` is negative; what leaves at one end is lost.

    Returns
    -------
    array of shape (n,), float32
    """
    n = len(samples)
    shift = max(-n, min(n, round(shift_s * sample_rate)))
    return np.pad(samples[max(0, -shift) : n - max(0, shift)], (max(0, shift), max(0, -shift)))


def time_stretch(samples: FloatArray, sample_rate: int, factor: float) -> FloatArray:
    """Make a sound `factor` times as long without changing its pitch, with a phase vocoder.

    Parameters
    ----------
    samples : array of shape (n,)
    sample_rate : int
        In Hz.
    factor : float
        From 0.5 to 2.

    Returns
    -------
    array of shape (round(n * factor),), float32

    Notes
    -----
    The phase of each bin advances on its own: after a sharp onset, neighbouring bins lose their alignment, which
    lowers a tone that starts at full level by about 1 dB.

    References
    ----------
    J. L. Flanagan, R. M. Golden: "Phase Vocoder", Bell System Technical Journal, 1966.
    """
    _check_factor("time_stretch", factor)
    n_out = round(len(samples) * factor)
    frame = 2 ** round(np.log2(VOCODER_FRAME_S * sample_rate))
    hop = frame // OVERLAP
    window = np.hanning(frame + 1)[:frame].astype(np.float32)
    n_frames = int(np.ceil(n_out / hop)) + OVERLAP
    read_at = np.arange(n_frames) / factor  # in frames of the source
    padded = np.pad(samples, (frame // 2, frame + hop * (int(read_at[-1]) + 2)))
    frames = np.lib.stride_tricks.sliding_window_view(padded, frame)[::hop][: int(read_at[-1]) + 2]
    spectra = fft.rfft(frames * window, axis=1)
    out = fft.irfft(_respaced(spectra, read_at), n=frame, axis=1) * window
    return _overlap_add(out, window, hop)[frame // 2 :][:n_out]


def _respaced(spectra: NDArray[np.complex64], read_at: NDArray[np.float64]) -> NDArray[np.complex64]:
    """Return spectra at fractional frames: interpolated magnitudes, and phases advanced as in the source there."""
    before = read_at.astype(np.intp)
    part = (read_at - before)[:, np.newaxis].astype(np.float32)
    magnitude = np.abs(spectra)
    phasors = np.where(magnitude > 0, spectra / np.maximum(magnitude, np.float32(1e-30)), np.complex64(1))
    magnitude = magnitude[before] * (1 - part) + magnitude[before + 1] * part
    # Frames are written with the hop they were read with, so phases need no unwrapping.
    turns = phasors[before[:-1] + 1] * phasors[before[:-1]].conj()
    phasors = np.cumprod(np.concatenate([phasors[:1], turns]), axis=0)
    return np.asarray(magnitude * phasors, np.complex64)


def _overlap_add(frames: FloatArray, window: FloatArray, hop: int) -> FloatArray:
    out = np.zeros(hop * len(frames) + len(window), np.float32)
    weight = np.zeros_like(out)
    for i, frame in enumerate(frames):
        out[i * hop : i * hop + len(window)] += frame
        weight[i * hop : i * hop + len(window)] += window**2
    # The weight is constant but at the ends, where it falls to zero; there, the bound avoids amplified noise.
    return np.asarray(out / np.maximum(weight, np.float32(0.1)), np.float32)


def pitch_shift(samples: FloatArray, sample_rate: int, factor: float) -> FloatArray:
    """Multiply every frequency by `factor` (0.5 to 2) at the same length: stretch the sound, then play it faster.

    Returns
    -------
    array of shape (n,), float32
    """
    stretched = time_stretch(samples, sample_rate, factor)
    out = np.asarray(soxr.resample(stretched, factor, 1.0), np.float32)
    return np.pad(out, (0, max(0, len(samples) - len(out))))[: len(samples)]


def _check_factor(what: str, factor: float) -> None:
    if not 0.5 <= factor <= 2:
        raise ParameterError(f"{what}: factor={factor!r}; expected a number from 0.5 to 2")


def coloured_noise(n: int, exponent: float, rng: np.random.Generator) -> FloatArray:
    """Return noise of RMS 1 whose power falls as ``1 / f ** exponent``: 0 is white, 1 pink, 2 brown.

    Returns
    -------
    array of shape (n,), float32
    """
    spectrum = fft.rfft(rng.standard_normal(n, np.float32))
    spectrum *= np.maximum(np.arange(len(spectrum)), 1) ** np.float32(-exponent / 2)
    spectrum[0] = 0
    noise = fft.irfft(spectrum, n=n)
    return np.asarray(noise / max(np.sqrt(np.mean(noise**2)), 1e-9), np.float32)


def is_silent(samples: FloatArray) -> bool:
    """Return whether the power of a sound is too low for a signal-to-noise ratio."""
    return _power(samples) < MIN_POWER


def _power(samples: FloatArray) -> float:
    return float(np.mean(samples.astype(np.float64) ** 2))


def mix(samples: FloatArray, other: FloatArray, ratio_db: float) -> FloatArray:
    """Add another sound with its power `ratio_db` below the first; if either is silent, at its own level."""
    if is_silent(samples) or is_silent(other):
        return samples + other
    return samples + other * np.float32(np.sqrt(_power(samples) / _power(other)) * 10 ** (-ratio_db / 20))


def add_noise(samples: FloatArray, noise: FloatArray, snr_db: float) -> FloatArray:
    """Add noise at a signal-to-noise ratio in dB; silence, which has no such ratio, is returned unchanged."""
    return samples if is_silent(samples) else mix(samples, noise, snr_db)


def band_limit(samples: FloatArray, sample_rate: int, low_hz: float | None, high_hz: float | None) -> FloatArray:
    """Keep the band between two frequencies in Hz (Butterworth, 24 dB per octave); None leaves a side open.

    So does a frequency of 0 or of at least half the sample rate.
    """
    if low_hz is not None and high_hz is not None and not low_hz < high_hz:
        raise ParameterError(f"band_limit: low_hz={low_hz}, high_hz={high_hz}; expected low_hz below high_hz")
    edges = [hz for hz in (low_hz, high_hz) if hz is not None and 0 < hz < sample_rate / 2]
    if not edges:
        return samples
    kind = "bandpass" if len(edges) == 2 else ("highpass" if edges[0] == low_hz else "lowpass")
    sections = signal.butter(FILTER_ORDER, edges if len(edges) == 2 else edges[0], kind, fs=sample_rate, output="sos")
    return np.asarray(signal.sosfilt(sections, samples), np.float32)


def equalise(samples: FloatArray, sample_rate: int, gains_db: NDArray[np.floating]) -> FloatArray:
    """Colour a sound as a microphone or a room does: gains in dB at 60, 120, 250, 500, 1000, 2000, 4000 and 8000 Hz.

    Between these, the gain in dB is linear over the logarithm of the frequency; the phase is kept.
    """
    # Padded, because a product of spectra is a circular convolution: the end would ring into the start.
    n = fft.next_fast_len(len(samples) + round(RINGING_S * sample_rate), real=True)
    hz = np.maximum(fft.rfftfreq(n, 1 / sample_rate), 1.0)
    curve_db = np.interp(np.log(hz), np.log(EQUALISER_HZ), gains_db)
    spectrum = fft.rfft(samples, n) * (10 ** (curve_db / 20)).astype(np.float32)
    return np.asarray(fft.irfft(spectrum, n)[: len(samples)], np.float32)


def reverberate(
    samples: FloatArray, sample_rate: int, decay_s: float, direct_db: float, rng: np.random.Generator
) -> FloatArray:
    """Add the reverberation of a room: white noise that decays exponentially, by 60 dB in `decay_s`.

    Parameters
    ----------
    samples : array of shape (n,)
    sample_rate : int
        In Hz.
    decay_s : float
        In seconds.
    direct_db : float
        Ratio of the direct sound's power to that of all echoes, in dB.
    rng : Generator

    Returns
    -------
    array of shape (n,), float32

    References
    ----------
    J. A. Moorer: "About This Reverberation Business", Computer Music Journal, 1979.
    """
    n = max(2, round(decay_s * sample_rate))
    echoes = rng.standard_normal(n) * 10 ** (-3 * np.arange(n) / n)
    echoes[0] = 0  # the direct sound is added below
    echoes *= 10 ** (-direct_db / 20) / np.sqrt(np.sum(echoes**2))
    wet = signal.fftconvolve(samples, echoes.astype(np.float32))[: len(samples)]
    return np.asarray(samples + wet, np.float32)


RANGES = ("decay_s", "direct_db", "stretch", "pitch", "gain_db", "snr_db", "mix_db", "low_hz", "high_hz", "shift_s")
"""Parameters of an `Augmentation` that are (low, high)."""
DECIBELS = ("direct_db", "gain_db", "snr_db", "mix_db")
MAX_DB = 200.0  # beyond it samples or their squares are no numbers any more
MAX_DECAY_S = 60.0  # an echo of that length is computed


def _is_number(value: object) -> bool:
    try:
        return isinstance(value, int | float | np.number) and math.isfinite(value)
    except (OverflowError, TypeError):  # an integer beyond all floats; a complex number
        return False


def _is_range(value: object) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and all(map(_is_number, value)) and value[0] <= value[1]


@dataclass(frozen=True)
class Augmentation:
    """Ranges from which changes are drawn, and the probability of each change.

    For ``l3clf.distill.distil(augmentation=...)``; that of a classifier's clips is `l3clf.Augmentation`.

    Parameters
    ----------
    stretch, pitch : (low, high)
        Factors of length and frequency, from 0.5 to 2.
    gain_db : (low, high)
        Change of level.
    snr_db : (low, high)
        Signal-to-noise ratio of coloured noise, white to brown.
    mix_db : (low, high)
        Level of the first clip above a second one that is mixed in.
    low_hz, high_hz : (low, high)
        Lower and upper edge of the band that is kept, drawn on a logarithmic scale.
    decay_s : (low, high)
        Time in which the echoes of a room decay by 60 dB.
    direct_db : (low, high)
        Level of the direct sound above the echoes.
    colour_db : float
        Standard deviation of the gain at each of the eight frequencies of the equaliser.
    p_stretch, p_pitch, p_noise, p_mix, p_band, p_colour, p_room : float
        Probability of each change, from 0 to 1.

    Raises
    ------
    ParameterError
        If a range or a probability is outside its limits.
    """

    stretch: Range = (0.85, 1.15)
    pitch: Range = (0.85, 1.15)
    gain_db: Range = (-24.0, 6.0)
    snr_db: Range = (5.0, 40.0)
    mix_db: Range = (0.0, 15.0)
    low_hz: Range = (60.0, 500.0)
    high_hz: Range = (2500.0, 8000.0)
    decay_s: Range = (0.1, 1.0)
    direct_db: Range = (-3.0, 15.0)
    colour_db: float = 4.0
    p_stretch: float = 0.2
    p_pitch: float = 0.3
    p_noise: float = 0.4
    p_mix: float = 0.4
    p_band: float = 0.15
    p_colour: float = 0.4
    p_room: float = 0.2

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if name.startswith("p_") and not (_is_number(value) and 0 <= value <= 1):
                raise ParameterError(f"{name}={value!r}; expected a probability from 0 to 1")
            if name in RANGES and not _is_range(value):
                raise ParameterError(f"{name}={value!r}; expected (low, high) with low <= high")
            limit = MAX_DECAY_S if name == "decay_s" else MAX_DB
            if name in (*DECIBELS, "decay_s") and max(map(abs, value)) > limit:
                raise ParameterError(f"{name}={value!r}; expected values of at most {limit:g}")
        for name in ("stretch", "pitch"):
            for factor in getattr(self, name):
                _check_factor(name, factor)
        if not 0 < self.low_hz[0] <= self.low_hz[1] < self.high_hz[0]:
            raise ParameterError(f"low_hz={self.low_hz}, high_hz={self.high_hz}; expected 0 < low_hz < high_hz")
        if self.decay_s[0] <= 0:
            raise ParameterError(f"decay_s={self.decay_s}; expected times above 0")
        if not _is_number(self.colour_db) or not 0 <= self.colour_db <= MAX_DB:
            raise ParameterError(f"colour_db={self.colour_db!r}; expected a number of decibels from 0 to {MAX_DB:g}")

    def draw_stretch(self, rng: np.random.Generator) -> float:
        """Return the factor of length for the next sound; 1 leaves it unchanged."""
        return rng.uniform(*self.stretch) if rng.random() < self.p_stretch else 1.0

    def apply(self, samples: FloatArray, sample_rate: int, rng: np.random.Generator) -> FloatArray:
        """Return a sound of the same length after random changes of pitch, room, colour, band and level."""
        if rng.random() < self.p_pitch:
            samples = pitch_shift(samples, sample_rate, rng.uniform(*self.pitch))
        if rng.random() < self.p_room:
            decay_s, direct_db = rng.uniform(*self.decay_s), rng.uniform(*self.direct_db)
            samples = reverberate(samples, sample_rate, decay_s, direct_db, rng)
        if rng.random() < self.p_colour:
            samples = equalise(samples, sample_rate, self.colour_db * rng.standard_normal(len(EQUALISER_HZ)))
        if rng.random() < self.p_band:
            low, high = (float(np.exp(rng.uniform(*np.log(edge)))) for edge in (self.low_hz, self.high_hz))
            samples = band_limit(samples, sample_rate, low, high)
        return gain(samples, rng.uniform(*self.gain_db))

    def apply_noise(self, samples: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Return a sound with noise of random colour and level added, with probability `p_noise`."""
        if rng.random() >= self.p_noise:
            return samples
        return add_noise(samples, coloured_noise(len(samples), rng.uniform(0, 2), rng), rng.uniform(*self.snr_db))

    def draw_mix_db(self, rng: np.random.Generator) -> float | None:
        """Return how many dB below the first a second clip is to be mixed in, or None for no second clip."""
        return rng.uniform(*self.mix_db) if rng.random() < self.p_mix else None
