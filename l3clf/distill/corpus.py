"""The sounds that are learned from, decoded once: one memory-mapped file of 16-bit samples.

Rule: whatever cannot be heard (unreadable, silent) is left out and named before anything else is done.
"""

import hashlib
import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from l3clf.audio.clip import FloatArray, Samples, Source
from l3clf.audio.decode import read_blocks
from l3clf.errors import AudioError, ClipWarning, DatasetError, ParameterError
from l3clf.storage.atomic import cannot_write, file_state, replacing

__all__ = ["CHECKPOINT", "EXAMPLES", "Corpus", "decode", "other_checkpoint", "refused_clips"]

HEADER, SAMPLES = "corpus.json", "corpus.i16"
EXAMPLES, CHECKPOINT = "examples.json", "checkpoint.npz"  # what the next steps leave beside them

FULL_SCALE = 32767
SILENT_PEAK = 8  # of 32767: -72 dBFS
AT_LEAST = 2  # clips: one is held out


@dataclass(frozen=True, eq=False)
class Corpus:
    """Decoded clips, one after the other.

    Attributes
    ----------
    samples : array of shape (n_samples,), int16
    offsets : array of shape (n_clips + 1,), int64
        Clip i is ``samples[offsets[i]:offsets[i + 1]]``.
    kept : array of shape (n_clips,), int64
        Which of the clips that were given these are.
    sample_rate : int
        In Hz.
    """

    samples: NDArray[np.int16]
    offsets: NDArray[np.int64]
    kept: NDArray[np.int64]
    sample_rate: int

    def __len__(self) -> int:
        return len(self.kept)

    def length(self, clip: int) -> int:
        """Return the number of samples of a clip."""
        return int(self.offsets[clip + 1] - self.offsets[clip])

    def piece(self, clip: int, start: int, n: int) -> FloatArray:
        """Return `n` samples of a clip from `start` on, full scale 1.0; zeros before and after the clip."""
        out = np.zeros(n, np.float32)
        first, last = max(0, start), min(self.length(clip), start + n)
        if last > first:
            at = int(self.offsets[clip])
            out[first - start : last - start] = self.samples[at + first : at + last] / np.float32(FULL_SCALE)
        return out

    @property
    def digest(self) -> str:
        """Digest of all samples and where clips begin."""
        content = hashlib.sha256(self.offsets.tobytes() + str(self.sample_rate).encode())
        content.update(np.ascontiguousarray(self.samples).data)
        return content.hexdigest()[:32]


def decode(clips: Sequence[Source], sample_rate: int, folder: Path, progress: bool = False) -> Corpus:
    """Decode clips into a file of `folder`, or find them there.

    Parameters
    ----------
    clips : sequence of Clip or Samples
    sample_rate : int
        In Hz; clips of other rates are resampled.
    folder : Path
        Exists. A corpus that was completed there is taken as it is when it is of the same clips.
    progress : bool

    Raises
    ------
    DatasetError
        If fewer than two clips can be heard, or the disk is full.
    ParameterError
        If examples were made in `folder` of other clips.
    """
    names = json.loads(json.dumps([_identity(clip) for clip in clips]))
    told = _read_header(folder)
    if told is not None and told["clips"] != names and any((folder / name).exists() for name in (EXAMPLES, CHECKPOINT)):
        raise _other_clips(folder, told["clips"], names)
    if told is None or (told["clips"], told["sample_rate"]) != (names, sample_rate):
        try:
            told = {"clips": names, "sample_rate": sample_rate, **_write(clips, sample_rate, folder, progress)}
            with replacing(folder / HEADER, DatasetError, encoding="utf-8") as file:
                json.dump(told, file)
        except OSError as error:
            raise cannot_write(folder / SAMPLES, error, DatasetError) from None
    samples = np.memmap(folder / SAMPLES, np.int16, "r")
    return Corpus(samples, np.asarray(told["offsets"], np.int64), np.asarray(told["kept"], np.int64), sample_rate)


def refused_clips(folder: Path) -> list[str]:
    """Return what was wrong with each clip that `decode` left out."""
    told = _read_header(folder) or {}
    return list(told.get("refused", []))


def other_checkpoint(path: Path) -> ParameterError:
    """Return what to raise when `path` is not the checkpoint of what is asked for."""
    return ParameterError(
        f"{path}: is the checkpoint of another student, schedule or set of examples; "
        "give what it was begun with, or another out"
    )


def _other_clips(folder: Path, before: list[Any], now: list[Any]) -> ParameterError:
    """What to raise, with the first clip that is not what it was."""
    which = next((i for i, (a, b) in enumerate(zip(before, now, strict=False)) if a != b), min(len(before), len(now)))
    name = (now[which] if which < len(now) else before[which])[0]
    return ParameterError(
        f"{folder}: holds examples of other clips ({len(before)} then, {len(now)} now; the first that differs or has "
        f"changed: {name}); give those clips, or another out"
    )


def _identity(clip: Source) -> list[object]:
    """What tells one clip from another, short of reading it."""
    if isinstance(clip, Samples):
        samples = np.ascontiguousarray(clip.samples)
        digest = hashlib.sha256(f"{samples.dtype} {samples.shape}".encode() + samples.tobytes())
        return ["samples", digest.hexdigest(), float(clip.sample_rate)]
    try:
        state = list(file_state(clip.path))
    except (OSError, ValueError):  # decoding it says what is wrong
        state = []
    return [clip.path, *state, clip.start_s, clip.end_s]


def _read_header(folder: Path) -> dict[str, Any] | None:
    """What was decoded in `folder`, if it was completed and is still there."""
    try:
        found = json.loads((folder / HEADER).read_text())
        offsets, kept = found["offsets"], found["kept"]
        whole = (folder / SAMPLES).stat().st_size == 2 * offsets[-1] and offsets == sorted(offsets)
        fits = offsets[0] == 0 and len(offsets) == len(kept) + 1 and set(kept) <= set(range(len(found["clips"])))
        return found if whole and fits and "sample_rate" in found else None
    except (OSError, ValueError, TypeError, KeyError, IndexError, RecursionError):
        return None


def _write(clips: Sequence[Source], sample_rate: int, folder: Path, progress: bool) -> dict[str, object]:
    kept, lengths, refused = [], [], []
    (folder / HEADER).unlink(missing_ok=True)
    with (folder / SAMPLES).open("wb") as file:
        for i, clip in enumerate(tqdm(clips, "decoding", unit="clip", disable=not progress)):
            start = file.tell()
            try:
                lengths.append(_write_clip(clip, sample_rate, file))
                kept.append(i)
            except AudioError as error:
                file.seek(start)
                file.truncate()
                refused.append(str(error))
    _check_enough(len(kept), len(clips), refused)
    return {"offsets": [0, *np.cumsum(lengths).tolist()], "kept": kept, "refused": refused}


def _check_enough(n_kept: int, n_clips: int, refused: Sequence[str]) -> None:
    said = "; ".join(refused[:3]) + ("; ..." if len(refused) > 3 else "")
    if n_kept < AT_LEAST and refused:
        raise DatasetError(f"{n_kept} of {n_clips} clips can be learned from, expected at least two: {said}")
    if n_kept < AT_LEAST:
        raise DatasetError(
            f"found {n_clips} clip{'s' * (n_clips != 1)}; expected at least two: one is held out to measure on"
        )
    if refused:
        warnings.warn(f"{len(refused)} of {n_clips} clips left out: {said}", ClipWarning, stacklevel=6)


def _write_clip(clip: Source, sample_rate: int, file: BinaryIO) -> int:
    """Write a clip, block by block, and return its length."""
    n = peak = 0
    for block in read_blocks(clip, sample_rate):
        samples = np.clip(np.rint(block * FULL_SCALE), -FULL_SCALE, FULL_SCALE).astype(np.int16)
        peak = max(peak, int(np.abs(samples).max(initial=0)))
        file.write(samples.data)
        n += len(samples)
    if peak < SILENT_PEAK:
        raise AudioError(f"{clip}: is silent (peak below -72 dBFS); leave it out")
    return n
