"""Programs of many fields: their derived adjoints against differences, and by hand."""

import pathlib
import sys

import numpy as np
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import check
from programs_handed import HANDED
from programs_language import LANGUAGE
from programs_models import MODELS
from programs_numerics import NUMERICS
from programs_traps import TRAPS

pytestmark = pytest.mark.compiled
GRID = pytest.mark.grid
SMOOTH = [pytest.param(p, id=repr(p), marks=[GRID] if k % 3 else [])
          for k, p in enumerate([*MODELS, *NUMERICS, *LANGUAGE, *TRAPS, *HANDED]) if p.smooth]
BY_HAND = [pytest.param(p, id=repr(p), marks=[GRID] if k % 3 else [])
           for k, p in enumerate([*MODELS, *NUMERICS, *LANGUAGE, *HANDED]) if p.hand]


def precision(program):
    """Of inputs in float32 the adjoints are in float32."""
    return 1e-4 if any(getattr(a, "dtype", None) == np.float32 for a in program.args) else 1e-8


@pytest.mark.parametrize("program", SMOOTH)
def test_adjoints_of_programs_are_those_of_differences(program):
    check.check(program.function, program.args, precision(program))


@pytest.mark.parametrize("program", BY_HAND)
def test_adjoints_of_programs_are_those_by_hand(program):
    _, found, derived = check.gradients(program.function, program.args, [1.0])
    by_hand = [(g, np.asarray(h, float)) for g, h in zip(found, program.hand(*program.args)) if h is not None]
    assert by_hand
    assert check.worst_error(*zip(*by_hand)) < 1e-9, derived.source


def test_there_are_sixty_programs_and_twenty_by_hand():
    assert len(SMOOTH) >= 60
    assert len(BY_HAND) >= 20


def settles(x, n):
    s = 0.0
    for _ in range(n):
        x = x * 0.99 + 0.01 * np.sin(x + 1.0)
        if x > 0.6:
            s += x * x
    return s


def test_a_long_loop_runs_again_on_a_longer_tape():
    slope = check.differences(settles, (0.5, 3000), [1.0])[0]
    _, (found,), derived = check.gradients(settles, (0.5, 3000), [1.0])
    assert abs(found - slope) < 1e-7 * abs(slope)
    assert sum(derived.length((0.5, 3000), [1.0])) >= 3000
