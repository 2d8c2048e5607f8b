"""The target of a model: labels or values, and their encoding for the network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from ..errors import DataError
from .features import standardisation
from .kinds import is_exact
from .table import Table

__all__ = ["Target", "Task", "guess_task"]

Task = Literal["classification", "regression"]

_MOST_GUESSED_CLASSES = 20


@dataclass
class Target:
    """The column that a model predicts: labels, or a number and its scale.

    Attributes
    ----------
    name : str
    task : {"classification", "regression"}
    labels : list of str, int or float
        Of a classification, in the order of the network's outputs.
    mean, scale : float
        Of a regression: the network predicts ``(value - mean) / scale``.
    """

    name: str
    task: Task
    labels: list[Any] = field(default_factory=list)
    mean: float = 0.0
    scale: float = 1.0

    @classmethod
    def fit(
        cls, table: Table, name: str, task: Task | Literal["auto"] = "auto", *, rows: np.ndarray | None = None
    ) -> Target:
        """Fit the labels of a column, or its mean and scale over the training rows.

        Raises
        ------
        DataError
            No such column, a missing value, text among numbers, more labels than rows can teach, or one
            value only, so that there is nothing to learn.
        """
        table.require([name], "target column")
        absent = np.flatnonzero(table.missing(name, task == "classification"))
        if len(absent):
            place = table.where(int(absent[0]), name)
            raise DataError(f"{place}: the target is missing; --missing drop leaves such rows out")
        if task == "auto":
            task = guess_task(table, name)
        if task == "regression":
            values = table.numbers(name, "text labels need --task classification")
            mean, scale = standardisation(values[:, None], rows)
            only = float(values[0]) if np.all(values == values[0]) else None
            target = cls(name, task, mean=float(mean[0]), scale=float(scale[0]))
        else:
            labels = sorted(set(_labels(table, name)))
            only = labels[0] if len(labels) == 1 else None
            if len(labels) > max(_MOST_GUESSED_CLASSES, len(table) // 2):
                raise DataError(
                    f"{table.source}: target {name!r} has {len(labels)} different values in {len(table)} rows,"
                    f" too many for classes"
                )
            target = cls(name, task, labels)
        if only is not None:
            raise DataError(
                f"{table.source}: target {name!r} is {only!r} in every row: there is nothing to learn"
            )
        return target

    @property
    def outputs(self) -> int:
        """Outputs of the network."""
        return len(self.labels) if self.task == "classification" else 1

    def encoded(self, table: Table) -> np.ndarray:
        """The network's targets.

        Returns
        -------
        ndarray
            int64, shape (rows,): positions in `labels`; or float64, shape (rows, 1): scaled values.
        """
        if self.task == "regression":
            scaled = table.numbers(self.name) - self.mean
            scaled /= self.scale
            return scaled[:, None]
        position = {label: k for k, label in enumerate(self.labels)}
        return np.array([position[label] for label in _labels(table, self.name)], dtype=np.int64)

    def decoded(self, outputs: np.ndarray) -> np.ndarray:
        """Values from a regression's outputs, shape (rows, 1) to (rows,)."""
        return np.asarray(outputs, dtype=np.float64)[:, 0] * self.scale + self.mean

    def to_json(self) -> dict[str, Any]:
        """What `from_json` needs, in types that JSON has."""
        return {
            "name": self.name, "task": self.task, "labels": self.labels, "mean": self.mean, "scale": self.scale
        }  # fmt: skip

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> Target:
        """The target that `to_json` described.

        Raises
        ------
        KeyError, TypeError, ValueError
            It is not such a description.
        """
        if state["task"] not in ("classification", "regression"):
            raise ValueError(f"unknown task {state['task']!r}")
        return cls(
            str(state["name"]),
            state["task"],
            list(state["labels"]),
            float(state["mean"]),
            float(state["scale"]),
        )


def guess_task(table: Table, name: str) -> Task:
    """Whether a column holds classes or values.

    Text is classes. So are at most 20 different whole numbers, if each stands for at least two rows on
    average. Everything else is a value.

    Raises
    ------
    DataError
        Numbers that would be values, with a few words among them.
    """
    try:
        values = table.numbers(name)
    except DataError:
        if not table.is_text(name):
            raise
        parsed = table.text(name).each(lambda cell: _number(table, cell), np.float64)
        numeric = parsed[~np.isnan(parsed)]
        if len(numeric) > 0.9 * len(parsed) and not _are_classes(numeric):
            table.numbers(name, "if these are labels, --task classification")
        return "classification"
    return "classification" if _are_classes(values) else "regression"


def _number(table: Table, cell: str) -> float:
    number = table.written.parse(cell)
    return np.nan if number is None else number


def _labels(table: Table, name: str) -> list[Any]:
    """The cells of a column without gaps as labels: numbers, or text if any of them is text or holds more than them."""
    text = table.text(name)
    values = text.counts()
    if is_exact(text) or not all(table.is_number(cell) for cell in values):
        return list(text)
    numbers = table.numbers(name)
    return [int(value) if value.is_integer() else value for value in numbers.tolist()]


def _are_classes(values: np.ndarray) -> bool:
    most = min(_MOST_GUESSED_CLASSES, len(values) // 2)
    for start in range(0, len(values), 1 << 16):
        part = values[start : start + (1 << 16)]
        if np.any(part != np.round(part)) or len(np.unique(part)) > most:
            return False
    return len(np.unique(values)) <= most
