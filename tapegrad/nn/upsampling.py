"""Upsampling layers."""

from __future__ import annotations

from collections.abc import Sequence

from ..functions.convolution import Extent
from ..functions.upsampling import resample
from ..tensor.tensor import Tensor
from .module import Module

__all__ = ["Upsample", "UpsamplingBilinear2d", "UpsamplingNearest2d"]

Scale = float | Sequence[float]


class Upsample(Module):
    """A signal, an image or a volume at another size; see `nn.functional.interpolate`.

    Parameters
    ----------
    size : int or sequence of int, optional
        Extents of the result.
    scale_factor : float or sequence of float, optional
        Factor of the extents.
    mode : {"nearest", "nearest-exact", "area", "linear", "bilinear", "trilinear", "bicubic"}
    align_corners, recompute_scale_factor : bool, optional
    """

    def __init__(self, size: Extent | None = None, scale_factor: Scale | None = None, mode: str = "nearest",
                 align_corners: bool | None = None, recompute_scale_factor: bool | None = None) -> None:
        super().__init__()
        self.size, self.mode, self.align_corners = size, mode, align_corners
        self.scale_factor = (tuple(map(float, scale_factor)) if isinstance(scale_factor, (tuple, list))
                             else None if scale_factor is None else float(scale_factor))  # type: ignore[arg-type]
        self.recompute_scale_factor = recompute_scale_factor

    def forward(self, input: Tensor) -> Tensor:
        """From (N, C, ...) to (N, C, *size)."""
        return resample(type(self).__name__, input, self.size, self.scale_factor, self.mode, self.align_corners,
                        self.recompute_scale_factor)

    def extra_repr(self) -> str:
        """PyTorch's."""
        given = f"size={self.size!r}" if self.scale_factor is None else f"scale_factor={self.scale_factor!r}"
        return f"{given}, mode={self.mode!r}"


class UpsamplingNearest2d(Upsample):
    """`Upsample` of images in mode "nearest".

    Parameters
    ----------
    size : int or (int, int), optional
    scale_factor : float or (float, float), optional
    """

    def __init__(self, size: Extent | None = None, scale_factor: Scale | None = None) -> None:
        super().__init__(size, scale_factor, mode="nearest")


class UpsamplingBilinear2d(Upsample):
    """`Upsample` of images in mode "bilinear", with aligned corners.

    Parameters
    ----------
    size : int or (int, int), optional
    scale_factor : float or (float, float), optional
    """

    def __init__(self, size: Extent | None = None, scale_factor: Scale | None = None) -> None:
        super().__init__(size, scale_factor, mode="bilinear", align_corners=True)
