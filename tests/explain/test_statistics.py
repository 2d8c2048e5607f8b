"""Statistics of arrays against NumPy."""

import numpy as np
import pytest

from tapegrad.engine.storage import address_of
from tapegrad.explain.training import statistics as s

DTYPES = [np.dtype(np.float32), np.dtype(np.float64)]


def measured(x, low=None, high=None, other=None, units=(0, 0, 1)):
    """The results of one array."""
    out, scratch = np.full(s.RESULTS, -1.0), np.zeros(max(units[1], 1), x.dtype)
    size = x.dtype.itemsize
    row = s.Array.words(x=address_of(x) // size, n=x.size, bins=True, bounded=low is not None, low=low or 0.0,
                        high=high or 0.0, other=0 if other is None else address_of(other) // size, outer=units[0],
                        units=units[1], inner=units[2], scratch=address_of(scratch) // size,
                        result=address_of(out) // size)
    s.Calls(s.STATISTICS, [row], x.dtype)()
    return out


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("n", [1, 2, 15, 16, 17, 63, 2047, 2048, 2049, 5000])
def test_sums_extremes_and_bins(dtype, n):
    rng = np.random.default_rng(n)
    x = rng.normal(size=n).astype(dtype)
    x[rng.random(n) < 0.1] = 0.0
    other = rng.normal(size=n).astype(dtype)
    out, wide = measured(x, -1.0, 0.5, other), x.astype(np.float64)
    assert out[s.SQUARES] == pytest.approx((wide ** 2).sum(), rel=1e-6)
    assert out[s.SUM] == pytest.approx(wide.sum(), rel=1e-5, abs=1e-4)
    assert out[s.CHANGE] == pytest.approx(((wide - other) ** 2).sum(), rel=1e-6)
    assert (out[s.LEAST], out[s.GREATEST]) == (x.min(), x.max())
    assert (out[s.NAN], out[s.INFINITE], out[s.ZEROS]) == (0, 0, (x == 0).sum())
    assert out[s.OUTSIDE] == ((x < -1.0) | (x > 0.5)).sum()
    width = (x.max() - x.min()) / dtype.type(s.BINS)
    edges = [x.min() + width * dtype.type(k) for k in range(1, s.BINS)]
    if n > 2048:  # sixteen pieces of 128 elements, the first at the beginning and the last at the end
        x = np.concatenate([x[k:k + 128] for k in np.arange(16) * (n - 128) // 15])
    counts = np.diff([0, *((x < edge).sum() for edge in edges), len(x)])
    np.testing.assert_array_equal(out[s.COUNTS:], counts)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_nan_and_infinity_are_counted_and_have_no_bins(dtype):
    x = np.array([1.0, np.nan, -np.nan, np.inf, -np.inf, np.inf, 0.0], dtype)
    out = measured(x)
    assert (out[s.NAN], out[s.INFINITE], out[s.ZEROS]) == (2, 3, 1) and not out[s.COUNTS:].any()
    assert not measured(np.array([1.0, np.inf], dtype))[s.COUNTS:].any()
    assert measured(np.array([np.nan], dtype))[s.NAN] == 1
    for value in (np.nan, -np.nan, np.inf, -np.inf):  # in the first block, and in the last
        for at in (3, 4990):
            x = np.ones(5000, dtype)
            x[at] = value
            out = measured(x)
            assert (out[s.NAN], out[s.INFINITE]) == (np.isnan(value), np.isinf(value)) and not out[s.COUNTS:].any()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_ends_of_the_range_and_constants(dtype):
    tiny, huge = np.finfo(dtype).tiny, np.finfo(dtype).max
    assert measured(np.full(10, tiny, np.float32).astype(dtype))[s.COUNTS + s.BINS - 1] == 10
    if dtype == np.float32:
        assert measured(np.array([tiny, tiny], dtype))[s.SQUARES] == pytest.approx(2 * float(tiny) ** 2)
        assert measured(np.array([-huge, huge], dtype))[s.COUNTS:].sum() == 2
    assert measured(np.zeros(3, dtype))[s.COUNTS:].sum() == 3


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(1, 1, 1), (5, 7, 1), (33, 130, 1), (3, 6, 5), (1, 4, 100)])
def test_dead_units(dtype, shape):
    rng = np.random.default_rng(0)
    x = np.maximum(rng.normal(size=shape) - 1.0, 0.0).astype(dtype)
    x[:, ::3] = 0.0
    assert measured(x, units=shape)[s.DEAD] == (x <= 0).all(axis=(0, 2)).sum()


def test_an_empty_array():
    out = measured(np.zeros(0, np.float32))
    assert not out.any()
