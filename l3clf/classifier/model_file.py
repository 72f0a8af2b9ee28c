"""Save and load a fitted classifier without pickle.

A model file is a ZIP: `model.json` describes the model, and one `NAME.npy` holds each array of its head. With a student
of the user's own, it also holds the members of the student file.

Rule: nothing in a file is executed, and nothing is used before it is checked. Loading needs no weights: they are
located, and compared with the file's fingerprint, when the first clip is embedded. Every file that `save_model`
writes has passed the checks of `load_model`.
"""

import hashlib
import io
import json
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import sklearn

from l3clf._version import __version__
from l3clf.classifier.decision import POOLINGS
from l3clf.classifier.estimators import ClipClassifier
from l3clf.classifier.frozen_heads import ArrayFacts
from l3clf.classifier.heads import HEAD_NAMES, MAX_STORED_BYTES, ForestHead, LinearHead, freeze_head
from l3clf.classifier.model_student import carried_student, check_fingerprint, describe_student, student_members
from l3clf.embedders import STUDENT_MEMBERS, Embedder, described_embedder, embedder_names
from l3clf.errors import L3clfError, ModelFileError, ParameterError
from l3clf.storage.outputs import Kind, check_kind, zip_member_begins
from l3clf.storage.safejson import read_json
from l3clf.storage.safezip import read_zip, write_zip

__all__ = ["MODEL", "load_model", "save_model", "written_with"]

FORMAT: Final = "l3clf model"
FORMAT_VERSION: Final = 2  # increased with every change to the contents of model.json or the arrays

_JSON = "model.json"
MODEL: Final = Kind("a model file", zip_member_begins(_JSON, json.dumps(FORMAT).encode()))
_MAX_JSON = 4 << 20  # room for tens of thousands of classes
_MAX_TOTAL = MAX_STORED_BYTES
_HEADS: Mapping[str, type[LinearHead | ForestHead]] = {"linear": LinearHead, "forest": ForestHead}
_LIMITS = {_JSON: _MAX_JSON} | {f"{name}.npy": _MAX_TOTAL for head in _HEADS.values() for name in head.members}
_LIMITS |= STUDENT_MEMBERS
_NPY_START = b"\x93NUMPY\x01\x00"  # magic string and version 1.0
_CLASS_TYPES: Mapping[str, type] = {"str": str, "int": int, "float": float, "bool": bool}
_MAX_NPY_HEADER = 10 + 0xFFFF  # bytes: magic string, version and length, and the longest that the length can say
_WIDTH = {"mean+std": 2}  # width of the head's input in embeddings; 1 for all other poolings
_MAX_OPTION = 1000
_ADVICE = "save or copy the model again"


def save_model(model: ClipClassifier, path: str | os.PathLike[str], *, force: bool = False) -> Path:
    """Save a fitted classifier.

    The same model gives the same bytes. An existing model file is replaced once the new one is complete.

    Parameters
    ----------
    model : ClipClassifier
        Fitted, with a head that `l3clf.classifier.heads.freeze_head` accepts.
    path : path-like
        File to write; ``.l3clf`` is the usual suffix.
    force : bool, default=False
        Whether to replace an existing file that is no model file.

    Returns
    -------
    Path
        `path`, as a Path.

    Raises
    ------
    ModelFileError
        If the model is not fitted, its head or embedder cannot be saved, or the file cannot be written or is of
        another kind.

    Notes
    -----
    The file stores what is needed to predict, not to train. The heads "logistic" and "forest" are loaded by
    name and can be fitted again; a head given as a classifier, or with ``class_weight`` or ``random_state``,
    is loaded as plain arrays, which cannot. ``cache``, ``n_jobs``, ``on_error`` and ``verbose`` are loaded
    with their defaults. Files of format version 1 do not say whether a training clip was digital silence: their
    models answer silence with a class, as they did, and a warning.
    """
    target = check_kind(path, MODEL, force=force, error=ModelFileError)
    with _naming(target):
        members = _members(model)
        _rebuild(members, getattr(model.embedder_, "weights", None))
    write_zip(target, members)
    return target


def load_model(path: str | os.PathLike[str], weights: str | os.PathLike[str] | None = None) -> ClipClassifier:
    """Load a classifier that `save_model` wrote.

    Parameters
    ----------
    path : path-like
        File to read. It need not be trusted: nothing in it is executed.
    weights : path-like or None, default=None
        Location of the embedder's weights, for embedders that have some; None searches where
        `load_embedder` does. They are not read before the first clip is embedded. A student of the user's own is in
        the model file, unless l3clf 0.1 wrote that.

    Returns
    -------
    ClipClassifier
        Fitted. It refuses to predict with weights other than those it was fitted with.

    Raises
    ------
    ModelFileError
        If the file is missing, damaged, of a newer format, or not a model.
    """
    source = Path(path)
    members = _read(source)
    with _naming(source):
        return _rebuild(members, weights)


def _read(source: Path) -> dict[str, bytes]:
    """Read model.json, and then only the members that it announces."""

    def announced(document: bytes) -> dict[str, int]:
        with _naming(source):
            return _announced(_document(document))

    return read_zip(source, _LIMITS, _MAX_TOTAL, first=(_JSON, announced))


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Begin the message of an error with the file's name."""
    try:
        yield
    except ModelFileError as error:
        raise ModelFileError(f"{path}: {error}") from error


def written_with(path: str | os.PathLike[str]) -> dict[str, str]:
    """Return the versions of the packages that wrote a model file, by name, as the file states them.

    Raises
    ------
    ModelFileError
        As for `load_model`.
    """
    found = _document(_read(Path(path))[_JSON])["written_with"]
    return {str(name)[:40]: str(version)[:40] for name, version in list(found.items())[:10]}


# --- writing --------------------------------------------------------------------------------------


def _members(model: ClipClassifier) -> dict[str, bytes]:
    """Return the members of the file of `model`."""
    if not isinstance(model, ClipClassifier):
        raise ModelFileError(f"a {type(model).__name__} cannot be saved; give a fitted ClipClassifier")
    if not hasattr(model, "head_"):
        raise ModelFileError("the ClipClassifier is not fitted; call fit before saving")
    head = freeze_head(model.head_)
    contents = {name: _npy(array) for name, array in head.arrays().items()}
    document = _describe(model, head)
    student = student_members(model.embedder_, document["embedder"]["fingerprint"])
    if student:
        document["student"] = describe_student(student)
    document["arrays"] = {name: _entry(array, contents[name]) for name, array in head.arrays().items()}
    text = json.dumps(document, indent=1, default=_plain)
    members = {_JSON: text.encode()} | {f"{name}.npy": content for name, content in contents.items()} | student
    if sum(map(len, members.values())) > _MAX_TOTAL or len(text) > _MAX_JSON:
        raise ModelFileError(f"the model takes more than {_MAX_TOTAL >> 20} MB; limit the forest with max_depth")
    return members


def _describe(model: ClipClassifier, head: LinearHead | ForestHead) -> dict[str, Any]:
    """Return the contents of model.json, without the table of arrays."""
    embedder, parameters = model.embedder_, model.get_params(deep=False)
    expected = model.expected_fingerprint_
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "written_with": {"l3clf": __version__, "numpy": np.__version__, "scikit-learn": sklearn.__version__},
        "embedder": {
            **{name: getattr(embedder, name) for name in ("name", "options", *_EMBEDDER_FACTS)},
            "fingerprint": embedder.fingerprint if expected is None else expected,
        },
        "classifier": {
            **{name: parameters[name] for name in _CLASSIFIER if name != "head"},
            "head": _refittable(parameters),
        },
        "head": {"kind": head.kind, "n_features": head.n_features_in_, "silence_learned": model.silence_learned_},
        "classes": {"type": type(head.classes_[0].item()).__name__, "values": head.classes_.tolist()},
        "training_digest": model.training_digest_,
    }


def _refittable(parameters: Mapping[str, Any]) -> str | None:
    """Return the head's name if the name alone is enough to fit it again, otherwise None."""
    head, weight, seed = (parameters[name] for name in ("head", "class_weight", "random_state"))
    return head if isinstance(head, str) and weight is None and isinstance(seed, int) and seed == 0 else None


def _plain(value: Any) -> Any:
    """Convert NumPy scalars; json calls this for types that it does not know."""
    if isinstance(value, np.generic):
        return value.item()
    raise ModelFileError(
        f"{value!r} cannot be written to JSON; use plain numbers and strings in the embedder's options"
    )


def _npy(array: npt.NDArray[Any]) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False)
    return file.getvalue()


def _entry(array: npt.NDArray[Any], content: bytes) -> dict[str, Any]:
    digest = hashlib.sha256(content).hexdigest()
    return {"dtype": array.dtype.str, "shape": list(array.shape), "sha256": digest}


# --- schema of model.json -------------------------------------------------------------------------


@dataclass(frozen=True)
class _Rule:
    """Which values are allowed, in words and as a test."""

    expected: str
    holds: Callable[[Any], bool]


def _text(pattern: str = r"(?s).{1,200}") -> _Rule:
    return _Rule(f"a string like {pattern}", lambda value: type(value) is str and bool(re.fullmatch(pattern, value)))


def _one_of(*values: Any) -> _Rule:
    known = f"one of {', '.join(map(repr, values))}"
    # Types are compared too: True == 1 and 1.0 == 1 in Python.
    return _Rule(known, lambda value: any(type(value) is type(one) and value == one for one in values))


def _integer(low: int, high: int) -> _Rule:
    return _Rule(f"an integer in {low}..{high}", lambda value: type(value) is int and low <= value <= high)


def _number(low: float, high: float) -> _Rule:
    return _Rule(f"a number in {low:g}..{high:g}", lambda value: type(value) in (int, float) and low <= value <= high)


def _optional(rule: _Rule) -> _Rule:
    return _Rule(f"null or {rule.expected}", lambda value: value is None or rule.holds(value))


_OBJECT = _Rule("an object", lambda value: type(value) is dict)
_LIST = _Rule("a list", lambda value: type(value) is list)
_HEX64 = _text("[0-9a-f]{64}")

_DOCUMENT = {
    "format": _one_of(FORMAT),
    "format_version": _integer(1, FORMAT_VERSION),
    "written_with": _OBJECT,
    "embedder": _OBJECT,
    "classifier": _OBJECT,
    "head": _OBJECT,
    "classes": _OBJECT,
    "training_digest": _text("[0-9a-f]{8,128}"),
    "arrays": _OBJECT,
}
_EMBEDDER_FACTS = {
    "embedding_size": _integer(1, 1 << 20),
    "sample_rate": _integer(1, 1_000_000),
    "window_s": _number(1e-3, 3600),
}
_EMBEDDER = {"name": _text(), "options": _OBJECT, "fingerprint": _text(), **_EMBEDDER_FACTS}
_CLASSIFIER = {
    "hop_s": _number(1e-6, 3600),
    "center": _one_of(True, False),
    "pooling": _one_of(*POOLINGS),
    "sample_rate": _optional(_integer(1, 1_000_000)),
    "unknown_threshold": _optional(_number(0, 1)),
    "gate_dbfs": _optional(_number(-200, 0)),
    "full_scale": _optional(_number(1e-30, 1e30)),
    "head": _optional(_one_of(*HEAD_NAMES)),
}
_HEAD = {
    "kind": _one_of(*_HEADS),
    "n_features": _integer(1, 1 << 21),
    "silence_learned": _optional(_one_of(True, False)),
}
_SINCE_VERSION_2 = {"full_scale", "silence_learned"}  # files of version 1 lack them, which means null
_CLASSES = {"type": _one_of(*_CLASS_TYPES), "values": _LIST}
_ARRAY = {"dtype": _text("<[if][48]"), "shape": _LIST, "sha256": _HEX64}
_STUDENT_MEMBER = {"bytes": _integer(1, max(STUDENT_MEMBERS.values())), "sha256": _HEX64}
_OPTION = _Rule(
    f"null, a boolean, a number or a string of at most {_MAX_OPTION} characters",
    lambda value: (
        value is None or type(value) in (bool, int, float) or (type(value) is str and len(value) <= _MAX_OPTION)
    ),
)


def _section(where: str, value: Any, rules: Mapping[str, _Rule]) -> dict[str, Any]:
    """Return `value` if it is an object with exactly the fields of `rules`, each following its rule.

    Fields that files of version 1 lack may be missing, and are then None.
    """
    if type(value) is not dict:
        raise _wrong(where, value, "an object")
    fields: dict[str, Any] = {**dict.fromkeys(_SINCE_VERSION_2 & rules.keys()), **value}
    for name in [*rules, *fields]:
        if name not in fields or name not in rules:
            found = "has no" if name in rules else "has an unknown"
            raise ModelFileError(f"{where} {found} field {name[:80]!r}; {_ADVICE}")
    for name, rule in rules.items():
        if not rule.holds(fields[name]):
            raise _wrong(f"{where} field {name!r}", fields[name], rule.expected)
    return fields


def _wrong(where: str, found: Any, expected: str) -> ModelFileError:
    return ModelFileError(f"{where} is {repr(found)[:80]}, expected {expected}; {_ADVICE}")


def _document(text: bytes) -> dict[str, Any]:
    """Parse model.json."""
    try:
        document = read_json(text)
    except ValueError as error:
        raise ModelFileError(f"{_JSON} is not valid JSON ({str(error)[:120]}); {_ADVICE}") from error
    rules = _DOCUMENT
    if type(document) is dict and document.get("format") == FORMAT:
        version = document.get("format_version")  # before the rest, which a newer version may have changed
        if type(version) is int and version > FORMAT_VERSION:
            raise ModelFileError(
                f"format version {version}, but this l3clf reads up to {FORMAT_VERSION}; upgrade l3clf"
            )
        if version == FORMAT_VERSION and "student" in document:
            rules = {**_DOCUMENT, "student": _OBJECT}
    return _section(_JSON, document, rules)


# --- reading --------------------------------------------------------------------------------------


def _rebuild(members: Mapping[str, bytes], weights: str | os.PathLike[str] | None) -> ClipClassifier:
    """Build the classifier that `members` describe, checking everything."""
    if _JSON not in members:
        raise ModelFileError(f"not a model file (it has no {_JSON}); give a file written by l3clf.save_model")
    document = _document(members[_JSON])
    for name in sorted(_announced(document).keys() - members.keys()):
        raise ModelFileError(f"member {name!r} is missing from a model that announces it; {_ADVICE}")
    settings, description = document["classifier"], document["embedder"]
    head = _head(document, members)
    _check_width(head, description["embedding_size"], settings["pooling"])
    student = carried_student(members, document["student"]) if "student" in document else None
    embedder = _embedder(description, weights if student is None else student)
    if student is not None:
        check_fingerprint(embedder, description["fingerprint"])
        embedder = embedder if weights is None else _embedder(description, weights)
    _check_hop(embedder, settings)

    model = ClipClassifier(embedder=embedder, **{**settings, "head": settings["head"] or head})
    model.head_ = head
    model.classes_ = head.classes_
    model.embedder_ = embedder
    model.training_digest_ = document["training_digest"]
    model.expected_fingerprint_ = description["fingerprint"]
    model.silence_learned_ = _section("head", document["head"], _HEAD)["silence_learned"]
    return model


def _announced(document: Mapping[str, Any]) -> dict[str, int]:
    """Return the members that model.json describes and the bytes to which each may unpack, checking what it says.

    Nothing else is unpacked before: shapes that do not fit each other or the classes cost no memory.
    """
    _section("classifier", document["classifier"], _CLASSIFIER)
    _section("embedder", document["embedder"], _EMBEDDER)
    facts = _section("head", document["head"], _HEAD)
    classes = _section("classes", document["classes"], _CLASSES)
    kind = _HEADS[facts["kind"]]
    table = _section("arrays", document["arrays"], dict.fromkeys(kind.members, _OBJECT))
    described = {name: _array_facts(name, table[name]) for name in kind.members}
    kind.check_shapes(described, len(classes["values"]), facts["n_features"])
    data = {name: dtype.itemsize * math.prod(shape) for name, (dtype, shape) in described.items()}
    sizes = {f"{name}.npy": _MAX_NPY_HEADER + size for name, size in data.items()}
    if "student" in document:
        for name, entry in _section("student", document["student"], dict.fromkeys(STUDENT_MEMBERS, _OBJECT)).items():
            sizes[name] = _section(f"student entry of {name}", entry, _STUDENT_MEMBER)["bytes"]
    return sizes


def _array_facts(name: str, entry: Any) -> ArrayFacts:
    facts = _section(f"arrays entry of {name}.npy", entry, _ARRAY)
    return ArrayFacts(np.dtype(facts["dtype"]), _shape(f"{name}.npy", facts["shape"]))


def _check_width(head: LinearHead | ForestHead, embedding_size: int, pooling: str) -> None:
    expected = embedding_size * _WIDTH.get(pooling, 1)
    if head.n_features_in_ != expected:
        raise ModelFileError(
            f"the head takes {head.n_features_in_} numbers, but embeddings of size {embedding_size} pooled by "
            f"{pooling!r} have {expected}; {_ADVICE}"
        )


def _embedder(description: Mapping[str, Any], weights: Any) -> Embedder:
    """Build the embedder without reading its weights."""
    name, options = description["name"], description["options"]
    # Weights are a path on another machine: they come from the caller of load_model.
    _section("embedder options", options, dict.fromkeys(options.keys() - {"weights"}, _OPTION))
    if name not in embedder_names():  # load_embedder would take another name for a path
        known = ", ".join(embedder_names())
        raise ModelFileError(f"embedder {name!r} is not one of {known}; add it with register_embedder")
    places = {} if weights is None else {"weights": weights}
    try:
        embedder = described_embedder(name, options, **places)
        facts = {fact: getattr(embedder, fact) for fact in ("name", "options", *_EMBEDDER_FACTS)}
    except (L3clfError, TypeError, ValueError) as error:
        raise ModelFileError(f"embedder {name!r} cannot be built here ({error})") from error
    for fact, value in facts.items():
        if description[fact] != value:
            raise _wrong(f"embedder field {fact!r}", description[fact], f"{value!r}, as in this l3clf's {name!r}")
    return embedder


def _check_hop(embedder: Embedder, settings: Mapping[str, Any]) -> None:
    try:
        embedder.framing(settings["hop_s"], settings["center"])
    except ParameterError as error:
        raise ModelFileError(f"classifier field 'hop_s' cannot be used ({error}); {_ADVICE}") from error


def _head(document: Mapping[str, Any], members: Mapping[str, bytes]) -> LinearHead | ForestHead:
    """Build the head from its arrays."""
    facts, table = document["head"], document["arrays"]
    kind = _HEADS[facts["kind"]]
    arrays = {name: _array(f"{name}.npy", members[f"{name}.npy"], table[name]) for name in kind.members}
    return kind.from_arrays(arrays, _class_labels(document["classes"]), facts["n_features"])


def _class_labels(classes: Mapping[str, Any]) -> list[Any]:
    kind = _CLASS_TYPES[classes["type"]]
    for label in classes["values"]:
        if type(label) is not kind:
            raise _wrong("a class", label, f"of type {classes['type']}")
    return list(classes["values"])


def _array(member: str, content: bytes, facts: Mapping[str, Any]) -> npt.NDArray[Any]:
    """Return the array in a .npy member, whose header must be exactly the one that `facts` imply."""
    if hashlib.sha256(content).hexdigest() != facts["sha256"]:
        # Tells a damaged copy from a file that was never valid.
        raise ModelFileError(f"{member} does not match its SHA-256 in {_JSON}; {_ADVICE}")
    shape = tuple(facts["shape"])
    # The header is Python source: it is compared with the only valid text, and never parsed.
    expected = f"{{'descr': {facts['dtype']!r}, 'fortran_order': False, 'shape': {shape!r}, }}"
    start = 10 + int.from_bytes(content[8:10], "little")  # magic string and version, then the header's length
    header = content[10:start].decode("latin-1").strip()
    if not content.startswith(_NPY_START) or header != expected:
        raise _wrong(f"the header of {member}", header, f"{expected} in .npy format 1.0")
    dtype = np.dtype(facts["dtype"])
    if len(content) - start != math.prod(shape) * dtype.itemsize:
        raise ModelFileError(f"{member} holds {len(content) - start} bytes of data, not {dtype} {shape}; {_ADVICE}")
    return np.frombuffer(content, dtype, offset=start).reshape(shape)


def _shape(member: str, sizes: list[Any]) -> tuple[int, ...]:
    """Return a shape of one or two dimensions."""
    rule = _integer(1, _MAX_TOTAL)
    if not 1 <= len(sizes) <= 2 or not all(map(rule.holds, sizes)):
        raise _wrong(f"the shape of {member}", sizes, f"one or two of {rule.expected}")
    return tuple(sizes)
