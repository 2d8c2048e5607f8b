"""Rows of a sparse matrix as a dataset."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse import csr_array

from ..data import Dataset

__all__ = ["SparseRows"]


class SparseRows(Dataset):
    """A sparse matrix and arrays beside it; rows are made dense as they are fetched, a few batches at a time.

    Parameters
    ----------
    matrix : sparse matrix or array, (n, columns)
    *beside : ndarray, (n, ...)
    """

    def __init__(self, matrix: Any, *beside: np.ndarray) -> None:
        super().__init__()
        self.matrix, self.beside = csr_array(matrix), beside

    def __len__(self) -> int:
        return self.matrix.shape[0]

    @property
    def by_batch(self) -> bool:
        """Several batches may be fetched at once."""
        return False

    def fetch(self, index: np.ndarray) -> tuple[np.ndarray, ...]:
        """Rows by index."""
        return (self.matrix[index].toarray(), *(a[index] for a in self.beside))
