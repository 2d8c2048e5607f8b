"""Random numbers from counters, against the vectors that the authors of Philox publish and against chance."""

import collections

import numpy as np
import pytest
from scipy import stats

from tapegrad.engine.kernels import Kernel
from tapegrad.engine.language import Memory, bits, cast, enabled, real
from tapegrad.engine.philox import SHUFFLE, philox, random_word, scale_survivors, shuffle, uniform
from tapegrad.engine.row import resolved

DTYPES = [np.float32, np.float64]


def words_kernel(op, f, i, b):
    counter, stream, seed, out = op[0], op[1], op[2], op[3]
    for k in range(op[4]):
        a, b_, c, d = philox(counter + k, stream, seed)
        i[out + 4 * k], i[out + 4 * k + 1], i[out + 4 * k + 2], i[out + 4 * k + 3] = a, b_, c, d
    return 0


def random_word_kernel(op, f, i, b):
    stream, seed, out = op[0], op[1], op[2]
    for k in range(op[3]):
        i[out + k] = random_word(k, stream, seed)
    return 0


def uniform_kernel(op, f, i, b):
    stream, seed, out, zero = op[0], op[1], op[2], cast(0.0, f)
    for k in range(op[3]):
        f[out + k] = uniform(k, stream, seed, zero)
    return 0


def survivors_kernel(op, f, i, b):
    return scale_survivors(f, op[0], op[1], op[2], real(op, 3, f), op[4], op[5], op[6], op[7] != 0)


WORDS = Kernel("test_philox_words", words_kernel, own=False)
RANDOM_WORD = Kernel("test_philox_random_word", random_word_kernel, own=False)
UNIFORM = Kernel("test_philox_uniform", uniform_kernel, own=False)
SURVIVORS = Kernel("test_philox_survivors", survivors_kernel, own=False)


def at(array):
    return array.ctypes.data // array.itemsize


def run(kernel, *words, dtype=np.float64):
    row = np.array(words, np.int64)
    assert kernel(row.ctypes.data, np.dtype(dtype)) == 0


def blocks(counter, stream, seed, count=1):
    out = np.empty((count, 4), np.int64)
    run(WORDS, counter, stream, seed, at(out), count)
    return out


def words_of_elements(stream, seed, count):
    out = np.empty(count, np.int64)
    run(RANDOM_WORD, stream, seed, at(out), count)
    return out


def survivors(y, x, scale, threshold, stream, seed, store):
    run(SURVIVORS, at(y), at(x), x.size, bits(scale), threshold, stream, seed, store, dtype=x.dtype)


def int64(low, high):
    """Two 32-bit words as one int64."""
    return int(np.array([low | high << 32], np.uint64).view(np.int64)[0])


KNOWN = [  # four words of counter, two of key, four of output: Random123's kat_vectors
    ([0] * 4, [0] * 2, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
    ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
    ([0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344], [0xA4093822, 0x299F31D0],
     [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1]),
]


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN)
def test_published_vectors(counter, key, expected):
    arguments = int64(*counter[:2]), int64(*counter[2:]), int64(*key)
    assert blocks(*arguments)[0].tolist() == expected
    assert list(philox(*arguments)) == expected  # plain Python


def test_words_have_32_bits_and_hardly_repeat():
    words = blocks(0, 3, 4, 5000).ravel()
    assert np.unique(words).size > 0.999 * words.size
    assert words.min() >= 0
    assert words.max() < 2**32


def test_each_bit_is_even_and_independent_of_its_neighbours():
    words = blocks(0, 1, 2, 20_000).astype(np.uint32)
    ones = ((words[:, :, None] >> np.arange(32, dtype=np.uint32)) & 1).astype(np.float64)
    assert np.abs(ones.mean(axis=0) - 0.5).max() < 5 * 0.5 / np.sqrt(len(words))
    correlation = np.corrcoef(ones.reshape(len(words), -1), rowvar=False) - np.eye(128)
    assert np.abs(correlation).max() < 6 / np.sqrt(len(words))


def test_streams_and_seeds_are_unrelated():
    first, stream, seed = blocks(0, 0, 0, 4000), blocks(0, 1, 0, 4000), blocks(0, 0, 1, 4000)
    for other in (stream, seed, blocks(1, 0, 0, 4000)):
        assert abs(np.corrcoef(first.ravel(), other.ravel())[0, 1]) < 5 / np.sqrt(16_000)


def test_every_element_has_a_word_of_its_own():
    words = words_of_elements(7, 11, 64 * 5)
    assert sorted(words) == sorted(blocks(0, 7, 11, 16 * 5).ravel())
    assert words[:200].tolist() == words_of_elements(7, 11, 200).tolist()


@pytest.mark.parametrize("dtype", DTYPES)
def test_uniform_is_uniform_below_one(dtype):
    u = np.empty(50_000, dtype)
    run(UNIFORM, 5, 6, at(u), u.size, dtype=dtype)
    assert u.min() >= 0.0
    assert u.max() < 1.0
    assert stats.kstest(u.astype(np.float64), "uniform").pvalue > 1e-3
    places = 24 if dtype is np.float32 else 53
    whole = np.ldexp(u, places)
    np.testing.assert_array_equal(whole, np.floor(whole))
    assert np.mean(np.floor(whole) % 2) == pytest.approx(0.5, abs=0.02)  # the last place is random too


@pytest.mark.parametrize("dtype", DTYPES)
def test_uniform_in_plain_python_is_the_compiled_one(dtype):
    u = np.empty(50, dtype)
    run(UNIFORM, 5, 6, at(u), u.size, dtype=dtype)
    plain = [uniform(k, 5, 6, dtype(0)) for k in range(u.size)]
    assert {type(v) for v in plain} == {dtype}
    np.testing.assert_array_equal(u, plain)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 1000])
def test_survivors_are_the_elements_with_a_large_word(count, dtype):
    x = np.random.default_rng(3).normal(size=count).astype(dtype)
    threshold = int(0.3 * 2**32)
    kept = words_of_elements(21, 9, count) >= threshold
    y = np.full(count, np.nan, dtype)
    survivors(y, x, 1.25, threshold, 21, 9, store=1)
    np.testing.assert_array_equal(y, np.where(kept, dtype(1.25) * x, 0))
    survivors(y, x, 1.25, threshold, 21, 9, store=0)
    np.testing.assert_array_equal(y, np.where(kept, dtype(2.5) * x, 0))


def test_dropped_infinities_leave_no_nan():
    x, y = np.full(640, np.inf), np.empty(640)
    survivors(y, x, 2.0, 2**31, 1, 1, store=1)
    assert not np.isnan(y).any()
    assert 0 < np.count_nonzero(y) < y.size


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_the_share_of_survivors_is_as_asked(rate):
    x, y = np.ones(40_000), np.empty(40_000)
    survivors(y, x, 1.0, round(rate * 2**32), 2, 3, store=1)
    assert abs(y.mean() - (1.0 - rate)) <= 4 * np.sqrt(rate * (1.0 - rate) / x.size)


def shuffled(count, seed, dtype=np.float32):
    order = np.arange(count, dtype=np.int64)
    row = np.array([0, order.__array_interface__["data"][0] // 8, count, seed], np.int64)
    SHUFFLE(row.__array_interface__["data"][0], np.dtype(dtype))
    return order


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5, 63, 1000])
def test_a_shuffle_keeps_every_number_and_depends_on_the_seed_alone(count):
    one, again, other = shuffled(count, 7), shuffled(count, 7, np.float64), shuffled(count, 8)
    np.testing.assert_array_equal(np.sort(one), np.arange(count))
    np.testing.assert_array_equal(one, again)
    assert count < 5 or (one != other).any()


def test_every_order_comes_as_often():
    trials = 12_000 if enabled() else 600
    orders = collections.Counter(tuple(shuffled(4, seed).tolist()) for seed in range(trials))
    assert len(orders) == 24
    expected = trials / 24
    assert sum((n - expected) ** 2 / expected for n in orders.values()) < 56  # chi-squared, 23 degrees: once in 10,000


def test_a_shuffle_in_plain_python_is_the_compiled_one():
    memory = Memory(np.int64)
    plain = np.arange(50, dtype=np.int64)
    resolved(shuffle)(np.array([0, plain.__array_interface__["data"][0] // 8, 50, 9]), None, memory, None)
    np.testing.assert_array_equal(plain, shuffled(50, 9))
