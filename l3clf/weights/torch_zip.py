"""Read the tensors of a PyTorch checkpoint, a pickle in a ZIP file, without trusting it.

Rule: an interpreter of our own knows the few opcodes that PyTorch writes for an ordered dict of tensors, and nothing
else: no opcode looks up, imports or calls anything, so no code of the file can run. Every count and size is checked
before anything is made of it, and all tensors together take no more bytes than the file has.

References
----------
Python's ``pickletools`` describes the opcodes; PyTorch's serialisation notes the members of the ZIP file.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from l3clf.errors import WeightsError
from l3clf.storage.stored_zip import UnusableZipError, stored_members

__all__ = ["Tensors", "read_torch_zip"]

Tensors: TypeAlias = dict[str, NDArray[Any]]

MAX_MEMBERS = 8192  # two for a tensor would be many
MAX_PICKLE_BYTES = 256 << 10  # EfficientAT's take 35 kB, whatever their width
MAX_MEMO = 1 << 16
MAX_ITEMS = 16  # of a tuple; the arguments of a tensor are seven
MAX_DIMENSIONS = 8
MAX_NAME = 200  # characters of a tensor's name

_OTHERS = ("version", "byteorder", ".format_version", ".storage_alignment", ".data/serialization_id")
_DATA = re.compile(r"data/(0|[1-9][0-9]{0,5})", re.ASCII)


class _UnusableError(Exception):
    """What is wrong with the file, in words that follow its name."""


@dataclass(frozen=True, eq=False)
class _Storage:
    """Numbers of one type, of which tensors are made."""

    key: str
    dtype: str
    size: int


@dataclass(frozen=True, eq=False)
class _Tensor:
    """A tensor that lies in a storage without gaps."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class _Name:
    """One of the names that a checkpoint of tensors refers to; nothing of that name is ever looked up."""

    what: str


_NAMES: Mapping[bytes, _Name] = {
    b"collections\nOrderedDict\n": _Name("dict"),
    b"torch._utils\n_rebuild_tensor_v2\n": _Name("tensor"),
    b"torch._utils\n_rebuild_parameter\n": _Name("parameter"),
    b"torch\nFloatStorage\n": _Name("<f4"),
    b"torch\nLongStorage\n": _Name("<i8"),
}
_DTYPES = ("<f4", "<i8")


def read_torch_zip(content: bytes, file: str) -> Tensors:
    """Return the tensors of a checkpoint, by name, in its order.

    Parameters
    ----------
    content : bytes
        The whole file.
    file : str
        Its name in messages.

    Returns
    -------
    dict of str to array, float32 or int64, read-only
        Views of `content`.

    Raises
    ------
    WeightsError
        If it is damaged, or holds anything but float32 and int64 tensors without gaps, or values that are not finite.
    """
    try:
        return _tensors(content)
    except (_UnusableError, UnusableZipError) as error:
        advice = "give a checkpoint of tensors, as PyTorch saves the state of a network"
        raise WeightsError(f"{file}: {error}; {advice}") from None


def _tensors(content: bytes) -> Tensors:
    members = _members(content)
    left, found = len(content), {}
    for name, tensor in _Interpreter(bytes(members["data.pkl"])).run().items():
        left -= math.prod(tensor.shape) * int(tensor.storage.dtype[2])
        if left < 0:
            raise _UnusableError(f"has more values than it has room for, counted up to {name!r}")
        found[name] = _array(name, tensor, members)
    return found


def _members(content: bytes) -> dict[str, memoryview]:
    """Return what the ZIP file holds, without the name of the folder that all of it is in."""
    members: dict[str, memoryview] = {}
    folder = None
    for path, member in stored_members(content, MAX_MEMBERS).items():
        root, _, name = path.partition("/")
        folder = root if folder is None else folder
        if root != folder or not (name in ("data.pkl", *_OTHERS) or _DATA.fullmatch(name)):
            raise _UnusableError(f"has a member {path[:80]!r} that does not belong in a checkpoint")
        members[name] = member
    if "data.pkl" not in members:
        raise _UnusableError("has no member data.pkl")
    if members.get("byteorder", b"little") != b"little":
        raise _UnusableError("has its numbers in another byte order than little-endian")
    if len(members["data.pkl"]) > MAX_PICKLE_BYTES:
        raise _UnusableError(f"describes its tensors in more than {MAX_PICKLE_BYTES} bytes")
    return members


def _array(name: str, tensor: _Tensor, members: Mapping[str, memoryview]) -> NDArray[Any]:
    storage, n = tensor.storage, math.prod(tensor.shape)
    data = members.get(f"data/{storage.key}")
    if data is None or len(data) != storage.size * int(storage.dtype[2]):
        raise _UnusableError(f"lacks values of {name!r}, or has too many of them")
    values = np.frombuffer(data, storage.dtype)[tensor.offset : tensor.offset + n].reshape(tensor.shape)
    if storage.dtype == "<f4" and not np.isfinite(values).all():
        raise _UnusableError(f"has values in {name!r} that are not finite")
    return values


class _Interpreter:
    """Executes one pickle: a stack, the places of marks in it, a memo, and a method for each opcode that may occur."""

    def __init__(self, code: bytes) -> None:
        self.code, self.at = code, 0
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> dict[str, _Tensor]:
        """Return the tensors that the pickle describes."""
        if self._take(2) != b"\x80\x02":
            raise _UnusableError("describes its tensors in another protocol of pickle than 2")
        while (opcode := self._take(1)) != b".":
            if (execute := _OPCODES.get(opcode)) is None:
                raise _UnusableError(f"is a pickle with the opcode {opcode!r}, which no dict of tensors needs")
            execute(self)
        found: dict[str, Any] = self._pop(dict)
        if self.stack or self.marks or self.at != len(self.code) or not found:
            raise _UnusableError("describes no tensors, or more than a dict of them")
        for name, tensor in found.items():
            if type(tensor) is not _Tensor:
                raise _UnusableError(f"holds something else than a tensor under {name!r}")
        return found

    # --- bytes and stack --------------------------------------------------------------------------

    def _take(self, n: int) -> bytes:
        taken = self.code[self.at : self.at + n]
        if len(taken) != n:
            raise _UnusableError("is truncated or damaged in the description of its tensors")
        self.at += n
        return taken

    def _line(self) -> bytes:
        end = self.code.find(b"\n", self.at, self.at + MAX_NAME) + 1
        return self._take(end - self.at if end else len(self.code))

    def _number(self, size: int, signed: bool = False) -> int:
        return int.from_bytes(self._take(size), "little", signed=signed)

    def _top(self, *types: type) -> Any:
        """The uppermost object above the last mark, which must have one of the types, if any are given."""
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise _UnusableError("lacks an operand in the description of its tensors")
        if types and type(self.stack[-1]) not in types:
            raise _UnusableError("has an operand of another type in the description of its tensors")
        return self.stack[-1]

    def _pop(self, *types: type) -> Any:
        top = self._top(*types)
        self.stack.pop()
        return top

    def _pop_to_mark(self) -> list[Any]:
        if not self.marks:
            raise _UnusableError("lacks a mark in the description of its tensors")
        start = self.marks.pop()
        taken = self.stack[start:]
        del self.stack[start:]
        return taken

    # --- opcodes ----------------------------------------------------------------------------------

    def mark(self) -> None:
        self.marks.append(len(self.stack))

    def unicode(self) -> None:
        size = self._number(4)
        if size > MAX_NAME:
            raise _UnusableError(f"has a name of {size} bytes")
        self.stack.append(self._take(size).decode("ascii", "backslashreplace"))

    def name(self) -> None:
        name = self._line() + self._line()
        if name not in _NAMES:
            found = b".".join(name.splitlines())
            raise _UnusableError(f"refers to {found!r}, which is no tensor's")
        self.stack.append(_NAMES[name])

    def put(self, size: int) -> None:
        place = self._number(size)
        if place >= MAX_MEMO:
            raise _UnusableError(f"remembers more than {MAX_MEMO} objects")
        self.memo[place] = self._top()

    def get(self, size: int) -> None:
        place = self._number(size)
        if place not in self.memo:
            raise _UnusableError("recalls an object that it has not remembered")
        self.stack.append(self.memo[place])

    def make_tuple(self, n: int | None) -> None:
        items = self._pop_to_mark() if n is None else [self._pop() for _ in range(n)][::-1]
        # Tuples in tuples hold the integers of a shape: nothing grows by being repeated, and nothing is deep.
        flat = all(type(item) is not tuple or all(type(number) is int for number in item) for item in items)
        if len(items) > MAX_ITEMS or not flat:
            raise _UnusableError("has a tuple that is no tensor's")
        self.stack.append(tuple(items))

    def set_items(self, items: list[Any]) -> None:
        target = self._top(dict)
        if len(items) % 2:
            raise _UnusableError("has a name without a value")
        for name, value in zip(items[::2], items[1::2], strict=True):
            if type(name) is not str:
                raise _UnusableError("has a value whose name is no text")
            if name in target:
                raise _UnusableError(f"has {name!r} twice")
            target[name] = value

    def set_item(self) -> None:
        value = self._pop()
        self.set_items([self._pop(), value])

    def state(self) -> None:
        """Leave out what PyTorch notes about a dict of tensors: the versions of its layers."""
        state = self._pop(dict)
        if len(state) != 1 or "_metadata" not in state:
            raise _UnusableError("has a state that no dict of tensors has")
        self._top(dict)

    def storage(self) -> None:
        match self._pop(tuple):
            case ("storage", _Name() as dtype, str() as key, str(), int() as size) if dtype.what in _DTYPES:
                self.stack.append(_Storage(key, dtype.what, size))
            case _:
                raise _UnusableError("has numbers that are neither float32 nor int64, or lie elsewhere")

    def call(self) -> None:
        """Make what a name and its arguments stand for."""
        arguments, name = self._pop(tuple), self._pop(_Name)
        match name.what, arguments:
            case "dict", ():
                made: Any = {}
            case "tensor", (_Storage(), int(), tuple(), tuple(), bool(), dict()):
                made = _checked(*arguments[:4])
            case "parameter", (_Tensor() as made, bool(), dict()):
                pass
            case _:
                raise _UnusableError(f"has a {name.what} with other arguments than PyTorch gives")
        self.stack.append(made)

    def push(self, value: Any) -> None:
        self.stack.append(value)


def _checked(storage: _Storage, offset: int, shape: tuple[Any, ...], stride: tuple[Any, ...]) -> _Tensor:
    """Return a tensor whose numbers follow each other and lie in its storage."""
    numbers = (*shape, *stride, offset)
    if not all(type(number) is int for number in numbers) or len(shape) != len(stride) or len(shape) > MAX_DIMENSIONS:
        raise _UnusableError("has a tensor with an impossible shape")
    if min((*shape, 1)) < 1 or not 0 <= offset <= storage.size - math.prod(shape):
        raise _UnusableError(f"has a tensor of shape {shape} that does not lie in its {storage.size} numbers")
    steps = [math.prod(shape[i + 1 :]) for i in range(len(shape))]
    if any(n > 1 and given != step for n, given, step in zip(shape, stride, steps, strict=True)):
        raise _UnusableError(f"has a tensor of shape {shape} with gaps (strides {stride})")
    return _Tensor(storage, offset, shape)


_OPCODES: Mapping[bytes, Callable[[_Interpreter], None]] = {
    b"(": _Interpreter.mark,
    b"X": _Interpreter.unicode,
    b"c": _Interpreter.name,
    b"q": lambda it: it.put(1),
    b"r": lambda it: it.put(4),
    b"h": lambda it: it.get(1),
    b"j": lambda it: it.get(4),
    b"K": lambda it: it.push(it._number(1)),
    b"M": lambda it: it.push(it._number(2)),
    b"J": lambda it: it.push(it._number(4, signed=True)),
    b"\x88": lambda it: it.push(True),
    b"\x89": lambda it: it.push(False),
    b"}": lambda it: it.push({}),
    b")": lambda it: it.push(()),
    b"\x85": lambda it: it.make_tuple(1),
    b"\x86": lambda it: it.make_tuple(2),
    b"\x87": lambda it: it.make_tuple(3),
    b"t": lambda it: it.make_tuple(None),
    b"s": _Interpreter.set_item,
    b"u": lambda it: it.set_items(it._pop_to_mark()),
    b"b": _Interpreter.state,
    b"Q": _Interpreter.storage,
    b"R": _Interpreter.call,
}
