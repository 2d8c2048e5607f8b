"""Datasets, whose rows are fetched by index, and their batches in shuffled order."""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from os import PathLike
from typing import Any

import numpy as np

from ..engine.random import generator, permutation
from ..errors import ArgumentError, DataError, IndexRangeError, ShapeError
from ..program.running.epochs import count
from ..program.running.source import drawing_generator
from ..tensor.arrays import foreign_array
from .shards import Shards, in_file

__all__ = ["ArrayDataset", "Dataset", "Transform", "batches"]

#: transforms a batch of images (n, channels, height, width), or whatever the first array of a dataset is
Transform = Callable[[np.ndarray, np.random.Generator], np.ndarray]


class Dataset(ABC):
    """Rows that are fetched by index, each a tuple of as many arrays as a step takes.

    A subclass defines ``__len__`` and `fetch`. `TrainStep.run` takes it in place of arrays: a thread prefetches the
    rows of the next batches while the compiled loop runs over the present ones.
    If it has methods ``state_dict()`` and ``load_state_dict(state)``, for generators of its own and the like, a
    checkpoint of the run keeps that state.

    Parameters
    ----------
    transform : callable, optional
        Applied to the first array of each training batch, with a generator: see `tapegrad.data.Compose` and the
        augmentations beside it. Indexing gives untransformed rows.

    Examples
    --------
    >>> import numpy as np
    >>> from tapegrad.data import Dataset, batches
    >>> class Squares(Dataset):
    ...     def __len__(self):
    ...         return 5
    ...     def fetch(self, index):
    ...         return index.astype(np.float32), index**2
    >>> for x, y in batches(Squares(), 2, shuffle=False):
    ...     print(x, y)
    [0. 1.] [0 1]
    [2. 3.] [4 9]
    [4.] [16]
    """

    #: the arrays, if a compiled loop may gather rows from them
    resident: Sequence[np.ndarray] | None = None

    def __init__(self, *, transform: Transform | None = None) -> None:
        self.transform = transform

    @abstractmethod
    def __len__(self) -> int:
        """Number of rows."""

    @abstractmethod
    def fetch(self, index: np.ndarray) -> tuple[np.ndarray, ...]:
        """Rows by index.

        Parameters
        ----------
        index : ndarray of int64, shape (n,)
            From 0 to the length, in any order.

        Returns
        -------
        tuple of ndarray, each (n, ...)
        """

    @property
    def by_batch(self) -> bool:
        """Whether rows must be fetched batch by batch; else a run fetches several batches at once."""
        return True

    def rows(self, index: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        """A training batch: fetched, its first array transformed with draws of `rng`."""
        fetched = tuple(self.fetch(index))
        transform = getattr(self, "transform", None)  # a user's class may not call __init__
        return fetched if transform is None else (transform(fetched[0], rng), *fetched[1:])

    def __getitem__(self, key: Any) -> tuple[Any, ...]:
        """One row for an integer, else rows for a slice, a list of indices or a mask."""
        if isinstance(key, (int, np.integer)):
            return tuple(a[0] for a in self.fetch(np.array([self._checked(key)])))
        return self.fetch(np.arange(len(self))[key])

    def _checked(self, key: Any) -> int:
        number, n = operator.index(key), len(self)
        if not -n <= number < n:
            raise IndexRangeError(f"{type(self).__name__}: row {number} of {n}")
        return number % n


class ArrayDataset(Dataset):
    """Arrays with corresponding rows (axis 0). Nothing is copied.

    Parameters
    ----------
    *arrays : array_like, (n, ...), or list of paths
        NumPy arrays, memory-mapped ones too; a list of ``.npy`` files is the concatenation of their rows,
        memory-mapped.
    transform : callable, optional
        Applied to the first array of each training batch, with a generator.

    Raises
    ------
    ShapeError
        Lengths differ.
    DataError
        A file cannot be read, or the files of a list do not fit together.

    Examples
    --------
    >>> import numpy as np
    >>> from tapegrad.data import ArrayDataset
    >>> dataset = ArrayDataset(np.arange(6.0).reshape(3, 2), [7, 8, 9])
    >>> len(dataset)
    3
    >>> dataset[1]
    (array([2., 3.]), np.int64(8))
    """

    def __init__(self, *arrays: Any, transform: Transform | None = None) -> None:
        super().__init__(transform=transform)
        if not arrays:
            raise ArgumentError("ArrayDataset needs at least one array")
        self.arrays = tuple(_as_rows(a) for a in arrays)
        if len({a.shape[0] if a.shape else None for a in self.arrays}) != 1 or not self.arrays[0].shape:
            raise ShapeError("ArrayDataset: arrays must have the same length along axis 0; shapes are "
                             + ", ".join(str(list(a.shape)) for a in self.arrays))

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "arrays": tuple(in_file(a) for a in self.arrays)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        arrays = tuple(a() if isinstance(a, partial) else a for a in state["arrays"])
        vars(self).update(state, arrays=arrays)

    @property
    def resident(self) -> Sequence[np.ndarray] | None:  # type: ignore[override]
        """The arrays, unless rows are transformed or in several files."""
        if self.transform is None and not any(isinstance(a, Shards) for a in self.arrays):
            return [a for a in self.arrays if isinstance(a, np.ndarray)]
        return None

    @property
    def by_batch(self) -> bool:
        """Whether rows must be fetched batch by batch."""
        return self.transform is not None

    def __len__(self) -> int:
        return int(self.arrays[0].shape[0])

    def fetch(self, index: np.ndarray) -> tuple[np.ndarray, ...]:
        """Rows by index, as copies."""
        return tuple(a[index] for a in self.arrays)

    def __getitem__(self, key: Any) -> tuple[Any, ...]:
        """One row for an integer, else rows; views of the arrays where NumPy gives views."""
        if isinstance(key, (int, np.integer)):
            key = self._checked(key)
        return tuple(a[key] for a in self.arrays)


def _as_rows(array: Any) -> np.ndarray | Shards:
    """An array, or a list of files as one."""
    if isinstance(array, (str, PathLike)):
        raise DataError(f"ArrayDataset: {str(array)!r} is a path; give [path] for the rows of an .npy file, or read "
                        "tables with tapegrad.data.read_csv or read_npz")
    if isinstance(array, (list, tuple)) and array and isinstance(array[0], (str, PathLike)):
        return Shards(array)
    return array if isinstance(array, (Shards, np.ndarray)) else foreign_array(array)


def batches(dataset: Dataset, batch_size: int, *, shuffle: bool = True, seed: int | None = None,
            drop_last: bool = False) -> Iterator[tuple[np.ndarray, ...]]:
    """The batches of one epoch.

    Each batch is copied when it is asked for. With the same seed they are those of the first epoch of
    ``TrainStep.run(dataset, ...)``.

    Parameters
    ----------
    dataset : Dataset
    batch_size : int
    shuffle : bool, default True
    seed : int, optional
        Of the order and of the dataset's transform; by default drawn from `manual_seed`'s stream.
    drop_last : bool, default False
        Leave out a last, smaller batch.

    Yields
    ------
    tuple of ndarray
        One array for each array of a row.
    """
    if not isinstance(dataset, Dataset):
        raise ArgumentError(f"batches: dataset must be a tapegrad.data.Dataset, not {type(dataset).__name__}; "
                            "for arrays write batches(ArrayDataset(x, y), ...)")
    size, n = count("batch_size", batch_size), len(dataset)
    if seed is None:
        seed = int(generator().integers(1 << 63))
    order = permutation(np.random.default_rng(seed), n) if shuffle else np.arange(n)
    return _batches(dataset, order[:n - n % size] if drop_last else order, size, drawing_generator(seed))


def _batches(dataset: Dataset, order: np.ndarray, size: int,
             rng: np.random.Generator) -> Iterator[tuple[np.ndarray, ...]]:
    for first in range(0, len(order), size):
        yield dataset.rows(order[first:first + size], rng)
