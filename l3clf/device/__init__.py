"""A fitted model as C99 for a microcontroller, and the proof that it answers as Python does.

Compilers and the emulated chip are the extra ``device``; writing the C code needs neither.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
