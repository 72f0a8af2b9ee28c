"""The decisions that a build made, read from the harness, and whether they follow from what its head says.

Rule: a decision is judged by the build's own numbers, so that only the rule of `l3clf_decide` is judged.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from l3clf.classifier.decision import tagged
from l3clf.device.chips import Chip
from l3clf.device.model import DeviceModel

__all__ = ["MAX_DECISIONS", "Decision", "decisions", "follows", "record"]

MAX_DECISIONS = 256  # that the harness records

ROUNDING = 2e-7  # of 1 less a probability in float32, and of a quotient


@dataclass(frozen=True, eq=False)
class Decision:
    """One decision of the C code, as ``l3clf_decision`` in ``l3clf.h``.

    The first three are of classifiers, `tags` (n_tags,) are of taggers: 1 for each that is on.
    """

    class_id: int
    probability: float
    unknown_score: float
    n_windows: int
    window: int
    probabilities: NDArray[np.float32]
    tags: NDArray[np.uint8] = field(default_factory=lambda: np.zeros(0, np.uint8))

    @property
    def outcome(self) -> NDArray[np.int64]:
        """What was decided, as numbers: the class, or for each tag whether it is on."""
        return self.tags.astype(np.int64) if len(self.tags) else np.array([self.class_id])


def decisions(d: DeviceModel, chip: Chip) -> list[Decision]:
    """Return all decisions of a build since it was started."""
    (n,) = struct.unpack("<i", chip.read(chip.address("harness_n_decisions"), 4))
    (size,) = struct.unpack("<i", chip.read(chip.address("harness_decision_bytes"), 4))
    content = chip.read(chip.address("harness_decisions"), n * size)
    out = []
    if d.tags:
        return [_tag_decision(content[place : place + size], len(d.class_names)) for place in range(0, n * size, size)]
    for place in range(0, n * size, size):
        class_id, probability, unknown_score, n_windows, window = struct.unpack_from("<iffII", content, place)
        probabilities = np.frombuffer(content, np.float32, len(d.class_names), place + 20)
        out.append(Decision(class_id, probability, unknown_score, n_windows, window, probabilities))
    return out


def record(d: DeviceModel, chip: Chip, made: Sequence[Decision]) -> None:
    """Make a build's records say that it has made these decisions, at most `MAX_DECISIONS`."""
    (size,) = struct.unpack("<i", chip.read(chip.address("harness_decision_bytes"), 4))
    content = b"".join(_recorded(d, decision).ljust(size, b"\0") for decision in made)
    chip.write(chip.address("harness_decisions"), content)
    chip.write(chip.address("harness_n_decisions"), struct.pack("<i", len(made)))


def _recorded(d: DeviceModel, made: Decision) -> bytes:
    probabilities = made.probabilities.astype("<f4").tobytes()
    if d.tags:
        return struct.pack("<II", made.n_windows, made.window) + probabilities + made.tags.astype(np.uint8).tobytes()
    numbers = (made.class_id, made.probability, made.unknown_score, made.n_windows, made.window)
    return struct.pack("<iffII", *numbers) + probabilities


def _tag_decision(content: bytes, n_tags: int) -> Decision:
    n_windows, window = struct.unpack_from("<II", content)
    probabilities = np.frombuffer(content, np.float32, n_tags, 8)
    tags = np.frombuffer(content, np.uint8, n_tags, 8 + probabilities.nbytes)
    return Decision(-1, 0.0, 1.0, n_windows, window, probabilities, tags)


def follows(d: DeviceModel, decision: Decision) -> bool:
    """Return whether what was decided follows from the decision's own probabilities and unknown score."""
    if d.tags:
        probabilities = decision.probabilities[np.newaxis].astype(np.float64)
        return np.array_equal(decision.tags, tagged(probabilities, d.thresholds)[0])
    best = int(decision.probabilities.argmax())
    if decision.probability != decision.probabilities[best]:
        return False
    threshold = np.float32(d.thresholds[best])
    if not d.has_background:
        known = decision.probability > 0 and decision.probability >= threshold
        return decision.class_id == (best if known else -1) and decision.unknown_score == np.float32(1) - np.float32(
            decision.probability
        )
    confidence = 1 - decision.unknown_score
    if abs(confidence - threshold) <= ROUNDING:  # which of them it was is not to be seen
        return decision.class_id in (best, -1)
    return decision.class_id == (best if decision.probability > 0 and confidence > threshold else -1)
