"""Scores and simple models, beside scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest

from tapegrad.cli.evaluation.scores import calibration, confusion, probabilities, scores
from tapegrad.cli.evaluation.simple import baseline, linear_model
from tapegrad.data import Target

from .commands import compiled

metrics = pytest.importorskip("sklearn.metrics")


def classes_target(count):
    return Target("kind", "classification", list(range(count)))


def labelled(rows, classes, seed=0):
    """Classes that noisy columns tell, and logits that are right about two times in three."""
    rng = np.random.default_rng(seed)
    y = np.concatenate([np.arange(classes), rng.choice(classes, rows - classes, p=np.arange(1, classes + 1) /
                                                       np.arange(1, classes + 1).sum())])
    logits = rng.normal(size=(rows, classes))
    logits[np.arange(rows), y] += 1.0
    return y, logits


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_scores_of_classes_are_those_of_scikit_learn(classes):
    y, logits = labelled(300, classes)
    found = scores(classes_target(classes), y, logits)
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    chosen = logits.argmax(axis=1)
    area = metrics.roc_auc_score(y, shares[:, 1] if classes == 2 else shares, multi_class="ovr")
    expected = {
        "accuracy": metrics.accuracy_score(y, chosen),
        "balanced_accuracy": metrics.balanced_accuracy_score(y, chosen),
        "log_loss": metrics.log_loss(y, shares),
        "roc_auc": area,
    }
    assert found.keys() == expected.keys()
    for name in expected:
        assert found[name] == pytest.approx(expected[name], rel=1e-12), name
    np.testing.assert_array_equal(confusion(y, chosen, classes), metrics.confusion_matrix(y, chosen))


def test_ties_count_half_in_the_area_under_the_curve():
    y, logits = labelled(200, 2)
    logits = np.round(logits)
    expected = metrics.roc_auc_score(y, probabilities(logits)[:, 1])
    assert scores(classes_target(2), y, logits)["roc_auc"] == pytest.approx(expected, rel=1e-12)


def test_a_class_without_rows_leaves_the_area_undefined_and_the_rest_as_it_is():
    y, logits = labelled(90, 3)
    y[y == 2] = 1
    found = scores(classes_target(3), y, logits)
    assert np.isnan(found["roc_auc"])
    chosen = logits.argmax(axis=1)
    recalls = [np.mean(chosen[y == k] == k) for k in (0, 1)]
    assert found["balanced_accuracy"] == pytest.approx(np.mean(recalls))


def test_log_loss_of_certain_errors_is_what_the_logits_say():
    found = scores(classes_target(2), np.array([0]), np.array([[0.0, 1000.0]]))
    assert found["log_loss"] == 1000.0


def test_scores_of_values_are_those_of_scikit_learn_in_the_targets_unit():
    rng = np.random.default_rng(0)
    target = Target("price", "regression", mean=50.0, scale=7.0)
    actual, predicted = rng.normal(size=(80, 1)), rng.normal(size=(80, 1))
    found = scores(target, actual, predicted)
    a, p = 50 + 7 * actual[:, 0], 50 + 7 * predicted[:, 0]
    assert found["r2"] == pytest.approx(metrics.r2_score(a, p), rel=1e-12)
    assert found["mae"] == pytest.approx(metrics.mean_absolute_error(a, p), rel=1e-12)
    assert found["rmse"] == pytest.approx(metrics.mean_squared_error(a, p) ** 0.5, rel=1e-12)
    assert np.isnan(scores(target, actual[:1], predicted[:1])["r2"])


def test_calibration_compares_confidence_with_the_share_that_is_right():
    # seven rows at 0.75, of which six are right, and three at 0.95, of which none is
    logits = np.log(np.array([[0.75, 0.25]] * 7 + [[0.05, 0.95]] * 3))
    found = calibration(np.array([0] * 6 + [1] + [0] * 3), logits)
    np.testing.assert_allclose(found.confidence, [0.75, 0.95])
    np.testing.assert_allclose(found.accuracy, [6 / 7, 0.0])
    np.testing.assert_array_equal(found.rows, [7, 3])
    assert found.error == pytest.approx((7 * (6 / 7 - 0.75) + 3 * 0.95) / 10)


def test_baseline_gives_the_shares_of_classes_and_the_mean():
    y = np.array([0, 2, 2, 2, 1])
    np.testing.assert_allclose(np.exp(baseline(classes_target(3), y, 2)), [[0.2, 0.2, 0.6]] * 2)
    values = baseline(Target("y", "regression"), np.array([[1.0], [4.0]]), 3)
    np.testing.assert_array_equal(values, [[2.5]] * 3)


@pytest.mark.parametrize("shape", [(120, 6), (20, 40)])
def test_linear_model_of_values_is_ridge(shape):
    from sklearn.linear_model import Ridge

    rng = np.random.default_rng(0)
    X, y = rng.normal(size=shape) + 1.0, rng.normal(size=(shape[0], 1))
    found = linear_model(Target("y", "regression"), X, y)(X)
    np.testing.assert_allclose(found[:, 0], Ridge(alpha=1.0).fit(X, y[:, 0]).predict(X), rtol=1e-8, atol=1e-8)


@compiled
@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("balanced", [False, True])
def test_linear_model_of_classes_is_logistic_regression(classes, balanced):
    from sklearn.linear_model import LogisticRegression

    from tapegrad.cli.rows import balanced_weights

    y, logits = labelled(150, classes)
    X = np.concatenate([logits, np.random.default_rng(1).normal(size=(150, 2))], axis=1)
    weights = balanced_weights(y, classes) if balanced else None
    found = probabilities(linear_model(classes_target(classes), X, y, weights)(X))
    model = LogisticRegression(tol=1e-8, max_iter=5000, class_weight="balanced" if balanced else None).fit(X, y)
    np.testing.assert_allclose(found, model.predict_proba(X), atol=2e-4)


def test_balanced_weights_are_those_of_scikit_learn():
    from sklearn.utils.class_weight import compute_sample_weight

    from tapegrad.cli.rows import balanced_weights

    y = np.array([0, 0, 0, 2, 2, 0])
    np.testing.assert_allclose(balanced_weights(y, 3), compute_sample_weight("balanced", y))
