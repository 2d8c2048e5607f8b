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


def towards_step(rng, n):
    """Pairs (a, x): of all magnitudes, and where the incomplete gamma function rises from 0 to 1."""
    a = np.concatenate([np.exp(rng.uniform(-30, 0, n)), np.exp(rng.uniform(-5, 3, n)), np.exp(rng.uniform(3, 11, n))])
    x = np.concatenate([np.exp(rng.uniform(-30, 3, n)), a[n:2 * n] * np.exp(rng.uniform(-3, 1.5, n)),
                        a[2 * n:] + rng.normal(size=n) * 4 * np.sqrt(a[2 * n:])])
    return a, np.maximum(x, 1e-3)


def positive_pairs(rng, n):
    return np.exp(rng.uniform(-20, 8, 3 * n)), np.exp(rng.uniform(-20, 8, 3 * n))


def beside_zeros(rng, n):
    far = np.exp(rng.uniform(3.3, 11.5, n))
    zeros = np.concatenate([scipy.special.jn_zeros(0, 8), scipy.special.jn_zeros(1, 7)])
    return np.concatenate([rng.uniform(-26, 26, 2 * n), far, np.nextafter(zeros, 0), zeros, zeros * (1 + 1e-9)])


def regularized(upper, a, x):
    """The exact incomplete gamma function: the smaller part is integrated."""
    small = mpmath.gammainc(a, x, regularized=True) if x > a + 1 else mpmath.gammainc(a, 0, x, regularized=True)
    return small if (x > a + 1) == upper else 1 - small


PAIRS = {
    "gammainc": (tg.gammainc, lambda a, x: regularized(False, a, x), towards_step),
    "gammaincc": (tg.gammaincc, lambda a, x: regularized(True, a, x), towards_step),
    "beta": (tg.beta, mpmath.beta, positive_pairs),
    "betaln": (tg.betaln, lambda a, b: mpmath.log(mpmath.beta(a, b)), positive_pairs),
}


@pytest.mark.parametrize("name", PAIRS)
def test_values_of_pairs_are_within_four_ulp(name):
    function, exact, arguments = PAIRS[name]
    a, x = arguments(np.random.default_rng(5), 25)
    with mpmath.workprec(400):
        for u, v, y in zip(a, x, function(tg.tensor(a), tg.tensor(x)).numpy()):
            right = exact(mpmath.mpf(float(u)), mpmath.mpf(float(v)))
            if 1e-290 < abs(right) < 1e290:
                ulp = mpmath.mpf(float(np.spacing(abs(float(right)))))
                assert abs(mpmath.mpf(float(y)) - right) <= ULP * ulp, (u, v, y, right)
    single = function(tg.tensor(a.astype(np.float32)), tg.tensor(x.astype(np.float32))).numpy()
    assert single.dtype == np.float32
    wide = function(tg.tensor(a.astype(np.float32).astype(float)), tg.tensor(x.astype(np.float32).astype(float)))
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(single, wide.numpy().astype(np.float32))


@pytest.mark.parametrize("order", [0, 1])
def test_bessel_functions_are_exact_beside_their_zeros_too(order):
    x = beside_zeros(np.random.default_rng(5), 60)
    found = (tg.j0, tg.j1)[order](tg.tensor(x)).numpy()
    with mpmath.workprec(200):
        for a, y in zip(x, found):
            right = mpmath.besselj(order, mpmath.mpf(float(a)))
            least = 0.0 if abs(a) < 26 else 0.02 / np.sqrt(abs(a))  # beyond, what surrounds a zero counts
            ulp = mpmath.mpf(float(np.spacing(max(abs(float(right)), least))))
            assert abs(mpmath.mpf(float(y)) - right) <= ULP * ulp, (a, y, right)


def test_edges_of_pairs_are_those_of_scipy():
    a = np.array([0.0, 1.0, 0.0, np.inf, 1.0, -1.0, 1.0, np.nan, 1e40, 0.5, 50.0, 1e5, 1e5])
    x = np.array([1.0, 0.0, 0.0, 1.0, np.inf, 1.0, -1.0, 1.0, 1e40, 1e-310, 1e-300, 3e5, 10.0])
    for name in ("gammainc", "gammaincc"):
        right = getattr(scipy.special, name)(a, x)
        np.testing.assert_allclose(getattr(tg, name)(tg.tensor(a), tg.tensor(x)).numpy(), right, rtol=1e-13)
    a = np.array([-1.5, -2.0, -2.0, -2.0, 0.5, 0.0, -0.5, np.inf, np.nan, 3.0, 1e20, -3.3])
    b = np.array([2.0, 1.0, 3.0, 0.5, -0.5, 1.0, -0.5, 1.0, 1.0, -5.0, 2.0, 1.1])
    for name in ("beta", "betaln"):
        for u, v in ((a, b), (b, a)):
            right = getattr(scipy.special, name)(u, v)
            np.testing.assert_allclose(getattr(tg, name)(tg.tensor(u), tg.tensor(v)).numpy(), right, rtol=1e-12)


def test_the_incomplete_gamma_function_has_no_gradient_by_its_order():
    a, x = tg.tensor([2.0], requires_grad=True), tg.tensor([1.0], requires_grad=True)
    for call in (lambda: tg.gammainc(a, x), lambda: tg.grad(lambda a: tg.gammaincc(a, 1.0).sum())(np.ones(2)),
                 lambda: tg.jvp(lambda a: tg.gammainc(a, 1.0), (np.ones(2),), (np.ones(2),)),
                 lambda: tg.compile(tg.grad(lambda a: tg.gammainc(a, 1.0).sum()))(np.ones(2))):
        with pytest.raises(tg.GradientError, match="no derivative by a"):
            call()
    tg.gammainc(a.detach(), x).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), np.exp(-1.0), rtol=1e-6)
    density = tg.grad(lambda x: tg.gammainc(np.array([1.0, 0.5, 2.0]), x).sum())(np.zeros(3))
    np.testing.assert_array_equal(density, [1.0, np.inf, 0.0])


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


@pytest.mark.parametrize("name", ["erfc", "erfinv", "gammaln", "digamma", "i0", "i0e", "i1", "i1e", "j0", "j1"])
def test_edges_are_those_of_scipy(name):
    with np.errstate(all="ignore"):
        expected = getattr(scipy.special, name)(EDGES)
    limits = {"i0": [np.inf, np.inf], "i1": [np.inf, -np.inf], "gammaln": [np.inf] * 2,
              **dict.fromkeys(("i0e", "i1e", "j0", "j1"), [0, 0])}
    if name in limits:
        expected[6:8] = limits[name]  # NaN there, and -inf of gammaln(-inf)
    waves = name in ("j0", "j1")
    known = slice(0, -1 if waves else None)  # at 1e300 SciPy's have no digit
    found = getattr(tg, name)(tg.tensor(EDGES)).numpy()
    np.testing.assert_allclose(found[known], expected[known], rtol=1e-14, atol=2e-15 if waves else 1e-300)


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
                                      tg.i1e, lambda x: tg.polygamma(2, x), lambda x: tg.lgamma(-x), tg.j0, tg.j1,
                                      lambda x: tg.gammainc(1.7, x), lambda x: tg.gammaincc(0.4, x),
                                      lambda x: tg.beta(x, 2.0 * x), lambda x: tg.betaln(x, x + 0.3)])
def test_derivatives_of_second_order(function):
    tg.gradcheck(lambda x: function(x).sum(), np.array([0.7, 1.6, 2.3]), order=2, modes=("rev", "fwd"))


@pytest.mark.parametrize("name", ("erfc erfinv gammaln digamma psi i0 i1 i0e i1e xlogy logit j0 j1 beta betaln "
                                  "gammaincc").split())
def test_scipy_s_ufuncs_know_tensors(name):
    x = np.array([0.2, 0.7])
    t = tg.tensor(x, requires_grad=True)
    given = (t, 2.0) if name in ("xlogy", "beta", "betaln") else (t,)
    given = (np.array([2.0, 0.3]), t) if name == "gammaincc" else given
    y = getattr(scipy.special, name)(*given)
    np.testing.assert_allclose(y.detach().numpy(), getattr(scipy.special, name)(
        *(x if v is t else v for v in given)), rtol=1e-13)
    y.sum().backward()
    assert np.isfinite(t.grad.numpy()).all()


def test_all_special_functions_are_measured():
    measured = {name.split()[0] for name in (*CASES, *PAIRS, "j0", "j1")}
    assert set(special.__all__) == measured - {"gammainc", "gammaincc"}  # those are of `incomplete`
