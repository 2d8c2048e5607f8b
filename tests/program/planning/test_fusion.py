"""Several instructions over scalars that a recording runs as one: to the bit what they are one by one."""

import numpy as np
import pytest

import tapegrad as tg
from tapegrad.ops.few import MOST

DTYPES = [np.float32, np.float64]
FEW = (2, 3, MOST, MOST + 1)  # the other counts are for the Python that runs all tests
EDGES = np.array([0.0, -0.0, 1e-40, 1e30, -1e30, np.inf, -np.inf, np.nan])


def both(function, arrays, weight=1.0):
    """Value and gradients, define by run and recorded; and the names of the recorded ops."""
    recorded = tg.compile(tg.value_and_grad(function, argnums=tuple(range(len(arrays)))))
    results = recorded(*arrays), tg.value_and_grad(function, argnums=tuple(range(len(arrays))))(*arrays)
    return results, [line.split()[1] for line in str(recorded.tape).splitlines()[1:]]


def same(results):
    (value, gradients), (expected, wanted) = results
    np.testing.assert_array_equal(value, expected)
    for found, want in zip(gradients, wanted):
        np.testing.assert_array_equal(found, want)


def numbers(seed, dtype, count=24, size=1.0):
    return (size * np.random.default_rng(seed).standard_normal(count)).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("count", [pytest.param(n, marks=() if n in FEW else pytest.mark.grid)
                                   for n in range(2, 2 * MOST + 2)])
@pytest.mark.parametrize("factor", [None, 0.3, -1e20])
def test_sums_of_scalars_have_their_bits(count, factor, dtype):
    def function(x):
        total = x[0]
        for k in range(1, count):
            total = total + x[k]
        return tg.tanh(total if factor is None else factor * total) * x[count]

    for seed in range(5):
        results, names = both(function, [numbers(seed, dtype)])
        same(results)
    assert names.count("add") + names.count("total") + names.count("scaled_total") == -(-(count - 1) // (MOST - 1))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("count", [pytest.param(n, marks=() if n in FEW else pytest.mark.grid)
                                   for n in range(2, MOST + 1)])
def test_a_softmax_of_scalars_has_its_bits(count, dtype):
    def function(x):
        chosen = [x[(5 * k + 1) % 24] for k in range(count)]
        y = tg.softmax(tg.stack(chosen), 0)
        return sum(y[k] * x[k] * x[-1 - k] for k in range(count))

    for seed in range(20):
        results, names = both(function, [numbers(seed, dtype, size=2.0 + 5 * (seed % 3))])
        same(results)
    assert names.count("softmax") == 1 and "stack" not in names


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("edge", EDGES)
def test_edge_values_pass_as_one_by_one(edge, dtype):
    x = numbers(1, dtype, 6)
    x[2] = edge
    same(both(lambda x: 0.5 * (x[0] + x[2] + x[2] + x[3]), [x])[0])
    same(both(lambda x: (tg.softmax(tg.stack([x[0], x[2], x[1]]), 0) * x[3:]).sum(), [x])[0])


def test_an_input_may_stand_in_a_sum_more_than_once():
    x = numbers(3, np.float64)
    results, names = both(lambda x: (x[0] + x[1] + x[0] + x[0]) * x[1] + x[2], [x])
    same(results)
    assert "total" in names


@pytest.mark.parametrize("function", [
    lambda x: (lambda s: tg.tanh(s + x[2]) * s)(x[0] + x[1]),  # read again
    lambda x: (lambda s: s + s)(x[0] + x[1]),  # read twice by the next
    lambda x: (lambda s, t: s + t)(x[0] * 1.0 + x[1], tg.exp(x[2])),  # not a neighbour
    lambda x: (lambda s: tg.softmax(s, 0)[0] * s[1])(tg.stack([x[0], x[1]])),
    lambda x: (x[0] + x[1]) * x[2],  # whose factor has a gradient
])
def test_what_is_read_elsewhere_stays(function):
    results, names = both(function, [numbers(4, np.float64)])
    same(results)
    assert not {"total", "scaled_total"} & set(names)
    assert ("stack" in names) == ("softmax" in names)


def test_results_of_the_recording_stay():
    compiled = tg.compile(lambda x: (lambda s: (s, s + x[2]))(x[0] + x[1]))
    s, t = compiled(np.array([1.0, 2.0, 4.0]))
    assert (float(s.numpy()), float(t.numpy())) == (3.0, 7.0)


def test_a_stretch_that_runs_again_is_joined_within_itself_only():
    def function(x):
        first = x[0] + x[1]
        inner = tg.checkpoint(lambda a: tg.tanh(a + x[2] + x[3]) + x[4] + x[5], first)
        return inner + x[6]

    results, names = both(function, [numbers(5, np.float64)])
    same(results)
    assert names.count("total") == 2 and names.count("add") >= 1
