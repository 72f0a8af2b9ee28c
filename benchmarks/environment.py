"""Where a benchmark ran: the machine, the versions of what decides the numbers, the commit.

Rule: what cannot be found out is left out; nothing is guessed.
"""

import datetime
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import joblib

import l3clf

__all__ = ["ROOT", "describe", "say"]

ROOT = Path(__file__).parent.parent
PACKAGES = (
    "numpy", "scipy", "scikit-learn", "onnxruntime", "onnxruntime-gpu", "soundfile", "soxr", "joblib",
    "ai-edge-litert", "tensorflow", "keras", "torch", "tflite-micro", "ziglang", "unicorn",
)  # fmt: skip
# What numeric libraries choose their kernels by.
EXTENSIONS = ("avx2", "avx512f", "avx512_vnni", "amx_int8", "asimd", "sve")


def say(text: str) -> None:
    """Print progress, apart from what a benchmark prints in the end."""
    print(text, file=sys.stderr, flush=True)


def describe() -> dict[str, Any]:
    """Return date, commit, machine, system, load and versions.

    The load is how many processes were at work in the last minute: on a busy machine, timings are of little use.
    """
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "commit": _commit(),
        "machine": _machine() | _memory() | _gpu(),
        "system": _system(),
        "versions": {"l3clf": l3clf.__version__, "Python": platform.python_version()} | _versions(),
    } | ({"load_before": round(os.getloadavg()[0], 2)} if hasattr(os, "getloadavg") else {})


def _machine() -> dict[str, Any]:
    return {"processor": _processor(), "extensions": _extensions(), "cores": joblib.cpu_count()}


def _system() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):  # not Linux, or one that does not say
        return f"{platform.system()} {platform.release()}"


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _commit() -> str:
    """The commit; "-dirty" follows where files other than the results have changed."""
    commit = _git("rev-parse", "--short", "HEAD")
    changed = _git("status", "--porcelain", "--", ".", ":!benchmarks/recorded", ":!benchmarks/RESULTS.md")
    return f"{commit}-dirty" if commit and changed else commit


def _git(*arguments: str) -> str:
    return _said_by("git", *arguments)


def _said_by(name: str, *arguments: str) -> str:
    program = shutil.which(name)
    if program is None:
        return ""
    done = subprocess.run([program, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603
    return done.stdout.strip() if done.returncode == 0 else ""


def _gpu() -> dict[str, str]:
    name = _said_by("nvidia-smi", "--query-gpu=name", "--format=csv,noheader")
    return {"gpu": ", ".join(name.splitlines())} if name else {}


def _cpu_lines(names: Sequence[str]) -> list[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return []
    return [value.strip() for key, _, value in (line.partition(":") for line in lines) if key.strip() in names]


def _processor() -> str:
    return next(iter(_cpu_lines(["model name"])), platform.processor() or platform.machine())


def _extensions() -> list[str]:
    flags = set(next(iter(_cpu_lines(["flags", "Features"])), "").split())
    return [name for name in EXTENSIONS if name in flags]


def _memory() -> dict[str, float]:
    try:
        size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return {}
    return {"memory_gib": round(size / 2**30, 1)}
