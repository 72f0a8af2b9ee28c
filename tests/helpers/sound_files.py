"""Sounds with known answers, written to files: good ones, and ones damaged on purpose."""

import io
from pathlib import Path

import numpy as np
import soundfile

RATE = 16_000


def tone(hz=440.0, seconds=0.5, rate=RATE, amplitude=0.5):
    """A sine from phase zero, shape (n,), float32."""
    return np.float32(amplitude) * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate).astype(np.float32)


def noise(n, seed=0, level=0.1):
    """White noise, shape (n,), float32."""
    return (np.random.default_rng(seed).normal(size=n) * level).astype(np.float32)


def write(path, samples=None, rate=RATE, container="WAV", subtype="PCM_16", **options):
    """Write samples (a tone when left out) and return the path as a str."""
    samples = tone(rate=rate) if samples is None else samples
    soundfile.write(str(path), samples, rate, format=container, subtype=subtype, **options)
    return str(path)


def content(samples=None, rate=RATE, container="WAV", subtype="PCM_16"):
    """The bytes of a sound file."""
    file = io.BytesIO()
    write_to = tone(rate=rate, seconds=2) if samples is None else samples
    soundfile.write(file, write_to, rate, format=container, subtype=subtype)
    return file.getvalue()


def put(path, data):
    """Write bytes and return the path as a str."""
    Path(path).write_bytes(data)
    return str(path)


def cut(data, share):
    """The first share of some bytes."""
    return data[: int(len(data) * share)]


def spoil(data, at, n=200, seed=0):
    """Bytes with n of them, from the share `at`, replaced by random ones."""
    start = int(len(data) * at)
    return data[:start] + np.random.default_rng(seed).bytes(n) + data[start + n :]


def wav(data=None, *, rate=RATE, channels=1, bits=16, code=1, promised=None):
    """A WAV file put together by hand: its header may say anything."""
    data = (tone() * 32767).astype("<i2").tobytes() if data is None else data
    block = max(1, channels * bits // 8)
    number = lambda value, size: (int(value) % 256**size).to_bytes(size, "little")  # noqa: E731
    form = number(code, 2) + number(channels, 2) + number(rate, 4) + number(rate * block, 4)
    form += number(block, 2) + number(bits, 2)
    chunks = b"WAVEfmt " + number(len(form), 4) + form
    chunks += b"data" + number(len(data) if promised is None else promised, 4) + data
    return b"RIFF" + number(len(chunks), 4) + chunks


def mp3_frames_of(data):
    """The bytes of an MP3 file that soundfile wrote, without the frame that announces the count of frames."""
    at = data.index(b"\xff", 0)
    return data[data.index(data[at : at + 2], at + 4) :]
