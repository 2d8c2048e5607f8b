"""Row-sparse gradients: lists of the rows of a table's gradient that are not zero.

Beside the gradient of a table is a list: int64 words, of which the first counts the listed rows; then the address of a
byte for each row that marks listed ones, the elements of a row, and the numbers of the rows in the order in which they
were touched. Rows that are not listed are zero. A count of -1 says that any row may be nonzero; no row is marked then.

An adjoint that accumulates into few rows lists them, and clears those that were listed before when its contribution is
the first. An optimiser visits *stretches*: the listed rows, or all of a gradient without a list (address 0).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..language import device
from ..storage import Buffer, address_of

COUNT, MARKS, WIDTH, FIRST = 0, 1, 2, 3


@device
def stretches(listed: int, i: Any) -> int:
    """Number of stretches."""
    return 1 if listed == 0 or i[listed] < 0 else i[listed]


@device
def stretch_length(listed: int, n: int, i: Any) -> int:
    """Elements of a stretch, of a gradient of `n`."""
    return n if listed == 0 or i[listed] < 0 else i[listed + WIDTH]


@device
def stretch_start(listed: int, k: int, i: Any) -> int:
    """Start of stretch `k`, in elements."""
    return 0 if listed == 0 or i[listed] < 0 else i[listed + FIRST + k] * i[listed + WIDTH]


@device
def clear_rows(listed: int, at: int, n: int, f: Any, i: Any, b: Any) -> int:
    """Zero the listed rows of the gradient of `n` elements at `at`, and empty the list."""
    length = stretch_length(listed, n, i)
    for k in range(stretches(listed, i)):
        start = at + stretch_start(listed, k, i)
        for e in range(length):
            f[start + e] = 0.0
    if listed != 0:
        for k in range(i[listed]):
            b[i[listed + MARKS] + i[listed + FIRST + k]] = 0
        i[listed] = 0
    return 0


@device
def list_row(listed: int, row: int, i: Any, b: Any) -> int:
    """List a row that is about to be accumulated into, unless it is listed."""
    if listed != 0 and i[listed] >= 0:
        mark = i[listed + MARKS] + row
        if b[mark] == 0:
            b[mark] = 1
            i[listed + FIRST + i[listed]] = row
            i[listed] += 1
    return 0


class TouchedRows:
    """The row list of one table's gradient.

    Parameters
    ----------
    rows, width : int
        Of the table.

    Attributes
    ----------
    address : int
        Of the list, in elements of int64, as rows refer to it.
    nbytes : int
        At most; memory for rows that were never touched is not used.
    """

    #: number of lists ever made, by which an optimiser notices new ones
    made = 0

    __slots__ = ("address", "nbytes", "_words", "_marks", "_buffer", "_version")

    def __init__(self, rows: int, width: int) -> None:
        self._words = np.zeros(FIRST + rows + -(-rows // 8), np.int64)
        self._marks = self._words[FIRST + rows:].view(np.uint8)
        self.address, self.nbytes = address_of(self._words) // 8, self._words.nbytes
        self._words[:FIRST] = -1, address_of(self._marks), width
        self._buffer: Buffer | None = None
        self._version = 0
        TouchedRows.made += 1

    @property
    def numbers(self) -> np.ndarray | None:
        """The listed rows, in the order in which they were touched; None if any may be nonzero."""
        count = int(self._words[COUNT])
        return None if count < 0 else self._words[FIRST:FIRST + count].copy()

    def everything(self) -> None:
        """Have any row count as touched, until the next walk that lists its rows."""
        before = self.numbers
        if before is not None:
            self._marks[before] = 0
        self._words[COUNT] = -1

    def replace(self, numbers: np.ndarray) -> None:
        """List these rows instead of those that are listed; the gradient's other rows are zero."""
        before = self.numbers
        if before is not None:
            self._marks[before] = 0
        self._words[COUNT] = len(numbers)
        self._words[FIRST:FIRST + len(numbers)] = numbers
        self._marks[numbers] = 1

    def describe(self, buffer: Buffer, listed: bool = True) -> None:
        """Attach the list to the gradient in `buffer`.

        All rows count as touched if it was attached to another, if a user has written to `buffer` since, or if the next
        walk is not `listed`.
        """
        if not (listed and buffer is self._buffer and buffer.version == self._version):
            self._start(-1, buffer)

    def empty(self, buffer: Buffer) -> None:
        """Empty the list of a gradient in `buffer` that is all zero."""
        self._start(0, buffer)

    def _start(self, count: int, buffer: Buffer) -> None:
        before = self.numbers
        if before is not None:
            self._marks[before] = 0
        self._words[COUNT] = count
        self._buffer, self._version = buffer, buffer.version
