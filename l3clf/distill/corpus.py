"""The training sounds, decoded once into a memory-mapped file of 16-bit samples.

Rule: clips that are unreadable or silent are left out and reported before hours are spent on the others.
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
from l3clf.audio.levels import LevelNote, collecting, warn_of
from l3clf.errors import AudioError, ClipWarning, DatasetError, ParameterError
from l3clf.storage.atomic import cannot_write, file_state, replacing

__all__ = ["CHECKPOINT", "EXAMPLES", "Corpus", "decode", "other_checkpoint", "refused_clips"]

HEADER, SAMPLES = "corpus.json", "corpus.i16"
EXAMPLES, CHECKPOINT = "examples.json", "checkpoint.npz"  # written beside them by the next steps

FULL_SCALE = 32767
SILENT_PEAK = 8  # of FULL_SCALE: -72 dBFS
MIN_CLIPS = 2  # one of them is held out


@dataclass(frozen=True, eq=False)
class Corpus:
    """Decoded clips, one after the other in a single array.

    Attributes
    ----------
    samples : array of shape (n_samples,), int16
    offsets : array of shape (n_clips + 1,), int64
        Clip i is ``samples[offsets[i]:offsets[i + 1]]``.
    kept : array of shape (n_clips,), int64
        Index of each clip among those that were given.
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
        """Return `n` samples of a clip from sample `start` on, full scale 1.0; zeros where the clip has none."""
        out = np.zeros(n, np.float32)
        first, last = max(0, start), min(self.length(clip), start + n)
        if last > first:
            at = int(self.offsets[clip])
            out[first - start : last - start] = self.samples[at + first : at + last] / np.float32(FULL_SCALE)
        return out

    @property
    def digest(self) -> str:
        """Digest of the samples and of where the clips begin."""
        content = hashlib.sha256(self.offsets.tobytes() + str(self.sample_rate).encode())
        content.update(np.ascontiguousarray(self.samples).data)
        return content.hexdigest()[:32]


def decode(clips: Sequence[Source], sample_rate: int, folder: Path, progress: bool = False) -> Corpus:
    """Decode clips into a file in `folder`, or reuse the file of an earlier call.

    Parameters
    ----------
    clips : sequence of Clip or Samples
    sample_rate : int
        In Hz; clips of other rates are resampled.
    folder : Path
        An existing folder. A complete corpus of the same clips there is reused.
    progress : bool, default=False

    Returns
    -------
    Corpus

    Raises
    ------
    DatasetError
        If fewer than two clips can be used, or the disk is full.
    ParameterError
        If `folder` holds examples of other clips.
    """
    identities = json.loads(json.dumps([_identity(clip) for clip in clips]))  # as the header gives them back
    header = _read_header(folder)
    if (
        header is not None
        and header["clips"] != identities
        and any((folder / n).exists() for n in (EXAMPLES, CHECKPOINT))
    ):
        raise _other_clips(folder, header["clips"], identities)
    if header is None or (header["clips"], header["sample_rate"]) != (identities, sample_rate):
        try:
            header = {"clips": identities, "sample_rate": sample_rate, **_write(clips, sample_rate, folder, progress)}
            with replacing(folder / HEADER, DatasetError, encoding="utf-8") as file:
                json.dump(header, file)
        except OSError as error:
            raise cannot_write(folder / SAMPLES, error, DatasetError) from None
    samples = np.memmap(folder / SAMPLES, np.int16, "r")
    return Corpus(samples, np.asarray(header["offsets"], np.int64), np.asarray(header["kept"], np.int64), sample_rate)


def refused_clips(folder: Path) -> list[str]:
    """Return, for each clip that `decode` left out, what is wrong with it."""
    return list((_read_header(folder) or {}).get("refused", []))


def other_checkpoint(path: Path) -> ParameterError:
    """Return the error for a checkpoint that belongs to another call."""
    return ParameterError(
        f"{path}: checkpoint of another student, schedule or set of examples; "
        "repeat the call that began it, or give another out"
    )


def _other_clips(folder: Path, before: list[Any], now: list[Any]) -> ParameterError:
    """Return the error for other clips; it names the first difference."""
    which = next((i for i, (a, b) in enumerate(zip(before, now, strict=False)) if a != b), min(len(before), len(now)))
    name = (now[which] if which < len(now) else before[which])[0]
    return ParameterError(
        f"{folder}: holds examples of other clips ({len(before)} before, {len(now)} now; first difference: {name}); "
        "give those clips, or another out"
    )


def _identity(clip: Source) -> list[object]:
    """Return what identifies a clip without decoding it."""
    if isinstance(clip, Samples):
        samples = np.ascontiguousarray(clip.samples)
        digest = hashlib.sha256(f"{samples.dtype} {samples.shape}".encode() + samples.tobytes())
        return ["samples", digest.hexdigest(), float(clip.sample_rate)]
    try:
        state = list(file_state(clip.path))
    except (OSError, ValueError):  # decoding will report what is wrong
        state = []
    return [clip.path, *state, clip.start_s, clip.end_s]


def _read_header(folder: Path) -> dict[str, Any] | None:
    """Return the header of the corpus in `folder`, or None if there is no complete one."""
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
    notes: list[LevelNote] = []
    (folder / HEADER).unlink(missing_ok=True)  # it describes samples that are about to be overwritten
    with (folder / SAMPLES).open("wb") as file:
        for i, clip in enumerate(tqdm(clips, "decoding", unit="clip", disable=not progress)):
            start = file.tell()
            try:
                with collecting(notes):
                    lengths.append(_write_clip(clip, sample_rate, file))
                kept.append(i)
            except AudioError as error:
                file.seek(start)  # drops what was written of this clip
                file.truncate()
                refused.append(str(error))
    _check_enough(len(kept), len(clips), refused)
    warn_of(notes, len(clips))
    return {"offsets": [0, *np.cumsum(lengths).tolist()], "kept": kept, "refused": refused}


def _check_enough(n_kept: int, n_clips: int, refused: Sequence[str]) -> None:
    said = "; ".join(refused[:3]) + ("; ..." if len(refused) > 3 else "")
    if n_kept < MIN_CLIPS:
        why = f" ({said})" if refused else ""
        raise DatasetError(f"clips: {n_kept} of {n_clips} can be used{why}; give at least two, one is held out")
    if refused:
        warnings.warn(f"{len(refused)} of {n_clips} clips left out: {said}", ClipWarning, stacklevel=6)


def _write_clip(clip: Source, sample_rate: int, file: BinaryIO) -> int:
    """Write a clip block by block and return its length in samples."""
    n = peak = 0
    for block in read_blocks(clip, sample_rate):
        samples = np.clip(np.rint(block * FULL_SCALE), -FULL_SCALE, FULL_SCALE).astype(np.int16)
        peak = max(peak, int(np.abs(samples).max(initial=0)))
        file.write(samples.data)
        n += len(samples)
    if peak < SILENT_PEAK:
        raise AudioError(f"{clip}: silent, with a peak below -72 dBFS; leave it out")
    return n
