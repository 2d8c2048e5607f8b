"""Indexing: basic slices are views, integer and boolean arrays gather, ``x.at[...]`` scatters."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..engine.caller import user_line
from ..engine.storage import contiguous_strides
from ..errors import ArgumentError, CaptureError, IndexRangeError, ShapeError
from ..ops.layout import PUT, RAVEL, TAKE
from ..tensor.arrays import BOOL, INT64, foreign_array
from ..tensor.exchange import is_foreign
from ..tensor.recording import gathered, lift_to, recorder
from ..tensor.tensor import Tensor, as_array, view
from .apply import as_given
from .integers import recorded, scattered, taken
from .layout import as_tensor, broadcast_to, moveaxis, one_axis, permute, reshape

__all__ = ["take"]

_KNOWN = (int, slice, type(None), type(Ellipsis), Tensor, np.ndarray, np.generic, list, tuple)


def _expanded(index: Any, ndim: int) -> list[Any]:
    """The index as a list of one entry an axis (and None entries), Ellipsis expanded."""
    entries = list(index) if isinstance(index, tuple) else [index]
    used = sum(_axes_used(e) for e in entries)
    if sum(e is Ellipsis for e in entries) > 1:
        raise IndexRangeError("an index can have only one ellipsis")
    if used > ndim:
        raise IndexRangeError(f"{used} indices for a tensor of {ndim} axes")
    if not any(e is Ellipsis for e in entries):
        entries.append(Ellipsis)
    at = next(k for k, e in enumerate(entries) if e is Ellipsis)
    entries[at:at + 1] = [slice(None)] * (ndim - used)
    return entries


def _known(index: Any) -> Any:
    """An index with arrays in the place of what other libraries hold, and lists of tensors stacked."""
    if type(index) is tuple:
        return tuple([_known(entry) for entry in index])
    if type(index) is list:
        return gathered(index)
    return index if isinstance(index, _KNOWN) or not is_foreign(index) else foreign_array(index)


def _is_array(entry: Any) -> bool:
    """Whether an entry is an array (advanced indexing)."""
    return isinstance(entry, (np.ndarray, list, tuple, Tensor)) or isinstance(entry, (bool, np.bool_))


def _axes_used(entry: Any) -> int:
    if entry is None or entry is Ellipsis:
        return 0
    if isinstance(entry, (bool, np.bool_)):
        raise IndexRangeError("a single bool is no index here; use an array of bool")
    if isinstance(entry, Tensor) and entry.dtype == BOOL:
        return entry.ndim
    if isinstance(entry, (np.ndarray, list, tuple)):
        array = np.asarray(entry)
        return array.ndim if array.dtype == bool else 1
    return 1


def _is_integer(entry: Any) -> bool:
    return isinstance(entry, (int, np.integer)) or (isinstance(entry, Tensor) and entry.ndim == 0
                                                    and entry.dtype == INT64 and not entry.is_symbolic)


def getitem(x: Any, index: Any) -> Tensor:
    """``x[index]``, as in NumPy."""
    x = as_tensor(x)
    if type(index) is int and x.shape and -x.shape[0] <= index < x.shape[0]:
        return view(x, index % x.shape[0] * x.strides[0], x.shape[1:], x.strides[1:])
    index = _known(index)
    entries = _expanded(index, x.ndim)
    offset, shape, strides, axis = 0, [], [], 0
    arrays: list[tuple[int, Any]] = []
    if any(_is_array(e) and not _is_integer(e) for e in entries):  # NumPy broadcasts integers with arrays
        entries = [np.asarray(int(e)) if _is_integer(e) else e for e in entries]
    for entry in entries:
        if entry is None:
            shape.append(1)
            strides.append(0)
            continue
        if _is_integer(entry):
            n, k = x.shape[axis], int(entry)
            if not -n <= k < n:
                raise IndexRangeError(f"index {k} is out of range for axis {axis} of extent {n}, in a tensor of "
                                      f"shape {list(x.shape)}")
            offset += (k % n) * x.strides[axis]
        elif isinstance(entry, slice):
            start, stop, step = entry.indices(x.shape[axis])
            count = len(range(start, stop, step))
            offset += start * x.strides[axis] if count else 0
            shape.append(count)
            strides.append(step * x.strides[axis] if count > 1 else 1)
        elif _is_array(entry):
            for part in _index_arrays(entry, x, axis):
                arrays.append((len(shape), part))
                shape.append(x.shape[axis])
                strides.append(x.strides[axis])
                axis += 1
            continue
        else:
            raise IndexRangeError(f"{entry!r} is no index: use integers, slices, None, ..., or integer or bool arrays")
        axis += 1
    basic = view(x, offset, tuple(shape), tuple(strides))
    return take_axis(*_gathered(basic, arrays, _side_by_side(index))) if arrays else basic


def _side_by_side(index: Any) -> bool:
    """Whether the arrays (and integers beside them) are adjacent in the index."""
    entries = index if isinstance(index, tuple) else (index,)
    places = [k for k, e in enumerate(entries) if _is_array(e) or _is_integer(e)]
    return places == list(range(places[0], places[0] + len(places)))


def _of_integers(index: Tensor) -> Tensor:
    """An index that depends on a recording's inputs, if it is one of integers."""
    if index.dtype == BOOL:
        raise CaptureError(f"{user_line()}: a bool index that depends on the recording's inputs has a shape "
                           "that is not known beforehand; use tg.where, or multiply by the mask")
    if index.dtype != INT64:
        raise CaptureError(f"{user_line()}: an index must be of integers, not {index.dtype}: convert the index with "
                           ".long()")
    return index


def _index_arrays(entry: Any, x: Tensor, axis: int) -> list[Any]:
    """Integer index arrays of an array entry: one, or for a boolean mask one an axis."""
    if isinstance(entry, Tensor):
        if entry.is_symbolic:
            return [_of_integers(entry)]
        entry = entry._array()
    array = np.asarray(entry)
    if array.dtype == bool:
        expected = x.shape[axis:axis + array.ndim]
        if array.shape != expected:
            raise IndexRangeError(f"a bool index of shape {list(array.shape)} does not fit axes of {list(expected)}")
        return list(np.nonzero(array))
    if array.size == 0 and array.dtype.kind == "f":
        array = array.astype(np.int64)
    if array.dtype.kind not in "iu":
        raise IndexRangeError(f"an index array must be of integers or bool, not {array.dtype}")
    return [array.astype(np.int64)]


def _joined(parts: list[Any], extents: list[int]) -> Tensor:
    """One contiguous flat int64 index over several axes, from index arrays that are broadcast."""
    shape = np.broadcast_shapes(*(p.shape for p in parts))
    if not any(isinstance(p, Tensor) for p in parts):
        for p, n in zip(parts, extents):
            if p.size and (p.min() < -n or p.max() >= n):
                worst = p.min() if p.min() < -n else p.max()
                raise IndexRangeError(f"index {worst} is out of range for an axis of extent {n}")
        flat = np.zeros(shape, np.int64)
        for p, n in zip(parts, extents):
            flat = flat * n + np.where(p < 0, p + n, p)
        return Tensor(flat)
    from ..tape.state import state

    tensors = [p if isinstance(p, Tensor) else Tensor(p) for p in parts]
    tensors = [t if t.shape == shape else broadcast_to(t, shape) for t in tensors]
    result = tensors[0]
    if len(tensors) > 1:
        result = Tensor(np.zeros(shape, np.int64))
        for t, n in zip(tensors, extents):
            result = recorder(RAVEL)(shape, dtype=state.capture.tape.dtype, out_dtype=INT64, before=result, index=t,
                                     count=math.prod(shape), extent=n)
    return result


def _gathered(x: Tensor, arrays: list[tuple[int, Any]], together: bool) -> tuple[Tensor, Tensor, int]:
    """`x` with the indexed axes made adjacent and merged into axis `at`; the index; `at`."""
    places = [p for p, _ in arrays]
    at = places[0] if together else 0
    rest = [d for d in range(x.ndim) if d not in places]
    order = rest[:at] + places + rest[at:]
    extents = [x.shape[p] for p in places]
    try:
        index = _joined([a for _, a in arrays], extents)
    except ValueError:
        shapes = ", ".join(str(list(a.shape)) for _, a in arrays)
        raise IndexRangeError(f"index arrays of shapes {shapes} do not broadcast") from None
    moved = permute(x, order) if order != list(range(x.ndim)) else x
    merged = (*moved.shape[:at], math.prod(extents), *moved.shape[at + len(places):])
    return reshape(moved, merged), index, at


def take_axis(x: Tensor, index: Tensor, axis: int) -> Tensor:
    """Slices of `x` along `axis` by an int64 tensor of any shape."""
    shape = (*x.shape[:axis], *index.shape, *x.shape[axis + 1:])
    if not x.is_floating:
        if recorded(x, index):
            return taken(x, index, axis, shape)
        return Tensor(np.take(x._array(), index._array(), axis))
    return recorder(TAKE)(shape, dtype=x.dtype, added=2, x=x, index=index, outer=math.prod(x.shape[:axis]),
                          count=index.size, extent=x.shape[axis], inner=math.prod(x.shape[axis + 1:]))


def take(x: Any, indices: Any, axis: int | None = None, *, dim: int | None = None) -> Tensor:
    """Elements of `x` along an axis by integer `indices`, as ``numpy.take``; of the flattened array by default."""
    x = as_tensor(x)
    chosen = axis if axis is not None else dim
    if chosen is None:
        x, chosen = reshape(x, (x.size,)), 0
    d = one_axis(chosen, x.ndim, "take")
    if isinstance(indices, Tensor) and indices.is_symbolic:
        return take_axis(x, _of_integers(indices), d)
    array = as_array(indices)
    if array.size == 0:
        array = array.astype(np.int64)
    if array.dtype.kind != "i":
        raise IndexRangeError(f"take: indices must be integers, not {array.dtype}")
    return take_axis(x, _joined([array], [x.shape[d]]), d)


def put_integers(x: Tensor, places: np.ndarray, v: Tensor, adds: bool) -> Tensor:
    """A copy of integers or bool with `v` at places, counted over all elements, or added."""
    made = x._array().astype(np.result_type(x.dtype, v.dtype), order="C")
    values = np.broadcast_to(v._array(), places.shape).ravel()
    if adds:
        np.add.at(made.reshape(-1), places.ravel(), values)
    else:
        np.put(made, places, values)
    return Tensor(made)


class At:
    """``x.at[index]``: functional updates."""

    __slots__ = ("_tensor",)

    def __init__(self, tensor: Tensor) -> None:
        self._tensor = tensor

    def __getitem__(self, index: Any) -> AtIndex:
        return AtIndex(self._tensor, _known(index))


class AtIndex:
    """The selected elements, to be set or added to."""

    __slots__ = ("_tensor", "_index")

    def __init__(self, tensor: Tensor, index: Any) -> None:
        self._tensor, self._index = tensor, index

    def set(self, values: Any) -> Tensor:
        """A copy with the elements replaced by `values` (broadcast); of repeated indices the last one counts."""
        return self._put(values, False)

    def add(self, values: Any) -> Tensor:
        """A copy with `values` (broadcast) added to the elements; repeated indices add up."""
        return self._put(values, True)

    def _put(self, values: Any, adds: bool) -> Tensor:
        symbolic = isinstance(self._index, Tensor) and self._index.is_symbolic
        x, v = as_given(self._tensor, values)
        if symbolic:
            index = _of_integers(self._index)
            if not x.ndim:
                raise ShapeError(f"{user_line()}: at: a number has no elements that an index tells apart")
            selected = (*index.shape, *x.shape[1:])
            outer, extent, inner = 1, x.shape[0], math.prod(x.shape[1:])
        else:
            numbers = np.arange(x.size).reshape(x.shape)
            chosen = np.ascontiguousarray(getitem_array(numbers, self._index))
            index, selected = Tensor(chosen), chosen.shape
            outer, extent, inner = 1, x.size, 1
        try:
            fits = np.broadcast_shapes(v.shape, selected) == tuple(selected)
        except ValueError:
            fits = False
        if not fits:
            raise ShapeError(f"at: values of shape {list(v.shape)} do not fit a selection of {list(selected)}")
        if not x.is_floating and not recorded(x, v, index):
            return put_integers(x, chosen, v, adds)
        v = v if v.shape == tuple(selected) else broadcast_to(v, selected)
        if not x.is_floating:
            rows = (index.size, inner)
            put = scattered(reshape(x, (extent, inner)), 0, reshape(index, (index.size, 1)), rows, reshape(v, rows),
                            True, adds)
            return reshape(put, x.shape)
        return recorder(PUT)(x.shape, dtype=x.dtype, added=0b1010, x=x, index=index, v=v, owner=(8 * extent, 8),
                             outer=outer, count=index.size, extent=extent, inner=inner, adds=adds)


def getitem_array(array: np.ndarray, index: Any) -> np.ndarray:
    """NumPy indexing with tensors among the indices."""
    def plain(entry: Any) -> Any:
        return entry._array() if isinstance(entry, Tensor) else entry

    try:
        return np.asarray(array[tuple(plain(e) for e in index) if isinstance(index, tuple) else plain(index)])
    except IndexError as error:
        raise IndexRangeError(f"at: {error}") from None


_ = ArgumentError, lift_to, contiguous_strides, moveaxis
