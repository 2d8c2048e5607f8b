"""Writes sparse.npz: tables trained by PyTorch with sparse gradients, on the cases of `sparse_cases`.

Made with PyTorch 2.13.0 (CPU) and NumPy, in an environment of their own::

    python tests/optim/record_sparse.py
"""

from pathlib import Path

import numpy as np
import sparse_cases as cases
import torch


def train(name, dtype, record):
    kind, arguments, layer, options, calls = cases.CASES[name]
    table = getattr(torch.nn, layer)(cases.ROWS, cases.WIDTH, sparse=True, dtype=dtype, **options)
    with torch.no_grad():
        table.weight.copy_(torch.tensor(cases.start()))
    optimizer = getattr(torch.optim, kind)(table.parameters(), **arguments)
    losses = []
    for step in range(cases.STEPS):
        optimizer.zero_grad()
        for call in range(calls):
            index, weights = cases.batch(step, call)
            loss = cases.loss(table(torch.tensor(index)), torch.tensor(weights, dtype=dtype))
            loss.backward()
            losses.append(loss.item())
        assert table.weight.grad.is_sparse
        optimizer.step()
        if step + 1 == cases.STEPS // 2 and dtype == torch.float64 and name in cases.STATEFUL:
            record[f"half/{name}"] = table.weight.detach().numpy().copy()
            for key, value in optimizer.state[table.weight].items():
                record[f"half/{name}/{key}"] = np.array(value)
    label = str(dtype)[6:]
    record[f"end/{name}/{label}"], record[f"losses/{name}/{label}"] = table.weight.detach().numpy(), np.array(losses)


def main():
    record = {}
    for dtype in (torch.float32, torch.float64):
        for name in cases.CASES:
            train(name, dtype, record)
    np.savez_compressed(Path(__file__).with_name("sparse.npz"), **record)


if __name__ == "__main__":
    main()
