"""Batch normalisation with ReLU over rows, (channels, anything): Triton kernels, and the same in PyTorch.

Rule: sums are taken in float32, and a kernel is used only after `choose` has seen it agree with PyTorch on this
machine. Nothing else in the training depends on Triton. On a CPU, PyTorch's own normalisation is one pass where the
plain one is ten over as much memory.
"""

from typing import Any

import torch
from torch import Tensor

try:
    import triton
    import triton.language as tl
except ImportError:
    triton = None

__all__ = ["choose", "normalise"]

BLOCK, CHUNK = 2048, 16384  # values at once; values of one program
TOLERANCE = 2e-2  # of the largest value, in bfloat16
_use = {"triton": False}

if triton is not None:

    @triton.jit
    def _sums(x, out, columns, rows, CHUNK: tl.constexpr, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
        """Add up the values of each row, and their squares."""
        row, first = tl.program_id(0).to(tl.int64), tl.program_id(1) * CHUNK
        total = tl.zeros((BLOCK,), tl.float32)
        squares = tl.zeros((BLOCK,), tl.float32)
        for start in range(0, CHUNK, BLOCK):
            at = first + start + tl.arange(0, BLOCK)
            v = tl.load(x + row * columns + at, mask=at < columns, other=0.0).to(tl.float32)
            total += v
            squares += v * v
        tl.atomic_add(out + row, tl.sum(total, 0))
        tl.atomic_add(out + rows + row, tl.sum(squares, 0))

    @triton.jit
    def _apply(x, y, scale, shift, columns, RELU: tl.constexpr, CHUNK: tl.constexpr, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
        """Scale and shift each row."""
        row, first = tl.program_id(0).to(tl.int64), tl.program_id(1) * CHUNK
        a, b = tl.load(scale + row), tl.load(shift + row)
        for start in range(0, CHUNK, BLOCK):
            at = first + start + tl.arange(0, BLOCK)
            v = tl.load(x + row * columns + at, mask=at < columns, other=0.0).to(tl.float32) * a + b
            if RELU:
                v = tl.maximum(v, 0.0)
            tl.store(y + row * columns + at, v.to(y.dtype.element_ty), mask=at < columns)

    @triton.jit
    def _back_sums(x, y, dy, out, columns, rows, RELU: tl.constexpr, CHUNK: tl.constexpr, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
        """Add up each row's gradient, and its product with the input."""
        row, first = tl.program_id(0).to(tl.int64), tl.program_id(1) * CHUNK
        total = tl.zeros((BLOCK,), tl.float32)
        products = tl.zeros((BLOCK,), tl.float32)
        for start in range(0, CHUNK, BLOCK):
            at = first + start + tl.arange(0, BLOCK)
            inside = at < columns
            g = tl.load(dy + row * columns + at, mask=inside, other=0.0).to(tl.float32)
            v = tl.load(x + row * columns + at, mask=inside, other=0.0).to(tl.float32)
            if RELU:
                open_ = tl.load(y + row * columns + at, mask=inside, other=0.0).to(tl.float32) > 0
                g = tl.where(open_, g, 0.0)
            total += g
            products += g * v
        tl.atomic_add(out + row, tl.sum(total, 0))
        tl.atomic_add(out + rows + row, tl.sum(products, 0))

    @triton.jit
    def _back_apply(  # type: ignore[no-untyped-def]
        x, y, dy, dx, a, b, c, columns, RELU: tl.constexpr, CHUNK: tl.constexpr, BLOCK: tl.constexpr
    ):
        """The gradient of the input: each row's a * gradient + b * input + c."""
        row, first = tl.program_id(0).to(tl.int64), tl.program_id(1) * CHUNK
        of_gradient, of_input, rest = tl.load(a + row), tl.load(b + row), tl.load(c + row)
        for start in range(0, CHUNK, BLOCK):
            at = first + start + tl.arange(0, BLOCK)
            inside = at < columns
            g = tl.load(dy + row * columns + at, mask=inside, other=0.0).to(tl.float32)
            v = tl.load(x + row * columns + at, mask=inside, other=0.0).to(tl.float32)
            if RELU:
                open_ = tl.load(y + row * columns + at, mask=inside, other=0.0).to(tl.float32) > 0
                g = tl.where(open_, g, 0.0)
            tl.store(
                dx + row * columns + at, (g * of_gradient + v * of_input + rest).to(dx.dtype.element_ty), mask=inside
            )


class _Rows:
    """The four passes by Triton."""

    @staticmethod
    def _grid(x: Tensor) -> tuple[int, int]:
        return x.shape[0], triton.cdiv(x.shape[1], CHUNK)

    @classmethod
    def sums(cls, x: Tensor) -> Tensor:
        out = torch.zeros(2, len(x), device=x.device)
        _sums[cls._grid(x)](x, out, x.shape[1], len(x), CHUNK, BLOCK)
        return out

    @classmethod
    def apply(cls, x: Tensor, scale: Tensor, shift: Tensor, relu: bool) -> Tensor:
        y = torch.empty_like(x)
        _apply[cls._grid(x)](x, y, scale, shift, x.shape[1], relu, CHUNK, BLOCK)
        return y

    @classmethod
    def back_sums(cls, x: Tensor, y: Tensor, dy: Tensor, relu: bool) -> Tensor:
        out = torch.zeros(2, len(x), device=x.device)
        _back_sums[cls._grid(x)](x, y, dy, out, x.shape[1], len(x), relu, CHUNK, BLOCK)
        return out

    @classmethod
    def back_apply(cls, x: Tensor, y: Tensor, dy: Tensor, parts: tuple[Tensor, Tensor, Tensor], relu: bool) -> Tensor:
        dx = torch.empty_like(x)
        _back_apply[cls._grid(x)](x, y, dy, dx, *parts, x.shape[1], relu, CHUNK, BLOCK)
        return dx


class _Plain:
    """The four passes by PyTorch."""

    @staticmethod
    def sums(x: Tensor) -> Tensor:
        values = x.float()
        return torch.stack([values.sum(1), values.square().sum(1)])

    @staticmethod
    def apply(x: Tensor, scale: Tensor, shift: Tensor, relu: bool) -> Tensor:
        y = torch.addcmul(shift[:, None], x.float(), scale[:, None])
        return (y.relu_() if relu else y).to(x.dtype)

    @staticmethod
    def back_sums(x: Tensor, y: Tensor, dy: Tensor, relu: bool) -> Tensor:
        gradient = dy.float() * (y > 0) if relu else dy.float()
        return torch.stack([gradient.sum(1), (gradient * x.float()).sum(1)])

    @staticmethod
    def back_apply(x: Tensor, y: Tensor, dy: Tensor, parts: tuple[Tensor, Tensor, Tensor], relu: bool) -> Tensor:
        a, b, c = (part[:, None] for part in parts)
        gradient = dy.float() * (y > 0) if relu else dy.float()
        return (gradient * a + x.float() * b + c).to(x.dtype)


class _Normalise(torch.autograd.Function):
    """Rows to mean 0 and variance 1, then scaled, shifted and, if asked, without what is negative."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, epsilon: float, relu: bool) -> Any:
        passes: Any = _Rows if _use["triton"] and x.is_cuda else _Plain
        n = x.shape[1]
        total, squares = passes.sums(x)
        mean = total / n
        variance = (squares / n - mean.square()).clamp(min=0)
        inverse = (variance + epsilon).rsqrt()
        scale = weight * inverse
        y = passes.apply(x, scale, bias - mean * scale, relu)
        ctx.save_for_backward(x, y, mean, inverse, weight)
        ctx.relu, ctx.passes = relu, passes
        ctx.mark_non_differentiable(mean, variance)
        return y, mean, variance

    @staticmethod
    def backward(ctx: Any, dy: Tensor, *_: Any) -> Any:
        x, y, mean, inverse, weight = ctx.saved_tensors
        n, dy = x.shape[1], dy.contiguous()
        total, products = ctx.passes.back_sums(x, y, dy, ctx.relu)
        d_weight = (products - mean * total) * inverse
        scale = weight * inverse
        of_input = -scale * inverse * d_weight / n
        rest = -scale * total / n - of_input * mean
        dx = ctx.passes.back_apply(x, y, dy, (scale, of_input, rest), ctx.relu)
        return dx, d_weight, total, None, None


def normalise(x: Tensor, weight: Tensor, bias: Tensor, epsilon: float, relu: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Normalise each channel of (channels, windows, places) over the batch.

    Returns
    -------
    tuple of Tensor
        The normalised values, and each channel's mean and variance, which have no gradient.
    """
    if x.device.type == "cpu":
        y, mean, inverse = torch.native_batch_norm(x.flatten(1)[None], weight, bias, None, None, True, 0.0, epsilon)
        y, variance = y.relu_() if relu else y, inverse.detach() ** -2 - epsilon
        return y.view(x.shape), mean.detach(), variance
    y, mean, variance = _Normalise.apply(x.flatten(1), weight, bias, epsilon, relu)
    return y.view(x.shape), mean, variance


def choose() -> str:
    """Use Triton's passes if they agree with PyTorch's here; say which are used."""
    if triton is None or not torch.cuda.is_available():
        return "PyTorch's normalisation"
    try:
        worst = max(
            _difference(rows, columns, relu) for rows, columns in ((33, 70_001), (7, 300)) for relu in (True, False)
        )
    except Exception as error:  # whatever a compiler may raise: the other way is there
        return f"PyTorch's normalisation: Triton's failed ({type(error).__name__}: {str(error)[:200]})"
    _use["triton"] = worst < TOLERANCE
    return f"{'Triton' if _use['triton'] else 'PyTorch'}'s normalisation: they differ by {worst:.1e}"


def _difference(rows: int, columns: int, relu: bool) -> float:
    """The largest difference between the two ways, of the largest value, over results and gradients."""
    torch.manual_seed(rows)
    x = (torch.randn(rows, columns, device="cuda") + 0.5).to(torch.bfloat16)
    y, dy = torch.randn_like(x), torch.randn_like(x)
    scale, shift, third = torch.randn(3, rows, device="cuda")
    pairs = [
        (_Rows.sums(x), _Plain.sums(x)),
        (_Rows.apply(x, scale, shift, relu), _Plain.apply(x, scale, shift, relu)),
        (_Rows.back_sums(x, y, dy, relu), _Plain.back_sums(x, y, dy, relu)),
        (
            _Rows.back_apply(x, y, dy, (scale, shift, third), relu),
            _Plain.back_apply(x, y, dy, (scale, shift, third), relu),
        ),
    ]
    return max(float((a.float() - b.float()).abs().max() / b.float().abs().max()) for a, b in pairs)
