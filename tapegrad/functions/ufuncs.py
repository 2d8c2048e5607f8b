"""NumPy's ufuncs of tensors with keywords, and their methods: ``np.add(t, 1.0, dtype=...)``, ``np.add.reduce(t)``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..engine.caller import user_line
from ..errors import DtypeError, InPlaceError
from ..ops.elementwise import COMPARE
from ..tensor.arrays import BOOL, FLOAT32, FLOAT64
from ..tensor.recording import as_tensor, astype, gathered
from ..tensor.tensor import Tensor
from .counterparts import no_out
from .layout import reshape
from .pairs import cummax, cummin
from .reductions import logcumsumexp

#: the functions that ufuncs are when they reduce, and when they accumulate
_REDUCE: dict[np.ufunc, Callable] = {
    np.add: np.sum, np.multiply: np.prod, np.maximum: np.max, np.minimum: np.min, np.logical_and: np.all,
    np.logical_or: np.any,
}
_ACCUMULATE: dict[np.ufunc, Callable] = {np.add: np.cumsum, np.multiply: np.cumprod}
#: those that accumulate by functions of other names
_RUNNING: dict[np.ufunc, Callable] = {
    np.maximum: lambda x, d: cummax(x, d).values, np.minimum: lambda x, d: cummin(x, d).values,
    np.logaddexp: logcumsumexp,
}
_DEFAULTS: dict[str, tuple[Any, ...]] = {"where": (True,), "order": ("K", "C"), "subok": (True, False),
                                         "casting": ("same_kind", "unsafe")}


def without_counterpart(name: str) -> DtypeError:
    """The error for a function of NumPy's that tensors do not have."""
    return DtypeError(f"{user_line()}: {name} has no counterpart in tapegrad; apply it to t.detach().numpy() if no "
                      "gradient is needed, or define it with tg.custom_op")


def called(ufunc: np.ufunc, method: str, function: Callable | None, counterparts: Mapping[Any, Callable],
           inputs: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """A method of a ufunc, or a call with keywords.

    Parameters
    ----------
    method : str
        As NumPy gives it: ``__call__``, ``reduce``, ``accumulate``, ``outer``, ``reduceat``, ``at``.
    function : callable, optional
        The counterpart of the ufunc.
    counterparts : Mapping
        From NumPy's functions to those of tensors.
    """
    name = f"{ufunc.__name__}" if method == "__call__" else f"{ufunc.__name__}.{method}"
    given = {key: value for key, value in kwargs.items() if value is not None and value is not np._NoValue}
    if "out" in given and any(o is not None for o in given["out"]):
        raise no_out(name)
    given.pop("out", None)
    if method == "at":
        raise _writes(ufunc)
    if method in ("reduce", "accumulate"):
        if method == "accumulate" and ufunc in _RUNNING and given.keys() <= {"axis"}:
            return _RUNNING[ufunc](as_tensor(inputs[0]), given.get("axis", 0))
        whole = (_REDUCE if method == "reduce" else _ACCUMULATE).get(ufunc)
        if whole is None or whole not in counterparts:
            raise without_counterpart(f"np.{name}")
        return _over(counterparts[whole], inputs, kwargs)
    if function is None or method == "reduceat":
        raise without_counterpart(f"np.{name}")
    if method == "outer":
        a, b = map(gathered, inputs)
        inputs = reshape(a, np.shape(a) + (1,) * np.ndim(b)) if np.ndim(b) else a, b
    return _with(name, function, inputs, given)


def _over(function: Callable, inputs: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """A reduction or scan, along the first axis unless another is named."""
    given: dict[str, Any] = {"axis": 0, **kwargs}
    if as_tensor(inputs[0]).ndim == 0 and given["axis"] == 0:
        given["axis"] = None
    if given.get("where") is True:
        del given["where"]
    return function(inputs[0], **given)


def _with(name: str, function: Callable, inputs: Sequence[Any], given: dict[str, Any]) -> Any:
    dtype = given.pop("dtype", None)
    left = [key for key, value in given.items() if not (isinstance(value, (str, bool)) and
                                                        value in _DEFAULTS.get(key, ()))]
    if "where" in left:
        raise DtypeError(f"{user_line()}: np.{name}: where= leaves the other elements undefined; choose with "
                         "tg.where(condition, result, other)")
    if left:
        raise DtypeError(f"{user_line()}: np.{name}: {', '.join(left)}= is not available for tensors")
    if dtype is None or np.dtype(dtype) == BOOL and function.__name__ in COMPARE:
        return function(*inputs)
    if np.dtype(dtype) not in (FLOAT32, FLOAT64) or function.__name__ in COMPARE:
        raise DtypeError(f"{user_line()}: np.{name}: dtype={np.dtype(dtype)} is not available for tensors, which are "
                         "computed in float32 or float64; convert the result with .astype(...)")
    return function(*(astype(t, dtype) if isinstance(t, Tensor) else t for t in inputs))


def _writes(ufunc: np.ufunc) -> InPlaceError:
    remedy = {"add": "t = t.at[indices].add(values)", "subtract": "t = t.at[indices].add(-values)"}.get(
        ufunc.__name__, "t = t.at[indices].set(...)")
    return InPlaceError(f"{user_line()}: np.{ufunc.__name__}.at writes in place, of which there is no history; use "
                        f"{remedy}")
