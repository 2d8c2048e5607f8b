"""Convolution, against its sum written out in NumPy."""

import numpy as np
import pytest

import tapegrad as tg
import tapegrad.nn.functional as F
from tapegrad.errors import ArgumentError, ShapeError

from .contract import Case, OpContract, close, uniform


def naive_conv(x, w, b=None, stride=1, padding=0, dilation=1, groups=1):
    """sum over c, i, j of w[o, c, i, j] x[n, c, . stride + (i, j) dilation], a pixel of the kernel at a time."""
    axes = w.ndim - 2
    if x.ndim == axes + 1:
        return naive_conv(x[None], w, b, stride, padding, dilation, groups)[0]
    if axes == 1:
        pair = [(0 if k == 1 else 1, v) if np.isscalar(v) and not isinstance(v, str) else v
                for k, v in enumerate((stride, padding, dilation))]  # fmt: skip
        return naive_conv(x[:, :, None], w[:, :, None], b, *pair, groups)[:, :, 0]
    sh, sw = np.broadcast_to(stride, 2)
    dh, dw = np.broadcast_to(dilation, 2)
    kh, kw = w.shape[2:]
    if isinstance(padding, str):
        total = (dh * (kh - 1), dw * (kw - 1)) if padding == "same" else (0, 0)
        edges = [(t // 2, t - t // 2) for t in total]
    else:
        edges = [(p, p) for p in np.broadcast_to(padding, 2)]
    x = np.pad(x, [(0, 0), (0, 0), *edges])
    ho, wo = (x.shape[2] - dh * (kh - 1) - 1) // sh + 1, (x.shape[3] - dw * (kw - 1) - 1) // sw + 1
    out = np.zeros((x.shape[0], w.shape[0], ho, wo))
    per = w.shape[0] // groups
    for o in range(w.shape[0]):
        for c in range(w.shape[1]):
            plane = x[:, o // per * w.shape[1] + c]
            for i in range(kh):
                for j in range(kw):
                    out[:, o] += w[o, c, i, j] * plane[:, i * dh : i * dh + (ho - 1) * sh + 1 : sh,
                                                       j * dw : j * dw + (wo - 1) * sw + 1 : sw]  # fmt: skip
    return out if b is None else out + b[:, None, None]


GRID = [
    ("plain", (2, 3, 5, 4), (4, 3, 3, 2), True, {}),
    ("no bias", (2, 3, 5, 4), (4, 3, 3, 2), False, {}),
    ("one sample", (3, 5, 4), (4, 3, 3, 3), True, {"padding": 1}),
    ("strided", (1, 2, 7, 8), (5, 2, 3, 3), True, {"stride": (2, 3), "padding": (1, 2)}),
    ("dilated", (1, 2, 7, 7), (5, 2, 2, 3), False, {"dilation": (3, 2), "padding": 2}),
    ("same", (1, 3, 4, 5), (3, 3, 2, 4), True, {"padding": "same"}),
    ("valid", (1, 3, 4, 5), (3, 3, 2, 4), False, {"padding": "valid"}),
    ("groups", (2, 4, 4, 4), (6, 2, 3, 3), True, {"groups": 2, "padding": 1}),
    ("depthwise", (2, 3, 5, 5), (3, 1, 3, 3), True, {"groups": 3, "padding": 1}),
    ("depthwise strided", (1, 2, 6, 7), (4, 1, 3, 2), False, {"groups": 2, "stride": 2, "padding": (2, 1)}),
    ("few channels", (2, 1, 5, 6), (2, 1, 3, 3), True, {"dilation": 2, "padding": 3}),
    ("pixelwise", (2, 3, 3, 4), (5, 3, 1, 1), True, {}),
    ("pixelwise groups", (2, 4, 2, 2), (4, 2, 1, 1), False, {"groups": 2}),
    ("pixelwise strided", (1, 8, 5, 5), (6, 8, 1, 1), True, {"stride": 2}),
    ("padding beyond the kernel", (1, 4, 2, 2), (3, 4, 3, 3), False, {"padding": 4}),
    ("row", (2, 3, 9), (4, 3, 3), True, {"stride": 2, "padding": 2}),
    ("row same", (1, 4, 6), (4, 4, 4), False, {"padding": "same", "dilation": 2}),
    ("row depthwise", (1, 4, 6), (4, 1, 3), True, {"padding": 1, "groups": 4}),
    ("one row", (3, 7), (2, 3, 5), True, {"padding": 1}),
]


def _case(name, x, w, biased, options):
    function = getattr(F, f"conv{len(w) - 2}d")
    shapes = (x, w, w[:1]) if biased else (x, w)
    return Case(name, lambda *a: function(*a, **options), lambda *a: naive_conv(*a, **options),
                tuple(uniform(s, -1.0, 1.0, 5 + k) for k, s in enumerate(shapes)))  # fmt: skip


class TestConvolution(OpContract):
    cases = [_case(*row) for row in GRID]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_images_larger_than_a_block_of_columns(dtype):
    x, w = uniform((2, 8, 70, 65), -1, 1, 1).astype(dtype), uniform((6, 8, 5, 5), -1, 1, 2).astype(dtype)
    a, c = tg.tensor(x, requires_grad=True), tg.tensor(w, requires_grad=True)
    y = F.conv2d(a, c, padding=2)
    tolerance = 1e-5 if dtype == np.float32 else 1e-12
    x, w = x.astype(np.float64), w.astype(np.float64)
    close(y.numpy(), naive_conv(x, w, padding=2), tolerance)
    g = uniform(y.shape, -1, 1, 3).astype(dtype)
    y.backward(gradient=g)
    g = g.astype(np.float64)
    swapped = naive_conv(g, w[:, :, ::-1, ::-1].transpose(1, 0, 2, 3), padding=2)
    close(a.grad.numpy(), swapped, tolerance)
    close(c.grad.numpy(), naive_conv(x.transpose(1, 0, 2, 3), g.transpose(1, 0, 2, 3), padding=2).transpose(1, 0, 2, 3),
          tolerance)  # fmt: skip


def test_a_frozen_weight_keeps_no_input():
    from tapegrad.ops.convolution import CONV

    assert 1 not in CONV.saved_operands(0b001)
    assert CONV.saved_operands(0b100) == ()


def test_shapes_and_options_that_do_not_fit_are_named():
    x = np.ones((1, 3, 5, 5))
    with pytest.raises(ShapeError, match=r"\[1, 3, 5, 5\].*\[2, 4, 3, 3\]"):
        F.conv2d(x, np.ones((2, 4, 3, 3)))
    with pytest.raises(ShapeError, match="groups"):
        F.conv2d(x, np.ones((2, 1, 3, 3)), groups=3)
    with pytest.raises(ShapeError, match="smaller than the kernel"):
        F.conv2d(x, np.ones((2, 3, 6, 3)))
    with pytest.raises(ShapeError, match="bias"):
        F.conv2d(x, np.ones((2, 3, 3, 3)), np.ones(3))
    with pytest.raises(ArgumentError, match="stride of 1"):
        F.conv2d(x, np.ones((2, 3, 3, 3)), padding="same", stride=2)
    with pytest.raises(ArgumentError, match="stride"):
        F.conv2d(x, np.ones((2, 3, 3, 3)), stride=0)
