"""What a step returns beside its loss, and the profile of a compiled function."""

import copy

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import nn, optim

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(32, 3)), RNG.normal(size=(32, 1))


class Loss:
    """A loss that holds its model."""

    def __init__(self, has_aux=True):
        tg.manual_seed(0)
        self.model, self.has_aux = nn.Linear(3, 1).double(), has_aux

    def __call__(self, x, y):
        predicted = self.model(x)
        loss = ((predicted - y) ** 2).mean()
        return (loss, {"predicted": predicted, "weights": (self.model.weight, "linear"), "rows": x.argmax(1),
                       "worst": (predicted - y).abs().max()}) if self.has_aux else loss


def step_of(has_aux=True, **options):
    loss = Loss(has_aux)
    options |= {"has_aux": True} if has_aux else {}
    return tg.TrainStep(loss, optim.SGD(loss.model.parameters(), lr=0.1), **options)


def test_a_step_returns_what_the_loss_returns_beside_it_as_it_was_before_the_update():
    step, plain = step_of(), step_of(has_aux=False)
    weights = []
    for _ in range(4):
        weight, bias = (p.numpy() for p in step.loss_fn.model.parameters())
        loss, aux = step(X, Y)
        assert type(loss) is float and loss == plain(X, Y)
        np.testing.assert_allclose(aux["predicted"], X @ weight.T + bias, rtol=1e-12)
        np.testing.assert_array_equal(aux["weights"][0], weight)
        np.testing.assert_array_equal(aux["rows"], X.argmax(axis=1))
        assert aux["weights"][1] == "linear" and aux["worst"] == np.abs(aux["predicted"] - Y).max()
        weights.append(aux["weights"][0])
    assert step.recordings == 1 and not np.array_equal(weights[0], weights[1])  # copies, which later steps leave alone
    np.testing.assert_array_equal(step.loss_fn.model.weight.numpy(), plain.loss_fn.model.weight.numpy())


def test_runs_memory_profiles_and_explanations_leave_it_out():
    step, plain = step_of(), step_of(has_aux=False)
    history = step.run(X, Y, batch_size=8, epochs=3, seed=0)
    np.testing.assert_array_equal(history.loss, plain.run(X, Y, batch_size=8, epochs=3, seed=0).loss)
    assert step.memory().peak_bytes >= plain.memory().peak_bytes
    assert {row["op"] for row in step.profile(X, Y, seconds=0.01)} >= {"linear", "square"}
    shown, alone = (explained.to_dict()["nodes"] for explained in (step.explain(X, Y), plain.explain(X, Y)))
    assert [node["name"] for node in shown] == [node["name"] for node in alone] and alone[0]["name"] == "x"


def test_nested_arguments_have_auxiliary_results_too():
    loss = Loss()
    step = tg.TrainStep(lambda batch: loss(batch["x"], batch["y"]), optim.SGD(loss.model.parameters(), lr=0.1),
                        has_aux=True)
    value, aux = step({"x": X, "y": Y})
    assert value == step_of()(X, Y)[0] and aux["predicted"].shape == (32, 1)


def test_a_copy_has_auxiliary_results_too():
    step = step_of()
    assert copy.deepcopy(step)(X, Y)[0] == step(X, Y)[0]


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="has_aux=True goes with one whole batch a step"):
        step_of(accumulate=2)
    with pytest.raises(tg.GradientError, match="has_aux=True loss_fn must return a pair"):
        step_of(has_aux=False).__class__(Loss(False), step_of().optimizer, has_aux=True)(X, Y)
    with pytest.raises(tg.GradientError, match="must return a scalar Tensor, not tuple"):
        tg.TrainStep(loss := Loss(), optim.SGD(loss.model.parameters(), lr=0.1))(X, Y)


def test_a_compiled_function_has_a_profile():
    fast = tg.compile(tg.value_and_grad(lambda x: (tg.tanh(x) ** 2).sum()))
    x = np.linspace(0.0, 1.0, 1000)
    table = fast.profile(x, seconds=0.01)
    assert [row["op"] for row in table][:2] == ["tanh", "square"] and fast.recordings == 1
    assert sum(row["reverse"] for row in table) > 0.0
    value, gradient = fast(x)
    assert fast.recordings == 1
    np.testing.assert_allclose(gradient, 2 * np.tanh(x) * (1 - np.tanh(x) ** 2), rtol=1e-12)
    by_name = tg.compile(lambda x, scale: {"y": tg.exp(scale * x)})
    assert "exp" in str(by_name.profile(x=tg.tensor(x), scale=2.0, seconds=0.01))
