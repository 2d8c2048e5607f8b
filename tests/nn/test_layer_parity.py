"""Convolution, pooling, normalisation and embedding against numbers recorded from PyTorch; see `record_layers.py`."""

from pathlib import Path

import numpy as np
import pytest

import tapegrad as tg
import tapegrad.nn.functional as F

from .layer_cases import CASES, Case
from .parity_cases import cotangent


def _load() -> dict[str, np.ndarray]:
    with np.load(Path(__file__).with_name("layer_reference.npz")) as file:
        parts = np.split(file["values"], np.cumsum(file["lengths"])[:-1])
        return dict(zip(file["names"].tolist(), parts, strict=True))


REFERENCE = _load()


def relative_error(found: np.ndarray, name: str) -> float:
    """The greatest difference, relative to the greatest magnitude (at least 1)."""
    want = REFERENCE[name].reshape(found.shape)
    return float(np.max(np.abs(found - want), initial=0.0) / max(1.0, np.max(np.abs(want), initial=0.0)))


def errors(case: Case, dtype) -> dict[str, float]:
    """By result, gradient and running statistic."""
    given = {
        name: tg.tensor(array.astype(dtype), requires_grad=True) if array.dtype.kind == "f" else array
        for name, array in case.arrays.items()
    }
    options = {
        name: tg.tensor(value.astype(dtype)) if isinstance(value, np.ndarray) else value
        for name, value in case.options.items()
    }
    result = getattr(F, case.function)(**given, **options)
    result.backward(cotangent(result.shape))
    found = {case.name: result.numpy()}
    found |= {f"{case.name}/{k}": t.grad.numpy() for k, t in given.items() if isinstance(t, tg.Tensor)}
    found |= {f"{case.name}/{k}": t.numpy() for k, t in options.items() if isinstance(t, tg.Tensor)}
    return {name: relative_error(array, name) for name, array in found.items()}


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(np.float64, 1e-12), (np.float32, 2e-5)], ids=["float64", "float32"]
)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_result_and_gradients_are_those_of_pytorch(case: Case, dtype, tolerance):
    # the greatest error in float32 is where two values are normalised alone: their gradient is a difference near 0
    found = errors(case, dtype)
    assert max(found.values()) < tolerance, found


def test_the_reference_has_every_case_and_no_other():
    assert {name.partition("/")[0] for name in REFERENCE} == {case.name for case in CASES}
