"""The training loop: cosine to whitened targets, checkpoints, early stopping and a log.

Rule: the checkpoint holds everything that the next step depends on, so that a resumed run has the result of an
uninterrupted one. It holds arrays and JSON only, nothing that could run code.
"""

import csv
import json
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, Protocol
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from l3clf.audio.clip import FloatArray
from l3clf.classifier.inputs import check_whole
from l3clf.distill.architectures import as_input, keras
from l3clf.distill.corpus import CHECKPOINT, other_checkpoint
from l3clf.distill.examples import NO_LABEL, Examples
from l3clf.errors import DatasetError, ParameterError
from l3clf.storage.atomic import replacing

__all__ = ["Schedule", "Trainer", "Whitening", "held_out_cosines", "one_hot", "train", "whiten"]

CHUNK = 8192  # rows held in memory at a time
EIGENVALUE_FLOOR = 1e-4  # of the largest: directions with less are rounding noise of the float16 targets
CONSTANT = 1e-9  # of the mean power: less variance than this is rounding
COMPILED_FROM = 10_000  # examples over all epochs: compiling costs as much as some thousands, then each is 3x faster
WARM_UP = 0.03  # of all steps


@dataclass(frozen=True)
class Schedule:
    """How long and how fast a student is trained.

    Parameters
    ----------
    epochs : int, default=20
    batch : int, default=256
    learning_rate : float, default=0.003
        The peak; the rate rises to it over the first 3 % of the steps and falls along half a cosine to zero.
    weight_decay : float, default=0.01
    patience : int, default=5
        Epochs without a better held-out cosine after which training stops.
    label_weight : float, default=1.0
        Weight of the cross-entropy on labels, if there are any, relative to the cosines.
    teacher_weights : tuple of float, default=()
        Weight of each teacher's cosine; 1 each when empty.
    seed : int, default=0

    Raises
    ------
    ParameterError
        If a value is out of range.
    """

    epochs: int = 20
    batch: int = 256
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2
    patience: int = 5
    label_weight: float = 1.0
    teacher_weights: tuple[float, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        for name, smallest in (("epochs", 1), ("batch", 1), ("patience", 1), ("seed", 0)):
            check_whole(name, getattr(self, name), smallest)
        for name, least in (("learning_rate", 1e-9), ("weight_decay", 0), ("label_weight", 0)):
            value = getattr(self, name)
            if not (isinstance(value, int | float | np.number) and least <= value < np.inf):
                raise ParameterError(f"{name}={value!r}; expected a number of at least {least:g}")
        if self.seed >= 2**32:
            raise ParameterError(f"seed={self.seed}; expected a whole number below 2**32")
        weights = self.teacher_weights
        if not isinstance(weights, tuple | list) or not all(
            isinstance(w, int | float | np.number) and 0 < w < np.inf for w in weights
        ):
            raise ParameterError(f"teacher_weights={weights!r}; expected a tuple of numbers above 0")


class Trainer(Protocol):
    """What `distil` trains with: `train`, or another callable with the same parameters and result."""

    def __call__(  # noqa: D102 - `train` documents the parameters
        self,
        student: Any,
        examples: Examples,
        targets: FloatArray,
        sizes: Sequence[int],
        schedule: Schedule,
        folder: Path,
        distributions: FloatArray | None,
        progress: bool,
        about: Mapping[str, Any],
    ) -> list[dict[str, float]]: ...


@dataclass(frozen=True, eq=False)
class Whitening:
    """Projection of a teacher's embeddings onto their principal components, with more equal variances.

    Attributes
    ----------
    mean : array of shape (teacher size,)
    projection : array of shape (teacher size, size)
    """

    mean: FloatArray
    projection: FloatArray

    def apply(self, vectors: NDArray[np.floating]) -> FloatArray:
        """Return whitened vectors of shape (n, size), float32."""
        parts = [
            (vectors[i : i + CHUNK].astype(np.float32) - self.mean) @ self.projection
            for i in range(0, len(vectors), CHUNK)
        ]
        return np.concatenate(parts)


def whiten(vectors: NDArray[np.floating], size: int, share: float = 1.0) -> Whitening:
    """Fit a whitening to embeddings.

    A random rotation follows the principal components. No cosine changes by it, but it spreads the variance over all
    elements of the result, which suits heads that standardise and integers that share one scale.

    Parameters
    ----------
    vectors : array of shape (n, teacher size)
    size : int
        How many principal components to keep; fewer if there are no more.
    share : float, default=1.0
        Share of the logarithmic differences between variances that is removed, 0 to 1: 1 makes all variances equal,
        0 keeps the teacher's proportions.

    Returns
    -------
    Whitening

    Raises
    ------
    DatasetError
        If all vectors are the same.
    """
    total, outer = np.zeros(vectors.shape[1]), np.zeros((vectors.shape[1],) * 2)
    for i in range(0, len(vectors), CHUNK):
        part = vectors[i : i + CHUNK].astype(np.float64)
        total += part.sum(axis=0)
        outer += part.T @ part
    mean = total / len(vectors)
    values, directions = np.linalg.eigh(outer / len(vectors) - np.outer(mean, mean))
    kept = np.flatnonzero(values > EIGENVALUE_FLOOR * values[-1])[::-1][:size]
    if values[-1] <= CONSTANT * np.trace(outer) / len(vectors):
        raise DatasetError("teacher: the same embedding for all examples; give clips that differ")
    left = values[kept] ** (1 - share)
    projection = directions[:, kept] * np.sqrt(left / values[kept] / left.mean())
    rotation = np.linalg.qr(np.random.default_rng(0).standard_normal((len(kept), len(kept))))[0]
    return Whitening(mean.astype(np.float32), (projection @ rotation).astype(np.float32))


def one_hot(labels: NDArray[np.int32], shares: NDArray[np.float32], n_classes: int) -> FloatArray:
    """Return label distributions of shape (n, n_classes); the labels of mixed clips are weighted by their shares."""
    out = np.zeros((len(labels), n_classes), np.float32)
    rows = np.arange(len(labels))
    for column, part in ((0, shares), (1, 1 - shares)):
        known = labels[:, column] != NO_LABEL
        np.add.at(out, (rows[known], labels[known, column]), part[known])
    return out


def train(
    student: Any,
    examples: Examples,
    targets: FloatArray,
    sizes: Sequence[int],
    schedule: Schedule,
    folder: Path,
    distributions: FloatArray | None = None,
    progress: bool = False,
    about: Mapping[str, Any] | None = None,
    keep: Literal["best", "last"] = "best",
) -> list[dict[str, float]]:
    """Train a student in place.

    Parameters
    ----------
    student : keras.Model
    examples : Examples
    targets : array of shape (n, sum of sizes)
        Whitened embeddings, one teacher after the other.
    sizes : sequence of int
        Length of each teacher's part.
    schedule : Schedule
    folder : Path
        For ``checkpoint.npz`` and ``log.csv``; training resumes from the checkpoint.
    distributions : array of shape (n, n_classes), optional
        Label distributions, from `one_hot`.
    progress : bool, default=False
    about : mapping, optional
        Anything else that the result depends on, as JSON; a checkpoint of something else is refused.
    keep : {"best", "last"}
        The weights that the student ends with: those of the epoch with the best held-out cosine, or the last ones.
        Where labels count for more than the teachers, the best cosine may be that of the first epoch.

    Returns
    -------
    list of dict
        One for each epoch: its number, the loss, the held-out cosine to each teacher and their mean.

    Raises
    ------
    ParameterError
        If the checkpoint is damaged or belongs to another student, schedule or set of examples, or training diverges.
    DatasetError
        If the disk is full.
    """
    keras.utils.set_random_seed(int(schedule.seed))
    n_classes = 0 if distributions is None else distributions.shape[1]
    learner = _with_classes(student, n_classes)
    wanted = targets if distributions is None else np.hstack([targets, distributions])
    training, held = np.flatnonzero(~examples.held_out), np.flatnonzero(examples.held_out)
    n_steps = max(1, len(training) // schedule.batch)
    compiled = len(training) * schedule.epochs >= COMPILED_FROM
    learner.compile(optimizer=_optimizer(schedule, n_steps), loss=_loss(sizes, schedule), jit_compile=compiled)
    learner.optimizer.build(learner.trainable_variables)  # creates the state that a checkpoint restores
    decides = {"schedule": asdict(schedule), "sizes": list(sizes), **(about or {})}
    decides |= {"keep": keep} if keep != "best" else {}
    state = _Checkpoint(folder / CHECKPOINT, learner, decides)
    log, best = state.load()
    while len(log) < schedule.epochs and not _stalled(log, schedule.patience):
        order = np.random.default_rng([schedule.seed, len(log)]).permutation(training)
        loss = _epoch(learner, examples.features, wanted, order, schedule.batch, f"epoch {len(log) + 1}", progress)
        cosines = held_out_cosines(student, examples.features, targets, sizes, held)
        log.append({"epoch": len(log) + 1, "loss": loss, "cosine": float(np.mean(cosines))})
        log[-1] |= {f"cosine_{i}": cosine for i, cosine in enumerate(cosines)}
        if keep == "last" or log[-1]["cosine"] == max(row["cosine"] for row in log):
            best = [weight.copy() for weight in student.get_weights()]
        state.save(log, best)
        _write_log(folder / "log.csv", log)
    student.set_weights(best)
    return log


def _with_classes(student: Any, n_classes: int) -> Any:
    """Return the student with the logits of the classes appended to its embedding."""
    if not n_classes:
        return keras.Model(student.input, student.output)
    logits = keras.layers.Dense(n_classes, name="classes")(student.output)
    return keras.Model(student.input, keras.layers.Concatenate()([student.output, logits]))


def _optimizer(schedule: Schedule, n_steps: int) -> Any:
    total = n_steps * schedule.epochs
    warm = max(1, round(WARM_UP * total))
    rate = keras.optimizers.schedules.CosineDecay(
        schedule.learning_rate / 100, max(1, total - warm), warmup_target=schedule.learning_rate, warmup_steps=warm
    )
    optimizer = keras.optimizers.AdamW(rate, weight_decay=schedule.weight_decay)
    # Decay shrinks kernels; shrinking biases and normalisations would only bias the student.
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


def _loss(sizes: Sequence[int], schedule: Schedule) -> Callable[[Any, Any], Any]:
    ends = np.cumsum([0, *sizes]).tolist()
    weights = schedule.teacher_weights or (1.0,) * len(sizes)

    def loss(truth: Any, predicted: Any) -> Any:
        total = 0.0
        for (first, last), weight in zip(pairwise(ends), weights, strict=True):
            true, ours = (keras.ops.normalize(x[:, first:last]) for x in (truth, predicted))
            total = total + weight * (1 - keras.ops.sum(true * ours, axis=-1))
        if predicted.shape[1] > ends[-1]:
            logs = keras.ops.log_softmax(predicted[:, ends[-1] :])
            total = total - schedule.label_weight * keras.ops.sum(truth[:, ends[-1] :] * logs, axis=-1)
        return total

    return loss


def _epoch(
    learner: Any,
    features: NDArray[np.int8],
    wanted: FloatArray,
    order: NDArray[np.intp],
    batch: int,
    what: str,
    progress: bool,
) -> float:
    batch = min(batch, len(order))
    losses = []
    for first in tqdm(range(0, len(order) - batch + 1, batch), what, unit="step", disable=not progress):
        rows = np.sort(order[first : first + batch])  # reads the memory-mapped features in order
        learner.reset_metrics()  # before Keras 3.15, the loss returned below is the mean since the last reset
        losses.append(float(learner.train_on_batch(as_input(features[rows]), wanted[rows])))
        if not np.isfinite(losses[-1]):
            raise ParameterError("training: diverged to a loss that is not finite; give a smaller learning_rate")
    return float(np.mean(losses[-max(1, len(losses) // 10) :]))  # the last tenth: the weights change over an epoch


def held_out_cosines(
    student: Any, features: NDArray[np.int8], targets: FloatArray, sizes: Sequence[int], rows: NDArray[np.intp]
) -> list[float]:
    """Return, for each teacher, the mean cosine between its targets and the student's embedding over `rows`."""
    ours = np.concatenate(
        [np.asarray(student(as_input(features[rows[i : i + 512]]), training=False)) for i in range(0, len(rows), 512)]
    )
    ends = np.cumsum([0, *sizes])
    return [float(_cosines(ours[:, first:last], targets[rows, first:last]).mean()) for first, last in pairwise(ends)]


def _cosines(a: FloatArray, b: FloatArray) -> FloatArray:
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.asarray((a * b).sum(axis=1) / np.maximum(lengths, 1e-9), np.float32)


def _stalled(log: list[dict[str, float]], patience: int) -> bool:
    cosines = [row["cosine"] for row in log]
    return bool(cosines) and len(cosines) - 1 - int(np.argmax(cosines)) >= patience


def _write_log(path: Path, log: list[dict[str, float]]) -> None:
    with replacing(path, DatasetError, newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(log[0]))
        writer.writeheader()
        writer.writerows(log)


# What reading a truncated or overwritten archive raises, depending on the version of Python.
_DAMAGE = (OSError, ValueError, KeyError, TypeError, EOFError, RuntimeError, BadZipFile, struct.error, zlib.error)


class _Checkpoint:
    """Weights, the optimiser's state and the log, in one file."""

    def __init__(self, path: Path, learner: Any, about: dict[str, Any]) -> None:
        self.path, self.learner = path, learner
        shapes = [list(v.shape) for v in self._variables()]
        self.about = json.loads(json.dumps(about | {"shapes": shapes}, default=np.generic.item))

    def _variables(self) -> list[Any]:
        return [*self.learner.variables, *self.learner.optimizer.variables]

    def save(self, log: list[dict[str, float]], best: list[NDArray[np.float32]]) -> None:
        arrays: dict[str, Any] = {f"v{i}": np.asarray(v) for i, v in enumerate(self._variables())}
        arrays |= {f"best{i}": weight for i, weight in enumerate(best)}
        with replacing(self.path, DatasetError) as file:
            np.savez(file, about=json.dumps(self.about), log=json.dumps(log), **arrays)

    def load(self) -> tuple[list[dict[str, float]], list[NDArray[np.float32]]]:
        """Return the log so far and the best weights, and restore the state of the learner."""
        if not self.path.exists():
            return [], []
        try:
            with self.path.open("rb") as file, np.lib.npyio.NpzFile(file, allow_pickle=False) as found:
                about, log = json.loads(str(found["about"])), json.loads(str(found["log"]))
                if about == self.about:
                    best = [found[f"best{i}"] for i in range(sum(name.startswith("best") for name in found.files))]
                    self._assign([found[f"v{i}"] for i in range(len(self._variables()))])
        except _DAMAGE as error:
            why = str(error) or type(error).__name__
            raise ParameterError(f"{self.path}: damaged checkpoint ({why}); delete it to begin again") from None
        if about != self.about:
            raise other_checkpoint(self.path)
        return log, best

    def _assign(self, values: list[NDArray[Any]]) -> None:
        for variable, value in zip(self._variables(), values, strict=True):
            variable.assign(value)
