"""Compares an export with the Python model on real sound, on this machine and on an emulated chip.

Rule: all get the same 16-bit samples, resampled and rounded once, with the zeros that Python pads a clip with. The
embeddings and layers must be equal; where rounding may differ, the difference is counted and printed.
"""

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
from l3clf.device.exporter import read_export
from l3clf.device.golden import Expected
from l3clf.device.model import PCM_FULL_SCALE, DeviceModel
from l3clf.device.toolchain import build_chip, build_host, export_sources, has_arm_gcc
from l3clf.errors import AudioError, DeviceError, L3clfError
from l3clf.networks.int8_run import Int8Network

__all__ = ["Decision", "Ledger", "Reference", "Verification", "decisions", "reference", "verify"]

Int16Array = NDArray[np.int16]

MAX_WINDOWS = 250  # per clip: the harness records 256 decisions
MAX_LEVELS = 1e-3  # share that may be one step off, because float32 may round differently on another machine
PROBABILITY_LIMIT = 1e-5
PIECES = (1, 7, 160, 161, 512, 4000, 16_000)  # samples pushed at once, within and across hops and windows


@dataclass
class Ledger:
    """How the results of one build compare with those of the Python model.

    Attributes
    ----------
    name : str
        Of the build.
    n_features, features_differ, largest_step : int
        Number of integer levels from the front-end, how many differ from Python's, and the largest difference in steps.
    n_values, values_differ : int
        Number of values in all layers, and how many differ from Python's for the same levels.
    n_windows, embeddings_differ : int
        Number of windows above the gate, and how many of their embeddings differ from Python's for the same sound.
    n_decisions, decisions_differ, decisions_agree : int
        Number of decisions, one per window; how many differ from Python's although all their embeddings are equal; how
        many have the same class. Decisions differ in the number of windows, a probability by more than 1e-5, or the
        class, unless Python's two best classes, or its best class and the threshold, are within 1e-5 of each other.
    n_clips, clips_agree : int
        Number of clips, and how many have the same class in their last decision.
    largest_probability : float
        Largest difference of a probability in any decision; NaN if a probability is NaN.
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
        """Whether nothing differs except at most one level in a thousand, by one step."""
        levels_pass = self.largest_step <= 1 and self.features_differ <= self.n_features * MAX_LEVELS
        return levels_pass and self.values_differ == 0 and self.decisions_differ == 0


@dataclass
class Verification:
    """What `verify` found.

    Attributes
    ----------
    cost : Cost
        Of the build with DSP instructions.
    ledgers : list of Ledger
        One per build.
    board : str or None
        Result of the export's self-test on QEMU's Cortex-M4F; None without QEMU.
    failures : list of L3clfError
        Clips that could not be used; the others were compared.
    """

    cost: Cost
    ledgers: list[Ledger] = field(default_factory=list)
    board: str | None = None
    failures: list[L3clfError] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether every ledger passes, and the self-test on the board if it ran."""
        return self.board in (None, PASSED) and all(ledger.passed for ledger in self.ledgers)


def verify(folder: str | Path, clips: Iterable[Source], say: Callable[[str], None] = lambda _: None) -> Verification:
    """Run sound through an export on this machine and on an emulated Cortex-M4F, and compare with the Python model.

    This compiles and runs the folder's C code: verify only exports that you made yourself or have read.

    Parameters
    ----------
    folder : path-like
        From ``l3clf export``.
    clips : iterable of Clip or Samples
        Each at most 250 windows long. Clips that cannot be used are left out and listed in `failures`.
    say : callable, optional
        Called with the name of each build before it runs.

    Returns
    -------
    Verification

    Raises
    ------
    MissingDependencyError
        If there is no compiler or no emulator.
    DeviceError
        If the folder is not an export, no clip can be used, or the code does not run.
    AudioError
        If no clip can be used because the first cannot be read.
    """
    d = read_export(folder)
    references: list[Reference] = []
    failures: list[L3clfError] = []
    for clip in clips:
        try:
            references.append(reference(d, clip))
        except (AudioError, DeviceError) as error:
            failures.append(error)
    if not references:
        raise failures[0] if failures else DeviceError("clips: found none; name at least one sound file")
    with tempfile.TemporaryDirectory() as place:
        builds = list(_builds(Path(folder), Path(place)))
        found = Verification(measure_cost(folder), failures=failures)
        for name, make in builds:
            say(name)
            found.ledgers.append(_compare(name, d, make(), references))
        if has_board():
            say("self-test on QEMU")
            found.board = self_test(Path(folder), Path(place))
    return found


def _builds(folder: Path, place: Path) -> Iterator[tuple[str, Callable[[], Chip]]]:
    """Yield the name of every build and a function that makes it."""
    fast = export_sources(folder, ["L3CLF_TRACE"])
    plain = export_sources(folder, ["L3CLF_TRACE", "L3CLF_PORTABLE"])
    yield "this machine, plain C", lambda: HostChip(build_host(plain, place / "host.so"))
    yield "Cortex-M4F, DSP", lambda: EmulatedChip(build_chip(fast, place / "dsp.elf"))
    yield "Cortex-M4F, plain C", lambda: EmulatedChip(build_chip(plain, place / "plain.elf"))
    if has_arm_gcc():
        yield "Cortex-M4F, DSP, GCC", lambda: EmulatedChip(build_chip(fast, place / "gcc.elf", gcc=True))


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


def _compare(name: str, d: DeviceModel, chip: Chip, references: Sequence[Reference]) -> Ledger:
    ledger = Ledger(name)
    rng = np.random.default_rng(0)  # every build gets the same pieces
    for clip in references:
        levels_found, layers_found = _run(d, chip, clip.samples, rng)
        exact = _compare_numbers(ledger, d, clip.expected, levels_found, layers_found)
        _compare_decisions(ledger, d, decisions(d, chip), clip.expected, exact)
    return ledger


def _run(
    d: DeviceModel, chip: Chip, samples: Int16Array, rng: np.random.Generator
) -> tuple[NDArray[np.int8], list[NDArray[np.int8]]]:
    """Push samples in pieces; return the levels (n, frames, bands) and the values (n, size) of every layer."""
    if chip.call("harness_start"):
        raise DeviceError("export: l3clf_init refuses the harness's arena; write the export again")
    sizes = [d.network.input.size, *(d.network.tensors[layer.target].size for layer in d.layers)]
    room: int = struct.unpack("<i", chip.read(chip.address("harness_max_trace"), 4))[0]
    longest = max(1, (room // sum(sizes) - 1) * d.hop)  # ends no more windows than the harness can trace
    traces, place = [], 0
    while place < len(samples):
        piece = samples[place : place + min(longest, int(rng.choice(PIECES)))]
        push(chip, piece)
        place += len(piece)
        traces.append(_trace(chip))
    values = np.frombuffer(b"".join(traces), np.int8).reshape(-1, sum(sizes))
    levels_found, *layers = np.split(values, np.cumsum(sizes)[:-1], axis=1)
    return levels_found.reshape(-1, d.spec.n_frames, d.spec.n_bands), layers


def _trace(chip: Chip) -> bytes:
    """Take the values of all layers since the last call out of the harness."""
    count = chip.address("harness_n_trace")
    (n,) = struct.unpack("<i", chip.read(count, 4))
    if n < 0:
        raise DeviceError("network: its tensors exceed the memory of the harness; verify a smaller student")
    chip.write(count, bytes(4))  # empties the trace
    return chip.read(chip.address("harness_trace"), n)


def _compare_numbers(
    ledger: Ledger, d: DeviceModel, expected: Expected, levels_found: NDArray[np.int8], layers: list[NDArray[np.int8]]
) -> NDArray[np.bool_]:
    """Enter levels, layers and embeddings; return which windows have Python's embedding or are below the gate."""
    above = np.flatnonzero(expected.above_gate)
    if len(levels_found) != len(above):
        raise DeviceError(f"export: computed {len(levels_found)} windows, Python {len(above)}; write the export again")
    steps = np.abs(levels_found.astype(np.int16) - expected.levels[above])
    ledger.n_features += steps.size
    ledger.features_differ += int((steps > 0).sum())
    ledger.largest_step = max(ledger.largest_step, int(steps.max(initial=0)))
    tensors = Int8Network(d.network).layers(levels_found[..., np.newaxis])
    for layer, values in zip(d.layers, layers, strict=True):
        ledger.n_values += values.size
        ledger.values_differ += int((tensors[layer.target].reshape(values.shape) != values).sum())
    ledger.n_windows += len(above)
    exact = np.ones(len(expected.above_gate), np.bool_)
    exact[above] = (layers[-1] == expected.embeddings[above]).all(axis=1)
    ledger.embeddings_differ += int((~exact).sum())
    return exact


def _compare_decisions(
    ledger: Ledger, d: DeviceModel, found: Sequence["Decision"], expected: Expected, exact: NDArray[np.bool_]
) -> None:
    if len(found) != len(exact):
        raise DeviceError(f"export: made {len(found)} decisions, Python {len(exact)}; write the export again")
    for number, decision in enumerate(found):
        pooled = slice(max(0, number + 1 - d.pool_windows), number + 1)
        difference = float(np.abs(decision.probabilities - expected.probabilities[number]).max())
        same = decision.class_id == expected.class_ids[number]
        right = (
            (same or _is_close_call(d, expected.probabilities[number]))
            and difference <= PROBABILITY_LIMIT
            and decision.n_windows == expected.n_windows[number]
        )
        ledger.decisions_differ += decision.window != number + 1 or (bool(exact[pooled].all()) and not right)
        ledger.decisions_agree += same
        ledger.largest_probability = float(np.maximum(ledger.largest_probability, difference))  # `max` would drop a NaN
    ledger.n_decisions += len(found)
    ledger.n_clips += 1
    ledger.clips_agree += found[-1].class_id == expected.class_ids[-1]


def _is_close_call(d: DeviceModel, probabilities: NDArray[np.float64]) -> bool:
    """Return whether rounding may decide between the best two classes, or between the best and "unknown"."""
    second, best = np.sort(probabilities)[-2:]
    return bool(best - second <= PROBABILITY_LIMIT or abs(best - (d.unknown_threshold or 0.0)) <= PROBABILITY_LIMIT)


@dataclass(frozen=True, eq=False)
class Decision:
    """One decision of the C code, as ``l3clf_decision`` in ``l3clf.h``."""

    class_id: int
    probability: float
    n_windows: int
    window: int
    probabilities: NDArray[np.float32]


def decisions(d: DeviceModel, chip: Chip) -> list[Decision]:
    """Return all decisions of a build since it was started."""
    (n,) = struct.unpack("<i", chip.read(chip.address("harness_n_decisions"), 4))
    (size,) = struct.unpack("<i", chip.read(chip.address("harness_decision_bytes"), 4))
    content = chip.read(chip.address("harness_decisions"), n * size)
    out = []
    for place in range(0, n * size, size):
        class_id, probability, n_windows, window = struct.unpack_from("<ifII", content, place)
        probabilities = np.frombuffer(content, np.float32, len(d.class_names), place + 16)
        out.append(Decision(class_id, probability, n_windows, window, probabilities))
    return out
