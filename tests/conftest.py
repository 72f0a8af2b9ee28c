"""What all tests share: sounds, the folder of shared data, and isolation from the user's own cache and weights."""

import os
from pathlib import Path

# The workers of pytest-xdist already use all cores: libraries that start as many threads again only get in their way.
if "PYTEST_XDIST_WORKER" in os.environ:
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        os.environ.setdefault(name, "1")

import pytest
from helpers.bad_files import write_good_clips
from helpers.class_folders import write_class_folders

# Files that take longest, begun first: a worker runs whole files, and the last ones should be short.
LONG_FILES = (
    "test_distiller",
    "test_verify",
    "test_embedders",
    "test_kernels",
    "test_every_benchmark",
    "test_training",
    "test_openl3",
    "test_guides",
    "test_tour",
    "test_baseline_command",
    "test_examples",
    "test_estimators",
    "test_equalise",
    "test_device_commands",
    "test_run",
    "test_bad_input",
    "test_odd_sets",
    "test_distill_command",
    "test_tags_on_chip",
    "test_tagger",
    "test_fine_tuning",
    "test_contenders",
    "test_filtered",
    "test_augmented",
)


def pytest_collection_modifyitems(items):
    ranks = {name: rank for rank, name in enumerate(LONG_FILES)}
    items.sort(key=lambda item: ranks.get(item.path.stem, len(ranks)))


@pytest.fixture(autouse=True)
def _isolated(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("L3CLF_CACHE", str(tmp_path_factory.getbasetemp() / "user-cache.sqlite"))
    monkeypatch.delenv("L3CLF_WEIGHTS", raising=False)


@pytest.fixture(scope="session")
def shared():
    """The folder of shared data."""
    folder = os.environ.get("L3CLF_SHARED")
    if not folder or not Path(folder).is_dir():
        pytest.skip("L3CLF_SHARED names no folder of shared data")
    return Path(folder)


@pytest.fixture(scope="session")
def sounds(tmp_path_factory):
    """A folder with six clips in each of four classes; tests only read it."""
    return write_class_folders(tmp_path_factory.mktemp("sounds"))


@pytest.fixture
def good(tmp_path):
    """Two sound files that can be read: a tone and noise."""
    return write_good_clips(tmp_path)
