"""Functions that call themselves: called as they are, where others are written out.

The reverse sweep of a call runs the callee's own adjoint, forward sweep and reverse sweep (joint mode; Griewank and
Walther, Evaluating Derivatives, 2nd ed., section 12.2), on a tape of its own: what the callee computes is computed once
more for each level above it.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Adjoints", "Called", "called_in"]

@dataclass
class Called:
    """A function that is called by name.

    Attributes
    ----------
    function : object
        The user's function; of a tangent the key that it is found by.
    normal : Normal
    """

    function: Any
    normal: Any


def called_in(normal: Any) -> dict[str, Called]:
    """By name the functions that a normal form calls, those that they call among them."""
    found: dict[str, Called] = {}
    rest = [normal] if normal.calls else []
    while rest:
        body = rest.pop().body
        for name in sorted({node.id for s in body for node in ast.walk(s) if isinstance(node, ast.Name)}):
            if name in normal.calls and name not in found:
                found[name] = normal.calls[name]
                rest.append(normal.calls[name].normal)
    return dict(sorted(found.items()))


class Adjoints:
    """The adjoints of calls that an adjoint runs, and theirs.

    Parameters
    ----------
    derive : callable
        ``derive(normal, kinds of parameters, wanted, name, adjoints)`` gives the source of a sweep.
    """

    def __init__(self, derive: Callable) -> None:
        self._derive = derive
        self._names: dict[Any, str] = {}
        #: source texts, with the name of the call whose constants they name
        self.texts: list[tuple[str, str]] = []

    def of(self, name: str, called: Called, kinds: Sequence[Any], wanted: Sequence[int]) -> str:
        """The name of the adjoint of a call with arguments of these kinds, by the arguments of these numbers."""
        key = name, tuple(kinds), tuple(wanted)
        if key not in self._names:
            own = self._names[key] = f"{name}_adjoint{len(self._names) + 1}"
            parameters = [called.normal.parameters[k] for k in wanted]
            self.texts.append((self._derive(called.normal, kinds, set(parameters), own, self), name))
        return self._names[key]
