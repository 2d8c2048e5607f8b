"""Functions and methods that only PyTorch has, under its names and with its arguments."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..engine.caller import user_line
from ..errors import ArgumentError, CaptureError, DtypeError, InPlaceError, ShapeError
from ..tape.state import state
from ..tensor.arrays import BOOL, FLOAT32, FLOAT64, INT64, on_cpu
from ..tensor.recording import as_tensor, astype
from ..tensor.tensor import Tensor, view
from . import constants, creation, elementwise, formulas, layout
from .algebra import det, inv, logdet, matrix_exp, matrix_power, multi_dot, pinv, slogdet
from .apply import as_given
from .elementwise import as_bool, clip, where
from .factorizations import cholesky_inverse, cholesky_solve
from .gathering import repeat, scatter_along, take_along_axis
from .indexing import At, take_axis
from .layout import broadcast_to, concatenate, one_axis, permute, reshape, unpack
from .linalg import matmul, outer
from .tongues import parts

__all__ = [
    "addmm", "baddbmm", "bmm", "cat", "chain_matmul", "cholesky_inverse", "cholesky_solve", "chunk", "clamp",
    "clamp_max", "clamp_min", "clone", "concat", "det", "div", "eq", "expand", "expand_as", "ge", "ger", "gt",
    "index_copy", "index_fill", "inverse", "le", "logdet", "lt", "masked_fill", "masked_scatter", "masked_select",
    "matrix_exp", "matrix_power", "mm", "movedim", "mul", "mv", "narrow", "ne", "neg", "numel", "pinverse", "pow",
    "repeat_interleave", "rsub", "slogdet", "sub", "swapdims", "t", "take_along_dim", "true_divide", "unbind",
    "unflatten",
]

# ------------------------------------------------------------------ other names

eq, ne, lt, le, gt, ge = (elementwise.equal, elementwise.not_equal, elementwise.less, elementwise.less_equal,
                          elementwise.greater, elementwise.greater_equal)
neg, mul = elementwise.negative, formulas.multiply
cat = concat = concatenate
movedim, swapdims = layout.moveaxis, layout.swapaxes
true_divide, pow = formulas.divide, elementwise.power
inverse, pinverse, ger = inv, pinv, outer


def numel(input: Any) -> int:
    """Number of elements."""
    return int(as_tensor(input).numel())


def _scaled(other: Any, alpha: float) -> Any:
    return other if alpha == 1 else alpha * as_tensor(other)


def sub(input: Any, other: Any, *, alpha: float = 1) -> Tensor:
    """``input - alpha other``."""
    return formulas.subtract(input, _scaled(other, alpha))


def rsub(input: Any, other: Any, *, alpha: float = 1) -> Tensor:
    """``other - alpha input``."""
    return formulas.subtract(other, _scaled(input, alpha))


def div(input: Any, other: Any, *, rounding_mode: str | None = None) -> Tensor:
    """``input / other``, rounded towards zero (``"trunc"``) or down (``"floor"``) if asked for."""
    if rounding_mode is None:
        return formulas.divide(input, other)
    if rounding_mode == "floor":
        return formulas.floor_divide(input, other)
    if rounding_mode == "trunc":
        a, b = as_given(as_tensor(input), other)
        if a.is_floating or a.dtype == BOOL or b.dtype == BOOL:
            return formulas.trunc(formulas.divide(a, b))
        return formulas.sign(a) * formulas.sign(b) * formulas.floor_divide(formulas.abs(a), formulas.abs(b))
    raise ArgumentError(f"div: rounding_mode must be None, 'floor' or 'trunc', not {rounding_mode!r}")


def clamp(input: Any, min: Any = None, max: Any = None) -> Tensor:
    """`clip` with PyTorch's names of the bounds, numbers or arrays."""
    return clip(input, min, max)


def clamp_min(input: Any, min: Any) -> Tensor:
    """`input`, not below `min`."""
    return clip(input, min, None)


def clamp_max(input: Any, max: Any) -> Tensor:
    """`input`, not above `max`."""
    return clip(input, None, max)


# ------------------------------------------------------------------ products


def _matrices(name: str, ndims: tuple[int, int], a: Any, b: Any) -> Tensor:
    a, b = as_given(a, b)
    if (a.ndim, b.ndim) != ndims:
        raise ShapeError(f"{name}: operands of {ndims[0]} and {ndims[1]} axes, not shapes {list(a.shape)} and "
                         f"{list(b.shape)}; matmul takes others")
    return matmul(a, b)


def mm(input: Any, mat2: Any) -> Tensor:
    """The product of two matrices, (n, m) and (m, p)."""
    return _matrices("mm", (2, 2), input, mat2)


def bmm(input: Any, mat2: Any) -> Tensor:
    """The products of two stacks of matrices, (b, n, m) and (b, m, p)."""
    a, b = as_given(input, mat2)
    if a.ndim == b.ndim == 3 and a.shape[0] != b.shape[0]:
        raise ShapeError(f"bmm: stacks of {a.shape[0]} and {b.shape[0]} matrices")
    return _matrices("bmm", (3, 3), a, b)


def mv(input: Any, vec: Any) -> Tensor:
    """The product of a matrix (n, m) and a vector (m,)."""
    return _matrices("mv", (2, 1), input, vec)


def addmm(input: Any, mat1: Any, mat2: Any, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """``beta input + alpha mat1 @ mat2``."""
    product = _scaled(mm(mat1, mat2), alpha)
    return product if beta == 0 else formulas.add(_scaled(input, beta), product)


def baddbmm(input: Any, batch1: Any, batch2: Any, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """``beta input + alpha batch1 @ batch2`` of stacks of matrices."""
    product = _scaled(bmm(batch1, batch2), alpha)
    return product if beta == 0 else formulas.add(_scaled(input, beta), product)


def chain_matmul(*matrices: Any) -> Tensor:
    """The product of several matrices, as `linalg.multi_dot`."""
    return as_tensor(matrices[0]) if len(matrices) == 1 else multi_dot(matrices)


def t(input: Any) -> Tensor:
    """The transpose of a matrix; vectors and numbers as they are. A view."""
    x = as_tensor(input)
    if x.ndim > 2:
        raise ShapeError(f"t: a tensor of at most 2 axes, not shape {list(x.shape)}; use mT or transpose(dim0, dim1)")
    return permute(x, tuple(reversed(range(x.ndim))))


# ------------------------------------------------------------------ layout


def expand(input: Any, *sizes: Any) -> Tensor:
    """`input` repeated along axes of extent 1, and along new ones in front; -1 keeps an extent.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.expand(tg.tensor([[1.0], [2.0]]), -1, 2)
    tensor([[1., 1.],
            [2., 2.]])
    """
    x = as_tensor(input)
    wanted = [int(n) for n in unpack(sizes)]
    new = len(wanted) - x.ndim
    if new < 0 or any(n == -1 for n in wanted[:new]):
        raise ShapeError(f"expand: {wanted} is no shape for a tensor of shape {list(x.shape)}: it has as many axes at "
                         "least, and -1 keeps one that there is")
    return broadcast_to(x, tuple(x.shape[d - new] if n == -1 else n for d, n in enumerate(wanted)))


def expand_as(input: Any, other: Any) -> Tensor:
    """`input` broadcast to the shape of `other`."""
    return expand(input, *other.shape)


def chunk(input: Any, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """At most so many parts of equal extent along an axis, of which the last may be shorter. Views."""
    x = as_tensor(input)
    n = x.shape[one_axis(dim, x.ndim, "chunk")]
    if chunks < 1:
        raise ArgumentError(f"chunk: {chunks} parts; at least one")
    return parts(x, max(-(-n // chunks), 1), dim) if n else (x,) * chunks


def unbind(input: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """The slices along an axis, without it. Views."""
    x = as_tensor(input)
    d = one_axis(dim, x.ndim, "unbind")
    return tuple(x[(slice(None),) * d + (k,)] for k in range(x.shape[d]))


def select(input: Any, dim: int, index: int) -> Tensor:
    """One slice along an axis, without it. A view."""
    x = as_tensor(input)
    return x[(slice(None),) * one_axis(dim, x.ndim, "select") + (index,)]


def narrow(input: Any, dim: int, start: int, length: int) -> Tensor:
    """`length` slices along an axis from `start` on. A view."""
    x = as_tensor(input)
    d = one_axis(dim, x.ndim, "narrow")
    start = int(start) + x.shape[d] * (start < 0)
    if length < 0 or not 0 <= start <= x.shape[d] - length:
        raise ShapeError(f"narrow: {length} elements from {start} on of axis {d} of {list(x.shape)}")
    return x[(slice(None),) * d + (slice(start, start + length),)]


def unflatten(input: Any, dim: int, sizes: Sequence[int]) -> Tensor:
    """One axis made several, of which one extent may be -1."""
    x = as_tensor(input)
    d = one_axis(dim, x.ndim, "unflatten")
    known = math.prod(n for n in sizes if n != -1)
    whole = [x.shape[d] // max(known, 1) if n == -1 else n for n in sizes]
    if math.prod(whole) != x.shape[d]:
        raise ShapeError(f"unflatten: extent {x.shape[d]} does not divide into {list(sizes)}")
    return reshape(x, (*x.shape[:d], *whole, *x.shape[d + 1:]))


def _unfold(self: Tensor, dimension: int, size: int, step: int) -> Tensor:
    """Windows of `size` elements along an axis, every `step`, along a new last axis; they may overlap."""
    d = one_axis(dimension, self.ndim, "unfold")
    n = self.shape[d]
    if not 0 <= size <= n or step < 1:
        raise ShapeError(f"unfold: windows of {size} every {step} along axis {d} of {list(self.shape)}")
    starts = np.arange(0, n - size + 1, step)
    index = Tensor(starts[:, None] + np.arange(size))
    taken = take_axis(self, index, d)  # a gather, as windows that overlap are no view that a gradient can add to
    return permute(taken, (*range(d + 1), *range(d + 2, taken.ndim), d + 1))


def repeat_interleave(input: Any, repeats: Any, dim: int | None = None, *, output_size: int | None = None) -> Tensor:
    """Each element, or each slice along an axis, so many times: `repeat`, as NumPy names it."""
    return repeat(input, repeats, dim)


def take_along_dim(input: Any, indices: Any, dim: int | None = None) -> Tensor:
    """Elements along an axis, by an index each; of the flattened array by default."""
    x, at = as_tensor(input), as_tensor(indices)
    return take_along_axis(x, reshape(at, (at.numel(),)) if dim is None else at, dim)


# ------------------------------------------------------------------ by mask and by index


def _over(name: str, x: Tensor, mask: Any) -> Tensor:
    """A mask as a bool tensor."""
    m = as_tensor(mask)
    if m.dtype != BOOL:
        raise DtypeError(f"{name}: the mask must be bool, not {m.dtype}")
    return m


def masked_fill(input: Any, mask: Any, value: Any) -> Tensor:
    """`value` where `mask` holds, which broadcasts, else `input`.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.masked_fill(tg.tensor([1.0, 2.0]), tg.tensor([True, False]), 0.0)
    tensor([0., 2.])
    """
    x = as_tensor(input)
    m = _over("masked_fill", x, mask)
    if not x.is_floating:
        fill = value if isinstance(value, Tensor) and value.is_symbolic else Tensor(constants.filling(
            "masked_fill", value._array() if isinstance(value, Tensor) else value, x.dtype))
        if fill.is_floating or x.dtype == BOOL != fill.dtype:
            raise DtypeError(f"{user_line()}: masked_fill of {x.dtype} by {fill.dtype} that depends on the recording's "
                             "inputs; convert one of them")
        return where(m, fill, x)
    return where(m, value, x)


def _places(name: str, x: Tensor, mask: Any) -> tuple[Tensor, np.ndarray]:
    """`x` broadcast with the mask, and the flat places where it holds."""
    m = _over(name, x, mask)
    if m.is_symbolic:
        raise CaptureError(f"{user_line()}: {name}: how many elements a mask selects that depends on the recording's "
                           "inputs is not known beforehand; use tg.where, or multiply by the mask")
    shape = np.broadcast_shapes(x.shape, m.shape)
    x = x if x.shape == shape else broadcast_to(x, shape)
    return x, np.flatnonzero(np.broadcast_to(m._array(), shape))


def masked_select(input: Any, mask: Any) -> Tensor:
    """The elements where `mask` holds, along one axis."""
    x, places = _places("masked_select", as_tensor(input), mask)
    return take_axis(reshape(x, (x.numel(),)), Tensor(places), 0)


def masked_scatter(input: Any, mask: Any, source: Any) -> Tensor:
    """A copy of `input` with the first elements of `source` where `mask` holds, one after the other."""
    x, s = as_given(input, source)
    whole, places = _places("masked_scatter", x, mask)
    if s.numel() < places.size:
        raise ShapeError(f"masked_scatter: the mask holds {places.size} times, source has {s.numel()} elements")
    flat = reshape(whole, (whole.numel(),))
    return reshape(At(flat)[places].set(reshape(s, (s.numel(),))[:places.size]), whole.shape)


def _row_index(name: str, x: Tensor, index: Any) -> Tensor:
    at = as_tensor(index)
    if at.dtype != INT64 or at.ndim > 1:
        raise DtypeError(f"{name}: the index must be integers along one axis, not {at.dtype} of shape {list(at.shape)}")
    return reshape(at, (at.numel(),))


def _written(name: str, input: Any, dim: int, index: Any, source: Any) -> Tensor:
    x, s = as_given(input, source)
    at = _row_index(name, x, index)
    d = one_axis(dim, x.ndim, name)
    shape = (*x.shape[:d], at.numel(), *x.shape[d + 1:])
    if s.ndim and s.shape != shape:
        raise ShapeError(f"{name}: source has shape {list(s.shape)}; expected {list(shape)}")
    extents = [at.numel() if k == d else 1 for k in range(x.ndim)]
    at = view(at, 0, tuple(extents), tuple([int(k == d) for k in range(x.ndim)]))
    return scatter_along(x, d, at, shape, s, True, False)


def index_copy(input: Any, dim: int, index: Any, source: Any) -> Tensor:
    """A copy of `input` with the slices of `source` at the indices along an axis."""
    return _written("index_copy", input, dim, index, source)


def index_fill(input: Any, dim: int, index: Any, value: Any) -> Tensor:
    """A copy of `input` with a number in the slices at the indices along an axis."""
    if isinstance(value, Tensor) and value.ndim:
        raise ShapeError(f"index_fill: value is a number, not of shape {list(value.shape)}")
    return _written("index_fill", input, dim, index, value)


# ------------------------------------------------------------------ copies and conversions


def clone(input: Any) -> Tensor:
    """A copy, with its history."""
    return creation.tensor(input)


def _to(self: Tensor, *args: Any, dtype: Any = None, device: Any = None, non_blocking: bool = False,
        copy: bool = False) -> Tensor:
    """In another dtype; a device can only be the CPU.

    ``x.to(dtype)``, ``x.to("cpu")``, ``x.to("cpu", dtype)``, ``x.to(other)``.
    """
    for given in args:
        if isinstance(given, bool):
            continue
        if isinstance(given, Tensor):
            dtype = given.dtype
        elif isinstance(given, str) and not _is_dtype(given) or hasattr(given, "type") and hasattr(given, "index"):
            device = given
        elif given is not None:
            dtype = given
    on_cpu(device)
    converted = self if dtype is None else astype(self, dtype)
    return clone(self) if copy and converted is self else converted


def _is_dtype(name: str) -> bool:
    try:
        return np.dtype(name) is not None
    except TypeError:
        return False


def _repeat(self: Tensor, *sizes: Any, repeats: Any = None, axis: Any = None) -> Tensor:
    """NumPy's with ``axis=`` or one number; PyTorch's, of the whole tensor, with three or more."""
    given = unpack(sizes) if repeats is None else (repeats,)
    if axis is not None or len(sizes) == 1 and not isinstance(sizes[0], (tuple, list)) or repeats is not None:
        return repeat(self, given[0], axis)
    if len(sizes) == 2:
        raise ArgumentError(f"repeat: {given} is NumPy's number and axis, or PyTorch's number of each axis; write "
                            f"repeat({given[0]}, axis={given[1]}) or tile({given})")
    return layout.tile(self, given)


def _in_place(function: Callable, name: str) -> Callable:
    """``x.add_(y)``: where nothing is recorded, for a replay or a gradient would not know of it."""

    def method(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if state.capture is not None:
            raise InPlaceError(f"{user_line()}: {name}_ changes a tensor in place, which a replay would not do again; "
                               f"write x = x.{name}(...)")
        recorded = any(isinstance(a, Tensor) and a.requires_grad for a in (self, *args, *kwargs.values()))
        if state.grad_enabled and recorded:
            raise InPlaceError(f"{user_line()}: {name}_ changes a tensor in place, which has no gradient; write "
                               f"x = x.{name}(...), or do so under tg.no_grad()")
        result = function(self, *args, **kwargs)
        if not isinstance(result, Tensor) or result.shape != self.shape:
            raise ShapeError(f"{name}_: a result of shape {list(result.shape)} does not fit {list(self.shape)}")
        if "bif".index(result.dtype.kind) > "bif".index(self.dtype.kind):
            raise DtypeError(f"{user_line()}: {name}_: a result of {result.dtype} would be cut to {self.dtype}; write "
                             f"x = x.{name}(...)")
        return self.copy_(result.detach())

    method.__name__ = method.__qualname__ = f"{name}_"
    method.__doc__ = f"`{name}` in place; raises where it is recorded."
    return method


def _fill(self: Tensor, value: Any) -> Tensor:
    return constants.full_like(self, value.item() if isinstance(value, Tensor) else value)


IN_PLACE = """abs add ceil clamp clamp_max clamp_min clip copysign div divide exp floor fmod index_add index_copy
index_fill log masked_fill masked_scatter mul multiply neg negative pow reciprocal remainder round rsqrt scatter
scatter_add sigmoid sign sin sqrt square sub subtract tanh trunc tril triu lerp addcmul addcdiv nan_to_num cos relu
"""


def methods(functions: dict[str, Callable]) -> dict[str, Any]:
    """Methods that are no functions of their own, by name."""
    found: dict[str, Any] = {
        "to": _to, "cpu": lambda self: self, "float": lambda self: astype(self, FLOAT32),
        "double": lambda self: astype(self, FLOAT64), "long": lambda self: astype(self, INT64),
        "int": lambda self: astype(self, INT64), "bool": as_bool,
        "type_as": lambda self, other: astype(self, other.dtype),
        "unfold": _unfold, "repeat": _repeat, "view_as": lambda self, other: reshape(self, other.shape),
        "reshape_as": lambda self, other: reshape(self, other.shape),
        "is_floating_point": lambda self: self.is_floating, "element_size": lambda self: self.dtype.itemsize,
        "new_zeros": lambda self, *size, dtype=None: constants.zeros(*size, dtype=dtype or self.dtype),
        "new_ones": lambda self, *size, dtype=None: constants.ones(*size, dtype=dtype or self.dtype),
        "new_full": lambda self, size, fill_value: constants.full(size, fill_value, dtype=self.dtype),
        "new_tensor": lambda self, data: creation.tensor(data, dtype=self.dtype),
        "fill_": _in_place(_fill, "fill"), "zero_": _in_place(lambda self: constants.zeros_like(self), "zero"),
    }
    found.update({f"{name}_": _in_place(functions[name], name) for name in IN_PLACE.split() if name in functions})
    return found


