"""The elementary functions of compiled code, against float64 NumPy and SciPy (float32) and mpmath (float64)."""

import math

import mpmath
import numpy as np
import pytest
from scipy import special

from tapegrad.engine.kernels import Kernel
from tapegrad.engine.language import enabled
from tapegrad.engine.mathematics import vecmath as m

NAMES = ["exp", "expm1", "log", "log1p", "tanh", "sigmoid", "erf", "softplus", "log_sigmoid"]
DTYPES = [np.float32, np.float64]
INF, NAN = math.inf, math.nan


def elementwise(name):
    function = getattr(m, name)

    def kernel(op, f, i, b):
        x, y = op[0], op[1]
        for k in range(op[2]):
            f[y + k] = function(f[x + k])
        return 0

    return Kernel(f"test_{name}", kernel, own=False)


#: which have other references than NumPy's function of the name
OTHERS = {"where", "power", "gelu", "gelu_slope", "order", "from_order"}
KERNELS = {name: elementwise(name) for name in m.__all__ if name not in ("where", "power")}


def apply(name, x):
    """The function over the array `x`, as a kernel computes it."""
    x = np.ascontiguousarray(x)
    y = np.empty_like(x)
    row = np.array([x.ctypes.data // x.itemsize, y.ctypes.data // y.itemsize, x.size])
    assert KERNELS[name](row.ctypes.data, x.dtype) == 0
    return y


# ------------------------------------------------------------------ arguments and references


def arguments(name, dtype, count):
    """Any bit pattern, magnitudes of every order near 0, and where the function bends or its formula changes."""
    rng = np.random.default_rng([20, count])
    word, widest = (np.uint32, 110.0) if dtype is np.float32 else (np.uint64, 760.0)
    pieces = [rng.integers(0, np.iinfo(word).max, count, dtype=word, endpoint=True).view(dtype)]
    pieces += [rng.uniform(-r, r, count) for r in (1.0, 4.0, 40.0, widest)]
    pieces.append(rng.choice([-1.0, 1.0], count) * np.exp(rng.uniform(-40.0, 1.0, count)))
    if name == "log":
        pieces += [np.exp(0.9 * rng.uniform(-widest, widest, count)), rng.uniform(0.68, 1.45, count)]
    if name in ("log", "log1p"):
        near = rng.choice([-1.0, 1.0], count) * np.exp(rng.uniform(-36.0, -1.0, count))
        pieces.append(1.0 + near if name == "log" else -1.0 + np.abs(near))
    if name in ("log1p", "tanh"):
        pieces.append(rng.uniform(0.3, 0.6, count))
    if name == "erf":
        pieces.append(rng.uniform(0.8, 1.2, count))
    if name in ("exp", "expm1", "sigmoid"):  # halfway between multiples of log(2), and at overflow and underflow
        steps = np.round(rng.uniform(-widest, widest, count) / np.log(2.0)) + 0.5
        pieces.append(steps * np.log(2.0) + rng.uniform(-1e-3, 1e-3, count))
        pieces += [end * rng.uniform(0.9, 1.0, count) for end in (-widest, widest)]
    with np.errstate(all="ignore"):
        x = np.concatenate([p.astype(dtype) for p in pieces])
    return x[np.isfinite(x) & (x != 0)]


def reference_float64(name, x):
    """The function at the float32 array `x`, rounded to float64."""
    x = x.astype(np.float64)
    e = np.exp(-np.abs(x))
    with np.errstate(all="ignore"):
        return {
            "exp": np.exp, "expm1": np.expm1, "log": np.log, "log1p": np.log1p, "tanh": np.tanh, "erf": special.erf,
            "sigmoid": lambda x: np.where(x < 0, e / (1 + e), 1 / (1 + e)),
            "softplus": lambda x: np.maximum(x, 0) + np.log1p(e),
            "log_sigmoid": lambda x: np.minimum(x, 0) - np.log1p(e),
        }[name](x)


def reference_exact(name, x):
    """The function at the float64 array `x`: nearest float64, and the rest, which that leaves out."""

    def softplus(t):
        return max(t, mpmath.mpf(0)) + mpmath.log1p(mpmath.exp(-abs(t)))

    function = {
        "exp": mpmath.exp, "expm1": mpmath.expm1, "tanh": mpmath.tanh, "erf": mpmath.erf, "softplus": softplus,
        "log": lambda t: mpmath.log(t) if t > 0 else mpmath.nan,
        "log1p": lambda t: mpmath.log1p(t) if t > -1 else mpmath.nan,
        "sigmoid": lambda t: 1 / (1 + mpmath.exp(-t)),
        "log_sigmoid": lambda t: -softplus(-t),
    }[name]
    with mpmath.workprec(140):
        exact = [function(mpmath.mpf(v)) for v in x.tolist()]
        nearest = [float(v) for v in exact]
        rest = [float(v - n) if math.isfinite(n) else 0.0 for v, n in zip(exact, nearest)]
    return np.array(nearest), np.array(rest)


def assert_within_two_ulp(x, y, reference, rest=0.0):
    """`y` is within 2 units in the last place of ``reference + rest``; NaN and infinity are where they should be."""
    with np.errstate(all="ignore"):
        nearest = reference.astype(y.dtype)
        finite = np.isfinite(nearest)
        same = (y == nearest) | (np.isnan(y) & np.isnan(nearest))
        # one step below overflow, infinity is within an ulp
        same |= np.isinf(y) & (np.abs(nearest) == np.finfo(y.dtype).max)
        error = np.abs((y - reference) - rest) / np.spacing(np.abs(nearest))
    wrong = ~np.where(finite & np.isfinite(y), error <= 2.0, same)
    assert not wrong.any(), [(float(a).hex(), a, b, c) for a, b, c in zip(x[wrong], y[wrong], reference[wrong])][:5]


# ------------------------------------------------------------------ accuracy


@pytest.mark.parametrize("name", NAMES)
def test_float32_is_within_two_ulp(name):
    x = arguments(name, np.float32, 30_000 if enabled() else 1000)
    y = apply(name, x)
    assert_within_two_ulp(x, y, reference_float64(name, x))


@pytest.mark.parametrize("name", NAMES)
def test_float64_is_within_two_ulp(name):
    x = arguments(name, np.float64, 400)
    y = apply(name, x)
    assert_within_two_ulp(x, y, *reference_exact(name, x))


SPECIAL = {  # at inf, -inf, 0
    "exp": (INF, 0.0, 1.0), "expm1": (INF, -1.0, 0.0), "log": (INF, NAN, -INF), "log1p": (INF, NAN, 0.0),
    "tanh": (1.0, -1.0, 0.0), "sigmoid": (1.0, 0.0, 0.5), "erf": (1.0, -1.0, 0.0),
    "softplus": (INF, 0.0, math.log(2.0)), "log_sigmoid": (0.0, -INF, -math.log(2.0)),
}  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_infinities_and_zero(name, dtype):
    y = apply(name, np.array([INF, -INF, 0.0, -0.0], dtype))
    expected = np.array([*SPECIAL[name], SPECIAL[name][2]], dtype)
    np.testing.assert_array_equal(y, expected)
    if expected[2] == 0.0:  # an odd function, or one that is x near 0, keeps the sign of zero
        np.testing.assert_array_equal(np.signbit(y[2:]), [False, True])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_nan_stays_nan(name, dtype):
    assert np.isnan(apply(name, np.full(17, NAN, dtype))).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_logarithm_ends(dtype):
    tiniest = np.finfo(dtype).smallest_subnormal
    y = apply("log", np.array([tiniest, -tiniest, -1.0, np.finfo(dtype).max], dtype))
    np.testing.assert_allclose(y, [np.log(float(tiniest)), NAN, NAN, np.log(float(np.finfo(dtype).max))], rtol=1e-7)
    y = apply("log1p", np.array([-1.0, np.nextafter(dtype(-1.0), dtype(-2.0)), -INF, tiniest], dtype))
    np.testing.assert_array_equal(y, np.array([-INF, NAN, NAN, tiniest], dtype))


@pytest.mark.parametrize(("dtype", "lowest"), [(np.float32, -103.9), (np.float64, -745.1)])
def test_exponential_underflows_gradually(dtype, lowest):
    tiniest = np.finfo(dtype).smallest_subnormal
    for name in ("exp", "sigmoid", "softplus"):
        y = apply(name, np.array([lowest, 1.01 * lowest, 100.0 * lowest, np.finfo(dtype).min], dtype))
        np.testing.assert_array_equal(y, [tiniest, 0.0, 0.0, 0.0])


@pytest.mark.parametrize(("dtype", "highest"), [(np.float32, 88.722), (np.float64, 709.782)])
def test_exponential_overflows_to_infinity(dtype, highest):
    for name in ("exp", "expm1"):
        y = apply(name, np.array([highest, highest + 0.01, 100.0 * highest, np.finfo(dtype).max], dtype))
        assert np.isfinite(y[0])
        np.testing.assert_array_equal(y[1:], INF)


@pytest.mark.parametrize("dtype", DTYPES)
def test_small_arguments_come_through(dtype):
    x = dtype(10.0) ** np.arange(-37, -9, dtype=dtype)
    x = np.concatenate([x, -x, [np.finfo(dtype).smallest_subnormal]]).astype(dtype)
    for name in ("expm1", "log1p", "tanh"):
        np.testing.assert_allclose(apply(name, x), x, rtol=1e-9)
    np.testing.assert_allclose(apply("erf", x[:-1]), x[:-1] * 2.0 / math.sqrt(math.pi), rtol=1e-6)


# ------------------------------------------------------------------ the others


@pytest.mark.parametrize("dtype", DTYPES)
def test_passed_through_functions_are_those_of_numpy(dtype):
    spellings = {"asin": "arcsin", "acos": "arccos", "atan": "arctan"}
    x = np.random.default_rng(5).uniform(-1.5, 1.5, 300).astype(dtype)
    for name in KERNELS.keys() - set(NAMES) - OTHERS:
        with np.errstate(invalid="ignore"):
            expected = getattr(np, spellings.get(name, name))(x).astype(dtype)
        np.testing.assert_allclose(apply(name, x), expected, rtol=4 * np.finfo(dtype).eps, err_msg=name)


@pytest.mark.parametrize("dtype", DTYPES)
def test_where_and_power(dtype):
    def kernel(op, f, i, b):
        x, y = op[0], op[1]
        for k in range(op[2]):
            f[y + k] = m.where(f[x + k] > 1.0, m.power(f[x + k], 2.5), -0.5)
        return 0

    x = np.random.default_rng(6).uniform(0.0, 3.0, 100).astype(dtype)
    y = np.empty_like(x)
    row = np.array([x.ctypes.data // x.itemsize, y.ctypes.data // y.itemsize, x.size])
    Kernel("test_where_and_power", kernel, own=False)(row.ctypes.data, x.dtype)
    np.testing.assert_allclose(y, np.where(x > 1, x**2.5, -0.5), rtol=4 * np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", DTYPES)
def test_gelu_and_its_slope_are_those_of_the_normal_distribution(dtype):
    x = np.concatenate([np.linspace(-14.0, 14.0, 2001), [0.0, INF, -INF, NAN]]).astype(dtype)
    exact, eps = x.astype(np.float64), np.finfo(dtype).eps
    with np.errstate(all="ignore"):
        value, density = exact * special.ndtr(exact), np.exp(-0.5 * exact * exact) / math.sqrt(2.0 * math.pi)
        slope = special.ndtr(exact) + exact * density
    value[-2:], slope[-3:-1] = (0.0, NAN), (1.0, 0.0)
    np.testing.assert_allclose(apply("gelu", x), value, rtol=4 * eps, atol=2 * eps)
    np.testing.assert_allclose(apply("gelu_slope", x), slope, rtol=4 * eps, atol=2 * eps)


def test_float32_gelu_keeps_its_digits_far_below_zero():
    x = np.linspace(-12.5, -1.0, 1000, dtype=np.float32)
    exact = x.astype(np.float64)
    error = np.abs(apply("gelu", x) / (exact * special.ndtr(exact)) - 1.0)
    assert (error <= (0.5 * exact * exact + 4.0) * np.finfo(np.float32).eps).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_order_is_that_of_the_numbers_with_nan_above_all_and_is_undone(dtype):
    def kernel(op, f, i, b):
        for k in range(op[2]):
            i[op[1] + k] = m.order(f[op[0] + k])
            f[op[0] + k] = m.from_order(m.order(f[op[0] + k]))
        return 0

    tiny = np.finfo(dtype).smallest_subnormal
    x = np.array([-INF, -2.0, -1.0, -tiny, -0.0, 0.0, tiny, 1.0, 1.5, INF, NAN, -NAN], dtype)
    again, order = x.copy(), np.empty(x.size, np.int64)
    row = np.array([again.ctypes.data // x.itemsize, order.ctypes.data // 8, x.size])
    Kernel("test_order", kernel, own=False)(row.ctypes.data, x.dtype)
    assert (np.diff(order[:-1]) > 0).all() and order[-1] == order[-2]
    np.testing.assert_array_equal(again, x)
    assert np.signbit(again[4])


# ------------------------------------------------------------------ how they run


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_plain_python_agrees_and_keeps_the_dtype(name, dtype):
    x = arguments(name, dtype, 15)
    with np.errstate(all="ignore"):
        values = [getattr(m, name)(v) for v in x]
    assert {type(v) for v in values} == {dtype}
    reference = (reference_float64(name, x),) if dtype is np.float32 else reference_exact(name, x)
    assert_within_two_ulp(x, np.array(values), *reference)


@pytest.mark.machine
@pytest.mark.skipif(not enabled(), reason="the JIT is disabled")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [*NAMES, "gelu", "gelu_slope"])
def test_a_loop_becomes_vector_code(name, dtype):
    import numba

    from tapegrad.engine import lowering

    lowering.teach()
    function = getattr(m, name)

    def loop(x, y):
        for k in range(x.size):
            y[k] = function(x[k])

    array = numba.from_dtype(np.dtype(dtype))[::1]
    compiled = numba.njit((array, array), fastmath=lowering.FASTMATH, error_model="numpy")(loop)
    (code,) = compiled.inspect_llvm().values()
    element = "float" if dtype is np.float32 else "double"
    stores = [line for line in code.splitlines() if "store <" in line and f" x {element}>" in line]
    assert stores, "no vector of results is stored"
