"""What makes `gpu_distil` fast on a CPU: bfloat16 where the processor has it, and a compiler for what waits for memory.

Rule: the results are the same but for rounding, and where something is missing, PyTorch's plain way is taken.
"""

import time
from collections.abc import Callable
from typing import TypeVar

import torch

__all__ = ["compiled", "half_type"]

SIZE, TRIES = 512, 5  # of the matrices whose product is timed
WORTH = 0.6  # of float32's time

Function = TypeVar("Function", bound=Callable[..., object])


def half_type() -> torch.dtype:
    """Return bfloat16 if this processor multiplies it clearly faster than float32, else float32."""
    return torch.bfloat16 if _product_s(torch.bfloat16) < WORTH * _product_s(torch.float32) else torch.float32


def _product_s(kind: torch.dtype) -> float:
    """The shortest time of a product of matrices: machines are noisy."""
    x = torch.ones(SIZE, SIZE, dtype=kind)
    times = []
    for _ in range(TRIES + 1):  # the first one prepares
        begun = time.perf_counter()
        _ = x @ x
        times.append(time.perf_counter() - begun)
    return min(times[1:])


def compiled(function: Function) -> Function:
    """Return a function as PyTorch compiles it at its first call, which takes half a minute and a C++ compiler.

    For teachers and for cutting windows, whose many small passes wait for memory; where it does not compile, the
    function itself is called.
    """
    torch._dynamo.config.suppress_errors = True
    found: Function = torch.compile(function, dynamic=False)
    return found
