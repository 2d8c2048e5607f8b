"""Hooks on tensors: functions that see, and may replace, the adjoint of a leaf or of an instruction's output."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import count
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from ..engine.caller import user_line
from ..engine.storage import Buffer, array_at
from ..errors import CaptureError
from .nodes import Leaf, Node
from .state import Modes

__all__ = ["HOOKS", "Handle", "Hook", "add_hook", "call_hooks", "refuse_hooks"]

_numbers = count(1)


class Hook(NamedTuple):
    """A function of the adjoint of a tensor, which is this view of all elements of its variable.

    `function` takes a tensor and gives another or None, `on_array` the same of arrays.
    """

    function: Callable[[Any], Any]
    on_array: Callable[[np.ndarray], np.ndarray | None]
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


#: by what a tensor holds of its tape its hooks by their numbers, in the order in which they were registered
HOOKS: WeakKeyDictionary[Leaf | Node, dict[int, Hook]] = WeakKeyDictionary()


class Handle:
    """What a registration returns; as a context manager it removes the hook at the end."""

    def __init__(self, key: Leaf | Node, number: int) -> None:
        self._key, self._number = key, number

    def remove(self) -> None:
        """Remove the hook; a second time does nothing."""
        hooks = HOOKS.get(self._key, {})
        hooks.pop(self._number, None)
        if not hooks:
            HOOKS.pop(self._key, None)

    def __enter__(self) -> Handle:
        return self

    def __exit__(self, *error: object) -> None:
        self.remove()


def add_hook(key: Leaf | Node, hook: Hook) -> Handle:
    """Register a hook, behind those that there are."""
    number = next(_numbers)
    HOOKS.setdefault(key, {})[number] = hook
    Modes.changed()  # recordings, which call no hooks, look again
    return Handle(key, number)


def call_hooks(key: Leaf | Node, address: int, dtype: np.dtype, owner: Buffer) -> None:
    """Call the hooks of a variable on its adjoint, a buffer's bytes from an address on, which they may replace."""
    for hook in list(HOOKS.get(key, {}).values()):
        own = array_at(address + hook.offset * dtype.itemsize, hook.shape, hook.strides, dtype, owner)
        given = hook.on_array(own)
        if given is not None:
            own[...] = given


def refuse_hooks(leaves: Iterable[Any]) -> None:
    """Raise if one of the trained leaves has hooks, which a compiled step does not call."""
    for leaf in leaves:
        if leaf in HOOKS:
            raise CaptureError(f"{user_line()}: a parameter of shape {list(leaf.shape)} has hooks (register_hook), "
                               "which a recorded step, being compiled, does not call; remove() them, or train by "
                               "loss.backward() and optimizer.step()")
