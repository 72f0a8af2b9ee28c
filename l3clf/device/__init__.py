"""A fitted model as C99 for a microcontroller, and checks that the C code matches the Python model.

Compiling and emulation need the extra ``device``; writing the C code does not.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
