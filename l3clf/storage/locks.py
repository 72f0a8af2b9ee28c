"""A lock on an open file, for one caller at a time.

Rule: a lock ends with the process that holds it and so cannot become stale. The empty lock file stays: if it were
removed, two processes could hold locks on two files of that name.
"""

import errno
import sys

__all__ = ["lock_now", "unlock"]

_IS_HELD = frozenset({errno.EAGAIN, errno.EACCES})  # POSIX and Windows

if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

    def unlock(descriptor: int) -> None:
        """Release a lock."""
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)
else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def unlock(descriptor: int) -> None:
        """Release a lock."""
        fcntl.flock(descriptor, fcntl.LOCK_UN)


def lock_now(descriptor: int) -> bool:
    """Lock an open file, without waiting.

    Returns
    -------
    bool
        False if another caller holds the lock.

    Raises
    ------
    OSError
        If the file system does not support locks.
    """
    try:
        _lock(descriptor)
    except OSError as error:
        if error.errno not in _IS_HELD:
            raise
        return False
    return True
