"""How l3mini is made: distilled from YAMNet and Google's speech embedding on openly licensed sounds.

    L3CLF_SHARED=... python benchmarks/make_l3mini.py --out DIR

The sounds are those of the pool whose licence asks for no share-alike, words spoken by espeak-ng, and
synthetic tones, sweeps, pulses and noise. No evaluation audio is touched. It is trained twice, the second time from
the best weights of the first with a lower rate. Stopped, the same command goes on. About 20 minutes of examples
and an hour and a half of training on two cores; MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=100000000000 in the
environment saves a sixth. `benchmarks/l3mini_labbook.md` says what else was tried.
"""

import argparse
import csv
import os
import shutil
from pathlib import Path

import l3clf
from l3clf.distill import Schedule, distil
from l3clf.distill.synthesis import spoken, synthetic_sounds

VOICES = ("en-us", "en-gb", "en-gb-scotland", "en-029", "en-gb-x-rp", "de", "fr-fr", "es", "it", "nl", "pl")
WORDS = """yes no stop go left right up down on off one two three four five six seven eight nine ten zero hundred hello
please thank open close start light music louder quiet house water mother father school morning evening kitchen window
garden river mountain paper bottle table chair coffee bread apple orange banana tomato potato doctor teacher police fire
help danger happy sad angry green yellow purple black white silver monday tuesday friday january august winter summer
bicycle train airplane engine hammer computer telephone camera picture story number letter question answer problem
reason minute second hour yesterday tomorrow between under over behind because although maybe never always sometimes
quickly slowly follow visual forward backward learn sheila marvin wow tree bird cat dog bed shoe think throat judge
vision measure joy choice boy thousand zebra fuzzy vase cave sieve verve heist noise fine sign sticks fix mix box free
tea sea""".split()  # noqa: SIM905
STAGES = ((18, 3e-3), (24, 2e-3))  # epochs, highest learning rate


def pool_clips(pool: Path) -> list[l3clf.Clip]:
    """Return the pool's clips whose licence asks for no share-alike."""
    with (pool / "manifest.csv").open(encoding="utf-8") as file:
        return [l3clf.Clip(pool / row["path"]) for row in csv.DictReader(file) if "SA" not in row["licence"]]


def credits(pool: Path) -> str:
    """Return who made the pool's sounds that are used, by licence."""
    used = {Path(clip.path).relative_to(pool).as_posix() for clip in pool_clips(pool)}
    authors: dict[str, set[str]] = {}
    with (pool / "parts.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["path"] in used:
                authors.setdefault(row["licence"], set()).add(row["author"])
    parts = [f"## {licence}\n\n{'; '.join(sorted(names))}.\n" for licence, names in sorted(authors.items())]
    return "\n".join(["# Makers of the sounds that l3mini learned from, by licence\n", *parts])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path, default=os.environ.get("L3CLF_SHARED"), help="default: $L3CLF_SHARED")
    parser.add_argument("--out", type=Path, default="l3mini")
    parser.add_argument("--student", default="L", choices=["S", "M", "L"])
    parser.add_argument("--spoken", type=int, default=3500, help="words by espeak-ng")
    args = parser.parse_args()
    if args.shared is None:
        parser.error("name the folder with the data: --shared or L3CLF_SHARED")
    teachers = [l3clf.load_embedder(name, weights=args.shared / "weights") for name in ("yamnet", "speech")]
    clips = [*pool_clips(args.shared / "data/pool"), *spoken(WORDS, VOICES, args.spoken), *synthetic_sounds(300)]
    start = None
    for number, (epochs, rate) in enumerate(STAGES, 1):
        folder = args.out / f"stage {number}"
        if start and not folder.exists():  # the examples are the same
            shutil.copytree(Path(start).parent, folder, ignore=shutil.ignore_patterns("checkpoint*", "*.student"))
        student = distil(
            teachers,
            clips,
            student=args.student,
            init=start,
            out=folder,
            whitening=1.0,
            schedule=Schedule(epochs=epochs, learning_rate=rate),
            progress=True,
        )
        start = student.weights
    (args.out / "l3mini_credits.md").write_text(credits(args.shared / "data/pool"), encoding="utf-8")
    print(f"{student.weights}: held-out cosine {student.about['held_out_cosine']}")


if __name__ == "__main__":
    main()
