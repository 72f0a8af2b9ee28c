"""The windows of clips as a Parquet file: a row for each window, which DuckDB, pandas and others read as it is.

Rule: a file may come from anyone, and may have been merged or rewritten by another program. Columns, types, sizes and
values are checked, and what a file announces is weighed against its size before it is allocated.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from l3clf.audio.clip import FloatArray, printable_path
from l3clf.errors import DatasetError, MissingDependencyError, ParameterError, how_to_install
from l3clf.storage.outputs import Kind

__all__ = ["PARQUET", "ParquetWriter", "WindowRows", "check_parquet", "read_parquet"]

MAX_WIDTH = 65_536  # numbers of a vector
MAX_EXPANSION = 1000  # bytes that may come of one: silence repeats, sound hardly shrinks
GROUP_BYTES = 16 << 20  # of vectors in a row group, and in memory at once
MARK = b"l3clf embeddings"  # a key in the footer of our files
MAX_BATCH = 4096  # rows: a long text that repeats is that often in memory, for a while
MAX_FOOTER = 64 << 20
MAGIC = b"PAR1"
TEXTS = ["path", "embedder", "content"]
# A file may have others, such as labels; these are not read.
COLUMNS = [*TEXTS, "start_s", "end_s", "level_dbfs", "vector"]


class WindowRows(NamedTuple):
    """The windows of one clip.

    Attributes
    ----------
    times_s : array of shape (n_windows, 2), float64
    levels_dbfs : array of shape (n_windows,), float32
    vectors : array of shape (n_windows, width), float32
    """

    times_s: NDArray[np.float64]
    levels_dbfs: FloatArray
    vectors: FloatArray


def _is_ours(path: Path) -> bool:
    """Return whether a file is a Parquet file of ours, by its footer; a merged one that others wrote is not."""
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - 8))
        tail = file.read(8)
        length = int.from_bytes(tail[:4], "little")
        if tail[4:] != MAGIC or not 0 < length <= min(size - 8, MAX_FOOTER):
            return False
        file.seek(size - 8 - length)
        return MARK in file.read(length)


PARQUET = Kind("a Parquet file of embeddings", _is_ours)


def check_parquet(names: Iterable[str]) -> None:
    """Check that clips can be written to a Parquet file, before hours are spent on them.

    Raises
    ------
    MissingDependencyError
        If pyarrow is not installed.
    ParameterError
        If a name is not Unicode, which is all that Parquet has.
    """
    _arrow()
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError:
            raise ParameterError(
                f"{printable_path(name)}: is no Unicode text, which a Parquet file needs; rename it, or write an .npz"
            ) from None


def _arrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise MissingDependencyError(f"Parquet: needs pyarrow; {how_to_install('parquet')}") from None
    return pyarrow, parquet


# --- writing --------------------------------------------------------------------------------------


class ParquetWriter:
    """Writes clips to an open file, one after the other.

    The columns are ``path``, ``start_s``, ``end_s``, ``level_dbfs``, ``embedder``, ``content`` (SHA-256 of the sound
    file in hexadecimal, or null) and ``vector`` (a list of fixed size of float32).

    Parameters
    ----------
    file : binary file
    embedder : str
        What made the vectors, for every row.
    width : int
        Numbers of a vector.
    """

    def __init__(self, file: IO[bytes], embedder: str, width: int) -> None:
        pa, parquet = _arrow()
        self._pa, self._embedder, self._width = pa, embedder, width
        fields = [("path", pa.string()), ("start_s", pa.float64()), ("end_s", pa.float64())]
        fields += [("level_dbfs", pa.float32()), ("embedder", pa.string()), ("content", pa.string())]
        vector = pa.field("vector", pa.list_(pa.field("element", pa.float32(), nullable=False), width), nullable=False)
        schema = pa.schema([*(pa.field(name, kind, name == "content") for name, kind in fields), vector])
        schema = schema.with_metadata({MARK: b"1"})
        # Floats of vectors do not shrink, and each is another one.
        self._writer = parquet.ParquetWriter(file, schema, compression="zstd", use_dictionary=TEXTS)
        self._clips: list[tuple[str, str | None, WindowRows]] = []
        self._bytes = 0

    def add(self, path: str, content: str | None, rows: WindowRows) -> None:
        """Add a clip."""
        self._clips.append((path, content, rows))
        self._bytes += rows.vectors.nbytes
        if self._bytes >= GROUP_BYTES:
            self._write()

    def close(self) -> None:
        """Write what is left, and the footer."""
        if self._clips:
            self._write()
        self._writer.close()

    def _write(self) -> None:
        pa = self._pa
        counts = [len(rows.vectors) for _, _, rows in self._clips]
        times_s, levels, vectors = (
            np.concatenate(parts) for parts in zip(*(r for _, _, r in self._clips), strict=True)
        )
        flat = pa.array(np.ascontiguousarray(vectors, np.float32).reshape(-1))
        columns = [
            self._repeated([path for path, _, _ in self._clips], counts),
            pa.array(np.ascontiguousarray(times_s[:, 0])),
            pa.array(np.ascontiguousarray(times_s[:, 1])),
            pa.array(np.asarray(levels, np.float32)),
            self._repeated([self._embedder], [sum(counts)]),
            self._repeated([content for _, content, _ in self._clips], counts),
            pa.FixedSizeListArray.from_arrays(flat, type=self._writer.schema.field("vector").type),
        ]
        self._writer.write_batch(pa.record_batch(columns, schema=self._writer.schema))
        self._clips, self._bytes = [], 0

    def _repeated(self, texts: list[Any], counts: list[int]) -> Any:
        places = self._pa.array(np.repeat(np.arange(len(texts)), counts))
        return self._pa.array(texts, self._pa.string()).take(places)


# --- reading --------------------------------------------------------------------------------------


def read_parquet(path: str | os.PathLike[str]) -> dict[str, WindowRows]:
    """Read the windows of clips.

    Parameters
    ----------
    path : path
        As `ParquetWriter` writes it, or merged of such files by another program.

    Returns
    -------
    dict of str to WindowRows
        By the path of each clip, in the order of the file.

    Raises
    ------
    DatasetError
        If it is damaged, holds something else, or vectors of several embedders.
    MissingDependencyError
        If pyarrow is not installed.
    """
    pa, parquet = _arrow()
    with _refusing(path, pa):
        size = os.stat(path).st_size  # noqa: PTH116  # any path-like
        with parquet.ParquetFile(path) as file:
            _check_schema(path, file.schema_arrow, pa.types)
            n = file.metadata.num_rows
            found = _rows(path, file, n, size)
    return _by_clip(path, *found)


@contextmanager
def _refusing(path: str | os.PathLike[str], pa: Any) -> Iterator[None]:
    """Turn what pyarrow raises into one sentence."""
    try:
        yield
    except (pa.ArrowException, OSError, ValueError, MemoryError, StopIteration) as error:  # the last: no row groups
        if isinstance(error, DatasetError):
            raise
        reason = " ".join(str(error).split())[:200]
        raise DatasetError(
            f"{_shown(path)}: cannot be read as Parquet ({reason}); give a file that `l3clf embed` wrote"
        ) from error


def _shown(path: str | os.PathLike[str]) -> str:
    return printable_path(os.fsdecode(path))


def _check_schema(path: str | os.PathLike[str], schema: Any, types: Any) -> None:
    kinds = {
        "path": ("text", _is_text),
        "start_s": ("float64", lambda types, kind: types.is_float64(kind)),
        "end_s": ("float64", lambda types, kind: types.is_float64(kind)),
        "level_dbfs": ("float32", lambda types, kind: types.is_float32(kind)),
        "embedder": ("text", _is_text),
        "content": ("text", lambda types, kind: _is_text(types, kind) or types.is_null(kind)),  # pandas' type of nulls
        "vector": ("lists of float32", _is_vectors),
    }
    for name, (expected, fits) in kinds.items():
        n = schema.names.count(name)
        if n != 1:
            found = f"has {n} columns" if n else "has no column"
            raise DatasetError(f"{_shown(path)}: {found} {name!r}; give a file that `l3clf embed` wrote")
        kind = schema.field(name).type
        if not fits(types, kind):
            raise DatasetError(
                f"{_shown(path)}: column {name!r} holds {str(kind)[:80]}; expected {expected}, as `l3clf embed` writes"
            )


def _is_text(types: Any, kind: Any) -> bool:
    kind = kind.value_type if types.is_dictionary(kind) else kind
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def _is_vectors(types: Any, kind: Any) -> bool:
    lists = types.is_fixed_size_list(kind) or types.is_list(kind) or types.is_large_list(kind)
    return bool(lists and types.is_float32(kind.value_type))  # DuckDB writes lists of any size


class _Rows(NamedTuple):
    paths: list[NDArray[Any]]
    contents: list[NDArray[Any]]
    times_s: NDArray[np.float64]
    levels_dbfs: FloatArray
    vectors: FloatArray


def _rows(path: str | os.PathLike[str], file: Any, n: int, size: int) -> _Rows:
    """Read all rows, a batch at a time."""
    _check_expansion(path, file, size)
    width = _width(path, file) if n else 0
    if width * 4 * n > MAX_EXPANSION * size:
        raise DatasetError(
            f"{_shown(path)}: announces {n:,} vectors of {width:,} numbers in {size:,} bytes; it is damaged or a trap, "
            "so get it again from where it was written"
        )
    out = _Rows([], [], np.empty((n, 2)), np.empty(n, np.float32), np.empty((n, width), np.float32))
    end, embedders = 0, set()
    n_batch = max(1, min(MAX_BATCH, GROUP_BYTES // (4 * width or 1)))
    for batch in file.iter_batches(batch_size=n_batch, columns=COLUMNS, use_threads=False):
        start, end = end, end + batch.num_rows
        if end > n or any(batch.column(name).null_count for name in COLUMNS if name != "content"):
            raise DatasetError(f"{_shown(path)}: has rows without values; give a file that `l3clf embed` wrote")
        embedders |= set(_texts(batch.column("embedder")))
        out.paths.append(_texts(batch.column("path")))
        out.contents.append(_texts(batch.column("content")))
        for k, name in enumerate(("start_s", "end_s")):
            out.times_s[start:end, k] = batch.column(name).to_numpy(zero_copy_only=False)
        out.levels_dbfs[start:end] = batch.column("level_dbfs").to_numpy(zero_copy_only=False)
        numbers = batch.column("vector").flatten()
        lengths = np.unique(batch.column("vector").value_lengths().to_numpy(zero_copy_only=False))
        if lengths.tolist() not in ([], [width]) or numbers.null_count:
            raise DatasetError(
                f"{_shown(path)}: has vectors of several lengths, or with gaps; read the files of different embedders "
                "apart"
            )
        out.vectors[start:end] = numbers.to_numpy(zero_copy_only=False).reshape(-1, width)
    if end != n:
        raise DatasetError(f"{_shown(path)}: has {end:,} of {n:,} rows; get it again from where it was written")
    if len(embedders) > 1:
        names = ", ".join(repr(str(each)[:80]) for each in sorted(embedders)[:3])
        raise DatasetError(f"{_shown(path)}: holds vectors of several embedders ({names}); read them apart")
    return out


def _check_expansion(path: str | os.PathLike[str], file: Any, size: int) -> None:
    # Not by column: that aborts the process where a column's statistics are damaged (pyarrow 26).
    announced = sum(file.metadata.row_group(i).total_byte_size for i in range(file.metadata.num_row_groups))
    if announced > MAX_EXPANSION * size:
        raise DatasetError(
            f"{_shown(path)}: announces {announced:,} bytes in {size:,}; it is damaged or a trap, so get it again from "
            "where it was written"
        )


def _width(path: str | os.PathLike[str], file: Any) -> int:
    """Return the length of the first vector."""
    kind = file.schema_arrow.field("vector").type
    width = getattr(kind, "list_size", None)
    if width is None:
        first = next(file.iter_batches(batch_size=1, columns=["vector"], use_threads=False)).column("vector")
        width = len(first.flatten())
    if not 1 <= width <= MAX_WIDTH:
        raise DatasetError(f"{_shown(path)}: vectors of {width:,} numbers; expected 1 to {MAX_WIDTH:,}")
    return int(width)


def _texts(column: Any) -> NDArray[Any]:
    """Return a column of texts, with None for nulls; equal ones are one object."""
    column = column if hasattr(column, "indices") else column.dictionary_encode()
    known = np.array([*column.dictionary.to_pylist(), None], object)
    return np.asarray(known[column.indices.fill_null(len(known) - 1).to_numpy(zero_copy_only=False)])


def _by_clip(path: str | os.PathLike[str], *columns: Any) -> dict[str, WindowRows]:
    rows = _Rows(*columns)
    n = len(rows.levels_dbfs)
    starts, ends = rows.times_s.T
    finite = (
        np.isfinite(rows.times_s).all() and np.isfinite(rows.vectors).all() and not np.isnan(rows.levels_dbfs).any()
    )
    if not finite or (starts >= ends).any():
        raise DatasetError(
            f"{_shown(path)}: has times, levels or vectors that cannot be; give a file that `l3clf embed` wrote"
        )
    if not n:
        return {}
    paths, contents = np.concatenate(rows.paths), np.concatenate(rows.contents)
    # A clip ends where another path or file begins, or where the time goes back: the same clip again.
    other = (paths[1:] != paths[:-1]) | (contents[1:] != contents[:-1]) | (starts[1:] <= starts[:-1])
    begins = np.flatnonzero(np.concatenate([[True], other]))
    found: dict[str, WindowRows] = {}
    content_of: dict[str, Any] = {}
    for first, last in zip(begins, [*begins[1:], n], strict=True):
        clip = WindowRows(rows.times_s[first:last], rows.levels_dbfs[first:last], rows.vectors[first:last])
        name = paths[first]
        if name in found and not (content_of[name] == contents[first] and _same(clip, found[name])):
            raise DatasetError(
                f"{_shown(path)}: has {printable_path(name)} twice, with different windows; keep one of the two"
            )
        found.setdefault(name, clip)
        content_of.setdefault(name, contents[first])
    return found


def _same(one: WindowRows, other: WindowRows) -> bool:
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in WindowRows._fields)
