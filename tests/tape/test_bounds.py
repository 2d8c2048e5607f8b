"""What the debug mode checks of the operands of an op."""

import numpy as np
import pytest

import tapegrad as tg
from tapegrad.errors import CorruptionError
from tapegrad.ops.layout import WHERE
from tapegrad.ops.loss import CROSS_ENTROPY
from tapegrad.tape.bounds import check_dtypes


def test_integers_and_masks_are_of_the_dtype_that_the_row_declares():
    floats, targets, mask = tg.tensor(np.ones((2, 3))), tg.tensor(np.array([0, 1])), tg.tensor(np.array([True, False]))
    check_dtypes(CROSS_ENTROPY, [floats, targets])
    check_dtypes(WHERE, [mask, floats, floats])
    with pytest.raises(CorruptionError, match="cross_entropy: targets is float64 instead of int64"):
        check_dtypes(CROSS_ENTROPY, [floats, floats])
    with pytest.raises(CorruptionError, match="where: condition is int64 instead of bool"):
        check_dtypes(WHERE, [targets, floats, floats])
