"""The protocol of all embedders, and what they have in common.

Rule: an embedder defines its windows and turns them into vectors; framing, centring, resampling, batching and
streaming are written once, here and in `pipeline`. An embedder is a small immutable specification (its dataclass
fields); sessions and weights are opened on first use and are never pickled.
"""

import dataclasses
import hashlib
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from l3clf.audio.clip import FloatArray, Samples, Source
from l3clf.audio.decode import REVISION, read_blocks, scaled
from l3clf.audio.framing import Framing, level_dbfs
from l3clf.audio.levels import LevelNote, check_full_scale, check_levels, collecting, warn_of
from l3clf.errors import AudioError, ParameterError
from l3clf.storage.atomic import replacing
from l3clf.storage.cache_database import StoredWindows
from l3clf.storage.outputs import check_kind
from l3clf.storage.parquet_windows import PARQUET, ParquetWriter, WindowRows, check_parquet, read_parquet

__all__ = ["Embedder", "WindowEmbeddings", "as_path_option"]


@dataclasses.dataclass(frozen=True, eq=False)
class WindowEmbeddings:
    """The embeddings of one clip's windows.

    Attributes
    ----------
    vectors : array of shape (n_windows, embedding_size), float32
    times_s : array of shape (n_windows, 2), float64
        Start and end of each window, in seconds from the start of the clip. With centring, the first window starts
        half a window before the clip.
    levels_dbfs : array of shape (n_windows,), float32
        RMS level of each window, in dB relative to full scale; see `l3clf.audio.framing.level_dbfs`.
    """

    vectors: FloatArray
    times_s: NDArray[np.float64]
    levels_dbfs: FloatArray

    def __len__(self) -> int:
        return len(self.vectors)

    @staticmethod
    def to_parquet(
        file: str | os.PathLike[str],
        windows: "Mapping[str, WindowEmbeddings]",
        embedder: "Embedder",
        force: bool = False,
    ) -> None:
        """Write the windows of clips to a Parquet file, a row for each window.

        Parameters
        ----------
        file : path
            The file to write. Its columns are ``path``, ``start_s``, ``end_s``, ``level_dbfs``, ``embedder`` (name and
            fingerprint), ``content`` (null here: `l3clf embed` knows it) and ``vector`` (float32, of fixed size).
        windows : mapping of str to WindowEmbeddings
            By the path of each clip; one without windows leaves no row.
        embedder : Embedder
            That made them.
        force : bool, default=False
            Whether to replace an existing file that is not such a Parquet file.

        Raises
        ------
        MissingDependencyError
            If pyarrow is not installed (the extra ``parquet``).
        ParameterError
            If a path is not Unicode, vectors are of another size than the embedder's, or the file cannot be written.
        """
        check_parquet(windows)
        for name, each in windows.items():
            if each.vectors.shape[1:] != (embedder.embedding_size,):
                raise ParameterError(
                    f"{name}: vectors of shape {each.vectors.shape}; expected {embedder.embedding_size} numbers each, "
                    f"as {embedder.name!r} gives"
                )
        with replacing(check_kind(file, PARQUET, force=force)) as target:
            made_by = f"{embedder.name}:{embedder.fingerprint}"
            with closing(ParquetWriter(target, made_by, embedder.embedding_size)) as writer:
                for name, each in windows.items():
                    writer.add(name, None, WindowRows(each.times_s, each.levels_dbfs, each.vectors))

    @classmethod
    def from_parquet(cls, file: str | os.PathLike[str]) -> "dict[str, WindowEmbeddings]":
        """Read the windows of clips from a Parquet file that `to_parquet` or ``l3clf embed`` wrote.

        Parameters
        ----------
        file : path
            Also one into which another program merged several. It may come from anyone: what it holds is checked.

        Returns
        -------
        dict of str to WindowEmbeddings
            By the path of each clip, in the order of the file. A clip that is there twice is returned once.

        Raises
        ------
        DatasetError
            If the file is damaged, holds something else, or vectors of several embedders.
        MissingDependencyError
            If pyarrow is not installed (the extra ``parquet``).
        """
        return {name: cls(vectors, times_s, levels) for name, (times_s, levels, vectors) in read_parquet(file).items()}


class Embedder(ABC):
    """A frozen model that turns windows of sound into vectors.

    A subclass is a frozen dataclass whose fields are its options. It defines `name`, `sample_rate`, `window_s`,
    `embedding_size` and `revision`, and implements `embed_windows`. If it has weights, it overrides `weights_digest`,
    and the field for their path is called `weights`.
    """

    name: ClassVar[str]
    """Name for `load_embedder`."""
    revision: ClassVar[int] = 1
    """To be raised whenever the same windows and weights give other vectors than before."""
    batch_windows: ClassVar[int] = 16
    """Number of windows per call of `embed_windows` that suits the embedder best."""
    unnamed_options: ClassVar[Mapping[str, Any]] = {}
    """Options that are younger than files in use, each with the value that a file means which does not name it."""

    @property
    @abstractmethod
    def sample_rate(self) -> int:
        """Sample rate of the windows, in Hz."""

    @property
    @abstractmethod
    def window_s(self) -> float:
        """Length of a window, in seconds."""

    @property
    @abstractmethod
    def embedding_size(self) -> int:
        """Length of a vector."""

    @abstractmethod
    def embed_windows(self, windows: FloatArray) -> FloatArray:
        """Embed windows; several threads may call this at once.

        Parameters
        ----------
        windows : array of shape (n_windows, window samples), float32
            Mono, at `sample_rate`, with full scale at 1.0.

        Returns
        -------
        array of shape (n_windows, embedding_size), float32
        """

    def is_ready(self) -> bool:
        """Return whether all that the embedder needs is on this machine."""
        return True

    def missing(self) -> str:
        """Return what is missing on this machine and how to get it; an empty string if the embedder is ready."""
        return "" if self.is_ready() else "is not ready on this machine"

    def weights_digest(self) -> str:
        """Return a digest of the content of the weights; an empty string without weights."""
        return ""

    @cached_property
    def options(self) -> dict[str, Any]:
        """The options that determine the vectors: all but the path of the weights and what `unnamed_options` says."""
        fields = dataclasses.fields(self)  # type: ignore[arg-type]  # subclasses are dataclasses
        values = {field.name: getattr(self, field.name) for field in fields if field.name != "weights"}
        old = self.unnamed_options  # left out, so that fingerprints stay what they were
        return {name: value for name, value in values.items() if name not in old or value != old[name]}

    @cached_property
    def fingerprint(self) -> str:
        """Digest of everything that determines the vectors: specification, weights, revision and audio processing."""
        spec = {  # changing any of this invalidates every cache and saved model
            "name": self.name,
            "options": self.options,
            "revision": self.revision,
            "weights": self.weights_digest(),
            "audio": REVISION,
        }
        return hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()[:32]

    @property
    def window_samples(self) -> int:
        """Number of samples in a window."""
        return round(self.window_s * self.sample_rate)

    def framing(self, hop_s: float, center: bool) -> Framing:
        """Return how this embedder cuts clips into windows."""
        return Framing.of(self.sample_rate, self.window_s, hop_s, center)

    def read_windows(self, source: Source, hop_s: float, center: bool) -> Iterator[FloatArray]:
        """Yield the windows of one clip, at most `batch_windows` at a time."""
        blocks = read_blocks(source, self.sample_rate)
        return self.framing(hop_s, center).windows(blocks, self.batch_windows)

    def embed(
        self,
        samples: ArrayLike,
        sample_rate: int,
        hop_s: float = 0.5,
        center: bool = True,
        full_scale: float | None = None,
    ) -> WindowEmbeddings:
        """Embed one clip that is in memory.

        Parameters
        ----------
        samples : array of shape (n,) or (n, channels)
            Floating point with full scale at 1.0, or integers with full scale at the limits of their type.
        sample_rate : int
            In Hz; the samples are resampled to the rate of the embedder if it differs.
        hop_s : float, default=0.5
            From the start of one window to the start of the next, in seconds.
        center : bool, default=True
            Whether the first window is centred on the start of the clip.
        full_scale : float or None, default=None
            The value of a sample at full scale, if it is not the one above: 32768 for 16-bit samples in a wider type.

        Returns
        -------
        WindowEmbeddings

        Warns
        -----
        LevelWarning
            If the samples cannot have that full scale, or channels cancel each other in the mix to mono.

        Raises
        ------
        AudioError
            If the samples are empty or not finite, or their shape, type or sample rate is invalid.
        ParameterError
            If `hop_s` or `full_scale` is not a positive number.

        Examples
        --------
        >>> import numpy as np, l3clf
        >>> w = l3clf.load_embedder("mfcc").embed(np.zeros(32000), 16000)
        >>> w.vectors.shape, w.times_s[0].tolist()
        ((4, 60), [-0.5, 0.5])
        """
        check_full_scale(full_scale)
        source = Samples(np.asarray(samples), sample_rate, full_scale=full_scale)
        notes: list[LevelNote] = []
        with collecting(notes):
            batches = [self._embed_batch(windows) for windows in self.read_windows(source, hop_s, center)]
        warn_of(notes, 1)
        return self.with_times(self.join(batches, str(source)), hop_s, center)

    def embed_batch(self, windows: NDArray[Any], full_scale: float | None = None) -> StoredWindows:
        """Embed any number of windows, `batch_windows` at a time, and measure their levels.

        Parameters
        ----------
        windows : array of shape (n_windows, window samples)
            Mono, at `sample_rate`: floating point with full scale at 1.0, or integers with full scale at the limits of
            their type.
        full_scale : float or None, default=None
            The value of a sample at full scale, if it is another.

        Returns
        -------
        StoredWindows

        Warns
        -----
        LevelWarning
            If the samples cannot have that full scale.

        Raises
        ------
        ParameterError
            If the windows are of another length.
        """
        check_full_scale(full_scale)
        samples = np.asarray(windows)
        if samples.shape[1:] != (self.window_samples,) or not len(samples):
            expected = f"(n >= 1, {self.window_samples}): {self.window_s:g} s at {self.sample_rate} Hz"
            raise ParameterError(f"windows: array of shape {samples.shape}; expected {expected}")
        found = self._embed_batch(scaled(samples, "windows", full_scale))
        check_levels(found.levels_dbfs, "windows", full_scale)
        return found

    def _embed_batch(self, windows: FloatArray) -> StoredWindows:
        n = self.batch_windows
        vectors = [self.embed_windows(windows[i : i + n]) for i in range(0, len(windows), n)]
        return StoredWindows(np.concatenate(vectors), level_dbfs(windows))

    def join(self, batches: Sequence[StoredWindows], label: str) -> StoredWindows:
        """Join the batches of one clip, in order.

        Raises
        ------
        AudioError
            If a value is NaN or infinite: later errors would not name the clip.
        """
        vectors = np.concatenate([batch.vectors for batch in batches])
        if not np.isfinite(vectors).all():
            raise AudioError(f"{label}: its embeddings by {self.name!r} are NaN or infinite; leave out the clip")
        return StoredWindows(vectors, np.concatenate([batch.levels_dbfs for batch in batches]))

    def with_times(self, stored: StoredWindows, hop_s: float, center: bool) -> WindowEmbeddings:
        """Add the start and end time of each window."""
        times_s = self.framing(hop_s, center).times_s(len(stored.vectors))
        return WindowEmbeddings(stored.vectors, times_s, stored.levels_dbfs)

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}  # type: ignore[arg-type]

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)  # attributes of a frozen dataclass cannot be assigned

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self  # it is immutable, and each clone of an estimator would open another session


def as_path_option(embedder: Embedder, option: str) -> None:
    """Convert a path-like option of a frozen embedder to str, so that it pickles and prints alike on all systems."""
    value = getattr(embedder, option)
    if value is not None and not isinstance(value, str | os.PathLike):
        raise ParameterError(f"{option}={value!r}; expected a path or None")
    if value is not None:
        object.__setattr__(embedder, option, os.fspath(value))
