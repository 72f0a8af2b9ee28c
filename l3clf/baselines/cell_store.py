"""The results of the cells of a baseline: computed, or read from the folder of an earlier call.

Rule: a finished cell is stored at once, under a name that everything that affects it decides.
"""

import hashlib
import json
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import sklearn

from l3clf._version import __version__
from l3clf.audio.decode import decode_revision
from l3clf.baselines.cell_files import read_cell, write_cell
from l3clf.baselines.cells import Cell, n_rows
from l3clf.baselines.targets import Target
from l3clf.classifier.augmented import SourcedWindows
from l3clf.classifier.inputs import digest_of
from l3clf.datasets import ClipTable
from l3clf.embedders import WindowEmbeddings
from l3clf.errors import CacheError, CacheWarning, L3clfError
from l3clf.evaluate import CrossValidation, Split
from l3clf.pipeline import n_threads
from l3clf.storage.atomic import cannot_write
from l3clf.storage.embedding_cache import EmbeddingCache, FileIdentity

__all__ = ["CellStore", "Embedded", "Options", "Say", "model_of"]

Say: TypeAlias = Callable[[str], object]


@dataclass(frozen=True, eq=False)
class Options:
    """The parameters that all steps need, resolved once."""

    hop_s: float
    cache: EmbeddingCache | None
    n_jobs: int | None
    say: Say | None

    def tell(self, text: str) -> None:
        """Report progress if it was requested."""
        if self.say is not None:
            self.say(text)


@dataclass(frozen=True, eq=False)
class Embedded:
    """The clips that every embedder could embed, and their windows by embedder."""

    target: Target
    windows: dict[str, list[WindowEmbeddings]]
    clips_per_s: dict[str, float | None]
    failures: list[L3clfError]
    files: list[FileIdentity | L3clfError]

    @property
    def contents(self) -> list[bytes | L3clfError]:
        """Digest of the content of each clip's file; see `content_ids`."""
        return [each.content if isinstance(each, FileIdentity) else each for each in self.files]

    @property
    def table(self) -> ClipTable:
        """Those clips."""
        return self.target.table

    def items(self, cell: Cell) -> Sequence[WindowEmbeddings]:
        """Return the windows of each clip for a cell, with its sound if copies are to be made of it."""
        windows = self.windows[cell.embedder.name]
        if cell.augment is None:
            return windows
        return [
            SourcedWindows(each.vectors, each.times_s, each.levels_dbfs, clip)
            for each, clip in zip(windows, self.table.clips, strict=True)
        ]


def model_of(cell: Cell, options: Options) -> Any:
    """Return the unfitted model of a cell, with what copies of clips need."""
    model = cell.model(options.hop_s)
    return model if cell.augment is None else model.set_params(cache=options.cache, n_jobs=options.n_jobs)


class CellStore:
    """Finished cells in a folder, each named by a digest of everything that affects it."""

    def __init__(self, folder: Path | None, embedded: Embedded, split: Split, options: Options) -> None:
        self.folder = None if folder is None else folder / ".cells"
        self.embedded, self.split, self.options = embedded, split, options
        if self.folder is not None:
            try:
                self.folder.mkdir(exist_ok=True)
            except OSError as error:
                self._do_without(cannot_write(self.folder, error))
            data = embedded.table
            self.data = digest_of(data.clips, data.labels, options.cache, ordered=True, ids=embedded.contents)
            decoders = {each.decoder for each in embedded.files if isinstance(each, FileIdentity)}
            self.revisions = sorted({decode_revision(decoder) for decoder in decoders} - {""})

    def _do_without(self, error: L3clfError) -> None:
        warnings.warn(f"{error}; the run goes on, but could not be resumed", CacheWarning, stacklevel=3)
        self.folder = None

    def get_or_compute(self, cells: Sequence[Cell]) -> list[tuple[CrossValidation, float]]:
        """Return the predictions of cells that share a head, and the seconds that they took together."""
        keys = [cell.made_by for cell in cells]
        paths = [None if (place := self.place(key)) is None else place.with_suffix(".npz") for key in keys]
        target = self.embedded.target
        read = partial(read_cell, labels=target.table.labels, tags=target.classes if cells[0].tags else None)
        found = {i: stored for i, path in enumerate(paths) if path is not None and (stored := read(path))}
        missing = [i for i in range(len(cells)) if i not in found]
        if missing:
            start = time.perf_counter()
            computed = self._compute([cells[i] for i in missing])
            seconds = time.perf_counter() - start
            for i, predicted in zip(missing, computed, strict=True):
                found[i] = predicted, seconds
                if self.folder is not None and (path := paths[i]) is not None:
                    try:
                        write_cell(path, predicted, seconds)
                    except CacheError as error:
                        self._do_without(error)
        return [found[i] for i in range(len(cells))]

    def _compute(self, cells: Sequence[Cell]) -> list[CrossValidation]:
        model, poolings = model_of(cells[0], self.options), [cell.pooling for cell in cells]
        windows, target = self.embedded.items(cells[0]), self.embedded.target
        rows = n_rows(cells[0], len(windows), self.embedded.windows)
        at_once = min(n_threads(self.options.n_jobs), cells[0].folds_at_once(rows, len(target.classes)))
        if cells[0].augment is not None:  # folds share copies, which folds at once would each make
            at_once = 1
        return target.validate(model, poolings, windows, self.split, at_once)

    def place(self, made_by: Sequence[Any]) -> Path | None:
        """Return where something is kept that also depends on the data: a path without suffix, or None."""
        return None if self.folder is None else self.folder / self._digest(made_by)

    def _digest(self, made_by: Sequence[Any]) -> str:
        groups = self.embedded.target.grouped(self.split)
        what = [  # other versions may compute other numbers
            __version__,
            sklearn.__version__,
            *made_by,
            self.options.hop_s,
            self.data,
            self.split.test_fold.tolist(),
            *([self.revisions] if self.revisions else ()),  # what a file decodes to
            *([list(map(str, groups.tolist()))] if groups is not None else ()),
        ]
        return hashlib.sha256(json.dumps(what).encode()).hexdigest()[:32]
