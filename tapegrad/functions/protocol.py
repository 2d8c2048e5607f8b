"""The array functions as operators and methods of `Tensor`, and behind ``np.exp(t)`` (NEP 13, NEP 18)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import DtypeError
from ..methods import METHODS
from ..recording import astype
from ..tensor import Tensor
from .indexing import At, getitem

#: NumPy names that differ from the function's own
_NUMPY_NAMES = {"absolute": "abs", "multiply": "multiply", "true_divide": "divide", "amax": "max", "amin": "min",
                "fabs": "abs"}
_OPERATORS = {"add": "add", "sub": "subtract", "mul": "multiply", "truediv": "divide", "pow": "power",
              "matmul": "matmul"}
_COMPARISONS = {"lt": "less", "le": "less_equal", "gt": "greater", "ge": "greater_equal", "eq": "equal",
                "ne": "not_equal"}
_LOGICAL = {"and": "logical_and", "or": "logical_or", "xor": "logical_xor"}


def _usable(value: Any) -> bool:
    return isinstance(value, (Tensor, np.ndarray, np.generic, int, float, list, tuple))


def _binary(function: Callable, reflected: bool) -> Callable:
    def operator(self: Tensor, other: Any) -> Any:
        if not _usable(other):
            return NotImplemented
        if self.dtype.kind != "f" and _integers_only(self, other):
            return Tensor(_on_arrays(function.__name__, (other, self) if reflected else (self, other)))
        return function(other, self) if reflected else function(self, other)

    return operator


def _integers_only(*values: Any) -> bool:
    """Whether NumPy shall compute: nothing is a float and nothing is recorded."""
    return all((not v.is_floating and not v.is_symbolic) if isinstance(v, Tensor) else np.asarray(v).dtype.kind in "iub"
               for v in values)


def _on_arrays(name: str, values: Sequence[Any]) -> np.ndarray:
    return getattr(np, name)(*(v._array() if isinstance(v, Tensor) else v for v in values))


def array_ufunc(self: Tensor, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
    """``np.exp(t)`` and the like (NEP 13)."""
    if method != "__call__" or kwargs.get("out") is not None:
        return NotImplemented
    name = _NUMPY_NAMES.get(ufunc.__name__, ufunc.__name__)
    if name not in _functions:
        raise DtypeError(f"np.{ufunc.__name__} has no counterpart in tapegrad; apply it to t.numpy() if no gradient is "
                         "needed, or define it with tg.custom_op")
    return _functions[name](*inputs, **kwargs)


def array_function(self: Tensor, function: Callable, types: Any, args: Any, kwargs: Any) -> Any:
    """``np.sum(t)`` and the like (NEP 18)."""
    name = _NUMPY_NAMES.get(function.__name__, function.__name__)
    if name in ("shape", "ndim", "size") and not kwargs and len(args) == 1:
        return getattr(args[0], name)
    if name not in _functions:
        raise DtypeError(f"np.{function.__name__} has no counterpart in tapegrad; apply it to t.numpy() if no gradient "
                         "is needed")
    return _functions[name](*args, **kwargs)


_functions: dict[str, Callable] = {}


def install(namespace: Mapping[str, Any], names: Sequence[str]) -> None:
    """Make the functions of `namespace` known to NumPy, and those that `methods` lists methods of `Tensor`."""
    _functions.update({name: namespace[name] for name in names})
    for name in METHODS:
        if name in _functions:
            setattr(Tensor, name, namespace[name])
    for symbol, name in _OPERATORS.items():
        setattr(Tensor, f"__{symbol}__", _binary(namespace[name], False))
        setattr(Tensor, f"__r{symbol}__", _binary(namespace[name], True))
    for symbol, name in _COMPARISONS.items():
        setattr(Tensor, f"__{symbol}__", _comparison(namespace[name], symbol))
    for symbol, name in _LOGICAL.items():
        setattr(Tensor, f"__{symbol}__", namespace[name])
        setattr(Tensor, f"__r{symbol}__", namespace[name])
    setattr(Tensor, "__invert__", namespace["logical_not"])
    setattr(Tensor, "__neg__", lambda self: namespace["negative"](self))
    setattr(Tensor, "__pos__", namespace["positive"])
    setattr(Tensor, "__abs__", lambda self: namespace["abs"](self))
    setattr(Tensor, "__getitem__", getitem)
    setattr(Tensor, "__array_ufunc__", array_ufunc)
    setattr(Tensor, "__array_function__", array_function)
    setattr(Tensor, "at", property(At))
    setattr(Tensor, "T", property(lambda self: namespace["transpose"](self)))
    setattr(Tensor, "mT", property(lambda self: namespace["swapaxes"](self, -1, -2)))
    setattr(Tensor, "view", lambda self, *shape: namespace["reshape"](self, *shape))
    setattr(Tensor, "astype", astype)
    setattr(Tensor, "pow", namespace["power"])


def _comparison(function: Callable, symbol: str) -> Callable:
    def operator(self: Tensor, other: Any) -> Any:
        if not _usable(other):
            return NotImplemented
        return function(self, other)

    operator.__name__ = f"__{symbol}__"
    return operator
