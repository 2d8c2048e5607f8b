"""The row of a convolution, and what unfolding and pooling share with it."""

from __future__ import annotations

from ..engine.row import Input, Output, Row, Words, absent, contiguous


class Plane(Words):
    """A number for each of the two axes."""

    height: int
    width: int


class Extents(Words):
    """A number for each of three axes; absent ones have an extent of 1."""

    depth: int
    height: int
    width: int


class Windows(Words):
    """Which pixels of the image each pixel of the response depends on."""

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


class Block(Words):
    """A block of result rows, and what they read of the source."""

    rows: int
    lines: int  # rows of the source that they read
    pixels: int  # of one of those, modulo the stride


class Tiles(Words):
    """Attributes of a convolution with register tiles, all of them 0 for one without (see `correlation`).

    Each parallel part has working memory of its own: the table of offsets, the packed rows, the transposed response,
    and sums for the weight.
    """

    respond: bool  # whether tiles compute the response
    spread: bool  # whether tiles compute the image
    team: int
    result_part: int  # addresses of kernels
    weight_part: int
    responding: Block
    spreading: Block
    room: int  # elements of working memory of a part
    parts: int
    weight_parts: int
    table: int  # elements of each piece of it
    copied: int
    turned: int
    at_once: int  # rows of a patch
    totalled: int  # elements of the weight's sums if those have totals, else 0


class Convolution(Row):
    """A convolution or its transpose; `scratch` is for a block of columns or for the tiles' parts."""

    y: Output
    x: Input = contiguous
    weight: Input = contiguous
    bias: Input = contiguous | absent
    scratch: Input = contiguous | absent
    gemm: int
    windows: Windows
    biased: bool
    rows: int  # of the response, of all depths, in a block
    across: int  # pixels of a row in a block: all of them unless it is one row
    direct: bool  # whether to loop directly
    pixel: bool  # 1 x 1 kernel: the image is its own columns
    tiles: Tiles
    totals: int  # offset in `scratch` of the float64 totals of the weight's adjoint; 0 for none
