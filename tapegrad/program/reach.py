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

#: things looked at, and elements of a container looked into, at most
_MOST, _LONGEST = 2000, 256
_OWN = __name__.partition(".")[0]


def reach(function: Any) -> tuple[list[Any], list[Any]]:
    """The modules and the random generators that a function refers to: in its closure, defaults and globals, in what
    it is bound to, in the functions that it names, and in lists, tuples and dicts of such."""
    modules, generators = [], []
    seen: dict[int, Any] = {}  # which keeps them, so that no two have one identity
    waiting = [function]
    while waiting and len(seen) < _MOST:
        thing = waiting.pop()
        if id(thing) in seen:
            continue
        seen[id(thing)] = thing
        if hasattr(thing, "named_modules"):
            below = [module for _, module in thing.named_modules()]
            modules += below
            waiting += [held for module in below for held in vars(module).values() if _draws(held)]
        elif _draws(thing):
            generators.append(thing)
        else:
            waiting += _held(thing)
    return modules, generators


def _draws(thing: Any) -> bool:
    return isinstance(thing, (np.random.Generator, np.random.RandomState, random.Random))


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
        if (thing.__module__ or "").partition(".")[0] in (_OWN, "numpy"):
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
    elif hasattr(thing, "__wrapped__") and not isinstance(thing, type):
        yield thing.__wrapped__


def _names(code: CodeType) -> Iterator[str]:
    """Global names that code uses, that of the functions within it too."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


class Draws:
    """Tells whether random numbers were drawn that a recording would freeze: a look before, a look after."""

    def __init__(self, generators: list[Any]) -> None:
        own = generator()
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
