"""Blocks of text read by Arrow."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np

from .blocks import Block
from .growing import Column, NumberColumn, SkippedColumn
from .layout import Layout
from .numbers import MISSING

__all__ = ["BlockReader", "Cells", "elements", "missing_elements", "pyarrow_or_none"]

#: Arrow's names of types that NumPy calls otherwise
_DTYPES = {"double": "float64", "float": "float32", "halffloat": "float16"}

#: a column's numbers, or positions and distinct cells of text, or nothing of a skipped one
Cells = np.ndarray | tuple[np.ndarray, list[str]] | None


def pyarrow_or_none() -> Any:
    """The module pyarrow, if it is installed."""
    try:
        import pyarrow
        import pyarrow.csv
    except ImportError:
        return None
    return pyarrow


def _spellings() -> list[str]:
    """All ways to write the markers of missing numbers with small and capital letters."""
    short = [word for word in MISSING | {"none"} if len(word) < 6]  # longer ones are left to the careful reader
    return sorted({"".join(way) for word in short for way in product(*((c, c.upper()) for c in word))})


class BlockReader:
    """Reads blocks of a text file whose columns are known. Several threads may do so.

    Parameters
    ----------
    layout : Layout
        Found out.
    columns : sequence of Column
        What each column becomes.
    """

    def __init__(self, layout: Layout, columns: Sequence[Column]) -> None:
        self._arrow = pyarrow_or_none()
        pa = self._arrow
        self._pool = pa.system_memory_pool()  # the others keep more of what they have been given back
        names = [str(place) for place in range(len(columns))]
        self._wanted = [name for name, column in zip(names, columns) if not isinstance(column, SkippedColumn)]
        words = pa.dictionary(pa.int32(), pa.string())
        self._numeric = [isinstance(column, NumberColumn) for column in columns]
        self._names = names
        self._read = {"column_names": names, "use_threads": False}
        self._parse = {"delimiter": layout.delimiter, "quote_char": layout.quote, "ignore_empty_lines": True}
        self._quote = (layout.quote or '"').encode()
        self._convert = pa.csv.ConvertOptions(
            column_types={name: pa.float64() if number else words for name, number in zip(names, self._numeric)},
            null_values=_spellings(),
            strings_can_be_null=False,
            decimal_point=layout.decimal,
            include_columns=self._wanted,
        )

    @staticmethod
    def can(layout: Layout, columns: Sequence[Column]) -> bool:
        """Whether Arrow is there and reads such files as Python's csv does."""
        return (
            len(columns) > 1 and any(not isinstance(column, SkippedColumn) for column in columns)
            and not layout.comment and not layout.thousands and not layout.percent
            and layout.delimiter is not None and layout.delimiter != " " and layout.delimiter.isascii()
            and pyarrow_or_none() is not None
        )  # fmt: skip

    def __call__(self, block: Block) -> list[Cells] | None:
        """The columns' cells; None if the block is not what Arrow and Python's csv read alike."""
        csv = self._arrow.csv
        if not block.regular or b"\0" in block.data:
            return None
        quoted = self._quote in block.data
        try:
            table = csv.read_csv(
                self._arrow.py_buffer(block.data),
                csv.ReadOptions(**self._read, block_size=len(block.data) + 1),
                csv.ParseOptions(**self._parse, newlines_in_values=quoted),
                self._convert,
                self._pool,
            )
        except self._arrow.ArrowInvalid:
            return None
        if table.num_rows != block.lines + (not block.data.endswith((b"\n", b"\r"))):
            return None
        parts = {name: table.column(name) for name in self._wanted}
        cells = [self._cells(parts.get(name), number) for name, number in zip(self._names, self._numeric)]
        return None if any(isinstance(part, str) for part in cells) else cells  # type: ignore[return-value]

    def _cells(self, column: Any, number: bool) -> Cells | str:
        if column is None:
            return None
        if column.num_chunks > 1:
            column = column.unify_dictionaries().combine_chunks() if not number else column.combine_chunks()
        elif column.num_chunks:
            column = column.chunk(0)
        else:
            return np.empty(0) if number else (np.empty(0, np.int32), [])
        if not number:
            return elements(column.indices), column.dictionary.to_pylist()
        values, absent = elements(column), missing_elements(column)
        if absent is not None:
            values = np.where(absent, np.nan, values)
        # infinities, and what is spelled as no number in ways of its own
        return values if np.count_nonzero(~np.isfinite(values)) == column.null_count else "look again"


def elements(array: Any) -> np.ndarray:
    """The elements of an Arrow array of numbers, without a copy; any where it has none.

    Its own ``to_numpy`` imports pandas where that is installed: half a second, and 50 MB.
    """
    dtype = np.dtype(_DTYPES.get(str(array.type), str(array.type)))
    return np.frombuffer(array.buffers()[1], dtype, len(array), array.offset * dtype.itemsize)


def missing_elements(array: Any) -> np.ndarray | None:
    """Where an Arrow array has no element; None if it has all."""
    valid = array.buffers()[0]
    if not array.null_count or valid is None:
        return None
    bits = np.unpackbits(np.frombuffer(valid, np.uint8), bitorder="little")
    return bits[array.offset : array.offset + len(array)] == 0
