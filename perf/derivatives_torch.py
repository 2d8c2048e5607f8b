"""The works of derivatives.py in PyTorch eager: the PINN."""

from __future__ import annotations

from typing import Any

import derivative_works as works
import numpy as np
from worker import CHECKED_STEPS, Way


def begin(threads: int) -> str:
    """The version."""
    import torch

    torch.set_num_threads(threads)
    return torch.__version__


def pinn(work: Any) -> Way:
    import torch

    _, *widths = work.sizes
    p = {name: torch.tensor(a, requires_grad=True) for name, a in works.weights(work, tuple(widths)).items()}
    inner, border = map(torch.tensor, works.points(work))
    inner.requires_grad_(True)
    optimizer = torch.optim.Adam(list(p.values()), lr=1e-3)

    def u(x: Any) -> Any:
        for k in range(len(widths) - 1):
            x = torch.nn.functional.linear(x, p[f"w{k}"], p[f"b{k}"])
            x = torch.tanh(x) if k < len(widths) - 2 else x
        return x[:, 0]

    def step() -> Any:
        optimizer.zero_grad()
        first, = torch.autograd.grad(u(inner).sum(), inner, create_graph=True)
        laplacian = sum(torch.autograd.grad(first[:, k].sum(), inner, create_graph=True)[0][:, k] for k in range(2))
        source = 2.0 * np.pi ** 2 * torch.sin(np.pi * inner[:, 0]) * torch.sin(np.pi * inner[:, 1])
        loss = ((laplacian + source) ** 2).mean() + (u(border) ** 2).mean()
        loss.backward()
        optimizer.step()
        return loss

    losses = [step().item()]
    gradients = {name: t.grad.numpy().copy() for name, t in p.items()}
    losses += [step().item() for _ in range(CHECKED_STEPS - 1)]

    def run(steps: int) -> None:
        for _ in range(steps):
            step()

    return Way(losses, gradients, run)


WAYS = {"PyTorch eager": (lambda work: work.kind == "pinn", pinn)}
