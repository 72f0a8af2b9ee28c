"""The C kernels: every value of every layer is that of the exact interpreter, which is that of tflite-micro."""

from dataclasses import replace

import numpy as np
import pytest
from helpers import GOLDEN
from helpers.c_kernels import CNetwork
from helpers.tflite_editor import randomised
from helpers.tflite_micro_oracle import every_tensor, windows_for

import l3clf
from l3clf.device.arena import plan_memory
from l3clf.device.lower import lower
from l3clf.embedders.frontend import student_spec
from l3clf.errors import DeviceError
from l3clf.networks.int8_model import DepthwiseConv2D, Mean
from l3clf.networks.int8_run import Int8Network
from l3clf.networks.tflite_read import read_tflite

pytest.importorskip("unicorn")
pytest.importorskip("ziglang")

NAMES = ("separable", "pools", "means")
BUILDS = ("host", "dsp", "plain")


def content_of(name, seed=None):
    content = (GOLDEN / f"int8_{name}.tflite").read_bytes()
    return content if seed is None else randomised(content, seed)


@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize("name", NAMES)
def test_every_layer_equals_the_interpreter(name, build, tmp_path):
    net = Int8Network(read_tflite(content_of(name), name))
    x = windows_for(net.model.input.shape[1:], 20, seed=3)
    expected = net.layers(x)
    found = CNetwork(net.model, build, tmp_path).every_tensor(x)
    assert found
    for index, values in found.items():
        np.testing.assert_array_equal(values, expected[index], err_msg=f"tensor {index}")


@pytest.mark.parametrize("build", ["short", "dsp"])
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", NAMES)
def test_other_scales_and_weights_equal_tflite_micro(name, seed, build, tmp_path):
    pytest.importorskip("tflite_micro")
    content = content_of(name, seed)
    model = read_tflite(content, name)
    x = windows_for(model.input.shape[1:], 8, seed)
    expected = every_tensor(content, x)
    found = CNetwork(model, build, tmp_path).every_tensor(x)
    for index, values in found.items():
        np.testing.assert_array_equal(values.reshape(expected[index].shape), expected[index], err_msg=f"tensor {index}")


# --- steps -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*NAMES, "l3mini"])
def test_every_budget_gives_the_same_values(name, tmp_path):
    embedder = l3clf.load_embedder("l3mini", precision="int8")
    model = embedder.network.model if name == "l3mini" else read_tflite(content_of(name, seed=1), name)
    x = windows_for(model.input.shape[1:], 4, seed=4)[3:]
    net = CNetwork(model, "host", tmp_path)
    whole = net.every_tensor(x)
    rng = np.random.default_rng(0)
    most = sum(-(-layer.places // layer.piece) for layer in net.layers)
    cost = sum(layer.places * layer.work for layer in net.layers)
    for budget in (1, *(int(b) for b in rng.integers(1, cost, 20)), 2 * cost):
        found = net.every_tensor(x, budget)
        assert net.steps <= min(most, 1 + 3 * cost // budget + len(net.layers))
        assert net.steps == most or budget > 1
        for index, values in found.items():
            np.testing.assert_array_equal(values, whole[index], err_msg=f"tensor {index} with a budget of {budget}")
    assert net.steps == 1


def assert_every_layer_is_equal(embedder, build, n, folder):
    net = embedder.network
    rng = np.random.default_rng(0)
    x = np.clip(np.cumsum(rng.normal(0, 6, (n, *net.model.input.shape[1:])), axis=1) - 40, -128, 127).astype(np.int8)
    expected = net.layers(x)
    found = CNetwork(net.model, build, folder).every_tensor(x)
    assert sum(int((values != expected[index]).sum()) for index, values in found.items()) == 0


@pytest.mark.parametrize("build", [pytest.param(b, marks=pytest.mark.slow) if b == "dsp" else b for b in BUILDS])
def test_every_layer_of_l3mini_equals_the_interpreter(build, tmp_path):
    n = {"host": 200, "dsp": 200, "plain": 20}[build]  # plain C takes the emulator several times as long
    assert_every_layer_is_equal(l3clf.load_embedder("l3mini", precision="int8"), build, n, tmp_path)


@pytest.mark.parametrize(("name", "options"), [("l3base", {}), ("l3mini", {"revision": 1}), ("l3micro", {})])
def test_every_layer_of_the_others_in_the_package_equals_the_interpreter(name, options, tmp_path):
    embedder = l3clf.load_embedder(name, precision="int8", **options)
    assert_every_layer_is_equal(embedder, "host", 10, tmp_path)


@pytest.mark.parametrize(("name", "window_s"), [("S", 0.975), ("M", 2.0)])
def test_students_of_all_sizes_on_this_machine(name, window_s, tmp_path):
    """Where pointers have eight bytes, the depthwise layers' table of them is twice as long as on the chip."""
    pytest.importorskip("tensorflow")
    from l3clf.distill.architectures import ARCHITECTURES, build_student
    from l3clf.distill.student_tflite import student_tflite

    spec = student_spec(window_s)
    x = windows_for((spec.n_frames, spec.n_bands), 8, 1)
    student = build_student(ARCHITECTURES[name], spec.n_frames, spec.n_bands, 32)
    net = Int8Network(read_tflite(student_tflite(ARCHITECTURES[name], student, x), name))
    x = x[..., np.newaxis]
    expected = net.layers(x)
    for index, values in CNetwork(net.model, "host", tmp_path).every_tensor(x).items():
        np.testing.assert_array_equal(values, expected[index], err_msg=f"tensor {index}")


# --- memory ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_no_two_living_tensors_share_memory(name):
    model = read_tflite(content_of(name), name)
    layers, aliases = lower(model)
    plan = plan_memory(model, layers, aliases)
    living = {model.source}
    for place, layer in enumerate(layers):
        later = {index for other in layers[place + 1 :] for index in other.sources}
        later.add(aliases.get(model.target, model.target))
        spans = {i: (plan.offsets[i], plan.offsets[i] + model.tensors[i].size) for i in living | {layer.target}}
        spans["scratch"] = (plan.scratch[place], plan.scratch[place] + layer.scratch_bytes)
        free = {layer.target} if layer.in_place else set()
        for one, (start, end) in spans.items():
            assert end <= plan.size
            for other, (first, last) in spans.items():
                in_place = one in free and other in layer.sources and other not in later
                swapped = other in free and one in layer.sources and one not in later
                assert one == other or in_place or swapped or end <= first or last <= start or start == end
        living = {index for index in living | {layer.target} if index in later}


@pytest.mark.parametrize(("name", "size"), [("l3mini", 20_500), ("l3micro", 13_000)])
def test_students_for_chips_fit_into_little_memory(name, size):
    model = l3clf.load_embedder(name, precision="int8").network.model
    assert plan_memory(model, *lower(model)).size <= size


# --- refused by name --------------------------------------------------------------------------------


def test_sums_beyond_thirty_bits_are_refused():
    model = read_tflite(content_of("separable"), "model")
    op = model.operators[0]
    hot = replace(op, bias=np.full_like(op.bias, 1 << 30))
    with pytest.raises(
        DeviceError, match=r"operator 0, .*: sums of up to .*; the C runtime needs them below 1073741824"
    ):
        lower(replace(model, operators=(hot, *model.operators[1:])))


@pytest.mark.parametrize(("above", "refused"), [(-1, False), (0, True)])
def test_the_largest_sum_is_one_below_thirty_bits(above, refused):
    model = read_tflite(content_of("separable"), "model")
    op = model.operators[0]
    weights = np.zeros_like(op.weights)
    out = replace(op.out, shifts=np.minimum(op.out.shifts, 0))
    hot = replace(op, weights=weights, bias=np.full_like(op.bias, (1 << 30) + above), out=out)
    model = replace(model, operators=(hot, *model.operators[1:]))
    if refused:
        with pytest.raises(DeviceError, match="sums of up to 1073741824"):
            lower(model)
    else:
        lower(model)


def test_depthwise_layers_that_would_explode_are_refused():
    model = read_tflite(content_of("separable"), "model")
    place, op = next((i, o) for i, o in enumerate(model.operators) if isinstance(o, DepthwiseConv2D))
    wide = replace(op, weights=np.zeros((3, 3, 4096), np.int8), depth_multiplier=2)
    ops = (*model.operators[:place], wide, *model.operators[place + 1 :])
    with pytest.raises(DeviceError, match=r"depth multiplier of 2 expands to 75,497,472 weights"):
        lower(replace(model, operators=ops))


def test_means_over_separate_axes_are_refused():
    model = read_tflite(content_of("means"), "model")
    ops = [replace(op, axes=(1, 3)) if isinstance(op, Mean) else op for op in model.operators]
    with pytest.raises(
        DeviceError, match=r"operator 4, Mean: mean over axes \(1, 3\); the C runtime needs adjacent axes"
    ):
        lower(replace(model, operators=tuple(ops)))
