"""What model.json of a model file may say, and how that is checked.

Rule: a section has exactly the fields named here, each of its type and in its range; nothing is used before.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from l3clf.audio.augmentation import RANGES
from l3clf.audio.clip_augmentation import CHANGES, MAX_COPIES
from l3clf.classifier.decision import POOLINGS
from l3clf.classifier.frozen_heads import FrozenHead
from l3clf.classifier.frozen_tag_heads import SigmoidHead, TagForestHead
from l3clf.classifier.heads import HEAD_NAMES, ForestHead, LinearHead
from l3clf.embedders import STUDENT_MEMBERS
from l3clf.errors import ModelFileError
from l3clf.storage.safejson import read_json

__all__ = [
    "ADVICE",
    "ARRAY",
    "CLASSES",
    "CLASSIFIER",
    "CLASS_TYPES",
    "EMBEDDER",
    "EMBEDDER_FACTS",
    "FORMAT",
    "FORMAT_VERSION",
    "FORMAT_WITHOUT_KIND",
    "FORMAT_WITHOUT_SECTIONS",
    "HEAD",
    "HEADS",
    "JSON",
    "OBJECT",
    "OPTION",
    "OPTIONAL_FIELDS",
    "SECTIONS",
    "STUDENT_MEMBER",
    "TAGGER",
    "checked_section",
    "integer",
    "number",
    "parsed_document",
    "wrong_value",
]

FORMAT: Final = "l3clf model"
FORMAT_VERSION: Final = 4  # increased with every change to the contents of model.json or the arrays
FORMAT_WITHOUT_SECTIONS: Final = 2
"""What a model without optional sections is written as, so that earlier versions of l3clf read it too."""
FORMAT_WITHOUT_KIND: Final = 3
"""What a classifier with optional sections is written as, for the same reason."""
TAGGER: Final = "tagger"
"""The kind of a model of several labels; a classifier names no kind."""
JSON = "model.json"
HEADS: Mapping[str | None, Mapping[str, type[FrozenHead]]] = {
    None: {head.kind: head for head in (LinearHead, ForestHead)},
    TAGGER: {head.kind: head for head in (SigmoidHead, TagForestHead)},
}
"""The heads of each kind of model."""
CLASS_TYPES: Mapping[str, type] = {"str": str, "int": int, "float": float, "bool": bool}
_MAX_OPTION = 1000
ADVICE = "save or copy the model again"


@dataclass(frozen=True)
class Rule:
    """Which values are allowed, in words and as a test."""

    expected: str
    holds: Callable[[Any], bool]


def _text(pattern: str = r"(?s).{1,200}") -> Rule:
    return Rule(f"a string like {pattern}", lambda value: type(value) is str and bool(re.fullmatch(pattern, value)))


def _one_of(*values: Any) -> Rule:
    known = f"one of {', '.join(map(repr, values))}"
    # Types are compared too: True == 1 and 1.0 == 1 in Python.
    return Rule(known, lambda value: any(type(value) is type(one) and value == one for one in values))


def integer(low: int, high: int) -> Rule:
    """Return the rule of an integer from `low` to `high`."""
    return Rule(f"an integer in {low}..{high}", lambda value: type(value) is int and low <= value <= high)


def number(low: float, high: float) -> Rule:
    """Return the rule of a number from `low` to `high`."""
    return Rule(f"a number in {low:g}..{high:g}", lambda value: type(value) in (int, float) and low <= value <= high)


def _optional(rule: Rule) -> Rule:
    return Rule(f"null or {rule.expected}", lambda value: value is None or rule.holds(value))


OBJECT = Rule("an object", lambda value: type(value) is dict)
_LIST = Rule("a list", lambda value: type(value) is list)
_HEX64 = _text("[0-9a-f]{64}")

DOCUMENT = {
    "format": _one_of(FORMAT),
    "format_version": integer(1, FORMAT_VERSION),
    "written_with": OBJECT,
    "embedder": OBJECT,
    "classifier": OBJECT,
    "head": OBJECT,
    "classes": OBJECT,
    "training_digest": _text("[0-9a-f]{8,128}"),
    "arrays": OBJECT,
}
EMBEDDER_FACTS = {
    "embedding_size": integer(1, 1 << 20),
    "sample_rate": integer(1, 1_000_000),
    "window_s": number(1e-3, 3600),
}
EMBEDDER = {"name": _text(), "options": OBJECT, "fingerprint": _text(), **EMBEDDER_FACTS}
CLASSIFIER = {
    "hop_s": number(1e-6, 3600),
    "center": _one_of(True, False),
    "pooling": _one_of(*POOLINGS),
    "sample_rate": _optional(integer(1, 1_000_000)),
    "unknown_threshold": _optional(number(0, 1)),
    "gate_dbfs": _optional(number(-200, 0)),
    "full_scale": _optional(number(1e-30, 1e30)),
    "head": _optional(_one_of(*HEAD_NAMES)),
}
HEAD = {
    "kind": _one_of(*(name for heads in HEADS.values() for name in heads)),
    "n_features": integer(1, 1 << 21),
    "silence_learned": _optional(_one_of(True, False)),
}
_SINCE_VERSION_2 = {"full_scale", "silence_learned"}  # files of version 1 lack them, which means null
CLASSES = {"type": _one_of(*CLASS_TYPES), "values": _LIST}
ARRAY = {"dtype": _text("<[if][48]"), "shape": _LIST, "sha256": _HEX64}
SECTIONS = {
    "unknown": {
        "parameter": _one_of(None, "auto", "given"),
        "background": _one_of(None, "", "bank"),
        "weight": number(1e-6, 1000),
        "accept": number(0, 1),
        "per_class": _one_of(True, False),
        "background_row": _one_of(True, False),
        "distances": _one_of(True, False),
        "thresholds": _LIST,
        "intervals": _LIST,
        "temperature": number(1e-3, 1e3),
    },
    "filters": {"band_hz": _optional(_LIST), "denoise": _one_of(None, "stationary")},
    "gate": {"learned": _one_of(True, False), "hysteresis_db": number(0, 100)},
    "events": {
        "enter": number(1e-9, 1),
        "leave": _optional(number(1e-9, 1)),
        "median_s": number(0, 1e9),
        "min_duration_s": number(0, 1e9),
        "min_gap_s": number(0, 1e9),
    },
    "augment": {
        "copies": integer(1, MAX_COPIES),
        "colour_db": number(0, 1e9),
        **dict.fromkeys(RANGES, _LIST),
        **dict.fromkeys((f"p_{change}" for change in CHANGES), number(0, 1)),
    },
    "tags": {"learned": _one_of(True, False), "thresholds": _LIST},
}
"""Optional sections of files of version 3 and later."""
OPTIONAL_FIELDS = {"events": {"refractory_s": number(0, 1e9)}}
"""Fields of sections that are written only where they say something, so that earlier versions read the others."""
STUDENT_MEMBER = {"bytes": integer(1, max(STUDENT_MEMBERS.values())), "sha256": _HEX64}
OPTION = Rule(
    f"null, a boolean, a number or a string of at most {_MAX_OPTION} characters",
    lambda value: (
        value is None or type(value) in (bool, int, float) or (type(value) is str and len(value) <= _MAX_OPTION)
    ),
)


def checked_section(where: str, value: Any, rules: Mapping[str, Rule]) -> dict[str, Any]:
    """Return `value` if it is an object with exactly the fields of `rules`, each following its rule.

    Fields that files of version 1 lack may be missing, and are then None.
    """
    if type(value) is not dict:
        raise wrong_value(where, value, "an object")
    fields: dict[str, Any] = {**dict.fromkeys(_SINCE_VERSION_2 & rules.keys()), **value}
    for name in [*rules, *fields]:
        if name not in fields or name not in rules:
            found = "has no" if name in rules else "has an unknown"
            raise ModelFileError(f"{where} {found} field {name[:80]!r}; {ADVICE}")
    for name, rule in rules.items():
        if not rule.holds(fields[name]):
            raise wrong_value(f"{where} field {name!r}", fields[name], rule.expected)
    return fields


def wrong_value(where: str, found: Any, expected: str) -> ModelFileError:
    """Return the error for a value that breaks its rule."""
    return ModelFileError(f"{where} is {repr(found)[:80]}, expected {expected}; {ADVICE}")


def parsed_document(text: bytes) -> dict[str, Any]:
    """Parse model.json."""
    try:
        document = read_json(text)
    except ValueError as error:
        raise ModelFileError(f"{JSON} is not valid JSON ({str(error)[:120]}); {ADVICE}") from error
    rules = DOCUMENT
    if type(document) is dict and document.get("format") == FORMAT:
        version = document.get("format_version")  # before the rest, which a newer version may have changed
        if type(version) is int and version > FORMAT_VERSION:
            raise ModelFileError(
                f"format version {version}, but this l3clf reads up to {FORMAT_VERSION}; upgrade l3clf"
            )
        rules = {**DOCUMENT, **{name: rule for name, rule in _more_fields(version).items() if name in document}}
        if "kind" in rules and document["kind"] != TAGGER:
            found = repr(document["kind"])[:80]
            raise ModelFileError(f"a model of the kind {found}, which this l3clf does not know; upgrade l3clf")
    return checked_section(JSON, document, rules)


def _more_fields(version: Any) -> dict[str, Rule]:
    """Return the fields of model.json that are there only where a model needs them, in files of this version."""
    since = {2: ("student",), FORMAT_WITHOUT_KIND: SECTIONS, FORMAT_VERSION: ("kind",)}
    names = [name for first, names in since.items() for name in names if type(version) is int and version >= first]
    return dict.fromkeys(names, OBJECT) | ({"kind": _one_of(TAGGER)} if "kind" in names else {})
