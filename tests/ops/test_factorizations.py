"""Cholesky factors, systems of equations, inverses and determinants, against NumPy."""

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import linalg

from .contract import Case, OpContract, close, uniform
from .derivatives import Derivatives


def definite(x):
    """A symmetric positive definite matrix of any, for arrays and tensors."""
    return x @ x.swapaxes(-1, -2) + 2.0 * np.eye(x.shape[-1])


def regular(shape, seed):
    """Matrices whose diagonal dominates, also if elements are shuffled among each other."""
    return uniform(shape, -0.4, 0.4, seed)


def far(x):
    """`x` away from singular matrices."""
    return x + 3.0 * np.eye(x.shape[-1])


def lower(x):
    return np.tril(far(x))


def unit(x):
    return np.triu(x, 1) + np.eye(x.shape[-1])


def case(name, function, reference, *shapes):
    return Case(name, function, reference, tuple(regular(shape, seed) for seed, shape in enumerate(shapes)),
                single=2e-5, double=1e-12)


class TestFactorizations(OpContract, Derivatives):
    cases = [
        case("cholesky", lambda x: linalg.cholesky(definite(x)), lambda x: np.linalg.cholesky(definite(x)), (3, 3)),
        case("cholesky of a batch", lambda x: linalg.cholesky(definite(x), upper=True),
             lambda x: np.linalg.cholesky(definite(x)).swapaxes(-1, -2), (2, 1, 3, 3)),
        case("solve", lambda a, b: linalg.solve(far(a), b), lambda a, b: np.linalg.solve(far(a), b), (3, 3), (3, 2)),
        case("solve for a vector", lambda a, b: linalg.solve(far(a), b), lambda a, b: np.linalg.solve(far(a), b),
             (3, 3), (3,)),
        case("solve of a batch", lambda a, b: linalg.solve(far(a), b), lambda a, b: np.linalg.solve(far(a), b),
             (2, 1, 2, 2), (3, 2, 1)),
        case("solve from the right", lambda a, b: linalg.solve(far(a), b, left=False),
             lambda a, b: b @ np.linalg.inv(far(a)), (3, 3), (2, 3)),
        case("solve for itself", lambda a: linalg.solve(far(a), a), lambda a: np.linalg.solve(far(a), a), (3, 3)),
        case("solve_triangular", lambda a, b: linalg.solve_triangular(far(a), b, upper=False),
             lambda a, b: np.linalg.solve(lower(a), b), (3, 3), (3, 2)),
        case("solve_triangular with ones", lambda a, b: linalg.solve_triangular(a, b, upper=True, unitriangular=True),
             lambda a, b: np.linalg.solve(unit(a), b), (2, 3, 3), (3, 1)),
        case("solve_triangular from the right", lambda a, b: linalg.solve_triangular(far(a), b, lower=True, left=False),
             lambda a, b: b @ np.linalg.inv(lower(a)), (3, 3), (2, 3)),
        case("inv", lambda x: linalg.inv(far(x)), lambda x: np.linalg.inv(far(x)), (2, 3, 3)),
        case("inv of one element", lambda x: linalg.inv(far(x)), lambda x: np.linalg.inv(far(x)), (1, 1)),
        case("det", lambda x: linalg.det(far(x)), lambda x: np.linalg.det(far(x)), (2, 3, 3)),
        case("slogdet", lambda x: linalg.slogdet(-far(x))[1], lambda x: np.linalg.slogdet(-far(x))[1], (2, 3, 3)),
        case("logdet", lambda x: linalg.logdet(far(x)), lambda x: np.linalg.slogdet(far(x))[1], (3, 3)),
    ]


SINGULAR = np.stack([np.eye(2), [[1.0, 2.0], [2.0, 4.0]]])
FAILING = {
    "inv": (linalg.inv, SINGULAR, "inv.*2, 2, 2.*matrix 1 of the batch is singular"),
    "solve": (lambda a: linalg.solve(a, np.ones((2, 1))), SINGULAR, "solve.*matrix 1 of the batch is singular"),
    "solve_triangular": (lambda a: linalg.solve_triangular(a, np.ones((2, 1)), upper=False),
                         np.stack([np.eye(2), [[1.0, 0.0], [1.0, 0.0]]]), "matrix 1 of the batch is singular"),
    "cholesky": (linalg.cholesky, np.stack([np.eye(2), [[1.0, 2.0], [2.0, 1.0]]]), "1 of the batch is not positive"),
    "cholesky of nan": (linalg.cholesky, np.full((2, 2), np.nan), "0 of the batch is not positive"),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", FAILING)
def test_what_cannot_be_factorized_names_the_matrix_by_run_and_recorded(name, dtype):
    function, x, message = FAILING[name]
    x = x.astype(dtype)
    for run in (function, tg.vmap(function) if x.ndim == 3 else function):
        with pytest.raises(np.linalg.LinAlgError, match=message):
            run(tg.tensor(x))
    recorded = tg.compile(function)
    close(recorded(np.broadcast_to(np.eye(2, dtype=dtype), x.shape)), function(np.broadcast_to(np.eye(2), x.shape)),
          1e-6)
    with pytest.raises(tg.errors.LinAlgError, match=message + ".*test_factorizations.py"):
        recorded(x)


def test_the_slope_of_a_determinant_of_zero_is_the_cofactors():
    for x in ([[1.0, 2.0], [2.0, 4.0]], np.diag([3.0, 0.0, 5.0]), np.diag([0.0, 1.0, 0.0]), np.zeros((1, 1)),
              [[2.0, 1.0, 3.0], [4.0, 2.0, 6.0], [1.0, 5.0, 7.0]]):
        x = np.asarray(x)
        minors = [[(-1) ** (p + q) * np.linalg.det(np.delete(np.delete(x, p, 0), q, 1)) for q in range(len(x))]
                  for p in range(len(x))]
        close(tg.grad(linalg.det)(x), minors, 1e-13)
        close(tg.compile(tg.grad(lambda x: linalg.det(x) * 2.0))(x), 2.0 * np.asarray(minors), 1e-13)


def test_logarithms_of_determinants_that_are_not_positive():
    sign, log = linalg.slogdet(np.stack([-np.eye(3), np.zeros((3, 3)), 2.0 * np.eye(3)]))
    np.testing.assert_array_equal(sign.numpy(), [-1.0, 0.0, 1.0])
    close(log, [0.0, -np.inf, 3.0 * np.log(2.0)], 1e-15)
    close(linalg.logdet(np.stack([-np.eye(3), np.zeros((3, 3))])), [np.nan, -np.inf], 1e-15)
    with pytest.raises(np.linalg.LinAlgError, match="singular"):
        tg.grad(lambda x: linalg.slogdet(x).logabsdet)(np.zeros((2, 2)))


@pytest.mark.parametrize("batch", [(), (0,), (2,)])
def test_matrices_without_elements(batch):
    x = tg.tensor(np.ones((*batch, 0, 0)), requires_grad=True)
    for function in (linalg.cholesky, linalg.inv, lambda x: linalg.solve(x, np.ones((0, 3))), linalg.det,
                     lambda x: linalg.slogdet(x).logabsdet):
        y = function(x)
        close(y.detach(), np.ones(y.shape) if function is linalg.det else np.zeros(y.shape), 0.0)
        y.sum().backward()
    assert linalg.solve(np.eye(2), np.ones((2, 0))).shape == (2, 0)
    assert linalg.inv(np.ones((0, 2, 2))).shape == (0, 2, 2)


def test_large_systems_are_solved_through_blocks():
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 150, 150)), rng.standard_normal((150, 40))
    close(linalg.solve(a, b), np.linalg.solve(a, np.broadcast_to(b, (2, 150, 40))), 1e-10)
    close(linalg.inv(a), np.linalg.inv(a), 1e-10)
    s = a @ a.swapaxes(-1, -2) + 150.0 * np.eye(150)
    close(linalg.cholesky(s), np.linalg.cholesky(s), 1e-12)


def test_arguments_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r"inv: needs a square matrix.*\[2, 3\]"):
        linalg.inv(np.ones((2, 3)))
    with pytest.raises(ValueError, match=r"solve: a matrix of 2 rows.*3 rows"):
        linalg.solve(np.eye(2), np.ones((3, 1)))
    with pytest.raises(ValueError, match=r"solve.*looks like a batch of vectors; write b\[..., None\]"):
        linalg.solve(np.ones((4, 3, 3)), np.ones((4, 3)))
    with pytest.raises(ValueError, match="do not broadcast"):
        linalg.solve(np.ones((2, 3, 3)), np.ones((4, 3, 1)))
    with pytest.raises(ValueError, match="say which triangle"):
        linalg.solve_triangular(np.eye(2), np.eye(2))
