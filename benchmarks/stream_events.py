"""Events in hours of sound: how many are found, missed and false, with the default rules and with tuned ones.

Models learn ESC-10's folds 1 to 3. The recording that counts has the clips of fold 5 at known times over sounds of the
pool; rules are tuned on another one, of fold 4 and other sounds. An event is found where one of its class overlaps it;
one that overlaps no event of its class is false. Rendered recordings are kept, as FLAC, in the folder `work`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import soundfile

import l3clf
from benchmarks.environment import say
from benchmarks.long_stream import LongStream, make_long_stream, pool_background
from benchmarks.materials import esc10, weights_folder
from benchmarks.record import Cell, Result, Table
from l3clf.classifier.event_matching import spans_by_label
from l3clf.classifier.events import Event
from l3clf.embedders import load_embedder
from l3clf.evaluate import Collars, PsdsCriteria, collar_scores, psds, segment_scores

SECONDS_PER_HOUR = 3600.0
SCENARIOS = PsdsCriteria(), PsdsCriteria(0.1, 0.1, 0.3, alpha_ct=0.5)
NEED_WEIGHTS = ("efficientat", "yamnet", "edgel3")
MODELS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "plain": ("plain", {}),
    "unknown": ('unknown="auto"', {"unknown": "auto"}),
    "gate": ('unknown="auto", gate_dbfs=-60', {"unknown": "auto", "gate_dbfs": -60.0}),
}
COLUMNS = (
    *(("embedder", ""), ("model", ""), ("rules", ""), ("found", ".1%"), ("missed an hour", ".1f")),
    *(("false an hour", ".1f"), ("F1, events", ".3f"), ("F1, 1 s segments", ".3f")),
)


@dataclass(frozen=True)
class Options:
    """What is measured.

    Attributes
    ----------
    embedders : tuple of str
    models : tuple of str
        "plain": the head knows its classes only; "unknown": a background and a threshold are learned, too; "gate":
        besides, windows of silence and of the recording's own noise are left out, of training and of the recordings.
    hours, tuning_hours : float
        Length of the recording that counts, and of the one for tuning.
    folds : tuple of int
        Of ESC-10: one for the recording, one for tuning; the others are learned.
    work : path, optional
        Where recordings and embeddings are kept for another run.
    """

    embedders: tuple[str, ...] = ("l3mini", "l3base", "efficientat", "yamnet")
    models: tuple[str, ...] = ("plain", "unknown", "gate")
    hours: float = 3.0
    tuning_hours: float = 1.0
    folds: tuple[int, ...] = (5, 4)
    work: Path | None = None


@dataclass(frozen=True)
class _Recording:
    path: Path
    events: list[Event]
    hours: float


def run(options: Options) -> Result:
    """Return the table of events, and PSDS with the tuned rules."""
    with TemporaryDirectory() as folder:
        work = options.work or Path(folder)
        work.mkdir(parents=True, exist_ok=True)
        return _measure(options, work)


def _measure(options: Options, work: Path) -> Result:
    table = esc10()
    folds = np.asarray(table.folds).astype(int)
    test, tuning = (
        _recording(work, table, np.flatnonzero(folds == fold), hours, part)
        for part, (fold, hours) in enumerate(zip(options.folds, (options.hours, options.tuning_hours), strict=True))
    )
    learned = np.flatnonzero(~np.isin(folds, options.folds))
    clips, labels = [table.clips[i] for i in learned], [str(table.labels[i]) for i in learned]
    rows: list[tuple[Cell, ...]] = []
    scores: list[tuple[Cell, ...]] = []
    for name in options.embedders:
        embedder = load_embedder(name, **({"weights": weights_folder()} if name in NEED_WEIGHTS else {}))
        for kind in options.models:
            text, parameters = MODELS[kind]
            say(f"{name}, {text}")
            model = l3clf.ClipClassifier(embedder, cache=work / "embeddings.sqlite").set_params(**parameters)
            model.fit(clips, labels)
            rows.append((name, text, "default", *_counts(model, test)))
            rules = model.tune_events([tuning.path], [tuning.events])
            rows.append((name, text, "tuned", *_counts(model, test)))
            scores.append((name, text, *_psds(model, test), _text(rules)))
    title = (
        f"{options.hours:g} hours with {len(test.events)} events, over sounds that are of no class; tuned on "
        f"{options.tuning_hours:g} h with {len(tuning.events)} events"
    )
    columns = (("embedder", ""), ("model", ""), ("PSDS 1", ".3f"), ("PSDS 2", ".3f"), ("tuned rules", ""))
    return Result(
        (
            Table(title, COLUMNS, tuple(rows)),
            Table("scores of windows at all thresholds; what tuning chose", columns, tuple(scores)),
        ),
        (
            "An event counts for F1 if it starts within 1 s of a true one and ends within 1 s, or half of its length, "
            "of its end. PSDS 1 and 2 are the two scenarios of DCASE's task 4, with the recording as one clip.",
        ),
    )


def _recording(work: Path, table: l3clf.ClipTable, rows: Sequence[int] | Any, hours: float, part: int) -> _Recording:
    stream = make_long_stream(
        [table.clips[i] for i in rows],
        [str(table.labels[i]) for i in rows],
        hours * SECONDS_PER_HOUR,
        seed=part,
        background=pool_background(part),
    )
    path = work / f"stream_{part}_{hours:g}h_{len(stream.events)}.flac"
    if not path.is_file():
        _write(stream, path)
    return _Recording(path, [Event(one.start_s, one.end_s, one.label) for one in stream.events], hours)


def _write(stream: LongStream, path: Path) -> None:
    whole = path.with_suffix(".part")
    with soundfile.SoundFile(whole, "w", stream.sample_rate, 1, "PCM_16", format="FLAC") as file:
        for chunk in stream.chunks(10.0):
            file.write(chunk)
    whole.rename(path)


def _counts(model: l3clf.ClipClassifier, recording: _Recording) -> tuple[float, float, float, float, float]:
    """Return the share of events that are found, those missed and false ones an hour, and F1 by events and segments."""
    true, found = [recording.events], model.predict_events([recording.path])
    n_heard = _n_overlapped(true[0], found[0])
    return (
        n_heard / len(true[0]),
        (len(true[0]) - n_heard) / recording.hours,
        (len(found[0]) - _n_overlapped(found[0], true[0])) / recording.hours,
        collar_scores(true, found, Collars(1.0, 1.0)).micro.f1,
        segment_scores(true, found).micro.f1,
    )


def _n_overlapped(events: Sequence[Event], others: Sequence[Event]) -> int:
    """Return how many events are overlapped by another of their label; those of a label do not overlap each other."""
    spans, n = spans_by_label(others), 0
    for event in events:
        own = spans.get(event.label, np.zeros((0, 2)))
        n += int(np.any((own[:, 0] < event.end_s) & (own[:, 1] > event.start_s)))
    return n


def _psds(model: l3clf.ClipClassifier, recording: _Recording) -> tuple[float, ...]:
    answers = model.window_answers([recording.path])
    median_s = l3clf.EventRules().median_s
    return tuple(psds([recording.events], answers, model.classes_, scenario, median_s).score for scenario in SCENARIOS)


def _text(rules: l3clf.EventRules) -> str:
    values = rules.get_params().items()
    return ", ".join(f"{name} {value:g}" for name, value in values if value is not None)
