"""From one sample rate to another, block by block.

Rule: the samples that come out do not depend on how those that go in are cut into blocks.
"""

import numpy as np
import soxr

from l3clf.audio.clip import FloatArray

__all__ = ["Resampler"]

RESAMPLE_QUALITY = "VHQ"  # soxr's best; its cost is small beside that of an embedder


class Resampler:
    """Resamples one clip or stream as its samples come.

    Parameters
    ----------
    rate_in, rate_out : float
        In Hz; where they are equal, samples pass unchanged.
    """

    def __init__(self, rate_in: float, rate_out: float) -> None:
        self._stream = None
        if rate_in != rate_out:
            self._stream = soxr.ResampleStream(rate_in, rate_out, 1, dtype="float32", quality=RESAMPLE_QUALITY)

    def push(self, block: FloatArray) -> FloatArray:
        """Take a block; return what is ready, which is a little less than was given so far.

        Parameters
        ----------
        block : array of shape (n,), float32

        Returns
        -------
        array of shape (m,), float32
        """
        if self._stream is None:
            return block
        out: FloatArray = self._stream.resample_chunk(np.ascontiguousarray(block))
        return out

    def finish(self) -> FloatArray:
        """Return what is left at the end, shape (m,)."""
        empty = np.zeros(0, np.float32)
        if self._stream is None:
            return empty
        out: FloatArray = self._stream.resample_chunk(empty, last=True)
        return out
