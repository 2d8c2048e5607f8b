"""A graph of the exchange format in the making: nodes, constants, and views of values as reshapes and slices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...engine.storage import contiguous_strides
from ...errors import ArgumentError
from .traced import Instruction, Operand, Traced

__all__ = ["Graph"]


class Graph:
    """Nodes and constants of the format.

    Parameters
    ----------
    helper, numpy_helper : modules of onnx
    first, second : Traced
        The same forward at two lengths of the batch, where that may change; else the same one twice. What differs
        between the two is not written as a number.
    names : dict of int to str
        By variable of parameters and buffers, their names.
    """

    def __init__(self, helper: Any, numpy_helper: Any, first: Traced, second: Traced, names: dict[int, str]) -> None:
        self.helper, self.numpy_helper, self.first, self.second = helper, numpy_helper, first, second
        self.names = names
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.made: dict[int, tuple[str, Operand, Operand]] = {}  # by variable its value, whole, at both lengths
        self._views: dict[Any, str] = {}
        self._count = 0
        self.now = "the outputs"  # what is being written, for messages
        self.other: Any = None  # the instruction that is being written, at the other length of the batch

    def fresh(self, hint: str) -> str:
        """A name that nothing has."""
        self._count += 1
        return f"{hint}_{self._count}"

    def node(self, kind: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """Append a node of one output; returns that."""
        output = output or self.fresh(kind.lower())
        self.nodes.append(self.helper.make_node(kind, list(inputs), [output], name=self.fresh(kind), **attributes))
        return output

    def constant(self, value: Any, dtype: Any = None, name: str = "") -> str:
        """A constant; returns its name."""
        array = np.asarray(value, dtype)
        key = ("constant", array.dtype.str, array.shape, array.tobytes())
        if name or key not in self._views:
            taken = {c.name for c in self.constants}
            name = name if name and name not in taken else self.fresh(name or "constant")
            self.constants.append(self.numpy_helper.from_array(array, name))
            self._views[key] = name
        return self._views[key]

    def refuse(self, what: str) -> ArgumentError:
        """The error for what cannot be expressed."""
        return ArgumentError(f"to_onnx: {what} ({self.now})")

    def dimensions(self, first: Sequence[int], second: Sequence[int], what: str) -> list[int]:
        """A shape for Reshape: -1 for the one extent that depends on the batch."""
        found = [a if a == b else -1 for a, b in zip(first, second)]
        if len(first) != len(second) or found.count(-1) > 1:
            raise self.refuse(f"{what} {list(first)} has more than one extent that depends on the length of the batch; "
                              "say dynamic_batch=False")
        return found

    # ------------------------------------------------------------------ operands

    def value(self, a: Operand, b: Operand) -> str:
        """The name of an operand's value, given at both lengths of the batch."""
        key = a, b
        if key not in self._views:
            self._views[key] = self._constant(a, b) if a.variable in self.first.outside else self._view(a, b)
        return self._views[key]

    def _constant(self, a: Operand, b: Operand) -> str:
        if a.shape != b.shape:
            raise self.refuse(f"a constant of shape {list(a.shape)} depends on the length of the batch; say "
                              "dynamic_batch=False")
        whole = self.first.values(a)
        if not np.array_equal(whole, self.second.values(b), equal_nan=whole.dtype.kind == "f"):
            raise self.refuse("a constant depends on the length of the batch; say dynamic_batch=False")
        name = self.names.get(a.variable, "")
        return self.constant(whole, name=name)

    def _view(self, a: Operand, b: Operand) -> str:
        name, whole, other = self.made[a.variable]
        if a.shape == whole.shape and b.shape == other.shape and _is_whole(a) and _is_whole(b):
            return name
        if _is_whole(a) and _is_whole(b) and math.prod(a.shape) == math.prod(whole.shape):
            return self.node("Reshape", name, self.constant(self.dimensions(a.shape, b.shape, "the shape"), np.int64))
        return self._strided(name, a, math.prod(whole.shape), b, math.prod(other.shape))

    def _strided(self, name: str, a: Operand, total_a: int, b: Operand, total_b: int) -> str:
        """A view of a value as reshape, slices, transpose, reshape and expand, or as a gathering."""
        moving = [k for k, (n, m, s) in enumerate(zip(a.shape, b.shape, a.strides)) if max(n, m) > 1 and s > 0]
        order = sorted(moving, key=lambda k: -a.strides[k])
        splits: list[tuple[list[int], list[int]]] = []
        for operand, total in ((a, total_a), (b, total_b)):
            extents, starts, above, rest = [], [], total, operand.offset
            for k in order:
                stride = operand.strides[k]
                if above % stride or rest // stride + operand.shape[k] > above // stride or min(a.strides) < 0:
                    return self._gathered(name, a, total_a, b, total_b)
                extents.append(above // stride)
                starts.append(rest // stride)
                above, rest = stride, rest % stride
            splits.append(([*extents, above], [*starts, rest]))
        (extents, starts), (other_extents, other_starts) = splits
        name = self.node("Reshape", name, self.constant(self.dimensions(extents, other_extents, "the shape"), np.int64))
        for axis, (start, extent) in enumerate(zip(starts, extents)):
            last = axis == len(order)
            count, other = (1, 1) if last else (a.shape[order[axis]], b.shape[order[axis]])
            if count == extent and other == other_extents[axis]:
                continue
            if start != other_starts[axis] or count != other:
                raise self.refuse("a slice that depends on the length of the batch; say dynamic_batch=False")
            name = self.node("Slice", name, *(self.constant([x], np.int64) for x in (start, start + count, axis)))
        name = self.node("Squeeze", name, self.constant([len(order)], np.int64))
        in_order = [order.index(k) for k in moving]
        if in_order != sorted(in_order):
            name = self.node("Transpose", name, perm=in_order)
        spread = [k for k, (n, s) in enumerate(zip(a.shape, a.strides)) if n > 1 and s == 0]
        if len(moving) != len(a.shape):
            lone = [k for k in range(len(a.shape)) if k not in moving]
            name = self.node("Unsqueeze", name, self.constant(lone, np.int64))
        if spread:
            if any(a.shape[k] != b.shape[k] for k in spread):
                raise self.refuse("a broadcast that depends on the length of the batch; say dynamic_batch=False")
            shape = [n if k in spread else 1 for k, n in enumerate(a.shape)]
            name = self.node("Expand", name, self.constant(shape, np.int64))
        return name

    def _gathered(self, name: str, a: Operand, total_a: int, b: Operand, total_b: int) -> str:
        """Any view by the places of its elements, but for an axis that is the batch."""
        moves = [k for k, (n, m) in enumerate(zip(a.shape, b.shape)) if n != m]
        same = a.offset == b.offset and a.strides == b.strides
        if not moves and same:
            flat = self.node("Reshape", name, self.constant([-1], np.int64))
            return self.node("Gather", flat, self.constant(_places(a, range(len(a.shape)))), axis=0)
        if len(moves) == 1 and same:
            batch = moves[0]
            rest = [k for k in range(len(a.shape)) if k != batch]
            places, stride = _places(a, rest), a.strides[batch]
            if stride > 0 and total_a == stride * a.shape[batch] and total_b == stride * b.shape[batch] and (
                    places.size == 0 or 0 <= places.min() and places.max() < stride):
                rows = self.node("Reshape", name, self.constant([-1, stride], np.int64))
                name = self.node("Gather", rows, self.constant(places), axis=1)
                order = [k + 1 if k < batch else 0 if k == batch else k for k in range(len(a.shape))]
                return name if batch == 0 else self.node("Transpose", name, perm=order)
        raise self.refuse(f"a view of shape {list(a.shape)} with strides {list(a.strides)} that depends on the length "
                          "of the batch; say dynamic_batch=False")

    def result(self, at: int, name: str) -> None:
        """The value of the output of instruction `at`."""
        a, b = self.first.instructions[at].operands[0], self.second.instructions[at].operands[0]
        self.made[a.variable] = name, a, b

    def reshaped(self, name: str, of: Instruction) -> str:
        """A value in the shape of an instruction's output."""
        shape = self.dimensions(of.operands[0].shape, self.other.operands[0].shape, "the shape")
        return self.node("Reshape", name, self.constant(shape, np.int64))

    def used(self) -> list[Any]:
        """The constants that some node reads."""
        read = {name for node in self.nodes for name in node.input}
        return [c for c in self.constants if c.name in read]


def _places(operand: Operand, axes: Sequence[int]) -> np.ndarray:
    """Of a view along some axes, the places of its elements in its variable."""
    places = np.asarray(operand.offset, np.int64)
    for k in axes:
        places = places[..., None] + operand.strides[k] * np.arange(operand.shape[k])
    return places


def _is_whole(operand: Operand) -> bool:
    """Whether an operand is contiguous from the start of its variable."""
    return operand.offset == 0 and all(n == 1 or s == c for n, s, c in
                                       zip(operand.shape, operand.strides, contiguous_strides(operand.shape)))


def axes_of_rows(instruction: Instruction, n: int) -> list[int]:
    """The last axes of the first input, of `n` elements together."""
    shape = instruction.operands[1].shape
    first = len(shape)
    while math.prod(shape[first:]) < n and first > 0:
        first -= 1
    while first > 0 and shape[first - 1] == 1 and math.prod(shape[first:]) < n:
        first -= 1
    return list(range(first, len(shape)))
