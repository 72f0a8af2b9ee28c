"""l3clf embed writes what the library gives."""

import numpy as np
import pytest
import soundfile

import l3clf
from l3clf.cli import main as cli


def test_embed_writes_what_the_library_gives(data, tmp_path, capsys):
    out = tmp_path / "x.npz"
    status = cli.main(["embed", str(data / "low"), str(tmp_path / "no.wav"), "--embedder", "mfcc", "--out", str(out)])
    assert status == 1
    with np.load(out) as found:
        assert found["paths"].tolist() == [str(data / "low" / f"{k}.wav") for k in range(5)]
        samples, rate = soundfile.read(found["paths"][1])
        expected = l3clf.load_embedder("mfcc").embed(samples, rate)
        np.testing.assert_allclose(found["vectors"][found["clip"] == 1], expected.vectors, rtol=1e-5, atol=1e-4)
        np.testing.assert_array_equal(found["times_s"][found["clip"] == 1], expected.times_s)


@pytest.mark.filterwarnings("always::l3clf.errors.DatasetWarning")
def test_files_in_a_folder_that_may_be_sounds_are_named(data, tmp_path, capsys):
    (data / "low" / "8.xyz").write_bytes(b"sound?")
    assert cli.main(["embed", str(data / "low"), "--embedder", "mfcc", "--out", str(tmp_path / "x.npz")]) == 0
    assert capsys.readouterr().err.count("1 file was left out, because the suffix is none of a sound (1 .xyz)") == 1
