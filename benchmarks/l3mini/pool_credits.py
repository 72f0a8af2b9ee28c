"""Who made the pools' sounds that students learn from, as their licences ask to be told.

Rule: nothing under a share-alike licence is learned from, and every other sound's maker is named, with the place of the
original where the licence asks for attribution.
"""

import csv
from collections import defaultdict
from collections.abc import Collection, Iterator
from pathlib import Path

__all__ = ["POOLS", "credits_of", "learned_from", "within"]

POOLS = ("pool", "pool2")
FREE = ("CC0-1.0", "public-domain")  # nothing is owed; the makers are named all the same
LINKS = {
    "Apache-2.0": "https://www.apache.org/licenses/LICENSE-2.0",
    "BSD-3-Clause": "https://opensource.org/licenses/BSD-3-Clause",
    "CC-BY (": "https://creativecommons.org/licenses/by/3.0/ or /4.0/",
    "CC-BY-2.0": "https://creativecommons.org/licenses/by/2.0/",
    "CC-BY-3.0": "https://creativecommons.org/licenses/by/3.0/",
    "CC-BY-4.0": "https://creativecommons.org/licenses/by/4.0/",
    "CC0-1.0": "https://creativecommons.org/publicdomain/zero/1.0/",
    "MIT": "https://opensource.org/licenses/MIT",
    "OGA-BY-3.0": "https://static.opengameart.org/OGA-BY-3.0.txt",
}
TITLE = "Makers of the sounds that l3base, l3mini and l3micro learned from, by licence"
ADAPTED = (
    "Clips of these sounds (cut, mixed to mono, resampled, encoded, and mixed, filtered and stretched further while "
    "training) are what the students learned from. No sound is part of the package, and no maker endorses it."
)


def within(pool: Path) -> list[dict[str, str]]:
    """Return the rows of a pool's manifest whose licence does not ask for share-alike."""
    with (pool / "manifest.csv").open(encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if "SA" not in row["licence"]]


def learned_from(data: Path) -> tuple[int, float]:
    """Return how many clips of the pools below `data` are learned from, and how many hours they last."""
    rows = [row for pool in POOLS for row in within(data / pool)]
    return len(rows), sum(float(row["duration"]) for row in rows) / 3600


def credits_of(data: Path, title: str = TITLE, use: str = ADAPTED, clips: Collection[str] | None = None) -> str:
    """Return the page of makers, by licence, of the pools below `data`.

    Parameters
    ----------
    data : Path
    title, use : str
        What the page is about, and what was done with the sounds.
    clips : collection of str, optional
        The clips that are credited, each as ``POOL/PATH``; all without share-alike terms if none are given.
    """
    makers: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    sources: set[str] = set()
    for pool in POOLS:
        used = {row["path"]: row["source"] for row in within(data / pool)}
        used = {path: source for path, source in used.items() if clips is None or f"{pool}/{path}" in clips}
        sources |= set(used.values())
        for licence, maker, place in _makers(data / pool, used):
            makers[licence][maker] |= {place} if place and licence not in FREE else set()
    parts = [f"# {title}", use]
    for licence, found in sorted(makers.items()):
        link = next((link for start, link in LINKS.items() if licence.startswith(start)), "")
        names = (f"{name} ({' '.join(sorted(places))})" if places else name for name, places in sorted(found.items()))
        parts += [f"## {licence}", *([link] if link else []), f"{'; '.join(names)}."]
    parts += ["## Where the clips are from", f"{'; '.join(sorted(sources))}."]
    return "\n\n".join([*parts, *_notices(data)]) + "\n"


def _makers(pool: Path, used: Collection[str]) -> Iterator[tuple[str, str, str]]:
    """Licence, maker and the original's place of every sound in the clips that are used."""
    elsewhere = _named_upstream(pool)
    with (pool / "parts.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["path"] in used:
                folder = Path(row["path"]).parts[0]
                maker = elsewhere[folder] if "see CREDITS.md" in row["author"] else row["author"]
                yield row["licence"], maker, row.get("url", "")


def _named_upstream(pool: Path) -> dict[str, str]:
    """For each folder of a pool, the makers whom its CREDITS.md names for the folder as a whole."""
    folder, found = "", {}
    for line in (pool / "CREDITS.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            folder = line[3:]
        elif line.startswith(("  Authors named upstream: ", "  Authors continued: ")):
            found[folder] = line.partition(": ")[2].rstrip(".")
    return found


def _notices(data: Path) -> Iterator[str]:
    """The notices that MIT and Apache-2.0 ask for, as the pools' CREDITS.md have them."""
    for pool in POOLS:
        _, found, text = (data / pool / "CREDITS.md").read_text(encoding="utf-8").partition("\n## Notices\n")
        if found:
            yield f"## Notices\n\n{text.strip()}"
