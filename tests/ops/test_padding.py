"""Padding: NumPy's `pad`, against NumPy's; PyTorch's, against the same frame in NumPy's terms."""

import numpy as np
import pytest

import tapegrad as tg
import tapegrad.nn.functional as F
from tapegrad.errors import ArgumentError, ShapeError

from .contract import Case, OpContract, uniform
from .derivatives import Derivatives

#: PyTorch's names of NumPy's modes
MODES = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def _numpy(mode, width, shape):
    return Case(f"np.pad {mode} {width}", lambda x: tg.pad(x, width, mode=mode), lambda x: np.pad(x, width, mode=mode),
                (uniform(shape, -1, 1, 1),))  # fmt: skip


def _torch(mode, pad, shape):
    pairs = [(0, 0)] * (len(shape) - len(pad) // 2) + list(zip(pad[::2], pad[1::2]))[::-1]
    return Case(f"pad {mode} {pad}", lambda x: F.pad(x, pad, mode=mode), lambda x: np.pad(x, pairs, mode=MODES[mode]),
                (uniform(shape, -1, 1, 2),))  # fmt: skip


class TestPadding(OpContract, Derivatives):
    cases = [
        _numpy("reflect", ((1, 2), (0, 3)), (3, 2)),
        _numpy("symmetric", ((4, 0), (0, 0), (1, 1)), (2, 1, 2)),
        _numpy("edge", 2, (3,)),
        _numpy("wrap", ((3, 1), (0, 0)), (2, 3)),
        _torch("constant", (1, 2, 0, 1), (2, 3, 2)),
        _torch("replicate", (4, 1, 0, 2), (2, 2, 2)),
        _torch("circular", (2, 0, 1, 1, 2, 1), (1, 2, 3, 2)),
        Case("pad cut", lambda x: F.pad(x, (-1, 2, 1, -2), value=3.0),
             lambda x: np.pad(x[:-2, 1:], ((1, 0), (0, 2)), constant_values=3.0), (uniform((4, 3), -1, 1, 3),)),
    ]  # fmt: skip


@pytest.mark.parametrize("mode", ["reflect", "edge", "wrap", "symmetric"])
def test_a_frame_wider_than_the_array_repeats_it_and_its_gradient_adds_up(mode):
    x = tg.tensor(np.array([1.0, 2.0, 4.0]), requires_grad=True)
    y = np.pad(x, (7, 5), mode=mode)
    np.testing.assert_array_equal(y.numpy(), np.pad(x.numpy(), (7, 5), mode=mode))
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [(y.numpy() == v).sum() for v in (1.0, 2.0, 4.0)])


def test_values_that_are_not_finite_are_copied():
    x = np.array([[np.nan, -np.inf, 1.0]], np.float32)
    np.testing.assert_array_equal(F.pad(x, (2, 1), mode="reflect").numpy(),
                                  [[1, -np.inf, np.nan, -np.inf, 1, -np.inf]])  # fmt: skip
    np.testing.assert_array_equal(F.pad(x, (1, 0), value=np.inf).numpy()[0, :1], [np.inf])


def test_an_empty_batch_can_be_padded():
    for mode in MODES:
        assert F.pad(np.ones((0, 2, 3)), (1, 1), mode=mode).shape == (0, 2, 5)


def test_wrong_arguments_are_named():
    x = np.ones((2, 3, 4))
    with pytest.raises(ArgumentError, match="pad: mode 'mean' is not known"):
        tg.pad(x, 1, mode="mean")
    with pytest.raises(ShapeError, match=r"empty axis of \[0, 2\]"):
        tg.pad(np.ones((0, 2)), 1, mode="edge")
    with pytest.raises(ShapeError, match=r"pad: pad_width .* does not fit 3 axes of \[2, 3, 4\]"):
        tg.pad(x, ((1, 1), (2, 2)))
    with pytest.raises(ArgumentError, match="of integers"):
        tg.pad(x, 1.5)
    with pytest.raises(ArgumentError, match="one number"):
        tg.pad(x, 1, constant_values=[1, 2])
    with pytest.raises(ArgumentError, match="pad: mode 'edge' is not known; .*'replicate'"):
        F.pad(x, (1, 1), mode="edge")
    with pytest.raises(ShapeError, match=r"3 widths \[1, 1, 1\] do not fit an input of shape \[2, 3, 4\]"):
        F.pad(x, (1, 1, 1))
    with pytest.raises(ShapeError, match=r"cut off more than an input of shape \[2, 3, 4\]"):
        F.pad(x, (-3, -2))
    with pytest.raises(ShapeError, match=r"widths \[4, 0\] do not fit axis 2 .*\[2, 3, 4\]; at most 3"):
        F.pad(x, (4, 0), mode="reflect")
    with pytest.raises(ShapeError, match=r"widths \[0, 5\] do not fit axis 2 .*at most 4 in mode 'circular'"):
        F.pad(x, (0, 5), mode="circular")
    with pytest.raises(ShapeError, match=r"6 widths in mode 'reflect' do not fit .*\[2, 3, 4\]"):
        F.pad(x, (1, 1, 1, 1, 1, 1), mode="reflect")
    with pytest.raises(ArgumentError, match="takes no value"):
        F.pad(x, (1, 1), mode="circular", value=1.0)
