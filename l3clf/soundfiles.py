"""Opening and checking sound files: what is there, whether all of it is, and why not.

Rule: a file that is damaged or cut off is an `AudioError` that names it, also where libsndfile would
read on in silence. Nothing here knows of clips: paths, open files and numbers come in.
"""

import os
import re
import stat
import zlib
from functools import lru_cache
from pathlib import Path

import numpy as np
import soundfile

from l3clf.errors import AudioError

__all__ = ["SoundFile", "check_complete", "check_pages", "check_rate", "decoder_reason", "open_sound", "shown"]

LOWEST_RATE_HZ, HIGHEST_RATE_HZ = 1000, 768_000
# Writers to a pipe do not know the length and leave one of these in the header: no sign of damage.
STREAMED_SIZES = range(0x7FFF_F000, 0x1_0000_0000)
# WAV's own "RIFF" is left out: programs get it wrong, and the data chunk is what matters.
CHUNK_SIZE = re.compile(r"^\s*(?:data|SSND|Data Size|riff|Riff size)\s*:\s*(\d+) \(should be (\d+)\)", re.MULTILINE)
LEAD_S = 2.0
"""Decoded and dropped before a piece of an MP3, Vorbis or Opus file, whose decoders need what came before."""
MIRRORED_BYTES = bytes(int(f"{i:08b}"[::-1], 2) for i in range(256))


class SoundFile(soundfile.SoundFile):  # type: ignore[misc]  # soundfile is untyped
    """Reads on and on, without the seek that soundfile adds after every read: MP3 is not exact after one."""

    def seekable(self) -> bool:
        """Say no, so that soundfile does not seek."""
        return False

    def skip(self, frames: int) -> None:
        """Go forward from the start."""
        lead = round(LEAD_S * self.samplerate) if self.format in ("MP3", "MPEG", "OGG") else 0
        position = max(0, frames - lead) if super().seekable() else 0
        if position:
            self.seek(position)
        while position < frames and (n := len(self.read(min(1 << 16, frames - position)))):
            position += n


def open_sound(path: str) -> SoundFile:
    """Open a sound file and check its header.

    Raises
    ------
    AudioError
        If there is no such file, or it is no sound file that can be read: why not, in one sentence.
    """
    name = shown(path)
    try:
        # Looked at by ourselves first: the system's reason is clearer than libsndfile's.
        mode = Path(path).stat().st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):  # a pipe would wait for ever
            raise AudioError(f"{name}: is no regular file; expected a readable sound file")
        with Path(path).open("rb") as raw:
            empty = not raw.read(1)
    except OSError as error:
        raise AudioError(f"{name}: {_reason(error)}; expected a readable sound file") from None
    except AudioError:
        raise
    except ValueError as error:  # a NUL byte in the name
        raise AudioError(f"{name}: not a file name ({error})") from None
    if empty:
        raise AudioError(f"{name}: the file is empty (0 bytes); expected a sound file")
    try:
        # soundfile itself refuses names that are not UTF-8; Windows has none of those.
        file = SoundFile(path if os.name == "nt" else os.fsencode(path))
    except soundfile.LibsndfileError as error:
        raise AudioError(
            f"{name}: not a sound file that libsndfile can read ({decoder_reason(error)}); "
            "expected WAV, FLAC, Ogg, Opus, MP3, AIFF or the like"
        ) from None
    except TypeError:  # soundfile takes RAW only with more arguments, and says so with a TypeError
        raise AudioError(f"{name}: headerless audio; convert it to WAV or FLAC first") from None
    try:
        _check_header(file, name)
    except AudioError:
        file.close()
        raise
    return file


def _check_header(file: SoundFile, path: str) -> None:
    if file.format == "RAW":  # .vox and .gsm: what is in them is guessed by the name
        raise AudioError(f"{path}: headerless audio; convert it to WAV or FLAC first")
    check_rate(file.samplerate, path)
    cut = CHUNK_SIZE.search(file.extra_info)
    if cut and int(cut[1]) > int(cut[2]) and int(cut[1]) not in STREAMED_SIZES:
        raise AudioError(
            f"{path}: the file is cut off: its header promises {int(cut[1]):,} bytes and "
            f"{int(cut[2]):,} are there; copy or record it again"
        )
    if file.frames == 0:
        raise AudioError(f"{path}: holds no samples; leave it out or record it again")


def check_rate(rate: float, label: str) -> None:
    """Refuse a sample rate outside the range that sound can have."""
    if not (isinstance(rate, int | float | np.number) and LOWEST_RATE_HZ <= rate <= HIGHEST_RATE_HZ):
        raise AudioError(
            f"{label}: sample rate of {rate!s} Hz; expected {LOWEST_RATE_HZ} to {HIGHEST_RATE_HZ} Hz "
            "(is the header, or the sample_rate given, right?)"
        )


def check_complete(path: str, label: str, file: SoundFile, found: int, promised: int) -> None:
    """Refuse a file of which fewer frames could be decoded than its header promises."""
    slack = _mp3_slack(path, promised) if file.format in ("MP3", "MPEG") else 0
    if found < promised - slack or found == 0:
        raise AudioError(
            f"{label}: the file is damaged or cut off: {found / file.samplerate:.3f} s of "
            f"{promised / file.samplerate:.3f} s could be decoded; copy, convert or record it again"
        )


def _mp3_slack(path: str, promised: int) -> int:
    """An MP3 without a length in its header has an estimated one: only a large gap is damage."""
    with Path(path).open("rb") as raw:
        head = raw.read(10)
        tag_bytes = sum((byte & 127) << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=False))
        raw.seek(10 + tag_bytes if head[:3] == b"ID3" else 0)
        counted = re.search(b"Xing|Info|VBRI", raw.read(400))
    return 2 * 1152 if counted else promised // 10


def check_pages(path: str, file: SoundFile) -> None:
    """Refuse an Ogg file with a damaged page; files of other formats have no pages and pass."""
    if file.format == "OGG":
        _check_ogg(path, _size_and_time(path))


def _size_and_time(path: str) -> tuple[int, int]:
    found = Path(path).stat()
    return found.st_size, found.st_mtime_ns


@lru_cache(maxsize=1024)
def _check_ogg(path: str, _: tuple[int, int]) -> None:
    """Walk the pages of an Ogg file: libsndfile passes over damaged ones, and over a missing end, in silence."""
    with Path(path).open("rb") as raw:
        ended, number, damage = False, 0, ""
        while (head := raw.read(27)) and not damage:
            if head[:4] != b"OggS":  # after the last page, a tag is no damage
                damage = "" if ended else f"no page where page {number} should begin"
                break
            sizes = raw.read(head[26]) if len(head) == 27 else b""
            body = raw.read(sum(sizes))
            if len(head) < 27 or len(sizes) < head[26] or len(body) < sum(sizes):
                damage = f"it ends within page {number}"
            elif _ogg_checksum(head[:22] + bytes(4) + head[26:] + sizes + body) != head[22:26]:
                damage = f"page {number} has a wrong checksum"
            ended, number = bool(len(head) > 5 and head[5] & 4), number + 1
    if damage:
        raise AudioError(f"{shown(path)}: the file is damaged or cut off ({damage}); copy or record it again")


def _ogg_checksum(page: bytes) -> bytes:
    """Ogg's CRC is zlib's with the bits of every byte in the other order, and no inversions."""
    mirrored = zlib.crc32(page.translate(MIRRORED_BYTES), 0xFFFF_FFFF) ^ 0xFFFF_FFFF
    return mirrored.to_bytes(4, "big").translate(MIRRORED_BYTES)


def decoder_reason(error: soundfile.LibsndfileError) -> str:
    """Return libsndfile's reason, as a part of a sentence."""
    text = str(error.error_string).strip().rstrip(".")
    # What libsndfile says of an MP3 without a frame that can be decoded.
    return "no audio found in it" if "not a regular file" in text else text


def _reason(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, IsADirectoryError):
        return "is a directory"
    return (error.strerror or str(error)).lower()


def shown(path: str) -> str:
    """A path as messages show it: quoted where a line break or the like would tear them."""
    return path if path.isprintable() else repr(path)
