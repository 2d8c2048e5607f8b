"""Special functions against mpmath in 200 bits, at most 4 ulp; their edges, and float32."""

import mpmath
import numpy as np
import pytest
import scipy.special

import tapegrad as tg
from tapegrad.engine.mathematics import special

ULP = 4.0


def spread(rng, n):
    """Positive numbers of all magnitudes, and near the zeros of lgamma and digamma."""
    near = [root + rng.normal(size=n) * width for root, width in ((1.4616321, 1e-2), (1.0, 1e-3), (2.0, 1e-3))]
    return np.abs(np.concatenate([np.exp(rng.uniform(-20, 12, n)), rng.uniform(0, 12, n), *near]))


def open_interval(rng, n):
    near, small = 1 - np.exp(rng.uniform(-36, -1, n)), np.exp(rng.uniform(-300, -1, n))
    return np.concatenate([rng.uniform(-1, 1, n), near, -near, small, -small])


def line(rng, n):
    return np.concatenate([rng.uniform(-10, 10, n), np.exp(rng.uniform(-20, 6.5, n)), [4.0, 8.0, 705.0, 712.0]])


CASES = {
    "erfc": (tg.erfc, mpmath.erfc, lambda rng, n: np.concatenate([rng.uniform(-6, 26, n), rng.normal(size=n)])),
    "erfinv": (tg.erfinv, mpmath.erfinv, open_interval),
    "lgamma": (tg.lgamma, mpmath.loggamma, spread),
    "digamma": (tg.digamma, mpmath.digamma, spread),
    **{f"polygamma {k}": (lambda t, k=k: tg.polygamma(k, t), lambda x, k=k: mpmath.polygamma(k, x), spread)
       for k in (1, 2, 3, 4)},
    "i0": (tg.i0, lambda x: mpmath.besseli(0, x), line),
    "i1": (tg.i1, lambda x: mpmath.besseli(1, x), line),
    "i0e": (tg.i0e, lambda x: mpmath.besseli(0, x) * mpmath.exp(-abs(x)), line),
    "i1e": (tg.i1e, lambda x: mpmath.besseli(1, x) * mpmath.exp(-abs(x)), line),
}


@pytest.mark.compiled  # Python's lgamma is another than the C library's
@pytest.mark.parametrize("name", CASES)
def test_values_are_within_four_ulp(name):
    function, exact, arguments = CASES[name]
    x = arguments(np.random.default_rng(5), 40)
    with mpmath.workprec(200):
        for a, y in zip(x, function(tg.tensor(x)).numpy()):
            right = exact(mpmath.mpf(float(a)))
            if 1e-300 < abs(right) < 1e308:
                ulp = mpmath.mpf(float(np.spacing(abs(float(right)))))
                assert abs(mpmath.mpf(float(y)) - right) <= ULP * ulp, (a, y, right)


@pytest.mark.parametrize("order", [0, 1, 2, 3])
def test_left_and_right_of_poles_digamma_and_its_derivatives_are_exact(order):
    x = np.array([pole + side * distance for pole in (0.0, -1.0, -2.0, -7.0) for side in (-1.0, 1.0)
                  for distance in (2.0**-52, 1e-13, 1e-10, 1e-6, 1e-3)] + [-1e-17, -1e-60, -2.0**-70])
    x = x[x != np.round(x)]
    found = (tg.digamma(tg.tensor(x)) if order == 0 else tg.polygamma(order, tg.tensor(x))).numpy()
    with mpmath.workprec(400):
        right = [float(mpmath.polygamma(order, mpmath.mpf(float(a)))) for a in x]
    np.testing.assert_allclose(found, right, rtol=4e-15 if order < 2 else 1e-13)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_derivatives_of_digamma_beside_zero_overflow_to_infinity(order):
    x = np.array([1e-170, 3e-308, -1e-170, -1e-300])
    right = [-(-1.0) ** order * np.sign(a) ** (order + 1) * np.inf for a in x]
    np.testing.assert_array_equal(tg.polygamma(order, tg.tensor(x)).numpy(), right)


@pytest.mark.parametrize("name", CASES)
def test_float32_is_the_nearest_of_float64(name):
    function, _, arguments = CASES[name]
    x = arguments(np.random.default_rng(6), 20).astype(np.float32)
    found = function(tg.tensor(x)).numpy()
    assert found.dtype == np.float32
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(found, function(tg.tensor(x.astype(np.float64))).numpy().astype(np.float32))


EDGES = np.array([0.0, -0.0, 1.0, -1.0, 0.5, -0.5, np.inf, -np.inf, np.nan, 1e-300, -2.0, -7.5, 700.0, 1e300])


@pytest.mark.parametrize("name", ["erfc", "erfinv", "gammaln", "digamma", "i0", "i0e", "i1", "i1e"])
def test_edges_are_those_of_scipy(name):
    with np.errstate(all="ignore"):
        expected = getattr(scipy.special, name)(EDGES)
    limits = {"i0": [np.inf, np.inf], "i1": [np.inf, -np.inf], "i0e": [0, 0], "i1e": [0, 0], "gammaln": [np.inf] * 2}
    if name in limits:
        expected[6:8] = limits[name]  # NaN there, and -inf of gammaln(-inf)
    np.testing.assert_allclose(getattr(tg, name)(tg.tensor(EDGES)).numpy(), expected, rtol=1e-14, atol=1e-300)


def test_polygamma_below_zero_and_at_its_poles():
    x = np.array([-0.5, -3.25, -17.75])
    for n in (0, 1, 2, 3):
        right = [float(mpmath.polygamma(n, a)) for a in x]
        np.testing.assert_allclose(tg.polygamma(n, tg.tensor(x)).numpy(), right, rtol=1e-12)
    assert tg.polygamma(1, tg.tensor([0.0, -1.0, np.inf])).tolist() == [np.inf, np.inf, 0.0]
    assert np.isnan(tg.polygamma(2, tg.tensor([-2e4, -np.inf, np.nan])).numpy()).all()
    with pytest.raises(tg.ArgumentError, match="whole number"):
        tg.polygamma(0.5, tg.tensor(1.0))


@pytest.mark.parametrize("function", [tg.erfc, lambda x: tg.erfinv(x / 5), tg.lgamma, tg.digamma, tg.i0, tg.i0e, tg.i1,
                                      tg.i1e, lambda x: tg.polygamma(2, x), lambda x: tg.lgamma(-x)])
def test_derivatives_of_second_order(function):
    tg.gradcheck(lambda x: function(x).sum(), np.array([0.7, 1.6, 2.3]), order=2, modes=("rev", "fwd"))


@pytest.mark.parametrize("name", "erfc erfinv gammaln digamma psi i0 i1 i0e i1e xlogy logit".split())
def test_scipy_s_ufuncs_know_tensors(name):
    x = np.array([0.2, 0.7])
    t = tg.tensor(x, requires_grad=True)
    given = (t, 2.0) if name == "xlogy" else (t,)
    y = getattr(scipy.special, name)(*given)
    np.testing.assert_allclose(y.detach().numpy(), getattr(scipy.special, name)(*[x, 2.0][:len(given)]), rtol=1e-13)
    y.sum().backward()
    assert np.isfinite(t.grad.numpy()).all()


def test_all_special_functions_are_measured():
    assert set(special.__all__) == {name.split()[0] for name in CASES}
