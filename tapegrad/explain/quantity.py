"""Values and adjoints in a few figures."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .notation import number

_FEW, _MANY, _BINS = 4, 64, 16


def short(value: np.ndarray | None) -> str:
    """A value in a cell of a table: a number, a few of them, or the shape and the Euclidean norm.

    >>> short(np.array(3.0)), short(np.array([1.0, -2.5])), short(np.ones((2, 8)))
    ('3', '[1, -2.5]', '[2, 8] of norm 4')
    """
    if value is None:
        return "-"
    if value.size == 1:
        return number(float(value.ravel()[0]))
    if value.ndim == 1 and value.size <= _FEW:
        return f"[{', '.join(number(float(v)) for v in value)}]"
    shape = list(value.shape)
    if value.dtype.kind in "ib":
        return f"{shape} of {'integers' if value.dtype.kind == 'i' else 'booleans'}"
    return f"{shape} of norm {number(norm(value))}"


def norm(value: np.ndarray) -> float:
    """The Euclidean norm, in float64, without overflow."""
    flat = value.astype(np.float64).ravel()
    largest = float(np.abs(flat).max(initial=0.0))
    if not largest or not math.isfinite(largest):
        return largest
    return largest * math.sqrt(float(np.sum((flat / largest) ** 2)))


def figures(value: np.ndarray | None) -> dict[str, Any] | None:
    """What pictures and pages show of a value, as JSON has it."""
    if value is None:
        return None
    if value.size == 1:
        return _single(float(value.ravel()[0]), list(value.shape))
    if value.size <= _BINS:
        return _several(value.astype(np.float64).ravel().tolist(), value)
    numbers = value.astype(np.float64)
    finite = numbers[np.isfinite(numbers)]
    found: dict[str, Any] = {
        "shape": list(value.shape), "number": None,
        "elements": _nested(numbers.tolist()) if value.size <= _MANY else None, "norm": json_number(norm(value)),
        "mean": json_number(float(finite.mean())) if finite.size else None,
        "min": json_number(float(finite.min())) if finite.size else None,
        "max": json_number(float(finite.max())) if finite.size else None, "nan": int(np.isnan(numbers).sum()),
        "infinite": int(np.isinf(numbers).sum()), "zeros": int((numbers == 0).sum()), "histogram": None}
    if finite.size:
        low, high = float(finite.min()), float(finite.max())
        if math.isfinite(high - low):
            counts, _ = np.histogram(finite, _BINS, (low, high) if high > low else (low - 0.5, low + 0.5))
            found["histogram"] = {"counts": counts.tolist(), "low": low, "high": high}
    return found


def _several(numbers: list[float], value: np.ndarray) -> dict[str, Any]:
    """Of a few numbers, which are their own histogram."""
    finite = [v for v in numbers if math.isfinite(v)]
    nan = sum(map(math.isnan, numbers))
    largest = max(map(abs, numbers), default=0.0) if not nan else math.nan
    size = largest if largest == 0.0 or not math.isfinite(largest) else math.hypot(*numbers)
    return {"shape": list(value.shape), "number": None, "elements": _nested(value.tolist()), "norm": json_number(size),
            "mean": sum(finite) / len(finite) if finite else None, "min": min(finite, default=None),
            "max": max(finite, default=None), "nan": nan, "infinite": len(numbers) - len(finite) - nan,
            "zeros": numbers.count(0.0), "histogram": None}


def _single(value: float, shape: list[int]) -> dict[str, Any]:
    return {"shape": shape, "number": json_number(value), "norm": json_number(abs(value)),
            "nan": int(math.isnan(value)), "infinite": int(math.isinf(value))}


def json_number(value: float) -> float | str:
    """A number that JSON has, or its name."""
    return value if math.isfinite(value) else "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"


def _nested(values: Any) -> Any:
    return [_nested(v) for v in values] if isinstance(values, list) else json_number(values)
