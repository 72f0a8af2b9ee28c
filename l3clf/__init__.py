"""Sound clips to classes with frozen audio embeddings, and the way onto a microcontroller."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from l3clf import datasets
    from l3clf.audio import Clip
    from l3clf.baselines import baseline
    from l3clf.cache import EmbeddingCache
    from l3clf.datasets import ClipTable
    from l3clf.embedders import Embedder, WindowEmbeddings, load_embedder, register_embedder
    from l3clf.errors import L3clfError, L3clfWarning
    from l3clf.estimators import ClipClassifier, ClipEmbedder
    from l3clf.modelfile import load_model, save_model

__version__ = "0.1.0"

__all__ = [
    "Clip",
    "ClipClassifier",
    "ClipEmbedder",
    "ClipTable",
    "Embedder",
    "EmbeddingCache",
    "L3clfError",
    "L3clfWarning",
    "WindowEmbeddings",
    "__version__",
    "baseline",
    "datasets",
    "device",
    "distill",
    "load_embedder",
    "load_model",
    "register_embedder",
    "save_model",
]

# Where each public name lives: loaded on first use, so that importing l3clf costs next to nothing.
_HOMES = {
    "Clip": "audio",
    "ClipClassifier": "estimators",
    "ClipEmbedder": "estimators",
    "ClipTable": "datasets",
    "Embedder": "embedders",
    "EmbeddingCache": "cache",
    "L3clfError": "errors",
    "L3clfWarning": "errors",
    "WindowEmbeddings": "embedders",
    "baseline": "baselines",
    "load_embedder": "embedders",
    "load_model": "modelfile",
    "register_embedder": "embedders",
    "save_model": "modelfile",
}


def __getattr__(name: str) -> Any:
    if name in ("datasets", "device", "distill"):
        return import_module(f"l3clf.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'l3clf' has no attribute {name!r}")
    value = getattr(import_module(f"l3clf.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
