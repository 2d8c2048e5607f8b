"""Rows of a table with bounded norms, or with gradients shared among equal indices, by PyTorch's arguments."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import functions
from ..errors import ArgumentError
from ..functions.apply import apply_binary
from ..functions.embedding import bounded
from ..ops.elementwise import BINARY
from ..tensor.recording import as_tensor
from ..tensor.tensor import Tensor

__all__ = ["embedding", "embedding_bag"]


def embedding(input: Any, weight: Any, padding_idx: int | None = None, max_norm: float | None = None,
              norm_type: float = 2.0, scale_grad_by_freq: bool = False, sparse: bool = False) -> Tensor:
    """Rows of a table.

    Parameters
    ----------
    input : integer array_like, (...)
        Indices from 0 on.
    weight : array_like, (num_embeddings, embedding_dim)
    padding_idx : int, optional
        The row of this index gets no gradient.
    max_norm : float, optional
        Rows that are read and whose norm of order `norm_type` is greater are scaled to it first, in the table itself,
        at each replay of a recording too.
    norm_type : float, default 2.0
    scale_grad_by_freq : bool, default False
        Divide the gradient that an index gives to its row by how often it is among the indices; not with `sparse`.
    sparse : bool, default False
        Row-sparse gradient; see `tg.embedding`.

    Returns
    -------
    Tensor, (..., embedding_dim)

    Raises
    ------
    IndexRangeError
        Naming the index and the size of the table.
    InPlaceError
        If the table has a history and `max_norm` would overwrite it.
    """
    if max_norm is not None:
        input = bounded("embedding", input, weight, float(max_norm), float(norm_type))
    rows = functions.embedding(input, weight, padding_idx, sparse=sparse)
    if not scale_grad_by_freq:
        return rows
    if sparse:
        raise ArgumentError("embedding: scale_grad_by_freq needs a dense gradient: sparse=False")
    shares = _shares(input, weight, rows.dtype)
    return apply_binary(BINARY["given"], rows.detach(), rows * functions.expand_dims(shares, -1))


def _shares(input: Any, weight: Any, dtype: np.dtype) -> Tensor:
    """By index, one over how often it is among the indices."""
    index, table = as_tensor(input), as_tensor(weight)
    counts = functions.scatter_add(np.zeros(table.shape[0], dtype), 0, functions.reshape(index, (-1,)),
                                   np.ones(index.size, dtype))
    shares = functions.embedding(index, functions.expand_dims(1.0 / functions.maximum(counts, 1.0), -1))
    return functions.squeeze(shares, -1)


def embedding_bag(input: Any, weight: Any, offsets: Any = None, max_norm: float | None = None, norm_type: float = 2.0,
                  scale_grad_by_freq: bool = False, mode: str = "mean", sparse: bool = False,
                  per_sample_weights: Any = None, include_last_offset: bool = False,
                  padding_idx: int | None = None) -> Tensor:
    """Sums, means or maxima of rows of a table, one for each bag.

    Parameters
    ----------
    input, weight, offsets, max_norm, norm_type, mode, sparse, per_sample_weights, include_last_offset, padding_idx
        See `tg.embedding_bag`.
    scale_grad_by_freq : bool, default False
        Divide the gradient that an index gives to its row by how often it is among the indices; of sums and means, not
        with `sparse` nor with `per_sample_weights`.

    Returns
    -------
    Tensor, (bags, embedding_dim)
    """
    y = functions.embedding_bag(input, weight, offsets, max_norm, norm_type, False, mode, sparse, per_sample_weights,
                                include_last_offset, padding_idx)
    if not scale_grad_by_freq:
        return y
    if mode == "max" or sparse or per_sample_weights is not None:
        raise ArgumentError("embedding_bag: scale_grad_by_freq is for sums and means with a dense gradient and without "
                            f"per_sample_weights, not for mode {mode!r}, sparse={bool(sparse)}")
    bags = {"offsets": offsets, "mode": "sum", "include_last_offset": include_last_offset, "padding_idx": padding_idx}
    scaled = functions.embedding_bag(input, weight, per_sample_weights=_shares(input, weight, y.dtype), **bags)
    if mode == "mean":
        sizes = functions.embedding_bag(input, np.ones((as_tensor(weight).shape[0], 1), y.dtype), **bags)
        scaled = scaled / functions.maximum(sizes, 1.0)
    return apply_binary(BINARY["given"], y.detach(), scaled)  # the sums, with the derivative of the second
