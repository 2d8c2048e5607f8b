"""Arrays that a derived loop refuses when it is called: of other sizes, or of memory that is shared."""

import pathlib
import sys

import numpy as np
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import check

from tapegrad.errors import CompileError

V = np.array([0.5, 1.5, -0.5, 2.0])


def broadcasts(x, y):
    return np.sum(x * y)


def assigns_another_size(x, y):
    a = np.zeros(4)
    a[:] = x
    return a * y


def binds_another_size(x, y):
    a = x * 2
    a = y * 3
    return a


@pytest.mark.compiled
@pytest.mark.parametrize("function", [broadcasts, assigns_another_size, binds_another_size])
def test_arrays_of_other_sizes_raise(function):
    with pytest.raises((ValueError, AssertionError)):
        check.gradients(function, (V[:1], V), [np.ones(4)] if function is not broadcasts else [1.0])


def writes_to_its_argument(x, y):
    x[0] = x[1] * y[0]
    return x[0] * y[0]


def test_an_array_that_is_written_to_while_another_argument_shares_its_memory_is_refused():
    derived = check.derive(writes_to_its_argument, (V, V))
    shared = V.copy()
    with pytest.raises(CompileError, match="share memory"):
        derived.run((shared, shared[1:]), [1.0])
