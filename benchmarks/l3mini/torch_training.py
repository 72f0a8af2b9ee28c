"""The training of l3mini in PyTorch, on a CPU faster than Keras on TensorFlow; what comes out is Keras' student.

Rule: the network is that of `l3clf.distill.architectures.build_student`, layer by layer, so that weights can be
exchanged. A teacher without targets for some examples has no part in their loss.
"""

import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional
from tqdm import tqdm

from benchmarks.environment import say
from l3clf.audio.clip import FloatArray
from l3clf.distill.architectures import MOMENTUM, Architecture
from l3clf.embedders.frontend import INPUT_STEPS
from l3clf.errors import ParameterError
from l3clf.networks.onnx_build import BATCH_NORM_EPSILON

__all__ = ["Lesson", "Network", "decaying", "held_out_cosines", "inputs", "train_l3mini"]

# Triton and TensorFlow each bring an LLVM, and a process that imports Triton second ends at once. PyTorch's optimisers
# import Triton where it is installed; a CPU does not need it.
sys.modules.setdefault("triton", None)  # type: ignore[arg-type]

WARM_UP, LAST_RATE, WEIGHT_DECAY = 0.03, 0.01, 1e-2
CHUNK = 512  # examples at once when nothing is learned


@dataclass(frozen=True)
class Lesson:
    """Examples of one kind.

    Attributes
    ----------
    features : array of shape (n, frames, bands), int8
    targets : list of Tensor of shape (n, size) or None
        Each teacher's whitened embeddings; None for one that did not embed these examples.
    held_out : array of shape (n,), bool
    """

    features: NDArray[np.int8]
    targets: list[Any]
    held_out: NDArray[np.bool_]


class Convolution(nn.Module):
    """A convolution without bias, padded as TensorFlow does, its batch normalisation and ReLU."""

    def __init__(self, size: tuple[int, int], inside: int, outside: int, kernel: int, stride: int, groups: int) -> None:
        super().__init__()
        self.size = (-(-size[0] // stride), -(-size[1] // stride))
        short = [max((n - 1) * stride + kernel - m, 0) for n, m in zip(self.size, size, strict=True)]
        # TensorFlow puts the odd one of "same" padding after the map, which nn.Conv2d cannot.
        self.pads = [short[1] // 2, short[1] - short[1] // 2, short[0] // 2, short[0] - short[0] // 2]
        even = self.pads[0] == self.pads[1] and self.pads[2] == self.pads[3]
        padding = (self.pads[2], self.pads[0]) if even else 0
        self.pads = [] if even else self.pads
        self.conv = nn.Conv2d(inside, outside, kernel, stride, padding, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(outside, BATCH_NORM_EPSILON, 1 - MOMENTUM)

    def forward(self, x: Any) -> Any:
        """Convolve (n, channels, frames, bands)."""
        x = functional.pad(x, self.pads) if self.pads else x
        return functional.relu(self.norm(self.conv(x)), inplace=True)


class Network(nn.Module):
    """The student: (n, 1, frames, bands) to (n, size)."""

    def __init__(self, architecture: Architecture, n_frames: int, n_mels: int, size: int) -> None:
        super().__init__()
        self.stem = Convolution((n_frames, n_mels), 1, architecture.stem, 5, 4, 1)
        blocks, channels, place = [], architecture.stem, self.stem.size
        for wide, stride in architecture.blocks:
            depthwise = Convolution(place, channels, channels, 3, stride, channels)
            place = depthwise.size
            blocks.append(nn.ModuleList([depthwise, Convolution(place, channels, wide, 1, 1, 1)]))
            channels = wide
        self.blocks = nn.ModuleList(blocks)
        self.places = nn.Conv2d(channels, channels, place, groups=channels, bias=False)
        self.norm = nn.BatchNorm2d(channels, BATCH_NORM_EPSILON, 1 - MOMENTUM)
        self.embedding = nn.Linear(channels, size)

    def forward(self, x: Any) -> Any:
        """Embed."""
        x = self.stem(x)
        for depthwise, pointwise in self.blocks:
            y = pointwise(depthwise(x))
            x = x + y if x.shape == y.shape else y
        return self.embedding(self.norm(self.places(x)).flatten(1))

    def take(self, weights: Sequence[FloatArray]) -> None:
        """Copy Keras' weights into this network."""
        with torch.no_grad():
            for (tensor, turn), array in zip(self._as_keras(), weights, strict=True):
                tensor.copy_(torch.from_numpy(array.transpose(np.argsort(turn)).copy()))

    def give(self) -> list[FloatArray]:
        """Return the weights as Keras has them."""
        return [tensor.detach().numpy().transpose(turn).copy() for tensor, turn in self._as_keras()]

    def _as_keras(self) -> Iterator[tuple[Any, tuple[int, ...]]]:
        """All weights in Keras' order, and how the axes of each are permuted for it."""
        for conv, norm in self._layers():
            yield conv.weight, (2, 3, 1, 0) if conv.groups == 1 else (2, 3, 0, 1)
            for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
                yield tensor, (0,)
        yield self.embedding.weight, (1, 0)
        yield self.embedding.bias, (0,)

    def _layers(self) -> Iterator[tuple[Any, Any]]:
        yield self.stem.conv, self.stem.norm
        for block in self.blocks:
            yield from ((part.conv, part.norm) for part in block)
        yield self.places, self.norm


def train_l3mini(
    network: Network,
    lessons: Sequence[Lesson],
    weights: Sequence[float],
    epochs: int,
    rate: float,
    folder: Path,
    batch: int = 256,
    seed: int = 0,
) -> list[dict[str, float]]:
    """Train with AdamW, the rate falling along half a cosine; each epoch sees every example once.

    Parameters
    ----------
    network : Network
    lessons : sequence of Lesson
        Each batch has rows of all of them, in proportion.
    weights : sequence of float
        How much each teacher's cosine counts.
    epochs : int
    rate : float
        The highest.
    folder : Path
        For the checkpoint; a run that was stopped is resumed after its last whole epoch.
    batch, seed : int

    Returns
    -------
    list of dict
        One for each epoch.

    Raises
    ------
    ParameterError
        If the checkpoint is of another number of epochs.
    """
    network.to(memory_format=torch.channels_last)
    steps = sum(int((~lesson.held_out).sum()) for lesson in lessons) // batch
    optimizer = torch.optim.AdamW(decaying([network], WEIGHT_DECAY), rate, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _share_of_rate(step, steps * epochs))
    path, parts = folder / "checkpoint.pt", {"network": network, "optimizer": optimizer, "schedule": schedule}
    log = _resumed(path, parts, epochs)
    while len(log) < epochs:
        losses = _epoch(network, lessons, weights, optimizer, schedule, steps, len(log), seed)
        cosines = held_out_cosines(network, lessons)
        log.append({"epoch": len(log) + 1, "loss": float(np.mean(losses[-steps // 10 :]))})
        log[-1] |= {f"cosine_{i}": cosine for i, cosine in enumerate(cosines)}
        log[-1]["cosine"] = float(np.mean(cosines))
        say(str(log[-1]))
        states = {name: part.state_dict() for name, part in parts.items()}
        torch.save({**states, "log": log, "epochs": epochs}, path.with_suffix(".part"))
        path.with_suffix(".part").replace(path)
    return log


def _resumed(path: Path, parts: dict[str, Any], epochs: int) -> list[dict[str, float]]:
    """Bring network, optimiser and schedule to where a checkpoint has them; return its log."""
    if not path.exists():
        return []
    found = torch.load(path, weights_only=True)
    if found["epochs"] != epochs:
        raise ParameterError(f"{path}: was begun with {found['epochs']} epochs, not {epochs}; delete it to start again")
    for name, part in parts.items():
        part.load_state_dict(found[name])
    log: list[dict[str, float]] = found["log"]
    return log


def _epoch(
    network: Network,
    lessons: Sequence[Lesson],
    weights: Sequence[float],
    optimizer: Any,
    schedule: Any,
    steps: int,
    number: int,
    seed: int,
) -> list[float]:
    rng = np.random.default_rng([number, seed])
    orders = [np.array_split(rng.permutation(np.flatnonzero(~lesson.held_out)), steps) for lesson in lessons]
    network.train()
    losses = []
    for step in tqdm(range(steps), f"epoch {number + 1}", unit="step"):
        optimizer.zero_grad(set_to_none=True)
        loss = _loss(network, lessons, [np.sort(order[step]) for order in orders], weights)
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(float(loss.item()))
    return losses


def decaying(modules: Sequence[Any], weight_decay: float) -> list[dict[str, Any]]:
    """Return the parameters in two groups: kernels, whose weights decay, and everything else."""
    parameters = [p for module in modules for p in module.parameters()]
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim == 1], "weight_decay": 0.0},
    ]


def _share_of_rate(step: int, total: int) -> float:
    warm = max(1, round(WARM_UP * total))
    if step < warm:
        return (step + 1) / warm
    return LAST_RATE + (1 - LAST_RATE) * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, total - warm)))


def inputs(features: NDArray[np.int8]) -> Any:
    """Return features (n, frames, bands) as the network takes them."""
    x = torch.from_numpy(np.ascontiguousarray(features)).float() / INPUT_STEPS
    return x[:, None].contiguous(memory_format=torch.channels_last)


def _loss(
    network: Network, lessons: Sequence[Lesson], rows: Sequence[NDArray[np.intp]], weights: Sequence[float]
) -> Any:
    output = network(inputs(np.concatenate([x.features[r] for x, r in zip(lessons, rows, strict=True)])))
    total, n = torch.zeros(()), len(output)
    for lesson, part, some in zip(lessons, output.split([len(r) for r in rows]), rows, strict=True):
        for cosines, weight in zip(_cosines(part, lesson, some), weights, strict=True):
            total = total + weight * (1 - cosines).sum() / n
    return total


def _cosines(output: Any, lesson: Lesson, rows: NDArray[np.intp]) -> Iterator[Any]:
    """The cosines to each teacher; a single 1 where it has no targets."""
    first = 0
    for targets, size in zip(lesson.targets, _sizes(lesson, output.shape[1]), strict=True):
        ours = output[:, first : first + size]
        first += size
        yield torch.ones(()) if targets is None else functional.cosine_similarity(ours, targets[rows])


def _sizes(lesson: Lesson, size: int) -> list[int]:
    """Length of each teacher's part; at most one has no targets, and its part is what the others leave."""
    known = [0 if targets is None else targets.shape[1] for targets in lesson.targets]
    return [n or size - sum(known) for n in known]


def held_out_cosines(network: Network, lessons: Sequence[Lesson]) -> list[float]:
    """Return the mean cosine to each teacher over all held-out examples that it has targets for."""
    network.eval()
    found: list[list[Any]] = [[] for _ in lessons[0].targets]
    with torch.no_grad():
        for lesson in lessons:
            rows = np.flatnonzero(lesson.held_out)
            for first, last in pairwise([*range(0, len(rows), CHUNK), len(rows)]):
                part = rows[first:last]
                output = network(inputs(lesson.features[part]))
                for of_teacher, cosines in zip(found, _cosines(output, lesson, part), strict=True):
                    if cosines.ndim:
                        of_teacher.append(cosines)
    return [float(torch.cat(of_teacher).mean()) for of_teacher in found]
