"""Constant folding while capturing: values that cannot change, and values that are guarded from then on."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import Any
from weakref import ref

from ..engine.caller import user_line
from ..engine.storage import Buffer, Changes
from ..errors import CaptureError
from ..ops.table import Op
from ..tape.nodes import Leaf
from ..tape.state import state
from ..tensor.recording import record
from ..tensor.tensor import Tensor

_numbers = count(2)


class Known:
    """Values that a recording in the making may read.

    Tensors that the function makes itself, from numbers and arrays, are constants: ops on them are folded. What comes
    from elsewhere (parameters, buffers, tensors of a closure) may be overwritten, so ops on it are recorded. If the
    function reads such a value in Python all the same, it is computed at once, and the recording is guarded: it holds
    as long as the buffers that the value was computed from are not overwritten.

    Parameters
    ----------
    trained : set of Leaf
        Leaves whose values change at each replay.

    Attributes
    ----------
    born : int
        Version of buffers that are made while capturing and were not written to later.
    """

    def __init__(self, trained: set[Leaf]) -> None:
        self.born = -next(_numbers)
        self._trained = {leaf.buffer for leaf in trained}
        self._watched: dict[Buffer, int] = {}
        self._folded: list[ref[Buffer]] = []
        self.recipes: dict[int, tuple[Op, Sequence[Tensor], tuple[Any, ...], dict[str, Any]]] = {}
        self._values: dict[int, Tensor] = {}

    def fold(self, inputs: Sequence[Tensor]) -> None:
        """Note that an op on these tensors is folded; nothing has changed them so far."""
        self._folded += [ref(t.buffer) for t in inputs]

    def readable(self, t: Tensor) -> bool:
        """Whether a tensor from elsewhere can be guarded: whether every write increments its version."""
        return not (t._requires_grad or t.buffer.unmarked or t.buffer in self._trained)

    def value_of(self, t: Tensor) -> Tensor:
        """The tensor, or the value of a symbolic one if it may be read; else an error."""
        if t.buffer is None:
            if t.node.variable not in self.recipes:
                raise CaptureError(f"{user_line()}: a recording cannot read the value of a tensor that depends on its "
                                   "inputs, for it would freeze one branch; use tg.where(...) or other ops, or call "
                                   "the function without tg.compile / TrainStep")
            whole = self._evaluated(t.node.variable)
            return Tensor._made(whole.buffer, t.offset, t.shape, t.strides, t.dtype)
        buffer = t.buffer
        if not self.readable(t):
            raise CaptureError(f"{user_line()}: a recording cannot read the value of a parameter or of what training "
                               "changes, for it would be frozen; use ops on the tensor, which are recorded")
        if buffer.version != self.born and buffer.version != Changes.FIXED and buffer not in self._watched:
            Changes.settle()
            Changes.watched = True
            self._watched[buffer] = buffer.version
        return t

    def _evaluated(self, variable: int) -> Tensor:
        needed, waiting = set(), [variable]
        for v in waiting:
            if v not in needed and v not in self._values:
                needed.add(v)
                waiting += [t.node.variable for t in self.recipes[v][1] if t.buffer is None]
        for v in sorted(needed):  # topological order
            op, inputs, arguments, keywords = self.recipes[v]
            operands = [self._operand(t) for t in inputs]
            capture, differentiates = state.capture, state.grad_enabled
            state.capture, state.grad_enabled = None, False
            try:
                self._values[v] = record(op, operands, *arguments, **keywords)
            finally:
                state.capture, state.grad_enabled = capture, differentiates
        return self._values[variable]

    def _operand(self, t: Tensor) -> Tensor:
        if t.buffer is not None:
            return self.value_of(t)
        whole = self._values[t.node.variable]
        return Tensor._made(whole.buffer, t.offset, t.shape, t.strides, t.dtype)

    def watched(self) -> list[tuple[Buffer, int]]:
        """The guarded buffers, with their versions."""
        alive = [buffer for r in self._folded if (buffer := r()) is not None and buffer.version != Changes.FIXED]
        return list({**self._watched, **dict.fromkeys(alive, self.born)}.items())

    def forget(self) -> None:
        """The recording is complete."""
        self.recipes, self._values = {}, {}

