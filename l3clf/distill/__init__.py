"""Distillation: a small student learns to answer as frozen teachers do (the extra ``distill``).

Keras and TensorFlow are imported when `distil` is first used, not before.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
