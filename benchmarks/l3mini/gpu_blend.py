"""Blends two students that were trained together: the weights of the first, and some of the way to the second.

    python -m benchmarks.l3mini.gpu_blend trained=DIR first=Ly second=Lz share=1.6 out=L

Rule: both began with the same weights and saw the same windows, so that what lies between them, and a little beyond, is
as good a network as they are. Statistics of the normalisations are measured anew, on the windows in ``levels.npz``.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.environment import say
from benchmarks.l3mini.gpu_network import Network, layout_of, measured, patches
from benchmarks.settings import apply_settings
from l3clf.embedders.frontend import INPUT_STEPS

__all__ = ["Options", "run"]

MIN_VARIANCE = 1e-4  # beyond the second, a variance can come out negative until it is measured
ROWS = 500  # windows at once


@dataclass(frozen=True)
class Options:
    """What is blended.

    Attributes
    ----------
    trained : Path
        A folder with the students' ``.npz`` files and ``levels.npz``, into which the blend is written.
    first, second, out : str
        Names without ``.npz``.
    share : float
        0 gives the first, 1 the second; more goes past it.
    """

    trained: Path = Path("trained")
    first: str = "Ly"
    second: str = "Lz"
    share: float = 1.6
    out: str = "L"


def run(options: Options) -> Path:
    """Write the blend."""
    a, b = ({**np.load(options.trained / f"{name}.npz")} for name in (options.first, options.second))
    blend = {n: (v + options.share * (b[n] - v)).astype(v.dtype) if v.dtype == np.float32 else v for n, v in a.items()}
    for name in [name for name in blend if name.endswith("running_var")]:
        blend[name] = np.maximum(blend[name], MIN_VARIANCE)
    with np.load(options.trained / "levels.npz") as file:
        levels = torch.from_numpy(file["levels"].astype(np.float32) / INPUT_STEPS)
    network = Network(layout_of(blend), *levels.shape[1:])
    network.load_state_dict({name: torch.from_numpy(blend[name]) for name in network.state_dict()})
    network.train()
    with torch.no_grad(), measured(network):
        for x in levels.split(ROWS):
            network.features(patches(x, torch.float32))
    blend |= {name: value.numpy() for name, value in network.state_dict().items()}
    del blend["held_out"]  # a figure of the first alone
    path = options.trained / f"{options.out}.npz"
    np.savez(path, **blend)
    return path


if __name__ == "__main__":
    say(str(run(apply_settings(Options, sys.argv[1:]))))
