"""Read the weights in a Keras-2 HDF5 file without trusting it.

Rule: the file is read into memory, up to a limit; every link, type and shape is checked before its values are read,
and links out of the file are refused. All arrays together take no more bytes than the file has, so that a small file
cannot fill the memory. Any defect raises a `WeightsError` that names the file.

Layers and weights are found by walking the groups, whose names repeat the attributes `layer_names` and
`weight_names`. The attributes are not read: they are variable-length strings, and fuzzing showed that libhdf5 (2.0)
crashes, loops forever or fills the memory when such strings are damaged.
"""

import gzip
import hashlib
import io
import json
import os
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import h5py
import numpy as np
from numpy.typing import NDArray

from l3clf.errors import WeightsError

MAX_FILE_BYTES = 256 << 20  # before and after unpacking; the largest known file has about 40 MiB
MAX_MEMBERS = 4096  # layers, groups and arrays together
MAX_DEPTH = 6  # of a weight below its layer

_BLOCK_BYTES = 1 << 20
GZIP_MAGIC = b"\x1f\x8b"
_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
_MARK = "layer_names"
# h5py raises any of these on a damaged file, depending on the place of the damage.
_H5PY_ERRORS = (OSError, KeyError, ValueError, TypeError, RuntimeError, AttributeError, OverflowError)


class _UnusableError(Exception):
    """What is wrong with the file, in words that follow its name."""


def read_keras_h5(path: str | os.PathLike[str]) -> dict[str, dict[str, NDArray[np.float32]]]:
    """Read the weights of a Keras-2 HDF5 file, plain or gzip-compressed.

    Parameters
    ----------
    path : path
        A `.h5` or `.h5.gz` file, which are distinguished by their content.

    Returns
    -------
    dict
        Layer name to short weight name ("kernel", "bias", "gamma", ...) to float32 array. Names are sorted, with
        numbers in them by value, so that the order does not depend on how the file was written. Layers without
        weights and layers called *spectrogram* are left out.

    Raises
    ------
    WeightsError
        If the file cannot be read, is damaged or too large, holds values that are not finite, or has external links.
    """
    path = Path(path)
    data = read_bounded(path)
    try:
        if data.startswith(GZIP_MAGIC):
            data = _unpacked(data)
        if not data.startswith(_HDF5_MAGIC):
            raise _UnusableError("is not an HDF5 file")
        with h5py.File(io.BytesIO(data), "r") as file:
            return _read_layers(file, _Budget(MAX_MEMBERS, len(data)))
    except _UnusableError as error:
        problem = str(error)
    except _H5PY_ERRORS as error:
        problem = f"is damaged ({' '.join(str(error).split())})"
    shown = problem if problem.isprintable() else repr(problem)[1:-1]  # names in a damaged file are any bytes
    raise WeightsError(f"{path}: {shown}; fetch this Keras weight file again, or pass another weights=PATH")


def digest(arrays: Mapping[str, Mapping[str, NDArray[Any]]]) -> str:
    """Return a digest of the weights of a network that does not depend on how they were stored.

    Parameters
    ----------
    arrays : mapping
        Weights as returned by `read_keras_h5`.

    Returns
    -------
    str
        SHA-256, in hexadecimal, of names, shapes, types and values in the given order.

    Examples
    --------
    >>> one = {"dense": {"bias": np.zeros(2, np.float32)}}
    >>> digest(one) == digest({"dense": {"bias": np.zeros(3, np.float32)}})
    False
    """
    total = hashlib.sha256()
    for layer, weights in arrays.items():
        for name, array in weights.items():
            little = np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C")
            header = json.dumps([layer, name, little.dtype.str, little.shape]).encode()
            # The lengths separate the end of one array from the beginning of the next.
            total.update(len(header).to_bytes(8, "little") + header)
            total.update(little.tobytes())
    return total.hexdigest()


def read_bounded(path: Path) -> bytes:
    """Return the content of a weight file of at most `MAX_FILE_BYTES`.

    Raises
    ------
    WeightsError
        If it cannot be read or is larger.
    """
    try:
        with path.open("rb") as handle:
            data = _read_up_to(handle, MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        problem = getattr(error, "strerror", None) or error
        raise WeightsError(f"{path}: cannot be read ({problem}); give a readable weight file") from error
    if len(data) > MAX_FILE_BYTES:
        raise WeightsError(f"{path}: is larger than {MAX_FILE_BYTES} bytes; give a weight file listed by l3clf")
    return data


def _read_up_to(handle: IO[bytes] | gzip.GzipFile, limit: int) -> bytes:
    """Return at most `limit` bytes, without taking room for all of them beforehand, as a single read would."""
    data = bytearray()
    while len(data) < limit and (block := handle.read(min(_BLOCK_BYTES, limit - len(data)))):
        data += block
    return bytes(data)


def _unpacked(data: bytes) -> bytes:
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as handle:
            unpacked = _read_up_to(handle, MAX_FILE_BYTES + 1)  # a decompression bomb stops here
    except (OSError, EOFError, zlib.error) as error:
        raise _UnusableError(f"is a damaged gzip file ({error})") from error
    if len(unpacked) > MAX_FILE_BYTES:
        raise _UnusableError(f"unpacks to more than {MAX_FILE_BYTES} bytes")
    return unpacked


@dataclass
class _Budget:
    """What may still be visited and read, so that no file can take too much time or memory."""

    members: int
    bytes: int

    def spend(self, members: int, n_bytes: int, where: str) -> None:
        self.members -= members
        self.bytes -= n_bytes
        if self.members < 0:
            raise _UnusableError(f"has more than {MAX_MEMBERS} members, counted up to {where}")
        if self.bytes < 0:
            raise _UnusableError(f"has more values than the file has room for, counted up to {where}")


def _read_layers(file: h5py.File, budget: _Budget) -> dict[str, dict[str, NDArray[np.float32]]]:
    root = file if _MARK in file.attrs else _child(file, "model_weights")
    if not isinstance(root, h5py.Group) or _MARK not in root.attrs:
        raise _UnusableError(f"has no attribute {_MARK} at {root.name}")
    names = _members(root, budget)
    # A spectrogram layer holds the tables of the front-end, which we compute ourselves.
    layers = {name: _read_layer(_child(root, name), budget) for name in names if "spectrogram" not in name}
    if not any(layers.values()):
        raise _UnusableError("holds no weights")
    return {name: weights for name, weights in layers.items() if weights}


def _read_layer(group: Any, budget: _Budget) -> dict[str, NDArray[np.float32]]:
    weights: dict[str, NDArray[np.float32]] = {}
    if not isinstance(group, h5py.Group):
        raise _UnusableError(f"has no group at {group.name}")
    for name, dataset in _datasets("", group, budget, MAX_DEPTH):
        short = name.partition(":")[0]
        if short in weights:
            raise _UnusableError(f"has two weights called {short} in layer {group.name}")
        weights[short] = _read_array(dataset, budget)
    return weights


def _datasets(name: str, node: Any, budget: _Budget, depth: int) -> Iterator[tuple[str, h5py.Dataset]]:
    """Yield the arrays below a layer: Keras nests a weight in groups that repeat the name of the layer."""
    if isinstance(node, h5py.Dataset):
        yield name, node
        return
    if not isinstance(node, h5py.Group) or depth == 0:
        raise _UnusableError(f"has no array at {node.name}")
    for member in _members(node, budget):
        yield from _datasets(member, _child(node, member), budget, depth - 1)


def _members(group: h5py.Group, budget: _Budget) -> list[str]:
    """Return the names in a group in natural order: conv2d_2 before conv2d_10."""
    budget.spend(group.id.get_num_objs(), 0, group.name)
    return sorted((name.decode() for name in group.id), key=_natural)


def _natural(name: str) -> list[str | int]:
    parts = re.split("([0-9]+)", name)
    return [int(part) if i % 2 else part for i, part in enumerate(parts)]


def _child(group: h5py.Group, name: str) -> Any:
    """Return a member that is reached by a hard link: soft and external links may leave the file."""
    links, key = group.id.links, name.encode()  # `name in group` would follow an external link
    if not links.exists(key):
        raise _UnusableError(f"lacks {name!r} in {group.name}")
    if links.get_info(key).type != h5py.h5l.TYPE_HARD:
        raise _UnusableError(f"has a link to elsewhere instead of {name!r} in {group.name}")
    return group[name]


def _read_array(dataset: h5py.Dataset, budget: _Budget) -> NDArray[np.float32]:
    if dataset.is_virtual or dataset.external:
        raise _UnusableError(f"has values in another file at {dataset.name}")
    if dataset.dtype.kind != "f" or dataset.dtype.itemsize > 8:
        raise _UnusableError(f"has type {dataset.dtype} instead of float32 at {dataset.name}")
    if dataset.shape is None:
        raise _UnusableError(f"has no values at {dataset.name}")
    if dataset.id.get_create_plist().get_nfilters():  # a compressed chunk may unpack to more than its shape
        raise _UnusableError(f"has compressed values at {dataset.name}")
    n_bytes = dataset.size * dataset.dtype.itemsize
    if dataset.id.get_storage_size() < n_bytes:  # libhdf5 would make up what was never written
        raise _UnusableError(f"lacks values at {dataset.name}")
    budget.spend(0, n_bytes, dataset.name)
    with np.errstate(over="ignore"):  # a float64 too large for float32 becomes infinite, which is refused
        array = np.asarray(dataset[()]).astype(np.float32)
    if not np.isfinite(array).all():
        raise _UnusableError(f"has values that are not finite at {dataset.name}")
    return array
