"""Training examples on disk: what the student will see, and what the teachers said of the same sound.

Rule: an example is decided by its clip, its number and the seed alone, so that it can be made in any
order, by any thread, and again. Blocks are made in order and counted when they are on disk: what was
stopped goes on there.
"""

import hashlib
import json
import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import soxr
from numpy.typing import NDArray
from tqdm import tqdm

from l3clf.audio.augmentation import Augmentation, gain, is_silent, mix, time_stretch
from l3clf.audio.clip import FloatArray
from l3clf.classifier.inputs import check_whole
from l3clf.distill.corpus import CHECKPOINT, EXAMPLES, Corpus, other_checkpoint
from l3clf.embedders.base import Embedder
from l3clf.embedders.frontend import INPUT_STEP_DB, INPUT_ZERO_POINT, SAMPLE_RATE, levels, quantise_levels, student_spec
from l3clf.errors import DatasetError, ParameterError
from l3clf.pipeline import n_threads
from l3clf.storage.atomic import cannot_write, replacing

__all__ = ["Augmentation", "Examples", "Recipe", "make_examples", "render", "teacher_targets"]

REVISION = 2  # raised whenever the same description gives other examples
BLOCK = 64
ZEROS = 1 << 20
INNER_HOP_S = 0.2  # between the windows of a teacher whose window is shorter than the student's
OVERHANG = 0.25  # share of examples in which a clip may begin or end inside the window
NO_LABEL = -1
LARGEST_TARGET = 65504.0  # of float16
_DTYPES: dict[str, Any] = {
    "i8": np.int8,
    "i32": np.int32,
    "f4": np.float32,
    "f2": np.float16,
}  # by the end of a file's name


@dataclass(frozen=True)
class Recipe:
    """How examples are made of a corpus.

    Parameters
    ----------
    window_s : float
        Length of the student's window.
    per_window : int
        Examples for each window's length of a clip. One of each clip's is a piece of it as it is.
    held_out : float
        Share of clips to measure on, never learned from.
    seed : int
    augmentation : Augmentation
    """

    window_s: float
    per_window: int = 8
    held_out: float = 0.05
    seed: int = 0
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        check_whole("per_window", self.per_window, 1)
        if not isinstance(self.held_out, int | float | np.number) or not 0 < self.held_out < 1:
            raise ParameterError(f"held_out={self.held_out!r}; expected a share between 0 and 1")


@dataclass(frozen=True, eq=False)
class Examples:
    """Examples, memory-mapped.

    Attributes
    ----------
    features : array of shape (n, n_frames, n_mels), int8
        Levels in steps of the student's input.
    targets : list of arrays of shape (n, size), float16
        The embeddings of each teacher.
    labels : array of shape (n, 2), int32
        Classes of the clip and of the one mixed in; -1 for none.
    shares : array of shape (n,), float32
        The first class's part of the label; the second has the rest, if there is one.
    held_out : array of shape (n,), bool
    digest : str
        Of everything that decides them.
    """

    features: NDArray[np.int8]
    targets: list[NDArray[np.float16]]
    labels: NDArray[np.int32]
    shares: NDArray[np.float32]
    held_out: NDArray[np.bool_]
    digest: str = ""

    def __len__(self) -> int:
        return len(self.features)


def plan(corpus: Corpus, recipe: Recipe) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return (clip, number) of every example, and which clips are held out; rounds over all clips follow another."""
    window = round(recipe.window_s * corpus.sample_rate)
    counts = np.maximum(1, [round(corpus.length(i) / window) for i in range(len(corpus))])
    clips = np.repeat(np.arange(len(corpus)), counts)
    within = np.concatenate([np.arange(count) for count in counts])
    rows = [np.stack([clips, within + turn * counts[clips]], axis=1) for turn in range(recipe.per_window)]
    n_held = min(max(1, round(recipe.held_out * len(corpus))), len(corpus) - 1)
    held = np.zeros(len(corpus), np.bool_)
    held[np.random.default_rng(recipe.seed).permutation(len(corpus))[:n_held]] = True
    return np.concatenate(rows), held


def render(
    corpus: Corpus, held: NDArray[np.bool_], recipe: Recipe, clip: int, number: int
) -> tuple[FloatArray, int | None, float]:
    """Make the sound of one example.

    Returns
    -------
    samples : array of shape (window samples,), float32
        At the corpus' rate.
    other : int or None
        The clip that was mixed in; of the same side, held out or not.
    share : float
        The first clip's part, by amplitude; 0 where it is silent in the window.
    """
    n = round(recipe.window_s * corpus.sample_rate)
    rng = np.random.default_rng([recipe.seed, clip, number])
    if number == 0:
        samples = _cut(corpus, clip, n, 1.0, rng)
        return samples, None, float(not is_silent(samples))
    change = recipe.augmentation
    samples = change.apply(_cut(corpus, clip, n, change.draw_stretch(rng), rng), corpus.sample_rate, rng)
    share = float(not is_silent(samples))
    other, below_db = None, change.draw_mix_db(rng)
    if below_db is not None:
        chosen = int(rng.choice(np.flatnonzero(held == held[clip])))
        second = _cut(corpus, chosen, n, 1.0, rng)
        samples = mix(samples, second, below_db)
        if not is_silent(second):  # a pause in either clip says nothing of its class
            other, share = chosen, share / (1 + 10 ** (-below_db / 20))
    samples = change.apply_noise(samples, rng)
    peak = float(np.abs(samples).max())
    return (gain(samples, -20 * np.log10(peak)) if peak > 1 else samples), other, share


def _cut(corpus: Corpus, clip: int, n: int, stretch: float, rng: np.random.Generator) -> FloatArray:
    """A window from a drawn place, that may hang over the clip's ends; a shorter clip lies anywhere in it."""
    needed = round(n / stretch)
    spare = corpus.length(clip) - needed
    low, high = min(0, spare), max(0, spare)
    if spare > 0 and rng.random() < OVERHANG:
        low, high = -needed // 2, spare + needed // 2
    piece = corpus.piece(clip, int(rng.integers(low, high + 1)), needed)
    if stretch == 1.0:
        return piece
    stretched = time_stretch(piece, corpus.sample_rate, stretch)
    return np.pad(stretched, (0, max(0, n - len(stretched))))[:n]


def teacher_targets(teacher: Embedder, samples: FloatArray, sample_rate: int) -> FloatArray:
    """Return what a teacher says of windows, as long as the student's.

    A teacher with a shorter window answers with the mean over its windows inside, one with a longer window
    hears zeros on both sides.

    Parameters
    ----------
    teacher : Embedder
    samples : array of shape (n, n_samples), float32
    sample_rate : int

    Returns
    -------
    array of shape (n, embedding size), float32
    """
    if teacher.sample_rate != sample_rate:
        samples = np.stack([soxr.resample(x, sample_rate, teacher.sample_rate) for x in samples])
    window, length = teacher.window_samples, samples.shape[1]
    short = max(0, window - length)
    samples = np.pad(samples, ((0, 0), (short // 2, short - short // 2)))
    spare = samples.shape[1] - window
    starts = np.linspace(0, spare, 1 + int(np.ceil(spare / (INNER_HOP_S * teacher.sample_rate)))).astype(int)
    inside = np.concatenate([samples[:, start : start + window] for start in starts])
    some = teacher.batch_windows
    vectors = [teacher.embed_windows(inside[i : i + some]) for i in range(0, len(inside), some)]
    return np.asarray(np.concatenate(vectors).reshape(len(starts), len(samples), -1).mean(axis=0))


def make_examples(
    corpus: Corpus,
    teachers: Sequence[Embedder],
    recipe: Recipe,
    folder: Path,
    labels: NDArray[np.int32] | None = None,
    n_jobs: int | None = None,
    progress: bool = False,
) -> Examples:
    """Make all examples in `folder`, or what is missing of them.

    Raises
    ------
    DatasetError
        If the disk is full, or a teacher gives numbers that cannot be learned.
    ParameterError
        If a student was already begun in `folder` with other examples: those are kept.
    """
    rows, held = plan(corpus, recipe)
    spec = student_spec(recipe.window_s)
    shapes = {"features.i8": (len(rows), spec.n_frames, spec.n_bands), "labels.i32": (len(rows), 2)}
    shapes |= {"shares.f4": (len(rows),)}
    shapes |= {f"targets-{i}.f2": (len(rows), teacher.embedding_size) for i, teacher in enumerate(teachers)}
    made = _Files(folder, shapes, _description(corpus, teachers, recipe, labels))

    def block(first: int) -> int:
        part = rows[first : first + BLOCK]
        made.put(first, _block(corpus, held, recipe, teachers, labels, part))
        return len(part)

    firsts = iter(range(made.done, len(rows), BLOCK))
    with (
        ThreadPoolExecutor(n_threads(n_jobs)) as pool,
        tqdm(total=len(rows), initial=made.done, desc="examples", unit="ex", disable=not progress) as bar,
    ):
        while batch := list(islice(firsts, 8 * n_threads(n_jobs))):
            done = batch[0]
            try:
                for n in pool.map(block, batch):
                    done += n
                    bar.update(n)
            finally:  # what was finished before a Ctrl-C counts
                made.mark(done)
    arrays = made.arrays
    targets: list[NDArray[np.float16]] = [arrays[f"targets-{i}.f2"] for i in range(len(teachers))]
    features, labels_of, shares = (arrays[name] for name in ("features.i8", "labels.i32", "shares.f4"))
    digest = hashlib.sha256(json.dumps(made.told, sort_keys=True).encode()).hexdigest()[:32]
    return Examples(features, targets, labels_of, shares, held[rows[:, 0]], digest)


def _description(
    corpus: Corpus, teachers: Sequence[Embedder], recipe: Recipe, labels: NDArray[np.int32] | None
) -> dict[str, Any]:
    """Everything that decides the examples, as JSON gives it back."""
    told: dict[str, Any] = {"recipe": asdict(recipe), "corpus": corpus.digest}
    told |= {"spec": asdict(student_spec(recipe.window_s)), "teachers": [teacher.fingerprint for teacher in teachers]}
    told |= {"labels": "" if labels is None else hashlib.sha256(labels.tobytes()).hexdigest()}
    told |= {"steps": [INPUT_STEP_DB, INPUT_ZERO_POINT], "revision": REVISION}
    out: dict[str, Any] = json.loads(json.dumps(told, default=np.generic.item))
    return out


def _block(
    corpus: Corpus,
    held: NDArray[np.bool_],
    recipe: Recipe,
    teachers: Sequence[Embedder],
    labels: NDArray[np.int32] | None,
    rows: NDArray[np.int64],
) -> dict[str, NDArray[Any]]:
    made = [render(corpus, held, recipe, int(clip), int(number)) for clip, number in rows]
    samples = np.stack([one for one, _, _ in made])
    heard = samples
    if corpus.sample_rate != SAMPLE_RATE:
        heard = np.stack([soxr.resample(x, corpus.sample_rate, SAMPLE_RATE) for x in samples])
    out: dict[str, NDArray[Any]] = {
        "features.i8": quantise_levels(levels(student_spec(recipe.window_s), heard)),
        "labels.i32": np.array([_labels(labels, int(c), o) for c, (_, o, _) in zip(rows[:, 0], made, strict=True)]),
        "shares.f4": np.array([share for _, _, share in made], np.float32),
    }
    for i, teacher in enumerate(teachers):
        targets = teacher_targets(teacher, samples, corpus.sample_rate)
        if not np.abs(targets).max() <= LARGEST_TARGET:  # NaN is not either
            raise DatasetError(f"teacher {teacher.name!r}: gives NaN, or numbers larger than half precision holds")
        out[f"targets-{i}.f2"] = targets
    return out


def _labels(labels: NDArray[np.int32] | None, clip: int, other: int | None) -> tuple[int, int]:
    if labels is None:
        return NO_LABEL, NO_LABEL
    return int(labels[clip]), NO_LABEL if other is None else int(labels[other])


class _Files:
    """Memory-mapped arrays in a folder, with a note of what they are and how far they are done."""

    def __init__(self, folder: Path, shapes: dict[str, tuple[int, ...]], told: dict[str, Any]) -> None:
        self.folder, self.note, self.told = folder, folder / EXAMPLES, told
        found, n = self._read_note(), next(iter(shapes.values()))[0]
        if found is not None and found[0] != told:  # before what took hours is overwritten
            if (folder / CHECKPOINT).exists():
                raise other_checkpoint(folder / CHECKPOINT)
            if found[1] > 0:
                raise _other_examples(self.note, found[1])
        done = found[1] if found is not None and found[0] == told and _are_whole(folder, shapes) else 0
        self.done = done if done == n or (0 <= done < n and done % BLOCK == 0) else 0
        try:
            if not self.done:
                self.note.unlink(missing_ok=True)  # before what it speaks of goes
                _reserve(folder, shapes)
            self.arrays = {
                name: np.memmap(folder / name, _dtype(name), "r+", 0, shape) for name, shape in shapes.items()
            }
        except (OSError, ValueError) as error:
            raise cannot_write(folder, error, DatasetError) from None

    def _read_note(self) -> tuple[dict[str, Any], int] | None:
        """What the examples here are, and how many are done; None without a note that can be read."""
        try:
            found = json.loads(self.note.read_text())
            return {k: v for k, v in found.items() if k != "done"}, int(found["done"])
        except (OSError, ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
            return None

    def put(self, first: int, block: dict[str, NDArray[Any]]) -> None:
        for name, values in block.items():
            self.arrays[name][first : first + len(values)] = values

    def mark(self, done: int) -> None:
        for array in self.arrays.values():
            array.flush()
        with replacing(self.note, DatasetError, encoding="utf-8") as file:
            json.dump(self.told | {"done": done}, file)


def _other_examples(note: Path, done: int) -> ParameterError:
    return ParameterError(
        f"{note}: speaks of {done:,} examples of other sounds, teachers, labels or settings; "
        "give what they were made of, or another out"
    )


def _dtype(name: str) -> np.dtype[Any]:
    dtype: np.dtype[Any] = np.dtype(_DTYPES[name.rpartition(".")[2]])
    return dtype


def _size(name: str, shape: tuple[int, ...]) -> int:
    return math.prod(shape) * _dtype(name).itemsize


def _are_whole(folder: Path, shapes: dict[str, tuple[int, ...]]) -> bool:
    return all(
        (folder / name).is_file() and (folder / name).stat().st_size == _size(name, shape)
        for name, shape in shapes.items()
    )


def _reserve(folder: Path, shapes: dict[str, tuple[int, ...]]) -> None:
    """Take the room on disk beforehand: a memory-mapped file on a full disk would end the process."""
    for name, shape in shapes.items():
        size = _size(name, shape)
        with (folder / name).open("wb") as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
            else:  # a file that is only made longer takes no room yet
                for first in range(0, size, ZEROS):
                    file.write(bytes(min(ZEROS, size - first)))
