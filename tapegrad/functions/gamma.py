"""The incomplete gamma and beta functions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..engine.caller import user_line
from ..errors import GradientError
from ..ops.incomplete import BETA, GAMMA
from ..ops.table import Op
from ..tensor.recording import gathered, lift, recorder
from ..tensor.tensor import Tensor
from .elementwise import equal, greater, logical_or, where
from .formulas import floor, remainder
from .layout import broadcast_to

__all__ = ["betainc", "gammainc", "gammaincc", "igamma", "igammac"]
LOG_TWO_PI = math.log(2.0 * math.pi)


def sign_of_gamma(x: Tensor) -> Tensor:
    """The sign of the gamma function."""
    sign = where(logical_or(greater(x, 0.0), equal(remainder(floor(x), 2.0), 0.0)), 1.0, -1.0)
    return where(equal(x, x), sign, x)


def _elements(op: Op, name: str, parameters: dict[str, Any], x: Any, **attributes: float) -> Tensor:
    """The op over operands that are broadcast; by the parameters there is no derivative."""
    given = {key: gathered(value) for key, value in parameters.items()}
    for key, value in given.items():
        if isinstance(value, Tensor) and value.requires_grad:
            raise GradientError(f"{user_line()}: {name} has no derivative by {key}; detach() it if it is a constant")
    tensors = lift(*given.values(), x)
    shape = np.broadcast_shapes(*(t.shape for t in tensors))
    operands = dict(zip((*given, "x"), [broadcast_to(t, shape) for t in tensors]))
    return recorder(op)(shape, dtype=tensors[-1].dtype, **operands, elements=math.prod(shape), **attributes)


def gammainc(a: Any, x: Any) -> Tensor:
    """The regularised lower incomplete gamma function P(a, x).

    Parameters
    ----------
    a : array_like
        Positive. There is no derivative by it: `GradientError` is raised where one is wanted.
    x : array_like
        Not negative; broadcast with `a`.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import numpy as np, tapegrad as tg
    >>> tg.gammainc(1.0, tg.tensor(np.array([0.5, 2.0])))  # 1 - exp(-x)
    tensor([0.39346934, 0.86466472], dtype=float64)
    """
    return _elements(GAMMA, "gammainc", {"a": a}, x, upper=0.0)


def gammaincc(a: Any, x: Any) -> Tensor:
    """The regularised upper incomplete gamma function ``1 - P(a, x)``; arguments as of `gammainc`."""
    return _elements(GAMMA, "gammaincc", {"a": a}, x, upper=1.0)


igamma, igammac = gammainc, gammaincc


def betainc(a: Any, b: Any, x: Any) -> Tensor:
    """The regularised incomplete beta function I_x(a, b).

    Parameters
    ----------
    a, b : array_like
        Positive. There is no derivative by them: `GradientError` is raised where one is wanted.
    x : array_like
        From 0 to 1; broadcast with `a` and `b`.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import numpy as np, tapegrad as tg
    >>> tg.betainc(1.0, 2.0, tg.tensor(np.array([0.25, 0.5])))  # 1 - (1 - x)^2
    tensor([0.4375, 0.75  ], dtype=float64)
    """
    return _elements(BETA, "betainc", {"a": a, "b": b}, x)
