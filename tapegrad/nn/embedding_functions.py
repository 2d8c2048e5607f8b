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

__all__ = ["embedding"]


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
    index, table = as_tensor(input), as_tensor(weight)
    flat, dtype = functions.reshape(index, (-1,)), rows.dtype
    counts = functions.scatter_add(np.zeros(table.shape[0], dtype), 0, flat, np.ones(index.size, dtype))
    shares = functions.embedding(index, functions.expand_dims(1.0 / functions.maximum(counts, 1.0), -1))
    return apply_binary(BINARY["given"], rows.detach(), rows * shares)  # the rows, with the derivative of the second
