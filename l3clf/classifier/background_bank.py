"""The background bank: what a thousand sounds of the world look like to a student, to compare learned sounds with.

A bank holds mean-pooled embeddings in 8 bits: each number is a whole number of steps from the middle of its dimension.
`benchmarks/background/make_banks.py` makes the files; `data/banks_credits.md` names the makers of the sounds.

Rule: a bank belongs to the networks whose fingerprints it names, and is never used with any other.
"""

from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from l3clf.audio.clip import FloatArray
from l3clf.embedders import Embedder
from l3clf.embedders.filtered import Filtered, unfiltered
from l3clf.embedders.student import Student
from l3clf.errors import ModelFileError
from l3clf.storage.safejson import read_json
from l3clf.storage.safezip import read_zip

__all__ = ["ABOUT", "BANKS", "BANK_LIMITS", "CODES", "FORMAT", "MIDDLES", "STEPS", "Bank", "bank_for", "read_bank"]

FORMAT = "l3clf bank 1"
ABOUT, CODES, STEPS, MIDDLES = "bank.json", "codes", "steps", "middles"
BANK_LIMITS = {ABOUT: 1 << 20, CODES: 4 << 20, STEPS: 64 << 10, MIDDLES: 64 << 10}
"""Members of a bank file, and the size in bytes to which each may unpack."""
BANKS = ("l3mini", "l3base")
"""Names of the embedders that have one."""
_DATA = Path(str(files("l3clf.classifier") / "data"))


@dataclass(frozen=True, eq=False)
class Bank:
    """The content of a bank file.

    Attributes
    ----------
    vectors : array of shape (n, embedding_size), float32
        Each the mean of the windows of a clip, or of a stretch of it. Read-only.
    fingerprints : tuple of str
        Of the embedders that it belongs to.
    clips : tuple of str
        What each row is of: a clip of the open pools and its first window, or a synthetic sound.
    """

    vectors: FloatArray
    fingerprints: tuple[str, ...]
    clips: tuple[str, ...]


def bank_for(embedder: Embedder) -> FloatArray | None:
    """Return the background bank that the package has for an embedder.

    Parameters
    ----------
    embedder : Embedder
        Its fingerprint decides: a student of the same name with other weights has no bank, nor has one that is
        `l3clf.Filtered`: the bank's sounds were embedded as they are, and are not in the package.

    Returns
    -------
    array of shape (n, embedding_size), float32, or None
        Mean-pooled embeddings of sounds of many kinds; read-only. None if there is no bank for this embedder.

    Examples
    --------
    >>> import l3clf
    >>> bank_for(l3clf.load_embedder("l3mini")).dtype
    dtype('float32')
    >>> bank_for(l3clf.load_embedder("mfcc")) is None
    True
    """
    if isinstance(embedder, Filtered) and not embedder.is_plain:  # its sounds were embedded as they are
        return None
    embedder = unfiltered(embedder)
    if not isinstance(embedder, Student):  # the fingerprint of others may need weights that are not here
        return None
    for name in BANKS:
        bank = _shipped(name)
        if embedder.fingerprint in bank.fingerprints:
            return bank.vectors
    return None


@lru_cache(maxsize=len(BANKS))
def _shipped(name: str) -> Bank:
    return read_bank(_DATA / f"{name}.bank")


def read_bank(path: Path) -> Bank:
    """Read and check a bank file.

    Raises
    ------
    ModelFileError
        If it is missing, damaged, or its members do not fit together.
    """
    members = read_zip(path, BANK_LIMITS, sum(BANK_LIMITS.values()), writer="")
    if members.keys() != BANK_LIMITS.keys():
        raise _damaged(path, f"has the members {', '.join(members)}, not {', '.join(BANK_LIMITS)}")
    about = _about(members[ABOUT], path)
    codes = np.frombuffer(members[CODES], np.int8)
    steps, middles = (_numbers(members[name], path, name) for name in (STEPS, MIDDLES))
    n, size = len(about["clips"]), len(steps)
    if not n or not size or len(codes) != n * size or len(middles) != size:
        raise _damaged(path, f"has {len(codes)} codes, {size} steps and {len(middles)} middles for {n} clips")
    vectors = codes.reshape(n, size) * steps + middles
    vectors.flags.writeable = False  # all models of a process share it
    return Bank(vectors, tuple(about["fingerprints"]), tuple(about["clips"]))


def _about(content: bytes, path: Path) -> dict[str, Any]:
    try:
        about = read_json(content)
    except ValueError as error:
        raise _damaged(path, f"has no description ({error})") from None
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise _damaged(path, f"is not in the format {FORMAT!r}")
    for name in ("fingerprints", "clips"):
        found = about.get(name)
        if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
            raise _damaged(path, f"has no list of texts called {name!r}")
    return about


def _numbers(content: bytes, path: Path, name: str) -> npt.NDArray[np.float32]:
    if len(content) % 4:
        raise _damaged(path, f"has {len(content)} bytes of {name}, which are not float32")
    found = np.frombuffer(content, "<f4").astype(np.float32)
    if not np.isfinite(found).all():
        raise _damaged(path, f"has {name} that are not finite")
    return found


def _damaged(path: Path, found: str) -> ModelFileError:
    return ModelFileError(f"{path}: {found}; install l3clf again")
