"""Functions of `nn.functional` against numbers recorded from PyTorch; see `record_pytorch.py`."""

from pathlib import Path

import numpy as np
import pytest

import tapegrad as tg
import tapegrad.nn.functional as F

from .dtypes import in_both_dtypes
from .parity_cases import CASES, Case, cotangent
from .reference import load

REFERENCE = load(Path(__file__).with_name("pytorch_reference.npz"))


@pytest.mark.parametrize(
    ("case", "dtype", "tolerance"),
    in_both_dtypes(((case.name, (case,)) for case in CASES), double=1e-11, single=2e-5),
)
def test_result_and_gradients_are_those_of_pytorch(case: Case, dtype, tolerance):
    arrays = {
        name: tg.tensor(array.astype(dtype), requires_grad=case.gradients)
        if array.dtype.kind == "f"
        else array
        for name, array in case.arrays.items()
    }
    result = getattr(F, case.function)(*arrays.values(), **case.options)
    _compare(result.numpy(), case.name, tolerance)
    if case.gradients:
        result.backward(cotangent(result.shape))
        for name, array in arrays.items():
            if f"{case.name}/{name}" in REFERENCE:
                assert array.grad is not None, name
                _compare(array.grad.numpy(), f"{case.name}/{name}", tolerance)


def _compare(found: np.ndarray, name: str, tolerance: float) -> None:
    want = REFERENCE[name].reshape(found.shape)
    scale = max(1.0, np.max(np.abs(want[np.isfinite(want)]), initial=0.0))
    np.testing.assert_allclose(found, want, rtol=tolerance, atol=tolerance * scale, err_msg=name)


def test_the_reference_has_every_case_and_no_other():
    assert {name.partition("/")[0] for name in REFERENCE} == {case.name for case in CASES} | {"model"}
