"""Modules in functions that are differentiated more than once, pushed forward, batched and recorded."""

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import nn, optim

rng = np.random.default_rng(0)
X = rng.uniform(-1.0, 1.5, (4, 3, 6))
D = rng.uniform(-1.0, 1.0, X.shape)
C = rng.uniform(0.5, 1.5, X.shape)
STEP = 1e-4


class Attending(nn.Module):
    """Each token attends to all."""

    def __init__(self, **options):
        super().__init__()
        self.attention = nn.MultiheadAttention(6, 2, batch_first=True, **options)

    def forward(self, x):
        return self.attention(x, x, x, need_weights=False)[0]


class ByChannel(nn.Module):
    """Batch normalisation of (N, L, C)."""

    def __init__(self, **options):
        super().__init__()
        self.norm = nn.BatchNorm1d(6, **options)

    def forward(self, x):
        return self.norm(x.swapaxes(-1, -2)).swapaxes(-1, -2)


MODULES = {
    "linear": lambda: nn.Linear(6, 6),
    "layer norm": lambda: nn.LayerNorm(6),
    "layer norm of two axes": lambda: nn.LayerNorm((3, 6)),
    "rms norm": lambda: nn.RMSNorm(6),
    "group norm": lambda: nn.GroupNorm(3, 3),
    "batch norm in training": ByChannel,
    "batch norm without statistics": lambda: ByChannel(track_running_stats=False),
    "batch norm in evaluation": lambda: ByChannel().eval(),
    "attention": Attending,
    "encoder layer": lambda: nn.TransformerEncoderLayer(6, 2, 8, dropout=0.0, batch_first=True),
    "encoder layer, norm first": lambda: nn.TransformerEncoderLayer(6, 2, 8, dropout=0.0, batch_first=True,
                                                                    norm_first=True, activation="gelu"),
    "dropout in evaluation": lambda: nn.Sequential(nn.Linear(6, 6), nn.Dropout(0.5), nn.Tanh()).eval(),
}


def made(name):
    """The module, with parameters that are neither 0 nor 1."""
    tg.manual_seed(1)
    module = MODULES[name]().to("float64")
    draws = np.random.default_rng(2)
    for p in module.parameters():
        p.copy_(p.numpy() + draws.uniform(-0.3, 0.3, p.shape))
    for buffer in module.buffers():
        if buffer.is_floating:
            buffer.copy_(draws.uniform(0.5, 1.5, buffer.shape))
    return module


def scalar(module):
    return lambda x: (module(x) ** 2 * C).sum()


def slopes(name, x):
    """The gradient of a fresh module, first order."""
    module = made(name)
    module.freeze()
    return tg.grad(scalar(module))(x)


def near(actual, expected, tolerance):
    scale = max(np.abs(expected).max(initial=0.0), 1.0)
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance * scale)


@pytest.mark.parametrize("name", MODULES)
def test_hessian_vector_products_are_differences_of_gradients(name):
    expected = (slopes(name, X + STEP * D) - slopes(name, X - STEP * D)) / (2 * STEP)
    module = made(name)
    module.freeze()
    before = {k: np.array(v) for k, v in module.state_dict().items()}
    found = tg.hvp(scalar(module), X, D)
    near(found, expected, 2e-5)
    near(tg.grad(lambda x: (tg.grad(scalar(module))(x) * D).sum())(X), found, 1e-10)
    near(tg.compile(lambda x: tg.hvp(scalar(module), x, D))(X).numpy(), found, 1e-10)
    near(tg.jvp(scalar(module), (X,), (D,))[1], (slopes(name, X) * D).sum(), 1e-10)
    if name != "batch norm in training":
        for k, v in module.state_dict().items():
            np.testing.assert_array_equal(v, before[k])
    else:
        assert int(module.norm.num_batches_tracked) == int(before["norm.num_batches_tracked"]) + 4


@pytest.mark.parametrize("recorded", [False, True])
@pytest.mark.parametrize("name", [name for name in MODULES if name != "batch norm in training"])
def test_gradients_of_each_of_a_batch_are_those_of_one(name, recorded):
    module = made(name)
    module.freeze()
    of_each = tg.vmap(tg.value_and_grad(scalar(module)))
    many = np.stack([X, X[::-1] + 0.1, 0.5 * X])
    values, found = (tg.compile(of_each) if recorded else of_each)(many)
    for x, value, g in zip(many, values, found):
        expected, gradient = tg.value_and_grad(scalar(module))(x)
        near(value, expected, 1e-11)
        near(g, gradient, 1e-11)


def penalty(module, x):
    """A loss with the gradient of the result by the input in it."""
    def loss(x):
        return (module(x) ** 2 * C).mean()

    return loss(x) + (tg.grad(loss)(x) ** 2).sum() * 10.0


@pytest.mark.parametrize("name", MODULES)
def test_a_penalty_on_gradients_trains_parameters_recorded_as_define_by_run(name):
    """Steps of plain descent; the first step's slopes are also differences of the loss."""
    first, second = made(name), made(name)
    if not list(first.parameters()):
        return
    step = tg.TrainStep(lambda x: penalty(first, x), optim.SGD(first.parameters(), lr=1e-2))
    descent = optim.SGD(second.parameters(), lr=1e-2)
    for k in range(3):
        recorded = step(X)
        descent.zero_grad()
        loss = penalty(second, tg.tensor(X))
        loss.backward()
        if k == 0:
            compare_slopes(name, second)
        descent.step()
        near(recorded, loss.item(), 1e-11)
    for a, b in zip(first.state_dict().values(), second.state_dict().values()):
        near(a, b, 1e-9)


def compare_slopes(name, module):
    """The gradients of parameters against differences of the penalty along a direction."""
    draws = np.random.default_rng(5)
    moves = {key: draws.uniform(-1.0, 1.0, p.shape) for key, p in module.named_parameters()}
    values = []
    for sign in (1.0, -1.0):
        moved = made(name)
        for key, p in moved.named_parameters():
            p.copy_(p.numpy() + sign * STEP * moves[key])
        moved.freeze()
        values.append(penalty(moved, tg.tensor(X)).item())
    found = sum((p.grad.numpy() * moves[key]).sum() for key, p in module.named_parameters() if p.grad is not None)
    assert abs(found - (values[0] - values[1]) / (2 * STEP)) <= 2e-5 * max(abs(found), 1.0)


@pytest.mark.parametrize("recorded", [False, True])
def test_dropout_within_modules_has_one_mask_for_a_value_and_its_derivatives(recorded):
    module = nn.Sequential(nn.Dropout(0.5)).train()

    def both(x):
        return tg.jvp(tg.value_and_grad(lambda x: (module(x) ** 3 * C).sum()), (x,), (D,))

    run = tg.compile(both) if recorded else both
    for _ in range(2):
        (value, slope), (value_tangent, slope_tangent) = (tuple(np.asarray(t) for t in pair) for pair in run(
            np.ones(X.shape)))
        mask = np.cbrt(slope / (3 * C)).round(10)
        assert set(np.unique(mask)) == {0.0, 2.0}
        near(value, (mask**3 * C).sum(), 1e-12)
        near(value_tangent, (3 * mask**3 * C * D).sum(), 1e-12)
        near(slope_tangent, 6 * mask**3 * C * D, 1e-12)


# ------------------------------------------------------------------ what has no history


def test_what_is_computed_without_gradients_is_constant_for_derivatives_of_any_order():
    x, d = X[0, 0], D[0, 0]

    def f(x):
        with tg.no_grad():
            slope = tg.sin(x)
            with tg.enable_grad():
                inner = tg.exp(x)
        return (slope * x * x + inner + x.detach() * x**3).sum()

    first = 2 * np.sin(x) * x + np.exp(x) + 3 * x**3
    second = (2 * np.sin(x) + np.exp(x) + 6 * x**2) * d
    for wrap in (lambda g: g, tg.compile):
        near(np.asarray(wrap(lambda x: tg.grad(f)(x))(x)), first, 1e-12)
        near(np.asarray(wrap(lambda x: tg.hvp(f, x, d))(x)), second, 1e-12)
        near(np.asarray(wrap(lambda x: tg.grad(lambda x: (tg.grad(f)(x) * d).sum())(x))(x)), second, 1e-12)
        near(np.asarray(wrap(lambda x: tg.jvp(f, (x,), (d,))[1])(x)), (first * d).sum(), 1e-12)
        near(np.asarray(wrap(lambda m: tg.vmap(tg.grad(f))(m))(np.stack([x, x])))[1], first, 1e-12)


def test_derivatives_taken_without_gradients_have_no_history():
    w = tg.tensor(X[0, 0], requires_grad=True)
    with tg.no_grad():
        g = tg.grad(lambda x: (w * x * x).sum())(tg.tensor(X[0, 0]))
        assert isinstance(g, np.ndarray) or not g.requires_grad
    near(np.asarray(g), 2 * X[0, 0] ** 2, 1e-14)
    g = tg.grad(lambda x: (w * x * x).sum())(tg.tensor(X[0, 0]))
    g.sum().backward()
    near(w.grad.numpy(), 2 * X[0, 0], 1e-14)
