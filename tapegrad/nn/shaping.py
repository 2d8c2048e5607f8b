"""Layers that only reshape."""

from __future__ import annotations

from collections.abc import Sequence

from ..tensor.tensor import Tensor
from . import functional as F
from .module import Module

__all__ = ["Flatten", "Unflatten"]


class Flatten(Module):
    """Merge the axes from `start_dim` to `end_dim`, both included, into one; by default all but the batch axis."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, input: Tensor) -> Tensor:
        """A view; no arithmetic in either direction."""
        return F.flatten(input, self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        """PyTorch's."""
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """Split the axis `dim` into axes of `unflattened_size`; one size may be -1."""

    def __init__(self, dim: int, unflattened_size: Sequence[int]) -> None:
        super().__init__()
        self.dim, self.unflattened_size = dim, tuple(unflattened_size)

    def forward(self, input: Tensor) -> Tensor:
        """A view; no arithmetic in either direction."""
        return F.unflatten(input, self.dim, self.unflattened_size)

    def extra_repr(self) -> str:
        """PyTorch's."""
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"
