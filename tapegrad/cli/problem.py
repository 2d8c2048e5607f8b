"""The data of a problem: training and held-out rows, preprocessed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Literal

import numpy as np

from ..data import Features, Layout, Table, Target, drop_incomplete, fold_rows, listed, read_table, split_rows
from ..data.growing import pages
from ..data.target import Task
from ..datasets import load_digits
from ..errors import DataError

_ROWS_AT_ONCE = 1 << 14

__all__ = ["Problem", "TableOptions", "digits", "from_table", "load_problem"]


@dataclass(frozen=True)
class Problem:
    """Encoded training and held-out rows.

    Attributes
    ----------
    title : str
        What is learned, in words.
    features, target
        The preprocessing.
    inputs, held_inputs : ndarray of float, shape (rows, width)
    targets, held_targets : ndarray
        int64, shape (rows,), of a classification; float64, shape (rows, 1), of a regression.
    notes : list of str
        What a user should know about the data.
    drawn : str
        How the held-out rows were chosen, in words.
    classes : ndarray of int64, shape (rows,), optional
        Of a classification, of all rows in their order.
    fit : callable, optional
        From the indices of training rows and of held-out ones to the problem of that split, preprocessed anew.
    folder : Path, optional
        Where inputs lie in unnamed files, if they may be larger than memory.
    """

    title: str
    features: Features
    target: Target
    inputs: np.ndarray
    targets: np.ndarray
    held_inputs: np.ndarray
    held_targets: np.ndarray
    notes: list[str] = field(default_factory=list)
    drawn: str = "chosen beforehand"
    classes: np.ndarray | None = field(default=None, repr=False)
    fit: Callable[[np.ndarray, np.ndarray], Problem] | None = field(default=None, repr=False)
    folder: Path | None = field(default=None, repr=False)

    def taken(self, rows: np.ndarray) -> np.ndarray:
        """The inputs of some training rows, in a file where all inputs are."""
        chosen = pages(len(rows) * self.inputs.shape[1], self.inputs.dtype, self.folder).reshape(len(rows), -1)
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            chosen[start : start + _ROWS_AT_ONCE] = self.inputs[rows[start : start + _ROWS_AT_ONCE]]
        return chosen

    def folds(self, count: int, seed: int) -> Iterator[Problem]:
        """The problems of a cross-validation, each with other rows held out.

        Raises
        ------
        DataError
            Fewer rows than folds.
        """
        if self.fit is None:
            raise DataError("the rows of these data cannot be split anew")
        rows = len(self.inputs) + len(self.held_inputs)
        for training, held in fold_rows(rows, count, seed, self.classes):
            yield self.fit(training, held)


@dataclass(frozen=True)
class TableOptions:
    """How to read a file, and what to learn from it.

    Attributes
    ----------
    target : str, optional
        The column to predict; in an archive the array, ``y`` by default.
    task : {"auto", "classification", "regression"}
    test_fraction : float, optional
        The share of rows to hold out, 0.2 by default.
    missing : {"error", "mean", "median", "indicator", "drop"}
        What to do about missing values.
    unseen, dates
        As `Features.fit` takes them.
    categorical, drop, keep : sequence of str
        Columns of categories; columns to leave out; columns not to leave out as identifiers.
    header, delimiter, decimal, thousands, percent, quote, comment, encoding
        As `Layout` takes them.
    cache : bool
        Whether the table, and inputs made of it, lie in files instead of memory.
    dtype : str
        Of the inputs.
    """

    target: str | None = None
    task: Task | Literal["auto"] = "auto"
    test_fraction: float | None = None
    missing: str = "error"
    categorical: Sequence[str] = ()
    drop: Sequence[str] = ()
    keep: Sequence[str] = ()
    unseen: str = "error"
    dates: str | None = None
    header: bool | None = None
    delimiter: str | None = None
    decimal: str = "."
    thousands: str = ""
    percent: bool = False
    quote: str | None = None
    comment: str = ""
    encoding: str | None = None
    cache: bool = False
    dtype: str = "float64"

    @property
    def layout(self) -> Layout:
        """How to read a text file."""
        return Layout(**{option.name: getattr(self, option.name) for option in fields(Layout)})


def load_problem(
    paths: Sequence[Path] | None, options: TableOptions, seed: int, *, refit: bool = True
) -> Problem:
    """The problem of a file, of several whose rows belong together, or the digits.

    If it will not be fitted anew to other splits, not ``refit``, the table is given up while the inputs are made of it.

    Raises
    ------
    DataError
        The file cannot be used; says where. Or there is none, but options that need one.
    OSError
        The file cannot be read.
    """
    if not paths:
        for option in fields(options):
            if option.name != "dtype" and getattr(options, option.name) != option.default:
                name = option.name.replace("_", "-")
                raise DataError(f"--{name} is for a data file, and none is given (the digits do without)")
        return digits()
    target = options.target
    if target is None and paths[0].suffix.lower() == ".npz":
        target = "y"
    exact = [name for name in options.categorical if name != "auto"]
    if target is not None and options.task == "classification":
        exact.append(target)
    table = read_table(paths, target=target, layout=options.layout, text=exact, cache=options.cache)
    if target is None:
        raise DataError(f"{table.source}: --target must say which column to predict ({listed(table.names)})")
    folder = paths[0].parent if options.cache else None
    return from_table(table, replace(options, target=target), seed, refit=refit, folder=folder)


def digits() -> Problem:
    """The handwritten digits that come with the package, with their fixed split."""
    features = Features.unscaled([str(place) for place in range(1, 65)])
    target = Target("digit", "classification", list(range(10)))
    X, y = load_digits()

    def fit(rows: np.ndarray, held: np.ndarray) -> Problem:
        return Problem("handwritten digits, 10 classes", features, target, X[rows], y[rows], X[held], y[held])

    return Problem("handwritten digits, 10 classes", features, target, *load_digits("train"), *load_digits("test"),
                   classes=y, fit=fit)  # fmt: skip


def from_table(
    table: Table, options: TableOptions, seed: int, *, refit: bool = True, folder: Path | None = None
) -> Problem:
    """Split a table at random, and fit the preprocessing of its columns to the training rows.

    Raises
    ------
    DataError
        The table cannot be used so; says where.
    """
    name, drop = options.target or "y", options.drop
    table.require([name], "target column")
    table.require(drop)
    if name in drop:
        raise DataError(f"column {name!r} cannot be both the target and left out")
    notes = []
    if options.missing == "drop":
        words = [*options.categorical, *([name] if options.task == "classification" else [])]
        complete = drop_incomplete(table, [column for column in table.names if column not in drop], words)
        if len(complete) < len(table):
            gone = len(table) - len(complete)
            notes.append(f"{gone} of {len(table)} rows have a missing value and are left out")
        table = complete

    labels = Target.fit(table, name, options.task)
    classes = labels.encoded(table) if labels.task == "classification" else None

    def fit(rows: np.ndarray, held: np.ndarray) -> Problem:
        target = labels if classes is not None else Target.fit(table, name, labels.task, rows=rows)
        features = Features.fit(
            table,
            categorical=options.categorical,
            ignored=list(dict.fromkeys([name, *drop])),
            rows=rows,
            missing="error" if options.missing == "drop" else options.missing,
            unseen=options.unseen,
            keep=options.keep,
            dates=options.dates,
        )
        constant = features.constant_columns()
        if len(constant) == features.width:
            raise DataError(
                f"{table.source}: every column but the target is constant: there is nothing to learn from"
            )
        remarks = [*notes, *features.notes]
        if constant:
            remarks.append(f"constant in the training rows, and so without effect: {listed(constant)}")
        inputs, held_inputs = features.matrices(table, (rows, held), options.dtype, release=not refit, folder=folder)
        targets = target.encoded(table) if classes is None else classes
        kind = f"{target.outputs} classes" if classes is not None else "a value"
        title = f"{target.name} ({kind}) from {len(features.columns)} columns of {table.source}"
        return Problem(title, features, target, inputs, targets[rows], held_inputs, targets[held], remarks,
                       "drawn at random" if classes is None else "drawn with the classes' shares", classes,
                       fit if refit else None, folder)  # fmt: skip

    fraction = 0.2 if options.test_fraction is None else options.test_fraction
    return fit(*split_rows(len(table), fraction, seed, classes, "--test-fraction"))
