"""What a target of the fuzzing is: something that reads files, what it makes of a good one, and how to damage that.

Rule: reading a damaged file ends in the right answer, in an answer that is sound although it differs (where the damage
changes what the file means), or in an error of l3clf of one printable sentence. Anything else is a finding.
"""

import random
import traceback
from abc import ABC, abstractmethod
from pathlib import Path
from typing import NamedTuple

from l3clf.errors import L3clfError

__all__ = [
    "CHANGED",
    "FINDING",
    "OUTCOMES",
    "REFUSED",
    "RIGHT",
    "FindingError",
    "Mutation",
    "Target",
    "judged",
    "require",
]

REFUSED, RIGHT, CHANGED, FINDING = OUTCOMES = ("refused", "right", "changed", "finding")
LONGEST = 1000  # characters of a message, without paths


class FindingError(Exception):
    """A wrong answer."""


class Mutation(NamedTuple):
    """A damaged file.

    Attributes
    ----------
    content : bytes
    strict : bool
        Whether its meaning is not to change: an answer that differs from that for the good file is wrong then.
    """

    content: bytes
    strict: bool = False


class Target(ABC):
    """One format: makes good files in a folder, damages them, and reads what became of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @abstractmethod
    def good(self) -> list[bytes]:
        """Return the files that are damaged."""

    @abstractmethod
    def mutated(self, rng: random.Random) -> Mutation:
        """Return a damaged file."""

    @abstractmethod
    def outcome(self, content: bytes) -> str:
        """Read a file; return `RIGHT` or `CHANGED`, or `REFUSED` where no error says so."""

    def written(self, content: bytes, name: str = "file") -> Path:
        """Write a file of the target's folder, and return its path."""
        path = self.folder / name
        path.write_bytes(content)
        return path


def require(condition: object, wrong: str) -> None:
    """Raise `FindingError` unless the condition holds."""
    if not condition:
        raise FindingError(wrong)


def judged(target: Target, mutation: Mutation) -> tuple[str, str]:
    """Return the outcome of reading a damaged file, and what was found."""
    try:
        found = target.outcome(mutation.content)
    except L3clfError as error:
        unclear = _unclear(str(error), target.folder)
        return (FINDING, f"{type(error).__name__}: {unclear}") if unclear else (REFUSED, str(error))
    except FindingError as error:
        return FINDING, str(error)
    except BaseException as error:  # whatever else it is, this is what the fuzzing is for
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise
        place = traceback.extract_tb(error.__traceback__)[-1]
        return FINDING, f"{type(error).__name__}: {str(error)[:200]} ({Path(place.filename).name}:{place.lineno})"
    if mutation.strict and found == CHANGED:
        return FINDING, "another answer than for the undamaged file"
    return found, ""


def _unclear(message: str, folder: Path) -> str:
    """Return what is wrong with a message; nothing if it is one printable sentence."""
    text = message.replace(str(folder), "")
    if not text or not text.isprintable():
        return f"a message that is empty or not printable: {text[:200]!r}"
    return f"a message of {len(text)} characters: {text[:200]}" if len(text) > LONGEST else ""
