"""autograd.grad and backward(create_graph=True), as users of PyTorch expect them (2.13)."""

import gc

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import nn, optim

B = np.array([0.5, -1.0, 2.0])
V = np.array([0.3, 0.2, -0.7])


def leaf(x=B):
    return tg.tensor(x, requires_grad=True)


def test_gradients_of_gradients():
    x = leaf(np.float64(2.0))
    y, found = x ** 4, []
    for _ in range(4):
        y, = tg.autograd.grad(y, x, create_graph=True)
        found.append(y.item())
    np.testing.assert_allclose(found, [32.0, 48.0, 48.0, 24.0])
    assert x.grad is None


def test_an_input_on_the_way_to_another_input():
    x = leaf()
    y = x * x
    by_y, by_x = tg.autograd.grad((y ** 2).sum(), [y, x])
    np.testing.assert_allclose(by_y.numpy(), 2 * B ** 2)
    np.testing.assert_allclose(by_x.numpy(), 4 * B ** 3)


def test_the_gradient_by_an_intermediate_has_a_history_by_its_ancestors():
    x = leaf()
    y = x * 2.0
    g, = tg.autograd.grad((y ** 3).sum(), y, create_graph=True)
    np.testing.assert_allclose(tg.autograd.grad(g.sum(), x)[0].numpy(), 6 * 2 * B * 2)


def test_a_view_has_the_gradient_of_the_elements_that_it_shows():
    x = leaf()
    v = x[1:]
    by_v, by_x = tg.autograd.grad((v ** 2).sum() + x.sum(), [v, x])
    np.testing.assert_allclose(by_x.numpy(), np.array([0.0, 2.0, 2.0]) * B + 1.0)
    np.testing.assert_allclose(by_v.numpy(), by_x.numpy()[1:])


def test_an_output_that_is_an_input():
    x = leaf()
    np.testing.assert_array_equal(tg.autograd.grad(x, x, V)[0].numpy(), V)
    y = x.sum()
    assert tg.autograd.grad((y, y), y)[0].item() == 2.0


def test_adjoints_of_several_outputs():
    x = leaf()
    g, = tg.autograd.grad([x * x, x.sum()], x, [V, None])
    np.testing.assert_allclose(g.numpy(), 2 * B * V + 1.0)


def test_an_adjoint_is_differentiated_too():
    x, g = leaf(), leaf(V)
    h, = tg.autograd.grad(x ** 3, x, g, create_graph=True)
    by_g, by_x = tg.autograd.grad((h ** 2).sum(), [g, x])
    np.testing.assert_allclose(by_g.numpy(), 2 * V * 9 * B ** 4)
    np.testing.assert_allclose(by_x.numpy(), 2 * V * 3 * B ** 2 * 6 * B * V)


@pytest.mark.parametrize("first", ["second", "first"])
def test_a_product_of_which_one_operand_is_constant(first):
    """What an op keeps depends on which of its operands are differentiated."""
    rng = np.random.default_rng(0)
    a, w = rng.normal(size=(2, 3)), rng.normal(size=(3, 3))
    x = leaf(a)
    y = tg.tensor(w) @ x.T if first == "second" else x @ w
    g, = tg.autograd.grad((y ** 2).sum(), x, create_graph=True)
    found, = tg.autograd.grad((g ** 2).sum(), x)
    m = w.T @ w if first == "second" else w @ w.T
    np.testing.assert_allclose(found.numpy(), 8 * a @ m @ m, rtol=1e-12)


def test_unused_inputs_raise_or_are_none():
    x, other = leaf(), leaf()
    with pytest.raises(tg.GradientError, match=r"test_autograd.*input 1, of shape \[3\]; allow_unused"):
        tg.autograd.grad((x * x).sum(), [x, other])
    assert tg.autograd.grad((x * x).sum(), [x, other], allow_unused=True)[1] is None


@pytest.mark.parametrize("allow_unused", [False, True])
def test_a_stretch_of_tape_is_walked_once_unless_it_is_retained(allow_unused):
    x = leaf()
    y = x * x
    tg.autograd.grad(y.sum(), x, retain_graph=True)
    tg.autograd.grad(y.sum(), x)
    with pytest.raises(tg.GraphReleasedError, match="test_autograd.*retain_graph"):  # of a new sum over what is gone
        tg.autograd.grad(y.sum(), x, allow_unused=allow_unused)


@pytest.mark.parametrize("call, message", [
    (lambda x: tg.autograd.grad(x * x, x), r"\[3\] needs its adjoint"),
    (lambda x: tg.autograd.grad(x * x, x, np.ones(2)), r"\[2\], the output \[3\]"),
    (lambda x: tg.autograd.grad([x * x, x], x, [V]), "1 grad_outputs for 2 outputs"),
    (lambda x: tg.autograd.grad((x * x).sum(), tg.tensor(B)), "requires no gradient"),
    (lambda x: tg.autograd.grad(x.detach().sum(), x), "requires no gradient"),
])
def test_errors_have_the_line(call, message):
    with pytest.raises(tg.GradientError if "no gradient" in message else tg.TapegradError, match=message) as caught:
        call(leaf())
    assert "test_autograd.py" in str(caught.value)


# ------------------------------------------------------------------ backward(create_graph=True)


def test_the_gradient_that_backward_leaves_has_a_history():
    x = leaf()
    (x ** 3).sum().backward(create_graph=True)
    g, x.grad = x.grad, None
    (g ** 2).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 36 * B ** 3)


def test_backward_with_an_adjoint_adds_to_what_is_there():
    x = leaf()
    (x ** 3).backward(V, create_graph=True)
    x.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 3 * B * B * V + 1.0)


def test_a_thousand_penalties_leave_nothing_on_the_tape():
    x = leaf()
    gc.collect()
    before = len(tg.current_tape(np.float64))
    for _ in range(1000):
        g, = tg.autograd.grad((x ** 3).sum(), x, create_graph=True)
        (g * g).sum().backward()
        x.grad = None
        assert len(tg.current_tape(np.float64)) < before + 20
    g = None
    gc.collect()
    assert len(tg.current_tape(np.float64)) == before


# ------------------------------------------------------------------ in losses: numbers of PyTorch 2.13

X = np.linspace(-1.0, 1.0, 10).reshape(5, 2)
Y = np.linspace(0.5, -0.5, 5).reshape(5, 1)
PENALTY = [4.4695786003666, 2.4286567959035, 1.4096830733757, 0.86234866187073]
LAPLACE = [1.4817249093968, 0.96315509124182, 0.65301232172041, 0.46199118144978]
ADAPTED = [3.1438501464773, 1.9305548281494, 1.2200525015403, 0.76828819896007]


def model():
    layers = nn.Sequential(nn.Linear(2, 4, dtype=np.float64), nn.Tanh(), nn.Linear(4, 1, dtype=np.float64))
    with tg.no_grad():
        for p in layers.parameters():
            p.copy_(np.sin(np.arange(1.0, 1.0 + p.size)).reshape(p.shape))
    return layers


def penalty(m, x, y):
    g = tg.grad(lambda z: m(z).sum())(x)
    return ((m(x) - y) ** 2).mean() + ((tg.sqrt((g ** 2).sum(axis=1)) - 1.0) ** 2).mean()


def laplace(m, x, y):
    slope = tg.grad(lambda z: m(z).sum())
    units = np.eye(2)
    u = sum(tg.jvp(slope, (x,), (np.tile(e, (5, 1)),))[1] @ e for e in units)
    return ((u + y[:, 0]) ** 2).mean()


def laplace_by_point(m, x, y):
    by_point = tg.vmap(lambda z: (tg.hessian(lambda q: m(q)[0])(z) * np.eye(2)).sum())(x)
    return ((by_point + y[:, 0]) ** 2).mean()


def adapted(m, x, y):
    """One inner step of MAML, by the input's shift."""
    inner = lambda s: ((m(x + s) - y) ** 2).mean()  # noqa: E731
    s = tg.grad(inner)(x * 0.0)
    return inner(-0.5 * s)


LOSSES = {
    "gradient penalty": (penalty, PENALTY),
    "Laplacian": (laplace, LAPLACE),
    "Laplacian by point": (laplace_by_point, LAPLACE),
    "inner step": (adapted, ADAPTED),
}


@pytest.mark.parametrize("name", LOSSES)
def test_training_with_derivatives_in_the_loss_goes_as_pytorch_does(name):
    loss, expected = LOSSES[name]
    m = model()
    step = tg.TrainStep(lambda x, y: loss(m, x, y), optim.SGD(m.parameters(), lr=0.05))
    np.testing.assert_allclose([step(X, Y + 0.1 * k) for k in range(4)], expected, rtol=1e-10)


@pytest.mark.parametrize("name", LOSSES)
def test_define_by_run_has_the_same_gradients(name):
    loss, expected = LOSSES[name]
    m = model()
    optimizer = optim.SGD(m.parameters(), lr=0.05)
    for k, value in enumerate(expected):
        optimizer.zero_grad()
        found = loss(m, tg.tensor(X), tg.tensor(Y + 0.1 * k))
        np.testing.assert_allclose(found.item(), value, rtol=1e-10)
        found.backward()
        optimizer.step()


# ------------------------------------------------------------------ numbers, by the compiled walk


@pytest.fixture
def walked(monkeypatch):
    """Nothing is composed of ops."""
    def pull(self, cotangents):
        raise AssertionError("composed")

    monkeypatch.setattr("tapegrad.transforms.graph.Graph.pull", pull)


@pytest.mark.parametrize("frozen", ["weight_hh_l0", "weight_ih_l0", "bias_hh_l0"])
@pytest.mark.parametrize("layer", [nn.LSTM, nn.GRU, nn.RNN])
def test_gradients_of_a_partly_frozen_recurrence(layer, frozen, walked):
    tg.manual_seed(0)
    module, x = layer(3, 4), tg.tensor(np.random.default_rng(0).normal(size=(5, 2, 3)).astype(np.float32))
    getattr(module, frozen).requires_grad_(False)
    parameters = [p for p in module.parameters() if p.requires_grad]
    found = tg.autograd.grad((module(x)[0] ** 2).sum(), parameters)
    assert all(p.grad is None for p in parameters)
    (module(x)[0] ** 2).sum().backward()
    for p, g in zip(parameters, found):
        np.testing.assert_array_equal(g.numpy(), p.grad.numpy())


def test_only_what_leads_to_an_input_is_walked_and_given_back(walked):
    x, w = leaf(), leaf(V)
    u, v = x * x, w * w
    y = u * v
    by_x, = tg.autograd.grad(y.sum(), x)
    np.testing.assert_array_equal(by_x.numpy(), 2 * B * V * V)
    np.testing.assert_array_equal(tg.autograd.grad(v.sum(), w)[0].numpy(), 2 * V)  # has not been walked
    with pytest.raises(tg.GraphReleasedError):
        tg.autograd.grad(u.sum(), [x, w], allow_unused=True)


def test_inputs_on_the_way_their_views_and_several_outputs(walked):
    x, w = leaf(), leaf(V)
    u = x * w
    by_u, by_first, by_x, again = tg.autograd.grad([(u ** 2), u.sum()], [u, u[:1], x, x], [V, None])
    np.testing.assert_allclose(by_u.numpy(), 2 * B * V * V + 1)
    np.testing.assert_allclose(by_first.numpy(), (2 * B * V * V + 1)[:1])
    np.testing.assert_allclose(by_x.numpy(), (2 * B * V * V + 1) * V)
    again.copy_(np.zeros(3))
    np.testing.assert_allclose(by_x.numpy(), (2 * B * V * V + 1) * V)
    assert x.grad is None and w.grad is None


def test_gradients_that_an_optimiser_owns_stay_as_they_are(walked):
    table = nn.Embedding(5, 2)
    opt = optim.Adam(table.parameters(), lr=0.1)
    x = np.array([1, 3, 1])
    (table(x) ** 2).sum().backward()
    before = table.weight.grad.numpy().copy()
    g, = tg.autograd.grad((table(x[:2]) ** 2).sum(), table.weight)
    expected = np.zeros((5, 2), np.float32)
    expected[[1, 3]] = 2 * table.weight.numpy()[[1, 3]]
    np.testing.assert_array_equal(g.numpy(), expected)
    np.testing.assert_array_equal(table.weight.grad.numpy(), before)
    opt.step()
    np.testing.assert_array_equal(g.numpy(), expected)


def test_within_a_checkpoint_and_on_a_tape_that_keeps_everything(walked):
    x = leaf()
    np.testing.assert_allclose(tg.autograd.grad(tg.checkpoint(lambda x: tg.exp(tg.sin(x)), x).sum(), x)[0].numpy(),
                               np.exp(np.sin(B)) * np.cos(B))
    with tg.Tape() as tape:
        y = tg.sin(x)
        y.sum().backward(retain_graph=True)
        tg.autograd.grad(tg.exp(y).sum(), y, retain_graph=True)
        np.testing.assert_array_equal(tape.adjoint(y), np.ones(3))  # of backward


def test_numbers_within_a_transformation_would_cut_its_gradient():
    def penalty(x, **options):
        g, = tg.autograd.grad((x ** 3).sum(), x, **options)
        return (g * g).sum()

    with pytest.raises(tg.GradientError, match="create_graph=True"):
        tg.grad(penalty)(B)
    np.testing.assert_allclose(tg.grad(lambda x: penalty(x, create_graph=True))(B), 36 * B ** 3)
