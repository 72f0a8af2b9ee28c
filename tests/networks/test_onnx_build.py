"""The ONNX writer: each layer against a plain NumPy implementation, and batch normalisation with known answers."""

import numpy as np
import onnx
import pytest

from l3clf.audio.spectrogram import MelSpec
from l3clf.embedders.openl3 import build_graph
from l3clf.errors import WeightsError
from l3clf.networks.onnx_build import (
    BATCH_NORM_EPSILON,
    GraphBuilder,
    check_layers,
    fold_batch_norm,
    norm_scale_shift,
    run_graph,
    session,
)

RANDOM = np.random.default_rng(3)


def values(*shape):
    return RANDOM.standard_normal(shape).astype(np.float32)


def run(x, build, size=1):
    """Run the layers that `build` adds on x, of shape (n, 1, bands, frames)."""
    graph = GraphBuilder(*x.shape[2:])
    build(graph)
    model = graph.build(size)
    del model.graph.output[0].type.tensor_type.shape.dim[:]  # layers are tried alone here: not (n, size) yet
    return run_graph(session(model), x)


def naive_conv(x, kernel, bias):
    """Correlate with zeros around, one output value at a time. x: (n, in, h, w), kernel: (kh, kw, in, out)."""
    kh, kw, _, n_out = kernel.shape
    top, left = (kh - 1) // 2, (kw - 1) // 2
    padded = np.pad(x.astype(float), ((0, 0), (0, 0), (top, kh - 1 - top), (left, kw - 1 - left)))
    out = np.empty((len(x), n_out, *x.shape[2:]))
    for i, j in np.ndindex(x.shape[2:]):
        patch = padded[:, :, i : i + kh, j : j + kw].transpose(0, 2, 3, 1)
        out[:, :, i, j] = np.tensordot(patch, kernel, axes=3) + bias
    return out


def naive_pool(x, height, width):
    rows, columns = x.shape[2] // height, x.shape[3] // width
    out = np.empty((*x.shape[:2], rows, columns))
    for i, j in np.ndindex(rows, columns):
        out[:, :, i, j] = x[:, :, i * height : (i + 1) * height, j * width : (j + 1) * width].max(axis=(2, 3))
    return out


@pytest.mark.parametrize("kernel_size", [(1, 1), (3, 3), (5, 3), (2, 2), (4, 3), (2, 5), (1, 4)], ids=str)
@pytest.mark.parametrize("size", [(7, 6), (3, 2)], ids=str)
def test_convolution_keeps_the_size_and_adds_up_what_lies_under_the_kernel(kernel_size, size):
    x, kernel, bias = values(2, 1, *size), values(*kernel_size, 1, 3), values(3)
    out = run(x, lambda graph: graph.conv(kernel, bias))
    np.testing.assert_allclose(out, naive_conv(x, kernel, bias), rtol=1e-5, atol=1e-5)


def test_convolution_over_several_channels():
    x = values(2, 1, 5, 4)
    first, second = (values(3, 3, 1, 4), values(4)), (values(3, 3, 4, 2), values(2))

    def two(graph):
        graph.conv(*first)
        graph.conv(*second)

    expected = naive_conv(naive_conv(x, *first), *second)
    np.testing.assert_allclose(run(x, two), expected, rtol=1e-4, atol=1e-4)


def test_an_even_kernel_is_padded_like_keras_does():
    """'same' puts the odd zero behind: a kernel of two that takes its second value shifts the input to the left."""
    x = np.arange(1, 5, dtype=np.float32).reshape(1, 1, 1, 4)
    kernel = np.array([0, 1], np.float32).reshape(1, 2, 1, 1)
    assert run(x, lambda graph: graph.conv(kernel, np.zeros(1))).ravel().tolist() == [2, 3, 4, 0]


@pytest.mark.parametrize("pool", [(1, 1), (2, 2), (2, 3), (7, 6), (3, 4)], ids=str)
def test_max_pool_drops_what_does_not_fill_a_pool(pool):
    x = values(2, 1, 7, 6)
    np.testing.assert_array_equal(run(x, lambda graph: graph.max_pool(*pool)), naive_pool(x, *pool))


def test_max_pool_does_not_take_the_padding_for_a_value():
    x = -1 - np.abs(values(1, 1, 5, 5))
    assert run(x, lambda graph: graph.max_pool(2, 2)).max() < -1


def test_relu():
    x = values(1, 1, 3, 4)
    np.testing.assert_array_equal(run(x, GraphBuilder.relu), np.maximum(x, 0))


def test_hard_swish():
    x = 4 * values(2, 1, 7, 6)
    np.testing.assert_allclose(run(x, GraphBuilder.hard_swish), x * np.clip(x / 6 + 0.5, 0, 1), rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(
        run(np.float32([[[[-9, -3, 0, 3, 9]]]]), GraphBuilder.hard_swish), [[[[0, 0, 0, 3, 9]]]]
    )


def test_squeeze_and_excitation_weight_channels_by_their_means():
    x, wide = values(2, 1, 5, 4), (values(1, 1, 1, 6), values(6))
    squeeze, excite = (values(6, 3), values(3)), (values(3, 6), values(6))

    def layers(graph):
        graph.conv(*wide)
        graph.squeeze_excite(squeeze, excite)

    before = naive_conv(x, *wide)
    inner = np.maximum(before.mean(axis=(2, 3)) @ squeeze[0] + squeeze[1], 0)
    factors = 1 / (1 + np.exp(-(inner @ excite[0] + excite[1])))
    np.testing.assert_allclose(run(x, layers), before * factors[:, :, np.newaxis, np.newaxis], rtol=1e-5, atol=1e-5)


def test_the_mean_of_each_channel():
    x, wide = values(2, 1, 5, 4), (values(1, 1, 1, 6), values(6))

    def layers(graph):
        graph.conv(*wide)
        graph.global_mean()
        graph.flatten()

    np.testing.assert_allclose(run(x, layers), naive_conv(x, *wide).mean(axis=(2, 3)), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("scale", "shift"), [(1.0, 0.0), (-2.5, 3.0), (1e-3, -40.0)])
def test_affine(scale, shift):
    x = values(2, 1, 3, 4)
    expected = x * np.float32(scale) + np.float32(shift)
    np.testing.assert_array_equal(run(x, lambda graph: graph.affine(scale, shift)), expected)


def test_flattening_lets_channels_vary_fastest():
    x, kernel, bias = values(2, 1, 3, 4), values(1, 1, 1, 5), values(5)

    def layers(graph):
        graph.conv(kernel, bias)
        graph.flatten_channels_last()

    out = run(x, layers)
    assert out.shape == (2, 3 * 4 * 5)
    by_place = out.reshape(2, 3, 4, 5)
    np.testing.assert_allclose(by_place, x[:, 0, :, :, np.newaxis] * kernel[0, 0, 0] + bias, rtol=1e-6, atol=1e-6)


def test_several_layers_of_a_kind_do_not_share_their_constants():
    def layers(graph):
        graph.affine(2, 1)
        graph.affine(3, 5)
        graph.conv(np.full((1, 1, 1, 1), 10.0), np.ones(1))
        graph.conv(np.full((1, 1, 1, 1), 0.5), np.zeros(1))

    assert run(np.ones((1, 1, 1, 1), np.float32), layers).item() == ((1 * 2 + 1) * 3 + 5) * 10 * 0.5 + 0.5


def test_the_model_is_valid_and_says_its_shapes():
    graph = GraphBuilder(6, 8)
    graph.conv(values(3, 3, 1, 2), values(2))
    graph.max_pool(6, 8)
    graph.flatten_channels_last()
    model = graph.build(2)
    onnx.checker.check_model(model, full_check=True)
    opened = session(model)
    assert [d.shape for d in (*opened.get_inputs(), *opened.get_outputs())] == [["n", 1, 6, 8], ["n", 2]]
    options = opened.get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (1, 1)


# --- batch normalisation ---------------------------------------------------------------------------


def norm(gamma, beta, mean, variance):
    arrays = {"gamma": gamma, "beta": beta, "moving_mean": mean, "moving_variance": variance}
    return {name: np.atleast_1d(np.float32(value)) for name, value in arrays.items()}


@pytest.mark.parametrize(
    ("arrays", "scale", "shift"),
    [
        (norm(1, 0, 0, 1 - BATCH_NORM_EPSILON), 1, 0),
        (norm(3, 0.5, 2, 9 - BATCH_NORM_EPSILON), 1, -1.5),
        (norm(1, 0, 0, 0), BATCH_NORM_EPSILON**-0.5, 0),  # a channel that never fired in training
        (norm(0, 7, 100, 4), 0, 7),
    ],
)
def test_batch_norm_as_scale_and_shift(arrays, scale, shift):
    found = norm_scale_shift(arrays)
    np.testing.assert_allclose(np.ravel(found), [scale, shift], rtol=1e-6, atol=1e-7)
    assert all(array.dtype == np.float64 for array in found)


def test_folding_gives_what_convolution_and_normalisation_give_one_after_the_other():
    x = values(2, 1, 5, 4)
    conv = {"kernel": values(3, 3, 1, 3), "bias": values(3)}
    after = norm([1.2, -0.5, 0.9], [0.1, 2, -3], [0.3, -0.2, 5], [0.5, 1.5, 100])
    out = naive_conv(x, conv["kernel"], conv["bias"])
    columns = {name: array.astype(float)[:, np.newaxis, np.newaxis] for name, array in after.items()}
    deviation = np.sqrt(columns["moving_variance"] + BATCH_NORM_EPSILON)
    expected = columns["gamma"] * (out - columns["moving_mean"]) / deviation + columns["beta"]
    folded = run(x, lambda graph: graph.conv(*fold_batch_norm(conv, after)))
    np.testing.assert_allclose(folded, expected, rtol=1e-5, atol=1e-5)


def test_folding_without_a_normalisation_changes_nothing():
    conv = {"kernel": values(3, 3, 1, 3), "bias": values(3)}
    kernel, bias = fold_batch_norm(conv, None)
    np.testing.assert_array_equal(kernel, conv["kernel"])
    np.testing.assert_array_equal(bias, conv["bias"])


# --- layers against what is expected ---------------------------------------------------------------

EXPECTED = [("conv", {"kernel": (3, 3, 1, 2), "bias": (2,)})]


def test_layers_as_expected_pass_and_more_of_them_do_no_harm():
    layers = {"conv": {"kernel": values(3, 3, 1, 2), "bias": values(2)}, "other": {"bias": values(9)}}
    assert check_layers(layers, EXPECTED, "some.h5") is None


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ({}, "some.h5: has no conv/kernel"),
        ({"conv": {"kernel": values(3, 3, 1, 2)}}, "some.h5: has no conv/bias"),
        (
            {"conv": {"kernel": values(3, 3, 2, 2), "bias": values(2)}},
            r"conv/kernel has shape \(3, 3, 2, 2\), expected",
        ),
        ({"conv": {"kernel": values(3, 3, 1, 2), "bias": values(1, 2)}}, r"conv/bias has shape \(1, 2\)"),
        ({"conv": {"kernel": values(18), "bias": values(2)}}, r"conv/kernel has shape \(18,\)"),
    ],
)
def test_other_layers_are_refused_by_name(layers, message):
    with pytest.raises(WeightsError, match=message):
        check_layers(layers, EXPECTED, "some.h5")


# --- the network of the L3 family, small -----------------------------------------------------------

SPEC = MelSpec(8000, 64, 40, 25, 17, 0, 4000)
FILTERS = (2, 3, 2, 4, 3, 2, 4, 5)


def small_layers(last_norm):
    layers = {"batch_normalization_1": norm(1.1, 0.2, -3, 4)}
    for number, (c_in, c_out) in enumerate(zip((1, *FILTERS), FILTERS, strict=False), start=1):
        name = "audio_embedding_layer" if number == 8 else f"conv2d_{number}"
        layers[name] = {"kernel": values(3, 3, c_in, c_out) / 3, "bias": values(c_out)}
        if number < 8 or last_norm:
            positive = np.abs(values(2, c_out)) + 0.5
            layers[f"batch_normalization_{number + 1}"] = norm(positive[0], values(c_out), values(c_out), positive[1])
    return layers


def naive_norm(x, arrays):
    scale = arrays["gamma"] / np.sqrt(arrays["moving_variance"].astype(float) + 1e-3)
    shift = arrays["beta"] - arrays["moving_mean"] * scale
    return x * scale[:, np.newaxis, np.newaxis] + shift[:, np.newaxis, np.newaxis]


def naive_network(x, layers, last_norm):
    x = naive_norm(x, layers["batch_normalization_1"])
    for number in range(1, 9):
        name = "audio_embedding_layer" if number == 8 else f"conv2d_{number}"
        x = naive_conv(x, layers[name]["kernel"], layers[name]["bias"])
        if number < 8 or last_norm:
            x = naive_norm(x, layers[f"batch_normalization_{number + 1}"])
        x = np.maximum(x, 0) if number < 8 else x
        x = naive_pool(x, 2, 2) if number in (2, 4, 6) else x
    return naive_pool(x, 1, 3).transpose(0, 2, 3, 1).reshape(len(x), -1)


@pytest.mark.parametrize("last_norm", [False, True])
def test_the_whole_network_against_a_plain_one(last_norm):
    layers, x = small_layers(last_norm), values(2, 1, 17, 25)
    model = build_graph(layers, SPEC, FILTERS, (1, 3), last_norm=last_norm, file="small.h5")
    out = run_graph(session(model), x)
    assert out.shape == (2, 2 * 1 * 5)
    np.testing.assert_allclose(out, naive_network(x, layers, last_norm), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "missing", ["batch_normalization_1", "conv2d_3", "batch_normalization_5", "audio_embedding_layer"]
)
def test_the_network_is_not_built_with_a_layer_missing(missing):
    layers = {name: arrays for name, arrays in small_layers(False).items() if name != missing}
    with pytest.raises(WeightsError, match=f"small.h5: has no {missing}/"):
        build_graph(layers, SPEC, FILTERS, (1, 3), last_norm=False, file="small.h5")
