"""The check of OpenL3 against what its authors published for their own weights: one chirp, embedded.

Rule: the published values are facts of others, kept as they are and credited in `data/NOTICE`; they decide one thing,
whether the network, the front-end and the weight file on this machine belong together. Finer errors than the sound can
show are left to the golden values of the tests, which hold to 1e-4 for seeded weights.

The values are the regression data of github.com/marl/openl3 (J. Cramer, H.-H. Wu, J. Salamon; MIT), by its default
front-end, for two of the six files. Their sound is a chirp of two seconds at 44.1 kHz, which is rebuilt from its
formula. It is a pure tone: most of its spectrogram shows the noise under it, which therefore has to be the right
one. The published samples differ from the formula by up to 9 steps of 16 bits, as the shaped dither of audio editors
does (at most 8.4, and half a step of rounding; plain dither makes 1.5), so the noise here has that spectrum.

Why `MIN_COSINE` is 0.99: where only rounding differs, in single precision, the authors' own two front-ends agree to
0.9957 (linear); so do both with noise of 1e-6 of full scale, for seeded weights. Other noise of the same spectrum and
another resampler take seeded networks to 0.9985 (linear) and 0.9990 (mel256). Levels by another rule, such as power
instead of magnitude, end at 0.98 and below, weights that do not belong to the file's name at 0.7 and 0.4.
"""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from l3clf.audio.clip import FloatArray, Samples
from l3clf.embedders.openl3 import OpenL3
from l3clf.errors import ParameterError, WeightsError
from l3clf.weights.registry import WeightFile

__all__ = ["MIN_COSINE", "PublishedCheck", "check_published", "chirp", "is_published", "published"]

MIN_COSINE = 0.99
RATE_HZ, DURATION_S = 44_100, 2
# Coefficients of the quantisation error of the samples before, in Lipshitz, Vanderkooy and Wannamaker: "Minimally
# Audible Noise Shaping", JAES 39 (1991).
_SHAPE = (1.0, -2.033, 2.165, -1.959, 1.590, -0.6149)


@dataclass(frozen=True)
class _Setting:
    """How the authors called OpenL3, and which of its windows are compared."""

    input_repr: str
    content_type: str
    embedding_size: int
    hop_s: float
    center: bool
    windows: tuple[int, ...]


_SETTINGS = {
    "linear_env": _Setting("linear", "env", 512, 0.5, False, (0, 1, 2)),
    "mel256_music": _Setting("mel256", "music", 6144, 0.1, True, (0, 5, 12)),
}


@dataclass(frozen=True)
class PublishedCheck:
    """Our embeddings of the chirp beside the authors'; its `str` is one line for the user.

    Attributes
    ----------
    path : Path
        The weight file.
    cosine : float
        Of the window that agrees least.
    largest_difference, largest_value : float
        Between the two, and of the published values.
    """

    path: Path
    cosine: float
    largest_difference: float
    largest_value: float

    @property
    def agrees(self) -> bool:
        """Whether the embeddings are the authors', up to the resampler, the noise and rounding."""
        return self.cosine >= MIN_COSINE

    def __str__(self) -> str:
        verdict = "agree with" if self.agrees else "are not"
        return (
            f"embeddings {verdict} those that OpenL3's authors published for a chirp: cosine {self.cosine:.4f} "
            f"({MIN_COSINE:g} or more is needed), largest difference {self.largest_difference:.2g} beside values up to "
            f"{self.largest_value:.2g}"
        )


def is_published(file: WeightFile) -> bool:
    """Return whether OpenL3's authors published values for a weight file."""
    return _variant(file) in _SETTINGS


def check_published(file: WeightFile, path: Path, expected: dict[str, FloatArray] | None = None) -> PublishedCheck:
    """Embed the chirp with a weight file, and compare with the published values.

    Parameters
    ----------
    file : WeightFile
        What the file is: "linear_env" or "mel256_music" of OpenL3's.
    path : Path
        The file on disk.
    expected : dict, optional
        Other values than the published ones, by variant, as `published` returns them.

    Returns
    -------
    PublishedCheck

    Raises
    ------
    ParameterError
        If nothing is published for the file.
    WeightsError
        If the file cannot be read or holds another network.
    """
    variant = _variant(file)
    if variant not in _SETTINGS:
        raise ParameterError(f"{file.filename}: has no published values; expected {' or '.join(_SETTINGS)}")
    theirs = (published() if expected is None else expected)[variant]
    ours = embed_chirp(variant, path)
    cosines = (ours * theirs).sum(axis=1) / (np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1))
    return PublishedCheck(
        Path(path), float(cosines.min()), float(np.abs(ours - theirs).max()), float(np.abs(theirs).max())
    )


def embed_chirp(variant: str, path: Path) -> FloatArray:
    """Return the embeddings that are compared: of three windows, by the weights of a file."""
    setting = _SETTINGS[variant]
    embedder = OpenL3(setting.input_repr, setting.content_type, setting.embedding_size, str(path))
    batches = embedder.read_windows(Samples(chirp(), RATE_HZ), setting.hop_s, setting.center)
    windows = np.concatenate(list(batches))[list(setting.windows)]
    return embedder.embed_batch(windows).vectors


def chirp(seed: int = 0) -> NDArray[np.float64]:
    """Return the authors' sound: a chirp of two seconds at 44.1 kHz with the noise of its 16 bits.

    Sample i has the frequency 440 + 176 i / 44100 Hz and the amplitude 0.8 - 0.14 i / 44100; its phase is the sum of
    2 pi f / 44100 over the samples before it.

    Parameters
    ----------
    seed : int
        Of the noise, which has the spectrum of theirs, but cannot have its values.
    """
    i = np.arange(RATE_HZ * DURATION_S)
    phase = np.cumsum(2 * np.pi * (440 + 176 * i / RATE_HZ) / RATE_HZ)
    tone = (0.8 - 0.14 * i / RATE_HZ) * np.sin(np.concatenate(([0.0], phase[:-1])))
    # Rounding and triangular dither are three uniform errors of one step.
    errors = np.random.RandomState(seed).uniform(-0.5, 0.5, (3, len(i))).sum(axis=0)
    return tone + np.convolve(errors, _SHAPE)[: len(i)] / 32768


@cache
def published() -> dict[str, FloatArray]:
    """Return the published values, of shape (3, embedding_size) for each variant, rounded to 11 bits.

    Raises
    ------
    WeightsError
        If they are not in the package as they were shipped.
    """
    path = Path(str(files("l3clf.embedders") / "data" / "openl3_published.npz"))
    try:
        with np.load(path, allow_pickle=False) as file:
            found = {variant: file[variant].astype(np.float32) for variant in _SETTINGS}
    except (OSError, ValueError, KeyError, BadZipFile) as error:
        raise WeightsError(f"{path}: cannot be read ({error}); install l3clf again") from error
    for variant, setting in _SETTINGS.items():
        shape = (len(setting.windows), setting.embedding_size)
        if found[variant].shape != shape or not np.isfinite(found[variant]).all():
            raise WeightsError(f"{path}: does not hold {variant} of shape {shape}; install l3clf again")
    return found


def _variant(file: WeightFile) -> str:
    return file.filename.removeprefix("openl3_audio_").partition("-")[0] if file.model == "openl3" else ""
