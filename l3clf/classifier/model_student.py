"""The student inside a model file: a model that was fitted on a student of the user's own needs no other file.

Rule: its members are those of a student file, they pass all the checks of one, and their networks give the fingerprint
that the model was fitted with. Nothing is written to disk: the embedder holds the student in memory.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from l3clf.embedders import STUDENT_MEMBERS, Embedder
from l3clf.embedders.filtered import unfiltered
from l3clf.errors import L3clfError, ModelFileError

if TYPE_CHECKING:
    from l3clf.embedders.student import StudentFile

__all__ = ["carried_student", "check_fingerprint", "describe_student", "student_members"]


def student_members(embedder: Embedder, fingerprint: str) -> dict[str, bytes]:
    """Return the members for a model's student, if it is one that other installations of l3clf lack.

    Parameters
    ----------
    embedder : Embedder
    fingerprint : str
        Of the embedder that the model was fitted with.

    Returns
    -------
    dict of str to bytes
        Empty for all other embedders, and for a student whose file was never given.

    Raises
    ------
    ModelFileError
        If the student cannot be read, or is not the one that the model was fitted with.
    """
    student = unfiltered(embedder)
    if getattr(student, "weights", None) is None:
        return {}
    from l3clf.embedders.shipped import Shipped  # here, because students import ONNX Runtime
    from l3clf.embedders.student import Student

    if not isinstance(student, Student):
        return {}
    try:
        found = embedder.fingerprint
        members = student.content.members()
    except L3clfError as error:
        raise ModelFileError(f"the model's student cannot be stored in it ({error})") from error
    if found != fingerprint:
        raise ModelFileError(
            f"{student.weights} is not the student that the model was fitted with; load the model with the right one"
        )
    if isinstance(student, Shipped) and student.fingerprint == replace(student, weights=None).fingerprint:
        return {}  # a copy of the one in the package
    return members


def describe_student(members: Mapping[str, bytes]) -> dict[str, Any]:
    """Return what model.json says about a student's members: their sizes and digests."""
    return {name: _entry(content) for name, content in members.items()}


def _entry(content: bytes) -> dict[str, Any]:
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def carried_student(members: Mapping[str, bytes], table: Mapping[str, Any]) -> "StudentFile":
    """Check a model file's student, and return it.

    Parameters
    ----------
    members : mapping of str to bytes
        Of the model file.
    table : mapping
        What its model.json says about the student's members.

    Raises
    ------
    ModelFileError
        If anything is missing, damaged or not allowed in a student.
    """
    from l3clf.embedders.student import check_student

    found = {name: members[name] for name in STUDENT_MEMBERS if name in members}
    for name, content in found.items():
        if _entry(content) != table[name]:
            raise ModelFileError(f"{name} does not match its SHA-256 in model.json; save or copy the model again")
    try:
        return check_student(found, "its student")
    except L3clfError as error:
        raise ModelFileError(str(error)) from error


def check_fingerprint(embedder: Embedder, fingerprint: str) -> None:
    """Check that the embedder with a model file's student is the one that the model was fitted with.

    Raises
    ------
    ModelFileError
        If its fingerprint differs, or it is no student.
    """
    from l3clf.embedders.student import Student

    if not isinstance(unfiltered(embedder), Student) or embedder.fingerprint != fingerprint:
        raise ModelFileError("its student is not the one that it was fitted with; save or copy the model again")
