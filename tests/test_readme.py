"""The README: short, its Python runs, and its facts and figures are those of the code and of RESULTS.md."""

import re
from pathlib import Path

import pytest
from helpers.documents import blocks_of, copy_demo, run_block

import l3clf

ROOT = Path(l3clf.__file__).parent.parent
README = ROOT / "README.md"
RESULTS = ROOT / "benchmarks" / "RESULTS.md"
NUMBER = re.compile(r"(?<![\w.-])\d+(?:,\d{3})*(?:\.\d+)?(?:e-?\d+)?(?![\w.]*\w)")
# Not measured: what the code, the data sets and the licences are.
NOT_MEASURED = set(
    "0.975 0.775 0.5 0.1 1 1,024 6,144 1,000 512 384 192 96 64 60 8 16 32 48 80 50 10 2019 3.0 4.0".split()  # noqa: SIM905
)

pytestmark = pytest.mark.skipif(not README.is_file(), reason="not run from a checkout")


@pytest.fixture(scope="module")
def readme():
    return README.read_text(encoding="utf-8")


def test_it_is_short(readme):
    assert len(readme.splitlines()) <= 160


def test_the_python_of_the_readme_runs(readme, tmp_path, tmp_path_factory, monkeypatch):
    """Every Python block, in order, on a small folder of made sounds; .ci/run runs the shell blocks as written."""
    monkeypatch.chdir(tmp_path)
    copy_demo(tmp_path_factory.getbasetemp(), tmp_path / "l3clf-demo")
    blocks = [block for block in blocks_of(readme) if block.language == "python"]
    assert blocks
    namespace = {"__name__": "readme"}
    for block in blocks:
        run_block(block, namespace)


def test_the_shell_blocks_are_the_two_commands(readme):
    commands = [block.code.splitlines() for block in blocks_of(readme) if block.language == "sh"]
    assert commands == [["pip install .", "l3clf demo"], ['pip install ".[dev]"', "python -m pytest"]]


def test_links_lead_somewhere(readme):
    linked = [*re.findall(r"\]\(([^)#:]+)\)", readme), *re.findall(r'src="([^"]+)"', readme)]
    assert len(linked) > 10
    assert [name for name in linked if not (ROOT / name).is_file() and ROOT / name != RESULTS] == []


@pytest.mark.parametrize(
    "name", ["l3base", "l3mini", "l3micro", "efficientat", "yamnet", "speech", "edgel3", "mfcc", "openl3"]
)
def test_the_table_of_embedders_says_what_they_are(readme, name):
    embedder = l3clf.load_embedder(name)
    (row,) = re.findall(rf"^\| `{name}`(?: \(the default\))? \|.*$", readme, re.MULTILINE)
    window, vector = [cell.strip() for cell in row.split("|")][4:6]
    assert window == f"{embedder.window_s:g} s, {embedder.sample_rate // 1000} kHz"
    assert f"{embedder.embedding_size:,}" in vector.split(" or ")


STUDENTS = [("l3base", {}), ("l3mini", {}), ("l3mini", {"revision": 1}), ("l3micro", {})]


@pytest.mark.parametrize(("name", "options"), STUDENTS)
def test_the_table_of_embedders_says_how_large_the_students_are(readme, name, options):
    student = l3clf.load_embedder(name, **options)
    first = "".join(f", `{option}={value}`" for option, value in options.items())
    (row,) = re.findall(rf"^\| `{name}`{first} \|.*$", readme, re.MULTILINE)
    assert f"{student.about['parameters']:,} parameters" in row
    for row in re.findall(rf'^\| `{name}`, `precision="int8"` \|.*$', readme, re.MULTILINE) if not options else []:
        assert f"{len(student.tflite):,} bytes;" in row


def test_every_figure_is_in_the_results(readme):
    if not RESULTS.is_file():
        pytest.skip("RESULTS.md is not written yet")
    text = re.sub(r"^```.*?^```$|<img.*?>", "", readme, flags=re.MULTILINE | re.DOTALL)
    prose = re.sub(r"`[^`\n]*`|\]\([^)]*\)|^    .*$", "", text, flags=re.MULTILINE)
    prose = re.sub(r"[\d,]+ (parameters|bytes;)", "", prose)  # facts of the package: see above
    sizes = {f"{l3clf.load_embedder(name).embedding_size:,}" for name, _ in STUDENTS}
    found = set(NUMBER.findall(prose)) - NOT_MEASURED - sizes
    known = {float(text.replace(",", "")) for text in NUMBER.findall(RESULTS.read_text(encoding="utf-8"))}
    assert len(found) > 10
    assert sorted(text for text in found if float(text.replace(",", "")) not in known) == []
