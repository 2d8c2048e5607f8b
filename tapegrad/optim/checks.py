"""Ranges of hyper-parameters."""

from __future__ import annotations

from ..errors import ArgumentError

__all__ = ["at_least_zero", "below_one"]


def at_least_zero(**values: float) -> None:
    """Check hyper-parameters that may not be negative.

    Raises
    ------
    ArgumentError
    """
    for name, value in values.items():
        if not value >= 0.0:
            raise ArgumentError(f"{name} must not be negative, got {value}")


def below_one(name: str, value: float) -> None:
    """Check a decay rate: 0 <= value < 1.

    Raises
    ------
    ArgumentError
    """
    if not 0.0 <= value < 1.0:
        raise ArgumentError(f"{name} must be at least 0 and below 1, got {value}")
