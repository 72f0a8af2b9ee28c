"""Ten classes of synthetic sound, so that the demo, the tests and the benchmarks need no files.

Rule: everything random is drawn from the caller's generator, with its most basic methods, so that a seed gives the
same clip wherever NumPy's `Generator` gives the same numbers.

A clip is a sound of its class (with random pitch, rate, timbre and onset), recorded by a microphone with a random
spectral tilt, over background noise of random colour and signal-to-noise ratio, at a random level. The classes can
mostly be told apart, but not always: a beep in noise resembles a bird, or rain.
"""

from collections.abc import Callable, Iterator
from numbers import Integral
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import fft, signal

from l3clf.errors import ParameterError

__all__ = ["CLASSES", "synthesise"]

FloatArray: TypeAlias = npt.NDArray[np.float64]

MIN_DURATION_S = 0.1  # shorter clips of most classes are not recognisable
MIN_RATE_HZ = 8000
MAX_PEAK = 0.94
_SNR_DB = (8.0, 35.0)
_COLOUR_DB = (-6.0, -2.0)  # slope of the background per octave: brown to pale pink
_TILT_DB = (-1.0, 1.0)  # slope of the microphone's response per octave
_LEVEL_DB = (-24.0, 0.0)  # below MAX_PEAK
_LOWEST_HZ = 20.0
_OCTAVE_DB = 20 * np.log10(2)


# --- building blocks ------------------------------------------------------------------------------


def _edges(n: int, rate: int, fade_s: float) -> FloatArray:
    """Return an envelope of `n` samples that fades in and out along half a cosine in `fade_s` seconds: no clicks."""
    length = min(max(1, int(fade_s * rate)), n // 2)
    rise = 0.5 - 0.5 * np.cos(np.pi * (np.arange(length) + 0.5) / length)
    envelope = np.ones(n)
    envelope[:length] = rise
    envelope[n - length :] *= rise[::-1]
    return envelope


def _decay(rate: int, decay_s: float, attack_s: float = 0.0007) -> FloatArray:
    """Return the envelope of a strike: a steep rise and an exponential fall of time constant `decay_s`."""
    t = np.arange(max(2, int(7 * decay_s * rate))) / rate  # seven time constants are -60 dB
    return np.asarray((1 - np.exp(-t / attack_s)) * np.exp(-t / decay_s))


def _drift(rng: np.random.Generator, n: int, rate: int, points_per_s: float) -> FloatArray:
    """Return a slow random curve within [-1, 1]: straight lines between `points_per_s` random points a second."""
    knots = max(2, int(np.ceil(n / rate * points_per_s)) + 1)
    return np.interp(np.linspace(0, knots - 1, n), np.arange(knots), rng.uniform(-1, 1, knots))


def _tilted(x: FloatArray, rate: int, slope_db: float) -> FloatArray:
    """Tilt a spectrum by `slope_db` an octave, remove what is below 20 Hz, and scale the result to RMS 1."""
    size = fft.next_fast_len(len(x) + rate // 20, real=True)  # padding, or the ringing would wrap around
    f_hz = fft.rfftfreq(size, 1 / rate)
    gain = (f_hz >= _LOWEST_HZ) * (np.maximum(f_hz, _LOWEST_HZ) / 1000) ** (slope_db / _OCTAVE_DB)
    return _unit(np.asarray(fft.irfft(fft.rfft(x, size) * gain, size))[: len(x)])


def _noise(rng: np.random.Generator, n: int, rate: int, slope_db: float = 0.0) -> FloatArray:
    """Return Gaussian noise of RMS 1 whose spectrum slopes by `slope_db` an octave (pink: -3)."""
    return _tilted(rng.standard_normal(n), rate, slope_db)


def _unit(x: FloatArray) -> FloatArray:
    return x / max(float(np.sqrt(np.mean(x**2))), 1e-12)  # silence stays silence


def _tone(f_hz: FloatArray, rate: int, weights: FloatArray) -> FloatArray:
    """Return harmonics of a moving fundamental `f_hz` (n,) with amplitudes `weights`, without those that alias."""
    fits = np.arange(1, len(weights) + 1) * f_hz.max() < 0.45 * rate
    circle = np.exp(2j * np.pi * np.cumsum(f_hz) / rate)
    total = np.zeros(len(f_hz), dtype=complex)
    for weight in weights[fits][::-1]:  # Horner's rule: one product per harmonic instead of one sine
        total = (total + weight) * circle
    return np.asarray(total.imag)


def _timbre(rng: np.random.Generator, count: int, slope: float, spread: float = 0.6) -> FloatArray:
    """Return amplitudes of `count` harmonics: `k ** -slope`, each times a random factor; the first is 1."""
    weights = np.arange(1, count + 1) ** -slope * np.exp(rng.uniform(-spread, spread, count))
    weights[0] = 1.0
    return np.asarray(weights)


def _ring(rng: np.random.Generator, rate: int, modes_hz: FloatArray, decay_s: float) -> FloatArray:
    """Return a struck object: a few damped modes at `modes_hz` with random amplitudes, and the noise of the blow."""
    envelope = _decay(rate, decay_s)
    t = np.arange(len(envelope)) / rate
    modes = modes_hz[modes_hz < 0.45 * rate, None]
    blow = 0.3 * rng.standard_normal(len(t)) * np.exp(-t / (0.2 * decay_s))
    rings = rng.uniform(0.3, 1, (len(modes), 1)) * np.sin(2 * np.pi * modes * t)
    return np.asarray(envelope * rings.sum(axis=0) + blow)


def _band(x: FloatArray, rate: int, low_hz: float, high_hz: float) -> FloatArray:
    """Filter with a second-order band-pass."""
    edges = [low_hz, min(high_hz, 0.45 * rate)]
    return np.asarray(signal.sosfilt(signal.butter(2, edges, "bandpass", fs=rate, output="sos"), x))


def _beats(rng: np.random.Generator, n: int, rate: int, period_s: float, jitter: float = 0.0) -> Iterator[int]:
    """Yield the sample indices of a periodic event; the first is within one period and within half the clip."""
    at_s = rng.uniform(0.02, min(period_s, 0.5 * n / rate))
    while at_s * rate < n:
        yield int(at_s * rate)
        at_s += period_s * (1 + jitter * rng.uniform(-1, 1))  # the draw is made also without jitter: seeds depend on it


def _put(out: FloatArray, event: FloatArray, at: int) -> None:
    """Add an event to a clip in place; the part beyond the clip's end is cut off."""
    piece = event[: max(0, len(out) - at)]
    out[at : at + len(piece)] += piece


# --- classes --------------------------------------------------------------------------------------


def _siren(rng: np.random.Generator, n: int, rate: int) -> FloatArray:
    """Wail or yelp: a fundamental that sweeps up and down over about an octave, 0.25 to 3 times a second."""
    low_hz = rng.uniform(450, 800)
    span_octaves = rng.uniform(0.7, 1.2)
    sweeps = np.exp(rng.uniform(np.log(0.25), np.log(3))) * np.arange(n) / rate + rng.random()
    height = 0.5 + 0.5 * signal.sawtooth(2 * np.pi * sweeps, rng.uniform(0.3, 0.7))
    tone = _tone(low_hz * 2 ** (span_octaves * height), rate, _timbre(rng, 8, rng.uniform(0.8, 2)))
    return tone * (1 + 0.4 * _drift(rng, n, rate, 2))


def _drill(rng: np.random.Generator, n: int, rate: int) -> FloatArray:
    """Buzz of a motor that sags under load, chopped by the hammer, with the hiss of the bit."""
    motor_hz = rng.uniform(80, 260) * (1 + 0.08 * _drift(rng, n, rate, 3))
    buzz = _unit(_tone(motor_hz, rate, _timbre(rng, 40, rng.uniform(0.3, 0.9))))
    hammer = signal.sawtooth(2 * np.pi * rng.uniform(18, 40) * np.arange(n) / rate, 0.15)
    hiss = _noise(rng, n, rate, rng.uniform(0, 3))
    return np.asarray((buzz + rng.uniform(0.2, 0.8) * hiss) * (1 + rng.uniform(0, 0.8) * hammer))


def _bark(rng: np.random.Generator, n: int, rate: int) -> FloatArray:
    """Barks of 0.1 to 0.3 s whose pitch rises and falls, through the resonances of a throat."""
    pitch_hz, length = rng.uniform(220, 650), int(rng.uniform(0.1, 0.3) * rate)
    rough, mouth_hz = rng.uniform(0.1, 0.5), rng.uniform(800, 1600)
    out = np.zeros(n)
    for at in _beats(rng, n, rate, rng.uniform(0.35, 1.1), jitter=0.3):
        arch = np.sin(np.pi * np.linspace(0.15, 1, length))
        pitch = pitch_hz * rng.uniform(0.9, 1.1) * (0.6 + 0.5 * arch)
        voice = _tone(pitch, rate, _timbre(rng, 16, 0.7)) + rough * rng.standard_normal(length)
        loud = rng.uniform(0.6, 1) * arch * _edges(length, rate, 0.012)
        _put(out, loud * (_band(voice, rate, 0.6 * mouth_hz, 1.8 * mouth_hz) + 0.2 * voice), at)
    return out


def _rain(rng: np.random.Generator, n: int, rate: int) -> FloatArray:
    """Hiss of many distant drops that swells and fades, and 10 to 150 near ones a second."""
    drops = (rng.random(n) < rng.uniform(10, 150) / rate) * rng.exponential(1.0, n)
    near = signal.oaconvolve(drops, _ring(rng, rate, rng.uniform(900, 6000, 4), 0.004))[:n]
    far = _noise(rng, n, rate, rng.uniform(-3, 1)) * (1 + 0.3 * _drift(rng, n, rate, 1.5))
    return far + rng.uniform(0.3, 1.2) * _unit(near)


def _clock(rng: np.random.Generator, n: int, rate: int) -> FloatArray:
    """Strictly periodic ticks, 1 to 5 a second, of a few damped modes; tick and tock differ a little."""
    modes, decay_s = rng.uniform(1500, 7000, 4), rng.uniform(0.003, 0.015)
    sounds = [_ring(rng, rate, modes * shift, decay_s) for shift in (1.0, rng.uniform(0.85, 1.15))]
    out = np.zeros(n)
    for count, at in enumerate(_beats(rng, n, rate, rng.uniform(0.2, 1.0))):
        _put(out, sounds[count % 2], at)
    return out


def _engine(rng: np.random.Generator, n: int, rate: int) -> FloatArray:
    """Idling or revving: 18 to 60 firings a second, uneven in pitch, dull, with intake noise in the same rhythm."""
    revs = rng.uniform(0, 0.5) * np.sin(np.pi * np.arange(n) / n * rng.uniform(0, 3)) ** 2
    firing_hz = rng.uniform(18, 60) * (1 + revs + 0.04 * _drift(rng, n, rate, 8))
    pulses = _unit(_tone(firing_hz, rate, _timbre(rng, 40, rng.uniform(0.9, 1.4), 0.9)))
    breath = _noise(rng, n, rate, rng.uniform(-8, -4)) * np.clip(1 + pulses, 0, 3)
    return pulses + rng.uniform(0.4, 1.0) * breath


def _chirps(rng: np.random.Generator, n: int, rate: int) -> FloatArray:
    """Bird: groups of 2 to 8 short whistles between about 2 and 6 kHz, each sweeping up, down or both."""
    pitch_hz, length = rng.uniform(2000, min(5000, 0.28 * rate)), int(rng.uniform(0.03, 0.12) * rate)
    bend, arch = rng.uniform(-0.3, 0.3), rng.uniform(-0.25, 0.25)
    u = np.linspace(-1, 1, length)
    whistle = _tone(pitch_hz * (1 + bend * u + arch * u**2), rate, _timbre(rng, 2, rng.uniform(2, 4)))
    whistle *= _edges(length, rate, 0.25 * length / rate)
    gap, out = int(length * rng.uniform(1.2, 2.0)), np.zeros(n)
    for at in _beats(rng, n, rate, rng.uniform(0.6, 1.5), jitter=0.4):
        for note in range(int(rng.integers(2, 9))):
            _put(out, rng.uniform(0.4, 1) * whistle, at + note * gap)
    return out


def _footsteps(rng: np.random.Generator, n: int, rate: int) -> FloatArray:
    """Steps, 1.3 to 2.4 a second and slightly uneven: a dull heel, then the scrape of the sole."""
    weight_hz, floor_hz = rng.uniform(60, 160), np.exp(rng.uniform(np.log(400), np.log(3500)))
    scrape, out = rng.uniform(0.1, 0.7), np.zeros(n)
    for at in _beats(rng, n, rate, rng.uniform(0.42, 0.77), jitter=0.08):
        heel = _ring(rng, rate, weight_hz * np.array([1.0, 1.7, 2.9]), rng.uniform(0.02, 0.04))
        length = int(rng.uniform(0.08, 0.16) * rate)
        sole = rng.standard_normal(length) * np.sin(np.pi * np.linspace(0, 1, length)) ** 2
        _put(out, rng.uniform(0.7, 1) * heel, at)
        _put(out, scrape * _band(sole, rate, 0.5 * floor_hz, 2 * floor_hz), at + int(0.05 * rate))
    return out


def _alarm(rng: np.random.Generator, n: int, rate: int) -> FloatArray:
    """Electronic alarm: steady beeps of one pitch or of two in turn, 2 to 8 a second, rich in odd harmonics."""
    f_hz, ratio = rng.uniform(600, 2000), (1.0, rng.uniform(1.1, 1.35))[int(rng.integers(2))]
    period_s = rng.uniform(0.12, 0.5)
    length = int(period_s * rng.uniform(0.4, 0.8) * rate)
    odd = _timbre(rng, 9, rng.uniform(0.8, 2)) * np.array([1, 0.1] * 4 + [1])
    beeps = [_tone(np.full(length, f), rate, odd) * _edges(length, rate, 0.004) for f in (f_hz, ratio * f_hz)]
    out = np.zeros(n)
    for count, at in enumerate(_beats(rng, n, rate, period_s)):
        _put(out, beeps[count % 2], at)
    return out


def _hum(rng: np.random.Generator, n: int, rate: int) -> FloatArray:
    """Mains hum: a steady tone of 50, 60, 100 or 120 Hz (within 0.3 %) and its weaker harmonics."""
    f_hz = (50.0, 60.0, 100.0, 120.0)[int(rng.integers(4))] * rng.uniform(0.997, 1.003)
    weights = _timbre(rng, 24, rng.uniform(0.8, 1.6)) * rng.uniform(0.2, 0.6)
    weights[0] = 1.0
    return _tone(np.full(n, f_hz), rate, weights) * (1 + 0.05 * _drift(rng, n, rate, 1))


_MAKERS: dict[str, Callable[[np.random.Generator, int, int], FloatArray]] = {
    "siren": _siren,
    "drill": _drill,
    "bark": _bark,
    "rain": _rain,
    "clock": _clock,
    "engine": _engine,
    "chirps": _chirps,
    "footsteps": _footsteps,
    "alarm": _alarm,
    "hum": _hum,
}

CLASSES: tuple[str, ...] = tuple(_MAKERS)
"""Names of the classes."""


def synthesise(
    name: str, rng: np.random.Generator, duration_s: float = 5.0, sample_rate: int = 22050
) -> npt.NDArray[np.float32]:
    """Make one clip of a class with random parameters.

    Parameters
    ----------
    name : str
        One of `CLASSES`.
    rng : numpy.random.Generator
        Source of all randomness: the same state gives the same clip.
    duration_s : float, default=5.0
        Length of the clip in seconds, at least 0.1.
    sample_rate : int, default=22050
        Sample rate in Hz, at least 8000. Partials that would alias are left out.

    Returns
    -------
    ndarray of float32, shape (round(duration_s * sample_rate),)
        Mono. The peak is between 0.059 and 0.94 (a random level of -24 to 0 dB). The background is 8 to 35 dB
        below the sound, both as RMS over the whole clip.

    Raises
    ------
    ParameterError
        If the class is unknown, the clip too short, or the sample rate too low.

    Examples
    --------
    >>> import numpy as np
    >>> clip = synthesise("bark", np.random.default_rng(0), duration_s=2.0)
    >>> clip.shape, clip.dtype
    ((44100,), dtype('float32'))
    """
    _check(name, duration_s, sample_rate)
    sample_rate = int(sample_rate)
    n = round(duration_s * sample_rate)
    clip = _recorded(_MAKERS[name](rng, n, sample_rate), rng, sample_rate)
    # Scaled by the peak, so that no clip is clipped when written as 16-bit.
    level = MAX_PEAK * 10 ** (rng.uniform(*_LEVEL_DB) / 20)
    return np.asarray(clip * (level / np.abs(clip).max()), dtype=np.float32)


def _recorded(sound: FloatArray, rng: np.random.Generator, rate: int) -> FloatArray:
    """Add background noise to a sound, and record both with a microphone of tilted response."""
    n = len(sound)
    noise_gain = 10 ** (-rng.uniform(*_SNR_DB) / 20)
    background = _noise(rng, n, rate, rng.uniform(*_COLOUR_DB))
    recording = _tilted(_unit(sound) + noise_gain * background, rate, rng.uniform(*_TILT_DB))
    return recording * _edges(n, rate, 0.005)


def _check(name: str, duration_s: float, sample_rate: int) -> None:
    if name not in _MAKERS:
        raise ParameterError(f"name={name!r}; expected one of {', '.join(CLASSES)}")
    if not MIN_DURATION_S <= duration_s < np.inf:
        raise ParameterError(f"duration_s={duration_s!r}; expected at least {MIN_DURATION_S} seconds")
    if not isinstance(sample_rate, Integral) or sample_rate < MIN_RATE_HZ:
        raise ParameterError(f"sample_rate={sample_rate!r}; expected a whole number of Hz, at least {MIN_RATE_HZ}")
