"""A function's graph by itself: recorded once for one of a batch, then run by other operands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..engine.caller import user_line
from ..engine.random import dropout_key
from ..errors import CaptureError
from ..ops.dropout import Dropped
from ..ops.random import Drawn
from ..ops.table import Op
from ..program.capture import Capture
from ..program.known import Known
from ..tape.nodes import Leaf
from ..tape.state import state
from ..tensor.tensor import Tensor


class Call(NamedTuple):
    """What `record` was called with, and the variable of the result."""

    variable: int
    op: Op
    inputs: Sequence[Tensor]
    shape: tuple[int, ...]
    attributes: tuple[int, ...]
    dtype: np.dtype
    out_dtype: np.dtype
    aux: Sequence[tuple[int, int]]
    added: int
    random: bool
    summed: int

    @property
    def draws(self) -> bool:
        """Whether it draws random numbers, which are others for each of a batch."""
        return self.random and self.op.row is not None and any(
            kind in (Dropped, Drawn) for kind in self.op.row.kinds.values())


class _Around:
    """What a trace finds around it: a variable of another recording, or the value of one with a history."""

    __slots__ = ("t",)

    def __init__(self, t: Tensor) -> None:
        self.t = t

    def _key(self) -> tuple[Any, ...]:
        return id(self.t.node), id(self.t.buffer), self.t._requires_grad

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Around) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())


class _Unknown(Known):
    """Nothing is known of values: they are others for each of the batch."""

    def __init__(self, outer: Capture | None, what: str) -> None:
        super().__init__(set())
        self._what = what
        if outer is not None:
            self.born, self._watched, self._folded = outer.known.born, outer.known._watched, outer.known._folded

    def value_of(self, t: Tensor) -> Tensor:
        if t.buffer is None and t.node.variable not in self.recipes:
            raise CaptureError(f"{user_line()}: {self._what} cannot read the value of a tensor that depends on its "
                               "arguments, for it is another one for each of the batch; use tg.where(...) or other ops")
        return super().value_of(t)


class Trace(Capture):
    """A recording within whatever is recorded or computed around it, to be run by other operands at once.

    Parameters
    ----------
    dtype : numpy.dtype
    what : str
        What traces, for messages.

    Attributes
    ----------
    calls : list of Call
    """

    def __init__(self, dtype: np.dtype, what: str) -> None:
        super().__init__(dtype)
        self.outer = state.capture
        self.ranks = 0 if self.outer is None else self.outer.ranks
        self.known = _Unknown(self.outer, what)
        self.calls: list[Call] = []

    def __enter__(self) -> Trace:
        self._grad_before = state.grad_enabled
        state.capture = self
        return self

    def __exit__(self, *error: Any) -> None:
        state.capture, state.grad_enabled = self.outer, self._grad_before

    def record(self, op: Op, inputs: Sequence[Tensor], shape: tuple[int, ...], attributes: Sequence[int],
               dtype: np.dtype, out_dtype: np.dtype, aux: Sequence[tuple[int, int]], added: int, random: bool,
               summed: int) -> Tensor:
        t = super().record(op, inputs, shape, attributes, dtype, out_dtype, aux, added, random, summed)
        self.calls.append(Call(t.node.variable, op, tuple(inputs), shape, tuple(attributes), dtype, out_dtype, aux,
                               added, random, summed))
        return t

    def owns(self, t: Tensor) -> bool:
        """Whether a tensor is a variable of this trace."""
        return t.buffer is None and t.node.tape is self.tape

    # -------------------------------------------------------------- what lies around

    def _outside(self, t: Tensor) -> int:
        node = t.node
        if isinstance(node, Leaf):
            return self.rows.outside(node, node.nbytes, t.dtype.itemsize)
        if node is not None:
            return self.rows.outside(_Around(t), node.nbytes, t.dtype.itemsize)
        self.kept.append(t)
        return self.rows.outside(t.buffer, t.buffer.nbytes, t.dtype.itemsize)

    def outside(self, source: Any, offset: int, shape: tuple[int, ...], strides: tuple[int, ...],
                dtype: np.dtype) -> Tensor:
        if isinstance(source, _Around):
            t = source.t
            return Tensor._made(t.buffer, offset, shape, strides, dtype, t.node, t._requires_grad)
        return super().outside(source, offset, shape, strides, dtype)

    def wants(self, t: Tensor) -> bool:
        return t._requires_grad if self.owns(t) or self.outer is None else self.outer.wants(t)

    def enter_module(self, module: Any) -> None:
        if self.outer is not None:
            self.outer.enter_module(module)

    def leave_module(self) -> None:
        if self.outer is not None:
            self.outer.leave_module()

    def assigns(self, module: Any, name: str, before: Any, after: Any) -> None:
        if self.outer is not None:
            self.outer.assigns(module, name, before, after)

    def reads(self, leaf: Leaf) -> None:
        if self.outer is not None:
            self.outer.reads(leaf)

    def overwrites(self, t: Tensor) -> None:
        if self.outer is not None:
            self.outer.overwrites(t)

    def wait_for_ranks(self) -> None:
        if self.outer is not None:
            self.outer.wait_for_ranks()

    def random_stream(self, shape: tuple[int, ...], by_rows: bool = True) -> tuple[int, int, int, int]:
        return self.outer.random_stream(shape, by_rows) if self.outer is not None else (*dropout_key(), 0, 0)
