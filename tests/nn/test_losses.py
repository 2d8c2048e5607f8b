"""Losses: closed forms, replay with other targets, what they refuse. PyTorch's numbers: `test_parity.py`."""

import numpy as np
import pytest

import tapegrad as tg
import tapegrad.nn.functional as F
from tapegrad import nn


def test_cross_entropys_gradient_is_softmax_minus_one_hot(rng):
    x = tg.tensor(rng.standard_normal((5, 4)), requires_grad=True)
    y = np.array([0, 3, 1, 1, 2])
    loss = F.cross_entropy(x, y)
    loss.backward()
    e = np.exp(x.numpy())
    p = e / e.sum(axis=1, keepdims=True)
    assert loss.item() == pytest.approx(-np.mean(np.log(p[np.arange(5), y])))
    np.testing.assert_allclose(x.grad.numpy(), (p - np.eye(4)[y]) / 5, rtol=1e-12)


def test_mean_squared_errors_gradient_is_two_differences_over_n(rng):
    x, y = tg.tensor(rng.standard_normal((5, 4)), requires_grad=True), rng.standard_normal((5, 4))
    F.mse_loss(x, y).backward()
    np.testing.assert_allclose(x.grad.numpy(), 2 * (x.numpy() - y) / 20, rtol=1e-12)


def test_weighted_mean_divides_by_the_weights_of_the_targets_present():
    x = tg.tensor(np.zeros((3, 2)))
    weight = np.array([1.0, 3.0])
    # every row's loss is log 2, so a weighted mean is log 2 too
    assert F.cross_entropy(x, np.array([0, 1, 1]), weight).item() == pytest.approx(np.log(2))
    assert F.cross_entropy(x, np.array([0, 1, 1]), weight, reduction="sum").item() == pytest.approx(
        7 * np.log(2)
    )
    assert F.cross_entropy(x, np.array([0, 1, -100]), weight, reduction="sum").item() == pytest.approx(
        4 * np.log(2)
    )


@pytest.mark.parametrize("dtype", [np.int8, np.int32, np.int64, np.uint8])
def test_class_indices_may_have_any_integer_dtype(dtype):
    x = tg.tensor(np.zeros((2, 3)))
    assert F.cross_entropy(x, np.array([0, 2], dtype)).item() == pytest.approx(np.log(3))
    assert F.cross_entropy(x, tg.tensor(np.array([0, 2], dtype))).item() == pytest.approx(np.log(3))
    assert F.cross_entropy(x, [0, 2]).item() == pytest.approx(np.log(3))


MODULES = [
    (nn.MSELoss(reduction="sum"), lambda x, t: F.mse_loss(x, t, reduction="sum")),
    (nn.L1Loss(), lambda x, t: F.l1_loss(x, t)),
    (nn.HuberLoss(delta=0.3), lambda x, t: F.huber_loss(x, t, delta=0.3)),
    (nn.SmoothL1Loss(beta=0.3), lambda x, t: F.smooth_l1_loss(x, t, beta=0.3)),
    (nn.BCELoss(), lambda x, t: F.binary_cross_entropy(x, t)),
    (nn.BCEWithLogitsLoss(pos_weight=[1.0, 2.0, 3.0]),
     lambda x, t: F.binary_cross_entropy_with_logits(x, t, pos_weight=np.array([1.0, 2.0, 3.0]))),
    (nn.KLDivLoss(reduction="batchmean", log_target=True),
     lambda x, t: F.kl_div(x, t, reduction="batchmean", log_target=True)),
    (nn.CrossEntropyLoss([1.0, 2.0, 0.5], label_smoothing=0.1),
     lambda x, t: F.cross_entropy(x, t, np.array([1.0, 2.0, 0.5]), label_smoothing=0.1)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("module", "function"), MODULES, ids=[type(module).__name__ for module, _ in MODULES]
)
def test_a_loss_module_is_its_function(module, function, rng):
    x, t = tg.tensor(rng.uniform(0.1, 0.9, (4, 3))), rng.uniform(0.1, 0.9, (4, 3))
    assert module(x, t).item() == function(x, t).item()


def test_class_losses_as_modules(rng):
    x, t = tg.tensor(rng.standard_normal((4, 3))), np.array([0, 1, 2, 1])
    options = {"ignore_index": 1, "reduction": "sum"}
    assert nn.CrossEntropyLoss(**options)(x, t).item() == F.cross_entropy(x, t, **options).item()
    assert (
        nn.NLLLoss([1.0, 2.0, 3.0], **options)(x, t).item()
        == F.nll_loss(x, t, [1.0, 2.0, 3.0], **options).item()
    )
    loss = nn.CrossEntropyLoss(np.ones(3, np.float32))
    assert list(loss.state_dict()) == ["weight"] and list(loss.parameters()) == []
    assert repr(nn.MSELoss()) == "MSELoss()"


def test_a_recorded_loss_follows_the_targets_of_the_batch_at_hand(rng):
    weight = np.array([1.0, 2.0, 0.5, 4.0])
    compiled = tg.compile(lambda x, y: F.cross_entropy(x, y, weight, ignore_index=3, label_smoothing=0.1))
    for _ in range(3):
        x, y = rng.standard_normal((6, 4)), rng.integers(0, 4, 6)
        want = F.cross_entropy(tg.tensor(x), y, weight, ignore_index=3, label_smoothing=0.1).item()
        assert float(compiled(x, y)) == pytest.approx(want, rel=1e-12)


def test_an_index_out_of_range_names_itself():
    with pytest.raises(IndexError, match="3 lies outside the 3 classes"):
        F.cross_entropy(tg.tensor(np.zeros((2, 3))), np.array([0, 3]))
    with pytest.raises(IndexError, match="3 lies outside the 3 classes"):
        F.nll_loss(tg.tensor(np.zeros((2, 3))), np.array([0, 3]))


def test_targets_that_do_not_fit_get_a_remedy():
    x = tg.tensor(np.zeros((4, 3)))
    with pytest.raises(
        ValueError, match=r"cross_entropy: input has shape \[4, 3\] and target \[3\]; expected \[4\]"
    ):
        F.cross_entropy(x, np.array([0, 1, 2]))
    with pytest.raises(ValueError, match=r"use target.reshape\(4\)"):
        F.cross_entropy(x, np.array([[0], [1], [2], [0]]))
    with pytest.raises(ValueError, match=r"one-hot rows pass target.argmax"):
        F.cross_entropy(x, np.eye(4, 3, dtype=int))
    with pytest.raises(TypeError, match="class indices must be integers"):
        F.cross_entropy(x, np.array([0.0, 1.0, 2.0, 0.0]))
    with pytest.raises(TypeError, match="class indices must be integers"):
        F.nll_loss(x, np.array([True, False, True, True]))
    with pytest.raises(
        ValueError, match=r"weight has shape \[4\], but the input has 3 classes; expected \[3\]"
    ):
        F.cross_entropy(x, np.array([0, 1, 2, 0]), np.ones(4))
    with pytest.raises(ValueError, match="it is a scalar"):
        F.cross_entropy(tg.tensor(1.0), np.array(0))
    with pytest.raises(ValueError, match="goes with class indices, not with probabilities"):
        F.cross_entropy(x, np.full((4, 3), 1 / 3), ignore_index=0)


@pytest.mark.parametrize(
    "loss", [F.mse_loss, F.l1_loss, F.huber_loss, F.smooth_l1_loss, F.binary_cross_entropy,
             F.binary_cross_entropy_with_logits, F.kl_div]
)  # fmt: skip
def test_shapes_that_would_broadcast_are_refused(loss):
    x = tg.tensor(np.full((4, 1), 0.5))
    with pytest.raises(
        ValueError,
        match=rf"{loss.__name__}: input has shape \[4, 1\] and target \[4\]; use target.reshape\(4, 1\)",
    ):
        loss(x, np.full(4, 0.5))
    with pytest.raises(ValueError, match=r"and target \[4, 2\]; make them equal"):
        loss(x, np.full((4, 2), 0.5))
    with pytest.raises(ValueError, match=rf"{loss.__name__}: reduction must be one of 'mean'.*got 'avg'"):
        loss(x, np.full((4, 1), 0.5), reduction="avg")


def test_a_number_is_a_target_for_every_element():
    x = tg.tensor(np.array([1.0, 3.0]))
    assert F.mse_loss(x, 0.0).item() == 5.0
    assert F.l1_loss(x, 2.0).item() == 1.0


def test_options_without_meaning_are_refused():
    x, y = tg.tensor(np.zeros((2, 3))), np.array([0, 1])
    with pytest.raises(ValueError, match=r"label_smoothing must be from 0 to 1, got 1.5"):
        F.cross_entropy(x, y, label_smoothing=1.5)
    with pytest.raises(ValueError, match="delta must be positive"):
        F.huber_loss(x, x, delta=0)
    with pytest.raises(ValueError, match="beta must not be negative"):
        F.smooth_l1_loss(x, x, beta=-1)
    with pytest.raises(ValueError, match="MSELoss: reduction must be one of"):
        nn.MSELoss(reduction="average")
    with pytest.raises(ValueError, match=r"mse_loss: input has shape \[2, 3\] and weight \[3\]"):
        F.mse_loss(x, x, weight=np.ones(3))


def test_saturated_probabilities_give_finite_losses_and_gradients():
    x = tg.tensor(np.array([0.0, 0.0, 1.0, 1.0]), requires_grad=True)
    loss = F.binary_cross_entropy(x, np.array([0.0, 1.0, 0.0, 1.0]), reduction="sum")
    loss.backward()
    assert loss.item() == 200.0 and np.all(np.isfinite(x.grad.numpy()))


def test_an_input_that_is_not_a_number_is_not_hidden():
    nan = tg.tensor(np.array([np.nan]))
    for loss in (
        F.binary_cross_entropy,
        F.mse_loss,
        F.huber_loss,
        F.binary_cross_entropy_with_logits,
        F.kl_div,
    ):
        assert np.isnan(loss(nan, np.array([0.5])).item()), loss
