"""The network as C text: the constants of every layer, and functions that call the kernels in order.

Rule: a step computes whole pieces of layers, and whatever the budget, the results are those of the network at once.
"""

from collections.abc import Sequence

from l3clf.device.arena import Plan
from l3clf.device.ctext import c_layer
from l3clf.device.lower import Layer
from l3clf.networks.int8_model import Int8Model

__all__ = ["network_source"]

_WITH_SCRATCH = ("conv", "depthwise")

_STEP = """
int l3clf_network_step(int8_t *arena, l3clf_progress *progress, int32_t budget)
{
    int32_t layer = progress->layer, first = progress->place;
    if (layer == 0 && first == 0) {
    %(start)s
    }
    for (int pieces = 0; layer < N_LAYERS; pieces++) {
        const l3clf_extent *extent = &extents[layer];
        if (pieces > 0 && budget < extent->work) {
            break;
        }
        const int32_t last = l3clf_next_place(extent, first, &budget);
        compute(arena, layer, first, last);
        first = last < extent->places ? last : 0;
        layer += last < extent->places ? 0 : 1;
    }
    progress->layer = layer;
    progress->place = first;
    return layer == N_LAYERS;
}

void l3clf_network(int8_t *arena)
{
    l3clf_progress progress = {0, 0};
    while (!l3clf_network_step(arena, &progress, INT32_MAX)) {
    }
}
"""


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
        The constants, ``int l3clf_network_step(int8_t *arena, l3clf_progress *progress, int32_t budget)`` and
        ``void l3clf_network(int8_t *arena)``.
    """
    names = [f"layer{place}_{layer.kernel}" for place, layer in enumerate(layers)]
    constants = "\n".join(c_layer(name, layer) for name, layer in zip(names, layers, strict=True))
    extents = "\n".join(f"    {{{layer.places}, {layer.piece}, {layer.piece * layer.work}}}," for layer in layers)
    cases = "\n".join(
        _case(model, place, name, layer, plan) for place, (name, layer) in enumerate(zip(names, layers, strict=True))
    )
    return f"""{constants}
#define N_LAYERS {len(layers)}

static const l3clf_extent extents[N_LAYERS] = {{
{extents}
}};

/* Computes the places of a layer from `first` on, before `last`. */
static void compute(int8_t *arena, int32_t layer, int32_t first, int32_t last)
{{
    switch (layer) {{
{cases}
    }}
}}
{_STEP % {"start": _trace(model, model.source, plan.offsets)}}"""


def _case(model: Int8Model, place: int, name: str, layer: Layer, plan: Plan) -> str:
    tensors = [f"arena + {plan.offsets[index]}" for index in (*layer.sources, layer.target)]
    scratch = [f"arena + {plan.scratch[place]}"] if layer.kernel in _WITH_SCRATCH else []
    arguments = ", ".join([f"&{name}", *tensors, "first", "last", *scratch])
    return f"""    case {place}:
        l3clf_{layer.kernel}({arguments});
        if (last == {layer.places}) {{
        {_trace(model, layer.target, plan.offsets)}
        }}
        break;"""


def _trace(model: Int8Model, tensor: int, offsets: dict[int, int]) -> str:
    return f"    TRACE({tensor}, arena + {offsets[tensor]}, {model.tensors[tensor].size});"
