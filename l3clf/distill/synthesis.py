"""Sounds to learn from that need no recording: tones, sweeps and noise, and speech where espeak-ng is installed."""

import io
import shutil
import subprocess
from collections.abc import Sequence

import numpy as np
import soundfile

from l3clf.audio import FloatArray, Samples
from l3clf.distill.augment import coloured_noise
from l3clf.errors import MissingDependencyError

__all__ = ["spoken", "synthetic_sounds"]

SAMPLE_RATE = 16_000
TIMEOUT_S = 20
FADE_S = 0.01


def synthetic_sounds(n: int, seed: int = 0, duration_s: float = 3.0) -> list[Samples]:
    """Return `n` tones, chords, sweeps, pulse trains and noises, drawn from a seed."""
    kinds = (_tones, _sweep, _pulses, _noise)
    out = []
    for i in range(n):
        rng = np.random.default_rng([seed, i])
        sound = kinds[i % len(kinds)](round(duration_s * SAMPLE_RATE), rng)
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
    knots = rng.uniform(0, 1, int(rng.integers(3, 12))) ** 2
    return np.interp(np.linspace(0, len(knots) - 1, n), np.arange(len(knots)), knots).astype(np.float32)


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
        If espeak-ng is not installed, or does not answer.
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
