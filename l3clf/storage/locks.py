"""A lock on an open file, for one caller at a time.

Rule: a lock ends with the process that holds it and so cannot go stale. The empty lock file stays: removing
it could hand the same lock to two processes.
"""

import errno
import sys

__all__ = ["lock_now", "unlock"]

_IS_HELD = frozenset({errno.EAGAIN, errno.EACCES})

if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

    def unlock(descriptor: int) -> None:
        """Give a lock back."""
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)
else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def unlock(descriptor: int) -> None:
        """Give a lock back."""
        fcntl.flock(descriptor, fcntl.LOCK_UN)


def lock_now(descriptor: int) -> bool:
    """Lock an open file, without waiting.

    Returns
    -------
    bool
        False when somebody else holds the lock.

    Raises
    ------
    OSError
        If this file system has no locks.
    """
    try:
        _lock(descriptor)
    except OSError as error:
        if error.errno not in _IS_HELD:
            raise
        return False
    return True
