"""Dropout of channels, and dropout that keeps mean and variance, by PyTorch's names and arguments."""

from __future__ import annotations

import math

import numpy as np

from .. import functions
from ..errors import ArgumentError, ShapeError
from ..tensor.recording import lift
from ..tensor.tensor import Tensor

__all__ = ["alpha_dropout", "dropout1d", "dropout2d", "dropout3d", "feature_alpha_dropout"]

#: `functional.selu` tends to minus this at minus infinity
_DEPTH = 1.7580993408473766


def _mask(x: Tensor, shape: tuple[int, ...], p: float) -> Tensor:
    """Zeros with probability `p`, else ``1 / (1 - p)``; others at every replay of a recording."""
    return functions.dropout(np.ones(shape, x.dtype), p)


def _channels(name: str, input: Tensor, p: float, training: bool, axes: int) -> Tensor:
    if not 0.0 <= p <= 1.0:
        raise ArgumentError(f"{name}: p is a probability, not {p}")
    x = lift(input)[0]
    if x.ndim not in (axes + 1, axes + 2):
        places = ", ".join("L" if axes == 1 else "DHW"[3 - axes:])
        raise ShapeError(f"{name}: an input of shape {list(x.shape)}; expected (N, C, {places}) or (C, {places})")
    if not training or p == 0.0:
        return x
    return x * _mask(x, (*x.shape[:-axes], *(1,) * axes), p)


def dropout1d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Zero each channel of (N, C, L) or (C, L) with probability `p` and divide the others by ``1 - p``.

    Tompson et al., 2015; the identity unless `training`.
    """
    return _channels("dropout1d", input, p, training, 1)


def dropout2d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """`dropout1d` for (N, C, H, W) or (C, H, W)."""
    return _channels("dropout2d", input, p, training, 2)


def dropout3d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """`dropout1d` for (N, C, D, H, W) or (C, D, H, W)."""
    return _channels("dropout3d", input, p, training, 3)


def _to_lowest(x: Tensor, shape: tuple[int, ...], p: float) -> Tensor:
    if p == 1.0:
        return x * 0.0
    kept = _mask(x, shape, p) * (1.0 - p)
    scale = 1.0 / math.sqrt((_DEPTH * _DEPTH * p + 1.0) * (1.0 - p))
    return x * (kept * scale) + ((kept - 1.0) * (_DEPTH * scale) + _DEPTH * scale * p)


def alpha_dropout(input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """Set each element to the lowest value of `selu` with probability `p`, then restore mean 0 and variance 1.

    Klambauer et al., 2017; the identity unless `training`.
    """
    if not 0.0 <= p <= 1.0:
        raise ArgumentError(f"alpha_dropout: p is a probability, not {p}")
    x = lift(input)[0]
    return x if not training or p == 0.0 else _to_lowest(x, x.shape, p)


def feature_alpha_dropout(input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """`alpha_dropout` of whole channels of (N, C, ...)."""
    if not 0.0 <= p <= 1.0:
        raise ArgumentError(f"feature_alpha_dropout: p is a probability, not {p}")
    x = lift(input)[0]
    if x.ndim < 2:
        raise ShapeError(f"feature_alpha_dropout: an input of shape {list(x.shape)}; expected (N, C, ...)")
    if not training or p == 0.0:
        return x
    return _to_lowest(x, (*x.shape[:2], *(1,) * (x.ndim - 2)), p)
