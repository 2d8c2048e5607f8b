"""Several ``.npy`` files as one array of rows."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from mmap import mmap
from os import PathLike
from typing import Any

import numpy as np

from ..errors import DataError

__all__ = ["Shards", "in_file"]


class Shards:
    """The concatenated rows of several ``.npy`` files, memory-mapped.

    Parameters
    ----------
    paths : sequence of path
        Files of arrays that differ only in length (axis 0).

    Raises
    ------
    DataError
        A file cannot be read, or does not fit the first one; names it.
    """

    def __init__(self, paths: Sequence[str | PathLike[str]]) -> None:
        self.parts = [_mapped(path) for path in paths]
        one = self.parts[0]
        for path, part in zip(paths, self.parts):
            if part.shape[1:] != one.shape[1:] or part.dtype != one.dtype:
                raise DataError(f"{path}: rows are {part.dtype}{list(part.shape[1:])}, those of {paths[0]} "
                                f"{one.dtype}{list(one.shape[1:])}")
        self._ends = np.cumsum([len(part) for part in self.parts])
        self.shape, self.dtype = (int(self._ends[-1]), *one.shape[1:]), one.dtype

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), ([part.filename for part in self.parts],)  # type: ignore[attr-defined]

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> np.ndarray:
        """Rows by index, slice, list of indices or mask, as copies."""
        numbers = np.arange(len(self))[key]
        index = np.atleast_1d(numbers)
        part = np.searchsorted(self._ends, index, side="right")
        rows = np.empty((len(index), *self.shape[1:]), self.dtype)
        for k in np.unique(part):
            here = part == k
            rows[here] = self.parts[k][index[here] - (self._ends[k] - len(self.parts[k]))]
        return rows if np.ndim(numbers) else rows[0]


def in_file(array: Any) -> Any:
    """How to map a memory-mapped array again, read-only; anything else as it is."""
    if not (isinstance(array, np.memmap) and isinstance(array.base, mmap) and array.mode == "r" and array.filename):
        return array
    order = "C" if array.flags.c_contiguous else "F"
    return partial(np.memmap, array.filename, array.dtype, "r", array.offset, array.shape, order)


def _mapped(path: str | PathLike[str]) -> np.ndarray:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise DataError(f"{path}: not an .npy file of numbers ({error})") from None
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from None
    if not isinstance(array, np.ndarray):
        raise DataError(f"{path}: an archive of several arrays (.npz); save each as an .npy file")
    if array.ndim == 0:
        raise DataError(f"{path}: a single number, no rows")
    return array
