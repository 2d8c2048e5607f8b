"""Products: matmul in every shape that NumPy allows, linear, dot, outer, einsum."""

import numpy as np
import pytest

import tapegrad as tg
import tapegrad.nn.functional as F
from tapegrad.engine.products import product as products
from tapegrad.engine.storage import address_of
from tapegrad.errors import TapegradError
from tapegrad.ops.linalg import MATMUL, Products
from tapegrad.ops.nest import nest
from tapegrad.tensor.recording import record

from .contract import Case, OpContract, close, shown, uniform
from .derivatives import Derivatives

MATMUL_SHAPES = [
    ((3,), (3,)),
    ((1,), (1,)),
    ((2, 3), (3,)),
    ((3,), (3, 2)),
    ((2, 3), (3, 4)),
    ((1, 3), (3, 1)),
    ((3, 1), (1, 4)),
    ((1, 1), (1, 1)),
    ((5, 2, 3), (5, 3, 4)),
    ((5, 2, 3), (3, 4)),
    ((2, 3), (5, 3, 4)),
    ((5, 2, 3), (3,)),
    ((3,), (5, 3, 2)),
    ((1, 2, 3), (5, 3, 4)),
    ((4, 1, 2, 3), (5, 3, 2)),
    ((2, 1, 2, 3), (1, 3, 3, 2)),
    ((2, 2, 3), (2, 2, 3, 1)),
    ((0, 3), (3, 2)),
    ((2, 0), (0, 3)),
    ((2, 3), (3, 0)),
    ((0, 2, 3), (3, 4)),
    ((2, 0, 3), (2, 3, 2)),
    ((0,), (0,)),
    ((0,), (0, 2)),
]


def product(name, function, reference, *shapes):
    inputs = tuple(uniform(shape, -1, 1, seed) for seed, shape in enumerate(shapes))
    return Case(f"{name}-{'-'.join(map(str, shapes))}", function, reference, inputs, single=1e-5)


class TestMatmul(OpContract, Derivatives):
    cases = [product("matmul", tg.matmul, np.matmul, *shapes) for shapes in MATMUL_SHAPES] + [
        product("x @ x.T", lambda x: x @ x.T, lambda x: x @ x.T, (2, 3)),
        product("x @ x", lambda x: x @ x, lambda x: x @ x, (3, 3)),
        product("x.T @ y.T", lambda x, y: x.T @ y.T, lambda x, y: x.T @ y.T, (3, 2), (4, 3)),
        product("(x @ y) @ z", lambda x, y, z: (x @ y) @ z, lambda x, y, z: (x @ y) @ z, (2, 3), (3, 4), (4, 2)),
    ]


def linear(x, w, b=0.0):
    """PyTorch's linear: x W^T + b, W of shape (out, in)."""
    return np.matmul(x, w.T) + b


class TestLinear(OpContract, Derivatives):
    cases = [
        product("linear", lambda *a: F.linear(*a), linear, *shapes)
        for shapes in [
            ((4, 3), (2, 3), (2,)),
            ((4, 3), (2, 3)),
            ((3,), (2, 3), (2,)),
            ((3,), (2, 3)),
            ((2, 4, 3), (5, 3), (5,)),
            ((2, 1, 4, 3), (5, 3)),
            ((1, 1), (1, 1), (1,)),
            ((0, 3), (2, 3), (2,)),
            ((4, 1), (3, 1), (3,)),
        ]
    ]


class TestDotAndOuter(OpContract, Derivatives):
    cases = [
        product("dot", tg.dot, np.dot, (3,), (3,)),
        product("dot", tg.dot, np.dot, (2, 3), (3, 4)),
        product("dot", tg.dot, np.dot, (2, 3), (3,)),
        product("dot", tg.dot, np.dot, (2, 2, 3), (3,)),
        product("dot", tg.dot, np.dot, (), (2, 3)),
        product("dot", tg.dot, np.dot, (2, 2, 3), (4, 3, 2)),
        product("outer", tg.outer, np.outer, (3,), (4,)),
        product("outer", tg.outer, np.outer, (1,), (2,)),
        product("outer", tg.outer, np.outer, (2, 2), (3,)),
        product("outer", tg.outer, np.outer, (0,), (3,)),
    ]


EINSUMS = [
    ("ij,jk->ik", (2, 3), (3, 4)),
    ("ij,jk", (2, 3), (3, 4)),
    ("ba,cb", (2, 3), (4, 2)),
    ("ij,kj->ik", (2, 3), (4, 3)),
    ("ij->ji", (2, 3)),
    ("ij->", (2, 3)),
    ("ij->j", (2, 3)),
    ("ij", (2, 3)),
    ("ji", (2, 3)),
    ("i,i->", (3,), (3,)),
    ("i,i", (3,), (3,)),
    ("i,j->ij", (3,), (2,)),
    ("ii->i", (3, 3)),
    ("ii->", (3, 3)),
    ("ii", (3, 3)),
    ("iij->ij", (2, 2, 3)),
    ("ij,ij->ij", (2, 3), (2, 3)),
    ("ij,j->i", (2, 3), (3,)),
    ("bij,bjk->bik", (2, 3, 2), (2, 2, 3)),
    ("bij,bkj->bik", (2, 3, 2), (2, 4, 2)),
    ("bhqd,bhkd->bhqk", (2, 2, 3, 2), (2, 2, 4, 2)),
    ("...ij,...jk->...ik", (2, 3, 2), (2, 3)),
    ("...ij,jk->...ik", (4, 2, 3), (3, 2)),
    ("...i,...i->...", (2, 3), (2, 3)),
    ("...i->i...", (2, 3, 4)),
    ("i...,j...->ij...", (2, 3), (4, 1)),
    ("...,...", (2, 3), (3,)),
    ("ij,jk,kl->il", (2, 3), (3, 2), (2, 4)),
    ("ni,oij,nj->no", (3, 2), (2, 2, 4), (3, 4)),
    ("i,j,k->ijk", (2,), (3,), (2,)),
    ("ij,jk->k", (2, 3), (3, 4)),
    ("ij,kl->", (2, 3), (3, 2)),
    ("ab,bc,ac->", (2, 3), (3, 2), (2, 2)),
    ("ij,jk->ik", (0, 3), (3, 2)),
    ("ij,jk->ik", (2, 0), (0, 3)),
    ("i j, j k -> i k", (2, 3), (3, 4)),
    (",i->i", (), (3,)),
    ("aab,b->a", (2, 2, 3), (3,)),
]


class TestEinsum(OpContract, Derivatives):
    cases = [
        product(
            f"einsum({spec})",
            lambda *a, spec=spec: tg.einsum(spec, *a),
            lambda *a, spec=spec: np.einsum(spec, *a),
            *shapes,
        )
        for spec, *shapes in EINSUMS
    ]


# ------------------------------------------------------------------
# sizes at which the route changes (own loops, BLAS, threads)


@pytest.mark.compiled
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "m, k, n",
    [(1, 200, 1), (1, 300, 257), (257, 300, 1), (7, 5, 9), (16, 16, 16), (65, 33, 17), (256, 300, 129), (3, 5000, 4)],
)
def test_products_of_every_size_agree_with_float64_numpy(m, k, n, dtype):
    x, y = uniform((m, k), -1, 1, 1).astype(dtype), uniform((k, n), -1, 1, 2).astype(dtype)
    g = uniform((m, n), -1, 1, 3).astype(dtype)
    a, b = tg.tensor(x, requires_grad=True), tg.tensor(y, requires_grad=True)
    out = a @ b
    out.backward(gradient=g)
    x, y, g = (v.astype(np.float64) for v in (x, y, g))
    tolerance = 1e-12 if dtype == np.float64 else 2e-5
    close(out.numpy(), x @ y, tolerance)
    close(a.grad.numpy(), g @ y.T, tolerance)
    close(b.grad.numpy(), x.T @ g, tolerance)


@pytest.mark.compiled
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "batch, out_features, in_features",
    [(1, 1, 1), (32, 32, 8), (64, 10, 128), (128, 256, 300), (5, 300, 1), (1000, 70, 5)],
)
def test_linear_layers_of_every_size_agree_with_float64_numpy(batch, out_features, in_features, dtype):
    x = uniform((batch, in_features), -1, 1, 1).astype(dtype)
    w = uniform((out_features, in_features), -1, 1, 2).astype(dtype)
    b = uniform(out_features, -1, 1, 3).astype(dtype)
    g = uniform((batch, out_features), -1, 1, 4).astype(dtype)
    leaves = [tg.tensor(v, requires_grad=True) for v in (x, w, b)]
    out = F.linear(*leaves)
    out.backward(gradient=g)
    x, w, b, g = (v.astype(np.float64) for v in (x, w, b, g))
    tolerance = 1e-12 if dtype == np.float64 else 2e-5
    close(out.numpy(), x @ w.T + b, tolerance)
    for leaf, expected in zip(leaves, (g @ w, g.T @ x, g.sum(axis=0))):
        close(leaf.grad.numpy(), expected, tolerance)


def test_infinities_and_nan_pass_through_a_product_as_in_numpy():
    x = np.array([[1.0, np.inf], [0.0, np.nan], [2.0, 3.0]])
    y = np.array([[1.0, 0.0], [1.0, 2.0]])
    with np.errstate(all="ignore"):
        expected = x @ y
    np.testing.assert_array_equal((tg.tensor(x) @ tg.tensor(y)).numpy(), expected)


# ------------------------------------------------------------------
# spellings and errors


def test_matmul_is_reached_by_operator_function_method_and_numpy_on_both_sides():
    x, y = uniform((2, 3), -1, 1, 1), uniform((3, 2), -1, 1, 2)
    a, b = tg.tensor(x, requires_grad=True), tg.tensor(y)
    for out in (a @ b, a @ y, x @ b, tg.matmul(a, b), a.matmul(b), np.matmul(a, b), np.matmul(x, b)):
        assert isinstance(out, tg.Tensor)
        close(out.numpy(), x @ y, 1e-15)


def test_numpy_einsum_and_dot_and_outer_reach_the_ops():
    x, y = tg.tensor(uniform(3, -1, 1, 1), requires_grad=True), uniform(3, -1, 1, 2)
    for out in (np.einsum("i,i", x, y), np.dot(x, y), np.outer(x, y)):
        assert isinstance(out, tg.Tensor) and out.requires_grad


@pytest.mark.parametrize("left, right", [((2, 3), (4, 5)), ((3,), (4,)), ((2, 2, 3), (3, 3, 4)), ((2, 3), (2,))])
def test_matmul_of_shapes_that_do_not_fit_names_both(left, right):
    with pytest.raises(ValueError) as caught:
        tg.tensor(np.zeros(left)) @ tg.tensor(np.zeros(right))
    assert isinstance(caught.value, tg.TapegradError)
    assert all(shown(shape) in str(caught.value) for shape in (left, right)), str(caught.value)


def test_matmul_with_a_scalar_is_an_error_as_in_numpy():
    with pytest.raises(ValueError):
        tg.tensor(2.0) @ tg.tensor(np.zeros(3))


def test_linear_with_a_weight_that_does_not_fit_names_both_shapes():
    with pytest.raises(ValueError) as caught:
        F.linear(tg.tensor(np.zeros((4, 3))), tg.tensor(np.zeros((2, 5))))
    assert "4, 3" in str(caught.value) and "2, 5" in str(caught.value)


@pytest.mark.parametrize(
    "spec, shapes",
    [("ij,jk->iz", [(2, 3), (3, 4)]), ("ij->ij", [(2,)]), ("ij,jk", [(2, 3), (4, 2)]), ("ij", [(2, 3), (2, 3)])],
)
def test_a_wrong_einsum_is_an_error(spec, shapes):
    with pytest.raises(ValueError) as caught:
        tg.einsum(spec, *[tg.tensor(np.zeros(s)) for s in shapes])
    assert isinstance(caught.value, tg.TapegradError)


@pytest.mark.parametrize("how", ["by hand", "recorded"])
def test_a_product_that_blas_refuses_raises(how, capfd):
    address = products.gemm_address(np.dtype(np.float64))
    words = next(words for words, _, at in products._records.values() if at == address).copy()
    words[products.Routine.word("limit")] = 0

    def multiply(a, b):  # the rows of the first operand overlap, of which BLAS complains on standard error
        attributes = Products.words(gemm=address_of(words) // 8, m=3, n=5, k=4, ta=False, lda=2, tb=False, ldb=5,
                                    batch=nest((), ((), (), ())))
        return record(MATMUL, (a, b), (3, 5), attributes, dtype=np.dtype(np.float64))

    run = tg.compile(multiply) if how == "recorded" else lambda a, b: multiply(tg.tensor(a), tg.tensor(b))
    with pytest.raises(TapegradError, match="BLAS refuses"):
        run(np.ones((3, 4)), np.ones((4, 5)))
    assert capfd.readouterr().err == ""
