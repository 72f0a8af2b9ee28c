"""Every benchmark runs on a handful of synthesised clips, so that none can rot unseen; the figures mean nothing."""

import csv
import os
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers import GOLDEN

from benchmarks.catalogue import BENCHMARKS
from l3clf.demo.sounds import CLASSES, synthesise

RATE = 16_000
TINY = str(GOLDEN / "tiny.student")
KINDS = CLASSES[:3]

# What makes each benchmark take a second or two.
SMALL = {
    "openl3_parity": {"shared": False, "inputs": ("mel128",), "sounds": ("noise48", "short48")},
    "baseline_accuracy": {
        "embedders": ("mfcc",),
        "heads": ("logistic",),
        "poolings": ("mean",),
        "interfaces": ("mfcc",),
    },
    "l3mini_table": {"peers": ("mfcc",), "windows": 0, "rounds": 1},
    "open_set": {"embedders": ("mfcc",), "digits": ("mfcc",), "n_out": 1, "draws": 1, "speech": 4, "every": 1},
    "filters": {"embedders": ("mfcc",), "rumble_db": (0.0,), "steady_db": (0.0,), "few": 2, "draws": 1},
    "small_data": {"embedders": ("mfcc",), "sizes": (2,), "draws": 1, "copies": 1},
    "tag_mixtures": {
        "embedders": ("mfcc",),
        "poolings": ("mean",),
        "forest_poolings": (),
        "permuted": ("mfcc",),
        "rounds": 1,
    },
    "accuracy_by_size": {},
    "student_gains": {"sets": ("ESC-10",), "seeds": 1, "epochs": 1, "per_window": 1, "folds": 1, "student": TINY},
    "talk_cnn": {"epochs": 1, "filters": 2},
    "small_data_tuned": {"student": TINY, "per_class": (2,), "draws": 1, "epochs": 1, "per_window": 1},
    "device_table": {"teacher": False, "others": (), "folds": 1, "verified": 1, "student": TINY},
    "events": {"embedders": ("mfcc",), "models": ("plain",), "hours": 0.02, "tuning_hours": 0.01, "folds": (2, 2)},
    "similar": {"embedders": ("mfcc",)},
    "suggest": {"embedders": ("mfcc",), "labelled": (4, 6, 8), "starts": 1},
    "growth": {"sizes": (20,), "cached": 5, "rounds": 1},
    "search_speed": {"sizes": (100,), "batch": 2, "rounds": 1},
    "openl3_speed": {"clips": 1, "duration_s": 1.0, "rounds": 1, "matrix": 100},
    "int8_speed": {"rounds": 1, "windows": 2, "small_windows": 4, "clips": 1, "keras": False},
    "provider_parity": {"providers": "Azure", "sounds": 2, "rounds": 1, "windows": (1, 1), "batch": 2},
    "l3mini_speed": {"rounds": 1, "clips": (1, 1, 1, 1), "duration_s": 1.0, "windows": 2},
    "frontend_speed": {
        "embedders": ("l3mini",),
        "precisions": ("float32",),
        "windows": 2,
        "clips": 1,
        "duration_s": 2.0,
        "rounds": 1,
    },
    "stream_speed": {"embedders": ("mfcc",), "clips": 2, "cuts": 1, "hours": 0.01, "folds": (1,)},
    "cache_speed": {"clips": 5, "again": 1, "rounds": 1},
    "baseline_speed": {"clips": 20, "duration_s": 1.0, "repeats": 1},
    "wide": {"embedder": "mfcc", "rounds": 1, "clips": 10},
    "footprint": {"minutes": 0.1, "openl3_minutes": 0.02, "repeats": 1},
    "make_l3mini": {"epochs": 1, "words": 0, "synthetic": 10},
    "cpu_training": {"batch": 16, "steps": 1, "part": 1, "compile": False},
    "pool_probe": {},
    "pool_front_ends": {"names": ("hop 20 ms",), "epochs": 1},
    "pool_share_alike": {"epochs": 1},
    "fuzz": {"minutes": 0.01, "targets": ("labels",), "jobs": 1, "fresh": True},
}
NEEDS = {
    "student_gains": ("tensorflow",),
    "talk_cnn": ("tensorflow",),
    "small_data_tuned": ("tensorflow",),
    "device_table": ("ziglang", "unicorn", "elftools"),
    "wide": ("distributed", "pyarrow"),
    "make_l3mini": ("tensorflow", "torch"),
    "cpu_training": ("torch",),
    "pool_probe": ("ai_edge_litert",),
    "pool_front_ends": ("tensorflow", "torch"),
    "pool_share_alike": ("tensorflow", "torch"),
}
OF_THE_POOL = {"make_l3mini", "pool_probe", "pool_front_ends", "pool_share_alike"}
READ_THE_POOL = {*OF_THE_POOL, "events", "stream_speed"}
NEED_WEIGHTS = {"int8_speed", "student_gains", "cpu_training", *OF_THE_POOL}
TABLES = {
    "l3mini_speed": 2,
    "int8_speed": 4,
    "open_set": 3,
    "device_table": 4,
    "footprint": 2,
    "openl3_parity": 2,
    "l3mini_table": 2,
    "cache_speed": 2,
    "growth": 2,
    "wide": 2,
    "frontend_speed": 3,
    "stream_speed": 2,
    "events": 2,
    "baseline_accuracy": 3,
}


def write(path, kind, seed, seconds=1.2, level=1.0):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, level * synthesise(kind, np.random.default_rng(seed), seconds, RATE), RATE)


def write_csv(path, rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def make_esc10(folder):
    rows = []
    for fold in (1, 2):
        for i in range(9):
            kind = KINDS[i % 3]
            write(folder / kind / f"{fold}-{i}.wav", kind, 100 * fold + i)
            rows.append({"path": f"{kind}/{fold}-{i}.wav", "label": kind, "fold": fold})
    write_csv(folder / "meta.csv", rows)


def make_fsdd(folder):
    rows = []
    for s, speaker in enumerate(("george", "jackson", "lucas")):
        for digit in range(3):
            for take in range(2):
                path = f"{digit}_{speaker}_{take}.wav"
                write(folder / path, KINDS[digit], 1000 + 10 * s + take, 0.6)
                rows.append({"path": path, "label": digit, "speaker": speaker})
    write_csv(folder / "meta.csv", rows)


def make_pool(folder):
    """Clips with and without a share-alike licence, of four sources.

    Those with it have two of YAMNet's classes, for small tasks; the others are so many that the embeddings of them
    have as many components as l3mini has numbers.
    """
    rows, parts = [], []
    for i in range(152):
        shared_alike, source = i < 48, f"source-{i % 4}"
        path = f"{source}/{i}.wav"
        kind, seed = (("alarm", 1), ("bark", 0))[i // 4 % 2] if shared_alike else (CLASSES[i % 10], i)
        write(folder / path, kind, seed, 1.0, 1 - i / 5000)
        licence = "CC-BY-SA-3.0" if shared_alike else "CC0"
        rows.append({"path": path, "source": source, "licence": licence, "duration": "1.0"})
        kind = "speech" if i >= 120 else "effects"
        parts.append({"path": path, "author": "see CREDITS.md", "licence": licence, "kind": kind})
    write_csv(folder / "manifest.csv", rows)
    write_csv(folder / "parts.csv", parts)
    credits = [f"## source-{i}\n  Authors named upstream: Maker {i}.\n" for i in range(4)]
    (folder / "CREDITS.md").write_text("".join(credits), encoding="utf-8")


@pytest.fixture(scope="module")
def tiny_shared(tmp_path_factory):
    """A folder like that of the shared data, small; its weights are the shared ones, where there are any."""
    folder = tmp_path_factory.mktemp("shared")
    make_esc10(folder / "data/esc10")
    make_fsdd(folder / "data/fsdd")
    real = os.environ.get("L3CLF_SHARED")
    if real and (Path(real) / "weights").is_dir():
        (folder / "weights").symlink_to(Path(real) / "weights")
    return folder


@pytest.fixture(scope="module")
def tiny_pool(tiny_shared):
    make_pool(tiny_shared / "data/pool")


def pack(folder):
    """The teachers and a few seconds of noise, as `bundle` packs them for a training."""
    from benchmarks.l3mini import bundle

    bundle.run(bundle.Options(folder, only="teachers"))
    rng = np.random.default_rng(0)
    for file, groups in {"sounds": (bundle.SOUND, bundle.SPEECH), "words": (bundle.WORDS, bundle.SYNTHETIC)}.items():
        noise = [
            bundle._Sound(f"{group} {i}", group, 0.1 * rng.standard_normal(2 * RATE, np.float32))
            for group in groups
            for i in range(3)
        ]
        np.savez(folder / f"{file}.npz", **bundle._packed(iter(noise)))


def options_of(name, folder):
    """The small options of a benchmark; what it keeps goes into a folder."""
    module = BENCHMARKS[name].load()
    places = {place: folder / place for place in ("work", "out", "data") if hasattr(module.Options(), place)}
    return module, module.Options(**SMALL[name], **places)


def test_every_benchmark_is_smoked():
    assert set(SMALL) == set(BENCHMARKS)


LONG = ("int8_speed", "student_gains", "small_data_tuned", "device_table", "cpu_training")  # more than ten seconds each


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in LONG else n for n in SMALL])
def test_a_benchmark_runs(name, tiny_shared, tmp_path, monkeypatch, request):
    for package in NEEDS.get(name, ()):
        if find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    if name in NEED_WEIGHTS and not (tiny_shared / "weights").exists():
        pytest.skip("L3CLF_SHARED names no folder with weights")
    if name in READ_THE_POOL:
        request.getfixturevalue("tiny_pool")
    monkeypatch.setenv("L3CLF_SHARED", str(tiny_shared))
    module, options = options_of(name, tmp_path)
    if hasattr(options, "data"):
        pack(options.data)
    result = module.run(options)
    assert len(result.tables) == TABLES.get(name, 1)
    for table in result.tables:
        assert table.rows
        assert all(len(row) == len(table.columns) for row in table.rows)
        assert all(np.isfinite(cell) for row in table.rows for cell in row if isinstance(cell, int | float))
