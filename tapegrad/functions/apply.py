"""Elementwise ops applied to tensors, and functions made of one by its name."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from ..ops.elementwise import BINARY, UNARY
from ..ops.nest import broadcast_strides, is_broadcast, nest
from ..ops.table import Op
from ..ops.templates import Binary, Scalar, Scalars, Unary
from ..tensor.recording import lift, record
from ..tensor.tensor import Tensor
from .integers import broadcast_shape, exactly, integers

__all__ = ["apply_binary", "apply_unary", "as_given", "binary", "broadcast_shape", "plan_binary", "unary"]

#: ops of which integers have integers, by NumPy
_OF_INTEGERS = {"abs", "add", "ceil", "floor", "floor_divide", "fmax", "fmin", "fmod", "maximum", "minimum", "multiply",
                "relu", "remainder", "sign", "square", "subtract", "trunc"}
_TABLE = f"{__package__}.formulas"  # where a pickle finds the functions made here


def as_given(*values: Any) -> list[Tensor]:
    """`lift`, but integers and bool stay what they are where all are of those."""
    return integers(*values) or lift(*values)


@lru_cache(maxsize=4096)
def _unary_words(p: float, q: float, shape: tuple[int, ...], strides: tuple[int, ...]) -> tuple[int, ...]:
    return Unary.words(p=p, q=q, nest=nest(shape, (strides,))) if shape else Scalar.words(p=p, q=q)


def apply_unary(op: Op, x: Any, p: float = 0.0, q: float = 0.0) -> Tensor:
    """y = op(x) with attributes `p` and `q`."""
    x = x if type(x) is Tensor and x.dtype.kind == "f" else lift(x)[0]
    words = _unary_words(p or 0.0, q or 0.0, x.shape, x.strides)  # with one zero, for -0.0 finds what is kept of 0.0
    form = op if x.shape else op.scalar
    assert form is not None
    return record(form, (x,), x.shape, words, dtype=x.dtype)


_UNARY_DOC = """{}, elementwise.

Parameters
----------
x : array_like

Returns
-------
Tensor
    Of the shape of `x`.
"""


def unary(name: str) -> Callable[[Any], Tensor]:
    """The function of the op of this name."""
    op = UNARY[name]

    def function(x: Any) -> Tensor:
        return apply_unary(op, x)

    if name in _OF_INTEGERS:
        exact, *others = ("maximum", 0) if name == "relu" else (name,) if name in ("abs", "sign", "square") else (
            "add", 0)  # of integers, which have no fraction

        def function(x: Any) -> Tensor:  # noqa: F811
            if not (type(x) is Tensor and x.dtype.kind == "f") and (whole := integers(x, *others)) is not None:
                return exactly(exact, *whole)
            return apply_unary(op, x)

    function.__name__ = function.__qualname__ = name
    function.__module__ = _TABLE
    function.__doc__ = _UNARY_DOC.format(op.doc)
    return function


@lru_cache(maxsize=4096)
def plan_binary(op: str, a: tuple[int, ...], a_strides: tuple[int, ...], b: tuple[int, ...],
                 b_strides: tuple[int, ...], p: float) -> tuple[tuple[int, ...], tuple[int, ...], int, int]:
    """Output shape, attributes, and two bit masks: inputs with several contributions an element, and summed."""
    shape = broadcast_shape(op, a, b)
    u, v = broadcast_strides(a, a_strides, shape), broadcast_strides(b, b_strides, shape)
    loops = nest(shape, (u, v))
    sums = 2 * is_broadcast(u, shape) + 4 * is_broadcast(v, shape)
    words = Binary.words(p=p, nest=loops)
    return shape, words, sums if loops[0] != 1 else 0, sums  # a row summed in a register is one contribution


def apply_binary(op: Op, a: Any, b: Any, p: float = 0.0) -> Tensor:
    """y = op(a, b), broadcast, with attribute `p`."""
    a, b = lift(a, b)
    if not (a.shape or b.shape) and op.scalar is not None:
        return record(op.scalar, (a, b), (), Scalars.words(p=p), dtype=a.dtype)
    shape, words, added, sums = plan_binary(op.name, a.shape, a.strides, b.shape, b.strides, p or 0.0)
    return record(op, (a, b), shape, words, dtype=a.dtype, added=added, summed=sums)


def binary(name: str) -> Callable[[Any, Any], Tensor]:
    """The function of the op of this name, broadcast."""
    op = BINARY[name]

    def function(a: Any, b: Any) -> Tensor:
        return apply_binary(op, a, b)

    if name in _OF_INTEGERS:
        def function(a: Any, b: Any) -> Tensor:  # noqa: F811
            if not (type(a) is Tensor and a.dtype.kind == "f" or type(b) is Tensor and b.dtype.kind == "f"):
                if (whole := integers(a, b)) is not None:
                    return exactly(name, *whole)
            return apply_binary(op, a, b)

    function.__name__ = function.__qualname__ = name
    function.__module__ = _TABLE
    function.__doc__ = f"{op.doc}, elementwise and broadcast.\n\nParameters\n----------\na, b : array_like\n" \
                       "    Of shapes that broadcast.\n\nReturns\n-------\nTensor"
    return function
