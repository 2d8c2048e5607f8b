"""Every family of layers and functions against numbers recorded from PyTorch; see `record_layers.py`.

A family is a module ``<family>_cases.py`` with its ``<family>_reference.npz``.
"""

from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

import tapegrad as tg
import tapegrad.nn.functional as F
from tapegrad import nn

from .dtypes import in_both_dtypes
from .parity_cases import Case, cotangent, parameter_values
from .reference import load

FAMILIES = sorted(path.name.removesuffix("_reference.npz") for path in Path(__file__).parent.glob("*_reference.npz")
                  if path.with_name(path.name.replace("_reference.npz", "_cases.py")).exists())
CASES = [(family, case) for family in FAMILIES for case in import_module(f"{__package__}.{family}_cases").CASES]

REFERENCE = {family: load(Path(__file__).with_name(f"{family}_reference.npz")) for family in FAMILIES}


def relative_error(found: np.ndarray, want: np.ndarray) -> float:
    """The greatest difference, relative to the greatest magnitude (at least 1)."""
    want = want.reshape(found.shape)
    return float(np.max(np.abs(found - want), initial=0.0) / max(1.0, np.max(np.abs(want), initial=0.0)))


def results(case: Case, dtype) -> dict[str, np.ndarray]:
    """By name: the result, the gradients, and the running statistics."""
    given = {
        name: tg.tensor(array.astype(dtype), requires_grad=True) if array.dtype.kind == "f" else array
        for name, array in case.arrays.items()
    }
    options = {
        name: tg.tensor(value.astype(dtype)) if isinstance(value, np.ndarray) and value.dtype.kind == "f" else value
        for name, value in case.options.items()
    }
    parameters = {}
    if case.module is not None:
        module = getattr(nn, case.function)(**case.module).to(dtype)
        shapes = {name: p.shape for name, p in module.named_parameters()}
        module.load_state_dict({**module.state_dict(), **parameter_values(shapes)})
        parameters = dict(module.named_parameters())
        result = module(*given.values(), **options)
    else:
        result = getattr(F, case.function, None) or getattr(tg, case.function)
        result = result(**given, **options)
    if not isinstance(result, tg.Tensor):
        result = next(part for part in result if isinstance(part, tg.Tensor) and part.is_floating)
    result.backward(cotangent(result.shape))
    found = {"": result.numpy()}
    found |= {k: t.grad.numpy() for k, t in (*given.items(), *parameters.items()) if isinstance(t, tg.Tensor)}
    return found | {k: t.numpy() for k, t in options.items() if isinstance(t, tg.Tensor)}


@pytest.mark.parametrize(
    ("family", "case", "dtype", "tolerance"),
    in_both_dtypes(((f"{family} {case.name}", (family, case)) for family, case in CASES), double=1e-12, single=2e-5),
)
def test_result_and_gradients_are_those_of_pytorch(family: str, case: Case, dtype, tolerance):
    # the greatest error in float32 is where two values are normalised alone: their gradient is a difference near 0
    want = REFERENCE[family]
    errors = {name: relative_error(array, want[f"{case.name}{'/' + name if name else ''}"])
              for name, array in results(case, dtype).items()}
    assert max(errors.values()) < tolerance, errors


@pytest.mark.parametrize("family", FAMILIES)
def test_the_reference_has_every_case_and_no_other(family: str):
    recorded = {name.partition("/")[0] for name in REFERENCE[family]}
    assert recorded == {case.name for of, case in CASES if of == family}
