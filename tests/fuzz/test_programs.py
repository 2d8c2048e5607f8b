"""Random programs of fixed seeds: each in one way define by run and in two recorded ones."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from .generate import generate
from .judge import MORE_RUNS, Judge
from .program import Array, Line, Program
from .run import Setup, as_script, attempt, shrunk, try_seed
from .world import Wrong

PROGRAMS, AT_ONCE = 400, 20


@pytest.mark.compiled
@pytest.mark.machine
@pytest.mark.parametrize("first", range(0, PROGRAMS, AT_ONCE))
def test_random_programs_give_the_numbers_of_the_plain_python_tape(first):
    totals: Counter = Counter()
    for seed in range(first, first + AT_ONCE):
        failures = try_seed(seed, 2, totals)
        if failures:
            small = shrunk(failures[0], 10.0)
            pytest.fail(f"{failures[0]}\nshrunk: {small}\n{as_script(small)}")
    assert totals["programs"] > 0.7 * AT_ONCE and totals["comparisons"] > 10 * AT_ONCE


def test_a_seed_gives_the_same_program_again():
    first, second = (generate(7)[0] for _ in range(2))
    assert first.source() == second.source() and first.arrays == second.arrays


PARAMETER, OTHER = Array("p0", "leaf", (3,), seed=1), Array("p1", "leaf", (3,), seed=2)


def program(*lines: tuple[str, str, tuple[str, ...]]) -> Program:
    """Of lines (target, text, operands), the last of which is the loss."""
    made = [Line((target,), text, operands) for target, text, operands in lines]
    return Program({"p0": PARAMETER, "p1": OTHER}, made, [made[-1].targets[0]])


SOUND = program(("v0", "tg.tanh({0})", ("p0",)), ("v1", "{0} * {1}", ("v0", "p1")), ("v2", "tg.sum({0})", ("v1",)))


@pytest.mark.parametrize("way", ["define_by_run", "step"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_wrong_number_is_found_in_either_precision(way, dtype, monkeypatch):
    """The judge is told another slope of tanh, off by one part in ten thousand."""
    _, error = attempt(SOUND, Judge(SOUND), Setup(way, dtype, False, 1))
    assert error is None
    judge = Judge(SOUND)
    judge.expected(0).gradients["p0"] *= 1.0001
    _, error = attempt(SOUND, judge, Setup(way, dtype, False, 1))
    assert isinstance(error, Wrong) and error.what == "p0.grad"


def test_a_program_near_a_kink_is_not_judged():
    near = program(("v0", "{0} - {0} * 1.0000001", ("p0",)), ("v1", "tg.relu({0})", ("v0",)),
                   ("v2", "tg.sum({0})", ("v1",)))
    assert Judge(near).expected(0) is None


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_sum_may_be_off_by_the_roundings_of_its_terms_all_of_one_sign(dtype):
    """d/dp of sum(p c) + mean(p): to each c, of 24 bits, the same is added, and rounded alike where c is as large."""
    p, c = Array("p0", "leaf", (1,), seed=1), Array("c0", "constant", (100_001,), seed=2)
    lines = [Line(("v0",), "tg.broadcast_to({0}, (100_001,))", ("p0",)), Line(("v1",), "{0} * {1}", ("v0", "c0")),
             Line(("v2",), "tg.sum({0})", ("v1",)), Line(("v3",), "tg.mean({0})", ("v0",))]
    judge = Judge(Program({"p0": p, "c0": c}, lines, ["v2", "v3"]), MORE_RUNS)
    gradient, tolerance = judge.expected(0).of("p0"), 2.0 * np.finfo(dtype).eps * np.sum(np.abs(c.value()))
    assert judge.expected(0).tolerance("p0", gradient, dtype) > tolerance
