"""The progress bar of embedding: clips, and how far a large file has been read.

Rule: it is shown on a terminal only, and what it shows of a file's name cannot control the terminal.
"""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Self

from tqdm import tqdm

from l3clf.audio.clip import Samples, Source
from l3clf.audio.decode import duration_s, open_sound
from l3clf.errors import L3clfError

__all__ = ["ClipProgress"]


class ClipProgress:
    """A progress bar that counts clips, and shows how far a large file has been read.

    Parameters
    ----------
    sources : sequence of Clip or Samples
    hop_s : float
        Seconds from one window to the next.
    shown : bool
        Whether there is a bar.
    """

    def __init__(self, sources: Sequence[Source], hop_s: float, shown: bool) -> None:
        self.sources, self.hop_s = sources, hop_s
        self.bar = tqdm(total=len(sources), unit="clip", disable=None if shown else True)  # None: on a terminal only
        self.windows: dict[int, int] = {}  # of the large files that have been begun
        self.lengths_s: dict[int, float] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.bar.close()

    def settle(self, i: int, n_clips: int, known: bool) -> None:
        """Count clips that are finished."""
        if self.bar.disable:  # it has none of the attributes below
            return
        if known:  # they say nothing about the time that is left
            self.bar.initial += n_clips
        self.bar.update(n_clips - self._share(i))
        self.windows.pop(i, None)
        self.bar.n = round(self.bar.n, 2)

    def tell_windows(self, i: int, n_windows: int) -> None:
        """Show how far a large file is."""
        if self.bar.disable:
            return
        before = self._share(i)
        self.windows[i] = self.windows.get(i, 0) + n_windows
        seconds = self.windows[i] * self.hop_s
        if i not in self.lengths_s:
            self.lengths_s[i] = _length_s(self.sources[i])
        of = f" of {timedelta(seconds=round(self.lengths_s[i]))}" if self.lengths_s[i] else ""
        name = Path(str(self.sources[i])).name[:40].encode("unicode_escape").decode()
        self.bar.set_postfix_str(f"{name}: {timedelta(seconds=round(seconds))}{of}", refresh=False)
        self.bar.update(self._share(i) - before)

    def _share(self, i: int) -> float:
        """Return how much of a large file has been counted, in hundredths; all but one at most."""
        length_s = self.lengths_s.get(i, 0.0)
        return min(0.99, int(100 * self.windows.get(i, 0) * self.hop_s / length_s) / 100) if length_s else 0.0


def _length_s(source: Source) -> float:
    """Return the length of a clip in seconds where that is known without reading it, else 0."""
    if isinstance(source, Samples):
        return len(source.samples) / source.sample_rate
    try:
        with open_sound(source.path) as file:
            return 0.0 if file.is_streamed else duration_s(source)
    except (L3clfError, OSError, ValueError):
        return 0.0
