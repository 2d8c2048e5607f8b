"""Tables of named columns.

A table keeps the file's content: text cells of a CSV stay text until numbers are asked for, because only then is it
known which columns are categories or labels. It also remembers the position of each row, so that every error can name
the row and the column.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ..errors import DataError
from .numbers import Numerals, is_missing
from .text import Text

__all__ = ["Column", "Table", "listed"]

#: text cells, or float64, shape (rows,), NaN for missing ones
Column = list[str] | Text | np.ndarray
Positions = np.ndarray | range


@dataclass(frozen=True)
class Table:
    """Columns of equal length under distinct names.

    Attributes
    ----------
    source : str
        The file, as errors name it.
    columns : dict of str to list of str, Text, or ndarray of float64, shape (rows,)
        Text cells as they stood in the file (without surrounding blanks), or numbers, NaN for missing.
    rows : range or ndarray of int64, shape (rows,)
        Position of each row in the file: counted from 1 below the header in text, from 0 in an array.
    lines : range or ndarray of int64, shape (rows,), optional
        The line of a text file on which each row starts, counted from 1.
    named : bool
        Whether the file itself names the columns. If not, columns count from 1.
    decimal : str
        The decimal mark of numbers in text.
    numerals : Numerals, optional
        How numbers in text are written; by default with that decimal mark.
    reread : callable, optional
        Reads a column of numbers once more as text, for its exact cells.
    files : tuple of (ndarray of int, shape (rows,), and tuple of str), optional
        For each row which of several files it is of, and their names.
    """

    source: str
    columns: Mapping[str, Column]
    rows: Positions
    lines: Positions | None = None
    named: bool = True
    decimal: str = "."
    numerals: Numerals | None = None
    reread: Callable[[str], Column] | None = None
    files: tuple[np.ndarray, tuple[str, ...]] | None = None
    _numbers: dict[str, np.ndarray] = field(default_factory=dict, init=False, repr=False)
    _text: dict[str, Text] = field(default_factory=dict, init=False, repr=False)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def names(self) -> list[str]:
        """The columns' names, in order."""
        return list(self.columns)

    @property
    def written(self) -> Numerals:
        """How numbers in text are written."""
        return self.numerals or Numerals(self.decimal)

    def where(self, row: int, name: str) -> str:
        """Position of a cell, for an error: file, row and column."""
        source = self.source if self.files is None else self.files[1][self.files[0][row]]
        if self.lines is None:
            return f"{source}: row {self.rows[row]}, column {name!r}"
        return f"{source}: row {self.rows[row]} (line {self.lines[row]}), column {name!r}"

    def require(self, names: Iterable[str], role: str = "column") -> None:
        """Raise a `DataError` that lists the columns unless all names are columns."""
        for name in names:
            if name not in self.columns:
                folded = {own.lower(): own for own in self.columns}
                near = difflib.get_close_matches(name.lower(), folded, n=1)
                hint = f"; did you mean {folded[near[0]]!r}?" if near else ""
                raise DataError(
                    f"{self.source} has no {role} {name!r}{hint} (columns: {listed(self.columns)})"
                )

    def is_text(self, name: str) -> bool:
        """Whether a column is held as text, which may be the text of numbers."""
        return not isinstance(self.columns[name], np.ndarray)

    def text(self, name: str) -> Text:
        """A column's cells as they stood in the file; of an array, numbers in their shortest form, "" for NaN."""
        if name not in self._text:
            cells = self.columns[name]
            if isinstance(cells, np.ndarray) and self.reread is not None:
                cells = self.reread(name)
            if isinstance(cells, np.ndarray):
                values, codes = np.unique(cells, return_inverse=True)
                cells = Text(codes.astype(np.int32), [_shortest(value) for value in values.tolist()])
            self._text[name] = cells if isinstance(cells, Text) else Text.of(cells)
        return self._text[name]

    def missing(self, name: str, words: bool = False) -> np.ndarray:
        """Which cells of a column are empty or a marker of missing values: among numbers, unless they are words, also
        "none".

        Returns
        -------
        ndarray of bool, shape (rows,)
        """
        cells = self.columns[name]
        if isinstance(cells, np.ndarray):
            return np.isnan(cells)
        text = self.text(name)
        if not words and any(cell.lower() == "none" for cell in text.values):
            numbers = [self.written.parse(cell) for cell in text.counts()]
            if None not in numbers and not all(number != number for number in numbers):
                return np.isnan(self.numbers(name))
        return text.each(is_missing, np.bool_)

    def numbers(self, name: str, remedy: str = "") -> np.ndarray:
        """A column as numbers.

        Parameters
        ----------
        name : str
            The column.
        remedy : str
            Advice about text in it, appended to the error.

        Returns
        -------
        ndarray of float64, shape (rows,)
            NaN where the value is missing.

        Raises
        ------
        DataError
            A cell holds text or an infinity; names its row and column.
        """
        if name not in self._numbers:
            values = self._as_numbers(name, remedy)
            if values is self.columns[name]:
                return values
            self._numbers[name] = values
        return self._numbers[name]

    def _as_numbers(self, name: str, remedy: str) -> np.ndarray:
        cells = self.columns[name]
        if isinstance(cells, np.ndarray):
            values = cells
        else:
            text, written = self.text(name), self.written
            parsed = [written.parse(cell) for cell in text.values]
            if None in parsed:
                words = np.array([number is None for number in parsed])[text.codes]
                if words.any():
                    row = int(np.argmax(words))
                    remedy = written.hint(text[row]) or remedy
                    tail = f"; {remedy}" if remedy else ""
                    raise DataError(f"{self.where(row, name)}: {_shortened(text[row])} is not a number{tail}")
            self._one_way_of_percent(name, text)
            values = np.array([np.nan if number is None else number for number in parsed], np.float64)[text.codes]
        for start in range(0, len(values), 1 << 16):
            infinite = np.flatnonzero(np.isinf(values[start : start + (1 << 16)]))
            if len(infinite):
                row = start + int(infinite[0])
                raise DataError(f"{self.where(row, name)}: {values[row]} is not a finite number")
        return values

    def _one_way_of_percent(self, name: str, text: Text) -> None:
        if not self.written.percent:
            return
        percent = text.each(lambda cell: cell.endswith("%"), np.bool_)
        plain = ~percent & ~text.each(is_missing, np.bool_)
        if percent.any() and plain.any():
            row = int(np.argmax(plain))
            raise DataError(f"{self.where(row, name)}: {_shortened(text[row])} has no percent sign, others have;"
                            " write all numbers of the column one way")

    def is_number(self, cell: str) -> bool:
        """Whether a cell holds a number, rather than text or nothing."""
        number = self.written.parse(cell)
        return number is not None and not np.isnan(number)

    def take(self, rows: np.ndarray) -> Table:
        """The table of some rows, by indices or a mask; errors still name their original positions."""
        if rows.dtype == np.bool_:
            rows = np.flatnonzero(rows)
        columns: dict[str, Column] = {
            name: [cells[row] for row in rows] if isinstance(cells, list) else cells[rows]
            for name, cells in self.columns.items()
        }
        lines = None if self.lines is None else np.asarray(self.lines)[rows]
        files = None if self.files is None else (self.files[0][rows], self.files[1])
        reread = None if self.reread is None else _Taken(self, rows)
        return replace(self, columns=columns, rows=np.asarray(self.rows)[rows], lines=lines, files=files,
                       reread=reread)

    def release(self, name: str) -> None:
        """Give a column up, so that its memory is free for what has been made of it."""
        if isinstance(self.columns, dict):
            self.columns.pop(name, None)
        self._numbers.pop(name, None)
        self._text.pop(name, None)

    def only(self, names: Sequence[str]) -> Table:
        """The table of some columns, in the order given."""
        return replace(self, columns={name: self.columns[name] for name in names})

    def renamed(self, names: Sequence[str]) -> Table:
        """The same columns under other names, in order."""
        own, again = dict(zip(names, self.columns, strict=True)), self.reread
        reread = None if again is None else lambda name: again(own[name])
        return replace(self, columns=dict(zip(names, self.columns.values(), strict=True)), reread=reread)


class _Taken:
    """Reads a column's text for some rows of a table."""

    def __init__(self, table: Table, rows: np.ndarray) -> None:
        self._table, self._rows = replace(table, columns=dict.fromkeys(table.columns, np.empty(0))), rows

    def __call__(self, name: str) -> Text:
        return self._table.text(name)[self._rows]


def _shortest(value: float) -> str:
    if value != value:
        return ""
    return str(int(value)) if value.is_integer() else repr(value)


def listed(names: Iterable[str], most: int = 12) -> str:
    """Names for an error: the first few, and the number of all."""
    texts = [" ".join(str(name).split()) for name in names]
    if len(texts) <= most:
        return ", ".join(texts)
    return f"{', '.join(texts[:most])}, ... {len(texts)} in all"


def _shortened(cell: str) -> str:
    return repr(cell if len(cell) <= 40 else cell[:37] + "...")
