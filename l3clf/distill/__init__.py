"""Distillation: a small student learns to answer as frozen teachers do (the extra ``distill``).

Keras and TensorFlow are imported when `distil` is first asked for, not before.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from l3clf.distill.augment import Augmentation
    from l3clf.distill.distiller import distil
    from l3clf.distill.training import Schedule

__all__ = ["Augmentation", "Schedule", "distil"]

_HOMES = {"Augmentation": "augment", "Schedule": "training", "distil": "distiller"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"l3clf.distill.{_HOMES[name]}"), name)
