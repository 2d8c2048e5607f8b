"""Tables of vectors, read by index."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from .. import functions
from ..errors import ArgumentError
from ..tensor import Tensor
from . import init
from .module import Module
from .parameter import Parameter, float_dtype
from .shapes import positive_int

__all__ = ["Embedding", "EmbeddingBag"]


class _Table(Module):
    weight: Parameter

    def __init__(self, num_embeddings: int, embedding_dim: int, padding_idx: int | None,
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
        return f"{self.num_embeddings}, {self.embedding_dim}{padding}"


class Embedding(_Table):
    """Rows of a table: from integers (...) to (..., embedding_dim).

    Parameters
    ----------
    num_embeddings, embedding_dim : int
        Rows and columns of the table.
    padding_idx : int, optional
        The row of this index starts at zero and is not trained.
    dtype : float32 or float64

    Attributes
    ----------
    weight : Parameter, shape (num_embeddings, embedding_dim)
        Drawn from N(0, 1).
    """

    def __init__(self, num_embeddings: int, embedding_dim: int, padding_idx: int | None = None,
                 dtype: DTypeLike | None = None) -> None:
        super().__init__(num_embeddings, embedding_dim, padding_idx, dtype)

    def forward(self, input: ArrayLike | Tensor) -> Tensor:
        """From indices (...) to (..., embedding_dim)."""
        return functions.embedding(input, self.weight, self.padding_idx)


class EmbeddingBag(_Table):
    """Sums or means of rows of a table, one a bag: from integers (bags, indices) to (bags, embedding_dim).

    Parameters
    ----------
    num_embeddings, embedding_dim : int
        Rows and columns of the table.
    mode : {"mean", "sum"}
    padding_idx : int, optional
        An index that does not count; its row starts at zero and is not trained.
    dtype : float32 or float64

    Attributes
    ----------
    weight : Parameter, shape (num_embeddings, embedding_dim)
        Drawn from N(0, 1).
    """

    def __init__(self, num_embeddings: int, embedding_dim: int, mode: str = "mean", padding_idx: int | None = None,
                 dtype: DTypeLike | None = None) -> None:
        super().__init__(num_embeddings, embedding_dim, padding_idx, dtype)
        if mode not in ("mean", "sum"):
            raise ArgumentError(f"EmbeddingBag: mode must be 'mean' or 'sum', not {mode!r}")
        self.mode = mode

    def forward(self, input: ArrayLike | Tensor) -> Tensor:
        """From indices (bags, indices of a bag) to (bags, embedding_dim)."""
        return functions.embedding_bag(input, self.weight, self.mode, self.padding_idx)
