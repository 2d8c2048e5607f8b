"""Models saved by PyTorch give here what they gave there; see `record_modules.py`."""

from pathlib import Path

import numpy as np
import pytest

import tapegrad as tg
from tapegrad import nn, optim

from .module_models import MODELS, data, output


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-12), (np.float32, 1e-5)], ids=["float64", "float32"])
@pytest.mark.parametrize("name", MODELS)
def test_a_model_saved_by_pytorch_gives_its_results_and_gradients(name, dtype, tolerance):
    arrays = tg.load(Path(__file__).with_name(f"module_{name}.safetensors"))
    result = arrays.pop("result")
    gradients = {key.removeprefix("gradient."): arrays.pop(key) for key in list(arrays) if key.startswith("gradient.")}
    model = MODELS[name](nn).to(dtype)
    model.load_state_dict(arrays)
    model.eval()
    x = data(name)
    given = tg.tensor(x.astype(dtype)) if x.dtype.kind == "f" else x
    found = output(name, model, given)
    (found ** 2).sum().backward()
    _close(found.numpy(), result, tolerance)
    for key, parameter in model.named_parameters():
        _close(parameter.grad.numpy(), gradients[key], tolerance)
    step = tg.TrainStep(lambda x: (output(name, model, x) ** 2).sum(), optim.SGD(model.parameters(), lr=0.0))
    assert step(x.astype(dtype) if x.dtype.kind == "f" else x) == pytest.approx((result ** 2).sum(), rel=1e-5)


def _close(found, want, tolerance):
    assert np.abs(found - want).max() <= tolerance * max(1.0, np.abs(want).max())
