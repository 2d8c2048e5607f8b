"""Tables of named columns, read from CSV files and NumPy archives.

A table keeps the file's content: text cells of a CSV stay text until numbers are asked for, because only then is it
known which columns are categories or labels. It also remembers the position of each row, so that every error can name
the row and the column.
"""

from __future__ import annotations

import csv
import difflib
import gzip
import io
import os
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from ..errors import DataError

__all__ = ["Table", "listed", "parse_number", "read_csv", "read_npz", "read_table"]

_MISSING_TEXT = frozenset({"", "na", "n/a", "nan", "null", "?"})
_MISSING_NUMBER = _MISSING_TEXT | {"none"}
_DELIMITERS = ",;\t|"
_SAMPLE_CHARACTERS = 1 << 16
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")


@dataclass(frozen=True)
class Table:
    """Columns of equal length under distinct names.

    Attributes
    ----------
    source : str
        The file, as errors name it.
    columns : dict of str to list of str or ndarray of float64, shape (rows,)
        Text cells as they stood in the file (without surrounding blanks), or numbers, NaN for missing.
    rows : ndarray of int64, shape (rows,)
        Position of each row in the file: counted from 1 below the header in text, from 0 in an array.
    lines : ndarray of int64, shape (rows,), optional
        The line of a text file on which each row starts, counted from 1.
    named : bool
        Whether the file itself names the columns. If not, columns count from 1.
    decimal : str
        The decimal mark of numbers in text.
    """

    source: str
    columns: Mapping[str, list[str] | np.ndarray]
    rows: np.ndarray
    lines: np.ndarray | None = None
    named: bool = True
    decimal: str = "."
    _numbers: dict[str, np.ndarray] = field(default_factory=dict, init=False, repr=False)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def names(self) -> list[str]:
        """The columns' names, in order."""
        return list(self.columns)

    def where(self, row: int, name: str) -> str:
        """Position of a cell, for an error: file, row and column."""
        if self.lines is None:
            return f"{self.source}: row {self.rows[row]}, column {name!r}"
        return f"{self.source}: row {self.rows[row]} (line {self.lines[row]}), column {name!r}"

    def require(self, names: Iterable[str], role: str = "column") -> None:
        """Raise a `DataError` that lists the columns unless all names are columns."""
        for name in names:
            if name not in self.columns:
                folded = {own.lower(): own for own in self.columns}
                near = difflib.get_close_matches(name.lower(), folded, n=1)
                hint = f"; did you mean {folded[near[0]]!r}?" if near else ""
                raise DataError(
                    f"{self.source} has no {role} {name!r}{hint} (columns: {listed(self.columns)})"
                )

    def missing(self, name: str) -> np.ndarray:
        """Which cells of a column are empty or a marker of missing values.

        Returns
        -------
        ndarray of bool, shape (rows,)
        """
        cells = self.columns[name]
        if isinstance(cells, np.ndarray):
            return np.isnan(cells)
        return np.fromiter((cell.lower() in _MISSING_TEXT for cell in cells), bool, len(cells))

    def numbers(self, name: str, remedy: str = "") -> np.ndarray:
        """A column as numbers.

        Parameters
        ----------
        name : str
            The column.
        remedy : str
            Advice about text in it, appended to the error.

        Returns
        -------
        ndarray of float64, shape (rows,)
            NaN where the value is missing.

        Raises
        ------
        DataError
            A cell holds text or an infinity; names its row and column.
        """
        if name not in self._numbers:
            self._numbers[name] = self._as_numbers(name, remedy)
        return self._numbers[name]

    def _as_numbers(self, name: str, remedy: str) -> np.ndarray:
        cells = self.columns[name]
        if isinstance(cells, np.ndarray):
            values = cells
        else:
            values = np.empty(len(cells))
            for row, cell in enumerate(cells):
                number = parse_number(cell, self.decimal)
                if number is None:
                    if self.decimal == "." and _DECIMAL_COMMA.fullmatch(cell):
                        remedy = "numbers with a decimal comma need --decimal ,"
                    tail = f"; {remedy}" if remedy else ""
                    raise DataError(f"{self.where(row, name)}: {_shortened(cell)} is not a number{tail}")
                values[row] = number
        infinite = np.flatnonzero(np.isinf(values))
        if len(infinite):
            row = int(infinite[0])
            raise DataError(f"{self.where(row, name)}: {values[row]} is not a finite number")
        return values

    def is_number(self, cell: str) -> bool:
        """Whether a cell holds a number, rather than text or nothing."""
        number = parse_number(cell, self.decimal)
        return number is not None and not np.isnan(number)

    def take(self, rows: np.ndarray) -> Table:
        """The table of some rows, by indices or a mask; errors still name their original positions."""
        if rows.dtype == np.bool_:
            rows = np.flatnonzero(rows)
        columns: dict[str, list[str] | np.ndarray] = {
            name: cells[rows] if isinstance(cells, np.ndarray) else [cells[row] for row in rows]
            for name, cells in self.columns.items()
        }
        lines = None if self.lines is None else self.lines[rows]
        return replace(self, columns=columns, rows=self.rows[rows], lines=lines)

    def only(self, names: Sequence[str]) -> Table:
        """The table of some columns, in the order given."""
        return replace(self, columns={name: self.columns[name] for name in names})

    def renamed(self, names: Sequence[str]) -> Table:
        """The same columns under other names, in order."""
        return replace(self, columns=dict(zip(names, self.columns.values(), strict=True)))


def parse_number(cell: str, decimal: str = ".") -> float | None:
    """The number that a cell holds: NaN for a missing one, None for text."""
    if decimal != ".":
        cell = cell.replace(decimal, ".")
    try:
        # not 1_000, which Python allows and data files do not
        return None if "_" in cell else float(cell)
    except ValueError:
        return float("nan") if cell.strip().lower() in _MISSING_NUMBER else None


def listed(names: Iterable[str], most: int = 12) -> str:
    """Names for an error: the first few, and the number of all."""
    texts = [" ".join(str(name).split()) for name in names]
    if len(texts) <= most:
        return ", ".join(texts)
    return f"{', '.join(texts[:most])}, ... {len(texts)} in all"


def read_table(
    path: str | os.PathLike[str],
    *,
    target: str | None = "y",
    header: bool | None = None,
    delimiter: str | None = None,
    decimal: str = ".",
) -> Table:
    """Read a ``.npz`` archive (see `read_npz` for `target`), or else a CSV file (see `read_csv` for the rest).

    Raises
    ------
    DataError
        The file does not hold a table; says where.
    OSError
        The file cannot be read.
    """
    if Path(path).suffix.lower() == ".npz":
        return read_npz(path, target=target)
    return read_csv(path, header=header, delimiter=delimiter, decimal=decimal)


def read_csv(
    path: str | os.PathLike[str],
    *,
    header: bool | None = None,
    delimiter: str | None = None,
    decimal: str = ".",
) -> Table:
    """Read a text file of rows, one record a line.

    Parameters
    ----------
    path : path_like
        UTF-8 (or UTF-16 with its mark), compressed with gzip if the name ends in ``.gz``.
    header : bool, optional
        Whether the first row names the columns. By default it does if it is all text, or has text above
        a number. Without a header the columns are called 1, 2, 3, ...
    delimiter : str, optional
        One character. By default the one of comma, semicolon, tab and bar that splits the first rows most evenly.
    decimal : str
        The decimal mark, "." or ",".

    Returns
    -------
    Table
        Text columns.

    Raises
    ------
    DataError
        Not text, empty, no row beneath the header, a row with too few or too many cells, quotes that do
        not close, or two columns of one name; says where.
    OSError
        The file cannot be read.
    """
    source = os.fspath(path)
    text = _read_text(path)
    if not text.strip():
        raise DataError(f"{source}: the file is empty")
    if delimiter is None:
        delimiter = _guessed_delimiter(text[:_SAMPLE_CHARACTERS])
    records, lines = _records(source, text, delimiter)
    if header is None:
        header = _has_header(records, decimal)

    first = records[0]
    width = len(first)
    for record, line in zip(records, lines, strict=True):
        if len(record) != width:
            row = lines.index(line) + (0 if header else 1)
            raise DataError(
                f"{source}: row {row} (line {line}) has {len(record)} cells,"
                f" the {'header' if header else 'first row'} has {width}"
            )
    if header:
        names = [name or f"column {place}" for place, name in enumerate(first, 1)]
        records, lines = records[1:], lines[1:]
        if not records:
            raise DataError(f"{source}: a header and no rows")
    else:
        names = [str(place) for place in range(1, width + 1)]
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        places = [str(place) for place, name in enumerate(names, 1) if name == repeated[0]]
        raise DataError(f"{source}: columns {' and '.join(places)} are both called {repeated[0]!r}")
    columns = dict(zip(names, map(list, zip(*records, strict=True)), strict=True))
    return Table(source, columns, np.arange(1, len(records) + 1), np.array(lines), header, decimal)


def _read_text(path: str | os.PathLike[str]) -> str:
    source = os.fspath(path)
    data = Path(path).read_bytes()
    if source.lower().endswith(".gz"):
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(f"{source}: not a gzip file, or a damaged one ({error})") from error
    if data.startswith(b"PK\x03\x04"):
        raise DataError(f"{source}: a zip archive or spreadsheet, not text; export it as CSV")
    encoding = "utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(f"{source}: line {line} is not {encoding[:6].rstrip('-').upper()} text") from error
    if "\0" in text:
        raise DataError(f"{source}: line {text[: text.index(chr(0))].count(chr(10)) + 1} is not text")
    return text


def _records(source: str, text: str, delimiter: str) -> tuple[list[list[str]], list[int]]:
    """The records that are not blank, stripped, and the line on which each starts."""
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True
    )
    records, lines = [], []
    line = 1
    try:
        for record in reader:
            if record and (len(record) > 1 or record[0].strip()):
                records.append([cell.strip() for cell in record])
                lines.append(line)
            line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(
            f"{source}: the record that starts on line {line} cannot be read ({error})"
        ) from error
    return records, lines


def _guessed_delimiter(sample: str) -> str:
    """The delimiter that gives most of the sample's records the same width, the largest such width."""
    lines = sample.splitlines()[:50]
    best, best_score = ",", (0.0, 0)
    for delimiter in _DELIMITERS:
        widths = Counter(len(record) for record in csv.reader(lines, delimiter=delimiter) if record)
        width, count = max(widths.items(), key=lambda item: item[1], default=(1, 0))
        score = (round(count / max(sum(widths.values()), 1), 1), width)
        if width > 1 and score > best_score:
            best, best_score = delimiter, score
    return best


def _has_header(records: Sequence[Sequence[str]], decimal: str) -> bool:
    def is_text(cell: str) -> bool:
        return parse_number(cell, decimal) is None

    first = records[0]
    if all(is_text(cell) for cell in first if cell) and any(first):
        return True
    below = records[1] if len(records) > 1 else []
    return any(
        is_text(cell) and under and not is_text(under) for cell, under in zip(first, below, strict=False)
    )


def _shortened(cell: str) -> str:
    return repr(cell if len(cell) <= 40 else cell[:37] + "...")


@dataclass(frozen=True)
class _ArrayTable(Table):
    """Columns of the arrays X and y of a NumPy archive; messages name the element."""

    def where(self, row: int, name: str) -> str:
        element = f"X[{self.rows[row]}, {int(name) - 1}]" if name.isdigit() else f"{name}[{self.rows[row]}]"
        return f"{self.source}: {element}"


def read_npz(path: str | os.PathLike[str], *, target: str | None = "y") -> Table:
    """Read the arrays ``X`` and (if there) ``y`` of a NumPy archive.

    Parameters
    ----------
    path : path_like
        Written by `numpy.savez` or `numpy.savez_compressed`.
    target : str or None
        Name of the array of targets, which may be missing; None leaves it unread.

    Returns
    -------
    Table
        One column for each feature, called 1, 2, 3, ...; the target under its own name. Arrays of more than two axes
        (images) are flattened to one row for each sample.

    Raises
    ------
    DataError
        Not such an archive, no array ``X``, shapes that do not fit, or a type that is neither numbers
        nor (for the target) text.
    OSError
        The file cannot be read.
    """
    source = os.fspath(path)
    with open(path, "rb") as file:
        if not zipfile.is_zipfile(file):
            raise DataError(f"{source}: not a .npz archive; numpy.savez(path, X=..., y=...) writes one")
        file.seek(0)
        try:
            archive = np.load(file, allow_pickle=False)
            held = [f"{name} {archive[name].shape}" for name in archive.files]
            if "X" not in archive.files:
                raise DataError(f"{source}: no array X (arrays: {listed(held) or 'none'})")
            X = archive["X"]
            y = archive[target] if target is not None and target in archive.files else None
        except (ValueError, EOFError, zipfile.BadZipFile, zlib.error, KeyError) as error:
            if isinstance(error, DataError):
                raise
            raise DataError(
                f"{source}: the archive cannot be read ({' '.join(str(error).split())})"
            ) from error

    if X.dtype.kind not in "fiub":
        raise DataError(f"{source}: X holds {X.dtype}, not real numbers")
    if X.ndim == 0 or X.size == 0:
        raise DataError(f"{source}: X is empty (shape {X.shape})")
    X = X.reshape(len(X), -1).astype(np.float64)
    columns: dict[str, list[str] | np.ndarray] = {str(j + 1): X[:, j] for j in range(X.shape[1])}
    if target is not None and y is not None:
        if target in columns:
            raise DataError(f"{source}: a target array called {target!r} looks like a column of X; rename it")
        columns[target] = _target_column(source, target, y, len(X))
    return _ArrayTable(source, columns, np.arange(len(X)), named=False)


def _target_column(source: str, name: str, y: np.ndarray, rows: int) -> list[str] | np.ndarray:
    if y.shape == (rows, 1):
        y = y[:, 0]
    if y.shape != (rows,):
        raise DataError(
            f"{source}: {name} must hold one value for each of the {rows} rows of X; its shape is {y.shape}"
        )
    if y.dtype.kind in "UbS":
        return [
            item.decode(errors="replace") if isinstance(item, bytes) else str(item) for item in y.tolist()
        ]
    if y.dtype.kind not in "fiu":
        raise DataError(f"{source}: {name} holds {y.dtype}, neither real numbers nor text")
    return y.astype(np.float64)
