"""L-BFGS through SciPy."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import ArgumentError, CaptureError, GradientError
from ..tape.state import enable_grad
from ..tensor.tensor import Tensor
from .checks import at_least_zero
from .optimizer import Optimizer, Params

__all__ = ["LBFGS"]


class LBFGS(Optimizer):
    """L-BFGS over the flat vector of all parameters, by ``scipy.optimize.minimize(method="L-BFGS-B")``.

    Parameters
    ----------
    params : iterable of Tensor or of (str, Tensor)
        One group.
    lr : float, default 1
        Ignored, for the line search chooses the step lengths; another value warns.
    max_iter : int, default 20
        Iterations a `step`.
    max_eval : int, optional
        Calls of the closure a `step`, by default ``max_iter * 5 // 4``; an iteration in progress is finished.
    tolerance_grad : float, default 1e-7
        Stop when no element of the gradient is larger.
    tolerance_change : float, default 1e-9
        Stop when the loss falls by less, relative to the larger of its magnitude and 1.
    history_size : int, default 100
        Vector pairs of the Hessian approximation.
    line_search_fn : {None, "strong_wolfe"}
        Both mean SciPy's line search, which meets the strong Wolfe conditions.

    Raises
    ------
    ArgumentError
        If there are several groups, or a hyper-parameter is out of its range.

    Notes
    -----
    Unlike PyTorch's: there is always a line search, so no `lr`; each `step` starts with a new Hessian approximation, so
    give it the iterations that it needs; SciPy computes in float64 around the closure's float32 or float64; parameters
    without a gradient stay unchanged. Liu and Nocedal, "On the limited
    memory BFGS method for large scale optimization", Mathematical Programming 45, 1989.

    Examples
    --------
    >>> import tapegrad as tg
    >>> w = tg.tensor([3.0, -1.0], dtype="float64", requires_grad=True)
    >>> optimizer = LBFGS([w])
    >>> def closure():
    ...     optimizer.zero_grad()
    ...     loss = ((w - 1.0) ** 2).sum()
    ...     loss.backward()
    ...     return loss
    >>> round(float(optimizer.step(closure)), 6)
    8.0
    >>> w.numpy().round(6)
    array([1., 1.])
    """

    def __init__(self, params: Params, lr: float = 1.0, max_iter: int = 20, max_eval: int | None = None,
                 tolerance_grad: float = 1e-7, tolerance_change: float = 1e-9, history_size: int = 100,
                 line_search_fn: str | None = None) -> None:
        at_least_zero(lr=lr, tolerance_grad=tolerance_grad, tolerance_change=tolerance_change)
        if line_search_fn not in (None, "strong_wolfe"):
            raise ArgumentError(f'line_search_fn must be "strong_wolfe" or None, got {line_search_fn!r}')
        if max_iter < 1 or history_size < 1:
            raise ArgumentError(f"max_iter and history_size must be at least 1, got {max_iter} and {history_size}")
        if lr != 1.0:
            warnings.warn("LBFGS has a line search and does not use lr", UserWarning, stacklevel=2)
        defaults = {"lr": lr, "max_iter": max_iter, "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
                    "tolerance_grad": tolerance_grad, "tolerance_change": tolerance_change,
                    "history_size": history_size, "line_search_fn": line_search_fn}
        self.func_evals = self.n_iter = 0
        super().__init__(params, defaults)
        if len(self.param_groups) != 1:
            raise ArgumentError("LBFGS takes one parameter group")

    def _hyper(self, group: dict[str, Any]) -> tuple[float, ...]:
        return (group["lr"],)

    def update_rows(self, parameters: Any = None) -> Any:
        """Raises: the number of closure calls in an iteration depends on the line search.

        Raises
        ------
        CaptureError
        """
        raise CaptureError("LBFGS cannot be part of a recorded step; call step(closure)")

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Minimise the loss for up to `max_iter` iterations.

        Parameters
        ----------
        closure : callable
            Clears the gradients, computes the loss, calls `backward`, and returns the loss.

        Returns
        -------
        The loss of the closure's first call.
        """
        from scipy.optimize import minimize

        if closure is None:
            raise ArgumentError("LBFGS needs a closure that computes the loss and its gradients")
        group, losses = self.param_groups[0], []
        evaluate = enable_grad()(closure)

        def value_and_gradient(x: np.ndarray) -> tuple[float, np.ndarray]:
            self._scatter(x)
            loss = evaluate()
            losses.append(loss)
            return float(loss.item() if isinstance(loss, Tensor) else loss), self._gather_gradients()

        start = np.concatenate([p.numpy().ravel() for p in self._parameters]).astype(np.float64)
        result = minimize(value_and_gradient, start, jac=True, method="L-BFGS-B", options={
            "maxiter": group["max_iter"], "maxfun": group["max_eval"], "gtol": group["tolerance_grad"],
            "ftol": group["tolerance_change"], "maxcor": min(group["history_size"], start.size)})
        self._scatter(result.x)
        self.func_evals += result.nfev
        self.n_iter += result.nit
        return losses[0]

    def _scatter(self, x: np.ndarray) -> None:
        begin = 0
        for p in self._parameters:
            p.copy_(x[begin:begin + p.size].reshape(p.shape))
            begin += p.size

    def _gather_gradients(self) -> np.ndarray:
        gradients = [np.zeros(p.size) if p.grad is None or not p.requires_grad else p.grad.numpy().ravel()
                     for p in self._parameters]
        if not any(p.grad is not None for p in self._parameters):
            raise GradientError("the closure computed no gradient: does it call backward()?")
        return np.concatenate(gradients).astype(np.float64)

    def state_dict(self) -> dict[str, Any]:
        """Hyper-parameters, and the numbers of evaluations and iterations."""
        return {**super().state_dict(), "state": {0: {"func_evals": self.func_evals, "n_iter": self.n_iter}}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load hyper-parameters and numbers."""
        saved = state_dict.get("state", {})
        counts = saved.get(0, saved.get("0", {}))
        super().load_state_dict({**state_dict, "state": {}})
        self.func_evals, self.n_iter = int(counts.get("func_evals", 0)), int(counts.get("n_iter", 0))
