"""Sound clips to classes with frozen audio embeddings, and the way onto a microcontroller.

The public names are listed once, in ``__init__.pyi``; each is loaded on first use, so that importing l3clf costs next
to nothing.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
