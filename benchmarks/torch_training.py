"""The training of l3mini in PyTorch, on a CPU faster than Keras on TensorFlow; what comes out is Keras' student.

Rule: the network is `l3clf.distill.architectures.build_student`'s, layer by layer, so that weights go over and back. A
teacher that was not asked about some examples has no part in their loss.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from tqdm import tqdm

from l3clf.distill.architectures import MOMENTUM, Architecture
from l3clf.embedders.frontend import INPUT_STEPS
from l3clf.networks.onnx_build import BATCH_NORM_EPSILON

WARM_UP, LAST_RATE, WEIGHT_DECAY = 0.03, 0.01, 1e-2


@dataclass(frozen=True)
class Lesson:
    """Examples of one kind, and what each teacher said of them; None of one that was not asked."""

    features: np.ndarray
    targets: list[torch.Tensor | None]
    held_out: np.ndarray


class Convolution(nn.Module):
    """A convolution without bias, padded as TensorFlow does, its batch normalisation and ReLU."""

    def __init__(self, size: tuple[int, int], inside: int, outside: int, kernel: int, stride: int, groups: int) -> None:
        super().__init__()
        self.size = (-(-size[0] // stride), -(-size[1] // stride))
        short = [max((n - 1) * stride + kernel - m, 0) for n, m in zip(self.size, size, strict=True)]
        self.pads = [short[1] // 2, short[1] - short[1] // 2, short[0] // 2, short[0] - short[0] // 2]
        even = self.pads[0] == self.pads[1] and self.pads[2] == self.pads[3]
        padding = (self.pads[2], self.pads[0]) if even else 0
        self.pads = [] if even else self.pads
        self.conv = nn.Conv2d(inside, outside, kernel, stride, padding, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(outside, BATCH_NORM_EPSILON, 1 - MOMENTUM)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.pad(x, self.pads) if self.pads else x
        return functional.relu(self.norm(self.conv(x)), inplace=True)


class Network(nn.Module):
    """The student."""

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

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        for depthwise, pointwise in self.blocks:
            y = pointwise(depthwise(x))
            x = x + y if x.shape == y.shape else y
        return self.embedding(self.norm(self.places(x)).flatten(1))

    def as_keras(self) -> Iterator[tuple[torch.Tensor, tuple[int, ...]]]:
        """All weights in Keras' order, and how each has to be turned for it."""
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

    def take(self, weights: Sequence[np.ndarray]) -> None:
        """Take Keras' weights over."""
        with torch.no_grad():
            for (tensor, turn), array in zip(self.as_keras(), weights, strict=True):
                tensor.copy_(torch.from_numpy(array.transpose(np.argsort(turn)).copy()))

    def give(self) -> list[np.ndarray]:
        """Return the weights as Keras has them."""
        return [tensor.detach().numpy().transpose(turn).copy() for tensor, turn in self.as_keras()]


def train(
    network: Network, lessons: Sequence[Lesson], weights: Sequence[float], epochs: int, rate: float, folder: Path,
    batch: int = 256, seed: int = 0,
) -> list[dict[str, float]]:  # fmt: skip
    """Train with AdamW, the rate falling along half a cosine; an epoch hears every example once, in an order by `seed`.

    Stopped, it goes on after the last whole epoch. Each teacher's cosine counts `weights` times.
    """
    network.to(memory_format=torch.channels_last)
    rows = [np.flatnonzero(~lesson.held_out) for lesson in lessons]
    steps = sum(map(len, rows)) // batch
    optimizer = torch.optim.AdamW(_groups(network), rate, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _share(step, steps * epochs))
    path, log = folder / "checkpoint.pt", []
    parts = {"network": network, "optimizer": optimizer, "schedule": schedule}
    if path.exists():
        found = torch.load(path, weights_only=True)
        if found["epochs"] != epochs:
            raise SystemExit(f"{path}: was begun with {found['epochs']} epochs, not {epochs}; delete it to begin again")
        for name, part in parts.items():
            part.load_state_dict(found[name])
        log = found["log"]
    while len(log) < epochs:
        rng = np.random.default_rng([len(log), seed])
        orders = [np.array_split(rng.permutation(part), steps) for part in rows]
        network.train()
        losses = []
        for step in tqdm(range(steps), f"epoch {len(log) + 1}", unit="step"):
            optimizer.zero_grad(set_to_none=True)
            loss = _loss(network, lessons, [np.sort(order[step]) for order in orders], weights)
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        log.append({"epoch": len(log) + 1, "loss": float(np.mean(losses[-steps // 10 :]))})
        log[-1] |= {f"cosine_{i}": cosine for i, cosine in enumerate(held_out_cosines(network, lessons))}
        log[-1]["cosine"] = float(np.mean([value for name, value in log[-1].items() if name.startswith("cosine_")]))
        print(log[-1], flush=True)
        states = {name: part.state_dict() for name, part in parts.items()}
        torch.save({**states, "log": log, "epochs": epochs}, path.with_suffix(".part"))
        path.with_suffix(".part").replace(path)
    return log


def _groups(network: Network) -> list[dict[str, Any]]:
    kernels = [p for p in network.parameters() if p.ndim > 1]
    others = [p for p in network.parameters() if p.ndim == 1]
    return [{"params": kernels, "weight_decay": WEIGHT_DECAY}, {"params": others, "weight_decay": 0.0}]


def _share(step: int, total: int) -> float:
    """Share of the highest rate."""
    warm = max(1, round(WARM_UP * total))
    if step < warm:
        return (step + 1) / warm
    return LAST_RATE + (1 - LAST_RATE) * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, total - warm)))


def inputs(features: np.ndarray) -> torch.Tensor:
    """Return features as the network takes them."""
    x = torch.from_numpy(np.ascontiguousarray(features)).float() / INPUT_STEPS
    return x[:, None].contiguous(memory_format=torch.channels_last)


def _loss(
    network: Network, lessons: Sequence[Lesson], rows: Sequence[np.ndarray], weights: Sequence[float]
) -> torch.Tensor:
    answers = network(inputs(np.concatenate([x.features[r] for x, r in zip(lessons, rows, strict=True)])))
    total, n = torch.zeros(()), len(answers)
    for lesson, part, heard in zip(lessons, answers.split([len(r) for r in rows]), rows, strict=True):
        for cosines, weight in zip(_cosines(part, lesson, heard), weights, strict=True):
            total = total + weight * (1 - cosines).sum() / n
    return total


def _cosines(answers: torch.Tensor, lesson: Lesson, rows: np.ndarray) -> Iterator[torch.Tensor]:
    """The cosines to each teacher; 1 where it was not asked."""
    first = 0
    for targets, size in zip(lesson.targets, lesson_sizes(lesson, answers.shape[1]), strict=True):
        ours = answers[:, first : first + size]
        first += size
        yield torch.ones(()) if targets is None else functional.cosine_similarity(ours, targets[rows])


def lesson_sizes(lesson: Lesson, size: int) -> list[int]:
    """Length of each teacher's part; at most one was not asked, and has what the others leave."""
    known = [0 if targets is None else targets.shape[1] for targets in lesson.targets]
    return [n or size - sum(known) for n in known]


def held_out_cosines(network: Network, lessons: Sequence[Lesson]) -> list[float]:
    """Return the mean cosine to each teacher over all examples that it was asked about and nobody learned from."""
    network.eval()
    found: list[list[torch.Tensor]] = [[] for _ in lessons[0].targets]
    with torch.no_grad():
        for lesson in lessons:
            rows = np.flatnonzero(lesson.held_out)
            for first, last in pairwise([*range(0, len(rows), 512), len(rows)]):
                part = rows[first:last]
                for kept, cosines in zip(
                    found, _cosines(network(inputs(lesson.features[part])), lesson, part), strict=True
                ):
                    if cosines.ndim:
                        kept.append(cosines)
    return [float(torch.cat(kept).mean()) for kept in found]
