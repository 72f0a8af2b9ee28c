"""AIFF, AU, CAF and W64 files that go on after the sound that their headers announce.

Rule: what follows is chunks up to the file's end, or too little to matter; else the file is refused, because libsndfile
would read less than it holds, or another file's header as sound.
"""

import struct
from typing import BinaryIO

import soundfile

from l3clf.audio.wav_header import MAX_STRAY_S, only_chunks, only_zeros

__all__ = ["goes_on"]

MAX_CHUNKS = 10_000
MAX_STRAY = 4096  # bytes, whatever the rate
SAMPLE_BYTES = {"PCM_S8": 1, "PCM_U8": 1, "ULAW": 1, "ALAW": 1, "PCM_24": 3, "PCM_32": 4, "FLOAT": 4, "DOUBLE": 8}
W64_RIFF = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00"


def goes_on(raw: BinaryIO, head: bytes, size: int) -> int:
    """Return how many bytes follow the announced sound that nothing accounts for; 0 for other formats too.

    Parameters
    ----------
    raw : file
    head : bytes
        Its first twelve.
    size : int
        Its length in bytes.
    """
    rest = 0
    if head[:4] in (b".snd", b"dns."):
        start, length = struct.unpack(">II" if head[:1] == b"." else "<II", head[4:])
        rest = size - start - length if length != 0xFFFF_FFFF else 0
    elif head[:4] == b"FORM" and head[8:] in (b"AIFF", b"AIFC"):
        rest = _after_aiff(raw, size)
    elif head[:4] == b"caff":
        rest = _after_caf(raw, size)
    elif head == W64_RIFF[:12]:
        raw.seek(16)
        end = (int.from_bytes(raw.read(8), "little") + 7) & ~7
        raw.seek(min(end, size))
        rest = size - end if raw.read(16) == W64_RIFF else 0
    if rest <= 0 or only_zeros(raw, size - rest, size):
        return 0
    return rest if rest > MAX_STRAY or rest > MAX_STRAY_S * _bytes_per_s(raw) else 0


def _bytes_per_s(raw: BinaryIO) -> float:
    """Return how many bytes a second of sound takes; infinity if libsndfile should say what the file is."""
    raw.seek(0)
    try:
        with soundfile.SoundFile(raw) as file:
            return float(file.samplerate * file.channels * SAMPLE_BYTES.get(file.subtype, 2))
    except soundfile.LibsndfileError:
        return float("inf")


def _after_aiff(raw: BinaryIO, size: int) -> int:
    position = 12
    for _ in range(MAX_CHUNKS):
        raw.seek(position)
        head = raw.read(8)
        if len(head) < 8:
            return 0
        name, length = struct.unpack(">4sI", head)
        end = position + 8 + length
        if name == b"SSND":
            found = [only_chunks(raw, end + gap, size, ">") for gap in {0, length % 2}]
            return 0 if end >= size or (True, None) in found else size - end
        position = end + length % 2
    return 0


def _after_caf(raw: BinaryIO, size: int) -> int:
    position, sound_end = 8, 0
    for _ in range(MAX_CHUNKS):
        raw.seek(position)
        head = raw.read(12)
        if len(head) < 12:
            return 0
        name, length = struct.unpack(">4sq", head)
        if sound_end and not name.isalnum():
            return size - sound_end
        position += 12 + length
        if length < 0 or position >= size:  # -1: up to the end
            return 0 if not sound_end or position == size else size - sound_end
        if name == b"data":
            sound_end = position
    return 0
