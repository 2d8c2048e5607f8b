"""Data of other libraries as arrays, by the protocols that they share: ``__array__``, DLPack and Arrow's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..errors import ArgumentError, DtypeError, GradientError, MissingExtraError, ShapeError
from ..tape.history import convert

_ARROW = ("__arrow_array__", "__arrow_c_array__", "__arrow_c_stream__")
_TELLS_READ_ONLY = np.lib.NumpyVersion(np.__version__) >= "2.1.0"
_PROTOCOLS = ("__array__", "__dlpack__", *_ARROW)


def is_foreign(value: Any) -> bool:
    """Whether an object of another library can be taken as an array."""
    kind = type(value)
    return any(hasattr(kind, protocol) for protocol in _PROTOCOLS)


def array_of(data: Any) -> np.ndarray:
    """What is no array of NumPy as one; columns of different kinds in the dtype that holds them all."""
    kind = type(data)
    if not hasattr(kind, "__array__") and not isinstance(data, (int, float, list, tuple, str)):
        if hasattr(kind, "__dlpack__"):
            return from_dlpack(data)
        if any(hasattr(kind, protocol) for protocol in _ARROW):
            data = _from_arrow(data)
    try:
        array = np.asarray(data)
    except ValueError as error:
        raise ShapeError(f"tensor data must be rectangular: {error}") from None
    except (TypeError, RuntimeError) as error:  # PyTorch's
        if not hasattr(kind, "__dlpack__"):
            raise
        if isinstance(error, RuntimeError):
            raise GradientError(f"a {kind.__name__} of another library with a history: {error}") from None
        raise DtypeError(f"a {kind.__name__} of another device, or of a dtype that NumPy has not: {error}") from None
    if array.dtype != object:
        return array
    if array.ndim == 2 and (hasattr(data, "columns") or hasattr(data, "column_names")):
        return _joined(data)
    if array.ndim == 1 and array.size and all(isinstance(row, np.ndarray) for row in array):
        if len({row.shape for row in array}) > 1:
            raise ShapeError("tensor data must be rectangular: the rows are lists of shapes "
                             + ", ".join(sorted({str(list(row.shape)) for row in array})))
        return np.stack(list(array))
    return array


def from_dlpack(data: Any) -> np.ndarray:
    """The memory behind ``__dlpack__`` as an array, which keeps it alive."""
    try:
        return np.from_dlpack(data)
    except (AttributeError, BufferError, RuntimeError, TypeError, ValueError) as error:
        raise DtypeError(f"{type(data).__name__} gives no array of this machine's memory by DLPack ({error}); move it "
                         "there first, detached, in a dtype that NumPy has") from None


def is_read_only(array: np.ndarray) -> bool:
    """Whether memory from `from_dlpack` may not be written; NumPy 2.0 cannot tell, and says so of all."""
    return _TELLS_READ_ONLY and not array.flags.writeable


def _from_arrow(data: Any) -> Any:
    """An array or table of pyarrow."""
    try:
        import pyarrow
    except ImportError:
        raise MissingExtraError(f"{type(data).__name__} gives its values by Arrow's protocol, for which pyarrow is "
                                "needed: pip install pyarrow") from None
    try:
        if not hasattr(type(data), "__arrow_c_stream__"):
            return pyarrow.array(data)
        whole = pyarrow.chunked_array(data)
        return pyarrow.table(data) if pyarrow.types.is_struct(whole.type) else whole
    except pyarrow.ArrowException as error:
        raise ArgumentError(f"{type(data).__name__}: {error}") from None


def _columns(table: Any) -> Iterator[tuple[Any, Any]]:
    """Names and columns of a table of pandas, pyarrow or polars."""
    if hasattr(table, "items"):
        return iter(table.items())
    if hasattr(table, "column_names"):
        return zip(table.column_names, table.columns)
    return ((name, table[name]) for name in table.columns)


def _joined(table: Any) -> np.ndarray:
    """Columns of numbers and truths side by side."""
    columns = [(name, np.asarray(column)) for name, column in _columns(table)]
    wrong = [f"{name!r} ({column.dtype})" for name, column in columns if column.dtype.kind not in "fiub"]
    if wrong:
        raise DtypeError(f"a tensor holds numbers; {'a column of' if len(wrong) == 1 else 'columns of'} the "
                         f"{type(table).__name__} {'is' if len(wrong) == 1 else 'are'} not: {', '.join(wrong)}; leave "
                         "out, encode or fill in what is text, a category, a date or missing")
    return np.column_stack([column for _, column in columns])


class Exported:
    """What makes a `Tensor` readable to others by DLPack."""

    __slots__ = ()

    def __dlpack__(self: Any, **asked: Any) -> Any:
        """A capsule of the tensor's memory, which lives as long as any that look into it.

        Nothing is copied: what the other library writes into it the tensor has from then on, unwatched by recordings.

        Raises
        ------
        GradientError
            The tensor requires a gradient; `detach` first.
        """
        self._check_frozen()
        convert(self, "an export by DLPack")
        return self._array().__dlpack__(**{name: value for name, value in asked.items() if value is not None})

    def __dlpack_device__(self: Any) -> tuple[int, int]:
        """(1, 0): this machine's memory."""
        return 1, 0
