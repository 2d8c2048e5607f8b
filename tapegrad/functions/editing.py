"""Arrays with parts put in, left out, chosen or put together; windows that slide along a vector."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..engine.caller import user_line
from ..errors import ArgumentError, CaptureError, IndexRangeError, ShapeError
from ..tensor.arrays import DEFAULT_DTYPE
from ..tensor.recording import as_tensor, lift
from ..tensor.tensor import Tensor
from .apply import as_given
from .arranging import diff
from .convolution import conv1d
from .elementwise import as_bool, clip, where
from .formulas import remainder
from .gathering import diagonal, gather
from .indexing import At, take_axis
from .integers import broadcast_shape, integers, recorded
from .layout import broadcast_to, concatenate, flip, moveaxis, one_axis, reshape, stack, together
from .padding import pad
from .pytorch import select as one_slice
from .pytorch import unbind
from .sorting import argsort, sort

__all__ = [
    "append", "argpartition", "block", "block_diag", "broadcast_arrays", "broadcast_tensors", "cartesian_prod",
    "choose", "combinations", "convolve", "correlate", "delete", "diagonal_scatter", "ediff1d", "index_put",
    "insert", "meshgrid", "partition", "resize", "select", "select_scatter", "slice_scatter", "unstack", "vander",
]


def _flat(x: Any) -> Tensor:
    t = as_tensor(x)
    return reshape(t, (t.size,))


# ------------------------------------------------------------------ put in, left out


def append(arr: Any, values: Any, axis: int | None = None) -> Tensor:
    """`values` behind `arr` along an axis; both flattened by default.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.append(tg.tensor([1.0, 2.0]), 3.0)
    tensor([1., 2., 3.])
    """
    return concatenate([_flat(arr), _flat(values)] if axis is None else [arr, values], 0 if axis is None else axis)


def _places(name: str, obj: Any) -> Any:
    """An index as NumPy takes it."""
    if isinstance(obj, Tensor):
        if obj.is_symbolic:
            raise CaptureError(f"{user_line()}: {name}: an index that depends on the recording's inputs; use tg.where, "
                               "or take with indices of a known number")
        return obj.detach()._array()
    return obj


def _changed(name: str, function: Any, n: int, obj: Any, *values: Any) -> np.ndarray:
    """The numbers of the slices after a change by NumPy."""
    try:
        return function(np.arange(n), _places(name, obj), *values)
    except (IndexError, ValueError) as error:
        raise IndexRangeError(f"{name}: {error}") from None


def delete(arr: Any, obj: Any, axis: int | None = None) -> Tensor:
    """`arr` without some slices along an axis; flattened by default.

    Parameters
    ----------
    arr : array_like
    obj : int, slice, or array_like of int or bool
        Which.
    axis : int, optional

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.delete(tg.tensor([1.0, 2.0, 3.0]), 1)
    tensor([1., 3.])
    """
    t = _flat(arr) if axis is None else as_tensor(arr)
    d = one_axis(0 if axis is None else axis, t.ndim, "delete")
    return take_axis(t, Tensor(_changed("delete", np.delete, t.shape[d], obj)), d)


def insert(arr: Any, obj: Any, values: Any, axis: int | None = None) -> Tensor:
    """`arr` with `values` put in before some indices along an axis; flattened by default.

    Parameters
    ----------
    arr : array_like
    obj : int, slice, or array_like of int or bool
    values : array_like
        Of a shape that broadcasts to that of what is put in; before one index, along the first axis, any number.
    axis : int, optional

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.insert(tg.tensor([1.0, 2.0]), 1, 9.0)
    tensor([1., 9., 2.])
    """
    t = _flat(arr) if axis is None else as_tensor(arr)
    d = one_axis(0 if axis is None else axis, t.ndim, "insert")
    x, v = as_given(t, values)
    place = _places("insert", obj)
    if np.ndim(place) == 0 and not isinstance(place, slice):
        v = moveaxis(reshape(v, (1,) * (x.ndim - v.ndim) + v.shape), 0, d)
        count = v.shape[d]
        places = [place] * count if count != 1 else place
    else:
        if isinstance(place, slice) or np.asarray(place).dtype == bool:
            place = np.arange(x.shape[d])[place if isinstance(place, slice) else np.flatnonzero(place)]
        v = reshape(v, (1,) * (x.ndim - v.ndim) + v.shape)
        count = v.shape[d] if np.size(place) == 1 else np.size(place)
        places = np.repeat(place, count) if np.size(place) == 1 else place
    shape = (*x.shape[:d], count, *x.shape[d + 1:])
    if broadcast_shape("insert", v.shape, shape) != shape:
        raise ShapeError(f"insert: values of shape {list(v.shape)} do not fit into {list(shape)}")
    order = _changed("insert", np.insert, x.shape[d], places, x.shape[d] + np.arange(count))
    return take_axis(concatenate([x, broadcast_to(v, shape)], d), Tensor(order), d)


def resize(a: Any, new_shape: Any) -> Tensor:
    """The elements again and again in C order, until a shape is full, as ``numpy.resize``."""
    t = _flat(a)
    shape = (int(new_shape),) if isinstance(new_shape, (int, np.integer)) else tuple(int(n) for n in new_shape)
    if any(n < 0 for n in shape):
        raise ShapeError(f"resize: {list(shape)} is not a shape")
    if t.size == 0:
        return Tensor(np.zeros(shape, t.dtype))
    return reshape(take_axis(t, Tensor(np.arange(math.prod(shape)) % t.size), 0), shape)


def ediff1d(ary: Any, to_end: Any = None, to_begin: Any = None) -> Tensor:
    """Differences of neighbours in the flattened array, between what else is given."""
    parts = [to_begin, diff(_flat(ary)), to_end]
    return concatenate([_flat(p) for p in parts if p is not None], 0)


# ------------------------------------------------------------------ chosen


def select(condlist: Any = None, choicelist: Any = None, default: Any = 0, *, input: Any = None, dim: int | None = None,
           index: int | None = None) -> Tensor:
    """By element the first of several arrays whose condition holds.

    Parameters
    ----------
    condlist : sequence of array_like of bool
    choicelist : sequence of array_like
        As many; all broadcast.
    default : array_like, default 0
        Where none holds.
    input, dim, index
        PyTorch's: one slice along an axis, without it; so is ``select(x, 1, 0)``, which has a number in place of a
        sequence.

    Examples
    --------
    >>> import tapegrad as tg
    >>> x = tg.tensor([-1.0, 0.5, 2.0])
    >>> tg.select([x < 0, x < 1], [-x, 10 * x])
    tensor([1., 5., 0.])
    """
    if dim is not None or index is not None or input is not None or isinstance(choicelist, (int, np.integer)):
        given = condlist if input is None else input
        along = dim if dim is not None else choicelist
        return one_slice(given, along, default if index is None else index)
    conditions, choices = list(condlist), list(choicelist)
    if len(conditions) != len(choices) or not choices:
        raise ArgumentError(f"select: {len(conditions)} conditions and {len(choices)} choices")
    found = default
    for condition, choice in zip(reversed(conditions), reversed(choices)):
        found = where(as_bool(condition), choice, found)
    return as_tensor(found)


def choose(a: Any, choices: Any, mode: str = "raise") -> Tensor:
    """By element one of several arrays, by its number.

    Parameters
    ----------
    a : integer array_like
    choices : sequence of array_like, or array_like
        All broadcast with `a`.
    mode : {"raise", "wrap", "clip"}
        What becomes of numbers that there is no array for.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.choose([0, 1, 0], [tg.tensor([1.0, 2.0, 3.0]), -1.0])
    tensor([ 1., -1.,  3.])
    """
    number = as_tensor(a)
    given = [as_tensor(c) for c in (unbind(choices) if isinstance(choices, Tensor) else choices)]
    if not given or number.dtype.kind == "f":
        raise ArgumentError("choose: integers that choose among at least one array")
    if mode not in ("raise", "wrap", "clip"):
        raise ArgumentError(f"choose: mode is 'raise', 'wrap' or 'clip', not {mode!r}")
    shape = broadcast_shape("choose", number.shape, *(c.shape for c in given))
    if number.is_symbolic:
        if mode != "raise":
            number = remainder(number, len(given)) if mode == "wrap" else clip(number, 0, len(given) - 1)
        whole = stack([broadcast_to(c, shape) for c in together(given, "choose")])
        return reshape(gather(whole, 0, reshape(broadcast_to(number, shape), (1, *shape))), shape)
    at = number.detach()._array().astype(np.int64)
    count = len(given)
    if mode == "raise" and at.size and (at.min() < 0 or at.max() >= count):
        raise IndexRangeError(f"choose: number {at.min() if at.min() < 0 else at.max()} of {count} arrays")
    at = at % count if mode == "wrap" else np.clip(at, 0, count - 1)
    found = given[-1] if count > 1 else broadcast_to(given[0], shape)
    for k in range(count - 2, -1, -1):
        found = where(at == k, given[k], found)
    return found if found.shape == shape else broadcast_to(found, shape)


def _kth(name: str, kth: Any, n: int) -> None:
    for k in np.atleast_1d(_places(name, kth)).tolist():
        if not -n <= k < n:
            raise ArgumentError(f"{name}: kth {k} is out of bounds for {n} elements")


def partition(a: Any, kth: int | Sequence[int], axis: int | None = -1, kind: str = "introselect",
              order: None = None) -> Tensor:
    """A copy with the `kth` element in its place, smaller ones before and greater ones behind it: `sort` does that."""
    t, d = (_flat(a), 0) if axis is None else (as_tensor(a), axis)
    _kth("partition", kth, t.shape[one_axis(d, t.ndim, "partition")])
    return sort(t, d)


def argpartition(a: Any, kth: int | Sequence[int], axis: int | None = -1, kind: str = "introselect",
                 order: None = None) -> Tensor:
    """Indices that `partition`: those of `argsort`."""
    t, d = (_flat(a), 0) if axis is None else (as_tensor(a), axis)
    _kth("argpartition", kth, t.shape[one_axis(d, t.ndim, "argpartition")])
    return argsort(t, d)


# ------------------------------------------------------------------ put together


def meshgrid(*xi: Any, indexing: str = "xy", sparse: bool = False, copy: bool = True) -> tuple[Tensor, ...]:
    """Coordinates of a grid from those along its axes.

    Parameters
    ----------
    *xi : array_like
        Vectors.
    indexing : {"xy", "ij"}
        "xy", the default as NumPy's, has the first two axes swapped; PyTorch's default is "ij".
    sparse : bool, default False
        With extent 1 along the other axes.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.meshgrid([1.0, 2.0], [3.0, 4.0], indexing="ij")[1]
    tensor([[3., 4.],
            [3., 4.]])
    """
    if indexing not in ("xy", "ij"):
        raise ArgumentError(f"meshgrid: indexing is 'xy' or 'ij', not {indexing!r}")
    given = [_flat(x) for x in xi]
    n, order = len(given), list(range(len(given)))
    if indexing == "xy" and n > 1:
        order[:2] = [1, 0]
    shape = [0] * n
    for d, t in zip(order, given):
        shape[d] = t.size
    lines = [reshape(t, tuple(-1 if k == d and t.size else t.size if k == d else 1 for k in range(n)))
             for d, t in zip(order, given)]
    return tuple(lines if sparse else [broadcast_to(line, tuple(shape)) for line in lines])


def broadcast_arrays(*args: Any) -> tuple[Tensor, ...]:
    """Each array broadcast to the shape that all have in common."""
    given = [as_tensor(a) for a in args]
    shape = broadcast_shape("broadcast_arrays", *(t.shape for t in given)) if given else ()
    return tuple(t if t.shape == shape else broadcast_to(t, shape) for t in given)


broadcast_tensors = broadcast_arrays


def unstack(x: Any, *, axis: int = 0) -> tuple[Tensor, ...]:
    """The slices along an axis, without it: `unbind`, as the array API names it. Views."""
    return unbind(x, axis)


def block_diag(*tensors: Any) -> Tensor:
    """Matrices one behind the other along the diagonal, and zeros; vectors are rows.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.block_diag(tg.tensor([[1.0, 2.0]]), 3.0)
    tensor([[1., 2., 0.],
            [0., 0., 3.]])
    """
    given = [as_tensor(t) for t in tensors]
    if not given:
        return Tensor(np.zeros((1, 0), DEFAULT_DTYPE))
    parts = together(given, "block_diag")
    if any(t.ndim > 2 for t in parts):
        raise ShapeError("block_diag: matrices, not shapes " + ", ".join(str(list(t.shape)) for t in parts))
    parts = [reshape(t, (1, t.size)) if t.ndim < 2 else t for t in parts]
    width, at, rows = sum(t.shape[1] for t in parts), 0, []
    for t in parts:
        n, m = t.shape
        kind = t.dtype
        rows.append(concatenate([Tensor(np.zeros((n, at), kind)), t, Tensor(np.zeros((n, width - at - m), kind))], 1))
        at += m
    return concatenate(rows, 0)


def block(arrays: Any) -> Tensor:
    """Arrays put together from nested lists: the innermost along the last axis, and so on, as ``numpy.block``."""


    def listed(nested: Any, level: int) -> list[tuple[int, Any]]:
        """The arrays, and how deep each stands."""
        if not isinstance(nested, list):
            return [(level, nested)]
        if not nested:
            raise ArgumentError("block: an empty list")
        return [found for part in nested for found in listed(part, level + 1)]

    depths, leaves = zip(*listed(arrays, 0))
    levels, parts = depths[0], iter(together(leaves, "block"))
    if set(depths) != {levels}:
        raise ArgumentError("block: lists are nested to different depths")
    least = max(levels, *(as_tensor(leaf).ndim for leaf in leaves))

    def joined(nested: Any, level: int) -> Tensor:
        if not isinstance(nested, list):
            t = next(parts)
            return reshape(t, (1,) * (least - t.ndim) + t.shape)
        return concatenate([joined(part, level + 1) for part in nested], level - levels)

    return joined(arrays, 0)


def cartesian_prod(*tensors: Any) -> Tensor:
    """All tuples of elements of vectors, a row each, as PyTorch's; of one vector that itself."""
    if len(tensors) == 1:
        return as_tensor(tensors[0])
    grid = meshgrid(*tensors, indexing="ij")
    return stack([_flat(g) for g in grid], -1)


def combinations(input: Any, r: int = 2, with_replacement: bool = False) -> Tensor:
    """All choices of `r` elements of a vector, a row each, as PyTorch's."""
    t = as_tensor(input)
    if t.ndim != 1 or r < 0:
        raise ShapeError(f"combinations: {r} elements of a vector, not of shape {list(t.shape)}")
    chosen = (itertools.combinations_with_replacement if with_replacement else itertools.combinations)
    rows = np.array(list(chosen(range(t.size), r)), np.int64).reshape(-1, r)
    return take_axis(t, Tensor(rows), 0) if r else Tensor(np.zeros(0, t.dtype))


def vander(x: Any, N: int | None = None, increasing: bool = False) -> Tensor:
    """The matrix of powers of a vector, descending from ``N - 1`` by default."""
    t = as_tensor(x)
    if t.ndim != 1:
        raise ShapeError(f"vander: a vector, not shape {list(t.shape)}")
    count = t.size if N is None else int(N)
    if count < 1:
        return Tensor(np.zeros((t.size, 0), t.dtype))
    columns = [Tensor(np.ones(t.shape, t.dtype))]
    for _ in range(count - 1):
        columns.append(columns[-1] * t)
    return stack(columns if increasing else columns[::-1], 1)


# ------------------------------------------------------------------ written into


def select_scatter(input: Any, src: Any, dim: int, index: int) -> Tensor:
    """A copy of `input` with `src` in place of one slice along an axis, as PyTorch's."""
    x = as_tensor(input)
    return At(x)[(slice(None),) * one_axis(dim, x.ndim, "select_scatter") + (index,)].set(src)


def slice_scatter(input: Any, src: Any, dim: int = 0, start: int | None = None, end: int | None = None,
                  step: int = 1) -> Tensor:
    """A copy of `input` with `src` in place of a range of slices along an axis, as PyTorch's."""
    x = as_tensor(input)
    return At(x)[(slice(None),) * one_axis(dim, x.ndim, "slice_scatter") + (slice(start, end, step),)].set(src)


def diagonal_scatter(input: Any, src: Any, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """A copy of `input` with `src` in place of a diagonal, as PyTorch's."""
    x = as_tensor(input)
    at = diagonal(np.arange(x.size).reshape(x.shape), offset, dim1, dim2)
    if as_tensor(src).shape != at.shape:
        raise ShapeError(f"diagonal_scatter: src of shape {list(as_tensor(src).shape)}; expected {list(at.shape)}")
    return reshape(At(_flat(x))[at].set(src), x.shape)


def index_put(input: Any, indices: Sequence[Any], values: Any, accumulate: bool = False) -> Tensor:
    """A copy of `input` with `values` at indices, an array for each axis, or added to them, as PyTorch's."""
    place = At(as_tensor(input))[tuple(indices) if len(indices) > 1 else indices[0]]
    return place.add(values) if accumulate else place.set(values)


# ------------------------------------------------------------------ windows along a vector


def _sliding(name: str, a: Any, v: Any, mode: str) -> Tensor:
    """``sum a[n + k] v[n]`` of the longer `a`; the result of NumPy's modes."""
    x, w = lift(a, v)
    n, m = x.size, w.size
    if x.ndim > 1 or w.ndim > 1 or not n or not m:
        raise ShapeError(f"{name}: vectors that are not empty, not shapes {list(x.shape)} and {list(w.shape)}")
    behind = {"valid": (0, 0), "same": (m // 2, m - 1 - m // 2), "full": (m - 1, m - 1)}.get(mode)
    if behind is None:
        raise ArgumentError(f"{name}: mode is 'full', 'same' or 'valid', not {mode!r}")
    rows = reshape(pad(reshape(x, (n,)), [behind]), (1, 1, n + sum(behind)))
    return reshape(conv1d(rows, reshape(w, (1, 1, m))), (-1,))


def _exact(name: str, a: Any, v: Any, mode: str) -> Tensor | None:
    """NumPy's, of integers."""
    whole = integers(a, v)
    if whole is None:
        return None
    if recorded(*whole):
        raise CaptureError(f"{user_line()}: {name} of integers that depend on the recording's inputs; convert one with "
                           ".float()")
    return Tensor(getattr(np, name)(*(t._array() for t in whole), mode=mode))


def correlate(a: Any, v: Any, mode: str = "valid") -> Tensor:
    """The correlation of two vectors, ``c[k] = sum a[n + k] v[n]``, as ``numpy.correlate``.

    Parameters
    ----------
    a, v : array_like, (n,), (m,)
    mode : {"valid", "same", "full"}
        Only where they overlap wholly; as many as the longer has; all ``n + m - 1``.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.correlate(tg.tensor([1.0, 2.0, 3.0]), tg.tensor([0.0, 1.0]))
    tensor([2., 3.])
    """
    exact = _exact("correlate", a, v, mode)
    if exact is not None:
        return exact
    x, w = lift(a, v)
    if x.size >= w.size:
        return _sliding("correlate", x, w, mode)
    return flip(_sliding("correlate", w, x, mode), 0)


def convolve(a: Any, v: Any, mode: str = "full") -> Tensor:
    """The convolution of two vectors, ``c[k] = sum a[n] v[k - n]``, as ``numpy.convolve``.

    Parameters
    ----------
    a, v : array_like, (n,), (m,)
    mode : {"full", "same", "valid"}
        All ``n + m - 1``; as many as the longer has; only where they overlap wholly.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.convolve(tg.tensor([1.0, 2.0]), tg.tensor([1.0, 10.0]))
    tensor([ 1., 12., 20.])
    """
    exact = _exact("convolve", a, v, mode)
    if exact is not None:
        return exact
    x, w = lift(a, v)
    x, w = (x, w) if x.size >= w.size else (w, x)
    return _sliding("convolve", x, flip(w, 0) if w.ndim else w, mode)

