"""Tables that are written part by part: CSV, and with pyarrow Parquet and Feather."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ..engine.replacing import replacing
from ..errors import MissingExtraError

__all__ = ["Columns", "check_can_write", "write_table"]

#: equally long columns, by name
Columns = Mapping[str, Sequence[Any] | np.ndarray]
_ARROW = (".parquet", ".feather", ".arrow")


class _Writer(Protocol):
    def write(self, columns: Columns) -> None:
        """Append rows."""

    def close(self) -> None:
        """Nothing follows."""


class _Csv:
    def __init__(self, stream: Any) -> None:
        self._csv, self._begun = csv.writer(stream, lineterminator="\n"), False

    def write(self, columns: Columns) -> None:
        """Append rows, below the names."""
        if not self._begun:
            self._csv.writerow(columns)
            self._begun = True
        cells = [c.tolist() if isinstance(c, np.ndarray) else c for c in columns.values()]
        self._csv.writerows(zip(*cells, strict=True))

    def close(self) -> None:
        """Nothing follows."""


class _Arrow:
    def __init__(self, path: Path, suffix: str) -> None:
        self._path, self._suffix = path, suffix
        self._writer: Any = None

    def write(self, columns: Columns) -> None:
        """Append rows as one group or batch."""
        import pyarrow

        table = pyarrow.table({name: pyarrow.array(values) for name, values in columns.items()})
        if self._writer is None:
            if self._suffix == ".parquet":
                from pyarrow import parquet

                self._writer = parquet.ParquetWriter(self._path, table.schema)
            else:
                self._writer = pyarrow.ipc.new_file(str(self._path), table.schema)
        self._writer.write_table(table)

    def close(self) -> None:
        """Write the end of the file."""
        if self._writer is not None:
            self._writer.close()


def check_can_write(path: Path) -> None:
    """Raise where a format needs a library that is not installed, before anything is computed.

    Raises
    ------
    MissingExtraError
    """
    if path.suffix.lower() in _ARROW:
        try:
            import pyarrow  # noqa: F401
        except ImportError as error:
            raise MissingExtraError(
                f"{path}: {path.suffix} files need pyarrow: pip install 'tapegrad[cli]'; a name in .csv needs nothing"
            ) from error


def write_table(parts: Iterable[Columns], path: Path | None) -> None:
    """Write parts of a table one after the other; the file is there when all of them are.

    Parameters
    ----------
    parts : iterable of Columns
        With the same names each.
    path : Path or None
        ``.parquet``, ``.feather`` and ``.arrow`` are those formats, everything else is CSV; None is CSV to standard
        output, as it comes.
    """
    if path is None or (path.exists() and not path.is_file()):  # a device or a pipe
        with ExitStack() as stack:
            stream = sys.stdout if path is None else stack.enter_context(open(path, "w", newline="", encoding="utf-8"))
            writer: _Writer = _Csv(stream)
            for part in parts:
                writer.write(part)
        return
    suffix = path.suffix.lower()
    with replacing(path) as unfinished, ExitStack() as stack:
        if suffix in _ARROW:
            writer = _Arrow(unfinished, suffix)
        else:
            writer = _Csv(stack.enter_context(open(unfinished, "w", newline="", encoding="utf-8")))
        stack.callback(writer.close)
        for part in parts:
            writer.write(part)
