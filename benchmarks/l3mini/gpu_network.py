"""Students in PyTorch, laid out for a GPU: every convolution is a matrix product.

Rule: activations lie as (channels, windows, places), on a GPU in bfloat16. A pointwise convolution is then one
product, a depthwise one a batch of products, one for each channel, with the matrix that its kernel spells out on so
small a map; both run on the tensor cores, forwards and backwards, where a library's depthwise gradients are slow.
Normalisation with its ReLU is a kernel of our own where Triton is there and agrees with PyTorch, else PyTorch. The
names of the weights are those of `torch_training.Network`, and so are the results.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.l3mini import gpu_kernels

__all__ = ["STUDENTS", "Layout", "Network", "layout_of", "patches", "same_pads"]

EPSILON, MOMENTUM = 1e-3, 0.1
STEM_KERNEL, STEM_STRIDE = 5, 4


@dataclass(frozen=True)
class Layout:
    """The layers of a student, as in `l3clf.distill.architectures`, and how many numbers of each teacher it gives.

    The teachers are EfficientAT mn04, the speech embedding, YAMNet and mn04's scores.
    """

    stem: int
    blocks: tuple[tuple[int, int], ...]
    parts: tuple[int, int, int, int]


_L = ((64, 2), (96, 1), (96, 1), (96, 1), (96, 1), (160, 2), (160, 1))
STUDENTS: Mapping[str, Layout] = {
    "L": Layout(32, _L, (144, 64, 0, 0)),
    "Ly": Layout(32, _L, (96, 48, 80, 0)),
    "Lz": Layout(32, _L, (96, 48, 80, 0)),
    "B": Layout(
        64,
        ((96, 1), (128, 2), (192, 1), (192, 1), (192, 1), (192, 1), (192, 1), (384, 2), (384, 1), (384, 1)),
        (224, 80, 80, 0),
    ),
    "S": Layout(16, ((32, 2), (48, 1), (48, 1), (80, 2)), (96, 48, 0, 0)),
}


def layout_of(arrays: Mapping[str, Any]) -> Layout:
    """Return the layout of a student whose weights `gpu_distil` wrote."""
    strides = [int(stride) for stride in arrays["strides"]]
    wide = [len(arrays[f"blocks.{i}.1.conv.weight"]) for i in range(len(strides))]
    a, b, c, d = (*(int(size) for size in arrays["parts"]), 0, 0)[:4]  # of two teachers in older files
    return Layout(len(arrays["stem.conv.weight"]), tuple(zip(wide, strides, strict=True)), (a, b, c, d))


def same_pads(size: tuple[int, int], kernel: int, stride: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the size of a map after a convolution that is padded as TensorFlow does, and the zeros put before it."""
    after = (-(-size[0] // stride), -(-size[1] // stride))
    short = [max((n - 1) * stride + kernel - m, 0) for n, m in zip(after, size, strict=True)]
    return after, (short[0] // 2, short[1] // 2)


def patches(levels: Tensor, dtype: torch.dtype) -> Tensor:
    """Return what the stem's kernel sees: (n, frames, bands) to (25, n, places)."""
    size = (levels.shape[1], levels.shape[2])
    (rows, columns), (top, left) = same_pads(size, STEM_KERNEL, STEM_STRIDE)
    bottom = (rows - 1) * STEM_STRIDE + STEM_KERNEL - size[0] - top
    right = (columns - 1) * STEM_STRIDE + STEM_KERNEL - size[1] - left
    padded = functional.pad(levels.to(dtype), (left, right, top, bottom))
    seen = padded.unfold(1, STEM_KERNEL, STEM_STRIDE).unfold(2, STEM_KERNEL, STEM_STRIDE)
    return seen.permute(3, 4, 0, 1, 2).reshape(STEM_KERNEL**2, len(levels), rows * columns)


def _spelled(size: tuple[int, int], stride: int) -> tuple[tuple[int, int], Tensor]:
    """Which tap of a 3x3 kernel leads from which place to which: (9, places before, places after), of 0 and 1."""
    after, (top, left) = same_pads(size, 3, stride)
    found = torch.zeros(9, size[0] * size[1], after[0] * after[1])
    for row in range(after[0]):
        for column in range(after[1]):
            for tap in range(9):
                i, j = row * stride + tap // 3 - top, column * stride + tap % 3 - left
                if 0 <= i < size[0] and 0 <= j < size[1]:
                    found[tap, i * size[1] + j, row * after[1] + column] = 1
    return after, found


class _Layer(nn.Module):
    """A convolution's kernel, as nn.Conv2d has it, with the normalisation that follows."""

    def __init__(self, shape: Sequence[int], relu: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 1, bias=False)  # for its name: only its weight is used
        self.conv.weight = nn.Parameter(torch.randn(*shape) * math.sqrt(2 / math.prod(shape[1:])))
        self.norm = nn.BatchNorm2d(shape[0], EPSILON, MOMENTUM)
        self.relu = relu

    def normalised(self, x: Tensor) -> Tensor:
        """Normalise (channels, windows, places), then ReLU."""
        return normalise(self.norm, x, self.relu)


class _Depthwise(_Layer):
    def __init__(self, channels: int, size: tuple[int, int], stride: int) -> None:
        super().__init__((channels, 1, 3, 3))
        self.size, spelled = _spelled(size, stride)
        self.places = spelled.shape[1:]
        self.register_buffer("spelled", spelled.flatten(1).to(torch.bfloat16), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        matrices = self.conv.weight.flatten(1).to(x.dtype) @ self.spelled.to(x.dtype)
        return self.normalised(torch.bmm(x, matrices.view(len(x), *self.places)))


class _Pointwise(_Layer):
    def __init__(self, before: int, after: int) -> None:
        super().__init__((after, before, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.normalised((self.conv.weight.flatten(1).to(x.dtype) @ x.flatten(1)).view(-1, *x.shape[1:]))


class Network(nn.Module):
    """A student: the stem's patches to its features and its embedding."""

    def __init__(self, layout: Layout, frames: int, bands: int) -> None:
        super().__init__()
        self.stem = _Layer((layout.stem, 1, STEM_KERNEL, STEM_KERNEL))
        size, _ = same_pads((frames, bands), STEM_KERNEL, STEM_STRIDE)
        channels, blocks = layout.stem, []
        for wide, stride in layout.blocks:
            depthwise = _Depthwise(channels, size, stride)
            size = depthwise.size
            blocks.append(nn.ModuleList([depthwise, _Pointwise(channels, wide)]))
            channels = wide
        self.blocks = nn.ModuleList(blocks)
        self.places = nn.Conv2d(1, 1, 1, bias=False)
        self.places.weight = nn.Parameter(torch.randn(channels, 1, *size) / math.sqrt(size[0] * size[1]))
        self.norm = nn.BatchNorm2d(channels, EPSILON, MOMENTUM)
        self.embedding = nn.Linear(channels, sum(layout.parts))

    def features(self, x: Tensor) -> Tensor:
        """Return what the last layer sees: (25, n, places) to (n, channels), float32."""
        kernel = self.stem.conv.weight.flatten(1).to(x.dtype)
        x = self.stem.normalised((kernel @ x.flatten(1)).view(-1, *x.shape[1:]))
        for depthwise, pointwise in self.blocks:
            y = pointwise(depthwise(x))
            x = x + y if x.shape == y.shape else y
        weighed = torch.bmm(x, self.places.weight.flatten(1).to(x.dtype)[:, :, None])
        return normalise(self.norm, weighed.float(), False)[:, :, 0].T

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return features and embedding."""
        features = self.features(x)
        return features, self.embedding(features)

    @torch.no_grad()
    def take_folded(self, arrays: Sequence[Tensor]) -> None:
        """Copy kernels and biases into which the normalisations were folded; they then only add the bias.

        The embedding's layer is copied where it has the same size.
        """
        layers = [(self.stem.conv, self.stem.norm)]
        layers += [(part.conv, part.norm) for block in self.blocks for part in block]
        layers += [(self.places, self.norm)]
        for (conv, norm), kernel, bias in zip(layers, arrays[:-2:2], arrays[1:-2:2], strict=True):
            conv.weight.copy_(kernel)
            norm.running_mean.zero_()
            norm.running_var.fill_(1 - EPSILON)
            norm.weight.fill_(1)
            norm.bias.copy_(bias)
        if arrays[-2].T.shape == self.embedding.weight.shape:
            self.embedding.weight.copy_(arrays[-2].T)
            self.embedding.bias.copy_(arrays[-1])


class measured:  # noqa: N801  # a context, as torch.no_grad
    """Within it, normalisations note the statistics of each batch; after it, those of all batches are theirs.

    In training they normalise by the batch's meanwhile, else by what they had before.
    """

    def __init__(self, network: nn.Module) -> None:
        self.norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]

    def __enter__(self) -> None:
        for norm in self.norms:
            norm.notes = []

    def __exit__(self, *_: object) -> None:
        for norm in self.norms:
            means = torch.stack([mean for mean, _ in norm.notes])
            variances = torch.stack([variance for _, variance in norm.notes])
            mean = means.mean(0)
            norm.running_mean.copy_(mean)
            norm.running_var.copy_(variances.mean(0) + (means - mean).square().mean(0))
            del norm.notes


def normalise(norm: nn.BatchNorm2d, x: Tensor, relu: bool) -> Tensor:
    """Normalise (channels, windows, places) by `norm`, in training by the batch's statistics."""
    if norm.training:
        y, mean, variance = gpu_kernels.normalise(x, norm.weight, norm.bias, EPSILON, relu)
        if hasattr(norm, "notes"):
            norm.notes.append((mean, variance))
            return y
        with torch.no_grad():
            norm.running_mean.lerp_(mean, MOMENTUM)
            norm.running_var.lerp_(variance, MOMENTUM)
        return y
    if hasattr(norm, "notes"):
        values = x.float().flatten(1)
        norm.notes.append((values.mean(1), values.var(1, correction=0)))
    scale = norm.weight / (norm.running_var + EPSILON).sqrt()
    shift = norm.bias - norm.running_mean * scale
    y = x.float() * scale[:, None, None] + shift[:, None, None]
    return (y.relu() if relu else y).to(x.dtype)
