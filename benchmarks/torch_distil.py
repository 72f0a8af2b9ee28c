"""The training loop of `l3clf.distill` in PyTorch: the same examples, loss, schedule and order of examples.

`with in_torch():` lets `distil` train by it, faster on a CPU without AVX-512 than by TensorFlow; all else
(examples, whitening, where the weights start, files) stays distil's own. What differs is rounding, and the classes'
first weights. A training that was stopped begins again.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch_training import Network, inputs

from l3clf.distill.architectures import ARCHITECTURES
from l3clf.distill.examples import Examples
from l3clf.distill.training import WARM_UP, Schedule


@contextmanager
def in_torch() -> Iterator[None]:
    """Let `distil` train in PyTorch."""
    with mock.patch("l3clf.distill.distiller.train", train):
        yield


def train(
    student: Any, examples: Examples, targets: np.ndarray, sizes: Sequence[int], schedule: Schedule, folder: Path,
    distributions: np.ndarray | None, progress: bool, about: Mapping[str, Any],
) -> list[dict[str, float]]:  # fmt: skip
    """Train as `l3clf.distill.training.train` does; the student ends with its best weights."""
    torch.manual_seed(schedule.seed)
    network, classes = _network(student, 0 if distributions is None else distributions.shape[1])
    truths = [torch.from_numpy(part) for part in np.split(targets, np.cumsum(sizes)[:-1], axis=1)]
    shares = None if distributions is None else torch.from_numpy(distributions)
    training, held = np.flatnonzero(~examples.held_out), np.flatnonzero(examples.held_out)
    batch = min(schedule.batch, len(training))
    total = schedule.epochs * max(1, len(training) // schedule.batch)
    optimizer = torch.optim.AdamW(_groups([network, classes], schedule.weight_decay), schedule.learning_rate, eps=1e-7)
    rate = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _share(step, total))
    log: list[dict[str, float]] = []
    best = student.get_weights()
    for epoch in range(schedule.epochs):
        order = np.random.default_rng([schedule.seed, epoch]).permutation(training)
        network.train()
        losses = []
        for first in range(0, len(order) - batch + 1, batch):
            rows = np.sort(order[first : first + batch])
            answer = network(inputs(examples.features[rows]))
            loss = sum(1 - cosine.mean() for cosine in _cosines(answer, truths, rows))
            if shares is not None:
                logs = functional.log_softmax(classes(answer), 1)
                loss = loss - schedule.label_weight * (shares[rows] * logs).sum(1).mean()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            rate.step()
            losses.append(loss.item())
        log.append({"epoch": epoch + 1, "loss": float(np.mean(losses[-max(1, len(losses) // 10) :]))})
        cosines = _held_out(network, examples, truths, held)
        log[-1] |= {"cosine": float(np.mean(cosines))} | {f"cosine_{i}": cosine for i, cosine in enumerate(cosines)}
        if log[-1]["cosine"] == max(row["cosine"] for row in log):
            best = network.give()
    student.set_weights(best)
    return log


def _network(student: Any, n_classes: int) -> tuple[Network, nn.Module]:
    """The student's network, with its weights, and a layer of classes on its embedding, as Keras begins one."""
    size, (frames, bands) = student.output.shape[1], student.input.shape[1:3]
    kernels = [tuple(weight.shape) for weight in student.get_weights()]
    for architecture in ARCHITECTURES.values():
        network = Network(architecture, frames, bands, size)
        if [tuple(weight.shape) for weight in network.give()] == kernels:
            break
    network.take(student.get_weights())
    network.to(memory_format=torch.channels_last)
    classes = nn.Linear(size, n_classes) if n_classes else nn.Identity()
    if n_classes:
        nn.init.xavier_uniform_(classes.weight)
        nn.init.zeros_(classes.bias)
    return network, classes


def _groups(modules: Sequence[nn.Module], weight_decay: float) -> list[dict[str, Any]]:
    """Kernels, which decay, and everything else."""
    parameters = [p for module in modules for p in module.parameters()]
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim == 1], "weight_decay": 0.0},
    ]


def _share(step: int, total: int) -> float:
    """Share of the highest rate, as Keras' CosineDecay has it: from a hundredth up, then half a cosine to zero."""
    warm = max(1, round(WARM_UP * total))
    if step < warm:
        return 0.01 + 0.99 * step / warm
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warm) / max(1, total - warm))))


def _cosines(answer: torch.Tensor, truths: Sequence[torch.Tensor], rows: np.ndarray) -> list[torch.Tensor]:
    parts = answer.split([truth.shape[1] for truth in truths], 1)
    return [functional.cosine_similarity(ours, truth[rows]) for ours, truth in zip(parts, truths, strict=True)]


def _held_out(network: Network, examples: Examples, truths: Sequence[torch.Tensor], held: np.ndarray) -> list[float]:
    network.eval()
    found = []
    with torch.no_grad():
        for first, last in pairwise([*range(0, len(held), 512), len(held)]):
            rows = held[first:last]
            found.append(torch.stack(_cosines(network(inputs(examples.features[rows])), truths, rows)))
    return torch.cat(found, 1).mean(1).tolist()
