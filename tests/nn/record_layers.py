"""Record PyTorch's results of `layer_cases`: ``python -m tests.nn.record_layers``, where PyTorch is installed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from .layer_cases import CASES
from .parity_cases import Case, cotangent


def run(case: Case) -> dict[str, np.ndarray]:
    """PyTorch's result, gradients, and what it did to the running statistics."""
    given = {
        name: torch.tensor(array, requires_grad=array.dtype.kind == "f") for name, array in case.arrays.items()
    }
    options = {k: torch.tensor(v) if isinstance(v, np.ndarray) else v for k, v in case.options.items()}
    result = getattr(torch.nn.functional, case.function)(**given, **options)
    result.backward(torch.tensor(cotangent(tuple(result.shape))))
    found = {"": result.detach().numpy()}
    found |= {name: array.grad.numpy() for name, array in given.items() if array.grad is not None}
    found |= {name: value.numpy() for name, value in options.items() if isinstance(value, torch.Tensor)}
    return found


def main() -> None:
    """Write the file."""
    records = {f"{c.name}{'/' + key if key else ''}": array for c in CASES for key, array in run(c).items()}
    np.savez_compressed(
        Path(__file__).with_name("layer_reference.npz"),
        version=np.array(torch.__version__),
        names=np.array(list(records)),
        lengths=np.array([array.size for array in records.values()], np.int32),
        values=np.concatenate([array.ravel() for array in records.values()]),
    )
    print(f"{len(CASES)} cases, {len(records)} arrays from PyTorch {torch.__version__}")


if __name__ == "__main__":
    main()
