"""A text file's table beside it, in a form that is mapped into memory instead of read.

One file: eight bytes that say what it is, the length of the description, the description as JSON, and the columns, each
on a multiple of 4096 bytes: float64 for numbers, int32 positions for text, whose distinct cells are in the description.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..engine.replacing import replacing
from ..errors import DataError
from .csvfile import read_text, text_again
from .layout import Layout
from .numbers import Numerals
from .sources import STORE, Source
from .table import Column, Table
from .text import Text

__all__ = ["stored", "store_of"]

_MAGIC = b"TGTABLE1"
_ALIGNED = 4096
_END = 1 << 20


def store_of(path: Path) -> Path:
    """Where the store of a file is."""
    return path.with_name(path.name + STORE)


def stored(source: Source, layout: Layout, text: Iterable[str] = ()) -> Table:
    """The table of a text file by its store, which is written first if it is not there or not that of the file.

    Columns are mapped: memory holds what is looked at, and gives it up again. While the store is written, columns lie
    in unnamed files of the same folder.

    Parameters
    ----------
    source : Source
        A file, not standard input.
    layout : Layout
    text : iterable of str
        Columns to keep as text.

    Raises
    ------
    DataError
        The file does not hold a table, or is no file.
    OSError
        The store cannot be written.
    """
    if source.path is None:
        raise DataError("--cache is for files, which standard input is not")
    store = store_of(source.path)
    key = _key(source.path, layout, sorted(set(text)))
    table = _mapped(store, source, layout, key)
    if table is None:
        try:
            _write(store, read_text(source, layout, text, folder=source.path.parent), key)
        except PermissionError as error:
            raise DataError(f"--cache: {store} cannot be written ({error.strerror})") from error
        table = _mapped(store, source, layout, _key(source.path, layout, sorted(set(text))))
    if table is None:
        raise DataError(f"{source.name}: the file has changed while it was read")
    return table


def _key(path: Path, layout: Layout, text: list[str]) -> dict[str, Any]:
    """What the store is of: the file by size, time and content at both ends, and how it was read."""
    status = path.stat()
    ends = hashlib.sha256()
    with open(path, "rb") as file:
        ends.update(file.read(_END))
        file.seek(max(status.st_size - _END, 0))
        ends.update(file.read(_END))
    return {"bytes": status.st_size, "changed": status.st_mtime_ns, "ends": ends.hexdigest(), "layout": asdict(layout),
            "text": text}  # fmt: skip


def _write(store: Path, table: Table, key: dict[str, Any]) -> None:
    described: list[list[Any]] = []
    parts: list[np.ndarray] = []
    for name, cells in table.columns.items():
        if isinstance(cells, np.ndarray):
            described.append([name, None])
            parts.append(cells)
        else:
            column = cells if isinstance(cells, Text) else Text.of(cells)
            described.append([name, column.values])
            parts.append(column.codes)
    lines: Any = None
    if isinstance(table.lines, range):
        lines = [table.lines.start, table.lines.stop]
    elif table.lines is not None:
        parts.append(np.asarray(table.lines, np.int64))
    header = json.dumps({
        "key": key, "rows": len(table), "columns": described, "lines": lines, "named": table.named,
        "written": table.written.to_json(), "bytes": sum(map(_padded, (part.nbytes for part in parts))),
    }).encode()  # fmt: skip
    with replacing(store) as unfinished, open(unfinished, "wb") as file:
        file.write(_MAGIC + len(header).to_bytes(8, "little") + header)
        for part in parts:
            file.write(bytes(-file.tell() % _ALIGNED))
            part.tofile(file)
        file.write(bytes(-file.tell() % _ALIGNED))
        file.flush()
        os.fsync(file.fileno())


def _padded(size: int) -> int:
    return size + -size % _ALIGNED


def _mapped(store: Path, source: Source, layout: Layout, key: dict[str, Any]) -> Table | None:
    """The table of a store; None if there is none, or it is damaged or of something else."""
    try:
        with open(store, "rb") as file:
            if file.read(8) != _MAGIC:
                return None
            length = int.from_bytes(file.read(8), "little")
            held = json.loads(file.read(length))
            size = file.seek(0, os.SEEK_END)
        start = _padded(16 + length)
        if held["key"] != key or size != start + held["bytes"]:
            return None
    except (OSError, ValueError, KeyError, TypeError, OverflowError, MemoryError):
        return None
    rows, place = int(held["rows"]), start

    def mapped(dtype: Any) -> np.ndarray:
        nonlocal place
        array = np.memmap(store, dtype, "r", place, (rows,))
        place += _padded(array.nbytes)
        return array

    columns: dict[str, Column] = {
        name: mapped(np.float64) if values is None else Text(mapped(np.int32), values)
        for name, values in held["columns"]
    }
    lines = held["lines"]
    positions = mapped(np.int64) if lines is None else range(*lines)
    numerals = Numerals(**held["written"])
    return Table(source.name, columns, range(1, rows + 1), positions, held["named"], numerals.decimal, numerals,
                 partial(text_again, source, layout, rows))
