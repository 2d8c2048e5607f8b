"""Up-sampling, against interpolation by the definition in NumPy."""

import numpy as np
import pytest

import tapegrad as tg
import tapegrad.nn.functional as F
from tapegrad.errors import ArgumentError, ShapeError

from .contract import Case, OpContract, uniform
from .derivatives import Derivatives


def naive_resample(x, size, mode, aligned=False, scales=None):
    """One axis after another."""
    for axis, m in enumerate(size, start=2):
        n = x.shape[axis]
        step = n / m if scales is None else 1 / scales[axis - 2]
        if mode == "nearest":
            x = x.take([min(int(k * step), n - 1) for k in range(m)], axis)
            continue
        parts = []
        for k in range(m):
            place = k * (n - 1) / max(m - 1, 1) if aligned else max((k + 0.5) * step - 0.5, 0)
            place = min(place, n - 1)
            i = int(place)
            parts.append((1 - place + i) * x.take(i, axis) + (place - i) * x.take(min(i + 1, n - 1), axis))
        x = np.stack(parts, axis)
    return x


def _case(mode, shape, size, aligned=None, scales=None):
    options = {"mode": mode, **({} if aligned is None else {"align_corners": aligned})}
    given = {"size": size} if scales is None else {"scale_factor": scales}
    inputs = (uniform(shape, -1, 1, 1),)
    return Case(f"{mode} {shape} {given} {aligned}", lambda x: F.interpolate(x, **given, **options),
                lambda x: naive_resample(x, size, mode, bool(aligned), scales), inputs)  # fmt: skip


class TestUpsampling(OpContract, Derivatives):
    cases = [
        _case("nearest", (2, 1, 3), (7,)),
        _case("nearest", (1, 2, 3, 2), (2, 5)),
        _case("nearest", (1, 2, 2, 3), (5, 4), scales=(2.5, 1.5)),
        _case("nearest", (1, 1, 2, 2, 2), (3, 2, 5)),
        _case("linear", (2, 1, 3), (7,)),
        _case("linear", (1, 2, 4), (2,), aligned=True),
        _case("bilinear", (2, 1, 3, 2), (5, 5), aligned=False),
        _case("bilinear", (1, 2, 2, 3), (5, 1), aligned=True),
        _case("bilinear", (1, 1, 3, 2), (7, 3), scales=(2.4, 1.7)),
    ]


def naive_bands(x, size):
    """Means over windows that meet, one axis after another."""
    for axis, m in enumerate(size, start=2):
        n = x.shape[axis]
        ends = [(k * n // m, -(-(k + 1) * n // m)) for k in range(m)]
        x = np.stack([x.take(range(*e), axis).mean(axis) for e in ends], axis)
    return x


def _area(shape, size):
    return Case(f"area {shape} {size}", lambda x: F.interpolate(x, size, mode="area"), lambda x: naive_bands(x, size),
                (uniform(shape, -1, 1, 2),))


class TestBands(OpContract, Derivatives):
    cases = [_area((2, 1, 5), (3,)), _area((1, 2, 4, 3), (7, 2))]


def test_what_is_not_finite_reaches_only_the_pixels_that_it_is_part_of():
    x = np.zeros((1, 1, 1, 4))
    x[..., 1] = np.inf
    np.testing.assert_array_equal(F.interpolate(x, scale_factor=2).numpy()[0, 0, 0],
                                  [0, 0, np.inf, np.inf, 0, 0, 0, 0])  # fmt: skip
    for rows in (x, np.repeat(x, 3, axis=2)):  # PyTorch's first pixel is NaN too: 0 times the second
        y = F.interpolate(rows, scale_factor=2, mode="bilinear").numpy()[0, 0]
        np.testing.assert_array_equal(y, [[np.nan, *(np.inf,) * 4, 0, 0, 0]] * len(y))


def test_resampling_keeps_no_input():
    from tapegrad.ops.upsampling import BLEND, SELECT

    assert SELECT.saved_operands(1) == (2,)  # the table of indices
    assert BLEND.saved_operands(1) == (2, 3)  # and the shares


def test_an_empty_batch_stays_empty():
    x = tg.tensor(np.ones((0, 2, 3, 4)), requires_grad=True)
    for mode in ("nearest", "bilinear"):
        assert F.interpolate(x, size=(5, 6), mode=mode).shape == (0, 2, 5, 6)


def test_wrong_arguments_are_named():
    x = np.ones((1, 2, 3, 4))
    with pytest.raises(ArgumentError, match="interpolate: mode 'cubic' is not supported"):
        F.interpolate(x, 2, mode="cubic")
    with pytest.raises(ArgumentError, match="antialias is only for the modes 'bilinear', 'bicubic', 'lanczos'"):
        F.interpolate(x, 2, antialias=True)
    with pytest.raises(ArgumentError, match="'lanczos' needs antialias=True"):
        F.interpolate(x, 2, mode="lanczos")
    with pytest.raises(ArgumentError, match="align_corners"):
        F.interpolate(x, 2, align_corners=False)
    with pytest.raises(ArgumentError, match="either size or scale_factor"):
        F.interpolate(x)
    with pytest.raises(ArgumentError, match="either size or scale_factor"):
        F.interpolate(x, 2, 2.0)
    with pytest.raises(ArgumentError, match="recompute_scale_factor"):
        F.interpolate(x, 2, recompute_scale_factor=True)
    with pytest.raises(ArgumentError, match="scale_factor must be .* or 2 of them"):
        F.interpolate(x, scale_factor=(2, 2, 2))
    with pytest.raises(ShapeError, match=r"\[3, 4\] times 0.3 leave \[0, 1\]"):
        F.interpolate(x, scale_factor=0.3)
    with pytest.raises(ShapeError, match=r"interpolate: .*\[1, 2, 3, 4\] in mode 'linear'; expected \(N, C, L\)"):
        F.interpolate(x, 2, mode="linear")
    with pytest.raises(ShapeError, match=r"^Upsample: .*\[2, 3\]"):
        tg.nn.Upsample(size=3)(np.ones((2, 3), np.float32))
