"""Record what becomes of layers whose weights are computed, where PyTorch is installed.

    python -m tests.nn.record_parametrizations
"""

from __future__ import annotations

from functools import reduce
from pathlib import Path

import torch

from .parametrization_cases import CASES, RATE, STEPS, given
from .reference import save


def main() -> None:
    """Write the file."""
    records = {}
    for name, (layer, arguments, function, options) in CASES.items():
        torch.manual_seed(0)
        module = getattr(torch.nn, layer)(*arguments, **({} if function else options), dtype=torch.float64)
        records[f"{name}/weight"] = module.weight.detach().numpy().copy()
        if function:
            reduce(getattr, function.split("."), torch.nn.utils)(module, **options)
        records |= {f"{name}/before/{key}": value.numpy().copy() for key, value in module.state_dict().items()}
        optimizer, x = torch.optim.SGD(module.parameters(), RATE), torch.tensor(given(layer, arguments))
        for _ in range(STEPS):
            optimizer.zero_grad()
            (module(x) ** 2).mean().backward()
            optimizer.step()
        records |= {f"{name}/after/{key}": value.numpy().copy() for key, value in module.state_dict().items()}
        records[f"{name}/output"] = module.eval()(x).detach().numpy()
    save(Path(__file__).with_name("parametrization.npz"), records, torch.__version__)
    print(f"{len(CASES)} cases, {len(records)} arrays from PyTorch {torch.__version__}")


if __name__ == "__main__":
    main()
