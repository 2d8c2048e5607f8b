"""Functions of tensors under the names of SciPy's, which get what holds no tensor."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from importlib import import_module
from typing import Any

from ..engine.caller import user_line
from ..errors import GradientError
from ..tensor.recording import gathered
from ..tensor.tensor import Tensor


def passing(place: str) -> Callable[[Callable], Callable]:
    """A decorator: without tensors among the arguments the function of that name in SciPy's `place` is called.

    Parameters
    ----------
    place : str
        A module, or behind a colon an object in it: ``"scipy.special"``, ``"scipy.stats:norm"``.
    """
    module, _, member = place.partition(":")

    def decorate(function: Callable) -> Callable:
        @wraps(function)
        def called(*args: Any, **kwargs: Any) -> Any:
            args, kwargs = tuple(map(gathered, args)), {key: gathered(value) for key, value in kwargs.items()}
            if any(isinstance(v, Tensor) for v in (*args, *kwargs.values())):
                return function(*args, **kwargs)
            scipys = import_module(module)
            return getattr(getattr(scipys, member) if member else scipys, function.__name__)(*args, **kwargs)

        return called

    return decorate


def constant(name: str, **parameters: Any) -> None:
    """Raise if a parameter by which there is no derivative wants one."""
    for key, value in parameters.items():
        if isinstance(value, Tensor) and value.requires_grad:
            raise GradientError(f"{user_line()}: {name} has no derivative by {key}; detach() it if it is a constant")
