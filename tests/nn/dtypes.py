"""Cases in both dtypes, of which every fourth runs in all environments and the others are marked ``grid``."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest

#: one in so many is no part of the grid
STRIDE = 4


def in_both_dtypes(cases: Iterable[tuple[str, tuple]], double: float, single: float) -> list[Any]:
    """Parameters (*values, dtype, tolerance) of each ``(name, values)``, under the names ``name-float64`` and so on."""
    return [
        pytest.param(*values, dtype, tolerance, id=f"{name}-{np.dtype(dtype)}",
                     marks=() if k % STRIDE == turn else pytest.mark.grid)
        for k, (name, values) in enumerate(cases)
        for dtype, tolerance, turn in ((np.float64, double, 0), (np.float32, single, STRIDE // 2))
    ]
