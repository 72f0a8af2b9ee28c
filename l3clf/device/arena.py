"""Memory planning: every tensor of a network gets an offset in one static arena.

Rule: two tensors share bytes only if no layer needs both.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from l3clf.device.lower import Layer
from l3clf.networks.int8_model import Int8Model

__all__ = ["ALIGNMENT", "Plan", "plan_memory"]

ALIGNMENT = 8  # of the pointers in scratch memory, on a 64-bit host
SLACK = 4  # bytes after the last tensor, because the kernels read whole words


@dataclass(frozen=True)
class Plan:
    """Where tensors and scratch memory lie in the arena.

    Attributes
    ----------
    offsets : dict of int to int
        Offset in bytes of each tensor, by its index in the model.
    scratch : tuple of int
        Offset in bytes of each layer's scratch memory.
    size : int
        Size of the arena in bytes.
    tensors_end : int
        From there on there is scratch memory only, whose content nobody needs between two pieces of the network.
    """

    offsets: dict[int, int]
    scratch: tuple[int, ...]
    size: int
    tensors_end: int


@dataclass(frozen=True)
class _Buffer:
    size: int
    first: int  # index of the layer that writes it; -1 for the network's input
    last: int  # index of the last layer that reads it
    key: tuple[str, int]


def plan_memory(model: Int8Model, layers: Sequence[Layer], aliases: dict[int, int]) -> Plan:
    """Place all tensors and scratch memory: largest first, each at the lowest offset that is free while it lives.

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
    # Greedy by size, as in TensorFlow Lite Micro; the rest of the key makes the same model give the same plan.
    for buffer in sorted(buffers, key=lambda b: (-b.size, b.first, b.key)):
        placed.append((buffer, _lowest(buffer, placed)))
    found = {buffer.key: offset for buffer, offset in placed}
    offsets = {index: offset for (kind, index), offset in found.items() if kind == "tensor"}
    for alias, index in (*shared.items(), *aliases.items()):  # in the order in which they are computed
        offsets[alias] = offsets[index]
    scratch = tuple(found["scratch", place] for place in range(len(layers)))
    ends = [(buffer.key[0], offset + buffer.size) for buffer, offset in placed]
    size = _aligned(max(end for _, end in ends) + SLACK)
    return Plan(offsets, scratch, size, _aligned(max(end for kind, end in ends if kind == "tensor")))


def _life(model: Int8Model, layers: Sequence[Layer], aliases: dict[int, int]) -> tuple[dict[int, int], dict[int, int]]:
    """Return the indices of the layers that write each tensor and that read it last; -1 is before the first."""
    born = {model.source: -1} | {layer.target: place for place, layer in enumerate(layers)}
    last = dict(born)
    for place, layer in enumerate(layers):
        last |= dict.fromkeys(layer.sources, place)
    last[aliases.get(model.target, model.target)] = len(layers)
    return born, last


def _in_place(model: Int8Model, layers: Sequence[Layer], aliases: dict[int, int]) -> dict[int, int]:
    """Return the tensors that overwrite one of their layer's inputs, mapped to that input."""
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
    for tensor, under in reversed(shared.items()):  # in reverse, so that chains pass on the last reader
        last[under] = max(last[under], last[tensor])
    tensors = [_Buffer(model.tensors[i].size, born[i], last[i], ("tensor", i)) for i in born if i not in shared]
    return tensors + [
        _Buffer(layer.scratch_bytes, place, place, ("scratch", place)) for place, layer in enumerate(layers)
    ]


def _lowest(buffer: _Buffer, placed: Sequence[tuple[_Buffer, int]]) -> int:
    """Return the lowest offset at which `buffer` overlaps no placed buffer that lives at the same time."""
    taken = [(at, at + b.size) for b, at in placed if b.first <= buffer.last and buffer.first <= b.last]
    offset = 0
    for start, end in sorted(taken):
        if offset + buffer.size <= start:
            break
        offset = max(offset, _aligned(end))
    return offset


def _aligned(n: int) -> int:
    return -(-n // ALIGNMENT) * ALIGNMENT
