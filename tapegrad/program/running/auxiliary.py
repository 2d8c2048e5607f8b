"""What a loss function returns beside its loss."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from ...engine.tree import flatten, own, unflatten
from ...errors import GradientError
from ...functions.apply import apply_unary
from ...ops.elementwise import UNARY
from ...tensor.tensor import Tensor
from .program import Program


def split(result: Any, has_aux: bool) -> tuple[Any, Any]:
    """The loss, and what was returned beside it."""
    if not has_aux:
        return result, None
    if not isinstance(result, tuple) or len(result) != 2:
        raise GradientError("with has_aux=True loss_fn must return a pair: the loss, and what else is wanted of a step")
    return result


def loss_alone(loss_fn: Callable, has_aux: bool) -> Callable:
    """A function of the loss without what is returned beside it."""
    if not has_aux:
        return loss_fn

    @wraps(loss_fn)
    def alone(*args: Any, **named: Any) -> Any:
        return split(loss_fn(*args, **named), True)[0]

    return alone


class Auxiliary:
    """Values that a step returns beside its loss.

    Parameters
    ----------
    tree : nested tuples, lists and dicts
        Of tensors, and of what is the same at every step.
    """

    def __init__(self, tree: Any) -> None:
        self._leaves, self._structure = flatten(tree)
        # the update changes parameters: what they were is copied
        self._leaves = [apply_unary(UNARY["copy"], t) if isinstance(t, Tensor) and t.is_floating and not t.is_symbolic
                        else t for t in self._leaves]
        self.tensors = [t for t in self._leaves if isinstance(t, Tensor)]

    def values(self, program: Program) -> Any:
        """Copies of the present values, as NumPy arrays."""
        return unflatten(self._structure, [program.array(t).copy()[()] if isinstance(t, Tensor) else own(t)
                                           for t in self._leaves])
