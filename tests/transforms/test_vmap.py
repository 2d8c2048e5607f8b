"""vmap against the loop that it stands for."""

import numpy as np
import pytest

import tapegrad as tg
import tapegrad.nn.functional as F
from tapegrad import nn, optim
from tapegrad.ops.linalg import LINEAR, LONG_LINEAR
from tapegrad.ops.mapped import parts_of
from tapegrad.ops.reduction import SUM

A = np.arange(6.0).reshape(2, 3) / 3.0 - 0.7
B = np.array([0.5, -1.0, 2.0])
C = np.arange(24.0).reshape(2, 3, 4) / 11.0 - 0.9

WAYS = pytest.mark.parametrize("through", [lambda f: f, tg.compile], ids=["define by run", "recorded"])


def plain(t):
    return t.detach().numpy() if isinstance(t, tg.Tensor) else t


# ------------------------------------------------------------------ axes


@WAYS
@pytest.mark.parametrize("out_axis", [0, 1, -1])
@pytest.mark.parametrize("in_axis", [0, 1, -1, -2])
def test_any_axis_in_and_out(in_axis, out_axis, through):
    mapped = through(tg.vmap(lambda x: tg.sin(x) * x.sum(), in_axes=in_axis, out_axes=out_axis))
    for a in (A, A + 1.0, np.asfortranarray(A), A[::-1, ::-1]):
        each = [np.sin(x) * x.sum() for x in np.moveaxis(a, in_axis, 0)]
        np.testing.assert_allclose(mapped(a), np.stack(each, out_axis), rtol=1e-14)


@WAYS
def test_axes_have_the_structure_of_arguments_and_results(through):
    def f(p, x):
        return {"a": p["w"] * x, "b": (x.sum(), p["b"] * 2.0), "c": None}

    mapped = through(tg.vmap(f, in_axes=({"w": 1, "b": None}, 0), out_axes={"a": 1, "b": (0, None), "c": 0}))
    found = mapped({"w": A.T, "b": B}, A)
    np.testing.assert_allclose(found["a"], (A * A).T)
    np.testing.assert_allclose(found["b"][0], A.sum(axis=1))
    np.testing.assert_allclose(found["b"][1], 2 * B)
    assert found["c"] is None


def test_what_is_the_same_for_all_is_repeated():
    once, constant, array, same = tg.vmap(lambda x, y: (y * 2.0, 3.0, np.ones(2), x), in_axes=(0, None))(A, B)
    np.testing.assert_array_equal(once, np.tile(2 * B, (2, 1)))
    np.testing.assert_array_equal(constant, [3.0, 3.0])
    assert constant.dtype == np.float64
    np.testing.assert_array_equal(array, np.ones((2, 2)))
    np.testing.assert_array_equal(same, A)


def test_keywords_none_integers_and_masks():
    found = tg.vmap(lambda x, nothing, *, k: x * k)(A, None, k=np.array([1, 2]))
    np.testing.assert_allclose(found, A * [[1], [2]])
    np.testing.assert_array_equal(tg.vmap(lambda x, m: tg.where(m, x, 0.0))(A, A > 0), np.where(A > 0, A, 0.0))
    np.testing.assert_array_equal(tg.vmap(tg.argmax)(A[:, ::-1]), [0, 0])
    assert tg.vmap(lambda x: x > 0)(A).dtype == bool


@pytest.mark.parametrize("x", [np.zeros((0, 3)), np.zeros((3, 0)), np.ones((1, 3)), np.broadcast_to(B, (4, 3))])
def test_empty_size_one_and_broadcast_batches(x):
    np.testing.assert_allclose(tg.vmap(lambda z: (tg.sin(z) * z).sum())(x), (np.sin(x) * x).sum(axis=1))
    np.testing.assert_allclose(tg.vmap(tg.grad(lambda z: (z ** 3).sum()))(x), 3 * x * x)


# ------------------------------------------------------------------ nested with derivatives


@WAYS
def test_nested_maps_are_nested_loops(through):
    f = through(tg.vmap(tg.vmap(lambda x, y: x * y.sum(), in_axes=(1, None)), in_axes=(2, 0), out_axes=1))
    y = np.arange(8.0).reshape(4, 2)
    expected = np.stack([np.stack([C[:, j, k] * y[k].sum() for j in range(3)]) for k in range(4)], 1)
    np.testing.assert_allclose(f(C, y), expected, rtol=1e-14)
    products = through(tg.vmap(tg.vmap(lambda x, m: x @ m, in_axes=(0, None))))
    np.testing.assert_allclose(products(C, C.transpose(0, 2, 1)), C @ C.transpose(0, 2, 1), rtol=1e-13)


@WAYS
def test_a_map_of_the_gradient_of_a_map(through):
    def f(x):
        return tg.vmap(lambda y: tg.sin(y) * y * x.sum())(x).sum()

    found = through(tg.vmap(tg.grad(f)))
    for a in (A, A + 1.0):
        slope = (np.cos(a) * a + np.sin(a)) * a.sum(1, keepdims=True) + (np.sin(a) * a).sum(1, keepdims=True)
        np.testing.assert_allclose(found(a), slope, rtol=1e-13)


@WAYS
def test_derivatives_by_what_the_mapped_function_closes_over(through):
    def f(w):
        return tg.vmap(lambda x: tg.sin(w * x).sum())(A).sum()

    for w in (B, -B):
        np.testing.assert_allclose(through(tg.grad(f))(w), (np.cos(w * A) * A).sum(axis=0), rtol=1e-13)
        np.testing.assert_allclose(through(tg.hessian(f))(w), np.diag((-np.sin(w * A) * A * A).sum(axis=0)),
                                   rtol=1e-13, atol=1e-15)
        g = through(tg.grad(lambda w: tg.vmap(tg.grad(lambda x: tg.sin(w * x).sum()))(A).sum()))(w)
        np.testing.assert_allclose(g, (np.cos(w * A) - w * A * np.sin(w * A)).sum(axis=0), rtol=1e-13)


@WAYS
def test_gradients_by_sample(through):
    layer = nn.Linear(3, 2, dtype=np.float64)
    w, b = (p.detach().numpy().copy() for p in (layer.weight, layer.bias))
    y = np.array([[1.0, 0.0], [0.5, -0.5]])
    each = tg.vmap(tg.grad(lambda w, b, x, y: ((F.linear(x, w, b) - y) ** 2).sum(), argnums=(0, 1)), (None, None, 0, 0))
    by_w, by_b = through(each)(w, b, A, y)
    residual = 2 * (A @ w.T + b - y)
    np.testing.assert_allclose(by_w, residual[:, :, None] * A[:, None, :], rtol=1e-12)
    np.testing.assert_allclose(by_b, residual, rtol=1e-12)


def test_an_ensemble_trains_as_its_members_do():
    rng = np.random.default_rng(0)
    start = rng.normal(size=(4, 3, 1))

    def loss(w, x, y):
        return ((tg.tanh(x @ w) - y) ** 2).mean()

    def member(w):
        w = tg.tensor(w, requires_grad=True)
        return w, tg.TrainStep(lambda x, y: loss(w, x, y), optim.Adam([w], lr=1e-2))

    members = [member(w) for w in start]
    stacked = tg.tensor(start, requires_grad=True)
    step = tg.TrainStep(lambda x, y: tg.vmap(loss, in_axes=(0, None, None))(stacked, x, y).sum(),
                        optim.Adam([stacked], lr=1e-2))
    for _ in range(5):
        x, y = rng.normal(size=(6, 3)), rng.normal(size=(6, 1))
        np.testing.assert_allclose(step(x, y), sum(one(x, y) for _, one in members), rtol=1e-12)
    for k, (w, _) in enumerate(members):
        np.testing.assert_allclose(stacked.detach().numpy()[k], w.detach().numpy(), rtol=1e-10)


def test_a_map_over_a_module_has_gradients_by_its_parameters():
    layer = nn.Linear(3, 2, dtype=np.float64)
    (tg.vmap(lambda x: (layer(x) ** 2).sum())(A)).sum().backward()
    w, b = (p.detach().numpy() for p in (layer.weight, layer.bias))
    np.testing.assert_allclose(layer.weight.grad.numpy(), 2 * (A @ w.T + b).T @ A, rtol=1e-12)


# ------------------------------------------------------------------ errors


@pytest.mark.parametrize("f", [lambda x: x if x.sum() > 0 else -x, lambda x: x * float(x.sum()),
                               lambda x: tg.tensor(np.sin(x.numpy())), lambda x: np.asarray(x) * 2.0])
def test_values_cannot_be_read(f):
    with pytest.raises(tg.CaptureError, match="test_vmap"):
        tg.vmap(f)(A)
    with pytest.raises(tg.TapegradError, match="test_vmap"):
        tg.vmap(tg.grad(lambda x: f(x).sum()))(A)


def test_a_branch_on_a_shape_is_no_branch_on_a_value():
    np.testing.assert_array_equal(tg.vmap(lambda x: -x if x.shape == (3,) and len(x) == 3 else x)(A), -A)


@pytest.mark.parametrize("call, message", [
    (lambda: tg.vmap(lambda x, y: x)(A, B), r"different extents: 2 \(axis 0 of \[2, 3\]\), 3"),
    (lambda: tg.vmap(lambda x: x)(2.0), "in_axes 0 is out of range"),
    (lambda: tg.vmap(lambda x: x, in_axes=2)(A), "in_axes 2 is out of range for an array of 2 axes"),
    (lambda: tg.vmap(lambda x: x, out_axes=2)(A), "out_axes 2 is out of range"),
    (lambda: tg.vmap(lambda x: x, in_axes=None)(A), "no argument is mapped"),
    (lambda: tg.vmap(lambda x: x, in_axes=(0, 0))(A), r"\(0, 0\) does not fit a tuple of 1"),
    (lambda: tg.vmap(lambda x: x, in_axes=1.0)(A), "does not fit"),
    (lambda: tg.vmap(lambda x: x, out_axes=None)(A), "out_axes=None"),
])
def test_axes_that_do_not_fit(call, message):
    with pytest.raises(tg.TapegradError, match=message):
        call()


# ------------------------------------------------------------------ threads


@pytest.mark.parametrize("shared_input", [False, True])
def test_a_batch_that_threads_share_has_the_same_bits_on_any_number_of_them(shared_input):
    rng = np.random.default_rng(0)
    w, b, x = rng.normal(size=(30, 24, 20)), rng.normal(size=(30, 24)), rng.normal(size=(16, 20))
    loss = tg.vmap(lambda w, b, x: tg.tanh(tg.linear(x, w, b)).sum(), (0, 0, None))

    def each(w, b, x):
        return loss(w, b, x if shared_input else tg.stop_gradient(x)).sum()

    threads, found = tg.get_num_threads(), []
    try:
        for count in (1, 2):
            tg.set_num_threads(count)
            recorded = tg.compile(tg.value_and_grad(each, argnums=(0, 1, 2)))
            found.append([recorded(w, b, x) for _ in range(20)])
            assert "linear of each" in str(recorded.tape)
    finally:
        tg.set_num_threads(threads)
    y = np.tanh(x @ np.swapaxes(w, 1, 2) + b[:, None])
    g = 1.0 - y * y
    expected = [np.swapaxes(g, 1, 2) @ x, g.sum(1), (g @ w).sum(0) if shared_input else np.zeros_like(x)]
    for value, gradients in [run for runs in found for run in runs]:
        assert value == found[0][0][0]
        for have, first, want in zip(gradients, found[0][0][1], expected):
            np.testing.assert_array_equal(have, first)
            np.testing.assert_allclose(have, want, rtol=1e-12, atol=1e-12)


def test_a_batch_is_divided_by_its_size_and_not_where_working_memory_is_shared():
    shapes = [(16, 24), (16, 20), (24, 20)]
    assert parts_of(LINEAR, 30, shapes) == 10
    assert parts_of(LINEAR, 2, shapes) == 1
    assert parts_of(LONG_LINEAR, 30, shapes) == 1
    assert parts_of(SUM, 10_000, [(1,), (100,)]) == 1


def test_of_integers_alone_the_function_computes_in_the_dtype_of_what_it_reads():
    table, at = np.array([0.1, 0.2, 0.3]), np.array([[0, 2], [1, 1]])
    found = tg.vmap(lambda i: tg.tensor(table)[i] * 2.0 + i * table[:2])(at)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, table[at] * 2.0 + at * table[:2], rtol=1e-15)
    one, other = (tg.tensor([1.0, 2.0], dtype=dtype, requires_grad=True) for dtype in ("float32", "float64"))
    with pytest.raises(tg.DtypeError, match="computes in float32, not float64"):
        tg.vmap(lambda i: (one * i).sum() + (other * i).sum())(at)
