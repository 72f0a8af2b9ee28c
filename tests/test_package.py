"""The package as a whole: public names, import order, light imports."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import l3clf

PACKAGE = Path(l3clf.__file__).parent
ROOT = PACKAGE.parent

# A module may import only from those before it.
ROOMS = (
    "errors",
    "_version",
    "audio",
    "storage",
    "networks",
    "weights",
    "embedders",
    "pipeline",
    "datasets",
    "classifier",
    "evaluate",
    "search",
    "plots",
    "report",
    "baselines",
    "streaming",
    "distill",
    "device",
    "demo",
    "guides",
    "cli",
)
PUBLIC = {
    "Clip",
    "ClipClassifier",
    "ClipEmbedder",
    "ClipTable",
    "ClipTagger",
    "Embedder",
    "EmbeddingCache",
    "EmbeddingIndex",
    "Event",
    "EventRules",
    "Filtered",
    "L3clfError",
    "L3clfWarning",
    "Unknown",
    "StreamClassifier",
    "WindowEmbeddings",
    "__version__",
    "baseline",
    "datasets",
    "device",
    "distill",
    "load_embedder",
    "load_model",
    "register_embedder",
    "save_model",
}


def room_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def rooms_imported(path):
    """Rooms that a module imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "l3clf":
            parts = node.module.split(".")[1:]
            yield from [parts[0]] if parts else [alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            yield from [alias.name.split(".")[1] for alias in node.names if alias.name.startswith("l3clf.")]


MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.name not in ("__init__.py", "__main__.py"))


BENCHMARKS = [path for path in (ROOT / "benchmarks").rglob("*.py") if path.name not in ("__init__.py", "__main__.py")]


PACKAGES = sorted(PACKAGE.glob("*/**/__init__.py"))


def test_every_module_has_its_room():
    assert {room_of(path) for path in PACKAGE.rglob("*.py")} - {"__init__", "__main__"} == set(ROOMS)


@pytest.mark.parametrize("path", [*MODULES, *PACKAGES], ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_one_way(path):
    here = ROOMS.index(room_of(path))
    wrong = [room for room in rooms_imported(path) if room in ROOMS and ROOMS.index(room) > here]
    assert wrong == []


def modules_imported(path):
    """Modules of ours that a module imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "l3clf":
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield name if (PACKAGE.parent / Path(*name.split("."))).with_suffix(".py").is_file() else node.module
        elif isinstance(node, ast.Import):
            yield from [alias.name for alias in node.names if alias.name.startswith("l3clf.")]


def name_of(path):
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)


def test_no_module_imports_itself_by_a_detour():
    graph = {name_of(path): set(modules_imported(path)) for path in MODULES}

    def reachable(start):
        seen, waiting = set(), list(graph[start])
        while waiting:
            name = waiting.pop()
            if name not in seen:
                seen.add(name)
                waiting += graph.get(name, ())
        return seen

    assert [name for name in graph if name in reachable(name)] == []


def test_no_two_modules_share_a_name():
    names = [path.stem for path in [*MODULES, *BENCHMARKS]]
    assert sorted(name for name in set(names) if names.count(name) > 1) == []


@pytest.mark.parametrize(("folder", "limit"), [("l3clf", 500), ("benchmarks", 500), ("tests", 800)])
def test_no_file_is_too_long(folder, limit):
    sizes = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in (ROOT / folder).rglob("*.py")}
    assert {str(path): n for path, n in sizes.items() if n > limit} == {}


def test_public_names_are_these_and_all_load():
    assert set(l3clf.__all__) == PUBLIC
    for name in l3clf.__all__:
        assert getattr(l3clf, name) is not None
    assert set(l3clf.__all__) <= set(dir(l3clf))


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="nonsense"):
        _ = l3clf.nonsense


def test_importing_loads_nothing_heavy():
    heavy = ["tensorflow", "matplotlib", "sklearn", "onnxruntime", "onnx", "h5py", "scipy", "soundfile", "pandas"]
    code = f"import sys, l3clf; print([name for name in {heavy} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert found.strip() == "[]"


def test_the_estimators_load_neither_tensorflow_nor_matplotlib():
    code = (
        "import sys; from l3clf import ClipClassifier, load_model; print({'tensorflow', 'matplotlib'} & {*sys.modules})"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert found.strip() == "set()"


def test_only_plots_imports_matplotlib():
    importing = {
        room_of(path)
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Import | ast.ImportFrom) and "matplotlib" in ast.dump(node)
    }
    assert importing == {"plots"}


def test_the_top_level_is_what_the_design_says():
    if not (ROOT / "pyproject.toml").is_file():
        pytest.skip("not run from a checkout")
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split(
        "\n"
    )
    if listed == [""]:
        pytest.skip("not a git checkout")
    top = {name.split("/")[0] for name in listed if name and not name.startswith(".")}
    assert top == {"pyproject.toml", "l3clf", "tests", "benchmarks", "README.md", "LICENSE", "CHANGELOG.md"}


def test_no_module_hides_a_public_name_of_its_package():
    """A submodule that is imported becomes an attribute of its package, in place of a function of that name."""
    for path in PACKAGE.rglob("__init__.py*"):
        listed = {
            alias.name
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
            if node.module
        }
        assert not listed & {module.stem for module in path.parent.glob("*.py")}, path
