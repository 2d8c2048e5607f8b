"""Losses as modules, by PyTorch's names and arguments; for the formulas see `loss_functions`."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from ..errors import ArgumentError, ShapeError
from ..tensor.tensor import Tensor
from . import functional as F
from .linear import Linear
from .loss_functions import KL_REDUCTIONS, REDUCTIONS, require_reduction
from .module import Module
from .shapes import positive_int

__all__ = [
    "BCELoss", "BCEWithLogitsLoss", "CTCLoss", "CrossEntropyLoss", "HuberLoss", "KLDivLoss", "L1Loss", "MSELoss",
    "LinearCrossEntropyLoss", "NLLLoss", "SmoothL1Loss", "GaussianNLLLoss", "MultiLabelMarginLoss",
    "MultiLabelSoftMarginLoss", "MultiMarginLoss", "PoissonNLLLoss", "SoftMarginLoss",
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


class LinearCrossEntropyLoss(_WeightedLoss):
    """`functional.linear_cross_entropy`, with the linear layer, whose parameters are ``linear.weight`` and, if there is
    a `bias`, ``linear.bias``.

    Parameters
    ----------
    in_features, num_classes : int
    out_features : tuple of int
        The further axes (d1, ...) of the scores (N, C, d1, ...).
    bias : bool, default False
    dtype : float32 or float64
    weight, ignore_index, label_smoothing, reduction
        See `functional.cross_entropy`.
    """

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        *,
        out_features: Sequence[int] = (),
        bias: bool = False,
        dtype: DTypeLike | None = None,
        reduction: str = "mean",
        weight: ArrayLike | Tensor | None = None,
        ignore_index: int | None = None,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(weight, reduction=reduction)
        self.num_classes, self.out_features = positive_int(num_classes, "LinearCrossEntropyLoss: num_classes"), tuple(
            positive_int(n, "LinearCrossEntropyLoss: out_features") for n in out_features)
        if weight is not None and np.shape(weight) != (self.num_classes,):
            raise ShapeError(f"LinearCrossEntropyLoss: a weight of shape {list(np.shape(weight))} for "
                             f"{self.num_classes} classes")
        self.ignore_index, self.label_smoothing = ignore_index, label_smoothing
        self.linear = Linear(in_features, math.prod(self.out_features, start=self.num_classes), bias, dtype=dtype)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """A scalar, or with reduction "none" one loss a row."""
        scores, linear = (self.num_classes, *self.out_features), self.linear
        return F.linear_cross_entropy(
            input,
            linear.weight.reshape((*scores, linear.in_features)),
            target,
            linear_bias=None if linear.bias is None else linear.bias.reshape(scores),
            weight=self.weight,
            reduction=self.reduction,
            ignore_index=self.ignore_index,
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


class GaussianNLLLoss(_Loss):
    """`functional.gaussian_nll_loss`."""

    def __init__(self, *, full: bool = False, eps: float = 1e-6, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.full, self.eps = full, eps

    def forward(self, input: Tensor, target: Tensor, var: Tensor | float) -> Tensor:
        """A scalar, or with reduction "none" one loss an element."""
        return F.gaussian_nll_loss(input, target, var, self.full, self.eps, self.reduction)


class PoissonNLLLoss(_Loss):
    """`functional.poisson_nll_loss`."""

    def __init__(self, log_input: bool = True, full: bool = False, *, eps: float = 1e-8,
                 reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.log_input, self.full, self.eps = log_input, full, eps

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """A scalar, or with reduction "none" one loss an element."""
        return F.poisson_nll_loss(input, target, self.log_input, self.full, self.eps, self.reduction)


class SoftMarginLoss(_Loss):
    """`functional.soft_margin_loss`."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """A scalar, or with reduction "none" one loss an element."""
        return F.soft_margin_loss(input, target, reduction=self.reduction)


class MultiLabelSoftMarginLoss(_WeightedLoss):
    """`functional.multilabel_soft_margin_loss`."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """A scalar, or with reduction "none" one loss a row."""
        return F.multilabel_soft_margin_loss(input, target, self.weight, reduction=self.reduction)


class MultiLabelMarginLoss(_Loss):
    """`functional.multilabel_margin_loss`."""

    def forward(self, input: Tensor, target: ArrayLike) -> Tensor:
        """A scalar, or with reduction "none" one loss a row."""
        return F.multilabel_margin_loss(input, target, reduction=self.reduction)


class MultiMarginLoss(_WeightedLoss):
    """`functional.multi_margin_loss`."""

    def __init__(self, p: int = 1, margin: float = 1.0, weight: ArrayLike | Tensor | None = None, *,
                 reduction: str = "mean") -> None:
        super().__init__(weight, reduction=reduction)
        if p not in (1, 2):
            raise ArgumentError(f"MultiMarginLoss: p must be 1 or 2, got {p}")
        self.p, self.margin = p, margin

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """A scalar, or with reduction "none" one loss a row."""
        return F.multi_margin_loss(input, target, self.p, self.margin, self.weight, reduction=self.reduction)
