"""Preprocessing: from the columns of a table to the matrix of a network's inputs.

What is fitted to the training rows (means, scales, categories) belongs to the model: it is saved with it and applied
unchanged to later tables.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import DataError
from .table import Table, listed, parse_number

__all__ = ["Features", "standardisation"]


@dataclass
class Features:
    """The columns that a model reads, and their preprocessing.

    Numbers are kept, categories are one-hot encoded; then every column of the matrix is standardised to mean 0 and
    standard deviation 1 over the training rows. Constant columns are only centred. A missing value becomes the mean.

    Attributes
    ----------
    columns : dict of str to (list of str or None)
        The names, in the order of the matrix, with the categories of categorical ones.
    mean, scale : ndarray of float64, shape (width,)
        Of the matrix's columns, over the training rows.
    named : bool
        Whether the file itself named the columns.
    ignored : list of str
        Further columns of a table, which are not read.
    """

    columns: dict[str, list[str] | None]
    mean: np.ndarray
    scale: np.ndarray
    named: bool = True
    ignored: list[str] = field(default_factory=list)

    @classmethod
    def fit(
        cls,
        table: Table,
        *,
        categorical: Sequence[str] = (),
        ignored: Sequence[str] = (),
        rows: np.ndarray | None = None,
        fill_missing: bool = False,
    ) -> Features:
        """Fit the preprocessing to a table's columns.

        Parameters
        ----------
        table : Table
            All rows, training and held-out: categories are collected from both.
        categorical : sequence of str
            The columns to read as categories rather than numbers.
        ignored : sequence of str
            The columns to leave out: the target, and those that the user dropped.
        rows : ndarray of int, optional
            The training rows, from which means and scales are taken; by default all.
        fill_missing : bool
            Replace missing values by the mean instead of raising.

        Raises
        ------
        DataError
            A column that is not there, text among numbers, a missing value: names row and column.
        """
        table.require(ignored)
        table.require(categorical)
        clash = [name for name in categorical if name in ignored]
        if clash:
            raise DataError(f"column {clash[0]!r} cannot be both a category and left out or the target")
        names = [name for name in table.names if name not in ignored]
        if not names:
            raise DataError(f"{table.source}: no column is left to learn from")
        columns = {name: _categories(table, name) if name in categorical else None for name in names}
        features = cls(columns, np.zeros(0), np.ones(0), table.named, [*ignored])
        matrix = features._matrix(table, fill_missing)
        features.mean, features.scale = standardisation(matrix if rows is None else matrix[rows])
        empty = np.flatnonzero(np.isnan(features.mean))
        if len(empty):
            name = features.matrix_names[empty[0]]
            raise DataError(
                f"{table.source}: column {name!r} has no value in the training rows; try --drop {shlex.quote(name)}"
            )
        return features

    @classmethod
    def unscaled(cls, names: Sequence[str]) -> Features:
        """Numeric columns without scaling."""
        return cls(dict.fromkeys(names), np.zeros(len(names)), np.ones(len(names)), named=False)

    @property
    def width(self) -> int:
        """Columns of the matrix."""
        return sum(1 if categories is None else len(categories) for categories in self.columns.values())

    @property
    def matrix_names(self) -> list[str]:
        """A name for each column of the matrix; ``column=category`` for a category."""
        return [
            name if category is None else f"{name}={category}"
            for name, categories in self.columns.items()
            for category in (categories if categories is not None else [None])
        ]

    @property
    def spans(self) -> dict[str, slice]:
        """The columns of the matrix that come from each column of the table."""
        found, first = {}, 0
        for name, categories in self.columns.items():
            last = first + (1 if categories is None else len(categories))
            found[name], first = slice(first, last), last
        return found

    def constant_columns(self, table: Table, rows: np.ndarray | None = None) -> list[str]:
        """The columns with a single value in some rows of a table (by default all)."""
        matrix = self._matrix(table, fill_missing=True)
        if rows is not None:
            matrix = matrix[rows]
        names = self.matrix_names
        return [names[j] for j in np.flatnonzero(np.nanmax(matrix, axis=0) == np.nanmin(matrix, axis=0))]

    def matrix(self, table: Table, *, fill_missing: bool = False) -> np.ndarray:
        """The network's inputs for a table.

        Parameters
        ----------
        table : Table
            Has the columns of this model under their names, in any order. If neither it nor the training
            file names its columns, they are taken by their order.
        fill_missing : bool
            Replace missing values by the training rows' mean instead of raising.

        Returns
        -------
        ndarray of float64, shape (rows, width)

        Raises
        ------
        DataError
            Columns missing or unknown, text among numbers, an unknown category, a missing value, a number too far from
            the training rows' to be scaled.
        """
        table = self._matched(table)
        with np.errstate(over="ignore"):
            matrix = (self._matrix(table, fill_missing) - self.mean) / self.scale
        if np.isinf(matrix).any():
            row, column = np.argwhere(np.isinf(matrix))[0]
            name = [name for name, categories in self.columns.items() for _ in categories or (name,)][column]
            raise DataError(f"{table.where(int(row), name)}: the value is too far from those of the training rows "
                            f"(mean {self.mean[column]:g}, deviation {self.scale[column]:g}) to be scaled")
        return np.nan_to_num(matrix, nan=0.0)

    def _matched(self, table: Table) -> Table:
        wanted = list(self.columns)
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
        extra = [name for name in table.names if name not in self.columns and name not in self.ignored]
        if extra:
            raise DataError(
                f"{table.source} has {'a column' if len(extra) == 1 else 'columns'} {listed(extra)} that the model"
                f" does not know; --drop {shlex.quote(extra[0])} leaves it out"
            )
        return table

    def _matrix(self, table: Table, fill_missing: bool) -> np.ndarray:
        parts = []
        for name, categories in self.columns.items():
            if categories is None:
                parts.append(table.numbers(name, _text_remedy(table, name))[:, None])
            else:
                parts.append(_indicators(table, name, categories))
            absent = np.isnan(parts[-1][:, 0])
            if absent.any() and not fill_missing:
                row = int(np.flatnonzero(absent)[0])
                raise DataError(
                    f"{table.where(row, name)}: the value is missing; --missing mean fills in the column's mean,"
                    f" --missing drop leaves such rows out"
                )
        return np.concatenate(parts, axis=1)

    def to_json(self) -> dict[str, Any]:
        """What `from_json` needs, in types that JSON has."""
        return {
            "columns": [[name, categories] for name, categories in self.columns.items()],
            "mean": self.mean.tolist(),
            "scale": self.scale.tolist(),
            "named": self.named,
            "ignored": self.ignored,
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
        columns = {str(name): categories for name, categories in state["columns"]}
        features = cls(columns, mean, scale, bool(state["named"]), list(state["ignored"]))
        if mean.shape != (features.width,) or scale.shape != mean.shape:
            raise ValueError(f"{features.width} columns with {mean.size} means and {scale.size} scales")
        return features


def standardisation(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each column of a matrix, over the values that are not NaN.

    Parameters
    ----------
    matrix : ndarray of float64, shape (rows, width)

    Returns
    -------
    mean, scale : ndarray of float64, shape (width,)
        The scale of a constant column is 1; the mean of a column without values is NaN.
    """
    present = ~np.isnan(matrix)
    count = present.sum(axis=0)
    # scaled by about the largest value, so that squares neither overflow nor underflow (by a power of two, which rounds
    # nothing); relative to the first value, so that a constant column deviates by exactly zero
    largest = np.max(np.abs(matrix), axis=0, where=present, initial=0.0)
    unit = np.ldexp(1.0, np.frexp(largest)[1] - 1)
    scaled = matrix / unit
    first = scaled[present.argmax(axis=0), np.arange(matrix.shape[1])]
    scaled -= first
    with np.errstate(invalid="ignore"):
        mean = np.sum(scaled, axis=0, where=present) / count
        deviation = np.sqrt(np.sum((scaled - mean) ** 2, axis=0, where=present) / count)
    return (first + mean) * unit, np.where(deviation > 0.0, deviation * unit, 1.0)


def _categories(table: Table, name: str) -> list[str]:
    """The categories of a column, sorted."""
    found = set(_category_cells(table, name)) - {""}
    if not found:
        raise DataError(f"{table.source}: column {name!r} has no value; try --drop {shlex.quote(name)}")
    return sorted(found)


def _indicators(table: Table, name: str, categories: Sequence[str]) -> np.ndarray:
    """One-hot encoding, a column for each category; a missing value is NaN in all of them."""
    position = {category: k for k, category in enumerate(categories)}
    indicators = np.zeros((len(table), len(categories)))
    for row, category in enumerate(_category_cells(table, name)):
        if category == "":
            indicators[row] = np.nan
        elif category in position:
            indicators[row, position[category]] = 1.0
        else:
            place = table.where(row, name)
            raise DataError(
                f"{place}: {category!r} is a category that the model does not know ({listed(categories)})"
            )
    return indicators


def _category_cells(table: Table, name: str) -> list[str]:
    """The cells as text, "" for a missing one; numbers in their shortest form, so that 1 and 1.0 agree."""
    cells: Iterable[Any] = table.columns[name]
    gone = table.missing(name)
    return [
        "" if absent else _canonical(cell, table.decimal) for cell, absent in zip(cells, gone, strict=True)
    ]


def _canonical(cell: str | float, decimal: str) -> str:
    number = parse_number(cell, decimal) if isinstance(cell, str) else float(cell)
    if number is None or not np.isfinite(number):
        return str(cell)
    return str(int(number)) if number.is_integer() else repr(number)


def _text_remedy(table: Table, name: str) -> str:
    cells = table.columns[name]
    if isinstance(cells, np.ndarray) or any(table.is_number(cell) for cell in cells):
        return ""
    option = shlex.quote(name)
    return f"for a column of categories --categorical {option}, or leave it out with --drop {option}"
