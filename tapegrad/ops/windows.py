"""The windows through which a convolution, or an unfolding, sees an image: words that their rows share."""

from __future__ import annotations

from ..engine.row import Words


class Extents(Words):
    """A number for each of three axes; absent ones have an extent of 1."""

    depth: int
    height: int
    width: int


class Windows(Words):
    """Which pixels of the image each pixel of the response sees."""

    samples: int
    groups: int
    channels: int  # of a group of the image
    outputs: int  # channels of a group of the response
    image: Extents
    kernel: Extents
    stride: Extents
    padding: Extents  # before
    dilation: Extents
    response: Extents
