"""The one gate through which a value leaves the tape.

An explicit copy (`numpy`, `item`, `float`) is allowed, for everybody logs, unless the tensor depends on an argument of
a function that is being differentiated: what is computed from the copy would be missing from the gradient. An implicit
conversion, where NumPy or another library asks for an array, is refused for any tensor that requires a gradient.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..engine.caller import is_called_by, user_line
from ..engine.walks.walk import WANTED
from ..errors import GradientError
from .nodes import Leaf, Node
from .state import state

#: leaves with respect to which some thread is differentiating a function
_arguments: set[Leaf] = set()


class differentiating:  # noqa: N801  (a context manager)
    """Context: a function is being differentiated with respect to these leaves."""

    def __init__(self, leaves: Iterable[Leaf]) -> None:
        self._leaves = set(leaves)

    def __enter__(self) -> None:
        _arguments.update(self._leaves)
        state.transforming += 1

    def __exit__(self, *error: Any) -> None:
        _arguments.difference_update(self._leaves)
        state.transforming -= 1


def is_argument(t: Any) -> bool:
    """Whether a tensor depends on an argument of a function that is being differentiated."""
    if not _arguments or not t._requires_grad:
        return False
    node = t.node
    if isinstance(node, Leaf):
        return node in _arguments
    return isinstance(node, Node) and _reaches_argument(node)


def _reaches_argument(node: Node) -> bool:
    tape = node.tape
    if not node.on_tape:  # released by `backward`, which refuses what depends on an argument
        return False
    sources = tape._external_at
    waiting, seen = [node.variable], {node.variable}
    while waiting:
        v = waiting.pop()
        source = sources.get(v)
        if source is not None:
            if source in _arguments or (isinstance(source, Node) and _reaches_argument(source)):
                return True
            continue
        n = int(tape._producer[v])
        first, last = int(tape._operand_start[n]), int(tape._operand_start[n + 1])
        for operand in range(first + 1, last):
            other = int(tape._variable[operand])
            if tape._flags[operand] & WANTED and other not in seen:
                seen.add(other)
                waiting.append(other)
    return False


def leave(t: Any, how: str) -> None:
    """Allow an explicit copy; raise if a derivative in the making would miss it."""
    if _arguments and is_argument(t):
        raise GradientError(
            f"{user_line()}: {how} would cut the gradient: the tensor depends on an argument by which a function is "
            "being differentiated (tg.grad, tg.value_and_grad), and what is computed from the copy would be missing; "
            f"use {_counterpart()}, or detach() it if that is meant")


def convert(t: Any, how: str) -> None:
    """Allow an implicit copy; raise if it loses any history."""
    leave(t, how)
    if t._requires_grad:
        raise GradientError(
            f"{user_line()}: {how} would lose the history of a tensor that requires a gradient; use {_counterpart()}, "
            "or say detach() or .numpy() if only the values are meant")


def _counterpart() -> str:
    """What serves in place of the library function that asks for an array."""
    if is_called_by("pandas", "dot"):  # of all operators the one that has no reflected method to defer to
        return "tg.matmul(frame, tensor), for pandas' @ and dot() know arrays alone"
    return "tapegrad's functions on it (tg.stack for a list of tensors, the tensor as the first operand)"
