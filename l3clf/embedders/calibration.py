"""What a network's channels reach on sounds that are made here, for its twin in integers.

Rule: the sounds are seeded and never the user's, so that an embedder in integers means the same on every machine. What
was found is kept in a folder beside the embedding cache, as numbers whose count the network knows; a file with anything
else in it is as good as none.
"""

import hashlib
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

import joblib
import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from l3clf.audio.clip import FloatArray
from l3clf.errors import L3clfError
from l3clf.networks.onnx_int8 import Range, observe, observed_tensors
from l3clf.storage.atomic import write_file
from l3clf.storage.embedding_cache import default_cache_path

__all__ = ["REVISION", "calibrated", "calibration_folder", "calibration_sounds"]

REVISION = 2  # to be raised whenever the sounds, or what `l3clf.networks.onnx_int8` makes of them, change
N_KINDS, N_SOUNDS = 16, 18  # sounds of many kinds, and with those that are nearly silence
LSB = 2.0**-15  # of 16 bits
QUIETEST_HZ, OCTAVE_DB = 30.0, 20 * np.log10(2)
_DIGEST = 32  # bytes in front of the numbers
_lock = threading.Lock()  # threads that share an embedder need one calibration
_known: dict[str, dict[str, Range]] = {}  # those of this process, for machines whose cache folder cannot be written
Float64: TypeAlias = NDArray[np.float64]


def calibrated(
    model: ModelProto,
    levels: Callable[[FloatArray], FloatArray],
    sample_rate: int,
    window_samples: int,
    front_end_revision: int,
) -> dict[str, Range]:
    """Return what the channels of a network reach, from the user's cache folder where it is there.

    Parameters
    ----------
    model : ModelProto
        In floating point.
    levels : callable
        The front-end: takes windows (n, window_samples), returns the network's input (n, 1, bands, frames).
    sample_rate, window_samples : int
    front_end_revision : int
        That of the embedder, which is raised when its front-end rounds otherwise; so may the ranges be, then.

    Returns
    -------
    dict of str to Range
    """
    kind = f"{REVISION} {front_end_revision} {sample_rate} {window_samples}\n".encode()
    key = hashlib.sha256(kind + model.SerializeToString()).hexdigest()
    path = calibration_folder() / f"{key}.ranges"
    with _lock:
        if key not in _known:
            found = _read(path, model)
            if found is None:
                found = _observe_and_keep(path, model, levels, sample_rate, window_samples)
            _known[key] = found
        return _known[key]


def calibration_folder() -> Path:
    """Return the folder of what was found: beside the embedding cache, and named like it."""
    cache = default_cache_path()
    return cache.parent / f"{cache.stem}.int8"  # of "." as well, which is no name


def _observe_and_keep(
    path: Path, model: ModelProto, levels: Callable[[FloatArray], FloatArray], sample_rate: int, n: int
) -> dict[str, Range]:
    windows = calibration_sounds(sample_rate, n)
    found = observe(model, (levels(window[np.newaxis]) for window in windows), int(joblib.cpu_count()))
    numbers = (
        np.concatenate([np.zeros(0), *(part for values in found.values() for part in values)]).astype("<f4").tobytes()
    )
    with suppress(L3clfError):  # it is found again, then, in seconds
        write_file(path, hashlib.sha256(numbers).digest() + numbers)
    return found


def _read(path: Path, model: ModelProto) -> dict[str, Range] | None:
    """Return the ranges of a file; None where there is none, or not one of this network."""
    channels = observed_tensors(model)
    size = 4 * 3 * sum(channels.values())
    if not path.is_file():  # a pipe would wait for its writer
        return None
    try:
        with path.open("rb") as file:
            content = file.read(_DIGEST + size + 1)
    except OSError:
        return None
    digest, numbers = content[:_DIGEST], content[_DIGEST:]
    if len(numbers) != size or hashlib.sha256(numbers).digest() != digest:
        return None
    values = np.frombuffer(numbers, "<f4").astype(np.float64)
    ends = np.cumsum([n for n in channels.values() for _ in Range._fields])[:-1]
    parts = np.split(values, ends)
    found = {name: Range(*parts[3 * i : 3 * i + 3]) for i, name in enumerate(channels)}
    in_order = all((low <= mean).all() and (mean <= high).all() for low, high, mean in found.values())
    return found if in_order and np.isfinite(values).all() else None


# --- sounds ---------------------------------------------------------------------------------------


def calibration_sounds(sample_rate: int, n: int, count: int = N_SOUNDS) -> FloatArray:
    """Return sounds of many kinds: noises, tones that glide, strikes, bursts; over noise, and partly after silence.

    The last two are what a clip that is cut or faded out leaves in its last window. In some layers, they reach further
    than all others do: without them a window of ESC-10 had a cosine of 0.991 to its vector in floats.

    Parameters
    ----------
    sample_rate : int
        In Hz.
    n : int
        Samples in each.
    count : int, default=18

    Returns
    -------
    array of shape (count, n), float32
        With peaks of -40 to 0 dB; those of the last two are about -90.
    """
    random = np.random.RandomState(0)  # whose numbers NumPy has promised not to change
    kinds = (_noise, _glide, _strikes, _burst)
    sounds = [_sound(random, kinds[i % 4], n, sample_rate) for i in range(min(count, N_KINDS))]
    return np.stack([*sounds, *_nearly_silence(n)[: max(0, count - N_KINDS)]])


def _sound(
    random: np.random.RandomState, make: Callable[[np.random.RandomState, int, int], Float64], n: int, rate: int
) -> FloatArray:
    background = _coloured(random, n, rate, random.uniform(-9, 0)) * 10 ** (-random.uniform(5, 60) / 20)
    sound = _unit(make(random, n, rate)) + background
    if random.randint(3) == 0:  # as from a low sample rate
        spectrum = np.fft.rfft(sound)
        spectrum[int(len(spectrum) * random.uniform(0.1, 0.9)) :] = 0
        sound = np.fft.irfft(spectrum, n)
    if random.randint(3) == 0:  # as in the first window of a clip
        sound[: random.randint(n // 2)] = 0
    return np.asarray(sound / np.abs(sound).max() * 10 ** (random.uniform(-40, 0) / 20), np.float32)


def _nearly_silence(n: int) -> list[FloatArray]:
    """Return a bit of one sample shortly before the end, and a fade at the beginning."""
    bit, fade = np.zeros((2, n), np.float32)
    bit[n - 1 - n // 4800] = LSB
    size = n // 20
    fade[:size] = LSB / 2 * np.random.RandomState(1).standard_normal(size) * np.linspace(1, 0, size)
    return [bit, fade]


def _unit(x: Float64) -> Float64:
    return np.asarray(x / max(float(np.sqrt(np.mean(x**2))), 1e-9))


def _coloured(random: np.random.RandomState, n: int, rate: int, slope_db: float) -> Float64:
    """Return noise of RMS 1 whose spectrum slopes by `slope_db` an octave."""
    f_hz = np.maximum(np.fft.rfftfreq(n, 1 / rate), QUIETEST_HZ)
    return _unit(np.fft.irfft(np.fft.rfft(random.standard_normal(n)) * (f_hz / 1000) ** (slope_db / OCTAVE_DB), n))


def _noise(random: np.random.RandomState, n: int, rate: int) -> Float64:
    beat = np.sin(2 * np.pi * random.uniform(0.5, 20) * np.arange(n) / rate)
    return _coloured(random, n, rate, random.uniform(-9, 3)) * (1 + random.uniform(0, 1) * beat)


def _glide(random: np.random.RandomState, n: int, rate: int) -> Float64:
    t = np.arange(n) / rate
    low_hz = np.exp(random.uniform(np.log(60), np.log(3000)))
    octaves = random.uniform(-1, 1) * t + random.uniform(0, 0.1) * np.sin(2 * np.pi * random.uniform(1, 8) * t)
    f_hz = low_hz * 2**octaves
    circle, slope = 2 * np.pi * np.cumsum(f_hz) / rate, random.uniform(0.5, 2)
    harmonics = range(1, min(20, int(0.45 * rate / f_hz.max())) + 1)
    return np.asarray(sum(k**-slope * np.sin(k * circle) for k in harmonics))


def _strikes(random: np.random.RandomState, n: int, rate: int) -> Float64:
    out = np.zeros(n)
    for at in random.uniform(0, 0.9 * n, random.randint(1, 12)).astype(int):
        t = np.arange(n - at) / rate
        ring = np.sin(2 * np.pi * np.exp(random.uniform(np.log(80), np.log(0.4 * rate))) * t)
        blow = random.uniform(0, 1) * random.standard_normal(n - at)
        out[at:] += (ring + blow) * np.exp(-t / np.exp(random.uniform(np.log(0.003), np.log(0.3))))
    return out


def _burst(random: np.random.RandomState, n: int, rate: int) -> Float64:
    start, end = np.sort(random.randint(0, n, 2))
    loud = np.full(n, 0.03)
    loud[start:end] = 1
    return np.asarray(_coloured(random, n, rate, random.uniform(-6, 3)) * loud)
