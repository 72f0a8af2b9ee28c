"""The golden OpenL3 values: what they are, the inputs that give them, and how the file was selected.

`openl3_512.npz` holds what the package openl3 0.4.2 itself returned (its own framing, front-end and network;
kapre 0.4.1, TensorFlow 2.20) for networks with seeded random weights, so that an implementation can be compared
with the package where the official weights cannot be had. Its keys read

    INPUT_REPR.512.kapre.AUDIO.cCENTER.hHOP        ->  float32 (windows, 512)

and every one of them is a call ``embed(*audio(AUDIO), hop_s=HOP, center=CENTER)`` with the weights that
`write_weights(path, INPUT_REPR)` writes. Only NumPy and h5py are needed for that; NumPy promises that the
streams of `RandomState` never change.

To make the values again, install openl3 0.4.2 with the versions above, and for each key run

    model = openl3.models.load_audio_embedding_model_from_path(weights, input_repr, 512, frontend="kapre")
    values, _ = openl3.get_audio_embedding(*audio(kind), model=model, center=center, hop_size=hop, frontend="kapre")

Run as a script, this file selects the values from the project's larger collection (both sizes, both front-ends):

    python tests/golden/openl3_recipe.py ../shared/golden/openl3_parity.npz
"""

import sys
from pathlib import Path

import h5py
import numpy as np

GOLDEN = Path(__file__).with_name("openl3_512.npz")
SEEDS = {"mel256": 11, "mel128": 12, "linear": 13}
FILTERS = (64, 64, 128, 128, 256, 256, 512, 512)
# A decibel spectrogram (-80 to 0) comes out of this with about mean 2 and standard deviation 1.
FIRST_NORM = {"gamma": 1.1, "beta": 0.05, "moving_mean": -40.0, "moving_variance": 400.0}
NORM_RANGES = {"gamma": (0.8, 1.2), "beta": (-0.1, 0.1), "moving_mean": (-0.1, 0.1), "moving_variance": (0.8, 1.2)}


def weights(input_repr):
    """Return layer name -> array name -> float32 array. The order of the draws decides the values."""
    random = np.random.RandomState(SEEDS[input_repr])
    layers = {"batch_normalization_1": {name: np.array([value]) for name, value in FIRST_NORM.items()}}
    for number, (c_in, c_out) in enumerate(zip((1, *FILTERS), FILTERS, strict=False), start=1):
        last = number == len(FILTERS)
        layers["audio_embedding_layer" if last else f"conv2d_{number}"] = {
            "kernel": random.standard_normal((3, 3, c_in, c_out)) * np.sqrt(2 / (9 * c_in)),
            "bias": random.uniform(-0.05, 0.05, c_out),
        }
        if not last:
            norm = {name: random.uniform(low, high, c_out) for name, (low, high) in NORM_RANGES.items()}
            layers[f"batch_normalization_{number + 1}"] = norm
    return {layer: {name: a.astype(np.float32) for name, a in arrays.items()} for layer, arrays in layers.items()}


def write_keras_h5(path, layers, inside="/"):
    """Write layers as Keras 2 does: `save_weights` at the root, `save` in the group ``model_weights``."""
    with h5py.File(path, "w") as file:
        root = file.require_group(inside)
        root.attrs["layer_names"] = [layer.encode() for layer in layers]
        root.attrs["backend"], root.attrs["keras_version"] = b"tensorflow", b"2.4.0"
        for layer, arrays in layers.items():
            group = root.create_group(layer)
            group.attrs["weight_names"] = [f"{layer}/{name}:0".encode() for name in arrays]
            for name, array in arrays.items():
                group[f"{layer}/{name}:0"] = array
    return path


def write_weights(path, input_repr):
    """Write the seeded weights of one input representation as an official weight file has them."""
    return write_keras_h5(path, weights(input_repr))


def audio(kind):
    """Return (samples, sample rate) of a test sound: float64, of shape (n,) or (n, 2)."""
    return SOUNDS[kind](np.random.RandomState(7))


def _chirp48(random):
    t = np.arange(int(2.3 * 48_000)) / 48_000
    sweep = np.sin(2 * np.pi * (100 * t + 0.5 * 3000 * t * t))
    return 0.5 * sweep + 0.01 * random.standard_normal(t.size), 48_000


def _noise48(random):
    return 0.1 * random.standard_normal(48_000), 48_000


def _short48(random):
    return 0.3 * random.standard_normal(19_200), 48_000


def _silence48(_):
    return np.zeros(48_000), 48_000


def _stereo44(random):
    t = np.arange(int(1.7 * 44_100)) / 44_100
    beating = 0.4 * np.sin(2 * np.pi * 440 * t) * (1 + np.sin(2 * np.pi * 3 * t))
    return np.column_stack([beating, 0.2 * random.standard_normal(t.size)]), 44_100


def _speechrate16(random):
    t = np.arange(int(1.5 * 16_000)) / 16_000
    vibrato = np.sin(2 * np.pi * (200 * t + 50 * np.sin(2 * np.pi * 5 * t)))
    return 0.3 * vibrato + 0.02 * random.standard_normal(t.size), 16_000


SOUNDS = {
    "chirp48": _chirp48,
    "noise48": _noise48,
    "short48": _short48,
    "silence48": _silence48,
    "stereo44": _stereo44,
    "speechrate16": _speechrate16,
}


def parse(key):
    """Return (input_repr, size, audio, center, hop in seconds) of a key."""
    input_repr, size, _, kind, center, hop = key.split(".", 5)
    return input_repr, int(size), kind, center == "c1", float(hop[1:])


def select(source, target=GOLDEN):
    """Copy the values of 512 dimensions and the package's default front-end; return their keys."""
    with np.load(source) as every:
        chosen = {key: every[key] for key in every.files if key.split(".")[1:3] == ["512", "kapre"]}
    np.savez_compressed(target, **chosen)
    return sorted(chosen)


if __name__ == "__main__":
    print(*select(sys.argv[1]), sep="\n")
