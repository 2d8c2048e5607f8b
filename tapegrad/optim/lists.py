"""Parameters whose gradients list the rows that they touch: tables of ``Embedding(sparse=True)``."""

from __future__ import annotations

from collections.abc import Sequence

from ..engine.storage import array_at
from ..errors import GradientError
from ..tensor.tensor import Tensor

__all__ = ["list_address", "refuse_lists", "zero_gradient"]


def list_address(parameter: Tensor) -> int:
    """The list of a parameter's gradient, true of the gradient that it has now; 0 if there is none."""
    leaf = parameter.node
    if leaf.touched is None:
        return 0
    if leaf.gradient is not None:
        leaf.touched.describe(leaf.gradient)
    address: int = leaf.touched.address
    return address


def zero_gradient(parameter: Tensor) -> None:
    """Fill a parameter's gradient with zeros, in the rows that are listed where it lists them."""
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
    """Say that an optimiser cannot update rows of these tables by themselves, unless there is no reason `why`.

    Raises
    ------
    GradientError
    """
    if why is not None and parameters:
        raise GradientError(
            f"{f'{optimizer} {why}'.strip()} does not support sparse gradients, such as a table of shape "
            f"{list(parameters[0].shape)} has from an embedding with sparse=True; use SparseAdam (or SGD or Adagrad "
            "without weight_decay), or sparse=False")
