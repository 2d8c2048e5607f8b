"""The split into training and held-out rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import DataError
from .table import Table

__all__ = ["drop_incomplete", "split_rows"]


def drop_incomplete(table: Table, names: Sequence[str]) -> Table:
    """The rows without missing values in some columns.

    Raises
    ------
    DataError
        There is none.
    """
    incomplete = np.zeros(len(table), bool)
    for name in names:
        incomplete |= table.missing(name)
    if incomplete.all():
        raise DataError(f"{table.source}: every row has a missing value")
    return table.take(~incomplete) if incomplete.any() else table


def split_rows(
    rows: int, fraction: float, seed: int, classes: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Split rows at random into training and held-out ones.

    Parameters
    ----------
    rows : int
        How many there are.
    fraction : float
        The share to hold out, 0 to below 1; at least one row unless it is 0.
    seed : int
        The same seed gives the same split.
    classes : ndarray of int, shape (rows,), optional
        The class of each row, for a stratified split; no class is held out entirely.

    Returns
    -------
    training, held_out : ndarray of int64
        Indices, each in increasing order.

    Raises
    ------
    DataError
        Too few rows to do so.
    """
    classes = np.zeros(rows, np.int64) if classes is None else classes
    spare = rows - len(np.unique(classes))
    held = min(max(1, round(fraction * rows)), spare) if fraction > 0 else 0
    if fraction > 0 and held < 1:
        raise DataError(f"{rows} rows are too few to hold some out (--val-fraction 0 trains on all)")
    order = np.random.default_rng(seed).permutation(rows)
    share = np.empty(rows)
    for value in np.unique(classes):
        members = order[classes[order] == value]
        share[members] = (np.arange(len(members)) + 0.5) / len(members)
        share[members[-1]] = np.inf
    ranked = order[np.argsort(share[order], kind="stable")]
    return np.sort(ranked[held:]), np.sort(ranked[:held])
