"""Sparse Jacobians and Hessians against dense ones, their patterns, and the number of their products."""

import numpy as np
import pytest
import scipy.sparse

import tapegrad as tg

RNG = np.random.default_rng(0)
X = RNG.normal(size=7)
M = RNG.normal(size=(3, 4))
MATRIX = np.array([[1.0, 2.0], [0.0, 1.0], [3.0, 0.0], [1.0, 1.0]])


def stencil(u):
    """A Laplacian of five points and a reaction."""
    return (4.0 * u[1:-1, 1:-1] - u[2:, 1:-1] - u[:-2, 1:-1] - u[1:-1, 2:] - u[1:-1, :-2]) + u[1:-1, 1:-1] ** 3


def rosenbrock(x):
    return (100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2).sum()


# function, argument, elements of the pattern, at most so many products
JACOBIANS = {
    "neighbours": (lambda x: x[1:] * x[:-1] ** 2, X, 12, 2),
    "reversed": (lambda x: x[::-1] * x, X, 13, 2),
    "strided": (lambda x: x[::2] * x[1:5], X, 7, 2),
    "element by element": (lambda x: tg.sin(x) * x, X, 7, 1),
    "scalar": (lambda x: (x ** 2).sum(), X, 7, 1),
    "sum over all": (lambda x: x.sum() * x, X, 49, 7),
    "identity": (lambda x: x, X, 7, 1),
    "constant": (lambda x: tg.tensor(np.ones(3)), X, 0, 1),
    "transposed": (lambda x: x.T * 2.0, M, 12, 1),
    "sum of columns": (lambda x: (x ** 2).sum(axis=0), M, 12, 1),
    "mean of rows": (lambda x: x.mean(axis=1), M, 12, 1),
    "rows by their sums": (lambda x: (x ** 2).sum(axis=1, keepdims=True) * x, M, 48, 4),
    "matrix product": (lambda x: x @ MATRIX, M, 24, 2),
    "reshaped": (lambda x: x.reshape(2, 6)[1] * x.reshape(12)[:6], M, 12, 1),
    "concatenated": (lambda x: tg.concatenate([x[3:], x[:2] ** 2, x[:1]]), X, 7, 1),
    "padded": (lambda x: tg.pad(x, ((1, 0), (2, 1))), M, 12, 1),
    "outer product": (lambda x: x[:, None] * x[None, :], X, 91, 7),
    "chosen": (lambda x: tg.where(np.arange(7) > 3, x, x[::-1] ** 2), X, 13, 2),
    "a dense row and a dense column": (lambda x: tg.concatenate([(x ** 2).sum(keepdims=True), x[1:] * x[0]]), X, 19, 7),
    "stencil": (stencil, RNG.normal(size=(6, 6)), 80, 6),
    "gradient within": (lambda x: tg.grad(lambda z: (z[1:] * z[:-1] ** 3).sum())(x), X, 19, 3),
    "mapped within": (lambda x: tg.vmap(lambda a: tg.sin(a) * a)(x), X, 7, 1),
    "zero at the point": (lambda x: x[1:] * x[:-1], np.zeros(5), 8, 2),
    "empty": (lambda x: x * 2.0, np.zeros(0), 0, 0),
    "no result": (lambda x: x[:0] * 2.0, X, 0, 1),
    "0-d": (lambda x: x * x, np.array(2.0), 1, 1),
    "columns first": (lambda x: x[1:] * x[:-1], np.asfortranarray(M), 16, 2),
    "float32": (lambda x: x[1:] * x[:-1], X.astype(np.float32), 12, 2),
}
HESSIANS = {
    "squares": (lambda x: (x ** 2).sum(), X, 7, 1),
    "neighbours": (lambda x: (x[1:] * x[:-1] ** 2).sum(), X, 19, 3),
    "Rosenbrock": (rosenbrock, X, 19, 3),
    "arrow": (lambda x: (x[0] * x).sum() + (x ** 3).sum(), X, 19, 2),
    "dense": (lambda x: x.sum() ** 3, X, 49, 7),
    "linear": (lambda x: (3.0 * x).sum(), X, 0, 1),
    "constant": (lambda x: tg.tensor(np.float64(2.0)), X, 0, 1),
    "ends meet": (lambda x: (x * x[::-1]).sum() + tg.sin(x).sum(), X, 13, 2),
    "grid": (lambda u: ((u[1:] - u[:-1]) ** 4).sum() + ((u[:, 1:] - u[:, :-1]) ** 4).sum(),
             RNG.normal(size=(4, 5)), 82, 5),
    "0-d": (lambda x: x ** 3, np.array(2.0), 1, 1),
    "empty": (lambda x: (x ** 3).sum(), np.zeros(0), 0, 0),
}


@pytest.mark.parametrize("recorded", [False, True], ids=["define by run", "recorded"])
@pytest.mark.parametrize("transform, dense, name", [
    *((tg.sparse_jacobian, tg.jacobian, name) for name in JACOBIANS),
    *((tg.sparse_hessian, tg.hessian, name) for name in HESSIANS)])
def test_a_sparse_matrix_is_the_dense_one(transform, dense, name, recorded):
    f, x, elements, products = (JACOBIANS if transform is tg.sparse_jacobian else HESSIANS)[name]
    sparse = transform(f)
    matrix = tg.compile(sparse) if recorded else sparse
    for scale in (1.0, -0.5) if recorded else (1.0,):
        at = (x * scale).astype(x.dtype)
        found = matrix(at)
        assert isinstance(found, scipy.sparse.csr_array) and found.dtype == x.dtype and found.has_sorted_indices
        rtol = 1e-5 if x.dtype == np.float32 else 1e-10
        np.testing.assert_allclose(found.toarray(), np.reshape(dense(f)(at), found.shape), rtol=rtol, atol=1e-12)
        assert found.nnz <= elements and sparse.colors.max(initial=-1) + 1 <= products
        np.testing.assert_array_equal(found.indices, sparse.pattern.indices)


def test_argnums_and_keywords():
    f = lambda x, y, *, k=1.0: x[1:] * y ** 2 * k  # noqa: E731
    np.testing.assert_allclose(tg.sparse_jacobian(f, argnums=-1)(X, X[1:]).toarray(), np.diag(2 * X[1:] ** 2))
    found = tg.sparse_hessian(lambda x, y: f(x, y, k=3.0).sum(), argnums=1)(X, X[1:])
    np.testing.assert_allclose(found.toarray(), np.diag(6 * X[1:]))


NEIGHBOURS = JACOBIANS["neighbours"][0]
BANDS = np.eye(6, 7, dtype=bool) | np.eye(6, 7, 1, dtype=bool)


@pytest.mark.parametrize("given", [BANDS, BANDS.tolist(), BANDS * 2.5, scipy.sparse.csr_matrix(BANDS),
                                   scipy.sparse.coo_array(BANDS)])
def test_a_pattern_may_be_given_in_any_form(given):
    jacobian = tg.sparse_jacobian(NEIGHBOURS, pattern=given, check=True)
    assert jacobian.pattern.nnz == 12
    np.testing.assert_allclose(jacobian(X).toarray(), tg.jacobian(NEIGHBOURS)(X))


@pytest.mark.parametrize("through", [lambda f: f, tg.compile], ids=["define by run", "recorded"])
def test_a_pattern_that_lacks_elements_is_found_out(through):
    lacking = BANDS.copy()
    lacking[2, 3] = False
    with pytest.raises(tg.GradcheckError, match="lacks elements.*element 2"):
        through(tg.sparse_jacobian(NEIGHBOURS, pattern=lacking, check=True))(X)
    with pytest.raises(tg.GradcheckError, match="lacks elements"):
        through(tg.sparse_hessian(rosenbrock, pattern=np.eye(7), check=True))(X)
    with pytest.raises(tg.ShapeError, match=r"\[7, 6\].*\[6, 7\]"):
        through(tg.sparse_jacobian(NEIGHBOURS, pattern=BANDS.T))(X)


def test_one_triangle_of_a_hessian_is_pattern_enough():
    hessian = tg.hessian(rosenbrock)(X)
    for part in (np.tril, np.triu):
        np.testing.assert_allclose(tg.sparse_hessian(rosenbrock, pattern=part(hessian != 0))(X).toarray(), hessian)


@pytest.mark.parametrize("through", [lambda f: f, tg.compile], ids=["define by run", "recorded"])
def test_matrices_belong_to_the_caller(through):
    jacobian = through(tg.sparse_jacobian(NEIGHBOURS))
    first = jacobian(X)
    kept = first.toarray()
    jacobian(2.0 * X)
    np.testing.assert_array_equal(first.toarray(), kept)
    first.data[:] = first.indices[:] = 0
    np.testing.assert_array_equal(jacobian(X).toarray(), kept)


@pytest.mark.parametrize("call, message", [
    (lambda: tg.sparse_jacobian(lambda x: (x, x))(X), "not of 2 by 1.*concatenate"),
    (lambda: tg.sparse_jacobian(lambda x, y: x * y, argnums=(0, 1))(X, X), "not of 1 by 2"),
    (lambda: tg.sparse_hessian(lambda x: x * 2.0)(X), "scalar"),
    (lambda: tg.sparse_jacobian(lambda x: tg.argmax(x))(X), "test_sparse.*int64"),
    (lambda: tg.sparse_jacobian(lambda x: x)(np.arange(3)), "int64"),
    (lambda: tg.grad(lambda x: (x * tg.sparse_jacobian(lambda z: z ** 2)(x).sum()).sum())(X), "test_sparse.*cut"),
    (lambda: tg.compile(lambda x: tg.sparse_jacobian(lambda z: z ** 2)(x) @ x)(X), "test_sparse"),
    (lambda: tg.vmap(tg.sparse_jacobian(lambda z: z ** 2))(M), "test_sparse"),
])
def test_what_has_no_sparse_matrix_is_refused(call, message):
    with pytest.raises(tg.TapegradError, match=message):
        call()
