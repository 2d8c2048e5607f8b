"""Averages of parameters, kept by an optimiser's steps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ..engine.language import cast, wide
from ..engine.row import Words, double
from ..engine.storage import address_of
from ..ops.table import Op
from ..tensor.tensor import Tensor
from .store import home_words

__all__ = ["AVERAGE", "AverageRow", "average_rows"]


class AverageRow(Words):
    mode: int
    a: int
    p: int
    n: int
    count: int  # address of the number of values averaged so far
    decay: double  # negative: all weigh alike


def average(op: AverageRow, f: Any, i: Any, b: Any) -> int:
    # a += w (p - a), w = 1 at first, then 1 - decay, or 1 / (count + 1)
    a, p, n, done, decay = op.a, op.p, op.n, i[op.count], op.decay
    i[op.count] = done + 1
    if done == 0:
        for k in range(n):
            f[a + k] = f[p + k]
        return 0
    w = cast(1.0 - decay if decay >= 0.0 else wide(cast(1.0, f)) / (done + 1), f)
    for k in range(n):
        f[a + k] += w * (f[p + k] - f[a + k])
    return 0


AVERAGE = Op("average", forward=average)


def average_rows(pairs: Iterable[tuple[Tensor, Tensor]], counts: np.ndarray, decay: float) -> list[Sequence[int]]:
    """The rows of pairs of (average, parameter) that are in stores."""
    rows: list[Sequence[int]] = []
    for k, (average, parameter) in enumerate(pairs):
        buffer = average.buffer
        assert buffer is not None
        rows.append(AverageRow.words(mode=0, a=buffer.address // parameter.dtype.itemsize, p=home_words(parameter)[0],
                                     n=parameter.size, count=address_of(counts) // 8 + k, decay=decay))
    return rows
