"""--band and --denoise: fit, embed and baseline take them; what uses a model knows them from it."""

import numpy as np
import pytest
from helpers.tones import rows, write_tone

import l3clf
from l3clf.cli.options import hertz
from l3clf.embedders.filtered import Filtered


def lines_of(out):
    return {name: value.strip() for name, value in (line.split(":", 1) for line in out.splitlines())}


def test_a_model_is_fitted_with_a_band_and_predicts_with_it(run, data, tmp_path):
    path = tmp_path / "m"
    status, out, _ = run("fit", data, "--embedder", "mfcc", "--band", "1000", "8k", "--denoise", "--out", path)
    assert status == 0
    assert "(mfcc 1-8 kHz denoised embeddings" in out
    assert l3clf.load_model(path).embedder_ == Filtered("mfcc", (1000, 8000), "stationary")
    found = lines_of(run("info", path)[1])
    assert (found["embedder"], found["band"]) == ("mfcc", "1000 to 8000 Hz")
    assert found["denoise"] == "stationary noise is taken out of each clip"
    write_tone(tmp_path / "new.wav", 2500)
    status, out, _ = run("predict", path, tmp_path / "new.wav")
    assert (status, [row["label"] for row in rows(out)]) == (0, ["high"])
    status, _, err = run("listen", path, tmp_path / "new.wav")
    assert (status, err.count("which needs whole clips and not a stream")) == (1, 1)
    status, _, err = run("export", path, "--out", tmp_path / "c")
    assert (status, err.count("with denoise (--denoise), which the C runtime does not have; fit it without")) == (1, 1)


def test_a_model_with_a_band_listens(run, data, tmp_path):
    assert run("fit", data, "--embedder", "mfcc", "--band", "0", "4000", "--out", tmp_path / "m")[0] == 0
    write_tone(tmp_path / "new.wav", 2500, seconds=3)
    status, out, err = run("listen", tmp_path / "m", tmp_path / "new.wav")
    assert (status, "high" in out) == (0, True), err


def test_embeddings_are_of_the_band(run, data, tmp_path):
    found = []
    for name, more in (("a", []), ("b", ["--band", "1000", "8000"])):
        assert run("embed", data, "--embedder", "mfcc", *more, "--out", tmp_path / name)[0] == 0
        with np.load(tmp_path / name) as arrays:
            found.append(arrays["levels_dbfs"][:10].max())
    assert found[1] < found[0]


def test_a_baseline_has_rows_with_and_without(run, data, tmp_path):
    argv = ["baseline", data, "--embedders", "mfcc", "--heads", "logistic", "--band", "1000", "8000", "--quiet"]
    status, out, _ = run(*argv, "--out", tmp_path / "b")
    assert status == 0
    first = [line.split("  ")[0] for line in out.splitlines()]
    assert {"mfcc", "mfcc 1-8 kHz"} <= {*first}
    assert l3clf.load_model(tmp_path / "b" / "model.l3clf").embedder_.name in ("mfcc", "mfcc 1-8 kHz")


@pytest.mark.parametrize("command", ["fit", "embed", "baseline"])
@pytest.mark.parametrize(
    ("band", "message"),
    [
        (("8000", "1000"), "--band 8000 1000; expected a low edge of at least 0 Hz and a high edge above it"),
        (("-5", "1000"), "--band -5 1000; expected a low edge"),
        (("nan", "1000"), "--band nan 1000; expected a low edge"),
        (("1000", "9000"), "--band 1000 9000: embedder 'mfcc' hears sound up to 8000 Hz; expected a high edge of at"),
    ],
)
def test_a_bad_band_is_told_in_one_sentence(run, data, tmp_path, command, band, message):
    embedder = "--embedders" if command == "baseline" else "--embedder"
    status, _, err = run(command, data, embedder, "mfcc", "--band", *band, "--out", tmp_path / "out", "--quiet")
    assert status == 1
    assert err.startswith(f"l3clf: {message}")
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_what_is_no_frequency_is_refused(run, data, tmp_path):
    status, _, err = run("fit", data, "--band", "low", "9", "--out", tmp_path / "m")
    assert (status, "argument --band: low: expected a frequency in Hz, such as 1000" in err) == (2, True)
    assert [hertz(text) for text in ("1000", "1.5k", "2 kHz", "300Hz")] == [1000, 1500, 2000, 300]
