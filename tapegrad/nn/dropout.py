"""Dropout."""

from __future__ import annotations

from ..errors import ArgumentError
from ..tensor.tensor import Tensor
from . import functional as F
from .module import Module

__all__ = ["Dropout"]


class Dropout(Module):
    """In training, zero each element with probability `p` and divide the others by ``1 - p`` (Hinton, 2012).

    Parameters
    ----------
    p : float
        From 0 to 1.
    inplace : bool
        Ignored: the memory plan of a recorded program reuses buffers in place by itself.
    """

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        if not 0.0 <= p <= 1.0:
            raise ArgumentError(f"Dropout: p must be from 0 to 1, got {p}")
        self.p, self.inplace = p, inplace

    def forward(self, input: Tensor) -> Tensor:
        """The same shape; in evaluation mode the input itself."""
        return F.dropout(input, self.p, self.training)

    def extra_repr(self) -> str:
        """PyTorch's."""
        return f"p={self.p}, inplace={self.inplace}"
