"""Record PyTorch's results of families of cases, where PyTorch is installed.

    python -m tests.nn.record_layers layer convolution ...

writes ``<family>_reference.npz`` for the cases of ``<family>_cases.py``.
"""

from __future__ import annotations

import sys
from functools import reduce
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .parity_cases import Case, cotangent, parameter_values
from .reference import save


def first_float(result: Any) -> torch.Tensor:
    """The result itself, or the first of several that can be differentiated."""
    if isinstance(result, torch.Tensor):
        return result
    return next(part for part in result if isinstance(part, torch.Tensor) and part.is_floating_point())


def run(case: Case) -> dict[str, np.ndarray]:
    """PyTorch's result, gradients, and what it did to the running statistics."""
    given = {
        name: torch.tensor(array, requires_grad=array.dtype.kind == "f") for name, array in case.arrays.items()
    }
    options = {k: torch.tensor(v) if isinstance(v, np.ndarray) else v for k, v in case.options.items()}
    parameters: dict[str, Any] = {}
    if case.module is not None:
        module = getattr(torch.nn, case.function)(**case.module).double()
        parameters = dict(module.named_parameters())
        with torch.no_grad():
            for name, array in parameter_values({k: tuple(p.shape) for k, p in parameters.items()}).items():
                parameters[name].copy_(torch.tensor(array))
        result = first_float(module(*given.values(), **options))
    else:
        path = case.peer or f"nn.functional.{case.function}"
        result = first_float(reduce(getattr, path.split("."), torch)(**given, **options))
    result.backward(torch.tensor(cotangent(tuple(result.shape))))
    found = {"": result.detach().numpy()}
    for name, array in (*given.items(), *parameters.items()):
        if array.grad is not None:
            found[name] = array.grad.numpy()
    found |= {name: value.numpy() for name, value in options.items()
              if isinstance(value, torch.Tensor) and value.is_floating_point()}
    return found


def main() -> None:
    """Write the files."""
    for family in sys.argv[1:]:
        cases = import_module(f"{__package__}.{family}_cases").CASES
        records = {f"{c.name}{'/' + key if key else ''}": array for c in cases for key, array in run(c).items()}
        save(Path(__file__).with_name(f"{family}_reference.npz"), records, torch.__version__)
        print(f"{family}: {len(cases)} cases, {len(records)} arrays from PyTorch {torch.__version__}")


if __name__ == "__main__":
    main()
