"""The guides: complete, readable in any terminal, and their code runs."""

import io
import shutil
import sys
from importlib.resources import files
from pathlib import Path

import pytest
from helpers.documents import blocks_of, copy_demo, run_block

from l3clf import embedders
from l3clf.cli.main import main
from l3clf.errors import ParameterError
from l3clf.guides import TOPICS, read_guide, title

# Why blocks marked "no-run" are not run here, by their first line.
NOT_RUN = {}


def test_every_guide_is_listed():
    assert sorted(TOPICS) == sorted(path.stem for path in Path(str(files("l3clf.guides"))).glob("*.md"))


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
    namespace = {"__name__": topic}
    blocks = list(blocks_of(read_guide(topic)))
    assert any(block.is_run for block in blocks)
    for block in blocks:
        if block.is_run:
            run_block(block, namespace)


def test_what_is_not_run_has_a_reason():
    blocks = [block for topic in TOPICS for block in blocks_of(read_guide(topic)) if "no-run" in block.words]
    assert {block.name for block in blocks} == set(NOT_RUN)


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
