"""Distillation: training a small student to imitate frozen teachers (the extra ``distill``).

Keras and TensorFlow are imported when a name of this package is first used, not before.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
