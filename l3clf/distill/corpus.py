"""The sounds that are learned from, decoded once: one memory-mapped file of 16-bit samples.

Rule: whatever cannot be heard (unreadable, silent) is left out and named before anything else is done.
"""

import hashlib
import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from l3clf.audio import FloatArray, Samples, Source, read_blocks
from l3clf.errors import AudioError, ClipWarning, DatasetError

__all__ = ["Corpus", "decode"]

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
        If fewer than two clips can be heard.
    """
    names = [_identity(clip) for clip in clips]
    told = _read_header(folder / "corpus.json")
    if told is None or (told["clips"], told["sample_rate"]) != (names, sample_rate):
        told = {"clips": names, "sample_rate": sample_rate, **_write(clips, sample_rate, folder, progress)}
        (folder / "corpus.json").write_text(json.dumps(told))
    samples = np.memmap(folder / "corpus.i16", np.int16, "r")
    return Corpus(samples, np.asarray(told["offsets"], np.int64), np.asarray(told["kept"], np.int64), sample_rate)


def _identity(clip: Source) -> list[object]:
    """What tells one clip from another, short of reading it."""
    if isinstance(clip, Samples):
        return ["samples", hashlib.sha256(np.ascontiguousarray(clip.samples).tobytes()).hexdigest(), clip.sample_rate]
    path = Path(clip.path)
    size = path.stat().st_size if path.exists() else -1
    return [str(path), size, clip.start_s, clip.end_s]


def _read_header(path: Path) -> dict[str, object] | None:
    try:
        found = json.loads(path.read_text())
        return found if {"clips", "sample_rate", "offsets", "kept"} <= set(found) else None
    except (OSError, ValueError, TypeError):
        return None


def _write(clips: Sequence[Source], sample_rate: int, folder: Path, progress: bool) -> dict[str, object]:
    kept, lengths, refused = [], [], []
    (folder / "corpus.json").unlink(missing_ok=True)
    with (folder / "corpus.i16").open("wb") as file:
        for i, clip in enumerate(tqdm(clips, "decoding", unit="clip", disable=not progress)):
            try:
                samples = _decoded(clip, sample_rate)
                file.write(samples.data)
            except AudioError as error:
                refused.append(str(error))
                continue
            kept.append(i)
            lengths.append(len(samples))
    if refused:
        said = "; ".join(refused[:3]) + ("; ..." if len(refused) > 3 else "")
        if len(kept) < AT_LEAST:
            raise DatasetError(f"{len(kept)} of {len(clips)} clips can be learned from, expected at least two: {said}")
        warnings.warn(f"{len(refused)} of {len(clips)} clips left out: {said}", ClipWarning, stacklevel=4)
    if len(kept) < AT_LEAST:
        raise DatasetError(f"found {len(clips)} clips; expected at least two: one is held out to measure on")
    return {"offsets": [0, *np.cumsum(lengths).tolist()], "kept": kept}


def _decoded(clip: Source, sample_rate: int) -> NDArray[np.int16]:
    whole = np.concatenate(list(read_blocks(clip, sample_rate)))
    samples: NDArray[np.int16] = np.clip(np.rint(whole * FULL_SCALE), -FULL_SCALE, FULL_SCALE).astype(np.int16)
    if not len(samples) or np.abs(samples).max() < SILENT_PEAK:
        raise AudioError(f"{clip}: is silent (peak below -72 dBFS); leave it out")
    return samples
