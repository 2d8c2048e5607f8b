"""Affine and bilinear layers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from ..tensor.tensor import Tensor
from . import functional as F
from . import init
from .module import Module
from .parameter import Parameter, float_dtype
from .shapes import positive_int

__all__ = ["Bilinear", "Identity", "Linear"]


class Identity(Module):
    """Returns its input; any arguments are accepted and ignored."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def forward(self, input: Tensor) -> Tensor:
        """`input` itself."""
        return input


class Linear(Module):
    """``y = x @ weight.T + bias``.

    Parameters
    ----------
    in_features, out_features : int
        Sizes of the last axis of input and output.
    bias : bool
        Whether to add a bias.
    dtype : float32 or float64
        The parameters' dtype.

    Attributes
    ----------
    weight : Parameter, shape (out_features, in_features)
        Drawn from U(-b, b), b = 1 / sqrt(in_features): Kaiming's uniform distribution with a = sqrt(5), as in
        PyTorch.
    bias : Parameter, shape (out_features,), or None
        Drawn from the same distribution.
    """

    bias: Parameter | None

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, dtype: DTypeLike | None = None
    ) -> None:
        super().__init__()
        self.in_features = positive_int(in_features, "Linear: in_features")
        self.out_features = positive_int(out_features, "Linear: out_features")
        dtype = float_dtype(dtype, "Linear")
        self.weight = Parameter(np.empty((self.out_features, self.in_features), dtype), dtype=dtype)
        self.register_parameter(
            "bias", Parameter(np.empty(self.out_features, dtype), dtype=dtype) if bias else None
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias anew."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            bound = 1 / math.sqrt(self.in_features)
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input: Tensor) -> Tensor:
        """From (..., in_features) to (..., out_features)."""
        return F.linear(input, self.weight, self.bias)

    def extra_repr(self) -> str:
        """PyTorch's."""
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"
        )


class Bilinear(Module):
    """``y[o] = x1 @ weight[o] @ x2 + bias[o]``.

    Parameters
    ----------
    in1_features, in2_features, out_features : int
        Sizes of the last axis of the two inputs and of the output.
    bias : bool
        Whether to add a bias.
    dtype : float32 or float64
        The parameters' dtype.

    Attributes
    ----------
    weight : Parameter, shape (out_features, in1_features, in2_features)
        Drawn from U(-b, b), b = 1 / sqrt(in1_features), as in PyTorch.
    bias : Parameter, shape (out_features,), or None
        Drawn from the same distribution.
    """

    bias: Parameter | None

    def __init__(
        self,
        in1_features: int,
        in2_features: int,
        out_features: int,
        bias: bool = True,
        dtype: DTypeLike | None = None,
    ) -> None:
        super().__init__()
        self.in1_features = positive_int(in1_features, "Bilinear: in1_features")
        self.in2_features = positive_int(in2_features, "Bilinear: in2_features")
        self.out_features = positive_int(out_features, "Bilinear: out_features")
        dtype = float_dtype(dtype, "Bilinear")
        shape = (self.out_features, self.in1_features, self.in2_features)
        self.weight = Parameter(np.empty(shape, dtype), dtype=dtype)
        self.register_parameter(
            "bias", Parameter(np.empty(self.out_features, dtype), dtype=dtype) if bias else None
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias anew."""
        bound = 1 / math.sqrt(self.in1_features)
        init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input1: Tensor, input2: Tensor) -> Tensor:
        """From (..., in1_features) and (..., in2_features) to (..., out_features)."""
        return F.bilinear(input1, input2, self.weight, self.bias)

    def extra_repr(self) -> str:
        """PyTorch's."""
        return (
            f"in1_features={self.in1_features}, in2_features={self.in2_features}, "
            f"out_features={self.out_features}, bias={self.bias is not None}"
        )
