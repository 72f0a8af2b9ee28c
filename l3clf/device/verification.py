"""Compares an export with the Python model on real sound, on this machine and on an emulated chip.

Rule: all get the same 16-bit samples, resampled and rounded once, with the zeros that Python pads a clip with. Every
stage is compared with Python for the input that it had: levels for the samples, layers for the build's own levels,
decisions for the build's own embeddings. So nothing is left out because a stage before it differs. What only rounding
explains is counted and printed.
"""

import struct
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from l3clf.audio.clip import Samples, Source
from l3clf.device.board import PASSED, has_board, outcome, self_test
from l3clf.device.chips import Chip, EmulatedChip, HostChip, feed, push
from l3clf.device.constants import altered_constants, altered_runtime
from l3clf.device.cost import Cost, measure_costs
from l3clf.device.decisions import Decision, decisions, follows
from l3clf.device.device_events import check_events
from l3clf.device.exporter import check_interface, read_export
from l3clf.device.golden import Expected
from l3clf.device.model import PCM_FULL_SCALE, DeviceModel
from l3clf.device.progress import Progress
from l3clf.device.signals import (
    PROBABILITY_LIMIT,
    Signals,
    check_signals,
    layers_differ,
    stream,
    take_trace,
    trace_sizes,
)
from l3clf.device.toolchain import (
    CORTEX_M4F,
    Tools,
    build_chip,
    build_host,
    export_sources,
    find_tools,
    self_test_sources,
)
from l3clf.errors import AudioError, DeviceError, L3clfError, ParameterError

__all__ = ["Decision", "Ledger", "Reference", "Verification", "decisions", "reference", "verify"]

Int16Array = NDArray[np.int16]

MAX_WINDOWS = 250  # per clip: the harness records 256 decisions
MAX_LEVELS = 1e-3  # share that may be one step off, because float32 may round differently on another machine
PIECES = (1, 7, 160, 161, 512, 4000, 16_000)  # samples given at once, within and across hops and windows
BUDGETS = (20_000, 300_000, 2**31 - 1)  # multiply-accumulates of a slice
PUSHED = 0.5  # share of pieces that are pushed, not fed
MAX_STEPS = 40  # slices after a piece


@dataclass
class Ledger:
    """How the results of one build compare with those of the Python model.

    Attributes
    ----------
    name : str
        Of the build.
    n_features, features_differ, features_wrong, largest_step : int
        Number of integer levels from the front-end, how many differ from Python's, how many no rounding of float32
        explains, and the largest difference in steps.
    n_values, values_differ : int
        Number of values in all layers, and how many differ from Python's for the same levels.
    n_windows, embeddings_differ : int
        Number of windows above the gate, and how many of their embeddings differ from Python's for the same sound.
    n_decisions, decisions_differ, decisions_agree : int
        Number of decisions, one per window; how many differ from Python's for the build's own embeddings; how many have
        the class, or all the tags, that Python gives the sound. Decisions differ in the number of windows, in a
        probability by more than 1e-5, or in the class or a tag that follows from the build's own probabilities.
    n_pooled : int
        Number of decisions that were made from at least one window; the others are about silence.
    n_events, events_differ : int
        Number of events that follow from the build's own decisions, by the rules of the model and by others, and how
        many differ from Python's.
    n_clips, clips_agree : int
        Number of clips, and how many have the same class, or the same tags, in their last decision.
    largest_probability : float
        Largest difference of a probability from Python's for the build's own embeddings; NaN if one is NaN.
    """

    name: str
    n_features: int = 0
    features_differ: int = 0
    features_wrong: int = 0
    largest_step: int = 0
    n_values: int = 0
    values_differ: int = 0
    n_windows: int = 0
    embeddings_differ: int = 0
    n_decisions: int = 0
    decisions_differ: int = 0
    decisions_agree: int = 0
    n_pooled: int = 0
    n_events: int = 0
    events_differ: int = 0
    n_clips: int = 0
    clips_agree: int = 0
    largest_probability: float = 0.0

    @property
    def compared(self) -> bool:
        """Whether every stage had something to compare: a decision was made from at least one window."""
        return min(self.n_features, self.n_values, self.n_pooled) > 0

    @property
    def passed(self) -> bool:
        """Whether every stage was compared, and nothing differs but at most one level in a thousand, by rounding."""
        levels_pass = self.largest_step <= 1 and self.features_differ <= self.n_features * MAX_LEVELS
        same = self.features_wrong == self.values_differ == self.decisions_differ == self.events_differ == 0
        return self.compared and levels_pass and same


@dataclass
class Verification:
    """What `verify` found.

    Attributes
    ----------
    costs : list of Cost
        Of builds for a Cortex-M4F with DSP instructions; empty without the emulated chip.
    ledgers : list of Ledger
        One per build, for the clips.
    board : str or None
        Result of the export's self-test on QEMU's Cortex-M4F; None without QEMU.
    failures : list of L3clfError
        Clips that could not be used; the others were compared.
    signals : list of Signals
        One per build, for the built-in test signals.
    stream : Ledger or None
        For a built-in stream of sound, on this machine.
    self_test : str or None
        Result of the export's self-test on this machine; None if the folder has no ``selftest/selftest.c``.
    altered : list of str
        Constants of the export that are not the model's.
    edited : list of str
        Files of the runtime that are not as this l3clf writes them. They may be right all the same.
    missing : str
        What was not run, and what to install for it; empty if nothing is missing.
    """

    costs: list[Cost]
    ledgers: list[Ledger] = field(default_factory=list)
    board: str | None = None
    failures: list[L3clfError] = field(default_factory=list)
    signals: list[Signals] = field(default_factory=list)
    stream: Ledger | None = None
    self_test: str | None = None
    altered: list[str] = field(default_factory=list)
    edited: list[str] = field(default_factory=list)
    missing: str = ""

    @property
    def passed(self) -> bool:
        """Whether every ledger and signal passes, every constant is the model's, and the self-tests that ran passed."""
        boards = (PASSED,) if self.missing else (PASSED, None)  # without the emulated chip, it is all that ran on one
        self_tests = self.board in boards and self.self_test in (None, PASSED)
        passed = [one.passed for one in self.ledgers] + [one.passed for one in self.signals]
        stream_passed = self.stream is None or self.stream.passed
        return self_tests and stream_passed and not self.altered and bool(self.ledgers) and all(passed)


def verify(
    folder: str | Path,
    clips: Iterable[Source],
    say: Callable[[str], None] = lambda _: None,
    max_clips: int | None = None,
) -> Verification:
    """Run sound through an export on this machine and on an emulated Cortex-M4F, and compare with the Python model.

    This compiles and runs the folder's C code: verify only exports that you made yourself or have read.

    Parameters
    ----------
    folder : path-like
        From ``l3clf export``.
    clips : iterable of Clip or Samples
        Each at most 250 windows long. Clips that cannot be used are left out and listed in `failures`.
    say : callable, optional
        Called with what runs next, and now and then with how far it is and how long the rest
        will take.
    max_clips : int or None, default=None
        Use at most so many clips, spread evenly over all.

    Returns
    -------
    Verification

    Raises
    ------
    MissingDependencyError
        If there is no compiler, or nothing that emulates a chip; at once, before any clip is read.
    DeviceError
        If the folder is not an export of this version, no clip can be used, or the code does not run.
    AudioError
        If no clip can be used because the first cannot be read.
    ParameterError
        If `max_clips` is not a positive whole number.
    """
    chosen = _some(list(clips), max_clips)
    tools = find_tools()
    tools.check()
    d, place = read_export(folder), Path(folder)
    check_interface(place)
    with tempfile.TemporaryDirectory() as builds_folder:
        builds = list(_builds(place, Path(builds_folder), tools))
        name, make = builds.pop(0)
        host = make()  # first, because code that does not compile needs no clip to be known
        self_tested = outcome(host.call(f"{d.prefix}_selftest")) if self_test_sources(place) else None
        references, failures = _references(d, chosen, say)
        found = Verification(measure_costs(folder, [CORTEX_M4F]) if tools.emulator else [], failures=failures)
        found.altered, found.edited = altered_constants(d, place), altered_runtime(place, d.tags, d.prefix)
        found.missing, found.self_test = tools.missing(), self_tested
        progress = Progress(say, sum(len(one.expected.levels) for one in references), 1 + len(builds))
        _run_build(found, name, d, host, references, progress)
        found.stream = _compare("test stream", d, host, [reference(d, Samples(stream(d), d.spec.sample_rate))])
        for name, make in builds:
            _run_build(found, name, d, make(), references, progress)
        if has_board() and tools.chip:
            say("self-test on QEMU")
            found.board = self_test(place, Path(builds_folder))
    return found


def _some(clips: list[Source], most: int | None) -> list[Source]:
    """Return at most so many clips, spread evenly: the first ones would often be of one class."""
    if most is None:
        return clips
    if isinstance(most, bool) or not isinstance(most, int) or most < 1:
        raise ParameterError(f"max_clips={most!r}; expected None or a positive whole number")
    return [clips[number * len(clips) // most] for number in range(most)] if most < len(clips) else clips


def _references(
    d: DeviceModel, clips: Sequence[Source], say: Callable[[str], None]
) -> tuple[list["Reference"], list[L3clfError]]:
    """Return what the Python model makes of the clips, and why some cannot be used."""
    references: list[Reference] = []
    failures: list[L3clfError] = []
    progress = Progress(say, len(clips), 1, "clips")
    progress.start("Python")
    for clip in clips:
        try:
            references.append(reference(d, clip))
        except (AudioError, DeviceError) as error:
            failures.append(error)
        progress.add(1)
    if not references:
        raise failures[0] if failures else DeviceError("clips: found none; name at least one sound file")
    return references, failures


def _builds(folder: Path, place: Path, tools: Tools) -> Iterator[tuple[str, Callable[[], Chip]]]:
    """Yield the name of every build and a function that makes it; the first is for this machine."""
    fast = export_sources(folder, ["L3CLF_TRACE"])
    plain = export_sources(folder, ["L3CLF_TRACE", "L3CLF_PORTABLE"])
    test = [*plain, *self_test_sources(folder)]
    yield "this machine, plain C", lambda: HostChip(build_host(test, place / "host.so"))
    if not tools.emulator:
        return
    if tools.zig:
        yield "Cortex-M4F, DSP", lambda: EmulatedChip(build_chip(fast, place / "dsp.elf"))
        yield "Cortex-M4F, plain C", lambda: EmulatedChip(build_chip(plain, place / "plain.elf"))
    if tools.arm_gcc:
        yield "Cortex-M4F, DSP, GCC", lambda: EmulatedChip(build_chip(fast, place / "gcc.elf", gcc=True))
    if tools.arm_gcc and not tools.zig:
        yield "Cortex-M4F, plain C, GCC", lambda: EmulatedChip(build_chip(plain, place / "plain.elf", gcc=True))


# --- results of the Python model ------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Reference:
    """A clip and the results of the Python model for it.

    Attributes
    ----------
    samples : array of shape (n_samples,), int16
        Including the zeros that Python pads the clip with.
    expected : Expected
    """

    samples: Int16Array
    expected: Expected


def reference(d: DeviceModel, clip: Source) -> Reference:
    """Return a clip in 16-bit samples with the results of the Python model.

    Parameters
    ----------
    d : DeviceModel
    clip : Clip or Samples

    Raises
    ------
    AudioError
        If the clip cannot be read.
    DeviceError
        If the clip has more than 250 windows.
    """
    parts, n = [], 0
    for part in d.student.read_windows(clip, d.hop_s, d.classifier.center):
        parts.append(part)
        n += len(part)
        if n > MAX_WINDOWS:  # now, before hours of sound fill the memory
            raise DeviceError(f"{clip}: more than {MAX_WINDOWS} windows; name a piece of it, or a shorter file")
    cut = np.concatenate(parts)
    pcm = np.clip(np.rint(cut * PCM_FULL_SCALE), -PCM_FULL_SCALE, PCM_FULL_SCALE - 1).astype(np.int16)
    samples = np.zeros((len(pcm) - 1) * d.hop + d.window, np.int16)  # zeros in gaps, if the hop exceeds the window
    for number, window in enumerate(pcm):
        samples[number * d.hop :][: d.window] = window
    return Reference(samples, Expected(d, pcm))


# --- results of the C code ------------------------------------------------------------------------


def _run_build(
    found: Verification,
    name: str,
    d: DeviceModel,
    chip: Chip,
    references: Sequence[Reference],
    progress: Progress,
) -> None:
    progress.start(name)
    found.signals.append(check_signals(d, chip))
    found.ledgers.append(_compare(name, d, chip, references, progress.add))


def _compare(
    name: str,
    d: DeviceModel,
    chip: Chip,
    references: Sequence[Reference],
    done: Callable[[int], None] = lambda _: None,
) -> Ledger:
    ledger = Ledger(name)
    rng = np.random.default_rng(0)  # every build gets the same pieces
    for clip in references:
        levels_found, layers_found = _run(d, chip, clip.samples, rng)
        embeddings = _compare_numbers(ledger, d, clip.expected, levels_found, layers_found)
        found = decisions(d, chip)
        _compare_decisions(ledger, d, found, clip.expected, embeddings)
        n_events, events_differ = check_events(d, chip, found)
        ledger.n_events += n_events
        ledger.events_differ += events_differ
        done(len(embeddings))
    return ledger


def _run(
    d: DeviceModel, chip: Chip, samples: Int16Array, rng: np.random.Generator
) -> tuple[NDArray[np.int8], list[NDArray[np.int8]]]:
    """Give samples in pieces; return the levels (n, frames, bands) and the values (n, size) of every layer.

    Some pieces are pushed, others are fed, with slices of the network between them; or with none, so that it is late.
    """
    if chip.call("harness_start"):
        raise DeviceError("export: l3clf_init refuses the harness's arena; write the export again")
    sizes = trace_sizes(d)
    room: int = struct.unpack("<i", chip.read(chip.address("harness_max_trace"), 4))[0]
    longest = max(1, (room // sum(sizes) - 1) * d.hop)  # ends no more windows than the harness can trace
    traces, place = [], 0
    while place < len(samples):
        piece = samples[place : place + min(longest, int(rng.choice(PIECES)))]
        place += len(piece)
        if rng.random() < PUSHED:
            push(chip, piece)
        else:
            feed(chip, piece)
            chip.call("harness_step", int(rng.choice(BUDGETS)), int(rng.integers(MAX_STEPS)))
        traces.append(take_trace(chip))
    while chip.call("harness_step", BUDGETS[-1], MAX_STEPS):
        pass
    traces.append(take_trace(chip))
    values = np.frombuffer(b"".join(traces), np.int8).reshape(-1, sum(sizes))
    levels_found, *layers = np.split(values, np.cumsum(sizes)[:-1], axis=1)
    return levels_found.reshape(-1, d.spec.n_frames, d.spec.n_bands), layers


def _compare_numbers(
    ledger: Ledger, d: DeviceModel, expected: Expected, levels_found: NDArray[np.int8], layers: list[NDArray[np.int8]]
) -> NDArray[np.int8]:
    """Enter levels, layers and embeddings; return the build's embeddings, with Python's for windows below the gate."""
    above = np.flatnonzero(expected.above_gate)
    if len(levels_found) != len(above):
        raise DeviceError(f"export: computed {len(levels_found)} windows, Python {len(above)}; write the export again")
    steps = np.abs(levels_found.astype(np.int16) - expected.levels[above])
    ledger.n_features += steps.size
    ledger.features_differ += int((steps > 0).sum())
    ledger.largest_step = max(ledger.largest_step, int(steps.max(initial=0)))
    outside = (levels_found < expected.lowest[above]) | (levels_found > expected.highest[above])
    ledger.features_wrong += int(outside.sum())
    n_values, values_differ = layers_differ(d, levels_found, layers)
    ledger.n_values += n_values
    ledger.values_differ += values_differ
    ledger.n_windows += len(above)
    embeddings = expected.embeddings.copy()
    embeddings[above] = layers[-1]
    ledger.embeddings_differ += int((embeddings != expected.embeddings).any(axis=1).sum())
    return embeddings


def _compare_decisions(
    ledger: Ledger, d: DeviceModel, found: Sequence[Decision], expected: Expected, embeddings: NDArray[np.int8]
) -> None:
    if len(found) != len(embeddings):
        raise DeviceError(f"export: made {len(found)} decisions, Python {len(embeddings)}; write the export again")
    answers = expected.answers_of(embeddings)
    for number, decision in enumerate(found):
        difference = float(np.abs(decision.probabilities - answers.probabilities[number]).max())
        right = (
            follows(d, decision)
            and (d.tags or abs(decision.unknown_score - answers.unknown_scores[number]) <= PROBABILITY_LIMIT)
            and difference <= PROBABILITY_LIMIT
            and decision.n_windows == expected.n_windows[number]
            and decision.window == number + 1
        )
        ledger.decisions_differ += not right
        ledger.n_pooled += decision.n_windows > 0
        ledger.decisions_agree += np.array_equal(decision.outcome, expected.outcomes[number])
        ledger.largest_probability = float(np.maximum(ledger.largest_probability, difference))  # `max` would drop a NaN
    ledger.n_decisions += len(found)
    ledger.n_clips += 1
    ledger.clips_agree += np.array_equal(found[-1].outcome, expected.outcomes[-1])
