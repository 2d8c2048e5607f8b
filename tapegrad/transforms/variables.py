"""Variables by which a function is differentiated, each apart from everything that was there before."""

from __future__ import annotations

from typing import Any

from ..ops.elementwise import UNARY
from ..ops.nest import nest
from ..tape.state import state
from ..tensor.recording import recorder
from ..tensor.tensor import Tensor


def fresh(t: Tensor) -> Tensor:
    """The value of `t` as a variable of its own that requires a gradient; its history goes on to that of `t`."""
    if state.capture is None and not t.requires_grad:
        variable = Tensor(t, t.dtype, True)
        variable.node.is_private = True
        return variable
    copy = _copied(t)
    if state.capture is not None:
        state.capture.has_variables = True
    copy._requires_grad = True
    return copy


def _copied(t: Tensor) -> Tensor:
    op: Any = UNARY["copy"]
    if t.shape:
        return recorder(op)(t.shape, dtype=t.dtype, x=t, p=0.0, q=0.0, nest=nest(t.shape, (t.strides,)), always=True)
    return recorder(op.scalar)((), dtype=t.dtype, x=t, p=0.0, q=0.0, always=True)
