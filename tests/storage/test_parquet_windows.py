"""Windows as Parquet: they come back as they were, other programs read them, and hostile files end in one sentence."""

import random
import tracemalloc

import numpy as np
import pytest
from helpers.fake_embedder import FakeEmbedder
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import l3clf
from l3clf.embedders import WindowEmbeddings
from l3clf.errors import DatasetError, L3clfError, ParameterError
from l3clf.storage import parquet_windows

pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed (the extra `parquet`)")
pq = pytest.importorskip("pyarrow.parquet")

EMBEDDER = FakeEmbedder()
WIDTH = EMBEDDER.embedding_size
NUMBERS = st.floats(width=32, allow_nan=False, allow_infinity=False)


def windows(n, seed=0, hop_s=0.5):
    rng = np.random.default_rng(seed)
    starts = hop_s * np.arange(n) - 0.25
    return WindowEmbeddings(
        rng.standard_normal((n, WIDTH)).astype(np.float32),
        np.stack([starts, starts + 0.5], axis=1),
        rng.uniform(-90, 0, n).astype(np.float32),
    )


CLIPS = {"a.wav": windows(3), "sub/ç, \n.wav": windows(1, 1), "b.wav": windows(5, 2)}


def assert_same(found, wanted):
    assert list(found) == list(wanted)
    for name, one in wanted.items():
        for part in ("vectors", "times_s", "levels_dbfs"):
            np.testing.assert_array_equal(getattr(found[name], part), getattr(one, part))
            assert getattr(found[name], part).dtype == getattr(one, part).dtype


@st.composite
def clips(draw):
    names = draw(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=5), unique=True, max_size=5))
    found = {}
    for name in names:
        n = draw(st.integers(1, 4))
        starts = np.cumsum(draw(arrays(np.float64, n, elements=st.floats(0.001, 10))))
        vectors = draw(arrays(np.float32, (n, WIDTH), elements=NUMBERS))
        levels = draw(arrays(np.float32, n, elements=st.floats(-120, 10, width=32)))
        found[name] = WindowEmbeddings(vectors, np.stack([starts, starts + 1], axis=1), levels)
    return found


@settings(max_examples=60, deadline=None)
@given(clips(), st.sampled_from([1, 100, 1 << 20]))
@example({}, 1)
def test_what_was_written_comes_back(tmp_path_factory, found, group_bytes):
    file = tmp_path_factory.mktemp("parquet") / "x.parquet"
    before = parquet_windows.GROUP_BYTES
    parquet_windows.GROUP_BYTES = group_bytes  # several row groups, and batches when they are read
    try:
        WindowEmbeddings.to_parquet(file, found, EMBEDDER)
        assert_same(WindowEmbeddings.from_parquet(file), found)
    finally:
        parquet_windows.GROUP_BYTES = before


@pytest.fixture
def file(tmp_path):
    WindowEmbeddings.to_parquet(tmp_path / "x.parquet", CLIPS, EMBEDDER)
    return tmp_path / "x.parquet"


def test_the_windows_that_come_back_are_clips_for_the_estimators(file):
    X = list(WindowEmbeddings.from_parquet(file).values())
    pooled = l3clf.ClipEmbedder(EMBEDDER).fit(X).transform(X)
    np.testing.assert_allclose(pooled[2], CLIPS["b.wav"].vectors.mean(axis=0), rtol=1e-6)


def test_the_columns_are_those_of_the_guide(file):
    schema = pq.read_schema(file)
    assert schema.names == ["path", "start_s", "end_s", "level_dbfs", "embedder", "content", "vector"]
    assert schema.field("vector").type.list_size == WIDTH
    assert set(pq.read_table(file)["embedder"].to_pylist()) == {f"fake:{EMBEDDER.fingerprint}"}


def test_pandas_reads_it(file):
    pandas = pytest.importorskip("pandas")
    frame = pandas.read_parquet(file)
    assert frame.groupby("path").size().to_dict() == {"a.wav": 3, "sub/ç, \n.wav": 1, "b.wav": 5}
    np.testing.assert_array_equal(np.stack(frame[frame.path == "b.wav"].vector), CLIPS["b.wav"].vectors)


def test_duckdb_reads_it_and_what_it_merges_is_read(file, tmp_path):
    duckdb = pytest.importorskip("duckdb", reason="duckdb is not installed")
    more = {"c.wav": windows(2, 3)}
    WindowEmbeddings.to_parquet(tmp_path / "y.parquet", more, EMBEDDER)
    both = f"read_parquet(['{file}', '{tmp_path / 'y.parquet'}'])"
    found = duckdb.sql(f"SELECT count(DISTINCT path), sum(vector[1]) FROM {both}").fetchall()  # noqa: S608  # our own
    assert found[0] == (
        4,
        pytest.approx(sum(float(each.vectors[:, 0].sum()) for each in (CLIPS | more).values()), abs=1e-5),
    )
    duckdb.execute(f"COPY (SELECT * FROM {both}) TO '{tmp_path / 'all.parquet'}'")  # noqa: S608
    assert_same(WindowEmbeddings.from_parquet(tmp_path / "all.parquet"), CLIPS | more)


# --- what is refused -------------------------------------------------------------------------------


def test_another_file_is_not_replaced_unless_forced(file, tmp_path):
    WindowEmbeddings.to_parquet(file, CLIPS, EMBEDDER)  # its own kind
    for name, content in [("text", b"notes"), ("PAR1", b"PAR1")]:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ParameterError, match="exists and is not a Parquet file of embeddings"):
            WindowEmbeddings.to_parquet(tmp_path / name, CLIPS, EMBEDDER)
    pq.write_table(pa.table({"mine": [1]}), tmp_path / "other.parquet")
    with pytest.raises(ParameterError, match="exists and is not"):
        WindowEmbeddings.to_parquet(tmp_path / "other.parquet", CLIPS, EMBEDDER)
    WindowEmbeddings.to_parquet(tmp_path / "other.parquet", CLIPS, EMBEDDER, force=True)
    assert_same(WindowEmbeddings.from_parquet(tmp_path / "other.parquet"), CLIPS)


def test_what_does_not_fit_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ParameterError, match="is no Unicode text"):
        WindowEmbeddings.to_parquet(tmp_path / "x.parquet", {"\udcff": windows(1)}, EMBEDDER)
    wide = WindowEmbeddings(np.zeros((1, 9), np.float32), np.array([[0.0, 1.0]]), np.zeros(1, np.float32))
    with pytest.raises(ParameterError, match=r"a: vectors of shape \(1, 9\)"):
        WindowEmbeddings.to_parquet(tmp_path / "x.parquet", {"a": wide}, EMBEDDER)
    assert list(tmp_path.iterdir()) == []


def table(**changes):
    rows = {
        "path": pa.array(["a", "a", "b"]),
        "start_s": pa.array([0.0, 0.5, 0.0]),
        "end_s": pa.array([1.0, 1.5, 1.0]),
        "level_dbfs": pa.array([-9.0, -9.0, -9.0], pa.float32()),
        "embedder": pa.array(["e", "e", "e"]),
        "content": pa.array(["00", "00", None]),
        "vector": pa.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], pa.list_(pa.float32(), 2)),
    }
    return pa.table({name: column for name, column in (rows | changes).items() if column is not None})


ODD = {
    "a column is missing": ({"level_dbfs": None}, "has no column 'level_dbfs'"),
    "a path is a number": ({"path": pa.array([1, 2, 3])}, "column 'path' holds int64; expected text"),
    "vectors are doubles": (
        {"vector": pa.array([[1.0], [2.0], [3.0]], pa.list_(pa.float64(), 1))},
        "expected lists of float32",
    ),
    "times are text": ({"start_s": pa.array(["0", "1", "2"])}, "expected float64"),
    "vectors of two lengths": (
        {"vector": pa.array([[1.0], [1.0, 2.0], [3.0]], pa.list_(pa.float32()))},
        "vectors of several lengths",
    ),
    "a gap in a vector": (
        {"vector": pa.array([[1.0, None], [3.0, 4.0], [5.0, 6.0]], pa.list_(pa.float32(), 2))},
        "with gaps",
    ),
    "no vector": ({"vector": pa.array([None, [3.0], [5.0]], pa.list_(pa.float32()))}, "expected 1 to|without values"),
    "empty vectors": ({"vector": pa.array([[], [], []], pa.list_(pa.float32()))}, "vectors of 0 numbers"),
    "no path": ({"path": pa.array(["a", None, "b"])}, "rows without values"),
    "a vector that is not finite": (
        {"vector": pa.array([[1.0, np.nan], [3.0, 4.0], [5.0, 6.0]], pa.list_(pa.float32(), 2))},
        "times, levels or vectors that cannot be",
    ),
    "a window that ends before it starts": ({"end_s": pa.array([1.0, 0.5, 1.0])}, "that cannot be"),
    "two embedders": ({"embedder": pa.array(["e", "f", "e"])}, r"several embedders \('e', 'f'\)"),
    "windows of two files under one path": (
        {"content": pa.array(["00", "11", None])},
        "has a twice, with different windows",
    ),
    "a clip twice, differently": ({"path": pa.array(["a", "b", "a"])}, "has a twice, with different windows"),
}


@pytest.mark.parametrize("what", ODD)
def test_an_odd_table_is_one_sentence(tmp_path, what):
    changes, sentence = ODD[what]
    pq.write_table(table(**changes), tmp_path / "odd.parquet")
    with pytest.raises(DatasetError, match=sentence) as found:
        WindowEmbeddings.from_parquet(tmp_path / "odd.parquet")
    assert "\n" not in str(found.value)
    assert str(found.value).startswith(str(tmp_path / "odd.parquet"))


def test_a_clip_that_is_there_twice_is_returned_once(tmp_path):
    pq.write_table(pa.concat_tables([table(), table()]), tmp_path / "twice.parquet")
    found = WindowEmbeddings.from_parquet(tmp_path / "twice.parquet")
    assert {name: each.vectors.tolist() for name, each in found.items()} == {
        "a": [[1.0, 2.0], [3.0, 4.0]],
        "b": [[5.0, 6.0]],
    }


def test_other_columns_are_not_read(tmp_path):
    own = table(content=pa.nulls(3))  # as pandas writes a column without values
    more = pa.table([*own.columns, pa.array(["siren", None, None]), pa.nulls(3)], names=[*own.schema.names, "x", "x"])
    pq.write_table(more, tmp_path / "more.parquet")
    assert list(WindowEmbeddings.from_parquet(tmp_path / "more.parquet")) == ["a", "b"]


def test_a_text_that_unpacks_to_gigabytes_is_refused(tmp_path):
    odd = table(content=pa.array(["x" * 20_000_000, "y", "y"]))
    pq.write_table(odd, tmp_path / "odd.parquet", compression="zstd", use_dictionary=False)
    with pytest.raises(DatasetError, match=r"announces 20,0.* it is damaged or a trap"):
        WindowEmbeddings.from_parquet(tmp_path / "odd.parquet")


def test_a_long_text_that_repeats_is_in_memory_once(tmp_path):
    n = 10_000
    texts = {"path": pa.array(["x" * 20_000] * n), "embedder": pa.array(["e"] * n), "content": pa.nulls(n)}
    times = {"start_s": pa.array(np.arange(n) * 1.0), "end_s": pa.array(np.arange(n) + 1.0)}
    numbers = {"level_dbfs": pa.array(np.zeros(n, np.float32)), "vector": table()["vector"].take([0] * n)}
    pq.write_table(table(**texts, **times, **numbers), tmp_path / "long.parquet")
    tracemalloc.start()
    try:
        (found,) = WindowEmbeddings.from_parquet(tmp_path / "long.parquet").values()
        assert tracemalloc.get_traced_memory()[1] < 20e6  # all of them are 200 MB
    finally:
        tracemalloc.stop()
    assert len(found) == n


def test_a_bomb_is_refused_before_it_is_allocated(tmp_path):
    n, width = 5000, 1024  # twenty megabytes of the same number
    zeros = pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(n * width, np.float32)), width)
    texts = {name: pa.array(["a"] * n) for name in ("path", "embedder", "content")}
    times = {"start_s": pa.array(np.zeros(n)), "end_s": pa.array(np.ones(n))}
    bomb = table(**texts, **times, level_dbfs=pa.array(np.zeros(n, np.float32)), vector=zeros)
    pq.write_table(bomb, tmp_path / "bomb.parquet", compression="zstd")
    assert (tmp_path / "bomb.parquet").stat().st_size * parquet_windows.MAX_EXPANSION < n * width * 4
    with pytest.raises(DatasetError, match="it is damaged or a trap"):
        WindowEmbeddings.from_parquet(tmp_path / "bomb.parquet")


def test_damage_anywhere_is_a_right_answer_or_one_sentence(file):
    content, rng = file.read_bytes(), random.Random(0)
    for _ in range(300):
        damaged = bytearray(content)
        for _ in range(rng.choice((1, 1, 8))):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        if rng.random() < 0.2:
            del damaged[rng.randrange(len(damaged)) :]
        file.write_bytes(damaged)
        try:
            found = WindowEmbeddings.from_parquet(file)
        except L3clfError as error:
            assert "\n" not in str(error)  # noqa: PT017  # most are damaged, some are not
        else:
            assert all(each.vectors.shape == (len(each), WIDTH) for each in found.values())


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" * 4, b"RIFF" * 100])
def test_what_is_no_parquet_is_one_sentence(tmp_path, content):
    (tmp_path / "x.parquet").write_bytes(content)
    with pytest.raises(DatasetError, match=r"x\.parquet: cannot be read as Parquet"):
        WindowEmbeddings.from_parquet(tmp_path / "x.parquet")
    with pytest.raises(DatasetError, match=r"no\.parquet: cannot be read as Parquet"):
        WindowEmbeddings.from_parquet(tmp_path / "no.parquet")
