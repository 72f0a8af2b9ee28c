"""Windows to learn from, rendered in batches on the device that trains; none is rendered twice.

Rule: a batch has a fixed number of rows of each group of sounds, one group after the other, so that what a teacher is
asked about, and what counts how much, are slices.
"""

import io
import math
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["SHARES", "WINDOW", "Renderer"]

RATE_HZ, WINDOW = 16_000, 15_600
TRANSFORM = 24_576  # holds a window and the tail of a room
ROOM = 8000  # samples
SOUND, SPEECH, WORDS, SYNTHETIC = range(4)
SHARES: Mapping[int, float] = {SOUND: 0.52, SPEECH: 0.12, WORDS: 0.22, SYNTHETIC: 0.14}
BEHIND: Mapping[int, float] = {SOUND: 0.65, SPEECH: 0.1, WORDS: 0.05, SYNTHETIC: 0.2}  # of second sounds
ASKED = 0.15  # share of SOUND whose speech embedding is learned
P_RATE, P_OVER, P_MIX, P_NOISE, P_COLOUR, P_BAND, P_TELEPHONE, P_ROOM, P_LEVEL = (
    0.5, 0.4, 0.32, 0.2, 0.45, 0.12, 0.3, 0.2, 0.85,
)  # fmt: skip
RATES, OVER = (0.72, 1.38), 0.6  # resampling; how much of a window may lie outside its sound
MIX_DB, NOISE_DB, COLOUR_DB, LEVEL_DB = (-4.0, 22.0), (2.0, 40.0), (-9.0, 9.0), (-52.0, -9.0)


class Renderer:
    """The sounds, on a device.

    Parameters
    ----------
    folder : Path
        With ``sounds.npz`` and ``words.npz``, as `bundle` writes them.
    device : str
    batch : int
        Rows of a batch.
    part : int, default=1
        Every how many streams are read; more than one to try things out.
    compiled : callable, optional
        Compiles a function, or does not.
    """

    def __init__(self, folder: Path, device: str, batch: int, part: int = 1, compiled: Any = None) -> None:
        self.device = device
        self._cut = compiled(self._segments) if compiled else self._segments
        packed = _joined([folder / "sounds.npz", folder / "words.npz"])
        chosen = packed["stream"] % part == 0
        flat, starts = _decoded(packed, part)
        self.flat = torch.from_numpy(flat).to(device)
        self.first = torch.from_numpy((starts[packed["stream"]] + packed["start"])[chosen]).to(device)
        self.length = torch.from_numpy(packed["length"][chosen].astype(np.int64)).to(device)
        group, held = packed["group"][chosen], packed["held_out"][chosen]
        seconds = packed["length"][chosen] / RATE_HZ
        self.weights = {kind: self._weights((group == kind) & ~held, seconds) for kind in SHARES}
        self.held = {kind: self._weights((group == kind) & held, seconds) for kind in (SOUND, SPEECH)}
        if not all(bool(weights.any()) for weights in self.held.values()):  # a small part, to try things out
            self.held = {kind: self.weights[kind] for kind in self.held}
        counts = [round(batch * SHARES[kind]) for kind in (SOUND, SPEECH, WORDS)]
        self.rows = [*counts, batch - sum(counts)]
        self.batch = batch
        ends = np.cumsum(self.rows)
        self.spoken = slice(int(ends[0]), int(ends[2]))  # where somebody speaks
        self.asked = slice(int(ends[0] * (1 - ASKED)), int(ends[2]))  # which the speech embedding hears
        self.hours = float(seconds.sum()) / 3600
        self._hz = torch.fft.rfftfreq(TRANSFORM, 1 / RATE_HZ).to(device)
        self._octave = (self._hz.clamp(min=30) / 62.5).log2().clamp(0, 6.999)
        self._time = torch.arange(ROOM, device=device) / RATE_HZ

    def _weights(self, chosen: NDArray[np.bool_], seconds: NDArray[Any]) -> Tensor:
        return torch.from_numpy(np.where(chosen, np.sqrt(seconds), 0)).float().to(self.device)

    @torch.no_grad()
    def render(self) -> Tensor:
        """Return a batch to learn from, (batch, samples)."""
        clips = [self._draw(self.weights[kind], n) for kind, n in zip(SHARES, self.rows, strict=True)]
        return self._augmented(self._cut(torch.cat(clips)), self.weights)

    @torch.no_grad()
    def render_held_out(self) -> Tensor:
        """Return a batch of the sounds kept aside: three quarters sounds, one quarter speech."""
        n = self.batch // 4
        clips = [self._draw(self.held[kind], rows) for kind, rows in ((SOUND, self.batch - n), (SPEECH, n))]
        return self._augmented(self._cut(torch.cat(clips)), {SOUND: self.held[SOUND]})

    @staticmethod
    def _draw(weights: Tensor, n: int) -> Tensor:
        return torch.multinomial(weights, n, replacement=True)

    def _uniform(self, rows: int, low: float, high: float, columns: int = 1) -> Tensor:
        return torch.rand(rows, columns, device=self.device) * (high - low) + low

    def _logarithmic(self, rows: int, low: float, high: float) -> Tensor:
        return self._uniform(rows, math.log(low), math.log(high)).exp()

    def _chance(self, rows: int, p: float) -> Tensor:
        return torch.rand(rows, 1, device=self.device) < p

    def _some(self, p: float) -> Tensor:
        """Numbers of a share of the rows."""
        return torch.randperm(self.batch, device=self.device)[: round(p * self.batch)]

    def _segments(self, clip: Tensor) -> Tensor:
        """A window of each clip, at another speed and reaching over its ends for some, by cubic interpolation."""
        n, length = len(clip), self.length[clip].float()[:, None]
        rate = torch.where(self._chance(n, P_RATE), self._logarithmic(n, *RATES), 1.0)
        need = WINDOW * rate
        over = torch.where(self._chance(n, P_OVER), OVER * need, 0.0)
        # Short sounds lie anywhere in the window, long ones begin anywhere that fills it; `over` widens both.
        low = torch.minimum(length - need, torch.zeros_like(need))
        high = torch.maximum(length - need, torch.zeros_like(need))
        short = length < need
        low, high = (
            low - torch.where(short, 0.5 * torch.minimum(over, length), over),
            high + torch.where(short, 0.5 * torch.minimum(over, length), over),
        )
        at = low + torch.rand_like(low) * (high - low) + torch.arange(WINDOW, device=self.device) * rate
        whole = at.floor()
        part, index = at - whole, whole.int()
        a, b, c, d = (self._samples(clip, index + k) for k in (-1, 0, 1, 2))
        return b + 0.5 * part * (c - a + part * (2 * a - 5 * b + 4 * c - d + part * (3 * (b - c) + d - a)))

    def _samples(self, clip: Tensor, index: Tensor) -> Tensor:
        length = self.length[clip].int()[:, None]
        inside = (index >= 0) & (index < length)
        found = self.flat[self.first[clip][:, None] + index.clamp(min=0).minimum(length - 1)]
        return torch.where(inside, found.float(), 0.0)

    def _augmented(self, x: Tensor, behind: Mapping[int, Tensor]) -> Tensor:
        x = self._coloured(x)
        rows = self._some(P_MIX)
        kinds = {kind: BEHIND[kind] for kind in behind}
        weights = sum(behind[kind] * (share / behind[kind].sum()) for kind, share in kinds.items())
        second = self._cut(self._draw(weights, len(rows)))
        x = self._added(x, rows, second, MIX_DB)
        rows = self._some(P_NOISE)
        x = self._added(x, rows, self._noise(len(rows)), NOISE_DB)
        loudness = _rms(x)
        level = 10 ** (self._uniform(len(x), *LEVEL_DB) / 20)
        kept = (loudness < 1e-5) | ~self._chance(len(x), P_LEVEL)
        return torch.where(kept, x, x * level / loudness).clamp(-1, 1)

    def _added(self, x: Tensor, rows: Tensor, other: Tensor, range_db: tuple[float, float]) -> Tensor:
        gain = (_rms(x[rows]) / _rms(other)).clamp(max=1e3) * 10 ** (-self._uniform(len(rows), *range_db) / 20)
        return x.index_add(0, rows, other * gain)

    def _noise(self, n: int) -> Tensor:
        size = 16_384
        spectrum = torch.fft.rfft(torch.randn(n, size, device=self.device))
        k = torch.arange(spectrum.shape[1], device=self.device).clamp(min=1).float()
        return torch.fft.irfft(spectrum * k ** (-0.5 * self._uniform(n, -0.3, 2.2)), size)[:, :WINDOW]

    def _coloured(self, x: Tensor) -> Tensor:
        """Through an equaliser, band limits (of a telephone, for speech) and a room, each for some rows."""
        n = len(x)
        knots = self._uniform(n, *COLOUR_DB, columns=8) * self._chance(n, P_COLOUR)
        k = self._octave.floor().long()
        part = self._octave - k
        gain_db = knots[:, k] * (1 - part) + knots[:, k + 1] * part
        high = torch.where(self._chance(n, P_BAND), self._logarithmic(n, 1200, 7500), 1e6)
        low = torch.where(self._chance(n, P_BAND), self._logarithmic(n, 60, 900), 1e-3)
        telephone = self._chance(n, P_TELEPHONE)
        telephone[: self.rows[0]] = False
        telephone[self.spoken.stop :] = False
        high = torch.where(telephone, self._logarithmic(n, 3000, 4000), high)
        low = torch.where(telephone, self._logarithmic(n, 40, 350), low)
        limits = (1 + (self._hz / high) ** 16) * (1 + (low / self._hz.clamp(min=1e-2)) ** 8)
        gain = 10 ** (gain_db / 20) * limits.rsqrt()
        spectrum = torch.fft.rfft(x, TRANSFORM) * gain
        rows = self._some(P_ROOM)
        spectrum[rows] *= torch.fft.rfft(self._rooms(len(rows)), TRANSFORM)
        return torch.fft.irfft(spectrum, TRANSFORM)[:, :WINDOW]

    def _rooms(self, n: int) -> Tensor:
        """What rooms answer to a click: it, and noise that dies away."""
        tail = torch.randn(n, ROOM, device=self.device) * (-6.9 * self._time / self._uniform(n, 0.08, 0.9)).exp()
        tail = tail * (10 ** (self._uniform(n, -14, 2) / 20) / tail.square().sum(1, keepdim=True).sqrt())
        tail[:, 0] += 1
        return tail


def _rms(x: Tensor) -> Tensor:
    return x.square().mean(1, keepdim=True).clamp(min=1e-14).sqrt()


def _joined(paths: list[Path]) -> dict[str, NDArray[Any]]:
    """The files' arrays, the streams of the later ones after those of the earlier."""
    joined: dict[str, list[NDArray[Any]]] = {}
    streams, size = 0, 0
    for path in paths:
        with np.load(path) as file:
            for name in file.files:
                offset = {"stream": streams, "ends": size}.get(name)
                joined.setdefault(name, []).append(file[name] if offset is None else file[name] + offset)
        streams, size = streams + len(joined["ends"][-1]), int(joined["ends"][-1][-1])
    return {name: np.concatenate(parts) for name, parts in joined.items()}


def _decoded(packed: Mapping[str, NDArray[Any]], part: int) -> tuple[NDArray[np.float16], NDArray[np.int64]]:
    """All streams one after the other, and where each begins; those left out have no samples."""
    bounds = list(pairwise([0, *packed["ends"].tolist()]))
    content = packed["bytes"].tobytes()

    def decode(number: int) -> NDArray[np.float16]:
        if number % part:
            return np.zeros(0, np.float16)
        first, last = bounds[number]
        samples, _ = soundfile.read(io.BytesIO(content[first:last]), dtype="float32")
        return np.asarray(samples, np.float16)

    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(decode, range(len(bounds))))
    starts = np.cumsum([0, *map(len, found)])[:-1]
    return np.concatenate(found), starts
