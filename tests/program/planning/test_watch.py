"""``TAPEGRAD_DEBUG=1``: what reads or writes bytes that are not its own is found; without it nothing is looked at."""

from __future__ import annotations

import os
import subprocess
import sys

BEGIN = """
import numpy as np, tapegrad as tg
from tapegrad.errors import CorruptionError
x = np.linspace(0.5, 1.0, 16)

def too_far(x, y):
    for k in range(x.size + 1):
        y[k] = 2.0
"""


def run(code, debug="1"):
    environment = {**os.environ, "TAPEGRAD_DEBUG": debug}
    result = subprocess.run([sys.executable, "-c", BEGIN + code], env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout.split()


def test_a_recording_says_whose_bytes_were_overrun():
    out = run("""
op = tg.custom_op(too_far)
try:
    tg.compile(lambda x: tg.sin(op(x * 1.5)).sum())(x)
except CorruptionError as error:
    print("behind the 128 bytes of the value of" in str(error), "<string>" in str(error))
""")
    assert out == ["True", "True"]


def test_define_by_run_says_that_a_buffer_was_overrun():
    out = run("""
op = tg.custom_op(too_far)
y = op(tg.tensor(x))
del y
try:
    tg.sin(tg.tensor(x))
except CorruptionError as error:
    print("behind a buffer of 128 bytes" in str(error))
""")
    assert out == ["True"]


def test_a_plan_that_ends_a_life_too_early_gives_nan():
    # cos(1.5 x) is kept for the adjoint of its square; the plan is made to forget that
    out = run("""
from tapegrad.program.planning import budget

def forgetful(*arguments):
    lives = lives_of(*arguments)
    lives.value_death[lives.kept] = lives.times.turn - 1
    return lives

lives_of, budget.lives_of = budget.lives_of, forgetful
f = tg.compile(tg.value_and_grad(lambda x: (tg.exp(tg.cos(x * 1.5)) * x).sum()))
value, gradient = f(x)
print(np.isfinite(value), np.isnan(gradient).all())
""")
    assert out == ["True", "True"]


def test_numbers_are_those_without_it():
    code = """
f = lambda x: (tg.tanh(x[1:] * x[:-1]) / tg.concatenate([x[:7], x[8:]])).sum()
p = tg.nn.Parameter(x, dtype="float64")
step = tg.TrainStep(lambda: f(p), tg.optim.SGD([p], lr=0.1), memory_budget="1 GB")
step(), step()
big = np.linspace(0.1, 1.0, 100_000)
print(tg.compile(tg.grad(f))(x).tobytes().hex(), p.numpy().tobytes().hex(),
      tg.compile(tg.grad(lambda x: tg.exp(tg.sin(x)).sum()))(big).sum().hex())
"""
    assert run(code) == run(code, "0")


def test_nothing_is_watched_without_it():
    code = """
f = tg.compile(lambda x: tg.sin(tg.exp(x)).sum())
f(x)
program = f._last.program
print(len(program.tasks.pairs), program.watch is None, program.arena.nbytes == program.layout.total)
"""
    assert run(code, "0") == ["3", "True", "True"]
    assert run(code)[1:] == ["False", "False"]
