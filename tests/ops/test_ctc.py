"""Connectionist temporal classification, against the sum over all paths that are written as the labels."""

from itertools import groupby, product

import numpy as np
import pytest

import tapegrad as tg
import tapegrad.nn.functional as F
from tapegrad import nn, optim
from tapegrad.errors import ArgumentError, DtypeError, IndexRangeError, ShapeError

from .contract import Case, OpContract, close, uniform
from .derivatives import Derivatives


def log_softmax(x):
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def written(path, blank):
    """A path without repetitions, then without blanks."""
    return [c for c, _ in groupby(path) if c != blank]


def naive(x, targets, lengths, counts, blank=0, reduction="mean", zero_infinity=False):
    """The loss of scores `x` (T, N, C) by going through all C^T paths."""
    x, losses, start = log_softmax(x), [], 0
    for n, (length, count) in enumerate(zip(lengths, counts)):
        labels = list(targets[n][:count]) if np.ndim(targets) == 2 else list(targets[start : start + count])
        start += count
        paths = (p for p in product(range(x.shape[2]), repeat=length) if written(p, blank) == labels)
        total = sum(np.exp(sum(x[t, n, c] for t, c in enumerate(path))) for path in paths)
        loss = -np.log(total) if total else np.inf
        losses.append(0.0 if zero_infinity and not total else loss)
    losses = np.array(losses)
    if reduction == "none":
        return losses
    return losses.sum() if reduction == "sum" else (losses / np.maximum(counts, 1)).mean()


PADDED, ROW = np.array([[1, 2], [2, 2], [1, -7]]), np.array([1, 2, 2, 2, 1])


def case(name, targets, lengths, counts, **options):
    return Case(
        name, lambda x: F.ctc_loss(F.log_softmax(x, -1), targets, lengths, counts, **options),
        lambda x: naive(x, targets, lengths, counts, **options),
        (uniform((4, len(lengths), 3), -1.0, 1.0, 3),), double=1e-12)  # fmt: skip


class TestCtc(OpContract, Derivatives):
    cases = [
        case("padded", PADDED, (4, 3, 2), (2, 2, 1)),
        case("in a row, sum", ROW, (4, 4, 1), (2, 2, 1), reduction="sum"),
        case("each, another blank", np.array([[0, 1], [1, 0], [0, 0]]), (4, 2, 4), (2, 2, 2), blank=2,
             reduction="none"),
        case("no labels, one that does not fit", PADDED, (4, 2, 0), (0, 2, 0), zero_infinity=True),
    ]  # fmt: skip


def loss_and_gradient(x, *args, **options):
    leaf = tg.tensor(x, requires_grad=True)
    loss = F.ctc_loss(leaf, *args, **options)
    loss.sum().backward()
    return loss.numpy(), leaf.grad.numpy()


@pytest.mark.parametrize("zero", [False, True])
def test_labels_that_do_not_fit_the_steps_give_infinity_or_nothing(zero):
    x = log_softmax(uniform((4, 2, 3), -1.0, 1.0, 5))
    loss, slope = loss_and_gradient(x, PADDED[:2], (2, 2), (2, 2), reduction="none", zero_infinity=zero)
    assert np.isfinite(loss[0]) and loss[1] == (0.0 if zero else np.inf)  # twice the same label needs a blank between
    assert np.isfinite(slope[:, 0]).all() and not slope[2:].any()
    assert not slope[:2, 1].any() if zero else np.isnan(slope[:2, 1]).all()


def test_a_probability_of_zero_takes_no_part():
    x = log_softmax(uniform((4, 1, 3), -1.0, 1.0, 5))
    x[1, 0, 1] = -np.inf
    loss, slope = loss_and_gradient(x, [[1, 2]], [4], [2])
    few = x.copy()
    few[1, 0, 1] = -1e3
    expected, near = loss_and_gradient(few, [[1, 2]], [4], [2])
    close(loss, expected, 1e-12)
    close(slope, near, 1e-12)
    assert slope[1, 0, 1] == 0.0


@pytest.mark.parametrize("zero", [False, True])
def test_the_composition_has_the_gradients_of_infinite_losses_and_of_probabilities_of_zero(zero):
    x = log_softmax(uniform((4, 2, 3), -1.0, 1.0, 5))
    arguments = PADDED[:2], (2, 2), (2, 2)
    _, pull = tg.vjp(lambda x: F.ctc_loss(x, *arguments, zero_infinity=zero, reduction="sum"), x)
    found, = pull(1.0)
    np.testing.assert_allclose(found, loss_and_gradient(x, *arguments, zero_infinity=zero)[1] * 4, atol=1e-13)
    x[1, 0, 1], few = -np.inf, x.copy()
    few[1, 0, 1] = -1e3
    moves = uniform(x.shape, -1.0, 1.0, 6)

    def curvature(x):
        return tg.hvp(lambda x: F.ctc_loss(x, [[1, 2], [2, 1]], [4, 3], [2, 2]), (x,), (moves,))[0]

    close(curvature(x), curvature(few), 1e-12)
    assert np.isfinite(curvature(x)).all() and curvature(x)[1, 0, 1] == 0.0


@pytest.mark.parametrize("padded", [True, False])
def test_recorded_second_derivatives_take_other_labels_and_lengths(padded):
    x, moves = (uniform((5, 2, 4), -1.0, 1.0, seed) for seed in (7, 8))

    def curvature(x, moves, *arguments):
        return tg.hvp(lambda x: F.ctc_loss(F.log_softmax(x, -1), *arguments), (x,), (moves,))[0]

    recorded = tg.compile(curvature)
    for rows, lengths, counts in (([[1, 2], [3, 3]], [5, 4], [2, 2]), ([[2, 2], [1, 0]], [4, 5], [2, 1])):
        labels = np.array(rows if padded else sum(([*row[:k]] for row, k in zip(rows, counts)), []))
        arguments = labels, np.array(lengths), np.array(counts)
        step, gradient = 1e-4 * moves, tg.grad(lambda x, *rest: F.ctc_loss(F.log_softmax(x, -1), *rest))
        ahead, behind = (gradient(y, *arguments) for y in (x + step, x - step))
        close(recorded(x, moves, *arguments).numpy(), (ahead - behind) * 5e3, 1e-6)


def test_gradients_hold_over_long_sequences_in_float32():
    rng = np.random.default_rng(2)
    x = log_softmax(3 * rng.standard_normal((400, 2, 12)))
    targets, lengths = rng.integers(1, 12, (2, 50)), ((400, 300), (50, 40))
    loss, slope = loss_and_gradient(x, targets, *lengths, reduction="none")
    single, near = loss_and_gradient(x.astype(np.float32), targets, *lengths, reduction="none")
    assert single.dtype == np.float32
    close(single, loss, 1e-6)
    assert np.abs(near - slope).max() < 5e-5  # probabilities of at most 1
    assert np.abs(slope.sum(-1)).max() < 1e-12  # both parts of the gradient add up to 1 at each step


def test_one_sample_and_none_of_its_gradients():
    x = log_softmax(uniform((4, 1, 3), -1.0, 1.0, 5))
    loss = F.ctc_loss(x[:, 0], np.array([1, 2]), 4, 2)
    assert loss.shape == () and not loss.requires_grad
    close(loss.numpy(), F.ctc_loss(x, [[1, 2]], [4], [2]).numpy(), 1e-15)
    with tg.no_grad():
        leaf = tg.tensor(x, requires_grad=True)
        close(nn.CTCLoss(reduction="sum")(leaf, [[1, 2]], [4], [2]).numpy(), 2 * loss.numpy(), 1e-15)


@pytest.mark.parametrize("padded", [True, False])
def test_a_recorded_step_takes_other_labels_and_lengths_and_checks_them(padded):
    tg.manual_seed(1)
    layer = nn.Linear(3, 4)
    x = uniform((5, 2, 3), -1.0, 1.0, 7).astype(np.float32)

    def loss(x, targets, lengths, counts):
        return F.ctc_loss(F.log_softmax(layer(x), -1), targets, lengths, counts)

    step = tg.TrainStep(loss, optim.SGD(layer.parameters(), lr=0.0))
    for rows, lengths, counts in (([[1, 2], [3, 3]], [5, 4], [2, 2]), ([[2, 2], [1, 0]], [4, 5], [2, 1])):
        labels = np.array(rows if padded else sum(([*row[:k]] for row, k in zip(rows, counts)), []))
        expected = loss(x, labels, np.array(lengths), np.array(counts)).item()
        assert step(x, labels, np.array(lengths), np.array(counts)) == pytest.approx(expected, rel=1e-6)
    labels = np.array([[1, 2], [3, 3]] if padded else [1, 2, 3, 3])
    wrong = labels.copy()
    wrong.flat[1] = 4
    with pytest.raises(IndexRangeError, match="index 4 lies outside the 4 classes"):
        step(x, wrong, np.array([5, 4]), np.array([2, 2]))
    wrong.flat[1] = 0
    with pytest.raises(IndexRangeError, match="0 is the blank"):
        step(x, wrong, np.array([5, 4]), np.array([2, 2]))
    with pytest.raises(ArgumentError, match="input length 6"):
        step(x, labels, np.array([5, 6]), np.array([2, 2]))
    with pytest.raises(ArgumentError, match="target length 3" if padded else "reach to 5"):
        step(x, labels, np.array([5, 4]), np.array([2, 3]))


def test_what_does_not_fit_is_named():
    x = log_softmax(uniform((4, 2, 3), -1.0, 1.0, 5))
    with pytest.raises(IndexRangeError, match="index 3 lies outside the 3 classes"):
        F.ctc_loss(x, [[1, 3], [1, 1]], [4, 4], [2, 2])
    with pytest.raises(ArgumentError, match="input length 5"):
        F.ctc_loss(x, PADDED[:2], [4, 5], [2, 2])
    with pytest.raises(ArgumentError, match="target length -1"):
        F.ctc_loss(x, PADDED[:2], [4, 4], [2, -1])
    with pytest.raises(ArgumentError, match="add up to 4, but there are 5"):
        F.ctc_loss(x, ROW, [4, 4], [2, 2])
    with pytest.raises(ArgumentError, match="blank 3"):
        F.ctc_loss(x, PADDED[:2], [4, 4], [2, 2], blank=3)
    with pytest.raises(ShapeError, match=r"input_lengths of shape \[1\].*\[4, 2, 3\]"):
        F.ctc_loss(x, PADDED[:2], [4], [2, 2])
    with pytest.raises(ShapeError, match=r"\[4, 2, 3\].*\[3, 2\]"):
        F.ctc_loss(x, PADDED, [4, 4], [2, 2])
    with pytest.raises(DtypeError, match="targets must be integers"):
        F.ctc_loss(x, PADDED[:2] * 0.5, [4, 4], [2, 2])
    with pytest.raises(ArgumentError, match="reduction"):
        nn.CTCLoss(reduction="all")
