"""Training examples on disk: the student's input and the teachers' embeddings of the same sound.

Rule: an example depends on its clip, its number and the seed alone, so that any thread can make it at any time with
the same result. Blocks are made in order and counted once they are on disk, where a stopped run resumes.
"""

import hashlib
import json
import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, fields
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

REVISION = 2  # raised whenever the same description gives different examples
BLOCK = 64  # examples that one thread makes at a time
ZEROS = 1 << 20  # bytes written at a time
INNER_HOP_S = 0.2  # between the windows of a teacher whose window is shorter than the student's
OVERHANG = 0.25  # share of examples in which a clip may begin or end inside the window
NO_LABEL = -1
MAX_TARGET = 65504.0  # the largest float16
_DTYPES: dict[str, Any] = {"i8": np.int8, "i32": np.int32, "f4": np.float32, "f2": np.float16}  # by file extension


@dataclass(frozen=True)
class Recipe:
    """How examples are made from a corpus.

    Parameters
    ----------
    window_s : float
        Length of the student's window.
    per_window : int, default=8
        Examples per window's length of a clip. One example of each clip is an unchanged piece of it.
    held_out : float, default=0.05
        Share of the clips that is kept out of training, between 0 and 1.
    seed : int, default=0
    augmentation : Augmentation

    Raises
    ------
    ParameterError
        If `per_window` or `held_out` is out of range.
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
        Quantised levels, the student's input.
    targets : list of arrays of shape (n, embedding size), float16
        The embeddings of each teacher.
    labels : array of shape (n, 2), int32
        Classes of the clip and of the clip mixed into it; -1 for none.
    shares : array of shape (n,), float32
        Weight of the first class, 0 to 1; a second class has the rest.
    held_out : array of shape (n,), bool
    digest : str
        Digest of everything that the examples depend on.
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
    """Return (clip, number) of every example, and which clips are held out.

    The examples are in rounds over all clips, so that any prefix of them covers the whole corpus.
    """
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
        At the sample rate of the corpus.
    other : int or None
        The clip that was mixed in. It is held out exactly if `clip` is.
    share : float
        The clip's part of the mixture by amplitude, 0 to 1; 0 where it is silent in the window.
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
        if not is_silent(second):  # a pause carries no sign of its clip's class
            other, share = chosen, share / (1 + 10 ** (-below_db / 20))
    samples = change.apply_noise(samples, rng)
    peak = float(np.abs(samples).max())
    return (gain(samples, -20 * np.log10(peak)) if peak > 1 else samples), other, share


def _cut(corpus: Corpus, clip: int, n: int, stretch: float, rng: np.random.Generator) -> FloatArray:
    """Return a window at a random place, sometimes across an end of the clip; a shorter clip lies anywhere in it."""
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
    """Return a teacher's embeddings of the student's windows.

    A teacher with a shorter window contributes the mean over its windows inside the student's; one with a longer
    window gets zeros on both sides.

    Parameters
    ----------
    teacher : Embedder
    samples : array of shape (n, window samples), float32
    sample_rate : int
        Of `samples`, in Hz.

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
    """Make all examples in `folder`, or those that an earlier call did not get to.

    Parameters
    ----------
    corpus : Corpus
    teachers : sequence of Embedder
    recipe : Recipe
    folder : Path
    labels : array of shape (n_clips,), int32, optional
        The class of each clip of the corpus.
    n_jobs : int, optional
        Number of threads; None means one per core.
    progress : bool, default=False

    Raises
    ------
    DatasetError
        If the disk is full, or a teacher returns NaN or numbers beyond the range of float16.
    ParameterError
        If `folder` holds other examples, or the checkpoint of a student trained on others; they are kept.
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
            finally:  # keeps what was finished before Ctrl-C
                made.mark(done)
    arrays = made.arrays
    targets: list[NDArray[np.float16]] = [arrays[f"targets-{i}.f2"] for i in range(len(teachers))]
    features, labels_of, shares = (arrays[name] for name in ("features.i8", "labels.i32", "shares.f4"))
    digest = hashlib.sha256(json.dumps(made.description, sort_keys=True).encode()).hexdigest()[:32]
    return Examples(features, targets, labels_of, shares, held[rows[:, 0]], digest)


def _description(
    corpus: Corpus, teachers: Sequence[Embedder], recipe: Recipe, labels: NDArray[np.int32] | None
) -> dict[str, Any]:
    """Return everything that the examples depend on, as JSON gives it back."""
    described = asdict(recipe)
    known = {each.name for each in fields(Augmentation)}  # those of a classifier's augmentation change nothing here
    described["augmentation"] = {name: value for name, value in described["augmentation"].items() if name in known}
    found = {
        "recipe": described,
        "corpus": corpus.digest,
        "spec": asdict(student_spec(recipe.window_s)),
        "teachers": [teacher.fingerprint for teacher in teachers],
        "labels": "" if labels is None else hashlib.sha256(labels.tobytes()).hexdigest(),
        "steps": [INPUT_STEP_DB, INPUT_ZERO_POINT],
        "revision": REVISION,
    }
    out: dict[str, Any] = json.loads(json.dumps(found, default=np.generic.item))
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
    own = samples  # at the student's rate
    if corpus.sample_rate != SAMPLE_RATE:
        own = np.stack([soxr.resample(x, corpus.sample_rate, SAMPLE_RATE) for x in samples])
    out: dict[str, NDArray[Any]] = {
        "features.i8": quantise_levels(levels(student_spec(recipe.window_s), own)),
        "labels.i32": np.array([_labels(labels, int(c), o) for c, (_, o, _) in zip(rows[:, 0], made, strict=True)]),
        "shares.f4": np.array([share for _, _, share in made], np.float32),
    }
    for i, teacher in enumerate(teachers):
        targets = teacher_targets(teacher, samples, corpus.sample_rate)
        if not np.abs(targets).max() <= MAX_TARGET:  # also refuses NaN, unlike `>`
            raise DatasetError(
                f"teacher {teacher.name!r}: returns NaN or numbers beyond float16; use another teacher or scale it down"
            )
        out[f"targets-{i}.f2"] = targets
    return out


def _labels(labels: NDArray[np.int32] | None, clip: int, other: int | None) -> tuple[int, int]:
    if labels is None:
        return NO_LABEL, NO_LABEL
    return int(labels[clip]), NO_LABEL if other is None else int(labels[other])


class _Files:
    """Memory-mapped arrays in a folder, with a note of what they hold and how many examples are done."""

    def __init__(self, folder: Path, shapes: dict[str, tuple[int, ...]], description: dict[str, Any]) -> None:
        self.folder, self.note, self.description = folder, folder / EXAMPLES, description
        found, n = self._read_note(), next(iter(shapes.values()))[0]
        if found is not None and found[0] != description:  # hours of work must not be overwritten
            if (folder / CHECKPOINT).exists():
                raise other_checkpoint(folder / CHECKPOINT)
            if found[1] > 0:
                raise ParameterError(
                    f"{self.note}: records {found[1]:,} examples of other sounds, teachers, labels or settings; "
                    "repeat the call that made them, or give another out"
                )
        done = found[1] if found is not None and found[0] == description and _are_whole(folder, shapes) else 0
        self.done = done if done == n or (0 <= done < n and done % BLOCK == 0) else 0
        try:
            if not self.done:
                self.note.unlink(missing_ok=True)  # first, or it would describe files that are being overwritten
                _reserve(folder, shapes)
            self.arrays = {
                name: np.memmap(folder / name, _dtype(name), "r+", 0, shape) for name, shape in shapes.items()
            }
        except (OSError, ValueError) as error:
            raise cannot_write(folder, error, DatasetError) from None

    def _read_note(self) -> tuple[dict[str, Any], int] | None:
        """Return the description of the examples here and how many are done; None without a readable note."""
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
            json.dump(self.description | {"done": done}, file)


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
    """Allocate the files: writing through a memory map to a full disk would kill the process."""
    for name, shape in shapes.items():
        size = _size(name, shape)
        with (folder / name).open("wb") as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
            else:  # `truncate` would leave a sparse file, which takes no space yet
                for first in range(0, size, ZEROS):
                    file.write(bytes(min(ZEROS, size - first)))
