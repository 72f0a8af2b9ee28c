"""One file a model behind one protocol; `load_embedder` makes them by name.

Another embedder is one small class (see `l3clf.embedders.base.Embedder`) and one call of
`register_embedder`; an instance can also be passed wherever an embedder's name is taken.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any

from l3clf.embedders.base import Embedder, WindowEmbeddings
from l3clf.errors import ParameterError

__all__ = ["Embedder", "WindowEmbeddings", "embedder_names", "load_embedder", "register_embedder"]

# Modules are imported when asked for: ONNX Runtime alone takes longer than the rest of the package.
_BUILT_IN = {
    "openl3": ("l3clf.embedders.openl3", "OpenL3"),
    "mfcc": ("l3clf.embedders.mfcc", "Mfcc"),
    "yamnet": ("l3clf.embedders.yamnet", "YamNet"),
    "edgel3": ("l3clf.embedders.edgel3", "EdgeL3"),
    "speech": ("l3clf.embedders.speech", "Speech"),
    "l3mini": ("l3clf.embedders.student", "L3Mini"),
    "student": ("l3clf.embedders.student", "Student"),
}
STUDENT_SUFFIX = ".student"
_registered: dict[str, Callable[..., Embedder]] = {}


def embedder_names() -> list[str]:
    """Return the names that `load_embedder` knows."""
    return [*_BUILT_IN, *_registered]


def register_embedder(name: str, make: Callable[..., Embedder]) -> None:
    """Make another embedder known to `load_embedder`, the estimators and model files.

    Parameters
    ----------
    name : str
        A new name. Registering the same class under its name again is fine.
    make : callable
        The embedder's class, or a function that returns an embedder from keyword options.

    Raises
    ------
    ParameterError
        If the name is taken.
    """
    if name in _BUILT_IN or _registered.get(name, make) is not make:
        raise ParameterError(f"name={name!r}: is taken already; choose another name")
    _registered[name] = make


def load_embedder(name: str, **options: Any) -> Embedder:
    """Return an embedder.

    Nothing is read or downloaded before the first window is embedded, or the fingerprint asked for.

    Parameters
    ----------
    name : str
        ``"openl3"``, ``"l3mini"``, ``"mfcc"``, ``"yamnet"``, ``"edgel3"``, ``"speech"``, a registered name, or the
        path of a student file (it ends in ``.student``).
    **options
        Options of that embedder; for openl3 ``input_repr``, ``content_type``, ``embedding_size``; for all
        that have weights ``weights``, the path of a weight file or of the folder that holds it.

    Raises
    ------
    ParameterError
        If the name or an option is unknown, or an option's value is not one of those possible.

    Examples
    --------
    >>> load_embedder("openl3", input_repr="mel128").embedding_size
    512
    """
    if str(name).endswith(STUDENT_SUFFIX):
        name, options = "student", {"weights": name, **options}
    make = _factory(name)
    try:
        return make(**options)
    except TypeError as error:
        raise ParameterError(f"embedder {name!r}: {_plain(error)}") from None


def _factory(name: str) -> Callable[..., Embedder]:
    if name in _registered:
        return _registered[name]
    if name not in _BUILT_IN:
        raise ParameterError(f"embedder={name!r}: no such embedder; expected one of {', '.join(embedder_names())}")
    module, class_name = _BUILT_IN[name]
    factory: Callable[..., Embedder] = getattr(import_module(module), class_name)
    return factory


def _plain(error: TypeError) -> str:
    """Python's sentence about an unexpected option, without the name of the constructor."""
    return str(error).rpartition("__init__() ")[2]
