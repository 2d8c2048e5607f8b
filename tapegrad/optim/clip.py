"""Gradient clipping: by the global norm, or element by element.

The two functions here and the optimisers' steps use the same rows. A norm takes three kinds of row, in this order: one
clears the total, one for each parameter accumulates into it, one for each parameter scales. So the rows for any subset
of the parameters are a selection of existing rows.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from ..engine.language import cast, doubles_at, plus
from ..engine.mathematics.sums import grown, restored
from ..engine.row import Words, double
from ..engine.storage import address_of
from ..engine.walks.touched import stretch_length, stretch_start, stretches
from ..engine.walks.walk import run_rows
from ..errors import ArgumentError, DtypeError, GradientError
from ..functions.creation import tensor
from ..ops.reduction import SUMMED
from ..ops.table import Op
from ..tensor.tensor import Tensor
from .lists import list_address
from .store import aligned_zeros

__all__ = ["clip_grad_norm_", "clip_grad_value_"]

# `total` is the address of one float64, so that small parameters count beside a large total; `listed` is that of the
# list of touched rows (see `engine.walks.touched`), or 0.


class Reset(Words):
    mode: int
    total: int


class Norm(Words):
    mode: int
    g: int
    n: int
    listed: int
    total: int
    order: double


class Scale(Words):
    mode: int
    g: int
    n: int
    listed: int
    total: int
    max_norm: float


class Value(Words):
    mode: int
    g: int
    n: int
    listed: int
    bound: float


RESET_WORDS = Reset.size
_TOTAL = np.dtype(np.float64)
_NORM, _SCALE, _VALUE, WORDS = 0, Norm.size, Norm.size + Scale.size, Norm.size + Scale.size + Value.size


def reset(op: Reset, f: Any, i: Any, b: Any) -> int:
    # N = 0
    doubles_at(f, op.total)[0] = 0.0
    return 0


def norm(op: Norm, f: Any, i: Any, b: Any) -> int:
    # N = (N^p + sum |g|^p)^(1/p), in float64, where squares neither overflow nor underflow
    order = op.order
    one = order / order if order < math.inf else 1.0 / order + 1.0
    total, n = doubles_at(f, op.total)[0] * one, stretch_length(op.listed, op.n, i)
    for s in range(stretches(op.listed, i)):
        g = op.g + stretch_start(op.listed, s, i)
        if order == 2.0:
            part = 0.0 * one
            lost = part
            for first in range(0, n, SUMMED):
                block = 0.0 * one
                for k in range(first, min(first + SUMMED, n)):
                    x = f[g + k] * one
                    block = plus(block, x * x)
                part, lost = grown(f, part, lost, block)
            total = math.sqrt(total * total + restored(f, part, lost))
        elif order == 1.0:
            part = 0.0 * one
            lost = part
            for first in range(0, n, SUMMED):
                block = 0.0 * one
                for k in range(first, min(first + SUMMED, n)):
                    block = plus(block, math.fabs(f[g + k] * one))
                part, lost = grown(f, part, lost, block)
            total += restored(f, part, lost)
        elif order == math.inf:
            for k in range(n):
                x = math.fabs(f[g + k] * one)
                if x > total or x != x:  # NaN propagates
                    total = x
        else:
            part = total ** order
            lost = 0.0 * one
            for k in range(n):
                part, lost = grown(f, part, lost, math.fabs(f[g + k] * one) ** order)
            total = restored(f, part, lost) ** (1.0 / order)
    doubles_at(f, op.total)[0] = total
    return 0


def scale(op: Scale, f: Any, i: Any, b: Any) -> int:
    # g *= min(max_norm / (N + 1e-6), 1); a NaN norm makes every gradient NaN, as in PyTorch
    factor = op.max_norm / (cast(doubles_at(f, op.total)[0], f) + 1e-6)
    if not factor >= 1.0:
        n = stretch_length(op.listed, op.n, i)
        for s in range(stretches(op.listed, i)):
            g = op.g + stretch_start(op.listed, s, i)
            for k in range(n):
                f[g + k] *= factor
    return 0


def value(op: Value, f: Any, i: Any, b: Any) -> int:
    # g = min(max(g, -bound), bound); NaN propagates
    n, bound = stretch_length(op.listed, op.n, i), op.bound
    for s in range(stretches(op.listed, i)):
        g = op.g + stretch_start(op.listed, s, i)
        for k in range(n):
            x = f[g + k]
            x = bound if x > bound else x
            f[g + k] = -bound if x < -bound else x
    return 0


RESET = Op("clip_reset", forward=reset)
NORM = Op("clip_norm", forward=norm)
SCALE = Op("clip_scale", forward=scale)
VALUE = Op("clip_value", forward=value)


def reset_words(total: np.ndarray, dtype: np.dtype) -> list[int]:
    """The row that clears the norm of gradients of `dtype` in `total`, one aligned float64."""
    return list(Reset.words(mode=0, total=address_of(total) // dtype.itemsize))


def parameter_words(gradient: int, n: int, listed: int, total: np.ndarray, dtype: np.dtype, order: float = 2.0,
                    max_norm: float = math.inf, bound: float = math.inf) -> list[int]:
    """The three consecutive rows of a parameter."""
    at, what = address_of(total) // dtype.itemsize, {"mode": 0, "g": gradient, "n": n, "listed": listed}
    return [*Norm.words(**what, total=at, order=order), *Scale.words(**what, total=at, max_norm=max_norm),
            *Value.words(**what, bound=bound)]


def write_bounds(rows: np.ndarray, max_norm: float | None, bound: float | None) -> None:
    """Write the bounds into rows of `parameter_words`, viewed as float64, shape (parameters, WORDS)."""
    rows[:, _SCALE + Scale.places["max_norm"]] = math.inf if max_norm is None else max_norm
    rows[:, _VALUE + Value.places["bound"]] = math.inf if bound is None else bound


def norm_program(starts: np.ndarray, some: bool = True) -> list[tuple[Op, np.ndarray]]:
    """Ops that clip by norm, with the starts of their rows; the row of `reset_words` is at 0."""
    first = np.zeros(int(some), np.int64)
    return [(RESET, first), (NORM, starts + _NORM), (SCALE, starts + _SCALE)]


def value_program(starts: np.ndarray) -> list[tuple[Op, np.ndarray]]:
    """Ops that clip by value, with the starts of their rows."""
    return [(VALUE, starts + _VALUE)]


def clip_grad_norm_(parameters: Tensor | Iterable[Tensor], max_norm: float, norm_type: float = 2.0,
                    error_if_nonfinite: bool = False, foreach: bool | None = None) -> Tensor:
    """Scale the gradients in place so that their global norm is at most `max_norm`.

    Parameters
    ----------
    parameters : Tensor or iterable of Tensor
        Those without a gradient are skipped.
    max_norm : float
    norm_type : float, default 2.0
        Order of the norm: positive, ``inf`` for the largest magnitude.
    error_if_nonfinite : bool, default False
        Raise when the norm is NaN or infinite; the gradients are left as they are.
    foreach : bool, optional
        Ignored; selects among PyTorch's implementations.

    Returns
    -------
    Tensor, shape ()
        The norm before clipping; 0 if there is no gradient.

    Raises
    ------
    GradientError
        If `error_if_nonfinite` and the norm is not finite.

    Notes
    -----
    Each gradient is multiplied by ``min(max_norm / (norm + 1e-6), 1)`` [1]_.

    References
    ----------
    .. [1] Pascanu, Mikolov, Bengio, "On the difficulty of training recurrent neural networks", ICML 2013.
    """
    order = float(norm_type)
    if not order > 0.0:
        raise ArgumentError(f"norm_type must be positive, got {norm_type}")
    if not max_norm >= 0.0:
        raise ArgumentError(f"max_norm must not be negative, got {max_norm}")
    with_gradient, dtype = _with_gradient(parameters)
    total = aligned_zeros(1, _TOTAL)
    if with_gradient:
        words, starts = _rows(with_gradient, total, order=order, max_norm=float(max_norm))
        program = norm_program(starts)
        if error_if_nonfinite:
            _run(program[:2], words, dtype)
            found = dtype.type(total[0])
            if not math.isfinite(found):
                raise GradientError(f"the norm of order {order:g} of the gradients is {found}; it cannot be clipped")
            program = program[2:]
        _run(program, words, dtype)
    return tensor(total[0], dtype=dtype)


def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float, foreach: bool | None = None) -> None:
    """Clip every element of the gradients in place to ``[-clip_value, clip_value]``.

    Parameters
    ----------
    parameters : Tensor or iterable of Tensor
        Those without a gradient are skipped.
    clip_value : float
    foreach : bool, optional
        Ignored; selects among PyTorch's implementations.
    """
    if not clip_value >= 0.0:
        raise ArgumentError(f"clip_value must not be negative, got {clip_value}")
    with_gradient, dtype = _with_gradient(parameters)
    if with_gradient:
        words, starts = _rows(with_gradient, aligned_zeros(1, _TOTAL), bound=float(clip_value))
        _run(value_program(starts), words, dtype)


def _with_gradient(parameters: Tensor | Iterable[Tensor]) -> tuple[list[Tensor], np.dtype]:
    given = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    chosen = [p for p in given if p.node is not None and p.node.gradient is not None]
    for k, p in enumerate(chosen):
        if not (p.shape == p.node.shape and p.is_contiguous):
            raise ArgumentError(f"tensor {k} of shape {list(p.shape)} is a view of a leaf of {list(p.node.shape)}; "
                                "clip the gradient of the leaf")
    dtypes = {p.dtype for p in chosen}
    if len(dtypes) > 1:
        raise DtypeError("gradients of float32 and float64 cannot be clipped together")
    return chosen, dtypes.pop() if dtypes else np.dtype(np.float32)


def _rows(parameters: list[Tensor], total: np.ndarray, **bounds: float) -> tuple[np.ndarray, np.ndarray]:
    dtype = parameters[0].dtype
    words = reset_words(total, dtype)
    for p in parameters:
        words += parameter_words(p.node.gradient.address // dtype.itemsize, p.size, list_address(p), total, dtype,
                                 **bounds)
    return np.array(words, np.int64), RESET_WORDS + WORDS * np.arange(len(parameters), dtype=np.int64)


def _run(program: list[tuple[Op, np.ndarray]], words: np.ndarray, dtype: np.dtype) -> None:
    for op, _ in program:
        op.forward.address(dtype)
    opcodes = np.concatenate([np.full(len(starts), op.opcode, np.int64) for op, starts in program])
    run_rows(opcodes, np.concatenate([starts for _, starts in program]), words, dtype)
