"""Norms and distances of all pairs against NumPy, with powers of every kind; what happens at 0 and at the extremes."""

import numpy as np
import pytest

import tapegrad as tg
from tapegrad.errors import ArgumentError, ShapeError
from tapegrad.functions.distances import pair_dots, pair_sums

from .contract import Case, OpContract, close, grid
from .derivatives import Derivatives, agree_at

INF = np.inf


def pairs(x, z, p):
    return np.linalg.norm(x[..., :, None, :] - z[..., None, :, :], p, axis=-1)


def summed(q, x, z):
    return np.einsum("...uv,...uvk->...uk", q, x[..., :, None, :] - z[..., None, :, :])


def dotted(a, x, z):
    return np.einsum("...uk,...uvk->...uv", a, x[..., :, None, :] - z[..., None, :, :])


X = (grid((3, 5), 1, 0.3, 0.7),)
TWO = (grid((3, 2), 2, 0.013), grid((4, 2), 3, 0.051, 0.13))


class TestDistances(OpContract, Derivatives):
    cases = [
        *(Case(f"norm {p}", lambda x, p=p: tg.norm(x, p, 1), lambda x, p=p: np.linalg.norm(x, p, axis=1), X, ties=False,
               single=1e-5)
          for p in (1, 2, 3, 1.5, 0.5, -2, INF, -INF)),
        Case("norm of all", tg.norm, np.linalg.norm, (grid((2, 3, 2), 4),)),
        Case("norm kept", lambda x: tg.norm(x, axis=0, keepdims=True),
             lambda x: np.linalg.norm(x, axis=0, keepdims=True), X),
        Case("norm frobenius", lambda x: tg.norm(x, "fro", (0, 2)), lambda x: np.linalg.norm(x, "fro", (0, 2)),
             (grid((2, 3, 2), 5),)),
        Case("vector_norm of two axes", lambda x: tg.vector_norm(x, 3, (0, 1)),
             lambda x: np.linalg.vector_norm(x, ord=3, axis=(0, 1)), (grid((2, 2, 3), 6),), single=1e-5),
        *(Case(f"norm of matrix {p}", lambda x, p=p: tg.norm(x, p, keepdims=p < 0),
               lambda x, p=p: np.linalg.norm(x, p, keepdims=p < 0), (grid((3, 4), 7),), ties=False)
          for p in (1, -1, INF, -INF)),
        *(Case(f"cdist {p}", lambda x, z, p=p: tg.cdist(x, z, p), lambda x, z, p=p: pairs(x, z, p), TWO, ties=False,
               single=1e-5)
          for p in (1, 2, 2.5, INF)),
        Case("cdist of stacks", tg.cdist, lambda x, z: pairs(x, z, 2),
             (grid((2, 1, 3, 2), 8), grid((3, 2, 2), 9, 0.051, 0.13)), ties=False),
        *(Case(f"pair sums of {u} and {v}", pair_sums, summed,
               (grid((*s, u, v), 11), grid((*s, u, n), 12), grid((*s, v, n), 13, 0.051, 0.13)), single=1e-5)
          for s, u, v, n in (((), 3, 4, 2), ((2, 3), 2, 11, 1), ((), 1, 1, 3), ((2,), 0, 2, 2), ((), 2, 0, 2))),
        *(Case(f"pair dots of {u} and {v}", pair_dots, dotted,
               (grid((*s, u, n), 14), grid((*s, u, n), 15), grid((*s, v, n), 16, 0.051, 0.13)), single=1e-5)
          for s, u, v, n in (((), 3, 4, 2), ((2, 3), 2, 11, 1), ((), 1, 1, 3), ((2,), 0, 2, 2), ((), 2, 2, 0))),
        Case("pdist", lambda x: tg.pdist(x, 3), lambda x: pairs(x, x, 3)[np.triu_indices(4, 1)], (grid((4, 2), 10),),
             ties=False, single=1e-5),
    ]  # fmt: skip


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_norms_neither_overflow_nor_vanish(dtype):
    far = np.finfo(dtype).max / 32
    for scale in (far, 1 / far, 1.0):
        x = np.array([[3.0, -4.0], [0.0, 1.0]]) * scale
        for p in (1, 2, 3, 0.5, INF):
            want = np.linalg.norm(x / scale, p, axis=1) * scale
            close(tg.norm(x.astype(dtype), p, 1).numpy() / scale, want / scale, 1e-6 if dtype == np.float32 else 1e-14)


def test_norms_of_nan_infinity_zero_and_nothing():
    x = np.array([[np.nan, INF, 1.0], [INF, 0.0, -1.0], [0.0, 0.0, 0.0], [0.0, -2.0, 0.0]])
    for p in (1, 2, 3, INF, 0, -1, -INF):
        with np.errstate(all="ignore"):
            want = np.linalg.norm(x, p, axis=1)
        if p == 3:
            want[0] = np.nan
        np.testing.assert_allclose(tg.norm(x, p, 1).numpy(), want, err_msg=str(p))
    np.testing.assert_array_equal(tg.norm(np.zeros((2, 0)), axis=1).numpy(), [0.0, 0.0])
    assert tg.norm(np.zeros((0, 3)), axis=1).shape == (0,)
    with pytest.raises(ShapeError, match="no elements"):
        tg.norm(np.zeros((2, 0)), INF, 1)


@pytest.mark.parametrize("p", [0, 0.5, 1, 2, 3, INF, -INF])
def test_gradient_of_a_norm_of_zero_is_zero(p):
    x = tg.tensor(np.zeros((2, 3)), requires_grad=True)
    tg.norm(x, p, 1).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), np.zeros((2, 3)))
    z = tg.tensor(np.ones((2, 3)), requires_grad=True)
    if p >= 0:
        tg.cdist(z, np.ones((4, 3)), p).sum().backward()
        np.testing.assert_array_equal(z.grad.numpy(), np.zeros((2, 3)))


@pytest.mark.parametrize("p", [0, 0.5, 1, 1.5, 2, 3, INF, -INF, -2])
def test_rules_of_norms_at_zeros_and_ties_are_those_of_the_adjoint_and_second_derivatives_finite(p):
    (second,) = agree_at(lambda x: tg.norm(x, p, 1), [[0.0, 0.0, 0.0], [0.0, 2.0, -2.0], [1.0, -1.0, 0.5]])
    assert np.isfinite(second).all() and not second[0].any()
    if p >= 0:
        for second in agree_at(lambda x, z: tg.cdist(x, z, p), [[0.0, 0.0], [1.0, 2.0]],
                               [[0.0, 0.0], [1.0, 3.0], [2.0, 2.0]]):
            assert np.isfinite(second).all()


def test_equal_extremes_share_the_gradient_and_zeros_count_not():
    x = tg.tensor([2.0, -2.0, 1.0], requires_grad=True)
    tg.norm(x, INF).backward()
    np.testing.assert_array_equal(x.grad.numpy(), [0.5, -0.5, 0.0])
    x = tg.tensor([0.0, -2.0, 1.0], requires_grad=True)
    tg.norm(x, 0.5).backward()
    assert x.grad.numpy()[0] == 0.0 and np.isfinite(x.grad.numpy()).all()
    assert float(tg.norm(x, 0)) == 2.0


def test_numpy_finds_them_and_arguments_that_do_not_fit_are_named():
    x = tg.tensor(np.ones((2, 3)))
    close(np.linalg.norm(x, axis=0).numpy(), np.full(3, np.sqrt(2.0)), 1e-15)
    close(x.norm(p=1, dim=1, keepdim=True).numpy(), np.full((2, 1), 3.0), 1e-15)
    with pytest.raises(ArgumentError, match="3 of matrices"):
        tg.norm(x, 3)
    with pytest.raises(ArgumentError, match="3 axes"):
        tg.norm(np.ones((2, 2, 2)), 2)
    with pytest.raises(ShapeError, match=r"cdist.*\[2, 3\].*\[2, 4\]"):
        tg.cdist(x, np.ones((2, 4)))
    with pytest.raises(ShapeError, match=r"cdist.*\[2, 1, 3\].*\[3, 1, 3\]"):
        tg.cdist(np.ones((2, 1, 3)), np.ones((3, 1, 3)))
    with pytest.raises(ArgumentError, match="-1"):
        tg.cdist(x, x, -1)
    with pytest.raises(ShapeError, match=r"pdist.*\[3\]"):
        tg.pdist(np.ones(3))


def test_derivatives_of_distances_hold_no_differences_in_memory():
    x, z = np.random.default_rng(0).normal(size=(2, 100, 50))
    f = tg.compile(lambda x, v: tg.hvp(lambda x: tg.sum(tg.square(tg.cdist(x, z))), (x,), (v,)))
    np.testing.assert_allclose(f(x, z)[0], 200.0 * z, rtol=1e-12)  # of sum |x - z|^2
    assert f._last.program.arena.nbytes < 16 * 100 * 100 * 8  # the differences are 50 times 100 x 100 numbers


def test_close_points_keep_their_digits_in_second_derivatives():
    """Of |x - z|, d = x - z: (1 - (d / |d|)^2) / |d| on the diagonal, whatever the distance from the origin."""
    z = np.array([[1000.0, 1000.0]])
    x = z + np.array([[3e-7, 4e-7]])
    d = x - z
    hessian = tg.hessian(lambda x: tg.cdist(x, z)[0, 0])(x)[0, :, 0]
    size = np.linalg.norm(d)
    np.testing.assert_allclose(hessian, (np.eye(2) - d.T @ d / size**2) / size, rtol=1e-12)
