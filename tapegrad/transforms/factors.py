"""Products of what has the axis of a batch and of what has not: the factors without it are multiplied first.

A derivative of elementwise functions is a chain of such products, ``(V u) w`` with directions V and slopes u, w. As
``V (u w)`` it takes one pass over the batch in place of one a slope. And where unit vectors are the directions, what a
matrix makes of them is the matrix itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from ..engine.storage import contiguous_strides
from ..functions.elementwise import negative
from ..functions.formulas import add, multiply, subtract
from ..functions.layout import swapaxes
from ..ops.elementwise import BINARY, UNARY
from ..ops.linalg import LINEAR, LONG_LINEAR, LONG_MATMUL, MATMUL
from ..ops.table import Op
from ..tensor.tensor import Tensor
from .batching import aligned
from .steps import Attributes, elements_of
from .trace import Call, Trace


def _forms(op: Op) -> set[Op | None]:
    return {op, op.scalar, op.summed}


_MULTIPLY, _ADD, _SUBTRACT = (_forms(BINARY[name]) for name in ("multiply", "add", "subtract"))
_NEGATIVE = _forms(UNARY["negative"])
_LINEAR, _MATRICES = {LINEAR, LONG_LINEAR}, {LINEAR, LONG_LINEAR, MATMUL, LONG_MATMUL}


class Product(NamedTuple):
    """`batched` times `scale`, which has no axis for the batch, of `shape` for one."""

    batched: Tensor
    scale: Tensor
    shape: tuple[int, ...]

    def computed(self) -> Tensor:
        """The product for each of the batch."""
        return multiply(aligned(self.batched, True, len(self.shape)), self.scale)


class Products:
    """Those results of a trace that are such a product, not computed until they are asked for.

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
        self._found: dict[int, Product] = {}

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

    def pop(self, variable: int) -> Product | None:
        """What a variable is, if it is such a product that has not been computed."""
        return self._found.pop(variable, None)

    def takes(self, call: Call) -> bool:
        """Whether the result of a call is such a product; it is kept then."""
        found = self._of(call) if call.variable not in self._trace.given else None
        if found is not None:
            self._found[call.variable] = found
        return found is not None

    def _of(self, call: Call) -> Product | None:
        if call.op in _MULTIPLY:
            return self._multiplied(call)
        if call.op in _NEGATIVE:
            x = self._product(call.inputs[0])
            return None if x is None else Product(x.batched, negative(x.scale), call.shape)
        if call.op in _ADD or call.op in _SUBTRACT:
            a, b = map(self._product, call.inputs)
            if a is None or b is None or not a.shape == b.shape == call.shape or not _same(a.batched, b.batched):
                return None
            return Product(a.batched, (add if call.op in _ADD else subtract)(a.scale, b.scale), call.shape)
        return None

    def _multiplied(self, call: Call) -> Product | None:
        for x, other in (call.inputs, call.inputs[::-1]):
            known = self._product(x)
            if known is None and self._is_product(other):
                continue
            scale, has_axis = self._seen(other)
            if has_axis:
                continue
            if known is not None:
                return Product(known.batched, multiply(known.scale, scale), call.shape)
            batched, has_axis = self._seen(x)
            return Product(batched, scale, call.shape) if has_axis else None
        return None

    def _is_product(self, t: Tensor) -> bool:
        return self._trace.owns(t) and t.node.variable in self._found

    def _product(self, t: Tensor) -> Product | None:
        """What a tensor is, if it is all of a variable that is such a product."""
        found = self._found.get(t.node.variable) if self._trace.owns(t) else None
        whole = found is not None and t.offset == 0 and t.shape == found.shape and (
            t.strides == contiguous_strides(t.shape))
        return found if whole else None


def _has_bias(call: Call) -> bool:
    row: Any = call.op.row
    return Attributes(row, (0,) * row.first_place() + call.attributes).map.has_bias


def _same(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors are the same view of the same variable."""
    return a is b or (a.node is b.node and a.buffer is b.buffer and a.offset == b.offset and a.shape == b.shape
                      and a.strides == b.strides and a.requires_grad == b.requires_grad)
