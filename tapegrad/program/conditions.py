"""Guards: what a recording depends on besides its arguments, and whether it is unchanged."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ..engine.storage import Buffer, Changes
from ..tape.hooks import HOOKS, refuse_hooks
from ..tape.state import Modes

#: recordings kept for one signature; earlier ones are dropped, and made again when needed
KEPT = 8

SOURCES = (np.random.Generator, np.random.RandomState, random.Random)
_PLAIN = frozenset({int, float, complex, bool, str, bytes, type(None)})


def is_plain(value: Any) -> bool:
    """Whether a value is immutable, and compared by value alone."""
    return type(value) in _PLAIN or type(value) is tuple and all(map(is_plain, value))


def same(a: Any, b: Any) -> bool:
    """Whether two plain values are identical; 0.0 and -0.0 differ, and so do 1 and True."""
    return a is b or type(a) is type(b) and a == b and repr(a) == repr(b)


class Look:
    """Snapshot of a module: its assigned attributes, its parameters, buffers and children.

    It does not hold the module, which holds it.
    """

    __slots__ = ("number", "assigned", "plain", "members", "tensors", "children", "sources")

    def __init__(self, module: Any) -> None:
        version, attributes = module._version, vars(module)
        self.number, self.assigned = version.number, dict(version.assigned)
        self.plain = {name: value for name, value in attributes.items()
                      if type(value) in _PLAIN or type(value) is tuple and is_plain(value)}
        self.members = _members(module)
        self.tensors = [t for t in (*module._parameters.values(), *module._buffers.values()) if t is not None]
        self.children = [child for child in module._modules.values() if child is not None]
        self.sources = [value for value in attributes.values() if type(value) in SOURCES]

    def fits(self, module: Any) -> bool:
        """Whether the module still, or again, equals the snapshot."""
        version, attributes = module._version, vars(module)
        number = version.number
        if number == self.number:
            return True
        for name, assigned in list(version.assigned.items()):
            if assigned != self.assigned.get(name) and not (
                    name in self.plain and name in attributes and same(self.plain[name], attributes[name])):
                return False
        now = _members(module)
        if len(now) != len(self.members) or any(a != b or x is not y for (a, x), (b, y) in zip(now, self.members)):
            return False
        self.number = number
        return True


def _members(module: Any) -> list[tuple[str, Any]]:
    return [*module._parameters.items(), *module._buffers.items(), *module._modules.items()]


Looks = dict[int, tuple[Any, Look]]


def look_below(module: Any, looks: Looks) -> None:
    """Add snapshots of a module and all its descendants, by identity."""
    waiting = [module]
    for module in waiting:
        key = id(module)
        if key not in looks:
            version = module._version
            if version.look is None:
                version.look = Look(module)
            looks[key] = module, version.look
            waiting += version.look.children


class Conditions:
    """Guards on modules and tensors, in their state when the recording was made.

    Parameters
    ----------
    looks : dict
        Snapshots of modules; see `look_below`.
    leaves : dict of Leaf to bool
        Leaves that were read, and whether they required a gradient.
    tensors : iterable of Tensor
        Others whose `requires_grad` matters.
    watched : list of (Buffer, int)
        Buffers that must not be overwritten, with their versions.
    trained : iterable of Leaf
        Leaves that must not have hooks, which is refused.
    """

    __slots__ = ("looks", "leaves", "tensors", "watched", "trained", "seen")

    def __init__(self, looks: Looks, leaves: dict[Any, bool], tensors: Iterable[Any] = (),
                 watched: Sequence[tuple[Buffer, int]] = (), trained: Iterable[Any] = ()) -> None:
        self.seen = Modes.changes
        self.watched = watched
        self.trained = list(trained)
        self.looks = list(looks.values())
        self.leaves = [(leaf, required, leaf.buffer.address) for leaf, required in leaves.items()]
        of_modules = [t for _, look in self.looks for t in look.tensors]
        self.tensors = [(t, t._requires_grad, t.buffer.address) for t in (*of_modules, *tensors)
                        if t.buffer is not None]

    def hold(self) -> bool:
        """Whether all guards hold."""
        changes = Modes.changes
        if self.seen == changes:
            return True
        if HOOKS:
            refuse_hooks(self.trained)
        for module, look in self.looks:
            if not look.fits(module):
                return False
        for leaf, required, address in self.leaves:
            if leaf.requires_grad != required or leaf.buffer.address != address:
                return False
        for t, required, address in self.tensors:
            if t._requires_grad != required or t.buffer.address != address:
                return False
        if self.watched:
            Changes.settle()
            if any(buffer.version != version or buffer.unmarked for buffer, version in self.watched):
                return False
        self.seen = changes
        return True
