"""Elementwise ops applied to tensors, and functions made of one by its name."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from ..ops.blocks import blocked_words, in_blocks
from ..ops.elementwise import BINARY, UNARY
from ..ops.nest import broadcast_strides, is_broadcast, nest
from ..ops.table import Op
from ..ops.templates import Binary, Scalar, Scalars, Unary
from ..tensor.forms import Form, form_of, run
from ..tensor.recording import lift, record
from ..tensor.tensor import Tensor, constant
from .integers import broadcast_shape, exactly, integers, recorded

__all__ = ["apply_binary", "apply_unary", "as_given", "binary", "broadcast_shape", "plan_binary", "unary"]

#: ops of which integers have integers, by NumPy
_OF_INTEGERS = {"abs", "add", "ceil", "floor", "floor_divide", "fmax", "fmin", "fmod", "maximum", "minimum", "multiply",
                "relu", "remainder", "sign", "square", "subtract", "trunc"}
_ARRAYS = (Tensor, np.ndarray)
_TABLE = f"{__package__}.formulas"  # where a pickle finds the functions made here


def as_given(*values: Any) -> list[Tensor]:
    """`lift`, but integers and bool stay what they are where all are of those."""
    return integers(*values) or lift(*values)


@lru_cache(maxsize=4096)
def _unary(op: Op, p: float, q: float, shape: tuple[int, ...], strides: tuple[int, ...],
           dtype: np.dtype) -> tuple[Op, tuple[int, ...], Form | None]:
    """The op over arrays or scalars, its attributes, and its form."""
    if not shape and op.scalar is not None:
        return op.scalar, Scalar.words(p=p, q=q), form_of(op.scalar, (((), (), dtype),), (), dtype)
    words = Unary.words(p=p, q=q, nest=nest(shape, (strides,)))
    return op, words, form_of(op, ((shape, strides, dtype),), shape, dtype)


def apply_unary(op: Op, x: Any, p: float = 0.0, q: float = 0.0) -> Tensor:
    """y = op(x) with attributes `p` and `q`."""
    x = x if type(x) is Tensor and x.dtype.kind == "f" else lift(x)[0]
    # with one zero, for -0.0 finds what is kept of 0.0
    op, words, form = _unary(op, p or 0.0, q or 0.0, x.shape, x.strides, x.dtype)
    found = run(form, (x,), words)
    return found if found is not None else record(op, (x,), x.shape, words, dtype=x.dtype)


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
                 b_strides: tuple[int, ...], p: float) -> tuple[tuple[int, ...], tuple[int, ...], int, int, bool]:
    """Output shape, attributes, two bit masks (inputs with several contributions an element, and summed), and whether
    it runs in blocks."""
    shape = broadcast_shape(op, a, b)
    u, v = broadcast_strides(a, a_strides, shape), broadcast_strides(b, b_strides, shape)
    loops = nest(shape, (u, v))
    sums = 2 * is_broadcast(u, shape) + 4 * is_broadcast(v, shape)
    words = Binary.words(p=p, nest=loops)
    # a row summed in a register is one contribution
    return shape, words, sums if loops[0] != 1 else 0, sums, in_blocks(loops)


@lru_cache(maxsize=4096)
def _binary(op: Op, a: tuple[int, ...], a_strides: tuple[int, ...], b: tuple[int, ...], b_strides: tuple[int, ...],
            p: float, dtype: np.dtype) -> tuple[Op, tuple[int, ...], tuple[int, ...], int, int, Form | None]:
    """The op over arrays or scalars, what `plan_binary` says, and its form."""
    if not (a or b) and op.scalar is not None:
        plan: Any = (), Scalars.words(p=p), 0, 0, False
        op = op.scalar
    else:
        plan = plan_binary(op.name, a, a_strides, b, b_strides, p)
    shape, words, added, sums, blocks = plan
    if blocks and op.blocked is not None:
        op, words, added, sums = op.blocked, blocked_words(op, dtype, words), 0, 0
    kinds = (a, a_strides, dtype), (b, b_strides, dtype)
    return op, shape, words, added, sums, form_of(op, kinds, shape, dtype, added=added, summed=sums)


def _lifted(a: Any, b: Any) -> list[Tensor]:
    """`lift` of two; at once where one is a tensor and the other a Python number."""
    if isinstance(a, Tensor):
        if (type(b) is float or type(b) is int) and a.dtype.kind == "f":
            return [a, constant(float(b), a.dtype)]
    elif (type(a) is float or type(a) is int) and isinstance(b, Tensor) and b.dtype.kind == "f":
        return [constant(float(a), b.dtype), b]
    return lift(a, b)


def apply_binary(op: Op, a: Any, b: Any, p: float = 0.0) -> Tensor:
    """y = op(a, b), broadcast, with attribute `p`."""
    if not (isinstance(a, Tensor) and isinstance(b, Tensor) and a.dtype is b.dtype and a.dtype.kind == "f"):
        a, b = _lifted(a, b)
    dtype = a.dtype
    op, shape, words, added, sums, form = _binary(op, a.shape, a.strides, b.shape, b.strides, p or 0.0, dtype)
    found = run(form, (a, b), words)
    return found if found is not None else record(op, (a, b), shape, words, dtype=dtype, added=added, summed=sums)


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

    if name == "divide":
        def function(a: Any, b: Any) -> Tensor:  # noqa: F811
            if (type(a) in _ARRAYS and a.dtype.kind != "f" or type(b) in _ARRAYS and b.dtype.kind != "f") and (
                    whole := integers(a, b)) is not None and not recorded(*whole):
                return exactly(name, *whole)  # in float64, as the operator; Python's numbers are float32
            return apply_binary(op, a, b)

    function.__name__ = function.__qualname__ = name
    function.__module__ = _TABLE
    function.__doc__ = f"{op.doc}, elementwise and broadcast.\n\nParameters\n----------\na, b : array_like\n" \
                       "    Of shapes that broadcast.\n\nReturns\n-------\nTensor"
    return function
