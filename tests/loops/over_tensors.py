"""A program run in plain Python, each of whose numbers is a tensor of its own: its gradients by the library's tape."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

import tapegrad as tg


def value_of(x: Any) -> Any:
    """The tensor of a number, or the number itself."""
    return x.tensor if isinstance(x, Number) else x


class Number:
    """A number that is a tensor; NumPy's arrays of objects hold it, and programs compare it."""

    def __init__(self, tensor: Any) -> None:
        self.tensor = tensor

    def __float__(self) -> float:
        return float(self.tensor.detach())


def _operator(name: str) -> Callable:
    def applied(self: Number, other: Any = None) -> Any:
        if isinstance(other, np.ndarray):
            return NotImplemented
        found = getattr(self.tensor, name)
        return Number(found() if other is None else found(value_of(other)))
    return applied


def _comparison(name: str) -> Callable:
    return lambda self, other: getattr(float(self), name)(float(other))


for _name in ("add", "radd", "sub", "rsub", "mul", "rmul", "truediv", "rtruediv", "pow", "rpow", "neg", "abs"):
    setattr(Number, f"__{_name}__", _operator(f"__{_name}__"))
for _name in ("lt", "le", "gt", "ge"):
    setattr(Number, f"__{_name}__", _comparison(f"__{_name}__"))


def _of_numbers(name: str) -> Callable:
    """A function of ``math``, of numbers that are tensors too."""
    return lambda x: Number(getattr(tg, name)(x.tensor)) if isinstance(x, Number) else getattr(math, name)(x)


MATH = SimpleNamespace(**{name: _of_numbers(name) for name in ("sin", "tanh", "exp", "sqrt")})
NUMPY = SimpleNamespace(zeros=np.zeros, int64=np.int64, sum=np.sum, dot=np.dot,
                        tanh=np.frompyfunc(MATH.tanh, 1, 1))


def gradients(program: Callable, args: Sequence[Any], weights: Sequence[float]) -> tuple[list[float], list[Any]]:
    """Results of a program, and the gradients of their weighted sum by the floats among its arguments."""
    leaves: list[np.ndarray] = []
    given: list[Any] = []
    for a in args:
        if isinstance(a, int):
            given.append(a)
            continue
        numbers = np.empty(np.shape(a), object)
        for at in np.ndindex(*numbers.shape):
            numbers[at] = Number(tg.tensor(np.float64(a[at] if numbers.shape else a), requires_grad=True))
        leaves.append(numbers)
        given.append(numbers.copy() if numbers.shape else numbers[()])
    scope = program.__globals__
    kept = {name: scope[name] for name in ("math", "np")}
    scope.update(math=MATH, np=NUMPY)
    try:
        results = program(*given)
    finally:
        scope.update(kept)
    total = sum((w * r for w, r in zip(weights, results)), start=0.0)
    if isinstance(total, Number) and total.tensor.requires_grad:
        total.tensor.backward()
    found = []
    for numbers in leaves:
        slopes = np.zeros(numbers.shape)
        for at in np.ndindex(*numbers.shape):
            grad = numbers[at].tensor.grad
            slopes[at] = 0.0 if grad is None else float(grad)
        found.append(slopes if slopes.shape else float(slopes))
    return [float(r) for r in results], found
