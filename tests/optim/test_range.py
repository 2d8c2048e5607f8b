"""Optimisers at the ends of float32's range, against PyTorch 2.13 (recorded by `record_range`)."""

from pathlib import Path

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import optim

from . import cases, range_cases

RECORD = dict(np.load(Path(__file__).with_name("range.npz")))


@pytest.mark.parametrize("name", RECORD)
def test_fifty_steps_with_gradients_of_any_size_are_those_of_pytorch(name):
    kind, arguments, _ = cases.OPTIMIZERS[name]
    parameter = tg.tensor(range_cases.start(), requires_grad=True)
    optimizer = getattr(optim, kind)([parameter], **arguments)
    for step, gradient in enumerate(range_cases.gradients()):
        parameter.grad = gradient
        optimizer.step()
        np.testing.assert_allclose(parameter.numpy(), RECORD[name][step], rtol=2e-5, atol=2e-6,
                                   err_msg=f"step {step}")
