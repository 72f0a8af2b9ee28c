"""A plan of the memory that a network works in: every tensor gets a place in one static arena.

Rule: two tensors share bytes only if no layer needs both; nothing else is assumed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from l3clf.device.lower import Layer
from l3clf.networks.int8_model import Int8Model

__all__ = ["ALIGNMENT", "Plan", "plan_memory"]

ALIGNMENT = 8
SLACK = 4  # bytes behind the last tensor: the kernels read whole words


@dataclass(frozen=True)
class Plan:
    """Where everything lies.

    Attributes
    ----------
    offsets : dict of int to int
        Tensor -> its first byte in the arena.
    scratch : tuple of int
        Layer -> the first byte of its scratch.
    size : int
        Bytes of the arena.
    """

    offsets: dict[int, int]
    scratch: tuple[int, ...]
    size: int


@dataclass(frozen=True)
class _Buffer:
    size: int
    first: int  # layer that writes it; -1 is before the first
    last: int  # layer that reads it last
    key: tuple[str, int]


def plan_memory(model: Int8Model, layers: Sequence[Layer], aliases: dict[int, int]) -> Plan:
    """Place all tensors and scratch memory: the largest first, each as low as what is alive with it allows.

    Parameters
    ----------
    model : Int8Model
    layers : sequence of Layer
    aliases : dict of int to int
        From `lower`, like the layers.

    Returns
    -------
    Plan
    """
    shared = _in_place(model, layers, aliases)
    buffers = _buffers(model, layers, aliases, shared)
    placed: list[tuple[_Buffer, int]] = []
    for buffer in sorted(buffers, key=lambda b: (-b.size, b.first, b.key)):
        placed.append((buffer, _lowest(buffer, placed)))
    found = {buffer.key: offset for buffer, offset in placed}
    offsets = {index: offset for (kind, index), offset in found.items() if kind == "tensor"}
    for alias, index in (*shared.items(), *aliases.items()):  # in the order in which they are computed
        offsets[alias] = offsets[index]
    scratch = tuple(found["scratch", place] for place in range(len(layers)))
    return Plan(offsets, scratch, _aligned(max(offset + buffer.size for buffer, offset in placed) + SLACK))


def _life(model: Int8Model, layers: Sequence[Layer], aliases: dict[int, int]) -> tuple[dict[int, int], dict[int, int]]:
    """Return the layers that write every tensor and that read it last; -1 is before the first."""
    born = {model.source: -1} | {layer.target: place for place, layer in enumerate(layers)}
    last = dict(born)
    for place, layer in enumerate(layers):
        last |= dict.fromkeys(layer.sources, place)
    last[aliases.get(model.target, model.target)] = len(layers)
    return born, last


def _in_place(model: Int8Model, layers: Sequence[Layer], aliases: dict[int, int]) -> dict[int, int]:
    """Return the tensors that are written over one that nobody needs any more."""
    _, last = _life(model, layers, aliases)
    shared = {}
    for place, layer in enumerate(layers):
        dying = [index for index in layer.sources if last[index] == place]
        if layer.in_place and dying:
            shared[layer.target] = dying[0]
    return shared


def _buffers(
    model: Int8Model, layers: Sequence[Layer], aliases: dict[int, int], shared: dict[int, int]
) -> list[_Buffer]:
    born, last = _life(model, layers, aliases)
    for tensor, under in reversed(shared.items()):  # the lower one lives until the upper one has
        last[under] = max(last[under], last[tensor])
    tensors = [_Buffer(model.tensors[i].size, born[i], last[i], ("tensor", i)) for i in born if i not in shared]
    return tensors + [
        _Buffer(layer.scratch_bytes, place, place, ("scratch", place)) for place, layer in enumerate(layers)
    ]


def _lowest(buffer: _Buffer, placed: Sequence[tuple[_Buffer, int]]) -> int:
    """Return the lowest offset at which `buffer` meets nothing that is alive with it."""
    rivals = [(at, at + b.size) for b, at in placed if b.first <= buffer.last and buffer.first <= b.last]
    offset = 0
    for start, end in sorted(rivals):
        if offset + buffer.size <= start:
            break
        offset = max(offset, _aligned(end))
    return offset


def _aligned(n: int) -> int:
    return -(-n // ALIGNMENT) * ALIGNMENT
