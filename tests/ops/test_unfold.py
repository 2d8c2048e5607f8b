"""Unfold and fold, against patches cut out one by one in NumPy."""

import numpy as np
import pytest

import tapegrad as tg
import tapegrad.nn.functional as F
from tapegrad.errors import ArgumentError, ShapeError

from .contract import Case, OpContract, close, uniform
from .derivatives import Derivatives


def pair(value):
    return (value, value) if np.isscalar(value) else tuple(value)


def patches(size, kernel_size, dilation=1, padding=0, stride=1):
    """For each patch the rows and columns of the padded image that it sees."""
    kernel, gap, edge, step = pair(kernel_size), pair(dilation), pair(padding), pair(stride)
    seen = [[s * k + d * np.arange(t) for k in range((n + 2 * p - d * (t - 1) - 1) // s + 1)]
            for n, t, d, p, s in zip(size, kernel, gap, edge, step)]  # fmt: skip
    return [np.ix_(rows, columns) for rows in seen[0] for columns in seen[1]]


def naive_unfold(x, **options):
    (p, q), lead = pair(options.get("padding", 0)), x.shape[:-3]
    padded = np.pad(x, [(0, 0)] * (x.ndim - 2) + [(p, p), (q, q)])
    return np.stack([padded[(..., *at)].reshape(*lead, -1) for at in patches(x.shape[-2:], **options)], -1)


def naive_fold(x, output_size, **options):
    (p, q), (h, w), kernel = pair(options.get("padding", 0)), pair(output_size), pair(options["kernel_size"])
    image = np.zeros((*x.shape[:-2], x.shape[-2] // np.prod(kernel), h + 2 * p, w + 2 * q))
    for k, at in enumerate(patches((h, w), **options)):
        image[(..., *at)] += x[..., k].reshape(*image.shape[:-2], *kernel)
    return image[..., p : p + h, q : q + w]


def _unfold(shape, **options):
    return Case(f"unfold {shape} {options}", lambda x: F.unfold(x, **options), lambda x: naive_unfold(x, **options),
                (uniform(shape, -1, 1, 1),))  # fmt: skip


def _fold(shape, **options):
    return Case(f"fold {shape} {options}", lambda x: F.fold(x, **options), lambda x: naive_fold(x, **options),
                (uniform(shape, -1, 1, 1),))  # fmt: skip


class TestUnfold(OpContract, Derivatives):
    cases = [
        _unfold((2, 2, 3, 4), kernel_size=2),
        _unfold((2, 4, 5), kernel_size=(2, 3), dilation=(2, 1), padding=(1, 2), stride=(2, 3)),
        _unfold((1, 1, 3, 3), kernel_size=1, padding=2, stride=3),
        _fold((2, 8, 6), output_size=(3, 4), kernel_size=2),
        _fold((6, 6), output_size=(4, 5), kernel_size=(2, 3), dilation=(2, 1), padding=(1, 2), stride=(2, 3)),
        _fold((1, 4, 4), output_size=4, kernel_size=2, stride=2),
    ]


def test_folding_what_was_unfolded_counts_how_often_a_pixel_was_seen():
    x = uniform((1, 2, 5, 4), -1, 1, 1)
    count = F.fold(F.unfold(np.ones_like(x), 3, padding=1), (5, 4), 3, padding=1).numpy()
    close(F.fold(F.unfold(x, 3, padding=1), (5, 4), 3, padding=1).numpy(), x * count, 1e-14)
    np.testing.assert_array_equal(count[0, 0], np.outer([2, 3, 3, 3, 2], [2, 3, 3, 2]))


def test_they_keep_nothing():
    from tapegrad.ops.unfold import FOLD, UNFOLD

    assert UNFOLD.saved_operands(1) == FOLD.saved_operands(1) == ()


def test_shapes_that_do_not_fit_are_named():
    x = np.ones((1, 3, 4, 4), np.float32)
    with pytest.raises(ShapeError, match=r"unfold: an input of shape \[4, 4\]"):
        F.unfold(x[0, 0], 2)
    with pytest.raises(ShapeError, match=r"image of \[4, 4\] with padding 0 is smaller than the kernel \[5, 5\]"):
        F.unfold(x, 5)
    with pytest.raises(ShapeError, match=r"fold: an input of shape \[1, 7, 9\] with a kernel of \[2, 2\]"):
        F.fold(np.ones((1, 7, 9)), 4, 2)
    with pytest.raises(ShapeError, match=r"^Fold: .*\[1, 8, 10\] has 10 columns; an image of \[4, 4\] has 9 patches"):
        tg.nn.Fold(4, 2)(np.ones((1, 8, 10), np.float32))
    with pytest.raises(ArgumentError, match="Unfold: kernel_size"):
        tg.nn.Unfold((2, 2, 2))(x)
