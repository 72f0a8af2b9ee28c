"""The guides: complete, readable in any terminal, and their code runs."""

import io
import re
import shutil
import sys
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

import pytest
from helpers.documents import blocks_of, copy_demo, run_block

from l3clf import embedders
from l3clf.cli.main import main
from l3clf.errors import ParameterError
from l3clf.guides import TOPICS, read_guide, title

ROOT = Path(str(files("l3clf")))
OF_EXTRAS = {'"dask"': "distributed", "distributed": "distributed", "parquet": "pyarrow", "duckdb": "duckdb"}
# Why blocks marked "no-run" are not run here, by their first line.
NOT_RUN = {
    "l3clf baseline few.csv --embedders l3mini --augment": "takes half a minute; tests/baselines does the same",
    "l3clf weights check openl3 --precision int8 --audio SOUNDS": "needs the weights of OpenL3",
    "l3clf weights fetch efficientat": "downloads, and trains for hours",
    "from l3clf.distill import Augmentation, Schedule, distil": "trains for hours",
    "l3clf baseline SOUNDS --embedders mfcc l3mini --fine-tune": "trains for minutes",
    "l3clf fit SOUNDS --embedder l3mini --fine-tune --out model.l3clf": "trains for minutes",
    "from l3clf.distill import FineTuned, fine_tune": "trains for minutes",
    "l3clf fit l3clf-demo/sounds --embedder l3mini --option precision=int8 --out model.l3clf \\": "compiles for a chip",
    "l3clf verify firmware --audio l3clf-demo/new": "takes an emulated chip half a minute; tests/device does the same",
    'pip install "l3clf[mic]"          # on Linux also the package libportaudio2': "listens to a microphone",
    "ffmpeg -loglevel error -i rtsp://camera/1 -f wav - | l3clf listen sounds.l3clf -": "needs a camera",
    'pip install "l3clf[dask]"': "installs",
    "l3clf weights fetch openl3 efficientat --folder weights     # with a network": "downloads",
}


def test_every_guide_is_listed():
    assert sorted(TOPICS) == sorted(path.stem for path in (ROOT / "guides").glob("*.md"))


@pytest.mark.parametrize("topic", TOPICS)
def test_a_guide_reads_well_in_a_terminal(topic):
    lines = read_guide(topic).splitlines()
    assert 60 <= len(lines) <= 140
    assert all(line.isascii() for line in lines)
    assert [line for line in lines if len(line) > 120 and not line.startswith("|")] == []
    assert lines[0].startswith("# ")
    assert len(title(topic)) <= 80


@pytest.mark.parametrize("topic", TOPICS)
def test_the_code_of_a_guide_runs(topic, tmp_path, tmp_path_factory, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(embedders, "_registered", dict(embedders._registered))
    copy_demo(tmp_path_factory.getbasetemp(), tmp_path / "l3clf-demo")
    if topic == "distil-a-student":
        # A finished student stands in for the one that is not trained here; its file says what distil writes.
        (tmp_path / "my-student").mkdir()
        shutil.copy(ROOT / "embedders" / "data" / "l3mini_1.student", tmp_path / "my-student" / "student.student")
    namespace = {"__name__": topic}
    every = [block for block in blocks_of(read_guide(topic)) if block.is_run]
    blocks = [block for block in every if can_run(block)]
    assert blocks
    for block in blocks:
        run_block(block, namespace)
    if missing := {package for block in every for package in missing_packages(block)}:
        pytest.skip(f"not all of it was run: {', '.join(sorted(missing))} is not installed")


def can_run(block):
    """Return whether this machine has what a block needs besides l3clf."""
    builds = block.code.startswith("make")
    return not missing_packages(block) and (not builds or bool(shutil.which("make") and shutil.which("cc")))


def missing_packages(block):
    """Return the packages of extras that a block needs and this machine lacks."""
    return [package for word, package in OF_EXTRAS.items() if word in block.code and find_spec(package) is None]


def test_what_is_not_run_has_a_reason():
    blocks = [block for topic in TOPICS for block in blocks_of(read_guide(topic)) if "no-run" in block.words]
    assert {block.name for block in blocks} == set(NOT_RUN)


def test_the_messages_in_the_guide_are_those_of_the_program():
    table = read_guide("troubleshooting").partition("## Messages")[2].partition("## ")[0]
    quoted = [text for row in table.splitlines() for text in re.findall(r'"([^"]+)"', row.split(" | ")[0])]
    sources = " ".join(path.read_text(encoding="utf-8") for path in ROOT.rglob("*.py"))
    joined = re.sub(r'"\s*\n\s*f?"', "", sources)  # literals that follow each other
    assert len(quoted) > 10
    assert [text for text in quoted if text not in joined] == []


def test_the_topics_are_listed(capsys):
    assert main(["guide"]) == 0
    out = capsys.readouterr().out
    assert all(topic in out and title(topic) in out for topic in TOPICS)


def test_a_guide_is_printed(capsys):
    assert main(["guide", "cache"]) == 0
    assert capsys.readouterr().out == read_guide("cache")


def test_an_unknown_topic_is_one_sentence_that_names_the_topics(capsys):
    assert main(["guide", "nonsense"]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert all(topic in error for topic in ("nonsense", *TOPICS))
    with pytest.raises(ParameterError, match="no such guide"):
        read_guide("../errors")


def test_a_guide_is_printed_where_output_is_not_utf_8(monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    assert main(["guide", "cache"]) == 0
    sys.stdout.flush()
    assert raw.getvalue().decode("ascii").splitlines() == read_guide("cache").splitlines()
