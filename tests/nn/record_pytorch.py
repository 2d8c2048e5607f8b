"""Make `pytorch_reference.npz` and `pytorch_model.safetensors`, where PyTorch and safetensors are installed.

    python tests/nn/record_pytorch.py

The reference holds, for every case of `parity_cases.py` in order, the result and the gradients of its float
arrays in float64, all one after the other in `values`; `names` and `lengths` say what they are.
"""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch
from parity_cases import CASES, Case, cotangent
from reference import save
from safetensors.torch import save_file
from torch import nn

HERE = Path(__file__).parent


def run(case: Case) -> dict[str, np.ndarray]:
    """PyTorch's result and gradients of a case."""
    arrays = {name: torch.tensor(array) for name, array in case.arrays.items()}
    if case.gradients:
        for array in arrays.values():
            array.requires_grad_(array.is_floating_point())
    options = {k: torch.tensor(v) if isinstance(v, np.ndarray) else v for k, v in case.options.items()}
    result = getattr(torch.nn.functional, case.function)(*arrays.values(), **options)
    found = {"": result.detach().numpy()}
    if case.gradients:
        result.backward(torch.tensor(cotangent(tuple(result.shape))))
        found |= {name: array.grad.numpy() for name, array in arrays.items() if array.grad is not None}
    return found


def model() -> nn.Module:
    """The architecture that `test_state_dict.py` builds again."""
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 4, bias=False))
    return nn.Sequential(OrderedDict(encoder=encoder, activation=nn.ReLU(), head=nn.Linear(4, 2)))


def main() -> None:
    """Write both files."""
    records = {
        f"{case.name}{'/' + key if key else ''}": array for case in CASES for key, array in run(case).items()
    }
    net = model()
    save_file(net.state_dict(), HERE / "pytorch_model.safetensors")
    records["model"] = net(torch.linspace(-1, 1, 12).reshape(4, 3)).detach().numpy().astype(np.float64)
    save(HERE / "pytorch_reference.npz", records, torch.__version__)
    print(f"{len(CASES)} cases, {len(records)} arrays from PyTorch {torch.__version__}")


if __name__ == "__main__":
    main()
