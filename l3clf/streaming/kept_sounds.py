"""The sounds of a stream that were recognised, kept as files.

Rule: no file is ever replaced, and memory is bounded: what came before a sound, and the sound itself, up to a minute.
"""

import io
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from l3clf.audio.clip import FloatArray
from l3clf.classifier.decision import BACKGROUND, UNKNOWN
from l3clf.errors import ParameterError
from l3clf.storage.atomic import cannot_write
from l3clf.streaming.stream_classifier import StreamDecision, StreamTags

__all__ = ["SoundKeeper"]

MAX_KEPT_S = 60.0
PRE_ROLL_S = 1.0
MAX_SAME = 1000  # sounds of one class at one time
MAX_NAME = 60


@dataclass
class _Run:
    """Decisions for the same class or tag, one after another."""

    label: Any
    start_s: float
    end_s: float
    is_written: bool = False


class SoundKeeper:
    """Writes each sound for which decisions of one class followed each other, with a second before it, as 24-bit WAV.

    Of a tagger, each tag is on its own: a sound of several tags is in several files.

    Parameters
    ----------
    folder : path
        It is created if necessary.
    about_s : float
        How long the sound is that one decision is about.
    began : float or None, default=None
        When the stream began, by `time.time`: files are named by the time of day. Without it they are named by the time
        since the start of the stream.

    Raises
    ------
    ParameterError
        If the folder cannot be written.
    """

    def __init__(self, folder: str | Path, about_s: float, began: float | None = None) -> None:
        self._folder, self._began = Path(folder), began
        self._hold_s = about_s + PRE_ROLL_S
        self._blocks: deque[tuple[float, FloatArray, float]] = deque()
        self._runs: dict[Any, _Run] = {}
        self.written: int = 0
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write(self._folder, error) from error

    def hear(self, start_s: float, samples: FloatArray, sample_rate: float) -> None:
        """Keep sound that begins at a time of the stream, shape (n,) or (n, channels), while it may be wanted."""
        mixed = samples if samples.ndim == 1 else samples.mean(axis=1, dtype=np.float32)
        self._blocks.append((start_s, mixed, sample_rate))
        begun_s = [run.start_s - PRE_ROLL_S for run in self._runs.values() if not run.is_written]
        oldest_s = min([start_s - self._hold_s, *begun_s])
        while self._blocks and self._blocks[0][0] + len(self._blocks[0][1]) / self._blocks[0][2] < oldest_s:
            self._blocks.popleft()

    def decide(self, decision: StreamDecision | StreamTags) -> None:
        """Take a decision about what was heard."""
        heard = decision.labels if isinstance(decision, StreamTags) else (decision.label,)
        heard = tuple(label for label in heard if label not in (UNKNOWN, BACKGROUND))
        for label in [label for label in self._runs if label not in heard]:
            self._write(self._runs.pop(label))
        for label in heard:
            run = self._runs.setdefault(label, _Run(label, decision.start_s, decision.end_s))
            run.end_s = decision.end_s
            if run.end_s - run.start_s >= MAX_KEPT_S:
                self._write(run)

    def end(self) -> None:
        """End the sounds that last: the stream ends, or sound was lost."""
        for run in self._runs.values():
            self._write(run)
        self._runs = {}

    def forget(self) -> None:
        """End the sounds that last, and let no later one hold anything of before."""
        self.end()
        self._blocks.clear()

    def _write(self, run: _Run) -> None:
        if run.is_written:
            return
        run.is_written = True
        rates = {rate for _, _, rate in self._blocks}
        parts = [_piece(block, run.start_s - PRE_ROLL_S, run.end_s) for block in self._blocks]
        if len(rates) != 1 or not sum(map(len, parts)):
            return
        content = io.BytesIO()
        soundfile.write(content, np.concatenate(parts), round(rates.pop()), format="WAV", subtype="PCM_24")
        self._save(f"{self._time(run.start_s)}_{_file_name(run.label)}", content.getvalue())

    def _save(self, name: str, content: bytes) -> None:
        for number in range(1, MAX_SAME):
            path = self._folder / f"{name}{'' if number == 1 else f'_{number}'}.wav"
            try:
                with path.open("xb") as file:
                    file.write(content)
            except FileExistsError:
                continue
            except OSError as error:
                raise cannot_write(path, error) from error
            self.written += 1
            return
        raise ParameterError(f"{self._folder / name}: {MAX_SAME - 1} files of this name; choose another folder")

    def _time(self, start_s: float) -> str:
        if self._began is not None:
            return time.strftime("%Y%m%d-%H%M%S", time.localtime(self._began + start_s))
        seconds = max(0.0, start_s)
        return f"{int(seconds // 3600):02d}h{int(seconds // 60) % 60:02d}m{seconds % 60:06.3f}s"


def _piece(block: tuple[float, FloatArray, float], start_s: float, end_s: float) -> FloatArray:
    """Return what of a block lies between two times."""
    first_s, samples, rate = block
    low, high = (min(max(0, round((at - first_s) * rate)), len(samples)) for at in (start_s, end_s))
    return samples[low:high]


def _file_name(label: Any) -> str:
    """Return a label as part of a file name that every system takes."""
    return "".join(c if c.isalnum() or c in "-_" else "_" for c in str(label))[:MAX_NAME] or "_"
