"""Patches of an image as columns, and columns added up to an image: each the other's adjoint."""

from __future__ import annotations

from typing import Any

from ..engine.jit import device
from .convolution import clear, gather_columns, image_pixels, patch_size, response_pixels, scatter_columns
from .table import Op

# Words: 1 y, 2 g, 3 x, 4 dx, and from 12 to 33 those of a convolution in one group: the patches that its kernel sees.


@device
def gather(op: Any, f: Any, image: int, columns: int, add: int) -> int:
    """columns = the patches of the image, or +=, where `add` is not 0."""
    for sample in range(op[12]):
        gather_columns(op, f, image + sample * op[14] * image_pixels(op),
                       columns + sample * patch_size(op) * response_pixels(op), 0, op[31] * op[32], 0, op[33], add)
    return 0


@device
def scatter(op: Any, f: Any, image: int, columns: int, add: int) -> int:
    """image = the sum of the columns where they were gathered from, or +=, where `add` is not 0."""
    plane = op[14] * image_pixels(op)
    if add == 0:
        clear(f, image, op[12] * plane)
    for sample in range(op[12]):
        scatter_columns(op, f, image + sample * plane, columns + sample * patch_size(op) * response_pixels(op), 0,
                        op[31] * op[32], 0, op[33])
    return 0


def unfold_forward(op: Any, f: Any, i: Any, b: Any) -> int:
    return gather(op, f, op[3], op[1], 0)


def unfold_adjoint(op: Any, f: Any, i: Any, b: Any) -> int:
    return scatter(op, f, op[4], op[2], 0 if op[0] & 2 != 0 else 1)


UNFOLD = Op("unfold", unfold_forward, unfold_adjoint, ((),), stores=True, doc="patches as columns")


def fold_forward(op: Any, f: Any, i: Any, b: Any) -> int:
    return scatter(op, f, op[1], op[3], 0)


def fold_adjoint(op: Any, f: Any, i: Any, b: Any) -> int:
    return gather(op, f, op[2], op[4], 0 if op[0] & 2 != 0 else 1)


FOLD = Op("fold", fold_forward, fold_adjoint, ((),), stores=True, doc="columns added up to an image")
