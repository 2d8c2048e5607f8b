"""The split into training and held-out rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import DataError
from .table import Table

__all__ = ["drop_incomplete", "fold_rows", "split_rows"]


def drop_incomplete(table: Table, names: Sequence[str], words: Sequence[str] = ()) -> Table:
    """The rows without missing values in some columns, of which those of `words` are not numbers.

    Raises
    ------
    DataError
        There is none.
    """
    incomplete = np.zeros(len(table), bool)
    for name in names:
        incomplete |= table.missing(name, name in words)
    if incomplete.all():
        raise DataError(f"{table.source}: every row has a missing value")
    return table.take(~incomplete) if incomplete.any() else table


def split_rows(
    rows: int, fraction: float, seed: int, classes: np.ndarray | None = None, option: str = "--val-fraction"
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
    option : str
        What an error names as the remedy.

    Returns
    -------
    training, held_out : ndarray of int32
        Indices, each in increasing order.

    Raises
    ------
    DataError
        Too few rows to do so.
    """
    spare = rows - (1 if classes is None else len(np.unique(classes)))
    held = min(max(1, round(fraction * rows)), spare) if fraction > 0 else 0
    if fraction > 0 and held < 1:
        raise DataError(f"{rows} rows are too few to hold some out ({option} 0 trains on all)")
    order = np.arange(rows, dtype=np.int32)
    np.random.default_rng(seed).shuffle(order)
    if classes is None:
        order[held:].sort()
        order[:held].sort()
        return order[held:], order[:held]
    share = np.empty(rows)
    for value in np.unique(classes):
        members = order[classes[order] == value]
        share[members] = (np.arange(len(members)) + 0.5) / len(members)
        share[members[-1]] = np.inf
    ranked = order[np.argsort(share[order], kind="stable")]
    return np.sort(ranked[held:]), np.sort(ranked[:held])


def fold_rows(
    rows: int, folds: int, seed: int, classes: np.ndarray | None = None
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Split rows at random into as many parts as there are folds; each part is held out once.

    Parameters
    ----------
    rows, folds, seed : int
    classes : ndarray of int, shape (rows,), optional
        The class of each row, for folds with equal shares of each class. The only row of a class is never held out.

    Returns
    -------
    list of (training, held_out), ndarrays of int64
        Indices, each in increasing order.

    Raises
    ------
    DataError
        Fewer rows than folds.
    """
    order = np.random.default_rng(seed).permutation(rows)
    if classes is not None:
        order = order[np.argsort(classes[order], kind="stable")]
        _, where, counts = np.unique(classes, return_inverse=True, return_counts=True)
        order = order[counts[where[order]] > 1]
    if len(order) < folds:
        raise DataError(f"{len(order)} rows are too few for {folds} folds; try a smaller --folds")
    parts = [np.sort(order[k::folds]) for k in range(folds)]
    return [(np.setdiff1d(np.arange(rows), part), part) for part in parts]
