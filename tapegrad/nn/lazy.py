"""Layers that learn the number of their input's features or channels from their first input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from numpy.typing import DTypeLike

from ..errors import CaptureError, ShapeError
from ..functions.convolution import Extent
from ..tape.state import state
from .convolution import Conv1d, Conv2d, Conv3d, ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from .errors import ModuleError
from .linear import Linear
from .module import Module
from .normalization import BatchNorm1d, BatchNorm2d, BatchNorm3d, InstanceNorm1d, InstanceNorm2d, InstanceNorm3d
from .parameter import Parameter
from .shapes import shape_of

__all__ = [
    "LazyBatchNorm1d", "LazyBatchNorm2d", "LazyBatchNorm3d", "LazyConv1d", "LazyConv2d", "LazyConv3d",
    "LazyConvTranspose1d", "LazyConvTranspose2d", "LazyConvTranspose3d", "LazyInstanceNorm1d", "LazyInstanceNorm2d",
    "LazyInstanceNorm3d", "LazyLinear", "UninitializedParameter",
]  # fmt: skip


class UninitializedParameter(Parameter):
    """A parameter whose shape is not known yet; it counts no elements, and cannot be optimised, saved or loaded."""

    is_uninitialised = True

    def __init__(self, dtype: DTypeLike | None = None) -> None:
        super().__init__(np.zeros(0), dtype=dtype)

    def numpy(self) -> np.ndarray:
        """Raises: there are no values yet.

        Raises
        ------
        ModuleError
        """
        raise ModuleError("a parameter of a lazy layer has no shape yet: call the model once on a batch, and only then "
                          "save it, load a state or make an optimiser")

    def convert_(self, dtype: DTypeLike) -> Parameter:
        """Change the dtype that the values will have; return the parameter."""
        Parameter.__init__(self, np.zeros(0), self.requires_grad, dtype)
        return self

    def __repr__(self) -> str:
        return "UninitializedParameter"


class _Lazy(Module):
    """The base of lazy layers: at the first call it becomes the layer of which it has been given the arguments."""

    _made: ClassVar[Callable[..., Module]]
    _axes: ClassVar[int] = 0  # after that of the features
    _least: int = 1

    def _remember(self, **arguments: Any) -> None:
        """Check the arguments, and keep them; the placeholders have the parameters' names."""
        probe = type(self)._made(self._least, **arguments)
        self._arguments = arguments
        for name, parameter in probe._parameters.items():
            self.register_parameter(name, None if parameter is None else UninitializedParameter(parameter.dtype))
        for name, buffer in probe._buffers.items():
            if buffer is not None and buffer.dtype.kind == "f":
                self.register_buffer(name, np.zeros(0, buffer.dtype))

    def _features(self, shape: tuple[int, ...]) -> int:
        if len(shape) <= self._axes:
            raise ShapeError(f"{type(self).__name__}: an input of shape {list(shape)} has too few axes")
        return shape[-1 - self._axes]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if state.capture is not None:
            raise CaptureError(f"{type(self).__name__} makes its parameters at its first call, which cannot be "
                               "recorded: call the model once on a batch before the optimiser and the step are made")
        self._become(self._features(shape_of(args[0] if args else kwargs["input"])))
        return self(*args, **kwargs)

    def _become(self, features: int) -> None:
        made = type(self)._made(features, **self._arguments)
        places = {k: p for k, p in self._parameters.items() if p is not None}
        kinds = [t.dtype for t in (*places.values(), *self._buffers.values()) if t is not None]
        if kinds:
            made.to(kinds[0])
        for name, place in places.items():
            if not place.requires_grad:
                made._parameters[name].requires_grad_(False)  # type: ignore[union-attr]
        for registry in ("_parameters", "_buffers", "_modules"):
            own = self.__dict__[registry]
            own.clear()
            own.update(made.__dict__[registry])
        kept = {"_parameters", "_buffers", "_modules", "_version", "training"}
        self.__dict__.update({k: value for k, value in made.__dict__.items() if k not in kept})
        del self.__dict__["_arguments"]
        object.__setattr__(self, "__class__", type(made))
        self._version.changed()

    def extra_repr(self) -> str:
        """The arguments."""
        return ", ".join(f"{name}={value}" for name, value in self._arguments.items() if name != "dtype")


class LazyLinear(_Lazy):
    """`Linear` whose `in_features` is the last extent of its first input; becomes a `Linear` at the first call.

    Parameters
    ----------
    out_features : int
    bias : bool
    dtype : float32 or float64

    Examples
    --------
    >>> import numpy as np, tapegrad as tg
    >>> from tapegrad import nn
    >>> model = nn.Sequential(nn.LazyLinear(8), nn.ReLU(), nn.LazyLinear(2))
    >>> model(tg.tensor(np.zeros((3, 5), np.float32))).shape
    (3, 2)
    >>> model
    Sequential(
      (0): Linear(in_features=5, out_features=8, bias=True)  # 48 parameters
      (1): ReLU()
      (2): Linear(in_features=8, out_features=2, bias=True)  # 18 parameters
    )
    # total: 66 parameters
    """

    _made = Linear

    def __init__(self, out_features: int, bias: bool = True, dtype: DTypeLike | None = None) -> None:
        super().__init__()
        self._remember(out_features=out_features, bias=bias, dtype=dtype)


class _LazyConv(_Lazy):
    def __init__(self, out_channels: int, kernel_size: Extent, stride: Extent = 1,
                 padding: Extent | str = 0, dilation: Extent = 1, groups: int = 1, bias: bool = True,
                 padding_mode: str = "zeros", dtype: DTypeLike | None = None) -> None:
        super().__init__()
        self._least = groups
        self._remember(out_channels=out_channels, kernel_size=kernel_size, stride=stride, padding=padding,
                       dilation=dilation, groups=groups, bias=bias, padding_mode=padding_mode, dtype=dtype)


class _LazyConvTranspose(_Lazy):
    def __init__(self, out_channels: int, kernel_size: Extent, stride: Extent = 1,
                 padding: Extent = 0, output_padding: Extent = 0, groups: int = 1, bias: bool = True,
                 dilation: Extent = 1, padding_mode: str = "zeros", dtype: DTypeLike | None = None) -> None:
        super().__init__()
        self._least = groups
        self._remember(out_channels=out_channels, kernel_size=kernel_size, stride=stride, padding=padding,
                       output_padding=output_padding, groups=groups, bias=bias, dilation=dilation,
                       padding_mode=padding_mode, dtype=dtype)


class _LazyNorm(_Lazy):
    def __init__(self, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = True,
                 track_running_stats: bool = True, dtype: DTypeLike | None = None, *, bias: bool = True) -> None:
        super().__init__()
        self._remember(eps=eps, momentum=momentum, affine=affine, track_running_stats=track_running_stats, dtype=dtype,
                       bias=bias)


class _LazyBatchNorm(_LazyNorm):
    def _features(self, shape: tuple[int, ...]) -> int:
        if len(shape) < 2:
            raise ShapeError(f"{type(self).__name__}: an input of shape {list(shape)} has too few axes")
        return shape[1]


class LazyConv1d(_LazyConv):
    """`Conv1d` whose `in_channels` is that of its first input; becomes one at the first call."""

    _made, _axes = Conv1d, 1


class LazyConv2d(_LazyConv):
    """`Conv2d` whose `in_channels` is that of its first input; becomes one at the first call."""

    _made, _axes = Conv2d, 2


class LazyConv3d(_LazyConv):
    """`Conv3d` whose `in_channels` is that of its first input; becomes one at the first call."""

    _made, _axes = Conv3d, 3


class LazyConvTranspose1d(_LazyConvTranspose):
    """`ConvTranspose1d` whose `in_channels` is that of its first input; becomes one at the first call."""

    _made, _axes = ConvTranspose1d, 1


class LazyConvTranspose2d(_LazyConvTranspose):
    """`ConvTranspose2d` whose `in_channels` is that of its first input; becomes one at the first call."""

    _made, _axes = ConvTranspose2d, 2


class LazyConvTranspose3d(_LazyConvTranspose):
    """`ConvTranspose3d` whose `in_channels` is that of its first input; becomes one at the first call."""

    _made, _axes = ConvTranspose3d, 3


class LazyBatchNorm1d(_LazyBatchNorm):
    """`BatchNorm1d` whose `num_features` is that of its first input; becomes one at the first call."""

    _made, _axes = BatchNorm1d, 1


class LazyBatchNorm2d(_LazyBatchNorm):
    """`BatchNorm2d` whose `num_features` is that of its first input; becomes one at the first call."""

    _made, _axes = BatchNorm2d, 2


class LazyBatchNorm3d(_LazyBatchNorm):
    """`BatchNorm3d` whose `num_features` is that of its first input; becomes one at the first call."""

    _made, _axes = BatchNorm3d, 3


class LazyInstanceNorm1d(_LazyNorm):
    """`InstanceNorm1d` whose `num_features` is that of its first input; becomes one at the first call."""

    _made, _axes = InstanceNorm1d, 1


class LazyInstanceNorm2d(_LazyNorm):
    """`InstanceNorm2d` whose `num_features` is that of its first input; becomes one at the first call."""

    _made, _axes = InstanceNorm2d, 2


class LazyInstanceNorm3d(_LazyNorm):
    """`InstanceNorm3d` whose `num_features` is that of its first input; becomes one at the first call."""

    _made, _axes = InstanceNorm3d, 3
