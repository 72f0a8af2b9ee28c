"""The threads of BLAS, the library that multiplies matrices for NumPy.

Rule: their number belongs to the whole process. Whoever limits it alone restores what another thread has set in the
meantime; so all that want one thread are counted, the first sets the limit and the last restores the number.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from threadpoolctl import threadpool_limits

__all__ = ["one_blas_thread"]

_lock = threading.RLock()  # re-entrant for the handlers of signals
_n_users = 0
_limits: threadpool_limits | None = None

if hasattr(os, "register_at_fork"):  # a child would find the lock held for ever
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Compute with one BLAS thread, because threads of ours already use every core; may overlap with other calls."""
    _enter()
    try:
        yield
    finally:
        _leave()


def _enter() -> None:
    global _n_users, _limits
    with _lock:
        if _n_users == 0:
            _limits = threadpool_limits(1, "blas")
        _n_users += 1


def _leave() -> None:
    global _n_users, _limits
    with _lock:
        _n_users -= 1
        if _n_users == 0 and _limits is not None:
            _limits.restore_original_limits()
            _limits = None
