"""Frozen heads predict as scikit-learn does, and refuse arrays that no fitted head has."""

import copy
import pickle
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import ExtraTreesClassifier, GradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV, SGDClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from l3clf.classifier.heads import ForestHead, LinearHead, freeze_head, make_head, tuned_logistic
from l3clf.errors import L3clfError, ModelFileError, ParameterError

N_FEATURES = 6
LABELS = {
    "str": ["rain", "dog bark", "Ångström", "x"],
    "int": [7, -3, 0, 2**40],
    "bool": [False, True],
    "float": [0.0, 1.0, 2.5],
}


def data(seed=0, n_classes=3, labels="str", n=90, dtype=np.float64):
    rng = np.random.default_rng(seed)
    index = rng.permutation(np.arange(n) % n_classes)
    centres = rng.normal(size=(n_classes, N_FEATURES)) * 2
    X = (centres[index] + rng.normal(size=(n, N_FEATURES))) * rng.uniform(0.1, 10, N_FEATURES) + 5
    return X.astype(dtype), np.asarray(LABELS[labels])[index]


def probe(X, seed=1):
    """Rows like X and rows far from it."""
    rng = np.random.default_rng(seed)
    return np.concatenate([X, rng.normal(size=(60, X.shape[1])) * 20]).astype(X.dtype)


def scaled(logistic=None, **scaler):
    return make_pipeline(StandardScaler(**scaler), logistic or LogisticRegression(C=0.1, max_iter=3000))


HEADS = {
    "logistic": lambda: make_head("logistic"),
    "logistic, balanced": lambda: make_head("logistic", "balanced"),
    "no scaler": lambda: LogisticRegression(max_iter=3000),
    "no mean": lambda: scaled(with_mean=False),
    "no scale": lambda: scaled(with_std=False),
    "neither": lambda: scaled(with_mean=False, with_std=False),
    "no intercept": lambda: scaled(LogisticRegression(fit_intercept=False)),
    "l1": lambda: scaled(LogisticRegression(solver="saga", l1_ratio=1, max_iter=500, C=0.5, tol=0.1)),
    "pipeline of one": lambda: Pipeline([("none", "passthrough"), ("lr", LogisticRegression(max_iter=3000))]),
    "forest": lambda: make_head("forest", "balanced").set_params(n_estimators=20),
    "forest, weights by tree": lambda: RandomForestClassifier(7, class_weight="balanced_subsample", random_state=3),
    "stumps": lambda: RandomForestClassifier(9, max_depth=1, random_state=0),
    "single leaves": lambda: RandomForestClassifier(5, min_samples_split=1000, random_state=0),
    "best first": lambda: RandomForestClassifier(9, max_leaf_nodes=6, random_state=0),
    "pruned": lambda: RandomForestClassifier(9, ccp_alpha=0.02, random_state=0),
    "extra trees": lambda: ExtraTreesClassifier(9, random_state=0),
    "tree": lambda: DecisionTreeClassifier(random_state=0),
    "tree, best first": lambda: DecisionTreeClassifier(max_leaf_nodes=5, random_state=0),
}
CASES = [("str", 2), ("str", 3), ("int", 4), ("bool", 2), ("float", 2)]


@pytest.mark.parametrize(("labels", "n_classes"), CASES)
@pytest.mark.parametrize("name", HEADS)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_agrees_with_scikit_learn(name, labels, n_classes):
    for dtype in (np.float64, np.float32):
        X, y = data(n_classes, n_classes, labels, dtype=dtype)
        fitted = HEADS[name]().fit(X, y)
        frozen = freeze_head(fitted)
        rows = probe(X)
        np.testing.assert_allclose(frozen.predict_proba(rows), fitted.predict_proba(rows), rtol=0, atol=1e-6)
        assert frozen.predict(rows).tolist() == fitted.predict(rows).tolist()
        assert frozen.classes_.tolist() == fitted.classes_.tolist()
        assert frozen.n_features_in_ == N_FEATURES
        again = type(frozen).from_arrays(frozen.arrays(), frozen.classes_.tolist(), N_FEATURES)
        np.testing.assert_array_equal(again.predict_proba(rows), frozen.predict_proba(rows))


@given(st.integers(0, 10**6), st.integers(2, 4), st.integers(1, 12), st.booleans())
@settings(max_examples=25, deadline=None, derandomize=True)
def test_forest_agrees_to_the_last_bit(seed, n_classes, depth, ties):
    X, y = data(seed, n_classes)
    X = np.round(X) if ties else X  # equal values on both sides of no threshold, and exactly on it
    fitted = RandomForestClassifier(6, max_depth=depth, random_state=seed).fit(X, y)
    frozen = freeze_head(fitted)
    thresholds = np.concatenate([tree.tree_.threshold for tree in fitted.estimators_])
    rows = np.concatenate([probe(X), np.resize(thresholds, (len(thresholds), N_FEATURES))])
    np.testing.assert_array_equal(frozen.predict_proba(rows), fitted.predict_proba(rows))


@given(st.integers(0, 10**6), st.integers(2, 4), st.floats(1e-3, 1e3))
@settings(max_examples=25, deadline=None, derandomize=True)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_logistic_agrees(seed, n_classes, c):
    X, y = data(seed, n_classes)
    fitted = scaled(LogisticRegression(C=c, max_iter=200)).fit(X, y)
    np.testing.assert_allclose(
        freeze_head(fitted).predict_proba(probe(X)), fitted.predict_proba(probe(X)), rtol=0, atol=1e-6
    )


def test_binary_multinomial_of_old_scikit_learn():
    """Up to 1.7, multi_class="multinomial" with two classes meant softmax over (-d, d)."""
    X, y = data(n_classes=2)
    fitted = LogisticRegression(max_iter=3000).fit(X, y)
    decision = fitted.decision_function(X)
    fitted.multi_class = "multinomial"
    expected = 1 / (1 + np.exp(-2 * decision))
    np.testing.assert_allclose(freeze_head(fitted).predict_proba(X)[:, 1], expected, atol=1e-12)


def test_rows_in_several_chunks(monkeypatch):
    X, y = data()
    fitted = RandomForestClassifier(5, random_state=0).fit(X, y)
    monkeypatch.setattr("l3clf.classifier.frozen_heads._CELLS", 35)  # seven rows at a time
    np.testing.assert_array_equal(freeze_head(fitted).predict_proba(X), fitted.predict_proba(X))


def test_forest_of_usual_size_is_quick():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1000, 512)).astype(np.float32)
    fitted = RandomForestClassifier(30, max_features=8, random_state=0).fit(X, rng.integers(0, 10, 1000))
    one = freeze_head(fitted)
    head = freeze_head(fitted)
    size = np.diff(one.tree_offsets).sum()
    shift = np.arange(10).repeat(size) * size
    for name in ("children_left", "children_right"):  # the same forest ten times: 300 trees
        child = np.tile(getattr(one, name), 10)
        setattr(head, name, np.where(child < 0, child, child + shift).astype(np.int32))
    head.feature, head.threshold = np.tile(one.feature, 10), np.tile(one.threshold, 10)
    head.value = np.tile(one.value, (10, 1))
    head.tree_offsets = np.concatenate([one.tree_offsets[:-1] + k * size for k in range(10)] + [[10 * size]])
    head = ForestHead.from_arrays(head.arrays(), one.classes_, 512)
    start = time.perf_counter()
    answer = head.predict_proba(X)
    assert time.perf_counter() - start < 2.0  # 0.12 s on two quiet cores
    np.testing.assert_allclose(answer, one.predict_proba(X), atol=1e-12)


def test_no_rows_give_no_probabilities():
    X, y = data()
    for head in (
        freeze_head(make_head("logistic").fit(X, y)),
        freeze_head(DecisionTreeClassifier().fit(X, y)),
    ):
        assert head.predict_proba(X[:0]).shape == (0, 3)
        assert head.predict(X[:0]).shape == (0,)


def test_frozen_heads_pass_through_pickle_and_copy():
    X, y = data()
    head = freeze_head(make_head("logistic").fit(X, y))
    assert freeze_head(head) is head
    for again in (copy.deepcopy(head), pickle.loads(pickle.dumps(head))):
        np.testing.assert_array_equal(again.predict_proba(X), head.predict_proba(X))


@pytest.mark.parametrize(
    "X",
    [
        np.zeros(N_FEATURES),
        np.zeros((2, N_FEATURES + 1)),
        np.full((2, N_FEATURES), np.nan),
        np.full((2, N_FEATURES), -np.inf),
        np.full((2, N_FEATURES), "a"),
        np.full((2, N_FEATURES), None),
        [[1.0, 2.0], [3.0]],
        np.full((2, N_FEATURES), 1e300),
    ],
    ids=["1-D", "wide", "NaN", "infinite", "text", "objects", "ragged", "huge"],
)
@pytest.mark.parametrize("name", ["logistic", "tree"])
def test_invalid_x_is_refused(name, X):
    rows, y = data()
    head = freeze_head(HEADS[name]().fit(rows, y))
    if name == "logistic":
        head.coef = head.coef * 1e10  # so that the huge values overflow here, too
    for method in (head.predict_proba, head.predict):
        with pytest.raises(ParameterError, match=r"^X: "):
            method(X)


@pytest.mark.parametrize(
    "head",
    [
        SVC(probability=False),
        KNeighborsClassifier(),
        MLPClassifier(max_iter=5),
        GaussianNB(),
        GradientBoostingClassifier(n_estimators=2),
        SGDClassifier(loss="log_loss"),
        LogisticRegressionCV(Cs=2, cv=2),
        OneVsRestClassifier(LogisticRegression()),
        CalibratedClassifierCV(LinearSVC(), cv=2),
        make_pipeline(MinMaxScaler(), LogisticRegression()),
        make_pipeline(StandardScaler(), SVC()),
        make_pipeline(StandardScaler(), RandomForestClassifier(2)),
    ],
    ids=lambda head: type(head).__name__,
)
@pytest.mark.filterwarnings("ignore")
def test_other_heads_are_refused_by_name(head):
    X, y = data()
    name = type(head).__name__ if not isinstance(head, Pipeline) else type(head.steps[-1][1]).__name__
    with pytest.raises(ModelFileError, match=rf"{name}.* cannot be saved; .*RandomForestClassifier"):
        freeze_head(head.fit(X, y))


class OwnForest(RandomForestClassifier):
    """May predict in its own way."""


@pytest.mark.parametrize(
    ("fitted", "message"),
    [
        (OwnForest(2).fit(*data()), "a OwnForest head"),
        (RandomForestClassifier(), "RandomForestClassifier head is not fitted"),
        (DecisionTreeClassifier(), "DecisionTreeClassifier head is not fitted"),
        (LogisticRegression(), "LogisticRegression head is not fitted"),
        (make_pipeline(StandardScaler(), LogisticRegression()), "LogisticRegression head is not fitted"),
        (make_pipeline("passthrough"), "Pipeline head of nothing"),
        (DecisionTreeRegressor(), "DecisionTreeRegressor"),
        (None, "NoneType"),
        (DecisionTreeClassifier().fit(np.eye(3), np.eye(3, 2)), "2 outputs"),
    ],
)
def test_what_cannot_be_frozen_is_named(fitted, message):
    with pytest.raises(ModelFileError, match=message):
        freeze_head(fitted)


@pytest.mark.parametrize("attribute", [{"multi_class": "ovr"}, {"solver": "liblinear"}])
def test_one_vs_rest_is_refused(attribute):
    fitted = LogisticRegression(max_iter=3000).fit(*data())
    vars(fitted).update(attribute)
    with pytest.raises(ModelFileError, match="one-vs-rest"):
        freeze_head(fitted)


# Damaged arrays: member -> how it is changed, and the member that the message names.


def put(array, index, value):
    array[index] = value
    return array


def inner(arrays, of_tree=0):
    """Return a node with two children."""
    start, stop = arrays["tree_offsets"][of_tree : of_tree + 2]
    return start + np.flatnonzero(arrays["children_left"][start:stop] >= 0)[0]


def leaf(arrays):
    return np.flatnonzero(arrays["children_left"] < 0)[-1]


def cut_off(arrays):
    """Make a leaf of a node that has children, which stay behind without a parent."""
    node = inner(arrays)
    arrays["children_left"][node] = arrays["children_right"][node] = -1


LINEAR_DAMAGE = {
    "missing": (lambda a: a.pop("coef"), "coef"),
    "extra": (lambda a: a.update(bias=a["mean"]), "bias"),
    "float32": (lambda a: a.update(coef=a["coef"].astype("f4")), "coef"),
    "objects": (lambda a: a.update(coef=a["coef"].astype(object)), "coef"),
    "3-D": (lambda a: a.update(coef=a["coef"][None]), "coef"),
    "empty": (lambda a: a.update(mean=a["mean"][:0]), "mean"),
    "short mean": (lambda a: a.update(mean=a["mean"][:-1]), "mean"),
    "short scale": (lambda a: a.update(scale=a["scale"][:-1]), "scale"),
    "a class less": (lambda a: a.update(coef=a["coef"][:-1]), "coef"),
    "transposed": (lambda a: a.update(coef=a["coef"].T), "coef"),
    "one intercept": (lambda a: a.update(intercept=a["intercept"][:1]), "intercept"),
    "NaN": (lambda a: put(a["coef"], (0, 0), np.nan), "coef"),
    "infinite": (lambda a: put(a["intercept"], 1, np.inf), "intercept"),
    "scale of zero": (lambda a: put(a["scale"], 1, 0), "scale"),
    "scale below zero": (lambda a: put(a["scale"], 1, -1), "scale"),
}
FOREST_DAMAGE = {
    "missing": (lambda a: a.pop("value"), "value"),
    "int64 children": (lambda a: a.update(children_left=a["children_left"].astype("i8")), "children_left"),
    "short right": (lambda a: a.update(children_right=a["children_right"][:-1]), "children_right"),
    "short feature": (lambda a: a.update(feature=a["feature"][:-1]), "feature"),
    "short value": (lambda a: a.update(value=a["value"][:-1]), "value"),
    "a class less": (lambda a: a.update(value=a["value"][:, :-1]), "value"),
    "offsets from 1": (lambda a: put(a["tree_offsets"], 0, 1), "tree_offsets"),
    "offsets beyond": (lambda a: put(a["tree_offsets"], -1, 10**9), "tree_offsets"),
    "offsets fall": (lambda a: put(a["tree_offsets"], 1, 10**6), "tree_offsets"),
    "empty tree": (lambda a: put(a["tree_offsets"], 1, 0), "tree_offsets"),
    "one offset": (lambda a: a.update(tree_offsets=a["tree_offsets"][:1]), "tree_offsets"),
    "child 10^9": (lambda a: put(a["children_left"], inner(a), 10**9), "children_left"),
    "child -5": (lambda a: put(a["children_right"], inner(a), -5), "children_right"),
    "cycle": (lambda a: put(a["children_right"], inner(a, 1), a["tree_offsets"][1]), "children_right"),
    "own child": (lambda a: put(a["children_left"], inner(a), inner(a)), "children_left"),
    "into the next tree": (
        lambda a: put(a["children_left"], inner(a), a["tree_offsets"][1]),
        "children_left",
    ),
    "half a leaf": (lambda a: put(a["children_left"], inner(a), -1), "children_left"),
    "twins": (lambda a: put(a["children_left"], inner(a), a["children_right"][inner(a)]), "children_left"),
    "orphans": (cut_off, "children_left"),
    "feature too high": (lambda a: put(a["feature"], inner(a), N_FEATURES), "feature"),
    "feature below 0": (lambda a: put(a["feature"], leaf(a), -2), "feature"),
    "NaN threshold": (lambda a: put(a["threshold"], inner(a), np.nan), "threshold"),
    "NaN value": (lambda a: put(a["value"], (leaf(a), 0), np.nan), "value"),
    "value above 1": (lambda a: put(a["value"], leaf(a), 2.0), "value"),
    "value below 0": (lambda a: put(a["value"], (leaf(a), slice(0, 2)), [1.5, -0.5]), "value"),
    "leaf of nothing": (lambda a: put(a["value"], leaf(a), 0.0), "value"),
}


def check_damage(fitted, damage, named):
    head = freeze_head(fitted)
    arrays = {name: array.copy() for name, array in head.arrays().items()}
    damage(arrays)
    with pytest.raises(ModelFileError, match=rf"^{named}\.npy .*; save or copy the model again$"):
        type(head).from_arrays(arrays, head.classes_, N_FEATURES)


@pytest.mark.parametrize("name", LINEAR_DAMAGE)
def test_damaged_linear_head(name):
    check_damage(make_head("logistic").fit(*data()), *LINEAR_DAMAGE[name])


@pytest.mark.parametrize("name", FOREST_DAMAGE)
def test_damaged_forest(name):
    fitted = RandomForestClassifier(3, max_depth=3, random_state=0).fit(*data())
    check_damage(fitted, *FOREST_DAMAGE[name])


@given(st.data())
@settings(max_examples=60, deadline=None, derandomize=True)
def test_any_children_are_refused_or_terminate(draw):
    """Whatever the child indices are: they are refused, or every walk ends in a leaf."""
    n = draw.draw(st.sampled_from([1, 3, 5]))
    children = st.lists(st.integers(-2, n), min_size=n, max_size=n)
    left = draw.draw(children)
    # Mostly sensible pairs, so that some pass.
    right = draw.draw(st.one_of(children, st.just([child + (child >= 0) for child in left])))
    arrays = {
        "tree_offsets": np.array([0, n]),
        "children_left": np.array(left, np.int32),
        "children_right": np.array(right, np.int32),
        "feature": np.zeros(n, np.int32),
        "threshold": np.zeros(n),
        "value": np.full((n, 2), 0.5),
    }
    try:
        head = ForestHead.from_arrays(arrays, ["a", "b"], 1)
    except ModelFileError:
        return
    assert head.predict_proba([[-1.0], [1.0]]).tolist() == [[0.5, 0.5]] * 2


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (["a", "a", "b"], "twice"),
        (["a", "a\0", "b"], "control character"),
        (["a", 1, "b"], "of type int, str"),
        ([True, 1, 2], "of type bool, int"),
        ([0.5, np.nan, 2.5], "NaN"),
        ([0.5, np.inf, 2.5], "NaN"),
        ([1, 2.0, 3], "of type float, int"),
        ([1j, 2j, 3j], "of type complex"),
        ([None, None, None], "of type NoneType"),
        ([], "of type nothing"),
        ([1, 2, 2**70], "64 bits"),
        (["a", "b"], "coef.npy has shape"),
    ],
)
def test_classes_are_checked(classes, message):
    arrays = freeze_head(make_head("logistic").fit(*data())).arrays()
    with pytest.raises(ModelFileError, match=message):
        LinearHead.from_arrays(arrays, classes, N_FEATURES)


def test_make_head():
    logistic, forest = make_head("logistic", "balanced"), make_head("forest", {"a": 2}, random_state=5)
    assert logistic[-1].C == 0.1
    assert logistic[-1].max_iter == 3000
    assert logistic[-1].class_weight == "balanced"
    assert (forest.n_estimators, forest.class_weight, forest.random_state, forest.n_jobs) == (
        300,
        {"a": 2},
        5,
        None,
    )


def test_make_head_clones():
    given_head = KNeighborsClassifier(3).fit(*data())
    made = make_head(given_head)
    assert made is not given_head
    assert made.n_neighbors == 3
    assert not hasattr(made, "classes_")


@pytest.mark.parametrize(
    ("head", "class_weight", "message"),
    [
        ("svm", None, "head='svm': unknown; give one of 'logistic', 'forest'"),
        (DecisionTreeRegressor(), None, "DecisionTreeRegressor.*: not a classifier"),
        (LogisticRegression, None, "not a classifier"),
        (None, None, "head=None: not a classifier"),
        (LinearSVC(), None, "head=LinearSVC: has no predict_proba"),
        (make_pipeline(StandardScaler(), LinearSVC()), None, "head=Pipeline: has no predict_proba"),
        (LogisticRegression(), "balanced", "set class_weight on the classifier itself"),
        (freeze_head(DecisionTreeClassifier().fit(*data())), None, "ForestHead: comes from a model file"),
    ],
)
def test_make_head_refuses(head, class_weight, message):
    with pytest.raises(ParameterError, match=message) as caught:
        make_head(head, class_weight)
    assert isinstance(caught.value, L3clfError)
    assert isinstance(caught.value, ValueError)


def test_importing_and_predicting_needs_no_scikit_learn():
    code = """
import sys, numpy as np
from l3clf.classifier.heads import LinearHead
one = np.ones(2)
head = LinearHead.from_arrays({"mean": one, "scale": one, "coef": np.eye(2), "intercept": one}, ["a", "b"], 2)
assert head.predict([[3.0, 1.0]]).tolist() == ["a"]
assert not any(name.split(".")[0] == "sklearn" for name in sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


# --- tuned ------------------------------------------------------------------------------------------


def test_tuning_equals_scikit_learn_where_each_class_has_enough_rows():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(40, 5)), np.arange(40) % 3
    found = tuned_logistic().fit(X, y)
    expected = GridSearchCV(found.estimator, found.param_grid, cv=3).fit(X, y)
    np.testing.assert_array_equal(found.cv_results_["mean_test_score"], expected.cv_results_["mean_test_score"])
    assert found.best_params_ == expected.best_params_


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("y", ["ab", "aab", "aaab", "aabb", "abcdef", "aaaaaab", "aabbccdde"])
def test_tuning_copes_with_rare_classes(y):
    X = np.random.default_rng(0).normal(size=(len(y), 4))
    found = tuned_logistic().fit(X, list(y))
    assert np.isfinite(found.cv_results_["mean_test_score"]).all()
    assert set(found.classes_) == set(y)
