"""`gradcheck`: derivatives against central differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..engine.tree import flatten
from ..errors import DtypeError, GradientError, TapegradError
from ..tape.state import state
from ..tensor.tensor import Tensor
from .grad import value_and_grad


class GradcheckError(TapegradError, AssertionError):
    """An adjoint that disagrees with finite differences."""


def gradcheck(f: Callable, *args: Any, eps: float = 1e-6, atol: float = 1e-5, rtol: float = 1e-3,
              raise_exception: bool = True) -> bool:
    """Compare the gradients of `f` with central differences, in float64.

    Parameters
    ----------
    f : callable
        Over tensors; returns a tensor of any shape, or several. Outputs are weighted by fixed random numbers.
    *args : array_like
        Float arguments are checked; integer and bool ones are passed as they are.
    eps : float
        Half the distance of the differences.
    atol, rtol : float
        A gradient element passes if it is within ``atol + rtol * |difference|``.
    raise_exception : bool, default True
        Raise `GradcheckError` with a report of the worst mismatch; else return False.

    Returns
    -------
    bool

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.gradcheck(tg.tanh, [0.3, -1.2])
    True
    """
    arrays = [np.array(a.detach()._array() if isinstance(a, Tensor) else a) for a in args]
    arrays = [a.astype(np.float64) if a.dtype.kind == "f" else a for a in arrays]
    checked = [k for k, a in enumerate(arrays) if a.dtype.kind == "f"]
    if not checked:
        raise DtypeError("gradcheck: no argument is a float array")
    weights: list[np.ndarray] = []

    def weighted(*values: Any) -> Tensor:
        outputs = [t for t in flatten(f(*values))[0] if isinstance(t, Tensor) and t.is_floating]
        if not outputs:
            raise GradientError("gradcheck: the function returned no float tensor")
        if not weights:
            rng = np.random.default_rng(0)
            weights.extend(rng.uniform(0.5, 1.5, t.shape) for t in outputs)
        total = (outputs[0] * weights[0]).sum()
        for t, w in zip(outputs[1:], weights[1:]):
            total = total + (t * w).sum()
        return total

    _, gradients = value_and_grad(weighted, tuple(checked))(*arrays)
    worst: tuple[float, str] = (0.0, "")
    for k, gradient in zip(checked, gradients):
        for index in np.ndindex(arrays[k].shape):
            def at(shift: float, k: int = k, index: tuple = index) -> float:
                moved = [a.copy() for a in arrays]
                moved[k][index] += shift
                tensors = [Tensor(a) for a in moved]
                before, state.grad_enabled = state.grad_enabled, False
                try:
                    return weighted(*tensors).item()
                finally:
                    state.grad_enabled = before

            difference = (at(eps) - at(-eps)) / (2 * eps)
            error = abs(gradient[index] - difference)
            excess = error / (atol + rtol * abs(difference))
            if not excess <= 1.0 and (not excess <= worst[0] or not worst[1]):
                worst = (excess, f"argument {k} at {list(index)}: adjoint {gradient[index]:.9g}, central difference "
                                 f"{difference:.9g}, off by {error:.3g} (allowed {atol + rtol * abs(difference):.3g})")
    if worst[1] and raise_exception:
        raise GradcheckError(f"gradcheck: {worst[1]}")
    return not worst[1]
