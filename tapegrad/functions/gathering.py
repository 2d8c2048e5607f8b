"""Gather and scatter, as PyTorch and NumPy have them; triangles and diagonals."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..engine.caller import user_line
from ..engine.storage import contiguous_strides
from ..errors import ArgumentError, CaptureError, DtypeError, IndexRangeError, ShapeError
from ..ops.gathering import GATHER, GATHER_LAST, SCATTER
from ..ops.layout import PUT
from ..ops.nest import indexed_strides, nest
from ..tensor.arrays import INT64
from ..tensor.recording import lift, recorder
from ..tensor.tensor import Tensor, view
from .apply import as_given
from .elementwise import where
from .indexing import put_integers, take_axis
from .integers import gathered_along, over, recorded, scattered
from .layout import as_tensor, one_axis, reshape
from .reductions import sum as sum_over

__all__ = [
    "diagonal", "gather", "index_add", "index_select", "repeat", "scatter", "scatter_add", "take_along_axis", "trace",
    "tril", "triu",
]


def _indices(name: str, index: Any) -> Tensor:
    t = as_tensor(index)
    if t.dtype != INT64 and t.size == 0 and not t.is_symbolic:
        t = Tensor(np.zeros(t.shape, np.int64))
    if t.dtype != INT64:
        raise DtypeError(f"{name}: indices must be integers, not {t.dtype}")
    return t


def _without(values: tuple[int, ...], d: int, given: int) -> tuple[int, ...]:
    """`values` with `given` in place `d`."""
    return (*values[:d], given, *values[d + 1:])


def gather_along(x: Tensor, d: int, index: Tensor, shape: tuple[int, ...], wraps: bool,
                 last: bool = False) -> Tensor:
    """Elements of `x` along axis `d`, by an index each: of `shape`, to which the index and the other axes broadcast.

    Those axes of `x` may be longer. Negative indices count from the end where it `wraps`. Where it is the `last`, 0 is
    read at a place that a later index has too, which makes it the transpose of writing.
    """
    index = over(index, shape)
    if not x.is_floating:
        return gathered_along(x, d, index, shape, wraps)
    if last:
        kept = contiguous_strides(x.shape)
        return recorder(GATHER_LAST)(shape, dtype=x.dtype, x=x, index=index, owner=(8 * max(x.size, 1), 8),
                                     elements=x.size, extent=x.shape[d], stride=kept[d], axis=d, wraps=wraps,
                                     nest=nest(shape, (indexed_strides(x.shape, kept, d, shape), index.strides)))
    return recorder(GATHER)(shape, dtype=x.dtype, x=x, index=index, extent=x.shape[d], stride=x.strides[d], axis=d,
                            wraps=wraps,
                            nest=nest(shape, (indexed_strides(x.shape, x.strides, d, shape), index.strides)))


def repeat(a: Any, repeats: Any, axis: int | None = None) -> Tensor:
    """Each element, or each slice along an axis, so many times, as ``numpy.repeat``.

    Parameters
    ----------
    a : array_like
    repeats : int or integer array_like
        One number for all, or one for each.
    axis : int, optional
        The flattened array by default.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.repeat(tg.tensor([1.0, 2.0]), [1, 2])
    tensor([1., 2., 2.])
    """
    x = as_tensor(a)
    if axis is None:
        x, axis = reshape(x, (x.numel(),)), 0
    d = one_axis(axis, x.ndim, "repeat")
    if isinstance(repeats, Tensor) and repeats.is_symbolic:
        raise CaptureError(f"{user_line()}: repeat: numbers that depend on the recording's inputs give a shape that is "
                           "not known beforehand")
    counts = np.asarray(repeats._array() if isinstance(repeats, Tensor) else repeats)
    if counts.dtype.kind not in "iu" or counts.ndim > 1 or np.any(counts < 0) or (
            counts.ndim and counts.size not in (1, x.shape[d])):
        raise ArgumentError(f"repeat: repeats must be a whole number, or one for each of {x.shape[d]} slices")
    return take_axis(x, Tensor(np.repeat(np.arange(x.shape[d]), counts)), d)


def scatter_along(x: Any, d: int, index: Tensor, shape: tuple[int, ...], src: Any, wraps: bool, adds: bool) -> Tensor:
    """A copy of `x` with `src` written along axis `d`, or added, at an index each: as many as `shape` has elements.

    The index and `src` broadcast to that shape, but `src` may be longer too; the other axes of `x` are as in
    `gather_along`.
    """
    x, s = as_given(x, src)
    kept = contiguous_strides(x.shape)
    if not x.is_floating and recorded(x, s, index):
        return scattered(x, d, index, shape, s, wraps, adds)
    index, s = over(index, shape), over(s, shape)
    if not x.is_floating:
        at = index._array()
        wrong = at[(at < -x.shape[d] * wraps) | (at >= x.shape[d])]
        if wrong.size:
            raise IndexRangeError(f"{user_line()}: index {wrong[0]} lies outside the extent {x.shape[d]} of axis {d}")
        places = at % max(x.shape[d], 1) * kept[d]
        for k, stride in enumerate(indexed_strides(x.shape, kept, d, shape)):
            places = places + stride * np.arange(shape[k]).reshape([-1 if k == j else 1 for j in range(len(shape))])
        return put_integers(x, places, s, adds)
    return recorder(SCATTER)(x.shape, dtype=x.dtype, added=0b1000, x=x, index=index, s=s,
                             owner=(8 if adds else 8 * max(x.size, 1), 8), elements=x.size, extent=x.shape[d],
                             stride=kept[d], axis=d, wraps=wraps, adds=adds,
                             nest=nest(shape, (indexed_strides(x.shape, kept, d, shape), index.strides, s.strides)))


def take_along_axis(arr: Any, indices: Any, axis: int | None = -1, *, dim: int | None = None) -> Tensor:
    """Elements along an axis, by an index each, as ``numpy.take_along_axis``.

    Parameters
    ----------
    arr : array_like
    indices : integer array_like
        Of as many axes as `arr`; the other axes broadcast. Negative ones count from the end.
    axis : int or None, default -1
        None for the flattened array. `dim` is an alias.

    Returns
    -------
    Tensor
        ``y[i, j] = arr[i, indices[i, j]]`` for the last axis of two.
    """
    x, index = as_tensor(arr), _indices("take_along_axis", indices)
    chosen = axis if dim is None else dim
    if chosen is None:
        x, chosen = reshape(x, (x.size,)), 0
    if x.ndim != index.ndim:
        raise ShapeError(f"take_along_axis: {list(x.shape)} and indices {list(index.shape)} must have as many axes")
    d = one_axis(chosen, x.ndim, "take_along_axis")
    one = _without(x.shape, d, 1)
    try:
        shape = _without(np.broadcast_shapes(one, _without(index.shape, d, 1)), d, index.shape[d])
    except ValueError:
        raise ShapeError(f"take_along_axis: {list(x.shape)} and indices {list(index.shape)} do not broadcast in the "
                         f"axes besides {d}") from None
    if not x.is_floating and not recorded(x, index):
        return Tensor(np.take_along_axis(x._array(), index._array(), axis=d))
    return gather_along(x, d, index, shape, True)


def gather(input: Any, dim: int, index: Any) -> Tensor:
    """Elements along an axis, by an index each, as PyTorch's.

    Parameters
    ----------
    input : array_like
    dim : int
    index : integer array_like, from 0 on
        Of as many axes as `input`; nowhere longer, except along `dim`.

    Returns
    -------
    Tensor, of the shape of `index`
        ``y[i, j] = input[index[i, j], j]`` for ``dim=0`` of two.

    Raises
    ------
    IndexRangeError
        Naming the index and the extent of the axis.
    """
    x, at = as_tensor(input), _indices("gather", index)
    d = _fitting("gather", x, dim, at, at, "index")
    if not x.is_floating and not recorded(x, at):
        values, places = x._array(), at._array()
        if places.size and (places.min() < 0 or places.max() >= x.shape[d]):
            wrong = places.min() if places.min() < 0 else places.max()
            raise IndexRangeError(f"{user_line()}: index {wrong} lies outside the extent {x.shape[d]} of axis {d}")
        return Tensor(np.take_along_axis(values[tuple(slice(None) if k == d else slice(n) for k, n
                                                      in enumerate(at.shape))], places, axis=d))
    return gather_along(x, d, at, at.shape, False)


def _fitting(name: str, x: Tensor, dim: int, index: Tensor, source: Tensor, what: str) -> int:
    """The axis, if `index` fits into `x` (except along it) and into `source`."""
    d = one_axis(dim, x.ndim, name)
    longer = index.ndim == x.ndim and any(n > m for k, (n, m) in enumerate(zip(index.shape, x.shape)) if k != d)
    beyond = source.ndim == index.ndim and any(n > m for n, m in zip(index.shape, source.shape))
    if index.ndim != x.ndim or source.ndim != x.ndim or longer or beyond:
        given = "" if source is index else f" and {what} {list(source.shape)}"
        raise ShapeError(f"{name}: input {list(x.shape)} does not fit index {list(index.shape)}{given}: all need as "
                         f"many axes, and the index may not be longer than the input besides axis {d}"
                         + ("" if source is index else f", nor anywhere longer than {what}"))
    return d


def _scatter(name: str, input: Any, dim: int, index: Any, src: Any, adds: bool) -> Tensor:
    x, source = as_given(input, src)
    at = _indices(name, index)
    d = _fitting(name, x, dim, at, at if source.ndim == 0 and not adds else source, "src")
    return scatter_along(x, d, at, at.shape, source, False, adds)


def scatter_add(input: Any, dim: int, index: Any, src: Any) -> Tensor:
    """A copy of `input` with elements of `src` added along an axis, at an index each, as PyTorch's.

    Parameters
    ----------
    input : array_like
    dim : int
    index : integer array_like, from 0 on
        Of as many axes as `input` and `src`; nowhere longer than `src`, nor than `input` except along `dim`.
    src : array_like
        ``y[index[i, j], j] += src[i, j]`` for ``dim=0`` of two.

    Returns
    -------
    Tensor, of the shape of `input`

    Raises
    ------
    IndexRangeError
        Naming the index and the extent of the axis.
    """
    return _scatter("scatter_add", input, dim, index, src, True)


def scatter(input: Any, dim: int, index: Any, src: Any, *, reduce: str | None = None) -> Tensor:
    """A copy of `input` with elements of `src`, or a number, written along an axis, at an index each.

    Arguments as of `scatter_add`. Of several writes to an element the last one in C order counts, and gets the
    gradient. With ``reduce="add"`` it is `scatter_add`.
    """
    if reduce not in (None, "add"):
        raise ArgumentError(f"scatter: reduce must be None or 'add', not {reduce!r}")
    return _scatter("scatter", input, dim, index, src, reduce == "add")


def index_add(input: Any, dim: int, index: Any, source: Any, *, alpha: float = 1.0) -> Tensor:
    """A copy of `input` with slices of `source` added along an axis, as PyTorch's.

    Parameters
    ----------
    input : array_like
    dim : int
    index : integer array_like, (n,)
        Repeated indices add up; negative ones count from the end.
    source : array_like
        Of the shape of `input` except for extent n along `dim`; ``y[index[i]] += alpha * source[i]`` for ``dim=0``.
    alpha : float, default 1.0

    Returns
    -------
    Tensor, of the shape of `input`
    """
    x, s = as_given(input, source) if float(alpha).is_integer() else lift(input, source)
    at = _indices("index_add", index)
    d = one_axis(dim, x.ndim, "index_add")
    if at.ndim != 1 or s.shape != _without(x.shape, d, at.size):
        raise ShapeError(f"index_add: input {list(x.shape)}, index {list(at.shape)} and source {list(s.shape)}: the "
                         f"index must have one axis, and the source the shape {list(_without(x.shape, d, at.size))}")
    s = s if alpha == 1.0 else s * (float(alpha) if s.is_floating else int(alpha))
    if not x.is_floating:
        extents = [at.size if k == d else 1 for k in range(x.ndim)]
        return scatter_along(x, d, reshape(at, extents), _without(x.shape, d, at.size), s, True, True)
    return recorder(PUT)(x.shape, dtype=x.dtype, x=x, index=at, v=s, owner=(8 * max(x.shape[d], 1), 8),
                         outer=math.prod(x.shape[:d]), count=at.size, extent=x.shape[d],
                         inner=math.prod(x.shape[d + 1:]), adds=True)


def index_select(input: Any, dim: int, index: Any) -> Tensor:
    """Slices of an axis by indices (n,), as PyTorch's; `take` with its arguments."""
    x, at = as_tensor(input), _indices("index_select", index)
    if at.ndim > 1:
        raise ShapeError(f"index_select: index must have one axis, not shape {list(at.shape)}")
    return take_axis(x, reshape(at, (at.size,)), one_axis(dim, x.ndim, "index_select"))


# ------------------------------------------------------------------ triangles and diagonals


def _triangle(name: str, x: Any, k: int, lower: bool) -> Tensor:
    t = as_tensor(x)
    if t.ndim < 2:
        raise ShapeError(f"{name}: needs a matrix or a stack of matrices, not shape {list(t.shape)}")
    if not isinstance(k, (int, np.integer)):
        raise ArgumentError(f"{name}: a diagonal is an integer, not {k!r}")
    mask = np.tri(t.shape[-2], t.shape[-1], k=int(k) if lower else int(k) - 1, dtype=bool)
    return where(mask if lower else ~mask, t, 0.0 if t.is_floating else Tensor(np.zeros((), t.dtype)))


def tril(x: Any, k: int = 0, *, diagonal: int | None = None) -> Tensor:
    """The lower triangle of matrices (..., n, m), zero above diagonal `k`; `diagonal` is an alias."""
    return _triangle("tril", x, k if diagonal is None else diagonal, True)


def triu(x: Any, k: int = 0, *, diagonal: int | None = None) -> Tensor:
    """The upper triangle of matrices (..., n, m), zero below diagonal `k`; `diagonal` is an alias."""
    return _triangle("triu", x, k if diagonal is None else diagonal, False)


def diagonal(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1, *, dim1: int | None = None,
             dim2: int | None = None) -> Tensor:
    """The elements ``[i, i + offset]`` of two axes along a new last axis; a view. `dim1`, `dim2` are aliases."""
    t = as_tensor(x)
    first = one_axis(axis1 if dim1 is None else dim1, t.ndim, "diagonal")
    second = one_axis(axis2 if dim2 is None else dim2, t.ndim, "diagonal")
    if first == second:
        raise ArgumentError(f"diagonal: both axes are axis {first}")
    rows, columns = t.shape[first], t.shape[second]
    count = max(0, min(rows, columns - offset) if offset >= 0 else min(rows + offset, columns))
    start = offset * t.strides[second] if offset >= 0 else -offset * t.strides[first]
    rest = [d for d in range(t.ndim) if d not in (first, second)]
    return view(t, start if count else 0, (*(t.shape[d] for d in rest), count),
                (*(t.strides[d] for d in rest), t.strides[first] + t.strides[second]))


def trace(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1, *, dim1: int | None = None,
          dim2: int | None = None) -> Tensor:
    """Sum of a diagonal; arguments as of `diagonal`."""
    return sum_over(diagonal(x, offset, axis1, axis2, dim1=dim1, dim2=dim2), -1)
