"""Tables in plain text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Generic, TypeVar, overload

Entry = TypeVar("Entry")

#: characters of a cell
_WIDEST = 72


def aligned(rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> str:
    """Rows in columns, two spaces apart; those of the numbers `right` are aligned to the right.

    >>> print(aligned([["n", "value"], ["q", "3"]], right=(1,)))
    n  value
    q      3
    """
    rows = [[_shortened(cell) for cell in row] for row in rows]
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    lines = ("  ".join(cell.rjust(w) if k in right else cell.ljust(w) for k, (cell, w) in enumerate(zip(row, widths)))
             for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def _shortened(cell: str) -> str:
    return cell if len(cell) <= _WIDEST else cell[:_WIDEST - 3] + "..."


class Listed(Sequence[Entry], Generic[Entry]):
    """Entries that print as a text of their own."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._entries = tuple(entries)

    def __len__(self) -> int:
        return len(self._entries)

    @overload
    def __getitem__(self, k: int) -> Entry: ...
    @overload
    def __getitem__(self, k: slice) -> Sequence[Entry]: ...

    def __getitem__(self, k: int | slice) -> Entry | Sequence[Entry]:
        return self._entries[k]

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries)

    def __repr__(self) -> str:
        return str(self)
