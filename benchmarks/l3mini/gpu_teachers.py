"""The teachers in PyTorch, on batches: windows of 0.975 s at 16 kHz to vectors.

Rule: front-ends compute in float32, networks in the type given (`half`), and nothing is learned here. Batch
normalisations are folded into the convolutions before them.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

__all__ = ["Mn04", "Speech", "YamNet", "levels_of"]

EPSILON = 1e-3
FRAME, HOP = 512, 160  # of students, the speech embedding and YAMNet, at 16 kHz
# MobileNetV3-large as mn04 has it: stride, whether the activation is hard-swish; the rest is in the shapes.
MN04_BLOCKS = (
    (1, False), (2, False), (1, False), (2, False), (1, False), (1, False), (2, True), (1, True), (1, True), (1, True),
    (1, True), (1, True), (2, True), (1, True), (1, True),
)  # fmt: skip
YAMNET_STRIDES = (2, 1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)  # of the first convolution and each depthwise one
SPEECH_FRAMES = 92  # three windows of 76 frames, 80 ms apart
SPEECH_POOLS: Mapping[int, tuple[int, int]] = {2: (2, 2), 6: (1, 2), 10: (2, 2), 14: (1, 2), 18: (2, 2)}


def levels_of(x: Tensor, mel: Tensor, window: Tensor, steps: int) -> Tensor:
    """Return the input of students: mel levels in steps of 0.4 dB, rounded as integers, divided by `steps`.

    Parameters
    ----------
    x : Tensor of shape (n, samples)
    mel : Tensor of shape (bins, bands)
    window : Tensor of shape (512,)
    steps : int

    Returns
    -------
    Tensor of shape (n, frames, bands), float32
    """
    spectrum = torch.fft.rfft(x.unfold(1, FRAME, HOP) * window)
    powers = (spectrum.real.square() + spectrum.imag.square()) @ mel
    levels = 10 * torch.log10(powers.clamp(min=1e-7))
    return ((levels / 0.4).round() + 47).clamp(-128, 127) / steps


class _Teacher:
    """Arrays on a device."""

    def __init__(self, arrays: Mapping[str, NDArray[Any]], device: str, half: torch.dtype) -> None:
        self.device, self.half, self._arrays = device, half, arrays

    def _tensor(self, name: str) -> Tensor:
        """A constant in float32, its integers scaled."""
        found = torch.from_numpy(self._arrays[name].astype(np.float32))
        if f"{name}_scale" in self._arrays:
            found = found * float(self._arrays[f"{name}_scale"][0])
        return found.to(self.device)

    def _kernel(self, kernel: Tensor) -> Tensor:
        return kernel.to(self.half).contiguous(memory_format=torch.channels_last)


class Mn04(_Teacher):
    """EfficientAT mn04: 384 averaged channels, and its 527 scores before the sigmoid."""

    def __init__(self, arrays: Mapping[str, NDArray[Any]], device: str, half: torch.dtype) -> None:
        super().__init__(arrays, device, half)
        self.mel = self._tensor("mn_mel")
        self.window = torch.hann_window(800, periodic=False, device=device)
        self.first = self._folded("mn.features.0")
        self.blocks = [self._block(f"mn.features.{i}.block", i) for i in range(1, len(MN04_BLOCKS) + 1)]
        self.last = self._folded("mn.features.16")
        self.heads = [
            (self._tensor(f"mn.classifier.{i}.weight"), self._tensor(f"mn.classifier.{i}.bias")) for i in (2, 5)
        ]

    def _folded(self, name: str) -> tuple[Tensor, Tensor]:
        weight, bias, mean, variance = (
            self._tensor(f"{name}.1.{part}") for part in ("weight", "bias", "running_mean", "running_var")
        )
        scale = weight / (variance + EPSILON).sqrt()
        kernel = self._tensor(f"{name}.0.weight") * scale[:, None, None, None]
        return self._kernel(kernel), (bias - mean * scale).to(self.half)

    def _block(self, name: str, number: int) -> tuple[Any, ...]:
        """Convolutions in order, and the two layers of the squeeze-excitation after the depthwise one."""
        parts = [i for i in range(4) if f"{name}.{i}.0.weight" in self._arrays]
        squeeze = [
            [self._tensor(f"{name}.{i}.conc_se_layers.0.{layer}.{part}").to(self.half) for part in ("weight", "bias")]
            for i in range(4)
            for layer in ("fc1", "fc2")
            if f"{name}.{i}.conc_se_layers.0.fc1.weight" in self._arrays
        ]
        return [self._folded(f"{name}.{i}") for i in parts], squeeze, *MN04_BLOCKS[number - 1]

    def levels(self, x: Tensor) -> Tensor:
        """Return its mel levels, (n, 128, frames), of windows at 16 kHz."""
        n = x.shape[1]
        padded = functional.pad(x, (0, 400))  # or the end of the window would leak into its beginning
        spectrum = functional.pad(torch.fft.rfft(padded), (0, (n + 400) // 2))
        twice = 2 * torch.fft.irfft(spectrum, 2 * (n + 400))[:, : 2 * n]
        steep = twice[:, 1:] - 0.97 * twice[:, :-1]
        bins = torch.stft(steep, 1024, 320, 800, self.window, center=True, pad_mode="reflect", return_complex=True)
        powers = self.mel @ (bins.real.square() + bins.imag.square())
        return ((powers + 1e-5).log() + 4.5) / 5

    @torch.no_grad()
    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return embeddings (n, 384) and scores (n, 527) in float32."""
        z = self.levels(x)[:, None].to(self.half).contiguous(memory_format=torch.channels_last)
        z = functional.hardswish(functional.conv2d(z, *self.first, stride=2, padding=1))
        for kernels, squeeze, stride, swish in self.blocks:
            z = self._run(z, kernels, squeeze, stride, swish)
        z = functional.hardswish(functional.conv2d(z, *self.last)).float().mean((2, 3))
        hidden = functional.hardswish(functional.linear(z, *self.heads[0]))
        return z, functional.linear(hidden, *self.heads[1])

    @staticmethod
    def _run(x: Tensor, kernels: Any, squeeze: Any, stride: int, swish: bool) -> Tensor:
        active = functional.hardswish if swish else functional.relu
        z = x
        if len(kernels) == 3:
            z = active(functional.conv2d(z, *kernels[0]))
        kernel, bias = kernels[-2]
        z = active(functional.conv2d(z, kernel, bias, stride, kernel.shape[-1] // 2, groups=kernel.shape[0]))
        if squeeze:
            inner = functional.relu(functional.linear(z.mean((2, 3)), *squeeze[0]))
            z = z * torch.sigmoid(functional.linear(inner, *squeeze[1]))[:, :, None, None]
        z = functional.conv2d(z, *kernels[-1])
        return x + z if x.shape == z.shape else z


class Speech(_Teacher):
    """Google's speech embedding: 96 numbers, the mean over three positions in the window."""

    def __init__(self, arrays: Mapping[str, NDArray[Any]], device: str, half: torch.dtype) -> None:
        super().__init__(arrays, device, half)
        self.window, self.mel = self._tensor("speech_window"), self._tensor("speech_mel")
        self.floor = float(arrays["speech_floor"].item())
        count = sum(name.startswith("speech_kernel") for name in arrays)
        self.layers = [
            (
                self._kernel(self._tensor(f"speech_kernel{i:02}")),
                self._tensor(f"speech_bias{i:02}").to(half) if f"speech_bias{i:02}" in arrays else None,
            )
            for i in range(count)
        ]

    @torch.no_grad()
    def __call__(self, x: Tensor) -> Tensor:
        """Return embeddings (n, 96) in float32."""
        frames = functional.pad(x * 32768, (56, 56)).unfold(1, FRAME, HOP)[:, :SPEECH_FRAMES]
        spectrum = torch.fft.rfft(frames * self.window)
        levels = 10 * torch.log10(((spectrum.real.square() + spectrum.imag.square()) @ self.mel).clamp(min=1e-10))
        z = torch.maximum(levels, levels.amax((1, 2), keepdim=True) - 80) / 10 + 2
        z = z[:, None].to(self.half).contiguous(memory_format=torch.channels_last)
        for i, (kernel, bias) in enumerate(self.layers):
            z = functional.conv2d(z, kernel, bias, padding=(0, kernel.shape[3] // 2))
            if i < len(self.layers) - 1:
                z = functional.leaky_relu_(z, 0.2).clamp_(min=self.floor)
            if i in SPEECH_POOLS:
                z = functional.max_pool2d(z, SPEECH_POOLS[i])
        return z.float().mean(2).flatten(1)


class YamNet(_Teacher):
    """YAMNet: 1,024 numbers."""

    def __init__(self, arrays: Mapping[str, NDArray[Any]], device: str, half: torch.dtype) -> None:
        super().__init__(arrays, device, half)
        self.window = self._tensor("yamnet_window")
        self.mel = self._tensor("yamnet_mel").T.contiguous()
        self.layers = []
        for i in range(2 * len(YAMNET_STRIDES) - 1):
            kernel = self._tensor(f"yamnet_kernel{i:02}")
            depthwise = i % 2 == 1
            kernel = kernel.permute(3, 0, 1, 2) if depthwise else kernel.permute(0, 3, 1, 2)
            stride = YAMNET_STRIDES[0] if i == 0 else YAMNET_STRIDES[(i + 1) // 2] if depthwise else 1
            self.layers.append((self._kernel(kernel), self._tensor(f"yamnet_bias{i:02}").to(half), stride, depthwise))

    def levels(self, x: Tensor) -> Tensor:
        """Return its mel levels, (n, 96, 64); the file's own Fourier transform is rounded to 8 bits."""
        frames = functional.pad(x, (0, 400))[:, : 95 * HOP + 400].unfold(1, 400, HOP) * self.window
        return (torch.fft.rfft(frames, FRAME).abs() @ self.mel + 1e-3).log()

    @torch.no_grad()
    def __call__(self, x: Tensor) -> Tensor:
        """Return embeddings (n, 1024) in float32."""
        z = self.levels(x)[:, None].to(self.half).contiguous(memory_format=torch.channels_last)
        for kernel, bias, stride, depthwise in self.layers:
            groups = kernel.shape[0] if depthwise else 1
            if kernel.shape[2] == 3 and stride == 2:  # TensorFlow pads an even map after it only
                z = functional.conv2d(functional.pad(z, (0, 1, 0, 1)), kernel, bias, 2, groups=groups)
            else:
                z = functional.conv2d(z, kernel, bias, padding=kernel.shape[2] // 2, groups=groups)
            z = functional.relu_(z)
        return z.float().mean((2, 3))
