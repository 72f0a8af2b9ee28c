"""The frames of an MP3 file, walked from header to header: how long it really is.

libsndfile takes the length from the first frame and reads no further. Without a count of frames that is an estimate,
far too small where the bit rate varies; and where files were joined it is the length of the first.

Rule: a walk ends in parts that hold every frame, or in the reason why the file is refused; what is neither a frame nor
a tag is passed over only where no frame can have been lost in it.
"""

import re
from dataclasses import dataclass, field
from typing import BinaryIO

from l3clf.audio.byte_view import Part

__all__ = ["CONVERT", "MpegWalk", "id3_bytes", "is_mpeg", "walk"]

CHUNK_BYTES = 1 << 20
MAX_LEAD = 1 << 16  # bytes before the first frame, if they are zeros: padding after a tag
MAX_FRAME = 1441  # bytes; a stream may begin with the rest of one
MAX_PADDING = 4096  # zeros between files or at the end
MAX_JUNK = 1024  # as much is skipped by mpg123
MAX_TEXT = 1 << 16  # bytes at the end, which are no damaged frames
HEAD = 58  # bytes of a frame that are looked at: up to the counts of frames and bytes that it may announce
SYNC = re.compile(rb"\xff[\xe2-\xff]")
LYRICS_END = b"LYRICS200"
CONVERT = "convert it to WAV, as `ffmpeg -i IN OUT.wav` does"

RATES_HZ = (44_100, 48_000, 32_000)
KBPS = {  # by MPEG-1 or later, and layer
    (1, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
KBPS[2, 3] = KBPS[2, 2]
SAMPLES = {(1, 1): 384, (2, 1): 384, (1, 2): 1152, (2, 2): 1152, (1, 3): 1152, (2, 3): 576}


@dataclass(frozen=True)
class _Kind:
    """What must not change within a file: samples in a frame, rate in Hz and channels."""

    samples: int
    rate: int
    layer: int
    is_mpeg_1: bool
    channels: int

    @property
    def count_at(self) -> int:
        """Where a frame that holds no sound announces the count of frames: after its side information."""
        return 4 + ((17 if self.channels == 1 else 32) if self.is_mpeg_1 else (9 if self.channels == 1 else 17))


def _tabulated() -> dict[int, tuple[int, _Kind, _Kind]]:
    """Return the length in bytes (0 if free), and the kind in stereo and in mono, by bytes 1 and 2 of a header."""
    table: dict[int, tuple[int, _Kind, _Kind]] = {}
    for version, divisor in ((3, 1), (2, 2), (0, 4)):
        for layer in (1, 2, 3):
            family = (1 if version == 3 else 2, layer)
            for rate_code, rate_of_mpeg_1 in enumerate(RATES_HZ):
                rate, samples = rate_of_mpeg_1 // divisor, SAMPLES[family]
                stereo, mono = (_Kind(samples, rate, layer, version == 3, channels) for channels in (2, 1))
                for code in range(15):
                    for low in range(4):  # padding and private bits
                        unit = 4 if layer == 1 else 1
                        length = 0
                        if code:
                            per_frame = samples // 8 * KBPS[family][code - 1] * 1000 // rate
                            length = (per_frame // unit + (low >> 1)) * unit
                        for protection in (0, 1):
                            first = 0xE0 | version << 3 | (4 - layer) << 1 | protection
                            table[first << 8 | code << 4 | rate_code << 2 | low] = (length, stereo, mono)
    return table


FRAMES = _tabulated()


@dataclass
class MpegWalk:
    """What a walk found: parts to decode, or why the file is refused; neither if it is no MPEG audio at all."""

    parts: list[Part] = field(default_factory=list)
    refusal: str = ""
    samples_per_frame: int = 0


@dataclass
class _Run:
    """Frames without a break: where they begin, where their sound does, and how many frames and bytes are announced."""

    start: int
    sound_at: int
    announced: int = 0
    announced_bytes: int = 0
    frames: int = 0
    announced_end: int = 0
    is_cut: bool = False


def id3_bytes(head: bytes) -> int:
    """Return the length in bytes of an ID3v2 tag that begins here, 0 if none does."""
    if len(head) < 10 or head[:3] != b"ID3" or head[3] == 0xFF or any(byte & 0x80 for byte in head[6:10]):
        return 0
    length = sum(byte << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))
    return 10 + length + (10 if head[5] & 0x10 else 0)


def is_mpeg(head: bytes) -> bool:
    """Return whether the header of an MPEG audio frame begins here."""
    return _frame(head)[1] is not None


def walk(raw: BinaryIO, start: int, stop: int) -> MpegWalk:
    """Walk the frames of a file between two positions."""
    walker = _Walker(raw, start, stop)
    walker.walk()
    return walker.found


def _frame(head: bytes) -> tuple[int, _Kind | None]:
    """Return the length in bytes and the kind of the frame that begins here; no kind if none does."""
    if len(head) < 4 or head[0] != 0xFF:
        return 0, None
    known = FRAMES.get(head[1] << 8 | head[2])
    if known is None:
        return 0, None
    length, stereo, mono = known
    return length, mono if head[3] >> 6 == 3 else stereo


def _announced(head: bytes, kind: _Kind) -> tuple[int, int] | None:
    """Return the frames and bytes that a frame without sound announces, 0 if unknown; None if it is no such frame."""
    checksum = 0 if head[1] & 1 else 2
    for at in {kind.count_at, kind.count_at + checksum}:
        if head[at : at + 4] in (b"Xing", b"Info") and not any(head[4 + checksum : at]):
            flags = int.from_bytes(head[at + 4 : at + 8], "big")  # slices: the file may end here
            frames, n_bytes = (int.from_bytes(head[at + i : at + i + 4], "big") for i in (8, 12))
            return (frames, n_bytes if flags & 2 else 0) if flags & 1 else (0, 0)
    is_vbri = head[36:40] == b"VBRI"
    return (int.from_bytes(head[50:54], "big"), int.from_bytes(head[46:50], "big")) if is_vbri else None


class _Walker:
    """Walks from header to header, with a stretch of the file in memory."""

    def __init__(self, raw: BinaryIO, start: int, stop: int) -> None:
        self.found = MpegWalk()
        self._raw, self._start, self._stop = raw, start, stop
        self._held_at, self._held = start, b""
        self._frames = 0
        self._is_whole = False  # whether all frames came that were announced: what follows is of no interest

    def walk(self) -> None:
        """Fill in what was found."""
        self._stop = self._without_last_tags()
        start = self._after_tags(self._start)
        if self._is_free_format(start):
            self.found.refusal = f"is an MP3 of free format, whose length is not stated; {CONVERT}"
            return
        position, kind = self._first_frame(start)
        if kind is None:
            return
        self.found.samples_per_frame = kind.samples
        if position - start > MAX_FRAME and any(self._at(start, position - start)):
            self.found.refusal = _junk(position - start, 0.0)
        while position < self._stop and not self.found.refusal:
            position = self._after(self._walk_run(position, kind), kind)
        if not self.found.refusal and not self.found.parts:
            self.found.refusal = "holds no samples; leave it out or record it again"

    def _at(self, position: int, n: int = HEAD) -> bytes:
        """Return up to n bytes from a position."""
        n = max(0, min(n, self._stop - position))
        offset = position - self._held_at
        if offset < 0 or offset + n > len(self._held):
            self._raw.seek(position)
            self._held_at, offset = position, 0
            self._held = self._raw.read(min(max(CHUNK_BYTES, n), self._stop - position))
        return self._held[offset : offset + n]

    def _walk_run(self, position: int, kind: _Kind) -> int:
        """Walk frames that follow each other, add the parts that they make, and return where they end."""
        run = _Run(position, position)
        length = 0
        while True:
            head = self._at(position)
            size, found = _frame(head)
            if found is not kind or not size:
                following = self._over_junk(position, min(length, MAX_JUNK), kind)
                if following is None:
                    break
                position = following
                continue
            length = size
            if position + length > self._stop:
                run.is_cut = True
                break
            announced = _announced(head, kind) if kind.layer == 3 else None
            if announced is None:
                run.frames += 1
                if run.frames == run.announced:
                    run.announced_end = position + length
            else:
                self._close(run, position)
                run = _Run(position, position + length, *announced)
            position += length
        self._close(run, position)
        return self._stop if run.is_cut else position

    def _close(self, run: _Run, end: int) -> None:
        """Add the parts of a run."""
        self._frames += run.frames
        # Some programs count the frame that announces the others; then no bytes are missing.
        is_short = run.is_cut or 0 < run.announced_bytes - (end - run.start) <= MAX_FRAME
        if run.frames < run.announced - 1 or (is_short and run.frames < run.announced):
            self.found.refusal = self.found.refusal or (
                f"is damaged or cut off (its header announces {run.announced:,} frames, but {run.frames:,} follow "
                "without a break); copy, convert or record it again"
            )
            return
        self._is_whole = run.announced > 0
        rest_at, rest = run.sound_at, run.frames
        if run.announced:
            rest_at, rest = run.announced_end or end, max(0, run.frames - run.announced)
            self.found.parts.append(Part(run.start, rest_at))
        if rest:  # what follows was joined to it without a header of its own
            self.found.parts.append(Part(rest_at, end, frames=rest * self.found.samples_per_frame, is_endless=True))

    def _over_junk(self, position: int, most: int, kind: _Kind) -> int | None:
        """Return where the next frame begins if so few bytes come before it that none can have been lost."""
        if self._after_tags(position) != position:
            return None
        following, found = self._next_frame(position, position + most)
        return following if found is kind else None

    def _after(self, end: int, kind: _Kind) -> int:
        """Return where frames go on after a break, the end of the file if they do not; refuse it if some are lost."""
        position = self._after_tags(end)
        padding = self._at(position, MAX_PADDING + 1)
        n_zeros = len(padding) - len(padding.lstrip(b"\0"))
        if n_zeros <= MAX_PADDING:
            position = self._after_tags(position + n_zeros)
        if position >= self._stop:
            return self._stop
        following, found = self._next_frame(position, self._stop)
        at_s = self._frames * kind.samples / kind.rate
        if found is not None and found is not kind:
            self.found.refusal = f"{_change(kind, found)} at {at_s:.3f} s; split it there, or {CONVERT}"
        elif following > position and (found is not None or not self._is_harmless(position)):
            self.found.refusal = _junk(following - position, at_s)
        return following

    def _is_harmless(self, position: int) -> bool:
        """Return whether the last bytes of the file, in which there is no frame, can be no sound that was damaged."""
        n = self._stop - position
        return n <= MAX_JUNK or self._is_whole or (n <= MAX_TEXT and _is_text(self._at(position, n)))

    def _next_frame(self, position: int, limit: int) -> tuple[int, _Kind | None]:
        """Return where the next frame begins, before a limit, and its kind; the limit and None if there is none.

        Frames are recognised by their headers: by that of the frame and that of the next.
        """
        limit = min(limit, self._stop)
        kind = self._confirmed(position)
        if kind is not None and position < limit:
            return position, kind
        while position < limit:
            held = self._at(position, min(CHUNK_BYTES, limit - position + 1))
            for match in SYNC.finditer(held):
                at = position + match.start()
                if at >= limit:
                    return limit, None
                kind = self._confirmed(at)
                if kind is not None:
                    return at, kind
            position += max(1, len(held) - 1)
        return limit, None

    def _confirmed(self, position: int) -> _Kind | None:
        self._raw.seek(position)
        length, kind = _frame(self._raw.read(4))
        following = position + length
        if kind is None or not length or following > self._stop:
            return None
        if following == self._stop:
            return kind
        self._raw.seek(following)
        head = self._raw.read(10)
        return kind if _frame(head)[1] is kind or id3_bytes(head) or head[:3] == b"TAG" else None

    def _first_frame(self, start: int) -> tuple[int, _Kind | None]:
        head = self._at(start)
        kind = _frame(head)[1]
        if kind is not None and kind.layer == 3 and (_announced(head, kind) or (0, 0))[0]:
            return start, kind  # whatever follows it, what it announces counts
        return self._next_frame(start, start + MAX_LEAD)

    def _is_free_format(self, position: int) -> bool:
        head = self._at(position, 4)
        length, kind = _frame(head)
        if kind is None or length:
            return False
        # The next frame lies at an unknown distance.
        return any(
            _frame(self._at(position + 4 + match.start(), 4)) == (0, kind)
            for match in re.finditer(re.escape(head[:2]), self._at(position + 4, 8192))
        )

    # --- tags

    def _after_tags(self, position: int) -> int:
        """Return where the tags end that begin at a position."""
        while position < self._stop:
            head = self._at(position, 32)
            if length := id3_bytes(head):
                position += length
            elif head[:3] == b"TAG":
                position += 227 if head[3:4] == b"+" else 128
            elif head[:8] == b"APETAGEX" and head[23:24] >= b"\x80":
                position += 32 + int.from_bytes(head[12:16], "little")
            else:
                break
        return min(position, self._stop)

    def _without_last_tags(self) -> int:
        """Return where the tags at the end of the file begin."""
        stop = self._stop
        while stop - self._start > HEAD:
            length = self._last_tag_bytes(stop)
            if not 0 < length <= stop - self._start:
                break
            stop -= length
        return stop

    def _last_tag_bytes(self, stop: int) -> int:
        """Return the length of the tag that ends at a position, 0 if none does."""
        if stop - self._start >= 128:
            self._raw.seek(stop - 128)
            if self._raw.read(3) == b"TAG":
                return 128
        self._raw.seek(stop - 32)
        foot = self._raw.read(32)
        if foot[:8] == b"APETAGEX":  # its header, if there is one, is not counted
            return int.from_bytes(foot[12:16], "little") + (32 if foot[23] & 0x80 else 0)
        if foot[-9:] == LYRICS_END and foot[-15:-9].isdigit():
            return 15 + int(foot[-15:-9])
        return 0


def _is_text(data: bytes) -> bool:
    """Return whether bytes are text in UTF-8, which frames are not, and perhaps padding."""
    text = data.rstrip(b"\0")
    try:
        is_clean = all(letter.isprintable() or letter.isspace() for letter in text.decode("utf-8"))
        return is_clean and len(data) - len(text) <= MAX_PADDING
    except UnicodeDecodeError:
        return False


def _junk(n_bytes: int, at_s: float) -> str:
    return f"is damaged ({n_bytes:,} bytes at {at_s:.3f} s are no MPEG audio); copy, convert or record it again"


def _change(before: _Kind, after: _Kind) -> str:
    if before.rate != after.rate:
        return f"its sample rate changes from {before.rate:,} to {after.rate:,} Hz"
    if before.channels != after.channels:
        return f"it changes from {before.channels} to {after.channels} channels"
    return f"it changes from layer {before.layer} to {after.layer}"
