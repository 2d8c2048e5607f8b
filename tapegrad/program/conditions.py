"""What a recording depends on besides its arguments, and whether that is as it was."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..state import Modes

#: recordings that are kept for one signature; those before them are made again when they are needed
KEPT = 8

_PLAIN = frozenset({int, float, complex, bool, str, bytes, type(None)})


def is_plain(value: Any) -> bool:
    """Whether a value cannot change, and is all that can be told of it."""
    return type(value) in _PLAIN or type(value) is tuple and all(map(is_plain, value))


def same(a: Any, b: Any) -> bool:
    """Whether two plain values are one; 0.0 and -0.0 are two, and so are 1 and True."""
    return a is b or type(a) is type(b) and a == b and repr(a) == repr(b)


class _ModuleState:
    """A module as it was: what was assigned to its attributes, and its parameters, buffers and children."""

    __slots__ = ("module", "number", "assigned", "plain", "members")

    def __init__(self, module: Any) -> None:
        version = module._version
        self.module, self.number, self.assigned = module, version.number, dict(version.assigned)
        self.plain = {name: value for name, value in vars(module).items() if is_plain(value)}
        self.members = _members(module)

    def holds(self) -> bool:
        """Whether it is still so, or so again."""
        version = self.module._version
        number = version.number
        if number == self.number:
            return True
        attributes = vars(self.module)
        for name, assigned in list(version.assigned.items()):
            if assigned != self.assigned.get(name) and not (
                    name in self.plain and name in attributes and same(self.plain[name], attributes[name])):
                return False
        now = _members(self.module)
        if len(now) != len(self.members) or any(a != b or x is not y for (a, x), (b, y) in zip(now, self.members)):
            return False
        self.number = number
        return True


def _members(module: Any) -> list[tuple[str, Any]]:
    return [*module._parameters.items(), *module._buffers.items(), *module._modules.items()]


class Conditions:
    """Modules and tensors that a recording depends on, as they are when it has been made.

    Parameters
    ----------
    modules : iterable of Module
    leaves : dict of Leaf to bool
        Leaves that were read, and whether they required a gradient.
    tensors : iterable of Tensor
        Others of which it matters whether they require one.
    """

    __slots__ = ("modules", "leaves", "tensors", "seen")

    def __init__(self, modules: Iterable[Any], leaves: dict[Any, bool], tensors: Iterable[Any] = ()) -> None:
        self.seen = Modes.changes
        self.modules = [_ModuleState(module) for module in modules]
        self.leaves = [(leaf, required, leaf.buffer.address) for leaf, required in leaves.items()]
        of_modules = [t for state in self.modules for _, t in state.members if hasattr(t, "buffer")]
        self.tensors = [(t, t.requires_grad, t.buffer.address) for t in (*of_modules, *tensors) if t.buffer is not None]

    def hold(self) -> bool:
        """Whether all is as it was."""
        changes = Modes.changes
        if self.seen == changes:
            return True
        for module in self.modules:
            if not module.holds():
                return False
        for leaf, required, address in self.leaves:
            if leaf.requires_grad != required or leaf.buffer.address != address:
                return False
        for t, required, address in self.tensors:
            if t.requires_grad != required or t.buffer.address != address:
                return False
        self.seen = changes
        return True
