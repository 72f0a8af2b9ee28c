"""Proof that an export answers as Python does: real sound through the C code, through an emulated chip, through Python.

Rule: all three hear the same 16-bit samples, resampled and rounded once, with the zeros that Python puts around a
clip; nothing is compared with a tolerance that is not printed.
"""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from l3clf.audio.clip import Source
from l3clf.device.board import PASSED, has_board, self_test
from l3clf.device.chips import Chip, EmulatedChip, HostChip, push
from l3clf.device.cost import Cost, measure_cost
from l3clf.device.export import read_export
from l3clf.device.golden import Answers
from l3clf.device.model import PCM_FULL_SCALE, DeviceModel
from l3clf.device.toolchain import build_chip, build_host, export_sources, has_arm_gcc
from l3clf.errors import AudioError, DeviceError, L3clfError
from l3clf.networks.int8_run import Int8Network

__all__ = ["Decision", "Heard", "Ledger", "Verification", "decisions", "hear", "verify"]

Int16Array = NDArray[np.int16]

MAX_WINDOWS = 250  # of a clip; what the harness keeps
MOST_LEVELS = 1e-3  # share that may be one step off: float32 rounds otherwise on another machine
PROBABILITY_LIMIT = 1e-5
PIECES = (1, 7, 160, 161, 512, 4000, 16_000)  # lengths in which samples are pushed


@dataclass
class Ledger:
    """How the answers of one build compare with Python's.

    Attributes
    ----------
    name : str
    n_features, features_differ, largest_step : int
        Integer levels that the front-end made, how many are others than Python's, and by how many steps at most.
    n_values, values_differ : int
        Values of all layers, and how many are others than Python's integers on the same levels.
    n_windows, embeddings_differ : int
        Windows, and those whose embedding is another than Python's from sound to end.
    n_decisions, decisions_differ, decisions_agree : int
        Decisions, one a window over the last windows; those that differ from Python's although every embedding they
        rest on is Python's (another class, number of windows, or a probability more than 1e-5 off; a class may be
        another where Python's best two, or its best and the threshold, are as close); those of the same class.
    n_clips, clips_agree : int
        Clips, and those whose last decision has the same class.
    largest_probability : float
        Difference of any class's probability in any decision; NaN when there was one.
    """

    name: str
    n_features: int = 0
    features_differ: int = 0
    largest_step: int = 0
    n_values: int = 0
    values_differ: int = 0
    n_windows: int = 0
    embeddings_differ: int = 0
    n_decisions: int = 0
    decisions_differ: int = 0
    decisions_agree: int = 0
    n_clips: int = 0
    clips_agree: int = 0
    largest_probability: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether nothing differs but levels: by one step at most, and one in a thousand at most."""
        levels_pass = self.largest_step <= 1 and self.features_differ <= self.n_features * MOST_LEVELS
        return levels_pass and self.values_differ == 0 and self.decisions_differ == 0


@dataclass
class Verification:
    """What `verify` found.

    Attributes
    ----------
    ledgers : list of Ledger
        One a build.
    cost : Cost
        Of the build with DSP instructions.
    board : str or None
        What the export's self-test said on QEMU's Cortex-M4F; None without QEMU.
    failures : list of L3clfError
        Clips that could not be heard; the others were compared.
    """

    cost: Cost
    ledgers: list[Ledger] = field(default_factory=list)
    board: str | None = None
    failures: list[L3clfError] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether every layer is exact, levels and decisions are as the rule above allows, and the board passes."""
        return self.board in (None, PASSED) and all(ledger.passed for ledger in self.ledgers)


def verify(
    folder: str | Path,
    clips: Iterable[Source],
    say: Callable[[str], None] = lambda _: None,
) -> Verification:
    """Run sound through an export on this machine and on an emulated Cortex-M4F, and compare with Python.

    The folder's C code is compiled and runs here: verify only what you exported yourself, or have read.

    Parameters
    ----------
    folder : path-like
        From ``l3clf export``.
    clips : iterable of Clip or Samples
        What to hear; each at most 250 windows long. One that cannot be heard is left out and told of.
    say : callable, default: silence
        Told which build is running.

    Returns
    -------
    Verification

    Raises
    ------
    MissingDependencyError
        Without a compiler, or without the emulator.
    DeviceError
        If the folder is no export, no clip can be heard, or the code does not run.
    """
    d = read_export(folder)
    sounds, failures = _hear_all(d, clips)
    if not sounds:
        raise failures[0] if failures else DeviceError("no sound to verify with; name at least one file")
    with tempfile.TemporaryDirectory() as place:
        builds = list(_builds(Path(folder), Path(place)))
        found = Verification(measure_cost(folder), failures=failures)
        for name, make in builds:
            say(name)
            found.ledgers.append(_compare(name, d, make(), sounds))
        if has_board():
            say("self-test on QEMU")
            found.board = self_test(Path(folder), Path(place))
    return found


def _hear_all(d: DeviceModel, clips: Iterable[Source]) -> tuple[list[Heard], list[L3clfError]]:
    sounds: list[Heard] = []
    failures: list[L3clfError] = []
    for clip in clips:
        try:
            sounds.append(hear(d, clip))
        except (AudioError, DeviceError) as error:
            failures.append(error)
    return sounds, failures


def _builds(folder: Path, place: Path) -> Iterator[tuple[str, Callable[[], Chip]]]:
    """Yield every build's name, and what makes it."""
    fast = export_sources(folder, ["L3CLF_TRACE"])
    plain = export_sources(folder, ["L3CLF_TRACE", "L3CLF_PORTABLE"])
    yield "this machine, plain C", lambda: HostChip(build_host(plain, place / "host.so"))
    yield "Cortex-M4F, DSP", lambda: EmulatedChip(build_chip(fast, place / "dsp.elf"))
    yield "Cortex-M4F, plain C", lambda: EmulatedChip(build_chip(plain, place / "plain.elf"))
    if has_arm_gcc():
        yield "Cortex-M4F, DSP, GCC", lambda: EmulatedChip(build_chip(fast, place / "gcc.elf", gcc=True))


# --- what Python says -------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Heard:
    """A clip as Python hears it.

    Attributes
    ----------
    samples : array of shape (n_samples,), int16
        With the zeros that Python puts around.
    windows : array of shape (n_windows, window samples), int16
    answers : Answers
    """

    samples: Int16Array
    windows: Int16Array
    answers: Answers


def hear(d: DeviceModel, clip: Source) -> Heard:
    """Return what Python hears and says of a clip, in 16-bit samples.

    Parameters
    ----------
    d : DeviceModel
    clip : Clip or Samples

    Raises
    ------
    DeviceError
        If it has more windows than the harness keeps decisions.
    """
    parts, n = [], 0
    for part in d.student.read_windows(clip, d.hop_s, d.classifier.center):
        parts.append(part)
        n += len(part)
        if n > MAX_WINDOWS:  # before the memory is full
            raise DeviceError(f"{clip}: has more than {MAX_WINDOWS} windows; name a piece of it, or a shorter file")
    cut = np.concatenate(parts)
    pcm = np.clip(np.rint(cut * PCM_FULL_SCALE), -PCM_FULL_SCALE, PCM_FULL_SCALE - 1).astype(np.int16)
    return Heard(_joined(pcm, d.hop), pcm, Answers(d, pcm))


def _joined(windows: Int16Array, hop: int) -> Int16Array:
    """Return the samples that windows were cut from; between windows that leave a gap there are zeros."""
    size = windows.shape[1]
    samples = np.zeros((len(windows) - 1) * hop + size, np.int16)
    for number, window in enumerate(windows):
        samples[number * hop : number * hop + size] = window
    return samples


# --- what the C code says ---------------------------------------------------------------------------


def _compare(name: str, d: DeviceModel, chip: Chip, sounds: Sequence[Heard]) -> Ledger:
    ledger = Ledger(name)
    rng = np.random.default_rng(0)
    for clip in sounds:
        levels_found, layers_found = _run(d, chip, clip.samples, rng)
        exact = _compare_numbers(ledger, d, clip, levels_found, layers_found)
        _compare_decisions(ledger, d, decisions(d, chip), clip.answers, exact)
    return ledger


def _run(
    d: DeviceModel, chip: Chip, samples: Int16Array, rng: np.random.Generator
) -> tuple[NDArray[np.int8], list[NDArray[np.int8]]]:
    """Push samples in pieces; return the levels (n, frames, bands) and every layer's values (n, size)."""
    if chip.call("harness_start"):
        raise DeviceError("the export refuses its own arena")
    sizes = [d.network.input.size, *(d.network.tensors[layer.target].size for layer in d.layers)]
    longest = _longest_push(d, chip, sum(sizes))
    traces, place = [], 0
    while place < len(samples):
        piece = samples[place : place + min(longest, int(rng.choice(PIECES)))]
        push(chip, piece)
        place += len(piece)
        traces.append(_trace(chip))
    values = np.frombuffer(b"".join(traces), np.int8).reshape(-1, sum(sizes))
    levels_found, *layers = np.split(values, np.cumsum(sizes)[:-1], axis=1)
    return levels_found.reshape(-1, d.spec.n_frames, d.spec.n_bands), layers


def _longest_push(d: DeviceModel, chip: Chip, window_bytes: int) -> int:
    """Return how many samples end no more windows than the harness can trace."""
    room: int = struct.unpack("<i", chip.read(chip.address("harness_max_trace"), 4))[0]
    return max(1, (room // window_bytes - 1) * d.hop)


def _trace(chip: Chip) -> bytes:
    count = chip.address("harness_n_trace")
    (n,) = struct.unpack("<i", chip.read(count, 4))
    if n < 0:
        raise DeviceError("the network is too large to be traced: a window's tensors take more than the harness has")
    chip.write(count, bytes(4))
    return chip.read(chip.address("harness_trace"), n)


def _compare_numbers(
    ledger: Ledger, d: DeviceModel, clip: Heard, levels_found: NDArray[np.int8], layers: list[NDArray[np.int8]]
) -> NDArray[np.bool_]:
    """Note levels, layers and embeddings; return for each window whether its embedding is Python's, or not heard."""
    audible = np.flatnonzero(clip.answers.heard)
    if len(levels_found) != len(audible):
        raise DeviceError(f"the export computed {len(levels_found)} windows where Python computes {len(audible)}")
    steps = np.abs(levels_found.astype(np.int16) - clip.answers.levels[audible])
    ledger.n_features += steps.size
    ledger.features_differ += int((steps > 0).sum())
    ledger.largest_step = max(ledger.largest_step, int(steps.max(initial=0)))
    expected = Int8Network(d.network).layers(levels_found[..., np.newaxis])
    for layer, values in zip(d.layers, layers, strict=True):
        ledger.n_values += values.size
        ledger.values_differ += int((expected[layer.target].reshape(values.shape) != values).sum())
    ledger.n_windows += len(audible)
    exact = np.ones(len(clip.windows), np.bool_)
    exact[audible] = (layers[-1] == clip.answers.embeddings[audible]).all(axis=1)
    ledger.embeddings_differ += int((~exact).sum())
    return exact


def _compare_decisions(
    ledger: Ledger, d: DeviceModel, found: Sequence[Decision], answers: Answers, exact: NDArray[np.bool_]
) -> None:
    if len(found) != len(exact):
        raise DeviceError(f"the export made {len(found)} decisions where Python makes {len(exact)}")
    for number, decision in enumerate(found):
        pooled = slice(max(0, number + 1 - d.pool_windows), number + 1)
        difference = float(np.abs(decision.probabilities - answers.probabilities[number]).max())
        same = decision.class_id == answers.class_ids[number]
        right = (
            (same or _is_close_call(d, answers.probabilities[number]))
            and difference <= PROBABILITY_LIMIT
            and decision.n_windows == answers.heard[pooled].sum()
        )
        ledger.decisions_differ += decision.window != number + 1 or (bool(exact[pooled].all()) and not right)
        ledger.decisions_agree += same
        ledger.largest_probability = float(np.maximum(ledger.largest_probability, difference))  # keeps NaN
    ledger.n_decisions += len(found)
    ledger.n_clips += 1
    ledger.clips_agree += found[-1].class_id == answers.class_ids[-1]


def _is_close_call(d: DeviceModel, probabilities: NDArray[np.float64]) -> bool:
    """Return whether rounding may decide: between the best two classes, or between the best and "unknown"."""
    second, best = np.sort(probabilities)[-2:]
    return bool(best - second <= PROBABILITY_LIMIT or abs(best - (d.unknown_threshold or 0.0)) <= PROBABILITY_LIMIT)


@dataclass(frozen=True, eq=False)
class Decision:
    """One decision of the C code; see ``l3clf.h``."""

    class_id: int
    probability: float
    n_windows: int
    window: int
    probabilities: NDArray[np.float32]


def decisions(d: DeviceModel, chip: Chip) -> list[Decision]:
    """Return what a build has decided since it was started."""
    (n,) = struct.unpack("<i", chip.read(chip.address("harness_n_decisions"), 4))
    (size,) = struct.unpack("<i", chip.read(chip.address("harness_decision_bytes"), 4))
    content = chip.read(chip.address("harness_decisions"), n * size)
    out = []
    for place in range(0, n * size, size):
        class_id, probability, n_windows, window = struct.unpack_from("<ifII", content, place)
        shares = np.frombuffer(content, np.float32, len(d.class_names), place + 16)
        out.append(Decision(class_id, probability, n_windows, window, shares))
    return out
