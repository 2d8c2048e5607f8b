"""Dropout."""

from __future__ import annotations

from ..errors import ArgumentError
from ..tensor.tensor import Tensor
from . import functional as F
from .module import Module

__all__ = ["AlphaDropout", "Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "FeatureAlphaDropout"]


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
            raise ArgumentError(f"{type(self).__name__}: p must be from 0 to 1, got {p}")
        self.p, self.inplace = p, inplace

    def forward(self, input: Tensor) -> Tensor:
        """The same shape; in evaluation mode the input itself."""
        return F.dropout(input, self.p, self.training)

    def extra_repr(self) -> str:
        """PyTorch's."""
        return f"p={self.p}, inplace={self.inplace}"


class Dropout1d(Dropout):
    """In training, zero each channel of (N, C, L) with probability `p` and divide the others by ``1 - p``.

    Parameters
    ----------
    p : float
        From 0 to 1.
    inplace : bool
        Ignored.
    """

    def forward(self, input: Tensor) -> Tensor:
        """The same shape; in evaluation mode the input itself."""
        return F.dropout1d(input, self.p, self.training)


class Dropout2d(Dropout):
    """`Dropout1d` for (N, C, H, W).

    Parameters
    ----------
    p : float
        From 0 to 1.
    inplace : bool
        Ignored.
    """

    def forward(self, input: Tensor) -> Tensor:
        """The same shape; in evaluation mode the input itself."""
        return F.dropout2d(input, self.p, self.training)


class Dropout3d(Dropout):
    """`Dropout1d` for (N, C, D, H, W).

    Parameters
    ----------
    p : float
        From 0 to 1.
    inplace : bool
        Ignored.
    """

    def forward(self, input: Tensor) -> Tensor:
        """The same shape; in evaluation mode the input itself."""
        return F.dropout3d(input, self.p, self.training)


class AlphaDropout(Dropout):
    """In training, set elements to the lowest value of SELU; keeps mean 0 and variance 1 (Klambauer, 2017).

    Parameters
    ----------
    p : float
        From 0 to 1.
    inplace : bool
        Ignored.
    """

    def forward(self, input: Tensor) -> Tensor:
        """The same shape; in evaluation mode the input itself."""
        return F.alpha_dropout(input, self.p, self.training)


class FeatureAlphaDropout(Dropout):
    """`AlphaDropout` of whole channels of (N, C, ...).

    Parameters
    ----------
    p : float
        From 0 to 1.
    inplace : bool
        Ignored.
    """

    def forward(self, input: Tensor) -> Tensor:
        """The same shape; in evaluation mode the input itself."""
        return F.feature_alpha_dropout(input, self.p, self.training)
