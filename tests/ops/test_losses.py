"""The losses of `tapegrad.nn.functional` against their formulas."""

import itertools

import naive
import numpy as np
import pytest

import tapegrad as tg
import tapegrad.nn.functional as F
from tapegrad.errors import GradientError

from .contract import Case, OpContract, grid, leaves, shown, uniform
from .derivatives import Derivatives, agree_at

REDUCTIONS = ["mean", "sum", "none"]
SHAPES = [(), (3,), (2, 3), (2, 1, 3)]


def pairwise(name, step=0.1, **options):
    """Cases of an elementwise loss whose two operands are nowhere closer than half a step, nor at a kink apart."""
    return [
        Case(
            f"{name}-{shape}-{reduction}-{options}",
            lambda x, y, reduction=reduction: getattr(F, name)(x, y, reduction=reduction, **options),
            lambda x, y, reduction=reduction: getattr(naive, name)(x, y, reduction=reduction, **options),
            (grid(shape, 1, 0.02, 0.4), grid(shape, 2, 0.09, 0.4)),
        )
        for shape in SHAPES
        for reduction in REDUCTIONS
    ]


class TestElementwiseLosses(OpContract, Derivatives):
    cases = [
        *pairwise("mse_loss"),
        *pairwise("l1_loss"),
        *pairwise("huber_loss"),
        *pairwise("huber_loss", delta=0.6),
        *pairwise("smooth_l1_loss"),
        *pairwise("smooth_l1_loss", beta=0.6),
    ]


LABELS = np.array([2, 0, 1, 2])
WEIGHT = np.array([0.5, 2.0, 1.25])


def classification(name, make, shape, target, **options):
    shown = ", ".join(f"{k}={'...' if isinstance(v, np.ndarray) else v}" for k, v in options.items())
    kind = "indices" if np.issubdtype(target.dtype, np.integer) else "probabilities"
    return Case(
        f"{name}-{shape}-{kind}-{shown}",
        lambda x: getattr(F, name)(x, target, **options),
        lambda x: getattr(naive, name)(x, target, **options),
        (make(shape),),
    )


def scores(shape):
    return uniform(shape, -2, 2, 3)


def log_probabilities(shape):
    return naive.log_softmax(uniform(shape, -2, 2, 4), axis=1 if len(shape) > 1 else 0)


IMAGE_LABELS = np.random.default_rng(5).integers(0, 3, (2, 2, 3))
PROBABILITIES = naive.softmax(uniform((4, 3), -1, 1, 6), axis=1)


class TestCrossEntropy(OpContract, Derivatives):
    cases = [
        classification(
            "cross_entropy",
            scores,
            (4, 3),
            LABELS,
            reduction=reduction,
            label_smoothing=smoothing,
            weight=weight,
            ignore_index=ignore,
        )
        for reduction, smoothing, weight, ignore in itertools.product(REDUCTIONS, (0.0, 0.1), (None, WEIGHT), (-100, 2))
    ] + [
        *[
            classification("cross_entropy", scores, (4, 3), PROBABILITIES, reduction=r, label_smoothing=s, weight=w)
            for r, s, w in itertools.product(REDUCTIONS, (0.0, 0.2), (None, WEIGHT))
        ],
        *[classification("cross_entropy", scores, (2, 3, 2, 3), IMAGE_LABELS, reduction=r) for r in REDUCTIONS],
        classification("cross_entropy", scores, (2, 3, 2, 3), IMAGE_LABELS, weight=WEIGHT, label_smoothing=0.1),
        classification("cross_entropy", scores, (3,), np.array(1)),
        classification("cross_entropy", scores, (1, 1), np.array([0])),
        classification("cross_entropy", scores, (4, 3), LABELS.astype(np.int32)),
        classification("cross_entropy", scores, (4, 3), LABELS.astype(np.uint8)),
        classification("cross_entropy", scores, (2, 1000), np.array([999, 0])),
    ]


class TestNegativeLogLikelihood(OpContract, Derivatives):
    cases = [
        classification("nll_loss", log_probabilities, (4, 3), LABELS, reduction=r, weight=w, ignore_index=i)
        for r, w, i in itertools.product(REDUCTIONS, (None, WEIGHT), (-100, 0))
    ] + [
        classification("nll_loss", log_probabilities, (2, 3, 2, 3), IMAGE_LABELS),
        classification("nll_loss", log_probabilities, (3,), np.array(2)),
    ]


BITS = np.array([[1.0, 0.0, 0.3], [0.0, 1.0, 0.8]])
BIT_WEIGHT = np.array([[0.5, 1.0, 2.0], [1.0, 3.0, 0.25]])


class TestBinaryCrossEntropy(OpContract, Derivatives):
    cases = [
        Case(
            f"binary_cross_entropy-{r}-weight={w is not None}",
            lambda p, r=r, w=w: F.binary_cross_entropy(p, BITS, weight=w, reduction=r),
            lambda p, r=r, w=w: naive.binary_cross_entropy(p, BITS, weight=w, reduction=r),
            (uniform((2, 3), 0.1, 0.9, 7),),
        )
        for r, w in itertools.product(REDUCTIONS, (None, BIT_WEIGHT))
    ] + [
        Case(
            f"binary_cross_entropy_with_logits-{r}-weight={w is not None}-pos_weight={p is not None}",
            lambda x, r=r, w=w, p=p: F.binary_cross_entropy_with_logits(x, BITS, weight=w, reduction=r, pos_weight=p),
            lambda x, r=r, w=w, p=p: naive.binary_cross_entropy_with_logits(x, BITS, w, r, p),
            (uniform((2, 3), -3, 3, 8),),
        )
        for r, w, p in itertools.product(REDUCTIONS, (None, BIT_WEIGHT), (None, np.array([1.0, 2.0, 3.0])))
    ]


TARGET = np.array([[0.5, 0.0, 0.5], [0.2, 0.3, 0.5]])


class TestDivergence(OpContract, Derivatives):
    cases = [
        Case(
            f"kl_div-{r}",
            lambda x, r=r: F.kl_div(x, TARGET, reduction=r),
            lambda x, r=r: naive.kl_div(x, TARGET, reduction=r),
            (log_probabilities((2, 3)),),
        )
        for r in [*REDUCTIONS, "batchmean"]
    ] + [
        Case(
            f"kl_div-log_target-{r}",
            lambda x, r=r: F.kl_div(x, np.log(PROBABILITIES), reduction=r, log_target=True),
            lambda x, r=r: naive.kl_div(x, np.log(PROBABILITIES), reduction=r, log_target=True),
            (log_probabilities((4, 3)),),
        )
        for r in [*REDUCTIONS, "batchmean"]
    ]


# ------------------------------------------------------------------
# edges


def test_cross_entropy_of_huge_scores_neither_overflows_nor_turns_nan():
    x = tg.tensor(np.array([[1e300, 0.0], [-1e300, 0.0], [1e4, -1e4]]), requires_grad=True)
    loss = F.cross_entropy(x, np.array([0, 1, 1]), reduction="none")
    np.testing.assert_allclose(loss.numpy(), [0.0, 0.0, 2e4], atol=1e-300)
    loss.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), [[0, 0], [0, 0], [1, -1]], atol=1e-300)


@pytest.mark.parametrize("target", [LABELS, PROBABILITIES], ids=["indices", "probabilities"])
def test_a_common_offset_of_float32_scores_costs_no_digits(target):
    x = (uniform((4, 3), -2, 2, 9) + 1e4).astype(np.float32)
    loss = F.cross_entropy(tg.tensor(x), target, reduction="none").numpy()
    np.testing.assert_allclose(loss, naive.cross_entropy(x.astype(np.float64), target, reduction="none"), rtol=1e-6)
    logs = F.log_softmax(tg.tensor(x), dim=1).numpy()
    np.testing.assert_allclose(logs, naive.log_softmax(x.astype(np.float64), axis=1), rtol=1e-6)


def test_binary_cross_entropy_with_logits_is_exact_at_huge_logits():
    x = tg.tensor(np.array([1e4, -1e4, 1e4, -1e4, 800.0]), requires_grad=True)
    loss = F.binary_cross_entropy_with_logits(x, np.array([1.0, 0.0, 0.0, 1.0, 0.0]), reduction="none")
    np.testing.assert_allclose(loss.numpy(), [0.0, 0.0, 1e4, 1e4, 800.0])
    loss.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), [0.0, 0.0, 1.0, -1.0, 1.0])


def test_binary_cross_entropy_clamps_its_logarithms_at_minus_100_as_pytorch_does():
    p = tg.tensor(np.array([0.0, 1.0]))
    assert F.binary_cross_entropy(p, np.array([1.0, 0.0]), reduction="none").numpy().tolist() == [100.0, 100.0]
    assert F.binary_cross_entropy(p, np.array([0.0, 1.0]), reduction="none").numpy().tolist() == [0.0, 0.0]


def test_a_mean_over_only_ignored_rows_is_nan_and_their_sum_is_zero():
    x = tg.tensor(uniform((2, 3), -1, 1, 0))
    ignored = np.array([-100, -100])
    assert np.isnan(float(F.cross_entropy(x, ignored)))
    assert float(F.cross_entropy(x, ignored, reduction="sum")) == 0.0


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("loss", [F.cross_entropy, F.nll_loss])
def test_rules_of_losses_leave_ignored_rows_alone_whatever_their_scores(loss, reduction):
    x = [[1.0, 2.0, -np.inf], [np.nan, np.inf, 0.0], [0.5, 1.0, 2.0]]
    for target in (np.array([1, -100, 0]), np.array([-100, -100, -100])):
        (second,) = agree_at(lambda x, target=target: loss(x, target, reduction=reduction), x)
        assert not second[1].any() and np.isfinite(second).all()


def test_second_derivatives_of_cross_entropy_are_the_covariance_of_its_probabilities():
    x = uniform((1, 4), -1, 1, 0)
    p = naive.softmax(x, axis=1)[0]
    hessian = tg.hessian(lambda x: F.cross_entropy(x, np.array([2]), label_smoothing=0.1))(x)[0, :, 0]
    np.testing.assert_allclose(hessian, np.diag(p) - np.outer(p, p), atol=1e-15)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("name", ["cross_entropy", "nll_loss"])
def test_losses_of_each_of_a_batch_are_divided_by_their_own_weights(name, reduction):
    x, labels = uniform((2, 4, 3), -2, 2, 1), np.array([[0, 1, 2, 1], [2, 2, 0, -100]])
    mapped = tg.vmap(lambda x, t: getattr(F, name)(x, t, WEIGHT, reduction=reduction))
    expected = [getattr(naive, name)(a, t, weight=WEIGHT, reduction=reduction) for a, t in zip(x, labels)]
    np.testing.assert_allclose(mapped(x, labels), expected, rtol=1e-12)


def test_ignored_rows_get_a_zero_gradient():
    x = tg.tensor(uniform((3, 4), -1, 1, 0), requires_grad=True)
    F.cross_entropy(x, np.array([1, -100, 2])).backward()
    assert not x.grad.numpy()[1].any() and x.grad.numpy()[0].all()


def test_gradients_flow_into_a_target_of_probabilities():
    x, t = leaves([uniform((4, 3), -1, 1, 0), PROBABILITIES])
    F.cross_entropy(x, t, reduction="sum").backward()
    np.testing.assert_allclose(t.grad.numpy(), -naive.log_softmax(x.numpy(), axis=1), rtol=1e-12)


def test_gradients_flow_into_both_operands_of_mse():
    x, y = leaves([np.array([1.0, 2.0]), np.array([3.0, 5.0])])
    F.mse_loss(x, y).backward()
    assert x.grad.numpy().tolist() == [-2.0, -3.0] and y.grad.numpy().tolist() == [2.0, 3.0]


@pytest.mark.compiled
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rows, classes", [(1, 2), (64, 10), (300, 1000), (1000, 3)])
def test_cross_entropy_of_every_size_agrees_with_its_definition(rows, classes, dtype):
    x = uniform((rows, classes), -5, 5, rows).astype(dtype)
    labels = np.random.default_rng(classes).integers(0, classes, rows)
    leaf = tg.tensor(x, requires_grad=True)
    loss = F.cross_entropy(leaf, labels)
    loss.backward()
    tolerance = 1e-12 if dtype == np.float64 else 1e-5
    wide = x.astype(np.float64)
    np.testing.assert_allclose(float(loss), naive.cross_entropy(wide, labels), rtol=tolerance)
    expected = (naive.softmax(wide, axis=1) - np.eye(classes)[labels]) / rows
    np.testing.assert_allclose(leaf.grad.numpy(), expected, atol=tolerance / rows)


# ------------------------------------------------------------------
# errors


@pytest.mark.parametrize("label", [3, -1, 1 << 40])
def test_a_label_out_of_range_raises_an_index_error_that_names_it_and_the_classes(label):
    with pytest.raises(IndexError) as caught:
        F.cross_entropy(tg.tensor(np.zeros((2, 3))), np.array([0, label]))
    assert isinstance(caught.value, tg.TapegradError)
    assert str(label) in str(caught.value) and "3" in str(caught.value)


@pytest.mark.parametrize(
    "loss, shapes",
    [
        (F.mse_loss, ((2, 3), (2, 4))),
        (F.l1_loss, ((2, 3), (3, 3))),
        (F.binary_cross_entropy_with_logits, ((2, 3), (2, 4))),
    ],
)
def test_operands_of_a_loss_that_do_not_fit_name_both_shapes(loss, shapes):
    with pytest.raises(ValueError) as caught:
        loss(tg.tensor(np.zeros(shapes[0])), np.zeros(shapes[1]))
    assert all(shown(shape) in str(caught.value) for shape in shapes), str(caught.value)


def test_cross_entropy_with_too_few_labels_names_both_shapes():
    with pytest.raises(ValueError) as caught:
        F.cross_entropy(tg.tensor(np.zeros((4, 3))), np.zeros(3, dtype=np.int64))
    assert "4, 3" in str(caught.value) and "3" in str(caught.value).replace("4, 3", "")


@pytest.mark.parametrize("loss", [F.mse_loss, F.cross_entropy, F.kl_div, F.binary_cross_entropy])
def test_an_unknown_reduction_is_an_error(loss):
    with pytest.raises(ValueError, match="average"):
        loss(tg.tensor(np.full((2, 2), 0.5)), np.full((2, 2), 0.5), reduction="average")


@pytest.mark.parametrize("loss", [F.cross_entropy, F.nll_loss])
def test_class_weights_that_require_a_gradient_are_refused_for_there_is_none(loss):
    # PyTorch 2.13: "the derivative for 'weight' is not implemented"
    weight = tg.tensor([1.0, 2.0, 3.0], requires_grad=True)
    with pytest.raises(GradientError, match="no gradient by its input of shape"):
        loss(np.zeros((2, 3), np.float32), np.array([0, 1]), weight)
    assert loss(np.zeros((2, 3), np.float32), np.array([0, 1]), weight.detach()).shape == ()
