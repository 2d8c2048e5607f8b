"""A column of text, each distinct cell held once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, overload

import numpy as np

__all__ = ["Text", "as_cell"]


class Text(Sequence[str]):
    """Cells of text: the distinct ones, and for each row which one it holds.

    Parameters
    ----------
    codes : ndarray of int32, shape (rows,)
        Positions in `values`.
    values : list of str
        The distinct cells, in any order; one may be of no row.
    """

    __slots__ = ("codes", "values")

    def __init__(self, codes: np.ndarray, values: list[str]) -> None:
        self.codes, self.values = codes, values

    @classmethod
    def of(cls, cells: Iterable[str]) -> Text:
        """The column of some cells."""
        position: dict[str, int] = {}
        codes = np.fromiter((position.setdefault(cell, len(position)) for cell in cells), np.int32)
        return cls(codes, list(position))

    def __len__(self) -> int:
        return len(self.codes)

    @overload
    def __getitem__(self, key: int) -> str: ...
    @overload
    def __getitem__(self, key: Any) -> Any: ...
    def __getitem__(self, key: Any) -> Any:
        """A cell for an integer, a column for indices, a slice or a mask."""
        if isinstance(key, (int, np.integer)):
            return self.values[self.codes[key]]
        return Text(self.codes[key], self.values)

    def __iter__(self) -> Iterator[str]:
        values = self.values
        return (values[code] for code in self.codes.tolist())

    def __eq__(self, other: object) -> bool:
        if isinstance(other, (list, Text)):
            return list(self) == list(other)
        return NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def each(self, function: Callable[[str], Any], dtype: Any) -> np.ndarray:
        """A function's value for every row, called once for each distinct cell."""
        return np.array([function(value) for value in self.values], dtype)[self.codes]

    def counts(self) -> dict[str, int]:
        """The cells that occur, in the order of `values`, with the number of their rows."""
        rows = np.bincount(self.codes, minlength=len(self.values)).tolist()
        return {value: count for value, count in zip(self.values, rows, strict=True) if count}


def as_cell(value: object) -> str:
    """A value as a cell of a text file would hold it; "" where there is none."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None or (isinstance(value, float) and value != value):
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()
