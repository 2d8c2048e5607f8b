"""Tables of explanations, and lists that print as such."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Generic, TypeVar, overload

from ..tape import tables

Entry = TypeVar("Entry")

#: characters of a cell
_WIDEST = 72


def aligned(rows: Sequence[Sequence[str]], right: Collection[int] = ()) -> str:
    """As `tape.tables.aligned`, with long cells cut short."""
    return tables.aligned([[_shortened(cell) for cell in row] for row in rows], right)


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
