"""The front-end of students in integers: the levels that the C code computes on a chip, bit for bit.

Rule: every operation here is one of the C code (``l3clf_frontend.c``) and has its result, in integers of 32 bits that
none of them overflows; for sums of powers, float64 holds integers below 2^53.

The method, for frames of 512 samples of 16 bits: a Hann window; a radix-4 transform of 256 complex numbers,
the even samples as real and the odd ones as imaginary parts, of 17 bits and a sign, so that no product with a twiddle
of 14 bits is above 32; the first stage scales a frame up as far as its largest sample allows, and each of the others
scales down by a quarter, as much as a windowed sine can grow. Then the bins of the real signal, their powers and the
sums of these over mel bands without any rounding; and a logarithm from a table.
"""

import math
import threading
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from l3clf.audio.clip import FloatArray
from l3clf.audio.spectrogram import hz_to_mel, mel_to_hz
from l3clf.embedders.frontend import (
    FMAX_HZ,
    FMIN_HZ,
    FRAME,
    HOP,
    INPUT_STEP_DB,
    INPUT_ZERO_POINT,
    N_MELS,
    SAMPLE_RATE,
    Int8Array,
)

__all__ = ["PCM_FULL_SCALE", "Constants", "as_pcm", "constants", "fixed_levels"]

Rows: TypeAlias = NDArray[np.int32]
Int16Array: TypeAlias = NDArray[np.int16]
Integer = TypeVar("Integer", bound=np.integer)

PCM_FULL_SCALE = 32768.0
N = FRAME // 2  # complex numbers of the transform
ONE_BITS = 14  # of 1 in the twiddles
ONE = 2**ONE_BITS
PEAK = 1.4 * ONE  # of the window: as large as the bits of the transform allow
SAMPLE_BITS = 15  # to which the samples of a frame are scaled up
PRODUCT_BITS = 16  # that a product with a twiddle loses: a quarter remains of the value
WEIGHT_BITS = 11  # of 1 in the weights
TABLE_BITS, REST_BITS = 5, 10  # of a mantissa: those that choose a row of the table, and those between two rows
LEVEL_BITS = 16  # after the point of a level
# What sums of weighted powers are above those of a signal with full scale at 1, before the scale of their frame: bins
# are twice those of a 64th (three stages of a quarter each) of the integers, whose full scale is 2^15.
VALUE_BITS = 2 * (SAMPLE_BITS - 5 + np.log2(PEAK / ONE)) + WEIGHT_BITS
OVERLAP = (FRAME - 1) // HOP  # hops that a frame reaches beyond its own
MAX_STEP = math.gcd(FRAME, HOP)  # samples whose largest is part of that of several frames
REPEATS = (1, 4, 16)  # of each twiddle in the three stages that have some
BLOCK = 768  # frames at a time, at most: of fewer, threads mostly wait for the interpreter's lock


@dataclass(frozen=True, eq=False)
class Constants:
    """What the exporter writes as C text, and the twin here computes with.

    Attributes
    ----------
    window : array of shape (512,), int16
    twiddles : array of shape (384, 2), int16
        Real and imaginary part of ``exp(-2 pi i k / 512)``.
    order : array of shape (256,), uint8
        Index of each bin after the transform, its four digits in base 4 reversed.
    first_bin : int
    n_bins : array of shape (65,), uint8
        Bins of each segment, from the lower edge of a band to its centre.
    weights : array of shape (bins,), uint16
        The share of each bin that belongs to the band whose centre is above it; the rest belongs to the band below.
    octave : int
        Levels in an octave of powers.
    logarithms : array of shape (33,), int32
        Levels of 1 + i/32.
    offsets : array of shape (64,), int32
        What is added to the levels of each band; it includes the half that rounds.
    """

    window: NDArray[np.int16]
    twiddles: NDArray[np.int16]
    order: NDArray[np.uint8]
    first_bin: int
    n_bins: NDArray[np.uint8]
    weights: NDArray[np.uint16]
    octave: int
    logarithms: NDArray[np.int32]
    offsets: NDArray[np.int32]


@cache
def constants() -> Constants:
    """Return the constants of the front-end."""
    edges = mel_to_hz(np.linspace(hz_to_mel(FMIN_HZ, "slaney"), hz_to_mel(FMAX_HZ, "slaney"), N_MELS + 2), "slaney")
    bins_hz = np.arange(N) * (SAMPLE_RATE / FRAME)
    segment = np.searchsorted(edges, bins_hz, side="right") - 1
    inside = np.flatnonzero((segment >= 0) & (segment <= N_MELS))
    lower, upper = edges[segment[inside]], edges[segment[inside] + 1]
    turn = -2 * np.pi * np.arange(3 * FRAME // 4) / FRAME
    octave = 10 * np.log10(2) / INPUT_STEP_DB * 2**LEVEL_BITS
    return Constants(
        window=_rounded(PEAK * (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(FRAME) / FRAME)), np.int16),
        twiddles=_rounded(ONE * np.stack([np.cos(turn), np.sin(turn)], axis=1), np.int16),
        order=_order(),
        first_bin=int(inside[0]),
        n_bins=np.bincount(segment[inside], minlength=N_MELS + 1).astype(np.uint8),
        weights=_rounded(2**WEIGHT_BITS * (bins_hz[inside] - lower) / (upper - lower), np.uint16),
        octave=round(octave),
        logarithms=_rounded(octave * np.log2(1 + np.arange(2**TABLE_BITS + 1) / 2**TABLE_BITS), np.int32),
        offsets=_level_offsets(edges, octave),
    )


def _rounded(values: NDArray[np.float64], kind: type[Integer]) -> NDArray[Integer]:
    return np.rint(values).astype(kind)


def _order() -> NDArray[np.uint8]:
    order = np.zeros(1, np.int64)
    while len(order) < N:
        order = np.concatenate([4 * order + digit for digit in range(4)])
    return order.astype(np.uint8)


def _level_offsets(edges: NDArray[np.float64], octave: float) -> NDArray[np.int32]:
    """Return what makes levels of the sums' logarithms: filters have unit area over Hz, and levels are rounded."""
    area = np.log2(2 / (edges[2:] - edges[:-2]))
    return _rounded(octave * (area - VALUE_BITS) + (INPUT_ZERO_POINT + 0.5) * 2**LEVEL_BITS, np.int32)


def as_pcm(windows: FloatArray) -> Int16Array:
    """Return samples as 16-bit integers, which a chip gets: 32768 times as large, rounded, and clipped at full scale.

    Parameters
    ----------
    windows : array of any shape, float32
        Full scale at 1.0.

    Returns
    -------
    array of the same shape, int16
    """
    with np.errstate(over="ignore"):  # infinity is clipped
        scaled = np.multiply(windows, np.float32(PCM_FULL_SCALE))  # exact, by a power of two
    np.rint(scaled, out=scaled)
    return np.clip(scaled, -PCM_FULL_SCALE, PCM_FULL_SCALE - 1, out=scaled).astype(np.int16)


def fixed_levels(pcm: Int16Array, n_frames: int) -> Int8Array:
    """Return the levels of windows of 16-bit samples.

    Parameters
    ----------
    pcm : array of shape (n, window samples), int16
        Windows that follow another of the same clip and overlap with it by a whole number of hops take less time than
        others: each frame is computed once.
    n_frames : int
        Of each window.

    Returns
    -------
    array of shape (n, n_frames, n_mels), int8
    """
    out = np.empty((len(pcm), n_frames, N_MELS), np.int8)
    if not len(pcm):
        return out
    # One stream of all windows, each at a whole number of hops: most of the samples of many belong to others too.
    apart = -(-pcm.shape[1] // HOP) * HOP
    starts, hop = [0], 0
    for before, after in pairwise(pcm):
        hop = _hop(before, after, hop)
        starts.append(starts[-1] + (hop or apart))
    stream = np.zeros(starts[-1] + pcm.shape[1], np.int16)
    for start, window in zip(starts, pcm, strict=True):
        stream[start : start + len(window)] = window
    shared = np.empty((starts[-1] // HOP + n_frames, N_MELS), np.int8)
    _fill(shared, stream)
    for start, levels in zip(starts, out, strict=True):
        levels[:] = shared[start // HOP :][:n_frames]
    return out


def _hop(before: Int16Array, after: Int16Array, likely: int) -> int:
    """Return the samples from one window to the next, if both overlap by whole hops; 0 if not."""
    if likely and np.array_equal(after[:-likely], before[likely:]):
        return likely
    hops = before[HOP : len(before) // HOP * HOP].reshape(-1, HOP)
    for hop in HOP * (1 + np.flatnonzero((hops == after[:HOP]).all(axis=1))):
        if np.array_equal(after[:-hop], before[hop:]):
            return int(hop)
    return 0


def _fill(levels: Int8Array, samples: Int16Array) -> None:
    """Compute the levels (n_frames, n_mels) of a stream of samples."""
    n_blocks = -(-len(levels) // BLOCK)
    work = _work(-(-len(levels) // n_blocks))
    padded = np.zeros((n_blocks * work.n + OVERLAP, HOP), np.int16)
    padded.ravel()[: len(samples)] = samples[: padded.size]
    for first in range(0, len(levels), work.n):
        found = work.levels(padded[first : first + work.n + OVERLAP])
        levels[first : first + work.n] = found.T[: len(levels) - first]


@cache
def _band_weights() -> NDArray[np.float64]:
    """Return the share of the bins 1 to 255 in each band, (n_mels, 255), in integers.

    A bin between the centres of two bands belongs to both of them, with `WEIGHT_BITS` in all.
    """
    c = constants()
    segment = np.repeat(np.arange(N_MELS + 1), c.n_bins)
    bins = c.first_bin - 1 + np.arange(len(segment))
    shares = np.zeros((N_MELS + 2, N - 1))  # with a band below and one above, of which only a half exists
    shares[segment + 1, bins] = c.weights
    shares[segment, bins] = 2**WEIGHT_BITS - c.weights.astype(np.int64)
    return shares[1:-1]


# --- computation ----------------------------------------------------------------------------------


class _Work:
    """Computes `n` frames at a time in memory of its own: to allocate it for every block would take longer.

    A frame is a column of every array, so that each operation is one on long rows.
    """

    def __init__(self, n: int) -> None:
        self.n = n
        self._memory = np.empty((28, N // 4, n), np.int32)
        self._hops = np.empty((HOP, n + OVERLAP), np.int32)
        self._bins = np.empty((2, N, n), np.int32)
        self._powers = np.empty((2, N - 1, n), np.float64)
        # Constants are repeated for each frame: NumPy takes long for an operation on a row and a number.
        self._window = np.repeat(constants().window.astype(np.int32)[:, np.newaxis], n, axis=1)
        table = constants().twiddles.astype(np.int32)
        index = [np.arange(N // 4) // r * r * np.array([[1], [2], [3]]) * 2 for r in REPEATS]
        # Real and imaginary parts, (2, 3, 64, n), of the three stages that have twiddles.
        self._twiddles = [np.repeat(np.moveaxis(table[i], -1, 0)[..., np.newaxis], n, axis=-1) for i in index]

    def levels(self, hops: Int16Array) -> Int8Array:
        """Return the levels, (n_mels, n), of the frames that begin with the first n of the hops (n + OVERLAP, HOP)."""
        np.copyto(self._hops, hops.T)
        ups = np.minimum(SAMPLE_BITS - np.frexp(self._peaks().astype(np.float64))[1], ONE_BITS)
        self._real_bins(*self._transform(ONE_BITS - ups))
        return _logarithms(self._band_sums(), 2 * ups)

    def _peaks(self) -> Rows:
        """Return the largest ``x ^ (x >> 31)`` of each frame."""
        sign_changes = self._memory.ravel()[: self._hops.size].reshape(self._hops.shape)
        np.right_shift(self._hops, 31, out=sign_changes)
        sign_changes ^= self._hops
        parts = sign_changes.reshape(-1, MAX_STEP, self.n + OVERLAP).max(axis=1)
        whole = parts.max(axis=0)
        peaks = parts[: (FRAME - OVERLAP * HOP) // MAX_STEP, OVERLAP:].max(axis=0)
        for hop in range(OVERLAP):
            np.maximum(peaks, whole[hop : hop + self.n], out=peaks)
        return np.asarray(peaks)

    def _transform(self, shifts: Rows) -> Rows:
        """Return the complex transform, real and imaginary parts (2, 256, n); the first stage is shifted right.

        The stages are Stockham's, which leave the bins in order; each computes what the one of the C code does.
        """
        memory, n = self._memory, self.n
        here, there, out = (memory[i : i + 8].reshape(2, 4, N // 4, n) for i in (0, 8, 16))
        self._windowed(here.reshape(2, N, n))
        for repeats, twiddles in zip(REPEATS, self._twiddles, strict=True):
            _butterfly(here, memory[24:], out)
            if repeats == 1:
                np.right_shift(out, shifts, out=out)
            _turn(out, here[:, :3], there.reshape(2, N // 4 // repeats, 4, repeats, n), twiddles)
            here, there = there, here
        _butterfly(here, memory[24:], there)
        return there.reshape(2, N, n)

    def _windowed(self, out: Rows) -> None:
        """Multiply the frames by the window: even samples are real parts, odd ones imaginary parts, (2, 256, n)."""
        for hop in range(OVERLAP + 1):
            for part in range(2):
                first, end = hop * HOP + part, min((hop + 1) * HOP, FRAME)
                rows = self._hops[part : end - hop * HOP : 2, hop : hop + self.n]
                np.multiply(rows, self._window[first:end:2], out=out[part, first // 2 : end // 2])

    def _real_bins(self, re: Rows, im: Rows) -> None:
        """Compute twice the bins 1 to 255 of the real signal, bin k in row k."""
        half, n = N // 2, self.n
        low, high = slice(1, half), slice(N - 1, half, -1)
        # The transform is in the first eight slabs of the memory.
        even, odd, turned, other = self._memory[8:24].reshape(4, 2, half, n)[:, :, 1:]
        np.add(re[low], re[high], out=even[0])
        np.subtract(im[low], im[high], out=even[1])
        np.add(im[low], im[high], out=odd[0])
        np.subtract(re[high], re[low], out=odd[1])
        w_re, w_im = constants().twiddles[low].astype(np.int32).T[..., np.newaxis]
        np.multiply(odd[0], w_re, out=turned[0])
        np.multiply(odd[0], w_im, out=turned[1])
        np.multiply(odd[1], w_im, out=other[0])
        np.multiply(odd[1], w_re, out=other[1])
        turned[0] -= other[0]
        turned[1] += other[1]
        turned >>= ONE_BITS
        np.add(even, turned, out=self._bins[:, low])
        np.subtract(even, turned, out=self._bins[:, high])
        np.left_shift((re[half], im[half]), 1, out=self._bins[:, half])

    def _band_sums(self) -> NDArray[np.float64]:
        """Return the weighted powers of each band, (n_mels, n)."""
        squares, powers = self._powers
        np.copyto(powers, self._bins[0, 1:])
        np.copyto(squares, self._bins[1, 1:])
        powers *= powers
        squares *= squares
        powers += squares
        # Integers below 2^53: a product of matrices is exact in any order of its sums.
        return np.asarray(_band_weights() @ powers)


def _butterfly(x: Rows, memory: Rows, out: Rows) -> None:
    """Compute a radix-4 stage without twiddles, `x` and `out` of shape (2, 4, 64, n); `x` is used up."""
    p, q, r, s = (x[:, digit] for digit in range(4))
    a, c = memory[:2], memory[2:]
    np.add(p, r, out=a)
    np.add(q, s, out=c)
    (b_re, b_im), (d_re, d_im) = np.subtract(p, r, out=p), np.subtract(q, s, out=q)
    np.add(a, c, out=out[:, 0])
    np.subtract(a, c, out=out[:, 2])
    # d is multiplied by -i.
    np.add(b_re, d_im, out=out[0, 1])
    np.subtract(b_im, d_re, out=out[1, 1])
    np.subtract(b_re, d_im, out=out[0, 3])
    np.add(b_im, d_re, out=out[1, 3])


def _turn(x: Rows, memory: Rows, out: Rows, twiddles: Rows) -> None:
    """Scale `x` (2, 4, 64, n) by a quarter into `out` (2, blocks, 4, repeats, n), all but the first turned by twiddles.

    Each product is rounded down by itself, as by the instruction SMULW; the 1 makes up for that in a sum of two.
    """
    _, blocks, _, repeats, n = out.shape
    np.right_shift(x[:, 0].reshape(2, blocks, repeats, n), 2, out=out[:, :, 0])
    others = x[:, 1:]
    np.multiply(others, twiddles, out=memory)
    np.multiply(others, twiddles[::-1], out=others)
    np.right_shift(memory, PRODUCT_BITS, out=memory)
    np.right_shift(others, PRODUCT_BITS, out=others)
    others[0] += 1
    shape = (3, blocks, repeats, n)
    np.subtract(memory[0].reshape(shape), memory[1].reshape(shape), out=out[0, :, 1:].swapaxes(0, 1))
    np.add(others[0].reshape(shape), others[1].reshape(shape), out=out[1, :, 1:].swapaxes(0, 1))


def _logarithms(values: NDArray[np.float64], halvings: Rows) -> Int8Array:
    """Return the levels of ``values / 2^halvings``, (n_mels, n)."""
    c = constants()
    mantissas, places = np.frexp(values)
    bits = np.ldexp(mantissas, 1 + TABLE_BITS + REST_BITS).astype(np.int32)  # rounded down
    bits &= (1 << TABLE_BITS + REST_BITS) - 1
    row, rest = bits >> REST_BITS, bits & (1 << REST_BITS) - 1
    found = c.logarithms[row] + (np.diff(c.logarithms)[row] * rest >> REST_BITS)
    found += (places - 1 - halvings) * np.int32(c.octave) + c.offsets[:, np.newaxis]
    found >>= LEVEL_BITS  # of silence, far below the lowest level
    np.minimum(found, np.int32(127), out=found)
    np.maximum(found, np.int32(-128), out=found)
    return np.asarray(found, np.int8)


_of_thread = threading.local()


def _work(n: int) -> _Work:
    """Return the memory of this thread for `n` frames at a time; that for another number is dropped."""
    found: _Work | None = getattr(_of_thread, "work", None)
    if found is None or found.n != n:
        found = _of_thread.work = _Work(n)
    return found
