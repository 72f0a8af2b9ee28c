"""Sound files that only ffmpeg writes; tests that need one are skipped, with a reason, where it is missing."""

import shutil
import subprocess
import sys
from functools import lru_cache

import pytest


@lru_cache
def ffmpeg():
    """The path of ffmpeg: the system's, or that of imageio-ffmpeg."""
    found = shutil.which("ffmpeg")
    if found is None:
        module = pytest.importorskip("imageio_ffmpeg", reason="needs ffmpeg, or imageio-ffmpeg")
        found = module.get_ffmpeg_exe()
    return found


def run_ffmpeg(*arguments):
    """Run ffmpeg and return what it writes to standard output."""
    command = [ffmpeg(), "-nostdin", "-hide_banner", "-v", "error", "-y", *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True).stdout


@lru_cache
def encoders():
    """The names of the encoders that this ffmpeg has."""
    listed = subprocess.run([ffmpeg(), "-hide_banner", "-encoders"], check=True, capture_output=True, text=True).stdout
    return {line.split()[1] for line in listed.splitlines() if len(line.split()) > 1}


def needs_encoder(name):
    """Skip a test if this ffmpeg lacks an encoder."""
    if name not in encoders():
        pytest.skip(f"this ffmpeg has no encoder {name}")


def decoded_s(path, *options):
    """The length of what ffmpeg decodes from a file, in seconds."""
    return len(run_ffmpeg(*options, "-i", path, "-map", "0:a:0", "-ac", 1, "-ar", 16_000, "-f", "s16le", "-")) / 32_000


def hide_ffmpeg(monkeypatch, folder):
    """Make this process one on a machine without ffmpeg."""
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
