"""Weight files that a third-party parser reads (ONNX, TFLite) are used only if they are exactly the known ones.

Rule: those parsers were not written for hostile files, so they only get files whose SHA-256 is in our source.
"""

import hashlib
import os

from l3clf.errors import WeightsError
from l3clf.weights import registry as weight_files
from l3clf.weights.keras_h5 import read_bounded

__all__ = ["read_pinned"]


def read_pinned(filename: str, sha256: str, weights: str | os.PathLike[str] | None) -> bytes:
    """Find a known weight file and return its content.

    Parameters
    ----------
    filename : str
        Its name in `l3clf.weights.registry.KNOWN`.
    sha256 : str
        The digest that it must have, in hexadecimal.
    weights : path or None
        The file or its folder; None searches as `l3clf.weights.registry.find` does.

    Raises
    ------
    WeightsError
        If it is not found, or is not the known file.
    """
    path = weight_files.obtain(weight_files.known(filename), weights)
    content = read_bounded(path)
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        problem = f"is not the known {filename} (its SHA-256 is {found}, expected {sha256})"
        raise WeightsError(f"{path}: {problem}; give the original file")
    return content
