"""Opening sound files: one interface to what libsndfile reads at once, in parts, and to what ffmpeg reads.

Rule: a file that is open has a length that is true, to a frame of its codec; where it cannot be known, or cannot be
read, there is an `AudioError` that names the file.
"""

import os
import re
import stat
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
import soundfile

from l3clf.audio.byte_view import ByteView, Part
from l3clf.audio.clip import FloatArray, printable_path
from l3clf.audio.ffmpeg import FfmpegFile, demuxer_of, find_ffmpeg, is_foreign
from l3clf.audio.layout import Layout, layout_of
from l3clf.audio.ogg_pages import check_pages
from l3clf.errors import AudioError

__all__ = ["MAX_CHANNELS", "Sound", "SoundFile", "check_rate", "decoder_reason", "open_sound"]

MIN_RATE_HZ, MAX_RATE_HZ = 1000, 768_000  # no recorder works outside; such a header is broken
MAX_CHANNELS = 64  # more is an array with channels first
# A program that writes to a pipe does not know the length and leaves one of these values in the header.
STREAMED_SIZES = range(0x7FFF_F000, 0x1_0000_0000)
# The "RIFF" size of a WAV file is not checked: many programs get it wrong, and only the data chunk matters.
CHUNK_SIZE = re.compile(r"^\s*(?:data|SSND|Data Size|riff|Riff size)\s*:\s*(\d+) \(should be (\d+)\)", re.MULTILINE)
PREROLL_S = 2.0
"""Decoded and discarded before a piece of an MP3, Vorbis or Opus file: their decoders depend on preceding frames."""
MAX_FRAMES = 1 << 48  # a longer file is one whose length libsndfile does not know
CODEC = re.compile(r"encoding|'fmt '|flac decoder")  # what libsndfile says where it lacks the codec of a file
READ_FRAMES = 1 << 16


class Sound(Protocol):
    """An open sound file that is read forwards."""

    samplerate: int
    channels: int
    format: str
    slack: int
    """How many frames may be missing: the length of an MP3 is known in frames of its codec."""
    is_streamed: bool
    """Whether the length costs as much as reading the file."""

    @property
    def frames(self) -> int:
        """The length, in samples of each channel."""

    def skip(self, frames: int) -> None:
        """Move from the start of the file to a frame."""

    def read_frames(self, frames: int) -> FloatArray:
        """Read at most so many frames, shape (n, channels); none at the end."""

    def close(self) -> None:
        """Close the file."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: object) -> None: ...


class SoundFile(soundfile.SoundFile):  # type: ignore[misc]  # soundfile is untyped
    """A file that libsndfile reads, only forwards: soundfile seeks after each read, and MP3 is not exact after that."""

    slack = 0
    is_streamed = False

    def seekable(self) -> bool:
        """Return False, which keeps soundfile from seeking."""
        return False

    def skip(self, frames: int) -> None:
        """Move from the start of the file to a frame."""
        preroll = round(PREROLL_S * self.samplerate) if self.format in ("MP3", "MPEG", "OGG") else 0
        position = max(0, frames - preroll) if super().seekable() else 0
        if position:
            self.seek(position)
        while position < frames and (n := len(self.read(min(READ_FRAMES, frames - position)))):
            position += n

    def read_frames(self, frames: int) -> FloatArray:
        """Read at most so many frames, shape (n, channels)."""
        block: FloatArray = self.read(frames, dtype="float32", always_2d=True)
        return block


class PartedFile:
    """A file of which libsndfile reads the parts one after another."""

    is_streamed = False

    def __init__(self, path: str, layout: Layout) -> None:
        self._path, self._parts = path, layout.parts
        self._number, self._left = 0, 0
        self._file: SoundFile | None = None
        self.slack = layout.slack * len(layout.parts)
        self._slack = layout.slack
        self._lengths: list[int] = []
        for number in range(len(self._parts)):
            self._add(number)
        self.frames = sum(self._lengths)
        self._begin(0)

    def _add(self, number: int) -> None:
        """Take the length of a part, and make sure that it fits those before."""
        name, part = printable_path(self._path), self._parts[number]
        with _opened(self._path, part) as file:
            _check_header(file, name)
            if number == 0:
                self.samplerate, self.channels, self.format = file.samplerate, file.channels, file.format
            elif (file.samplerate, file.channels) != (self.samplerate, self.channels):
                at_s = sum(self._lengths) / self.samplerate
                raise AudioError(
                    f"{name}: is made of joined files of different rates or channels ({self.samplerate:,} Hz and "
                    f"{self.channels}, from {at_s:.3f} s on {file.samplerate:,} Hz and {file.channels}); split it there"
                )
            length = part.frames if part.frames is not None else int(file.frames)
            if length > MAX_FRAMES:
                state = Path(self._path).stat()
                length = _counted(self._path, part, state.st_size, state.st_mtime_ns)
        self._lengths.append(length)

    def _begin(self, number: int) -> None:
        self.close()
        self._number = number
        if number < len(self._parts):
            self._file, self._left = _opened(self._path, self._parts[number]), self._lengths[number]

    def skip(self, frames: int) -> None:
        """Move from the start of the file to a frame."""
        number = 0
        while number < len(self._parts) - 1 and frames >= self._lengths[number]:
            frames -= self._lengths[number]
            number += 1
        self._begin(number)
        if self._file is not None and frames:
            self._file.skip(frames)
            self._left -= frames

    def read_frames(self, frames: int) -> FloatArray:
        """Read at most so many frames, shape (n, channels)."""
        while self._file is not None:
            block = self._file.read_frames(min(frames, self._left)) if self._left else np.zeros((0, 1), np.float32)
            self._left -= len(block)
            if len(block):
                return block
            if self._left > self._slack:
                raise AudioError(
                    f"{printable_path(self._path)}: is damaged or cut off (the last {self._left / self.samplerate:.3f} "
                    f"s of its part {self._number + 1} could not be decoded); copy, convert or record it again"
                )
            self._begin(self._number + 1)
        return np.zeros((0, self.channels), np.float32)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class _PartFile(SoundFile):
    """A part of a file; closes the view of it too."""

    def __init__(self, view: ByteView) -> None:
        self._view = view
        super().__init__(view)

    def read_frames(self, frames: int) -> FloatArray:
        """Read at most so many frames; an error of the system comes out as itself."""
        block = super().read_frames(frames)
        if self._view.failure is not None:
            raise self._view.failure
        return block

    def close(self) -> None:
        super().close()
        self._view.close()


def _opened(path: str, part: Part) -> SoundFile:
    view = ByteView(Path(path).open("rb"), part)  # noqa: SIM115  # the view closes it
    try:
        return _PartFile(view)
    except soundfile.LibsndfileError:
        view.close()
        raise


@lru_cache(maxsize=1024)
def _counted(path: str, part: Part, size: int, mtime_ns: int) -> int:
    """Return the length of a part that libsndfile does not know, by decoding it."""
    count = 0
    try:
        with _opened(path, part) as file:
            while n := len(file.read_frames(READ_FRAMES)):
                count += n
    except soundfile.LibsndfileError as error:
        raise AudioError(
            f"{printable_path(path)}: is damaged or cut off ({decoder_reason(error)}); copy or record it again"
        ) from None
    return count


def open_sound(path: str) -> Sound:
    """Open a sound file and check its header.

    Raises
    ------
    AudioError
        If the file is missing, unreadable or not a sound file.
    """
    name = printable_path(path)
    _check_file(path, name)
    try:
        layout = layout_of(path)
        if layout.refusal:
            raise AudioError(f"{name}: {layout.refusal}")
        file = _opened_as(path, name, layout)
    except soundfile.LibsndfileError as error:
        raise AudioError(
            f"{name}: is not a sound file that libsndfile can read ({decoder_reason(error)}); "
            "convert it to WAV, FLAC, Ogg, Opus, MP3 or AIFF"
        ) from None
    except OSError as error:
        raise AudioError(f"{name}: {_system_reason(error)}; give the path of a readable sound file") from None
    try:
        _check_sound(file, name)
    except AudioError:
        file.close()
        raise
    return file


def _opened_as(path: str, name: str, layout: Layout) -> Sound:
    if layout.parts:
        return PartedFile(path, layout)
    if not layout.decoder and is_foreign(path):
        return FfmpegFile(path)
    try:
        return _opened_whole(path, name)
    except soundfile.LibsndfileError as error:
        # A container that libsndfile knows, with a codec that it does not; damage is not for ffmpeg to overlook.
        if not CODEC.search(str(error.error_string)) or find_ffmpeg() is None or not demuxer_of(path):
            raise
        if demuxer_of(path) == "ogg":
            state = Path(path).stat()
            check_pages(path, state.st_size, state.st_mtime_ns)
        try:
            return FfmpegFile(path)
        except AudioError:
            pass
        raise


def _opened_whole(path: str, name: str) -> SoundFile:
    try:
        # soundfile itself rejects names that are not UTF-8; Windows has none of those.
        file = SoundFile(path if os.name == "nt" else os.fsencode(path))
    except TypeError:  # soundfile needs more arguments for RAW files
        raise AudioError(f"{name}: has no header; convert it to WAV or FLAC") from None
    try:
        _check_header(file, name)
    except AudioError:
        file.close()
        raise
    return file


def _check_file(path: str, name: str) -> None:
    """Check the file before libsndfile opens it: the operating system's reason is clearer than libsndfile's."""
    try:
        mode = Path(path).stat().st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):  # reading a pipe would block forever
            raise AudioError(f"{name}: is not a regular file; give the path of a sound file")
        with Path(path).open("rb") as raw:
            empty = not raw.read(1)
    except OSError as error:
        raise AudioError(f"{name}: {_system_reason(error)}; give the path of a readable sound file") from None
    except AudioError:
        raise
    except ValueError as error:  # a NUL byte in the name
        raise AudioError(f"{name}: is not a file name ({error}); give the path of a sound file") from None
    if empty:
        raise AudioError(f"{name}: is empty (0 bytes); copy or record it again")


def _check_header(file: SoundFile, name: str) -> None:
    """Check what only libsndfile's own report says."""
    if file.format == "RAW":  # .vox and .gsm: libsndfile guesses the content from the name
        raise AudioError(f"{name}: has no header; convert it to WAV or FLAC")
    check_rate(file.samplerate, name)
    cut = CHUNK_SIZE.search(file.extra_info)
    if cut and int(cut[1]) > int(cut[2]) and int(cut[1]) not in STREAMED_SIZES:
        raise AudioError(
            f"{name}: is cut off (its header announces {int(cut[1]):,} bytes, but it holds {int(cut[2]):,}); "
            "copy or record it again"
        )


def _check_sound(file: Sound, name: str) -> None:
    check_rate(file.samplerate, name)
    if not file.is_streamed and file.frames == 0:
        raise AudioError(f"{name}: holds no samples; leave it out or record it again")


def check_rate(rate: Any, label: str) -> None:
    """Refuse a sample rate that no recording has."""
    if not (isinstance(rate, int | float | np.number) and MIN_RATE_HZ <= rate <= MAX_RATE_HZ):
        raise AudioError(
            f"{label}: sample rate of {rate!s} Hz; expected {MIN_RATE_HZ} to {MAX_RATE_HZ} Hz: "
            "resample the clip, or correct its header or the sample_rate given"
        )


def decoder_reason(error: soundfile.LibsndfileError) -> str:
    """Return libsndfile's reason as part of a sentence."""
    text = str(error.error_string).strip().rstrip(".")
    # This is what libsndfile says about an MP3 file in which it finds no frame to decode.
    return "no audio found in it" if "not a regular file" in text else text


def _system_reason(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, IsADirectoryError):
        return "is a directory"
    return (error.strerror or str(error)).lower()
