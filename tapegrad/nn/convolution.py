"""Convolution and transposed convolution layers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from ..errors import ArgumentError, ShapeError
from ..functions.convolution import Extent, convolve, convolve_back, edges, extents
from ..functions.padding import surround
from ..tensor.tensor import Tensor
from . import init
from .module import Module
from .parameter import Parameter, float_dtype
from .shapes import positive_int, shape_of

__all__ = ["Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d"]

_MODES = ("zeros", "reflect", "replicate", "circular")


class _Kernel(Module):
    """The base of convolutions and transposed ones: channels, kernel, weight and bias."""

    _axes = 0
    bias: Parameter | None

    def _make(self, in_channels: int, out_channels: int, kernel_size: Extent, stride: Extent, dilation: Extent,
              groups: int, bias: bool, dtype: DTypeLike | None, transposed: bool) -> None:
        name, axes = type(self).__name__, self._axes
        self.in_channels = positive_int(in_channels, f"{name}: in_channels")
        self.out_channels = positive_int(out_channels, f"{name}: out_channels")
        self.groups = positive_int(groups, f"{name}: groups")
        if in_channels % groups or out_channels % groups:
            raise ArgumentError(f"{name}: {in_channels} input and {out_channels} output channels do not divide into "
                                f"{groups} groups")
        self.kernel_size = extents(name, "kernel_size", kernel_size, axes, 1)
        self.stride = extents(name, "stride", stride, axes, 1)
        self.dilation = extents(name, "dilation", dilation, axes, 1)
        dtype = float_dtype(dtype, name)
        most, least = (self.in_channels, self.out_channels) if transposed else (self.out_channels, self.in_channels)
        shape = (most, least // self.groups, *self.kernel_size)
        self.weight = Parameter(np.empty(shape, dtype), dtype=dtype)
        self.register_parameter(
            "bias", Parameter(np.empty(self.out_channels, dtype), dtype=dtype) if bias else None
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias anew."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            bound = 1 / math.sqrt(math.prod(self.weight.shape[1:]))
            init.uniform_(self.bias, -bound, bound)

    def extra_repr(self) -> str:
        """PyTorch's."""
        zeros, ones = (0,) * self._axes, (1,) * self._axes
        parts = [f"{self.in_channels}, {self.out_channels}", f"kernel_size={self.kernel_size}",
                 f"stride={self.stride}"]
        for label, plain in (("padding", zeros), ("dilation", ones), ("output_padding", zeros), ("groups", 1)):
            if getattr(self, label, plain) != plain:
                parts.append(f"{label}={getattr(self, label)}")
        if self.bias is None:
            parts.append("bias=False")
        if self.padding_mode != "zeros":
            parts.append(f"padding_mode={self.padding_mode}")
        return ", ".join(parts)


class _Conv(_Kernel):
    def __init__(self, in_channels: int, out_channels: int, kernel_size: Extent, stride: Extent = 1,
                 padding: Extent | str = 0, dilation: Extent = 1, groups: int = 1, bias: bool = True,
                 padding_mode: str = "zeros", dtype: DTypeLike | None = None) -> None:
        super().__init__()
        name = type(self).__name__
        if padding_mode not in _MODES:
            raise ArgumentError(f"{name}: padding_mode must be one of {', '.join(map(repr, _MODES))}, not "
                                f"{padding_mode!r}")
        self.padding_mode = padding_mode
        self._make(in_channels, out_channels, kernel_size, stride, dilation, groups, bias, dtype, False)
        around = edges(name, padding, self.kernel_size, self.stride, self.dilation)
        self.padding: Any = padding if isinstance(padding, str) else tuple(p for p, _ in around)
        self._widths = [p for pair in reversed(around) for p in pair]

    def forward(self, input: Tensor) -> Tensor:
        """From (N, in_channels, ...) to (N, out_channels, ...)."""
        name, padding = type(self).__name__, self.padding
        if self.padding_mode != "zeros":
            shape = shape_of(input)
            if len(shape) not in (self._axes + 1, self._axes + 2):
                raise ShapeError(f"{name}: an input of shape {list(shape)} does not fit a weight of "
                                 f"{list(self.weight.shape)}")
            input, padding = surround(name, input, self._widths, self.padding_mode, None), 0
        return convolve(name, self._axes, input, self.weight, self.bias, self.stride, padding, self.dilation,
                        self.groups)


class Conv2d(_Conv):
    """Cross-correlation over the last two axes: from (N, C, H, W) to (N, O, HO, WO).

    Parameters
    ----------
    in_channels, out_channels : int
        C and O.
    kernel_size, stride, dilation : int or (int, int)
    padding : int, (int, int), "same" or "valid"
    groups : int
        A divisor of C and O; C for depthwise convolution.
    bias : bool
        Whether to add a bias.
    padding_mode : {"zeros", "reflect", "replicate", "circular"}
        Contents of the padding; see `nn.functional.pad`.
    dtype : float32 or float64

    Attributes
    ----------
    weight : Parameter, shape (out_channels, in_channels / groups, *kernel_size)
        Drawn from U(-b, b), b = 1 / sqrt of the elements of one output channel's kernel, as in PyTorch.
    bias : Parameter, shape (out_channels,), or None
        Drawn from the same distribution.
    """

    _axes = 2


class Conv1d(_Conv):
    """`Conv2d` over one axis: from (N, C, L) to (N, O, LO)."""

    _axes = 1


class Conv3d(_Conv):
    """`Conv2d` over three axes: from (N, C, D, H, W) to (N, O, DO, HO, WO)."""

    _axes = 3


class _ConvTranspose(_Kernel):
    def __init__(self, in_channels: int, out_channels: int, kernel_size: Extent, stride: Extent = 1,
                 padding: Extent = 0, output_padding: Extent = 0, groups: int = 1, bias: bool = True,
                 dilation: Extent = 1, padding_mode: str = "zeros", dtype: DTypeLike | None = None) -> None:
        super().__init__()
        name = type(self).__name__
        if padding_mode != "zeros":
            raise ArgumentError(f"{name}: padding_mode must be 'zeros', not {padding_mode!r}")
        self.padding_mode = padding_mode
        self._make(in_channels, out_channels, kernel_size, stride, dilation, groups, bias, dtype, True)
        self.padding = extents(name, "padding", padding, self._axes, 0)
        self.output_padding = extents(name, "output_padding", output_padding, self._axes, 0)

    def forward(self, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        """From (N, in_channels, ...) to (N, out_channels, ...).

        With `output_size`, the extents of the result (its whole shape, or the last axes), the `output_padding` that
        they require replaces the layer's.
        """
        name, behind = type(self).__name__, self.output_padding
        if output_size is not None:
            behind = self._behind(shape_of(input), [int(n) for n in output_size])
        return convolve_back(name, self._axes, input, self.weight, self.bias, self.stride, self.padding, behind,
                             self.groups, self.dilation)

    def _behind(self, shape: tuple[int, ...], size: list[int]) -> tuple[int, ...]:
        """The output padding for a result of extents `size`."""
        wanted = size[-self._axes:] if len(size) in (self._axes, len(shape)) else []
        least = [(n - 1) * s - 2 * p + d * (k - 1) + 1 for n, s, p, d, k in zip(
            shape[-self._axes:], self.stride, self.padding, self.dilation, self.kernel_size)]
        if not wanted or any(not n <= m < n + s for m, n, s in zip(wanted, least, self.stride)):
            most = [n + s - 1 for n, s in zip(least, self.stride)]
            raise ShapeError(f"{type(self).__name__}: output_size {size} does not fit an input of shape {list(shape)}; "
                             f"its extents can be {least} to {most}")
        return tuple(m - n for m, n in zip(wanted, least))


class ConvTranspose2d(_ConvTranspose):
    """Transposed convolution over the last two axes: from (N, C, H, W) to (N, O, HO, WO).

    Parameters
    ----------
    in_channels, out_channels : int
        C and O.
    kernel_size, stride, dilation : int or (int, int)
    padding : int or (int, int)
        What is cropped on both sides of an axis of the result.
    output_padding : int or (int, int)
        What the result has more behind, less than the stride or the dilation.
    groups : int
        A divisor of C and O.
    bias : bool
        Whether to add a bias.
    padding_mode : {"zeros"}
    dtype : float32 or float64

    Attributes
    ----------
    weight : Parameter, shape (in_channels, out_channels / groups, *kernel_size)
        Drawn from U(-b, b), b = 1 / sqrt of the elements of one input channel's kernel, as in PyTorch.
    bias : Parameter, shape (out_channels,), or None
        Drawn from the same distribution.
    """

    _axes = 2


class ConvTranspose1d(_ConvTranspose):
    """`ConvTranspose2d` over one axis: from (N, C, L) to (N, O, LO)."""

    _axes = 1


class ConvTranspose3d(_ConvTranspose):
    """`ConvTranspose2d` over three axes: from (N, C, D, H, W) to (N, O, DO, HO, WO)."""

    _axes = 3
