"""`tapegrad.sklearn.MLPClassifier` and `MLPRegressor` beside scikit-learn's own."""

import io
import pickle

import numpy as np
import pytest

sklearn = pytest.importorskip("sklearn", minversion="1.7")

from scipy import sparse  # noqa: E402
from sklearn import datasets, neural_network  # noqa: E402
from sklearn.base import clone  # noqa: E402
from sklearn.exceptions import ConvergenceWarning  # noqa: E402
from sklearn.linear_model import Ridge  # noqa: E402
from sklearn.model_selection import GridSearchCV, cross_val_score  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402
from sklearn.utils.estimator_checks import check_estimator  # noqa: E402

from tapegrad.sklearn import MLPClassifier, MLPRegressor  # noqa: E402

pytestmark = [pytest.mark.compiled, pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")]

RNG = np.random.default_rng(5)
IRIS = datasets.load_iris(return_X_y=True)
DIABETES = datasets.load_diabetes(return_X_y=True)
X, Y = DIABETES[0] * 20, DIABETES[1] / 77
TWO = (IRIS[0], IRIS[1] == 2)
LABELS = datasets.make_multilabel_classification(120, random_state=0)
OUTPUTS = (X, np.c_[Y, X[:, 0] ** 2, Y - X[:, 1]])
COUNTS = (X, np.round(Y))
WEIGHTS = RNG.uniform(0.1, 2.0, 150)


def both(kind, data, weights=None, **options):
    """scikit-learn's estimator and ours, fitted to the same."""
    fitted = []
    for module in (neural_network, None):
        cls = getattr(neural_network, kind) if module else {"MLPClassifier": MLPClassifier,
                                                            "MLPRegressor": MLPRegressor}[kind]
        fitted.append(cls(random_state=0, **options).fit(*data, sample_weight=weights))
    return fitted


def assert_alike(theirs, ours, rtol=1e-9):
    assert ours.n_iter_ == theirs.n_iter_ and ours.t_ == theirs.t_
    np.testing.assert_allclose(ours.loss_, theirs.loss_, rtol=rtol)
    if hasattr(theirs, "loss_curve_"):
        np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=rtol)
        assert (ours.best_loss_ is None) == (theirs.best_loss_ is None)
        if theirs.validation_scores_ is not None:
            np.testing.assert_allclose(ours.validation_scores_, theirs.validation_scores_, rtol=1e-6)
    for a, b in zip(ours.coefs_ + ours.intercepts_, theirs.coefs_ + theirs.intercepts_):
        assert a.shape == b.shape and a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=1e3 * rtol, atol=rtol)


CASES = {
    "classes": ("MLPClassifier", IRIS, None, dict(hidden_layer_sizes=(16, 8), activation="tanh", max_iter=60)),
    "two": ("MLPClassifier", TWO, None, dict(max_iter=30, batch_size=64, alpha=0.3, beta_1=0.8, beta_2=0.99,
                                             epsilon=1e-3)),
    "weights": ("MLPClassifier", IRIS, WEIGHTS, dict(max_iter=30, batch_size=40, activation="logistic")),
    "labels": ("MLPClassifier", LABELS, WEIGHTS[:120], dict(max_iter=30)),
    "stops": ("MLPClassifier", IRIS, None, dict(max_iter=400, tol=1e-2, learning_rate_init=0.02)),
    "not filled": ("MLPClassifier", IRIS, None, dict(hidden_layer_sizes=(150, 150), batch_size=100, max_iter=10)),
    "held out": ("MLPClassifier", IRIS, WEIGHTS, dict(max_iter=60, early_stopping=True, validation_fraction=0.2)),
    "in order": ("MLPRegressor", (X, Y), None, dict(max_iter=30, shuffle=False, hidden_layer_sizes=8)),
    "outputs": ("MLPRegressor", OUTPUTS, None, dict(max_iter=30, alpha=1.0)),
    "counts": ("MLPRegressor", COUNTS, None, dict(max_iter=30, loss="poisson")),
    "sgd": ("MLPClassifier", IRIS, None, dict(solver="sgd", max_iter=60, batch_size=50)),
    "plain sgd": ("MLPClassifier", IRIS, None, dict(solver="sgd", max_iter=30, momentum=0.0)),
    "invscaling": ("MLPClassifier", IRIS, None, dict(solver="sgd", max_iter=60, learning_rate="invscaling",
                                                     learning_rate_init=0.2, nesterovs_momentum=False, batch_size=40)),
    "adaptive": ("MLPClassifier", IRIS, None, dict(solver="sgd", max_iter=120, learning_rate="adaptive", tol=1e-2,
                                                   learning_rate_init=0.2, n_iter_no_change=3)),
    "lbfgs": ("MLPRegressor", COUNTS, None, dict(solver="lbfgs", max_iter=15, loss="poisson")),
    "weighted lbfgs": ("MLPClassifier", IRIS, WEIGHTS, dict(solver="lbfgs", max_iter=10)),
}


@pytest.mark.parametrize("name", CASES)
def test_losses_and_weights_are_those_of_scikit_learn(name):
    kind, data, weights, options = CASES[name]
    theirs, ours = both(kind, data, weights, **options)
    assert_alike(theirs, ours)
    np.testing.assert_allclose(ours.predict(data[0]), theirs.predict(data[0]), rtol=1e-6)
    if kind == "MLPClassifier":
        np.testing.assert_allclose(ours.predict_log_proba(data[0]), theirs.predict_log_proba(data[0]), rtol=1e-6)


def test_lbfgs_finds_the_optimum_of_several_outputs():
    model = MLPRegressor(hidden_layer_sizes=(), solver="lbfgs", alpha=50.0, tol=1e-9, max_iter=500, random_state=0)
    model.fit(*OUTPUTS)
    ridge = Ridge(alpha=50.0).fit(*OUTPUTS)
    np.testing.assert_allclose(model.coefs_[0], ridge.coef_.T, atol=1e-5)
    loss = 0.5 * np.mean((ridge.predict(X) - OUTPUTS[1]) ** 2) + 25.0 * np.sum(ridge.coef_**2) / len(X)
    np.testing.assert_allclose(model.loss_, loss, rtol=1e-7)


def test_float32_is_trained_in_float32():
    theirs, ours = both("MLPClassifier", (IRIS[0].astype(np.float32), IRIS[1]), max_iter=20)
    assert ours.coefs_[0].dtype == np.float32 and ours.predict_proba(IRIS[0].astype(np.float32)).dtype == np.float32
    assert_alike(theirs, ours, rtol=1e-4)


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_a_sparse_matrix_gives_what_the_dense_one_does(solver):
    zeros = np.where(X > 0, X, 0.0)
    dense, thin = (MLPRegressor(hidden_layer_sizes=8, solver=solver, max_iter=10, random_state=0).fit(x, Y)
                   for x in (zeros, sparse.csc_array(zeros)))
    np.testing.assert_allclose(thin.coefs_[0], dense.coefs_[0], rtol=1e-7)


# ------------------------------------------------------------------
# going on


def test_partial_fit_goes_on_as_scikit_learn_does_also_from_a_pickle():
    theirs, ours = (cls(16, random_state=3) for cls in (neural_network.MLPClassifier, MLPClassifier))
    for k in range(6):
        part = slice(20 * k, 20 * k + 30)
        theirs.partial_fit(IRIS[0][part], IRIS[1][part], classes=[0, 1, 2])
        ours.partial_fit(IRIS[0][part], IRIS[1][part], classes=[0, 1, 2])
        if k == 2:
            ours = pickle.loads(pickle.dumps(ours))
    assert_alike(theirs, ours)


def test_settings_that_change_between_calls_count_where_they_do_in_scikit_learn():
    theirs, ours = (cls(16, random_state=3, batch_size=50) for cls in (neural_network.MLPClassifier, MLPClassifier))
    for model in (theirs, ours):
        for change in ({}, {"activation": "tanh"}, {"alpha": 1.0, "batch_size": 40}, {"learning_rate_init": 0.5}):
            model.set_params(**change).partial_fit(*IRIS, classes=[0, 1, 2])
    assert_alike(theirs, ours)


def test_a_warm_start_goes_on_from_the_weights():
    theirs, ours = (cls(hidden_layer_sizes=16, random_state=3, warm_start=True, max_iter=7).fit(X, Y)
                    for cls in (neural_network.MLPRegressor, MLPRegressor))
    for model in (theirs, ours):
        model.set_params(max_iter=5).fit(X, Y)
    assert len(ours.loss_curve_) == 12
    assert_alike(theirs, ours)


def test_a_warm_start_with_other_layers_is_refused():
    model = MLPRegressor(hidden_layer_sizes=16, warm_start=True, max_iter=2).fit(X, Y)
    with pytest.raises(ValueError, match=r"\[10, 16, 1\].*\[10, 8, 1\]"):
        model.set_params(hidden_layer_sizes=8).fit(X, Y)


def test_weights_of_a_batch_that_sum_to_zero_are_refused():
    with pytest.raises(ZeroDivisionError, match="batch_size"):
        MLPRegressor(batch_size=10, shuffle=False).fit(X, Y, sample_weight=np.arange(len(Y)) >= 10)


def test_an_interrupted_fit_keeps_what_it_has():
    class Interrupted(np.random.RandomState):
        epochs = 0

        def permutation(self, n):
            self.epochs += 1
            if self.epochs == 4:
                raise KeyboardInterrupt
            return super().permutation(n)

    with pytest.warns(UserWarning, match="interrupted"):
        model = MLPRegressor(random_state=Interrupted(0), verbose=True).fit(X, Y)  # which draws no orders ahead
    whole = MLPRegressor(random_state=0, max_iter=3).fit(X, Y)
    assert model.loss_curve_ == whole.loss_curve_ and model.n_iter_ == 3
    np.testing.assert_array_equal(model.coefs_[0], whole.coefs_[0])


def test_what_it_says_is_what_scikit_learn_says(capsys):
    said = []
    for cls in (neural_network.MLPClassifier, MLPClassifier):
        with pytest.warns(ConvergenceWarning, match=r"Maximum iterations \(3\)"):
            cls(4, max_iter=3, random_state=0, verbose=True, early_stopping=True).fit(*IRIS)
        cls(4, max_iter=50, tol=10.0, n_iter_no_change=2, random_state=0, verbose=True).fit(*IRIS)
        said.append(capsys.readouterr().out)
    assert said[1] == said[0] and "Stopping." in said[0]


# ------------------------------------------------------------------
# at home


#: one needs SCIPY_ARRAY_API in the environment, the other is of a method that scikit-learn's has not either
NOT_OF_IT = {"check_array_api_input", "check_classifiers_multilabel_output_format_decision_function"}


@pytest.mark.parametrize("cls", [MLPClassifier, MLPRegressor])
def test_scikit_learns_checks_pass_without_exemptions(cls):
    pytest.importorskip("pandas")
    checks = check_estimator(cls(max_iter=50), on_skip=None)
    assert len(checks) > 50
    assert {r["check_name"] for r in checks if r["status"] != "passed"} <= NOT_OF_IT


def test_the_tools_of_scikit_learn_take_it():
    pipeline = make_pipeline(StandardScaler(), MLPClassifier(8, max_iter=60, learning_rate_init=0.01, random_state=0))
    search = GridSearchCV(pipeline, {"mlpclassifier__alpha": [1e-4, 1.0]}, cv=2, n_jobs=2).fit(*IRIS)
    assert search.best_score_ > 0.85
    assert cross_val_score(clone(search.best_estimator_), *IRIS, cv=2).mean() == search.best_score_


def test_a_fitted_model_goes_through_joblib():
    joblib = pytest.importorskip("joblib")
    model, file = MLPClassifier(8, max_iter=5).fit(*IRIS), io.BytesIO()
    joblib.dump(model, file)
    file.seek(0)
    again = joblib.load(file)
    np.testing.assert_array_equal(again.predict_proba(IRIS[0]), model.predict_proba(IRIS[0]))
    again.partial_fit(*IRIS)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_tables_give_the_names_of_features_and_weights_are_routed(library):
    frames = pytest.importorskip(library)
    names = ["a", "b", "c", "d"]
    table = frames.DataFrame(dict(zip(names, IRIS[0].T)))
    model = MLPClassifier(4, max_iter=3, random_state=0).fit(table, frames.Series(IRIS[1]))
    assert model.feature_names_in_.tolist() == names
    np.testing.assert_array_equal(model.predict(table), MLPClassifier(4, max_iter=3, random_state=0)
                                  .fit(*IRIS).predict(IRIS[0]))
    with sklearn.config_context(enable_metadata_routing=True):
        routed = MLPClassifier(4, max_iter=3).set_fit_request(sample_weight=True).set_score_request(sample_weight=False)
        cross_val_score(routed, *IRIS, params={"sample_weight": WEIGHTS})


def test_the_fitted_network_is_a_module():
    model = MLPClassifier(8, max_iter=5).fit(*IRIS)
    z = model.to_module()(IRIS[0]).numpy()
    odds = np.exp(z - z.max(1, keepdims=True))
    np.testing.assert_allclose(odds / odds.sum(1, keepdims=True), model.predict_proba(IRIS[0]), rtol=1e-12)
