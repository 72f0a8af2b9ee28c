"""Targets that are text: tables of clips and Audacity's label tracks."""

import random
import re
from pathlib import Path

from benchmarks.fuzzing.damage import damaged, damaged_text
from benchmarks.fuzzing.fuzz_target import CHANGED, RIGHT, Mutation, Target, require
from l3clf.datasets.clip_table import ClipTable
from l3clf.datasets.csv_table import read_table
from l3clf.datasets.label_tracks import read_labels

__all__ = ["Labels", "Tables"]

LONGEST_LABEL = 1000


def _text(rng: random.Random, good: str, separator: str) -> Mutation:
    if rng.random() < 0.15:
        return Mutation(damaged(rng, good.encode()))
    text = damaged_text(rng, good, separator)
    encoding = rng.choice(("utf-8",) * 12 + ("utf-8-sig", "utf-16", "latin-1"))
    return Mutation(text.encode(encoding, errors="replace"))


class Tables(Target):
    """A CSV of clips: quotes, separators, columns, times. A label never swallows lines, and no line is lost."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        plain = "path,label\n" + "".join(f"{k}/{i}.wav,{k}\n" for i in range(6) for k in ("rain", "dog bark"))
        folds = "path,label,fold,group\n" + "".join(f"{i}.wav,{'ab'[i % 2]},{i % 3},g{i % 4}\n" for i in range(8))
        times = "path,label,start_s,end_s\n" + "".join(f"long.wav,{'ab'[i % 2]},{i},{i + 0.5}\n" for i in range(8))
        quoted = 'path,label\n"a, b.wav","rain, heavy"\n"c ""d"".wav",snow\ne.wav,"snow"\n'
        self.texts = [plain, folds, times, quoted]

    def good(self) -> list[bytes]:
        return [text.encode() for text in self.texts]

    def mutated(self, rng: random.Random) -> Mutation:
        return _text(rng, rng.choice(self.texts), ",")

    def outcome(self, content: bytes) -> str:
        table = ClipTable(**read_table(self.written(content, "x.csv")))
        lines = re.split("\r\n|\r|\n", content.decode("utf-8-sig"))
        lines = [line for line in lines if re.sub('[,;"\t]', "", line).strip()]
        require(len(table) <= len(lines) - 1, f"{len(table)} clips from {len(lines)} lines")
        if '"' not in content.decode("utf-8-sig"):  # then every line is a clip
            require(len(table) == len(lines) - 1, f"{len(table)} clips from {len(lines)} lines without quotes")
        for label in table.labels:
            require(label and len(label) <= LONGEST_LABEL, f"a label of {len(label)} characters")
            require("\n" not in label and "\r" not in label, f"a label with a line break: {label[:60]!r}")
        return RIGHT if content in self.good() else CHANGED


class Labels(Target):
    """An Audacity label track: every line is a label, or the track is refused."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        plain = "".join(f"{i}.500000\t{i + 1}.250000\tcall {i}\n" for i in range(8))
        points = "0.5\t0.5\tdrum\n1,25\t1,25\tdrum\n\\\t100.0\t900.0\n2.0\t3.5e0\tflute, low\n"
        self.texts = [plain, points]

    def good(self) -> list[bytes]:
        return [text.encode() for text in self.texts]

    def mutated(self, rng: random.Random) -> Mutation:
        return _text(rng, rng.choice(self.texts), "\t")

    def outcome(self, content: bytes) -> str:
        found = read_labels(self.written(content, "x.txt"))
        marks = (b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16")
        text = content.decode(next((name for mark, name in marks if content.startswith(mark)), "utf-8"))
        lines = [line for line in re.split("\r\n|\r|\n", text) if line.strip() and not line.startswith("\\")]
        require(len(found) == len(lines), f"{len(found)} labels from {len(lines)} lines")
        require(all(0 <= one.start_s <= one.end_s < float("inf") and one.text for one in found), "an impossible label")
        return RIGHT if content in self.good() else CHANGED
