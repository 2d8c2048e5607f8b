"""The incomplete gamma and beta functions, against SciPy's."""

import mpmath
import numpy as np
import pytest
import scipy.special

import tapegrad as tg

from .contract import Case, OpContract, uniform
from .derivatives import Derivatives

A, B = uniform((3, 4), 0.4, 6.0, 1), uniform((3, 4), 0.4, 6.0, 2)
LARGE = uniform((3, 4), 12.0, 60.0, 3)


def _case(name, parameters, low, high):
    return Case(name, lambda x: getattr(tg, name)(*parameters, x),
                lambda x: getattr(scipy.special, name)(*parameters, x), (uniform((3, 4), low, high, 4),), double=2e-12)


class TestIncomplete(OpContract, Derivatives):
    cases = [
        _case("gammainc", (A,), 0.2, 9.0),
        _case("gammaincc", (LARGE,), 10.0, 70.0),
        _case("gammaincc", (2.5,), 0.2, 9.0),
        _case("betainc", (A, B), 0.05, 0.95),
        _case("betainc", (LARGE, 3.5), 0.05, 0.95),
    ]


@pytest.mark.parametrize("name", ["gammainc", "gammaincc", "betainc"])
def test_values_are_exact_over_all_magnitudes(name):
    rng = np.random.default_rng(0)
    a, b = 10.0 ** rng.uniform(-3, 4, (2, 400))
    x = rng.uniform(0, 1, 400) if name == "betainc" else a * 10.0 ** rng.uniform(-1, 1, 400)
    parameters = (a, b) if name == "betainc" else (a,)
    got, want = getattr(tg, name)(*parameters, tg.tensor(x)).numpy(), getattr(scipy.special, name)(*parameters, x)
    normal = want > 1e-280
    np.testing.assert_allclose(got[normal], want[normal], rtol=1e-10)
    assert np.all(got[~normal] < 1e-279)
    single = getattr(tg, name)(*parameters, tg.tensor(x.astype(np.float32))).numpy()
    assert single.dtype == np.float32 and np.isfinite(single).all()


def test_a_large_parameter_costs_no_digits_near_the_mean():
    with mpmath.workdps(40):
        want = float(mpmath.gammainc(1e5, 0, 100100, regularized=True))
    np.testing.assert_allclose(tg.gammainc(1e5, tg.tensor(np.array(100100.0))).item(), want, rtol=1e-12)


@pytest.mark.filterwarnings("ignore")
def test_ends_and_arguments_outside_are_scipys():
    x = np.array([0.0, np.inf, -1.0, np.nan])
    for name in ("gammainc", "gammaincc"):
        for a in (0.5, 1.0, 3.0):
            want = getattr(scipy.special, name)(a, x)
            np.testing.assert_array_equal(getattr(tg, name)(a, tg.tensor(x)).numpy(), want)
    np.testing.assert_array_equal(tg.betainc(2.0, 3.0, tg.tensor(np.array([0.0, 1.0, -0.5, 1.5, np.nan]))).numpy(),
                                  [0.0, 1.0, np.nan, np.nan, np.nan])
    slopes = [tg.grad(lambda x, a=a: tg.gammainc(a, x))(0.0) for a in (0.5, 1.0, 3.0)]
    np.testing.assert_array_equal(slopes, [np.inf, 1.0, 0.0])
    slopes = [tg.grad(lambda x, a=a: tg.betainc(a, 4.0, x))(0.0) for a in (0.5, 1.0, 3.0)]
    np.testing.assert_array_equal(slopes, [np.inf, 4.0, 0.0])


def test_parameters_have_no_derivative_and_say_so_with_the_line():
    for call in (lambda a: tg.gammainc(a, 2.0), lambda a: tg.gammaincc(a, 2.0), lambda a: tg.betainc(a, 2.0, 0.5),
                 lambda a: tg.betainc(2.0, a, 0.5)):
        with pytest.raises(tg.GradientError, match="test_incomplete.py:[0-9]+: .* has no derivative by [ab]; detach"):
            tg.grad(call)(1.5)


def test_a_batch_may_share_its_parameters():
    x, a = np.array([[0.5, 2.0], [1.0, 3.0]]), np.array([1.5, 2.5])
    want = scipy.special.gammainc(a, x)
    np.testing.assert_allclose(tg.vmap(lambda x: tg.gammainc(a, x))(x), want, rtol=1e-13)
    np.testing.assert_allclose(tg.vmap(lambda a, x: tg.gammainc(a, x), in_axes=(None, 0))(a, x), want, rtol=1e-13)
    np.testing.assert_allclose(tg.vmap(lambda x: tg.betainc(1.5, 2.0, x))(x / 4.0),
                               scipy.special.betainc(1.5, 2.0, x / 4.0), rtol=1e-13)


def test_pytorchs_names_are_there():
    assert tg.igamma is tg.gammainc and tg.igammac is tg.gammaincc
