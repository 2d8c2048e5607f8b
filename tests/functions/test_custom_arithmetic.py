"""Ops that a user writes mean what is written, compiled and as plain Python."""

import math
import os
import subprocess
import sys

import numba
import numpy as np
import pytest

import tapegrad as tg
from tapegrad.engine.language import enabled

DTYPES = [np.float32, np.float64]


# ------------------------------------------------------------------ what LLVM may not rearrange


@numba.njit
def plus_one_and_back(x):
    return (x + 1.0) - x


@numba.njit
def helped(x):
    return plus_one_and_back(x)


def swallowed(x, y):
    """y = (x + 1) - x: 0 where x is so large that x + 1 is x."""
    for k in range(x.size):
        y[k] = (x[k] + 1.0) - x[k]


def swallowed_by_helper(x, y):
    for k in range(x.size):
        y[k] = helped(x[k])


def swallowed_adjoint(g, x, dx):
    for k in range(x.size):
        dx[k] += g[k] * ((x[k] + 1.0) - x[k])


def kahan(x, y):
    """Kahan's sum: the rounding error of each addition is carried on to the next."""
    total = x[0] - x[0]
    lost = total
    for k in range(x.size):
        term = x[k] - lost
        new = total + term
        lost = (new - total) - term
        total = new
    y[0] = total


def quotients(x, y):
    for k in range(x.size):
        y[k] = x[k] / 3.0


def twice_compiled_forms(function):
    """A plain function and what numba makes of it, as a user may give either."""
    return [function, numba.njit(function)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("forward", [*twice_compiled_forms(swallowed), *twice_compiled_forms(swallowed_by_helper)])
def test_what_is_added_and_taken_away_again_is_lost_in_rounding_as_it_is_written(forward, dtype):
    x = np.array([1e20, 1.0, -3e25], dtype)
    op = tg.custom_op(forward, swallowed_adjoint)
    leaf = tg.tensor(x, requires_grad=True)
    y = op(leaf)
    y.sum().backward()
    np.testing.assert_array_equal(y.numpy(), [0.0, 1.0, 0.0])
    np.testing.assert_array_equal(leaf.grad.numpy(), [0.0, 1.0, 0.0])
    value, gradient = tg.compile(tg.value_and_grad(lambda t: op(t).sum()))(x)
    assert value == 1.0
    np.testing.assert_array_equal(gradient, [0.0, 1.0, 0.0])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("forward", twice_compiled_forms(kahan))
def test_a_compensated_sum_keeps_its_compensation(forward, dtype):
    x = np.ones(20_000, dtype)
    x[0] = 2 / np.finfo(dtype).eps  # to which 1 is half of a last place, and is lost
    exact = math.fsum(x.tolist())
    assert exact - float(np.cumsum(x)[-1]) > 10_000, "without compensation the ones are lost"
    found = float(tg.custom_op(forward, shape=lambda n: (1,))(x).item())
    # Higham, Accuracy and Stability of Numerical Algorithms, 4.8: within 2 u of the sum
    assert abs(found - exact) <= np.finfo(dtype).eps * exact


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_division_is_no_product_with_the_reciprocal(dtype):
    x = np.arange(1, 2000, dtype=dtype)
    expected = (x / np.float64(3.0)).astype(dtype)
    assert (expected != (x * (1 / np.float64(3.0))).astype(dtype)).any() or dtype == np.float32
    np.testing.assert_array_equal(tg.custom_op(quotients)(x).numpy(), expected)


@numba.njit
def difference_of_sums(x):
    return (x + 1.0) - x


@numba.njit
def inverse(x):
    return 1.0 / x


@numba.njit
def inverse_of_inverse(x):
    return inverse(inverse(x))


def test_a_helper_that_an_op_compiled_first_is_the_one_that_its_user_wrote():
    def through(x, y):
        for k in range(x.size):
            y[k] = difference_of_sums(x[k]) + inverse_of_inverse(x[k])

    assert tg.custom_op(through)(np.array([2.0])).item() == 3.0
    assert difference_of_sums(1e20) == 0.0 and difference_of_sums(3.0) == 1.0
    for helper in (inverse, inverse_of_inverse):
        with pytest.raises(ZeroDivisionError):  # as numba has it where nobody says error_model="numpy"
            helper(0.0)


def quotients_by_themselves(x, y):
    for k in range(x.size):
        y[k] = x[k] / x[k]


@pytest.mark.skipif(not enabled(), reason="there are no options with the JIT disabled")
def test_a_function_that_its_user_compiled_keeps_its_own_options():
    said = {"fastmath": True, "error_model": "python"}
    chosen, plain = numba.njit(**said)(quotients_by_themselves), numba.njit(quotients_by_themselves)
    assert tg.custom_op(chosen)([2.0]).item() == tg.custom_op(plain)([2.0]).item() == 1.0
    with pytest.raises(tg.TapegradError, match="exception"):
        tg.custom_op(chosen)([0.0])
    assert np.isnan(tg.custom_op(plain)([0.0]).item()), "as a function that is not compiled"
    assert chosen.targetoptions["fastmath"] is True and "fastmath" not in plain.targetoptions
    assert not plain.signatures, "an op compiles for itself"


ON_DISK = """
import numba

@numba.njit(cache=True)
def plus_one_and_back(x):
    return (x + 1.0) - x
"""


@pytest.mark.skipif(not enabled(), reason="nothing is compiled with the JIT disabled")
def test_a_helper_that_is_kept_on_disk_is_kept_as_it_is_written(tmp_path):
    (tmp_path / "on_disk.py").write_text(ON_DISK)
    (tmp_path / "with_op.py").write_text(
        "import numpy as np, tapegrad as tg, on_disk\n"
        "def forward(x, y):\n"
        "    y[0] = on_disk.plus_one_and_back(x[0])\n"
        "print(tg.custom_op(forward)(np.array([1e20])).item())\n")
    (tmp_path / "alone.py").write_text(
        "import on_disk\n"
        "print(on_disk.plus_one_and_back(1e20), sum(on_disk.plus_one_and_back.stats.cache_hits.values()))\n")
    env = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "kept"),
           "PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, sys.path)])}
    run = [subprocess.run([sys.executable, str(tmp_path / program)], env=env, capture_output=True, text=True,
                          check=True).stdout.split() for program in ("with_op.py", "alone.py")]
    assert run == [["0.0"], ["0.0", "1"]]


# ------------------------------------------------------------------ where Python raises and machine code does not


def _ops():
    """Forward functions over x, and what machine code makes of them: IEEE 754, and numba's powers of integers."""
    def inverse(x, y):
        for k in range(x.size):
            y[k] = 1.0 / x[k]

    def inverse_in_place(x, y):
        for k in range(x.size):
            y[k] = 1.0
            y[k] /= x[k]

    def quotient_of_numbers(x, y):
        for k in range(x.size):
            n, d = 6.0, 0.0
            d += k
            y[k] = n / d

    def quotient_of_counts(x, y):
        for k in range(x.size):
            y[k] = 6 / k

    def floored(x, y):
        for k in range(x.size):
            y[k] = 7.0 // k + 7 % (k + 2)

    def logarithm(x, y):
        for k in range(x.size):
            y[k] = math.log(x[k])

    def root(x, y):
        for k in range(x.size):
            y[k] = math.sqrt(x[k] - 1.0)

    def large(x, y):
        for k in range(x.size):
            y[k] = math.exp(1000.0 * x[k])

    def powers_of_two(x, y):
        for k in range(x.size):
            y[k] = 2 ** (1 - k)

    def powers_of_counts(x, y):
        for k in range(x.size):
            y[k] = (k - 1) ** (-1 - k) if k != 1 else 5

    def real_powers(x, y):
        for k in range(x.size):
            y[k] = (x[k] + 1.0) ** -1 + 2.0 ** -k

    inf, nan = np.inf, np.nan
    return [(inverse, [inf, 1.0, 0.5]), (inverse_in_place, [inf, 1.0, 0.5]), (quotient_of_numbers, [inf, 6.0, 3.0]),
            (quotient_of_counts, [inf, 6.0, 3.0]), (floored, [inf, 8.0, 6.0]), (logarithm, [-inf, 0.0, np.log(2.0)]),
            (root, [nan, 0.0, 1.0]), (large, [1.0, inf, inf]), (powers_of_two, [2.0, 1.0, 0.0]),
            (powers_of_counts, [-1.0, 5.0, 1.0]), (real_powers, [2.0, 1.0, 1 / 3 + 0.25])]


@pytest.mark.parametrize("forward, expected", _ops(), ids=lambda v: getattr(v, "__name__", ""))
def test_an_op_gives_infinities_nan_and_integer_powers_with_and_without_the_compiler(forward, expected):
    found = tg.custom_op(forward)(np.array([0.0, 1.0, 2.0]))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-15)


@pytest.mark.parametrize("dtype", DTYPES)
def test_numbers_are_promoted_with_and_without_the_compiler(dtype):
    def promoted(x, y):
        y[0] = x[0] * 0.1 * 3.0

    x = np.array([0.7], dtype)
    assert tg.custom_op(promoted)(x).item() == dtype(np.float64(x[0]) * 0.1 * 3.0)


def test_an_array_is_changed_in_place_with_and_without_the_compiler():
    def doubled(x, y):
        y[:] = x
        rows = y
        rows *= 2.0
        rows -= 1.0

    def doubled_adjoint(g, dx):
        dx += 2.0 * g

    op = tg.custom_op(doubled, doubled_adjoint)
    x = tg.tensor([[1.0, 2.0]], requires_grad=True)
    y = op(x)
    y.sum().backward()
    np.testing.assert_array_equal(y.numpy(), [[1.0, 3.0]])
    np.testing.assert_array_equal(x.grad.numpy(), [[2.0, 2.0]])


def test_a_negative_integer_power_of_zero_is_an_error_with_and_without_the_compiler():
    """numba 0.68 compiles ``x ** -n`` as ``1 / x**n`` with Python's division, whatever the function around it has."""
    def inverted(x, y):
        for k in range(x.size):
            y[k] = x[k] ** -2

    op = tg.custom_op(inverted)
    np.testing.assert_array_equal(op(np.array([4.0, 1e-200])[:1]).numpy(), [0.0625])
    for x in (0.0, 1e-200):
        with pytest.raises((tg.TapegradError, ZeroDivisionError)):
            op(np.array([x]))


def test_what_a_helper_divides_by_zero_is_an_error_with_and_without_the_compiler():
    def inverted(x, y):
        for k in range(x.size):
            y[k] = inverse(x[k])

    op = tg.custom_op(inverted)
    np.testing.assert_array_equal(op([4.0]).numpy(), [0.25])
    with pytest.raises((tg.TapegradError, ZeroDivisionError)):
        op([0.0])


def test_closures_defaults_and_lambdas_keep_their_values_with_and_without_the_compiler():
    factor, shift = 3.0, 2

    def affine(x, y, by=1):
        for k in range(x.size):
            y[k] = factor * x[k] + shift * by

    np.testing.assert_array_equal(tg.custom_op(affine)([1.0, 2.0], by=1).numpy(), [5.0, 8.0])


@pytest.mark.skipif(enabled(), reason="a compiler needs no source")
def test_without_the_compiler_a_function_without_source_is_an_error_that_says_so():
    scope = {}
    exec("def bare(x, y):\n    y[0] = x[0]\n", scope)
    with pytest.raises(tg.errors.CompileError, match="source of bare.*in a file"):
        tg.custom_op(scope["bare"])([1.0])
