"""The plain-Python twin of the compiled code under bounds: in a process of its own, for the JIT is off there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments, **variables):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")]), **variables}
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True)


def in_bounds(*arguments):
    return run(*arguments, NUMBA_DISABLE_JIT="1", FUZZ_BOUNDS="1")


@pytest.mark.machine
def test_random_programs_touch_nothing_but_what_their_instructions_may():
    done = in_bounds("-m", "tests.fuzz", "--seed", "100", "--count", "40", "--ways", "2")
    assert done.returncode == 0, done.stdout
    assert "0 programs wrong" in done.stdout.splitlines()[-1]


BEYOND = """
import fuzz
import numpy as np
import tapegrad as tg
from tapegrad.engine.primitives import Memory
from tapegrad.tensor.tensor import Tensor

t = tg.tensor(np.ones(3))
memory = Memory(np.float64, t.buffer.address // 8)
print(memory[2])
{line}
"""


@pytest.mark.machine
@pytest.mark.parametrize("line", ["memory[3]", "memory[-1]", "memory[3] = 0.0", "del t; memory[0]"])
def test_an_access_beyond_an_array_is_an_error(line):
    done = in_bounds("-c", BEYOND.format(line=line))
    assert done.stdout == "1.0\n" and "BoundsError" in done.stderr


WITHIN = """
import fuzz
from fuzz import bounds
import numpy as np
import tapegrad as tg
from tapegrad.engine.walks import walk

p, q = (tg.tensor(np.ones(3), requires_grad=True) for _ in range(2))
step = tg.TrainStep(lambda: (tg.exp(p) * tg.sin(q)).sum(), tg.optim.SGD([p, q], lr=0.1))
step()
tape = step._recorded().program.tape
first, last = tape._start[0], tape._start[0] + 3
tape._words[first + {word}] += {by}
step._recorded().program.run()
"""


@pytest.mark.machine
@pytest.mark.parametrize("word", [1, 3])
def test_an_instruction_that_leaves_its_operands_is_caught_within_its_arena(word):
    assert in_bounds("-c", WITHIN.format(word=word, by=0)).returncode == 0
    done = in_bounds("-c", WITHIN.format(word=word, by=1))
    assert "BoundsError" in done.stderr


FREED = """
import numpy as np, tapegrad as tg
x = tg.tensor(1.0, dtype="float64", requires_grad=True)
def scaled():
    return (x + np.ones(1 << 22))[5] {op} tg.tensor(4.0, dtype="float64")
scaled().backward()
print(float(x.grad))
"""


@pytest.mark.compiled
@pytest.mark.machine
@pytest.mark.parametrize("op, slope", [("*", 4.0), ("/", 0.25)])
def test_the_adjoint_of_scalars_reads_no_operand_that_was_not_kept(op, slope):
    """The sum's bytes have gone back to the operating system when the reverse walk runs: to read them is the end."""
    done = run("-c", FREED.format(op=op))
    assert done.stdout.strip() == str(slope), done.stderr
