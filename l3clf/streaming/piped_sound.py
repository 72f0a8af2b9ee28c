"""Sound from a pipe, or from a file at the speed at which it was recorded.

Rule: bytes are turned into samples as they come. A WAV header is checked before anything is made of it; one that does
not know the length, as programs write it to a pipe, lasts to the end of the pipe.
"""

import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BufferedIOBase
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l3clf.audio.clip import Clip, FloatArray, ScaledClip
from l3clf.audio.decode import read_blocks, scaled
from l3clf.audio.sound_file import MAX_CHANNELS, STREAMED_SIZES, check_rate, open_sound
from l3clf.errors import AudioError, ParameterError
from l3clf.streaming.stream_pieces import SoundBlock

__all__ = ["RAW_TYPES", "PcmFormat", "piped_blocks", "played_blocks"]

PIPE = "standard input"
READ_BYTES = 1 << 16
MAX_CHUNKS = 1000
MAX_FORM_BYTES = 4096
PLAYED_S = 0.1  # of a file, in one block
EXTENSIBLE = 0xFFFE
RAW_TYPES = {"uint8": "u1", "int16": "<i2", "int24": "<i3", "int32": "<i4", "float32": "<f4", "float64": "<f8"}
"""Types of samples by name, and how they are stored."""
WAV_TYPES = {
    (1, 8): "uint8",
    (1, 16): "int16",
    (1, 24): "int24",
    (1, 32): "int32",
    (3, 32): "float32",
    (3, 64): "float64",
}


@dataclass(frozen=True)
class PcmFormat:
    """How samples are stored in bytes, with little-endian numbers.

    Parameters
    ----------
    sample_rate : float
        In Hz.
    channels : int, default=1
    sample_type : str, default="int16"
        One of `RAW_TYPES`.

    Raises
    ------
    ParameterError, AudioError
        If one is out of range.
    """

    sample_rate: float
    channels: int = 1
    sample_type: str = "int16"

    def __post_init__(self) -> None:
        check_rate(self.sample_rate, PIPE)
        if not 1 <= self.channels <= MAX_CHANNELS:
            raise ParameterError(f"channels={self.channels}; expected 1 to {MAX_CHANNELS}")
        if self.sample_type not in RAW_TYPES:
            raise ParameterError(f"sample_type={self.sample_type!r}; expected one of {', '.join(RAW_TYPES)}")

    @property
    def frame_bytes(self) -> int:
        """Bytes of one sample of each channel."""
        return self.channels * int(RAW_TYPES[self.sample_type][-1])

    def samples(self, data: bytes, full_scale: float | None) -> FloatArray:
        """Return the samples in whole frames of bytes, shape (n, channels), full scale at 1.0."""
        array: NDArray[Any]
        if self.sample_type == "int24":
            wide = np.zeros((len(data) // 3, 4), np.uint8)
            wide[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
            array = wide.view("<i4")
        else:
            array = np.frombuffer(data, RAW_TYPES[self.sample_type])
        array = array.reshape(-1, self.channels)
        if array.dtype.kind == "i":  # which have their own; stated, because a quiet part of a stream is no doubt
            full_scale = -float(np.iinfo(array.dtype).min)
        return scaled(array, PIPE, full_scale if array.dtype.kind != "u" else None)


def piped_blocks(
    pipe: BufferedIOBase, raw: PcmFormat | None = None, full_scale: float | None = None
) -> Iterator[SoundBlock]:
    """Yield the sound in a pipe as it comes.

    Parameters
    ----------
    pipe : buffered binary file
    raw : PcmFormat or None, default=None
        What its bytes are; None means a WAV file, or several one after another.
    full_scale : float or None, default=None
        The value of a floating-point sample at full scale, if it is not 1.

    Yields
    ------
    SoundBlock

    Raises
    ------
    AudioError
        If it is not such a WAV file, is cut off, or holds no sample.
    """
    reader = _Reader(pipe)
    found = _raw_blocks(reader, raw, None, full_scale) if raw else _wav_blocks(reader, full_scale)
    is_empty = True
    for block in found:
        is_empty = False
        yield block
    if is_empty:
        raise AudioError(f"{PIPE}: holds no samples; see what the program before the pipe says")


def played_blocks(
    path: str, full_scale: float | None = None, wait: Callable[[float], None] = time.sleep
) -> Iterator[SoundBlock]:
    """Yield the sound of a file at the speed at which it was recorded.

    Parameters
    ----------
    path : str
    full_scale : float or None, default=None
        The value of a floating-point sample at full scale, if it is not 1.
    wait : callable
        Waits for so many seconds.

    Raises
    ------
    AudioError
        If the file cannot be read completely.
    """
    clip = Clip(path) if full_scale is None else ScaledClip(Clip(path), full_scale)
    with open_sound(path) as file:
        rate = file.samplerate
    begun_s, n = time.perf_counter(), 0
    for samples in read_blocks(clip, rate, PLAYED_S):
        n += len(samples)
        wait(max(0.0, begun_s + n / rate - time.perf_counter()))
        yield SoundBlock(samples, rate, time.perf_counter())


class _Reader:
    """Reads bytes as they come, or an exact number of them."""

    def __init__(self, pipe: BufferedIOBase) -> None:
        self._read = pipe.read1
        self._again = b""

    def some(self, most: int) -> bytes:
        """Return at least one byte; none at the end."""
        if self._again:
            data, self._again = self._again[:most], self._again[most:]
            return data
        return self._read(most)

    def unread(self, data: bytes) -> None:
        """Let bytes be read again."""
        self._again = data + self._again

    def exactly(self, n: int) -> bytes:
        """Return so many bytes, fewer only at the end."""
        data = b""
        while len(data) < n and (more := self.some(min(READ_BYTES, n - len(data)))):
            data += more
        return data

    def skip(self, n: int) -> None:
        """Read on without keeping anything."""
        while n > 0 and (data := self.some(min(READ_BYTES, n))):
            n -= len(data)


def _raw_blocks(
    reader: _Reader, form: PcmFormat, announced: int | None, full_scale: float | None
) -> Iterator[SoundBlock]:
    """Yield samples to the end, or to the end of the bytes that are announced."""
    rest, came, per_s = b"", 0, form.frame_bytes * form.sample_rate
    while announced is None or came < announced:
        data = reader.some(READ_BYTES if announced is None else min(READ_BYTES, announced - came))
        if not data:
            break
        came += len(data)
        rest += data
        whole = len(rest) - len(rest) % form.frame_bytes
        if whole:
            yield SoundBlock(form.samples(rest[:whole], full_scale), form.sample_rate, time.perf_counter())
            rest = rest[whole:]
    if announced is not None and came < announced:
        raise AudioError(
            f"{PIPE}: is cut off (its header announces {announced / per_s:.3f} s, but {came / per_s:.3f} s came); "
            "see what the program before the pipe says"
        )


def _wav_blocks(reader: _Reader, full_scale: float | None) -> Iterator[SoundBlock]:
    while head := reader.exactly(12):
        if head[:4] not in (b"RIFF", b"RF64") or head[8:] != b"WAVE":
            raise AudioError(
                f"{PIPE}: begins with {head[:12]!r}, which is no WAV header; let the program before the pipe write WAV "
                "(ffmpeg -f wav), or pass --rate for raw PCM"
            )
        yield from _wav_file_blocks(reader, full_scale)


def _wav_file_blocks(reader: _Reader, full_scale: float | None) -> Iterator[SoundBlock]:
    """Yield the samples of one WAV file whose first twelve bytes were read, and read it to its end."""
    form, long_size = None, None
    for _ in range(MAX_CHUNKS):
        head = reader.exactly(8)
        if len(head) < 8:
            raise AudioError(f"{PIPE}: ends before its samples begin; see what the program before the pipe says")
        name, size = struct.unpack("<4sI", head)
        if name == b"data":
            break
        kept = reader.exactly(min(size, MAX_FORM_BYTES))
        reader.skip(size - len(kept) + size % 2)
        if name == b"fmt ":
            form = _wav_format(kept)
        elif name == b"ds64" and len(kept) >= 16:
            long_size = int.from_bytes(kept[8:16], "little") or None
    else:
        raise AudioError(f"{PIPE}: has {MAX_CHUNKS} chunks and no samples; let the program before the pipe write WAV")
    if form is None:
        raise AudioError(f"{PIPE}: says nothing of its format before its samples; let ffmpeg write WAV (-f wav)")
    announced: int | None = size
    if size == 0 or size in STREAMED_SIZES:
        announced = long_size
    yield from _raw_blocks(reader, form, announced, full_scale)
    if announced is not None:
        reader.skip(announced % 2)
        _skip_to_the_next_file(reader)


def _skip_to_the_next_file(reader: _Reader) -> None:
    """Read the chunks after the samples, to the end: what is said about them is no sound."""
    for _ in range(MAX_CHUNKS):
        head = reader.exactly(8)
        if len(head) < 8:
            return
        name, size = struct.unpack("<4sI", head)
        if name in (b"RIFF", b"RF64"):
            reader.unread(head)
            return
        reader.skip(size + size % 2)


def _wav_format(form: bytes) -> PcmFormat:
    if len(form) < 16:
        raise AudioError(f"{PIPE}: has a format chunk of {len(form)} bytes; let ffmpeg write WAV (-f wav)")
    code, channels, rate, _, _, bits = struct.unpack("<HHIIHH", form[:16])
    if code == EXTENSIBLE and len(form) >= 26:
        code = int.from_bytes(form[24:26], "little")
    if (code, bits) not in WAV_TYPES or not 1 <= channels <= MAX_CHANNELS:
        raise AudioError(
            f"{PIPE}: WAV of format {code} with {bits} bits and {channels} channels; let ffmpeg write PCM "
            "(-f wav -c:a pcm_s16le)"
        )
    return PcmFormat(rate, channels, WAV_TYPES[code, bits])
