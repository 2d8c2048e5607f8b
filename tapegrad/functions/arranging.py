"""Arrangements of whole arrays: rolled, turned, stacked, cut, and diagonals; NumPy's and PyTorch's agree on them."""

from __future__ import annotations

from collections.abc import Sequence
from operator import index
from typing import Any

import numpy as np

from ..errors import ArgumentError, ShapeError
from ..tensor.arrays import BOOL
from ..tensor.recording import as_tensor
from ..tensor.tensor import Tensor
from .elementwise import not_equal
from .formulas import subtract
from .gathering import diagonal as diagonal_of
from .indexing import At
from .layout import concatenate, expand_dims, flip, moveaxis, one_axis, permute, reshape, swapaxes
from .reductions import Axis
from .reductions import max as max_over
from .reductions import min as min_over
from .reductions import sum as sum_over

__all__ = [
    "array_split", "atleast_1d", "atleast_2d", "atleast_3d", "column_stack", "count_nonzero", "diag", "diag_embed",
    "diagflat", "diff", "dsplit", "dstack", "fliplr", "flipud", "hsplit", "hstack", "ptp", "roll", "rollaxis", "rot90",
    "row_stack", "tensor_split", "vsplit", "vstack",
]


def roll(x: Any, shift: int | Sequence[int] | None = None, axis: Axis = None, *, shifts: Any = None,
         dims: Any = None) -> Tensor:
    """Elements moved along axes, those that fall off at one end coming in at the other; flattened by default.

    Parameters
    ----------
    x : array_like
    shift : int or tuple of int
        `shifts` is PyTorch's name.
    axis : int or tuple of int, optional
        `dims` is PyTorch's name.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.roll(tg.tensor([1.0, 2.0, 3.0]), 1)
    tensor([3., 1., 2.])
    """
    t = as_tensor(x)
    by, along = shift if shifts is None else shifts, axis if dims is None else dims
    if by is None:
        raise ArgumentError("roll: say by how many places")
    if along is None:
        return reshape(roll(reshape(t, (t.numel(),)), by, 0), t.shape)
    axes = [one_axis(a, t.ndim, "roll") for a in (along if isinstance(along, (tuple, list)) else (along,))]
    steps: list[Any] = list(by) if isinstance(by, (tuple, list)) else [by] * len(axes)
    axes = axes * len(steps) if len(axes) == 1 else axes
    if len(steps) != len(axes):
        raise ArgumentError(f"roll: {len(steps)} shifts along {len(axes)} axes")
    for d, step in zip(axes, steps):
        k = -int(step) % t.shape[d] if t.shape[d] else 0
        before = (slice(None),) * d
        t = concatenate([t[before + (slice(k, None),)], t[before + (slice(None, k),)]], d) if k else t
    return t


def fliplr(x: Any) -> Tensor:
    """Columns in reverse order; a view."""
    return flip(x, 1)


def flipud(x: Any) -> Tensor:
    """Rows in reverse order; a view."""
    return flip(x, 0)


def rot90(x: Any, k: int = 1, axes: Sequence[int] = (0, 1), *, dims: Sequence[int] | None = None) -> Tensor:
    """Turned `k` times by 90 degrees, from the first axis towards the second; a view. `dims` is PyTorch's name."""
    t = as_tensor(x)
    first, second = (one_axis(a, t.ndim, "rot90") for a in (axes if dims is None else dims))
    if first == second:
        raise ArgumentError(f"rot90: both axes are axis {first}")
    try:
        k = index(k) % 4
    except TypeError:  # NumPy 2.5 cuts a fraction off, 2.4 turned three times
        raise ArgumentError(f"rot90: k must be an integer, not {k!r}") from None
    if k == 2:
        return flip(flip(t, first), second)
    if k == 1:
        return swapaxes(flip(t, second), first, second)
    return flip(swapaxes(t, first, second), second) if k else t


def rollaxis(x: Any, axis: int, start: int = 0) -> Tensor:
    """Axis `axis` moved before the one at `start`; a view."""
    t = as_tensor(x)
    d = one_axis(axis, t.ndim, "rollaxis")
    place = start + t.ndim if start < 0 else start
    if not 0 <= place <= t.ndim:
        raise ArgumentError(f"rollaxis: start {start} of a tensor of {t.ndim} axes")
    return moveaxis(t, d, place - (d < place))


# ------------------------------------------------------------------ at least so many axes; stacks


def _each(arrays: tuple[Any, ...], one: Any) -> Any:
    made = [one(as_tensor(a)) for a in arrays]
    return made[0] if len(made) == 1 else tuple(made)


def _atleast_2d(t: Tensor) -> Tensor:
    return reshape(t, (1, 1)) if t.ndim == 0 else expand_dims(t, 0) if t.ndim == 1 else t


def _atleast_3d(t: Tensor) -> Tensor:
    return expand_dims(_atleast_2d(t), 2) if t.ndim < 3 else t


def atleast_1d(*arrays: Any) -> Any:
    """Each with one axis at least; views."""
    return _each(arrays, lambda t: reshape(t, (1,)) if t.ndim == 0 else t)


def atleast_2d(*arrays: Any) -> Any:
    """Each with two axes at least, new ones in front; views."""
    return _each(arrays, _atleast_2d)


def atleast_3d(*arrays: Any) -> Any:
    """Each with three axes at least, as ``numpy.atleast_3d``; views."""
    return _each(arrays, _atleast_3d)


def hstack(tup: Sequence[Any]) -> Tensor:
    """Arrays side by side: joined along the second axis, vectors along the first."""
    parts = [atleast_1d(a) for a in tup]
    return concatenate(parts, 0 if all(p.ndim == 1 for p in parts) else 1)


def vstack(tup: Sequence[Any]) -> Tensor:
    """Arrays below each other, vectors as rows."""
    return concatenate([_atleast_2d(as_tensor(a)) for a in tup], 0)


row_stack = vstack


def dstack(tup: Sequence[Any]) -> Tensor:
    """Arrays joined along the third axis."""
    return concatenate([_atleast_3d(as_tensor(a)) for a in tup], 2)


def column_stack(tup: Sequence[Any]) -> Tensor:
    """Vectors as columns, matrices side by side."""
    parts = [as_tensor(a) for a in tup]
    return concatenate([reshape(p, (p.numel(), 1)) if p.ndim < 2 else p for p in parts], 1)


# ------------------------------------------------------------------ parts


def array_split(x: Any, indices_or_sections: int | Sequence[int], axis: int = 0) -> list[Tensor]:
    """Parts along an axis: the indices of the cuts, or a number of parts, of which the first may be longer. Views."""
    t = as_tensor(x)
    d = one_axis(axis, t.ndim, "array_split")
    n = t.shape[d]
    if isinstance(indices_or_sections, (int, np.integer)):
        count = int(indices_or_sections)
        if count < 1:
            raise ArgumentError(f"array_split: {count} parts; at least one")
        cuts = np.cumsum([n // count + (k < n % count) for k in range(count)])[:-1].tolist()
    else:
        cuts = [int(c) for c in indices_or_sections]
    edges = [0, *cuts, n]
    return [t[(slice(None),) * d + (slice(a, max(a, b) if b >= 0 else b),)] for a, b in zip(edges, edges[1:])]


def tensor_split(input: Any, indices_or_sections: int | Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """`array_split`, as PyTorch names it."""
    return tuple(array_split(input, indices_or_sections, dim))


def _split_along(name: str, x: Any, indices_or_sections: Any, d: int) -> list[Tensor]:
    t = as_tensor(x)
    if t.ndim <= d:
        raise ShapeError(f"{name}: a tensor of {d + 1} axes at least, not shape {list(t.shape)}")
    if isinstance(indices_or_sections, (int, np.integer)) and (
            indices_or_sections < 1 or t.shape[d] % int(indices_or_sections)):
        raise ShapeError(f"{name}: extent {t.shape[d]} does not divide into {indices_or_sections} equal parts")
    return array_split(t, indices_or_sections, d)


def hsplit(x: Any, indices_or_sections: Any) -> list[Tensor]:
    """Parts along the second axis, of a vector along its only one; views."""
    return _split_along("hsplit", x, indices_or_sections, 0 if as_tensor(x).ndim == 1 else 1)


def vsplit(x: Any, indices_or_sections: Any) -> list[Tensor]:
    """Parts along the first axis of a matrix or more; views."""
    if as_tensor(x).ndim < 2:
        raise ShapeError(f"vsplit: a tensor of 2 axes at least, not shape {list(as_tensor(x).shape)}")
    return _split_along("vsplit", x, indices_or_sections, 0)


def dsplit(x: Any, indices_or_sections: Any) -> list[Tensor]:
    """Parts along the third axis; views."""
    return _split_along("dsplit", x, indices_or_sections, 2)


# ------------------------------------------------------------------ diagonals


def diag_embed(input: Any, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """Matrices with the last axis of `input` on a diagonal, and zeros, as PyTorch's."""
    t = as_tensor(input)
    if t.ndim == 0:
        raise ShapeError("diag_embed: a tensor of one axis at least")
    n, k = t.shape[-1] + abs(int(offset)), t.shape[-1]
    rows = np.arange(k) + max(-int(offset), 0)
    flat = Tensor(np.zeros((n * n, *t.shape[:-1]), t.dtype))
    put = At(flat)[rows * n + rows + int(offset)].set(moveaxis(t, -1, 0))
    whole = reshape(put, (n, n, *t.shape[:-1]))
    first, second = one_axis(dim1, t.ndim + 1, "diag_embed"), one_axis(dim2, t.ndim + 1, "diag_embed")
    if first == second:
        raise ArgumentError(f"diag_embed: both axes are axis {first}")
    order = list(range(2, t.ndim + 1))
    for place, source in sorted(((first, 0), (second, 1))):
        order.insert(place, source)
    return permute(whole, order)


def diag(x: Any, k: int = 0, *, diagonal: int | None = None) -> Tensor:
    """The diagonal of a matrix, or the matrix of a diagonal; `diagonal` is PyTorch's name of its number."""
    t, k = as_tensor(x), k if diagonal is None else diagonal
    if t.ndim not in (1, 2):
        raise ShapeError(f"diag: a vector or a matrix, not shape {list(t.shape)}")
    return diag_embed(t, k) if t.ndim == 1 else diagonal_of(t, k)


def diagflat(x: Any, k: int = 0) -> Tensor:
    """The matrix with all elements of `x` on a diagonal."""
    t = as_tensor(x)
    return diag_embed(reshape(t, (t.numel(),)), k)


# ------------------------------------------------------------------ differences, and sums of some


def diff(x: Any, n: int = 1, axis: int = -1, prepend: Any = None, append: Any = None, *,
         dim: int | None = None) -> Tensor:
    """Differences of neighbours along an axis, `n` times.

    Parameters
    ----------
    x : array_like
    n : int, default 1
    axis : int, default -1
        `dim` is an alias.
    prepend, append : array_like, optional
        Put before and behind `x`; a number stands for one slice.
    """
    t = as_tensor(x)
    d = one_axis(axis if dim is None else dim, t.ndim, "diff")
    if n < 0:
        raise ArgumentError(f"diff: n must not be negative, not {n}")
    if n == 0:
        return t
    ends = []
    for end in (prepend, append):
        e = None if end is None else as_tensor(end)
        one = (*t.shape[:d], 1, *t.shape[d + 1:])
        ends.append(e if e is None or e.ndim else e + Tensor(np.zeros(one, t.dtype)))
    parts = [p for p in (ends[0], t, ends[1]) if p is not None]
    t = concatenate(parts, d) if len(parts) > 1 else t
    before = (slice(None),) * d
    between = not_equal if t.dtype == BOOL else subtract
    for _ in range(int(n)):
        t = between(t[before + (slice(1, None),)], t[before + (slice(None, -1),)])
    return t


def ptp(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The greatest minus the least element over axes."""
    return subtract(max_over(x, axis, keepdims), min_over(x, axis, keepdims))


def count_nonzero(x: Any, axis: Axis = None, keepdims: bool = False, *, dim: Axis = None) -> Tensor:
    """How many elements over axes are not zero; without gradient."""
    t = as_tensor(x)
    return sum_over(not_equal(t, 0), axis, keepdims, dim=dim)

