"""Weight files that a foreign parser reads (ONNX, TFLite) are used only when they are exactly the known ones.

Rule: those parsers were not written for hostile files, so nothing but a file whose SHA-256 is
written down in our source ever reaches them.
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
        The digest it must have, hexadecimal.
    weights : path or None
        Where the user says it is.

    Raises
    ------
    WeightsError
        If it is not found, or is another file than the known one.
    """
    path = weight_files.obtain(weight_files.known(filename), weights)
    content = read_bounded(path)
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise WeightsError(
            f"{path}: is not the known {filename}: its SHA-256 is {found}, expected {sha256}; "
            "use the original file (README, 'Weights')"
        )
    return content
