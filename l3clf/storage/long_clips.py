"""Long clips in an embedding cache: stored in pieces as they are computed, so that an interrupted run continues.

Rule: a piece can be mistaken for nothing else. Its key is a digest of the key of the whole clip (content of the audio,
embedder, framing), the number of windows in a piece, and the piece's place; and it holds exactly that many windows.
Only the list of pieces, which is written last and checked against them, makes a clip whole. Pieces and lists are
ordinary entries: each is checked, counted and pruned on its own.
"""

import hashlib
from collections.abc import Iterator

import numpy as np

from l3clf.storage import cache_database
from l3clf.storage.cache_database import CacheKey, StoredWindows
from l3clf.storage.embedding_cache import EmbeddingCache

__all__ = ["last_entries", "piece_entry", "read_long", "read_pieces"]

_AT_ONCE = 8  # pieces read in one transaction
_MAX_PIECES = 1 << 24  # counts are kept as float32


def piece_key(key: CacheKey, piece_windows: int, number: int) -> CacheKey:
    """Return the key of a piece of the clip that `key` stands for."""
    return hashlib.sha256(b"l3clf piece 1\n%b %d %d" % (key, piece_windows, number)).digest()


def list_key(key: CacheKey) -> CacheKey:
    """Return the key of the list of the pieces of a clip."""
    return hashlib.sha256(b"l3clf list of pieces 1\n%b" % key).digest()


def piece_entry(
    key: CacheKey, piece_windows: int, number: int, windows: StoredWindows
) -> dict[CacheKey, StoredWindows]:
    """Return what to store for one whole piece."""
    return {piece_key(key, piece_windows, number): windows}


def last_entries(key: CacheKey, piece_windows: int, whole: StoredWindows) -> dict[CacheKey, StoredWindows]:
    """Return what to store when a clip is whole and its whole pieces have been stored: the rest, and the list.

    The list holds the number of windows of each piece, in the place of levels, and vectors without values.
    """
    n_whole, rest = divmod(len(whole.vectors), piece_windows)
    counts = np.array([piece_windows] * n_whole + [rest] * (rest > 0), np.float32)
    entries = {list_key(key): StoredWindows(np.zeros((len(counts), 0), np.float32), counts)}
    if rest:
        first = n_whole * piece_windows
        last = StoredWindows(whole.vectors[first:], whole.levels_dbfs[first:])
        entries |= piece_entry(key, piece_windows, n_whole, last)
    return entries


def read_long(cache: EmbeddingCache, key: CacheKey) -> StoredWindows | None:
    """Return a clip that is stored in pieces; None if any of it is missing, damaged, not finite, or does not fit."""
    listed = cache.get_many([list_key(key)]).get(list_key(key))
    if listed is None:
        return None
    counts = [int(count) for count in listed.levels_dbfs if 1 <= count < _MAX_PIECES]
    size, total = max(counts, default=0), sum(counts)
    if not total or len(counts) != len(listed.levels_dbfs) or any(count != size for count in counts[:-1]):
        return None
    room = cache_database.size_on_disk(cache.path) // 4
    whole: StoredWindows | None = None
    end = 0
    for number, piece in enumerate(_pieces(cache, key, size, len(counts))):
        if piece is None or len(piece.vectors) != counts[number]:
            return None
        width = piece.vectors.shape[1]
        if whole is None:
            if total * (width + 1) > room:  # a list that promises more than the file holds
                return None
            whole = StoredWindows(np.empty((total, width), np.float32), np.empty(total, np.float32))
        if width != whole.vectors.shape[1]:
            return None
        start, end = end, end + counts[number]
        whole.vectors[start:end], whole.levels_dbfs[start:end] = piece.vectors, piece.levels_dbfs
    return whole


def read_pieces(cache: EmbeddingCache, key: CacheKey, piece_windows: int, width: int) -> dict[int, StoredWindows]:
    """Return the whole pieces of a clip that an interrupted run stored, by their places."""
    found: dict[int, StoredWindows] = {}
    for number, piece in enumerate(_pieces(cache, key, piece_windows, _MAX_PIECES)):
        if piece is not None and piece.vectors.shape == (piece_windows, width):
            found[number] = piece
        elif number - max(found, default=-1) >= _AT_ONCE:  # more in a row are missing than finish out of order
            break
    return found


def _pieces(cache: EmbeddingCache, key: CacheKey, piece_windows: int, n: int) -> Iterator[StoredWindows | None]:
    for first in range(0, n, _AT_ONCE):
        keys = [piece_key(key, piece_windows, number) for number in range(first, min(first + _AT_ONCE, n))]
        found = cache.get_many(keys)
        for one in keys:
            piece = found.pop(one, None)
            yield piece if piece is not None and np.isfinite(piece.vectors).all() else None
