"""What a function can see besides its arguments: the modules and the random generators in its reach."""

from __future__ import annotations

import pickle
import random
from collections.abc import Callable, Iterator
from functools import partial
from types import CodeType, FunctionType, MethodType
from typing import Any

import numpy as np

from ..random import generator
from .conditions import SOURCES, Looks, look_below

#: things looked at, and elements of a container looked into, at most
_MOST, _LONGEST = 2000, 256
_OWN = (__name__.partition(".")[0], "numpy")
_LOOKED_THROUGH = (FunctionType, MethodType, partial, list, tuple, set, frozenset, dict)


def reach(function: Any) -> tuple[Looks, list[Any]]:
    """The modules, with all below them, and the random generators that a function refers to.

    Looked through are its closure, defaults and globals, what it is bound to, the functions that it names, and lists,
    tuples and dicts of such.
    """
    looks: Looks = {}
    generators = []
    seen: dict[int, Any] = {}  # which keeps them, so that no two have one identity
    waiting = [function]
    while waiting and len(seen) < _MOST:
        thing = waiting.pop()
        if id(thing) in seen:
            continue
        seen[id(thing)] = thing
        if hasattr(thing, "named_modules"):
            look_below(thing, looks)
        elif type(thing) in SOURCES:
            generators.append(thing)
        elif isinstance(thing, _LOOKED_THROUGH) or hasattr(thing, "__wrapped__"):
            waiting += _held(thing)
    for _, look in looks.values():
        generators += look.sources
    return looks, generators


def _held(thing: Any) -> Iterator[Any]:
    """What a function, a bound method or a container refers to."""
    if isinstance(thing, MethodType):
        yield thing.__func__
        yield thing.__self__
        if not hasattr(thing.__self__, "named_modules"):
            yield from list(getattr(thing.__self__, "__dict__", {}).values())[:_LONGEST]
    elif isinstance(thing, partial):
        yield from (thing.func, *thing.args, *thing.keywords.values())
    elif isinstance(thing, FunctionType):
        if (thing.__module__ or "").partition(".")[0] in _OWN:
            return
        for cell in thing.__closure__ or ():
            try:
                yield cell.cell_contents
            except ValueError:  # not assigned yet
                continue
        yield from thing.__defaults__ or ()
        yield from (thing.__kwdefaults__ or {}).values()
        names = thing.__globals__
        yield from (names[name] for name in _names(thing.__code__) if name in names)
    elif isinstance(thing, (list, tuple, set, frozenset)):
        yield from list(thing)[:_LONGEST]
    elif isinstance(thing, dict):
        yield from list(thing.values())[:_LONGEST]
    elif not isinstance(thing, type):
        yield thing.__wrapped__


def _names(code: CodeType) -> list[str]:
    """Global names that code uses, that of the functions within it too."""
    names: list[str] = []
    waiting = [code]
    while waiting:
        code = waiting.pop()
        names += code.co_names
        waiting += [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    return names


class Draws:
    """Tells whether random numbers were drawn that a recording would freeze: a look before, a look after."""

    def __init__(self, generators: list[Any]) -> None:
        looks: list[tuple[str, Callable[[], Any]]] = [
            ("numpy.random", _of_numpy), ("random", random.getstate),
            ("tapegrad's generator", partial(_state_of, generator()))]
        looks += [(f"a {type(g).__name__}", partial(_state_of, g)) for g in generators]
        self._looks = [(name, look, look()) for name, look in looks]

    def drawn(self) -> list[str]:
        """The names of the generators that have been drawn from."""
        return [name for name, look, before in self._looks if look() != before]


def _of_numpy() -> tuple[Any, ...]:
    _, words, *rest = np.random.get_state(legacy=True)
    return (words.tobytes(), *rest)  # type: ignore[union-attr]


def _state_of(source: Any) -> Any:
    """The state of a generator, to be compared."""
    if isinstance(source, random.Random):
        return source.getstate()
    return pickle.dumps(source.bit_generator.state if isinstance(source, np.random.Generator) else source.get_state())
