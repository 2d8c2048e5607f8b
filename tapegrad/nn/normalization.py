"""Normalisation layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from .. import functions
from ..errors import ArgumentError, ShapeError
from ..tensor.tensor import Tensor
from .module import Module
from .parameter import Parameter, float_dtype
from .pooling_functions import local_response_norm
from .shapes import positive_int

__all__ = [
    "BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "GroupNorm", "InstanceNorm1d", "InstanceNorm2d", "InstanceNorm3d",
    "LayerNorm", "LocalResponseNorm", "RMSNorm", "CrossMapLRN2d", "SyncBatchNorm",
]  # fmt: skip


class _Affine(Module):
    """The base of normalisation layers: a weight of ones and a bias of zeros, or None."""

    weight: Parameter | None
    bias: Parameter | None

    def _make(self, shape: tuple[int, ...], weight: bool, bias: bool, dtype: np.dtype) -> None:
        self.register_parameter("weight", Parameter(np.ones(shape, dtype), dtype=dtype) if weight else None)
        self.register_parameter("bias", Parameter(np.zeros(shape, dtype), dtype=dtype) if bias else None)

    def reset_parameters(self) -> None:
        """Set the weight to ones and the bias to zeros."""
        if self.weight is not None:
            self.weight.copy_(np.ones(self.weight.shape))
        if self.bias is not None:
            self.bias.copy_(np.zeros(self.bias.shape))


class LayerNorm(_Affine):
    """``weight * (x - mean) / sqrt(var + eps) + bias`` over the last axes (Ba et al. 2016).

    Parameters
    ----------
    normalized_shape : int or sequence of int
        The last axes of the input.
    eps : float
    elementwise_affine : bool
        Whether there are weight and bias.
    bias : bool
        Whether there is a bias.
    dtype : float32 or float64

    Attributes
    ----------
    weight, bias : Parameter, shape normalized_shape, or None
    """

    def __init__(self, normalized_shape: int | Sequence[int], eps: float = 1e-5, elementwise_affine: bool = True,
                 bias: bool = True, dtype: DTypeLike | None = None) -> None:
        super().__init__()
        self.normalized_shape = _shape(normalized_shape, "LayerNorm")
        self.eps, self.elementwise_affine = float(eps), bool(elementwise_affine)
        self._make(self.normalized_shape, elementwise_affine, elementwise_affine and bias,
                   float_dtype(dtype, "LayerNorm"))

    def forward(self, input: Tensor) -> Tensor:
        """The same shape, (..., *normalized_shape)."""
        return functions.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """PyTorch's."""
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class RMSNorm(_Affine):
    """``weight * x / sqrt(mean(x^2) + eps)`` over the last axes (Zhang and Sennrich 2019).

    Parameters
    ----------
    normalized_shape : int or sequence of int
        The last axes of the input.
    eps : float, optional
        The machine epsilon of the input's dtype if not given.
    elementwise_affine : bool
        Whether there is a weight.
    dtype : float32 or float64

    Attributes
    ----------
    weight : Parameter, shape normalized_shape, or None
    """

    def __init__(self, normalized_shape: int | Sequence[int], eps: float | None = None,
                 elementwise_affine: bool = True, dtype: DTypeLike | None = None) -> None:
        super().__init__()
        self.normalized_shape = _shape(normalized_shape, "RMSNorm")
        self.eps, self.elementwise_affine = eps, bool(elementwise_affine)
        dtype = float_dtype(dtype, "RMSNorm")
        self.register_parameter(
            "weight", Parameter(np.ones(self.normalized_shape, dtype), dtype=dtype) if elementwise_affine else None)

    def reset_parameters(self) -> None:
        """Set the weight to ones."""
        if self.weight is not None:
            self.weight.copy_(np.ones(self.weight.shape))

    def forward(self, input: Tensor) -> Tensor:
        """The same shape, (..., *normalized_shape)."""
        return functions.rms_norm(input, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        """PyTorch's."""
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class LocalResponseNorm(Module):
    """`functional.local_response_norm`.

    Parameters
    ----------
    size : int
        Channels of the mean.
    alpha, beta, k : float
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        super().__init__()
        self.size, self.alpha, self.beta, self.k = positive_int(size, "LocalResponseNorm: size"), alpha, beta, k

    def forward(self, input: Tensor) -> Tensor:
        """The same shape, (N, C, L, ...)."""
        return local_response_norm(input, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        """PyTorch's."""
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"


class CrossMapLRN2d(LocalResponseNorm):
    """`LocalResponseNorm` of images, by its older name.

    Parameters
    ----------
    size : int
        Channels of the mean, an odd number.
    alpha, beta, k : float

    Notes
    -----
    PyTorch's (2.13) never lets the first channel out of its running sum, so that from channel ``(size + 1) / 2`` on its
    values are others, and its gradients are not those of its values. Here both are those of the formula.
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        super().__init__(size, alpha, beta, k)
        if self.size % 2 == 0:
            raise ArgumentError(f"CrossMapLRN2d: size must be odd, for as many channels to either side, not {size}")

    def forward(self, input: Tensor) -> Tensor:
        """The same shape, (N, C, H, W)."""
        if input.ndim != 4:
            raise ShapeError(f"CrossMapLRN2d: an input of shape {list(input.shape)}; expected (N, C, H, W)")
        return super().forward(input)


class GroupNorm(_Affine):
    """Normalise each sample's groups of channels (Wu and He 2018).

    Parameters
    ----------
    num_groups : int
        A divisor of `num_channels`.
    num_channels : int
        The input's axis 1.
    eps : float
    affine : bool
        Whether there are weight and bias.
    bias : bool
        Whether there is a bias if `affine`.
    dtype : float32 or float64

    Attributes
    ----------
    weight, bias : Parameter, shape (num_channels,), or None
    """

    def __init__(self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True,
                 dtype: DTypeLike | None = None, *, bias: bool = True) -> None:
        super().__init__()
        self.num_groups = positive_int(num_groups, "GroupNorm: num_groups")
        self.num_channels = positive_int(num_channels, "GroupNorm: num_channels")
        if self.num_channels % self.num_groups:
            raise ArgumentError(f"GroupNorm: {num_channels} channels do not divide into {num_groups} groups")
        self.eps, self.affine = float(eps), bool(affine)
        self._make((self.num_channels,), affine, affine and bias, float_dtype(dtype, "GroupNorm"))

    def forward(self, input: Tensor) -> Tensor:
        """The same shape, (N, num_channels, ...)."""
        return functions.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """PyTorch's."""
        return f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}"


class _Channels(_Affine):
    """Normalisation by channel, for inputs of certain ranks."""

    _ranks: tuple[int, ...] = ()
    _form = ""

    def _check(self, input: Any) -> None:
        if input.ndim not in self._ranks or input.shape[1] != self.num_features:
            raise ShapeError(f"{type(self).__name__}({self.num_features}): an input of shape {list(input.shape)}; "
                             f"expected {self._form} with C = {self.num_features}")


class _Tracked(_Channels):
    """The base of layers with running statistics."""

    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(self, num_features: int, eps: float, momentum: float | None, affine: bool, track_running_stats: bool,
                 dtype: DTypeLike | None, *, bias: bool) -> None:
        super().__init__()
        name = type(self).__name__
        self.num_features = positive_int(num_features, f"{name}: num_features")
        self.eps, self.momentum, self.affine = float(eps), momentum, bool(affine)
        self.track_running_stats = bool(track_running_stats)
        dtype = float_dtype(dtype, name)
        self._make((self.num_features,), affine, affine and bias, dtype)
        tracked = self.track_running_stats
        self.register_buffer("running_mean", np.zeros(num_features, dtype) if tracked else None)
        self.register_buffer("running_var", np.ones(num_features, dtype) if tracked else None)
        self.register_buffer("num_batches_tracked", np.zeros((), np.int64) if tracked else None)

    def reset_running_stats(self) -> None:
        """Set the running mean to 0, the variance to 1, the number of batches to 0."""
        if self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None:
            self.running_mean.copy_(np.zeros(self.num_features))
            self.running_var.copy_(np.ones(self.num_features))
            self.num_batches_tracked.copy_(np.zeros((), np.int64))

    def extra_repr(self) -> str:
        """PyTorch's."""
        return (f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
                f"track_running_stats={self.track_running_stats}")


class _InstanceNorm(_Tracked):
    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float = 0.1, affine: bool = False,
                 track_running_stats: bool = False, dtype: DTypeLike | None = None, *, bias: bool = True) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, dtype, bias=bias)

    def forward(self, input: Tensor) -> Tensor:
        """The same shape."""
        alone = input.ndim + 1 in self._ranks
        batch = functions.expand_dims(input, 0) if alone else input
        self._check(batch)
        result = functions.instance_norm(
            batch, self.running_mean, self.running_var, self.weight, self.bias,
            self.training or self.running_mean is None, 0.0 if self.momentum is None else self.momentum, self.eps)
        return result[0] if alone else result


class InstanceNorm1d(_InstanceNorm):
    """Normalise each channel of each sample of (N, C, L) or (C, L) (Ulyanov et al. 2016).

    Parameters
    ----------
    num_features : int
        C.
    eps : float
    momentum : float
        Weight of the new batch in the running statistics.
    affine : bool
        Whether there are weight and bias.
    bias : bool
        Whether there is a bias if `affine`.
    track_running_stats : bool
        Whether there are running statistics, the means over the samples of theirs, by which evaluation normalises.
    dtype : float32 or float64

    Attributes
    ----------
    weight, bias : Parameter, shape (num_features,), or None
    running_mean, running_var : Tensor, shape (num_features,), or None
    num_batches_tracked : Tensor of int64, shape (), or None
        Stays 0, as PyTorch's.
    """

    _ranks, _form = (3,), "(N, C, L)"


class InstanceNorm2d(_InstanceNorm):
    """`InstanceNorm1d` for (N, C, H, W)."""

    _ranks, _form = (4,), "(N, C, H, W)"


class InstanceNorm3d(_InstanceNorm):
    """`InstanceNorm1d` for (N, C, D, H, W)."""

    _ranks, _form = (5,), "(N, C, D, H, W)"


class _BatchNorm(_Tracked):
    sync = False

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = True,
                 track_running_stats: bool = True, dtype: DTypeLike | None = None, *, bias: bool = True,
                 sync: bool = False) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, dtype, bias=bias)
        self.sync = bool(sync)

    def forward(self, input: Tensor) -> Tensor:
        """The same shape."""
        self._check(input)
        return functions.batch_norm(
            input, self.running_mean, self.running_var, self.weight, self.bias,
            self.training or self.running_mean is None, self.momentum, self.eps,
            num_batches_tracked=self.num_batches_tracked, sync=self.sync)


class BatchNorm1d(_BatchNorm):
    """Normalise each channel of (N, C) or (N, C, L) over the batch (Ioffe and Szegedy 2015).

    In evaluation mode by the running statistics; with a frozen weight nothing is then saved for the reverse walk.

    Parameters
    ----------
    num_features : int
        C.
    eps : float
    momentum : float or None
        Weight of the new batch in the running statistics; None for the mean over all batches.
    affine : bool
        Whether there are weight and bias.
    bias : bool
        Whether there is a bias if `affine`.
    track_running_stats : bool
        Whether there are running statistics; without them, evaluation uses the batch's.
    dtype : float32 or float64
    sync : bool, default False
        Whether statistics in training are those of the rows of all ranks, with ``TrainStep(comm=...)``.

    Attributes
    ----------
    weight, bias : Parameter, shape (num_features,), or None
    running_mean, running_var : Tensor, shape (num_features,), or None
        Buffers, updated by every call in training mode and by every replay of a recorded step.
    num_batches_tracked : Tensor of int64, shape (), or None
    """

    _ranks, _form = (2, 3), "(N, C) or (N, C, L)"


class BatchNorm2d(_BatchNorm):
    """`BatchNorm1d` for (N, C, H, W)."""

    _ranks, _form = (4,), "(N, C, H, W)"


class BatchNorm3d(_BatchNorm):
    """`BatchNorm1d` for (N, C, D, H, W)."""

    _ranks, _form = (5,), "(N, C, D, H, W)"


class SyncBatchNorm(_BatchNorm):
    """`BatchNorm1d` to `BatchNorm3d` with ``sync=True``, whose other arguments it has, by PyTorch's name."""

    _ranks, _form = (2, 3, 4, 5), "(N, C, ...)"

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = True,
                 track_running_stats: bool = True, dtype: DTypeLike | None = None, *, bias: bool = True) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, dtype, bias=bias, sync=True)

    @classmethod
    def convert_sync_batchnorm(cls, module: Module) -> Module:
        """The module itself, whose batch normalisations, at any depth, take the statistics of all ranks from now on."""
        for layer in module.modules():
            if isinstance(layer, _BatchNorm):
                layer.sync = True
        return module


def _shape(normalized_shape: int | Sequence[int], name: str) -> tuple[int, ...]:
    given = (normalized_shape,) if isinstance(normalized_shape, (int, np.integer)) else tuple(normalized_shape)
    return tuple(positive_int(n, f"{name}: normalized_shape") for n in given)
