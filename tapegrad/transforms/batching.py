"""One instruction for each of a batch: batching rules."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from .. import functions
from ..engine.caller import user_line
from ..engine.row import Layout
from ..engine.storage import contiguous_strides
from ..errors import CaptureError
from ..functions.elementwise import apply_binary, apply_unary
from ..functions.layout import broadcast_to
from ..ops.blocks import BLOCKED_SUM
from ..ops.elementwise import BINARY, COMPARE, UNARY
from ..ops.mapped import mapped, mapped_words, parts_of
from ..ops.nest import nest
from ..ops.reduction import ROW_SUM, SUM
from ..ops.table import Op
from ..tensor.recording import contiguous, record
from ..tensor.tensor import Tensor, view
from .placing import laid
from .steps import Attributes
from .trace import Call


class Batched:
    """A call some of whose operands have a leading axis for the batch, as batching rules see it.

    What the op's row declares is found by its name.

    Attributes
    ----------
    call : Call
        Of one of the batch.
    size : int
        How many there are.
    operands : sequence of Tensor
    axes : sequence of bool
        Which of them have the axis.
    """

    def __init__(self, call: Call, size: int, operands: Sequence[Tensor], axes: Sequence[bool]) -> None:
        self.call, self.size, self.operands, self.axes = call, size, operands, axes

    def has_axis(self, name: str) -> bool:
        """Whether an input has the axis of the batch."""
        row: Any = self.call.op.row
        return self.axes[row.inputs.index(name)]

    def whole(self, name: str) -> Tensor:
        """An input with the axis, repeated along it if it has none."""
        t: Tensor = getattr(self, name)
        return t if self.has_axis(name) else broadcast_to(t, (self.size, *t.shape))

    def __getattr__(self, name: str) -> Any:
        row: Any = self.call.op.row
        if name.startswith("_") or row is None:
            raise AttributeError(name)
        if name in row.inputs:
            return self.operands[row.inputs.index(name)]
        return getattr(Attributes(row, (0,) * row.first_place() + self.call.attributes), name)


def batch(call: Call, size: int, operands: Sequence[Tensor], axes: Sequence[bool]) -> Tensor:
    """The result of a call for each of the batch, along a leading axis."""
    op, r = call.op, Batched(call, size, operands, axes)
    if (op.states or op.again) and op.batching is None:
        raise CaptureError(f"{user_line()}: {op.name} overwrites an operand, which vmap would do for each of the batch")
    rule = rule_of(op)
    y = None if rule is None else rule(r, functions)
    if y is None:
        y = _each(r)
    return y if y.shape == (size, *call.shape) else functions.reshape(y, (size, *call.shape))


def rule_of(op: Op) -> Callable | None:
    """The batching rule of an op, None where its kernels run in a loop."""
    if op.name in _RULES and _of_elements(op):
        return _RULES[op.name]
    if not isinstance(op.batching, str):
        return op.batching
    kind, *shared = op.batching.split()
    return _by_nest if kind == "nest" else partial(_by_rows, shared=shared)


# ------------------------------------------------------------------ elementwise ops


def _of_elements(op: Op) -> bool:
    """Whether it is an elementwise op, in one of its forms."""
    return op.name in COMPARE or any(isinstance(rule, str) for rule in op.composition.values()) or (
        op in (UNARY.get(op.name), BINARY.get(op.name)))


def aligned(t: Tensor, has_axis: bool, ndim: int) -> Tensor:
    """An operand whose axes are the last of `ndim`, behind that of the batch."""
    missing = ndim + 1 - t.ndim if has_axis else 0
    if not missing:
        return t
    return view(t, 0, (t.shape[0], *(1,) * missing, *t.shape[1:]), (t.strides[0], *(0,) * missing, *t.strides[1:]))


def _unary(r: Batched, t: Any) -> Tensor:
    return apply_unary(UNARY[r.call.op.name], r.x, r.p, r.q)


def _binary(r: Batched, t: Any) -> Tensor:
    a, b = (aligned(x, axis, len(r.call.shape)) for x, axis in zip(r.operands, r.axes))
    return apply_binary(BINARY[r.call.op.name], a, b, r.p)


def _compare(r: Batched, t: Any) -> Tensor:
    a, b = (aligned(x, axis, len(r.call.shape)) for x, axis in zip(r.operands, r.axes))
    return getattr(t, r.call.op.name)(a, b)


_RULES: dict[str, Callable] = {**dict.fromkeys(UNARY, _unary), **dict.fromkeys(BINARY, _binary),
                               **dict.fromkeys(COMPARE, _compare)}


# ------------------------------------------------------------------ rules of many ops


#: an op of one form, and that of every form
_GENERAL = {BLOCKED_SUM: SUM, ROW_SUM: SUM}


def _by_nest(r: Batched, t: Any) -> Tensor:
    """A leading axis in the nest, and as many elements for each of the batch; inputs outside the nest have the axis."""
    call, row = r.call, r.call.op.row
    assert row is not None
    values = _values(r, ("elements",))
    within = {name for operands in row.nests.values() for name in operands}
    inputs = {}
    for name in row.inputs:
        x = aligned(getattr(r, name), r.has_axis(name), len(call.shape)) if name in within else r.whole(name)
        inputs[name] = contiguous(x) if Layout.CONTIGUOUS in row.layouts[name] else x
    for name, operands in row.nests.items():
        loops = values[name]
        shape = (*loops[3:3 + loops[2]], loops[1])
        strides = []
        for k, operand in enumerate(operands):
            first = math.prod(call.shape)
            if operand != row.operands[0]:
                first = inputs[operand].strides[0] if r.has_axis(operand) or operand not in within else 0
            strides.append((first, *laid(loops, k, shape)))
        values[name] = nest((r.size, *shape), tuple(strides))
    added = call.added | sum(2 << k for k, (name, axis) in enumerate(zip(row.inputs, r.axes))
                             if not axis and name in within)
    return _recorded(r, _GENERAL.get(call.op, call.op), list(inputs.values()), values, added)


def _by_rows(r: Batched, t: Any, shared: Sequence[str]) -> Tensor | None:
    """As many rows for each of the batch; all operands have them but those that all rows share."""
    row = r.call.op.row
    assert row is not None
    if any(r.has_axis(name) for name in shared):
        return None
    operands = [getattr(r, name) if name in shared else contiguous(r.whole(name)) for name in row.inputs]
    return _recorded(r, r.call.op, operands, _values(r, ("rows", "outer", "elements")), r.call.added)


def _values(r: Batched, multiplied: Sequence[str]) -> dict[str, Any]:
    """The attributes by name, of which some are `multiplied` by the size of the batch."""
    row: Any = r.call.op.row
    values = {name: getattr(r, name) for name in row.kinds if name not in row.operands}
    return {name: value * r.size if name in multiplied else value for name, value in values.items()}


def _recorded(r: Batched, op: Op, operands: Sequence[Tensor], values: dict[str, Any], added: int) -> Tensor:
    """One instruction for all of the batch."""
    call = r.call
    return record(op, operands, (r.size, *call.shape), _words(op.row, values), dtype=call.dtype,
                  out_dtype=call.out_dtype, aux=[(n * r.size, one) for n, one in call.aux], added=added,
                  always=call.random, summed=call.summed)


def _words(row: Any, values: dict[str, Any]) -> tuple[int, ...]:
    """The words of attributes, of which groups of words are given as `Attributes`."""
    return row.words(**{name: value.words if isinstance(value, Attributes) else value
                        for name, value in values.items()})


def _each(r: Batched) -> Tensor:
    """The op's own kernels in a loop over the batch."""
    call, inner = r.call, r.call.op
    operands = [x if inner.strided >> j & 1 or not axis or x.strides[1:] == contiguous_strides(x.shape[1:])
                else contiguous(x) for j, (x, axis) in enumerate(zip(r.operands, r.axes), 1)]
    aux = [(-(-n // one), one) for n, one in call.aux]
    steps = (math.prod(call.shape), *(x.strides[0] if axis else 0 for x, axis in zip(operands, r.axes)),
             *(elements for elements, _ in aux))
    having = 1 | sum(2 << k for k, axis in enumerate(r.axes) if axis)
    shapes = [call.shape, *(x.shape[1:] if axis else x.shape for x, axis in zip(operands, r.axes))]
    parts = parts_of(inner, r.size, shapes)
    words = mapped_words(inner, call.dtype, r.size, parts, having, steps, call.attributes,
                         any(x.requires_grad for x in operands))
    length = inner.row.first_place() + len(call.attributes)  # type: ignore[union-attr]
    return record(mapped(inner, len(operands), len(aux)), operands, (r.size, *call.shape), words, dtype=call.dtype,
                  out_dtype=call.out_dtype, aux=[*((n * one * r.size, one) for n, one in aux), (8 * length * parts, 8)],
                  added=call.added, always=call.random)
