"""What functions made of functions have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import update_wrapper
from typing import Any

import numpy as np

from ..engine.tree import map_leaves
from ..errors import ArgumentError, DtypeError
from ..tensor.copies import by_name_or


class Transformation:
    """A function made of another one; call it, nest it, or give it to `compile`."""

    #: for `compile`: what a recording of it returns are arrays
    gives_arrays = True

    def __init__(self, function: Callable, *options: Any) -> None:
        if not callable(function):
            raise DtypeError(f"{type(self).__name__} needs a function, not {type(function).__name__}")
        self._function, self._options = function, options
        update_wrapper(self, function, updated=())  # type: ignore[arg-type]

    def __reduce__(self) -> Any:
        return by_name_or(self, (type(self), (self._function, *self._options)))

    @property
    def _name(self) -> str:
        return getattr(self._function, "__name__", "the function")


class Argnums:
    """Positional arguments of which some are chosen.

    Parameters
    ----------
    argnums : int or sequence of int
    """

    def __init__(self, argnums: int | Sequence[int]) -> None:
        self.single = isinstance(argnums, (int, np.integer))
        numbers: Any = (argnums,) if self.single else tuple(argnums)  # type: ignore[arg-type]
        if not numbers or not all(isinstance(k, (int, np.integer)) for k in numbers):
            raise ArgumentError(f"argnums must be an integer or a tuple of integers, not {argnums!r}")
        self.numbers: tuple[int, ...] = numbers
        self._positions: dict[int, tuple[list[int], list[int] | None]] = {}

    def positions(self, count: int) -> tuple[list[int], list[int] | None]:
        """The distinct positions of arguments; and for each of `argnums` its index in them, if some occur twice."""
        known = self._positions.get(count)
        if known is None:
            known = self._positions[count] = self._among(count)
        return known

    def _among(self, count: int) -> tuple[list[int], list[int] | None]:
        for k in self.numbers:
            if not -count <= k < count:
                raise ArgumentError(f"argnums {k}: the function was called with {count} positional arguments")
        named = [k % count for k in self.numbers]
        positions = list(dict.fromkeys(named))
        return positions, None if len(positions) == len(named) else [positions.index(k) for k in named]

    def arranged(self, found: Sequence[Any], again: Sequence[int] | None) -> Any:
        """By argnums what belongs to the positions; where an argument is named again, a copy."""
        if again is not None:
            found = [found[k] if k not in again[:at] else map_leaves(_copied, found[k]) for at, k in enumerate(again)]
        return found[0] if self.single else tuple(found)


def _copied(found: Any) -> Any:
    return found.copy() if isinstance(found, np.ndarray) else found
