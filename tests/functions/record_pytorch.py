"""Record what PyTorch gives for `pytorch_cases`, where it is installed.

    python -m tests.functions.record_pytorch
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..nn.reference import save
from .pytorch_cases import ARRAYS, CASES, cotangent


def run(expression: str, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """By name: the results, flat, and the gradient by x."""
    given = {name: torch.tensor(array) for name, array in arrays.items()}
    given["x"].requires_grad_(True)
    results = eval(expression, {"T": torch, **given})
    found, loss = {}, 0.0
    for k, result in enumerate(results if isinstance(results, (tuple, list)) else [results]):
        part = torch.as_tensor(result)
        found[str(k)] = part.detach().numpy().astype(np.float64)
        if part.requires_grad:
            loss = loss + (part * torch.tensor(cotangent(tuple(part.shape), k))).sum()
    if isinstance(loss, torch.Tensor):
        loss.backward()
        gradient = given["x"].grad
        found["x"] = np.zeros(given["x"].shape) if gradient is None else gradient.numpy()
    return found


def main(file: str = "pytorch.npz", cases: Any = CASES, arrays_by_name: Any = ARRAYS) -> None:
    """Write the file."""
    warnings.simplefilter("ignore")
    records = {}
    for expression, name in cases:
        try:
            found = run(expression, arrays_by_name[name])
        except Exception as error:
            raise SystemExit(f"PyTorch refuses {expression} over {name}: {error}") from error
        records.update({f"{expression}|{name}|{part}": array for part, array in found.items()})
    save(Path(__file__).with_name(file), records, torch.__version__)
    print(f"{len(cases)} cases, {len(records)} arrays from PyTorch {torch.__version__}")


if __name__ == "__main__":
    main()
