"""Products of what has the axis of a batch and of what has not: the factors without it are multiplied first.

A derivative of elementwise functions is a chain of such products, ``(V u) w`` with directions V and slopes u, w. As
``V (u w)`` it takes one pass over the batch in place of one a slope. Likewise constants are added up first, for what is
linear in a function is constant in its derivative: ``(C + V) - D`` is ``V + (C - D)``. And where unit vectors are the
directions, what a matrix makes of them is the matrix itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from ..engine.storage import contiguous_strides
from ..functions.elementwise import negative
from ..functions.formulas import add, multiply, square, subtract
from ..functions.layout import swapaxes
from ..ops.elementwise import BINARY, UNARY
from ..ops.linalg import LINEAR, LONG_LINEAR, LONG_MATMUL, MATMUL
from ..ops.table import Op
from ..tape.state import state
from ..tensor.tensor import Tensor
from .batching import aligned
from .steps import Attributes, elements_of
from .trace import Call, Trace


def _forms(op: Op) -> set[Op | None]:
    return {op, op.scalar, op.summed, op.blocked}


_MULTIPLY, _ADD, _SUBTRACT = (_forms(BINARY[name]) for name in ("multiply", "add", "subtract"))
_NEGATIVE = _forms(UNARY["negative"])
_SCALED, _TANH_SLOPE = _forms(BINARY["scaled_product"]), _forms(BINARY["tanh_slope"])
_PRODUCTS = _MULTIPLY | _SCALED | _TANH_SLOPE
_KEPT = _PRODUCTS | _ADD | _SUBTRACT | _NEGATIVE
_LINEAR, _MATRICES = {LINEAR, LONG_LINEAR}, {LINEAR, LONG_LINEAR, MATMUL, LONG_MATMUL}


class Product(NamedTuple):
    """`batched` times `scale`, which has no axis for the batch, of `shape` for one."""

    batched: Tensor
    scale: Tensor
    shape: tuple[int, ...]

    def computed(self) -> Tensor:
        """The product for each of the batch."""
        return multiply(aligned(self.batched, True, len(self.shape)), self.scale)


class Sum(NamedTuple):
    """`constant`, which does not depend on what the recording is given, plus `batched`, or minus it."""

    batched: Tensor
    constant: Tensor
    shape: tuple[int, ...]
    negated: bool = False

    def computed(self) -> Tensor:
        """The sum for each of the batch."""
        return subtract(self.constant, self.batched) if self.negated else add(self.batched, self.constant)


class Products:
    """Those results of a trace that are such a product or sum, not computed until they are asked for.

    Parameters
    ----------
    trace : Trace
        Of one of the batch.
    seen : callable
        The value of a tensor of the trace, and whether it has the axis.
    size : int
        Of the batch.
    units : tuple of int, optional
        A variable that is a unit vector, those of the batch in order, and the number of the first.
    """

    def __init__(self, trace: Trace, seen: Callable[[Tensor], tuple[Tensor, bool]], size: int,
                 units: tuple[int, int] | None) -> None:
        self._trace, self._seen, self._size = trace, seen, size
        self._unit, self._first = units or (-1, 0)
        self._found: dict[int, Product | Sum] = {}

    def column(self, call: Call) -> Tensor | None:
        """The result for each of the batch of a product of a matrix with a unit vector: some rows of the matrix."""
        if self._unit < 0 or call.op not in _MATRICES or call.variable in self._trace.given:
            return None
        a, b = call.inputs[:2]
        if call.op in _LINEAR:
            return self._rows(b, True) if self._is_unit(a) and not _has_bias(call) else None
        return (self._rows(b, False) if self._is_unit(a) and b.ndim == 2 else
                self._rows(a, True) if self._is_unit(b) and a.ndim == 2 else None)

    def _rows(self, t: Tensor, transposed: bool) -> Tensor | None:
        """The rows of a matrix, or its columns, that belong to the unit vectors."""
        matrix, has_axis = self._seen(t)
        if has_axis:
            return None
        matrix = swapaxes(matrix, 0, 1) if transposed else matrix
        return matrix[self._first:self._first + self._size]

    def _is_unit(self, t: Tensor) -> bool:
        """Whether a tensor is the unit vector, perhaps as a row or a column."""
        return (self._trace.owns(t) and t.node.variable == self._unit
                and max(t.shape, default=0) == t.size == elements_of(t))

    def pop(self, variable: int) -> Product | Sum | None:
        """What a variable is, if it is one of these and has not been computed."""
        return self._found.pop(variable, None)

    def takes(self, call: Call) -> bool:
        """Whether the result of a call is one of these; it is kept then."""
        found = self._of(call) if call.variable not in self._trace.given else None
        if found is not None:
            self._found[call.variable] = found
        return found is not None

    def _of(self, call: Call) -> Product | Sum | None:
        if call.op not in _KEPT or all([self._is_known(t) for t in call.inputs]):
            return None
        if call.op in _PRODUCTS:
            return self._multiplied(call)
        if call.op in _NEGATIVE:
            x = self._kept(call.inputs[0])
            if isinstance(x, Sum):
                return Sum(x.batched, negative(x.constant), call.shape, not x.negated)
            return None if x is None else Product(x.batched, negative(x.scale), call.shape)
        return self._added(call, add if call.op in _ADD else subtract)

    def _added(self, call: Call, plus: Callable) -> Product | Sum | None:
        """Of a sum, or with `plus` a difference, of two."""
        (x, y), minus = call.inputs, plus is subtract
        if not x.shape == y.shape == call.shape:
            return None
        a, b = self._kept(x), self._kept(y)
        if isinstance(a, Product) and isinstance(b, Product):
            return Product(a.batched, plus(a.scale, b.scale), call.shape) if _same(a.batched, b.batched) else None
        left, right = self._constant(x), self._constant(y)
        if right is not None:
            if isinstance(a, Sum):
                return a._replace(constant=plus(a.constant, right))
            rest, has_axis = self._seen(x)
            return Sum(rest, negative(right) if minus else right, call.shape) if has_axis else None
        if left is not None:
            if isinstance(b, Sum):
                return Sum(b.batched, plus(left, b.constant), call.shape, b.negated != minus)
            rest, has_axis = self._seen(y)
            return Sum(rest, left, call.shape, minus) if has_axis else None
        return None

    def _is_known(self, t: Tensor) -> bool:
        """Whether a recording is made that knows a tensor's value."""
        if state.capture is None or self._is_kept(t):
            return False
        value, _ = self._seen(t)
        return value.buffer is not None and value.node is None

    def _constant(self, t: Tensor) -> Tensor | None:
        """What a tensor is for each of the batch, if it is known."""
        value, has_axis = self._seen(t) if self._is_known(t) else (None, False)
        return value if has_axis else None

    def _multiplied(self, call: Call) -> Product | None:
        # all are linear in the first, and but one in the second too
        for x, other in (call.inputs, call.inputs[::-1])[:1 if call.op in _TANH_SLOPE else 2]:
            known = self._kept(x)
            if not isinstance(known, Product):
                known = None
            if known is None and self._is_kept(other):
                continue
            scale, has_axis = self._seen(other)
            if has_axis:
                continue
            if known is not None:
                return Product(known.batched, multiply(known.scale, _slope(call, scale)), call.shape)
            batched, has_axis = self._seen(x)
            return Product(batched, _slope(call, scale), call.shape) if has_axis else None
        return None

    def _is_kept(self, t: Tensor) -> bool:
        return self._trace.owns(t) and t.node.variable in self._found

    def _kept(self, t: Tensor) -> Product | Sum | None:
        """What a tensor is, if it is all of a variable that has not been computed."""
        found = self._found.get(t.node.variable) if self._trace.owns(t) else None
        whole = found is not None and t.offset == 0 and t.shape == found.shape and (
            t.strides == contiguous_strides(t.shape))
        return found if whole else None


def _attributes(call: Call) -> Attributes:
    row: Any = call.op.row
    return Attributes(row, (0,) * row.first_place() + call.attributes)


def _has_bias(call: Call) -> bool:
    return _attributes(call).map.has_bias


def _slope(call: Call, t: Tensor) -> Tensor:
    """What an op that is linear in one operand multiplies it by, given the other operand."""
    if call.op in _TANH_SLOPE:
        return subtract(1.0, square(t))
    return multiply(_attributes(call).p, t) if call.op in _SCALED else t


def _same(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors are the same view of the same variable."""
    return a is b or (a.node is b.node and a.buffer is b.buffer and a.offset == b.offset and a.shape == b.shape
                      and a.strides == b.strides and a.requires_grad == b.requires_grad)
