"""What the experiments on the pool share: examples, students trained on them, and what these are measured by.

Each student is "L", trained on examples that both of l3mini's teachers embedded. It is measured by how near it is to
them on held-out clips (cosines, in floating point and in integers), and by the task of `pool_probe`, on clips that it
did not learn from. Rule: no evaluation set is read; what was trained is kept in `work`, and the same command resumes.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

import l3clf
from benchmarks.l3mini.kept import kept
from benchmarks.l3mini.make_l3mini import SIZES, STRONG, TEACHERS, WEIGHTS, WHITENING
from benchmarks.l3mini.pool_probe import mean_accuracy, probe_paths, yamnet_classes
from benchmarks.l3mini.torch_training import Lesson, Network, inputs, train_l3mini
from benchmarks.materials import l3mini, shared_folder, weights_folder
from l3clf.audio.clip import FloatArray
from l3clf.audio.spectrogram import MelSpec
from l3clf.distill.architectures import ARCHITECTURES, build_student, keras
from l3clf.distill.corpus import decode
from l3clf.distill.examples import Examples, Recipe, make_examples, plan, render
from l3clf.distill.training import Whitening, whiten
from l3clf.embedders import frontend
from l3clf.embedders.frontend import INPUT_STEP_DB, INPUT_STEPS, INPUT_ZERO_POINT, SAMPLE_RATE, levels

WINDOW_S, PROBE_HOP_S = 0.975, 0.5
PER_WINDOW, HELD_OUT, SEED = 3, 0.06, 10
STUDENT = ARCHITECTURES["L"]
CHUNK = 256  # windows at once
MIDDLE_BELOW_MAX = 100  # -40 dB below the window's loudest is the middle of the input's range


@dataclass(frozen=True)
class FrontEnd:
    """A log-mel in the steps of a student's integer input.

    Attributes
    ----------
    frame, hop, n_mels : int
        Samples of a frame and between frames; mel bands.
    fmin_hz, fmax_hz : float
    level : str
        "absolute"; "below the window's maximum"; "less the window's mean", which may be followed by ", by their
        deviation".
    """

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
        below = self.level == "below the window's maximum"
        rule: Literal["db_below_max", "db_absolute"] = "db_below_max" if below else "db_absolute"
        limits = (self.fmin_hz, self.fmax_hz)
        return MelSpec(SAMPLE_RATE, self.frame, self.hop, n_frames, self.n_mels, *limits, power=2, level=rule)

    def __call__(self, windows: FloatArray) -> NDArray[np.int8]:
        """Return the integers that a student takes, (n, frames, bands), of windows (n, samples)."""
        found = levels(self.spec, windows)
        if self.level.startswith("less the window's mean"):
            found -= found.mean((1, 2), keepdims=True)
            if self.level.endswith("deviation"):
                found *= INPUT_STEPS * INPUT_STEP_DB / (found.std((1, 2), keepdims=True) + 1e-3)
            zero_point = 0
        else:
            zero_point = INPUT_ZERO_POINT if self.level == "absolute" else MIDDLE_BELOW_MAX
        steps: FloatArray = np.rint(found / INPUT_STEP_DB) + zero_point
        return np.clip(steps, -128, 127).astype(np.int8)

    def of_many(self, windows: FloatArray) -> NDArray[np.int8]:
        """Return the same of many windows, on all cores."""
        with ThreadPoolExecutor() as threads:
            parts = threads.map(lambda i: self(windows[i : i + CHUNK]), range(0, len(windows), CHUNK))
            return np.concatenate(list(tqdm(parts, "log-mels", -(-len(windows) // CHUNK))))


@dataclass(frozen=True)
class Sounds:
    """Examples of some of the pool's clips, and their sound, in a folder of their own below `work`."""

    name: str
    clips: list[l3clf.Clip]
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
        teachers = [l3clf.load_embedder(name, weights=weights_folder()) for name in TEACHERS]
        return make_examples(corpus, teachers, self.recipe, self.folder, progress=True)

    @cached_property
    def rendered(self) -> FloatArray:
        """Their sound, rendered once more: (n, window samples)."""
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
    """Clips that no student learns from, in windows, with the classes that YAMNet gives them."""

    work: Path

    @cached_property
    def pool(self) -> Path:
        """The folder of the pool."""
        return shared_folder() / "data/pool"

    @cached_property
    def paths(self) -> list[str]:
        """The clips, in the pool."""
        return probe_paths(self.pool)

    @cached_property
    def classes(self) -> NDArray[np.intp]:
        """The number of each clip's class."""

        def make() -> Any:
            return yamnet_classes(self.pool, self.paths, weights_folder()).tolist()

        return np.array(kept(self.work / "probe classes.json", make))

    @cached_property
    def windows(self) -> list[FloatArray]:
        """The windows of each."""
        clips = tqdm([l3clf.Clip(self.pool / path) for path in self.paths], "probe")
        return [np.concatenate(list(l3mini().read_windows(clip, PROBE_HOP_S, True))) for clip in clips]

    def accuracy(self, network: Network, front_end: FrontEnd, some: NDArray[np.intp]) -> float:
        """Return the mean accuracy on small tasks cut from some of the clips."""
        features = front_end.of_many(np.concatenate([self.windows[i] for i in some]))
        ends = np.cumsum([len(self.windows[i]) for i in some])[:-1]
        vectors = np.stack([part.mean(axis=0) for part in np.split(_embeddings(network, features), ends)])
        return mean_accuracy(vectors, self.classes[some])


def _embeddings(network: Network, features: NDArray[np.int8]) -> FloatArray:
    network.eval()
    with torch.no_grad():
        return np.concatenate([network(inputs(features[i : i + CHUNK])) for i in range(0, len(features), CHUNK)])


def whitenings(examples: Examples) -> list[Whitening]:
    """Return the whitenings of the teachers' embeddings that students learn."""
    return [
        whiten(targets[~examples.held_out], size, WHITENING)
        for targets, size in zip(examples.targets, SIZES, strict=True)
    ]


def lesson(examples: Examples, whitened: list[Whitening], features: NDArray[np.int8]) -> Lesson:
    """Return examples as they are learned."""
    targets = [w.apply(t) for w, t in zip(whitened, examples.targets, strict=True)]
    return Lesson(features, [torch.from_numpy(t) for t in targets], examples.held_out)


def untrained(n_frames: int, n_mels: int, seed: int) -> keras.Model:
    """Return a student with random weights."""
    keras.utils.set_random_seed(seed)
    return build_student(STUDENT, n_frames, n_mels, sum(SIZES))


def trained(model: keras.Model, lessons: list[Lesson], epochs: int, rate: float, seed: int, folder: Path) -> Network:
    """Train a student from the weights that `model` has; the model has the trained ones afterwards."""
    folder.mkdir(parents=True, exist_ok=True)
    _, n_frames, n_mels, _ = model.input_shape
    network = Network(STUDENT, n_frames, n_mels, sum(SIZES))
    network.take(model.get_weights())
    train_l3mini(network, lessons, WEIGHTS, epochs, rate, folder, seed=seed)
    model.set_weights(network.give())
    return network
