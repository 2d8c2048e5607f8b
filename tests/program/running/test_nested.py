"""Steps take arguments by name, dicts and tuples of arrays, and numbers, as the loss does."""

from collections import namedtuple

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import nn, optim

Batch = namedtuple("Batch", "x y")
RNG = np.random.default_rng(0)
X, Y, KIND = RNG.normal(size=(64, 3)), RNG.normal(size=(64, 1)), RNG.integers(0, 2, 64)


def trained(loss, **options):
    """A step of a new model, whose loss is a function of the model and of what the step is called with."""
    tg.manual_seed(0)
    model = nn.Linear(3, 1).double()
    return tg.TrainStep(lambda *args, **kwargs: loss(model, *args, **kwargs), optim.SGD(model.parameters(), lr=0.1),
                        **options)


def plain(model, x, y, kind, scale):
    return (scale * (model(x) - y + kind[:, None] // 2) ** 2).mean()


#: the loss, and how a step or a run of it is called with x, y, kind and a number
FORMS = {
    "by name": (plain, lambda call, x, y, kind, scale, **o: call(x, scale=scale, kind=kind, y=y, **o)),
    "a dict": (lambda m, batch, scale: plain(m, batch["x"], *batch["rest"], scale),
               lambda call, x, y, kind, scale, **o: call({"x": x, "rest": (y, kind)}, scale, **o)),
    "a named tuple": (lambda m, batch, kind, scale: plain(m, batch.x, batch.y, kind, scale),
                      lambda call, x, y, kind, scale, **o: call(Batch(x, y), kind, scale, **o)),
    "a list of dicts": (lambda m, batch: plain(m, batch[0]["x"], batch[0]["y"], batch[1]["k"], batch[1]["s"]),
                        lambda call, x, y, kind, scale, **o: call([{"x": x, "y": y}, {"k": kind, "s": scale}], **o)),
    "numbers": (plain, lambda call, *given, **o: call(*given, **o)),
}


def losses_by_hand(scales):
    """Losses of gradient descent on the whole batch, in NumPy."""
    tg.manual_seed(0)
    weight, bias = (p.numpy() for p in nn.Linear(3, 1).double().parameters())
    losses = []
    for scale in scales:
        error = X @ weight.T + bias - Y + KIND[:, None] // 2
        losses.append(float((scale * error**2).mean()))
        weight = weight - 0.1 * 2 * scale * (error.T @ X) / len(X)
        bias = bias - 0.1 * 2 * scale * error.mean(0)
    return losses


@pytest.mark.parametrize("accumulate", [1, 4])
@pytest.mark.parametrize("form", FORMS)
def test_a_step_takes_what_its_loss_takes(form, accumulate):
    loss, call = FORMS[form]
    step = trained(loss, accumulate=accumulate)
    scales = [0.5, 0.5, 0.25, 2.0]
    np.testing.assert_allclose([call(step, X, Y, KIND, s) for s in scales], losses_by_hand(scales), rtol=1e-12)
    assert step.recordings == 1
    assert "linear" in str(step.tape) and step.memory().peak_bytes > 0


@pytest.mark.parametrize("form", FORMS)
def test_a_run_takes_numbers_and_nested_batches(form):
    loss, call = FORMS[form]
    step, scale = trained(loss), np.float32(0.5)
    history = call(step.run, X, Y, KIND, scale, batch_size=64, epochs=3, shuffle=False)
    np.testing.assert_allclose(history.loss, losses_by_hand([0.5] * 3), rtol=1e-12)
    assert step.history is history
    call(step.run, X, Y, KIND, 0.25, batch_size=64)
    assert step.recordings == 1
    call(step.run, X, Y, KIND, 0.25, batch_size=24)
    assert step.recordings == 3


def test_integers_of_a_run_stay_integers():
    step = trained(lambda m, x, k: (m(x) * 0.0).mean() + (k == 2**53 + 1).sum() + k // 2**53)
    assert step.run(X, 2**53 + 1, batch_size=64).loss == 2.0


def test_a_list_is_an_array_and_a_step_keeps_its_plain_arguments():
    step = trained(lambda m, x, y=None: (m(x) ** 2).mean() if y is None else ((m(x) - y) ** 2).mean())
    one, two = step(X[:2].tolist()), step([X[0], X[1]])
    assert two < one and step.recordings == 1
    plain = str(step.tape)
    step(X[:2], y=[[0.0], [1.0]])
    assert step.recordings == 2 and str(step.tape) != plain
    step(X[:2])
    assert step.recordings == 2 and str(step.tape) == plain


def test_what_cannot_be_a_batch_is_said():
    step = trained(lambda m, **given: (m(given["x"]) ** 2).mean())
    with pytest.raises(tg.ArgumentError, match="at least one array"):
        step.run(x=3.0, batch_size=2)
    with pytest.raises(tg.ShapeError, match="same length"):
        step.run(x=X, y=Y[:3], batch_size=2)
    with pytest.raises(tg.DtypeError, match="no array of numbers"):
        step(x=X, y={"name": "text"})
