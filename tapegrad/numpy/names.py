"""The names of a module of NumPy, looked up when they are first asked for."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from importlib import import_module
from typing import Any

import numpy as np

from ..tensor.recording import gathered

#: functions whose first argument is a sequence of arrays
_JOINS = {"atleast_1d", "atleast_2d", "atleast_3d", "block", "broadcast_arrays", "choose", "column_stack", "concat",
          "concatenate", "dstack", "hstack", "meshgrid", "multi_dot", "row_stack", "select", "stack", "vstack"}
_DISPATCHER = type(np.sum)  # of the functions that ask their arguments for __array_function__


def _of_lists(function: Callable) -> Callable:
    """`function`, to which a list of tensors is a tensor."""

    @wraps(function)
    def called(*args: Any, **kwargs: Any) -> Any:
        return function(*map(gathered, args), **{key: gathered(value) for key, value in kwargs.items()})

    return called


def mirror(name: str, own: dict[str, Any]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """``__getattr__`` and ``__dir__`` of a module that has the names of NumPy's module `name` beside its `own`."""
    module = import_module(name)
    public = [n for n in getattr(module, "__all__", dir(module)) if not n.startswith("_")]

    def found(attribute: str) -> Any:
        if attribute.startswith("_") and attribute not in module.__all__:
            raise AttributeError(f"module {own['__name__']!r} has no attribute {attribute!r}")
        value = getattr(module, attribute)
        if type(value) is _DISPATCHER and attribute not in _JOINS:
            value = _of_lists(value)
        own[attribute] = value
        return value

    return found, lambda: sorted(public)
