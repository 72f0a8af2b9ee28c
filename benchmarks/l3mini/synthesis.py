"""Sounds to learn from that need no recording, and speech where espeak-ng is installed.

Rule: no sound imitates anything. What distinguishes sources to the ear (pitch and how it glides, resonances, rhythm,
onsets, bands of noise and how they swell) is drawn at random, and the teachers' embeddings of it are what is learned.
"""

import io
import shutil
import subprocess
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import soundfile
from numpy.typing import NDArray
from scipy import signal

from l3clf.audio.augmentation import EQUALISER_HZ, band_limit, coloured_noise, equalise, mix
from l3clf.audio.clip import FloatArray, Samples
from l3clf.errors import MissingDependencyError

__all__ = ["spoken", "synthetic_sounds"]

SAMPLE_RATE = 16_000
TIMEOUT_S = 20
SECOND_KIND = 0.3  # share of sounds with another one behind them


def synthetic_sounds(n: int, seed: int = 0, duration_s: float = 3.0) -> list[Samples]:
    """Return sounds drawn from a seed: of ten kinds in turn, alone or two at once.

    Parameters
    ----------
    n : int
    seed : int
    duration_s : float

    Returns
    -------
    list of Samples
        At 16 kHz; each sound's peak is between 30 and 3 dB below full scale.
    """
    kinds = (_tones, _sweep, _pulses, _noise, _struck, _voice, _engine, _texture, _crackle, _bursts)
    out = []
    for i in range(n):
        rng = np.random.default_rng([seed, i])
        sound = kinds[i % len(kinds)](round(duration_s * SAMPLE_RATE), rng)
        if rng.random() < SECOND_KIND:
            other = kinds[int(rng.integers(len(kinds)))](len(sound), rng)
            sound = mix(sound, other, rng.uniform(0, 20))
        sound *= np.float32(10 ** (rng.uniform(-30, -3) / 20)) / max(float(np.abs(sound).max()), 1e-6)
        out.append(Samples(sound, SAMPLE_RATE, f"synthetic {i}"))
    return out


def _tones(n: int, rng: np.random.Generator) -> FloatArray:
    t = np.arange(n) / SAMPLE_RATE
    base_hz = np.exp(rng.uniform(np.log(80), np.log(4000)))
    out = sum(np.sin(2 * np.pi * base_hz * k * t) / k ** rng.uniform(0.5, 2) for k in range(1, int(rng.integers(2, 9))))
    return np.asarray(out * _envelope(n, rng), np.float32)


def _sweep(n: int, rng: np.random.Generator) -> FloatArray:
    low, high = np.exp(rng.uniform(np.log(80), np.log(7000), 2))
    hz = low * (high / low) ** np.linspace(0, 1, n)
    return np.asarray(np.sin(2 * np.pi * np.cumsum(hz) / SAMPLE_RATE) * _envelope(n, rng), np.float32)


def _pulses(n: int, rng: np.random.Generator) -> FloatArray:
    out = np.zeros(n, np.float32)
    step = round(SAMPLE_RATE / np.exp(rng.uniform(np.log(1.5), np.log(40))))
    click = coloured_noise(int(rng.integers(40, 1200)), rng.uniform(0, 1.5), rng)
    click *= np.exp(-np.linspace(0, 6, len(click))).astype(np.float32)
    for at in range(0, n - len(click), step):
        out[at : at + len(click)] += click
    return out


def _noise(n: int, rng: np.random.Generator) -> FloatArray:
    return np.asarray(coloured_noise(n, rng.uniform(-0.5, 2.5), rng) * _envelope(n, rng), np.float32)


def _envelope(n: int, rng: np.random.Generator) -> FloatArray:
    """A slow random rise and fall, or none."""
    if rng.random() < 0.4:
        return np.ones(n, np.float32)
    return _curve(n, rng.uniform(0, 1, int(rng.integers(3, 12))) ** 2)


def _struck(n: int, rng: np.random.Generator) -> FloatArray:
    """Something with resonances of its own is struck, now and then or in time: wood, metal, glass, a drum."""
    length = round(SAMPLE_RATE * _between(rng, 0.03, 1.5))
    t = np.arange(length)[:, np.newaxis] / SAMPLE_RATE
    hz = _between(rng, 100, 3000) * (1 + np.cumsum(rng.exponential(rng.uniform(0.1, 1), int(rng.integers(1, 12)))))
    decays_s = length / SAMPLE_RATE / 6 * (hz[0] / hz) ** rng.uniform(0, 1)
    modes = np.sin(2 * np.pi * hz * t) * np.exp(-t / decays_s) * rng.exponential(1, len(hz)) * (hz < SAMPLE_RATE / 2)
    click = coloured_noise(length, 0, rng) * np.exp(-t[:, 0] / 0.002) * _between(rng, 0.05, 1)
    return _placed(n, (modes.sum(axis=1) + click).astype(np.float32), rng)


def _voice(n: int, rng: np.random.Generator) -> FloatArray:
    """A throat, or a horn: many harmonics whose pitch glides, in syllables, through resonances, with some breath."""
    knots = _between(rng, 70, 1500) * np.exp(rng.normal(0, rng.uniform(0, 0.4), int(rng.integers(3, 16))))
    vibrato = 1 + rng.uniform(0, 0.04) * np.sin(2 * np.pi * rng.uniform(3, 30) * np.arange(n) / SAMPLE_RATE)
    hz = _curve(n, np.minimum(knots, 3000)) * vibrato
    phase = 2 * np.pi * np.cumsum(hz) / SAMPLE_RATE
    tilt, out = rng.uniform(0.3, 1.5), np.zeros(n)
    for k in range(1, 40):
        out += np.sin(k * phase) / k**tilt * (k * hz < SAMPLE_RATE / 2)
    breath = coloured_noise(n, rng.uniform(0, 1), rng) * np.std(out) * _between(rng, 0.01, 1)
    return _resonant(np.asarray((out + breath) * _syllables(n, rng), np.float32), rng)


def _engine(n: int, rng: np.random.Generator) -> FloatArray:
    """The same short sound over and over, about as often as a machine turns: rotors, motors, purring."""
    hz = _curve(n, _between(rng, 6, 150) * np.exp(rng.normal(0, rng.uniform(0, 0.3), int(rng.integers(2, 8)))))
    at = np.flatnonzero(np.diff(np.floor(np.cumsum(hz) / SAMPLE_RATE)))
    train = np.zeros(n, np.float32)
    train[at] = 1 + rng.normal(0, rng.uniform(0, 0.4), len(at))
    length = round(SAMPLE_RATE * _between(rng, 0.003, 0.1))
    shot = coloured_noise(length, rng.uniform(0, 2), rng) * np.exp(-np.linspace(0, 6, length))
    rush = coloured_noise(n, rng.uniform(0, 2), rng) * _between(rng, 0.003, 0.3)
    return _resonant(np.asarray(signal.fftconvolve(train, shot)[:n] + rush, np.float32), rng)


def _texture(n: int, rng: np.random.Generator) -> FloatArray:
    """Bands of noise that swell each in its own time: wind, water, crowds, traffic."""
    together, rate_hz = rng.uniform(0, 1), _between(rng, 0.3, 30)
    out, common = np.zeros(n, np.float32), _swell(n, rate_hz, rng)
    edges = np.geomspace(60, 7500, int(rng.integers(3, 9)))
    for low, high in pairwise(edges):
        band = band_limit(coloured_noise(n, 0, rng), SAMPLE_RATE, low, high)
        swell = common**together * _swell(n, rate_hz, rng) ** (1 - together)
        out += band * swell * np.float32(10 ** (rng.normal(0, 10) / 20))
    return out


def _crackle(n: int, rng: np.random.Generator) -> FloatArray:
    """Many small clicks at random, few of them loud, above a murmur: fire, drops, gravel, keys."""
    train = np.zeros(n, np.float32)
    at = rng.integers(0, n, max(1, rng.poisson(n / SAMPLE_RATE * _between(rng, 2, 300))))
    train[at] = rng.pareto(rng.uniform(1, 3), len(at)) * rng.choice([-1, 1], len(at))
    length = round(SAMPLE_RATE * _between(rng, 0.001, 0.05))
    click = coloured_noise(length, rng.uniform(-0.5, 1), rng) * np.exp(-np.linspace(0, 6, length))
    out = signal.fftconvolve(np.clip(train, -30, 30), click)[:n]
    murmur = coloured_noise(n, rng.uniform(0.5, 2), rng) * max(float(np.std(out)), 1e-6) * _between(rng, 0.01, 2)
    return _resonant(np.asarray(out + murmur, np.float32), rng)


def _bursts(n: int, rng: np.random.Generator) -> FloatArray:
    """Noise that comes and goes at once: coughs, steam, claps, steps."""
    length = round(SAMPLE_RATE * _between(rng, 0.03, 1.2))
    rise = rng.uniform(0.01, 0.6)
    shape = np.interp(np.linspace(0, 1, length), [0, rise, 1], [0, 1, 0]) ** rng.uniform(0.5, 4)
    burst = coloured_noise(length, rng.uniform(-0.5, 1.5), rng) * shape
    return _placed(n, _resonant(np.asarray(burst, np.float32), rng), rng)


def _between(rng: np.random.Generator, low: float, high: float) -> float:
    """A number on a logarithmic scale."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _curve(n: int, knots: NDArray[np.floating]) -> FloatArray:
    return np.asarray(np.interp(np.linspace(0, len(knots) - 1, n), np.arange(len(knots)), knots), np.float32)


def _swell(n: int, rate_hz: float, rng: np.random.Generator) -> FloatArray:
    """A level that moves some times a second, from soft to loud."""
    return _curve(n, np.square(rng.uniform(0.02, 1, 2 + round(n / SAMPLE_RATE * rate_hz))))


def _syllables(n: int, rng: np.random.Generator) -> FloatArray:
    """On and off, a few times a second, or always on."""
    if rng.random() < 0.2:
        return np.ones(n, np.float32)
    length = max(64, min(n, round(SAMPLE_RATE * _between(rng, 0.05, 1))))
    one = np.power(np.hanning(length), rng.uniform(0.2, 1)).astype(np.float32)
    return np.minimum(_placed(n, one, rng), 1).astype(np.float32)


def _placed(n: int, event: FloatArray, rng: np.random.Generator) -> FloatArray:
    """An event repeated at even or uneven distances, each time at another level."""
    out = np.zeros(n + len(event), np.float32)
    step, uneven, at = _between(rng, 0.05, 2) * SAMPLE_RATE, rng.uniform(0, 1) ** 2, rng.uniform(0, n / 2)
    while at < n:
        out[int(at) : int(at) + len(event)] += event * np.float32(rng.uniform(0.5, 1))
        at += step * (1 - uneven + uneven * rng.exponential(1)) + 1
    return out[:n]


def _resonant(sound: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Coloured as by a body or a throat, more than any microphone would."""
    return equalise(sound, SAMPLE_RATE, rng.normal(0, rng.uniform(2, 14), len(EQUALISER_HZ)))


def spoken(texts: Sequence[str], voices: Sequence[str], n: int, seed: int = 0) -> list[Samples]:
    """Return `n` texts spoken by espeak-ng, each with a drawn voice, variant, speed and pitch.

    Parameters
    ----------
    texts : sequence of str
    voices : sequence of str
        Names of espeak-ng's voices, such as "en-us".
    n : int
    seed : int

    Raises
    ------
    MissingDependencyError
        If espeak-ng is not installed, or fails.
    """
    program = shutil.which("espeak-ng")
    if program is None:
        raise MissingDependencyError("spoken needs the program espeak-ng; install it (Debian: apt install espeak-ng)")
    out = []
    for i in range(n):
        rng = np.random.default_rng([seed, i])
        voice = f"{rng.choice(voices)}+{'m' if rng.random() < 0.5 else 'f'}{rng.integers(1, 5)}"
        options = ["-v", voice, "-s", str(rng.integers(110, 240)), "-p", str(rng.integers(10, 90)), "--stdout"]
        out.append(_speak([program, *options, "--", str(rng.choice(texts))]))
    return out


def _speak(command: list[str]) -> Samples:
    try:
        answer = subprocess.run(command, capture_output=True, check=True, timeout=TIMEOUT_S)  # noqa: S603
        samples, rate = soundfile.read(io.BytesIO(answer.stdout), dtype="float32")
    except (subprocess.SubprocessError, OSError, soundfile.LibsndfileError) as error:
        raise MissingDependencyError(f"espeak-ng did not speak ({error}); install it again") from None
    return Samples(samples, int(rate), f"espeak-ng {command[-1]!r}")
