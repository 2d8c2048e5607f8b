"""Integers and bool by NumPy's rules: computed at once, or recorded where they depend on a recording's inputs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from ..engine.storage import contiguous_strides
from ..errors import ShapeError
from ..ops.integers import (
    ARGEXTREME_INT64,
    ARGSORT_INT64,
    BOOL_TO_INT64,
    GATHER_INT64,
    INT64_TO_BOOL,
    INTEGERS,
    REDUCED,
    RUNNING_EXTREME_INT64,
    SCANNED,
    SCATTER_INT64,
    TAKE_INT64,
    WHERE_INT64,
)
from ..ops.nest import broadcast_strides, indexed_strides, nest
from ..tape.state import state
from ..tensor.arrays import BOOL, INT64, foreign_array, native
from ..tensor.recording import common_dtype, gathered, recorder
from ..tensor.tensor import Tensor, fixed, view

_ALIASES = {"fmax": "maximum", "fmin": "minimum"}
_COMPARISONS = {"equal", "greater", "greater_equal", "less", "less_equal", "not_equal"}


@lru_cache(maxsize=4096)
def broadcast_shape(op: str, *shapes: tuple[int, ...]) -> tuple[int, ...]:
    """The common shape of operands, or a `ShapeError` that names them."""
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        given = " and ".join(str(list(s)) for s in shapes)
        raise ShapeError(f"{op}: shapes {given} do not broadcast: aligned at the right, each pair of extents must be "
                         "equal or one of them 1") from None


@lru_cache(maxsize=1024, typed=True)
def _number(value: int) -> Tensor:
    return fixed(Tensor(native(np.asarray(value))))


def integers(*values: Any) -> list[Tensor] | None:
    """Tensors of integers and bool, where all operands are of those, be they arrays, lists or numbers; else None."""
    for value in values:  # before any is converted
        if isinstance(value, Tensor) and value.dtype.kind == "f":
            return None
    found = []
    for value in values:
        v = gathered(value)
        if isinstance(v, Tensor):
            if v.dtype.kind == "f":
                return None
            found.append(v)
        elif isinstance(v, float):
            return None
        else:
            array = foreign_array(v)
            if array.dtype.kind not in "iub":
                return None
            found.append(_number(v) if type(v) in (int, bool) else Tensor(native(array)))
    return found


def recorded(*tensors: Tensor) -> bool:
    """Whether one of them has no value yet, so that the result has to be recorded."""
    return any([t.buffer is None for t in tensors])


# ------------------------------------------------------------------ conversions


def to_int64(t: Tensor) -> Tensor:
    """A bool tensor as 0 and 1; integers as they are."""
    if t.dtype == INT64:
        return t
    if state.capture is None and not recorded(t):
        return Tensor(t._array().astype(INT64))
    return recorder(BOOL_TO_INT64)(t.shape, dtype=common_dtype(()), out_dtype=INT64, x=t,
                                   nest=nest(t.shape, (t.strides,)))


def to_bool(t: Tensor) -> Tensor:
    """Whether integers are not 0; a bool tensor as it is."""
    if t.dtype == BOOL:
        return t
    if state.capture is None and not recorded(t):
        return Tensor(t._array() != 0)
    return recorder(INT64_TO_BOOL)(t.shape, dtype=common_dtype(()), out_dtype=BOOL, x=t,
                                   nest=nest(t.shape, (t.strides,)))


def _as(dtype: np.dtype, t: Tensor) -> Tensor:
    return to_bool(t) if dtype == BOOL else t


def _whole(*tensors: Tensor) -> tuple[list[Tensor], np.dtype]:
    """As int64, and the dtype that NumPy gives what holds them all."""
    return [to_int64(t) for t in tensors], np.result_type(*(t.dtype for t in tensors))


# ------------------------------------------------------------------ elementwise


def exactly(name: str, *tensors: Tensor) -> Tensor:
    """NumPy's elementwise function of this name, of operands that are all of integers or bool."""
    of_arrays = getattr(np, name)
    if not recorded(*tensors):
        return Tensor(of_arrays(*(t._array() for t in tensors)))
    if name == "power" and not recorded(tensors[1]):
        np.power(1, tensors[1]._array())  # raises for a negative one
    dtype = native(np.asarray(of_arrays(*(np.ones((), t.dtype) for t in tensors)))).dtype
    return _as(dtype, _elementwise(_ALIASES.get(name, name), tensors))


def _elementwise(name: str, tensors: Sequence[Tensor]) -> Tensor:
    whole = [to_int64(t) for t in tensors]
    shape = broadcast_shape(name, *(t.shape for t in whole))
    loops = nest(shape, tuple([broadcast_strides(t.shape, t.strides, shape) for t in whole]))
    return recorder(INTEGERS[name])(shape, dtype=common_dtype(()), nest=loops,
                                    out_dtype=BOOL if name in _COMPARISONS else INT64,
                                    **dict(zip(("x",) if len(whole) == 1 else ("a", "b"), whole)))


def where(condition: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """`a` where a bool tensor holds, else `b`."""
    shape = broadcast_shape("where", condition.shape, a.shape, b.shape)
    if not recorded(condition, a, b):
        return Tensor(np.where(*(t._array() for t in (condition, a, b))))
    (u, v), dtype = _whole(a, b)
    strides = tuple([broadcast_strides(t.shape, t.strides, shape) for t in (condition, u, v)])
    return _as(dtype, recorder(WHERE_INT64)(shape, dtype=common_dtype(()), out_dtype=INT64, condition=condition, u=u,
                                            v=v, nest=nest(shape, strides)))


# ------------------------------------------------------------------ by index


def taken(x: Tensor, index: Tensor, axis: int, shape: tuple[int, ...]) -> Tensor:
    """Slices along an axis by an index, one of which is recorded."""
    return _as(x.dtype, recorder(TAKE_INT64)(
        shape, dtype=common_dtype(()), out_dtype=INT64, x=to_int64(x), index=index, outer=math.prod(x.shape[:axis]),
        count=index.size, extent=x.shape[axis], inner=math.prod(x.shape[axis + 1:])))


def over(t: Tensor, shape: tuple[int, ...]) -> Tensor:
    """A view of a tensor over a shape, repeated where it is shorter."""
    return t if t.shape == shape else view(t, 0, shape, broadcast_strides(t.shape, t.strides, shape))


def gathered_along(x: Tensor, d: int, index: Tensor, shape: tuple[int, ...], wraps: bool) -> Tensor:
    """`gathering.gather_along` of integers, by an index over `shape`."""
    whole = to_int64(x)
    loops = nest(shape, (indexed_strides(whole.shape, whole.strides, d, shape), index.strides))
    return _as(x.dtype, recorder(GATHER_INT64)(shape, dtype=common_dtype(()), out_dtype=INT64, x=whole, index=index,
                                               extent=x.shape[d], stride=whole.strides[d], axis=d, wraps=wraps,
                                               nest=loops))


def scattered(x: Tensor, d: int, index: Tensor, shape: tuple[int, ...], s: Tensor, wraps: bool, adds: bool) -> Tensor:
    """`gathering.scatter_along` of integers, one operand of which is recorded."""
    whole, index, source = to_int64(x), over(index, shape), over(to_int64(s), shape)
    kept = contiguous_strides(x.shape)
    loops = nest(shape, (indexed_strides(x.shape, kept, d, shape), index.strides, source.strides))
    y = recorder(SCATTER_INT64)(x.shape, dtype=common_dtype(()), out_dtype=INT64, x=whole, index=index, s=source,
                                elements=x.size, extent=x.shape[d], stride=kept[d], axis=d, wraps=wraps, adds=adds,
                                nest=loops)
    return _as(np.result_type(x.dtype, s.dtype), y)


# ------------------------------------------------------------------ rows


def reduced(name: str, rows: Tensor, shape: tuple[int, ...]) -> Tensor:
    """sum, prod, max or min over the last axes of a recorded tensor, of which `shape` is left."""
    count = math.prod(shape)
    y = recorder(REDUCED[name])(shape, dtype=common_dtype(()), out_dtype=INT64, x=to_int64(rows), rows=count,
                                n=rows.size // count if count else 0)
    return _as(rows.dtype, y) if name in ("max", "min") else y


def scanned(name: str, rows: Tensor) -> Tensor:
    """cumsum or cumprod along the last axis of a recorded tensor."""
    n = rows.shape[-1]
    return recorder(SCANNED[name])(rows.shape, dtype=common_dtype(()), out_dtype=INT64, x=to_int64(rows),
                                   rows=rows.size // n if n else 0, n=n)


def extreme_places(name: str, rows: Tensor, shape: tuple[int, ...]) -> Tensor:
    """argmax or argmin along the last axis of a recorded tensor."""
    return recorder(ARGEXTREME_INT64)(shape, dtype=common_dtype(()), out_dtype=INT64, x=to_int64(rows),
                                      rows=math.prod(rows.shape[:-1]), n=rows.shape[-1], greatest=name == "argmax")


def running_places(rows: Tensor, greatest: bool) -> Tensor:
    """Where the greatest or least so far stands, along the last axis of a recorded tensor."""
    return recorder(RUNNING_EXTREME_INT64)(rows.shape, dtype=common_dtype(()), out_dtype=INT64, x=to_int64(rows),
                                           rows=math.prod(rows.shape[:-1]), n=rows.shape[-1], greatest=greatest)


def order(rows: Tensor, descending: bool) -> Tensor:
    """Indices that sort along the last axis of a recorded tensor."""
    n = rows.shape[-1]
    return recorder(ARGSORT_INT64)(rows.shape, dtype=common_dtype(()), out_dtype=INT64, x=to_int64(rows),
                                   scratch=(8 * max(n, 1), 8), rows=math.prod(rows.shape[:-1]), n=n,
                                   descending=descending)
