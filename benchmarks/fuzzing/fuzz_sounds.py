"""Targets that are sound files: what is read is finite and not shorter than the file says, or the file is refused.

Rule: PCM has no checksums, so that other samples are no finding. A file whose end is missing is: it must be refused, or
come out at its full length (what was cut was no sound).
"""

import io
import random
import zlib
from pathlib import Path
from typing import ClassVar

import numpy as np
import soundfile

from benchmarks.fuzzing.damage import damaged
from benchmarks.fuzzing.fuzz_target import CHANGED, RIGHT, FindingError, Mutation, Target, require
from l3clf.audio.clip import Clip
from l3clf.audio.decode import duration_s, load

__all__ = ["Aiff", "Flac", "Mp3", "Opus", "Vorbis", "Wav"]

RATE, LENGTH_S = 16_000, 0.4
LONGEST_S = 3600.0  # far above what a few kilobytes can hold
MARKS: tuple[bytes, ...] = (
    b"RIFF",
    b"RF64",
    b"WAVE",
    b"fmt ",
    b"fact",
    b"data",
    b"fLaC",
    b"OggS",
    b"vorbis",
    b"OpusHead",
    b"Xing",
    b"Info",
)
MARKS += (b"ID3", b"FORM", b"COMM", b"SSND", b"\xff\xfb", b"\xff\xf3", b"\xff\xf8")


class Sounds(Target):
    """Sound files of one format."""

    container: ClassVar[str]
    subtypes: ClassVar[tuple[str, ...]]
    suffix: ClassVar[str]
    cut_is_seen: ClassVar[bool] = True
    """Whether a file tells its length, so that a cut is noticed at any byte."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        t = np.arange(round(RATE * LENGTH_S)) / RATE
        noise = np.random.default_rng(0).normal(size=t.size) * 0.05
        tone = (0.3 * np.sin(2 * np.pi * 440 * t) + noise).astype(np.float32)
        stereo = np.stack((tone, 0.5 * tone), axis=1)
        self.files = [self._encoded(one, subtype) for subtype in self.subtypes for one in (tone, stereo)]
        self.places = [_places(content) for content in self.files]
        self.answers = [self._answer(content) for content in self.files]

    def _encoded(self, samples: np.ndarray, subtype: str) -> bytes:
        file = io.BytesIO()
        soundfile.write(file, samples, RATE, subtype, format=self.container)
        return file.getvalue()

    def good(self) -> list[bytes]:
        return self.files

    def _answer(self, content: bytes) -> bytes:
        clip = Clip(self.written(content, f"x{self.suffix}"))
        samples, rate = load(clip)
        require(samples.ndim == 1 and samples.dtype == np.float32 and len(samples), "samples of a wrong shape or type")
        require(np.isfinite(samples).all(), "samples that are not finite")
        require(len(samples) / rate < LONGEST_S, f"{len(samples) / rate:.0f} s from {len(content)} bytes")
        told = duration_s(clip)
        require(abs(told - len(samples) / rate) < 0.05, f"{len(samples) / rate:.3f} s read, {told:.3f} s announced")
        return f"{rate} ".encode() + samples.tobytes()

    def mutated(self, rng: random.Random) -> Mutation:
        i = rng.randrange(len(self.files))
        content = self.files[i]
        if rng.random() < 0.1 and self.cut_is_seen:
            return Mutation(content[: rng.randrange(len(content))], strict=True)
        content = damaged(rng, content, self.places[i])
        return Mutation(_signed(content) if content[:4] == b"OggS" and rng.random() < 0.5 else content)

    def outcome(self, content: bytes) -> str:
        found = self._answer(content)
        if found in self.answers:
            return RIGHT
        for good, answer in zip(self.files, self.answers, strict=True):
            if self.cut_is_seen and good.startswith(content) and len(found) < len(answer):
                raise FindingError(f"{len(found)} bytes of samples instead of {len(answer)} from a file that was cut")
        return CHANGED


def _places(content: bytes) -> list[int]:
    """Return where the marks of the format are, and the bytes behind each."""
    found: list[int] = list(range(min(64, len(content))))
    for mark in MARKS:
        at = content.find(mark)
        while at >= 0 and len(found) < 2000:
            found += range(at, min(at + 40, len(content)))
            at = content.find(mark, at + 1)
    return found


_REVERSED = bytes(int(f"{i:08b}"[::-1], 2) for i in range(256))


def _signed(content: bytes) -> bytes:
    """Return an Ogg file whose pages have right checksums, as far as its pages can be followed."""
    data, at = bytearray(content), 0
    while data[at : at + 4] == b"OggS" and at + 27 <= len(data):
        body = at + 27 + data[at + 26]
        end = body + sum(data[at + 27 : body])
        if end > len(data):
            break
        data[at + 22 : at + 26] = bytes(4)
        reversed_crc = zlib.crc32(bytes(data[at:end]).translate(_REVERSED), 0xFFFF_FFFF) ^ 0xFFFF_FFFF
        data[at + 22 : at + 26] = reversed_crc.to_bytes(4, "big").translate(_REVERSED)
        at = end
    return bytes(data)


class Wav(Sounds):
    """Wav files."""

    container, subtypes, suffix = "WAV", ("PCM_16", "PCM_24", "FLOAT", "ULAW", "IMA_ADPCM"), ".wav"


class Flac(Sounds):
    """Flac files."""

    container, subtypes, suffix = "FLAC", ("PCM_16", "PCM_24"), ".flac"


class Mp3(Sounds):
    """Mp3 files."""

    container, subtypes, suffix = "MP3", ("MPEG_LAYER_III",), ".mp3"


class Vorbis(Sounds):
    """Vorbis files."""

    container, subtypes, suffix = "OGG", ("VORBIS",), ".ogg"


class Opus(Sounds):
    """Opus files."""

    container, subtypes, suffix = "OGG", ("OPUS",), ".opus"


class Aiff(Sounds):
    """Aiff files."""

    container, subtypes, suffix = "AIFF", ("PCM_16", "PCM_U8"), ".aiff"
