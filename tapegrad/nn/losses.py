"""Losses as modules, by PyTorch's names and arguments; for the formulas see `loss_functions`."""

from __future__ import annotations

from numpy.typing import ArrayLike

from ..tensor.tensor import Tensor
from . import functional as F
from .loss_functions import KL_REDUCTIONS, REDUCTIONS, require_reduction
from .module import Module

__all__ = [
    "BCELoss", "BCEWithLogitsLoss", "CTCLoss", "CrossEntropyLoss", "HuberLoss", "KLDivLoss", "L1Loss", "MSELoss",
    "NLLLoss", "SmoothL1Loss",
]  # fmt: skip


class _Loss(Module):
    """A loss and its reduction: "mean", "sum" or "none"."""

    _reductions: tuple[str, ...] = REDUCTIONS

    def __init__(self, *, reduction: str = "mean") -> None:
        super().__init__()
        require_reduction(reduction, type(self).__name__, self._reductions)
        self.reduction = reduction


class _WeightedLoss(_Loss):
    """A loss with a weight that is a buffer, as in PyTorch: saved and loaded, never trained."""

    def __init__(self, weight: ArrayLike | Tensor | None = None, *, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.register_buffer("weight", weight)


class MSELoss(_Loss):
    """`functional.mse_loss`."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """A scalar, or with reduction "none" one loss an element."""
        return F.mse_loss(input, target, reduction=self.reduction)


class L1Loss(_Loss):
    """`functional.l1_loss`."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """A scalar, or with reduction "none" one loss an element."""
        return F.l1_loss(input, target, reduction=self.reduction)


class HuberLoss(_Loss):
    """`functional.huber_loss`."""

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction=reduction)
        self.delta = delta

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """A scalar, or with reduction "none" one loss an element."""
        return F.huber_loss(input, target, reduction=self.reduction, delta=self.delta)


class SmoothL1Loss(_Loss):
    """`functional.smooth_l1_loss`."""

    def __init__(self, *, reduction: str = "mean", beta: float = 1.0) -> None:
        super().__init__(reduction=reduction)
        self.beta = beta

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """A scalar, or with reduction "none" one loss an element."""
        return F.smooth_l1_loss(input, target, reduction=self.reduction, beta=self.beta)


class CrossEntropyLoss(_WeightedLoss):
    """`functional.cross_entropy`."""

    def __init__(
        self,
        weight: ArrayLike | Tensor | None = None,
        *,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(weight, reduction=reduction)
        self.ignore_index, self.label_smoothing = ignore_index, label_smoothing

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """A scalar, or with reduction "none" one loss a row."""
        return F.cross_entropy(
            input,
            target,
            self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )


class NLLLoss(_WeightedLoss):
    """`functional.nll_loss`."""

    def __init__(
        self, weight: ArrayLike | Tensor | None = None, *, ignore_index: int = -100, reduction: str = "mean"
    ) -> None:
        super().__init__(weight, reduction=reduction)
        self.ignore_index = ignore_index

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """A scalar, or with reduction "none" one loss a row."""
        return F.nll_loss(
            input, target, self.weight, ignore_index=self.ignore_index, reduction=self.reduction
        )


class BCELoss(_WeightedLoss):
    """`functional.binary_cross_entropy`."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """A scalar, or with reduction "none" one loss an element."""
        return F.binary_cross_entropy(input, target, self.weight, reduction=self.reduction)


class BCEWithLogitsLoss(_WeightedLoss):
    """`functional.binary_cross_entropy_with_logits`."""

    def __init__(
        self,
        weight: ArrayLike | Tensor | None = None,
        *,
        reduction: str = "mean",
        pos_weight: ArrayLike | Tensor | None = None,
    ) -> None:
        super().__init__(weight, reduction=reduction)
        self.register_buffer("pos_weight", pos_weight)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """A scalar, or with reduction "none" one loss an element."""
        return F.binary_cross_entropy_with_logits(
            input, target, self.weight, reduction=self.reduction, pos_weight=self.pos_weight
        )


class KLDivLoss(_Loss):
    """`functional.kl_div`; its reduction may also be "batchmean"."""

    _reductions = KL_REDUCTIONS

    def __init__(self, *, reduction: str = "mean", log_target: bool = False) -> None:
        super().__init__(reduction=reduction)
        self.log_target = log_target

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """A scalar, or with reduction "none" one loss an element."""
        return F.kl_div(input, target, reduction=self.reduction, log_target=self.log_target)


class CTCLoss(_Loss):
    """`functional.ctc_loss`."""

    def __init__(self, blank: int = 0, reduction: str = "mean", zero_infinity: bool = False) -> None:
        super().__init__(reduction=reduction)
        self.blank, self.zero_infinity = blank, bool(zero_infinity)

    def forward(self, log_probs: Tensor, targets: ArrayLike | Tensor, input_lengths: ArrayLike | Tensor,
                target_lengths: ArrayLike | Tensor) -> Tensor:
        """A scalar, or with reduction "none" one loss a sample."""
        return F.ctc_loss(log_probs, targets, input_lengths, target_lengths, self.blank, self.reduction,
                          self.zero_infinity)
