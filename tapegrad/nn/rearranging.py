"""Functions that move elements between channels and places, by PyTorch's names and arguments."""

from __future__ import annotations

from .. import functions
from ..errors import ShapeError
from ..tensor.tensor import Tensor
from .shapes import positive_int, shape_of

__all__ = ["channel_shuffle", "pixel_shuffle", "pixel_unshuffle"]


def pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    """Spread channels over squares of `upscale_factor` pixels: from (..., C r r, H, W) to (..., C, H r, W r).

    Shi et al., 2016. The inverse is `pixel_unshuffle`.

    Raises
    ------
    ShapeError
        If the channels do not divide by the square of the factor.
    """
    shape, r = shape_of(input), positive_int(upscale_factor, "pixel_shuffle: upscale_factor")
    if len(shape) < 3 or shape[-3] % (r * r):
        raise ShapeError(f"pixel_shuffle: an input of shape {list(shape)}; expected (..., C, H, W) with C a multiple "
                         f"of {r * r}")
    *batch, channels, height, width = shape
    n, c = len(batch), channels // (r * r)
    split = functions.reshape(input, (*batch, c, r, r, height, width))
    moved = functions.transpose(split, (*range(n + 1), n + 3, n + 1, n + 4, n + 2))
    return functions.reshape(moved, (*batch, c, height * r, width * r))


def pixel_unshuffle(input: Tensor, downscale_factor: int) -> Tensor:
    """Gather squares of `downscale_factor` pixels into channels: from (..., C, H r, W r) to (..., C r r, H, W).

    Raises
    ------
    ShapeError
        If height or width do not divide by the factor.
    """
    shape, r = shape_of(input), positive_int(downscale_factor, "pixel_unshuffle: downscale_factor")
    if len(shape) < 3 or shape[-2] % r or shape[-1] % r:
        raise ShapeError(f"pixel_unshuffle: an input of shape {list(shape)}; expected (..., C, H, W) with H and W "
                         f"multiples of {r}")
    *batch, channels, height, width = shape
    n, h, w = len(batch), height // r, width // r
    split = functions.reshape(input, (*batch, channels, h, r, w, r))
    moved = functions.transpose(split, (*range(n + 1), n + 2, n + 4, n + 1, n + 3))
    return functions.reshape(moved, (*batch, channels * r * r, h, w))


def channel_shuffle(input: Tensor, groups: int) -> Tensor:
    """Deal the channels of `groups` groups out in turn; the shape (N, C, ...) stays (Zhang et al., 2018).

    Raises
    ------
    ShapeError
        If the channels do not divide into so many groups.
    """
    shape, parts = shape_of(input), positive_int(groups, "channel_shuffle: groups")
    if len(shape) < 3 or shape[1] % parts:
        raise ShapeError(f"channel_shuffle: an input of shape {list(shape)}; expected (N, C, ...) with C a multiple of "
                         f"{parts}")
    split = functions.reshape(input, (shape[0], parts, shape[1] // parts, *shape[2:]))
    return functions.reshape(functions.swapaxes(split, 1, 2), shape)
