"""Copies and pickles by value, for memory is referred to by address.

A copied tensor has a buffer of its own, in whichever process. Tensors that share memory (a leaf and its views,
`detach`) share that of the copy if they are copied together, and views of a leaf become views of its copy. What was
computed on a tape is refused, for its history would be lost; so are tapes. Functions that record are copied as their
constructor and its arguments, and record anew; those that are found by name, such as decorated ones, are pickled by
name.
"""

from __future__ import annotations

import copyreg
import sys
from copy import deepcopy
from typing import Any

import numpy as np

from ..engine.caller import user_line
from ..engine.storage import Buffer
from ..errors import CaptureError, CopyError, GradientError
from ..tape.history import leave
from ..tape.nodes import Leaf, Node
from ..tape.sparse import list_rows_of
from ..tape.state import state
from ..tape.tape import Tape

__all__ = ["Copies", "by_name_or"]


class Copies:
    """How tensors are copied and pickled."""

    __slots__ = ()
    _copies_gradient = True

    def __copy__(self: Any) -> Any:
        """A copy with its own buffer; a recorded tensor, which is immutable, shares values and history."""
        return deepcopy(self) if self.is_leaf else self._made(*_fields(self), self.node, self._requires_grad)

    def __deepcopy__(self: Any, memo: dict[int, Any]) -> Any:
        _refuse(self, "copy.deepcopy")
        rebuild, (kind, *parts), attributes = _reduced(self)
        copied = rebuild(kind, *deepcopy(parts, memo))
        memo[id(self)] = copied
        leaf = self.node
        if leaf is not None and leaf.gradient is not None and self._copies_gradient and copied.node.gradient is None:
            copied.node.gradient = deepcopy(leaf.gradient, memo)
        if attributes is not None:
            vars(copied).update(deepcopy(attributes, memo))
        return copied

    def __reduce_ex__(self: Any, protocol: Any) -> tuple[Any, ...]:
        _refuse(self, "to pickle or copy it")
        return _reduced(self)


def _fields(t: Any) -> tuple[Any, ...]:
    return t.buffer, t.offset, t.shape, t.strides, t.dtype


def _reduced(t: Any) -> tuple[Any, ...]:
    # by name: an unpickled dtype is equal to NumPy's own, but not identical, and ops compare by identity
    parts = (*_fields(t)[:-1], t.dtype.name, t.node, t._requires_grad)
    return _tensor, (type(t), *parts), getattr(t, "__dict__", None) or None


def _tensor(kind: type, buffer: Buffer, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], dtype: str,
            leaf: Leaf | None, requires_grad: bool) -> Any:
    t: Any = object.__new__(kind)
    t._set(buffer=buffer, offset=offset, shape=shape, strides=strides, dtype=np.dtype(dtype), node=leaf,
           _requires_grad=requires_grad)
    return t


def _refuse(t: Any, how: str) -> None:
    """Raise where a copy would lose history, or bake a value into a recording."""
    if t.buffer is None:
        t._array()  # raises, saying why there is no value
    if isinstance(t.node, Node):
        raise GradientError(f"{user_line()}: {how}: only leaves have copies of their own, and this tensor was computed "
                            "from what requires a gradient, so that the copy would lose its history; detach() it for "
                            "its values, or copy.copy(t) for another tensor of the same history")
    leave(t, how)
    if state.capture is not None:
        raise CaptureError(f"{user_line()}: {how}: a recording would go on with the copy's present values; make the "
                           "copy before, outside of what is recorded")


# ------------------------------------------------------------------ parts of tensors


def _leaf(buffer: Buffer, shape: tuple[int, ...], dtype: str, nbytes: int, requires_grad: bool, lists: bool) -> Leaf:
    leaf = Leaf(buffer, shape, np.dtype(dtype), nbytes)
    leaf.requires_grad = requires_grad
    if lists:
        list_rows_of(leaf)
    return leaf


def _reduced_leaf(leaf: Leaf) -> tuple[Any, ...]:
    return _leaf, (leaf.buffer, leaf.shape, leaf.dtype.name, leaf.nbytes, leaf.requires_grad, leaf.touched is not None)


def _refuse_tape(tape: Tape) -> Any:
    raise CopyError("a tape has no copies: its instructions name addresses of this process; str(tape) is its listing, "
                    "and a step or compiled function that is copied makes a tape of its own")


copyreg.pickle(Leaf, _reduced_leaf)  # type: ignore[arg-type]
copyreg.pickle(Tape, _refuse_tape)


# ------------------------------------------------------------------ functions that record


def by_name_or(thing: Any, recipe: tuple[Any, ...]) -> Any:
    """What `__reduce__` of a function-like object returns: its name if it is found under it, else the recipe.

    A decorated function cannot be pickled by its recipe, for its name now is that of the decorator's result.
    """
    module, name = getattr(thing, "__module__", None), getattr(thing, "__qualname__", "")
    found: Any = sys.modules.get(module or "")
    if module == "__main__" and not hasattr(found, "__file__"):  # another process cannot import it
        return recipe
    for part in name.split("."):
        found = getattr(found, part, None)
    return name if found is thing else recipe
