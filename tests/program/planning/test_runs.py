"""Instructions over scalars in runs of one kind: another order, the same bits."""

import itertools
import re

import numpy as np
import pytest

import tapegrad as tg
from tapegrad.cli import works
from tapegrad.program.planning.liveness import MANY, TOGETHER
from tapegrad.program.planning.runs import FEWEST

DTYPES = [np.float32, np.float64]


def graph(seed, ops=300, window=24, wide=False, detached=False):
    """A random function of 12 numbers: each op reads some of the last values, the newest more often than not."""

    def function(x):
        rng = np.random.default_rng(seed)
        values = [x[k] for k in range(12)]
        for _ in range(ops):
            back = [values[-1 - int(k)] for k in np.minimum(rng.geometric(0.15, 4), min(len(values), window)) - 1]
            kind = int(rng.integers(0, 7 if wide else 6))
            if detached and rng.random() < 0.1:
                back[0] = back[0].detach()
            if kind == 0:
                values.append(tg.tanh(back[0]))
            elif kind == 1:
                values.append(0.3 * (back[0] + back[1] + back[2]))
            elif kind == 2:
                values.append(back[0] * back[1] + 0.1 * back[0])
            elif kind == 3:
                shares = tg.softmax(tg.stack(back), axis=0)
                values += [shares[k] for k in range(4)]
            elif kind == 4:
                values.append(tg.softplus(back[0]) - back[1])
            elif kind == 5:
                values.append(back[0] / (1.5 + tg.square(back[1])))
            else:
                values.append((tg.stack(values[-6:]) * x[:6]).sum())
        return tg.stack(values[-8:]).sum()

    return function


def numbers(dtype):
    return np.random.default_rng(5).standard_normal(12).astype(dtype)


def kinds(tape):
    return [line.split()[1] for line in str(tape).splitlines()[1:]]


@pytest.mark.compiled
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("options", [{}, {"wide": True}, {"detached": True}, {"window": 6}], ids=str)
def test_values_and_gradients_are_those_of_the_written_order_to_the_bit(options, dtype):
    for seed in range(6):
        f, x = graph(seed, **options), numbers(dtype)
        value, gradient = tg.compile(tg.value_and_grad(f))(x)
        expected, wanted = tg.value_and_grad(f)(x)
        np.testing.assert_array_equal(value, expected)
        np.testing.assert_array_equal(gradient, wanted)


@pytest.mark.compiled
def test_those_of_one_kind_come_together():
    work = works.Scalars("", 2000, "float64")
    compiled = tg.compile(tg.value_and_grad(work.function(tg)))
    compiled(work.data())
    found = kinds(compiled.tape)
    assert len(found) > 1000
    assert len(list(itertools.groupby(found))) < 0.4 * len(found)  # 0.75 of four kinds in any order


@pytest.mark.compiled
def test_nothing_is_read_before_it_is_computed():
    compiled = tg.compile(tg.value_and_grad(graph(1, ops=400)))
    compiled(numbers(np.float64))
    lines = [re.findall(r"%\d+", line) for line in str(compiled.tape).splitlines()[1:]]
    computed, made = {names[0] for names in lines}, set()
    for out, *read in lines:
        assert computed.intersection(read) - {out} <= made
        made.add(out)


@pytest.mark.compiled
def test_few_instructions_stay_as_written():
    def function(x):
        y = x[0]
        for k in range(FEWEST // 3):
            y = tg.tanh(y) * x[k % 12]
        return y

    compiled = tg.compile(tg.value_and_grad(function))
    compiled(numbers(np.float64))
    found = kinds(compiled.tape)
    assert found == ["tanh", "multiply"] * (FEWEST // 3)


@pytest.mark.compiled
def test_a_stretch_that_runs_again_keeps_its_instructions():
    def function(x):
        first = graph(2, ops=150)
        return first(x) + tg.checkpoint(graph(3, ops=150), x * 0.5)

    x = numbers(np.float64)
    value, gradient = tg.compile(tg.value_and_grad(function))(x)
    expected, wanted = tg.value_and_grad(function)(x)
    np.testing.assert_array_equal(value, expected)
    np.testing.assert_array_equal(gradient, wanted)


@pytest.mark.compiled
@pytest.mark.parametrize("dtype", DTYPES)
def test_many_small_adjoints_are_cleared_together(dtype):
    """Softmaxes whose results are read one by one, so that none of their adjoints can be stored at once."""

    def function(x):
        y = x
        for _ in range(MANY + 10):
            shares = tg.softmax(tg.stack([y[k] for k in range(4)]), axis=0)
            y = [shares[k] * x[k] + shares[(k + 1) % 4] for k in range(3)] + [shares[3] * x[3]]
        return y[0] + y[1] * y[2] + y[3]

    compiled, x = tg.compile(tg.value_and_grad(function)), numbers(dtype)
    value, gradient = compiled(x)
    expected, wanted = tg.value_and_grad(function)(x)
    np.testing.assert_array_equal(value, expected)
    np.testing.assert_array_equal(gradient, wanted)
    tasks = compiled._last.program.tasks
    assert len(tasks.clears) >= MANY and len(tasks.several) <= len(tasks.rows) // TOGETHER + 2
