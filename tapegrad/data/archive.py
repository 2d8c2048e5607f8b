"""Tables of NumPy archives."""

from __future__ import annotations

import os
import zipfile
import zlib
from dataclasses import dataclass

import numpy as np

from ..errors import DataError
from .table import Column, Table, listed

__all__ = ["read_npz"]


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
    columns: dict[str, Column] = {str(j + 1): X[:, j] for j in range(X.shape[1])}
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
    if y.dtype.kind in "iu" and y.size and max(abs(int(y.min())), abs(int(y.max()))) > 1 << 53:
        return [str(item) for item in y.tolist()]  # more digits than float64 holds
    return y.astype(np.float64)
