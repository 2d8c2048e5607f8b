"""Activations as functions, by PyTorch's names and arguments, beside those of `functional`."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from .. import functions
from ..errors import ArgumentError, ShapeError
from ..functions.apply import apply_binary, apply_unary
from ..ops.elementwise import BINARY, UNARY
from ..tensor.recording import lift
from ..tensor.tensor import Tensor
from .shapes import normal_axis, shape_of

__all__ = [
    "celu", "glu", "gumbel_softmax", "hardshrink", "hardsigmoid", "hardswish", "mish", "prelu", "rrelu", "softmin",
    "softshrink", "tanhshrink", "threshold",
]  # fmt: skip

Array = Tensor | ArrayLike


def celu(input: Array, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """``x`` where positive, else ``alpha * (exp(x / alpha) - 1)`` (Barron, 2017)."""
    if alpha == 0:
        raise ArgumentError("celu: alpha must not be 0")
    return apply_unary(UNARY["celu"], input, float(alpha))


def mish(input: Array, inplace: bool = False) -> Tensor:
    """``x * tanh(softplus(x))`` (Misra, 2019)."""
    return apply_unary(UNARY["mish"], input)


def hardswish(input: Array, inplace: bool = False) -> Tensor:
    """``x * min(max(x + 3, 0), 6) / 6`` (Howard et al., 2019)."""
    return apply_unary(UNARY["hardswish"], input)


def hardsigmoid(input: Array, inplace: bool = False) -> Tensor:
    """``min(max(x + 3, 0), 6) / 6``; its derivative is 1/6 strictly between -3 and 3, else 0."""
    return apply_unary(UNARY["hardsigmoid"], input)


def hardshrink(input: Array, lambd: float = 0.5) -> Tensor:
    """``x``, but 0 where ``|x| <= lambd``."""
    return apply_unary(UNARY["hardshrink"], input, float(lambd))


def softshrink(input: Array, lambd: float = 0.5) -> Tensor:
    """``x - sign(x) * lambd``, but 0 where ``|x| <= lambd``, which must not be negative."""
    if not lambd >= 0:
        raise ArgumentError(f"softshrink: lambd must not be negative, got {lambd}")
    return apply_unary(UNARY["softshrink"], input, float(lambd))


def tanhshrink(input: Array) -> Tensor:
    """``x - tanh(x)``."""
    return functions.subtract(input, functions.tanh(input))


def threshold(input: Array, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """``x`` where it exceeds `threshold`, else `value`."""
    return apply_unary(UNARY["threshold"], input, float(threshold), float(value))


def softmin(input: Array, dim: int | None = None) -> Tensor:
    """``softmax(-x)`` along `dim`, which has to be given."""
    if dim is None:
        raise ShapeError("softmin: say along which axis, for instance dim=-1")
    return functions.softmax(functions.negative(input), axis=dim)


def glu(input: Array, dim: int = -1) -> Tensor:
    """``a * sigmoid(b)`` of the halves `a` and `b` of the axis `dim` (Dauphin et al., 2016).

    Parameters
    ----------
    input : Tensor, shape (..., 2 n, ...)
    dim : int

    Returns
    -------
    Tensor, shape (..., n, ...)

    Raises
    ------
    ShapeError
        If the axis has an odd number of elements.
    """
    shape = shape_of(input)
    axis = normal_axis(dim, shape, "glu")
    if shape[axis] % 2:
        raise ShapeError(f"glu: axis {dim} of shape {list(shape)} has {shape[axis]} elements, which have no halves")
    first, second = functions.split(input, 2, axis=axis)
    return first * functions.sigmoid(second)


def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """``x`` where positive, else ``weight * x`` (He et al., 2015).

    Parameters
    ----------
    input : Tensor, shape (N, C, ...)
    weight : Tensor, shape () or (1,) or (C,)
        One slope, or one for each channel.

    Returns
    -------
    Tensor
        Of the shape of `input`.
    """
    shape, given = shape_of(input), shape_of(weight)
    if int(np.prod(given)) != 1:
        channels = shape[1] if len(shape) > 1 else 1
        if given != (channels,):
            raise ShapeError(f"prelu: a weight of shape {list(given)} for an input of {list(shape)}; expected [1], or "
                             f"[{channels}], one for each channel")
    rest = len(shape) - 2 if len(shape) > 1 else 0
    slopes = functions.reshape(weight, (-1, *(1,) * rest) if shape else ())
    return apply_binary(BINARY["prelu"], input, slopes)


def rrelu(input: Array, lower: float = 1.0 / 8, upper: float = 1.0 / 3, training: bool = False,
          inplace: bool = False) -> Tensor:
    """``x`` where positive, else ``a * x``, with `a` drawn from U(lower, upper) for each element (Xu et al., 2015).

    Unless `training`, `a` is the mean of the two. A recording draws anew at each replay.
    """
    if not lower <= upper:
        raise ArgumentError(f"rrelu: lower must not exceed upper, got {lower} and {upper}")
    if not training:
        return functions.leaky_relu(input, (lower + upper) / 2.0)
    x = lift(input)[0]
    slopes = functions.scale_shift(functions.rand(x.shape, dtype=x.dtype), upper - lower, lower)
    return apply_binary(BINARY["prelu"], x, slopes)


def gumbel_softmax(logits: Array, tau: float = 1.0, hard: bool = False, eps: float = 1e-10, dim: int = -1) -> Tensor:
    """Samples of a relaxed categorical distribution: ``softmax((logits + g) / tau)``, `g` of the Gumbel distribution.

    Parameters
    ----------
    logits : Tensor, shape (..., classes, ...)
        Logarithms of probabilities, not normalised.
    tau : float
        Temperature; the lower, the nearer to one-hot.
    hard : bool
        One-hot samples, with the gradient of the relaxed ones.
    eps : float
        Ignored, as by PyTorch.
    dim : int
        The axis of the classes.

    Returns
    -------
    Tensor
        Of the shape of `logits`. A recording draws anew at each replay.

    Notes
    -----
    Jang, Gu and Poole, "Categorical reparameterization with Gumbel-softmax", ICLR 2017.
    """
    if not tau > 0:
        raise ArgumentError(f"gumbel_softmax: tau must be positive, got {tau}")
    x = lift(logits)[0]
    axis = normal_axis(dim, x.shape, "gumbel_softmax")
    drawn = functions.maximum(functions.rand(x.shape, dtype=x.dtype), 2.0**-33)  # 0 would become infinite
    gumbel = -functions.log(-functions.log1p(-drawn))
    y = functions.softmax((x + gumbel) / tau, axis=axis)
    if not hard:
        return y
    still = y.detach()
    chosen = functions.one_hot_rows(functions.argmax(functions.moveaxis(still, axis, -1), axis=-1), x.shape[axis])
    return functions.moveaxis(chosen, -1, axis) - still + y
