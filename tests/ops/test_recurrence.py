"""Recurrent layers over all steps, against their formulas step by step in NumPy."""

import numpy as np
import pytest

import tapegrad as tg
from tapegrad.errors import GradientError, ShapeError
from tapegrad.functions.recurrence import gru_layer, lstm_layer, rnn_layer
from tapegrad.ops.cells import GRU, LSTM, RNN

from .contract import Case, OpContract, close, uniform
from .derivatives import Derivatives

LAYERS = {"rnn": rnn_layer, "relu": rnn_layer, "gru": gru_layer, "lstm": lstm_layer}
GATES = {"rnn": 1, "relu": 1, "gru": 3, "lstm": 4}


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def naive_step(kind, x, h, c, w_ih, w_hh, b_ih, b_hh):
    """The states after one step."""
    inner, outer = x @ w_ih.T + b_ih, h @ w_hh.T + b_hh
    if kind in ("rnn", "relu"):
        return (np.tanh if kind == "rnn" else lambda v: np.maximum(v, 0))(inner + outer), c
    if kind == "gru":
        (xr, xz, xn), (hr, hz, hn) = (np.split(v, 3, axis=1) for v in (inner, outer))
        z = sigmoid(xz + hz)
        return (1 - z) * np.tanh(xn + sigmoid(xr + hr) * hn) + z * h, c
    i, f, g, o = np.split(inner + outer, 4, axis=1)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def naive(kind, x, w_ih, w_hh, b_ih=None, b_hh=None, h=None, c=None, reverse=False):
    """All hidden states, the last one and for the LSTM the last cells, one after the other in a row."""
    zeros, units = np.zeros(len(w_hh)), w_hh.shape[1]
    b_ih, b_hh = zeros if b_ih is None else b_ih, zeros if b_hh is None else b_hh
    h, c = (np.zeros((x.shape[1], units)) if s is None else s for s in (h, c))
    y = np.zeros((*x.shape[:2], units))
    for t in range(len(x))[:: -1 if reverse else 1]:
        h, c = naive_step(kind, x[t], h, c, w_ih, w_hh, b_ih, b_hh)
        y[t] = h
    return np.concatenate([part.ravel() for part in ((y, h, c) if kind == "lstm" else (y, h))])


def row(parts):
    """The results in a row, so that one cotangent weighs outputs and final states."""
    return tg.concatenate([tg.ravel(p) for p in parts])


def operands(kind, steps=3, samples=2, inputs=2, units=3, bias=True, states=True, seed=3):
    rows = GATES[kind] * units
    shapes = [(steps, samples, inputs), (rows, inputs), (rows, units)]
    shapes += [(rows,)] * 2 * bias + [(samples, units)] * ((2 if kind == "lstm" else 1) * states)
    return tuple(uniform(s, -1.0, 1.0, seed + k) for k, s in enumerate(shapes))


def arguments(args, bias):
    """Positional arguments with None for the biases that are absent."""
    args = list(args)
    if not bias:
        args[3:3] = [None, None]
    return args


def options_of(kind, reverse):
    return {"reverse": reverse} | ({"nonlinearity": "relu"} if kind == "relu" else {})


def case(kind, reverse=False, bias=True, states=True, **sizes):
    name = f"{kind}{' reverse' * reverse}{' without bias' * (not bias)}{' from zeros' * (not states)} {sizes or ''}"
    return Case(
        name, lambda *a: row(LAYERS[kind](*arguments(a, bias), **options_of(kind, reverse))),
        lambda *a: naive(kind, *arguments(a, bias), reverse=reverse),
        operands(kind, bias=bias, states=states, **sizes), double=1e-12, single=1e-5)  # fmt: skip


class TestRecurrence(OpContract, Derivatives):
    cases = [
        case("rnn"),
        case("rnn", reverse=True, bias=False, states=False),
        case("relu", seed=11),
        case("gru", reverse=True),
        case("gru", bias=False, samples=1),
        case("lstm"),
        case("lstm", reverse=True, bias=False, states=False, steps=1),
    ]  # fmt: skip


def gradients(kind, args, reverse):
    leaves = [tg.tensor(a, requires_grad=True) for a in args]
    out = row(LAYERS[kind](*leaves, **options_of(kind, reverse)))
    out.backward(gradient=uniform(out.shape, 0.5, 1.5, 9))
    return out.numpy(), [leaf.grad.numpy() for leaf in leaves]


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("kind", LAYERS)
def test_blocks_of_steps_give_what_all_steps_at_once_give(kind, reverse, monkeypatch):
    args = operands(kind, steps=5)
    whole, slopes = gradients(kind, args, reverse)
    close(whole, naive(kind, *args, reverse=reverse), 1e-12)
    for block in (1, 2 * 2 * 3 * (1 if GATES[kind] == 1 else 4)):  # one step, and two
        monkeypatch.setattr("tapegrad.functions.recurrence.BLOCK", block)
        value, found = gradients(kind, args, reverse)
        close(value, whole, 1e-13)
        for a, b in zip(found, slopes):
            close(a, b, 1e-12)
        with tg.no_grad():  # then the gates of one block are all that is held
            close(row(LAYERS[kind](*args, **options_of(kind, reverse))).numpy(), whole, 1e-13)


@pytest.mark.parametrize("samples", [3, 9])  # few, whose steps do without BLAS, and more
@pytest.mark.parametrize("kind", ["rnn", "gru", "lstm"])
def test_slopes_along_a_direction_with_many_units(kind, samples):
    args = operands(kind, steps=5, samples=samples, inputs=4, units=19)
    args = (args[0], *(0.3 * a for a in args[1:]))
    for reverse in (False, True):
        value, found = gradients(kind, args, reverse)
        close(value, naive(kind, *args, reverse=reverse), 1e-12)
        cotangent = uniform(value.shape, 0.5, 1.5, 9)
        for k, slope in enumerate(found):
            step = 1e-5 * uniform(args[k].shape, -1.0, 1.0, 31 + k)
            ahead, behind = (naive(kind, *args[:k], args[k] + move, *args[k + 1 :], reverse=reverse)
                             for move in (step, -step))
            close((slope * step).sum() * 2e5, ((ahead - behind) * cotangent).sum() * 1e5, 1e-8, floor=1.0)


@pytest.mark.parametrize("kind", LAYERS)
def test_operands_that_are_one_tensor_get_the_sum_of_their_gradients(kind, monkeypatch):
    args = operands(kind, inputs=3)
    pairs = [(1, 2), (3, 4), *([(5, 6)] if kind == "lstm" else [])]
    args = list(args)
    for first, second in pairs:
        args[second] = args[first]
    _, apart = gradients(kind, args, False)
    monkeypatch.setattr("tapegrad.functions.recurrence.BLOCK", 1)
    leaves = [tg.tensor(a, requires_grad=True) for a in args]
    for first, second in pairs:
        leaves[second] = leaves[first]
    out = row(LAYERS[kind](*leaves, **options_of(kind, False)))
    out.backward(gradient=uniform(out.shape, 0.5, 1.5, 9))
    for first, second in pairs:
        close(leaves[first].grad.numpy(), apart[first] + apart[second], 1e-12)
    close(leaves[0].grad.numpy(), apart[0], 1e-12)


@pytest.mark.parametrize("kind", LAYERS)
def test_a_second_backward_adds_the_same_gradients_again(kind):
    args = operands(kind)
    _, once = gradients(kind, args, False)
    leaves = [tg.tensor(a, requires_grad=True) for a in args]
    out = row(LAYERS[kind](*leaves, **options_of(kind, False)))
    for last in (False, True):
        out.backward(gradient=uniform(out.shape, 0.5, 1.5, 9), retain_graph=not last)
    for leaf, expected in zip(leaves, once):
        close(leaf.grad.numpy(), 2 * expected, 1e-12)


@pytest.mark.parametrize("kind", LAYERS)
def test_no_samples_give_no_outputs_and_gradients_of_zero(kind):
    args = operands(kind, samples=0)
    leaves = [tg.tensor(a, requires_grad=True) for a in args]
    results = LAYERS[kind](*leaves, **options_of(kind, False))
    assert results[0].shape == (3, 0, 3) and results[1].shape == (0, 3)
    row(results).sum().backward()
    for leaf in leaves[1:5]:
        assert not leaf.grad.numpy().any()


@pytest.mark.parametrize("kind", ["rnn", "gru", "lstm"])
def test_nan_in_a_sample_reaches_that_sample_alone_and_from_its_step_on(kind):
    args = operands(kind)
    clean = LAYERS[kind](*args)[0].numpy()
    args[0][1, 0, 0] = np.nan
    y = LAYERS[kind](*args)[0].numpy()
    assert np.isnan(y[1:, 0]).all()
    np.testing.assert_array_equal(y[0], clean[0])
    np.testing.assert_array_equal(y[:, 1], clean[:, 1])


def test_what_is_frozen_keeps_nothing_for_itself():
    x, w_ih, w_hh, bias, h0 = 1, 2, 4, 8, 64
    for op in (RNN, GRU, LSTM):
        assert 1 not in op.saved_operands(x | w_hh | bias)  # the input is read for w_ih alone
        assert 1 in op.saved_operands(w_ih) and 2 not in op.saved_operands(w_ih)
        assert 2 in op.saved_operands(x)
        assert op.saved_operands(0) == ()
    assert 0 not in LSTM.saved_operands(x | w_ih | bias | h0)  # the LSTM's states are read for w_hh alone


@pytest.mark.parametrize("kind", LAYERS)
def test_second_derivatives_of_no_samples_are_zero(kind):
    args = operands(kind, samples=0)
    for found in tg.hvp(lambda *a: (row(LAYERS[kind](*a, **options_of(kind, True))) ** 2).sum(), args, args):
        assert not found.any()


@pytest.mark.parametrize("kind", LAYERS)
def test_a_batch_with_one_set_of_weights_is_one_layer_of_more_samples(kind):
    args = operands(kind)
    batch = tg.compile(tg.vmap(lambda x, *rest: LAYERS[kind](x, *args[1:5], *rest)[0]))
    batch(*(np.stack([a, -a]) for a in (args[0], *args[5:])))
    assert "of each" not in str(batch.tape)


def test_what_a_frozen_weight_did_not_keep_is_missed_by_second_derivatives_by_run_and_not_by_grad():
    args = operands("lstm")

    def penalty(x):
        return (tg.grad(lambda x: lstm_layer(tg.sin(x), *args[1:])[0].sum())(x) ** 2).sum()

    x = tg.tensor(args[0], requires_grad=True)
    lstm_layer(tg.sin(x), *args[1:])[0].sum().backward()
    close(penalty(args[0]).item(), (x.grad.numpy() ** 2).sum(), 1e-12)
    assert tg.gradcheck(penalty, args[0])
    with pytest.raises(GradientError, match="lstm: .*not kept.*tg.grad"):
        tg.autograd.grad(lstm_layer(tg.sin(x), *args[1:])[0].sum(), [x], create_graph=True)


def test_shapes_that_do_not_fit_are_named():
    x, w_ih, w_hh, b_ih, b_hh, h0, c0 = operands("lstm")
    with pytest.raises(ShapeError, match=r"\[3, 2, 2\].*\[12, 3\].*\[12, 3\]"):
        lstm_layer(x, w_hh, w_hh)
    with pytest.raises(ShapeError, match=r"gru.*\[12, 2\]"):
        gru_layer(x, w_ih, w_hh)
    with pytest.raises(ShapeError, match="no steps"):
        lstm_layer(x[:0], w_ih, w_hh)
    with pytest.raises(ShapeError, match="both or neither"):
        lstm_layer(x, w_ih, w_hh, b_ih)
    with pytest.raises(ShapeError, match=r"c0 of shape \[1, 3\].*expected \[2, 3\]"):
        lstm_layer(x, w_ih, w_hh, b_ih, b_hh, h0, c0[:1])
