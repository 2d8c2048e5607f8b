"""bfloat16, to which gradients are rounded; ranks themselves are tested in test_ranks."""

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import nn, optim
from tapegrad.errors import ArgumentError
from tapegrad.program.ranks.exchange import rounded, widened


def test_rounding_takes_the_nearest_number_of_eight_bits():
    x = np.random.default_rng(0).normal(size=4000) * 10.0 ** np.random.default_rng(1).integers(-30, 30, 4000)
    x = x.astype(np.float32)
    digits, exponent = np.frexp(x.astype(float))
    expected = np.ldexp(np.round(digits * 256), exponent - 8)  # ties to even
    assert (widened(rounded(x), np.dtype(np.float64)) == expected).all()
    assert (np.abs(expected - x) <= np.abs(x) / 256).all()


def test_rounding_keeps_what_is_no_number():
    x = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 3.4e38, 1e300, np.uint32(0xFFFFFFFF).view(np.float32)])
    back = widened(rounded(x), x.dtype)
    assert np.isnan(back[[0, 7]]).all() and (back[1:5] == x[1:5]).all() and np.signbit(back[4])
    assert np.isinf(back[[5, 6]]).all()


def _step(**options):
    model = nn.Linear(2, 1)
    return tg.TrainStep(lambda x: model(x).mean(), optim.SGD(model.parameters(), lr=0.1), **options)


def test_settings_are_checked_and_one_process_sends_nothing(tmp_path):
    with pytest.raises(ArgumentError, match="compression must be 'bfloat16' or None, not 'fp8'"):
        _step(compression="fp8")
    with pytest.raises(ArgumentError, match="bucket_bytes must be positive, not 0"):
        _step(bucket_bytes=0)
    step = _step(bucket_bytes="1MiB", compression="bfloat16")
    step(np.ones((3, 2), np.float32))
    found = step.explain_communication()
    assert str(found) == "one process: nothing is sent" and found.nbytes == 0
    with pytest.raises(ArgumentError, match="nothing to draw"):
        found.plot(tmp_path / "x.png")
