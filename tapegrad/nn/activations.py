"""Activations as modules, by PyTorch's names and arguments; for the formulas see `functional`."""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike

from ..errors import ArgumentError, ShapeError
from ..tensor.tensor import Tensor
from . import functional as F
from .module import Module
from .parameter import Parameter, float_dtype
from .shapes import positive_int

__all__ = [
    "ELU",
    "GELU",
    "SELU",
    "Hardtanh",
    "LeakyReLU",
    "LogSigmoid",
    "LogSoftmax",
    "ReLU",
    "ReLU6",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Softsign",
    "Softmax2d",
    "Softmin",
    "Tanh",
    "Tanhshrink",
    "Threshold",
    "CELU",
    "GLU",
    "Hardshrink",
    "Hardsigmoid",
    "Hardswish",
    "Mish",
    "PReLU",
    "RReLU",
    "Softshrink",
]  # fmt: skip


class _Elementwise(Module):
    """An activation whose attributes are its function's arguments, under the same names."""

    _shown: tuple[str, ...] = ()

    def extra_repr(self) -> str:
        """The arguments."""
        return ", ".join(f"{name}={getattr(self, name)}" for name in self._shown)


class ReLU(_Elementwise):
    """`functional.relu`."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()

    def forward(self, input: Tensor) -> Tensor:
        """The same shape."""
        return F.relu(input)


class ReLU6(_Elementwise):
    """`functional.relu6`."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()

    def forward(self, input: Tensor) -> Tensor:
        """The same shape."""
        return F.relu6(input)


class LeakyReLU(_Elementwise):
    """`functional.leaky_relu`."""

    _shown = ("negative_slope",)

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        super().__init__()
        self.negative_slope = negative_slope

    def forward(self, input: Tensor) -> Tensor:
        """The same shape."""
        return F.leaky_relu(input, self.negative_slope)


class ELU(_Elementwise):
    """`functional.elu`."""

    _shown = ("alpha",)

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        self.alpha = alpha

    def forward(self, input: Tensor) -> Tensor:
        """The same shape."""
        return F.elu(input, self.alpha)


class SELU(_Elementwise):
    """`functional.selu`."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()

    def forward(self, input: Tensor) -> Tensor:
        """The same shape."""
        return F.selu(input)


class SiLU(_Elementwise):
    """`functional.silu`."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()

    def forward(self, input: Tensor) -> Tensor:
        """The same shape."""
        return F.silu(input)


class GELU(_Elementwise):
    """`functional.gelu`."""

    def __init__(self, approximate: str = "none") -> None:
        super().__init__()
        if approximate not in ("none", "tanh"):
            raise ArgumentError(f"GELU: approximate must be 'none' or 'tanh', got {approximate!r}")
        self.approximate = approximate

    def forward(self, input: Tensor) -> Tensor:
        """The same shape."""
        return F.gelu(input, self.approximate)

    def extra_repr(self) -> str:
        """PyTorch's."""
        return f"approximate={self.approximate!r}"


class Tanh(_Elementwise):
    """`functional.tanh`."""

    def forward(self, input: Tensor) -> Tensor:
        """The same shape."""
        return F.tanh(input)


class Sigmoid(_Elementwise):
    """`functional.sigmoid`."""

    def forward(self, input: Tensor) -> Tensor:
        """The same shape."""
        return F.sigmoid(input)


class LogSigmoid(_Elementwise):
    """`functional.logsigmoid`."""

    def forward(self, input: Tensor) -> Tensor:
        """The same shape."""
        return F.logsigmoid(input)


class Softsign(_Elementwise):
    """`functional.softsign`."""

    def forward(self, input: Tensor) -> Tensor:
        """The same shape."""
        return F.softsign(input)


class Softplus(_Elementwise):
    """`functional.softplus`."""

    _shown = ("beta", "threshold")

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        super().__init__()
        if not beta > 0:
            raise ArgumentError(f"Softplus: beta must be positive, got {beta}")
        self.beta, self.threshold = beta, threshold

    def forward(self, input: Tensor) -> Tensor:
        """The same shape."""
        return F.softplus(input, self.beta, self.threshold)


class Hardtanh(_Elementwise):
    """`functional.hardtanh`."""

    _shown = ("min_val", "max_val")

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        if not min_val < max_val:
            raise ArgumentError(f"Hardtanh: min_val must be below max_val, got {min_val} and {max_val}")
        self.min_val, self.max_val = min_val, max_val

    def forward(self, input: Tensor) -> Tensor:
        """The same shape."""
        return F.hardtanh(input, self.min_val, self.max_val)


class CELU(_Elementwise):
    """`functional.celu`."""

    _shown = ("alpha",)

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        self.alpha = alpha

    def forward(self, input: Tensor) -> Tensor:
        """The same shape."""
        return F.celu(input, self.alpha)


class Mish(_Elementwise):
    """`functional.mish`."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()

    def forward(self, input: Tensor) -> Tensor:
        """The same shape."""
        return F.mish(input)


class Hardswish(_Elementwise):
    """`functional.hardswish`."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()

    def forward(self, input: Tensor) -> Tensor:
        """The same shape."""
        return F.hardswish(input)


class Hardsigmoid(_Elementwise):
    """`functional.hardsigmoid`."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()

    def forward(self, input: Tensor) -> Tensor:
        """The same shape."""
        return F.hardsigmoid(input)


class Hardshrink(_Elementwise):
    """`functional.hardshrink`."""

    _shown = ("lambd",)

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__()
        self.lambd = lambd

    def forward(self, input: Tensor) -> Tensor:
        """The same shape."""
        return F.hardshrink(input, self.lambd)


class Softshrink(_Elementwise):
    """`functional.softshrink`."""

    _shown = ("lambd",)

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__()
        self.lambd = lambd

    def forward(self, input: Tensor) -> Tensor:
        """The same shape."""
        return F.softshrink(input, self.lambd)


class Tanhshrink(_Elementwise):
    """`functional.tanhshrink`."""

    def forward(self, input: Tensor) -> Tensor:
        """The same shape."""
        return F.tanhshrink(input)


class Threshold(_Elementwise):
    """`functional.threshold`."""

    _shown = ("threshold", "value",)

    def __init__(self, threshold: float, value: float, inplace: bool = False) -> None:
        super().__init__()
        self.threshold, self.value = threshold, value

    def forward(self, input: Tensor) -> Tensor:
        """The same shape."""
        return F.threshold(input, self.threshold, self.value)


class PReLU(_Elementwise):
    """`functional.prelu` with learned slopes.

    Parameters
    ----------
    num_parameters : int, default 1
        1, or the number of channels.
    init : float, default 0.25
    dtype : float32 or float64

    Attributes
    ----------
    weight : Parameter, shape (num_parameters,)
    """

    def __init__(self, num_parameters: int = 1, init: float = 0.25, dtype: DTypeLike | None = None) -> None:
        super().__init__()
        count, kind = positive_int(num_parameters, "PReLU: num_parameters"), float_dtype(dtype, "PReLU")
        self.init = init
        self.weight = Parameter(np.full(count, init, kind), dtype=kind)

    def reset_parameters(self) -> None:
        """Set the slopes to `init`."""
        self.weight.copy_(np.full(self.weight.shape, self.init))

    def forward(self, input: Tensor) -> Tensor:
        """The same shape."""
        return F.prelu(input, self.weight)

    def extra_repr(self) -> str:
        """PyTorch's."""
        return f"num_parameters={self.weight.size}"


class RReLU(_Elementwise):
    """`functional.rrelu`: random slopes in training mode."""

    _shown = ("lower", "upper")

    def __init__(self, lower: float = 1.0 / 8, upper: float = 1.0 / 3, inplace: bool = False) -> None:
        super().__init__()
        self.lower, self.upper = lower, upper

    def forward(self, input: Tensor) -> Tensor:
        """The same shape."""
        return F.rrelu(input, self.lower, self.upper, self.training)


class GLU(Module):
    """`functional.glu`."""

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Tensor) -> Tensor:
        """Half as many elements along `dim`."""
        return F.glu(input, self.dim)

    def extra_repr(self) -> str:
        """PyTorch's."""
        return f"dim={self.dim}"


class _AlongAxis(Module):
    """An activation along the axis `dim`, which has to be given."""

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        if dim is None:
            raise ArgumentError(f"{type(self).__name__}: say along which axis, for instance dim=-1")
        self.dim = dim

    def extra_repr(self) -> str:
        """PyTorch's."""
        return f"dim={self.dim}"


class Softmax(_AlongAxis):
    """`functional.softmax`."""

    def forward(self, input: Tensor) -> Tensor:
        """The same shape."""
        return F.softmax(input, self.dim)


class LogSoftmax(_AlongAxis):
    """`functional.log_softmax`."""

    def forward(self, input: Tensor) -> Tensor:
        """The same shape."""
        return F.log_softmax(input, self.dim)


class Softmin(_AlongAxis):
    """`functional.softmin`."""

    def forward(self, input: Tensor) -> Tensor:
        """The same shape."""
        return F.softmin(input, self.dim)


class Softmax2d(Module):
    """`functional.softmax` over the channels of (N, C, H, W) or (C, H, W)."""

    def forward(self, input: Tensor) -> Tensor:
        """The same shape."""
        if input.ndim not in (3, 4):
            raise ShapeError(f"Softmax2d: an input of shape {list(input.shape)}; expected (N, C, H, W) or (C, H, W)")
        return F.softmax(input, -3)
