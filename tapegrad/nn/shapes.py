"""Shapes and axes of array_likes."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from ..errors import ArgumentError, ShapeError
from ..tensor.arrays import foreign_array

__all__ = ["normal_axis", "positive_int", "shape_of"]


def shape_of(array: Any) -> tuple[int, ...]:
    """The shape of a tensor, an array or nested lists."""
    shape = getattr(array, "shape", None)
    return np.shape(foreign_array(array)) if shape is None else tuple(shape)


def normal_axis(dim: int, shape: tuple[int, ...], where: str) -> int:
    """`dim` counted from the front; `where` names the op in the error."""
    axis = operator.index(dim)
    if not -len(shape) <= axis < len(shape):
        raise ShapeError(f"{where}: axis {axis} is out of range for shape {list(shape)}")
    return axis % len(shape)


def positive_int(value: Any, where: str) -> int:
    """`value` as an int of at least 1; `where` names the argument in the error."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ArgumentError(f"{where} must be an integer of at least 1, got {value!r}")
    return int(value)
