"""Writes range.npz: 50 steps of PyTorch's optimisers on the gradients of `range_cases`.

Made with PyTorch 2.13.0 (CPU) and NumPy, in an environment of their own::

    python tests/optim/record_range.py
"""

from pathlib import Path

import cases
import numpy as np
import range_cases
import torch


def steps(name):
    kind, arguments, _ = cases.OPTIMIZERS[name]
    parameter = torch.tensor(range_cases.start(), requires_grad=True)
    optimizer = getattr(torch.optim, kind)([parameter], **arguments, foreach=False)
    values = []
    for gradient in range_cases.gradients():
        parameter.grad = torch.tensor(gradient)
        optimizer.step()
        values.append(parameter.detach().numpy().copy())
    return np.array(values)


if __name__ == "__main__":
    names = [name for name, case in cases.OPTIMIZERS.items() if case[2] is None]
    np.savez_compressed(Path(__file__).with_name("range.npz"), **{name: steps(name) for name in names})
