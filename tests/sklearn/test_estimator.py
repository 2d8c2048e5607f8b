"""`tapegrad.sklearn.Estimator`: any module for scikit-learn's tools."""

import pickle

import numpy as np
import pytest

sklearn = pytest.importorskip("sklearn", minversion="1.7")

from sklearn import datasets  # noqa: E402
from sklearn.base import clone, is_classifier, is_regressor  # noqa: E402
from sklearn.linear_model import LogisticRegression, Ridge  # noqa: E402
from sklearn.model_selection import cross_val_score  # noqa: E402
from sklearn.utils.estimator_checks import check_estimator  # noqa: E402

import tapegrad as tg  # noqa: E402
from tapegrad import nn, optim  # noqa: E402
from tapegrad.sklearn import Estimator  # noqa: E402

pytestmark = pytest.mark.compiled

IRIS = datasets.load_iris(return_X_y=True)
X, Y = datasets.load_diabetes(return_X_y=True)
X = X * 20
LABELS = datasets.make_multilabel_classification(100, n_features=6, n_classes=3, random_state=0)


def network(inputs, outputs):
    return nn.Sequential(nn.Linear(inputs, 32), nn.ReLU(), nn.Linear(32, outputs))


@pytest.mark.parametrize("loss", ["cross_entropy", "mse_loss", "binary_cross_entropy_with_logits"])
def test_scikit_learns_checks_pass_without_exemptions(loss):
    pytest.importorskip("pandas")
    checks = check_estimator(Estimator(network, loss, lr=0.01, max_epochs=60, batch_size=32), on_skip=None)
    assert len(checks) > 50
    assert {r["check_name"] for r in checks if r["status"] != "passed"} <= {
        "check_array_api_input", "check_classifiers_multilabel_output_format_decision_function"}


def test_a_linear_module_trained_to_the_end_is_logistic_regression():
    def loss(z, y):
        return nn.functional.cross_entropy(z, y) + 0.5 / len(z) * (weight() * weight()).sum()

    def linear(inputs, outputs):
        made.append(nn.Linear(inputs, outputs))
        return made[-1]

    made = []
    weight = lambda: made[-1].weight
    x = (IRIS[0] - IRIS[0].mean(0)) / IRIS[0].std(0)
    model = Estimator(linear, loss, "Adam", lr=0.05, task="classifier", max_epochs=1500, batch_size=150,
                      random_state=0).fit(x, IRIS[1])
    reference = LogisticRegression(C=1.0, max_iter=1000, tol=1e-8).fit(x, IRIS[1])
    np.testing.assert_allclose(model.predict_proba(x), reference.predict_proba(x), atol=2e-3)


def test_weighted_rows_are_repeated_ones():
    weights = np.arange(len(Y)) % 3
    linear = Estimator(nn.Linear, "mse_loss", "SGD", lr=0.1, batch_size=1000, max_epochs=2000, random_state=0)
    weighted = clone(linear).fit(X, Y / 77, sample_weight=weights)
    ridge = Ridge(alpha=1e-9).fit(X, Y / 77, sample_weight=weights)
    np.testing.assert_allclose(weighted.predict(X), ridge.predict(X), atol=0.02)


def test_rows_of_weight_zero_are_as_if_they_were_not_there():
    model = Estimator(nn.Linear, "mse_loss", "SGD", lr=0.1, max_epochs=3, shuffle=False, random_state=0)
    weights = np.zeros(len(Y))
    weights[300:] = 1.0
    fitted = clone(model).fit(X, Y / 77, sample_weight=weights)
    np.testing.assert_array_equal(fitted.predict(X), clone(model).fit(X[300:], Y[300:] / 77).predict(X))


def test_a_loss_that_is_a_mean_cannot_be_weighted():
    model = Estimator(nn.Linear, lambda z, y: ((z - y) ** 2).mean(), task="regressor")
    with pytest.raises(ValueError, match="each row"):
        model.fit(X, Y, sample_weight=np.ones(len(Y)))


def test_the_task_follows_from_the_loss():
    assert is_classifier(Estimator(network)) and not hasattr(Estimator(network, "mse_loss"), "predict_proba")
    assert is_regressor(Estimator(network, "l1_loss"))
    with pytest.raises(ValueError, match="task.*losses by name"):
        Estimator(network, "crossentropy").fit(*IRIS)


@pytest.mark.parametrize("options, message", [
    (dict(module=lambda i, o: nn.Linear(i, 2)), r"\[150, 2\].*\[150, 3\]"), (dict(optimizer="Adm"), "'Adm'"),
    (dict(module=lambda i, o: None), "NoneType"), (dict(dtype="int8"), "int8"),
    (dict(loss="binary_cross_entropy"), "cross_entropy"),
])
def test_what_does_not_fit_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Estimator(**{"module": network, "batch_size": 150, **options}).fit(*IRIS)


def test_labels_and_targets_may_be_several():
    model = Estimator(network, "binary_cross_entropy_with_logits", lr=0.02, random_state=0).fit(*LABELS)
    assert model.predict(LABELS[0]).shape == model.predict_proba(LABELS[0]).shape == (100, 3)
    assert model.score(*LABELS) > 0.6
    numbers = Estimator(network, "mse_loss", lr=0.02, random_state=0).fit(X, np.c_[Y, -Y] / 77)
    assert numbers.predict(X).shape == (442, 2) and numbers.score(X, np.c_[Y, -Y] / 77) > 0.5


def test_a_module_is_copied_and_trained_in_the_dtype_of_the_data():
    module = network(4, 3)
    before = module[0].weight.numpy()
    model = Estimator(module, random_state=0).fit(*IRIS)
    np.testing.assert_array_equal(module[0].weight.numpy(), before)
    assert model.predict_proba(IRIS[0]).dtype == np.float64
    assert model.fit(IRIS[0].astype(np.float32), IRIS[1]).module_[0].weight.dtype == np.float32


def test_integers_reach_a_module_that_takes_them():
    rng = np.random.default_rng(0)
    words = rng.integers(0, 5, (200, 3))
    module = lambda i, o: nn.Sequential(nn.Embedding(5, 4), nn.Flatten(), nn.Linear(4 * i, o))
    model = Estimator(module, dtype=None, lr=0.05, max_epochs=60, random_state=0).fit(words, words.sum(1) > 6)
    assert model.score(words, words.sum(1) > 6) > 0.95


def test_the_same_random_state_gives_the_same_model_and_leaves_the_librarys_stream_alone():
    tg.manual_seed(1)
    expected = nn.Linear(3, 3).weight.numpy()
    tg.manual_seed(1)
    dropping = lambda i, o: nn.Sequential(nn.Linear(i, 16), nn.Dropout(0.5), nn.Linear(16, o))
    one, two = (Estimator(dropping, random_state=4, max_epochs=5).fit(*IRIS) for _ in range(2))
    np.testing.assert_array_equal(one.predict_proba(IRIS[0]), two.predict_proba(IRIS[0]))
    np.testing.assert_array_equal(nn.Linear(3, 3).weight.numpy(), expected)


def test_patience_keeps_the_best_weights():
    x = X[:60].astype(np.float32)
    model = Estimator(network, "mse_loss", lr=0.05, patience=8, validation_fraction=0.3, max_epochs=500,
                      random_state=0).fit(x, Y[:60] / 77)
    held = model.validation_loss_
    assert model.n_iter_ == len(held) == int(np.argmin(held)) + 9
    from sklearn.model_selection import train_test_split
    seed = np.random.RandomState(0).randint(2**31 - 1)
    _, a, _, b = train_test_split(x, Y[:60] / 77, test_size=0.3, random_state=seed)
    np.testing.assert_allclose(np.mean((model.predict(a) - b) ** 2), min(held), rtol=1e-4)


def test_patience_never_keeps_weights_whose_loss_is_not_a_number():
    model = Estimator(nn.Linear, "mse_loss", "SGD", lr=1e3, patience=500, max_epochs=400, random_state=0)
    with np.errstate(all="ignore"):
        model.fit(X, Y / 77)
    assert np.isnan(model.validation_loss_[-1]) and np.isfinite(model.predict(X)).all()


def test_it_goes_on_from_a_warm_start_a_pickle_and_one_epoch_at_a_time():
    whole = Estimator(network, max_epochs=6, shuffle=False, random_state=0).fit(*IRIS)
    steps = Estimator(network, max_epochs=2, shuffle=False, random_state=0, warm_start=True).fit(*IRIS)
    steps = pickle.loads(pickle.dumps(steps)).fit(*IRIS)
    for _ in range(2):
        steps.partial_fit(*IRIS)
    np.testing.assert_allclose(steps.loss_curve_, whole.loss_curve_, rtol=1e-12)
    np.testing.assert_allclose(steps.predict_proba(IRIS[0]), whole.predict_proba(IRIS[0]), rtol=1e-12)


def test_a_rate_and_a_loss_may_change_on_the_way_an_optimiser_may_not():
    model = Estimator(network, "mse_loss", "SGD", lr=0.05, random_state=0).partial_fit(X, Y / 77)
    before = model.predict(X)
    np.testing.assert_array_equal(model.set_params(lr=0.0).partial_fit(X, Y / 77).predict(X), before)
    model.set_params(loss="l1_loss").partial_fit(X, Y / 77)
    np.testing.assert_allclose(model.loss_curve_[-1], np.abs(before - Y / 77).mean(), rtol=1e-9)
    with pytest.raises(ValueError, match="begins anew"):
        model.set_params(optimizer="Adam").partial_fit(X, Y / 77)


def test_an_optimiser_may_be_a_class_with_options():
    model = Estimator(network, optimizer=optim.SGD, lr=0.1, optimizer_options={"momentum": 0.9}, random_state=0)
    assert cross_val_score(model, *IRIS, cv=3).mean() > 0.9
