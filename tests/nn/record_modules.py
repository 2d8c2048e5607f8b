"""Have PyTorch save the models of `module_models`: ``python -m tests.nn.record_modules``, where it is installed.

Writes ``module_<name>.safetensors``: the state dict, and as ``result`` and ``gradient.<name>`` what the model gives in
evaluation mode for `data` and the gradients of the sum of its squares.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file

from .module_models import MODELS, data, output


def main() -> None:
    """Write the files."""
    for name, make in MODELS.items():
        torch.manual_seed(0)
        model = make(torch.nn).double()
        x = torch.tensor(data(name))
        output(name, model, x)  # moves the running statistics
        model.eval()
        result = output(name, model, x)
        (result ** 2).sum().backward()
        arrays = {**model.state_dict(), "result": result.detach()}
        arrays |= {f"gradient.{key}": p.grad for key, p in model.named_parameters()}
        save_file({key: array.contiguous() for key, array in arrays.items()},
                  Path(__file__).with_name(f"module_{name}.safetensors"))
        print(name, len(arrays), "arrays")


if __name__ == "__main__":
    main()
