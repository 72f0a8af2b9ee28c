"""Makes `efficientat.npz` beside this file, by PyTorch's own operators, from the published weights and made-up ones.

    pip install . torch
    python tests/golden/make_efficientat.py ../shared/weights/mn04_as_mAP_432.pt

Front-end and network are written here once more, from the description of the model and the names in its checkpoint,
and share no code with the package but the list of names. Made with torch 2.14.1 on a CPU.
"""

import io
import sys
from pathlib import Path

import numpy as np
import torch
from efficientat_recipe import EVERY, GOLDEN, LEVELS_OF, checkpoint, seeded, sounds
from torch.nn import functional

# kernel, stride, hard-swish; channels and squeeze-excitation are in the checkpoint
BLOCKS = [
    (3, 1, False), (3, 2, False), (3, 1, False), (5, 2, False), (5, 1, False), (5, 1, False), (3, 2, True),
    (3, 1, True), (3, 1, True), (3, 1, True), (3, 1, True), (3, 1, True), (5, 2, True), (5, 1, True), (5, 1, True),
]  # fmt: skip


def kaldi_mel(bands, n_fft, rate, top_hz):
    """Triangles that are linear in mel, one at a time; the last bin has no weight."""

    def mel(hz):
        return 1127 * np.log(1 + hz / 700)

    step = mel(top_hz) / (bands + 1)
    filters = np.zeros((bands, n_fft // 2 + 1))
    for band in range(bands):
        for k in range(n_fft // 2):
            filters[band, k] = max(0.0, 1 - abs(mel(k * rate / n_fft) / step - (band + 1)))
    return torch.tensor(filters, dtype=torch.float32)


MEL = kaldi_mel(128, 1024, 32_000, 15_000)


def log_mel(x):
    x = functional.conv1d(x[:, None], torch.tensor([[[-0.97, 1.0]]]))[:, 0]
    window = torch.hann_window(800, periodic=False)
    bins = torch.stft(x, 1024, 320, 800, window, center=True, pad_mode="reflect", return_complex=True)
    return (MEL @ bins.abs().square() + 1e-5).log()


def normed(state, name, x):
    parts = (state[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
    return functional.batch_norm(x, *parts, training=False, eps=1e-3)


def embed(state, x):
    def conv(name, z, **options):
        return normed(state, f"{name}.1", functional.conv2d(z, state[f"{name}.0.weight"], **options))

    z = functional.hardswish(conv("features.0", (log_mel(x)[:, None] + 4.5) / 5, stride=2, padding=1))
    for i, (kernel, stride, swish) in enumerate(BLOCKS, 1):
        active = functional.hardswish if swish else functional.relu
        start, layer = z, 0
        name = f"features.{i}.block"
        if state[f"{name}.0.0.weight"].shape[1] != 1:
            z, layer = active(conv(f"{name}.0", z)), 1
        assert state[f"{name}.{layer}.0.weight"].shape[1:] == (1, kernel, kernel)
        z = active(conv(f"{name}.{layer}", z, stride=stride, padding=(kernel - 1) // 2, groups=z.shape[1]))
        layer += 1
        if f"{name}.{layer}.conc_se_layers.0.fc1.weight" in state:
            squeeze = [
                [state[f"{name}.{layer}.conc_se_layers.0.{fc}.{part}"] for part in ("weight", "bias")]
                for fc in ("fc1", "fc2")
            ]
            inner = functional.relu(functional.linear(z.mean((2, 3)), *squeeze[0]))
            z = z * torch.sigmoid(functional.linear(inner, *squeeze[1]))[:, :, None, None]
            layer += 1
        z = conv(f"{name}.{layer}", z)
        if stride == 1 and start.shape[1] == z.shape[1]:
            z = z + start
    return functional.adaptive_avg_pool2d(functional.hardswish(conv("features.16", z)), 1)[:, :, 0, 0]


def main(weights):
    found = sounds()
    x = torch.from_numpy(np.stack(list(found.values())))
    states = {"mn04": Path(weights).read_bytes()}
    states |= {f"seeded {model}": checkpoint(seeded(width)) for model, width in (("mn04", 0.4), ("mn10", 1.0))}
    golden = {}
    for model, content in states.items():
        state = torch.load(io.BytesIO(content), weights_only=True)
        names = list(found) if model != "seeded mn10" else ["noise", "speech-like"]
        vectors = embed(state, x[[list(found).index(name) for name in names]])
        golden |= {f"{model}.{name}": vector.numpy() for name, vector in zip(names, vectors, strict=True)}
    levels = log_mel(x).numpy()
    golden |= {f"levels.{n}": levels[i][:, ::EVERY] for i, n in enumerate(found) if n in LEVELS_OF}
    np.savez_compressed(GOLDEN, **golden)


if __name__ == "__main__":
    with torch.inference_mode():
        main(*sys.argv[1:])
