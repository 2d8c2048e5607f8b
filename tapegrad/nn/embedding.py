"""Embedding tables."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from ..errors import ArgumentError
from ..tape.sparse import list_rows_of
from ..tensor.tensor import Tensor
from . import init
from .embedding_functions import embedding, embedding_bag
from .module import Module
from .parameter import Parameter, float_dtype
from .shapes import positive_int

__all__ = ["Embedding", "EmbeddingBag"]


class _Table(Module):
    weight: Parameter

    def __init__(self, num_embeddings: int, embedding_dim: int, padding_idx: int | None, sparse: bool,
                 dtype: DTypeLike | None) -> None:
        super().__init__()
        name = type(self).__name__
        self.num_embeddings = positive_int(num_embeddings, f"{name}: num_embeddings")
        self.embedding_dim = positive_int(embedding_dim, f"{name}: embedding_dim")
        if padding_idx is not None and not -num_embeddings <= padding_idx < num_embeddings:
            raise ArgumentError(f"{name}: padding_idx {padding_idx} lies outside the {num_embeddings} embeddings")
        self.padding_idx = None if padding_idx is None else padding_idx % num_embeddings
        dtype = float_dtype(dtype, name)
        self.weight = Parameter(np.empty((num_embeddings, embedding_dim), dtype), dtype=dtype)
        self.sparse = bool(sparse)
        if self.sparse:
            list_rows_of(self.weight.node)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the table anew from N(0, 1); the row of `padding_idx` is zero."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            values = self.weight.numpy()
            values[self.padding_idx] = 0.0
            self.weight.copy_(values)

    @classmethod
    def from_pretrained(cls, embeddings: ArrayLike | Tensor, freeze: bool = True, padding_idx: int | None = None,
                        **options: Any) -> Any:
        """A layer whose table is a copy of `embeddings` (num_embeddings, embedding_dim), frozen by default."""
        table = Tensor(embeddings)
        if table.ndim != 2:
            raise ArgumentError(f"{cls.__name__}.from_pretrained: embeddings of shape {list(table.shape)}; expected "
                                "(num_embeddings, embedding_dim)")
        layer = cls(*table.shape, padding_idx=padding_idx, dtype=table.dtype, **options)  # type: ignore[misc]
        layer.weight.copy_(table)
        return layer.requires_grad_(not freeze)

    def extra_repr(self) -> str:
        """PyTorch's."""
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.num_embeddings}, {self.embedding_dim}{padding}{', sparse=True' if self.sparse else ''}"


class Embedding(_Table):
    """Lookup of rows of a table: from integers (...) to (..., embedding_dim).

    Parameters
    ----------
    num_embeddings, embedding_dim : int
        Rows and columns of the table.
    padding_idx : int, optional
        The row of this index starts at zero and is not trained.
    max_norm : float, optional
        Rows that are read and whose norm of order `norm_type` is greater are scaled to it first, in the table.
    norm_type : float, default 2.0
    scale_grad_by_freq : bool, default False
        Divide the gradient that an index gives to its row by how often it is among the indices; not with `sparse`.
    sparse : bool, default False
        Row-sparse gradient: reverse walk and update touch only the rows that were read, so that a step costs in
        proportion to the batch, not the table. For `SparseAdam`, and for `SGD` and `Adagrad` without weight decay;
        others raise. A table with other readers too (tied weights) is trained correctly, at the cost of the whole
        table.
    dtype : float32 or float64

    Attributes
    ----------
    weight : Parameter, shape (num_embeddings, embedding_dim)
        Drawn from N(0, 1).
    """

    def __init__(self, num_embeddings: int, embedding_dim: int, padding_idx: int | None = None,
                 max_norm: float | None = None, norm_type: float = 2.0, scale_grad_by_freq: bool = False,
                 sparse: bool = False, *, dtype: DTypeLike | None = None) -> None:
        super().__init__(num_embeddings, embedding_dim, padding_idx, sparse, dtype)
        self.max_norm, self.norm_type, self.scale_grad_by_freq = max_norm, norm_type, bool(scale_grad_by_freq)

    def forward(self, input: ArrayLike | Tensor) -> Tensor:
        """From indices (...) to (..., embedding_dim)."""
        return embedding(input, self.weight, self.padding_idx, self.max_norm, self.norm_type, self.scale_grad_by_freq,
                         self.sparse)


class EmbeddingBag(_Table):
    """Sums, means or maxima of rows of a table, for each bag: from integers (bags, indices) to (bags, embedding_dim).

    Parameters
    ----------
    num_embeddings, embedding_dim : int
        Rows and columns of the table.
    max_norm, norm_type, scale_grad_by_freq
        As of `Embedding`; the last for sums and means.
    mode : {"mean", "sum", "max"}
    sparse : bool, default False
        As of `Embedding`.
    include_last_offset : bool, default False
        Whether the last offset is the end of the last bag.
    padding_idx : int, optional
        An index that is skipped; its row starts at zero and is not trained.
    dtype : float32 or float64

    Attributes
    ----------
    weight : Parameter, shape (num_embeddings, embedding_dim)
        Drawn from N(0, 1).
    """

    def __init__(self, num_embeddings: int, embedding_dim: int, max_norm: float | None = None, norm_type: float = 2.0,
                 scale_grad_by_freq: bool = False, mode: str = "mean", sparse: bool = False,
                 include_last_offset: bool = False, padding_idx: int | None = None, *,
                 dtype: DTypeLike | None = None) -> None:
        super().__init__(num_embeddings, embedding_dim, padding_idx, sparse, dtype)
        self.max_norm, self.norm_type, self.scale_grad_by_freq = max_norm, norm_type, bool(scale_grad_by_freq)
        if mode not in ("mean", "sum", "max"):
            raise ArgumentError(f"EmbeddingBag: mode must be 'mean', 'sum' or 'max', not {mode!r}")
        self.mode, self.include_last_offset = mode, bool(include_last_offset)

    def forward(self, input: ArrayLike | Tensor, offsets: ArrayLike | Tensor | None = None,
                per_sample_weights: ArrayLike | Tensor | None = None) -> Tensor:
        """From indices (bags, indices of a bag), or (indices,) with the bags' `offsets`, to (bags, embedding_dim)."""
        return embedding_bag(input, self.weight, offsets, self.max_norm, self.norm_type, self.scale_grad_by_freq,
                             self.mode, self.sparse, per_sample_weights, self.include_last_offset, self.padding_idx)
