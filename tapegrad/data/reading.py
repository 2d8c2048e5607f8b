"""Tables from files of any kind that is known."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence

from ..errors import DataError
from .archive import read_npz
from .csvfile import read_text, read_text_parts
from .formats import FORMATS, read_format, read_format_parts
from .joined import joined
from .layout import Layout
from .sources import Source, sources
from .store import stored
from .table import Table

__all__ = ["read_table", "read_table_parts"]

_WHOLE = (".npz", ".xlsx", ".xls", ".ods", ".json")

_Path = str | os.PathLike[str]


def read_table(
    path: _Path | Sequence[_Path],
    *,
    target: str | None = "y",
    header: bool | None = None,
    delimiter: str | None = None,
    decimal: str = ".",
    layout: Layout | None = None,
    text: Iterable[str] = (),
    cache: bool = False,
) -> Table:
    """Read a table from a file, or from several files whose rows belong together.

    Parameters
    ----------
    path : path_like, or sequence of path_like
        ``.npz`` archives (see `read_npz`); with pyarrow ``.parquet`` and ``.feather`` files; JSON objects, one a line
        (``.jsonl``, ``.ndjson``); or else text such as CSV (see `read_csv`). Text and JSON may be compressed by gzip,
        bzip2, xz and zip, with pyarrow by zstandard and lz4. A name with ``*``, ``?`` or ``[...]`` that is no file's
        stands for all files that fit it; ``-`` is standard input.
    target : str or None
        Name of the array of targets in an archive; None leaves it unread.
    header, delimiter, decimal
        As `read_csv` takes them.
    layout : Layout, optional
        All that may be said of a text file, in place of these three.
    text : iterable of str
        Columns to keep as text even if they hold numbers.
    cache : bool
        Write the table of a text file to a store beside it (``data.csv.tapegrad``), once, and map that into memory.

    Raises
    ------
    DataError
        The file does not hold a table, or files do not fit together; says where.
    OSError
        The file cannot be read.
    """
    layout = layout or Layout(header, delimiter, decimal)
    exact = list(text)
    return joined([_read(source, target, layout, exact, cache) for source in sources(path)])


def read_table_parts(
    path: _Path | Sequence[_Path], *, layout: Layout, text: Iterable[str] = (), part_bytes: int = 32 << 20
) -> Iterator[Table]:
    """Read a table in parts, of which one is held at a time.

    Parameters
    ----------
    path, layout, text
        As `read_table` takes them.
    part_bytes : int
        About how much of a text file, or of JSON lines, becomes a part. Parquet files come in parts of many rows,
        others as one part.

    Yields
    ------
    Table
    """
    exact = list(text)
    for source in sources(path):
        if source.suffix in FORMATS:
            yield from read_format_parts(source, exact, part_bytes=part_bytes)
        elif source.suffix in _WHOLE:
            yield _read(source, None, layout, exact)
        else:
            yield from read_text_parts(source, layout, exact, part_bytes=part_bytes)


def _read(source: Source, target: str | None, layout: Layout, text: list[str], cache: bool = False) -> Table:
    if source.suffix == ".npz" and source.path is not None:
        return read_npz(source.path, target=target)
    if source.suffix in FORMATS:
        return read_format(source, text)
    if source.suffix in (".xlsx", ".xls", ".ods"):
        raise DataError(f"{source.name}: a spreadsheet, not text; export it as CSV")
    if source.suffix == ".json":
        raise DataError(f"{source.name}: JSON files are read where each line is an object, and named .jsonl")
    return stored(source, layout, text) if cache else read_text(source, layout, text)
