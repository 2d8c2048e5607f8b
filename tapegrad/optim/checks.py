"""Validation of parameters and of the ranges of hyper-parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import ArgumentError, DtypeError
from ..tensor.tensor import Tensor

__all__ = ["above_zero", "at_least_zero", "check_parameter", "decay_rates", "positive_or_none"]


def at_least_zero(**values: float) -> None:
    """Check hyper-parameters that must not be negative.

    Raises
    ------
    ArgumentError
    """
    for name, value in values.items():
        if not value >= 0.0:
            raise ArgumentError(f"{name} must not be negative, got {value}")


def above_zero(**values: float) -> None:
    """Check hyper-parameters that must be positive.

    Raises
    ------
    ArgumentError
    """
    for name, value in values.items():
        if not value > 0.0:
            raise ArgumentError(f"{name} must be positive, got {value}")


def decay_rates(betas: Sequence[float]) -> tuple[float, ...]:
    """Check the decay rates of running averages: 0 <= beta < 1.

    Raises
    ------
    ArgumentError
    """
    for k, beta in enumerate(betas):
        if not 0.0 <= beta < 1.0:
            raise ArgumentError(f"betas[{k}] must be at least 0 and below 1, got {beta}")
    return tuple(betas)


def positive_or_none(name: str, value: float | None) -> float | None:
    """Check a bound that may be None.

    Raises
    ------
    ArgumentError
    """
    if value is not None and not value > 0.0:
        raise ArgumentError(f"{name} must be positive, not {value}")
    return None if value is None else float(value)


def check_parameter(tensor: Any, first: Any, where: str) -> None:
    """Check that `tensor` can be optimised together with `first`.

    Raises
    ------
    ArgumentError, DtypeError
    """
    if not isinstance(tensor, Tensor):
        raise DtypeError(f"{where} is no Tensor but {type(tensor).__name__}")
    if getattr(tensor, "is_uninitialised", False):
        raise ArgumentError(f"{where} belongs to a lazy layer and has no shape yet; call the model once on a batch "
                            "before the optimiser is made")
    if tensor.dtype.kind != "f":
        raise DtypeError(f"{where} has dtype {tensor.dtype}; only float tensors can be optimised")
    if not tensor.is_leaf:
        raise ArgumentError(f"{where} is the result of an operation; only leaves can be optimised")
    leaf = tensor.node
    if leaf is not None and not (tensor.shape == leaf.shape and tensor.is_contiguous):
        raise ArgumentError(f"{where} is a view of a leaf; optimise the leaf")
    if tensor.dtype != first.dtype:
        raise DtypeError(f"{where} has dtype {tensor.dtype}, the parameters before it {first.dtype}; "
                         "make an optimiser for each dtype")
