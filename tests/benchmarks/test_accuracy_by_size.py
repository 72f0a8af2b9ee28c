"""Accuracy against size: what is taken from records, and where labels go; the size of a network."""

import json

import onnx
import pytest

import l3clf
from benchmarks import accuracy_by_size, network_size
from benchmarks.accuracy_by_size import MEASURED, PUBLISHED, Options, measured
from benchmarks.record import Record, Result, Table
from benchmarks.size_picture import OTHERS, OURS, Mark, draw_sizes

ACCURACIES = (("l3mini, float32", 0.94), ("l3mini, int8", 0.93), ("yamnet", 0.965), ("mfcc", 0.8))


def write(folder, name, *tables):
    folder.mkdir(exist_ok=True)
    record = Record("l3mini_table", "python", result=Result(tables))
    (folder / name).write_text(json.dumps(record.to_json()), encoding="utf-8")


def accuracies(rows):
    return Table("Accuracy", (("frozen embedder", ""), ("ESC-10, hop 0.5 s", ".2%")), rows)


def sizes(rows):
    return Table("Size", (("frozen embedder", ""), ("parameters", ",d")), rows)


def test_figures_come_from_the_records_and_may_be_missing(tmp_path):
    write(tmp_path, "l3mini_table.json", accuracies(ACCURACIES), sizes((("l3mini", 120_000),)))
    write(tmp_path, "l3mini_table.old.json", accuracies((("yamnet", 0.5), ("speech", 0.77))))  # another machine's
    found = {one.name: one for one in measured(tmp_path)}
    assert {name: one.esc10 for name, one in found.items()} == dict(ACCURACIES)
    assert {name for name, one in found.items() if one.parameters} == {"l3mini, float32", "l3mini, int8"}


def test_the_table_names_sources_and_gives_errors_only_of_what_was_measured(tmp_path):
    write(tmp_path / "records", "l3mini_table.json", accuracies(ACCURACIES), sizes((("l3mini", 120_000),)))
    result = accuracy_by_size.run(Options(tmp_path / "records", tmp_path))
    assert (tmp_path / "accuracy_by_size.png").read_bytes().startswith(b"\x89PNG")
    rows = {row[0]: row for row in result.tables[0].rows}
    assert set(rows) == {name for name, _ in ACCURACIES} | {one.name for one in PUBLISHED}
    for row in rows.values():
        assert (row[3] is not None) == (row[6] == MEASURED)
        assert row[6]
    assert rows["l3mini, float32"][3] == pytest.approx((0.94 * 0.06 / 400) ** 0.5)


def test_without_records_the_published_ones_are_left(tmp_path):
    assert len(accuracy_by_size.run(Options(tmp_path, tmp_path)).tables[0].rows) == len(PUBLISHED)


def test_labels_cover_neither_marks_nor_each_other(tmp_path, monkeypatch):
    """Five networks of one size and nearly one accuracy: the labels have to go around them."""
    figures = []
    monkeypatch.setattr("benchmarks.size_picture.write_png", lambda figure, path: figures.append(figure) or path)
    crowd = [Mark(f"network {i}", 100_000 + 500 * i, 93 + 0.6 * i, 0.5, (OURS, OTHERS)[i % 2]) for i in range(5)]
    draw_sizes([*crowd, Mark("large", 3_000_000, 97, 1, OURS)], [("floor", 80)], tmp_path / "x.png")
    axes = figures[0].axes[0]
    figures[0].canvas.draw()
    boxes = [text.get_window_extent() for text in axes.texts]
    assert len(boxes) == 7
    assert not [1 for i, a in enumerate(boxes) for b in boxes[:i] if a.overlaps(b)]
    marks = axes.transData.transform([(mark.parameters, mark.percent) for mark in crowd])
    assert not [1 for box in boxes for x, y in marks if box.contains(x, y)]


def test_parameters_and_products_of_a_graph():
    """A convolution of 3 x 3 from 1 to 2 channels on 4 x 5 places, and a layer from 40 to 3."""
    weights = [
        onnx.helper.make_tensor("k", 1, [2, 1, 3, 3], [0.0] * 18),
        onnx.helper.make_tensor("w", 1, [40, 3], [0.0] * 120),
        onnx.helper.make_tensor("shape", onnx.TensorProto.INT64, [2], [-1, 40]),
    ]
    nodes = [
        onnx.helper.make_node("Conv", ["x", "k"], ["c"], pads=[1, 1, 1, 1]),
        onnx.helper.make_node("Reshape", ["c", "shape"], ["f"]),
        onnx.helper.make_node("MatMul", ["f", "w"], ["y"]),
    ]
    ends = [
        onnx.helper.make_tensor_value_info(name, 1, dims) for name, dims in (("x", ["n", 1, 4, 5]), ("y", ["n", 3]))
    ]
    graph = onnx.helper.make_graph(nodes, "g", ends[:1], ends[1:], weights)
    assert network_size.graph_size(onnx.helper.make_model(graph).SerializeToString()) == (138, 18 * 20 + 120)


def test_the_size_of_an_embedder_is_that_of_its_network(shared):
    student = l3clf.load_embedder("l3mini", precision="int8")
    assert network_size.size_of(student)[1] == student.network.model.macs
    assert network_size.size_of(l3clf.load_embedder("mfcc")) is None
    speech = l3clf.load_embedder("speech", weights=shared / "weights")
    assert network_size.size_of(speech)[0] == pytest.approx(328_128, abs=200)  # its front-end's graph is left out
