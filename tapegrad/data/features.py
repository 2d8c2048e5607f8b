"""Preprocessing: from the columns of a table to the matrix of a network's inputs.

What is fitted to the training rows (kinds of columns, means, scales, categories) belongs to the model: it is saved with
it and applied unchanged to later tables.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError
from .growing import pages
from .kinds import Kind, Number, kind_from_json
from .recognition import Recognised, recognise
from .table import Table, listed

__all__ = ["Features", "standardisation"]

_MISSING = ("error", "mean", "median", "indicator")
_ROWS_AT_ONCE = 1 << 14


@dataclass
class Features:
    """The columns that a model reads, and their preprocessing.

    Numbers are kept, categories are one-hot encoded, dates become phases; then every column of the matrix is
    standardised to mean 0 and standard deviation 1 over the training rows. Constant columns are only centred.

    Attributes
    ----------
    kinds : dict of str to Kind
        The columns by name, in the order of the matrix. A list of categories stands for a `Category`, None for a
        `Number`.
    mean, scale : ndarray of float64, shape (width,)
        Of the matrix's columns, over the training rows.
    named : bool
        Whether the file itself named the columns.
    ignored : list of str
        Further columns of a table, which are not read.
    missing : {"error", "mean", "median", "indicator"}
        What becomes of missing values: an error, the training rows' mean or (of numbers) median, or the mean and one
        more column that tells where there is none.
    unseen : {"error", "ignore"}
        What becomes of categories that are none of the model's: an error, or no indicator is set.
    medians : dict of str to float
        Of the columns of numbers over the training rows, if missing values become medians.
    indicated : list of str
        The columns with one more column that tells where the value is missing.
    written : dict
        How the training file wrote numbers: keywords of `Numerals`.
    """

    kinds: dict[str, Kind]
    mean: np.ndarray
    scale: np.ndarray
    named: bool = True
    ignored: list[str] = field(default_factory=list)
    missing: str = "error"
    unseen: str = "error"
    medians: dict[str, float] = field(default_factory=dict)
    indicated: list[str] = field(default_factory=list)
    written: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list, compare=False)
    _constant: np.ndarray | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        self.kinds = {name: k if isinstance(k, Kind) else kind_from_json(k) for name, k in self.kinds.items()}

    @classmethod
    def fit(
        cls,
        table: Table,
        *,
        categorical: Sequence[str] = (),
        ignored: Sequence[str] = (),
        rows: np.ndarray | None = None,
        fill_missing: bool = False,
        missing: str | None = None,
        unseen: str = "error",
        keep: Sequence[str] = (),
        dates: str | None = None,
    ) -> Features:
        """Fit the preprocessing to a table's columns.

        Parameters
        ----------
        table : Table
            All rows, training and held-out: categories are collected from both.
        categorical : sequence of str
            The columns to read as categories rather than numbers; "auto" for all those of text with few values.
        ignored : sequence of str
            The columns to leave out: the target, and those that the user dropped.
        rows : ndarray of int, optional
            The training rows, from which means and scales are taken; by default all.
        fill_missing : bool
            Replace missing values by the mean instead of raising: ``missing="mean"``.
        missing : {"error", "mean", "median", "indicator"}, optional
            What becomes of missing values.
        unseen : {"error", "ignore"}
            What later becomes of categories that the table does not hold.
        keep : sequence of str
            Columns to learn from although they look like identifiers.
        dates : {"dmy", "mdy"}, optional
            Whether days or months come first in dates such as 1/2/2024.

        Raises
        ------
        DataError
            A column that is not there, text among numbers, a missing value: names row and column. Where several
            columns cannot be read, names all.
        """
        recognised = recognise(table, categorical=categorical, ignored=ignored, keep=keep, dates=dates)
        policy = missing or ("mean" if fill_missing else "error")
        left_out = [name for name in recognised.left_out if name not in ignored]
        features = cls(
            recognised.kinds, np.zeros(0), np.ones(0), table.named, [*ignored, *left_out], policy, unseen,
            written=table.written.to_json(), notes=[*recognised.notes],
        )  # fmt: skip
        features._fit(table, rows, recognised)
        return features

    def _fit(self, table: Table, rows: np.ndarray | None, recognised: Recognised) -> None:
        problems, first_missing, means, scales, constant = recognised.problems, "", [], [], []
        gaps: list[str] = []
        for name, kind in self.kinds.items():
            if name in problems:
                continue
            try:
                values = kind.values(table, name)
            except DataError as error:
                remedy = recognised.remedies.get(name)
                problems[name] = f"{error}; {remedy}" if remedy and ";" not in str(error) else str(error)
                continue
            absent = np.isnan(values[:, 0])
            if absent.any():
                gaps.append(name)
                first_missing = first_missing or table.where(int(np.argmax(absent)), name)
                if self.missing == "indicator" and (absent if rows is None else absent[rows]).any():
                    self.indicated.append(name)
            if self.missing == "median" and isinstance(kind, Number):
                present = values[:, 0] if rows is None else values[rows, 0]
                present = present[~np.isnan(present)]
                self.medians[name] = float(np.median(present)) if len(present) else np.nan
            mean, scale, same = _spread(self._filled(name, values), rows)
            means.append(mean)
            scales.append(scale)
            constant.append(same)
        if problems:
            raise DataError("; ".join(problems.values()))
        if gaps and self.missing == "error":
            others = f" (so are some of {listed(gaps[1:])})" if len(gaps) > 1 else ""
            raise DataError(
                f"{first_missing}: the value is missing{others}; --missing mean fills in the column's mean,"
                f" --missing drop leaves such rows out"
            )
        self.mean, self.scale = np.concatenate(means), np.concatenate(scales)
        self._constant = np.concatenate(constant)
        empty = np.flatnonzero(np.isnan(self.mean))
        if len(empty):
            name = self.matrix_names[empty[0]]
            raise DataError(
                f"{table.source}: column {name!r} has no value in the training rows; try --drop {shlex.quote(name)}"
            )

    @classmethod
    def unscaled(cls, names: Sequence[str]) -> Features:
        """Numeric columns without scaling."""
        return cls(dict.fromkeys(names, Number()), np.zeros(len(names)), np.ones(len(names)), named=False)

    @property
    def columns(self) -> dict[str, list[str] | None]:
        """The names, in the order of the matrix, with the categories of categorical ones."""
        return {name: kind.categories for name, kind in self.kinds.items()}

    @property
    def text(self) -> list[str]:
        """The columns whose exact text is read, even if it is that of numbers."""
        return [name for name, kind in self.kinds.items() if not isinstance(kind, Number)]

    @property
    def width(self) -> int:
        """Columns of the matrix."""
        return sum(kind.width for kind in self.kinds.values()) + len(self.indicated)

    @property
    def matrix_names(self) -> list[str]:
        """A name for each column of the matrix; ``column=category`` for a category."""
        return [
            name + suffix
            for name, kind in self.kinds.items()
            for suffix in (*kind.suffixes, *((" is missing",) if name in self.indicated else ()))
        ]

    @property
    def spans(self) -> dict[str, slice]:
        """The columns of the matrix that come from each column of the table."""
        found, first = {}, 0
        for name, kind in self.kinds.items():
            last = first + kind.width + (name in self.indicated)
            found[name], first = slice(first, last), last
        return found

    def constant_columns(self, table: Table | None = None, rows: np.ndarray | None = None) -> list[str]:
        """The columns with a single value in some rows of a table (by default all); without one, in the fitted rows."""
        if table is None:
            constant = np.zeros(self.width, np.bool_) if self._constant is None else self._constant
        else:
            parts = [self._filled(name, kind.values(table, name)) for name, kind in self.kinds.items()]
            matrix = np.concatenate(parts, axis=1)
            matrix = matrix if rows is None else matrix[rows]
            constant = np.nanmax(matrix, axis=0) == np.nanmin(matrix, axis=0)
        names = self.matrix_names
        return [names[j] for j in np.flatnonzero(constant)]

    def matrix(self, table: Table, *, fill_missing: bool | None = None, unseen: str | None = None) -> np.ndarray:
        """The network's inputs for a table.

        Parameters
        ----------
        table : Table
            Has the columns of this model under their names, in any order. If neither it nor the training
            file names its columns, they are taken by their order.
        fill_missing : bool, optional
            Whether missing values are filled in rather than refused; by default as fitted.
        unseen : {"error", "ignore"}, optional
            What becomes of unknown categories; by default as fitted.

        Returns
        -------
        ndarray of float64, shape (rows, width)

        Raises
        ------
        DataError
            Columns missing or unknown, text among numbers, an unknown category, a missing value, a number too far from
            the training rows' to be scaled.
        """
        every = np.arange(len(table))
        return self.matrices(table, [every], np.float64, fill_missing=fill_missing, unseen=unseen)[0]

    def matrices(
        self, table: Table, rows: Sequence[np.ndarray], dtype: Any, *, fill_missing: bool | None = None,
        unseen: str | None = None, release: bool = False, folder: Path | None = None,
    ) -> list[np.ndarray]:
        """The network's inputs for several choices of a table's rows.

        Parameters
        ----------
        table : Table
        rows : sequence of ndarray of int
            The choices.
        dtype : float32 or float64
        fill_missing, unseen
            As `matrix` takes them.
        release : bool
            Give each column of the table up once it has been read, so that both need not be held.
        folder : Path, optional
            Where the result lies in unnamed files, if it may be larger than memory.

        Returns
        -------
        list of ndarray, each (rows, width)
        """
        table = self._matched(table)
        fill = self.missing != "error" if fill_missing is None else fill_missing
        parts: list[list[np.ndarray]] = [[] for _ in rows]
        for name in self.kinds:
            values = self._values(table, name, fill, unseen or self.unseen)
            for part, chosen in zip(parts, rows, strict=True):
                part += [self._scaled(table, name, values, j, chosen, dtype, folder) for j in range(values.shape[1])]
            del values
            if release:
                table.release(name)
        return [_side_by_side(part, len(chosen), dtype, folder) for part, chosen in zip(parts, rows, strict=True)]

    def _values(self, table: Table, name: str, fill: bool, unseen: str) -> np.ndarray:
        """The columns of the matrix that a column of the table becomes, before they are scaled."""
        values = self.kinds[name].values(table, name, unseen)
        absent = np.isnan(values[:, 0])
        if absent.any() and not fill:
            raise DataError(
                f"{table.where(int(np.argmax(absent)), name)}: the value is missing; --missing mean fills in the"
                f" column's mean, --missing drop leaves such rows out"
            )
        return self._filled(name, values)

    def _scaled(self, table: Table, name: str, values: np.ndarray, j: int, rows: np.ndarray, dtype: Any,
                folder: Path | None) -> np.ndarray:
        """Some rows of one of these columns, standardised; zero where there is no value."""
        place = self.spans[name].start + j
        mean, scale = self.mean[place], self.scale[place]
        scaled = pages(len(rows), dtype, folder)
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            chosen = rows[start : start + _ROWS_AT_ONCE]
            with np.errstate(over="ignore"):
                part = (values[chosen, j] - mean) / scale
            infinite = np.isinf(part)
            if infinite.any():
                raise DataError(
                    f"{table.where(int(chosen[np.argmax(infinite)]), name)}: the value is too far from those of the"
                    f" training rows (mean {mean:g}, deviation {scale:g}) to be scaled"
                )
            part[np.isnan(part)] = 0.0
            scaled[start : start + _ROWS_AT_ONCE] = part
        return scaled

    def _filled(self, name: str, values: np.ndarray) -> np.ndarray:
        """Columns with medians in gaps, and the one that tells where gaps are, where the model has such."""
        if name in self.medians:
            values = np.where(np.isnan(values), self.medians[name], values)
        if name in self.indicated:
            values = np.column_stack([values, np.isnan(values[:, 0])])
        return values

    def _matched(self, table: Table) -> Table:
        wanted = list(self.kinds)
        if not (table.named or self.named) and len(table.names) == len(wanted):
            return table.renamed(wanted)
        absent = [name for name in wanted if name not in table.columns]
        if absent and not table.named and self.named:
            raise DataError(f"{table.source} does not name its columns; the model needs {listed(wanted)}")
        if absent:
            raise DataError(
                f"{table.source} lacks {'column' if len(absent) == 1 else 'columns'} {listed(absent)}"
                f" that the model needs (columns: {listed(table.columns)})"
            )
        extra = [name for name in table.names if name not in self.kinds and name not in self.ignored]
        if extra:
            raise DataError(
                f"{table.source} has {'a column' if len(extra) == 1 else 'columns'} {listed(extra)} that the model"
                f" does not know; --drop {shlex.quote(extra[0])} leaves it out"
            )
        return table

    def to_json(self) -> dict[str, Any]:
        """What `from_json` needs, in types that JSON has."""
        return {
            "columns": [[name, kind.to_json()] for name, kind in self.kinds.items()],
            "mean": self.mean.tolist(),
            "scale": self.scale.tolist(),
            "named": self.named,
            "ignored": self.ignored,
            "missing": self.missing,
            "unseen": self.unseen,
            "medians": self.medians,
            "indicated": self.indicated,
            "written": self.written,
        }

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> Features:
        """The preprocessing that `to_json` described.

        Raises
        ------
        KeyError, TypeError, ValueError
            It is not such a description.
        """
        mean, scale = (np.array(state[key], dtype=np.float64) for key in ("mean", "scale"))
        kinds = {str(name): kind_from_json(kind) for name, kind in state["columns"]}
        features = cls(
            kinds, mean, scale, bool(state["named"]), list(state["ignored"]), str(state.get("missing", "error")),
            str(state.get("unseen", "error")), dict(state.get("medians", {})), list(state.get("indicated", [])),
            dict(state.get("written", {})),
        )  # fmt: skip
        if mean.shape != (features.width,) or scale.shape != mean.shape:
            raise ValueError(f"{features.width} columns with {mean.size} means and {scale.size} scales")
        if features.missing not in _MISSING or features.unseen not in ("error", "ignore"):
            raise ValueError(f"unknown ways {features.missing!r}, {features.unseen!r}")
        return features


def _side_by_side(columns: list[np.ndarray], rows: int, dtype: Any, folder: Path | None) -> np.ndarray:
    """Columns as a matrix whose rows are contiguous; a few rows at a time, so that they stay in the cache."""
    matrix = pages(rows * len(columns), dtype, folder).reshape(rows, len(columns))
    for start in range(0, rows, _ROWS_AT_ONCE):
        for j, column in enumerate(columns):
            matrix[start : start + _ROWS_AT_ONCE, j] = column[start : start + _ROWS_AT_ONCE]
    return matrix


def standardisation(matrix: np.ndarray, rows: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each column of a matrix, over the values that are not NaN.

    Parameters
    ----------
    matrix : ndarray of float64, shape (rows, width)
    rows : ndarray of int, optional
        The rows to look at; by default all.

    Returns
    -------
    mean, scale : ndarray of float64, shape (width,)
        The scale of a constant column is 1; the mean of a column without values is NaN.
    """
    mean, scale, _ = _spread(matrix, rows)
    return mean, scale


def _spread(matrix: np.ndarray, rows: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean and scale of some rows, and which columns are constant; a few rows at a time, so that no copy is held."""
    n, width = len(matrix) if rows is None else len(rows), matrix.shape[1]

    def chunks() -> Iterator[np.ndarray]:
        for start in range(0, n, _ROWS_AT_ONCE):
            stop = start + _ROWS_AT_ONCE
            yield matrix[start:stop] if rows is None else matrix[rows[start:stop]]

    count, low, high = np.zeros(width, np.int64), np.full(width, np.nan), np.full(width, np.nan)
    first = np.full(width, np.nan)
    for part in chunks():
        present = ~np.isnan(part)
        count += present.sum(axis=0)
        low, high = np.fmin(low, np.fmin.reduce(part, axis=0)), np.fmax(high, np.fmax.reduce(part, axis=0))
        candidates = part[present.argmax(axis=0), np.arange(width)]
        first = np.where(np.isnan(first), candidates, first)
    # scaled by about the largest value, so that squares neither overflow nor underflow (by a power of two, which rounds
    # nothing); relative to the first value, so that a constant column deviates by exactly zero
    largest = np.nan_to_num(np.fmax(np.abs(low), np.abs(high)))
    unit = np.ldexp(1.0, np.frexp(largest)[1] - 1)
    first = first / unit
    total = np.zeros(width)
    for part in chunks():
        total += np.nansum(part / unit - first, axis=0)
    with np.errstate(invalid="ignore"):
        mean = total / count
    squares = np.zeros(width)
    for part in chunks():
        squares += np.nansum((part / unit - first - mean) ** 2, axis=0)
    with np.errstate(invalid="ignore"):
        deviation = np.sqrt(squares / count)
    return (first + mean) * unit, np.where(deviation > 0.0, deviation * unit, 1.0), low == high
