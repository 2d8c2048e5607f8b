"""Tables of files that Arrow reads: Parquet, Feather and JSON lines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import IO, Any

import numpy as np

from ..errors import DataError, MissingExtraError
from .arrow import elements, missing_elements, pyarrow_or_none
from .jsonlines import read_json_lines, read_json_lines_parts
from .sources import Source
from .table import Column, Table
from .text import Text, as_cell

__all__ = ["FORMATS", "from_arrow", "read_format", "read_format_parts"]

#: endings of files, and what reads them
FORMATS = {".parquet": "Parquet", ".feather": "Feather", ".arrow": "Feather", ".ipc": "Feather", ".jsonl": "JSON lines",
           ".ndjson": "JSON lines"}  # fmt: skip
_EXACT = 1 << 53


def read_format(source: Source, text: Iterable[str] = ()) -> Table:
    """The table of a file in one of `FORMATS`.

    Parameters
    ----------
    source : Source
    text : iterable of str
        Columns to keep as text even if they hold numbers.

    Raises
    ------
    DataError
        The file is not of its format, or a column holds something other than numbers, text, truth values and dates.
    MissingExtraError
        Arrow is not installed.
    """
    if FORMATS[source.suffix] == "JSON lines":
        return read_json_lines(source, text)

    def content(file: IO[bytes]) -> Any:
        with _arrow(source):
            if FORMATS[source.suffix] == "Parquet":
                from pyarrow import parquet

                return parquet.read_table(file)
            from pyarrow import feather

            return feather.read_table(file)

    return from_arrow(source.name, source.read(content), text)


def read_format_parts(source: Source, text: Iterable[str] = (), *, part_bytes: int = 32 << 20,
                      rows: int = 1 << 18) -> Iterator[Table]:
    """The table of a file in one of `FORMATS` in parts: Parquet of so many rows, JSON lines of about so many bytes,
    others as one.
    """
    if FORMATS[source.suffix] == "JSON lines":
        yield from read_json_lines_parts(source, text, part_bytes=part_bytes)
        return
    if FORMATS[source.suffix] != "Parquet":
        yield read_format(source, text)
        return

    def batches(file: IO[bytes]) -> Iterator[Any]:
        with _arrow(source):
            import pyarrow
            from pyarrow import parquet

            for batch in parquet.ParquetFile(file).iter_batches(batch_size=rows):
                yield pyarrow.Table.from_batches([batch])

    first = 1
    for part in source.each(batches):
        table = from_arrow(source.name, part, text)
        yield replace(table, rows=range(first, first + len(table)))
        first += len(table)
    if first == 1:
        raise DataError(f"{source.name}: the table is empty")


@contextmanager
def _arrow(source: Source) -> Iterator[None]:
    """Arrow reads a file: errors that say which."""
    name, pa = FORMATS[source.suffix], pyarrow_or_none()
    if pa is None:
        raise MissingExtraError(f"{source.name}: {name} files need pyarrow: pip install 'tapegrad[cli]'")
    try:
        yield
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        words = " ".join(str(error).split())
        raise DataError(f"{source.name}: not a {name} file, or a damaged one ({words})") from error


def from_arrow(name: str, table: Any, text: Iterable[str] = ()) -> Table:
    """The table of a ``pyarrow.Table``, whose columns are given up one by one.

    Parameters
    ----------
    name : str
        As errors name it.
    table : pyarrow.Table
    text : iterable of str
        Columns to keep as text even if they hold numbers.
    """
    if not table.num_rows or not table.num_columns:
        raise DataError(f"{name}: the table is empty ({table.num_rows} rows of {table.num_columns} columns)")
    names = list(table.column_names)
    repeated = [own for own in names if names.count(own) > 1]
    if repeated:
        raise DataError(f"{name}: two columns are both called {repeated[0]!r}")
    kept, columns = set(text), dict[str, Column]()
    for own in names:
        columns[own] = _column(name, own, table.column(own), own in kept)
        table = table.drop_columns([own]) if len(table.column_names) > 1 else table
    return Table(name, columns, range(1, len(next(iter(columns.values()))) + 1))


def _column(source: str, name: str, column: Any, keep: bool) -> Column:
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = column.type
    numeric = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_null(kind)
    if pa.types.is_decimal(kind) and not keep:
        return np.array([np.nan if value is None else float(value) for value in column.to_pylist()])
    if numeric and not keep:
        if pa.types.is_integer(kind) and len(column) > column.null_count:
            bounds = pc.min_max(column).as_py()
            keep = max(abs(bounds["min"]), abs(bounds["max"])) > _EXACT
        if not keep:
            parts = [_numbers(part) for part in column.cast(pa.float64(), safe=False).chunks]
            return np.concatenate(parts) if parts else np.empty(0)
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind) or pa.types.is_time(kind):
        if getattr(kind, "unit", "") == "ns":  # which Python's own times do not hold
            micro = pa.timestamp("us", kind.tz) if pa.types.is_timestamp(kind) else pa.time64("us")
            column = column.cast(micro, safe=False)
        return Text.of("" if value is None else _moment(value) for value in column.to_pylist())
    if numeric or pa.types.is_boolean(kind) or pa.types.is_decimal(kind) or pa.types.is_string(kind) or (
        pa.types.is_large_string(kind) or str(kind) == "string_view"
    ):
        coded = column.combine_chunks().dictionary_encode() if column.num_chunks != 1 else (
            column.chunk(0).dictionary_encode()
        )
        values = [as_cell(value) for value in coded.dictionary.to_pylist()]
        codes = elements(coded.indices.fill_null(len(values))).astype(np.int32)
        text = Text(codes, [*values, ""])
        return Text.of(text) if len(set(text.values)) < len(text.values) else text
    raise DataError(f"{source}: column {name!r} holds {kind}, neither numbers, text nor dates: write the file"
                    " without it")


def _numbers(part: Any) -> np.ndarray:
    absent = missing_elements(part)
    return elements(part) if absent is None else np.where(absent, np.nan, elements(part))


def _moment(value: Any) -> str:
    return value.isoformat(" ") if hasattr(value, "hour") and hasattr(value, "year") else value.isoformat()
