"""Targets that hold a model or weights: model files, students and their networks, Keras weights, baseline cells."""

import io
import json
import random
import zipfile
from hashlib import sha256
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from sklearn.tree import DecisionTreeClassifier

from benchmarks.fuzzing.damage import damaged, damaged_json, damaged_npy, damaged_protobuf, zipped
from benchmarks.fuzzing.fuzz_target import CHANGED, REFUSED, RIGHT, Mutation, Target, require
from l3clf.baselines.cell_files import read_cell, write_cell
from l3clf.classifier.estimators import ClipClassifier
from l3clf.classifier.model_file import load_model, save_model
from l3clf.embedders.student import Student, read_student
from l3clf.evaluate.crossval import CrossValidation
from l3clf.networks.int8_run import Int8Network
from l3clf.networks.onnx_build import run_graph, session
from l3clf.networks.onnx_check import check_student_onnx
from l3clf.networks.tflite_read import read_tflite
from l3clf.weights.keras_h5 import read_keras_h5
from l3clf.weights.torch_zip import read_torch_zip
from tests.golden.efficientat_recipe import checkpoint, stored

__all__ = ["Cells", "Keras", "Models", "Onnx", "Students", "TFLite", "Torch"]

GOLDEN = Path(__file__).parents[2] / "tests" / "golden"
RATE = 16_000


def unzipped(content: bytes) -> dict[str, bytes]:
    """Return the members of a ZIP file."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


class Models(Target):
    """A linear head and a forest, on `mfcc` and on a student that the file carries."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        rng = np.random.default_rng(0)
        clips, labels = [rng.normal(size=RATE // 4).astype(np.float32) for _ in range(6)], list("abcabc")
        student = GOLDEN / "tiny.student"
        tree = DecisionTreeClassifier(max_depth=2, random_state=0)
        models = [
            ClipClassifier("mfcc", sample_rate=RATE, cache=None, unknown_threshold=0.5),
            ClipClassifier("mfcc", head=tree, sample_rate=RATE, cache=None),
            ClipClassifier(Student(str(student)), sample_rate=RATE, cache=None),
        ]
        self.files = [save_model(m.fit(clips, labels), folder / "good").read_bytes() for m in models]
        self.members = [unzipped(content) for content in self.files]
        self.answers = [self._answer(content) for content in self.files]

    def good(self) -> list[bytes]:
        return self.files

    def _answer(self, content: bytes) -> bytes:
        """Return what a model says, as bytes, after checking that it is possible."""
        model = load_model(self.written(content))
        head, n = model.head_, len(model.classes_)
        rows = np.random.default_rng(1).normal(size=(4, head.n_features_in_)).astype(np.float32)
        found = head.predict_proba(rows)
        require(found.shape == (4, n) and np.isfinite(found).all(), "probabilities of a wrong shape, or not finite")
        require(np.allclose(found.sum(axis=1), 1) and found.min() >= 0, "probabilities that do not sum to 1")
        require(all(text.isprintable() or not text for text in map(repr, model.classes_.tolist())), "unprintable class")
        settings = {k: v for k, v in model.get_params(deep=False).items() if k not in ("embedder", "head")}
        said: bytes = found.tobytes()
        return said + repr((model.classes_.tolist(), sorted(settings.items()))).encode()

    def mutated(self, rng: random.Random) -> Mutation:
        i = rng.choice((0, 0, 1, 1, 1, 2))
        if rng.random() < 0.25:
            good = self.files[i]
            starts = [good.find(name.encode()) - 30 for name in self.members[i]]
            return Mutation(damaged(rng, good, [*starts, *range(len(good) - 300, len(good))]), strict=True)
        members = dict(self.members[i])
        name = rng.choice(sorted(members) + ["model.json"] * 4)
        change = {".json": damaged_json, ".npy": damaged_npy, ".onnx": damaged_protobuf, ".tflite": damaged}
        members[name] = change[Path(name).suffix](rng, members[name])
        if name != "model.json" and rng.random() < 0.9:
            members["model.json"] = self._signed(members, name)
        return Mutation(zipped(rng, members))

    @staticmethod
    def _signed(members: dict[str, bytes], name: str) -> bytes:
        """Return model.json with the digest of a member made right."""
        document = json.loads(members["model.json"])
        content, digest = members[name], sha256(members[name]).hexdigest()
        if name.endswith(".npy"):
            document["arrays"][name.removesuffix(".npy")]["sha256"] = digest
        else:
            document["student"][name] = {"bytes": len(content), "sha256": digest}
        return json.dumps(document).encode()

    def outcome(self, content: bytes) -> str:
        return RIGHT if self._answer(content) in self.answers else CHANGED


class Students(Target):
    """A student file: its description and both networks, in floating point and in integers."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.file = (GOLDEN / "tiny.student").read_bytes()
        self.members = unzipped(self.file)
        self.answer = self._answer(self.file)

    def good(self) -> list[bytes]:
        return [self.file]

    def _answer(self, content: bytes) -> bytes:
        found = read_student(self.written(content, "x.student"))
        size, window_s = found.about["embedding_size"], found.about["window_s"]
        sound = np.random.default_rng(1).normal(size=(1, round(window_s * RATE))).astype(np.float32)
        with np.errstate(all="ignore"):
            answers = [Student(found, precision).embed_windows(sound) for precision in ("float32", "int8")]
        require(all(a.shape == (1, size) and a.dtype == np.float32 for a in answers), "vectors of a wrong shape")
        require(np.isfinite(answers[1]).all(), "integers that are not finite")
        return b"".join(a.tobytes() for a in answers)

    def mutated(self, rng: random.Random) -> Mutation:
        if rng.random() < 0.2:
            return Mutation(damaged(rng, self.file, range(len(self.file) - 300, len(self.file))), strict=True)
        members = dict(self.members)
        name = rng.choice(sorted(members))
        change = {".json": damaged_json, ".onnx": damaged_protobuf, ".tflite": damaged}
        members[name] = change[Path(name).suffix](rng, members[name])
        return Mutation(zipped(rng, members))

    def outcome(self, content: bytes) -> str:
        return RIGHT if self._answer(content) == self.answer else CHANGED


class Onnx(Target):
    """The network of a student in floating point, on its own."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        members = unzipped((GOLDEN / "tiny.student").read_bytes())
        self.file = members["network.onnx"]
        self.size = json.loads(members["student.json"])["embedding_size"]
        source = session(self.file).get_inputs()[0]
        self.shape = tuple(source.shape[1:])
        self.sound = np.random.default_rng(1).normal(size=(1, *self.shape)).astype(np.float32)
        self.answer = self._answer(self.file)

    def good(self) -> list[bytes]:
        return [self.file]

    def _answer(self, content: bytes) -> bytes:
        found = run_graph(session(check_student_onnx(content, self.shape, self.size, "x.student")), self.sound)
        require(found.shape == (1, self.size) and found.dtype == np.float32, f"a vector of shape {found.shape}")
        return found.tobytes()

    def mutated(self, rng: random.Random) -> Mutation:
        return Mutation(damaged(rng, self.file) if rng.random() < 0.2 else damaged_protobuf(rng, self.file))

    def outcome(self, content: bytes) -> str:
        return RIGHT if self._answer(content) == self.answer else CHANGED


class TFLite(Target):
    """Networks in integers: offsets, tables, shapes, quantisation."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.files = [path.read_bytes() for path in sorted(GOLDEN.glob("int8_*.tflite"))]
        self.files.append(unzipped((GOLDEN / "tiny.student").read_bytes())["network.tflite"])
        self.answers = [self._answer(content) for content in self.files]

    def good(self) -> list[bytes]:
        return self.files

    def _answer(self, content: bytes) -> bytes:
        model = read_tflite(content, "x.tflite")
        rng = np.random.default_rng(1)
        found = Int8Network(model).run(rng.integers(-128, 128, model.input.shape).astype(np.int8))
        require(found.dtype == np.int8 and found.size == model.output.size, f"an output of shape {found.shape}")
        return found.tobytes()

    def mutated(self, rng: random.Random) -> Mutation:
        content = rng.choice(self.files)
        if rng.random() < 0.3:
            return Mutation(damaged(rng, content))
        data = bytearray(content)
        for _ in range(rng.choice((1, 1, 2, 3))):
            size = rng.choice((2, 4, 4))
            at, other = (size * rng.randrange(len(data) // size) for _ in range(2))
            value = int.from_bytes(data[at : at + size], "little")
            # An offset that points elsewhere, another field of its table, a count a little larger.
            value = rng.choice((other - at, value + rng.choice((-8, -4, -1, 1, 4, 8)), value * 2, rng.randrange(64)))
            data[at : at + size] = (value % (1 << 8 * size)).to_bytes(size, "little")
        return Mutation(bytes(data))

    def outcome(self, content: bytes) -> str:
        return RIGHT if self._answer(content) in self.answers else CHANGED


class Keras(Target):
    """Weights in HDF5, which has no checksums: whatever is read must have a possible shape and be finite."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        file = io.BytesIO()
        rng = np.random.default_rng(0)
        with h5py.File(file, "w") as h5:
            h5.attrs["layer_names"] = [b"conv", b"bn"]
            shapes = {"conv/conv/kernel:0": (3, 3, 1, 4), "conv/conv/bias:0": (4,), "bn/bn/gamma:0": (4,)}
            for name, shape in shapes.items():
                h5[name] = rng.normal(size=shape).astype(np.float32)
        self.file = file.getvalue()
        # Whatever is not zero is structure or a value, and most of such a file is zeros.
        self.places = [i for i, byte in enumerate(self.file) if byte]
        self.answer = self._answer(self.file)

    def good(self) -> list[bytes]:
        return [self.file]

    def _answer(self, content: bytes) -> bytes:
        found = read_keras_h5(self.written(content, "x.h5"))
        for weights in found.values():
            for name, array in weights.items():
                require(array.dtype == np.float32 and np.isfinite(array).all(), f"{name} is not finite")
        return b"".join(f"{k} {n} {a.shape}".encode() + a.tobytes() for k, w in found.items() for n, a in w.items())

    def mutated(self, rng: random.Random) -> Mutation:
        return Mutation(damaged(rng, self.file, self.places))

    def outcome(self, content: bytes) -> str:
        return RIGHT if self._answer(content) == self.answer else CHANGED


class Torch(Target):
    """A PyTorch checkpoint: its ZIP file, the opcodes of its pickle, and its values."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        rng = np.random.default_rng(0)
        shapes = {"conv.weight": (4, 1, 3, 3), "norm.bias": (4,), "fc.weight": (3, 4)}
        tensors = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
        self.file = checkpoint(tensors | {"norm.num_batches_tracked": np.array(7)})
        self.members = unzipped(self.file)
        self.answer = self._answer(self.file)

    def good(self) -> list[bytes]:
        return [self.file]

    def _answer(self, content: bytes) -> bytes:
        found = read_torch_zip(content, "x.pt")
        for name, array in found.items():
            require(array.dtype.str in ("<f4", "<i8") and np.isfinite(array).all(), f"{name!r} is not finite")
        require(sum(array.nbytes for array in found.values()) <= len(content), "more values than the file has bytes")
        return b"".join(f"{name} {a.shape} {a.dtype}".encode() + a.tobytes() for name, a in found.items())

    def mutated(self, rng: random.Random) -> Mutation:
        if rng.random() < 0.3:  # checksums, names and lengths are in the way of every change
            return Mutation(damaged(rng, self.file), strict=True)
        members = dict(self.members)
        name = rng.choice([*members, *["archive/data.pkl"] * 8])
        members[name] = damaged(rng, members[name])
        return Mutation(stored(members))

    def outcome(self, content: bytes) -> str:
        return RIGHT if self._answer(content) == self.answer else CHANGED


class Cells(Target):
    """A finished cell of a baseline; a damaged one is computed again, which counts as refused."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        classes = np.array(["a", "b", "c"])
        probabilities = np.random.default_rng(0).dirichlet(np.ones(3), 12)
        predicted = CrossValidation(classes[probabilities.argmax(axis=1)], probabilities, classes)
        write_cell(folder / "good", predicted, 1.5)
        self.labels = np.resize(classes, 12)
        self.file = (folder / "good").read_bytes()
        self.members = unzipped(self.file)
        self.answer = self._answer(self.file)

    def good(self) -> list[bytes]:
        return [self.file]

    def _answer(self, content: bytes) -> Any:
        found = read_cell(self.written(content), self.labels)
        if found is None:
            return None
        predicted, seconds = found
        n, k = len(predicted.probabilities), len(predicted.classes)
        require(predicted.probabilities.shape == (n, k), f"probabilities of shape {predicted.probabilities.shape}")
        require(len(predicted.predictions) == n and np.isfinite(seconds), "predictions that do not fit")
        require(np.isfinite(predicted.probabilities).all(), "probabilities that are not finite")
        return predicted.probabilities.tobytes() + repr((predicted.classes.tolist(), seconds)).encode()

    def mutated(self, rng: random.Random) -> Mutation:
        if rng.random() < 0.4:
            return Mutation(damaged(rng, self.file, range(len(self.file) - 250, len(self.file))), strict=True)
        members = dict(self.members)
        name = rng.choice(sorted(members))
        members[name] = damaged_npy(rng, members[name])
        return Mutation(zipped(rng, members))

    def outcome(self, content: bytes) -> str:
        found = self._answer(content)
        return REFUSED if found is None else RIGHT if found == self.answer else CHANGED
