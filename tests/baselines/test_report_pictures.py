"""A report draws itself into axes of the caller's, and leaves pyplot and its settings alone."""

import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pytest
from helpers.class_folders import run
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from l3clf.errors import ParameterError

METHODS = ("plot_confusion", "plot_recall", "plot_map")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("report") / "out"


@pytest.fixture(scope="module")
def report(table, folder):
    return run(table, heads=["logistic", "forest"], out=folder)


def axes(**options):
    figure = Figure(figsize=(4, 4), **options)
    FigureCanvasAgg(figure)
    return figure.subplots()


def words(drawn):
    drawn.figure.canvas.draw()
    texts = [text.get_text() for text in (*drawn.texts, *drawn.get_xticklabels(), *drawn.get_yticklabels())]
    return [" ".join(drawn.get_title(loc="left").split()), *texts]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("layout", [None, "constrained"])
def test_given_axes_are_drawn_into_and_returned(report, method, layout):
    given, before = axes(layout=layout), dict(mpl.rcParams)
    assert getattr(report, method)(given) is given
    assert "mfcc, " in words(given)[0]
    assert dict(mpl.rcParams) == before


def test_the_numbers_are_those_of_the_row(report):
    for row, result in enumerate(report.results):
        drawn = report.plot_confusion(axes(layout="constrained"), row=row, order="given")
        right = int((result.answers.predictions == report.data.labels).sum())
        assert result.row["head"] in words(drawn)[0]
        assert f"({right} of {len(report.data)} clips)" in words(drawn)[0]
        cells = np.array(drawn.collections[0].get_array()).reshape(4, -1)
        assert np.diag(cells) == pytest.approx(
            [np.mean(result.answers.predictions[report.data.labels == c] == c) for c in np.unique(report.data.labels)]
        )
        recalls = report.plot_recall(axes(layout="constrained"), row=row)
        assert set(np.unique(report.data.labels)) <= set(words(recalls))


def test_mistakes_are_ringed_in_the_map(report):
    drawn = report.plot_map(axes())
    rings = drawn.collections[-1].get_offsets()
    assert len(rings) == len(report.mistakes())


def test_options_in_the_words_of_scikit_learn(report):
    shares, counts = (report.plot_confusion(axes(), normalize=kind).child_axes for kind in ("true", None))
    assert [shares[0].get_ylabel(), counts[0].get_ylabel()] == ["share of the true class", "clips"]
    assert report.plot_confusion(axes(), colorbar=False).child_axes == []


@pytest.mark.parametrize(
    ("method", "options", "words"),
    [
        ("plot_confusion", {"row": 2}, "row=2; the table has rows 0 to 1"),
        ("plot_recall", {"row": -1}, "row=-1"),
        ("plot_confusion", {"normalize": "pred"}, "normalize='pred'"),
        ("plot_confusion", {"order": "x"}, "order='x'"),
        ("plot_map", {"seed": -1}, "seed=-1"),
        *((method, {"ax": np.array([None])}, "ax: found ndarray; give Matplotlib axes") for method in METHODS),
    ],
)
def test_what_cannot_be_drawn_is_named(report, method, options, words):
    with pytest.raises(ParameterError, match=words):
        getattr(report, method)(**options)


def test_without_axes_pyplot_makes_a_figure(report):
    from matplotlib import pyplot

    drawn = report.plot_recall()
    assert isinstance(drawn, Axes)
    assert drawn.figure.number in pyplot.get_fignums()
    pyplot.close(drawn.figure)


def test_a_dark_figure_has_light_letters(report):
    drawn = report.plot_recall(axes(facecolor="black"))
    for text in (drawn.xaxis.label, *drawn.get_yticklabels()):
        assert min(mpl.colors.to_rgb(text.get_color())) > 0.7


def test_a_resumed_report_draws_the_same(report, table, folder):
    again = run(table, heads=["logistic", "forest"], out=folder)
    first, second = (each.plot_confusion(axes()).collections[0].get_array() for each in (report, again))
    np.testing.assert_array_equal(first, second)


def test_the_page_has_pictures_for_phones(report, folder):
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert page.count('<source media="(max-width: 40rem)"') == 4
    assert page.count('class="spectrum"') == min(20, len(report.mistakes()))


def test_pyplot_is_not_imported_for_given_axes():
    code = (
        "import sys; from matplotlib.figure import Figure; from l3clf import plots; "
        "plots.draw_confusion(['a', 'b'], ['a', 'b'], Figure().subplots()); print('matplotlib.pyplot' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert found.strip() == "False"
