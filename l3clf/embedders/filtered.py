"""An embedder that hears only a band of the sound, or the sound without its steady noise.

Rule: it is another embedder than the one that it wraps, with a fingerprint of its own, and the windows, times and sizes
of the other. The band limit acts on each window by itself, so that a stream gives the clip's answers; denoising needs
the whole clip. Levels, and so the gate, are those of what is heard.
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np

from l3clf.audio.band_limit import band_limited
from l3clf.audio.clip import FloatArray, Source
from l3clf.audio.decode import read_blocks
from l3clf.audio.steady_noise import without_steady_noise
from l3clf.embedders import load_embedder
from l3clf.embedders.base import Embedder
from l3clf.errors import AudioError, ParameterError
from l3clf.storage.cache_database import StoredWindows

__all__ = ["DENOISE", "MAX_DENOISED_S", "Filtered", "needs_whole_clips", "unfiltered"]

REVISION = 1  # to be raised whenever the same band limit or denoising gives other samples than before
DENOISE = ("stationary",)
MIN_EDGE_HZ = 1.0
MAX_DENOISED_S = 600.0  # a whole clip is in memory, with its copy: 230 MB at 48 kHz


@dataclasses.dataclass(frozen=True)
class Filtered(Embedder):
    """An embedder that is given filtered sound.

    Parameters
    ----------
    embedder : Embedder or str
        The embedder to give it to, or the name of one for `load_embedder`.
    band_hz : (low, high) or None, default=None
        The band to hear, in Hz: from 0 to half the embedder's sample rate. Frequencies at its edges are 6 dB lower,
        and 48 dB more with each octave beyond. Each window is filtered by itself, without delay.
    denoise : {"stationary"} or None, default=None
        Whether noise that goes on unchanged through a clip is turned down by 20 dB (spectral gating), before the clip
        is cut into windows. Clips are then at most 600 s long, and streams are refused.

    Raises
    ------
    ParameterError
        If `embedder` is neither an embedder nor the name of one, or is itself filtered, or the band or `denoise` is not
        one of these.

    Notes
    -----
    The levels of windows, and with them ``gate_dbfs`` and what counts as silence, are those of the filtered sound: a
    gate with a band from 1 kHz does not open for wind. With neither a band nor denoising it is the wrapped embedder,
    with its name, vectors and fingerprint.

    Examples
    --------
    >>> import l3clf
    >>> birds = l3clf.Filtered("mfcc", band_hz=(1000, 8000))
    >>> birds.name, birds.embedding_size
    ('mfcc 1-8 kHz', 60)
    """

    embedder: Any
    band_hz: Any = None
    denoise: str | None = None

    def __post_init__(self) -> None:
        """Check the parameters, and bring them into one form."""
        if isinstance(self.embedder, str):
            object.__setattr__(self, "embedder", load_embedder(self.embedder))
        if not isinstance(self.embedder, Embedder):
            raise ParameterError(f"embedder={self.embedder!r}; expected a name such as 'l3mini', or an embedder")
        if isinstance(self.embedder, Filtered):
            raise ParameterError(
                f"embedder: {self.embedder.name!r} is filtered already; give band_hz and denoise to one Filtered"
            )
        if self.denoise is not None and self.denoise not in DENOISE:
            raise ParameterError(f"denoise={self.denoise!r}; expected 'stationary' or None")
        if self.band_hz is not None:
            object.__setattr__(self, "band_hz", _checked_band(self.band_hz, self.embedder))

    @property
    def name(self) -> str:  # type: ignore[override]  # a constant of all other embedders
        """That of the wrapped embedder, and what is done to the sound."""
        band = "" if self.band_hz is None else f" {self.band_hz[0] / 1000:.12g}-{self.band_hz[1] / 1000:.12g} kHz"
        return f"{self.embedder.name}{band}{' denoised' if self.denoise else ''}"

    @property
    def sample_rate(self) -> int:
        """Sample rate of the windows, in Hz."""
        return int(self.embedder.sample_rate)

    @property
    def window_s(self) -> float:
        """Length of a window, in seconds."""
        return float(self.embedder.window_s)

    @property
    def embedding_size(self) -> int:
        """Length of a vector."""
        return int(self.embedder.embedding_size)

    @property
    def batch_windows(self) -> int:  # type: ignore[override]
        """Number of windows per call of `embed_windows` that suits the embedder best."""
        return int(self.embedder.batch_windows)

    @property
    def filters(self) -> dict[str, Any]:
        """What is done to the sound, as JSON has it: ``band_hz``, a list or None, and ``denoise``."""
        return {"band_hz": None if self.band_hz is None else list(self.band_hz), "denoise": self.denoise}

    @property
    def is_plain(self) -> bool:
        """Whether nothing is done to the sound."""
        return self.band_hz is None and self.denoise is None

    @cached_property
    def options(self) -> dict[str, Any]:
        """The options of the wrapped embedder, and `filters`."""
        return {**self.embedder.options, **({} if self.is_plain else self.filters)}

    @cached_property
    def fingerprint(self) -> str:
        """Digest of everything that determines the vectors: the wrapped embedder's, and what is done to the sound."""
        inner: str = self.embedder.fingerprint
        if self.is_plain:
            return inner
        spec = {"filtered": inner, "revision": REVISION, **self.filters}
        return hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()[:32]

    def is_ready(self) -> bool:
        """Return whether all that the wrapped embedder needs is on this machine."""
        return bool(self.embedder.is_ready())

    def missing(self) -> str:
        """Return what the wrapped embedder lacks on this machine, and how to get it."""
        return str(self.embedder.missing())

    def weights_digest(self) -> str:
        """Return a digest of the content of the wrapped embedder's weights."""
        return str(self.embedder.weights_digest())

    def read_windows(self, source: Source, hop_s: float, center: bool) -> Iterator[FloatArray]:
        """Yield the windows of one clip, at most `batch_windows` at a time, denoised but not yet limited to the band.

        Raises
        ------
        AudioError
            If the clip cannot be read, or is too long to be denoised.
        """
        blocks = read_blocks(source, self.sample_rate)
        if self.denoise is not None:
            blocks = self._denoised(blocks, source)
        return self.framing(hop_s, center).windows(blocks, self.batch_windows)

    def embed_windows(self, windows: FloatArray) -> FloatArray:
        """Limit windows to the band, and embed them; see `Embedder.embed_windows`. Windows cannot be denoised here."""
        return self.embedder.embed_windows(self._limited(windows))  # type: ignore[no-any-return]

    def _embed_batch(self, windows: FloatArray) -> StoredWindows:
        found: StoredWindows = self.embedder._embed_batch(self._limited(windows))  # with the levels of what is heard
        return found

    def _limited(self, windows: FloatArray) -> FloatArray:
        return windows if self.band_hz is None else band_limited(windows, self.sample_rate, self.band_hz)

    def _denoised(self, blocks: Iterator[FloatArray], source: Source) -> Iterator[FloatArray]:
        held: list[FloatArray] = []
        n = 0
        for block in blocks:
            held.append(block)
            n += len(block)
            if n > MAX_DENOISED_S * self.sample_rate:
                raise AudioError(
                    f"{source}: is longer than the {MAX_DENOISED_S:g} s that denoise takes; cut it into pieces, or "
                    "leave denoise out"
                )
        if n:
            yield without_steady_noise(np.concatenate(held), self.sample_rate)


def unfiltered(embedder: Embedder) -> Embedder:
    """Return the embedder that a `Filtered` wraps, or the embedder itself."""
    return embedder.embedder if isinstance(embedder, Filtered) else embedder


def needs_whole_clips(embedder: Embedder) -> bool:
    """Return whether an embedder denoises clips, so that windows alone are not enough."""
    return isinstance(embedder, Filtered) and embedder.denoise is not None


def _checked_band(band_hz: Any, embedder: Embedder) -> tuple[float, float]:
    """Return a band as two numbers."""
    try:
        low, high = band_hz
    except (TypeError, ValueError):
        low = high = None
    if isinstance(band_hz, str) or not (_is_number(low) and _is_number(high)):
        raise ParameterError(f"band_hz={band_hz!r}; expected two numbers in Hz, such as (1000, 8000), or None")
    low, high = float(low), float(high)
    nyquist = embedder.sample_rate / 2
    shown = f"band_hz=({low:.12g}, {high:.12g})"
    if not 0 <= low < high:  # false for NaN, too
        raise ParameterError(f"{shown}; expected a low edge of at least 0 Hz and a high edge above it")
    if 0 < low < MIN_EDGE_HZ or high < MIN_EDGE_HZ:  # the slopes of others are beyond floating point
        raise ParameterError(f"{shown}; expected edges of at least {MIN_EDGE_HZ:g} Hz, or a low edge of 0 for none")
    if high > nyquist:
        raise ParameterError(
            f"{shown}: embedder {embedder.name!r} hears sound up to {nyquist:.12g} Hz; expected a high edge of at most "
            "that"
        )
    return low, high


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)
