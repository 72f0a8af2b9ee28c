"""Choices about l3mini, tried on the pool alone: which front-end, and what share-alike clips would add.

    L3CLF_SHARED=... python benchmarks/pool_experiments.py front-ends [--seeds N] [--names NAME ...] [--work DIR]
    L3CLF_SHARED=... python benchmarks/pool_experiments.py share-alike [--seeds N] [--work DIR]

Each student is "L", trained for eight epochs on examples that l3mini's teachers both answered, and is then asked two
things: how near it is to them on clips that were held out (cosines, in floats and in integers), and how well a logistic
head on its embeddings tells the classes of `pool_probe.py` apart, in clips that it never heard. Front-ends differ from
l3mini's in one thing each and start from nothing; what share-alike clips would add is asked of l3mini trained on, with
half of their sources and without, as many windows, by the other half of the sources. No evaluation set is read. What
was trained is kept in `work`; stopped, the same command goes on. It needs `pip install torch`. Four to five minutes for
each student on two cores of an EPYC, and as much for each set of examples, once.
"""

import argparse
import csv
import math
import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from make_l3mini import SIZES, STRONG, TEACHERS, WEIGHTS, WHITENING, pool_clips, take_over
from pool_probe import accuracy, draws, heard_classes, unheard
from student_gains import kept
from threadpoolctl import threadpool_limits
from torch_training import Lesson, Network, held_out_cosines, inputs, train
from tqdm import tqdm

import l3clf
from l3clf.audio.spectrogram import MelSpec
from l3clf.distill.architectures import ARCHITECTURES, build_student, keras, macs_of
from l3clf.distill.corpus import decode
from l3clf.distill.examples import Examples, Recipe, make_examples, plan, render
from l3clf.distill.student_onnx import fit_embedding, student_onnx
from l3clf.distill.student_tflite import student_tflite
from l3clf.distill.training import whiten
from l3clf.embedders import frontend
from l3clf.embedders.frontend import INPUT_STEP_DB, INPUT_STEPS, INPUT_ZERO_POINT, SAMPLE_RATE, levels
from l3clf.networks.int8_run import Int8Network
from l3clf.networks.tflite_read import read_tflite

WINDOW_S, PROBE_HOP_S = 0.975, 0.5
PER_WINDOW, HELD_OUT, SEED = 3, 0.06, 10
STUDENT, EPOCHS, RATE, RATE_ON = ARCHITECTURES["L"], 8, 3e-3, 2e-3
CHUNK, TO_QUANTISE, TO_START_FROM = 256, 1000, 6000
MIDDLE_BELOW_MAX = 100  # -40 dB below the window's loudest is the middle of the input's range


@dataclass(frozen=True)
class FrontEnd:
    """A log-mel in the steps of a student's integer input."""

    frame: int = frontend.FRAME
    hop: int = frontend.HOP
    n_mels: int = frontend.N_MELS
    fmin_hz: float = frontend.FMIN_HZ
    fmax_hz: float = frontend.FMAX_HZ
    level: str = "absolute"

    @property
    def spec(self) -> MelSpec:
        """Its log-mel."""
        n_frames = 1 + (round(WINDOW_S * SAMPLE_RATE) - self.frame) // self.hop
        rule = "db_below_max" if self.level == "below the window's maximum" else "db_absolute"
        limits = (self.fmin_hz, self.fmax_hz)
        return MelSpec(SAMPLE_RATE, self.frame, self.hop, n_frames, self.n_mels, *limits, power=2, level=rule)

    def __call__(self, windows: np.ndarray) -> np.ndarray:
        """Return the integers that a student sees of windows."""
        found = levels(self.spec, windows)
        if self.level.startswith("less the window's mean"):
            found -= found.mean((1, 2), keepdims=True)
            if self.level.endswith("deviation"):
                found *= INPUT_STEPS * INPUT_STEP_DB / (found.std((1, 2), keepdims=True) + 1e-3)
            zero_point = 0
        else:
            zero_point = INPUT_ZERO_POINT if self.level == "absolute" else MIDDLE_BELOW_MAX
        return np.clip(np.rint(found / INPUT_STEP_DB) + zero_point, -128, 127).astype(np.int8)

    def of_many(self, windows: np.ndarray) -> np.ndarray:
        """Return the same of many windows, on all cores."""
        with ThreadPoolExecutor() as threads:
            parts = threads.map(lambda i: self(windows[i : i + CHUNK]), range(0, len(windows), CHUNK))
            return np.concatenate(list(tqdm(parts, "log-mels", -(-len(windows) // CHUNK))))


FRONT_ENDS = {
    "as l3mini: frames of 32 ms, hop 10 ms, 64 bands from 60 to 7600 Hz, levels as they are": FrontEnd(),
    "frames of 16 ms": FrontEnd(frame=256),
    "frames of 25 ms": FrontEnd(frame=400),
    "frames of 64 ms": FrontEnd(frame=1024),
    "hop 20 ms": FrontEnd(hop=320),
    "hop 20 ms, frames of 64 ms": FrontEnd(hop=320, frame=1024),
    "32 bands": FrontEnd(n_mels=32),
    "40 bands": FrontEnd(n_mels=40),
    "48 bands": FrontEnd(n_mels=48),
    "125 to 7500 Hz": FrontEnd(fmin_hz=125, fmax_hz=7500),
    "levels below the window's maximum": FrontEnd(level="below the window's maximum"),
    "levels less the window's mean": FrontEnd(level="less the window's mean"),
    "levels less the window's mean, by their deviation": FrontEnd(level="less the window's mean, by their deviation"),
}


@dataclass(frozen=True)
class Sounds:
    """Examples of some of the pool's clips, and their sound."""

    name: str
    clips: list[l3clf.Clip]
    weights: Path
    work: Path

    @cached_property
    def folder(self) -> Path:
        """Where they are."""
        folder = self.work / self.name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @cached_property
    def recipe(self) -> Recipe:
        """How they are made."""
        return Recipe(WINDOW_S, PER_WINDOW, HELD_OUT, SEED, STRONG)

    @cached_property
    def examples(self) -> Examples:
        """What the shipped front-end and the teachers make of them."""
        corpus = decode(self.clips, SAMPLE_RATE, self.folder, progress=True)
        teachers = [l3clf.load_embedder(name, weights=self.weights) for name in TEACHERS]
        return make_examples(corpus, teachers, self.recipe, self.folder, progress=True)

    @cached_property
    def rendered(self) -> np.ndarray:
        """Their sound, made once more: (n, window samples)."""
        corpus = decode(self.clips, SAMPLE_RATE, self.folder)
        rows, held = plan(corpus, self.recipe)
        path, shape = self.folder / "rendered.f4", (len(rows), round(WINDOW_S * SAMPLE_RATE))
        if not path.exists():
            part = np.memmap(path.with_suffix(".part"), np.float32, "w+", 0, shape)

            def one(i: int) -> None:
                part[i] = render(corpus, held, self.recipe, *map(int, rows[i]))[0]

            with ThreadPoolExecutor() as threads:
                list(tqdm(threads.map(one, range(len(rows))), "sounds", len(rows)))
            part.flush()
            path.with_suffix(".part").replace(path)
        return np.memmap(path, np.float32, "r", 0, shape)


@dataclass(frozen=True)
class Probe:
    """Clips that no student learns from, in windows, with the classes that YAMNet hears in them."""

    pool: Path
    weights: Path
    work: Path

    @cached_property
    def paths(self) -> list[str]:
        """The clips, in the pool."""
        return unheard(self.pool)

    @cached_property
    def classes(self) -> np.ndarray:
        """The number of the class that is heard in each."""
        return np.array(
            kept(self.work / "heard.json", lambda: heard_classes(self.pool, self.paths, self.weights).tolist())
        )

    @cached_property
    def windows(self) -> list[np.ndarray]:
        """The windows of each."""
        embedder = l3clf.load_embedder("l3mini")
        clips = tqdm([l3clf.Clip(self.pool / path) for path in self.paths], "probe")
        return [np.concatenate(list(embedder.read_windows(clip, PROBE_HOP_S, True))) for clip in clips]

    def ask(self, network: Network, front_end: FrontEnd, some: np.ndarray) -> float:
        """Return the mean accuracy on small tasks cut from some of the clips."""
        found = embed(network, front_end.of_many(np.concatenate([self.windows[i] for i in some])))
        ends = np.cumsum([len(self.windows[i]) for i in some])[:-1]
        vectors, classes = np.stack([part.mean(axis=0) for part in np.split(found, ends)]), self.classes[some]
        with threadpool_limits(1):
            return float(np.mean([accuracy(vectors[task], classes[task]) for task in draws(classes)]))


def embed(network: Network, features: np.ndarray) -> np.ndarray:
    """Return a student's embeddings."""
    network.eval()
    with torch.no_grad():
        return np.concatenate([network(inputs(features[i : i + CHUNK])) for i in range(0, len(features), CHUNK)])


def whitened(examples: Examples) -> list:
    """Return the whitenings of the teachers' answers that students are to learn."""
    return [
        whiten(targets[~examples.held_out], size, WHITENING)
        for targets, size in zip(examples.targets, SIZES, strict=True)
    ]


def lesson(examples: Examples, whitenings: list, features: np.ndarray) -> Lesson:
    """Return examples as they are learned."""
    targets = [w.apply(t) for w, t in zip(whitenings, examples.targets, strict=True)]
    return Lesson(features, [torch.from_numpy(t) for t in targets], examples.held_out)


def untrained(shape: tuple[int, int], seed: int) -> keras.Model:
    keras.utils.set_random_seed(seed)
    return build_student(STUDENT, *shape, sum(SIZES))


def trained(model: keras.Model, lessons: list[Lesson], rate: float, seed: int, folder: Path) -> Network:
    """Train a student as `model` is now; the model has the weights afterwards."""
    folder.mkdir(parents=True, exist_ok=True)
    network = Network(STUDENT, *model.input_shape[1:3], sum(SIZES))
    network.take(model.get_weights())
    train(network, lessons, WEIGHTS, EPOCHS, rate, folder, seed=seed)
    model.set_weights(network.give())
    return network


def integer_cosines(model: keras.Model, learned: Lesson) -> list[float]:
    """Return the held-out cosines of the student in integers."""
    rows = np.random.default_rng(0).permutation(np.flatnonzero(~learned.held_out))[:TO_QUANTISE]
    content = student_tflite(STUDENT, model, learned.features[np.sort(rows)])
    network, held = Int8Network(read_tflite(content, "network.tflite")), np.flatnonzero(learned.held_out)
    steps = network.run(learned.features[held][..., np.newaxis]).astype(np.float32) - network.model.output.zero_point
    parts = np.split(steps, [SIZES[0]], axis=1)
    return [
        float(torch.nn.functional.cosine_similarity(torch.from_numpy(part), targets[held]).mean())
        for part, targets in zip(parts, learned.targets, strict=True)
    ]


def try_front_end(front_end: FrontEnd, seed: int, sounds: Sounds, probe: Probe, folder: Path) -> dict[str, float]:
    """Train a student behind a front-end and ask what it can do."""
    examples = sounds.examples
    features = examples.features if front_end == FrontEnd() else front_end.of_many(sounds.rendered)
    learned = lesson(examples, whitened(examples), np.asarray(features))
    model = untrained(features.shape[1:], seed)
    network = trained(model, [learned], RATE, seed, folder)
    cosines, in_integers = held_out_cosines(network, [learned]), integer_cosines(model, learned)
    return {
        "macs": macs_of(model),
        "parameters": sum(math.prod(x.dims) for x in student_onnx(STUDENT, model).graph.initializer),
        **{f"cosine_{i}": cosine for i, cosine in enumerate(cosines)},
        **{f"int8_{i}": cosine for i, cosine in enumerate(in_integers)},
        "probe": probe.ask(network, front_end, np.arange(len(probe.paths))),
    }


def front_ends(names: list[str], seeds: int, sounds: Sounds, probe: Probe) -> None:
    """Print what students behind several front-ends can do."""
    print("| front-end | MMAC | parameters | to YAMNet | to the speech embedding | in integers | probe (each seed) |")
    print("|---|---|---|---|---|---|---|")
    for name in names:
        folder = sounds.work / "front-ends" / name
        found = []
        for seed in range(seeds):

            def make(seed: int = seed, name=name, folder=folder) -> dict[str, float]:
                return try_front_end(FRONT_ENDS[name], seed, sounds, probe, folder / f"seed {seed}")

            found.append(kept(folder / f"seed {seed}.json", make))
        mean = {key: np.mean([one[key] for one in found]) for key in found[0]}
        each = ", ".join(f"{one['probe']:.2%}" for one in found)
        print(
            f"| {name} | {mean['macs'] / 1e6:.2f} | {mean['parameters']:,.0f} | {mean['cosine_0']:.3f} | "
            f"{mean['cosine_1']:.3f} | {mean['int8_0']:.3f}, {mean['int8_1']:.3f} | {mean['probe']:.2%} ({each}) |",
            flush=True,
        )


def halves(pool: Path, paths: list[str]) -> list[set[str]]:
    """Return the share-alike clips in two halves, by source, with about as many of `paths` each."""
    with (pool / "manifest.csv").open(encoding="utf-8") as file:
        source = {row["path"]: row["source"] for row in csv.DictReader(file) if "SA" in row["licence"]}
    asked = Counter(source[path] for path in paths)
    parts: tuple[list[str], list[str]] = ([], [])
    for name in sorted(set(source.values()), key=lambda name: (-asked[name], name)):
        min(parts, key=lambda part: sum(asked[x] for x in part)).append(name)
    return [{path for path, name in source.items() if name in part} for part in parts]


def some_of(learned: Lesson, n: int) -> Lesson:
    """Return `n` of the examples to learn from, and those that are held out."""
    chosen = np.random.default_rng(0).permutation(np.flatnonzero(~learned.held_out))[:n]
    rows = np.sort(np.concatenate([chosen, np.flatnonzero(learned.held_out)]))
    targets = [None if part is None else part[rows] for part in learned.targets]
    return Lesson(learned.features[rows], targets, learned.held_out[rows])


def train_on(lessons: list[Lesson], plain: Lesson, seed: int, folder: Path) -> Network:
    """Train l3mini on, whose last layer is solved for these targets first."""
    model = untrained(plain.features.shape[1:], 0)
    rows = np.flatnonzero(~plain.held_out)[:: len(plain.features) // TO_START_FROM]
    take_over(model, l3clf.load_embedder("l3mini").onnx, plain.features[rows])
    fit_embedding(model, plain.features[rows], np.hstack([targets[rows] for targets in plain.targets]))
    return trained(model, lessons, RATE_ON, seed, folder)


def try_share_alike(
    added: Sounds | None, asked: list[np.ndarray], plain: Sounds, probe: Probe, seed: int, folder: Path
) -> dict[str, float]:
    """Train l3mini on, with some share-alike clips or none, and ask it about each of `asked`."""
    whitenings = whitened(plain.examples)
    lessons = [lesson(plain.examples, whitenings, plain.examples.features)]
    measured = lessons[0]
    if added is not None:
        n, n_added = (int((~sounds.examples.held_out).sum()) for sounds in (plain, added))
        theirs = round(n * n_added / (n + n_added))
        more = lesson(added.examples, whitenings, added.examples.features)
        lessons = [some_of(measured, n - theirs), some_of(more, theirs)]
    network = train_on(lessons, measured, seed, folder)
    cosines = {f"cosine_{i}": cosine for i, cosine in enumerate(held_out_cosines(network, [measured]))}
    return cosines | {f"probe_{i}": probe.ask(network, FrontEnd(), some) for i, some in enumerate(asked)}


def share_alike(seeds: int, plain: Sounds, probe: Probe) -> None:
    """Print what l3mini can do when it is trained on with half of the share-alike sources, and without."""
    parts = halves(probe.pool, probe.paths)
    asked = [np.array([i for i, path in enumerate(probe.paths) if path in part]) for part in parts]
    print("| learned from | asked about | probe (each seed) | to YAMNet | to the speech one |\n|---|---|---|---|---|")
    for number in (None, 0, 1):
        clips = [] if number is None else [l3clf.Clip(probe.pool / path) for path in sorted(parts[number])]
        added = Sounds(f"half {number + 1}", clips, plain.weights, plain.work) if clips else None
        name = f"with half {number + 1}" if clips else "without share-alike clips"
        found = []
        for seed in range(seeds):
            folder = plain.work / "share-alike" / name

            def make(seed: int = seed, added=added, folder=folder) -> dict[str, float]:
                return try_share_alike(added, asked, plain, probe, seed, folder / f"seed {seed}")

            found.append(kept(folder / f"seed {seed}.json", make))
        to = " | ".join(f"{np.mean([one[f'cosine_{i}'] for one in found]):.3f}" for i in range(len(TEACHERS)))
        for half in range(2):
            if half != number:
                each = [one[f"probe_{half}"] for one in found]
                told = f"{np.mean(each):.2%} ({', '.join(f'{one:.2%}' for one in each)})"
                print(f"| {name} | half {half + 1}, {len(asked[half])} clips | {told} | {to} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("experiment", choices=["front-ends", "share-alike"])
    parser.add_argument("--shared", type=Path, default=os.environ.get("L3CLF_SHARED"), help="default: $L3CLF_SHARED")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--names", nargs="+", choices=FRONT_ENDS, default=list(FRONT_ENDS), metavar="NAME")
    parser.add_argument("--work", type=Path, default="pool-experiments", help="what was trained is kept here")
    args = parser.parse_args()
    if args.shared is None:
        parser.error("name the folder with the data: --shared or L3CLF_SHARED")
    pool, weights = args.shared / "data/pool", args.shared / "weights"
    plain = Sounds("without share-alike", pool_clips(pool), weights, args.work)
    probe = Probe(pool, weights, args.work)
    if args.experiment == "front-ends":
        front_ends(args.names, args.seeds, plain, probe)
    else:
        share_alike(args.seeds, plain, probe)


if __name__ == "__main__":
    main()
