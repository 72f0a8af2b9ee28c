"""Events of the decisions of a build, as Python makes them and as the build does.

Rule: events are judged by the build's own decisions, and are equal to the last bit: scores are products of float32, and
everything else is whole numbers.
"""

import struct
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from l3clf.classifier.event_tracker import N_NUMBERS, EventTracker, TrackedEvent, in_ms
from l3clf.classifier.events import EventRules
from l3clf.device.chips import Chip
from l3clf.device.ctext import c_array
from l3clf.device.decisions import MAX_DECISIONS, Decision, record
from l3clf.device.emit_head import rounded_up
from l3clf.device.model import DeviceModel
from l3clf.errors import DeviceError

__all__ = [
    "TRIED",
    "check_events",
    "check_made_up",
    "event_numbers",
    "events_of_build",
    "expected_events",
    "golden_events",
    "made_up",
]

TRIED = (None, EventRules(0.01, None, 0, 0, 0), EventRules(0.6, 0.35, 0, 0.9, 1.2, refractory_s=2.6))
"""The rules that `verify` tries: those of the model, the least that make events, and others."""
_EVENT = np.dtype(
    [(name, "<u8") for name in ("start_ms", "end_ms")]
    + [("label", "<i4"), ("begins", "<i4"), ("score", "<f4"), ("first", "<u4"), ("last", "<u4"), ("unused", "<u4")]
)  # harness_event in harness.c
# Events that are joined, dropped and held back, ones that weak windows prolong, and one that goes on at the end.
GOLDEN_SCORES = (0, 1, 0, 0, 1, 1, 0.3, 0.3, 0, 1, 0.1, 0.1, 1, 1, 1, 1, 0.3, 0, 0, 0, 0.3, 0, 0, 0, 0.3, 1, 0, 1, 1, 1)
MAX_EVENTS = 16_384  # that the harness records
RESETS, SILENT, SURE = 0.02, 0.1, 0.1  # shares of made-up decisions


def event_numbers(rules: EventRules) -> dict[str, str]:
    """Return rules as the macros of ``l3clf_model.h``, by name."""
    enter, leave, *durations = _packed(rules)
    floats = (f"{float(value)!r}F" for value in (enter, leave))
    numbers = [*floats, *(f"{duration}U" for duration in durations)]
    names = ("ENTER", "LEAVE", "MIN_DURATION_MS", "MIN_GAP_MS", "REFRACTORY_MS")
    return {f"EVENT_{name}": number for name, number in zip(names, numbers, strict=True)}


def _packed(rules: EventRules) -> tuple[np.float32, np.float32, int, int, int]:
    """Return the members of ``l3clf_event_rules``."""
    leave = np.float32(0.0 if rules.leave is None else rules.leave)
    durations = [in_ms(duration_s) for duration_s in (rules.min_duration_s, rules.min_gap_s, rules.refractory_s)]
    return np.float32(rules.enter), leave, durations[0], durations[1], durations[2]


# --- as Python makes them -----------------------------------------------------------------------------


def _tracker(d: DeviceModel, rules: EventRules | None = None) -> EventTracker:
    """Return what makes the events that a build should make; None are the rules of the model."""
    thresholds = rounded_up(d.thresholds) if d.tags else d.thresholds.astype(np.float32)
    return EventTracker(len(d.class_names), d.hop / d.spec.sample_rate, rules or d.event_rules, thresholds)


def _scores(d: DeviceModel, decision: Decision) -> NDArray[np.float32]:
    best = np.float32(1 if d.tags else decision.probability)
    if decision.n_windows == 0 or not best > 0:
        return np.zeros(len(d.class_names), np.float32)
    known = (np.float32(1) - np.float32(decision.unknown_score)) / best if d.has_background else np.float32(1)
    return np.asarray(known * decision.probabilities, np.float32)


def expected_events(
    d: DeviceModel, decisions: Sequence[Decision], rules: EventRules | None = None
) -> list[TrackedEvent]:
    """Return the events of decisions, as Python makes them; at their end, all that has begun ends."""
    follows = _tracker(d, rules)
    found = [event for decision in decisions for event in follows.push(decision.window, _scores(d, decision))]
    return found + follows.end()


# --- as a build does ----------------------------------------------------------------------------------


def events_of_build(chip: Chip, rules: EventRules | None = None) -> NDArray[np.void]:
    """Return the events that a build makes of the decisions that it has recorded.

    Parameters
    ----------
    chip : Chip
        Compiled with L3CLF_TRACE.
    rules : EventRules or None
        None are those of the model.

    Returns
    -------
    structured array of shape (n_events,)
        ``harness_event``.
    """
    place = 0
    if rules is not None:
        content = struct.pack("<ffIII", *_packed(rules))
        place = chip.room(len(content))
        chip.write(place, content)
    n = chip.call("harness_follow", place)
    (kept,) = struct.unpack("<i", chip.read(chip.address("harness_n_events"), 4))
    if n != kept and not n > kept == MAX_EVENTS:
        raise DeviceError(f"export: made {kept} events of {n}; write the export again")
    return np.frombuffer(chip.read(chip.address("harness_events"), kept * _EVENT.itemsize), _EVENT)


def _rows(d: DeviceModel, events: Sequence[TrackedEvent]) -> NDArray[np.void]:
    """Return events as a build records them."""
    return np.array([_row(d, event) for event in events[:MAX_EVENTS]], _EVENT)


def _row(d: DeviceModel, event: TrackedEvent) -> tuple[int, int, int, int, float, int, int, int]:
    hop_ms, window_ms = (1000 * n // d.spec.sample_rate for n in (d.hop, d.window))
    first, last = ((number - 1) % N_NUMBERS for number in (event.first, event.last))
    start_ms = max(0, 2 * first * hop_ms + window_ms - hop_ms) // 2
    end_ms = (2 * last * hop_ms + window_ms + hop_ms) // 2
    return start_ms, end_ms, event.label, event.begins, event.score, event.first, event.last, 0


# --- made-up decisions --------------------------------------------------------------------------------


def made_up(d: DeviceModel, rng: np.random.Generator, n: int = MAX_DECISIONS) -> list[Decision]:
    """Return decisions in which labels come and go, with silence, streams that begin anew, and numbers that wrap."""
    n_labels, window, made = len(d.class_names), N_NUMBERS - n // 3, []
    slow = np.repeat(rng.normal(0, 0.5, (n // 3 + 1, n_labels)), 3, axis=0)[:n]
    rows = np.abs(slow + rng.normal(0, 0.1, (n, n_labels)))
    rows = np.minimum(rows, 1) if d.tags else rows / rows.sum(axis=1, keepdims=True)
    for row in rows.astype(np.float32):
        window = int(rng.integers(N_NUMBERS)) if rng.random() < RESETS else (window + 1) % N_NUMBERS
        silent, sure = rng.random() < SILENT, rng.random() < SURE
        known = np.float32(rng.random() if d.has_background and not sure else 1.0)
        if silent or sure:
            row[:] = 0
            row[rng.integers(n_labels)] = sure and not silent
        best, tags = row.max(), np.zeros(n_labels, np.uint8)
        score = np.float32(1) - known * best
        made.append(Decision(-1, best, score, 0 if silent else 1, window, row, tags if d.tags else tags[:0]))
    return made


def check_made_up(d: DeviceModel, chip: Chip, rng: np.random.Generator) -> tuple[int, int]:
    """Give a build made-up decisions; return the number of events, and of those by rules that differ from Python's."""
    made = made_up(d, rng)
    record(d, chip, made)
    return check_events(d, chip, made)


def check_events(d: DeviceModel, chip: Chip, made: Sequence[Decision]) -> tuple[int, int]:
    """Return how many events follow from a build's decisions, by all rules that are tried, and how many differ."""
    n = differ = 0
    for rules in TRIED:
        expected = _rows(d, expected_events(d, made, rules))
        found = events_of_build(chip, rules)
        n += len(expected)
        shorter = min(len(found), len(expected))
        differ += int((found[:shorter] != expected[:shorter]).sum()) + max(len(found), len(expected)) - shorter
    return n, differ


# --- golden values ------------------------------------------------------------------------------------


def golden_events(d: DeviceModel) -> str:
    """Return made-up scores and their events as C text: the first label has them in this order, the last backwards."""
    hop_s = d.hop / d.spec.sample_rate
    rules = EventRules(0.5, 0.25, min_duration_s=2 * hop_s, min_gap_s=2 * hop_s, refractory_s=5 * hop_s)
    scores = np.array(GOLDEN_SCORES, np.float32)
    rows = np.zeros((len(scores), len(d.class_names)), np.float32)
    rows[:, -1] = scores[::-1]
    rows[:, 0] = scores
    made = [
        Decision(0, row.max(), np.float32(1) - row.max(), 1, window, row, np.zeros(0, np.uint8))
        for window, row in enumerate(rows, 1)
    ]
    events = expected_events(d, made, rules)
    numbers = [(event.label, event.begins, event.first, event.last) for event in events]
    return (
        "\n/* Scores of the first class or tag, in the order of time, and backwards of the last one. */\n"
        + c_array("l3clf_golden_scores", scores, section="")
        + "/* Their events: class or tag, whether it begins, first and last window. */\n"
        + c_array("l3clf_golden_events", np.array(numbers, np.int32).ravel(), section="")
        + c_array("l3clf_golden_event_scores", np.array([event.score for event in events], np.float32), section="")
    )
