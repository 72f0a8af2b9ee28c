"""The embedding cache: the embeddings of the windows of each clip, stored in one SQLite file.

Rule: the cache may lose an entry, but never returns a wrong one. Entries are found by the content of the audio,
never by its name.
"""

import hashlib
import os
import time
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np
import platformdirs
from numpy.typing import NDArray

from l3clf.audio.clip import printable_path
from l3clf.audio.decode import decoder_of
from l3clf.errors import AudioError, CacheError, CacheWarning, L3clfError, ParameterError
from l3clf.storage import cache_database, cache_tables
from l3clf.storage.atomic import FileState, file_state, name_problem
from l3clf.storage.cache_database import CacheKey, StoredWindows
from l3clf.storage.cache_schema import RefusedError

__all__ = [
    "CacheCheck",
    "CacheKey",
    "EmbeddingCache",
    "FileIdentity",
    "RefusedError",
    "StoredWindows",
    "array_digest",
    "cache_key",
    "default_cache_path",
    "file_digest",
    "file_identity",
]

_SETTLED_NS = 2_000_000_000  # the coarsest time stamps of a file system (FAT: two seconds)
_FILES_AT_ONCE = 500  # digests are recorded after so many files, so that an interrupted run loses few


class CacheCheck(NamedTuple):
    """What `EmbeddingCache.verify` found.

    Attributes
    ----------
    checked : int
        Number of entries checked.
    damaged : int
        Number of entries that were damaged and have been dropped.
    moved_to : Path or None
        Where the file was moved, if the database itself was malformed.
    """

    checked: int
    damaged: int
    moved_to: Path | None = None


class FileIdentity(NamedTuple):
    """What a sound file is, whatever its name.

    Attributes
    ----------
    content : bytes
        32 bytes, as from `file_digest`.
    decoder : str
        How the file is decoded, as from `l3clf.audio.decode.decoder_of`.
    """

    content: bytes
    decoder: str


def default_cache_path() -> Path:
    """Return the file named by the environment variable `L3CLF_CACHE`, or else one in the user's cache folder."""
    named = os.environ.get("L3CLF_CACHE")
    if named:
        return Path(named).expanduser()
    return platformdirs.user_cache_path("l3clf", appauthor=False) / "embeddings.sqlite"


def file_digest(path: str | os.PathLike[str]) -> bytes:
    """Return 32 bytes that identify the content of a file, whatever its name.

    Raises
    ------
    AudioError
        If the file cannot be read.
    """
    _sound_file_state(path)
    try:
        with Path(path).open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").digest()
    except OSError as error:
        _refuse_file(path, error)


def file_identity(path: str | os.PathLike[str]) -> FileIdentity:
    """Return the digest of a file's content, and how it is decoded.

    Raises
    ------
    AudioError
        If the file cannot be read.
    """
    return FileIdentity(file_digest(path), decoder_of(os.fspath(path)))


def array_digest(samples: NDArray[Any], sample_rate: int) -> bytes:
    """Return 32 bytes that identify audio in memory: its values, type, shape and sample rate.

    Raises
    ------
    ParameterError
        If the array holds Python objects, whose bytes are addresses.
    """
    if samples.dtype.hasobject:
        raise ParameterError(f"samples: array of dtype {samples.dtype}; give an array of numbers")
    described = f"l3clf array {samples.dtype.str} {samples.shape} {float(sample_rate).hex()}\n"
    digest = hashlib.sha256(described.encode("ascii"))
    digest.update(np.ascontiguousarray(samples).data)
    return digest.digest()


def cache_key(
    content: bytes,
    start_s: float,
    end_s: float | None,
    fingerprint: str,
    hop_s: float,
    center: bool,
    decode_revision: str = "",
    full_scale: float | None = None,
) -> CacheKey:
    """Return the key under which the windows of a clip are stored.

    Parameters
    ----------
    content : bytes
        A result of `file_digest`, `array_digest` or `EmbeddingCache.content_ids`.
    start_s, end_s : float, float or None
        The piece of the audio, in seconds; None means its end.
    fingerprint : str
        The fingerprint of the embedder.
    hop_s : float
        Seconds from one window to the next.
    center : bool
        Whether the first window is centred on the start of the clip.
    decode_revision : str, default=""
        What l3clf's decoder of the file's format is called since it returns other samples than before, as from
        `l3clf.audio.decode.decode_revision`; empty for formats that are decoded as ever.
    full_scale : float or None, default=None
        The full scale that was stated for the samples; None means that of their type.

    Returns
    -------
    bytes
        32 bytes, which differ whenever any parameter does.
    """
    piece = (_exact(start_s), b"to the end" if end_s is None else _exact(end_s))
    framing = (fingerprint.encode("utf-8"), _exact(hop_s), b"1" if center else b"0")
    digest = hashlib.sha256(b"l3clf windows 1\n")
    # Each only where there is one, so that entries of earlier versions are still found.
    revision = (decode_revision.encode("utf-8"),) if decode_revision else ()
    scale = () if full_scale is None else (b"full scale", _exact(full_scale))
    for field in (content, *piece, *framing, *revision, *scale):
        digest.update(len(field).to_bytes(8, "little") + field)  # the length separates a field from the next
    return digest.digest()


def _exact(value: float) -> bytes:
    return (float(value) + 0.0).hex().encode("ascii")  # + 0.0 turns minus zero into zero


class EmbeddingCache:
    """Embeddings of clips in one SQLite file, shared by any number of processes.

    Nothing is opened until it is needed; the first write creates the file and its folder. A cache pickles as its
    path. A malformed database is moved aside with a warning, and a new one is begun, because all that it held can be
    computed again.

    Parameters
    ----------
    path : str or path-like
        The file. A file that is not an embedding cache is refused and left unchanged.

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> folder = tempfile.TemporaryDirectory()
    >>> cache = EmbeddingCache(folder.name + "/embeddings.sqlite")
    >>> key = cache_key(b"what the file contains", 0.0, None, "openl3-1", 0.5, True)
    >>> windows = StoredWindows(np.ones((11, 512), np.float32), np.full(11, -20, np.float32))
    >>> cache.put_many({key: windows}, fingerprint="openl3-1", embedder="openl3")
    >>> cache.get_many([key])[key].vectors.shape
    (11, 512)
    """

    path: Path

    def __init__(self, path: str | os.PathLike[str]) -> None:
        if problem := name_problem(path):
            raise CacheError(f"embedding cache {os.fspath(path)!r}: is not a file name ({problem}); name another cache")
        self.path = Path(path).expanduser().absolute()  # a worker process may start in another folder

    def __repr__(self) -> str:
        return f"EmbeddingCache({str(self.path)!r})"

    def content_ids(self, paths: Sequence[str | os.PathLike[str]]) -> list[bytes | L3clfError]:
        """Identify files by their content.

        A file is hashed if it is new or changed. It counts as unchanged if its path, size, both times and inode are
        those recorded. A file written less than two seconds before it is hashed is not recorded, because another
        change might not show in its times.

        Parameters
        ----------
        paths : sequence of str or path-like
            Audio files.

        Returns
        -------
        list of bytes or L3clfError
            In the order of `paths`: 32 bytes as from `file_digest`, or the error of a file that cannot be read.
        """
        return [found.content if isinstance(found, FileIdentity) else found for found in self.identify(paths)]

    def identify(self, paths: Sequence[str | os.PathLike[str]]) -> list[FileIdentity | L3clfError]:
        """Identify files by their content, and find out how they are decoded; see `content_ids`.

        Parameters
        ----------
        paths : sequence of str or path-like
            Audio files.

        Returns
        -------
        list of FileIdentity or L3clfError
            In the order of `paths`, as from `file_identity`.

        Raises
        ------
        CacheError
            If the file of the cache is not one that l3clf wrote. One that cannot be read at all is done without.
        """
        names = [os.fspath(path) for path in paths]
        unique = list(dict.fromkeys(names))
        found: dict[str, FileIdentity | L3clfError] = {}
        for i in range(0, len(unique), _FILES_AT_ONCE):
            found.update(self._identify(unique[i : i + _FILES_AT_ONCE]))
        return [found[name] for name in names]

    def get_many(self, keys: Sequence[CacheKey]) -> dict[CacheKey, StoredWindows]:
        """Read entries, as read-only arrays.

        Parameters
        ----------
        keys : sequence of bytes
            Keys from `cache_key`.

        Returns
        -------
        dict of bytes to StoredWindows
            Entries that do not exist are left out. So are damaged ones: they are dropped from the file, and a
            `CacheWarning` gives their number.
        """
        wanted = [cache_tables.checked_key(key) for key in dict.fromkeys(keys)]
        found, n_damaged = cache_database.read(self.path, lambda db: cache_tables.read_entries(db, wanted)) or ({}, 0)
        if n_damaged:
            warnings.warn(
                f"embedding cache {self.path}: {n_damaged} of {len(wanted)} entries were damaged and are dropped; "
                "they will be computed again",
                CacheWarning,
                stacklevel=2,
            )
        return found

    def put_many(self, entries: Mapping[CacheKey, StoredWindows], *, fingerprint: str, embedder: str) -> None:
        """Write entries, all or none of them; existing keys are overwritten.

        Parameters
        ----------
        entries : mapping of bytes to StoredWindows
            What to store, by keys from `cache_key`.
        fingerprint : str
            Fingerprint of the embedder that computed them.
        embedder : str
            Its name, for `info`.

        Raises
        ------
        CacheError
            If the file cannot be written.
        ParameterError
            If a key or an array has the wrong type or shape.
        """
        rows = [cache_tables.packed(key, windows) for key, windows in entries.items()]
        if rows:
            cache_database.write(self.path, lambda db: cache_tables.put_entries(db, rows, fingerprint, embedder))

    def info(self) -> dict[str, Any]:
        """Return what the cache holds.

        Returns
        -------
        dict
            `path`; `entries` (a long clip has one for each of its pieces); `bytes` (on disk, including SQLite's own
            files); `files` (number of recorded files); `embedders`: by fingerprint, most recently used first, a dict
            of `embedder` (its name), `entries`, `bytes` (of vectors and levels), `last_used_s` (seconds since 1970,
            with a resolution of one hour).
        """
        rows, n_files = cache_database.read(self.path, cache_tables.summary) or ([], 0)
        return {
            "path": self.path,
            "entries": sum(row[2] for row in rows),
            "bytes": cache_database.size_on_disk(self.path),
            "files": n_files,
            "embedders": {
                fingerprint: {"embedder": name, "entries": n, "bytes": size, "last_used_s": used}
                for fingerprint, name, n, size, used in rows
            },
        }

    def verify(self) -> CacheCheck:
        """Check the structure of the database and the checksum of every entry; drop damaged entries.

        A malformed database is moved aside, because nothing in it can be trusted; the next write begins a new one.

        Returns
        -------
        CacheCheck
            The number of checked and of damaged entries, or where the file was moved.

        Raises
        ------
        CacheError
            If the file cannot be opened, or damaged entries cannot be dropped.
        """
        try:
            return CacheCheck(*cache_database.read(self.path, cache_tables.verify, restart=False) or (0, 0))
        except cache_database.MalformedError as error:
            return CacheCheck(0, 0, error.moved_to)

    def prune(
        self,
        *,
        fingerprint: str | None = None,
        max_bytes: int | None = None,
        older_than_s: float | None = None,
    ) -> int:
        """Remove entries, forget files that no longer exist, and shrink the file.

        Parameters
        ----------
        fingerprint : str, optional
            Remove the entries of this embedder; with `older_than_s`, only those that are old as well.
        max_bytes : int, optional
            Then remove entries, longest unused first, until the file is no larger than this.
        older_than_s : float, optional
            Remove entries not used for this many seconds. Uses are recorded at most once an hour.

        Returns
        -------
        int
            Number of entries removed.

        Raises
        ------
        CacheError
            If the file cannot be written.
        ParameterError
            If `max_bytes` or `older_than_s` is negative.
        """
        for name, value in (("max_bytes", max_bytes), ("older_than_s", older_than_s)):
            if value is not None and not value >= 0:
                raise ParameterError(f"{name}={value!r}; expected a number of at least 0, or None")
        files = cache_database.read(self.path, cache_tables.list_files)
        if files is None:
            return 0
        gone = [path for path in files if not _exists(path)]
        return cache_database.write(
            self.path, lambda db: cache_tables.prune(db, gone, fingerprint, max_bytes, older_than_s)
        )

    def _identify(self, names: list[str]) -> dict[str, FileIdentity | L3clfError]:
        keys = {name: b"" if name_problem(name) else _file_key(name) for name in names}
        recorded = self._recorded(list(keys.values()))
        found: dict[str, FileIdentity | L3clfError] = {}
        fresh: list[tuple[bytes, bytes, bytes, str]] = []
        for name, key in keys.items():
            try:
                now_ns = time.time_ns()
                state = _sound_file_state(name)
                state_bytes = b"%d %d %d %d" % state
                known_state, content, decoder = recorded.get(key, (b"", b"", ""))
                if state_bytes == known_state:
                    found[name] = FileIdentity(content, decoder)
                    continue
                found[name] = identity = _settled_identity(name, state)
                # A file written a moment ago could change again without a change of its state.
                if now_ns - max(state.modified_ns, state.changed_ns) >= _SETTLED_NS:
                    fresh.append((key, state_bytes, *identity))
            except AudioError as error:
                found[name] = error
        if fresh:
            with suppress(CacheError):  # a cache that cannot be written can still be read
                cache_database.write(self.path, lambda db: cache_tables.put_files(db, fresh))
        return found

    def _recorded(self, keys: Sequence[bytes]) -> dict[bytes, tuple[bytes, bytes, str]]:
        try:
            return cache_database.read(self.path, lambda db: cache_tables.read_files(db, keys)) or {}
        except RefusedError:
            raise
        except CacheError:  # the files are read instead, and get_many says what is wrong
            return {}


def _file_key(name: str) -> bytes:
    """Return the absolute path of a file, under which its digest is recorded."""
    # What a Path would not change: to make one of each of many thousand names takes as long as to look them up.
    plain = os.sep == "/" and name[:1] == "/" and not any(part in name for part in ("//", "/.")) and name[-1] != "/"
    return os.fsencode(name if plain else Path(name).absolute())


def _exists(path: object) -> bool:
    try:
        return isinstance(path, bytes) and os.access(path, os.F_OK)
    except ValueError:  # damage put a NUL byte into it
        return False


def _sound_file_state(name: str | os.PathLike[str]) -> FileState:
    """Return the state of a regular file; a folder would raise another error, and reading a pipe would block."""
    try:
        state = file_state(name)
    except (OSError, ValueError) as error:
        _refuse_file(name, error)
    if not os.path.isfile(name):  # noqa: PTH113  # a Path takes longer than the rest of a look-up
        kind = "is a folder" if Path(name).is_dir() else "is not a regular file"
        raise AudioError(f"{_printable(name)}: {kind}; give the path of a sound file")
    return state


def _settled_identity(name: str, state: FileState) -> FileIdentity:
    identity = file_identity(name)
    if _sound_file_state(name) != state:
        raise AudioError(f"{_printable(name)}: changes while it is read; wait until it is complete and try again")
    return identity


def _refuse_file(name: str | os.PathLike[str], error: OSError | ValueError) -> NoReturn:
    reason = getattr(error, "strerror", None) or error
    raise AudioError(f"{_printable(name)}: cannot be read ({reason}); check the path and its permissions") from error


def _printable(name: str | os.PathLike[str]) -> str:
    return printable_path(os.fsdecode(name))
