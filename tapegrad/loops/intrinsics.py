"""Functions that loops may call, and their derivatives.

A rule is what a contribution is: ``{s}`` stands for the adjoint of the result, ``{x}`` and ``{y}`` for the arguments,
``{v}`` for the result, ``{m}`` for ``math`` or ``np``, as the argument is a scalar or an array.
"""

from __future__ import annotations

import builtins
import math
from typing import Any

import numpy as np

from . import helpers

__all__ = ["ALLOCATIONS", "ARRAYS", "BINARY", "UNARY", "ZERO", "canonical", "is_intrinsic"]

UNARY = {
    "exp": "{s} * {v}", "expm1": "{s} * ({v} + 1.0)", "exp2": "{s} * {v} * 0.6931471805599453", "log": "{s} / {x}",
    "log2": "{s} / ({x} * 0.6931471805599453)", "log10": "{s} / ({x} * 2.302585092994046)",
    "log1p": "{s} / (1.0 + {x})", "sqrt": "{s} * 0.5 / {v}", "sin": "{s} * {m}.cos({x})", "cos": "-{s} * {m}.sin({x})",
    "tan": "{s} * (1.0 + {v} * {v})", "arcsin": "{s} / {m}.sqrt(1.0 - {x} * {x})",
    "arccos": "-{s} / {m}.sqrt(1.0 - {x} * {x})", "arctan": "{s} / (1.0 + {x} * {x})", "sinh": "{s} * {m}.cosh({x})",
    "cosh": "{s} * {m}.sinh({x})", "tanh": "{s} * (1.0 - {v} * {v})", "arcsinh": "{s} / {m}.sqrt({x} * {x} + 1.0)",
    "arccosh": "{s} / {m}.sqrt({x} * {x} - 1.0)", "arctanh": "{s} / (1.0 - {x} * {x})",
    "erf": "{s} * 1.1283791670955126 * {m}.exp(-{x} * {x})", "erfc": "-{s} * 1.1283791670955126 * {m}.exp(-{x} * {x})",
    "lgamma": "{s} * tapegrad_digamma({x})", "gamma": "{s} * {v} * tapegrad_digamma({x})", "abs": "{s} * np.sign({x})",
    "square": "{s} * 2.0 * {x}", "float": "{s}", "reciprocal": "-{s} * {v} * {v}", "negative": "-{s}",
    "radians": "{s} * 0.017453292519943295", "degrees": "{s} * 57.29577951308232",
}
#: the derivative of a power by base and exponent
_MIXED = ("({s} * {x} ** ({y} - 1.0) * (1.0 + {y} * math.log({x})) if {x} != 0.0 or {y} <= 1.0 else 0.0)")
BINARY = {
    "pow": ("{s} * tapegrad_power_slope({x}, {y})", "{s} * tapegrad_power_log({x}, {y})"),
    "arctan2": ("{s} * {y} / ({x} * {x} + {y} * {y})", "-{s} * {x} / ({x} * {x} + {y} * {y})"),
    "hypot": ("{s} * {x} / {v}", "{s} * {y} / {v}"), "fmod": ("{s}", "-{s} * np.trunc({x} / {y})"),
    "copysign": ("{s} * np.sign({x}) * {m}.copysign(1.0, {y})", "0.0 * {s}"),
    # what powers become in a tangent; their limits at x = 0
    "tapegrad_power_slope": ("({s} * {y} * tapegrad_power_slope({x}, {y} - 1.0) if {y} != 0.0 else 0.0)", _MIXED),
    "tapegrad_power_log": (_MIXED, "({s} * {x} ** {y} * math.log({x}) ** 2 if {x} != 0.0 or {y} <= 0.0 else 0.0)"),
}
#: slope zero wherever there is one
ZERO = {"floor", "ceil", "trunc", "round", "rint", "int", "sign", "isnan", "isinf", "isfinite", "len", "bool", "int64",
        "argmax", "argmin", "any", "all", "range", "shape", "size", "ndim", "arange", "searchsorted", "argsort",
        "int32", "linspace", "isqrt"}
ALLOCATIONS = {"zeros", "ones", "empty", "full", "zeros_like", "ones_like", "empty_like", "full_like", "copy", "eye"}
#: of whole arrays, with rules of their own
ARRAYS = {"sum", "mean", "dot", "max", "min", "amax", "amin", "cumsum", "where", "solve", "inv", "det", "cholesky",
          "outer", "array", "transpose", "reshape", "ravel", "maximum", "minimum", "prod", "ascontiguousarray"}

_OTHER_NAMES = {"asin": "arcsin", "acos": "arccos", "atan": "arctan", "atan2": "arctan2", "asinh": "arcsinh",
                "acosh": "arccosh", "atanh": "arctanh", "fabs": "abs", "absolute": "abs", "power": "pow",
                "float64": "float", "float32": "float", "asarray": "ascontiguousarray", "fmax": "maximum",
                "fmin": "minimum"}


def _known() -> dict[Any, str]:
    names = {*UNARY, *BINARY, *ZERO, *ALLOCATIONS, *ARRAYS, *_OTHER_NAMES}
    found: dict[Any, str] = {}
    for module in (builtins, math, np, np.linalg):
        for name in names:
            value = getattr(module, name, None)
            if callable(value):
                found[value] = _OTHER_NAMES.get(name, name)
    found[builtins.pow] = "pow"
    found.update({helpers.tapegrad_power_slope: "tapegrad_power_slope",
                  helpers.tapegrad_power_log: "tapegrad_power_log"})
    return found


_KNOWN = _known()


def canonical(value: Any) -> str:
    """The name of a function that loops may call, "" of another."""
    try:
        return _KNOWN.get(value, "")
    except TypeError:
        return ""


def is_intrinsic(value: Any) -> bool:
    """Whether a function is known here."""
    return bool(canonical(value))
