"""What a model file says of unknown sounds: only what is right is taken, and nothing of it where there is nothing."""

import json
import pickle
from copy import copy

import numpy as np
import pytest
from helpers.model_files import edited, put, unzip, with_array
from sklearn.ensemble import RandomForestClassifier

from l3clf import ClipClassifier, Unknown, load_model, save_model
from l3clf.embedders import WindowEmbeddings
from l3clf.errors import ModelFileError, ParameterError

WIDTH = 60


def clips(k, n):
    rng = np.random.default_rng(k)
    return [
        WindowEmbeddings(
            (3 * np.eye(WIDTH)[k] + rng.normal(size=(2, WIDTH))).astype(np.float32), np.zeros((2, 2)), np.full(2, -20.0)
        )
        for _ in range(n)
    ]


X = [clip for k in range(4) for clip in clips(k, 24)]
Y = [name for name in ("a", "b", "c", "background") for _ in range(24)]


def fitted(labels=Y, head="logistic", **options):
    return ClipClassifier("mfcc", head=head, cache=None, unknown=Unknown(background=None, **options)).fit(X, labels)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Files of a model with a background, of one without, of one with a threshold a class, and of a forest."""
    folder = tmp_path_factory.mktemp("models")
    models = {
        "background": fitted(),
        "none": fitted(["d" if label == "background" else label for label in Y]),
        "per class": fitted(per_class=True),
        "forest": fitted(head=RandomForestClassifier(3, max_depth=3, random_state=0)),
    }
    return {name: save_model(model, folder / name).read_bytes() for name, model in models.items()}


def section(content):
    return json.loads(unzip(content)["model.json"]).get("unknown")


def test_what_the_file_says(saved):
    document = json.loads(unzip(saved["background"])["model.json"])
    assert document["format_version"] == 3
    assert document["classes"]["values"] == ["a", "b", "c"]
    assert document["arrays"]["coef"]["shape"] == [4, WIDTH]
    assert document["unknown"]["background_row"] is True
    assert document["unknown"]["parameter"] == "given"
    assert len(document["unknown"]["intervals"]) == 2 * len(document["unknown"]["thresholds"]) == 2
    assert section(saved["none"])["background_row"] is False
    assert len(section(saved["per class"])["thresholds"]) == 3


def test_a_model_without_sections_has_the_file_that_earlier_versions_read(tmp_path):
    model = ClipClassifier("mfcc", cache=None).fit(X, Y)
    document = json.loads(unzip(save_model(model, tmp_path / "m").read_bytes())["model.json"])
    assert document["format_version"] == 2
    assert section((tmp_path / "m").read_bytes()) is None
    again = load_model(tmp_path / "m")
    assert (again.unknown, again.threshold_in_force(), again.has_background_) == (None, None, False)


@pytest.mark.parametrize("name", ["background", "none", "per class", "forest"])
def test_a_loaded_model_is_saved_as_the_same_bytes(tmp_path, saved, name):
    (tmp_path / "m").write_bytes(saved[name])
    assert save_model(load_model(tmp_path / "m"), tmp_path / "again").read_bytes() == saved[name]


@pytest.mark.parametrize("unknown", [None, "auto", Unknown(background=None, accept=0.8)])
def test_what_a_loaded_model_says_of_the_parameter(tmp_path, unknown):
    model = ClipClassifier("mfcc", cache=None, unknown=unknown).fit(X, Y)
    again = load_model(save_model(model, tmp_path / "m"))
    assert type(again.unknown) is type(unknown)
    assert again.get_params().keys() == model.get_params().keys()
    assert again.get_params().get("unknown__accept") == model.get_params().get("unknown__accept")
    # The parameter is that of the next fit: to change it does not change the answers.
    changed = save_model(model.set_params(unknown=None), tmp_path / "changed")
    assert load_model(changed).threshold_in_force() == model.threshold_in_force()


def test_a_pickle_of_a_loaded_model_answers_alike(tmp_path, saved):
    (tmp_path / "m").write_bytes(saved["forest"])
    model = load_model(tmp_path / "m")
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.unknown_score(X), model.unknown_score(X))


HOSTILE = {
    "a list": ("background", put("unknown", []), "'unknown' is []"),
    "empty": ("background", put("unknown", {}), "unknown has no field 'parameter'"),
    "more": ("background", put("unknown", "run", "me"), "unknown has an unknown field 'run'"),
    "in format 2": ("background", put("format_version", 2), "unknown field 'unknown'"),
    "in format 1": ("background", put("format_version", 1), "unknown field 'unknown'"),
    "parameter": ("background", put("unknown", "parameter", "os.system"), "'parameter' is 'os.system'"),
    "a path": ("background", put("unknown", "background", "/etc"), "'background' is '/etc'"),
    "weight": ("background", put("unknown", "weight", 0), "'weight' is 0"),
    "weight text": ("background", put("unknown", "weight", "1"), "'weight' is '1'"),
    "accept": ("background", put("unknown", "accept", 1.5), "'accept' is 1.5"),
    "per class": ("background", put("unknown", "per_class", 1), "'per_class' is 1"),
    "row": ("background", put("unknown", "background_row", 1), "'background_row' is 1"),
    "row that is not there": ("none", put("unknown", "background_row", True), "(4, 60), expected (5, 60)"),
    "row that is denied": ("background", put("unknown", "background_row", False), "(4, 60), expected (3, 60)"),
    "row of a forest denied": ("forest", put("unknown", "background_row", False), "value.npy has shape"),
    "no section": ("background", lambda d: d.pop("unknown"), "coef.npy has shape (4, 60), expected (3, 60)"),
    "temperature": ("background", put("unknown", "temperature", 0), "'temperature' is 0"),
    "temperature list": ("background", put("unknown", "temperature", [1]), "'temperature' is [1]"),
    "no threshold": ("background", put("unknown", "thresholds", []), "'thresholds' is []"),
    "two of three": ("per class", put("unknown", "thresholds", [0.5, 0.5]), "'thresholds' is [0.5, 0.5]"),
    "threshold": ("background", put("unknown", "thresholds", [1.5]), "'thresholds' is [1.5]"),
    "threshold text": ("background", put("unknown", "thresholds", ["0.5"]), "'thresholds' is ['0.5']"),
    "threshold true": ("background", put("unknown", "thresholds", [True]), "'thresholds' is [True]"),
    "threshold nested": ("background", put("unknown", "thresholds", [[0.5]]), "'thresholds' is [[0.5]]"),
    "thresholds an object": ("background", put("unknown", "thresholds", {}), "'thresholds' is {}"),
    "many thresholds": ("background", put("unknown", "thresholds", [0.5] * 100_000), "'thresholds' is [0.5, 0.5"),
    "interval": ("background", put("unknown", "intervals", [0.1]), "'intervals' is [0.1]"),
    "interval outside": ("background", put("unknown", "intervals", [-1, 2]), "'intervals' is [-1, 2]"),
    "only a background": (
        "background",
        lambda d: (d["classes"].update(values=[]), d["arrays"]["coef"].update(shape=[1, WIDTH])),
        "'values' is [], expected at least one label",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_section(tmp_path, saved, name):
    kind, change, fragment = HOSTILE[name]
    path = tmp_path / "m"
    path.write_bytes(edited(saved[kind], change))
    with pytest.raises(ModelFileError) as caught:
        load_model(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    assert len(message) < 600
    assert fragment in message


def test_every_field_is_checked(tmp_path, saved):
    path = tmp_path / "m"
    for field in section(saved["per class"]):
        for value in ({"a": 1}, [[]]):
            path.write_bytes(edited(saved["per class"], put("unknown", field, value)))
            with pytest.raises(ModelFileError):
                load_model(path)


def test_the_changes_leave_good_files_good(tmp_path, saved):
    """Else the files above would be refused for another reason."""
    for kind, content in saved.items():
        (tmp_path / "m").write_bytes(edited(content, lambda document: None))
        load_model(tmp_path / "m").predict(X)
        (tmp_path / "m").write_bytes(edited(content, put("unknown", "intervals", [])))
        assert np.isnan(load_model(tmp_path / "m").unknown_threshold_interval_).all(), kind


# --- gate -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "version", "in_force"),
    [
        ({"gate_dbfs": -60.0}, 2, (-60.0, 0.0)),
        ({"gate_dbfs": -60.0, "gate_hysteresis_db": 4.5}, 3, (-60.0, 4.5)),
        ({"gate_dbfs": "auto"}, 3, (-50.0, 5.0)),
        ({"gate_dbfs": "auto", "gate_hysteresis_db": 2.0}, 3, (-50.0, 2.0)),
    ],
)
def test_a_gate_is_saved_as_numbers(tmp_path, options, version, in_force):
    quiet = [WindowEmbeddings(clip.vectors, clip.times_s, np.full(2, -60.0)) for clip in clips(3, 10)]
    model = ClipClassifier("mfcc", cache=None, **options)
    model.fit([*X[:72], *quiet], [*Y[:72], *["background"] * 10])
    assert model.gate_in_force() == in_force
    content = save_model(model, tmp_path / "m").read_bytes()
    document = json.loads(unzip(content)["model.json"])
    assert (document["format_version"], document["classifier"]["gate_dbfs"]) == (version, in_force[0])
    again = load_model(tmp_path / "m")
    assert again.gate_in_force() == in_force
    assert again.gate_dbfs == options["gate_dbfs"]
    assert save_model(again, tmp_path / "again").read_bytes() == content
    assert again.set_params(gate_dbfs=-70.0).gate_in_force()[0] == -70


def test_a_learned_gate_leaves_out_quiet_windows_but_learns_the_background_whole():
    loud = clips(0, 12)
    levels = np.array([-62.0, -20.0])
    mixed = [WindowEmbeddings(clip.vectors, clip.times_s, levels) for clip in loud]
    quiet = [WindowEmbeddings(clip.vectors, clip.times_s, np.full(2, -60.0)) for clip in clips(1, 12)]
    model = ClipClassifier("mfcc", cache=None, gate_dbfs="auto")
    model.fit([*mixed, *clips(2, 12), *quiet], [*["a"] * 12, *["b"] * 12, *["background"] * 12])
    assert model.classes_.tolist() == ["a", "b", "background"]
    assert model.gate_dbfs_ == -50.0
    assert set(model.predict(quiet)) == {"unknown"}
    assert [len(model._vectors(clip)) for clip in mixed] == [1] * 12
    assert model.predict_windows(mixed[:1])[0].labels.tolist() == ["unknown", "a"]


def test_a_gate_that_is_set_counts_instead_of_the_learned_one():
    model = ClipClassifier("mfcc", gate_dbfs="auto")
    model.gate_dbfs_, model.gate_hysteresis_db_ = -50.0, 5.0
    assert model.gate_in_force() == (-50.0, 5.0)
    assert copy(model).set_gate().gate_in_force() == (-50.0, 5.0)
    assert copy(model).set_gate(hysteresis_db=0.0).gate_in_force() == (-50.0, 0.0)
    assert copy(model).set_gate(hysteresis_db=3.0).gate_in_force() == (-50.0, 3.0)
    assert copy(model).set_gate(-30.0).gate_in_force() == (-30.0, 0.0)
    assert ClipClassifier("mfcc", gate_dbfs=-40.0, gate_hysteresis_db=6.0).set_gate(-30.0).gate_in_force() == (
        -30.0,
        6.0,
    )


def test_auto_that_was_never_fitted_says_so():
    model = ClipClassifier("mfcc", cache=None).fit(X, Y)
    del model.gate_dbfs_  # as in a pickle of an earlier version
    with pytest.raises(ParameterError, match="gate_dbfs='auto': not learned; fit the model again"):
        model.set_params(gate_dbfs="auto").predict(X[:1])


@pytest.mark.parametrize(
    "gate", [{"learned": 1, "hysteresis_db": 2}, {"learned": True, "hysteresis_db": -1}, {"learned": True}, 3]
)
def test_a_gate_that_cannot_be_is_refused(tmp_path, saved, gate):
    content = edited(saved["background"], put("gate", gate))
    (tmp_path / "m").write_bytes(content)
    with pytest.raises(ModelFileError, match="gate"):
        load_model(tmp_path / "m")


# --- distances ----------------------------------------------------------------------------------------


@pytest.fixture
def far():
    return [WindowEmbeddings(3 * clip.vectors, clip.times_s, clip.levels_dbfs) for clip in clips(30, 5)]


def test_distances_come_back_as_they_were_saved(tmp_path, saved, far):
    (tmp_path / "m").write_bytes(saved["none"])
    model = load_model(tmp_path / "m")
    original = fitted(["d" if label == "background" else label for label in Y])
    assert original.typicality_ is not None
    np.testing.assert_allclose(model.unknown_score(X + far), original.unknown_score(X + far), atol=1e-6)
    known = model.predict_proba(far).max(axis=1)
    shares = model.typicality_.shares(np.stack([clip.vectors.mean(axis=0) for clip in far]))
    np.testing.assert_allclose(1 - model.unknown_score(far), known * shares, atol=1e-6)
    assert (shares < 0.5).all()


def test_distances_are_for_the_mean_without_a_background(saved):
    labels = ["d" if label == "background" else label for label in Y]
    for pooling in ("max", "mean+std", "vote"):
        assert ClipClassifier("mfcc", pooling=pooling, cache=None, unknown="auto").fit(X, labels).typicality_ is None
    assert fitted().typicality_ is None
    assert ClipClassifier("mfcc", cache=None, unknown="auto").fit(X, labels).fit(X, Y).typicality_ is None


def test_a_class_of_few_clips_has_no_distances():
    few = X[:24] + X[24:28]
    assert ClipClassifier("mfcc", cache=None, unknown="auto").fit(few, Y[:24] + ["b"] * 4).typicality_ is None


FAR = {
    "denied": (put("unknown", "distances", False), "unknown field 'typicality_mean'"),
    "1": (put("unknown", "distances", 1), "'distances' is 1"),
    "less": (lambda d: d["arrays"].pop("typicality_limits"), "arrays has no field 'typicality_limits'"),
    "shape": (put("arrays", "typicality_centres", "shape", [3, WIDTH]), "typicality_centres.npy has shape (3, 60)"),
    "huge": (put("arrays", "typicality_components", "shape", [10**6, WIDTH]), "typicality_components.npy has shape"),
    "dtype": (put("arrays", "typicality_mean", "dtype", "<f4"), "typicality_mean.npy is float32"),
    "checksum": (put("arrays", "typicality_mean", "sha256", "0" * 64), "typicality_mean.npy does not match"),
    "other pooling": (put("classifier", "pooling", "vote"), "'distances' is True, expected false with pooling 'vote'"),
}


@pytest.mark.parametrize("name", FAR)
def test_hostile_distances(tmp_path, saved, name):
    change, fragment = FAR[name]
    (tmp_path / "m").write_bytes(edited(saved["none"], change))
    with pytest.raises(ModelFileError) as caught:
        load_model(tmp_path / "m")
    assert fragment in str(caught.value)


@pytest.mark.parametrize(
    ("array", "value", "fragment"),
    [("mean", np.nan, "holds NaN"), ("scale", 0.0, "not above 0"), ("spreads", -1.0, "not above 0")],
)
def test_hostile_numbers_of_distances(tmp_path, saved, array, value, fragment):
    def change(numbers):
        numbers[0] = value
        return numbers

    (tmp_path / "m").write_bytes(with_array(saved["none"], f"typicality_{array}", change))
    with pytest.raises(ModelFileError, match=rf"typicality_{array}\.npy holds .*{fragment.split()[-1]}"):
        load_model(tmp_path / "m")


def test_distances_beside_a_background_are_refused(tmp_path, saved):
    (tmp_path / "m").write_bytes(edited(saved["background"], put("unknown", "distances", True)))
    with pytest.raises(ModelFileError, match="arrays has no field 'typicality_mean'"):
        load_model(tmp_path / "m")
