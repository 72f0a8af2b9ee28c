"""The optional sections of model.json: what a model may have beside its head.

Rule: a section is written only where a model has something to say, is checked whole before anything of it is used, and
is given back by the function beside the one that wrote it. A model without sections has the file it always had.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from l3clf.audio.clip_augmentation import Augmentation
from l3clf.classifier.decision import TAG_POOLINGS
from l3clf.classifier.events import EventRules
from l3clf.classifier.frozen_heads import ArrayFacts
from l3clf.classifier.model_schema import (
    ADVICE,
    OPTIONAL_FIELDS,
    SECTIONS,
    TAGGER,
    checked_section,
    number,
    wrong_value,
)
from l3clf.classifier.tag_labels import check_label
from l3clf.classifier.tagger import ClipTagger
from l3clf.classifier.typicality import PREFIX, Typicality
from l3clf.classifier.unknown import BANK, FOLDER_OF_THE_FIT, Unknown
from l3clf.embedders.filtered import Filtered
from l3clf.errors import ModelFileError, ParameterError

__all__ = [
    "MEMBERS",
    "check_array_facts",
    "checked_sections",
    "describe_sections",
    "n_rows",
    "restore_arrays",
    "restore_sections",
    "section_arrays",
]

MEMBERS = tuple(PREFIX + name for name in Typicality.members)
"""Names of the arrays that a model may have beside those of its head."""


@dataclass(frozen=True)
class Section:
    """How one section is written and read.

    Attributes
    ----------
    describe : callable
        Returns the section of a fitted classifier, or None for no section.
    restore : callable
        Sets what a section says on a loaded classifier, whose other attributes are set.
    """

    describe: Callable[[Any], dict[str, Any] | None]
    restore: Callable[[Any, Mapping[str, Any]], None]


def describe_sections(model: Any) -> dict[str, dict[str, Any]]:
    """Return the sections of a fitted classifier, by name."""
    found = {name: section.describe(model) for name, section in _SECTIONS.items()}
    return {name: value for name, value in found.items() if value is not None}


def checked_sections(document: Mapping[str, Any], n_classes: int) -> dict[str, dict[str, Any]]:
    """Return the sections of model.json, by name, checked.

    Raises
    ------
    ModelFileError
        If one has other fields than it should, or a value out of range.
    """
    found = {name: _checked(name, document[name]) for name in SECTIONS if name in document}
    has_tags = "tags" in found
    if has_tags != (document.get("kind") == TAGGER) or (has_tags and {"unknown", "augment"} & found.keys()):
        expected = f"with 'tags' for a {TAGGER}, and only there, and without 'unknown' and 'augment' there"
        raise wrong_value("the list of sections", sorted(found), expected)
    if "tags" in found:
        _check_tags(found["tags"], document)
    if "unknown" in found:
        _check_unknown(found["unknown"], n_classes, document["classifier"]["pooling"])
    if "events" in found:
        _check_events(found["events"])
    if "augment" in found:
        _augmentation(found["augment"])
    if "filters" in found:
        _check_filters(found["filters"])
    return found


def _checked(name: str, section: Any) -> dict[str, Any]:
    there = section if type(section) is dict else {}
    optional = {field: rule for field, rule in OPTIONAL_FIELDS.get(name, {}).items() if field in there}
    return checked_section(name, section, SECTIONS[name] | optional)


def n_rows(document: Mapping[str, Any], n_classes: int) -> int:
    """Return how many rows the head of a checked document has: one for each class, and one for the background."""
    return n_classes + ("unknown" in document and document["unknown"]["background_row"])


def section_arrays(model: Any) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of a fitted classifier beside those of its head, by name: those of its distances, if any."""
    return {} if model.typicality_ is None else {PREFIX + k: v for k, v in model.typicality_.arrays().items()}


def check_array_facts(facts: Mapping[str, ArrayFacts], n_classes: int, size: int) -> None:
    """Check types and shapes of the arrays of distances, before they are read."""
    Typicality.check_facts({name.removeprefix(PREFIX): one for name, one in facts.items()}, n_classes, size)


def restore_arrays(model: Any, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Set what the arrays beside those of the head are on a loaded classifier."""
    plain = {name.removeprefix(PREFIX): one for name, one in arrays.items()}
    n_classes, size = len(model.classes_), model.head_.n_features_in_
    model.typicality_ = Typicality.from_arrays(plain, n_classes, size) if plain else None


def restore_sections(model: Any, sections: Mapping[str, Mapping[str, Any]]) -> None:
    """Set what the checked sections say on a loaded classifier."""
    for name, section in sections.items():
        _SECTIONS[name].restore(model, section)


# --- unknown --------------------------------------------------------------------------------------------


def _describe_unknown(model: Any) -> dict[str, Any] | None:
    threshold = model.unknown_threshold_
    if threshold is None:
        return None
    given = model.unknown
    unknown = given if isinstance(given, Unknown) else Unknown()
    intervals = np.asarray(model.unknown_threshold_interval_, np.float64)
    return {
        "parameter": "given" if isinstance(given, Unknown) else given,
        "background": _portable(unknown.background),
        "weight": unknown.weight,
        "accept": unknown.accept,
        "per_class": bool(unknown.per_class),
        "background_row": model.has_background_,
        "distances": model.typicality_ is not None,
        "thresholds": np.atleast_1d(threshold).tolist(),
        "intervals": [] if np.isnan(intervals).any() else intervals.ravel().tolist(),
        "temperature": model.temperature_,
    }


def _portable(background: Any) -> str | None:
    """Return a background as it may be known elsewhere: a folder of this machine is not named."""
    return background if background in (None, BANK) else FOLDER_OF_THE_FIT


def _check_unknown(section: Mapping[str, Any], n_classes: int, pooling: str) -> None:
    if not n_classes:  # the background alone would be a head
        raise wrong_value("classes field 'values'", [], "at least one label")
    if section["distances"] and pooling != "mean":  # they are of one row for each clip
        raise wrong_value("unknown field 'distances'", True, f"false with pooling {pooling!r}")
    share = number(0, 1)
    n = len(section["thresholds"])
    if n not in (1, n_classes) or not all(map(share.holds, section["thresholds"])):
        raise wrong_value("unknown field 'thresholds'", section["thresholds"], f"1 or {n_classes} numbers in 0..1")
    if len(section["intervals"]) not in (0, 2 * n) or not all(map(share.holds, section["intervals"])):
        raise wrong_value("unknown field 'intervals'", section["intervals"], f"none or {2 * n} numbers in 0..1")


def _restore_unknown(model: Any, section: Mapping[str, Any]) -> None:
    parameters = {name: section[name] for name in ("background", "weight", "accept", "per_class")}
    model.unknown = Unknown(**parameters) if section["parameter"] == "given" else section["parameter"]
    values = np.array(section["thresholds"], np.float64)
    intervals = np.array(section["intervals"] or [np.nan] * 2 * len(values), np.float64).reshape(-1, 2)
    single = len(values) == 1
    model.unknown_threshold_ = float(values[0]) if single else values
    model.unknown_threshold_interval_ = intervals[0] if single else intervals
    model.has_background_ = section["background_row"]
    model.temperature_ = float(section["temperature"])


# --- filters --------------------------------------------------------------------------------------------


def _describe_filters(model: Any) -> dict[str, Any] | None:
    embedder = model.embedder_
    return embedder.filters if isinstance(embedder, Filtered) and not embedder.is_plain else None


def _check_filters(section: Mapping[str, Any]) -> None:
    """Check that a band is two numbers, before a number of any size is made a float."""
    band, edge = section["band_hz"], number(0, 1e6)
    if band is not None and not (len(band) == 2 and all(map(edge.holds, band))):
        raise wrong_value("filters field 'band_hz'", band, f"null or a list of two of {edge.expected}")
    if band is None and section["denoise"] is None:
        raise wrong_value("filters", section, "at least one filter")


def _restore_filters(model: Any, section: Mapping[str, Any]) -> None:
    """Do nothing: the embedder was built with them."""


# --- gate -----------------------------------------------------------------------------------------------


def _describe_gate(model: Any) -> dict[str, Any] | None:
    learned, hysteresis_db = isinstance(model.gate_dbfs, str), model.gate_in_force()[1]
    return {"learned": learned, "hysteresis_db": hysteresis_db} if learned or hysteresis_db else None


def _restore_gate(model: Any, section: Mapping[str, Any]) -> None:
    """Set the hysteresis, and a learned gate as such; its level is `gate_dbfs` of the classifier's section."""
    model.gate_hysteresis_db_ = float(section["hysteresis_db"])
    if section["learned"]:
        model.gate_dbfs = "auto"
    else:
        model.gate_hysteresis_db = model.gate_hysteresis_db_


# --- events ---------------------------------------------------------------------------------------------


def _describe_events(model: Any) -> dict[str, Any] | None:
    """Return the rules that were tuned; the default ones are those of the l3clf that reads the file."""
    if model.event_rules_ is None:
        return None
    rules = model.event_rules_.get_params()
    left_out = () if rules["refractory_s"] else OPTIONAL_FIELDS["events"]
    return {name: None if value is None else float(value) for name, value in rules.items() if name not in left_out}


def _check_events(section: Mapping[str, Any]) -> None:
    try:
        EventRules(**section).check()
    except ParameterError as error:
        raise ModelFileError(f"events: {error}; {ADVICE}") from error


def _restore_events(model: Any, section: Mapping[str, Any]) -> None:
    model.event_rules_ = EventRules(**section)


# --- augmentation ---------------------------------------------------------------------------------------


def _describe_augment(model: Any) -> dict[str, Any] | None:
    if model.augment is None:
        return None
    values = {name: np.asarray(value).tolist() for name, value in asdict(model.augment).items()}
    return {name: value if name == "copies" else _floats(value) for name, value in values.items()}


def _floats(value: Any) -> Any:
    return list(map(float, value)) if isinstance(value, list) else float(value)


def _augmentation(section: Mapping[str, Any]) -> Augmentation:
    values: dict[str, Any] = {k: tuple(value) if isinstance(value, list) else value for k, value in section.items()}
    try:
        return Augmentation(**values)
    except ParameterError as error:
        raise ModelFileError(f"augment: {error}; {ADVICE}") from error


def _restore_augment(model: Any, section: Mapping[str, Any]) -> None:
    model.augment = _augmentation(section)


# --- tags -----------------------------------------------------------------------------------------------


def _describe_tags(model: Any) -> dict[str, Any] | None:
    if not isinstance(model, ClipTagger):
        return None
    return {"learned": model.threshold == "auto", "thresholds": model.thresholds_in_force().tolist()}


def _check_tags(section: Mapping[str, Any], document: Mapping[str, Any]) -> None:
    values, classes = section["thresholds"], document["classes"]["values"]
    share = number(0, 1)
    if len(values) != len(classes) or not all(map(share.holds, values)):
        raise wrong_value("tags field 'thresholds'", values, f"{len(classes)} numbers in 0..1")
    if not section["learned"] and len(set(values)) > 1:
        raise wrong_value("tags field 'thresholds'", values, "the same for all tags, since they were given")
    settings = document["classifier"]
    if settings["pooling"] not in TAG_POOLINGS or settings["unknown_threshold"] is not None:
        found = {name: settings[name] for name in ("pooling", "unknown_threshold")}
        raise wrong_value("classifier", found, f"of a {TAGGER}: a pooling other than 'vote', and no unknown_threshold")
    for label in classes:
        try:
            check_label(label, "classes field 'values'")
        except ParameterError as error:
            raise ModelFileError(f"{error}; {ADVICE}") from error


def _restore_tags(model: Any, section: Mapping[str, Any]) -> None:
    model.thresholds_ = np.array(section["thresholds"], np.float64)
    model.threshold = "auto" if section["learned"] else float(model.thresholds_[0])


_SECTIONS: Mapping[str, Section] = {
    "unknown": Section(_describe_unknown, _restore_unknown),
    "filters": Section(_describe_filters, _restore_filters),
    "gate": Section(_describe_gate, _restore_gate),
    "events": Section(_describe_events, _restore_events),
    "augment": Section(_describe_augment, _restore_augment),
    "tags": Section(_describe_tags, _restore_tags),
}
