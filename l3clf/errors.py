"""One tree of errors and warnings: `except L3clfError` catches every error that l3clf raises.

Rule: a message is one sentence that the user can act on: ``{what}: {found}; {what to do}``, without a full stop, as in
``clip.wav: sample rate of 400 Hz; resample it to 1000 Hz or more``. A parameter is quoted with its value:
``hop_s=0; expected a positive number of seconds``. This module imports nothing, so every module may use it.
"""


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
    """Part of the embedding cache was damaged; it was dropped and must be computed again."""


class ClipWarning(L3clfWarning):
    """Some clips could not be used and were left out."""


class LevelWarning(ClipWarning):
    """The level of some clips is doubtful: their scale, stereo that cancels itself out, or digital silence."""


class DatasetWarning(L3clfWarning):
    """Some files in the folder of a data set were left out."""
