"""Whole Jacobians and Hessians, and what holds for all transformations: repeated calls, threads, copies, exceptions."""

import copy
import gc
import pickle
import sys
import threading

import numpy as np
import pytest

import tapegrad as tg
from tapegrad.tape import history
from tapegrad.tape.nodes import Leaf
from tapegrad.tape.state import Modes, state
from tapegrad.transforms.evaluation import Evaluation

B = np.array([0.5, -1.0, 2.0])
V = np.array([0.3, 0.2, -0.7])
MODULE = sys.modules["tapegrad.transforms.jacobian"]  # whose name is that of a function
A = np.array([[1.0, -2.0, 0.5], [0.25, 3.0, -1.5]])

JACOBIANS = [tg.jacfwd, tg.jacrev, tg.jacobian]
WAYS = pytest.mark.parametrize("through", [lambda f: f, tg.compile], ids=["define by run", "recorded"])


def cubic(x, y):
    """sum(x^2 y): its Hessian is diagonal."""
    return (x * x * y).sum()


def bowl(x):
    """A module's function, which a pickle finds by its name."""
    return (x ** 3).sum()


# ------------------------------------------------------------------ values


@WAYS
@pytest.mark.parametrize("transform", JACOBIANS)
def test_a_jacobian_has_the_shape_of_the_result_and_the_argument(transform, through):
    jacobian = through(transform(lambda x: tg.sin(x) * x[:, :1]))
    for x in (A, A + 1.0):  # also where it was recorded for other values
        expected = np.zeros((2, 3, 2, 3))
        for i in range(2):
            for j in range(3):
                expected[i, j, i, j] += np.cos(x[i, j]) * x[i, 0]
                expected[i, j, i, 0] += np.sin(x[i, j])
        np.testing.assert_allclose(jacobian(x), expected, rtol=1e-13, atol=1e-15)


@WAYS
@pytest.mark.parametrize("nbytes", [1, 200, 400])
@pytest.mark.parametrize("transform", JACOBIANS)
def test_a_large_jacobian_is_computed_in_chunks(transform, nbytes, through, monkeypatch):
    def f(x, y):
        return {"a": tg.sin(x) * y[0], "b": [x[0] * x[1], tg.sum(x * x) * y]}

    whole = transform(f, argnums=(0, 1))(B, V)
    calls, products = [], Evaluation.products

    def counted(self, seeds, *how):
        calls.append(len(seeds[0]))
        return products(self, seeds, *how)

    monkeypatch.setattr(MODULE, "AT_ONCE", nbytes)
    monkeypatch.setattr(Evaluation, "products", counted)
    found = through(transform(f, argnums=(0, 1)))(B, V)
    assert len(calls) > 1 and sum(calls) == (6 if transform is tg.jacfwd or transform is tg.jacobian else 7)
    expected = np.outer(np.sin(B), [1, 0, 0])
    np.testing.assert_allclose(found["a"][1], expected, rtol=1e-14)
    for one, other in zip([found["a"], *found["b"]], [whole["a"], *whole["b"]]):
        for a, b in zip(one, other):
            np.testing.assert_allclose(a, b, rtol=1e-14)


@WAYS
def test_a_jacobian_in_chunks_is_differentiated_again(through, monkeypatch):
    monkeypatch.setattr(MODULE, "AT_ONCE", 200)
    found = through(tg.grad(lambda x: tg.sum(tg.jacrev(lambda x: x ** 3)(x) ** 2)))(B)
    np.testing.assert_allclose(found, 36 * B ** 3, rtol=1e-14)
    np.testing.assert_allclose(through(tg.hessian(bowl))(B), np.diag(6 * B), rtol=1e-14)


def test_the_memory_of_a_recorded_jacobian_grows_with_its_result_alone(monkeypatch):
    monkeypatch.setattr(MODULE, "AT_ONCE", 1 << 18)
    weights = np.random.default_rng(0).normal(size=(2000, 3))
    jacobian = tg.compile(tg.jacrev(lambda x: tg.tanh(tg.tensor(weights) @ tg.tanh(x))))
    np.testing.assert_allclose(jacobian(B), (1 - np.tanh(weights @ np.tanh(B)) ** 2)[:, None] * weights
                               * (1 - np.tanh(B) ** 2), rtol=1e-11, atol=1e-14)
    program = jacobian._last.program
    constants = sum(leaf.nbytes for leaf in program.tape._externals if isinstance(leaf, Leaf))
    assert program.arena.nbytes + constants < 1 << 20  # all unit vectors at once are 32 MB


@WAYS
def test_a_hessian_of_two_arguments_is_a_matrix_of_blocks(through):
    hessian = through(tg.hessian(cubic, argnums=(1, 0)))
    for x, y in ((B, V), (V, B)):
        (yy, yx), (xy, xx) = hessian(x, y)
        np.testing.assert_array_equal(yy, np.zeros((3, 3)))
        np.testing.assert_allclose(yx, np.diag(2 * x), rtol=1e-14)
        np.testing.assert_allclose(xy, np.diag(2 * x), rtol=1e-14)
        np.testing.assert_allclose(xx, np.diag(2 * y), rtol=1e-14)


@WAYS
@pytest.mark.parametrize("transform", JACOBIANS)
def test_structures_nest_result_over_argument(transform, through):
    def f(p, x):
        return {"a": (p["w"] * x).sum(), "b": [p["b"] * p["w"][0], x]}

    found = through(transform(f, argnums=(0, 1)))({"w": B, "b": V}, A[0])
    by_p, by_x = found["a"]
    np.testing.assert_allclose(by_p["w"], A[0])
    np.testing.assert_allclose(by_p["b"], np.zeros(3))
    np.testing.assert_allclose(by_x, B)
    by_p, by_x = found["b"][0]
    np.testing.assert_allclose(by_p["w"], np.outer(V, [1.0, 0.0, 0.0]))
    np.testing.assert_allclose(by_p["b"], np.eye(3) * B[0])
    np.testing.assert_allclose(found["b"][1][1], np.eye(3))


@WAYS
@pytest.mark.parametrize("transform", JACOBIANS)
def test_results_that_are_the_argument_or_a_constant_or_the_same_twice(transform, through):
    def f(x):
        y = x * x
        return x, y, y, x[::-1], tg.tensor(np.ones(2)), 3.0

    found = through(transform(f))(B)
    for block, expected in zip(found, (np.eye(3), np.diag(2 * B), np.diag(2 * B), np.eye(3)[::-1], np.zeros((2, 3)),
                                       np.zeros(3))):
        np.testing.assert_array_equal(block, expected)
        assert block.dtype == np.float64


@WAYS
@pytest.mark.parametrize("transform", JACOBIANS)
def test_an_argument_named_twice_has_two_separate_blocks(transform, through):
    first, second = through(transform(lambda x, y: x * y, argnums=(0, -2)))(B, V)
    np.testing.assert_array_equal(first, np.diag(V))
    np.testing.assert_array_equal(second, np.diag(V))
    assert not np.shares_memory(first, second)


@WAYS
@pytest.mark.parametrize("transform", [*JACOBIANS, tg.hessian])
@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (1,), (1, 3)])
def test_empty_scalar_and_size_one_arguments(transform, shape, through):
    x = np.arange(1.0, 1.0 + np.prod(shape)).reshape(shape)
    found = through(transform(lambda z: (z ** 3).sum()))(x)
    if transform is tg.hessian:
        expected = np.diag(6 * x.ravel()).reshape(shape + shape)
    else:
        expected = 3 * x * x
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected)


@pytest.mark.parametrize("transform", [*JACOBIANS, tg.hessian])
def test_an_argument_without_leaves_and_a_result_without_leaves(transform):
    assert transform(lambda p, x: tg.tensor(x).sum() * 1.0)({}, B) == {}


@pytest.mark.parametrize("x", [A.T[::-1], np.asfortranarray(A), np.broadcast_to(B, (2, 3)), A[::-1, ::2]])
def test_hessians_through_views_of_views(x):
    found = tg.hessian(lambda z: (z[::-1] * z[:, :1] * z.T.sum()).sum())(x)
    n = x.size
    reference = np.zeros((n, n))
    for k in range(n):
        step = np.zeros(n)
        step[k] = 1e-6
        slopes = [tg.grad(lambda z: (z[::-1] * z[:, :1] * z.T.sum()).sum())(x + s * step.reshape(x.shape)).ravel()
                  for s in (1, -1)]
        reference[k] = (slopes[0] - slopes[1]) / 2e-6
    np.testing.assert_allclose(found.reshape(n, n), reference, atol=1e-7)


@WAYS
def test_auxiliary_results_keywords_and_float32(through):
    def f(x, *, scale):
        return (x ** 3 * scale).sum(), {"twice": x * 2.0, "n": 3, "constant": np.ones(2)}

    x = B.astype(np.float32)
    hessian, aux = through(lambda x: tg.hessian(f, has_aux=True)(x, scale=2.0))(x)
    hessian = hessian.numpy() if isinstance(hessian, tg.Tensor) else hessian
    assert hessian.dtype == np.float32 and aux["n"] == 3
    np.testing.assert_allclose(hessian, np.diag(12 * x), rtol=1e-6)
    np.testing.assert_allclose(aux["twice"].numpy() if isinstance(aux["twice"], tg.Tensor) else aux["twice"], 2 * x)


def test_elementwise_grad_nests():
    third = tg.elementwise_grad(tg.elementwise_grad(tg.elementwise_grad(tg.sin)))
    np.testing.assert_allclose(third(A), -np.cos(A), rtol=1e-14)
    by_y = tg.elementwise_grad(lambda x, y, *, k: x * y ** 2 * k, argnums=1)
    np.testing.assert_allclose(by_y(B, V, k=3.0), 6 * B * V)


def test_the_derivative_of_a_compiled_function_is_right():
    f = tg.compile(lambda x: tg.sin(x).sum())
    np.testing.assert_allclose(tg.grad(f)(B), np.cos(B))
    np.testing.assert_allclose(tg.hessian(f)(B), np.diag(-np.sin(B)))
    np.testing.assert_allclose(tg.jacfwd(tg.compile(tg.grad(f)))(B), np.diag(-np.sin(B)))


@pytest.mark.parametrize("outer", [tg.jacfwd, tg.jacrev, tg.hessian, lambda f: lambda x: tg.jvp(f, (x,), (x,))[1],
                                   lambda f: lambda x: tg.vjp(f, x)[1](1.0)[0], tg.grad])
def test_of_arrays_the_result_is_an_array_whatever_is_differentiated_within(outer):
    """Variables of derivatives within are none of the caller's."""
    for inner in (lambda x: tg.grad(lambda x, y: (x ** 3 * y ** 2).sum(), (0, 1))(x, V)[1].sum(),
                  lambda x: tg.jvp(lambda x, y: (x ** 3 * y ** 2).sum(), (x, V), (x, V))[1],
                  lambda x: tg.vjp(lambda y: (x ** 3 * y ** 2).sum(), V)[1](1.0)[0].sum()):
        assert type(outer(inner)(B)) in (np.ndarray, np.float64)


@WAYS
def test_results_belong_to_the_caller(through):
    for transform, f in ((tg.hessian, bowl), (tg.jacrev, lambda x: x), (tg.jacfwd, lambda x: x * 2.0)):
        derivative = through(transform(f))
        first = derivative(B)
        kept = first.copy()
        derivative(V)
        np.testing.assert_array_equal(first, kept)
        first += 1.0
        np.testing.assert_array_equal(derivative(B), kept)


# ------------------------------------------------------------------ errors


@pytest.mark.parametrize("call, message", [
    (lambda: tg.jacrev(lambda x: tg.argmax(x))(B), "int64.*has_aux"),
    (lambda: tg.jacfwd(lambda x: (x, x > 0))(B), "bool.*has_aux"),
    (lambda: tg.elementwise_grad(lambda x: x.sum())(B), r"\[\] from arguments of \[3\]"),
])
def test_results_without_a_derivative_are_refused_with_the_line(call, message):
    with pytest.raises(tg.GradientError, match=message) as caught:
        call()
    assert "test_jacobian.py" in str(caught.value)


@pytest.mark.parametrize("transform", [*JACOBIANS, tg.hessian])
def test_other_errors_are_those_of_grad(transform):
    with pytest.raises(TypeError, match="int64"):
        transform(lambda x: x * x)(np.arange(3))
    with pytest.raises(tg.ArgumentError, match="argnums 2"):
        transform(lambda x: x * x, argnums=2)(B)
    with pytest.raises(tg.GradientError, match="pair"):
        transform(lambda x: x.sum(), has_aux=True)(B)
    with pytest.raises(TypeError, match="needs a function"):
        transform(3)


def test_a_custom_op_without_a_second_rule_is_refused_by_its_name():
    def cube(x, y):
        for k in range(x.size):
            y[k] = x[k] ** 3

    def adjoint(g, x, dx):
        for k in range(x.size):
            dx[k] += 3.0 * g[k] * x[k] * x[k]

    op = tg.custom_op(cube, adjoint)
    np.testing.assert_allclose(tg.grad(lambda x: op(x).sum())(B), 3 * B * B)
    with pytest.raises(tg.GradientError, match="cube"):
        tg.hessian(lambda x: op(x).sum())(B)


# ------------------------------------------------------------------ all transformations

TRANSFORMS = {
    "grad": tg.grad, "value_and_grad": tg.value_and_grad, "hessian": tg.hessian, "jacfwd": tg.jacfwd,
    "jacrev": tg.jacrev, "jacobian": tg.jacobian, "elementwise_grad": tg.elementwise_grad, "vmap": tg.vmap,
    "sparse_jacobian": tg.sparse_jacobian, "sparse_hessian": tg.sparse_hessian,
}
ALL = pytest.mark.parametrize("name", TRANSFORMS)
NESTED = {
    **TRANSFORMS, "jvp": lambda f: lambda x: tg.jvp(f, (x,), (x,)), "vjp": lambda f: lambda x: tg.vjp(f, x),
    "vmap of grad": lambda f: tg.vmap(tg.grad(f)), "grad of grad": lambda f: tg.grad(lambda x: tg.grad(f)(x).sum()),
    "compiled hessian": lambda f: tg.compile(tg.hessian(f)), "compiled vmap": lambda f: tg.compile(tg.vmap(f)),
}


@pytest.mark.parametrize("name", NESTED)
def test_an_exception_passes_through_and_leaves_the_state_as_it_was(name):
    def broken(x):
        _ = x * x
        raise KeyError("mine")

    before = state.grad_enabled, state.capture, state.holds, state.transforming, state.segment, Modes.recordings
    with pytest.raises(KeyError, match="mine"):
        NESTED[name](broken)(A)
    assert before == (state.grad_enabled, state.capture, state.holds, state.transforming, state.segment,
                      Modes.recordings)
    assert not history._arguments and not state.grad_before
    np.testing.assert_allclose(tg.hessian(bowl)(B), np.diag(6 * B))


@ALL
def test_copies_and_pickles_are_the_same_transformation(name):
    made = TRANSFORMS[name](bowl)
    assert made.__name__ == "bowl" and made.__doc__ == bowl.__doc__
    for again in (pickle.loads(pickle.dumps(made)), copy.copy(made), copy.deepcopy(made)):
        assert type(again) is type(made)
    again = pickle.loads(pickle.dumps(tg.hessian(bowl, argnums=-1)))
    np.testing.assert_allclose(again(B), np.diag(6 * B))


def test_nothing_stays_on_the_tape():
    calls = [lambda: tg.hessian(bowl)(B), lambda: tg.jacrev(lambda x: x * x)(B), lambda: tg.vjp(bowl, B),
             lambda: tg.vmap(tg.grad(bowl))(A), lambda: tg.hvp(bowl, B, V), lambda: tg.sparse_hessian(bowl)(B),
             lambda: tg.grad(lambda x: tg.grad(bowl)(x).sum())(B), lambda: tg.linearize(bowl, B)[1](V)]
    gc.collect()
    before = len(tg.current_tape(np.float64))
    for call in calls:
        for _ in range(3):
            call()
        assert len(tg.current_tape(np.float64)) == before


def test_two_threads_differentiate_at_once():
    compiled, failures = tg.compile(tg.hessian(bowl)), []

    def work(x):
        try:
            for _ in range(40):
                np.testing.assert_allclose(tg.hessian(bowl)(x), np.diag(6 * x))
                np.testing.assert_allclose(compiled(x), np.diag(6 * x))
                np.testing.assert_allclose(tg.vmap(tg.grad(bowl))(np.stack([x, x + 1])), 3 * np.stack([x, x + 1]) ** 2)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(B * k,)) for k in (1.0, 2.0)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures


# ------------------------------------------------------------------ what is recorded


def instructions(recorded):
    """By instruction of the listing its op and the shape of its output."""
    return [(line.split()[1], line.split()[3]) for line in str(recorded.tape).split("\n")[1:]]


def test_slopes_are_multiplied_before_they_meet_the_directions():
    x = np.linspace(-1.0, 1.0, 40)
    recorded = tg.compile(tg.jacfwd(lambda x: tg.exp(tg.sin(tg.tanh(x))) * x - x * x))
    y = np.exp(np.sin(np.tanh(x)))
    expected = np.diag(y * np.cos(np.tanh(x)) * (1.0 - np.tanh(x) ** 2) * x + y - 2.0 * x)
    np.testing.assert_allclose(recorded(x), expected, rtol=1e-13, atol=1e-14)
    of_all = [op for op, shape in instructions(recorded) if shape == "f64[40,40]" and op != "copy"]
    assert of_all == ["multiply"]  # the directions times the whole slope


def test_the_hessian_of_a_function_of_a_product_is_one_product_of_matrices():
    rng = np.random.default_rng(0)
    rows, w = rng.normal(size=(30, 4)), rng.normal(size=4)
    recorded = tg.compile(tg.hessian(lambda w: tg.exp(rows @ w).sum()))
    np.testing.assert_allclose(recorded(w), rows.T @ (np.exp(rows @ w)[:, None] * rows), rtol=1e-12)
    products = [shape for op, shape in instructions(recorded) if op == "matmul"]
    assert products == ["f64[30,1]", "f64[4,4]"]


def test_directions_that_meet_a_sum_of_different_slopes():
    recorded = tg.compile(tg.jacobian(lambda x, y: tg.stack([x * y, x - y, -(x * x), x + y]), argnums=(0, 1)))
    x, y = np.array([0.5, 2.0]), np.array([3.0, -1.0])
    by_x, by_y = recorded(x, y)
    for k in range(2):
        np.testing.assert_allclose(by_x[:, k, k], [y[k], 1.0, -2.0 * x[k], 1.0])
        np.testing.assert_allclose(by_y[:, k, k], [x[k], -1.0, 0.0, 1.0])
    assert not by_x[:, 0, 1].any() and not by_y[:, 1, 0].any()


def times(w, b=None):
    """x -> w x + b, as a linear layer."""
    return lambda x: tg.linear(x, w, b)


MATRICES = {"linear": times(A), "linear with a bias": times(A, np.array([1.0, 2.0])),
            "matrix times vector": lambda x: tg.matmul(A, x), "vector times matrix": lambda x: tg.matmul(x, A.T),
            "row times matrix": lambda x: tg.matmul(x.reshape(1, 3), A.T)[0],
            "matrix times column": lambda x: tg.matmul(A, x.reshape(3, 1))[:, 0],
            "matrix times columns": lambda x: tg.matmul(A, tg.stack([x, 2.0 * x], axis=1))[:, 0]}


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("transform", JACOBIANS)
@pytest.mark.parametrize("name", MATRICES)
def test_a_matrix_times_all_unit_vectors_is_the_matrix(name, transform, chunked, monkeypatch):
    if chunked:
        monkeypatch.setattr(MODULE, "AT_ONCE", 1)
    f, x = MATRICES[name], np.array([0.5, -1.0, 2.0])
    inner = np.cos(np.sin(x))[None] * np.cos(x)
    for through in (lambda f: f, tg.compile):
        np.testing.assert_allclose(through(transform(f))(x), A, rtol=1e-14)
        np.testing.assert_allclose(through(transform(lambda x: tg.exp(f(x)) * 2.0))(x),
                                   2.0 * np.exp(f(tg.tensor(x)).numpy())[:, None] * A, rtol=1e-13)
        np.testing.assert_allclose(through(transform(lambda x: f(tg.sin(tg.sin(x)))))(x), A * inner, rtol=1e-13)


@pytest.mark.parametrize("transform", [tg.jacfwd, tg.jacrev])
def test_no_product_with_unit_vectors_is_computed(transform):
    rng = np.random.default_rng(0)
    v, w, x = rng.normal(size=(30, 20)), rng.normal(size=(30, 30)), rng.normal(size=20)
    recorded = tg.compile(lambda x, v, w: transform(lambda x: tg.linear(tg.tanh(tg.linear(x, v)), w))(x))
    expected = w @ ((1.0 - np.tanh(v @ x) ** 2)[:, None] * v)
    np.testing.assert_allclose(recorded(x, v, w).numpy(), expected, rtol=1e-11, atol=1e-12)
    products = [shape for op, shape in instructions(recorded) if op in ("linear", "matmul") and shape.count(",")]
    assert len(products) == 1


def test_what_is_constant_in_a_derivative_is_added_once():
    def f(x):
        return 2.0 * x - (3.0 * x[::-1] - tg.sin(x)) + tg.cumsum(x) - x * 0.5

    x = np.linspace(-1.0, 1.0, 12)
    eye = np.eye(12)
    recorded = tg.compile(tg.jacfwd(f))
    expected = 1.5 * eye - 3.0 * eye[::-1] + np.diag(np.cos(x)) + np.tril(np.ones((12, 12)))
    for shift in (0.0, 1.0):
        at = expected - np.diag(np.cos(x)) + np.diag(np.cos(x + shift))
        np.testing.assert_allclose(recorded(x + shift), at, rtol=1e-14, atol=1e-14)
    of_all = [op for op, shape in instructions(recorded) if shape == "f64[12,12]" and op != "copy"]
    assert len(of_all) == 2  # slopes times directions, and one constant


def test_the_matrix_of_a_sparse_jacobian_has_the_index_type_of_scipys_solvers():
    jacobian = tg.compile(tg.sparse_jacobian(lambda x: x[1:] * x[:-1] - 2.0 * x[1:]))
    for _ in range(2):
        matrix = jacobian(np.array([1.0, 2.0, 3.0]))
        assert matrix.indices.dtype == matrix.indptr.dtype == np.int32
        assert matrix.toarray().tolist() == [[2.0, -1.0, 0.0], [0.0, 3.0, 0.0]]


def test_the_second_derivative_of_tanh_takes_two_multiplications_more_than_the_first():
    def second(x, d, e):
        return tg.jvp(lambda x: tg.jvp(tg.tanh, (x,), (d,))[1], (x,), (e,))[1]

    recorded = tg.compile(second)
    x, d, e = np.random.default_rng(0).normal(size=(3, 40))
    y = np.tanh(x)
    np.testing.assert_allclose(recorded(x, d, e).numpy(), -2.0 * y * (1.0 - y * y) * d * e, rtol=1e-12)
    assert [op for op, _ in instructions(recorded)] == ["tanh", "tanh_slope", "scaled_product", "multiply"]


def test_directions_that_meet_slopes_of_tanh_on_either_side():
    x = np.array([0.5, -1.0, 0.25])
    y = np.tanh(x)
    for through in (lambda f: f, tg.compile):
        by_both = through(tg.hessian(lambda x: (tg.tanh(x) * V).sum()))(x)
        np.testing.assert_allclose(by_both, np.diag(-2.0 * y * (1.0 - y * y) * V), rtol=1e-12)
        third = through(tg.jacfwd(tg.jacrev(tg.jacfwd(tg.tanh))))(x)
        expected = np.zeros((3, 3, 3, 3))
        expected[[0, 1, 2], [0, 1, 2], [0, 1, 2], [0, 1, 2]] = (6.0 * y * y - 2.0) * (1.0 - y * y)
        np.testing.assert_allclose(third, expected, rtol=1e-11, atol=1e-12)
