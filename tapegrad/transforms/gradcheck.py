"""`gradcheck`: derivatives against central differences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..engine.tree import flatten
from ..errors import ArgumentError, DtypeError, GradientError, TapegradError
from ..tape.state import no_grad
from ..tensor.tensor import Tensor
from .grad import grad
from .jacobian import jacfwd

_MODES: dict[str, Callable] = {"rev": grad, "fwd": jacfwd}


class GradcheckError(TapegradError, AssertionError):
    """A derivative that disagrees with finite differences."""


def gradcheck(f: Callable, *args: Any, order: int = 1, modes: Sequence[str] = ("rev",), eps: float = 1e-6,
              atol: float = 1e-5, rtol: float = 1e-3, raise_exception: bool = True) -> bool:
    """Compare the derivatives of `f` with central differences, in float64.

    Parameters
    ----------
    f : callable
        Over tensors; returns a tensor of any shape, or several. Outputs are weighted by fixed random numbers.
    *args : array_like
        Float arguments are checked; integer and bool ones are passed as they are.
    order : int, default 1
        2 checks second derivatives too, as differences of first ones, and so on.
    modes : sequence of {"rev", "fwd"}, default ("rev",)
        Reverse mode, forward mode.
    eps : float
        Step of the central differences.
    atol, rtol : float
        An element of a derivative passes if it is within ``atol + rtol * |difference|``.
    raise_exception : bool, default True
        Raise `GradcheckError` with a report of the worst mismatch; else return False.

    Returns
    -------
    bool

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.gradcheck(tg.tanh, [0.3, -1.2], order=2, modes=("fwd", "rev"))
    True
    """
    if not modes or not set(modes) <= _MODES.keys():
        raise ArgumentError(f"gradcheck: modes are 'rev' and 'fwd', not {modes!r}")
    if order != int(order) or order < 1:
        raise ArgumentError(f"gradcheck: order is a whole number from 1 on, not {order}")
    arrays = [np.array(a.detach()._array() if isinstance(a, Tensor) else a) for a in args]
    arrays = [a.astype(np.float64) if a.dtype.kind == "f" else a for a in arrays]
    checked = tuple(k for k, a in enumerate(arrays) if a.dtype.kind == "f")
    if not checked:
        raise DtypeError("gradcheck: no argument is a float array")
    weights: list[np.ndarray] = []

    def weighted(*values: Any) -> Tensor:
        given = [t if isinstance(t, Tensor) else Tensor(t) for t in flatten(f(*values))[0]]
        outputs = [t for t in given if t.is_floating]
        if not outputs:
            raise GradientError("gradcheck: the function returned no float tensor")
        if not weights:
            rng = np.random.default_rng(0)
            weights.extend(rng.uniform(0.5, 1.5, t.shape) for t in outputs)
        total = (outputs[0] * weights[0]).sum()
        for t, w in zip(outputs[1:], weights[1:]):
            total = total + (t * w).sum()
        return total

    worst = (0.0, "")
    differences = _differences(weighted, arrays, checked, eps)
    for mode in modes:
        for k, derivative, difference in zip(checked, _MODES[mode](weighted, checked)(*arrays), differences):
            worst = max(worst, _worst(k, mode, derivative, difference, atol, rtol), key=lambda found: found[0])
    if worst[1]:
        if raise_exception:
            raise GradcheckError(f"gradcheck: {worst[1]}")
        return False
    return order == 1 or gradcheck(grad(weighted, checked), *arrays, order=order - 1, modes=modes, eps=eps, atol=atol,
                                   rtol=rtol, raise_exception=raise_exception)


def _differences(f: Callable, arrays: Sequence[np.ndarray], checked: Sequence[int], eps: float) -> list[np.ndarray]:
    """Central differences of a scalar function by each element of some arguments."""

    def at(k: int, index: tuple[int, ...], shift: float) -> float:
        moved = [a.copy() for a in arrays]
        moved[k][index] += shift
        with no_grad():
            return f(*map(Tensor, moved)).item()

    found = []
    for k in checked:
        difference = np.empty(arrays[k].shape)
        for index in np.ndindex(difference.shape):
            difference[index] = (at(k, index, eps) - at(k, index, -eps)) / (2 * eps)
        found.append(difference)
    return found


def _worst(k: int, mode: str, derivative: np.ndarray, difference: np.ndarray, atol: float,
           rtol: float) -> tuple[float, str]:
    """How far the worst element is off, in units of what is allowed, and a report if that is more than one."""
    if not difference.size:
        return 0.0, ""
    allowed = atol + rtol * np.abs(difference)
    with np.errstate(invalid="ignore"):
        excess = np.abs(derivative - difference) / allowed
    excess = np.where(np.isnan(excess), np.inf, excess)
    index = np.unravel_index(int(np.argmax(excess)), difference.shape)
    if excess[index] <= 1.0:
        return float(excess[index]), ""
    what = "adjoint" if mode == "rev" else "forward derivative"
    return float(excess[index]), (
        f"argument {k} at {list(map(int, index))}: {what} {derivative[index]:.9g}, central difference "
        f"{difference[index]:.9g}, off by {abs(derivative[index] - difference[index]):.3g} (allowed "
        f"{allowed[index]:.3g})")
