"""Augmentation: what may happen to a sound between its source and a microphone.

Rule: every change is a function of samples and plain numbers, with a known answer on a known signal;
`Augmentation` alone draws the numbers, from the generator that it is given, so that a seed gives the
same sound again.
"""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import soxr
from numpy.typing import NDArray
from scipy import fft, signal

from l3clf.audio.clip import FloatArray
from l3clf.errors import ParameterError

__all__ = [
    "Augmentation",
    "add_noise",
    "band_limit",
    "coloured_noise",
    "equalise",
    "gain",
    "is_silent",
    "mix",
    "pitch_shift",
    "reverberate",
    "time_stretch",
]

Range: TypeAlias = tuple[float, float]

OVERLAP = 4  # frames over each sample in the phase vocoder
VOCODER_FRAME_S = 0.064
EQUALISER_HZ = (60.0, 120.0, 250.0, 500.0, 1000.0, 2000.0, 4000.0, 8000.0)
RINGING_S = 0.1
FILTER_ORDER = 4
LOWEST_POWER = 1e-12  # of what counts as a sound: a signal-to-noise ratio needs a signal


def gain(samples: FloatArray, db: float) -> FloatArray:
    """Raise (or lower) the level by `db` decibels."""
    return np.asarray(samples * np.float32(10 ** (db / 20)), np.float32)


def time_stretch(samples: FloatArray, sample_rate: int, factor: float) -> FloatArray:
    """Make a sound `factor` times as long at the same pitch, with a phase vocoder.

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
    Each bin's phase goes on by itself: after a sharp onset, neighbouring bins differ from what they were, which
    costs a tone that begins at full level about 1 dB.

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
    """Spectra at fractional frames: magnitudes interpolated, phases advanced as they do in the source there."""
    before = read_at.astype(np.intp)
    part = (read_at - before)[:, np.newaxis].astype(np.float32)
    magnitude = np.abs(spectra)
    phasors = np.where(magnitude > 0, spectra / np.maximum(magnitude, np.float32(1e-30)), np.complex64(1))
    magnitude = magnitude[before] * (1 - part) + magnitude[before + 1] * part
    # Frames come out as far apart as they went in, so that multiples of 2 pi do not matter.
    turns = phasors[before[:-1] + 1] * phasors[before[:-1]].conj()
    phasors = np.cumprod(np.concatenate([phasors[:1], turns]), axis=0)
    return np.asarray(magnitude * phasors, np.complex64)


def _overlap_add(frames: FloatArray, window: FloatArray, hop: int) -> FloatArray:
    out = np.zeros(hop * len(frames) + len(window), np.float32)
    weight = np.zeros_like(out)
    for i, frame in enumerate(frames):
        out[i * hop : i * hop + len(window)] += frame
        weight[i * hop : i * hop + len(window)] += window**2
    return np.asarray(out / np.maximum(weight, np.float32(0.1)), np.float32)


def pitch_shift(samples: FloatArray, sample_rate: int, factor: float) -> FloatArray:
    """Multiply every frequency by `factor` (0.5 to 2) at the same length: stretched, then played faster.

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
    """Return noise whose power falls with ``1 / f ** exponent``: 0 is white, 1 pink, 2 brown; RMS 1.

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
    """Whether a sound has too little power for a ratio to be taken of it."""
    return float(np.mean(samples.astype(np.float64) ** 2)) < LOWEST_POWER


def mix(samples: FloatArray, other: FloatArray, ratio_db: float) -> FloatArray:
    """Add another sound, its power `ratio_db` below this one's; where either is silent, at its own level."""
    if is_silent(samples) or is_silent(other):
        return samples + other
    ours, theirs = (float(np.mean(x.astype(np.float64) ** 2)) for x in (samples, other))
    return samples + other * np.float32(np.sqrt(ours / theirs) * 10 ** (-ratio_db / 20))


def add_noise(samples: FloatArray, noise: FloatArray, snr_db: float) -> FloatArray:
    """Add noise at a signal-to-noise ratio in dB; silence stays silent, as it has no such ratio."""
    return samples if is_silent(samples) else mix(samples, noise, snr_db)


def band_limit(samples: FloatArray, sample_rate: int, low_hz: float | None, high_hz: float | None) -> FloatArray:
    """Keep what lies between two frequencies (Butterworth, 24 dB an octave); None leaves a side open.

    So does a frequency that no sound of this sample rate has.
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
    """Colour a sound as a microphone or a room does: gains in dB at 60, 120, 250 ... 8000 Hz.

    Between them the gain is linear in dB over the logarithm of the frequency; the phase is kept.
    """
    n = fft.next_fast_len(len(samples) + round(RINGING_S * sample_rate), real=True)  # else it wraps around
    hz = np.maximum(fft.rfftfreq(n, 1 / sample_rate), 1.0)
    curve_db = np.interp(np.log(hz), np.log(EQUALISER_HZ), gains_db)
    spectrum = fft.rfft(samples, n) * (10 ** (curve_db / 20)).astype(np.float32)
    return np.asarray(fft.irfft(spectrum, n)[: len(samples)], np.float32)


def reverberate(
    samples: FloatArray, sample_rate: int, decay_s: float, direct_db: float, rng: np.random.Generator
) -> FloatArray:
    """Put a sound into a room: echoes that fade, 60 dB in `decay_s`, as noise does.

    Parameters
    ----------
    samples : array of shape (n,)
    sample_rate : int
        In Hz.
    decay_s : float
    direct_db : float
        How far the echoes' power, all together, lies below the sound's own.
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
    echoes[0] = 0
    echoes *= 10 ** (-direct_db / 20) / np.sqrt(np.sum(echoes**2))
    wet = signal.fftconvolve(samples, echoes.astype(np.float32))[: len(samples)]
    return np.asarray(samples + wet, np.float32)


_RANGES = ("decay_s", "direct_db", "stretch", "pitch", "gain_db", "snr_db", "mix_db", "low_hz", "high_hz")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | np.number) and bool(np.isfinite(value))


def _is_range(value: object) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and all(map(_is_number, value)) and value[0] <= value[1]


@dataclass(frozen=True)
class Augmentation:
    """How far each change goes and how often it happens (`p_...`, from 0 to 1).

    Parameters
    ----------
    stretch, pitch : (low, high)
        Factors of length and frequency.
    gain_db : (low, high)
    snr_db : (low, high)
        Of coloured noise, from white to brown.
    mix_db : (low, high)
        How far a second clip lies below the first.
    low_hz, high_hz : (low, high)
        Where the band's lower and upper ends may lie, drawn on a logarithmic scale.
    decay_s : (low, high)
        Of a room's echoes, by 60 dB.
    direct_db : (low, high)
        How far a room's echoes lie below the sound.
    colour_db : float
        Standard deviation of the gain at each of the equaliser's eight frequencies.
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
            if name in _RANGES and not _is_range(value):
                raise ParameterError(f"{name}={value!r}; expected (low, high) with low <= high")
        for name in ("stretch", "pitch"):
            _check_factor(name, getattr(self, name)[0])
            _check_factor(name, getattr(self, name)[1])
        if not 0 < self.low_hz[0] <= self.low_hz[1] < self.high_hz[0]:
            raise ParameterError(f"low_hz={self.low_hz}, high_hz={self.high_hz}; expected 0 < low_hz < high_hz")
        if self.decay_s[0] <= 0:
            raise ParameterError(f"decay_s={self.decay_s}; expected times above 0")
        if not _is_number(self.colour_db) or self.colour_db < 0:
            raise ParameterError(f"colour_db={self.colour_db!r}; expected a number of decibels of at least 0")

    def draw_stretch(self, rng: np.random.Generator) -> float:
        """Return the factor of length for the next sound: 1 where it is left alone."""
        return rng.uniform(*self.stretch) if rng.random() < self.p_stretch else 1.0

    def apply(self, samples: FloatArray, sample_rate: int, rng: np.random.Generator) -> FloatArray:
        """Return a sound with drawn pitch, room, colour, band and level, of the same length."""
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
        """Return a sound with noise of a drawn colour and ratio added, where it is drawn at all."""
        if rng.random() >= self.p_noise:
            return samples
        return add_noise(samples, coloured_noise(len(samples), rng.uniform(0, 2), rng), rng.uniform(*self.snr_db))

    def draw_mix_db(self, rng: np.random.Generator) -> float | None:
        """Return how far below a second clip is to be mixed in, or None for no second clip."""
        return rng.uniform(*self.mix_db) if rng.random() < self.p_mix else None
