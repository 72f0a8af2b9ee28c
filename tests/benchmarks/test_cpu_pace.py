"""The ways that a student's training takes on a CPU give what the others give."""

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from benchmarks.l3mini import cpu_pace, gpu_kernels  # noqa: E402 - they import PyTorch


@pytest.mark.parametrize("relu", [True, False])
def test_the_normalisation_of_a_cpu_is_the_plain_one(relu):
    torch.manual_seed(0)
    values = 3 * torch.randn(5, 7, 11) + torch.arange(5)[:, None, None]
    found = []
    for way in (gpu_kernels.normalise, lambda x, *rest: gpu_kernels._Normalise.apply(x.flatten(1), *rest)):
        x = values.clone().requires_grad_()
        weight, bias = (torch.linspace(low, 2, 5).requires_grad_() for low in (0.5, -1))
        y, mean, variance = way(x, weight, bias, 1e-3, relu)
        (y.reshape(x.shape) * torch.linspace(-1, 1, 11)).square().sum().backward()
        assert not mean.requires_grad
        assert not variance.requires_grad
        found.append([y.detach().reshape(x.shape), mean, variance, x.grad, weight.grad, bias.grad])
    for ours, plain in zip(*found, strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-3, atol=1e-4 * float(plain.abs().max()))


def test_products_are_timed_to_choose_a_type():
    assert cpu_pace.half_type() in (torch.float32, torch.bfloat16)
