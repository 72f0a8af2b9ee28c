"""What goes onto a chip: a fitted model, checked and lowered."""

from __future__ import annotations

from dataclasses import dataclass

from l3clf.audio.spectrogram import MelSpec
from l3clf.classifier.decision import check_pooling
from l3clf.classifier.estimators import ClipClassifier
from l3clf.classifier.frozen_heads import ForestHead, LinearHead
from l3clf.classifier.heads import freeze_head
from l3clf.classifier.inputs import check_limits
from l3clf.device.arena import ALIGNMENT, Plan, plan_memory
from l3clf.device.lower import Layer, lower
from l3clf.embedders.base import Embedder
from l3clf.embedders.frontend import student_spec
from l3clf.embedders.student import Student
from l3clf.errors import DeviceError
from l3clf.networks.int8_model import Int8Model

__all__ = ["DEFAULT_WINDOWS", "PCM_FULL_SCALE", "POOLINGS", "DeviceModel", "device_model"]

POOLINGS = ("mean", "probability")
PCM_FULL_SCALE = 32768.0
DEFAULT_WINDOWS, MOST_WINDOWS = 10, 1000
FRAME_WORK = 6  # bytes for each sample of a frame
FLOAT_BYTES = 4


@dataclass(frozen=True, eq=False)
class DeviceModel:
    """All that the C library is made of.

    Attributes
    ----------
    classifier : ClipClassifier
        The fitted model.
    student : Student
        In integers.
    spec : MelSpec
    network : Int8Model
    layers : tuple of Layer
    plan : Plan
    head : LinearHead or ForestHead
    class_names : tuple of str
    pooling : str
    hop_s : float
    pool_windows : int
        How many windows a decision rests on.
    unknown_threshold, gate_dbfs : float or None
    """

    classifier: ClipClassifier
    student: Student
    spec: MelSpec
    network: Int8Model
    layers: tuple[Layer, ...]
    plan: Plan
    head: LinearHead | ForestHead
    class_names: tuple[str, ...]
    pooling: str
    hop_s: float
    pool_windows: int
    unknown_threshold: float | None
    gate_dbfs: float | None

    @property
    def hop(self) -> int:
        """Samples from one window to the next."""
        return round(self.hop_s * self.spec.sample_rate)

    @property
    def window(self) -> int:
        """Samples of a window."""
        return round(self.student.window_s * self.spec.sample_rate)

    @property
    def answer_offset(self) -> int:
        """Where in the arena probabilities and vector lie: beside the network's output."""
        output = self.plan.offsets[self.network.target]
        needed = FLOAT_BYTES * (len(self.class_names) + self.network.output.size)
        return 0 if needed <= output else -(-(output + self.network.output.size) // ALIGNMENT) * ALIGNMENT

    @property
    def arena_bytes(self) -> int:
        """Bytes of the arena: the network's tensors, a frame's transform and the head's answer take turns in it."""
        answer = self.answer_offset + FLOAT_BYTES * (len(self.class_names) + self.network.output.size)
        return -(-max(self.plan.size, FRAME_WORK * self.spec.frame, answer) // ALIGNMENT) * ALIGNMENT


def device_model(
    model: ClipClassifier,
    pool_windows: int = DEFAULT_WINDOWS,
    unknown_threshold: float | None = None,
    gate_dbfs: float | None = None,
) -> DeviceModel:
    """Check that a model can be put on a chip, and lower it.

    Parameters
    ----------
    model : ClipClassifier
        Fitted, on the embeddings of l3mini or of another student.
    pool_windows : int
        How many of the last windows a decision rests on.
    unknown_threshold, gate_dbfs : float or None
        In the place of the model's own.

    Raises
    ------
    DeviceError
        By name, what cannot run on a chip: another embedder, pooling or head, a hop that is none of whole frames.
    ParameterError
        If the threshold or the gate is out of its range.
    """
    if not hasattr(model, "head_"):
        raise DeviceError("the model is not fitted: call fit first, or give a model file of l3clf fit")
    student = _student(model.embedder_)
    check_pooling(model.pooling)
    if model.pooling not in POOLINGS:
        raise DeviceError(
            f"pooling {model.pooling!r} needs all windows of a clip; a chip can do 'mean' or 'probability'"
        )
    spec = student_spec(student.window_s)
    hop = model.hop_s * spec.sample_rate
    if round(hop) < 1 or abs(hop - round(hop)) > 1e-6 or round(hop) % spec.hop:
        raise DeviceError(
            f"hop_s={model.hop_s:g}: on a chip windows share their frames; fit with a multiple of "
            f"{spec.hop / spec.sample_rate:g} s"
        )
    if not isinstance(pool_windows, int) or not 1 <= pool_windows <= MOST_WINDOWS:
        raise DeviceError(f"pool_windows={pool_windows!r}; expected a whole number from 1 to {MOST_WINDOWS}")
    network = student.network.model
    layers, aliases = lower(network)
    head = freeze_head(model.head_)
    threshold = model.unknown_threshold if unknown_threshold is None else unknown_threshold
    gate = model.gate_dbfs if gate_dbfs is None else gate_dbfs
    check_limits(threshold, gate)
    names = tuple(_c_name(str(name)) for name in model.classes_)
    plan = plan_memory(network, layers, aliases)
    return DeviceModel(
        model,
        student,
        spec,
        network,
        layers,
        plan,
        head,
        names,
        model.pooling,
        model.hop_s,
        pool_windows,
        threshold,
        gate,
    )


def _c_name(name: str) -> str:
    """Refuse a class name that C cannot hold."""
    try:
        content = name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        content = b"\0"
    if b"\0" in content:
        raise DeviceError(f"class {name!r}: has a character that a C string cannot hold; rename it")
    return name


def _student(embedder: Embedder) -> Student:
    if not isinstance(embedder, Student):
        raise DeviceError(
            f"the model's embedder is {embedder.name!r}, which is too large for a chip; fit with l3mini or a student "
            "(l3clf distill)"
        )
    return type(embedder)(weights=embedder.weights, precision="int8")
