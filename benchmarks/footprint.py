"""Size of an installation, time of an import, memory that a long file takes.

With ``install=yes`` the checkout is installed, without extras, into a new virtual environment, which needs a package
registry. OpenL3's memory does not grow with the length of a file, so some minutes of it show the peak; seeded
weights.
"""

import os
import subprocess
import sys
import tempfile
import time
import venv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from benchmarks.environment import ROOT
from benchmarks.materials import seeded_openl3
from benchmarks.record import Cell, Result, Table, Timing

RATE_HZ = 44_100
STATEMENTS = ("import l3clf", "from l3clf import ClipClassifier", "import numpy")  # the last is the peer


@dataclass(frozen=True)
class Options:
    """What is measured.

    Attributes
    ----------
    install : bool
        Whether the size of an installation is measured.
    minutes, openl3_minutes : float
        Length of the file that is embedded with mfcc, and of the part of it for OpenL3.
    repeats : int
        Of the imports.
    """

    install: bool = False
    minutes: float = 120.0
    openl3_minutes: float = 2.0
    repeats: int = 7


def run(options: Options) -> Result:
    """Measure everything."""
    installation = (_installation(),) if options.install else ()
    return Result((*installation, _imports(options.repeats), _memory(options)))


def _installation() -> Table:
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = Path(folder) / ("Scripts" if os.name == "nt" else "bin") / "python"
        subprocess.run([python, "-m", "pip", "install", "-q", ROOT], check=True)  # noqa: S603 - our own checkout
        states = [path.lstat() for path in Path(folder).rglob("*")]
    size_mb = sum(state.st_size for state in states) / 1e6
    disk_mib = sum(state.st_blocks for state in states) * 512 / 2**20
    columns = ("files (MB)", ",.0f"), ("on disk, by du (MiB)", ",.0f")
    return Table("Installed into an empty environment, without extras, pip included", columns, ((size_mb, disk_mib),))


def _imports(repeats: int) -> Table:
    """Wall time of a new interpreter that runs a statement, less that of one that runs nothing."""
    found: dict[str, list[float]] = {statement: [] for statement in STATEMENTS}
    for _ in range(repeats):
        nothing = _seconds("")
        for statement, times in found.items():
            times.append(_seconds(statement) - nothing)
    numpy = found[STATEMENTS[-1]]
    rows = [
        (f"`{statement}`", Timing.of(times), Timing.of([a / b for a, b in zip(times, numpy, strict=True)]))
        for statement, times in found.items()
    ]
    return Table("Imports", (("", ""), ("seconds", ".3f"), ("`import numpy` = 1", ".1f")), tuple(rows))


def _seconds(statement: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], cwd=ROOT, check=True)  # noqa: S603 - statements of this file
    return time.perf_counter() - start


def _memory(options: Options) -> Table:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        whole, part = folder / "whole.wav", folder / "part.wav"
        for path, minutes in ((whole, options.minutes), (part, options.openl3_minutes)):
            _write_noise(path, minutes)
        weights = os.fspath(seeded_openl3(folder))
        rows = (
            ("mfcc", options.minutes, *_peak(whole, "l3clf.load_embedder('mfcc')")),
            (
                "openl3, mel256",
                options.openl3_minutes,
                *_peak(part, f"l3clf.load_embedder('openl3', weights={weights!r})"),
            ),
        )
    columns = ("embedder", ""), ("minutes", "g"), ("windows", ",d"), ("seconds", ".0f"), ("peak memory (MB)", ".0f")
    return Table("Embedding a file of 44.1 kHz stereo, in a process of its own", columns, rows)


def _write_noise(path: Path, minutes: float) -> None:
    rng = np.random.default_rng(0)
    with soundfile.SoundFile(path, "w", RATE_HZ, 2) as file:
        left = round(minutes * 60 * RATE_HZ)
        while left:
            n = min(left, 60 * RATE_HZ)
            file.write(0.1 * rng.standard_normal((n, 2)).astype(np.float32))
            left -= n


def _peak(path: Path, embedder: str) -> tuple[Cell, ...]:
    """Return the windows of a file, the seconds to embed it and the peak memory of the process that did."""
    code = (
        "import l3clf, resource; "
        f"w = l3clf.ClipEmbedder({embedder}, cache=None).embed([{str(path)!r}])[0]; "
        "print(len(w), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)  # noqa: S603
    windows, peak = map(int, done.stdout.split())
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
    return windows, time.perf_counter() - start, peak * unit / 1e6
