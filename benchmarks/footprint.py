"""Size of an installation, time of an import, memory for a long file.

    python benchmarks/footprint.py [--install]

With --install a new virtual environment is made and the checkout installed into it without extras, which
takes a minute and needs a package registry.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

import numpy as np
import soundfile

HOURS, RATE_HZ = 2.0, 44_100
ROOT = Path(__file__).parent.parent


def installed_mb() -> tuple[float, float]:
    """Sum of the files' sizes, and the space they take on this disk."""
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        pip = Path(folder) / "bin" / "pip"
        subprocess.run([pip, "install", "-q", ROOT], check=True)
        states = [path.lstat() for path in Path(folder).rglob("*")]
        return sum(state.st_size for state in states) / 1e6, sum(state.st_blocks for state in states) * 512 / 2**20


def import_s(statement: str, repeats: int = 7) -> float:
    """Median wall time of a new interpreter that runs a statement, minus one that runs nothing."""

    def run(code: str) -> float:
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        return time.perf_counter() - start

    return statistics.median(run(statement) for _ in range(repeats)) - statistics.median(
        run("") for _ in range(repeats)
    )


def write_long_file(path: Path) -> None:
    rng = np.random.default_rng(0)
    with soundfile.SoundFile(path, "w", RATE_HZ, 2) as file:
        for _ in range(int(HOURS * 60)):
            file.write(0.1 * rng.standard_normal((60 * RATE_HZ, 2)).astype(np.float32))


def embed_peak_mb(path: Path, embedder: str, weights: str | None) -> tuple[float, int, float]:
    """Peak memory of a process that embeds a file, the number of windows, and seconds."""
    options = "" if weights is None else f", weights={weights!r}"
    code = (
        "import l3clf, resource; "
        f"w = l3clf.ClipEmbedder(l3clf.load_embedder({embedder!r}{options}), cache=None).embed([{str(path)!r}])[0]; "
        "print(len(w), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    start = time.perf_counter()
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    return int(out[1]) * (1 if sys.platform == "darwin" else 1024) / 1e6, int(out[0]), time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--install", action="store_true", help="also measure the size of a fresh installation")
    parser.add_argument("--openl3-minutes", type=float, default=2.0, help="how much of it to embed with OpenL3")
    args = parser.parse_args()
    if args.install:
        size_mb, disk_mib = installed_mb()
        print(f"installed into an empty environment: {size_mb:.0f} MB of files, {disk_mib:.0f} MiB on disk (du)")
    print(f"import l3clf: {import_s('import l3clf'):.3f} s")
    print(f"from l3clf import ClipClassifier: {import_s('from l3clf import ClipClassifier'):.3f} s")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "long.wav"
        write_long_file(path)
        peak, n, seconds = embed_peak_mb(path, "mfcc", None)
        print(f"{HOURS:g} h of 44.1 kHz stereo, mfcc: {n} windows in {seconds:.0f} s, peak {peak:.0f} MB")
        if args.openl3_minutes:
            openl3_row(Path(folder), path, args.openl3_minutes)


def openl3_row(folder: Path, long: Path, minutes: float) -> None:
    """OpenL3's peak does not grow with the length, so some minutes show it; seeded weights."""
    sys.path.insert(0, str(ROOT / "tests" / "golden"))
    from openl3_recipe import write_weights

    weights = folder / "openl3_audio_mel256_env-v0_4_0.h5"
    write_weights(weights, "mel256")
    part = folder / "part.wav"
    samples, rate = soundfile.read(long, frames=int(minutes * 60 * RATE_HZ), dtype="float32")
    soundfile.write(part, samples, rate)
    peak, n, seconds = embed_peak_mb(part, "openl3", os.fspath(weights))
    print(f"{minutes:g} min of it, openl3 mel256: {n} windows in {seconds:.0f} s, peak {peak:.0f} MB")


if __name__ == "__main__":
    main()
