"""Spectrograms beside the players: small pictures of what each one plays.

Rule: all pictures of a page share their bands and their scale of levels. Numbers and units are text over the picture,
not pixels in it, so that they are legible at any width and in both colour schemes.
"""

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import soxr
from numpy.typing import NDArray

from l3clf.audio.spectrogram import MelSpec, hz_to_mel, spectrogram
from l3clf.report.markup import Html, data_uri, join, tag

__all__ = ["Heard", "heard", "spectrogram_images", "spectrogram_legend"]

RATES_HZ = (8000, 16000, 32000)  # what a page's sounds are analysed at: bands up to 4, 8 or 16 kHz
FRAME_S = 0.032
MIN_HOP_S = 0.001
LOWEST_HZ = 50.0
BANDS = 72
MAX_COLUMNS = 360  # about the pixels of a card
LEVELS = 32
RANGE_DB = 80.0  # from the darkest to the brightest
_POWER_FLOOR = 1e-12
_TICKS_KHZ = (0.25, 0.5, 1, 2, 4, 8, 16)
_TICK_GAP = 0.12  # of the height, for a line of text
_STEPS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)
_MAX_STEPS = 5
_ONE_SCALE = 4.0  # if the longest is at most so many times the shortest, a second is as wide in all pictures
# Lightness rises steadily, so that the picture also reads in grey.
_RAMP = ((9, 9, 32), (66, 28, 110), (160, 45, 105), (232, 105, 55), (250, 190, 80), (255, 250, 215))


@dataclass(frozen=True, eq=False)
class Heard:
    """What a player plays, mono, at one of `RATES_HZ`."""

    samples: NDArray[np.float32]
    rate: int

    @property
    def length_s(self) -> float:
        """The length in seconds."""
        return len(self.samples) / self.rate

    def at(self, rate: int) -> "Heard":
        """Return the sound at another rate."""
        if rate == self.rate:
            return self
        return Heard(np.asarray(soxr.resample(self.samples, self.rate, rate, "HQ"), np.float32), rate)


def heard(samples: NDArray[np.float32], rate: int) -> Heard:
    """Return sound at the lowest of `RATES_HZ` that keeps its bands, or at the highest.

    Parameters
    ----------
    samples : array of shape (n,), float32
    rate : int
        In Hz.
    """
    return Heard(samples, rate).at(next((each for each in RATES_HZ if each >= rate), RATES_HZ[-1]))


def spectrogram_images(sounds: Sequence[Heard], names: Sequence[str]) -> list[Html]:
    """Return a picture for each sound, all with the same bands and the same scale of levels.

    Parameters
    ----------
    sounds : sequence of Heard
    names : sequence of str
        What the sounds are called, for those who cannot see the pictures.
    """
    if not sounds:
        return []
    rate = max(each.rate for each in sounds)
    levels = [_levels_db(each.at(rate)) for each in sounds]
    top = max(float(each.max()) for each in levels)
    span_s = _common_span_s(sounds)
    return [
        _image(_png(level, top), name, each.length_s, span_s or each.length_s, rate)
        for level, name, each in zip(levels, names, sounds, strict=True)
    ]


def spectrogram_legend(sounds: Sequence[Heard]) -> str:
    """Return a sentence that explains the pictures; empty without any."""
    if not sounds:
        return ""
    top_khz = max(each.rate for each in sounds) / 2000
    width = "a second is as wide in all" if _common_span_s(sounds) else "each is as wide as its clip"
    return (
        f" The spectrograms show what is played: mel bands up to {top_khz:g} kHz, the brightest {RANGE_DB:g} dB above "
        f"the darkest on one scale for all; {width}."
    )


def _common_span_s(sounds: Sequence[Heard]) -> float | None:
    """Return the time that the width of every picture stands for, or None if lengths differ too much for that."""
    lengths = [each.length_s for each in sounds]
    return max(lengths) if max(lengths) <= _ONE_SCALE * min(lengths) else None


def _levels_db(sound: Heard) -> NDArray[np.float64]:
    """Return levels in dB, (BANDS, n_columns), the highest band first; columns are centred on their times."""
    n, rate = len(sound.samples), sound.rate
    hop = max(round(MIN_HOP_S * rate), -(-n // MAX_COLUMNS))
    frame = round(FRAME_S * rate)
    # Twice the frame: the bins are closer than the lowest bands, so that none is empty.
    spec = MelSpec(
        sample_rate=rate,
        frame=frame,
        hop=hop,
        n_frames=-(-n // hop),
        n_mels=BANDS,
        fmin_hz=LOWEST_HZ,
        fmax_hz=rate / 2,
        power=2,
        lead=frame // 2,
        n_fft=2 * frame,
    )
    powers = spectrogram(spec, np.clip(sound.samples, -1, 1))
    return np.asarray(10 * np.log10(np.maximum(powers, _POWER_FLOOR)), np.float64).T[::-1]


def _png(levels: NDArray[np.float64], top_db: float) -> bytes:
    """Return levels as a PNG with a palette: a byte a pixel (PNG specification, 2nd edition, 11.2)."""
    steps = np.clip((levels - top_db + RANGE_DB) / RANGE_DB, 0, 1) * (LEVELS - 1)
    rows = np.rint(steps).astype(np.uint8)
    height, width = rows.shape
    lines = np.zeros((height, width + 1), np.uint8)  # each line begins with its filter, 0: none
    lines[:, 1:] = rows
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    parts = ((b"IHDR", header), (b"PLTE", _palette()), (b"IDAT", zlib.compress(lines.tobytes(), 9)), (b"IEND", b""))
    chunks = (
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def _palette() -> bytes:
    ramp, places = np.array(_RAMP, float).T, np.linspace(0, 1, len(_RAMP))
    colours = [np.interp(np.linspace(0, 1, LEVELS), places, channel) for channel in ramp]
    return bytes(np.rint(np.stack(colours, axis=1)).astype(np.uint8).tobytes())


def _image(png: bytes, name: str, length_s: float, span_s: float, rate: int) -> Html:
    image = tag(
        "img",
        src=data_uri("image/png", png),
        alt=f"Spectrogram of {name}, {length_s:.3g} s",
        style=f"--wide:{100 * length_s / span_s:.2f}%",
    )
    labels = join([*_frequencies(rate), *_times(span_s)])
    return tag("div", image, labels, class_="spectrum")


def _frequencies(rate: int) -> list[Html]:
    low, high = (float(hz_to_mel(hz, "slaney")) for hz in (LOWEST_HZ, rate / 2))
    ticks = [khz for khz in _TICKS_KHZ if 2000 * khz <= rate]
    places = [(float(hz_to_mel(1000 * khz, "slaney")) - low) / (high - low) for khz in ticks]
    roomy = [k for k in range(len(ticks)) if k == len(ticks) - 1 or places[k + 1] - places[k] >= _TICK_GAP]
    ticks, places = [ticks[k] for k in roomy], [places[k] for k in roomy]
    texts = [*(f"{khz:g}" for khz in ticks[:-1]), f"{ticks[-1]:g} kHz"]
    return [_label("khz", text, place) for text, place in zip(texts, places, strict=True)]


def _times(span_s: float) -> list[Html]:
    step = next((step for step in _STEPS_S if span_s / step <= _MAX_STEPS), _STEPS_S[-1])
    count = int(span_s / step + 1e-6)
    texts = [*(f"{step * k:g}" for k in range(count)), f"{step * count:g} s"]
    return [_label("sec", text, step * k / span_s) for k, text in enumerate(texts)]


def _label(kind: str, text: str, place: float) -> Html:
    return tag("span", text, class_=kind, style=f"--at:{100 * place:.1f}%", aria_hidden="true")
