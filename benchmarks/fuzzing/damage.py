"""Ways to damage a file: bytes, numbers in them, ZIP members, JSON, .npy arrays, protobuf fields, tables of text.

Rule: everything follows from the generator that is passed, so that a seed gives the same damage everywhere. What
describes the damaged part (lengths, checksums) is made right again where a function says so, so that the damage reaches
the code behind the checks.
"""

import io
import json
import random
import zipfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

__all__ = ["NUMBERS", "damaged", "damaged_json", "damaged_npy", "damaged_protobuf", "damaged_text", "zipped"]

NUMBERS: tuple[int, ...] = (0, 1, 2, 3, 7, 8, 16, 64, 127, 128, 255, 256, 1000, 4096, 32767, 32768, 65535, 65536)
NUMBERS += (1 << 20, (1 << 24) - 1, (1 << 31) - 1, 1 << 31, (1 << 32) - 2, (1 << 32) - 1, 1 << 33)
NUMBERS += ((1 << 63) - 1, (1 << 64) - 1)
VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    1,
    -1,
    2,
    0.5,
    -0.5,
    1e-9,
    1e300,
    1 << 31,
    1 << 64,
    -(1 << 63),
    10**400,
)
VALUES += (
    "",
    "a",
    "nan",
    "0",
    "\0",
    "\n",
    "\x1b[31m",
    "\ud800",
    "x" * 2000,
    "../../x",
    "Ångström",
    [],
    {},
    [[]],
    {"a": 1},
)
TOKENS: tuple[str, ...] = (
    '"',
    '""',
    ",",
    ";",
    "\t",
    "\n",
    "\r",
    "\r\n",
    "\0",
    "\ufeff",
    "=1+1",
    "nan",
    "inf",
    "-1",
    "1e999",
    "1e-320",
    "0,5",
)
TOKENS += (
    "\x1b[2J",
    "\u2028",
    "\u202e",
    "\\",
    "'",
    " ",
    "é",
    "\U0001f436",
    "x" * 3000,
    "path",
    "label",
    "fold",
    "start_s",
)

Bytes = bytes | bytearray


def damaged(rng: random.Random, content: bytes, places: Sequence[int] = ()) -> bytes:
    """Return bytes with one to four changes, half of them at `places`, if there are any."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 4))):
        at = (
            rng.choice(places) + rng.randrange(-2, 9) if places and rng.random() < 0.5 else rng.randrange(len(data) + 1)
        )
        rng.choice(_CHANGES)(rng, data, max(0, min(at, len(data) - 1)))
        if not data:
            break
    return bytes(data)


def _flip(rng: random.Random, data: bytearray, at: int) -> None:
    data[at] ^= 1 << rng.randrange(8)


def _set(rng: random.Random, data: bytearray, at: int) -> None:
    data[at] = rng.choice((0, 1, 0x20, 0x7F, 0x80, 0xFE, 0xFF, rng.randrange(256)))


def _number(rng: random.Random, data: bytearray, at: int) -> None:
    size = rng.choice((2, 4, 4, 8))
    value = rng.choice((*NUMBERS, len(data), rng.randrange(1 << 16)))
    data[at : at + size] = (value % (1 << 8 * size)).to_bytes(size, rng.choice(("little", "big")))


def _nudge(rng: random.Random, data: bytearray, at: int) -> None:
    """Change a number by a little."""
    size, order = rng.choice((2, 4)), rng.choice(("little", "big"))
    value = int.from_bytes(data[at : at + size], order) + rng.choice((-8, -4, -2, -1, 1, 2, 4, 8))  # type: ignore[arg-type]
    data[at : at + size] = (value % (1 << 8 * size)).to_bytes(size, order)  # type: ignore[arg-type]


def _span(rng: random.Random, data: bytearray, at: int) -> slice:
    return slice(at, at + rng.choice((1, 2, 4, 8, 16, 64, 512, len(data))))


def _delete(rng: random.Random, data: bytearray, at: int) -> None:
    del data[_span(rng, data, at)]


def _repeat(rng: random.Random, data: bytearray, at: int) -> None:
    data[at:at] = data[_span(rng, data, at)][:65536]


def _zero(rng: random.Random, data: bytearray, at: int) -> None:
    part = _span(rng, data, at)
    data[part] = bytes([rng.choice((0, 0, 255))]) * len(data[part])


def _copy(rng: random.Random, data: bytearray, at: int) -> None:
    part = data[_span(rng, data, rng.randrange(len(data)))][:512]
    data[at : at + len(part)] = part


def _insert(rng: random.Random, data: bytearray, at: int) -> None:
    data[at:at] = rng.randbytes(rng.choice((1, 2, 4, 16, 100)))


def _cut(rng: random.Random, data: bytearray, at: int) -> None:
    del data[at:]


_CHANGES: tuple[Callable[[random.Random, bytearray, int], None], ...]
_CHANGES = (_flip, _flip, _set, _number, _number, _nudge, _delete, _repeat, _zero, _copy, _insert, _cut)


# --- ZIP, JSON, .npy ------------------------------------------------------------------------------


def zipped(rng: random.Random, members: Mapping[str, bytes]) -> bytes:
    """Return a ZIP file, with right checksums, mostly as we write it; a member may be lost, twice or renamed."""
    listed = list(members.items())
    if rng.random() < 0.1 and listed:
        name, content = listed.pop(rng.randrange(len(listed)))
        again = rng.choice(("", name.upper(), f"../{name}", "other.npy", name))
        listed += [(again, content)] * rng.choice((0, 1, 2)) if again else []
    if rng.random() < 0.1:
        rng.shuffle(listed)
    method = rng.choice((zipfile.ZIP_DEFLATED,) * 10 + (zipfile.ZIP_STORED,) * 10 + (zipfile.ZIP_BZIP2,))
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method, compresslevel=1) as archive:
        for name, content in listed:
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return file.getvalue()


def damaged_json(rng: random.Random, content: bytes) -> bytes:
    """Return JSON with one to three values, names or lists changed; now and then, its text."""
    if rng.random() < 0.15:
        return damaged(rng, content)
    document = json.loads(content)
    for _ in range(rng.choice((1, 1, 2, 3))):
        document = _changed_value(rng, document)
    text = json.dumps(document)
    if rng.random() < 0.05 and text.startswith("{") and len(text) > 2:
        text = text[:-1] + "," + text[1:]  # every name twice
    return text.encode()


def _changed_value(rng: random.Random, value: Any) -> Any:
    """Change something in a value: go down by chance, and change there."""
    if isinstance(value, dict) and value:
        name = rng.choice(sorted(value))
        if rng.random() < 0.8:
            return {**value, name: _changed_value(rng, value[name])}
        changed = {k: v for k, v in value.items() if k != name}
        return changed if rng.random() < 0.5 else {**changed, rng.choice(("x", name + "s", "")): value[name]}
    if isinstance(value, list) and value and rng.random() < 0.8:
        i = rng.randrange(len(value))
        how = rng.random()
        if how < 0.5:
            return [*value[:i], _changed_value(rng, value[i]), *value[i + 1 :]]
        return value[:i] + value[i + 1 :] if how < 0.7 else value[: i + 1] + value[i:] if how < 0.9 else value * 3
    if type(value) in (int, float) and rng.random() < 0.6:
        return rng.choice((value + 1, value - 1, -value, value * 2, value / 2 if abs(value) < 1e300 else 0.5, *NUMBERS))
    if isinstance(value, str) and value and rng.random() < 0.5:
        i = rng.randrange(len(value))
        return value[:i] + rng.choice(("", "0", "f", "\0", "\n", "\ud800", "Z", value)) + value[i + 1 :]
    return rng.choice(VALUES)


def damaged_npy(rng: random.Random, content: bytes) -> bytes:
    """Return a .npy file with its header or its numbers changed."""
    if rng.random() < 0.3 or len(content) < 12:
        return damaged(rng, content[:128]) + content[128:]
    data = bytearray(content)
    start = min(10 + int.from_bytes(content[8:10], "little"), len(data))
    for _ in range(rng.choice((1, 1, 2, 5))):
        size = rng.choice((4, 8))
        cells = (len(data) - start) // size
        if not cells:
            break
        at = start + size * rng.randrange(cells)
        special = (bytes(size), b"\xff" * size, b"\0" * (size - 2) + b"\xf8\x7f", b"\0" * (size - 2) + b"\xf0\x7f")
        value = rng.choice(
            (*special, (rng.choice(NUMBERS) % (1 << 8 * size)).to_bytes(size, "little"), data[at - size : at])
        )
        data[at : at + size] = value
    return bytes(data)


# --- protobuf -------------------------------------------------------------------------------------


def damaged_protobuf(rng: random.Random, content: bytes, depth: int = 6) -> bytes:
    """Return a message with a field changed, at any depth; the lengths around it are right."""
    fields = _fields(content)
    if not fields:
        return damaged(rng, content)
    i = rng.randrange(len(fields))
    number, wire, value = fields[i]
    how = rng.random()
    if isinstance(value, bytes) and depth and how < 0.75 and (len(value) > 400 or _fields(value)):
        fields[i] = (number, wire, damaged_protobuf(rng, value, depth - 1))
    elif how < 0.80:
        del fields[i]
    elif how < 0.85:
        fields.insert(rng.randrange(len(fields) + 1), fields[i])
    elif how < 0.88:
        fields[i] = (rng.choice((1, 2, 3, 5, 6, 7, 8, 20, 1000)), wire, value)
    elif isinstance(value, bytes):
        fields[i] = (number, wire, damaged(rng, value) if value else rng.randbytes(3))
    else:
        fields[i] = (number, wire, rng.choice((value + 1, max(0, value - 1), *NUMBERS)))
    return b"".join(_field(*field) for field in fields)


def _fields(content: bytes) -> list[tuple[int, int, bytes | int]]:
    """Return the fields of a message, with their wire types; nothing if the bytes are no message."""
    found: list[tuple[int, int, bytes | int]] = []
    at = 0
    while at < len(content):
        key, at = _read_varint(content, at)
        wire = key & 7
        value, end = _read_varint(content, at) if wire in (0, 2) else (0, at + {1: 8, 5: 4}.get(wire, len(content) + 1))
        if at < 0 or end < 0 or end + (value if wire == 2 else 0) > len(content) or not key >> 3:
            return []
        if wire == 0:
            found.append((key >> 3, wire, value))
            at = end
        else:
            stop = end + value if wire == 2 else end
            found.append((key >> 3, wire, content[end:stop] if wire == 2 else content[at:end]))
            at = stop
    return found


def _read_varint(content: bytes, at: int) -> tuple[int, int]:
    value = 0
    for i, byte in enumerate(content[at : at + 10]):
        value |= (byte & 127) << 7 * i
        if byte < 128:
            return value, at + i + 1
    return 0, -1


def _field(number: int, wire: int, value: bytes | int) -> bytes:
    key = _varint(number << 3 | wire)
    if isinstance(value, int):
        return key + _varint(value)
    return key + (_varint(len(value)) if wire == 2 else b"") + value


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


# --- text -----------------------------------------------------------------------------------------


def damaged_text(rng: random.Random, text: str, separator: str) -> str:
    """Return a table of text with one to four cells, lines or characters changed."""
    for _ in range(rng.choice((1, 1, 2, 3, 4))):
        lines = text.split("\n")
        i = rng.randrange(len(lines))
        how = rng.randrange(7)
        if how == 0:
            at = rng.randrange(len(text) + 1)
            text = text[:at] + rng.choice(TOKENS) + text[at + rng.randrange(2) :]
            continue
        cells = lines[i].split(separator)
        k = rng.randrange(len(cells))
        if how == 1:
            cells[k] = rng.choice(TOKENS)
        elif how == 2:
            cells[k] += rng.choice(TOKENS)
        elif how == 3:
            cells.insert(k, rng.choice(TOKENS))
        elif how == 4:
            del cells[k]
        elif how == 5:
            cells[k] = f'"{cells[k]}"'
        lines[i] = separator.join(cells)
        if how == 6:
            lines[i : i + 1] = rng.choice(([], [lines[i]] * 2, ["", lines[i]], [lines[i], lines[0]]))
        text = "\n".join(lines)
    return text
