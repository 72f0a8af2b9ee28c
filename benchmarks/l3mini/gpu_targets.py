"""What students learn in `gpu_distil`: each teacher's vectors as targets, and how much each counts.

Rule: targets are half-whitened and turned, so that a student's integers lose little, and no number of it means more
than another.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["AIMS", "NAMES", "Aim", "Targets", "ridge"]

NAMES = ("mn04", "speech", "yamnet", "scores")


@dataclass(frozen=True)
class Aim:
    """What a student learns.

    Attributes
    ----------
    rate : float
        The highest learning rate.
    weights : tuple of 4 float
        Of each target's cosine, as in `NAMES`.
    crossed : tuple of 2 float
        What the teachers of sounds count where somebody speaks, and the speech embedding where nobody does.
    """

    rate: float
    weights: tuple[float, float, float, float]
    crossed: tuple[float, float]


AIMS: Mapping[str, Aim] = {
    "L": Aim(2e-3, (1.0, 0.9, 0.8, 0.4), (0.4, 0.15)),
    "Ly": Aim(2e-3, (1.0, 0.9, 1.0, 0.3), (0.4, 0.15)),
    "Lz": Aim(2e-3, (1.0, 0.5, 1.0, 0.3), (0.4, 0.1)),
    "B": Aim(2e-3, (1.0, 1.0, 0.8, 0.3), (0.5, 0.2)),
    "S": Aim(4e-3, (1.0, 1.0, 0.6, 0.3), (0.4, 0.15)),
}


class Targets:
    """Each teacher's vectors: less their mean, projected on components that are half-whitened and turned at random."""

    def __init__(self, vectors: Tensor, seed: int) -> None:
        self.mean = vectors.mean(0)
        centred = (vectors - self.mean).double()
        values, axes = torch.linalg.eigh(centred.T @ centred / len(centred))
        self.values, self.axes = values.flip(0), axes.flip(1)
        self.seed = seed

    def projection(self, size: int) -> Tensor:
        """Return the matrix for the first `size` components."""
        generator = torch.Generator().manual_seed(self.seed)
        turned, _ = torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64))
        scaled = self.axes[:, :size] / self.values[:size].clamp(min=1e-9) ** 0.25
        return (scaled @ turned.to(scaled.device)).float()


def ridge(features: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """Return the linear layer that gives `wanted` best: weight (features, size) and bias."""
    x, y = features.double(), wanted.double()
    mean, middle = x.mean(0), y.mean(0)
    moments = (x - mean).T @ (x - mean)
    ridge = 1e-3 * moments.diagonal().mean() * torch.eye(len(moments), device=x.device, dtype=x.dtype)
    weight = torch.linalg.solve(moments + ridge, (x - mean).T @ (y - middle))
    return weight.float(), (middle - mean @ weight).float()
