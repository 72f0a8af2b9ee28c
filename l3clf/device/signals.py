"""Built-in test signals: every build computes them beside the sounds that it is given.

Rule: each stage gets inputs of its own (frames of sound, levels, vectors), chosen so that as many of its constants as
possible matter to a result, and is compared with exact Python for those inputs.
"""

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from l3clf.classifier.cross_fitting import split_answers
from l3clf.classifier.decision import UNKNOWN, decide, tagged
from l3clf.classifier.frozen_heads import LEAF, ForestHead, LinearHead
from l3clf.classifier.frozen_tag_heads import SigmoidHead
from l3clf.device.chips import Chip, HostChip
from l3clf.device.decisions import Decision, decisions, follows
from l3clf.device.device_events import check_made_up
from l3clf.device.emit_head import rounded_down, rounded_up
from l3clf.device.golden import frame_limits
from l3clf.device.model import PCM_FULL_SCALE, DeviceModel
from l3clf.errors import DeviceError
from l3clf.networks.int8_run import Int8Network

__all__ = ["PROBABILITY_LIMIT", "Signals", "check_signals", "layers_differ", "stream", "take_trace", "trace_sizes"]

PROBABILITY_LIMIT = 1e-5
NETWORK_INPUTS = {True: 6, False: 1}  # on this machine, and on an emulated chip, which takes a thousand times as long
HEAD_VECTORS, HEAD_WORK = 4000, {True: 4_000_000_000, False: 2_000_000}  # multiplications or nodes
FRAME_STEP = {True: 1, False: 4}  # from one test frame to the next that is computed
STREAM_WINDOWS = 24  # at most
DECISIONS, MAX_CLASSES = 10, 200  # of each kind; classes whose thresholds are tried
NEAR = 1e-3  # of a threshold, in parts
NOISE_FRAMES = 192
FLOAT_BYTES = 4
_ROOM = 16  # bytes to which places in the room are rounded up


@dataclass
class Signals:
    """How the results of one build for the test signals compare with Python's.

    Attributes
    ----------
    n_levels, levels_wrong : int
        Number of levels of the front-end, and how many no rounding explains.
    n_values, values_differ : int
        Number of values in all layers of the network, and how many differ.
    n_vectors, vectors_wrong : int
        Number of vectors given to the head, and for how many a probability differs by more than 1e-5.
    n_decisions, decisions_wrong : int
        Number of decisions from probabilities near the thresholds, and how many differ.
    n_events, events_wrong : int
        Number of events that follow from made-up decisions, and how many differ.
    n_names, names_wrong : int
        Number of names of classes or tags, and how many differ; looked at on this machine only.
    """

    n_levels: int = 0
    levels_wrong: int = 0
    n_values: int = 0
    values_differ: int = 0
    n_vectors: int = 0
    vectors_wrong: int = 0
    n_decisions: int = 0
    decisions_wrong: int = 0
    n_events: int = 0
    events_wrong: int = 0
    n_names: int = 0
    names_wrong: int = 0

    @property
    def passed(self) -> bool:
        """Whether every stage was computed, and nothing differs."""
        wrong = self.levels_wrong + self.values_differ + self.vectors_wrong + self.decisions_wrong + self.names_wrong
        computed = min(self.n_levels, self.n_values, self.n_vectors, self.n_decisions, self.n_events)
        return wrong + self.events_wrong == 0 and computed > 0


def check_signals(d: DeviceModel, chip: Chip) -> Signals:
    """Give a build the test signals, stage by stage.

    Parameters
    ----------
    d : DeviceModel
    chip : Chip
        Compiled with L3CLF_TRACE.

    Returns
    -------
    Signals
    """
    found = Signals()
    rng = np.random.default_rng(0)  # every build gets the same signals
    _start(chip)
    _check_frames(found, d, chip, rng)
    _check_network(found, d, chip, rng)
    _check_head(found, d, chip, rng)
    _check_decisions(found, d, chip, rng)
    found.n_events, found.events_wrong = check_made_up(d, chip, rng)
    if isinstance(chip, HostChip):
        _check_names(found, d, chip)
    return found


def _start(chip: Chip) -> None:
    if chip.call("harness_start"):
        raise DeviceError("export: l3clf_init refuses the harness's arena; write the export again")


# --- front-end --------------------------------------------------------------------------------------


def _check_frames(found: Signals, d: DeviceModel, chip: Chip, rng: np.random.Generator) -> None:
    frames = _frames(d.spec.frame, rng)[:: FRAME_STEP[isinstance(chip, HostChip)]]
    out, work = _places(2 * d.spec.frame, d.spec.n_bands)
    room = chip.room(work + 8 * d.spec.frame)
    levels = np.empty((len(frames), d.spec.n_bands), np.int8)
    for row, frame in zip(levels, frames, strict=True):
        chip.write(room, frame.tobytes())
        chip.call("harness_frame", room, room + out, room + work)
        row[:] = np.frombuffer(chip.read(room + out, d.spec.n_bands), np.int8)
    low, high = frame_limits(d, frames)
    found.n_levels += levels.size
    found.levels_wrong += int(((levels < low) | (levels > high)).sum())


def _frames(n: int, rng: np.random.Generator) -> NDArray[np.int16]:
    """Return a tone in every bin, each at another level, and noise from less than one step to clipping."""
    bins = np.arange(1, n // 2)
    levels = 10 ** rng.uniform(-3.5, 0, len(bins))
    tones = levels[:, np.newaxis] * np.sin(2 * np.pi * np.outer(bins, np.arange(n)) / n + rng.uniform(0, 6, (1, 1)))
    noise = np.logspace(-5, 0, NOISE_FRAMES)[:, np.newaxis] * rng.standard_normal((NOISE_FRAMES, n))
    frames = np.concatenate([tones, noise, np.zeros((1, n)), -np.ones((1, n))])
    return np.clip(np.rint(frames * PCM_FULL_SCALE), -PCM_FULL_SCALE, PCM_FULL_SCALE - 1).astype(np.int16)


# --- network ----------------------------------------------------------------------------------------


def trace_sizes(d: DeviceModel) -> list[int]:
    """Return the sizes of what a build traces of a window: the network's input, then every layer's output."""
    return [d.network.input.size, *(d.network.tensors[layer.target].size for layer in d.layers)]


def take_trace(chip: Chip) -> bytes:
    """Take the values of all layers since the last call out of the harness."""
    count = chip.address("harness_n_trace")
    (n,) = struct.unpack("<i", chip.read(count, 4))
    if n < 0:
        raise DeviceError("network: its tensors exceed the memory of the harness; verify a smaller student")
    chip.write(count, bytes(4))  # empties the trace
    return chip.read(chip.address("harness_trace"), n)


def layers_differ(d: DeviceModel, network_input: NDArray[np.int8], layers: list[NDArray[np.int8]]) -> tuple[int, int]:
    """Return the number of values in all layers, and how many differ from Python's for that input.

    Parameters
    ----------
    d : DeviceModel
    network_input : array of shape (n, frames, bands), int8
    layers : list of arrays of shape (n, size), int8
    """
    tensors = Int8Network(d.network).layers(network_input[..., np.newaxis])
    n = differ = 0
    for layer, values in zip(d.layers, layers, strict=True):
        n += values.size
        differ += int((tensors[layer.target].reshape(values.shape) != values).sum())
    return n, differ


def _check_network(found: Signals, d: DeviceModel, chip: Chip, rng: np.random.Generator) -> None:
    n, sizes = NETWORK_INPUTS[isinstance(chip, HostChip)], trace_sizes(d)
    inputs = rng.integers(-128, 128, (n, d.spec.n_frames, d.spec.n_bands)).astype(np.int8)
    inputs[1::2] = inputs[1::2, :1]  # a steady sound
    place = chip.address("harness_arena") + d.plan.offsets[d.network.source]
    for one in inputs:
        chip.write(place, one.tobytes())
        take_trace(chip)
        chip.call("harness_network")
        values = np.frombuffer(take_trace(chip), np.int8)
        if values.size != sum(sizes):
            raise DeviceError(f"export: traced {values.size} values, Python {sum(sizes)}; write the export again")
        _, *layers = np.split(values.reshape(1, -1), np.cumsum(sizes)[:-1], axis=1)
        counts = layers_differ(d, one[np.newaxis], layers)
        found.n_values += counts[0]
        found.values_differ += counts[1]


# --- head -------------------------------------------------------------------------------------------


def _check_head(found: Signals, d: DeviceModel, chip: Chip, rng: np.random.Generator) -> None:
    vectors = _vectors(d.head, HEAD_WORK[isinstance(chip, HostChip)], rng)
    expected = d.head.predict_proba(vectors)
    (out,) = _places(vectors[0].nbytes)
    n_bytes = FLOAT_BYTES * d.n_rows
    room = chip.room(out + n_bytes)
    for vector, probabilities in zip(vectors, expected, strict=True):
        chip.write(room, vector.tobytes())
        chip.call("harness_head", room, room + out)
        given = np.frombuffer(chip.read(room + out, n_bytes), np.float32)
        # "not at most" and not "more than", which a NaN would pass
        found.vectors_wrong += not np.abs(given - probabilities).max() <= PROBABILITY_LIMIT
    found.n_vectors += len(vectors)


def _vectors(head: LinearHead | ForestHead | SigmoidHead, work: int, rng: np.random.Generator) -> NDArray[np.float32]:
    if not isinstance(head, ForestHead):
        most = min(HEAD_VECTORS, max(16, work // max(1, head.coef.size)))
        return _near_even(head, most, rng) if isinstance(head, SigmoidHead) else _near_the_mean(head, most, rng)
    depth = len(head.threshold).bit_length()
    most = min(HEAD_VECTORS, max(16, work // (depth * (len(head.tree_offsets) - 1))))
    return _at_thresholds(head, most, rng)


def _near_the_mean(head: LinearHead, most: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return vectors that differ from the mean in one feature each, so that it moves the largest score by one.

    More would saturate the softmax, where no probability moves any more.
    """
    largest = np.abs(head.coef / head.scale).max(axis=0)
    steps = np.diag(np.divide(1, largest, where=largest > 0, out=np.ones_like(largest)))
    noise = head.scale * rng.normal(0, 0.3, (16, head.n_features_in_))
    chosen = rng.permutation(len(steps))[: max(1, most - len(noise))]
    return np.asarray(head.mean + np.concatenate([noise, steps[chosen]]), np.float32)


def _near_even(head: SigmoidHead, most: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return vectors that differ in one feature each from the smallest one that makes every probability one half."""
    even = -np.linalg.lstsq(head.coef, head.intercept, rcond=None)[0]
    largest = np.abs(head.coef).max(axis=0)
    steps = np.divide(1, largest, where=largest > 0, out=np.ones_like(largest))
    noise = 0.3 * steps * rng.normal(size=(16, head.n_features_in_))
    chosen = rng.permutation(len(steps))[: max(1, most - len(noise))]
    return np.asarray(even + np.concatenate([noise, np.diag(steps)[chosen]]), np.float32)


def _at_thresholds(head: ForestHead, most: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return vectors that reach nodes of the trees, each with its feature at the threshold or just above."""
    inner = np.flatnonzero(head.children_left != LEAF)
    parent = np.full(len(head.threshold), LEAF)
    for children in (head.children_left, head.children_right):
        parent[children[inner]] = inner
    ends = rounded_down(head.threshold)
    low, high = ends[inner].min(initial=0), ends[inner].max(initial=0)
    chosen = np.repeat(rng.permutation(inner)[: max(1, most // 2)], 2)
    if not len(chosen):  # trees that are single leaves
        return rng.normal(size=(1, head.n_features_in_)).astype(np.float32)
    out = rng.uniform(low, high, (len(chosen), head.n_features_in_)).astype(np.float32)
    for number, (row, node) in enumerate(zip(out, chosen, strict=True)):
        # From the root down, so that the deepest condition on a feature is the one that holds.
        path = [int(node)]
        while parent[path[-1]] != LEAF:
            path.append(int(parent[path[-1]]))
        limits: dict[int, tuple[np.float32, np.float32]] = {}
        for above, below in zip(path[:0:-1], path[-2::-1], strict=True):
            feature = int(head.feature[above])
            lowest, highest = limits.get(feature, (np.float32(-np.inf), np.float32(np.inf)))
            went_left = head.children_left[above] == below
            limits[feature] = (lowest, min(highest, ends[above])) if went_left else (max(lowest, ends[above]), highest)
        for feature, (lowest, highest) in limits.items():
            row[feature] = highest if np.isfinite(highest) else np.nextafter(lowest, np.float32(np.inf))
        threshold = ends[node]
        row[head.feature[node]] = threshold if number % 2 == 0 else np.nextafter(threshold, np.float32(np.inf))
    return out


# --- decisions --------------------------------------------------------------------------------------


def _check_decisions(found: Signals, d: DeviceModel, chip: Chip, rng: np.random.Generator) -> None:
    room = chip.room(FLOAT_BYTES * d.n_rows)
    for rows in (_tag_rows if d.tags else _rows)(d, rng):
        chip.write(room, rows.tobytes())
        chip.call("harness_decide", room)
        (made,) = decisions(d, chip)
        found.n_decisions += 1
        found.decisions_wrong += not _is_decided(d, rows.astype(np.float64), made)


def _is_decided(d: DeviceModel, rows: NDArray[np.float64], made: Decision) -> bool:
    """Return whether a decision is Python's for what the head says, which is no threshold but for rounding."""
    if d.tags:
        same = np.array_equal(made.probabilities, rows)
        return same and follows(d, made) and np.array_equal(made.tags, tagged(rows[np.newaxis], d.thresholds)[0])
    answers = split_answers(rows[np.newaxis], len(d.class_names))
    (name,) = decide(answers.probabilities, np.arange(len(d.class_names)), d.thresholds, answers.known_shares)
    near = np.abs(made.probabilities - answers.probabilities[0]).max() <= PROBABILITY_LIMIT
    score = abs(made.unknown_score - answers.unknown_scores[0]) <= PROBABILITY_LIMIT
    return bool(near and score and made.class_id == (-1 if name == UNKNOWN else name) and follows(d, made))


def _rows(d: DeviceModel, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return what a head might say: anything, and for each class a little less and more than its threshold."""
    n = len(d.class_names)
    out = [rng.dirichlet(np.full(d.n_rows, share)) for share in (0.1, 0.3, 1.0) for _ in range(DECISIONS)]
    for class_id in rng.permutation(n)[:MAX_CLASSES]:
        for factor in (1 - NEAR, 1 + NEAR):
            lowest = 0.0 if d.has_background else 1 / n + 1e-3  # or another class would be more probable
            wanted = float(np.clip(d.thresholds[class_id] * factor, lowest, 1.0))
            others = 0.0 if d.has_background else (1 - wanted) / max(1, n - 1)
            rows = np.array([others] * n + [1 - wanted] * d.has_background)
            rows[class_id] = wanted
            out.append(rows)
    return np.array(out, np.float32)


def _tag_rows(d: DeviceModel, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return what a head might say: anything, and for each tag its threshold, and what is next to it."""
    at = rounded_up(d.thresholds)
    near = [at, np.nextafter(at, np.float32(0)), np.nextafter(at, np.float32(1)), at * (1 - NEAR), at * (1 + NEAR)]
    out = rng.uniform(0, 1, (DECISIONS + len(near) * len(at), len(at))).astype(np.float32)
    for number, values in enumerate(near):
        rows = out[DECISIONS + number :: len(near)]
        rows[np.arange(len(at)), np.arange(len(at))] = np.clip(values, 0, 1)
    return out


# --- names, streams ---------------------------------------------------------------------------------


def _check_names(found: Signals, d: DeviceModel, chip: HostChip) -> None:
    (names,) = struct.unpack("=Q", chip.read(chip.address("harness_names"), 8))
    pointers = chip.read(names, 8 * len(d.class_names))
    for address, name in zip(struct.unpack(f"={len(d.class_names)}Q", pointers), d.class_names, strict=True):
        expected = name.encode("utf-8", "surrogateescape") + b"\0"
        # Byte by byte up to the first that differs: what follows a shorter name need not be readable.
        same = all(chip.read(address + place, 1) == expected[place : place + 1] for place in range(len(expected)))
        found.n_names += 1
        found.names_wrong += not same


def stream(d: DeviceModel) -> NDArray[np.float32]:
    """Return sound for as many windows as a decision is pooled over, and more: loud, silent, and around the gate."""
    gate = -30.0 if d.gate_dbfs is None else max(d.gate_dbfs, -80.0)
    levels_dbfs: tuple[float, ...] = (-20.0, gate + 0.2, gate - 0.2, -np.inf, -45.0, -8.0)
    if d.gate_hysteresis_db:
        closes = gate - d.gate_hysteresis_db
        levels_dbfs = (gate - 0.2, gate + 0.2, closes + 0.2, closes - 0.2, closes + 0.2, -np.inf, -8.0)
    most = STREAM_WINDOWS if d.gate_hysteresis_db else min(d.pool_windows + 3, STREAM_WINDOWS)
    n_windows = max(most, len(levels_dbfs))
    n = d.window + (n_windows - 1) * d.hop
    piece = max(1, n // len(levels_dbfs) + 1)
    gains = np.repeat([10 ** (level / 20) for level in levels_dbfs], piece)[:n]
    return (gains * np.random.default_rng(1).standard_normal(n)).astype(np.float32)


def _places(*sizes: int) -> list[int]:
    """Return where buffers that follow others of these sizes begin in the room."""
    return [int(end) for end in np.cumsum([-(-size // _ROOM) * _ROOM for size in sizes])]
