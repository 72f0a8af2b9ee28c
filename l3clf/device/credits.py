"""Who made what is in an export, and under which licences.

Rule: a licence is named only where it is known: that of our code, and that of the students in the package, which are
recognised by their bytes. Of a student from elsewhere, what its file says is quoted as such.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any

from l3clf.embedders.shipped import Shipped
from l3clf.embedders.student import Student

__all__ = ["SPDX", "Credits", "spdx"]

SPDX = "SPDX-License-Identifier:"
CODE_LICENCE = "MIT"
_HEAD = "LicenseRef-head"  # NOTICE says what these stand for
_STUDENT = "LicenseRef-student"
_DATA = Path(str(files("l3clf.embedders") / "data"))
_RECORDED = ("name", "licence", "license", "teachers", "made_by")  # of a student's description
MAX_RECORDED = 300  # characters of each: a stranger's may be of any length
_OTHERS = "\nopenl3_published"  # begins the part of the package's notice that is not about students

_OURS = """{name}, MIT License, Copyright (c) 2026 The l3clf developers (LICENSE).
CREDITS.md names the makers of the sounds that it learned from. The notice of the package l3clf about its students:

{about}"""
_FOREIGN = f"""A student that is not in the package l3clf ({_STUDENT} in {SPDX} lines).
l3clf does not know its licence: ask whoever made it. It derives from its teachers and from the sounds that it was
trained on, and so may be under their licences. Its file says:

"""


def spdx(licence: str = CODE_LICENCE) -> str:
    """Return the line of a C file that names its licence."""
    return f"/* {SPDX} {licence} */\n"


@dataclass(frozen=True)
class Credits:
    """The licences of an export with a student.

    Parameters
    ----------
    student : Student
    """

    student: Student

    @cached_property
    def is_ours(self) -> bool:
        """Whether the student's integer network is one of those in the package, bit for bit."""
        if not isinstance(self.student, Shipped):
            return False
        return self.student.weights_digest() == replace(self.student, weights=None).weights_digest()

    @property
    def model_licence(self) -> str:
        """The SPDX expression of files that hold the network and the head."""
        return f"{CODE_LICENCE if self.is_ours else _STUDENT} AND {_HEAD}"

    @property
    def weights(self) -> str:
        """The student and the licence of its weights, in words."""
        if self.is_ours:
            return f"{self.student.name}'s weights are under the {CODE_LICENCE} licence too"
        licence = next((text for name, text in self._recorded().items() if name in ("licence", "license")), None)
        said = f"says {licence}" if licence else "names no licence"
        return f"the student's weights are its maker's: its file {said}"

    @property
    def makers(self) -> str | None:
        """The text about the makers of the sounds that the student learned from; None if that is not known."""
        if not self.is_ours:
            return None
        first = self.student.name == "l3mini" and self.student.revision == 1
        name = "l3mini_1_credits.md" if first else "students_credits.md"
        return (_DATA / name).read_text(encoding="utf-8")

    @property
    def network(self) -> str:
        """What the notice says of the network."""
        if self.is_ours:
            about = (_DATA / "NOTICE").read_text(encoding="utf-8").partition(_OTHERS)[0].strip()
            return _OURS.format(name=self.student.name, about=_indented(about))
        recorded = "\n".join(f"{name}: {text}" for name, text in self._recorded().items()) or "nothing"
        return _FOREIGN + _indented(recorded)

    def _recorded(self) -> dict[str, str]:
        return _quoted({name: self.student.about[name] for name in _RECORDED if name in self.student.about})


def _quoted(recorded: Mapping[str, Any]) -> dict[str, str]:
    """Return what a stranger's file says, on one line each."""
    texts = {name: v if isinstance(v, str) else json.dumps(v, default=str) for name, v in recorded.items()}
    plain = {name: "".join(c if c.isprintable() else " " for c in text) for name, text in texts.items()}
    return {name: text[:MAX_RECORDED] for name, text in plain.items() if text.strip()}


def _indented(text: str) -> str:
    return "\n".join(f"    {line}".rstrip() for line in text.splitlines())
