"""Padding layers."""

from __future__ import annotations

from collections.abc import Sequence

from ..functions.convolution import extents
from ..functions.padding import surround
from ..tensor.tensor import Tensor
from .module import Module

__all__ = [
    "CircularPad1d", "CircularPad2d", "CircularPad3d", "ConstantPad1d", "ConstantPad2d", "ConstantPad3d",
    "ReflectionPad1d", "ReflectionPad2d", "ReflectionPad3d", "ReplicationPad1d", "ReplicationPad2d",
    "ReplicationPad3d", "ZeroPad1d", "ZeroPad2d", "ZeroPad3d",
]


class _Pad(Module):
    _axes = 0
    _mode = "constant"
    value: float | None = None

    def __init__(self, padding: int | Sequence[int]) -> None:
        super().__init__()
        name, sides = type(self).__name__, 2 * self._axes
        self.padding = extents(name, "padding", padding, sides, None)

    def forward(self, input: Tensor) -> Tensor:
        """The last axes padded."""
        return surround(type(self).__name__, input, self.padding, self._mode, self.value)

    def extra_repr(self) -> str:
        """PyTorch's."""
        return f"{self.padding}"


class ConstantPad1d(_Pad):
    """Pad the last axis with `value`.

    Parameters
    ----------
    padding : int or (int, int)
        Before and after; negative numbers crop.
    value : float
    """

    _axes = 1

    def __init__(self, padding: int | Sequence[int], value: float) -> None:
        super().__init__(padding)
        self.value = value

    def extra_repr(self) -> str:
        """PyTorch's."""
        return f"padding={self.padding}, value={self.value}"


class ConstantPad2d(ConstantPad1d):
    """`ConstantPad1d` for the last two axes: four widths, the last axis first."""

    _axes = 2


class ConstantPad3d(ConstantPad1d):
    """`ConstantPad1d` for the last three axes: six widths, the last axis first."""

    _axes = 3


class ZeroPad1d(_Pad):
    """Pad the last axis with zeros.

    Parameters
    ----------
    padding : int or (int, int)
        Before and after; negative numbers crop.
    """

    _axes = 1


class ZeroPad2d(ZeroPad1d):
    """`ZeroPad1d` for the last two axes: four widths, the last axis first."""

    _axes = 2


class ZeroPad3d(ZeroPad1d):
    """`ZeroPad1d` for the last three axes: six widths, the last axis first."""

    _axes = 3


class ReflectionPad1d(_Pad):
    """Pad the last axis of (N, C, L) or (C, L) with the array mirrored at its last elements.

    Parameters
    ----------
    padding : int or (int, int)
        Before and after, less than the extent.
    """

    _axes = 1
    _mode = "reflect"


class ReflectionPad2d(ReflectionPad1d):
    """`ReflectionPad1d` for the last two axes: four widths, the last axis first."""

    _axes = 2


class ReflectionPad3d(ReflectionPad1d):
    """`ReflectionPad1d` for the last three axes: six widths, the last axis first."""

    _axes = 3


class ReplicationPad1d(_Pad):
    """Pad the last axis of (N, C, L) or (C, L) with the nearest element.

    Parameters
    ----------
    padding : int or (int, int)
        Before and after.
    """

    _axes = 1
    _mode = "replicate"


class ReplicationPad2d(ReplicationPad1d):
    """`ReplicationPad1d` for the last two axes: four widths, the last axis first."""

    _axes = 2


class ReplicationPad3d(ReplicationPad1d):
    """`ReplicationPad1d` for the last three axes: six widths, the last axis first."""

    _axes = 3


class CircularPad1d(_Pad):
    """Pad the last axis of (N, C, L) or (C, L) with the array repeated.

    Parameters
    ----------
    padding : int or (int, int)
        Before and after, at most the extent.
    """

    _axes = 1
    _mode = "circular"


class CircularPad2d(CircularPad1d):
    """`CircularPad1d` for the last two axes: four widths, the last axis first."""

    _axes = 2


class CircularPad3d(CircularPad1d):
    """`CircularPad1d` for the last three axes: six widths, the last axis first."""

    _axes = 3
