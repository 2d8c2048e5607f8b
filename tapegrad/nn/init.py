"""Initialisers: fill tensors with starting values, in place, by PyTorch's names.

Every function returns the tensor that it filled. Numbers are drawn from the library's one generator, or from
`generator`, in float64 and rounded to the tensor's dtype, so that a model has the same starting values in float32 and
float64, to rounding.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

import numpy as np

from ..engine import random
from ..errors import ArgumentError, ShapeError
from ..tensor.tensor import Tensor

__all__ = [
    "calculate_gain", "constant_", "eye_", "kaiming_normal_", "kaiming_uniform_", "normal_", "ones_",
    "orthogonal_", "trunc_normal_", "uniform_", "xavier_normal_", "xavier_uniform_", "zeros_",
]  # fmt: skip

T = TypeVar("T", bound=Tensor)


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The gain of weights that preserves the variance of a layer's outputs through `nonlinearity`.

    Parameters
    ----------
    nonlinearity : str
        1 for "linear", "conv1d" to "conv3d", "conv_transpose1d" to "conv_transpose3d" and "sigmoid"; 5/3 for "tanh",
        sqrt(2) for "relu", sqrt(2 / (1 + param**2)) for "leaky_relu", 3/4 for "selu".
    param : float, optional
        The negative slope of "leaky_relu", 0.01 unless given.
    """
    if nonlinearity in _UNIT_GAIN:
        return 1.0
    if nonlinearity == "tanh":
        return 5.0 / 3.0
    if nonlinearity == "relu":
        return math.sqrt(2.0)
    if nonlinearity == "selu":
        return 3.0 / 4.0
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else float(param)
        return math.sqrt(2.0 / (1.0 + slope * slope))
    known = ", ".join(sorted({"tanh", "relu", "selu", "leaky_relu", *_UNIT_GAIN}))
    raise ArgumentError(f"calculate_gain: no gain is known for {nonlinearity!r}; known are {known}")


_UNIT_GAIN = frozenset(
    ["linear", "sigmoid"] + [f"{kind}{axes}d" for kind in ("conv", "conv_transpose") for axes in (1, 2, 3)]
)


def uniform_(tensor: T, a: float = 0.0, b: float = 1.0, generator: np.random.Generator | None = None) -> T:
    """Fill with draws from U(a, b)."""
    if not a <= b:
        raise ArgumentError(f"uniform_: a must not exceed b, got a={a}, b={b}")
    return _fill(tensor, lambda draw: draw.uniform(a, b, tensor.shape), generator)


def normal_(
    tensor: T, mean: float = 0.0, std: float = 1.0, generator: np.random.Generator | None = None
) -> T:
    """Fill with draws from N(mean, std**2)."""
    _require_std(std, "normal_")
    return _fill(tensor, lambda draw: draw.normal(mean, std, tensor.shape), generator)


def trunc_normal_(
    tensor: T,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: np.random.Generator | None = None,
) -> T:
    """Fill with draws from N(mean, std**2) truncated to [a, b].

    Notes
    -----
    By inversion of the distribution function: every draw costs the same, however small the interval.
    """
    from scipy.special import ndtr, ndtri  # a slow import

    _require_std(std, "trunc_normal_")
    if not a < b:
        raise ArgumentError(f"trunc_normal_: a must be below b, got a={a}, b={b}")
    if std == 0:
        return constant_(tensor, min(max(mean, a), b))
    low, high = (a - mean) / std, (b - mean) / std
    # probabilities are finer in the lower tail: mirror an interval above the mean into it
    sign = -1.0 if low > 0 else 1.0
    if low > 0:
        low, high = -high, -low

    def draws(draw: np.random.Generator) -> np.ndarray:
        standard = ndtri(draw.uniform(ndtr(low), ndtr(high), tensor.shape))
        return np.clip(mean + std * sign * standard, a, b)

    return _fill(tensor, draws, generator)


def constant_(tensor: T, val: float) -> T:
    """Fill with `val`."""
    return _write(tensor, np.full(tensor.shape, val, dtype=np.float64))


def ones_(tensor: T) -> T:
    """Fill with 1."""
    return constant_(tensor, 1.0)


def zeros_(tensor: T) -> T:
    """Fill with 0."""
    return constant_(tensor, 0.0)


def eye_(tensor: T) -> T:
    """Fill a matrix with the identity: a linear layer preserves as many inputs as possible."""
    if tensor.ndim != 2:
        raise ShapeError(f"eye_: needs a matrix, got shape {list(tensor.shape)}")
    return _write(tensor, np.eye(*tensor.shape))


def xavier_uniform_(tensor: T, gain: float = 1.0, generator: np.random.Generator | None = None) -> T:
    """Fill with draws from U(-c, c), c = gain * sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio, 2010)."""
    fan_in, fan_out = _fans(tensor, "xavier_uniform_")
    bound = gain * math.sqrt(6.0 / (fan_in + fan_out)) if tensor.size else 0.0
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: T, gain: float = 1.0, generator: np.random.Generator | None = None) -> T:
    """Fill with draws from N(0, s**2), s = gain * sqrt(2 / (fan_in + fan_out)) (Glorot and Bengio, 2010)."""
    fan_in, fan_out = _fans(tensor, "xavier_normal_")
    return normal_(tensor, 0.0, gain * math.sqrt(2.0 / (fan_in + fan_out)) if tensor.size else 0.0, generator)


def kaiming_uniform_(
    tensor: T,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: np.random.Generator | None = None,
) -> T:
    """Fill with draws from U(-c, c), c = gain * sqrt(3 / fan) (He et al., 2015).

    Parameters
    ----------
    tensor : Tensor, at least 2-D
        Axis 0 counts outputs, axis 1 inputs, the rest is the receptive field.
    a : float
        Negative slope of the leaky ReLU that follows.
    mode : {"fan_in", "fan_out"}
        Preserve the variance in the forward or in the reverse pass.
    nonlinearity : str
        As for `calculate_gain`.
    """
    return uniform_(tensor, *_both(math.sqrt(3.0) * _kaiming_std(tensor, a, mode, nonlinearity)), generator)


def kaiming_normal_(
    tensor: T,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: np.random.Generator | None = None,
) -> T:
    """Fill with draws from N(0, s**2), s = gain / sqrt(fan) (He et al., 2015); see `kaiming_uniform_`."""
    return normal_(tensor, 0.0, _kaiming_std(tensor, a, mode, nonlinearity), generator)


def orthogonal_(tensor: T, gain: float = 1.0, generator: np.random.Generator | None = None) -> T:
    """Fill with `gain` times a matrix of orthonormal rows or columns, whichever are fewer (Saxe, 2014).

    Parameters
    ----------
    tensor : Tensor, at least 2-D
        Axes after the first are flattened.

    Notes
    -----
    The Q factor of a normal matrix, with the signs of R's diagonal, which makes it uniform over the orthogonal matrices
    (Mezzadri, 2007).
    """
    if tensor.ndim < 2:
        raise ShapeError(f"orthogonal_: needs at least 2 axes, got shape {list(tensor.shape)}")
    rows = tensor.shape[0]
    columns = tensor.size // rows if rows else 0

    def draws(draw: np.random.Generator) -> np.ndarray:
        normal = draw.standard_normal((max(rows, columns), min(rows, columns)))
        q, r = np.linalg.qr(normal)
        q *= np.where(np.diagonal(r) < 0, -1.0, 1.0)
        return gain * (q if rows >= columns else q.T).reshape(tensor.shape)

    return _fill(tensor, draws, generator)


def _fill(
    tensor: T, draws: Callable[[np.random.Generator], np.ndarray], generator: np.random.Generator | None
) -> T:
    if tensor.size == 0:
        return tensor
    return _write(tensor, draws(random.weight_generator() if generator is None else generator))


def _write(tensor: T, values: np.ndarray) -> T:
    tensor.copy_(values.astype(tensor.dtype))
    return tensor


def _fans(tensor: Tensor, where: str) -> tuple[int, int]:
    """Fan-in and fan-out: inputs of an output unit, outputs of an input unit."""
    if tensor.ndim < 2:
        raise ShapeError(
            f"{where}: needs at least 2 axes to know inputs from outputs, got shape {list(tensor.shape)}"
        )
    field = math.prod(tensor.shape[2:])
    return tensor.shape[1] * field, tensor.shape[0] * field


def _kaiming_std(tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    fans = dict(zip(("fan_in", "fan_out"), _fans(tensor, "kaiming"), strict=True))
    if mode not in fans:
        raise ArgumentError(f"kaiming: mode must be 'fan_in' or 'fan_out', got {mode!r}")
    gain = calculate_gain(nonlinearity, a)
    return gain / math.sqrt(fans[mode]) if tensor.size else 0.0


def _both(bound: float) -> tuple[float, float]:
    return -bound, bound


def _require_std(std: float, where: str) -> None:
    if not std >= 0:
        raise ArgumentError(f"{where}: std must not be negative, got {std}")
