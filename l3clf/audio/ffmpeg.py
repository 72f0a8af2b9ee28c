"""Formats that libsndfile lacks, decoded by ffmpeg where it is installed: its samples come through a pipe.

Rule: ffmpeg is told which demuxer to use, found from the file's first bytes, and may open that one file only, so that
a playlist or a script in the guise of a recording reads no other file and no network. Whatever it reports as an error
refuses the file: a damaged or truncated file is never read as a shorter clip.
"""

import os
import shutil
import signal
import struct
import subprocess
import threading
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, Self

import numpy as np

from l3clf.audio.clip import FloatArray, printable_path
from l3clf.audio.mp3_frames import id3_bytes
from l3clf.errors import AudioError, how_to_install

__all__ = [
    "FFMPEG_SUFFIXES",
    "INSTALL",
    "FfmpegFile",
    "MissingFfmpegError",
    "demuxer_of",
    "find_ffmpeg",
    "is_foreign",
    "version",
]

INSTALL = f"install ffmpeg: `{how_to_install('ffmpeg')}`, or the package ffmpeg of your system"
MAX_WAIT_S = 120.0  # for the next ten seconds of sound
MAX_LAST_WORDS_S = 5.0  # for what it reports when it has ended
MAX_ALLOC_BYTES = 500_000_000
MAX_MESSAGE = 4000  # characters of what ffmpeg reports
MAX_SHOWN = 120
AU_FLOAT32 = 6

# What begins a file, and which demuxer of ffmpeg reads it. libsndfile reads none of these.
FOREIGN = {
    b"\x1a\x45\xdf\xa3": "matroska",  # webm and mka
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11": "asf",  # wma
    b"#!AMR": "amr",
    b"wvpk": "wv",
    b"TTA1": "tta",
    b"MAC ": "ape",
    b".RMF": "rm",
    b"FLV\x01": "flv",
    b"DSD ": "dsf",
    b"MPCK": "mpc8",
    b"MP+": "mpc",
    b"\x0b\x77": "ac3",  # and eac3
    b"\x7f\xfe\x80\x01": "dts",
    b"\0\0\x01\xba": "mpeg",
}
TS_PACKETS = ((0, 188), (4, 192))  # where packets begin in a transport stream, and how long they are
HEAD_BYTES = 400  # up to the third packet
FFMPEG_SUFFIXES = frozenset(
    ".3g2 .3gp .aac .ac3 .amr .ape .asf .avi .awb .dsf .dts .eac3 .ec3 .f4v .flv .m2ts .m4a .m4b .m4p .m4r .m4v .mka "  # noqa: SIM905
    ".mkv .mov .mp+ .mp4 .mpc .mpeg .mpg .mpp .mts .ogv .ogx .qt .ra .rm .spx .ts .tta .vob .weba .webm .wma .wmv "
    ".wv".split()
)
"""Of files that are sounds where they lie in a folder."""

MP4_ATOMS = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")
# Containers that libsndfile reads too, with fewer codecs.
SHARED = {b"RIFF": "wav", b"RF64": "wav", b"FORM": "aiff", b"caff": "caf", b"OggS": "ogg"}


class MissingFfmpegError(AudioError):
    """A sound is in a format that only ffmpeg can read, and ffmpeg is not installed."""

    def __init__(self, path: str) -> None:
        self.path = printable_path(path)
        self.suffix = os.path.splitext(path)[1].lower() or "without a suffix"  # noqa: PTH122  # any name has one
        super().__init__(f"{self.path}: needs ffmpeg ({self.suffix}), which is not installed; {INSTALL}")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.path,)


def is_foreign(path: str) -> bool:
    """Return whether a file, by its first bytes, is in a format that only ffmpeg reads."""
    return bool(_demuxers(path)[0])


def demuxer_of(path: str) -> str:
    """Return the name of the demuxer of ffmpeg that suits a file's first bytes; empty if none does."""
    foreign, shared = _demuxers(path)
    return foreign or shared


def _demuxers(path: str) -> tuple[str, str]:
    with Path(path).open("rb") as raw:
        head = raw.read(HEAD_BYTES)
        if tag_bytes := id3_bytes(head):
            raw.seek(tag_bytes)
            head = raw.read(HEAD_BYTES)
    foreign = next((name for magic, name in FOREIGN.items() if head.startswith(magic)), "")
    if head[4:8] in MP4_ATOMS:
        foreign = "mov"
    elif len(head) >= 7 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0:
        foreign = "aac"
    elif head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        foreign = "avi"
    elif any(head[at::packet][:3] == b"GGG" for at, packet in TS_PACKETS):
        foreign = "mpegts"
    return foreign, SHARED.get(head[:4], "")


def find_ffmpeg() -> str | None:
    """Return the path of ffmpeg: that of the system, else that of the package imageio-ffmpeg; None if there is none."""
    found = shutil.which("ffmpeg")
    if found is not None:
        return found
    try:
        import imageio_ffmpeg
    except ImportError:
        return None
    try:
        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError:  # its wheel for this platform holds none
        return None


def version() -> str:
    """Return the version of the ffmpeg that is used; empty if there is none."""
    ffmpeg = find_ffmpeg()
    return "" if ffmpeg is None else _version(ffmpeg, Path(ffmpeg).stat().st_mtime_ns)


@lru_cache(maxsize=8)
def _version(ffmpeg: str, mtime_ns: int) -> str:
    try:
        command = [ffmpeg, "-nostdin", "-version"]
        told = subprocess.run(command, capture_output=True, timeout=MAX_WAIT_S, check=False).stdout  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    # "ffmpeg version 7.1-3 Copyright (c) ..."
    words = told.decode("utf-8", "replace").split()
    return words[2] if words[:2] == ["ffmpeg", "version"] and len(words) > 2 else "unknown"


class FfmpegFile:
    """A sound file that ffmpeg decodes, at the rate and with the channels of its first audio stream.

    Raises
    ------
    AudioError
        If ffmpeg is not installed, or cannot decode the file.
    """

    format = "FFMPEG"
    slack = 0
    is_streamed = True

    def __init__(self, path: str) -> None:
        self._path, self._name = path, printable_path(path)
        ffmpeg = find_ffmpeg()
        if ffmpeg is None:
            raise MissingFfmpegError(path)
        self._position = 0
        self._is_late = False
        self._messages = b""
        self._process = subprocess.Popen(  # noqa: S603  # no shell, and a program found as the user would find it
            _command(ffmpeg, path),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for us: it must not look like the end of the file
        )
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        try:
            self.samplerate, self.channels = self._header()
        except BaseException:
            self.close()
            raise

    @property
    def frames(self) -> int:
        """The length, which is known only when everything was decoded."""
        state = Path(self._path).stat()
        return _length(self._path, state.st_size, state.st_mtime_ns)

    def skip(self, frames: int) -> None:
        """Move from the start of the file to a frame."""
        while self._position < frames and len(self.read_frames(min(1 << 16, frames - self._position))):
            pass

    def read_frames(self, frames: int) -> FloatArray:
        """Read at most so many frames, shape (n, channels).

        Raises
        ------
        AudioError
            If ffmpeg reports damage, or nothing was decoded at all.
        """
        data = self._read(frames * self.channels * 4)
        n = len(data) // (self.channels * 4)
        if n < frames:  # a pipe gives less only where it ends
            self._check_end(empty=not n and not self._position)
        self._position += n
        block = np.frombuffer(data, ">f4", n * self.channels).reshape(n, self.channels)
        return block.astype(np.float32)

    def close(self) -> None:
        """Stop ffmpeg, wherever it is, and wait for it, so that no process is left behind."""
        self._kill()
        self._stdout.close()
        self._process.wait()
        self._listener.join(MAX_LAST_WORDS_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _header(self) -> tuple[int, int]:
        """Read the header of an AU file: where samples begin, and their rate and channels."""
        head = self._read(24)
        if len(head) < 24:
            self._check_end(empty=True)
        start, _, encoding, rate, channels = struct.unpack(">5I", head[4:])
        if head[:4] != b".snd" or encoding != AU_FLOAT32 or start < 24 or not channels:
            raise AudioError(f"{self._name}: ffmpeg gave no samples that can be read; convert it to WAV or FLAC")
        self._read(start - 24)
        return rate, channels

    def _read(self, n_bytes: int) -> bytes:
        """Read from ffmpeg, which is stopped if nothing comes for long."""
        watch = threading.Timer(MAX_WAIT_S, self._stop)
        watch.daemon = True
        watch.start()
        try:
            return self._stdout.read(n_bytes)
        finally:
            watch.cancel()

    @property
    def _stdout(self) -> BinaryIO:
        pipe = self._process.stdout
        if pipe is None:
            raise AudioError(f"{self._name}: is closed")
        return pipe  # type: ignore[return-value]

    def _stop(self) -> None:
        self._is_late = True
        self._kill()

    def _kill(self) -> None:
        if self._process.poll() is not None:
            return
        if hasattr(os, "killpg"):  # where ffmpeg is a script, also what the script started
            with suppress(ProcessLookupError, PermissionError):  # it has just ended
                os.killpg(self._process.pid, signal.SIGKILL)
        else:
            self._process.kill()

    def _listen(self) -> None:
        """Take what ffmpeg reports, or it would wait for us to do so; the first of it says what is wrong."""
        pipe = self._process.stderr
        if pipe is None:
            return
        with pipe:
            while text := pipe.read(1024):
                self._messages += text[: MAX_MESSAGE - len(self._messages)]

    def _check_end(self, empty: bool) -> None:
        """Make sure that ffmpeg ended well."""
        try:
            status = self._process.wait(MAX_WAIT_S)
        except subprocess.TimeoutExpired:
            self._stop()
            status = self._process.wait()
        self._listener.join(MAX_LAST_WORDS_S)
        reason = _reason(self._messages)
        if self._is_late:
            reason = f"nothing came from it for {MAX_WAIT_S:g} s"
        elif status and not reason:
            reason = f"it stopped with status {status}"
        if "matches no streams" in reason or (empty and not reason):
            raise AudioError(f"{self._name}: holds no samples; leave it out or record it again")
        if reason:
            raise AudioError(f"{self._name}: is damaged or cut off, as ffmpeg says ({reason}); copy or record it again")


def _command(ffmpeg: str, path: str) -> list[str | bytes]:
    one_thread = ["-threads", "1"]  # clips are decoded in parallel
    before = ["-nostdin", "-hide_banner", "-v", "error", "-xerror", "-max_alloc", str(MAX_ALLOC_BYTES), *one_thread]
    source = ["-protocol_whitelist", "file", "-f", demuxer_of(path), "-i", "file:" + os.path.abspath(path)]  # noqa: PTH100
    # Times in a file may jump, which is nothing to complain about: samples are numbered anew.
    first_stream = ["-map", "0:a:0", "-vn", "-sn", "-dn", "-af", "asetpts=N/SR/TB"]
    return [ffmpeg, *before, *source, *first_stream, "-c:a", "pcm_f32be", *one_thread, "-f", "au", "pipe:1"]


def _reason(messages: bytes) -> str:
    """Return the first that ffmpeg reported, as part of a sentence: without the part of it that reports."""
    lines = messages.decode("utf-8", "replace").splitlines()
    line = next((line for line in lines if line.strip()), "")
    while line.startswith("[") and "] " in line:
        line = line.split("] ", 1)[1]
    text = "".join(letter if letter.isprintable() else "?" for letter in line).strip().rstrip(".")
    return text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + "..."


@lru_cache(maxsize=4096)
def _length(path: str, size: int, mtime_ns: int) -> int:
    """Return the number of frames, by decoding all of them."""
    count = 0
    with FfmpegFile(path) as file:
        while n := len(file.read_frames(1 << 16)):
            count += n
    return count
