"""Ragged arrays: rows of different lengths in one flat array."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np

from .lazy import lazy


class Ragged:
    """A ragged array.

    Parameters
    ----------
    values : ndarray
    starts : ndarray of int64, (rows + 1,)
        Start of each row, and end of the last one.
    """

    def __init__(self, values: np.ndarray, starts: np.ndarray) -> None:
        self.values, self.starts = values, starts

    @classmethod
    def of(cls, rows: Sequence[Sequence[int]]) -> Ragged:
        """From a list of rows."""
        return cls(np.array(list(chain.from_iterable(rows)), np.int64), starts_of([len(row) for row in rows]))

    @lazy
    def owner(self) -> np.ndarray:
        """The row of each value."""
        return np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts))

    def where(self, chosen: np.ndarray) -> Ragged:
        """The same rows with the chosen values only."""
        return Ragged(self.values[chosen], starts_of(np.bincount(self.owner[chosen], minlength=len(self.starts) - 1)))

    def rows(self, numbers: np.ndarray) -> Ragged:
        """The rows of these indices."""
        starts = starts_of(self.starts[numbers + 1] - self.starts[numbers])
        at = np.arange(starts[-1]) + np.repeat(self.starts[numbers] - starts[:-1], np.diff(starts))
        return Ragged(self.values[at], starts)

    def joined(self, other: Ragged) -> Ragged:
        """These rows, then those of another."""
        return Ragged(np.concatenate([self.values, other.values]),
                      np.concatenate([self.starts, self.starts[-1] + other.starts[1:]]))

    @lazy
    def lists(self) -> list[tuple[int, ...]]:
        """The rows as tuples."""
        values, starts = self.values.tolist(), self.starts.tolist()
        return [tuple(values[first:last]) for first, last in zip(starts, starts[1:])]


def starts_of(lengths: np.ndarray | Sequence[int]) -> np.ndarray:
    """Start of each row of these lengths, and end of the last one."""
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
