"""``tapegrad.scipy``: SciPy's values on tensors, and derivatives by central differences of SciPy's."""

import importlib
import subprocess
import sys

import numpy as np
import pytest
import scipy.linalg
import scipy.special
import scipy.stats

import tapegrad as tg
import tapegrad.scipy.linalg as linalg
import tapegrad.scipy.special as special
import tapegrad.scipy.stats as stats

X = np.array([-2.5, -0.4, 0.0, 0.3, 0.9, 4.0])
POSITIVE = np.array([0.05, 0.4, 1.0, 2.5, 9.0])
SHARES = np.array([0.02, 0.3, 0.5, 0.97])
COUNTS = np.array([0.0, 1.0, 4.0, 12.0])
BOTH = ("logpdf", "pdf", "cdf", "sf", "logcdf", "logsf")

# name, function, what it is differentiated by, constants before and behind
CASES = [
    *(("norm", f, (X, 0.5, 1.5)) for f in BOTH),
    *(("t", f, (X, 3.5, 0.5, 1.5)) for f in BOTH),
    *(("gamma", f, (POSITIVE, 2.5, -0.5, 1.5)) for f in BOTH),
    *(("chi2", f, (POSITIVE, 3.5, -0.5, 1.5)) for f in BOTH),
    *(("beta", f, (SHARES, 2.5, 0.8, -0.1, 1.5)) for f in BOTH),
    *(("poisson", f, (COUNTS, 3.5)) for f in ("logpmf", "pmf", "cdf", "sf", "logcdf", "logsf")),
    *(("dirichlet", f, (np.array([0.2, 0.5, 0.3]), np.array([1.5, 2.0, 0.7]))) for f in ("logpdf", "pdf")),
]
#: arguments without derivative: counts, shares that no longer add up to 1, shapes of distribution functions
CONSTANT = {"poisson": {0}, "dirichlet": {0}}
SHAPES = {"t": {1}, "gamma": {1}, "chi2": {1}, "beta": {1, 2}}


def slope(f, args, k):
    """Central differences of a sum by one argument, element by element."""
    x = np.asarray(args[k], float)
    found = np.zeros(x.shape)
    for index in np.ndindex(x.shape):
        values = []
        for step in (1e-6, -1e-6):
            moved = x.copy()
            moved[index] += step
            values.append(f(*args[:k], moved, *args[k + 1:]))
        found[index] = np.nansum(np.subtract(*values)) / 2e-6  # infinities do not move
    return found


@pytest.mark.parametrize("name, function, args", CASES, ids=[f"{n}.{f}" for n, f, _ in CASES])
def test_a_distribution_has_scipys_values_and_their_derivatives(name, function, args):
    mine, theirs = getattr(getattr(stats, name), function), getattr(getattr(scipy.stats, name), function)
    np.testing.assert_allclose(mine(*map(tg.tensor, map(np.asarray, args))).numpy(), theirs(*args), rtol=1e-11)
    assert type(mine(*args)) is type(theirs(*args))
    density = "pdf" in function or "pmf" in function
    constant = CONSTANT.get(name, set()) | (set() if density else SHAPES.get(name, set()))
    for k in set(range(len(args))) - constant:
        got = tg.grad(lambda *a: mine(*a).sum(), argnums=k)(*args)
        np.testing.assert_allclose(got, slope(theirs, args, k), rtol=2e-6, atol=1e-8)


@pytest.mark.parametrize("name, function, args", [c for c in CASES if c[1] in ("cdf", "logpdf", "logpmf")],
                         ids=lambda v: v if isinstance(v, str) else "")
def test_a_distribution_is_recorded_and_has_second_derivatives(name, function, args):
    mine, k = getattr(getattr(stats, name), function), 1 if name in ("poisson", "dirichlet") else 0
    f = lambda x: mine(*args[:k], x, *args[k + 1:]).sum()
    first, second = tg.grad(f), tg.hessian(f)
    x = np.asarray(args[k], float)
    np.testing.assert_allclose(tg.compile(first)(x), first(x), rtol=1e-12)
    np.testing.assert_allclose(second(x).reshape(x.size, x.size).sum(axis=0),
                               slope(lambda x: first(x), (x,), 0).ravel(), rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("name, function, args", [
    ("t", "cdf", (X, 3.5)), ("gamma", "cdf", (POSITIVE, 2.5)), ("beta", "sf", (SHARES, 2.5, 0.8))])
def test_a_shape_by_which_there_is_no_derivative_is_refused(name, function, args):
    mine = getattr(getattr(stats, name), function)
    with pytest.raises(tg.GradientError, match="test_scipy_namespace.py:[0-9]+: .* has no derivative by"):
        tg.grad(lambda s: mine(args[0], s, *args[2:]).sum())(args[1])


def test_outside_of_its_support_a_density_is_zero_without_nan_in_the_gradient():
    for name, args in (("gamma", (2.5,)), ("chi2", (3.0,)), ("beta", (2.5, 0.8))):
        mine, theirs = getattr(stats, name), getattr(scipy.stats, name)
        x = np.array([-1.0, 0.5])
        for function in BOTH:
            with np.errstate(divide="ignore"):
                want = getattr(theirs, function)(x, *args)
            np.testing.assert_allclose(getattr(mine, function)(tg.tensor(x), *args).numpy(), want, rtol=1e-11)
        slopes = tg.grad(lambda x, mine=mine, args=args: mine.pdf(x, *args).sum())(x)
        assert slopes[0] == 0.0 and np.isfinite(slopes[1])
    np.testing.assert_array_equal(stats.poisson.logpmf(tg.tensor([-1.0, 0.5]), 2.0).numpy(), [-np.inf, -np.inf])


def test_nan_stays_nan():
    nan = tg.tensor(np.array([np.nan]))
    for name, arguments in (("norm", ()), ("t", (3.0,)), ("gamma", (2.0,)), ("chi2", (3.0,)), ("beta", (2.0, 3.0))):
        for function in BOTH:
            assert np.isnan(getattr(getattr(stats, name), function)(nan, *arguments).numpy()), (name, function)
    for result in (stats.poisson.logpmf(nan, 2.0), special.entr(nan), special.rel_entr(nan, 1.0), special.gammasgn(nan),
                   special.kl_div(1.0, nan), special.betaln(nan, 20.0), special.gammainc(2.0, nan)):
        assert np.isnan(result.numpy())


def test_logarithms_of_the_normal_distribution_do_not_underflow():
    x = np.concatenate([-np.logspace(-3, 8, 60), np.linspace(-45, 10, 200), [np.inf, -np.inf, np.nan]])
    for dtype, near in ((np.float64, 1e-12), (np.float32, 2e-5)):
        z = x.astype(dtype)
        np.testing.assert_allclose(stats.norm.logcdf(tg.tensor(z)).numpy(), scipy.stats.norm.logcdf(z), rtol=near)
    z = np.array([-1e6, -1e3, -30.0, -20.0, -1.0])
    want = np.exp(scipy.stats.norm.logpdf(z) - scipy.special.log_ndtr(z))
    np.testing.assert_allclose(tg.grad(lambda x: stats.norm.logcdf(x).sum())(z), want, rtol=1e-3)
    np.testing.assert_allclose(tg.grad(lambda x: stats.norm.logcdf(x).sum())(z)[1:], want[1:], rtol=1e-10)


POINTS = np.random.default_rng(0).normal(size=(4, 3))
ROOT = np.array([[1.5, 0.0, 0.0], [0.3, 0.9, 0.0], [-0.4, 0.2, 1.2]])
COVARIANCE = ROOT @ ROOT.T


@pytest.mark.parametrize("function", ["logpdf", "pdf"])
@pytest.mark.parametrize("args", [
    (POINTS, np.array([0.1, -0.2, 0.3]), COVARIANCE), (POINTS[0], np.array([0.1, -0.2, 0.3]), np.diag(COVARIANCE)),
    (POINTS[:, 0], 0.5, 2.0), (np.array(0.3), 0.5, 2.0), (POINTS.reshape(2, 2, 3), np.zeros(3), 1.5),
    (POINTS[:, :1], np.array([0.5]), np.array([[2.0]]))], ids=lambda args: str(np.shape(args[0]) + np.shape(args[2])))
def test_the_normal_distribution_of_vectors_is_scipys_and_differentiable_by_all(function, args):
    mine, theirs = getattr(stats.multivariate_normal, function), getattr(scipy.stats.multivariate_normal, function)
    np.testing.assert_allclose(mine(*map(tg.tensor, map(np.asarray, args))).numpy(), theirs(*args), rtol=1e-12)
    for k in range(3):
        if np.ndim(args[k]) == 2 and k == 2 and args[k].shape[0] > 1:  # both of two entries that are one
            got = tg.grad(lambda c: mine(*args[:2], c).sum())(args[2])
            np.testing.assert_allclose(got + got.T, slope(lambda r: theirs(*args[:2], 0.5 * (r + r.T)), (args[2],), 0)
                                       * 2.0, rtol=1e-5, atol=1e-7)
        else:
            got = tg.grad(lambda *a: mine(*a).sum(), argnums=k)(*args)
            np.testing.assert_allclose(got, slope(theirs, args, k), rtol=1e-5, atol=1e-8)


def test_the_entropy_of_vectors_and_what_is_refused():
    entropy = stats.multivariate_normal.entropy
    np.testing.assert_allclose(entropy(cov=tg.tensor(COVARIANCE)).item(),
                               scipy.stats.multivariate_normal.entropy(cov=COVARIANCE), rtol=1e-13)
    np.testing.assert_allclose(tg.grad(lambda c: entropy(None, c))(COVARIANCE), 0.5 * np.linalg.inv(COVARIANCE))
    with pytest.raises(ValueError, match="leave out allow_singular"):
        stats.multivariate_normal.logpdf(tg.tensor(POINTS), np.zeros(3), COVARIANCE, True)
    with pytest.raises(ValueError, match="have not 3 elements each"):
        stats.multivariate_normal.logpdf(tg.tensor(POINTS[:, :2]), np.zeros(3), COVARIANCE)


LINALG = {
    "cholesky": lambda s, a: s.cholesky(a), "cholesky lower": lambda s, a: s.cholesky(a, lower=True),
    "solve": lambda s, a: s.solve(a, a[0]), "solve transposed": lambda s, a: s.solve(a, a[:, :2], transposed=True),
    "inv": lambda s, a: s.inv(a), "det": lambda s, a: s.det(a), "expm": lambda s, a: s.expm(0.3 * a),
    "eigh": lambda s, a: s.eigh(a)[0], "eigh only": lambda s, a: s.eigh(a, eigvals_only=True, lower=False),
    "eigvalsh": lambda s, a: s.eigvalsh(a), "svdvals": lambda s, a: s.svdvals(a), "svd": lambda s, a: s.svd(a)[1],
    "svd only": lambda s, a: s.svd(a[:2], compute_uv=False), "qr": lambda s, a: s.qr(a)[1] ** 2,
    "qr economic": lambda s, a: s.qr(a[:, :2], mode="economic")[1] ** 2, "pinv": lambda s, a: s.pinv(a[:, :2]),
    "cho_solve": lambda s, a: s.cho_solve(s.cho_factor(a), a[0]),
    "cho_solve lower": lambda s, a: s.cho_solve(s.cho_factor(a, lower=True), a[:, :2]),
    "solve_triangular": lambda s, a: s.solve_triangular(a, a[0]),
    "solve_triangular lower": lambda s, a: s.solve_triangular(a, a[:, :2], lower=True, unit_diagonal=True),
    "solve_triangular of the transpose": lambda s, a: s.solve_triangular(a, a[0], trans="T", lower=True),
}


@pytest.mark.parametrize("name", LINALG)
def test_linear_algebra_is_scipys_and_differentiable(name):
    call = LINALG[name]
    want, symmetric = call(scipy.linalg, COVARIANCE), lambda r: r @ r.T + np.eye(3)
    np.testing.assert_allclose(call(linalg, tg.tensor(COVARIANCE)).numpy(), want, rtol=1e-10, atol=1e-12)
    np.testing.assert_array_equal(call(linalg, COVARIANCE), want)
    got = tg.grad(lambda r: call(linalg, symmetric(r)).sum())(ROOT)
    np.testing.assert_allclose(got, slope(lambda r: call(scipy.linalg, symmetric(r)), (ROOT,), 0), rtol=2e-5, atol=1e-6)


def test_what_scipys_linear_algebra_can_and_tensors_cannot_is_refused_by_name():
    a = tg.tensor(COVARIANCE)
    for call, message in ((lambda: linalg.solve(a, a, assume_a="pos"), "solve: assume_a='pos' is not available"),
                          (lambda: linalg.eigh(a, a), "eigh: b="),
                          (lambda: linalg.qr(a, pivoting=True), "qr: pivoting"),
                          (lambda: linalg.qr(a, mode="raw"), "qr: mode='raw'")):
        with pytest.raises(ValueError, match=message):
            call()
    assert linalg.toeplitz is scipy.linalg.toeplitz and tg.scipy.linalg is linalg


UFUNCS = {
    "gamma": (np.array([-2.5, -0.5, 0.5, 3.0, 20.0]),), "rgamma": (np.array([-2.5, -2.0, 0.5, 3.0]),),
    "gammasgn": (np.array([-2.5, -1.5, 0.5]),), "beta": (np.array([0.5, 3.0, 30.0]), np.array([2.0, 40.0, 0.5])),
    "betaln": (np.array([1e-3, 3.0, 30.0, 12.0, 1e4]), np.array([2.0, 40.0, 0.5, 12.0, 1.0])),
    "entr": (np.array([-1.0, 0.0, 0.5]),), "rel_entr": (np.array([0.5, 0.0, -1.0]), np.array([0.2, 3.0, 1.0])),
    "kl_div": (np.array([0.5, 0.0, -1.0]), np.array([0.2, 3.0, 1.0])), "ndtr": (X,), "log_ndtr": (X,),
    "gammainc": (np.array([0.3, 2.0, 50.0, 1e4]), np.array([0.1, 5.0, 48.0, 1.01e4])),
    "gammaincc": (np.array([0.3, 2.0, 50.0, 1e4]), np.array([3.0, 5.0, 48.0, 1.01e4])),
    "betainc": (np.array([0.3, 2.0, 50.0]), np.array([0.5, 7.0, 90.0]), np.array([0.9, 0.1, 0.3])),
    "erf": (X,), "expit": (X,), "gammaln": (POSITIVE,), "xlogy": (X, POSITIVE[[0, 1, 2, 3, 4, 4]]), "i0e": (X,),
}


@pytest.mark.parametrize("name", UFUNCS)
@pytest.mark.filterwarnings("ignore")
def test_a_ufunc_of_scipys_knows_tensors(name):
    args, ufunc = UFUNCS[name], getattr(scipy.special, name)
    assert getattr(special, name) is ufunc
    np.testing.assert_allclose(ufunc(*map(tg.tensor, args)).numpy(), ufunc(*args), rtol=1e-10)
    if name in ("gammasgn", "entr", "rel_entr", "kl_div", "rgamma"):
        return
    last = len(args) - 1
    got = tg.grad(lambda *a: ufunc(*a).sum(), argnums=last)(*args)
    np.testing.assert_allclose(got, slope(ufunc, args, last), rtol=2e-5, atol=1e-7)


def test_the_logarithm_of_the_beta_function_keeps_its_digits_where_scipys_does_not():
    # ln B(2.5, 1e6), and its derivative psi(2.5) - psi(1e6 + 2.5), by mpmath of 40 digits; SciPy 1.17 is off by 2e-9
    np.testing.assert_allclose(special.betaln(tg.tensor(np.array(2.5)), 1e6).item(), -34.254095399436516, rtol=1e-15)
    np.testing.assert_allclose(tg.grad(special.betaln)(2.5, 1e6), -13.1123559173170726, rtol=1e-14)


def test_functions_of_scipys_that_are_no_ufuncs_know_tensors():
    a = np.array([[0.5, -1.0, 2.0], [3.0, 0.1, 0.0]])
    b = np.array([[1.0, 0.0, 2.0], [0.5, 1.0, 1.0]])
    for call in (lambda s, a: s.logsumexp(a), lambda s, a: s.logsumexp(a, axis=1, keepdims=True),
                 lambda s, a: s.logsumexp(a, axis=0, b=b), lambda s, a: s.logsumexp(a, b=b, keepdims=True),
                 lambda s, a: s.softmax(a), lambda s, a: s.softmax(a, axis=1), lambda s, a: s.log_softmax(a),
                 lambda s, a: s.log_softmax(a, axis=(0, 1)), lambda s, a: s.polygamma(1, a + 2.0),
                 lambda s, a: s.multigammaln(a + 3.0, 3)):
        want = call(scipy.special, a)
        np.testing.assert_allclose(call(special, tg.tensor(a)).numpy(), want, rtol=1e-12)
        np.testing.assert_array_equal(call(special, a), want)
        weights = np.cos(np.arange(np.size(want))).reshape(np.shape(want))
        got = tg.grad(lambda a, call=call, weights=weights: (call(special, a) * weights).sum())(a)
        np.testing.assert_allclose(got, slope(lambda a, call=call, weights=weights: call(scipy.special, a) * weights,
                                              (a,), 0), rtol=1e-5, atol=1e-8)


def test_the_rest_of_scipys_special_functions_is_there_and_refuses_tensors_by_name():
    assert special.jv is scipy.special.jv and "zeta" in dir(special)
    with pytest.raises(TypeError, match="jv has no counterpart"):
        special.jv(1, tg.tensor(1.0))
    with pytest.raises(AttributeError, match="nowhere"):
        special.nowhere  # noqa: B018


def test_modules_are_imported_by_name_and_without_scipys_statistics():
    norm = importlib.import_module("tapegrad.scipy.stats.norm")
    assert stats.norm is norm and tg.scipy.stats is stats and tg.scipy.special is special
    code = "import sys, tapegrad.scipy.stats; print('scipy.stats' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
