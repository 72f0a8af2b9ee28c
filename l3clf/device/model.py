"""A fitted model, checked and lowered for a microcontroller."""

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from l3clf.audio.levels import SILENT_DBFS
from l3clf.audio.spectrogram import MelSpec
from l3clf.classifier.decision import DEFAULT_WINDOWS, check_pooling
from l3clf.classifier.estimators import ClipClassifier
from l3clf.classifier.events import EventRules
from l3clf.classifier.frozen_heads import ForestHead, LinearHead
from l3clf.classifier.frozen_tag_heads import SigmoidHead
from l3clf.classifier.heads import freeze_head
from l3clf.classifier.inputs import check_limits, check_number
from l3clf.classifier.tag_heads import freeze_tag_head
from l3clf.classifier.tagger import ClipTagger
from l3clf.device.arena import ALIGNMENT, Plan, plan_memory
from l3clf.device.lower import Layer, lower
from l3clf.device.runtime_files import PREFIX, check_prefix
from l3clf.embedders.base import Embedder
from l3clf.embedders.filtered import Filtered, unfiltered
from l3clf.embedders.frontend import student_spec
from l3clf.embedders.student import Frontend, Student
from l3clf.errors import DeviceError, ParameterError
from l3clf.networks.int8_model import Int8Model

__all__ = ["PCM_FULL_SCALE", "POOLINGS", "DeviceModel", "device_model"]

POOLINGS = ("mean", "probability")
PCM_FULL_SCALE = 32768.0
MAX_WINDOWS = 1000
FRAME_WORK = {"fixed": 4, "float": 6}  # bytes per sample of a frame: L3CLF_FRAME_WORK_BYTES in l3clf_frontend.h
FLOAT_BYTES = 4


@dataclass(frozen=True, eq=False)
class DeviceModel:
    """Everything that the C library is generated from.

    Attributes
    ----------
    classifier : ClipClassifier or ClipTagger
        The fitted model.
    student : Student
        With precision "int8".
    spec : MelSpec
    network : Int8Model
    layers : tuple of Layer
    plan : Plan
    head : LinearHead, ForestHead or SigmoidHead
    class_names : tuple of str
        Of a tagger, those of the tags.
    pooling : str
    hop_s : float
    pool_windows : int
        Number of windows that a decision is pooled over.
    unknown_threshold : float, tuple of float or None
        A tuple has one for each class; None for a tagger.
    gate_dbfs : float or None
    gate_hysteresis_db : float
    prefix : str
        Of names and files of the C code.
    """

    classifier: ClipClassifier | ClipTagger
    student: Student
    spec: MelSpec
    network: Int8Model
    layers: tuple[Layer, ...]
    plan: Plan
    head: LinearHead | ForestHead | SigmoidHead
    class_names: tuple[str, ...]
    pooling: str
    hop_s: float
    pool_windows: int
    unknown_threshold: float | tuple[float, ...] | None
    gate_dbfs: float | None
    gate_hysteresis_db: float
    prefix: str = PREFIX

    @property
    def tags(self) -> bool:
        """Whether the model is a tagger: any number of the labels at a time, each with its threshold."""
        return isinstance(self.classifier, ClipTagger)

    @property
    def frontend(self) -> str:
        """What computes the levels: ``"fixed"``, in integers, or ``"float"``."""
        return str(self.student.frontend)

    @property
    def n_rows(self) -> int:
        """Probabilities that the head computes: of the classes and, if it learned a background, of that."""
        return len(self.head.classes_)

    @property
    def has_background(self) -> bool:
        """Whether the head's last row is the background, which is no class."""
        return self.n_rows > len(self.class_names)

    @property
    def class_thresholds(self) -> bool:
        """Whether each class has a threshold of its own."""
        return isinstance(self.unknown_threshold, tuple)

    @property
    def thresholds(self) -> NDArray[np.float64]:
        """The threshold of each class or tag, (n_classes,); 0 for none."""
        if isinstance(self.classifier, ClipTagger):
            return np.asarray(self.classifier.thresholds_in_force(), np.float64)
        return np.broadcast_to(np.asarray(self.unknown_threshold or 0.0, np.float64), len(self.class_names))

    @property
    def event_rules(self) -> EventRules:
        """The rules of events where an application names none: those that were tuned for the model, or the default."""
        return EventRules() if self.classifier.event_rules_ is None else self.classifier.event_rules_

    @property
    def hop(self) -> int:
        """Samples from one window to the next."""
        return round(self.hop_s * self.spec.sample_rate)

    @property
    def window(self) -> int:
        """Samples in a window."""
        return round(self.student.window_s * self.spec.sample_rate)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the network, for a window."""
        return sum(layer.macs for layer in self.layers)

    @property
    def work(self) -> int:
        """What a step's budget counts, for a window: multiply-accumulates, and other layers by what they cost."""
        return sum(layer.places * layer.work for layer in self.layers)

    @property
    def rejects_silence(self) -> bool:
        """Whether a pool of windows that are all digital silence is "unknown", although they are above the gate."""
        above_gate = self.gate_dbfs is None or self.gate_dbfs < SILENT_DBFS
        return above_gate and self.classifier.silence_learned_ is False

    @property
    def answer_offset(self) -> int:
        """Offset in the arena of the probabilities and the pooled embedding, which must not overlap the output."""
        output = self.plan.offsets[self.network.target]
        needed = FLOAT_BYTES * (self.n_rows + self.network.output.size)
        return 0 if needed <= output else -(-(output + self.network.output.size) // ALIGNMENT) * ALIGNMENT

    @property
    def arena_bytes(self) -> int:
        """Size of the arena in bytes, which the network, a frame's transform and the head use."""
        head = self.answer_offset + FLOAT_BYTES * (self.n_rows + self.network.output.size)
        frame = self.frame_offset + FRAME_WORK[self.frontend] * self.spec.frame
        return -(-max(self.plan.size, frame, head) // ALIGNMENT) * ALIGNMENT

    @property
    def frame_offset(self) -> int:
        """Offset in the arena of a frame's transform: frames come in while the network is computed in slices."""
        return self.plan.tensors_end


def device_model(
    model: ClipClassifier | ClipTagger,
    pool_windows: int = DEFAULT_WINDOWS,
    unknown_threshold: float | Sequence[float] | None = None,
    gate_dbfs: float | None = None,
    gate_hysteresis_db: float | None = None,
    prefix: str = PREFIX,
    frontend: Frontend | None = None,
) -> DeviceModel:
    """Check that a model can run on a microcontroller, and lower it.

    Parameters
    ----------
    model : ClipClassifier or ClipTagger
        Fitted on embeddings of l3mini or another student.
    pool_windows : int, default=10
        Number of windows, 1 to 1000, that a decision is pooled over.
    unknown_threshold : float, sequence of one for each class, or None, default=None
        Of a classifier. A tagger has `thresholds_in_force`.
    gate_dbfs, gate_hysteresis_db : float or None, default=None
        Override those of the model, if given, as `unknown_threshold` does.
    prefix : str, default="l3clf"
        With which names and files of the C code begin, so that two exports can be linked together.
    frontend : {"fixed", "float"} or None, default=None
        See `export`.

    Returns
    -------
    DeviceModel

    Raises
    ------
    DeviceError
        If the embedder, the pooling or the head cannot run on a chip, or the hop is not a whole number of frames.
    ParameterError
        If the threshold, the gate or its hysteresis is out of range, or names in C cannot begin with the prefix.
    """
    if not hasattr(model, "head_"):
        raise DeviceError("model: not fitted; call fit first, or give a model file of l3clf fit")
    student = _student(model.embedder_, frontend)
    if getattr(model, "typicality_", None) is not None:
        raise DeviceError(
            "model: it tells unknown sounds by distances, which the C runtime does not compute; fit with a background: "
            "with l3mini and its bank, or with recordings, unknown=Unknown(background=DIR)"
        )
    check_pooling(model.pooling)
    if model.pooling not in POOLINGS:
        raise DeviceError(
            f"pooling={model.pooling!r}: needs all windows of a clip; on a chip use 'mean' or 'probability'"
        )
    spec = student_spec(student.window_s)
    hop = model.hop_s * spec.sample_rate  # compared with a tolerance: 0.01 s is not exact in binary
    if round(hop) < 1 or abs(hop - round(hop)) > 1e-6 or round(hop) % spec.hop:
        raise DeviceError(
            f"hop_s={model.hop_s:g}: not a whole number of frames, which windows share on a chip; fit with a multiple "
            f"of {spec.hop / spec.sample_rate:g} s"
        )
    whole = isinstance(pool_windows, int | np.integer) and not isinstance(pool_windows, bool)
    if not whole or not 1 <= pool_windows <= MAX_WINDOWS:
        raise DeviceError(f"pool_windows={pool_windows!r}; expected a whole number from 1 to {MAX_WINDOWS}")
    network = student.network.model
    layers, aliases = lower(network)
    head = _head(model)
    threshold = _threshold(model, unknown_threshold)
    own = copy(model).set_gate(gate_dbfs, gate_hysteresis_db)
    check_limits(None, own.gate_dbfs, own.gate_hysteresis_db)
    if isinstance(gate_dbfs, str):
        raise DeviceError(
            f"gate_dbfs={gate_dbfs!r}: only fit learns it; give a number, or export a model that learned it"
        )
    gate, hysteresis = own.gate_in_force()
    names = tuple(str(name) for name in model.classes_)  # without characters that a C string cannot hold: freeze_head
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
        int(pool_windows),  # of any type of NumPy's, as the other numbers may be
        threshold,
        None if gate is None else float(gate),
        float(hysteresis),
        check_prefix(prefix),
    )


def _head(model: ClipClassifier | ClipTagger) -> LinearHead | ForestHead | SigmoidHead:
    if not isinstance(model, ClipTagger):
        return freeze_head(model.head_)
    head = freeze_tag_head(model.head_, model.classes_)
    if not isinstance(head, SigmoidHead):
        raise DeviceError(
            "model: a tagger with a forest, which the C runtime has for classifiers only; fit with head='logistic'"
        )
    return head


def _threshold(
    model: ClipClassifier | ClipTagger, given: float | Sequence[float] | None
) -> float | tuple[float, ...] | None:
    """Return the threshold in force: one, or one for each class."""
    if isinstance(model, ClipTagger):
        if given is not None:
            raise ParameterError(
                f"unknown_threshold={given!r}: the model is a tagger, which has a threshold for each tag; leave it out"
            )
        return None
    found = model.threshold_in_force() if given is None else given
    values = np.ravel(np.asarray(found, object)).tolist()
    if np.ndim(found) == 0:  # type: ignore[arg-type]
        check_limits(values[0], None)
        return None if values[0] is None else float(values[0])
    if len(values) != len(model.classes_):
        raise ParameterError(
            f"unknown_threshold: {len(values)} numbers; expected one, or one for each of {len(model.classes_)} classes"
        )
    for value in values:
        check_number("unknown_threshold", value, 0.0, 1.0, "{} for each class")
    return tuple(map(float, values))


def _student(embedder: Embedder, frontend: Frontend | None) -> Student:
    if isinstance(embedder, Filtered) and not embedder.is_plain:
        what = "a band limit (band_hz, --band)" if embedder.denoise is None else "denoise (--denoise)"
        raise DeviceError(f"model: it was fitted with {what}, which the C runtime does not have; fit it without")
    embedder = unfiltered(embedder)
    if not isinstance(embedder, Student):
        raise DeviceError(
            f"model: its embedder {embedder.name!r} does not run on a chip; fit with l3mini or a student of yours "
            "(l3clf distill)"
        )
    if frontend is None:
        frontend = embedder.frontend if embedder.precision == "int8" else "fixed"
    return replace(embedder, precision="int8", frontend=frontend)  # whatever the model was fitted on
