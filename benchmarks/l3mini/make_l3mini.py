"""How the first l3mini was made: distilled from YAMNet and Google's speech embedding on openly licensed sounds.

Examples are made of the pool's sounds whose licence does not ask for share-alike, of synthetic sounds and of words by
espeak-ng, strongly augmented. YAMNet embeds all of them, the speech embedding speech and a little of the rest: its
embeddings cost most and say least about other sounds. No evaluation audio is read. Everything is kept in `out`; run
the same command again to resume. On two cores without AVX-512 the training takes an hour for 3.6 million windows. Its
weights were started from run 2's:

    git show 043b089:l3clf/embedders/data/l3mini.student > run2.student
    python -m benchmarks run make_l3mini --set out=DIR --set init=run2.student

PyTorch trains, because it is faster on a CPU than Keras on TensorFlow. `labbook.md` says what else was tried.
"""

import csv
import math
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray

import l3clf
from benchmarks.l3mini.pool_credits import within
from benchmarks.l3mini.synthesis import spoken, synthetic_sounds
from benchmarks.l3mini.torch_training import Lesson, Network, train_l3mini
from benchmarks.materials import l3mini, shared_folder
from benchmarks.record import Result, Table
from l3clf.audio.clip import Samples
from l3clf.distill import Augmentation
from l3clf.distill.architectures import ARCHITECTURES, Architecture, build_student, keras, macs_of
from l3clf.distill.corpus import decode
from l3clf.distill.examples import Examples, Recipe, make_examples
from l3clf.distill.student_onnx import fit_embedding, start_from, student_onnx
from l3clf.distill.student_tflite import student_tflite
from l3clf.distill.training import whiten
from l3clf.embedders.frontend import INPUT_STEPS, SAMPLE_RATE, student_spec
from l3clf.embedders.student import Student, write_student
from l3clf.errors import L3clfError, ParameterError

VOICES = ("en-us", "en-gb", "en-gb-scotland", "en-029", "en-gb-x-rp", "de", "fr-fr", "es", "it", "nl", "pl")
WORDS = """yes no stop go left right up down on off one two three four five six seven eight nine ten zero hundred hello
please thank open close start light music louder quiet house water mother father school morning evening kitchen window
garden river mountain paper bottle table chair coffee bread apple orange banana tomato potato doctor teacher police fire
help danger happy sad angry green yellow purple black white silver monday tuesday friday january august winter summer
bicycle train airplane engine hammer computer telephone camera picture story number letter question answer problem
reason minute second hour yesterday tomorrow between under over behind because although maybe never always sometimes
quickly slowly follow visual forward backward learn sheila marvin wow tree bird cat dog bed shoe think throat judge
vision measure joy choice boy thousand zebra fuzzy vase cave sieve verve heist noise fine sign sticks fix mix box free
tea sea""".split()  # noqa: SIM905
STRONG = Augmentation(
    stretch=(0.7, 1.4), pitch=(0.6, 1.6), mix_db=(-3.0, 15.0), colour_db=6.0,
    p_stretch=0.15, p_pitch=0.35, p_noise=0.3, p_mix=0.6, p_band=0.2, p_colour=0.5, p_room=0.3,
)  # fmt: skip
HELD_OUT = 0.02
TEACHERS = ("yamnet", "speech")
SIZES = (144, 48)  # of their parts of the embedding
MEASURED_ON = ("pool", "speech")  # the groups that their principal components are fitted to
WHITENING, WEIGHTS = 0.5, (1.0, 1.0)
STUDENT, RATE = "L", 2e-3
EARLIER = Architecture(32, ((64, 2), (96, 1), (96, 1), (96, 1), (160, 2), (160, 1)))  # the student of runs 1 to 3
ADDED, AT_FIRST = 5, 0.2  # the block that it lacks, and the scale of that block's output at first
TO_START_FROM, TO_QUANTISE = 6000, 2000  # examples
SAME = 1e-4  # of the largest value: how far PyTorch's network and Keras' may differ


@dataclass(frozen=True)
class Options:
    """What is made.

    Attributes
    ----------
    out : Path
        A folder, new or of an earlier run.
    init : Path, optional
        A student file to start from, of this size or of runs 1 to 3.
    epochs, words, synthetic : int
        Of the training; how many words are spoken and how many sounds synthesised.
    """

    out: Path = Path("l3mini")
    init: Path | None = None
    epochs: int = 23
    words: int = 3500
    synthetic: int = 3600


@dataclass(frozen=True)
class Group:
    """Examples that are made alike: of which sounds, embedded by whom, how many for each window's length."""

    name: str
    sounds: str
    teachers: tuple[str, ...]
    per_window: int


GROUPS = (
    Group("pool", "pool", ("yamnet",), 8),
    Group("synthetic", "synthetic", ("yamnet",), 3),
    Group("speech", "speech", TEACHERS, 6),
    Group("rest", "pool", TEACHERS, 2),
)


def run(options: Options) -> Result:
    """Make the student file in `out`."""
    sets = {group.name: _examples_of(group, seed, options) for seed, group in enumerate(GROUPS)}
    lessons = _lessons_of(sets)
    model = _started(options.init, lessons)
    _, n_frames, n_mels, _ = model.input_shape
    network = Network(ARCHITECTURES[STUDENT], n_frames, n_mels, sum(SIZES))
    network.take(model.get_weights())
    log = train_l3mini(network, lessons, WEIGHTS, options.epochs, RATE, options.out)
    model.set_weights(network.give())
    features = np.concatenate([lesson.features[rows] for lesson, rows in _some(lessons, TO_QUANTISE)])
    _check_same(network, model, features[:100])
    student = _write(model, sets, log, features, options.out)
    about = student.about
    cosines = tuple(about["held_out_cosine"])
    columns = ("epochs", "d"), ("examples", ",d"), ("cosine to YAMNet", ".3f"), ("to the speech embedding", ".3f")
    row = (len(log), sum(map(len, sets.values())), *cosines)
    return Result((Table("Held-out cosines", columns, (row,)),))


# --- sounds ----------------------------------------------------------------------------------------


def pool_clips(pool: Path) -> list[l3clf.Clip]:
    """Return the pool's clips whose licence does not ask for share-alike."""
    return [l3clf.Clip(pool / row["path"]) for row in within(pool)]


def _speech_clips(pool: Path) -> list[l3clf.Clip]:
    """Those of `pool_clips` in which somebody speaks, as their folders' names say."""
    kinds = defaultdict(set)
    with (pool / "parts.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            kinds[str(pool / row["path"])].add(row["kind"])
    return [clip for clip in pool_clips(pool) if "speech" in kinds[clip.path]]


def _sounds(name: str, pool: Path, options: Options) -> list[l3clf.Clip]:
    if name == "synthetic":
        return _written(options.out / "synthetic sounds", lambda: synthetic_sounds(options.synthetic))
    if name == "speech":
        words = options.out / "words"
        made = _written(words, lambda: spoken(WORDS, VOICES, options.words)) if options.words else []
        return [*_speech_clips(pool), *made]
    return pool_clips(pool)


def _written(folder: Path, make: Callable[[], list[Samples]]) -> list[l3clf.Clip]:
    """Sounds that are made once and written to a folder."""
    if not (folder / "complete").exists():
        folder.mkdir(parents=True, exist_ok=True)
        for i, sound in enumerate(make()):
            soundfile.write(folder / f"{i:05}.wav", sound.samples, int(sound.sample_rate), subtype="FLOAT")
        (folder / "complete").touch()
    return [l3clf.Clip(path) for path in sorted(folder.glob("*.wav"))]


# --- examples --------------------------------------------------------------------------------------


def _examples_of(group: Group, seed: int, options: Options) -> Examples:
    """Make a group's examples, or find them."""
    shared, out = shared_folder(), options.out
    for folder in (out / group.sounds, out / group.name):
        folder.mkdir(parents=True, exist_ok=True)
    teachers = [l3clf.load_embedder(name, weights=shared / "weights") for name in group.teachers]
    clips = _sounds(group.sounds, shared / "data/pool", options)
    corpus = decode(clips, SAMPLE_RATE, out / group.sounds, progress=True)
    recipe = Recipe(teachers[0].window_s, group.per_window, HELD_OUT, seed, STRONG)
    return make_examples(corpus, teachers, recipe, out / group.name, progress=True)


def _lessons_of(sets: Mapping[str, Examples]) -> list[Lesson]:
    """Examples with whitened targets, None for a teacher that did not embed them."""
    whitenings = []
    for teacher, (name, size) in enumerate(zip(MEASURED_ON, SIZES, strict=True)):
        examples = sets[name]
        whitenings.append(whiten(examples.targets[teacher][~examples.held_out], size, WHITENING))
    found = []
    for examples in sets.values():
        targets: list[Any] = [None] * len(whitenings)
        for i, vectors in enumerate(examples.targets):
            targets[i] = torch.from_numpy(whitenings[i].apply(vectors))
        found.append(Lesson(examples.features, targets, examples.held_out))
    return found


def _some(lessons: Sequence[Lesson], n: int) -> list[tuple[Lesson, NDArray[np.intp]]]:
    """Some rows of each lesson, in proportion, none of them held out."""
    total = sum(len(lesson.features) for lesson in lessons)
    rng = np.random.default_rng(0)
    return [
        (x, np.sort(rng.permutation(np.flatnonzero(~x.held_out))[: round(n * len(x.features) / total)]))
        for x in lessons
    ]


# --- weights ---------------------------------------------------------------------------------------


def _started(init: Path | None, lessons: Sequence[Lesson]) -> keras.Model:
    """An untrained student, or one with the embeddings of `init`, its last layer solved for the targets."""
    keras.utils.set_random_seed(0)
    spec = student_spec(l3mini().window_s)
    model = build_student(ARCHITECTURES[STUDENT], spec.n_frames, spec.n_bands, sum(SIZES))
    if init is not None:
        chosen = _some([lesson for lesson in lessons if None not in lesson.targets], TO_START_FROM)
        features = np.concatenate([lesson.features[rows] for lesson, rows in chosen])
        targets = [np.concatenate([lesson.targets[i][rows] for lesson, rows in chosen]) for i in range(len(SIZES))]
        take_over(model, Student(str(init)).onnx, features)
        fit_embedding(model, features, np.hstack(targets))
    return model


def take_over(model: keras.Model, onnx: bytes, features: NDArray[np.int8]) -> None:
    """Copy another student's weights into `model`.

    The other is of its size, or of the earlier one, which lacks a block: that block starts with a small output.

    Parameters
    ----------
    model : keras.Model
    onnx : bytes
        The other's network.
    features : array of shape (n, frames, bands)
        Examples that set the statistics of the normalisations.
    """
    try:
        start_from(model, onnx, features)
        return
    except ParameterError:
        _, n_frames, n_mels, _ = model.input_shape
        older = build_student(EARLIER, n_frames, n_mels, model.output_shape[1])
        start_from(older, onnx, features)
    for layer in model.layers:
        in_block = re.fullmatch(r"block_(\d+)(_.+)", layer.name)
        number = int(in_block[1]) if in_block else 0
        if layer.weights and number != ADDED:
            name = f"block_{number - 1}{in_block[2]}" if in_block and number > ADDED else layer.name
            layer.set_weights(older.get_layer(name).get_weights())
    x = features[:1024, ..., np.newaxis].astype(np.float32) / np.float32(INPUT_STEPS)
    for name, gamma in ((f"block_{ADDED}_depthwise_norm", 1.0), (f"block_{ADDED}_pointwise_norm", AT_FIRST)):
        norm = model.get_layer(name)
        values = keras.Model(model.input, norm.input).predict(x, verbose=0)
        mean, variance = values.mean((0, 1, 2)), values.var((0, 1, 2))
        norm.set_weights([np.full_like(mean, gamma), np.zeros_like(mean), mean, variance])


def _check_same(network: Network, model: keras.Model, features: NDArray[np.int8]) -> None:
    """Stop if PyTorch's network and Keras' differ."""
    x = features[..., np.newaxis].astype(np.float32) / np.float32(INPUT_STEPS)
    with torch.no_grad():
        theirs = network.eval()(torch.from_numpy(x.transpose(0, 3, 1, 2).copy())).numpy()
    difference = np.abs(theirs - model.predict(x, verbose=0)).max() / np.abs(theirs).max()
    if not difference < SAME:
        raise L3clfError(f"PyTorch's network and Keras': differ by {difference:.1e} of the largest value")


def _write(
    model: keras.Model,
    sets: Mapping[str, Examples],
    log: Sequence[Mapping[str, float]],
    features: NDArray[np.int8],
    out: Path,
) -> Student:
    onnx = student_onnx(ARCHITECTURES[STUDENT], model)
    about = {
        "window_s": l3mini().window_s,
        "architecture": STUDENT,
        "embedding_size": sum(SIZES),
        "teachers": list(TEACHERS),
        "parts": list(SIZES),
        "whitening": WHITENING,
        "examples": {name: len(examples) for name, examples in sets.items()},
        "epochs": len(log),
        "held_out_cosine": [log[-1][f"cosine_{i}"] for i in range(len(SIZES))],
        "parameters": sum(math.prod(tensor.dims) for tensor in onnx.graph.initializer),
        "macs": macs_of(model),
        "made_by": f"l3clf {l3clf.__version__}, benchmarks/l3mini/make_l3mini.py",
    }
    content = student_tflite(ARCHITECTURES[STUDENT], model, features)
    write_student(out / "l3mini.student", about, onnx.SerializeToString(), content)
    return Student(str(out / "l3mini.student"))
