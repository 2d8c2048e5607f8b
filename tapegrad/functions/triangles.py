"""Indices of triangles and diagonals, as integers that nothing is differentiated by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import ArgumentError, ShapeError
from ..tensor.arrays import DEFAULT_DTYPE
from ..tensor.recording import as_tensor
from ..tensor.tensor import Tensor

__all__ = ["diag_indices", "diag_indices_from", "indices", "tri", "tril_indices", "tril_indices_from", "triu_indices",
           "triu_indices_from"]


def _triangle(name: str, n: int | None, k: int, m: int | None, row: int | None, col: int | None,
              offset: int | None) -> Any:
    find = np.tril_indices if name == "tril_indices" else np.triu_indices
    if row is None and col is None and offset is None:
        if n is None:
            raise ArgumentError(f"{name}: say for how many rows")
        return tuple(Tensor(part) for part in find(n, k, m))
    if n is not None or row is None or col is None:
        raise ArgumentError(f"{name}: row=, col= and offset= are PyTorch's, n, k and m NumPy's; write those of one")
    return Tensor(np.stack(find(row, offset or 0, col)))


def tril_indices(n: int | None = None, k: int = 0, m: int | None = None, *, row: int | None = None,
                 col: int | None = None, offset: int | None = None) -> Any:
    """Indices of the lower triangle of a matrix of n rows and m columns, up to diagonal k.

    Parameters
    ----------
    n, k, m : int
        NumPy's; as many columns as rows by default.
    row, col, offset : int
        PyTorch's.

    Returns
    -------
    tuple of two Tensors of int64, or with `row` and `col` one of two rows

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.tril_indices(2)
    (tensor([0, 1, 1]), tensor([0, 0, 1]))
    """
    return _triangle("tril_indices", n, k, m, row, col, offset)


def triu_indices(n: int | None = None, k: int = 0, m: int | None = None, *, row: int | None = None,
                 col: int | None = None, offset: int | None = None) -> Any:
    """Indices of the upper triangle of a matrix, from diagonal k on; arguments as of `tril_indices`."""
    return _triangle("triu_indices", n, k, m, row, col, offset)


def _extents(name: str, arr: Any) -> tuple[int, ...]:
    shape: tuple[int, ...] = as_tensor(arr).shape
    if len(shape) != 2:
        raise ShapeError(f"{name}: a matrix, not shape {list(shape)}")
    return shape


def tril_indices_from(arr: Any, k: int = 0) -> tuple[Tensor, Tensor]:
    """Indices of the lower triangle of a matrix, up to diagonal k."""
    n, m = _extents("tril_indices_from", arr)
    return tril_indices(n, k, m)


def triu_indices_from(arr: Any, k: int = 0) -> tuple[Tensor, Tensor]:
    """Indices of the upper triangle of a matrix, from diagonal k on."""
    n, m = _extents("triu_indices_from", arr)
    return triu_indices(n, k, m)


def diag_indices(n: int, ndim: int = 2) -> tuple[Tensor, ...]:
    """Indices of the main diagonal of an array of `ndim` axes of extent n."""
    return (Tensor(np.arange(n)),) * ndim


def diag_indices_from(arr: Any) -> tuple[Tensor, ...]:
    """Indices of the main diagonal of an array, whose axes have one extent."""
    shape = as_tensor(arr).shape
    if len(shape) < 2 or len(set(shape)) > 1:
        raise ShapeError(f"diag_indices_from: two axes at least, all of one extent, not shape {list(shape)}")
    return diag_indices(shape[0], len(shape))


def indices(dimensions: Sequence[int], *, sparse: bool = False) -> Any:
    """The indices of all elements of a shape: int64, (axes, *dimensions), or with `sparse` a tuple by axis."""
    extents = tuple(dimensions)
    return tuple(map(Tensor, np.indices(extents, sparse=True))) if sparse else Tensor(np.indices(extents))


def tri(N: int, M: int | None = None, k: int = 0, *, dtype: Any = None) -> Tensor:
    """Ones in and below diagonal k of a matrix of N rows and M columns, zeros above; float32 by default."""
    return Tensor(np.tri(N, M, k), DEFAULT_DTYPE if dtype is None else dtype)
