"""Shapes and layouts. Reshapes of contiguous arrays, transposes, slices and splits are views."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..engine.storage import contiguous_strides
from ..errors import ArgumentError, IndexRangeError, ShapeError
from ..ops.elementwise import UNARY
from ..ops.layout import JOINED
from ..ops.nest import broadcast_strides, nest
from ..tensor.arrays import BOOL
from ..tensor.recording import as_tensor, joined, lift, recorder
from ..tensor.tensor import Tensor, view
from .elementwise import contiguous
from .integers import integers, recorded, to_bool, to_int64

__all__ = [
    "broadcast_to", "concatenate", "expand_dims", "flatten", "flip", "moveaxis", "permute", "ravel",
    "reshape", "stack", "swapaxes", "tile", "transpose", "unsqueeze",
]


def one_axis(axis: int, ndim: int, op: str) -> int:
    """A non-negative axis number, or an error that names the op."""
    if not isinstance(axis, (int, np.integer)):
        raise ArgumentError(f"{op}: an axis is an integer, not {axis!r}")
    if not -ndim <= axis < ndim:
        raise IndexRangeError(f"{op}: axis {axis} is out of range for a tensor of {ndim} axes")
    return int(axis) % ndim


def unpack(arguments: tuple) -> tuple:
    """The arguments of ``f(2, 3)`` and ``f((2, 3))`` alike."""
    return tuple(arguments[0]) if len(arguments) == 1 and isinstance(arguments[0], (tuple, list)) else arguments


def reshape(x: Any, *shape: int | Sequence[int], order: str = "C") -> Tensor:
    """`x` in another shape of equal size; one extent may be -1. A view where `x` is contiguous.

    Elements are read and written in C order, the last index moving fastest, or with ``order="F"`` the first.
    """
    x = as_tensor(x)
    if order != "C":
        return _reshaped_by(order, x, unpack(shape))
    wanted = [int(n) for n in unpack(shape)]
    if wanted.count(-1) > 1 or any(n < -1 for n in wanted):
        raise ShapeError(f"reshape: {wanted} is not a shape; at most one extent may be -1")
    if -1 in wanted:
        known = math.prod(n for n in wanted if n != -1)
        if known == 0 or x.size % known:
            raise ShapeError(f"reshape: {list(x.shape)} ({x.size} elements) does not divide into {wanted}")
        wanted[wanted.index(-1)] = x.size // known
    if math.prod(wanted) != x.size:
        raise ShapeError(f"reshape: {list(x.shape)} has {x.size} elements, {wanted} has {math.prod(wanted)}")
    x = contiguous(x)
    return view(x, 0, tuple(wanted), contiguous_strides(tuple(wanted)))


def _reshaped_by(order: str, x: Tensor, shape: tuple) -> Tensor:
    """`reshape` in another order than C's."""
    if order == "F":
        return transpose(reshape(transpose(x), tuple(reversed(shape))))
    if order not in ("A", "K"):
        raise ArgumentError(f"reshape: order is 'C' or 'F', not {order!r}")
    if not x.is_contiguous:
        raise ArgumentError(f"reshape: order {order!r} asks for that in memory, which is not said of a view; write "
                            "order='C' or order='F'")
    return reshape(x, *shape)


def permute(x: Any, *axes: int | Sequence[int], dims: Sequence[int] | None = None) -> Tensor:
    """Axes in another order; a view. `dims` is PyTorch's name of the order."""
    x = as_tensor(x)
    axes = axes if dims is None else (dims,)
    order = [one_axis(a, x.ndim, "permute") for a in unpack(axes)]
    if sorted(order) != list(range(x.ndim)):
        raise ArgumentError(f"permute: {list(unpack(axes))} is no permutation of {x.ndim} axes")
    return view(x, 0, tuple([x.shape[d] for d in order]), tuple([x.strides[d] for d in order]))


def transpose(x: Any, *order: Any, axes: Any = None, dim0: int | None = None, dim1: int | None = None) -> Tensor:
    """Axes reversed, or in the order that a tuple gives (NumPy); a view. Two integers are swapped (PyTorch).

    `axes` is NumPy's name of the tuple, `dim0` and `dim1` are PyTorch's of the two.
    """
    x = as_tensor(x)
    if dim0 is not None or dim1 is not None:
        order = (*order, *(d for d in (dim0, dim1) if d is not None))
    elif axes is not None:
        order = (tuple(axes),)
    given = unpack(order)
    if len(given) == 0 or given == (None,):
        return permute(x, tuple(reversed(range(x.ndim))))
    if len(order) == 2 and not (x.ndim == 2 and order[0] == order[1]):  # naming an axis twice is a mistake
        return swapaxes(x, *given)
    return permute(x, given)


def swapaxes(x: Any, axis1: int, axis2: int) -> Tensor:
    """Two axes swapped; a view."""
    x = as_tensor(x)
    order = list(range(x.ndim))
    a, b = one_axis(axis1, x.ndim, "swapaxes"), one_axis(axis2, x.ndim, "swapaxes")
    order[a], order[b] = order[b], order[a]
    return permute(x, order)


def moveaxis(x: Any, source: int | Sequence[int], destination: int | Sequence[int]) -> Tensor:
    """Axes moved to other positions, one or as many as the sequences have; a view."""
    x = as_tensor(x)
    froms, tos = ([one_axis(a, x.ndim, "moveaxis") for a in (axes if isinstance(axes, (tuple, list)) else (axes,))]
                  for axes in (source, destination))
    if not len(froms) == len(tos) == len(set(froms)) == len(set(tos)):
        raise ArgumentError(f"moveaxis: {source} and {destination} must be as many axes, none of them twice")
    order = [d for d in range(x.ndim) if d not in froms]
    for b, a in sorted(zip(tos, froms)):
        order.insert(b, a)
    return permute(x, order)


def flatten(x: Any, start_dim: int | str = 0, end_dim: int = -1, *, order: str = "C") -> Tensor:
    """Axes `start_dim` to `end_dim` merged into one; or all, in NumPy's `order`, which may stand first: ``"F"``."""
    if isinstance(start_dim, str) or order != "C":
        return ravel(x, start_dim if isinstance(start_dim, str) else order)
    x = as_tensor(x)
    if x.ndim == 0:
        return reshape(x, 1)
    a, b = one_axis(start_dim, x.ndim, "flatten"), one_axis(end_dim, x.ndim, "flatten")
    if a > b:
        raise ArgumentError(f"flatten: start_dim {start_dim} lies behind end_dim {end_dim}")
    return reshape(x, (*x.shape[:a], math.prod(x.shape[a:b + 1]), *x.shape[b + 1:]))


def ravel(x: Any, order: str = "C") -> Tensor:
    """All elements along one axis; `order` as of `reshape`."""
    return reshape(x, as_tensor(x).size, order=order)


def squeeze(x: Any, axis: int | Sequence[int] | None = None) -> Tensor:
    """Without axes of extent 1: all of them, or the given ones; a view."""
    x = as_tensor(x)
    if axis is None:
        drop = {d for d, n in enumerate(x.shape) if n == 1}
    else:
        drop = {one_axis(a, x.ndim, "squeeze") for a in (axis if isinstance(axis, (tuple, list)) else (axis,))}
        for d in drop:
            if x.shape[d] != 1:
                raise ShapeError(f"squeeze: axis {d} of {list(x.shape)} has extent {x.shape[d]}, not 1; PyTorch's, "
                                 f"which leaves it, is squeeze(dim={d})")
    keep = [d for d in range(x.ndim) if d not in drop]
    return view(x, 0, tuple(x.shape[d] for d in keep), tuple(x.strides[d] for d in keep))


def expand_dims(x: Any, axis: int | Sequence[int] | None = None, *, dim: int | None = None) -> Tensor:
    """With new axes of extent 1 at the positions `axis` of the result; a view."""
    x = as_tensor(x)
    chosen = axis if axis is not None else dim
    if chosen is None:
        raise ArgumentError("expand_dims: say where the new axis goes")
    places = chosen if isinstance(chosen, (tuple, list)) else (chosen,)
    ndim = x.ndim + len(places)
    new = {one_axis(a, ndim, "expand_dims") for a in places}
    if len(new) != len(places):
        raise ArgumentError(f"expand_dims: an axis is named twice in {places}")
    old = iter(range(x.ndim))
    sources = [None if d in new else next(old) for d in range(ndim)]
    return view(x, 0, tuple(1 if d is None else x.shape[d] for d in sources),
                tuple(0 if d is None else x.strides[d] for d in sources))


unsqueeze = expand_dims


def broadcast_to(x: Any, *shape: int | Sequence[int]) -> Tensor:
    """`x` repeated to a shape, as NumPy broadcasts; a copy."""
    x = as_tensor(x)
    to = tuple(int(n) for n in unpack(shape))
    try:
        fits = np.broadcast_shapes(x.shape, to) == to
    except ValueError:
        fits = False
    if not fits:
        raise ShapeError(f"broadcast_to: {list(x.shape)} does not broadcast to {list(to)}")
    strides = broadcast_strides(x.shape, x.strides, to)
    repeated = Tensor._made(x.buffer, x.offset, to, strides, x.dtype, x.node, x.requires_grad)
    if not x.is_floating:
        return Tensor(repeated._array()) if not x.is_symbolic else contiguous(repeated)
    return recorder(UNARY["copy"])(to, dtype=x.dtype, x=repeated, p=0.0, q=0.0, nest=nest(to, (strides,)), added=2,
                                   summed=2)


def tile(x: Any, *reps: int | Sequence[int], dims: Sequence[int] | None = None) -> Tensor:
    """The whole of `x` so many times along each axis, as ``numpy.tile``; `dims` is PyTorch's name of the numbers.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.tile(tg.tensor([1.0, 2.0]), 2)
    tensor([1., 2., 1., 2.])
    """
    x = as_tensor(x)
    times = [int(n) for n in (unpack(reps) if dims is None else dims)]
    ndim = max(len(times), x.ndim)
    shape, times = (1,) * (ndim - x.ndim) + x.shape, [1] * (ndim - len(times)) + times
    if any(n < 0 for n in times):
        raise ShapeError(f"tile: {times} times; not a number of times")
    one = reshape(x, tuple(n for extent in shape for n in (1, extent)))
    whole = broadcast_to(one, tuple(n for extent, k in zip(shape, times) for n in (k, extent)))
    return reshape(whole, tuple(extent * k for extent, k in zip(shape, times)))


def together(arrays: Sequence[Any], op: str) -> list[Tensor]:
    """Arrays as tensors of one dtype."""
    if isinstance(arrays, Tensor):
        arrays = list(arrays)
    if len(arrays) == 0:
        raise ArgumentError(f"{op}: needs at least one array")
    if (exact := integers(*arrays)) is not None:
        return exact
    return lift(*arrays)


def concatenate(arrays: Sequence[Any], axis: int | None = 0, *, dim: int | None = None) -> Tensor:
    """Arrays joined along an existing axis; flattened first if `axis` is None."""
    parts = together(arrays, "concatenate")
    if dim is not None:
        axis = dim
    if axis is None:
        parts, axis = [ravel(p) for p in parts], 0
    first = parts[0]
    if first.ndim == 0:
        raise ShapeError("concatenate: 0-d arrays have no axis to join along; use stack")
    d = one_axis(axis, first.ndim, "concatenate")
    for p in parts:
        if p.ndim != first.ndim or p.shape[:d] + p.shape[d + 1:] != first.shape[:d] + first.shape[d + 1:]:
            shapes = ", ".join(str(list(q.shape)) for q in parts)
            raise ShapeError(f"concatenate: shapes {shapes} differ in another axis than {d}")
    if not first.is_floating:
        if not recorded(*parts):
            return Tensor(np.concatenate([p._array() for p in parts], d))
        if any(p.dtype == BOOL for p in parts):
            whole = concatenate([to_int64(p) for p in parts], d)
            return to_bool(whole) if all(p.dtype == BOOL for p in parts) else whole
    while len(parts) > JOINED:
        parts = [concatenate(parts[k:k + JOINED], d) for k in range(0, len(parts), JOINED)]
    if len(parts) == 1:
        return parts[0] + 0.0 if len(arrays) == 1 and parts[0].is_floating else parts[0]
    return joined(parts, d)


def stack(arrays: Sequence[Any], axis: int = 0, *, dim: int | None = None) -> Tensor:
    """Arrays of one shape joined along a new axis."""
    parts = together(arrays, "stack")
    shape = parts[0].shape
    if any(p.shape != shape for p in parts):
        raise ShapeError("stack: shapes " + ", ".join(str(list(p.shape)) for p in parts) + " differ")
    d, are_floats = one_axis(axis if dim is None else dim, len(shape) + 1, "stack"), parts[0].dtype.kind == "f"
    if not are_floats and not recorded(*parts):
        return Tensor(np.stack([p._array() for p in parts], d))
    one = (*shape[:d], 1, *shape[d:])
    parts = [view(contiguous(p), 0, one, contiguous_strides(one)) for p in parts]
    return joined(parts, d) if 1 < len(parts) <= JOINED and are_floats else concatenate(parts, d)


def split(x: Any, indices_or_sections: int | Sequence[int], axis: int = 0) -> list[Tensor]:
    """Parts along an axis, as ``numpy.split``: a number of equal parts, or the indices of the cuts. Views."""
    x = as_tensor(x)
    d = one_axis(axis, x.ndim, "split")
    n = x.shape[d]
    if isinstance(indices_or_sections, (int, np.integer)):
        sections = int(indices_or_sections)
        if sections <= 0 or n % sections:
            raise ShapeError(f"split: extent {n} does not divide into {sections} equal parts; for parts of "
                             f"{sections} elements write split({sections}, dim={d}), as PyTorch's")
        cuts = list(range(n // sections, n, n // sections)) if n else [0] * (sections - 1)
    else:
        cuts = [int(c) for c in indices_or_sections]
    edges = [0, *cuts, n]
    return [x[(slice(None),) * d + (slice(a, max(a, b) if b >= 0 else b),)] for a, b in zip(edges, edges[1:])]


def flip(x: Any, *axes: int | Sequence[int] | None, axis: Any = None, dims: Any = None) -> Tensor:
    """Elements reversed along axes, all of them by default; a view. `axis` and `dims` are their names."""
    x = as_tensor(x)
    named = axis if axis is not None else dims
    chosen = unpack(axes) if axes and axes != (None,) else named
    places = range(x.ndim) if chosen is None else chosen if isinstance(chosen, (tuple, list)) else (chosen,)
    reverse = {one_axis(a, x.ndim, "flip") for a in places}
    return x[tuple(slice(None, None, -1) if d in reverse else slice(None) for d in range(x.ndim))]
