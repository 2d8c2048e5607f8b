"""Position encodings."""

from __future__ import annotations

from typing import Any

from .. import functions
from ..errors import ArgumentError, ShapeError
from ..tensor.tensor import Tensor
from . import functional as F
from .module import Module
from .shapes import positive_int, shape_of

__all__ = ["PositionalEncoding", "RotaryEmbedding"]


class RotaryEmbedding(Module):
    """Rotate pairs of features of queries and keys by angles proportional to the position (RoPE, Su et al. 2021).

    Feature ``k`` is paired with feature ``dim / 2 + k``, as in LLaMA; see `functional.rotary_embedding`.

    Parameters
    ----------
    dim : int
        Number of features to rotate, from the first on: the width of a head, or less. Even.
    base : float

    Examples
    --------
    >>> import numpy as np
    >>> from tapegrad import nn
    >>> rotary = nn.RotaryEmbedding(4)
    >>> rotary(np.ones((2, 3, 5, 4), np.float32)).shape
    (2, 3, 5, 4)
    """

    def __init__(self, dim: int, base: float = 10000.0) -> None:
        super().__init__()
        self.dim, self.base = positive_int(dim, "RotaryEmbedding: dim"), float(base)
        if self.dim % 2:
            raise ArgumentError(f"RotaryEmbedding: dim must be even, for features are turned in pairs; got {dim}")

    def forward(self, input: Tensor, positions: Any = 0) -> Tensor:
        """The same shape, (..., L, E) with E of at least `dim`; `positions` as in `functional.rotary_embedding`."""
        return F.rotary_embedding(input, positions, self.base, self.dim)

    def extra_repr(self) -> str:
        """The arguments."""
        return f"{self.dim}, base={self.base}"


class PositionalEncoding(Module):
    """Add sines and cosines of the position, then apply dropout (Vaswani et al. 2017, sections 3.5 and 5.4).

    ``x[p, 2 i] + sin(p / 10000**(2 i / d_model))`` and ``x[p, 2 i + 1] + cos(...)``. The length is not limited, and the
    `state_dict` is empty.

    Parameters
    ----------
    d_model : int
        The number of features.
    dropout : float
    batch_first : bool
        Whether the input is (N, L, d_model) rather than (L, N, d_model); as of the transformer layers.
    """

    def __init__(self, d_model: int, dropout: float = 0.1, batch_first: bool = False) -> None:
        super().__init__()
        self.d_model = positive_int(d_model, "PositionalEncoding: d_model")
        if not 0.0 <= dropout <= 1.0:
            raise ArgumentError(f"PositionalEncoding: dropout must be from 0 to 1, got {dropout}")
        self.dropout, self.batch_first = float(dropout), bool(batch_first)

    def forward(self, input: Tensor) -> Tensor:
        """The same shape: (L, N, d_model), with `batch_first` (N, L, d_model), or (L, d_model)."""
        shape = shape_of(input)
        if len(shape) not in (2, 3) or shape[-1] != self.d_model:
            raise ShapeError(f"PositionalEncoding({self.d_model}): an input of shape {list(shape)}; expected "
                             f"(L, {self.d_model}) or three axes")
        by_time = len(shape) == 3 and not self.batch_first
        dtype = input.dtype if isinstance(input, Tensor) and input.is_floating else "float32"
        table = functions.sinusoidal_positions(shape[0] if by_time or len(shape) == 2 else shape[1], self.d_model,
                                               dtype=dtype)
        return F.dropout(input + (functions.expand_dims(table, 1) if by_time else table), self.dropout, self.training)

    def extra_repr(self) -> str:
        """The arguments."""
        return f"{self.d_model}, dropout={self.dropout}, batch_first={self.batch_first}"
