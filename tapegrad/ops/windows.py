"""The row of a convolution, and what unfolding and pooling share of it."""

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


class Block(Words):
    """Rows of a result that are made together, and what they see of the source."""

    rows: int
    lines: int  # rows of the source that they see
    pixels: int  # of one of those, modulo the stride


class Tiles(Words):
    """What a convolution by tiles needs, all of it 0 where there is none (see `correlation`).

    A part of the work has working memory of its own: the table of places, the copied rows, the response turned over,
    and sums for the weight.
    """

    respond: bool  # whether the response is made by tiles
    spread: bool  # whether the image is
    team: int
    result_part: int  # addresses of kernels
    weight_part: int
    responding: Block
    spreading: Block
    room: int  # elements of working memory for a part
    parts: int
    weight_parts: int
    table: int  # elements of each piece of it
    copied: int
    turned: int
    at_once: int  # rows of a patch
    totalled: int  # elements of the weight's sums if those have totals, else 0


class Convolution(Row):
    """Of a convolution or of its transpose; `columns` is scratch for a block of columns or for the tiles' parts."""

    y: Output
    x: Input = contiguous
    weight: Input = contiguous
    bias: Input = contiguous | absent
    columns: Input = contiguous | absent
    gemm: int
    windows: Windows
    biased: bool
    rows: int  # of the response, of all depths, in a block
    across: int  # pixels of a row in a block: all of them unless it is one row
    direct: bool  # whether to loop directly
    pixel: bool  # whether a patch is one pixel: the image is its own columns
    tiles: Tiles
    totals: int  # where, in `columns`, the weight's adjoint has totals in float64; 0: it has none
