"""Batches in dicts and tuples, arguments by name, and numbers in runs: a training step over their leaves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial, update_wrapper
from typing import Any

import numpy as np

from ...engine.tree import flatten, unflatten
from ...errors import ArgumentError
from ...tensor.tensor import Tensor
from .arguments import as_input

__all__ = ["is_nested", "is_number", "leaves_of", "over_leaves", "with_rows"]


def is_nested(value: Any) -> bool:
    """Whether it is a dict, or a tuple with arrays, or has such parts; a list of numbers or arrays is an array."""
    if isinstance(value, (list, tuple)):
        own = isinstance(value, tuple)
        return any([is_nested(part) or own and isinstance(part, (np.ndarray, Tensor)) for part in value])
    return isinstance(value, dict)


def is_number(leaf: Any) -> bool:
    """Whether it is a number, which has no rows."""
    return isinstance(leaf, (bool, int, float, np.generic)) or isinstance(leaf, (np.ndarray, Tensor)) and not leaf.ndim


def leaves_of(args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[list[Any], Any]:
    """The arrays and numbers of arguments, and their structure."""
    return flatten((tuple([_plain(a) for a in args]), {key: _plain(kwargs[key]) for key in sorted(kwargs)}))


def _plain(tree: Any) -> Any:
    """A tree in which lists of numbers are arrays."""
    if isinstance(tree, dict):
        return {key: _plain(part) for key, part in tree.items()}
    if is_nested(tree):
        parts = [_plain(part) for part in tree]
        return type(tree)(*parts) if hasattr(tree, "_fields") else type(tree)(parts)
    return as_input(tree) if isinstance(tree, (list, tuple)) else tree


def over_leaves(function: Callable, structure: Any, numbers: frozenset[int]) -> Callable:
    """`function` as one of leaves, of which some are `numbers` with a row for each of the batch."""
    return update_wrapper(partial(_of_leaves, function, structure, numbers), function, updated=())


def _of_leaves(function: Callable, structure: Any, numbers: frozenset[int], *leaves: Any) -> Any:
    args, kwargs = unflatten(structure, [t[0] if k in numbers else t for k, t in enumerate(leaves)])
    return function(*args, **kwargs)


def with_rows(leaves: Sequence[Any]) -> tuple[list[Any], frozenset[int]]:
    """The leaves, numbers repeated for each row of the arrays, and which ones are."""
    numbers = frozenset([k for k, leaf in enumerate(leaves) if is_number(leaf)])
    rows = next((len(leaf) for k, leaf in enumerate(leaves) if k not in numbers), None)
    if rows is None:
        raise ArgumentError("run needs at least one array, whose rows are the batch; numbers alone have none")
    return [np.full(rows, as_input(leaf)) if k in numbers else leaf for k, leaf in enumerate(leaves)], numbers
