"""The training loop of `l3clf.distill` in PyTorch, as a trainer: `distil(..., trainer=train_in_torch)`.

On a CPU without AVX-512 it is faster than TensorFlow. All else (examples, whitening, initial weights, files) is
distil's own; the examples, loss, schedule and order of examples are the same. What differs is rounding, and the
initial weights of the layer of classes. It keeps no checkpoint: a training that was stopped starts again.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from benchmarks.l3mini.torch_training import Network, decaying, inputs
from l3clf.audio.clip import FloatArray
from l3clf.distill.architectures import ARCHITECTURES
from l3clf.distill.examples import Examples
from l3clf.distill.training import WARM_UP, Schedule

__all__ = ["train_in_torch"]

EPSILON = 1e-7  # of AdamW, as Keras has it
CHUNK = 512  # examples at once when nothing is learned


def train_in_torch(
    student: Any,
    examples: Examples,
    targets: FloatArray,
    sizes: Sequence[int],
    schedule: Schedule,
    folder: Path,
    distributions: FloatArray | None = None,
    progress: bool = False,
    about: Mapping[str, Any] | None = None,
) -> list[dict[str, float]]:
    """Train as `l3clf.distill.training.train` does; the student ends with its best weights."""
    torch.manual_seed(schedule.seed)
    network, classes = _networks(student, 0 if distributions is None else distributions.shape[1])
    truths = [torch.from_numpy(part) for part in np.split(targets, np.cumsum(sizes)[:-1], axis=1)]
    shares = None if distributions is None else torch.from_numpy(distributions)
    training, held = np.flatnonzero(~examples.held_out), np.flatnonzero(examples.held_out)
    total = schedule.epochs * max(1, len(training) // schedule.batch)
    groups = decaying([network, classes], schedule.weight_decay)
    optimizer = torch.optim.AdamW(groups, schedule.learning_rate, eps=EPSILON)
    rate = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _share_of_rate(step, total))

    def step(rows: NDArray[np.intp]) -> float:
        output = network(inputs(examples.features[rows]))
        loss = sum(1 - cosine.mean() for cosine in _cosines(output, truths, rows))
        if shares is not None:
            logs = functional.log_softmax(classes(output), 1)
            loss = loss - schedule.label_weight * (shares[rows] * logs).sum(1).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        rate.step()
        return float(loss.item())

    log: list[dict[str, float]] = []
    best = student.get_weights()
    for epoch in range(schedule.epochs):
        network.train()
        losses = [step(rows) for rows in _batches(training, schedule, epoch)]
        cosines = _held_out(network, examples, truths, held)
        loss = float(np.mean(losses[-max(1, len(losses) // 10) :]))
        log.append({"epoch": epoch + 1, "loss": loss, "cosine": float(np.mean(cosines))})
        log[-1] |= {f"cosine_{i}": cosine for i, cosine in enumerate(cosines)}
        if log[-1]["cosine"] == max(row["cosine"] for row in log):
            best = network.give()
    student.set_weights(best)
    return log


def _batches(training: NDArray[np.intp], schedule: Schedule, epoch: int) -> list[NDArray[np.intp]]:
    """The rows of each step, in the order of the disk."""
    batch = min(schedule.batch, len(training))
    order = np.random.default_rng([schedule.seed, epoch]).permutation(training)
    return [np.sort(order[first : first + batch]) for first in range(0, len(order) - batch + 1, batch)]


def _networks(student: Any, n_classes: int) -> tuple[Network, Any]:
    """The student's network, with its weights, and a layer of classes on its embedding, initialised as Keras does."""
    size, (frames, bands) = student.output.shape[1], student.input.shape[1:3]
    kernels = [tuple(weight.shape) for weight in student.get_weights()]
    networks = (Network(architecture, frames, bands, size) for architecture in ARCHITECTURES.values())
    network = next(one for one in networks if [tuple(weight.shape) for weight in one.give()] == kernels)
    network.take(student.get_weights())
    network.to(memory_format=torch.channels_last)
    classes = nn.Linear(size, n_classes) if n_classes else nn.Identity()
    if n_classes:
        nn.init.xavier_uniform_(classes.weight)
        nn.init.zeros_(classes.bias)
    return network, classes


def _share_of_rate(step: int, total: int) -> float:
    """Share of the highest rate, as Keras' CosineDecay has it: from a hundredth up, then half a cosine to zero."""
    warm = max(1, round(WARM_UP * total))
    if step < warm:
        return 0.01 + 0.99 * step / warm
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warm) / max(1, total - warm))))


def _cosines(output: Any, truths: Sequence[Any], rows: NDArray[np.intp]) -> list[Any]:
    parts = output.split([truth.shape[1] for truth in truths], 1)
    return [functional.cosine_similarity(ours, truth[rows]) for ours, truth in zip(parts, truths, strict=True)]


def _held_out(network: Network, examples: Examples, truths: Sequence[Any], held: NDArray[np.intp]) -> list[float]:
    network.eval()
    found = []
    with torch.no_grad():
        for first, last in pairwise([*range(0, len(held), CHUNK), len(held)]):
            rows = held[first:last]
            found.append(torch.stack(_cosines(network(inputs(examples.features[rows])), truths, rows)))
    means: list[float] = torch.cat(found, 1).mean(1).tolist()
    return means
