"""The model file of a tagger, damaged on purpose: nothing is used before it is checked."""

import json
import zipfile
from dataclasses import asdict

import numpy as np
import pytest

import l3clf
from l3clf import ClipTagger
from l3clf.embedders import WindowEmbeddings
from l3clf.errors import ModelFileError


@pytest.fixture(scope="module")
def members(tmp_path_factory):
    """The members of the file of a tagger of two tags."""
    rng = np.random.default_rng(0)
    y = np.array([[1, 0], [0, 1], [1, 1], [0, 0]] * 5)
    X = [
        WindowEmbeddings(
            np.float32(rng.normal(size=(2, 60)) + 3 * np.repeat(row, 30)),
            np.array([[0.0, 1.0], [0.5, 1.5]]),
            np.float32([-20, -20]),
        )
        for row in y
    ]
    path = tmp_path_factory.mktemp("tagger") / "m.l3clf"
    l3clf.save_model(ClipTagger("mfcc", cache=None).fit(X, [{"ab"[k] for k in np.flatnonzero(row)} for row in y]), path)
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def put(*keys):
    *path, last, value = keys

    def change(document):
        for key in path:
            document = document[key]
        document[last] = value

    return change


AUGMENT = {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(l3clf.Augmentation()).items()}
DAMAGE = {
    "kind": (put("kind", "oracle"), "a model of the kind 'oracle', which this l3clf does not know"),
    "kind a list": (put("kind", []), "a model of the kind \\[\\]"),
    "no kind": (lambda d: d.pop("kind"), "head field 'kind'|list of sections"),
    "kind in format 3": (put("format_version", 3), "unknown field 'kind'"),
    "no thresholds": (lambda d: d.pop("tags"), "the list of sections"),
    "a threshold less": (put("tags", "thresholds", [0.5]), "2 numbers in 0..1"),
    "a threshold of 2": (put("tags", "thresholds", [0.5, 2]), "2 numbers in 0..1"),
    "a threshold of text": (put("tags", "thresholds", [0.5, "x"]), "2 numbers in 0..1"),
    "given and different": (put("tags", {"learned": False, "thresholds": [0.5, 0.6]}), "the same for all tags"),
    "votes": (put("classifier", "pooling", "vote"), "a pooling other than 'vote'"),
    "unknown": (put("classifier", "unknown_threshold", 0.5), "no unknown_threshold"),
    "a linear head": (put("head", "kind", "linear"), "head field 'kind' is 'linear'"),
    "a tag with a bar": (put("classes", "values", ["a|b", "c"]), "holds the tag 'a|b'"),
    "augmentation": (put("augment", AUGMENT), "list of sections.*without 'unknown' and 'augment'"),
    "an unknown field": (put("tags", "more", 1), "unknown field 'more'"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damage_is_named(members, tmp_path, case):
    change, message = DAMAGE[case]
    document = json.loads(members["model.json"])
    change(document)
    with zipfile.ZipFile(tmp_path / "m.l3clf", "w") as archive:
        for name, content in {**members, "model.json": json.dumps(document).encode()}.items():
            archive.writestr(name, content)
    with pytest.raises(ModelFileError, match=message.replace("a|b", r"a\|b")):
        l3clf.load_model(tmp_path / "m.l3clf")
