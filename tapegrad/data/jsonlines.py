"""JSON lines: a file of objects, one a line, read block by block."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterable, Iterator
from functools import partial
from typing import IO

from ..errors import DataError
from .blocks import BLOCK_BYTES
from .growing import NotNumbers, NumberColumn, TextColumn, positions
from .sources import Source
from .table import Column, Table
from .text import as_cell

__all__ = ["read_json_lines", "read_json_lines_parts"]

_EXACT = 1 << 53


def read_json_lines(source: Source, text: Iterable[str] = (), block_bytes: int = BLOCK_BYTES) -> Table:
    """The table of a file of objects, one a line; a key that an object lacks is missing there.

    Besides the table, a block of the file is held at a time.

    Parameters
    ----------
    source : Source
    text : iterable of str
        Columns to keep as text even if they hold numbers.
    block_bytes : int

    Raises
    ------
    DataError
        A line is no object of numbers, text, truth values and null, or the file is empty; says where.
    """
    (table,) = _tables(source, set(text), None, block_bytes)
    return table


def read_json_lines_parts(source: Source, text: Iterable[str] = (), *, part_bytes: int,
                          block_bytes: int = BLOCK_BYTES) -> Iterator[Table]:
    """The table in parts of about so many bytes, all with the same columns; see `read_json_lines`.

    A file of several parts is read twice: keys and kinds of columns are those of the whole file.
    """
    return _tables(source, set(text), part_bytes, block_bytes)


def _tables(source: Source, text: set[str], part_bytes: int | None, size: int) -> Iterator[Table]:
    names: list[str] = []
    while True:
        file = _File(source, text, names, part_bytes, size)
        try:
            yield from source.each(file.tables)
            return
        except _SeveralParts as found_out:
            names = found_out.names
        except NotNumbers as found_out:
            text = text | found_out.columns


class _SeveralParts(Exception):
    """The file is one of several parts, in which these keys occur."""

    def __init__(self, names: list[str]) -> None:
        super().__init__(names)
        self.names = names


class _Fraction(str):
    """A number with a fraction or an exponent, as it is written."""

    __slots__ = ()


class _File:
    """The state of reading a file: by the first block in which a key occurs, its column holds numbers or text.

    Parameters
    ----------
    source : Source
    text : set of str
        Columns of text.
    names : list of str
        The keys, if they are known.
    part_bytes : int or None
        About so many become a part; all are one by default.
    size : int
        Bytes of a block.
    """

    def __init__(self, source: Source, text: set[str], names: list[str], part_bytes: int | None, size: int) -> None:
        self.source, self.text, self.known = source, text, names
        self.part_bytes, self.size = part_bytes, size
        self.columns: dict[str, NumberColumn | TextColumn] = {}
        self.lines: list[range | list[int]] = []
        self.rows = self.given = self.room = 0
        self.decoder = json.JSONDecoder(parse_float=_Fraction, object_pairs_hook=_once)

    def tables(self, stream: IO[bytes]) -> Iterator[Table]:
        """The parts. Raises `_SeveralParts` before the first of several, unless the keys are known."""
        taken, several = 0, False
        for line, data in _blocks(stream, self.size):
            if self.part_bytes is not None and taken >= self.part_bytes:
                if self.known:
                    yield self._part()
                several, taken = True, 0
            rows, lines = self._objects(line, data)
            if rows:
                self._add(rows, lines, len(data))
            if several and not self.known:
                self._begin_part()
            taken += len(data)
        if not self.rows or not self.columns:
            raise DataError(f"{self.source.name}: the file is empty")
        if several and not self.known:
            raise _SeveralParts(list(self.columns))
        if self.rows > self.given:
            yield self._part()

    def _objects(self, first: int, data: bytes) -> tuple[list[dict[str, object]], list[int]]:
        """The objects of a block and the line of each."""
        rows, lines, decode = list[dict[str, object]](), list[int](), self.decoder.decode
        for number, line in enumerate(data.split(b"\n"), first):
            if not line.strip():
                continue
            where = f"{self.source.name}: line {number}"
            try:
                row = decode(line.decode("utf-8", "surrogatepass"))
            except _Repeated:
                raise DataError(f"{where}: an object has the same key twice") from None
            except (ValueError, RecursionError) as error:
                raise DataError(f"{where} is not JSON ({error})") from error
            if not isinstance(row, dict):
                raise DataError(f"{where} is not a JSON object such as {{\"a\": 1}}")
            for name, value in row.items():
                if isinstance(value, (dict, list)):
                    raise DataError(f"{where}, key {name!r}: holds a {'list' if isinstance(value, list) else 'object'},"
                                    " not a number or text")
            rows.append(row)
            lines.append(number)
        return rows, lines

    def _add(self, rows: list[dict[str, object]], lines: list[int], size: int) -> None:
        """Append the objects of a block of so many bytes."""
        if not self.rows:
            path = self.source.path
            whole = 0 if path is None or self.source.compression or not path.is_file() else path.stat().st_size
            self.room = int(1.05 * len(rows) * min(whole, self.part_bytes or whole) / size) + len(rows)
        names = dict.fromkeys([*self.columns, *self.known])
        for row in rows:
            names.update(row)  # type: ignore[arg-type]
        bad = set[str]()
        for name in names:
            cells = [row.get(name) for row in rows]
            numbers = name not in self.text and all(map(_is_number, cells))
            if name not in self.columns:
                self.columns[name] = column = NumberColumn(self.room) if numbers else TextColumn(self.room)
                if not numbers:
                    self.text.add(name)
                column.extend_missing(self.rows - self.given)
            column = self.columns[name]
            if isinstance(column, TextColumn):
                column.extend(map(as_cell, cells))
            elif numbers:
                column.extend([float("nan") if cell is None else float(cell) for cell in cells])  # type: ignore[arg-type]
            else:
                bad.add(name)
        if bad:
            raise NotNumbers(bad)
        self.rows += len(rows)
        self.lines.append(lines)

    def _part(self) -> Table:
        """The table of what has been read since the last part."""
        columns: dict[str, Column] = {name: column.finished() for name, column in self.columns.items()}
        table = Table(self.source.name, columns, range(self.given + 1, self.rows + 1), positions(self.lines))
        self._begin_part()
        return table

    def _begin_part(self) -> None:
        self.columns = {name: type(column)(self.room) for name, column in self.columns.items()}
        self.lines, self.given = [], self.rows


def _is_number(cell: object) -> bool:
    """Whether float64 holds all that matters of a cell."""
    kind = type(cell)
    return cell is None or kind is _Fraction or kind is float or (kind is int and abs(cell) <= _EXACT)  # type: ignore[arg-type]


class _Repeated(ValueError):
    """An object has the same key twice."""


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _Repeated
    return found


def _blocks(stream: IO[bytes], size: int) -> Iterator[tuple[int, bytes]]:
    """Blocks of whole lines of a stream, each after the number of its first line."""
    line, parts = 1, list[bytes]()
    for fresh in iter(partial(stream.read, size), b""):
        if line == 1 and not parts:
            fresh = fresh.removeprefix(codecs.BOM_UTF8)
        end = fresh.rfind(b"\n") + 1
        if end:
            data = b"".join([*parts, fresh[:end]])
            yield line, data
            line, parts = line + data.count(b"\n"), []
        parts.append(fresh[end:])
    if any(parts):
        yield line, b"".join(parts)
