"""Save and load a fitted classifier or tagger without pickle.

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
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import sklearn

from l3clf._version import __version__
from l3clf.classifier.estimators import ClipClassifier
from l3clf.classifier.frozen_heads import ArrayFacts, FrozenHead, checked_classes
from l3clf.classifier.heads import MAX_STORED_BYTES, freeze_head
from l3clf.classifier.model_schema import (
    ADVICE,
    ARRAY,
    CLASS_TYPES,
    CLASSES,
    CLASSIFIER,
    EMBEDDER,
    EMBEDDER_FACTS,
    FORMAT,
    FORMAT_VERSION,
    FORMAT_WITHOUT_KIND,
    FORMAT_WITHOUT_SECTIONS,
    HEAD,
    HEADS,
    JSON,
    OBJECT,
    OPTION,
    STUDENT_MEMBER,
    TAGGER,
    checked_section,
    integer,
    parsed_document,
    wrong_value,
)
from l3clf.classifier.model_sections import (
    MEMBERS,
    check_array_facts,
    checked_sections,
    describe_sections,
    n_rows,
    restore_arrays,
    restore_sections,
    section_arrays,
)
from l3clf.classifier.model_student import carried_student, check_fingerprint, describe_student, student_members
from l3clf.classifier.tag_heads import freeze_tag_head
from l3clf.classifier.tagger import ClipTagger
from l3clf.embedders import STUDENT_MEMBERS, Embedder, described_embedder, embedder_names
from l3clf.embedders.filtered import Filtered, unfiltered
from l3clf.errors import L3clfError, ModelFileError, ParameterError
from l3clf.storage.outputs import Kind, check_kind, zip_member_begins
from l3clf.storage.safezip import read_zip, write_zip

__all__ = ["MODEL", "load_model", "save_model", "written_with"]

MODEL: Final = Kind("a model file", zip_member_begins(JSON, json.dumps(FORMAT).encode()))
_MAX_JSON = 4 << 20  # room for tens of thousands of classes
_MAX_TOTAL = MAX_STORED_BYTES
_LIMITS = {JSON: _MAX_JSON}
_LIMITS |= {f"{name}.npy": _MAX_TOTAL for heads in HEADS.values() for head in heads.values() for name in head.members}
_LIMITS |= dict.fromkeys((f"{name}.npy" for name in MEMBERS), _MAX_TOTAL)
_LIMITS |= STUDENT_MEMBERS
_NPY_START = b"\x93NUMPY\x01\x00"  # magic string and version 1.0
_MAX_NPY_HEADER = 10 + 0xFFFF  # bytes: magic string, version and length, and the longest that the length can say
_WIDTH = {"mean+std": 2}  # width of the head's input in embeddings; 1 for all other poolings


def save_model(model: ClipClassifier | ClipTagger, path: str | os.PathLike[str], *, force: bool = False) -> Path:
    """Save a fitted classifier or tagger.

    The same model gives the same bytes. An existing model file is replaced once the new one is complete.

    Parameters
    ----------
    model : ClipClassifier or ClipTagger
        Fitted, with a head that `l3clf.classifier.heads.freeze_head`, or for a tagger
        `l3clf.classifier.tag_heads.freeze_tag_head`, accepts.
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
        _rebuild(members, getattr(unfiltered(model.embedder_), "weights", None))
    write_zip(target, members)
    return target


def load_model(
    path: str | os.PathLike[str], weights: str | os.PathLike[str] | None = None
) -> ClipClassifier | ClipTagger:
    """Load a classifier or tagger that `save_model` wrote.

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
    ClipClassifier or ClipTagger
        Fitted; a tagger where one was saved. It refuses to predict with weights other than those it was fitted with.

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
            return _announced(parsed_document(document))

    return read_zip(source, _LIMITS, _MAX_TOTAL, first=(JSON, announced))


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
    found = parsed_document(_read(Path(path))[JSON])["written_with"]
    return {str(name)[:40]: str(version)[:40] for name, version in list(found.items())[:10]}


# --- writing --------------------------------------------------------------------------------------


def _members(model: ClipClassifier | ClipTagger) -> dict[str, bytes]:
    """Return the members of the file of `model`."""
    if not isinstance(model, ClipClassifier | ClipTagger):
        raise ModelFileError(f"a {type(model).__name__} cannot be saved; give a fitted ClipClassifier or ClipTagger")
    if not hasattr(model, "head_"):
        raise ModelFileError(f"the {type(model).__name__} is not fitted; call fit before saving")
    is_tagger = isinstance(model, ClipTagger)
    head = freeze_tag_head(model.head_, model.classes_) if is_tagger else freeze_head(model.head_)
    arrays = head.arrays() | section_arrays(model)
    contents = {name: _npy(array) for name, array in arrays.items()}
    document = _describe(model, head)
    if sections := describe_sections(model):
        document.update(format_version=FORMAT_WITHOUT_KIND, **sections)
    if is_tagger:
        document.update(format_version=FORMAT_VERSION, kind=TAGGER)
    student = student_members(model.embedder_, document["embedder"]["fingerprint"])
    if student:
        document["student"] = describe_student(student)
    document["arrays"] = {name: _entry(array, contents[name]) for name, array in arrays.items()}
    text = json.dumps(document, indent=1, default=_plain)
    members = {JSON: text.encode()} | {f"{name}.npy": content for name, content in contents.items()} | student
    if sum(map(len, members.values())) > _MAX_TOTAL or len(text) > _MAX_JSON:
        raise ModelFileError(f"the model takes more than {_MAX_TOTAL >> 20} MB; limit the forest with max_depth")
    return members


def _describe(model: ClipClassifier | ClipTagger, head: FrozenHead) -> dict[str, Any]:
    """Return the contents of model.json, without the table of arrays."""
    embedder, parameters = model.embedder_, model.get_params(deep=False)
    expected, described = model.expected_fingerprint_, unfiltered(embedder)  # what filters it is a section
    return {
        "format": FORMAT,
        "format_version": FORMAT_WITHOUT_SECTIONS,
        "written_with": {"l3clf": __version__, "numpy": np.__version__, "scikit-learn": sklearn.__version__},
        "embedder": {
            **{name: getattr(described, name) for name in ("name", "options", *EMBEDDER_FACTS)},
            "fingerprint": embedder.fingerprint if expected is None else expected,
        },
        "classifier": {
            **{name: parameters.get(name) for name in CLASSIFIER if name != "head"},  # a tagger has one less
            "gate_dbfs": model.gate_in_force()[0],
            "head": _refittable(parameters),
        },
        "head": {"kind": head.kind, "n_features": head.n_features_in_, "silence_learned": model.silence_learned_},
        "classes": _describe_classes(checked_classes(list(model.classes_))),
        "training_digest": model.training_digest_,
    }


def _describe_classes(classes: npt.NDArray[Any]) -> dict[str, Any]:
    return {"type": type(classes[0].item()).__name__, "values": classes.tolist()}


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


# --- reading --------------------------------------------------------------------------------------


def _rebuild(members: Mapping[str, bytes], weights: str | os.PathLike[str] | None) -> ClipClassifier | ClipTagger:
    """Build the model that `members` describe, checking everything."""
    if JSON not in members:
        raise ModelFileError(f"not a model file (it has no {JSON}); give a file written by l3clf.save_model")
    document = parsed_document(members[JSON])
    for name in sorted(_announced(document).keys() - members.keys()):
        raise ModelFileError(f"member {name!r} is missing from a model that announces it; {ADVICE}")
    settings, description = document["classifier"], document["embedder"]
    labels = checked_classes(_class_labels(document["classes"]))
    head = _head(document, members, labels)
    _check_width(head, description["embedding_size"], settings["pooling"])
    student = carried_student(members, document["student"]) if "student" in document else None
    embedder = _embedder(document, weights if student is None else student)
    if student is not None:
        check_fingerprint(embedder, description["fingerprint"])
        embedder = embedder if weights is None else _embedder(document, weights)
    _check_hop(embedder, settings)

    model = _unfitted(document, embedder=embedder, **{**settings, "head": settings["head"] or head})
    model.head_ = head
    model.classes_ = head.classes_ if len(head.classes_) == len(labels) else labels
    model.embedder_ = embedder
    model.training_digest_ = document["training_digest"]
    model.expected_fingerprint_ = description["fingerprint"]
    model.silence_learned_ = checked_section("head", document["head"], HEAD)["silence_learned"]
    model.gate_dbfs_, model.gate_hysteresis_db_ = settings["gate_dbfs"], 0.0
    more = {
        name: _array(f"{name}.npy", members[f"{name}.npy"], document["arrays"][name])
        for name in _more_members(document)
    }
    restore_arrays(model, more)
    restore_sections(model, checked_sections(document, len(labels)))
    return model


def _unfitted(document: Mapping[str, Any], **settings: Any) -> ClipClassifier | ClipTagger:
    if "kind" not in document:
        return ClipClassifier(**settings)
    return ClipTagger(**{name: value for name, value in settings.items() if name != "unknown_threshold"})


def _kind_of_head(document: Mapping[str, Any]) -> type[FrozenHead]:
    """Return the class of the head of a document whose section "head" is checked."""
    found, heads = document["head"]["kind"], HEADS[document.get("kind")]
    if found not in heads:
        raise wrong_value("head field 'kind'", found, f"one of {', '.join(map(repr, heads))} for this kind of model")
    return heads[found]


def _announced(document: Mapping[str, Any]) -> dict[str, int]:
    """Return the members that model.json describes and the bytes to which each may unpack, checking what it says.

    Nothing else is unpacked before: shapes that do not fit each other or the classes cost no memory.
    """
    checked_section("classifier", document["classifier"], CLASSIFIER)
    checked_section("embedder", document["embedder"], EMBEDDER)
    facts = checked_section("head", document["head"], HEAD)
    classes = checked_section("classes", document["classes"], CLASSES)
    kind = _kind_of_head(document)
    n_classes = len(classes["values"])
    sections = checked_sections(document, n_classes)
    more = _more_members(document)
    table = checked_section("arrays", document["arrays"], dict.fromkeys((*kind.members, *more), OBJECT))
    described = {name: _array_facts(name, table[name]) for name in kind.members}
    kind.check_shapes(described, n_rows(sections, n_classes), facts["n_features"])
    beside = {name: _array_facts(name, table[name]) for name in more}
    if beside:
        check_array_facts(beside, n_classes, facts["n_features"])
    described |= beside
    data = {name: dtype.itemsize * math.prod(shape) for name, (dtype, shape) in described.items()}
    sizes = {f"{name}.npy": _MAX_NPY_HEADER + size for name, size in data.items()}
    if "student" in document:
        for name, entry in checked_section(
            "student", document["student"], dict.fromkeys(STUDENT_MEMBERS, OBJECT)
        ).items():
            sizes[name] = checked_section(f"student entry of {name}", entry, STUDENT_MEMBER)["bytes"]
    return sizes


def _more_members(document: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the arrays beside those of the head, of a document whose sections are checked."""
    return MEMBERS if "unknown" in document and document["unknown"]["distances"] else ()


def _array_facts(name: str, entry: Any) -> ArrayFacts:
    facts = checked_section(f"arrays entry of {name}.npy", entry, ARRAY)
    return ArrayFacts(np.dtype(facts["dtype"]), _shape(f"{name}.npy", facts["shape"]))


def _check_width(head: FrozenHead, embedding_size: int, pooling: str) -> None:
    expected = embedding_size * _WIDTH.get(pooling, 1)
    if head.n_features_in_ != expected:
        raise ModelFileError(
            f"the head takes {head.n_features_in_} numbers, but embeddings of size {embedding_size} pooled by "
            f"{pooling!r} have {expected}; {ADVICE}"
        )


def _embedder(document: Mapping[str, Any], weights: Any) -> Embedder:
    """Build the embedder, with its filters, without reading its weights."""
    description = document["embedder"]
    name, options = description["name"], description["options"]
    # Weights are a path on another machine: they come from the caller of load_model.
    checked_section("embedder options", options, dict.fromkeys(options.keys() - {"weights"}, OPTION))
    if name not in embedder_names():  # load_embedder would take another name for a path
        known = ", ".join(embedder_names())
        raise ModelFileError(f"embedder {name!r} is not one of {known}; add it with register_embedder")
    places = {} if weights is None else {"weights": weights}
    try:
        embedder = described_embedder(name, options, **places)
        facts = {fact: getattr(embedder, fact) for fact in ("name", "options", *EMBEDDER_FACTS)}
    except (L3clfError, TypeError, ValueError) as error:
        raise ModelFileError(f"embedder {name!r} cannot be built here ({error})") from error
    for fact, value in facts.items():
        if description[fact] != value:
            raise wrong_value(f"embedder field {fact!r}", description[fact], f"{value!r}, as in this l3clf's {name!r}")
    try:
        return Filtered(embedder, **document["filters"]) if "filters" in document else embedder
    except ParameterError as error:
        raise ModelFileError(f"filters: {error}; {ADVICE}") from error


def _check_hop(embedder: Embedder, settings: Mapping[str, Any]) -> None:
    try:
        embedder.framing(settings["hop_s"], settings["center"])
    except ParameterError as error:
        raise ModelFileError(f"classifier field 'hop_s' cannot be used ({error}); {ADVICE}") from error


def _head(document: Mapping[str, Any], members: Mapping[str, bytes], labels: npt.NDArray[Any]) -> FrozenHead:
    """Build the head from its arrays; with a background, its classes are numbers."""
    facts, table = document["head"], document["arrays"]
    kind = _kind_of_head(document)
    arrays = {name: _array(f"{name}.npy", members[f"{name}.npy"], table[name]) for name in kind.members}
    rows = n_rows(document, len(labels))
    return kind.from_arrays(arrays, labels if rows == len(labels) else range(rows), facts["n_features"])


def _class_labels(classes: Mapping[str, Any]) -> list[Any]:
    kind = CLASS_TYPES[classes["type"]]
    for label in classes["values"]:
        if type(label) is not kind:
            raise wrong_value("a class", label, f"of type {classes['type']}")
    return list(classes["values"])


def _array(member: str, content: bytes, facts: Mapping[str, Any]) -> npt.NDArray[Any]:
    """Return the array in a .npy member, whose header must be exactly the one that `facts` imply."""
    if hashlib.sha256(content).hexdigest() != facts["sha256"]:
        # Tells a damaged copy from a file that was never valid.
        raise ModelFileError(f"{member} does not match its SHA-256 in {JSON}; {ADVICE}")
    shape = tuple(facts["shape"])
    # The header is Python source: it is compared with the only valid text, and never parsed.
    expected = f"{{'descr': {facts['dtype']!r}, 'fortran_order': False, 'shape': {shape!r}, }}"
    start = 10 + int.from_bytes(content[8:10], "little")  # magic string and version, then the header's length
    header = content[10:start].decode("latin-1").strip()
    if not content.startswith(_NPY_START) or header != expected:
        raise wrong_value(f"the header of {member}", header, f"{expected} in .npy format 1.0")
    dtype = np.dtype(facts["dtype"])
    if len(content) - start != math.prod(shape) * dtype.itemsize:
        raise ModelFileError(f"{member} holds {len(content) - start} bytes of data, not {dtype} {shape}; {ADVICE}")
    return np.frombuffer(content, dtype, offset=start).reshape(shape)


def _shape(member: str, sizes: list[Any]) -> tuple[int, ...]:
    """Return a shape of one or two dimensions."""
    rule = integer(1, _MAX_TOTAL)
    if not 1 <= len(sizes) <= 2 or not all(map(rule.holds, sizes)):
        raise wrong_value(f"the shape of {member}", sizes, f"one or two of {rule.expected}")
    return tuple(sizes)
