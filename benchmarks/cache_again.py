"""What a second run of the same thing costs: embedding a folder again, through the cache.

    python benchmarks/cache_again.py

Two hundred synthetic clips of 4 s as WAV files, embedded with each embedder that needs no download: mfcc, and
OpenL3 mel256 with seeded weights on fewer clips. Printed: seconds of the first and of the second run.
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path

import l3clf
from l3clf.demo import tour as demo

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "golden"))
from openl3_recipe import write_weights


def seconds(embedder: l3clf.Embedder, clips: list[l3clf.Clip], cache: Path) -> float:
    start = time.perf_counter()
    l3clf.ClipEmbedder(embedder, cache=cache).fit_transform(clips)
    return time.perf_counter() - start


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        demo.run(folder / "demo", say=lambda text: None)
        clips = l3clf.datasets.load(folder / "demo" / "sounds").clips
        write_weights(folder / "openl3_audio_mel256_env-v0_4_0.h5", "mel256")
        openl3 = l3clf.load_embedder("openl3", weights=folder)
        time.sleep(2.5)  # a file written within two seconds of being recorded is not trusted, and would be read again
        for embedder, some in ((l3clf.load_embedder("mfcc"), clips), (openl3, clips[::10])):
            cache = folder / f"{embedder.name}.sqlite"
            first = seconds(embedder, some, cache)
            again = statistics.median(seconds(embedder, some, cache) for _ in range(5))
            faster = first / again
            print(f"{embedder.name}: {len(some)} clips, {first:.2f} s, again {again:.4f} s: {faster:.0f} times faster")


if __name__ == "__main__":
    main()
