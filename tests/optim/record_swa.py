"""Writes swa.npz: averages of weights and rates by PyTorch's `swa_utils`.

Made with PyTorch 2.13.0 (CPU) and NumPy, in an environment of their own::

    python tests/optim/record_swa.py
"""

from pathlib import Path

import numpy as np
import swa_cases as cases
import torch
from torch.optim import swa_utils


def main():
    record = {}
    for dtype in (torch.float32, torch.float64):
        label = str(dtype)[6:]
        for name, (maker, decay) in cases.AVERAGES.items():
            model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2)).to(dtype)
            given = {}
            if maker is not None:
                keyword = "multi_avg_fn" if "multi" in maker else "avg_fn"
                given[keyword] = getattr(swa_utils, maker)(*[] if decay is None else [decay])
            averaged = swa_utils.AveragedModel(model, **given)
            for step in range(cases.STEPS):
                with torch.no_grad():
                    for p, values in zip(model.parameters(), cases.values(step)):
                        p.copy_(torch.tensor(values))
                model(torch.tensor(cases.batch(step), dtype=dtype))
                averaged.update_parameters(model)
            record |= {f"{name}/{label}/{key}": value.numpy().copy() for key, value in averaged.state_dict().items()}
            swa_utils.update_bn([torch.tensor(cases.batch(k), dtype=dtype) for k in range(3)], averaged)
            record[f"{name}/{label}/bn"] = averaged.module[1].running_var.numpy().copy()
    for name, options in cases.RATES.items():
        groups = [{"params": [torch.zeros(1, requires_grad=True)], "lr": lr} for lr in (0.1, 0.025)]
        optimizer = torch.optim.SGD(groups)
        scheduler, rates = swa_utils.SWALR(optimizer, **options), []
        for _ in range(20):
            rates.append([group["lr"] for group in optimizer.param_groups])
            optimizer.step()
            scheduler.step()
        record[f"rates/{name}"] = np.array(rates)
    np.savez_compressed(Path(__file__).with_name("swa.npz"), **record)


if __name__ == "__main__":
    main()
