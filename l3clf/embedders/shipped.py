"""The students in the package: l3mini, l3base and l3micro.

Rule: what a name and a revision mean never changes. Another network is another revision, and the one before stays in
the package, so that models and caches made with it go on working.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, ClassVar

from l3clf.embedders.student import Student, StudentFile
from l3clf.errors import ParameterError

__all__ = ["L3Base", "L3Micro", "L3Mini", "Shipped"]

_FILES = {("l3mini", 1): "l3mini_1.student"}  # of former revisions; the newest is in NAME.student


@dataclass(frozen=True)
class Shipped(Student):
    """What the students in the package have in common."""

    @property
    def path(self) -> Path:
        """The student file."""
        if self.weights:
            return super().path
        name = _FILES.get((self.name, self.revision), f"{self.name}.student")
        return Path(str(files("l3clf.embedders") / "data" / name))

    def is_ready(self) -> bool:
        """Return whether it is at hand: its file exists, or it needs none."""
        return isinstance(self.weights, StudentFile) or self.path.is_file()


@dataclass(frozen=True)
class L3Mini(Shipped):
    """The student for microcontrollers, distilled from EfficientAT mn04, Google's speech embedding and YAMNet.

    Parameters
    ----------
    precision : {"float32", "int8"}
        See `Student`.
    frontend : {"fixed", "float"} or None
        See `Student`; the first l3mini has ``"float"`` unless told otherwise.
    revision : {2, 1}
        1 is the first l3mini, distilled from YAMNet and the speech embedding: `load_model` takes it for models that
        were fitted with it.
    weights : path, StudentFile or None
        Another student to use instead; None uses the one in the package.
    """

    revision: int = 2  # type: ignore[misc]  # an option here, a constant of all other embedders

    name: ClassVar[str] = "l3mini"
    unnamed_options: ClassVar[Mapping[str, Any]] = {**Student.unnamed_options, "revision": 1}  # nor a revision

    def __post_init__(self) -> None:
        if self.revision == 1 and self.frontend is None:
            object.__setattr__(self, "frontend", "float")  # what a revision means does not change
        super().__post_init__()
        if type(self.revision) is not int or self.revision not in (1, 2):  # True and 1.0 would pass as 1
            raise ParameterError(f"revision={self.revision!r}; expected 2, or 1 for the first l3mini")


@dataclass(frozen=True)
class L3Base(Shipped):
    """The student for PCs, distilled from EfficientAT mn04, Google's speech embedding and YAMNet.

    Parameters
    ----------
    precision : {"float32", "int8"}
        See `Student`.
    frontend : {"fixed", "float"} or None
        See `Student`.
    weights : path, StudentFile or None
        Another student to use instead; None uses the one in the package.
    """

    name: ClassVar[str] = "l3base"


@dataclass(frozen=True)
class L3Micro(Shipped):
    """The student for the smallest chips, distilled from EfficientAT mn04, Google's speech embedding and YAMNet.

    Parameters
    ----------
    precision : {"float32", "int8"}
        See `Student`.
    frontend : {"fixed", "float"} or None
        See `Student`.
    weights : path, StudentFile or None
        Another student to use instead; None uses the one in the package.
    """

    name: ClassVar[str] = "l3micro"
