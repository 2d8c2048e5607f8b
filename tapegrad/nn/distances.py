"""Distances and metric learning losses as modules, by PyTorch's names; for the formulas see `metric_losses`."""

from __future__ import annotations

from collections.abc import Callable

from ..tensor.tensor import Tensor
from . import functional as F
from .losses import _Loss
from .module import Module

__all__ = [
    "ContrastiveLoss", "CosineEmbeddingLoss", "CosineSimilarity", "HingeEmbeddingLoss", "MarginRankingLoss",
    "NTXentLoss", "PairwiseDistance", "TripletMarginLoss", "TripletMarginWithDistanceLoss",
]  # fmt: skip


class CosineSimilarity(Module):
    """`functional.cosine_similarity`."""

    def __init__(self, dim: int = 1, eps: float = 1e-8) -> None:
        super().__init__()
        self.dim, self.eps = dim, eps

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        """The common shape without axis `dim`."""
        return F.cosine_similarity(x1, x2, self.dim, self.eps)


class PairwiseDistance(Module):
    """`functional.pairwise_distance`."""

    def __init__(self, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> None:
        super().__init__()
        self.norm, self.eps, self.keepdim = p, eps, keepdim

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        """The common shape without the last axis."""
        return F.pairwise_distance(x1, x2, self.norm, self.eps, self.keepdim)


class TripletMarginLoss(_Loss):
    """`functional.triplet_margin_loss`."""

    def __init__(
        self, margin: float = 1.0, p: float = 2.0, eps: float = 1e-6, swap: bool = False, *, reduction: str = "mean"
    ) -> None:
        super().__init__(reduction=reduction)
        self.margin, self.p, self.eps, self.swap = margin, p, eps, swap

    def forward(self, anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        """A scalar, or with reduction "none" one loss a triplet."""
        return F.triplet_margin_loss(
            anchor, positive, negative, self.margin, self.p, self.eps, self.swap, reduction=self.reduction
        )


class TripletMarginWithDistanceLoss(_Loss):
    """`functional.triplet_margin_with_distance_loss`."""

    def __init__(
        self, *, distance_function: Callable | None = None, margin: float = 1.0, swap: bool = False,
        reduction: str = "mean",
    ) -> None:  # fmt: skip
        super().__init__(reduction=reduction)
        self.distance_function, self.margin, self.swap = distance_function, margin, swap

    def forward(self, anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        """A scalar, or with reduction "none" one loss a triplet."""
        return F.triplet_margin_with_distance_loss(
            anchor, positive, negative, distance_function=self.distance_function, margin=self.margin,
            swap=self.swap, reduction=self.reduction,
        )  # fmt: skip


class _MarginLoss(_Loss):
    """A loss with a margin."""

    def __init__(self, margin: float, reduction: str) -> None:
        super().__init__(reduction=reduction)
        self.margin = margin


class CosineEmbeddingLoss(_MarginLoss):
    """`functional.cosine_embedding_loss`."""

    def __init__(self, margin: float = 0.0, *, reduction: str = "mean") -> None:
        super().__init__(margin, reduction)

    def forward(self, input1: Tensor, input2: Tensor, target: Tensor) -> Tensor:
        """A scalar, or with reduction "none" one loss a pair."""
        return F.cosine_embedding_loss(input1, input2, target, self.margin, reduction=self.reduction)


class MarginRankingLoss(_MarginLoss):
    """`functional.margin_ranking_loss`."""

    def __init__(self, margin: float = 0.0, *, reduction: str = "mean") -> None:
        super().__init__(margin, reduction)

    def forward(self, input1: Tensor, input2: Tensor, target: Tensor) -> Tensor:
        """A scalar, or with reduction "none" one loss an element."""
        return F.margin_ranking_loss(input1, input2, target, self.margin, reduction=self.reduction)


class HingeEmbeddingLoss(_MarginLoss):
    """`functional.hinge_embedding_loss`."""

    def __init__(self, margin: float = 1.0, *, reduction: str = "mean") -> None:
        super().__init__(margin, reduction)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """A scalar, or with reduction "none" one loss an element."""
        return F.hinge_embedding_loss(input, target, self.margin, reduction=self.reduction)


class ContrastiveLoss(_MarginLoss):
    """`functional.contrastive_loss`."""

    def __init__(self, margin: float = 1.0, *, reduction: str = "mean") -> None:
        super().__init__(margin, reduction)

    def forward(self, input1: Tensor, input2: Tensor, target: Tensor) -> Tensor:
        """A scalar, or with reduction "none" one loss a pair."""
        return F.contrastive_loss(input1, input2, target, self.margin, reduction=self.reduction)


class NTXentLoss(_Loss):
    """`functional.nt_xent_loss`."""

    def __init__(self, temperature: float = 0.5, *, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.temperature = temperature

    def forward(self, input1: Tensor, input2: Tensor) -> Tensor:
        """A scalar, or with reduction "none" one loss a view."""
        return F.nt_xent_loss(input1, input2, self.temperature, reduction=self.reduction)
