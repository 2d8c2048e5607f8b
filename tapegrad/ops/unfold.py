"""im2col and col2im: patches of an image as columns, and their adjoint."""

from __future__ import annotations

from typing import Any

from ..engine.language import device
from ..engine.row import Input, Output, Row, contiguous
from .columns import clear, gather_columns, image_pixels, patch_size, response_pixels, scatter_columns
from .table import Op
from .windows import Windows


class Patches(Row):
    """The windows are those of a convolution in one group."""

    y: Output
    x: Input = contiguous
    windows: Windows


@device
def gather(op: Patches, f: Any, image: int, columns: int, add: int) -> int:
    """columns = the patches of the image, or +=, where `add` is not 0."""
    for sample in range(op.windows.samples):
        gather_columns(op, op.windows, f, image + sample * op.windows.channels * image_pixels(op, op.windows),
                       columns + sample * patch_size(op, op.windows) * response_pixels(op, op.windows), 0,
                       op.windows.response.depth * op.windows.response.height, 0, op.windows.response.width, add)
    return 0


@device
def scatter(op: Patches, f: Any, image: int, columns: int, add: int) -> int:
    """image = the sum of the columns where they were gathered from, or +=, where `add` is not 0."""
    plane = op.windows.channels * image_pixels(op, op.windows)
    if add == 0:
        clear(f, image, op.windows.samples * plane)
    for sample in range(op.windows.samples):
        scatter_columns(op, op.windows, f, image + sample * plane,
                        columns + sample * patch_size(op, op.windows) * response_pixels(op, op.windows), 0,
                        op.windows.response.depth * op.windows.response.height, 0, op.windows.response.width)
    return 0


def unfold_forward(op: Patches, f: Any, i: Any, b: Any) -> int:
    return gather(op, f, op.x, op.y, 0)


def unfold_adjoint(op: Patches, f: Any, i: Any, b: Any) -> int:
    return scatter(op, f, op.d.x, op.g, 0 if op.stores.x else 1)


def _same(r: Any, d: Any, t: Any) -> Any:
    """The same map of the tangent."""
    return t.unfold.through(r.op, d, r.windows, r.shape)


def _of_all(r: Any, t: Any) -> Any:
    """All samples at once."""
    return t.unfold.through(r.call.op, r.x, r.windows, (r.size, *r.call.shape))


UNFOLD: Op = Op("unfold", unfold_forward, unfold_adjoint, row=Patches, saves={}, stores=True, doc="patches as columns",
                composition={"x": lambda r, g, t: t.unfold.through(FOLD, g, r.windows, r.shape_of("x"))},
                tangent={"x": _same}, batching=_of_all)


def fold_forward(op: Patches, f: Any, i: Any, b: Any) -> int:
    return scatter(op, f, op.y, op.x, 0)


def fold_adjoint(op: Patches, f: Any, i: Any, b: Any) -> int:
    return gather(op, f, op.g, op.d.x, 0 if op.stores.x else 1)


FOLD: Op = Op("fold", fold_forward, fold_adjoint, row=Patches, saves={}, stores=True,
              doc="columns added up to an image",
              composition={"x": lambda r, g, t: t.unfold.through(UNFOLD, g, r.windows, r.shape_of("x"))},
              tangent={"x": _same}, batching=_of_all)
