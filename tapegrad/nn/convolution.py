"""Convolution layers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from .. import functions
from ..errors import ArgumentError
from ..functions.convolution import Extent, extents
from ..tensor import Tensor
from . import init
from .module import Module
from .parameter import Parameter, float_dtype
from .shapes import positive_int

__all__ = ["Conv1d", "Conv2d"]


class _Conv(Module):
    _axes = 0
    _function: Callable[..., Tensor]
    bias: Parameter | None

    def __init__(self, in_channels: int, out_channels: int, kernel_size: Extent, stride: Extent = 1,
                 padding: Extent | str = 0, dilation: Extent = 1, groups: int = 1, bias: bool = True,
                 padding_mode: str = "zeros", dtype: DTypeLike | None = None) -> None:
        super().__init__()
        name, axes = type(self).__name__, self._axes
        self.in_channels = positive_int(in_channels, f"{name}: in_channels")
        self.out_channels = positive_int(out_channels, f"{name}: out_channels")
        self.groups = positive_int(groups, f"{name}: groups")
        if in_channels % groups or out_channels % groups:
            raise ArgumentError(f"{name}: {in_channels} input and {out_channels} output channels do not divide into "
                                f"{groups} groups")
        if padding_mode != "zeros":
            raise ArgumentError(f"{name}: padding_mode must be 'zeros', not {padding_mode!r}")
        self.kernel_size = extents(name, "kernel_size", kernel_size, axes, 1)
        self.stride = extents(name, "stride", stride, axes, 1)
        self.dilation = extents(name, "dilation", dilation, axes, 1)
        if isinstance(padding, str):
            if padding not in ("same", "valid") or (padding == "same" and any(s != 1 for s in self.stride)):
                raise ArgumentError(f"{name}: padding must be numbers, 'valid', or 'same' with a stride of 1, not "
                                    f"{padding!r} with {self.stride}")
            self.padding: Any = padding
        else:
            self.padding = extents(name, "padding", padding, axes, 0)
        self.padding_mode = padding_mode
        dtype = float_dtype(dtype, name)
        shape = (self.out_channels, self.in_channels // self.groups, *self.kernel_size)
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

    def forward(self, input: Tensor) -> Tensor:
        """From (N, in_channels, ...) to (N, out_channels, ...)."""
        return type(self)._function(input, self.weight, self.bias, self.stride, self.padding, self.dilation,
                                    self.groups)

    def extra_repr(self) -> str:
        """PyTorch's."""
        parts = [f"{self.in_channels}, {self.out_channels}", f"kernel_size={self.kernel_size}",
                 f"stride={self.stride}"]
        if self.padding != (0,) * self._axes:
            parts.append(f"padding={self.padding}")
        if self.dilation != (1,) * self._axes:
            parts.append(f"dilation={self.dilation}")
        if self.groups != 1:
            parts.append(f"groups={self.groups}")
        if self.bias is None:
            parts.append("bias=False")
        return ", ".join(parts)


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
    padding_mode : str
        Only "zeros".
    dtype : float32 or float64

    Attributes
    ----------
    weight : Parameter, shape (out_channels, in_channels / groups, *kernel_size)
        Drawn from U(-b, b), b = 1 / sqrt of the elements of one output channel's kernel, as in PyTorch.
    bias : Parameter, shape (out_channels,), or None
        Drawn from the same distribution.
    """

    _axes = 2
    _function = functions.conv2d


class Conv1d(_Conv):
    """`Conv2d` over one axis: from (N, C, L) to (N, O, LO)."""

    _axes = 1
    _function = functions.conv1d
