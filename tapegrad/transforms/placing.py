"""Where the contribution of a view lies among the elements of its variable."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from ..engine.storage import contiguous_strides
from ..functions.layout import permute, reshape
from ..functions.reductions import sum as sum_over
from ..ops.layout import PAD
from ..ops.nest import nest
from ..tensor.recording import contiguous, recorder
from ..tensor.tensor import Tensor, view


def sum_to(t: Tensor, shape: tuple[int, ...]) -> Tensor:
    """`t` summed over the axes along which `shape` was broadcast to its shape."""
    if t.shape == shape:
        return t
    missing = len(t.shape) - len(shape)
    axes = tuple(d for d, n in enumerate(t.shape) if d < missing or shape[d - missing] == 1 and n != 1)
    if axes:
        t = sum_over(t, axes)
    return t if t.shape == shape else reshape(t, shape)


@lru_cache(maxsize=4096)
def _order(shape: tuple[int, ...], strides: tuple[int, ...], elements: int) -> tuple[int, ...] | None:
    """The axes in the order of memory, if the view is all of a variable without gaps; None if it is not."""
    if math.prod(shape) != elements:
        return None
    axes = [d for d, n in enumerate(shape) if n != 1]
    axes.sort(key=lambda d: -strides[d])
    within = tuple(shape[d] for d in axes)
    if tuple(strides[d] for d in axes) != contiguous_strides(within):
        return None
    return (*(d for d, n in enumerate(shape) if n == 1), *axes)


@lru_cache(maxsize=4096)
def is_block(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    """Whether a view's elements lie in C order without gaps."""
    axes = [d for d, n in enumerate(shape) if n != 1]
    return tuple(strides[d] for d in axes) == contiguous_strides(tuple(shape[d] for d in axes))


@lru_cache(maxsize=4096)
def _overlaps(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    """Whether two of the view's elements are one."""
    reach = 0
    for n, s in sorted(((n, abs(s)) for n, s in zip(shape, strides) if n > 1), key=lambda axis: axis[1]):
        if s <= reach:
            found = numbers(0, shape, strides)
            return len(np.unique(found)) < found.size
        reach += (n - 1) * s
    return False


def numbers(offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> np.ndarray:
    """Of each element of a view its number among the variable's elements."""
    numbers = np.full(shape, offset, np.int64)
    for d, (n, s) in enumerate(zip(shape, strides)):
        numbers += (np.arange(n) * s).reshape((n,) + (1,) * (len(shape) - d - 1))
    return numbers


def placed(t: Tensor, elements: int, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> Tensor:
    """The flat tensor of so many elements that holds `t` at a view of it, and 0 elsewhere."""
    if 0 in shape:
        return Tensor(np.zeros(elements, t.dtype))
    repeated = tuple(d for d, (n, s) in enumerate(zip(shape, strides)) if s == 0 and n != 1)
    if repeated:
        t = sum_over(t, repeated)
        kept = [d for d in range(len(shape)) if d not in repeated]
        shape, strides = tuple(shape[d] for d in kept), tuple(strides[d] for d in kept)
    order = _order(shape, strides, elements)
    if order is not None:
        if order != tuple(range(len(order))):
            t = permute(t, order)
        t = contiguous(t)
        return view(t, 0, (elements,), (1,))
    if _overlaps(shape, strides):
        zeros = Tensor(np.zeros(elements, t.dtype))
        return zeros.at[numbers(offset, shape, strides).ravel()].add(reshape(t, (t.size,)))
    return recorder(PAD)((elements,), dtype=t.dtype, x=t, value=0.0, elements=elements, offset=offset,
                         nest=nest(shape, (strides, t.strides)))


def unmerged(shape: tuple[int, ...], merged: tuple[tuple[int, int], ...]) -> tuple[int, ...]:
    """Strides of an operand over `shape` from the (extent, stride) of its axes in a nest over it.

    >>> unmerged((2, 1, 3), ((6, 1),))
    (3, 0, 1)
    """
    strides, axes = [0] * len(shape), list(merged)
    if 0 in shape:
        return tuple(strides)
    for d in reversed(range(len(shape))):
        if shape[d] != 1:
            n, s = axes.pop()
            strides[d] = s
            if n != shape[d]:
                axes.append((n // shape[d], s * shape[d]))
    return tuple(strides)


def laid(loops: tuple[int, ...], operand: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Strides with which an operand is read by a nest over `shape`."""
    outer = loops[2]
    extents = (*loops[3:3 + outer], loops[1])
    at = 3 + outer + operand * (outer + 1)
    steps = (*loops[at + 1:at + 1 + outer], loops[at])
    return unmerged(shape, tuple((n, s) for n, s in zip(extents, steps) if n != 1))
