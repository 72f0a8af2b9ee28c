"""Embedders: one module per model, all behind one protocol; `load_embedder` creates them by name.

A new embedder is one small class (see `l3clf.embedders.base.Embedder`) and one call of `register_embedder`; an
instance can also be passed wherever the name of an embedder is accepted.
"""

import inspect
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from l3clf.embedders.base import Embedder, WindowEmbeddings
from l3clf.errors import ParameterError, did_you_mean

__all__ = ["Embedder", "WindowEmbeddings", "described_embedder", "embedder_names", "load_embedder", "register_embedder"]

# Modules are imported when needed: ONNX Runtime alone takes longer to import than the rest of the package.
_BUILT_IN = {
    "openl3": ("l3clf.embedders.openl3", "OpenL3"),
    "mfcc": ("l3clf.embedders.mfcc", "Mfcc"),
    "efficientat": ("l3clf.embedders.efficientat", "EfficientAT"),
    "yamnet": ("l3clf.embedders.yamnet", "YamNet"),
    "edgel3": ("l3clf.embedders.edgel3", "EdgeL3"),
    "speech": ("l3clf.embedders.speech", "Speech"),
    "l3base": ("l3clf.embedders.shipped", "L3Base"),
    "l3mini": ("l3clf.embedders.shipped", "L3Mini"),
    "l3micro": ("l3clf.embedders.shipped", "L3Micro"),
    "student": ("l3clf.embedders.student", "Student"),
}
STUDENT_SUFFIX = ".student"
# Members of a student file, and the sizes in bytes to which they may unpack: here, because a model file may hold them,
# too, and is read without ONNX Runtime.
STUDENT_MEMBERS = {"student.json": 1 << 20, "network.onnx": 4 << 20, "network.tflite": 4 << 20}
_registered: dict[str, Callable[..., Embedder]] = {}


def embedder_names() -> list[str]:
    """Return the names that `load_embedder` accepts."""
    return [*_BUILT_IN, *_registered]


def register_embedder(name: str, make: Callable[..., Embedder]) -> None:
    """Make an embedder available to `load_embedder`, the estimators and model files.

    Parameters
    ----------
    name : str
        A new name. The same class may be registered under its name again.
    make : callable
        The class of the embedder, or a function that returns an embedder, given its options by keyword.

    Raises
    ------
    ParameterError
        If another embedder has that name.
    """
    if name in _BUILT_IN or _registered.get(name, make) is not make:
        raise ParameterError(f"name={name!r}: is already taken; choose another name")
    _registered[name] = make


def load_embedder(name: str, **options: Any) -> Embedder:
    """Return an embedder.

    Nothing is read or downloaded until the first window is embedded or the fingerprint is needed.

    Parameters
    ----------
    name : str
        ``"openl3"``, ``"efficientat"``, ``"l3base"``, ``"l3mini"``, ``"l3micro"``, ``"mfcc"``, ``"yamnet"``,
        ``"edgel3"``, ``"speech"``, a registered name, or the path of a student file (ending in ``.student``).
    **options
        Options of that embedder: for openl3 ``input_repr``, ``content_type`` and ``embedding_size``; for efficientat
        ``model``; for both, l3base, l3mini, l3micro and student files ``precision``, and for l3mini ``revision``, of
        which 1 is the first l3mini; for all embedders with weights, ``weights``, the path of a weight file or of the
        folder that holds it.

    Raises
    ------
    ParameterError
        If the name or an option is unknown, or the value of an option is not allowed.

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
        known = list(inspect.signature(make).parameters)
        unknown = [option for option in options if option not in known]
        # Otherwise Python's message about the options, without the name of the constructor.
        problem = f"has no option {unknown[0]!r}" if unknown else str(error).rpartition("__init__() ")[2]
        hint = did_you_mean(unknown[0], known) if unknown else ""
        raise ParameterError(
            f"embedder {name!r}: {problem}{hint}; its options are {', '.join(known) or 'none'}"
        ) from None


def described_embedder(name: str, options: Mapping[str, Any], **places: Any) -> Embedder:
    """Return the embedder whose name and options a file holds, or another embedder has.

    Parameters
    ----------
    name : str
    options : mapping
        Its `Embedder.options`. Those that are younger than the file are what its embedder was before it had them.
    **places
        Options that say where it finds something, such as ``weights``.

    Raises
    ------
    ParameterError
        As for `load_embedder`.
    """
    return load_embedder(name, **{**getattr(_factory(name), "unnamed_options", {}), **options, **places})


def _factory(name: str) -> Callable[..., Embedder]:
    if name in _registered:
        return _registered[name]
    if name not in _BUILT_IN:
        known = [other for other in embedder_names() if other != "student"]
        raise ParameterError(
            f"embedder={name!r}: no such embedder{did_you_mean(name, known)}; expected one of {', '.join(known)}, or "
            "the path of a student file"
        )
    module, class_name = _BUILT_IN[name]
    factory: Callable[..., Embedder] = getattr(import_module(module), class_name)
    return factory
