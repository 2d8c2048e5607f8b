"""The rows of several tables as one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import DataError
from .csvfile import as_numbers
from .table import Column, Table, listed
from .text import Text

__all__ = ["joined"]


def joined(tables: Sequence[Table]) -> Table:
    """One table of the rows of several, whose columns agree by name, or without names by their number.

    Errors go on naming the file of a row.

    Raises
    ------
    DataError
        The columns do not agree.
    """
    one = tables[0]
    if len(tables) == 1:
        return one
    for other in tables[1:]:
        if other.named != one.named:
            with_names, without = (one, other) if one.named else (other, one)
            raise DataError(f"{with_names.source} names its columns and {without.source} does not; --header or"
                            " --no-header says of all files whether they do")
        if set(other.names) != set(one.names):
            apart = listed(sorted(set(one.names) ^ set(other.names)))
            raise DataError(f"{one.source} and {other.source} differ in their columns: only one has {apart}")
    columns = {name: _column(tables, name) for name in one.names}
    file = np.repeat(np.arange(len(tables), dtype=np.int32), [len(table) for table in tables])
    rows = np.concatenate([np.asarray(table.rows) for table in tables])
    lines = [table.lines for table in tables]
    places = None if any(part is None for part in lines) else np.concatenate([np.asarray(part) for part in lines])
    names = tuple(table.source for table in tables)
    return Table(
        f"{len(tables)} files ({listed(names, 3)})", columns, rows, places, one.named, one.decimal, one.numerals,
        lambda name: _text(tables, name), (file, names),
    )  # fmt: skip


def _column(tables: Sequence[Table], name: str) -> Column:
    """A column of numbers if all files have numbers there that nothing but their value matters of; else of text."""
    parts = [table.columns[name] for table in tables]
    if any(isinstance(part, np.ndarray) for part in parts):
        numbers = [
            part if isinstance(part, np.ndarray) else as_numbers(part, table.written)
            for part, table in zip(parts, tables, strict=True)
        ]
        if all(part is not None for part in numbers):
            return np.concatenate([part for part in numbers if part is not None])
    if all(isinstance(part, list) for part in parts):
        return [cell for part in parts for cell in part]
    return _text(tables, name)


def _text(tables: Sequence[Table], name: str) -> Text:
    parts = [table.text(name) for table in tables]
    position: dict[str, int] = {}
    codes = []
    for part in parts:
        known = np.array([position.setdefault(value, len(position)) for value in part.values], np.int32)
        codes.append(known[part.codes])
    return Text(np.concatenate(codes), list(position))
