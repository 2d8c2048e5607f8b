"""Row-sparse gradients: parameters with a list of the rows that their gradient touches (``Embedding(sparse=True)``)."""

from __future__ import annotations

from collections.abc import Sequence

from ..engine.storage import array_at
from ..errors import GradientError
from ..tensor.tensor import Tensor

__all__ = ["list_address", "refuse_lists", "zero_gradient"]


def list_address(parameter: Tensor) -> int:
    """Address of the row list of a parameter, updated for its present gradient; 0 if there is none."""
    leaf = parameter.node
    if leaf.touched is None:
        return 0
    if leaf.gradient is not None:
        leaf.touched.describe(leaf.gradient)
    address: int = leaf.touched.address
    return address


def zero_gradient(parameter: Tensor) -> None:
    """Zero a parameter's gradient, only in the listed rows if it lists them."""
    leaf = parameter.node
    gradient = array_at(leaf.gradient.address, (parameter.size,), (1,), parameter.dtype, leaf.gradient)
    rows = leaf.touched.numbers if list_address(parameter) else None
    if rows is None:
        gradient[...] = 0.0
    else:
        gradient.reshape(parameter.shape)[rows] = 0.0
    if leaf.touched is not None:
        leaf.touched.empty(leaf.gradient)


def refuse_lists(optimizer: str, why: str | None, parameters: Sequence[Tensor]) -> None:
    """Raise if there are such parameters and a reason `why` an optimiser cannot update single rows.

    Raises
    ------
    GradientError
    """
    if why is not None and parameters:
        raise GradientError(
            f"{f'{optimizer} {why}'.strip()} does not support sparse gradients, such as a table of shape "
            f"{list(parameters[0].shape)} has from an embedding with sparse=True; use SparseAdam (or SGD or Adagrad "
            "without weight_decay), or sparse=False")
