"""Pytrees: nested lists, tuples and dicts of arrays, flattened and unflattened."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from typing import Any

import numpy as np


def flatten(tree: Any) -> tuple[list[Any], Hashable]:
    """Leaves of a tree in a fixed order (dicts by their own), and its structure, which can be compared.

    >>> flatten({"w": [1, (2, 3)]})
    ([1, 2, 3], ('dict', ('w',), (('list', ('*', ('tuple', ('*', '*')))),)))
    """
    leaves: list[Any] = []
    return leaves, _structure(tree, leaves)


def _structure(tree: Any, leaves: list[Any]) -> Any:
    """The structure of a tree, whose leaves are appended."""
    if isinstance(tree, dict):
        return "dict", tuple(tree), tuple([_structure(part, leaves) for part in tree.values()])
    if isinstance(tree, (list, tuple)):
        kind: Any = "list" if isinstance(tree, list) else type(tree) if hasattr(tree, "_fields") else "tuple"
        return kind, tuple([_structure(part, leaves) for part in tree])
    if tree is None:
        return None
    leaves.append(tree)
    return "*"


def unflatten(structure: Any, leaves: list[Any]) -> Any:
    """The tree of this structure with these leaves.

    >>> unflatten(flatten((1, [2, 3]))[1], ["a", "b", "c"])
    ('a', ['b', 'c'])
    """
    if structure == "*":
        return leaves[0]
    return _built(structure, iter(leaves))


def _built(part: Any, supply: Iterator[Any]) -> Any:
    # not nested: a function that refers to itself is a reference cycle, which would keep the leaves until collected
    if part == "*":
        return next(supply)
    if part is None:
        return None
    if part[0] == "dict":
        return {key: _built(value, supply) for key, value in zip(part[1], part[2])}
    children = [_built(child, supply) for child in part[1]]
    if part[0] == "list":
        return children
    return tuple(children) if part[0] == "tuple" else part[0](*children)


def map_leaves(function: Callable[[Any], Any], tree: Any) -> Any:
    """The tree with `function` of each leaf.

    >>> map_leaves(lambda n: n + 1, {"a": (1, 2)})
    {'a': (2, 3)}
    """
    leaves, structure = flatten(tree)
    return unflatten(structure, [function(leaf) for leaf in leaves])


def own(leaf: Any) -> Any:
    """A constant leaf of a recording's result, for one caller: arrays are copied, for he may write to his."""
    return leaf.copy() if isinstance(leaf, np.ndarray) else leaf
