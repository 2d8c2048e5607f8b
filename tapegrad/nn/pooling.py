"""Pooling layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import functions
from ..functions.convolution import Extent
from ..tensor.tensor import Tensor
from . import pooling_functions
from .module import Module

__all__ = [
    "AdaptiveAvgPool1d", "AdaptiveAvgPool2d", "AdaptiveAvgPool3d", "AdaptiveMaxPool1d", "AdaptiveMaxPool2d",
    "AdaptiveMaxPool3d", "AvgPool1d", "AvgPool2d", "AvgPool3d", "LPPool1d", "LPPool2d", "LPPool3d", "MaxPool1d",
    "MaxPool2d", "MaxPool3d", "MaxUnpool1d", "MaxUnpool2d", "MaxUnpool3d",
]  # fmt: skip


class _MaxPool(Module):
    _function: Callable[..., Any]

    def __init__(self, kernel_size: Extent, stride: Extent | None = None, padding: Extent = 0, dilation: Extent = 1,
                 return_indices: bool = False, ceil_mode: bool = False) -> None:
        super().__init__()
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.dilation = padding, dilation
        self.return_indices, self.ceil_mode = return_indices, ceil_mode

    def forward(self, input: Tensor) -> Any:
        """The maximum of each window; with `return_indices` a tuple of the maxima and their places."""
        return type(self)._function(input, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode,
                                    self.return_indices)

    def extra_repr(self) -> str:
        """PyTorch's."""
        return (f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
                f"dilation={self.dilation}, ceil_mode={self.ceil_mode}")


class MaxPool2d(_MaxPool):
    """Maximum of each window: from (N, C, H, W) to (N, C, HO, WO).

    Parameters
    ----------
    kernel_size, dilation : int or (int, int)
    stride : int or (int, int), optional
        `kernel_size` if not given.
    padding : int or (int, int)
        At most half of the window; never the maximum.
    return_indices : bool
        Whether to give the places of the maxima too, for `MaxUnpool2d`.
    ceil_mode : bool
        Whether a last window may extend beyond the edge.
    """

    _function = functions.max_pool2d


class MaxPool1d(_MaxPool):
    """`MaxPool2d` over one axis: from (N, C, L) to (N, C, LO)."""

    _function = functions.max_pool1d


class MaxPool3d(_MaxPool):
    """`MaxPool2d` over three axes: from (N, C, D, H, W) to (N, C, DO, HO, WO)."""

    _function = pooling_functions.max_pool3d


class AvgPool2d(Module):
    """Mean of each window: from (N, C, H, W) to (N, C, HO, WO).

    Parameters
    ----------
    kernel_size : int or (int, int)
    stride : int or (int, int), optional
        `kernel_size` if not given.
    padding : int or (int, int)
        Zeros around the input, at most half of the window.
    ceil_mode : bool
        Whether a last window may extend beyond the edge.
    count_include_pad : bool
        Whether padded zeros count as elements.
    divisor_override : int, optional
        Divide by this instead.
    """

    _function: Callable[..., Tensor] = functions.avg_pool2d

    def __init__(self, kernel_size: Extent, stride: Extent | None = None, padding: Extent = 0,
                 ceil_mode: bool = False, count_include_pad: bool = True,
                 divisor_override: int | None = None) -> None:
        super().__init__()
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.ceil_mode = padding, ceil_mode
        self.count_include_pad, self.divisor_override = count_include_pad, divisor_override

    def forward(self, input: Tensor) -> Tensor:
        """The mean of each window."""
        return type(self)._function(input, self.kernel_size, self.stride, self.padding, self.ceil_mode,
                                    self.count_include_pad, self.divisor_override)

    def extra_repr(self) -> str:
        """PyTorch's."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool3d(AvgPool2d):
    """`AvgPool2d` over three axes: from (N, C, D, H, W) to (N, C, DO, HO, WO)."""

    _function = pooling_functions.avg_pool3d


class AvgPool1d(Module):
    """`AvgPool2d` over one axis, without `divisor_override`: from (N, C, L) to (N, C, LO)."""

    def __init__(self, kernel_size: Extent, stride: Extent | None = None, padding: Extent = 0,
                 ceil_mode: bool = False, count_include_pad: bool = True) -> None:
        super().__init__()
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.ceil_mode, self.count_include_pad = padding, ceil_mode, count_include_pad

    def forward(self, input: Tensor) -> Tensor:
        """The mean of each window."""
        return functions.avg_pool1d(input, self.kernel_size, self.stride, self.padding, self.ceil_mode,
                                    self.count_include_pad)

    def extra_repr(self) -> str:
        """PyTorch's."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class _Adaptive(Module):
    _function: Callable[..., Tensor]

    def __init__(self, output_size: Any) -> None:
        super().__init__()
        self.output_size = output_size

    def forward(self, input: Tensor) -> Tensor:
        """Means of windows that cover the input."""
        return type(self)._function(input, self.output_size)

    def extra_repr(self) -> str:
        """PyTorch's."""
        return f"output_size={self.output_size}"


class AdaptiveAvgPool2d(_Adaptive):
    """Mean pooling to a given output size: from (N, C, H, W) to (N, C, *output_size).

    Parameters
    ----------
    output_size : int or (int or None, int or None)
        None keeps the input's extent.
    """

    _function = functions.adaptive_avg_pool2d


class AdaptiveAvgPool1d(_Adaptive):
    """`AdaptiveAvgPool2d` over one axis: from (N, C, L) to (N, C, output_size)."""

    _function = functions.adaptive_avg_pool1d


class AdaptiveAvgPool3d(_Adaptive):
    """`AdaptiveAvgPool2d` over three axes: from (N, C, D, H, W) to (N, C, *output_size)."""

    _function = pooling_functions.adaptive_avg_pool3d


class _AdaptiveMax(Module):
    _function: Callable[..., Any]

    def __init__(self, output_size: Any, return_indices: bool = False) -> None:
        super().__init__()
        self.output_size, self.return_indices = output_size, return_indices

    def forward(self, input: Tensor) -> Any:
        """Maxima of windows that cover the input; with `return_indices` a tuple of them and their places."""
        return type(self)._function(input, self.output_size, self.return_indices)

    def extra_repr(self) -> str:
        """PyTorch's."""
        return f"output_size={self.output_size}"


class AdaptiveMaxPool2d(_AdaptiveMax):
    """Maximum pooling to a given output size: from (N, C, H, W) to (N, C, *output_size).

    Parameters
    ----------
    output_size : int or (int or None, int or None)
        None keeps the input's extent.
    return_indices : bool
        Whether to give the places of the maxima too.
    """

    _function = pooling_functions.adaptive_max_pool2d


class AdaptiveMaxPool1d(_AdaptiveMax):
    """`AdaptiveMaxPool2d` over one axis: from (N, C, L) to (N, C, output_size)."""

    _function = pooling_functions.adaptive_max_pool1d


class AdaptiveMaxPool3d(_AdaptiveMax):
    """`AdaptiveMaxPool2d` over three axes: from (N, C, D, H, W) to (N, C, *output_size)."""

    _function = pooling_functions.adaptive_max_pool3d


class _LPPool(Module):
    _function: Callable[..., Tensor]

    def __init__(self, norm_type: float, kernel_size: Extent, stride: Extent | None = None,
                 ceil_mode: bool = False) -> None:
        super().__init__()
        self.norm_type, self.kernel_size, self.stride, self.ceil_mode = norm_type, kernel_size, stride, ceil_mode

    def forward(self, input: Tensor) -> Tensor:
        """The p-norm of each window."""
        return type(self)._function(input, float(self.norm_type), self.kernel_size, self.stride, self.ceil_mode)

    def extra_repr(self) -> str:
        """PyTorch's."""
        return (f"norm_type={self.norm_type}, kernel_size={self.kernel_size}, stride={self.stride}, "
                f"ceil_mode={self.ceil_mode}")


class LPPool1d(_LPPool):
    """`functional.lp_pool1d`."""

    _function = pooling_functions.lp_pool1d


class LPPool2d(_LPPool):
    """`functional.lp_pool2d`."""

    _function = pooling_functions.lp_pool2d


class LPPool3d(_LPPool):
    """`functional.lp_pool3d`."""

    _function = pooling_functions.lp_pool3d


class _MaxUnpool(Module):
    _function: Callable[..., Tensor]

    def __init__(self, kernel_size: Extent, stride: Extent | None = None, padding: Extent = 0) -> None:
        super().__init__()
        self.kernel_size, self.stride, self.padding = kernel_size, kernel_size if stride is None else stride, padding

    def forward(self, input: Tensor, indices: Tensor, output_size: Any = None) -> Tensor:
        """The maxima in their places, among zeros."""
        return type(self)._function(input, indices, self.kernel_size, self.stride, self.padding, output_size)

    def extra_repr(self) -> str:
        """PyTorch's."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxUnpool1d(_MaxUnpool):
    """`functional.max_unpool1d`."""

    _function = pooling_functions.max_unpool1d


class MaxUnpool2d(_MaxUnpool):
    """`functional.max_unpool2d`."""

    _function = pooling_functions.max_unpool2d


class MaxUnpool3d(_MaxUnpool):
    """`functional.max_unpool3d`."""

    _function = pooling_functions.max_unpool3d
