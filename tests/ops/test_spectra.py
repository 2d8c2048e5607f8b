"""Eigenvalues, singular values, QR, the pseudoinverse and the exponential, against NumPy and SciPy."""

import numpy as np
import pytest
import scipy.linalg

import tapegrad as tg
from tapegrad import linalg

from .contract import Case, OpContract, close, uniform
from .derivatives import Derivatives


def symmetric(x):
    """A symmetric matrix of any, with eigenvalues apart, for arrays and tensors."""
    return 0.3 * (x + x.swapaxes(-1, -2)) + np.diag(np.arange(1.0, x.shape[-1] + 1.0) * 2.0)


def apart(x):
    """A matrix with singular values apart."""
    return 0.4 * x + np.eye(*x.shape[-2:]) * np.arange(1.0, x.shape[-1] + 1.0) * 2.0


def case(name, function, reference, *shapes):
    """Squares of vectors, whose sign is arbitrary."""
    return Case(name, function, reference, tuple(uniform(shape, -1.0, 1.0, seed) for seed, shape in enumerate(shapes)),
                single=5e-5, double=1e-12, slope=1e-6)


def svd_case(name, shape, part):
    return case(name, lambda x: linalg.svd(apart(x), full_matrices=False)[part] ** 2,
                lambda x: np.linalg.svd(apart(x), full_matrices=False)[part] ** 2, shape)


class TestSpectra(OpContract, Derivatives):
    smooth = 2e-5
    cases = [
        case("eigh", lambda x: linalg.eigh(symmetric(x)).eigenvectors ** 2,
             lambda x: np.linalg.eigh(symmetric(x))[1] ** 2, (2, 3, 3)),
        case("eigh of both", lambda x: linalg.eigh(symmetric(x), "U")[0] * linalg.eigh(symmetric(x))[1][0] ** 2,
             lambda x: np.linalg.eigh(symmetric(x))[0] * np.linalg.eigh(symmetric(x))[1][0] ** 2, (3, 3)),
        case("eigvalsh", lambda x: linalg.eigvalsh(symmetric(x)), lambda x: np.linalg.eigvalsh(symmetric(x)),
             (2, 3, 3)),
        svd_case("svd U", (3, 3), 0), svd_case("svd U of tall ones", (2, 4, 2), 0),
        svd_case("svd V of tall ones", (4, 2), 2), svd_case("svd U of wide ones", (2, 4), 0),
        svd_case("svd V of wide ones", (2, 4), 2),
        case("svd S", lambda x: linalg.svd(apart(x)).S, lambda x: np.linalg.svd(apart(x))[1], (2, 4, 3)),
        case("svdvals", lambda x: linalg.svdvals(apart(x)), lambda x: np.linalg.svd(apart(x))[1], (3, 4)),
        case("qr Q", lambda x: linalg.qr(apart(x)).Q, lambda x: np.linalg.qr(apart(x))[0], (2, 4, 3)),
        case("qr R", lambda x: linalg.qr(apart(x), mode="r"), lambda x: np.linalg.qr(apart(x))[1], (3, 3)),
        case("qr of wide ones", lambda x: linalg.qr(apart(x), mode="complete").R, lambda x: np.linalg.qr(apart(x))[1],
             (2, 2, 3)),
        case("pinv", lambda x: linalg.pinv(apart(x)), lambda x: np.linalg.pinv(apart(x)), (2, 4, 3)),
        case("pinv of wide ones", lambda x: linalg.pinv(apart(x)), lambda x: np.linalg.pinv(apart(x)), (2, 3)),
        case("lstsq", lambda a, b: linalg.lstsq(apart(a), b).solution,
             lambda a, b: np.linalg.lstsq(apart(a), b, rcond=None)[0], (4, 2), (4, 2)),
        case("matrix_exp", linalg.matrix_exp, scipy.linalg.expm, (2, 3, 3)),
        case("matrix_exp, squared", lambda x: linalg.matrix_exp(6.0 * x), lambda x: scipy.linalg.expm(6.0 * x), (3, 3)),
    ]


@pytest.mark.parametrize("shape", [(4, 4), (5, 2), (2, 5), (3, 1, 3), (1, 1), (0, 3), (3, 0), (2, 0, 0), (0, 2, 3)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_factors_give_the_matrix_and_are_orthogonal(shape, dtype):
    x = uniform(shape, -1.0, 1.0, 3).astype(dtype)
    tolerance = 1e-5 if dtype == np.float32 else 1e-13
    k = min(x.shape[-2:])
    for full, mode in ((False, "reduced"), (True, "complete")):
        u, s, v = (part.numpy() for part in linalg.svd(x, full_matrices=full))
        assert [part.shape for part in (u, s, v)] == [part.shape for part in np.linalg.svd(x, full_matrices=full)]
        close(u[..., :k] * s[..., None, :] @ v[..., :k, :], x, tolerance)
        q, r = (part.numpy() for part in linalg.qr(x, mode=mode))
        assert (q.shape, r.shape) == tuple(part.shape for part in np.linalg.qr(x, mode=mode))
        close(q @ r, x, tolerance)
        np.testing.assert_array_equal(r, np.triu(r))
        for vectors in (u, v.swapaxes(-1, -2), q):
            one = np.broadcast_to(np.eye(vectors.shape[-1]), (*x.shape[:-2], vectors.shape[-1], vectors.shape[-1]))
            close(vectors.swapaxes(-1, -2) @ vectors, one, tolerance)
    close(linalg.svdvals(x), s, tolerance)
    close(linalg.pinv(x), np.linalg.pinv(x), 1e-4 if dtype == np.float32 else 1e-12)
    np.testing.assert_array_equal(linalg.matrix_rank(x).numpy(), np.full(x.shape[:-2], k))


def test_large_matrices_are_factorized_through_blocks():
    x = uniform((150, 90), -1.0, 1.0, 0)
    u, s, v = (part.numpy() for part in linalg.svd(x, full_matrices=True))
    close(u[:, :90] * s @ v, x, 1e-12)
    q, r = (part.numpy() for part in linalg.qr(x, mode="complete"))
    close(q @ r, x, 1e-12)
    w, vectors = (part.numpy() for part in linalg.eigh(x.T @ x))
    close(vectors * w @ vectors.T, x.T @ x, 1e-12)
    close(linalg.matrix_exp(x[:90] / 9.0), scipy.linalg.expm(x[:90] / 9.0), 1e-12)


def test_which_triangle_of_a_symmetric_matrix_is_read():
    x = np.array([[1.0, 9.0], [2.0, 3.0]])
    for uplo in "LU":
        close(linalg.eigvalsh(x, uplo), np.linalg.eigvalsh(x, uplo), 1e-14)
        close(linalg.eigh(x, UPLO=uplo)[0], np.linalg.eigvalsh(x, uplo), 1e-14)


def test_equal_values_have_a_gradient_and_their_vectors_none():
    one = np.eye(3)
    close(tg.grad(lambda x: (linalg.eigvalsh(x) * 2.0).sum())(one), 2.0 * one, 1e-15)
    close(tg.grad(lambda x: (linalg.eigh(x).eigenvalues ** 2).sum())(one), 2.0 * one, 1e-15)
    close(tg.grad(lambda x: (linalg.svd(x).S ** 3).sum())(one), 3.0 * one, 1e-14)
    close(tg.vjp(linalg.svdvals, one)[1](np.ones(3))[0], one, 1e-14)
    low = np.ones((3, 2))  # of rank 1
    u, _, v = np.linalg.svd(low, full_matrices=False)
    close(tg.grad(lambda x: linalg.svdvals(x)[0])(low), u[:, :1] @ v[:1], 1e-14)
    assert not np.isfinite(tg.grad(lambda x: (linalg.eigh(x).eigenvectors ** 3).sum())(one)).any()
    assert not np.isfinite(tg.grad(lambda x: (linalg.svd(x).U ** 3).sum())(one)).any()


def test_vectors_that_complete_a_basis_have_no_gradient():
    x = uniform((4, 2), -1.0, 1.0, 1)
    for function in (lambda x: linalg.svd(x).U[0].sum(), lambda x: linalg.qr(x, mode="complete").R.sum()):
        t = tg.tensor(x, requires_grad=True)
        for attempt in (lambda f=function, t=t: f(t).backward(), lambda f=function: tg.jvp(f, (x,), (x,)),
                        lambda f=function: tg.compile(tg.grad(f))(x)):
            with pytest.raises(tg.errors.GradientError, match="complete a basis"):
                attempt()
    close(tg.grad(lambda x: linalg.svd(x).S.sum())(x), tg.grad(lambda x: linalg.svdvals(x).sum())(x), 1e-14)


def test_dependent_columns_are_named_where_a_gradient_needs_them():
    low = np.array([[1.0, 0.0], [2.0, 0.0], [3.0, 0.0]])
    close(linalg.qr(low).Q @ linalg.qr(low).R, low, 1e-14)
    with pytest.raises(np.linalg.LinAlgError, match="matrix 1 .*depend on each other"):
        tg.grad(lambda x: linalg.qr(x).R.sum())(np.stack([np.eye(3)[:, :2], low]))


def test_tolerances_decide_the_rank():
    x = np.diag([4.0, 1.0, 1e-3])
    for given, rank in (({}, 3), ({"tol": 0.1}, 2), ({"rtol": 0.5}, 1), ({"atol": 2.0}, 1), ({"rtol": 1e-4}, 3)):
        assert linalg.matrix_rank(x, **given).item() == rank
        assert tg.compile(lambda x, given=given: linalg.matrix_rank(x, **given))(x).item() == rank
        given = {"rcond" if key == "rtol" else "atol" if key == "tol" else key: v for key, v in given.items()}
        kept = np.diag([0.25, 1.0, 1e3]) * (np.arange(3) < rank)
        close(linalg.pinv(x, **given), kept, 1e-13)
    with pytest.raises(ValueError, match="a tolerance is one number"):
        linalg.pinv(x, np.ones(2))


def test_the_pseudoinverse_of_low_rank_has_the_derivative_at_that_rank():
    a, b = uniform((4, 1), 0.5, 1.0, 1), uniform((1, 3), 0.5, 1.0, 2)

    def of_rank_one(a, b):  # pinv(a b) = b^T a^T / (|a|^2 |b|^2)
        return tg.matmul(b.swapaxes(0, 1), a.swapaxes(0, 1)) / ((a * a).sum() * (b * b).sum())

    weights = uniform((3, 4), -1.0, 1.0, 3)
    found = tg.grad(lambda a, b: (linalg.pinv(a @ b) * weights).sum(), (0, 1))(a, b)
    for actual, wanted in zip(found, tg.grad(lambda a, b: (of_rank_one(a, b) * weights).sum(), (0, 1))(a, b)):
        close(actual, wanted, 1e-12)


def test_a_tolerance_that_cuts_what_is_not_zero_leaves_no_derivative():
    x = np.stack([np.eye(2), np.diag([1.0, 0.25])])
    close(linalg.pinv(x, rtol=0.5)[1], np.diag([1.0, 0.0]), 1e-15)
    for run in (tg.grad, lambda f: tg.compile(tg.grad(f)), lambda f: lambda x: tg.jvp(f, (x,), (x,)),
                lambda f: tg.grad(lambda x: tg.vmap(f)(x).sum())):
        with pytest.raises(tg.errors.GradientError, match="matrix .* of the batch the tolerance takes"):
            run(lambda x: linalg.pinv(x, rtol=0.5).sum())(x)
    near = np.diag([1.0, 1e-12])
    close(tg.grad(lambda x: linalg.pinv(x, rtol=0.5)[0, 0])(near), np.diag([-1.0, 0.0]), 1e-11)


def test_least_squares_are_those_of_numpy():
    a, b = uniform((5, 3), -1.0, 1.0, 1), uniform((5, 2), -1.0, 1.0, 2)
    low = np.concatenate([a[:, :2], a[:, :1]], 1)
    for matrix, right in ((a, b), (a, b[:, 0]), (low, b), (a[:3], b[:3]), (a[:2], b[:2])):
        for actual, wanted in zip(linalg.lstsq(matrix, right), np.linalg.lstsq(matrix, right, rcond=None)):
            actual = actual.numpy()
            np.testing.assert_allclose(actual, wanted if np.ndim(actual) else np.sum(wanted), rtol=1e-10, atol=1e-13)


def test_what_is_not_finite_is_named_or_stays():
    with pytest.raises(np.linalg.LinAlgError, match="svd.*matrix 1 of the batch, which may hold NaN"):
        linalg.svd(np.stack([np.eye(2), np.full((2, 2), np.nan)]))
    assert np.isnan(linalg.matrix_exp(np.array([[1.0, np.nan], [0.0, 1.0]])).numpy()).all()
    assert np.isnan(linalg.matrix_exp(np.array([[1.0, np.inf], [0.0, 1.0]])).numpy()).all()
    assert np.isnan(linalg.inv(np.array([[1.0, np.nan], [np.nan, 1.0]])).numpy()).all()


def test_arguments_that_do_not_fit_are_named():
    for call, message in (
            (lambda: linalg.eigh(np.eye(2), "X"), "UPLO must be 'L' or 'U'"),
            (lambda: linalg.qr(np.eye(2), mode="full"), "mode must be"),
            (lambda: linalg.lstsq(np.eye(2), np.ones(3)), "as many rows"),
            (lambda: linalg.svd(np.ones(2)), r"svd: needs a matrix.*\[2\]")):
        with pytest.raises(ValueError, match=message):
            call()
