"""The settings of a sweep: all combinations of what is listed, random draws of the rest."""

from __future__ import annotations

import itertools
import json
import zlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import ArgumentError

__all__ = ["OWN", "Settings", "cell", "grouped", "identity", "parsed", "points"]

Settings = dict[str, Any]
#: columns of the file that are no settings
OWN = ("run", "status", "seconds", "error")


def points(space: Mapping[str, Any], samples: int, seed: int, repeats: Collection[str] = ()) -> list[Settings]:
    """All settings of a space, each once.

    What is drawn for a combination depends on `seed`, the combination and the number of the draw alone: more samples,
    more values and another order of the names leave what was drawn before as it is.

    Parameters
    ----------
    space : mapping
        From names to one value (also a string), to a list, tuple, range or array of values, all combinations of which
        are taken, or to a distribution with SciPy's ``rvs(random_state=)``.
    samples : int
        Draws for each combination.
    seed : int
    repeats : collection of str, optional
        Names that do not belong to a combination: draws are the same for all their values.

    Raises
    ------
    ArgumentError
        An empty list, a value that a table cannot hold, a name that the table uses itself, or settings that come twice.
    """
    fixed: dict[str, list[Any]] = {}
    drawn: dict[str, Any] = {}
    for name, values in space.items():
        if not isinstance(name, str) or not name or name in OWN:
            raise ArgumentError(f"sweep: {name!r} cannot name a setting; its name is text other than {', '.join(OWN)}")
        if hasattr(values, "rvs"):
            drawn[name] = values
        elif isinstance(values, (list, tuple, range, np.ndarray)):
            if len(values) == 0:
                raise ArgumentError(f"sweep: {name} has no values; give it at least one, or leave it out")
            fixed[name] = [_plain(name, value) for value in values]
        else:
            fixed[name] = [_plain(name, values)]
    found, seen = [], {}
    for number in range(samples if drawn else 1):
        for combination in itertools.product(*fixed.values()):
            settings = dict(zip(fixed, combination))
            words = json.dumps({name: identity(value) for name, value in sorted(settings.items())
                                if name not in repeats})  # fmt: skip
            for name, distribution in drawn.items():
                source = [seed % 2**64, number, zlib.crc32(words.encode()), zlib.crc32(name.encode())]
                settings[name] = _plain(name, distribution.rvs(random_state=np.random.default_rng(source)))
            settings = {name: settings[name] for name in space}
            key = tuple(identity(value) for value in settings.values())
            if key in seen and drawn:
                continue  # the same number of few was drawn again
            if key in seen:
                twice = next((name for name, values in fixed.items()
                              if len({identity(value) for value in values}) < len(values)), "")
                raise ArgumentError(f"sweep: {twice} has a value twice: {cell(settings[twice])!r}; a table could not "
                                    "tell the runs apart; for repeats, sweep over a seed")
            seen[key] = True
            found.append(settings)
    return found


def _plain(name: str, value: Any) -> Any:
    """A value of a setting, NumPy's numbers as Python's, single ones out of arrays."""
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.reshape(-1)[0]
    value = value.item() if isinstance(value, np.generic) else value
    try:
        cell(value)
    except TypeError as error:
        raise ArgumentError(f"sweep: {name} has a value that a table cannot hold, of type {error}; give numbers, text, "
                            "truth values, None, lists of them, or what has a __name__, and make of it in the function "
                            "what is needed") from None
    return value


def cell(value: Any) -> bool | int | float | str | None:
    """A value as a table holds it: lists as JSON, functions and classes by their names.

    >>> cell((64, 32)), cell(0.1), cell(len)
    ('[64, 32]', 0.1, 'len')
    """
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return json.dumps([cell(each) for each in value])
    name = getattr(value, "__name__", None)
    if not isinstance(name, str):
        raise TypeError(type(value).__name__)
    return name


def identity(value: Any) -> str:
    """A text that is equal for a value and for what is read of it from a table."""
    value = parsed(cell(value)) if not isinstance(value, str) else parsed(value)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= 2**53:
        value = float(value)
    return "" if value is None else str(value)


def parsed(text: Any) -> bool | int | float | str | None:
    """What a cell of a table says.

    >>> [parsed(text) for text in ("", "1", "1e-3", "True", "relu", 2.5)]
    [None, 1, 0.001, True, 'relu', 2.5]
    """
    if not isinstance(text, str):
        return text
    if text in ("", "True", "False"):
        return {"": None, "True": True, "False": False}[text]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text


def grouped(settings: Sequence[Settings], numbers: Sequence[int], together: Sequence[str], most: int
            ) -> list[list[int]]:
    """Numbers of settings that differ in nothing but what `together` names, at most so many in a group."""
    groups: dict[Any, list[int]] = {}
    for k in numbers:
        alike = tuple(identity(value) for name, value in settings[k].items() if name not in together)
        groups.setdefault(alike if together else k, []).append(k)
    return [group[start : start + most] for group in groups.values() for start in range(0, len(group), most)]
