"""The network as C text: the constants of every layer, and a function that calls the kernels in order."""

from collections.abc import Sequence

from l3clf.device.arena import Plan
from l3clf.device.ctext import c_layer
from l3clf.device.lower import Layer
from l3clf.networks.int8_model import Int8Model

__all__ = ["network_source"]

_WITH_SCRATCH = ("conv", "depthwise", "add")


def network_source(model: Int8Model, layers: Sequence[Layer], plan: Plan) -> str:
    """Return the C text of the network.

    Parameters
    ----------
    model : Int8Model
    layers : sequence of Layer
    plan : Plan

    Returns
    -------
    str
        The constants, and ``void l3clf_network(int8_t *arena)``.
    """
    names = [f"layer{place}_{layer.kernel}" for place, layer in enumerate(layers)]
    constants = "\n".join(c_layer(name, layer) for name, layer in zip(names, layers, strict=True))
    calls = "\n".join(
        _call(model, name, layer, plan.offsets, scratch)
        for name, layer, scratch in zip(names, layers, plan.scratch, strict=True)
    )
    start = _trace(model, model.source, plan.offsets)
    return f"{constants}\nvoid l3clf_network(int8_t *arena)\n{{\n{start}\n{calls}\n}}\n"


def _call(model: Int8Model, name: str, layer: Layer, offsets: dict[int, int], scratch: int) -> str:
    arguments = [f"&{name}", *(f"arena + {offsets[index]}" for index in (*layer.sources, layer.target))]
    if layer.kernel in _WITH_SCRATCH:
        arguments.append(f"arena + {scratch}")
    return f"    l3clf_{layer.kernel}({', '.join(arguments)});\n{_trace(model, layer.target, offsets)}"


def _trace(model: Int8Model, tensor: int, offsets: dict[int, int]) -> str:
    return f"    TRACE({tensor}, arena + {offsets[tensor]}, {model.tensors[tensor].size});"
