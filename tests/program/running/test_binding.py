"""Large arguments are read where they are and large gradients written where they are returned; nothing else shows."""

import numpy as np
import pytest

import tapegrad as tg
from tapegrad.program.planning import strips
from tapegrad.program.running import binding

pytestmark = pytest.mark.compiled
N = 40_000


@pytest.fixture(autouse=True, params=["strips", "whole"])
def _with_and_without_strips(request, monkeypatch):
    if request.param == "whole":
        monkeypatch.setattr(strips, "FEWEST_STRIPS", 1 << 40)


def arrays(dtype=np.float32):
    rng = np.random.default_rng(0)
    return rng.normal(size=N).astype(dtype), rng.normal(size=N).astype(dtype)


def chain(x, y):
    return (tg.exp(-x * x) * tg.tanh(y) + x).mean()


FUNCTIONS = {
    "chain": chain,
    "matrix": lambda x, y: ((x.reshape(200, 200) @ y.reshape(200, 200)) ** 2).mean(),
    "gathered": lambda x, y: (x[np.arange(0, N, 7)] * y[:5715]).sum() + tg.tanh(y).sum(),
    "joined": lambda x, y: tg.sin(tg.concatenate([x, y])).sum(),
    "of one": lambda x, y: (x * 2.0).sum(),
    "broadcast": lambda x, y: (x.reshape(4, -1) * y[:10_000]).sum() + (x * x[0]).sum(),
    "a leaf straight": lambda x, y: x.sum() + y.sum(),
}


def copies(compiled):
    arguments, gradients = compiled._last.program._places
    return 4 - len(arguments) - len(gradients)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_results_are_those_of_the_arguments_given_wherever_they_lie(name, dtype):
    function = tg.value_and_grad(FUNCTIONS[name], argnums=(0, 1))
    compiled, (x, y) = tg.compile(function), arrays(dtype)
    misaligned = np.zeros(x.nbytes + 1, np.uint8)[1:].view(dtype)
    misaligned[:] = x
    read_only = y.copy()
    read_only.flags.writeable = False
    kept = []
    for a, b in ((x, y), (x.copy(), x), (x, x), (np.repeat(x, 2)[::2], read_only), (misaligned, y), (y, x)):
        before = a.copy(), b.copy()
        value, gradients = compiled(a, b)
        np.testing.assert_array_equal(a, before[0])
        np.testing.assert_array_equal(b, before[1])
        want, slopes = function(a.astype(dtype), b.astype(dtype))
        np.testing.assert_array_equal(value, want)
        kept += [(g, g.copy()) for g in gradients]
        for found, slope in zip(gradients, slopes):
            np.testing.assert_array_equal(found, slope)
    for found, as_returned in kept:  # later calls write elsewhere
        np.testing.assert_array_equal(found, as_returned)


def test_a_chain_copies_neither_arguments_nor_gradients():
    compiled = tg.compile(tg.value_and_grad(chain, argnums=(0, 1)))
    compiled(*arrays())
    assert copies(compiled) == 0 or not compiled._last.program.lives.groups
    x, y = arrays()
    small = tg.compile(tg.value_and_grad(chain, argnums=(0, 1)))
    few = binding.LEAST_BYTES // 4 - 1
    small(x[:few], y[:few])
    assert copies(small) == 4


def test_a_gradient_that_is_asked_for_twice_comes_as_two_arrays():
    compiled, (x, y) = tg.compile(tg.value_and_grad(chain, argnums=(0, 1, 0))), arrays()
    _, (first, _, again) = compiled(x, y)
    np.testing.assert_array_equal(first, again)
    assert not np.shares_memory(first, again)


def test_an_argument_that_is_returned_is_not_the_callers_array():
    compiled, (x, _) = tg.compile(lambda x: (x, tg.sin(x) * x)), arrays()
    same, other = compiled(x)
    want = x.copy()
    x[:] = 0.0
    np.testing.assert_array_equal(same.numpy(), want)
    np.testing.assert_array_equal(other.numpy(), tg.sin(want).numpy() * want)
