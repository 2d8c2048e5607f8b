"""Kinds of columns, each with what is fitted to it and its columns of a network's inputs."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np

from ..errors import DataError
from .moments import PARTS, Moments
from .numbers import Numerals, is_missing
from .table import Table, listed
from .text import Text

__all__ = ["Boolean", "Category", "Kind", "Moment", "Number", "canonical", "is_exact", "kind_from_json"]

#: numbers that are codes or labels, whose text says more than their value: 007, 1e5, integers that float64 cannot hold
_EXACT = re.compile(r"[+-]?0\d|[+-]?\d{16,}|[+-]?[\d.]+[eE]")
_TRUE, _FALSE = ("true", "t", "yes", "y"), ("false", "f", "no", "n")


class Kind(ABC):
    """How one column becomes columns of the matrix."""

    kind: ClassVar[str]

    @property
    @abstractmethod
    def suffixes(self) -> list[str]:
        """What is appended to the column's name for each column of the matrix."""

    @abstractmethod
    def values(self, table: Table, name: str, unseen: str = "error") -> np.ndarray:
        """The columns of the matrix, shape (rows, width), before scaling; NaN where the value is missing."""

    @property
    def width(self) -> int:
        """Columns of the matrix."""
        return len(self.suffixes)

    @property
    def categories(self) -> list[str] | None:
        """The categories of a category."""
        return None

    @property
    def words(self) -> str:
        """What it is, for people."""
        return self.kind

    def to_json(self) -> dict[str, Any]:
        """What `kind_from_json` needs."""
        return {"kind": self.kind, **asdict(self)}  # type: ignore[call-overload]


@dataclass(frozen=True)
class Number(Kind):
    """A column of numbers."""

    kind: ClassVar[str] = "number"

    @property
    def suffixes(self) -> list[str]:
        return [""]

    def values(self, table: Table, name: str, unseen: str = "error") -> np.ndarray:
        return table.numbers(name)[:, None]


@dataclass(frozen=True)
class Boolean(Kind):
    """A column of true and false, yes and no, or their first letters."""

    kind: ClassVar[str] = "boolean"

    @staticmethod
    def holds(text: Text) -> bool:
        """Whether all cells are such words, and there is one."""
        words = {cell.lower() for cell in text.counts() if not is_missing(cell)}
        return bool(words) and any(words <= {yes, no} for yes, no in zip(_TRUE, _FALSE))

    @property
    def suffixes(self) -> list[str]:
        return [""]

    def values(self, table: Table, name: str, unseen: str = "error") -> np.ndarray:
        text = table.text(name)

        def value(cell: str) -> float:
            word = cell.lower()
            if word in _TRUE or word in _FALSE or word in ("1", "0", "1.0", "0.0"):
                return float(word in _TRUE or word.startswith("1"))
            return np.nan if is_missing(cell) else np.inf

        values = text.each(value, np.float64)
        if np.isinf(values).any():
            row = int(np.argmax(np.isinf(values)))
            raise DataError(f"{table.where(row, name)}: {text[row]!r} is neither true nor false, as the model needs")
        return values[:, None]


@dataclass(frozen=True)
class Category(Kind):
    """A column of categories, one-hot encoded.

    Attributes
    ----------
    known : list of str
        The categories, sorted.
    exact : bool
        Whether cells are compared as text; else numbers by their value, so that 1 and 1.0 agree.
    """

    known: list[str]
    exact: bool = False
    kind: ClassVar[str] = "category"

    @property
    def categories(self) -> list[str]:
        return self.known

    @property
    def suffixes(self) -> list[str]:
        return [f"={category}" for category in self.known]

    @property
    def words(self) -> str:
        return f"category of {len(self.known)} values"

    def values(self, table: Table, name: str, unseen: str = "error") -> np.ndarray:
        position = {category: k for k, category in enumerate(self.known)}
        text, written = table.text(name), table.written

        def place(cell: str) -> int:
            if is_missing(cell):
                return -1
            return position.get(cell if self.exact else canonical(cell, written), -2)

        places = text.each(place, np.int64)
        if unseen == "error" and (places == -2).any():
            row = int(np.argmax(places == -2))
            raise DataError(
                f"{table.where(row, name)}: {text[row]!r} is a category that the model does not know"
                f" ({listed(self.known)}); --unseen ignore reads it as none of them"
            )
        indicators = np.zeros((len(table), len(self.known)))
        rows = np.flatnonzero(places >= 0)
        indicators[rows, places[rows]] = 1.0
        indicators[places == -1] = np.nan
        return indicators


@dataclass(frozen=True)
class Moment(Kind):
    """A column of dates or times, as days since 1970 and the phases of year, week and day.

    Attributes
    ----------
    form : str
        How they are written, as `Moments` calls it.
    parts : list of str
        Of "days", "year", "week", "day".
    """

    form: str
    parts: list[str]
    kind: ClassVar[str] = "date"

    @property
    def suffixes(self) -> list[str]:
        return [
            f" ({part}{end})" for part in self.parts for end in (("",) if part == "days" else (", sine", ", cosine"))
        ]

    @property
    def words(self) -> str:
        return f"{'time' if self.form == 'time' else 'date'} by {', '.join(self.parts)}"

    def values(self, table: Table, name: str, unseen: str = "error") -> np.ndarray:
        text = table.text(name)
        moments = Moments(self.form)
        days = text.each(lambda cell: np.nan if is_missing(cell) else moments.days(cell), np.float64)
        if np.isinf(days).any():
            row = int(np.argmax(np.isinf(days)))
            raise DataError(f"{table.where(row, name)}: {text[row]!r} is not a {moments.words}, as others are")
        columns = []
        for part in self.parts:
            if part == "days":
                columns.append(days)
            else:
                phase = 2 * np.pi * PARTS[part](days)
                columns += [np.sin(phase), np.cos(phase)]
        return np.stack(columns, axis=1)


def canonical(cell: str, written: Numerals) -> str:
    """A number's shortest form; any other cell as it is."""
    number = written.parse(cell)
    if number is None or not np.isfinite(number):
        return cell
    return str(int(number)) if number.is_integer() else repr(number)


def is_exact(text: Text) -> bool:
    """Whether cells say more as text than as numbers: leading zeros, exponents, integers of sixteen digits and more."""
    return any(_EXACT.match(cell) for cell in text.values)


def kind_from_json(state: Mapping[str, Any] | list[str] | None) -> Kind:
    """The kind that `Kind.to_json` described, or that of older files.

    Raises
    ------
    KeyError, TypeError
        It is not such a description.
    """
    if state is None:
        return Number()
    if isinstance(state, list):
        return Category([str(category) for category in state])
    kinds: dict[str, type[Kind]] = {kind.kind: kind for kind in (Number, Boolean, Category, Moment)}
    given = dict(state)
    return kinds[given.pop("kind")](**given)
