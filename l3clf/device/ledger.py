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

from l3clf.audio import Source, level_dbfs
from l3clf.decide import heard
from l3clf.device.board import PASSED, has_board, self_test
from l3clf.device.chips import Chip, EmulatedChip, HostChip, push
from l3clf.device.cost import Cost, measure_cost
from l3clf.device.folder import read_export
from l3clf.device.golden import Answers
from l3clf.device.model import PCM_FULL_SCALE, DeviceModel
from l3clf.device.toolchain import build_chip, build_host, export_sources, has_arm_gcc
from l3clf.embedders.int8 import Int8Network
from l3clf.errors import AudioError, DeviceError, L3clfError

__all__ = ["Decision", "Heard", "Ledger", "Verification", "decisions", "hear", "verify"]

Int16Array = NDArray[np.int16]

MAX_WINDOWS = 250  # of a clip; what the harness keeps
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
    n_clips, decisions_differ : int
    largest_probability : float
        Difference of any class's probability.
    """

    name: str
    n_features: int = 0
    features_differ: int = 0
    largest_step: int = 0
    n_values: int = 0
    values_differ: int = 0
    n_windows: int = 0
    embeddings_differ: int = 0
    n_clips: int = 0
    decisions_differ: int = 0
    largest_probability: float = 0.0


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
        """Whether all layers are exact, no level is more than one step off, all decisions agree, the board passes."""
        return self.board in (None, PASSED) and all(
            ledger.values_differ == 0 and ledger.largest_step <= 1 and ledger.decisions_differ == 0
            for ledger in self.ledgers
        )


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
        builds = list(_builds(Path(folder), Path(place), max(len(clip.windows) for clip in sounds)))
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


def _builds(folder: Path, place: Path, pool_windows: int) -> Iterator[tuple[str, Callable[[], Chip]]]:
    """Yield every build's name, and what makes it."""
    defines = ["L3CLF_TRACE", f"L3CLF_POOL_WINDOWS={pool_windows}"]
    fast, plain = export_sources(folder, defines), export_sources(folder, [*defines, "L3CLF_PORTABLE"])
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
        If it has more windows than the harness keeps.
    """
    cut = np.concatenate(list(d.student.read_windows(clip, d.hop_s, d.classifier.center)))
    if len(cut) > MAX_WINDOWS:
        raise DeviceError(f"{clip}: has {len(cut)} windows; expected at most {MAX_WINDOWS}: name a piece of it")
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
        _compare_numbers(ledger, d, clip, levels_found, layers_found)
        _compare_decision(ledger, d, chip, clip)
    return ledger


def _run(
    d: DeviceModel, chip: Chip, samples: Int16Array, rng: np.random.Generator
) -> tuple[NDArray[np.int8], list[NDArray[np.int8]]]:
    """Push samples in pieces; return the levels (n, frames, bands) and every layer's values (n, size)."""
    if chip.call("harness_start"):
        raise DeviceError("the export refuses its own arena")
    sizes = [d.network.input.size, *(d.network.tensors[layer.target].size for layer in d.layers)]
    traces, place = [], 0
    while place < len(samples):
        piece = samples[place : place + int(rng.choice(PIECES))]
        push(chip, piece)
        place += len(piece)
        traces.append(_trace(chip))
    values = np.frombuffer(b"".join(traces), np.int8).reshape(-1, sum(sizes))
    levels_found, *layers = np.split(values, np.cumsum(sizes)[:-1], axis=1)
    return levels_found.reshape(-1, d.spec.n_frames, d.spec.n_bands), layers


def _trace(chip: Chip) -> bytes:
    count = chip.address("harness_n_trace")
    (n,) = struct.unpack("<i", chip.read(count, 4))
    chip.write(count, bytes(4))
    return chip.read(chip.address("harness_trace"), n)


def _compare_numbers(
    ledger: Ledger, d: DeviceModel, clip: Heard, levels_found: NDArray[np.int8], layers: list[NDArray[np.int8]]
) -> None:
    audible = _audible(d, clip)
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
    ledger.embeddings_differ += int((layers[-1] != clip.answers.embeddings[audible]).any(axis=1).sum())


def _audible(d: DeviceModel, clip: Heard) -> NDArray[np.intp]:
    """Return the windows that the gate lets through."""
    levels_dbfs = level_dbfs(clip.windows.astype(np.float32) / np.float32(PCM_FULL_SCALE))
    return np.flatnonzero(heard(levels_dbfs, d.gate_dbfs))


def _compare_decision(ledger: Ledger, d: DeviceModel, chip: Chip, clip: Heard) -> None:
    last = decisions(d, chip)[-1]
    ledger.n_clips += 1
    ledger.decisions_differ += last.class_id != clip.answers.class_id
    difference = float(np.abs(last.probabilities - clip.answers.probabilities).max())
    ledger.largest_probability = max(ledger.largest_probability, difference)


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
