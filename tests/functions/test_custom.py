"""Ops that a user writes: forward and adjoint in plain Python over arrays."""

import numpy as np
import pytest
from custom_ops import (
    bent,
    bent_formula,
    bent_slope,
    make_bend,
    make_distances,
    make_logistic,
    make_pick,
    squared_distances_formula,
)

import tapegrad as tg
from tapegrad import nn, optim

DTYPES = [np.float32, np.float64]


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def tolerance(dtype):
    return 1e-5 if dtype == np.float32 else 1e-12


# ------------------------------------------------------------------ define by run


@pytest.mark.parametrize("dtype", DTYPES)
def test_value_and_gradient_are_those_of_the_formula(rng, dtype):
    bend = make_bend()
    x = tg.tensor(rng.normal(size=50), dtype=dtype, requires_grad=True)
    y = bend(x)
    weights = rng.normal(size=50)
    y.backward(gradient=weights)
    assert y.dtype == dtype and y.shape == (50,)
    np.testing.assert_allclose(y.numpy(), bent_formula(x.numpy()), rtol=tolerance(dtype))
    np.testing.assert_allclose(x.grad.numpy(), weights * bent_slope(x.numpy()), rtol=tolerance(dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_several_inputs_and_a_shape_of_its_own(rng, dtype):
    distances = make_distances()
    a = tg.tensor(rng.normal(size=(4, 3)), dtype=dtype, requires_grad=True)
    b = tg.tensor(rng.normal(size=(5, 3)), dtype=dtype, requires_grad=True)
    y = distances(a, b)
    np.testing.assert_allclose(y.numpy(), squared_distances_formula(a.numpy(), b.numpy()), rtol=10 * tolerance(dtype))
    y.sum().backward()
    # d/da sum (a - b)**2 = 2 (M a - sum of b)
    close = 10 * tolerance(dtype)
    np.testing.assert_allclose(a.grad.numpy(), 2 * (5 * a.numpy() - b.numpy().sum(0)), rtol=close, atol=close)
    np.testing.assert_allclose(b.grad.numpy(), 2 * (4 * b.numpy() - a.numpy().sum(0)), rtol=close, atol=close)


@pytest.mark.parametrize("dtype", DTYPES)
def test_scalars_reach_forward_and_adjoint(rng, dtype):
    squash = make_logistic()
    x = tg.tensor(rng.normal(size=(2, 3)), dtype=dtype, requires_grad=True)
    for rate in (0.5, 3.0):
        x.grad = None
        y = squash(x, rate=rate)
        y.backward(gradient=np.ones((2, 3)))
        s = 1 / (1 + np.exp(-rate * x.numpy().astype(np.float64)))
        np.testing.assert_allclose(y.numpy(), s, rtol=tolerance(dtype))
        np.testing.assert_allclose(x.grad.numpy(), rate * s * (1 - s), rtol=10 * tolerance(dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_integer_input_is_passed_on_and_not_differentiated(rng, dtype):
    pick = make_pick()
    table = tg.tensor(rng.normal(size=(4, 3)), dtype=dtype, requires_grad=True)
    index = np.array([2, 0, 2, 2])
    y = pick(table, index)
    np.testing.assert_array_equal(y.numpy(), table.numpy()[index])
    y.sum().backward()
    np.testing.assert_array_equal(table.grad.numpy(), [[1] * 3, [0] * 3, [3] * 3, [0] * 3])


def test_the_gradient_adds_to_that_of_other_uses_of_the_input(rng):
    bend = make_bend()
    x = tg.tensor(rng.normal(size=6), dtype=np.float64, requires_grad=True)
    (bend(x) + x * x + bend(x)).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 2 * bent_slope(x.numpy()) + 2 * x.numpy(), rtol=1e-12)


def test_an_input_given_twice_gets_both_gradients(rng):
    distances = make_distances()
    a = tg.tensor(rng.normal(size=(3, 2)), dtype=np.float64, requires_grad=True)
    distances(a, a).sum().backward()
    # the sum runs over ordered pairs, and each pair counts for both of its ends
    np.testing.assert_allclose(a.grad.numpy(), 4 * (3 * a.numpy() - a.numpy().sum(0)), rtol=1e-12, atol=1e-12)


def test_only_one_of_two_inputs_wants_a_gradient(rng):
    distances = make_distances()
    a, b = rng.normal(size=(4, 3)), rng.normal(size=(5, 3))
    for wanted in (0, 1):
        tensors = [tg.tensor(v, dtype=np.float64, requires_grad=k == wanted) for k, v in enumerate((a, b))]
        distances(*tensors).sum().backward()
        expected = 2 * (5 * a - b.sum(0)) if wanted == 0 else 2 * (4 * b - a.sum(0))
        np.testing.assert_allclose(tensors[wanted].grad.numpy(), expected, rtol=1e-11)
        assert tensors[1 - wanted].grad is None


def test_views_are_read_and_written_in_place_of_their_elements(rng):
    squash = make_logistic()
    x = tg.tensor(rng.normal(size=(4, 6)), dtype=np.float64, requires_grad=True)
    squash(x[::2, 1:4].T, rate=1.0).sum().backward()
    s = 1 / (1 + np.exp(-x.numpy()))
    expected = np.zeros((4, 6))
    expected[::2, 1:4] = (s * (1 - s))[::2, 1:4]
    np.testing.assert_allclose(x.grad.numpy(), expected, rtol=1e-12)


def test_arrays_lists_and_numbers_are_taken_as_data():
    bend = make_bend()
    np.testing.assert_allclose(bend([-1.0, 2.0]).numpy(), [-1.0, 4.0])
    np.testing.assert_allclose(bend(np.array([-1.0, 2.0])).numpy(), [-1.0, 4.0])


def test_an_op_serves_inputs_of_several_numbers_of_axes(rng):
    def doubled(x, y):
        y[...] = 2.0 * x

    def doubled_adjoint(g, dx):
        dx += 2.0 * g

    double = tg.custom_op(doubled, doubled_adjoint)
    for shape in [(3,), (2, 3), (0, 3)]:
        x = tg.tensor(rng.normal(size=shape), dtype=np.float64, requires_grad=True)
        y = double(x)
        y.sum().backward()
        np.testing.assert_allclose(y.numpy(), 2 * x.numpy())
        np.testing.assert_allclose(x.grad.numpy(), np.full(shape, 2.0))


def waits(x, y):
    for k in range(x.size):
        with open("file"):
            y[k] = x[k]


def test_an_adjoint_that_cannot_be_derived_is_an_error_that_says_why_and_what_to_do():
    op = tg.custom_op(waits)
    message = (r"test_custom.py:\d+: custom_op waits has no adjoint, none can be derived \(.*test_custom.py:\d+: "
               r"waits: .* of with; .*input x .*detach\(\)")
    with pytest.raises(tg.GradientError, match=message):
        op(tg.tensor([-1.0, 2.0], requires_grad=True))
    with pytest.raises(tg.GradientError, match=message):
        tg.compile(tg.grad(lambda x: (x * op(x)).sum()))(np.ones(2))


def weighted_sum(a, b, y):
    for k in range(a.size):
        y[k] = a[k] * b[k]


def weighted_sum_adjoint_of_a(g, b, da):
    for k in range(b.size):
        da[k] += g[k] * b[k]


def test_an_input_that_the_adjoint_leaves_out_may_not_require_a_gradient():
    op = tg.custom_op(weighted_sum, weighted_sum_adjoint_of_a)
    a, b = tg.tensor([1.0, 2.0], requires_grad=True), tg.tensor([3.0, 4.0], requires_grad=True)
    message = "custom_op weighted_sum has an adjoint without db, and its input b .*detach.*nondiff"
    with pytest.raises(tg.GradientError, match=message):
        op(a, b)
    with pytest.raises(tg.GradientError, match=message):
        tg.value_and_grad(lambda a, b: op(a, b).sum(), argnums=(0, 1))(np.ones(2), np.ones(2))
    model = nn.Module()
    model.b = nn.Parameter([3.0, 4.0])
    with pytest.raises(tg.GradientError, match=message):
        tg.TrainStep(lambda x: op(x, model.b).sum(), optim.SGD(model.parameters(), lr=1.0))(np.ones(2))
    op(a, b.detach()).sum().backward()
    np.testing.assert_array_equal(a.grad.numpy(), [3.0, 4.0])


def test_an_input_that_the_author_calls_nondiff_has_a_gradient_of_zero():
    def steps(x, y):
        for k in range(x.size):
            y[k] = np.floor(x[k])

    floor = tg.custom_op(steps, nondiff=("x",))
    np.testing.assert_array_equal(tg.grad(lambda x: (x * floor(x)).sum())(np.array([1.5, -0.5])), [1.0, -1.0])
    op = tg.custom_op(weighted_sum, weighted_sum_adjoint_of_a, nondiff=("b",))
    ga, gb = tg.grad(lambda a, b: (op(a, b) + b).sum(), argnums=(0, 1))(np.array([1.0, 2.0]), np.array([3.0, 4.0]))
    np.testing.assert_array_equal(ga, [3.0, 4.0])
    np.testing.assert_array_equal(gb, [1.0, 1.0])
    for wrong in ("a", "c"):
        with pytest.raises(tg.ArgumentError, match=f"nondiff.*{wrong}"):
            tg.custom_op(weighted_sum, weighted_sum_adjoint_of_a, nondiff=(wrong,))


def test_two_ops_of_one_name_are_two_ops():
    def make(factor):
        def scaled(x, y):
            for k in range(x.size):
                y[k] = factor * x[k]

        return tg.custom_op(scaled)

    twice, thrice = make(2.0), make(3.0)
    np.testing.assert_allclose(twice([1.0]).numpy(), [2.0])
    np.testing.assert_allclose(thrice([1.0]).numpy(), [3.0])


# ------------------------------------------------------------------ recorded


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_compiled_gradient_is_that_of_define_by_run(rng, dtype):
    bend = make_bend()
    transformation = tg.value_and_grad(lambda x: (bend(x) * bend(x)).sum())
    fast = tg.compile(transformation)
    for _ in range(3):
        x = rng.normal(size=9).astype(dtype)
        value, gradient = fast(x)
        np.testing.assert_allclose(value, (bent_formula(x) ** 2).sum(), rtol=tolerance(dtype))
        np.testing.assert_allclose(gradient, 2 * bent_formula(x) * bent_slope(x), rtol=1e-5, atol=tolerance(dtype))
    assert fast.recordings == 1 and gradient.dtype == dtype


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_network_with_a_custom_layer_trains_in_a_recorded_step_as_define_by_run(rng, dtype):
    bend = tg.custom_op(_bent_rows, _bent_rows_adjoint)
    x, t = rng.normal(size=(16, 3)).astype(dtype), rng.normal(size=(16, 2)).astype(dtype)

    def trained(recorded):
        tg.manual_seed(1)
        model = nn.Sequential(nn.Linear(3, 5, dtype=dtype), nn.Linear(5, 2, dtype=dtype))
        optimizer = optim.SGD(model.parameters(), lr=0.05)

        def loss_of(x, t):
            return ((model[1](bend(model[0](x))) - t) ** 2).mean()

        if recorded:
            losses = tg.TrainStep(loss_of, optimizer).run(x, t, batch_size=16, epochs=20, shuffle=False).loss
        else:
            losses = []
            for _ in range(20):
                loss = loss_of(tg.tensor(x), tg.tensor(t))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                losses.append(loss.item())
        return losses, [p.numpy() for p in model.parameters()]

    (by_run, parameters), (recorded, replayed) = trained(False), trained(True)
    assert by_run[-1] < by_run[0]
    np.testing.assert_allclose(recorded, by_run, rtol=tolerance(dtype))
    for a, b in zip(parameters, replayed):
        np.testing.assert_allclose(a, b, rtol=10 * tolerance(dtype), atol=tolerance(dtype))


def _bent_rows(x, y):
    for r in range(x.shape[0]):
        for c in range(x.shape[1]):
            y[r, c] = x[r, c] + 0.5 * x[r, c] * x[r, c] if x[r, c] > 0.0 else x[r, c]


def _bent_rows_adjoint(g, x, dx):
    for r in range(x.shape[0]):
        for c in range(x.shape[1]):
            dx[r, c] += g[r, c] * (1.0 + x[r, c]) if x[r, c] > 0.0 else g[r, c]


def test_integer_data_and_scalars_work_in_a_recording(rng):
    pick, squash = make_pick(), make_logistic()
    fast = tg.compile(tg.value_and_grad(lambda table, index: squash(pick(table, index), rate=2.0).sum()))
    table = rng.normal(size=(4, 3))
    for index in (np.array([0, 1]), np.array([3, 3])):
        value, gradient = fast(table, index)
        s = 1 / (1 + np.exp(-2 * table))
        counts = np.bincount(index, minlength=4)[:, None]
        np.testing.assert_allclose(value, s[index].sum(), rtol=1e-12)
        np.testing.assert_allclose(gradient, counts * 2 * s * (1 - s), rtol=1e-12)


# ------------------------------------------------------------------ what is saved


def test_saves_are_the_operands_that_the_adjoint_names():
    assert make_bend().saves == ("x",)
    assert make_logistic().saves == ("y",)
    assert make_distances().saves == ("a", "b")
    assert make_pick().saves == ("index",)
    assert tg.custom_op(bent).saves == ()


def test_what_the_adjoint_does_not_name_is_given_back_while_the_recording_lives(rng):
    """The op reads its output alone, so its input's bytes are free once nobody else holds the input."""
    squash, rows = make_logistic(), 40_000
    with tg.Tape(keep=False) as tape:
        leaf = tg.tensor(rng.normal(size=(rows, 1)), dtype=np.float64, requires_grad=True)
        before = tape.live_bytes
        y = squash(leaf * 1.5, rate=1.0)
        held = tape.live_bytes - before
        y.sum().backward()
    s = 1 / (1 + np.exp(-1.5 * leaf.numpy()))
    assert held < 2.5 * 8 * rows, "the product is kept although no adjoint reads it"
    np.testing.assert_allclose(leaf.grad.numpy(), 1.5 * s * (1 - s), rtol=1e-12)


def test_the_listing_names_the_op_and_what_it_saves():
    with tg.Tape() as tape:
        x = tg.tensor([1.0], requires_grad=True)
        y = make_bend()(x)
        listing = str(tape)
    assert "bent" in listing and y.requires_grad


def test_a_name_may_be_given():
    assert tg.custom_op(bent, name="bend").name == "bend"
    assert make_bend().name == "bent"


# ------------------------------------------------------------------ gradcheck


def test_gradcheck_accepts_right_adjoints(rng):
    assert tg.gradcheck(make_bend(), rng.normal(size=7))
    assert tg.gradcheck(make_distances(), rng.normal(size=(3, 2)), rng.normal(size=(4, 2)))
    assert tg.gradcheck(lambda x: make_logistic()(x, rate=0.7), rng.normal(size=(2, 2)))
    pick = make_pick()
    assert tg.gradcheck(pick, rng.normal(size=(3, 2)), np.array([1, 1, 0]))


def wrong_sign(g, x, dx):
    for k in range(x.size):
        dx[k] -= g[k]


def wrong_at_one_element(g, x, dx):
    for k in range(x.size):
        dx[k] += g[k] * (1.0 + x[k]) if x[k] > 0.0 else g[k]
    dx[2] += 0.01


def forgets_the_cotangent(g, x, dx):
    for k in range(x.size):
        dx[k] += 1.0 + x[k] if x[k] > 0.0 else 1.0


@pytest.mark.parametrize("adjoint", [wrong_sign, wrong_at_one_element, forgets_the_cotangent])
def test_gradcheck_catches_a_wrong_adjoint(adjoint):
    op = tg.custom_op(bent, adjoint)
    x = np.array([-1.0, 0.5, 2.0, -0.3])
    with pytest.raises(tg.GradcheckError, match="argument 0 at"):
        tg.gradcheck(op, x)
    assert tg.gradcheck(op, x, raise_exception=False) is False
