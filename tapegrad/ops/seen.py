"""Gradients that Python sees, and may change, on their way back."""

from __future__ import annotations

from threading import get_ident
from typing import Any

from ..engine.language import byte_address, c_call
from ..engine.row import Input, Output, Row, contiguous, fixed
from .reduction import accumulate
from .table import Op

#: by thread the exception that a function has raised, until the walk has ended
FAILED: dict[int, BaseException] = {}


class Seen(Row):
    y: Output
    x: Input = contiguous
    table: Input = contiguous | fixed  # keeps alive what is called
    scratch: Input = contiguous
    n: int
    function: int  # address of a C function of a number, bytes and how many there are
    called: int  # the number


def seen_forward(op: Seen, f: Any, i: Any, b: Any) -> int:
    """y = x."""
    for k in range(op.n):
        f[op.y + k] = f[op.x + k]
    return 0


def seen_adjoint(op: Seen, f: Any, i: Any, b: Any) -> int:
    """dx += what the function makes of g."""
    for k in range(op.n):
        f[op.scratch + k] = f[op.g + k]
    if c_call(op.function, op.called, byte_address(f, op.scratch), op.n) != 0:
        return 1
    for k in range(op.n):
        accumulate(f, op.d.x + k, f[op.scratch + k], op.stores.x)
    return 0


def _failure(message: str) -> BaseException:
    """What the function has raised."""
    return FAILED.pop(get_ident())


_ERRORS: Any = {1: (_failure, "")}
SEEN = Op("seen", seen_forward, seen_adjoint, row=Seen, saves={"x": "table scratch"}, stores=True, errors=_ERRORS,
          doc="x, whose gradient a function sees", composition={"x": lambda r, g, t: t.seen.changed(r.called, g)},
          tangent={"x": lambda r, d, t: d})
