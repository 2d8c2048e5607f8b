"""Columns that grow block by block while a file is read."""

from __future__ import annotations

import mmap as system
from collections.abc import Iterable, Sequence
from mmap import mmap
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np
from numpy.typing import DTypeLike

from .text import Text

__all__ = ["Column", "NotNumbers", "NumberColumn", "SkippedColumn", "TextColumn", "pages", "positions"]

_LEAST_BYTES = 1 << 20
#: pages that a forked child does not share, where processes fork
_PRIVATE: dict[str, int] = (
    {"flags": system.MAP_PRIVATE | system.MAP_ANONYMOUS} if hasattr(system, "MAP_ANONYMOUS") else {}
)


def pages(length: int, dtype: DTypeLike, folder: Path | None = None) -> np.ndarray:
    """An array in pages of its own: none is taken before it is written to, all are given back when the array goes.

    An allocator keeps freed arrays of some megabytes for later ones, which a table that shrinks has no use for. With a
    folder the pages are those of an unnamed file there, which memory may give up.
    """
    kind = np.dtype(dtype)
    size = length * kind.itemsize
    if size < _LEAST_BYTES:
        return np.empty(length, kind)
    if folder is None:
        try:
            return np.frombuffer(mmap(-1, size, **_PRIVATE), kind, length)
        except OSError as error:
            raise MemoryError(f"{size} bytes for {length} numbers; tapegrad train --cache needs less") from error
    with TemporaryFile(dir=folder) as file:
        file.truncate(size)
        return np.memmap(file, kind, "r+", shape=(length,))


class _Grown:
    """An array to which others are appended; room that is never written to costs no memory."""

    def __init__(self, dtype: type, room: int, folder: Path | None) -> None:
        self._folder = folder
        self._array = pages(max(room, 1024), dtype, folder)
        self.length = 0

    def extend(self, values: np.ndarray | Sequence[float]) -> None:
        end = self.length + len(values)
        if end > len(self._array):
            larger = pages(max(end, len(self._array) * 3 // 2), self._array.dtype, self._folder)
            larger[: self.length] = self._array[: self.length]
            self._array = larger
        self._array[self.length : end] = values
        self.length = end

    def finished(self) -> np.ndarray:
        """The array."""
        return self._array[: self.length]


class NumberColumn:
    """A column of numbers, NaN for missing ones."""

    def __init__(self, room: int, folder: Path | None = None) -> None:
        self._values = _Grown(np.float64, room, folder)

    def extend(self, values: np.ndarray | Sequence[float]) -> None:
        """Append numbers."""
        self._values.extend(values)

    def extend_missing(self, count: int) -> None:
        """Append so many missing cells."""
        self.extend(np.full(count, np.nan))

    def finished(self) -> np.ndarray:
        """All numbers, float64."""
        return self._values.finished()


class TextColumn:
    """A column of text."""

    def __init__(self, room: int, folder: Path | None = None) -> None:
        self._codes = _Grown(np.int32, room, folder)
        self._position: dict[str, int] = {}

    def extend(self, cells: Iterable[str]) -> None:
        """Append cells without surrounding blanks."""
        position = self._position
        self._codes.extend(np.fromiter((position.setdefault(cell, len(position)) for cell in cells), np.int32))

    def extend_coded(self, codes: np.ndarray, values: Sequence[str]) -> None:
        """Append cells that positions in a list tell; surrounding blanks are taken off."""
        position = self._position
        known = np.array([position.setdefault(value.strip(), len(position)) for value in values], np.int32)
        self._codes.extend(known[codes] if len(known) else codes)

    def extend_missing(self, count: int) -> None:
        """Append so many missing cells."""
        if count:
            self.extend_coded(np.zeros(count, np.int32), [""])

    def finished(self) -> Text:
        """All cells."""
        return Text(self._codes.finished(), list(self._position))


class SkippedColumn:
    """A column that nobody asks for."""

    def finished(self) -> None:
        """Nothing."""


Column = NumberColumn | TextColumn | SkippedColumn


class NotNumbers(Exception):
    """Columns that looked like numbers at first hold text further down: they have to be read as text from the start."""

    def __init__(self, columns: set[str]) -> None:
        super().__init__(columns)
        self.columns = columns


def positions(parts: Iterable[range | list[int]]) -> range | np.ndarray:
    """Rising numbers of lines, given in parts: a range if they follow on each other, else int64, (rows,)."""
    lines = [_as_range(part) for part in parts if len(part)]
    runs = [part for part in lines if isinstance(part, range)]
    if len(runs) == len(lines) and all(one.stop == other.start for one, other in zip(runs, runs[1:])):
        return range(runs[0].start, runs[-1].stop)
    return np.concatenate([np.asarray(part) for part in lines])


def _as_range(lines: range | list[int]) -> range | np.ndarray:
    if isinstance(lines, range):
        return lines
    if lines[-1] - lines[0] == len(lines) - 1:  # they rise
        return range(lines[0], lines[-1] + 1)
    return np.array(lines)
