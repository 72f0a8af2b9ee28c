"""Disks that are small, full or read-only, and a user without privileges: the real ones, where the system has them."""

import contextlib
import os
import subprocess

import pytest


@contextlib.contextmanager
def small_disk(folder, kilobytes):
    """Mount an empty disk of this size on a folder; skip the test where that is not allowed."""
    folder.mkdir()
    options = f"size={kilobytes}k,mode=777"
    command = ["mount", "-t", "tmpfs", "-o", options, "l3clf-test", str(folder)]
    try:
        made = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        pytest.skip(f"no disk can be mounted here: {error}")
    if made.returncode:
        pytest.skip(f"no disk can be mounted here: {made.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder):
    """Write until the disk is full; return the file that fills it."""
    path = folder / "filling"
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(4096)):
            pass
    return path


def make_read_only(folder):
    """Make a mounted disk read-only, for root as well."""
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)


@contextlib.contextmanager
def without_privileges():
    """Root may write anywhere; so root becomes nobody for a while."""
    if os.geteuid() == 0:
        os.seteuid(65534)
        try:
            yield
        finally:
            os.seteuid(0)
    else:
        yield
