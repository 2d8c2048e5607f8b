"""The file of a sweep: a row for each finished run, on the disk as soon as it is finished."""

from __future__ import annotations

import csv
import fcntl
import io
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

from ..data.writing import check_can_write, write_table
from ..engine.replacing import replacing
from ..errors import DataError
from .space import OWN, cell, parsed

__all__ = ["Results", "Row"]

Row = dict[str, Any]
#: seconds between two writings of a Parquet file
_EVERY = 5.0


class Results:
    """Rows of finished runs, kept in a file that a killed sweep goes on from.

    A CSV file grows by a line a run, which is on the disk before the next is begun. Parquet files cannot grow: theirs
    is replaced as a whole every few seconds and at the end, and until then a CSV file beside it, ``NAME.csv``, has all.

    Parameters
    ----------
    path : Path, optional
        Without one nothing is kept.
    settings : sequence of str
        The names of the settings.

    Attributes
    ----------
    rows : list of dict
        From names of columns to values, in the order in which runs were finished.

    Raises
    ------
    DataError
        Another sweep writes to the file, it has other columns, or its name ends in something else.
    OSError
        It cannot be read or written.
    """

    def __init__(self, path: Path | None, settings: Sequence[str]) -> None:
        self.path, self.settings, self.rows = path, list(settings), []
        self._columns: list[str] = []
        self._lock: IO[str] | None = None
        self._written = time.monotonic()
        if path is None:
            return
        if path.suffix.lower() not in (".csv", ".parquet"):
            raise DataError(f"{path}: the name of a sweep's file must end in .csv or .parquet")
        check_can_write(path)
        self._lines = path if path.suffix.lower() == ".csv" else path.with_name(f"{path.name}.csv")
        self._lock = _locked(path)
        try:
            self.rows = self._read()
            self._rewrite()
        except BaseException:
            self.close(write=False)
            raise

    def fileno(self) -> int:
        """Of the lock, which a forked process closes."""
        return -1 if self._lock is None else self._lock.fileno()

    def _read(self) -> list[Row]:
        """The rows in the file; a last line without its end, of a process that was killed, is none."""
        assert self.path is not None
        if self._lines.exists():
            text = self._lines.read_bytes().decode("utf-8", errors="replace")
            rows = list(csv.reader(io.StringIO(text, newline="")))
            if rows and not text.endswith("\n"):
                rows.pop()
            header = rows[0] if rows else []
            short = next((k for k, row in enumerate(rows) if len(row) != len(header)), None)
            if short is not None:
                raise DataError(f"{self._lines}: row {short} has {len(rows[short])} cells and the first row "
                                f"{len(header)}: it was written or changed by something else; give another file")
            found = [dict(zip(header, map(parsed, row))) for row in rows[1:]]
        elif self.path.exists() and self.path.stat().st_size:
            from pyarrow import ArrowInvalid, parquet

            try:
                table = parquet.read_table(self.path)
            except ArrowInvalid as error:
                raise DataError(f"{self.path}: is no Parquet file ({error}); give another file") from None
            header, found = table.column_names, table.to_pylist()
        else:
            return []
        own = [name for name in (*OWN, *self.settings) if name not in header]
        if header and own:
            raise DataError(f"{self.path}: is no file of this sweep: it has no column {own[0]!r}; give another file")
        self._columns = list(header)
        return found

    def add(self, row: Row) -> None:
        """Keep the row of a run; returns when it is on the disk."""
        self.rows.append(row)
        if self.path is None:
            return
        if any(name not in self._columns for name in row):
            self._rewrite()
        else:
            line = io.StringIO()
            csv.writer(line, lineterminator="\n").writerow(self._cells(row))
            with open(self._lines, "ab") as file:
                file.write(line.getvalue().encode())
                file.flush()
                os.fsync(file.fileno())
        if self._lines is not self.path and time.monotonic() >= self._written + _EVERY:
            self._write_parquet()

    def _cells(self, row: Row) -> list[Any]:
        return [cell(row.get(name)) for name in self._columns]

    def keep(self, wanted: Callable[[Row], bool]) -> None:
        """Leave out the rows that are not wanted."""
        left = [row for row in self.rows if wanted(row)]
        if len(left) < len(self.rows):
            self.rows = left
            if self.path is not None:
                self._rewrite()

    def _rewrite(self) -> None:
        """Write all lines anew, with the columns that the rows have now."""
        metrics = dict.fromkeys(name for row in self.rows for name in row if name not in (*OWN, *self.settings))
        self._columns = ["run", *self.settings, "status", *metrics, "seconds", "error"]
        with replacing(self._lines) as part, open(part, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(self._columns)
            writer.writerows(map(self._cells, self.rows))
            file.flush()
            os.fsync(file.fileno())

    def _write_parquet(self) -> None:
        write_table([{name: _alike([cell(row.get(name)) for row in self.rows]) for name in self._columns}], self.path)
        self._written = time.monotonic()

    def close(self, write: bool = True) -> None:
        """Write what is left, and let others have the file."""
        if self._lock is None or self.path is None:
            return
        try:
            if write and self._lines is not self.path:
                self._write_parquet()
                self._lines.unlink()
        finally:
            Path(self._lock.name).unlink(missing_ok=True)
            self._lock.close()
            self._lock = None


def _alike(values: list[Any]) -> list[Any]:
    """Values of one type, for a column of Parquet: text where numbers and other things meet."""
    kinds = {type(value) for value in values if value is not None}
    if len(kinds) <= 1:
        return values
    if kinds == {int, float} and all(abs(value) <= 2**53 for value in values if isinstance(value, int)):
        return [None if value is None else float(value) for value in values]
    return [None if value is None else str(value) for value in values]


def _locked(path: Path) -> IO[str]:
    """A file beside `path` that this process alone holds; it is removed when it is let go."""
    name = path.with_name(f".{path.name}.lock")
    while True:
        lock = open(name, "a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read().strip()
            lock.close()
            raise DataError(f"{path}: another sweep{holder and ' (' + holder + ')'} writes to it; wait for its end, or "
                            "give this one another file") from None
        try:
            if os.path.samestat(os.stat(name), os.fstat(lock.fileno())):
                break
        except FileNotFoundError:  # its holder has just let it go
            pass
        lock.close()
    lock.truncate(0)
    lock.write(f"process {os.getpid()}")
    lock.flush()
    return lock
