"""Convolution, against its sum written out in NumPy."""

import numpy as np
import pytest

import tapegrad as tg
import tapegrad.nn.functional as F
from tapegrad.errors import ArgumentError, ShapeError

from .contract import Case, OpContract, close, uniform
from .derivatives import Derivatives


def spread(value, axes):
    return (value,) * axes if np.isscalar(value) else tuple(value)


def naive_conv(x, w, b=None, stride=1, padding=0, dilation=1, groups=1):
    """sum over c, i of w[o, c, i] x[n, c, . stride + i dilation], an element of the kernel at a time."""
    axes = w.ndim - 2
    if x.ndim == axes + 1:
        return naive_conv(x[None], w, b, stride, padding, dilation, groups)[0]
    stride, dilation, kernel = spread(stride, axes), spread(dilation, axes), w.shape[2:]
    if isinstance(padding, str):
        total = [d * (k - 1) if padding == "same" else 0 for d, k in zip(dilation, kernel)]
        edges = [(t // 2, t - t // 2) for t in total]
    else:
        edges = [(p, p) for p in spread(padding, axes)]
    x = np.pad(x, [(0, 0), (0, 0), *edges])
    out = [(n - d * (k - 1) - 1) // s + 1 for n, d, k, s in zip(x.shape[2:], dilation, kernel, stride)]
    y = np.zeros((x.shape[0], w.shape[0], *out))
    per = w.shape[0] // groups
    for o, c in np.ndindex(w.shape[:2]):
        plane = x[:, o // per * w.shape[1] + c]
        for i in np.ndindex(kernel):
            y[:, o] += w[(o, c, *i)] * plane[(slice(None), *(
                slice(k * d, k * d + (n - 1) * s + 1, s) for k, d, n, s in zip(i, dilation, out, stride)))]  # fmt: skip
    return y if b is None else y + b.reshape(-1, *(1,) * axes)


def naive_transpose(x, w, b=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1):
    """y[n, c, p stride + i dilation] += w[o, c, i] x[n, o, p], then the padding is cut off."""
    axes = w.ndim - 2
    if x.ndim == axes + 1:
        return naive_transpose(x[None], w, b, stride, padding, output_padding, groups, dilation)[0]
    stride, dilation, before, behind = (spread(v, axes) for v in (stride, dilation, padding, output_padding))
    whole = [(n - 1) * s + d * (k - 1) + 1 + e
             for n, s, d, k, e in zip(x.shape[2:], stride, dilation, w.shape[2:], behind)]  # fmt: skip
    y = np.zeros((x.shape[0], w.shape[1] * groups, *whole))
    per = w.shape[0] // groups
    for o, c in np.ndindex(w.shape[:2]):
        for i in np.ndindex(w.shape[2:]):
            y[(slice(None), o // per * w.shape[1] + c, *(
                slice(k * d, k * d + (n - 1) * s + 1, s) for k, d, n, s in zip(i, dilation, x.shape[2:], stride)
            ))] += w[(o, c, *i)] * x[:, o]  # fmt: skip
    y = y[(..., *(slice(p, n - p) for p, n in zip(before, whole)))]
    return y if b is None else y + b.reshape(-1, *(1,) * axes)


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
    ("volume", (1, 3, 3, 4, 2), (2, 3, 2, 3, 2), True, {"stride": (1, 2, 1), "padding": (1, 0, 1)}),
    ("volume depthwise", (2, 2, 4, 3, 3), (2, 1, 2, 2, 3), False, {"groups": 2, "stride": 2, "padding": 1}),
    ("volume dilated same", (2, 3, 3, 2), (3, 2, 2, 3, 1), True, {"dilation": (2, 1, 1), "padding": "same"}),
]

TRANSPOSED = [
    ("plain", (2, 3, 2, 3), (3, 4, 3, 2), True, {}),
    ("one sample strided", (3, 2, 2), (3, 2, 3, 3), False, {"stride": (3, 2), "padding": 1, "output_padding": (2, 1)}),
    ("dilated", (1, 4, 3, 2), (4, 3, 2, 2), True, {"dilation": 3, "stride": 2, "padding": 2, "output_padding": 2}),
    ("groups", (1, 4, 2, 3), (4, 2, 3, 3), True, {"groups": 2, "stride": 2}),
    ("depthwise", (2, 3, 3, 2), (3, 1, 3, 3), True, {"groups": 3, "stride": 2, "padding": 1}),
    ("few channels", (1, 1, 3, 4), (1, 2, 3, 3), False, {"padding": 2}),
    ("pixelwise", (2, 3, 2, 2), (3, 5, 1, 1), True, {}),
    ("row", (2, 3, 4), (3, 4, 4), True, {"stride": 2, "padding": 1}),
    ("kernel of pixels in padding", (1, 4, 2), (4, 3, 2), False, {"padding": 1}),
]


def _case(name, x, w, biased, options, transposed=False):
    function = getattr(F, f"conv{'_transpose' if transposed else ''}{len(w) - 2}d")
    naive = naive_transpose if transposed else naive_conv
    outputs = w[1] * options.get("groups", 1) if transposed else w[0]
    shapes = (x, w, (outputs,)) if biased else (x, w)
    return Case(f"transposed {name}" if transposed else name, lambda *a: function(*a, **options),
                lambda *a: naive(*a, **options),
                tuple(uniform(s, -1.0, 1.0, 5 + k) for k, s in enumerate(shapes)))  # fmt: skip


class TestConvolution(OpContract, Derivatives):
    cases = [*(_case(*row) for row in GRID), *(_case(*row, transposed=True) for row in TRANSPOSED)]


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


@pytest.mark.parametrize(
    ("x", "w", "options"),
    [
        ((1, 8, 4, 14, 22), (3, 8, 3, 3, 3), {"padding": (0, 1, 0)}),  # blocks of 14 of the 28 rows of two depths
        ((2, 8, 4000), (3, 8, 5), {"stride": 2, "padding": 3}),  # a row in two blocks
    ],
    ids=["volume", "signal"],
)
def test_blocks_of_columns_end_within_a_depth_and_within_a_row(x, w, options):
    x, w = uniform(x, -1, 1, 1), uniform(w, -1, 1, 2)
    a, c = tg.tensor(x, requires_grad=True), tg.tensor(w, requires_grad=True)
    function, axes = (F.conv3d, 3) if x.ndim == 5 else (F.conv1d, 1)
    y = function(a, c, **options)
    expected = naive_conv(x, w, **options)
    close(y.numpy(), expected, 1e-12)
    g = uniform(y.shape, -1, 1, 3)
    y.backward(gradient=g)
    back = naive_transpose(g, w, **options, output_padding=options.get("stride", 1) - 1)
    close(a.grad.numpy(), back[(..., *(slice(n) for n in x.shape[2:]))], 1e-12)
    swapped = {"padding": options["padding"], "dilation": options.get("stride", 1)}
    close(c.grad.numpy(), naive_conv(x.swapaxes(0, 1), g.swapaxes(0, 1), **swapped).swapaxes(0, 1)
          [(..., *(slice(n) for n in w.shape[2:]))], 1e-12)  # fmt: skip
    if axes == 1:
        close(F.conv_transpose1d(g, w, **options).numpy(), naive_transpose(g, w, **options), 1e-12)


def test_a_frozen_weight_keeps_no_input():
    from tapegrad.ops.convolution import CONV, CONV_TRANSPOSE

    for op in (CONV, CONV_TRANSPOSE):
        assert op.saved_operands(0b001) == (2, 4)  # the weight, and the columns that all convolutions share
        assert op.saved_operands(0b010) == (1, 4)
        assert op.saved_operands(0b100) == ()


def test_frozen_convolutions_by_run_keep_nothing_however_many_they_are():
    storage = tg.current_tape(np.float32).storage
    w = tg.tensor(uniform((8, 8, 3, 3), -0.1, 0.1, 1).astype(np.float32))

    y, live = tg.tensor(uniform((4, 8, 9, 9), -1, 1, 2).astype(np.float32), requires_grad=True), []
    for k in range(8):
        y = F.conv_transpose2d(y, w, padding=1) if k % 2 else F.conv2d(y, w, padding=1)
        live.append(storage.live_bytes)
    assert len(set(live)) == 1


def test_a_batch_with_one_weight_is_one_convolution_as_are_many_weights_of_one_image():
    x, w = np.ones((3, 2, 4, 5, 5)), np.ones((6, 4, 3, 3))
    for function in (F.conv2d, lambda x, w: F.conv_transpose2d(x, w.swapaxes(0, 1))):
        for axes, arguments in (((0, None), (x, w)), ((None, 0), (x[0], np.stack([w, w, w])))):
            batch = tg.compile(tg.vmap(function, axes))
            batch(*arguments)
            assert "of each" not in str(batch.tape) and str(batch.tape).count("conv") == 1


def test_second_derivatives_of_an_empty_batch_are_zero():
    for function, shape in ((F.conv2d, (0, 3, 5, 5)), (F.conv_transpose2d, (0, 5, 3, 3))):
        moves = np.ones(shape), np.ones((5, 3, 3, 3))
        for moved in tg.hvp(lambda x, w, f=function: (f(x, w) ** 2).sum(), moves, moves):
            assert not moved.any()


def test_an_empty_batch_gives_an_empty_result_and_no_gradient():
    for function, shape in ((F.conv2d, (0, 5, 3, 3)), (F.conv_transpose2d, (0, 3, 5, 5))):
        x = np.zeros((0, 3 if function is F.conv2d else 5, *((5, 5) if function is F.conv2d else (3, 3))))
        w = tg.tensor(np.ones((5, 3, 3, 3)), requires_grad=True)
        y = function(tg.tensor(x), w)
        assert y.shape == shape
        y.sum().backward()
        assert not w.grad.numpy().any()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_reaches_the_pixels_that_see_it_and_no_others(value):
    for function, shape in ((F.conv1d, (4, 8, 3)), (F.conv_transpose1d, (8, 4, 3))):
        x = np.ones((1, 8, 7))
        x[0, 2, 3] = value
        y = function(x, np.ones(shape), padding=1).numpy()
        assert not np.isfinite(y[:, :, 2:5]).any() and np.isfinite(y[:, :, [0, 1, 5, 6]]).all()


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
    with pytest.raises(ShapeError, match=r"conv3d: .*\[1, 3, 5, 5\].*\[2, 3, 3, 3\].*D, H, W"):
        F.conv3d(x, np.ones((2, 3, 3, 3)))
    with pytest.raises(ShapeError, match=r"conv_transpose2d: .*\[1, 3, 5, 5\].*\[4, 2, 3, 3\] \(in, out / groups"):
        F.conv_transpose2d(x, np.ones((4, 2, 3, 3)))
    with pytest.raises(ShapeError, match=r"bias of shape \[2\].*expected \[6\]"):
        F.conv_transpose2d(x, np.ones((3, 2, 3, 3)), np.ones(2), groups=3)
    with pytest.raises(ArgumentError, match="output_padding 2 must be less than stride 2"):
        F.conv_transpose2d(x, np.ones((3, 2, 3, 3)), stride=2, output_padding=2)
    with pytest.raises(ShapeError, match=r"\[1, 3, 5, 5\].*\[3, 2, 1, 1\].*extents \[-1, -1\]"):
        F.conv_transpose2d(x, np.ones((3, 2, 1, 1)), padding=3)
