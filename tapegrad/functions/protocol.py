"""Array functions as operators and methods of `Tensor`, and behind ``np.exp(t)`` (NEP 13, NEP 18)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

import numpy as np

from ..engine.caller import user_line
from ..errors import DtypeError, InPlaceError
from ..tape.nodes import Leaf
from ..tape.state import state
from ..tensor.arrays import foreign_array
from ..tensor.exchange import is_foreign
from ..tensor.methods import METHODS
from ..tensor.recording import astype, gathered
from ..tensor.tensor import Tensor
from . import algebra, numpys
from .counterparts import BY_TYPE, counterparts, of_scipy, refuse_by_type
from .indexing import At, getitem
from .integers import exactly, integers, recorded
from .linalg import product_of_integers
from .pytorch import methods as methods_of_pytorch
from .tongues import METHODS as PYTORCHS
from .ufuncs import called, without_counterpart

_OPERATORS = {"add": "add", "sub": "subtract", "mul": "multiply", "truediv": "divide", "pow": "power",
              "matmul": "matmul", "floordiv": "floor_divide", "mod": "remainder"}
_SYMBOLS = {"add": "+", "sub": "-", "mul": "*", "truediv": "/", "pow": "**", "matmul": "@",
            "floordiv": "//", "mod": "%"}
_COMPARISONS = {"lt": "less", "le": "less_equal", "gt": "greater", "ge": "greater_equal", "eq": "equal",
                "ne": "not_equal"}
_LOGICAL = {"and": "logical_and", "or": "logical_or", "xor": "logical_xor"}


_KNOWN = (Tensor, np.ndarray, np.generic, int, float, list, tuple)


def _usable(value: Any) -> bool:
    """Whether an operand is a number, or an array of any library."""
    return isinstance(value, _KNOWN) or is_foreign(value)


def _binary(function: Callable, reflected: bool) -> Callable:
    def operator(self: Tensor, other: Any) -> Any:
        if not isinstance(other, _KNOWN) and not is_foreign(other):
            return NotImplemented
        if self.dtype.kind != "f" and (found := integers(self, other)) is not None:
            name, found = function.__name__, found[::-1] if reflected else found
            if name == "matmul":
                return product_of_integers(*found)
            if name != "divide" or not recorded(*found):
                return exactly(name, *found)
        return function(other, self) if reflected else function(self, other)

    return operator


def _bits(logical: Callable, bitwise: np.ufunc) -> Callable:
    """An operator that is logical of truths, and of integers bitwise."""

    def operator(*values: Any) -> Any:
        if not all(_usable(v) for v in values):
            return NotImplemented
        given = [gathered(v) for v in values]
        kinds = [v.dtype.kind if isinstance(v, Tensor) else foreign_array(v).dtype.kind for v in given]
        if not any(kind in "iu" for kind in kinds) or "f" in kinds:
            return logical(*values)
        return exactly(bitwise.__name__, *(integers(*given) or ()))

    return operator


def _augmented(operator: Callable, symbol: str) -> Callable:
    """``w -= step``, a new tensor where recorded; in place for parameters, and for trained leaves while not recording.

    A leaf that requires a gradient has other holders, which would keep the old values.
    """

    def in_place(self: Tensor, other: Any) -> Any:
        if (state.grad_enabled or type(self.node) is not Leaf or self.shape != self.node.shape) and not self._is_owned:
            return operator(self, other)
        if state.capture is not None:
            raise InPlaceError(f"{user_line()}: {symbol}= changes a parameter in place, which a replay would not do "
                               f"again; write x = x {symbol} ... if a new tensor is meant")
        if state.grad_enabled and (self._requires_grad or isinstance(other, Tensor) and other._requires_grad):
            raise InPlaceError(f"{user_line()}: {symbol}= changes a parameter in place, which has no gradient; do so "
                               f"under tg.no_grad(), or write x = x {symbol} ... if a new tensor is meant")
        result = operator(self, other)
        return result if result is NotImplemented else self.copy_(result)

    return in_place


def array_ufunc(self: Tensor, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
    """``np.exp(t)``, ``np.add.reduce(t)`` and the like (NEP 13)."""
    if type(inputs[0]) is np.ndarray and (frame := sys._getframe(1)).f_code.co_filename in BY_TYPE:
        refuse_by_type(frame)
    function = _counterparts.get(ufunc) or of_scipy(ufunc, _functions)
    if method == "__call__" and not kwargs and function is not None:
        return function(*inputs)
    return called(ufunc, method, function, _counterparts, inputs, kwargs)


def is_known(function: Any) -> bool:
    """Whether a function or ufunc of NumPy's has a counterpart of tensors."""
    return function in _counterparts


def array_namespace(self: Tensor, *, api_version: str | None = None) -> Any:
    """The array API standard's functions over tensors."""
    return import_module("tapegrad.array_api")


class _ForTypes:
    """`array_ufunc` for NumPy, which asks the type; None for libraries that ask the instance whether to defer.

    ``np.ma`` asks the instance too: it would take the tensor for an array, and its history would be lost.
    """

    def __get__(self, instance: Any, owner: Any) -> Any:
        return array_ufunc if instance is None else None


def array_function(self: Tensor, function: Callable, types: Any, args: Any, kwargs: Any) -> Any:
    """``np.sum(t)`` and the like (NEP 18)."""
    if (frame := sys._getframe(1)).f_code.co_filename in BY_TYPE:
        refuse_by_type(frame)
    counterpart = _counterparts.get(function)
    if counterpart is None:
        module = (function.__module__ or "numpy").replace("numpy", "np", 1)
        if module.startswith("np.fft"):
            raise DtypeError(f"{user_line()}: np.fft.{function.__name__} has to do with complex numbers, which tensors "
                             f"have not; use tg.fft.{function.__name__}, whose complex numbers are pairs along a last "
                             "axis of two, with tg.fft.multiply for products and (y**2).sum(-1) for squares")
        raise without_counterpart(f"{module}.{function.__name__}")
    return counterpart(*args, **kwargs)


_functions: dict[str, Callable] = {}
_counterparts: dict[Any, Callable] = {}


def install(namespace: Mapping[str, Any], names: Sequence[str]) -> None:
    """Register the functions of `namespace` with NumPy, and those that `methods` lists as methods of `Tensor`."""
    _functions.update({name: namespace[name] for name in names})
    _counterparts.update({**numpys.counterparts(), **counterparts({**_functions, "algebra": algebra})})
    for name in METHODS:
        if name in _functions:
            setattr(Tensor, name, PYTORCHS.get(name, namespace[name]))
    for symbol, name in _OPERATORS.items():
        setattr(Tensor, f"__{symbol}__", _binary(namespace[name], False))
        setattr(Tensor, f"__r{symbol}__", _binary(namespace[name], True))
        setattr(Tensor, f"__i{symbol}__", _augmented(getattr(Tensor, f"__{symbol}__"), _SYMBOLS[symbol]))
    for symbol, name in _COMPARISONS.items():
        setattr(Tensor, f"__{symbol}__", _comparison(namespace[name], symbol))
    for symbol, name in _LOGICAL.items():
        operator = _bits(namespace[name], getattr(np, f"bitwise_{symbol}"))
        setattr(Tensor, f"__{symbol}__", operator)
        setattr(Tensor, f"__r{symbol}__", operator)
    setattr(Tensor, "__invert__", _bits(namespace["logical_not"], np.invert))
    for symbol, left in (("lshift", True), ("rshift", False)):
        setattr(Tensor, f"__{symbol}__", lambda self, count, left=left: numpys.shift(self, count, left))
        setattr(Tensor, f"__r{symbol}__", lambda self, a, left=left: numpys.shift(a, self, left))
    setattr(Tensor, "__neg__", lambda self: namespace["negative"](self))
    setattr(Tensor, "__pos__", namespace["positive"])
    setattr(Tensor, "__abs__", lambda self: namespace["abs"](self))
    setattr(Tensor, "__getitem__", getitem)
    setattr(Tensor, "__array_ufunc__", _ForTypes())
    setattr(Tensor, "__pandas_priority__", 5000)  # above that of pandas' frames, which then defer to the tensor
    setattr(Tensor, "__array_function__", array_function)
    setattr(Tensor, "__array_namespace__", array_namespace)
    setattr(Tensor, "at", property(At))
    setattr(Tensor, "T", property(lambda self: namespace["transpose"](self)))
    setattr(Tensor, "mT", property(lambda self: namespace["swapaxes"](self, -1, -2)))
    setattr(Tensor, "view", lambda self, *shape: namespace["reshape"](self, *shape))
    setattr(Tensor, "astype", astype)
    setattr(Tensor, "__divmod__", lambda self, other: (self // other, self % other))
    setattr(Tensor, "__rdivmod__", lambda self, other: (other // self, other % self))
    setattr(Tensor, "__round__", lambda self, ndigits=None: namespace["round"](self, ndigits or 0))
    for name, method in methods_of_pytorch(_functions).items():
        setattr(Tensor, name, method)


def _comparison(function: Callable, symbol: str) -> Callable:
    def operator(self: Tensor, other: Any) -> Any:
        if not _usable(other):
            return NotImplemented
        return function(self, other)

    operator.__name__ = f"__{symbol}__"
    return operator
