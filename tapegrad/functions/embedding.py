"""Rows of a table by index, sums of such rows, and one-hot rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..engine.caller import user_line
from ..engine.storage import Changes
from ..engine.writers import Writing
from ..errors import ArgumentError, DtypeError, InPlaceError, ShapeError
from ..ops.bags import BAG_CHOICE, BAG_SPREAD, EMBEDDING_BAG, EMBEDDING_BAG_MAX, Bags
from ..ops.embedding import BOUNDED, EMBEDDING, LONG_EMBEDDING, ONE_HOT, Lookup
from ..ops.indexed import hot_elements, places_of_hot
from ..tape.nodes import Leaf, Node
from ..tape.sparse import list_rows_of
from ..tape.state import state
from ..tensor.arrays import DEFAULT_DTYPE, INT64
from ..tensor.recording import as_tensor, lift, recorder
from ..tensor.tensor import Tensor
from .elementwise import contiguous
from .layout import reshape
from .scratch import scratch

__all__ = ["embedding", "embedding_bag", "one_hot_rows"]


def _indices(name: str, input: Any) -> Tensor:
    index = as_tensor(input)
    if index.dtype != INT64:
        raise DtypeError(f"{name}: indices must be integers, not {index.dtype}")
    return index


def _table(name: str, weight: Any, padding_idx: int | None, sparse: bool) -> tuple[Tensor, int]:
    table = contiguous(lift(weight)[0])
    if table.ndim != 2:
        raise ShapeError(f"{name}: the weight has shape {list(table.shape)}; expected (num_embeddings, embedding_dim)")
    if sparse and isinstance(table.node, Leaf) and table.shape == table.node.shape:
        list_rows_of(table.node)
    if padding_idx is None:
        return table, -1
    rows = table.shape[0]
    if not -rows <= padding_idx < rows:
        raise ArgumentError(f"{name}: padding_idx {padding_idx} lies outside the {rows} rows of the table")
    return table, padding_idx % rows


def embedding(input: Any, weight: Any, padding_idx: int | None = None, max_norm: None = None,
              norm_type: float = 2.0, scale_grad_by_freq: bool = False, sparse: bool = False) -> Tensor:
    """Rows of a table.

    Parameters
    ----------
    input : integer array_like, (...)
        Indices from 0 on.
    weight : array_like, (num_embeddings, embedding_dim)
    padding_idx : int, optional
        The row of this index gets no gradient.
    max_norm, scale_grad_by_freq : not supported
    norm_type : ignored
    sparse : bool, default False
        Row-sparse gradient: list the rows of a leaf that its gradient touches. The next reverse walk clears only those,
        and `SGD`, `Adagrad` and `SparseAdam` update only those, so that a step costs in proportion to the batch and not
        to the table. ``weight.grad`` stays dense, with zeros in the other rows. If the table is used by other ops too,
        the step costs as much as without the list.

    Returns
    -------
    Tensor, (..., embedding_dim)

    Raises
    ------
    IndexRangeError
        Naming the index and the size of the table.

    Notes
    -----
    Accuracy of the gradient: small tables (of 2048 elements or 128 rows, with at least 8 times as many indices) are
    accumulated in float64. So are rows to which many of a thousand indices or more point; these are looked for in an
    eighth of the indices. Other rows are running sums of some hundred contributions at most. Of a float64 table all
    these sums are compensated, and in a large table those of rows that get a thirtieth of the indices.
    """
    if max_norm is not None or scale_grad_by_freq:
        raise ArgumentError("embedding: max_norm and scale_grad_by_freq are not supported")
    index = _indices("embedding", input)
    table, padding = _table("embedding", weight, padding_idx, sparse)
    rows, width = table.shape
    lookup = Lookup.words(count=index.size, rows=rows, width=width, padding=padding, listed=0)
    if hot := hot_elements(index.size, rows, width, table.dtype.itemsize):
        memory = scratch(LONG_EMBEDDING, hot, table, index)
        return recorder(LONG_EMBEDDING)((*index.shape, width), dtype=table.dtype, w=table, index=index,
                                        scratch=memory, lookup=lookup, hot_places=places_of_hot(index.size))
    return recorder(EMBEDDING)((*index.shape, width), dtype=table.dtype, w=table, index=index, lookup=lookup)


def bounded(name: str, input: Any, weight: Any, max_norm: float, norm_type: float) -> Tensor:
    """The indices `input`, once the rows of the table at them have norms of at most `max_norm`.

    Greater ones are scaled in the table itself, in each replay of a recording too; what reads the table by these
    indices, reads it after that.
    """
    index = _indices(name, input)
    if not isinstance(weight, Tensor) or isinstance(weight.node, Node) or weight.is_symbolic:
        raise InPlaceError(f"{user_line()}: {name}: max_norm overwrites rows of the table, which must be a parameter "
                           "or a tensor that nothing was recorded for")
    if weight.ndim != 2:
        raise ShapeError(f"{name}: the weight has shape {list(weight.shape)}; expected (num_embeddings, embedding_dim)")
    if not norm_type > 0.0 or not max_norm >= 0.0:
        raise ArgumentError(f"{name}: max_norm {max_norm} and norm_type {norm_type}; the one is at least 0, the other "
                            "above 0, or inf")
    states = [weight.buffer]
    Changes.unmark(weight.buffer)

    def run() -> Tensor:
        return recorder(BOUNDED)(index.shape, dtype=weight.dtype, out_dtype=INT64, always=True, w=weight, index=index,
                                 count=index.size, rows=weight.shape[0], width=weight.shape[1], most=max_norm,
                                 order=norm_type, follows=True)

    if state.capture is not None:
        return run()
    with Writing(states):
        y = run()
        Changes.overwritten(states)
    return y


_MODES = ("sum", "mean", "max")


def embedding_bag(input: Any, weight: Any, offsets: Any = None, max_norm: float | None = None, norm_type: float = 2.0,
                  scale_grad_by_freq: bool = False, mode: str = "mean", sparse: bool = False,
                  per_sample_weights: Any = None, include_last_offset: bool = False,
                  padding_idx: int | None = None) -> Tensor:
    """Sums, means or maxima of rows of a table, one for each bag.

    Parameters
    ----------
    input : integer array_like, (bags, indices of a bag) or (indices,)
    weight : array_like, (num_embeddings, embedding_dim)
    offsets : integer array_like, (bags,), optional
        With a 1-D input: where each bag begins, the first at 0.
    max_norm : float, optional
        Rows that are read and whose norm of order `norm_type` is greater are scaled to it first, in the table itself.
    norm_type : float, default 2.0
    scale_grad_by_freq : not supported
    mode : {"mean", "sum", "max"}
    sparse : bool, default False
        As of `embedding`.
    per_sample_weights : array_like, shape of `input`, optional
        Weights of the rows; for ``mode="sum"``.
    include_last_offset : bool, default False
        Whether the last offset is the end of the last bag and not a bag of its own.
    padding_idx : int, optional
        An index that is skipped; a bag of nothing else gives zeros.

    Returns
    -------
    Tensor, (bags, embedding_dim)

    Raises
    ------
    IndexRangeError
        Naming the index and the size of the table.
    """
    if mode not in _MODES:
        raise ArgumentError(f"embedding_bag: mode must be one of {', '.join(map(repr, _MODES))}, not {mode!r}")
    if scale_grad_by_freq:
        raise ArgumentError("embedding_bag: scale_grad_by_freq is not supported")
    if max_norm is not None:
        input = bounded("embedding_bag", input, weight, float(max_norm), float(norm_type))
    if per_sample_weights is not None and mode != "sum":
        raise ArgumentError(f"embedding_bag: per_sample_weights are for mode 'sum', not {mode!r}")
    index = _indices("embedding_bag", input)
    table, padding = _table("embedding_bag", weight, padding_idx, sparse)
    starts = _starts(index, offsets)
    bags = starts.size - bool(include_last_offset)
    if bags < 0:
        raise ShapeError("embedding_bag: include_last_offset=True needs one offset at least")
    (rows, width), given = table.shape, per_sample_weights is not None
    words = Bags.words(count=bags, rows=rows, width=width, padding=padding, listed=0, indices=index.size,
                       starts=starts.size, mean=mode == "mean", weighted=given)
    flat = reshape(index, (-1,))
    if mode == "max":
        chosen = recorder(BAG_CHOICE)((bags, width), dtype=table.dtype, out_dtype=INT64, w=table, index=flat,
                                      starts=starts, bags=words)
        return recorder(EMBEDDING_BAG_MAX)((bags, width), dtype=table.dtype, w=table, chosen=chosen, bags=words)
    factors = lift(table, per_sample_weights)[1] if given else None
    if factors is not None and factors.shape != index.shape:
        raise ShapeError(f"embedding_bag: per_sample_weights of shape {list(factors.shape)} do not fit indices of "
                         f"{list(index.shape)}")
    return recorder(EMBEDDING_BAG)((bags, width), dtype=table.dtype, w=table, index=flat, starts=starts,
                                   c=None if factors is None else reshape(factors, (-1,)), bags=words)


def spread_bags(x: Tensor, starts: Tensor, places: int) -> Tensor:
    """Rows of bags (bags, width), for each of so many places that of its bag, and 0 behind the last."""
    bags, width = x.shape
    words = Bags.words(count=bags, rows=0, width=width, padding=-1, listed=0, indices=places, starts=starts.size,
                       mean=False, weighted=False)
    return recorder(BAG_SPREAD)((places, width), dtype=x.dtype, x=x, starts=starts, bags=words)


def _starts(index: Tensor, offsets: Any) -> Tensor:
    """Where each bag begins."""
    if index.ndim == 2 and offsets is None:
        return Tensor(np.arange(index.shape[0]) * index.shape[1])
    if index.ndim != 1 or offsets is None:
        raise ShapeError(f"embedding_bag: indices of shape {list(index.shape)} "
                         f"{'without' if offsets is None else 'with'} offsets; expected (bags, indices of a bag), or "
                         "(indices,) with offsets")
    starts = _indices("embedding_bag", offsets)
    if starts.ndim != 1:
        raise ShapeError(f"embedding_bag: offsets of shape {list(starts.shape)}; expected (bags,)")
    return starts


def one_hot_rows(input: Any, num_classes: int, dtype: Any = None) -> Tensor:
    """One-hot rows along a new last axis, as floats; can be recorded.

    Parameters
    ----------
    input : integer array_like, (...)
    num_classes : int
    dtype : float32 or float64, optional
        In a recording its dtype, else float32.

    Returns
    -------
    Tensor, (..., num_classes)
    """
    if num_classes < 1:
        raise ArgumentError(f"one_hot: num_classes must be at least 1, not {num_classes}")
    index = _indices("one_hot", input)
    if index.is_symbolic and state.capture is not None:
        found = state.capture.tape.dtype
    else:
        found = DEFAULT_DTYPE if dtype is None else np.dtype(dtype)
    return recorder(ONE_HOT)((*index.shape, num_classes), dtype=found, index=index, count=index.size,
                             classes=num_classes)
