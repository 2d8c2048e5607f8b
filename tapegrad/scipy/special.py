"""``scipy.special``, whose functions know tensors where they are tapegrad's or composed of them.

Examples
--------
>>> import numpy as np, tapegrad as tg
>>> from tapegrad.scipy.special import gammaincc, logsumexp
>>> gammaincc(2.0, np.array([1.0, 3.0])).round(4)
array([0.7358, 0.1991])
>>> tg.grad(lambda x: gammaincc(2.0, x).sum())(np.array([1.0, 3.0])).round(4)
array([-0.3679, -0.1494])
>>> tg.grad(logsumexp)(np.zeros(2))
array([0.5, 0.5])
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from .. import functions
from ..errors import ArgumentError
from ..tensor.recording import as_tensor, lift
from ..tensor.tensor import Tensor
from . import closed
from .passing import passing

#: ufuncs of SciPy's that are composed; ``scipy.special.ndtr(t)`` finds them too
UFUNCS: dict[str, Callable] = {name: getattr(closed, name) for name in (
    "entr", "gamma", "gammasgn", "kl_div", "log_ndtr", "ndtr", "rel_entr", "rgamma")}


@passing("scipy.special")
def logsumexp(a: Any, axis: Any = None, b: Any = None, keepdims: bool = False, return_sign: bool = False) -> Tensor:
    """``ln sum(b exp(a))`` over axes, without overflow."""
    if return_sign:
        raise ArgumentError("logsumexp: return_sign= is not available for tensors")
    if b is None:
        return functions.logsumexp(a, axis, keepdims)
    a, b = lift(a, b)
    top = functions.max(functions.where(b != 0.0, a, -float("inf")), axis, True)
    top = functions.where(functions.isfinite(top), top, 0.0).detach()
    total = functions.sum(b * functions.exp(functions.where(b != 0.0, a, top) - top), axis, True)
    whole = functions.log(total) + top
    return whole if keepdims else functions.reshape(whole, functions.sum(b * a, axis).shape)


def _over_all(name: str) -> Callable:
    def function(x: Any, axis: Any = None) -> Tensor:
        t = as_tensor(x)
        if isinstance(axis, int):
            return getattr(functions, name)(t, axis)
        if axis is not None and tuple(sorted(d % t.ndim for d in axis)) != tuple(range(t.ndim)):
            raise ArgumentError(f"{name}: axis={axis} is not available for tensors; give one axis, or None for all")
        return functions.reshape(getattr(functions, name)(functions.reshape(t, (-1,)), 0), t.shape)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"``scipy.special.{name}``, over all axes by default."
    return passing("scipy.special")(function)


softmax, log_softmax = _over_all("softmax"), _over_all("log_softmax")


@passing("scipy.special")
def polygamma(n: int, x: Any) -> Tensor:
    """The n-th derivative of `digamma`."""
    return functions.polygamma(n, x)


@passing("scipy.special")
def multigammaln(a: Any, d: int) -> Tensor:
    """The logarithm of the multivariate gamma function of d dimensions."""
    return closed.multigammaln(a, d)


def __getattr__(name: str) -> Any:
    if name.startswith("_"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("scipy.special"), name)


def __dir__() -> list[str]:
    return sorted(import_module("scipy.special").__all__)

