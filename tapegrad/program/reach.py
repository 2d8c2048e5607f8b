"""Reachability: the modules and random generators that a function can see besides its arguments."""

from __future__ import annotations

import pickle
import random
from collections.abc import Callable
from functools import partial
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from ..engine.random import generator
from ..tensor.tensor import Tensor
from .conditions import SOURCES, Looks, look_below

#: limits of the search: objects, and elements of a container
_MOST, _LONGEST = 2000, 256
_OWN = (__name__.partition(".")[0], "numpy")
_PASSED_OVER = frozenset({int, float, bool, str, bytes, type(None), type, ModuleType, BuiltinFunctionType, np.ndarray,
                          np.ufunc, Tensor})


def reach(function: Any) -> tuple[Looks, list[Any]]:
    """The modules, with their descendants, and the random generators that a function refers to.

    The search follows its closure, defaults and globals, the object it is bound to, the functions that it names, and
    lists, tuples and dicts of such.
    """
    looks: Looks = {}
    generators = []
    seen: dict[int, Any] = {}  # holds them, so that identities stay unique
    waiting = [function]
    while waiting and len(seen) < _MOST:
        thing = waiting.pop()
        kind = type(thing)
        if kind in _PASSED_OVER or id(thing) in seen:
            continue
        seen[id(thing)] = thing
        if kind in SOURCES:
            generators.append(thing)
        elif kind is FunctionType:
            if (thing.__module__ or "").partition(".")[0] not in _OWN:
                _add_seen_by(thing, waiting)
        elif hasattr(thing, "named_modules"):
            look_below(thing, looks)
        elif isinstance(thing, (list, tuple, set, frozenset)):
            waiting += list(thing)[:_LONGEST]
        elif isinstance(thing, dict):
            waiting += list(thing.values())[:_LONGEST]
        elif isinstance(thing, MethodType):
            waiting += (thing.__func__, thing.__self__)
            if not hasattr(thing.__self__, "named_modules"):
                waiting += list(getattr(thing.__self__, "__dict__", {}).values())[:_LONGEST]
        elif isinstance(thing, partial):
            waiting += (thing.func, *thing.args, *thing.keywords.values())
        elif hasattr(thing, "__wrapped__") and not isinstance(thing, type):
            waiting.append(thing.__wrapped__)
    for _, look in looks.values():
        generators += look.sources
    return looks, generators


def _add_seen_by(function: FunctionType, waiting: list[Any]) -> None:
    """Add a function's closure and defaults, and the globals that it or a function within it names."""
    for cell in function.__closure__ or ():
        try:
            waiting.append(cell.cell_contents)
        except ValueError:  # not assigned yet
            continue
    waiting += function.__defaults__ or ()
    waiting += (function.__kwdefaults__ or {}).values()
    names, codes = function.__globals__, [function.__code__]
    for code in codes:
        waiting += [names[name] for name in code.co_names if name in names]
        codes += [constant for constant in code.co_consts if type(constant) is CodeType]


class Draws:
    """Detects random draws that a recording would bake in, by comparing generator states before and after."""

    def __init__(self, generators: list[Any]) -> None:
        looks: list[tuple[str, Callable[[], Any]]] = [
            ("numpy.random", _of_numpy), ("random", random.getstate),
            ("tapegrad's generator", partial(_of_generator, generator()))]
        looks += [(f"a {type(g).__name__}", _look_at(g)) for g in generators]
        self._looks = [(name, look, look()) for name, look in looks]

    def drawn(self) -> list[str]:
        """Names of the generators that have been drawn from."""
        return [name for name, look, before in self._looks if look() != before]


def _of_numpy() -> tuple[Any, ...]:
    _, words, *rest = np.random.get_state(legacy=True)
    return (words.tobytes(), *rest)  # type: ignore[union-attr]


def _of_generator(source: np.random.Generator) -> bytes:
    return pickle.dumps(source.bit_generator.state)


def _look_at(source: Any) -> Callable[[], Any]:
    """A function that returns the state of a generator, for comparison."""
    if isinstance(source, random.Random):
        return source.getstate
    if isinstance(source, np.random.Generator):
        return partial(_of_generator, source)
    return lambda: pickle.dumps(source.get_state())
