"""SciPy's optimisers with derivatives of second order and sparse ones, on problems with known solutions."""

import warnings

import numpy as np
import pytest
import scipy.sparse
from scipy.optimize import Bounds, NonlinearConstraint, least_squares, minimize, root

import tapegrad as tg

N = 8
START = np.tile([-1.2, 1.0], N // 2)
WAYS = pytest.mark.parametrize("through", [lambda f: f, tg.compile], ids=["define by run", "recorded"])


def rosenbrock(x):
    """Its minimum is 0, at ones."""
    return (100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2).sum()


@WAYS
@pytest.mark.parametrize("method", ["trust-exact", "Newton-CG", "trust-krylov"])
def test_methods_that_take_a_dense_hessian(method, through):
    found = minimize(through(tg.value_and_grad(rosenbrock)), np.zeros(N), jac=True, method=method, tol=1e-8,
                     hess=through(tg.hessian(rosenbrock)))
    np.testing.assert_allclose(found.x, np.ones(N), atol=1e-6)
    assert found.nit < 60


@WAYS
@pytest.mark.parametrize("method", ["trust-ncg", "trust-krylov", "Newton-CG"])
def test_methods_that_take_products_with_the_hessian(method, through):
    product = through(lambda x, v: tg.hvp(rosenbrock, x, v))

    def hessp(x, v):
        found = product(x, v)
        return found.numpy() if isinstance(found, tg.Tensor) else found

    found = minimize(through(tg.value_and_grad(rosenbrock)), np.zeros(N), jac=True, hessp=hessp, method=method,
                     tol=1e-8)
    np.testing.assert_allclose(found.x, np.ones(N), atol=1e-6)


@WAYS
def test_trust_constr_with_sparse_derivatives_of_objective_and_constraints(through):
    """min sum (x - 2)^2 where x_k x_(k+1) = 1 by pairs: ones."""
    objective = lambda x: ((x - 2.0) ** 2).sum()  # noqa: E731
    products = lambda x: x[::2] * x[1::2]  # noqa: E731
    lagrangian = through(tg.sparse_hessian(lambda x, v: (products(x) * v).sum()))
    jacobian = through(tg.sparse_jacobian(products))
    value = through(products)

    def constraint(x):
        found = value(tg.tensor(x))
        return found.numpy()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = minimize(
            through(tg.value_and_grad(objective)), np.full(N, 1.5), jac=True, method="trust-constr",
            hess=through(tg.sparse_hessian(objective)), options={"gtol": 1e-10, "xtol": 1e-12, "maxiter": 200},
            constraints=[NonlinearConstraint(constraint, 1.0, 1.0, jac=jacobian, hess=lagrangian)],
            bounds=Bounds(0.0, 10.0))
    np.testing.assert_allclose(found.x, np.ones(N), atol=1e-6)
    assert scipy.sparse.issparse(jacobian(found.x)) and jacobian(found.x).nnz == N


TIMES = np.linspace(0.0, 2.0, 30)
TRUE = np.array([2.0, 1.3, 0.5])
DATA = TRUE[0] * np.exp(-TRUE[1] * TIMES) + TRUE[2]


@WAYS
@pytest.mark.parametrize("method", ["trf", "dogbox", "lm"])
def test_least_squares_with_a_dense_jacobian(method, through):
    residuals = lambda p: p[0] * tg.exp(-p[1] * TIMES) + p[2] - DATA  # noqa: E731
    found = least_squares(lambda p: residuals(tg.tensor(p)).numpy(), np.ones(3), jac=through(tg.jacobian(residuals)),
                          method=method, xtol=1e-12, ftol=1e-12, gtol=1e-12)
    np.testing.assert_allclose(found.x, TRUE, rtol=1e-8)


@WAYS
def test_least_squares_with_a_sparse_jacobian(through):
    """A monotone tridiagonal system, whose solution is ones."""

    def system(x):
        inner = tg.pad(x, 1)
        return x ** 3 + 3.0 * x - inner[:-2] - inner[2:]

    shift = system(tg.tensor(np.ones(50))).numpy()
    jacobian = through(tg.sparse_jacobian(system))
    found = least_squares(lambda x: system(tg.tensor(x)).numpy() - shift, np.full(50, 0.8), jac=jacobian, method="trf",
                          xtol=1e-12, ftol=1e-12, gtol=1e-12)
    np.testing.assert_allclose(found.x, np.ones(50), atol=1e-7)
    assert jacobian(found.x).nnz == 148


def test_root_with_a_jacobian():
    f = lambda x: x * x[::-1] + x - 6.0  # noqa: E731
    found = root(lambda x: f(tg.tensor(x)).numpy(), np.array([1.0, 3.0]), jac=tg.compile(tg.jacfwd(f)))
    np.testing.assert_allclose(found.x, [2.0, 2.0], rtol=1e-10)


@WAYS
@pytest.mark.parametrize("make", [tg.grad, tg.hessian, tg.jacobian, tg.sparse_hessian, tg.sparse_jacobian])
def test_what_an_optimiser_is_given_is_its_own(make, through):
    """Optimisers keep earlier gradients and matrices, and write to them."""
    derivative = through(make(rosenbrock))
    first = derivative(START)
    array = first.data if scipy.sparse.issparse(first) else first
    kept = array.copy()
    second = derivative(START + 1.0)
    np.testing.assert_array_equal(array, kept)
    assert array.flags.writeable
    array[...] = 0.0
    again = derivative(START)
    np.testing.assert_array_equal(again.data if scipy.sparse.issparse(again) else again, kept)
    assert second is not first
