"""The golden EfficientAT values: what they are, and the sounds and made-up weights that give them.

`efficientat.npz` holds what PyTorch's own operators make of the sounds (see `make_efficientat.py`, which writes it):

    MODEL.SOUND   ->  float32 (size,), the averaged channels; MODEL is "mn04" with the published weights, "seeded mn04"
                      or "seeded mn10" with those of `seeded`
    levels.SOUND  ->  float32 (128, 20), every fifth frame of the front-end, ln(x + 1e-5)

NumPy promises that the streams of `RandomState` never change.
"""

import io
import zipfile
from pathlib import Path

import numpy as np
from scipy.signal import lfilter

from l3clf.demo.sounds import synthesise
from l3clf.embedders.efficientat import tensor_shapes

GOLDEN = Path(__file__).with_name("efficientat.npz")
RATE, SAMPLES = 32_000, 31_200
LEVELS_OF = ("noise", "quiet tone", "silence")
EVERY = 5  # frames of the levels
NORM_RANGES = {"weight": (0.8, 1.2), "bias": (-0.2, 0.4), "running_mean": (-0.3, 0.3), "running_var": (0.6, 1.4)}
GLOBALS = {"float32": b"ctorch\nFloatStorage\n", "int64": b"ctorch\nLongStorage\n"}


def sounds():
    """Return name -> one window of 0.975 s at 32 kHz."""
    t = np.arange(SAMPLES) / RATE
    rng = np.random.RandomState(5)
    found = {
        "noise": 0.1 * rng.standard_normal(SAMPLES),
        "tone": 0.5 * np.sin(2 * np.pi * 1000 * t),
        "quiet tone": 1e-4 * np.sin(2 * np.pi * 440 * t),
        "sweep": 0.3 * np.sin(2 * np.pi * (50 * t + 7000 * t**2)),
        "silence": np.zeros(SAMPLES),
        "click": np.eye(1, SAMPLES, 12_345)[0],
        "square": np.where(np.sin(2 * np.pi * 100 * t) < 0, -1.0, 1.0),
        "speech-like": _speech_like(t),
        "rain": synthesise("rain", np.random.default_rng(1), 1.0, RATE)[:SAMPLES],
        "bark": synthesise("bark", np.random.default_rng(2), 1.0, RATE)[:SAMPLES],
    }
    return {name: np.asarray(samples, np.float32) for name, samples in found.items()}


def _speech_like(t):
    """Pulses at 120 Hz, gliding down, through three formants, four syllables a second."""
    x = np.diff(np.floor(np.cumsum(130 - 20 * t) / RATE), prepend=0.0)
    for hz in (600, 1400, 2600):
        pole = 0.985 * np.exp(2j * np.pi * hz / RATE)
        x = lfilter([1 - 0.985], [1, -2 * pole.real, abs(pole) ** 2], x)
    return 0.3 * x / np.abs(x).max() * np.sin(2 * np.pi * 2 * t) ** 2


def seeded(width):
    """Return made-up tensors of a network, by name. The order of the draws decides the values."""
    random = np.random.RandomState(round(100 * width))
    found = {}
    for name, shape in tensor_shapes(width).items():
        part = name.rpartition(".")[2]
        if not shape:
            found[name] = np.array(7, np.int64)
        elif len(shape) > 1:
            found[name] = random.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:]))
        else:
            found[name] = random.uniform(*NORM_RANGES[part], shape)
    return {name: values if values.dtype == np.int64 else values.astype(np.float32) for name, values in found.items()}


# --- checkpoints, as PyTorch writes them -----------------------------------------------------------


def text(value):
    """Return the opcode for a text."""
    return b"X" + len(value.encode()).to_bytes(4, "little") + value.encode()


def number(value):
    """Return the opcode for an integer."""
    return b"J" + value.to_bytes(4, "little", signed=True)


def numbers(values):
    """Return the opcodes for a tuple of integers."""
    return b"(" + b"".join(map(number, values)) + b"t"


def tensor(key, array, *, shape=None, strides=None, offset=0, size=None):
    """Return the opcodes for a tensor that lies in the storage of a key."""
    shape = array.shape if shape is None else shape
    strides = [int(np.prod(shape[i + 1 :])) for i in range(len(shape))] if strides is None else strides
    size = array.size if size is None else size
    storage = b"(" + text("storage") + GLOBALS[str(array.dtype)] + text(str(key)) + text("cpu") + number(size) + b"tQ"
    arguments = storage + number(offset) + numbers(shape) + numbers(strides) + b"\x89ccollections\nOrderedDict\n)R"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + arguments + b"tR"


def pickled(tensors):
    """Return the pickle of a dict of tensors, the n-th of which lies in storage n."""
    items = b"".join(text(name) + tensor(i, array) for i, (name, array) in enumerate(tensors.items()))
    return b"\x80\x02}(" + items + b"u."


def stored(members):
    """Return a ZIP file of members that are stored as they are."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return file.getvalue()


def checkpoint(tensors):
    """Return the file of a dict of tensors."""
    data = {f"archive/data/{i}": array.tobytes() for i, array in enumerate(tensors.values())}
    return stored({"archive/data.pkl": pickled(tensors), **data, "archive/version": b"3\n"})
