"""One tree of errors and warnings: `except L3clfError` catches every error that l3clf raises.

Rule: a message is one sentence that the user can act on: ``{what}: {found}; {what to do}``, without a full stop, as in
``clip.wav: sample rate of 400 Hz; resample it to 1000 Hz or more``. A parameter is quoted with its value:
``hop_s=0; expected a positive number of seconds``. This module imports nothing of l3clf, so every module may use it.
"""

import difflib
from collections.abc import Iterable
from pathlib import Path

__all__ = [
    "AudioError",
    "CacheError",
    "CacheWarning",
    "ClipWarning",
    "DatasetError",
    "DatasetWarning",
    "DeviceError",
    "DownloadError",
    "L3clfError",
    "L3clfWarning",
    "MissingDependencyError",
    "ModelFileError",
    "ParameterError",
    "WeightsError",
    "counted",
    "did_you_mean",
    "how_to_install",
]


class L3clfError(Exception):
    """Root of every error that l3clf raises."""


class ParameterError(L3clfError, ValueError):
    """A parameter has a value or type that cannot work."""


class AudioError(L3clfError, ValueError):
    """A sound cannot be read, or what was read is not usable audio."""


class DatasetError(L3clfError, ValueError):
    """The folder, table or labels of a data set cannot be used."""


class WeightsError(L3clfError):
    """Weights are missing, damaged, or not what the model expects."""


class DownloadError(WeightsError):
    """A weight file could not be fetched completely and correctly."""


class CacheError(L3clfError):
    """The embedding cache cannot be opened, read or written."""


class ModelFileError(L3clfError):
    """A model cannot be saved, or a model file is damaged, unsafe or incompatible."""


class DeviceError(L3clfError):
    """A model cannot be exported for a microcontroller, or an export cannot be built or run."""


class MissingDependencyError(L3clfError, ImportError):
    """An optional package is needed but not installed."""


class L3clfWarning(UserWarning):
    """Root of every warning that l3clf issues."""


class CacheWarning(L3clfWarning):
    """Part of the embedding cache was damaged or cannot be used, and must be computed again."""


class ClipWarning(L3clfWarning):
    """Some clips could not be used and were left out."""


class LevelWarning(ClipWarning):
    """The level of some clips is doubtful: their scale, stereo that cancels itself out, or digital silence."""


class DatasetWarning(L3clfWarning):
    """Part of a data set was left out, or was read in a way that should be looked at."""


class LabelWarning(DatasetWarning):
    """Labels of a data set are probably wrong: parts of a data set, the same name in two spellings, contradictions."""


# --- phrases that messages share ------------------------------------------------------------------


def counted(n: int, one: str, many: str = "") -> str:
    """Return a number with its noun, such as "1 file" and "2,000 files".

    Examples
    --------
    >>> counted(1, "file"), counted(2000, "file"), counted(0, "class", "classes")
    ('1 file', '2,000 files', '0 classes')
    """
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """Return a question that names the known word closest to one that is unknown, or an empty string.

    Examples
    --------
    >>> did_you_mean("opnel3", ["mfcc", "openl3"]), did_you_mean("vggish", ["mfcc", "openl3"])
    (' (did you mean openl3?)', '')
    """
    by_lower = {name.lower(): name for name in known}
    close = difflib.get_close_matches(str(word).lower()[:100], by_lower, 1)
    return f" (did you mean {by_lower[close[0]]}?)" if close else ""


def how_to_install(extra: str) -> str:
    """Return the command that installs an extra from where the user is: a checkout, or an installed l3clf."""
    root = Path(__file__).parent.parent
    if not (root / "pyproject.toml").is_file():
        return f'pip install "l3clf[{extra}]"'
    return f'pip install "{"." if Path.cwd() == root else root}[{extra}]"'
