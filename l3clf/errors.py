"""One tree of errors and warnings: catch `L3clfError` and you have caught everything we raise.

Rule: a message is one sentence a user can act on. It names the file or parameter, what was found,
what was expected and what to do. This module imports nothing, so every room may use it.
"""


class L3clfError(Exception):
    """Root of every error that l3clf raises."""


class ParameterError(L3clfError, ValueError):
    """A parameter has a value or type that cannot work."""


class AudioError(L3clfError, ValueError):
    """A sound cannot be read, or what was read is no usable audio."""


class DatasetError(L3clfError, ValueError):
    """A data set's folder, table or labels cannot be used as they are."""


class WeightsError(L3clfError):
    """Weights are missing, damaged, or not what the model expects."""


class DownloadError(WeightsError):
    """A weight file could not be fetched completely and correctly."""


class CacheError(L3clfError):
    """The embedding cache cannot be opened, read or written."""


class ModelFileError(L3clfError):
    """A model cannot be saved, or a model file is damaged, hostile or does not fit."""


class DeviceError(L3clfError):
    """A model cannot be put on a microcontroller, or an export cannot be built or run."""


class MissingDependencyError(L3clfError, ImportError):
    """An optional package is needed and not installed."""


class L3clfWarning(UserWarning):
    """Root of every warning that l3clf gives."""


class CacheWarning(L3clfWarning):
    """A cached entry was damaged; it was dropped and computed again."""


class ClipWarning(L3clfWarning):
    """Some clips could not be used and were left out."""


class DatasetWarning(L3clfWarning):
    """Some of what lies in a data set's folder was left out."""
