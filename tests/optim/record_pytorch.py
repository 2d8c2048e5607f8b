"""Writes pytorch.npz: what PyTorch's optimisers, schedulers and clipping give on the cases of `cases`.

Made with PyTorch 2.13.0 (CPU) and NumPy, in an environment of their own::

    python tests/optim/record_pytorch.py

Gradients are drawn once and stored, rounded to float32 so that both dtypes see the same numbers; each optimiser starts
from the same parameters and is fed the same 50 gradients, so that the record depends on its update alone. In float64
PyTorch's default dtype is set to float64 too, for NAdam keeps a product of momenta in the default dtype. Muon's
iteration is kept in the dtype of its parameters, where PyTorch rounds it to bfloat16.
"""

from pathlib import Path

import cases
import numpy as np
import torch


def fill(parameters, gradients, step):
    for k, parameter in enumerate(parameters):
        parameter.grad = torch.tensor(gradients[k][step], dtype=parameter.dtype)


def make(start, dtype):
    return [torch.tensor(a, dtype=dtype, requires_grad=True) for a in start]


def optimizer_of(name, parameters):
    kind, arguments, _ = cases.OPTIMIZERS[name]
    return getattr(torch.optim, kind)(cases.groups(name, parameters), **arguments)


def values(tensors):
    return cases.flat([t.detach().numpy() for t in tensors])


def record_optimizers(record, start, gradients, dtype):
    ends = []
    for name in cases.OPTIMIZERS:
        parameters = make(start, dtype)
        optimizer = optimizer_of(name, parameters)
        for step in range(cases.STEPS):
            fill(parameters, gradients, step)
            optimizer.step()
            if step + 1 == cases.STEPS // 2 and dtype == torch.float64 and name in cases.HALF:
                record[f"half/{name}"] = values(parameters)
                for k, parameter in enumerate(parameters):
                    for key, value in optimizer.state[parameter].items():
                        if value is not None:
                            record[f"half/{name}/{k}/{key}"] = value.detach().numpy().copy()
        ends.append(values(parameters))
    record[f"optimizers/{str(dtype)[6:]}"] = np.array(ends)


def record_shaped(record, dtype):
    for name, (kind, arguments, shape) in cases.SHAPED.items():
        rng = np.random.default_rng(5)
        start, gradients = rng.normal(size=shape), rng.normal(size=(cases.STEPS, *shape))
        parameters = make([start], dtype)
        optimizer = getattr(torch.optim, kind)(parameters, **arguments)
        for step in range(cases.STEPS):
            fill(parameters, [gradients], step)
            optimizer.step()
        record[f"shaped/{name}/{str(dtype)[6:]}"] = parameters[0].detach().numpy()


def record_clipping(record, start, gradients, dtype):
    label = str(dtype)[6:]
    for name, (max_norm, order) in cases.NORMS.items():
        parameters = make(start, dtype)
        fill(parameters, gradients, 0)
        total = torch.nn.utils.clip_grad_norm_(parameters, max_norm, order)
        record[f"norm/{name}/{label}"] = np.append(values(p.grad for p in parameters), total.numpy())
    parameters = make(start, dtype)
    fill(parameters, gradients, 0)
    torch.nn.utils.clip_grad_value_(parameters, cases.CLIP_VALUE)
    record[f"value/{label}"] = values(p.grad for p in parameters)
    parameters = make(start, dtype)
    optimizer = torch.optim.SGD(parameters, lr=0.05, momentum=0.9)
    for step in range(cases.STEPS):
        fill(parameters, gradients, step)
        torch.nn.utils.clip_grad_norm_(parameters, cases.MAX_NORM)
        optimizer.step()
    record[f"clipped_run/{label}"] = values(parameters)


def record_schedules(record):
    for name, (kind, _) in cases.SCHEDULERS.items():
        for optimizer_kind in ("SGD", "Adam") if kind in ("OneCycleLR", "CyclicLR") else ("SGD",):
            parameters = [torch.zeros(1, requires_grad=True) for _ in cases.RATES]
            optimizer = getattr(torch.optim, optimizer_kind)(
                [{"params": [p], "lr": lr} for p, lr in zip(parameters, cases.RATES)])
            scheduler = cases.schedule(torch.optim.lr_scheduler, optimizer, name)
            rates, momenta = [], []
            for epoch in range(cases.EPOCHS):
                rates.append([group["lr"] for group in optimizer.param_groups])
                momenta.append([group["betas"][0] if "betas" in group else group["momentum"]
                                for group in optimizer.param_groups])
                optimizer.step()
                if kind == "ReduceLROnPlateau":
                    scheduler.step(cases.metric(epoch))
                else:
                    scheduler.step()
            record[f"rates/{name}/{optimizer_kind}"] = np.array(rates)
            if kind in ("OneCycleLR", "CyclicLR"):
                record[f"momenta/{name}/{optimizer_kind}"] = np.array(momenta)


def record_model(record):
    """A small tanh network trained by Adam with decoupled decay: the losses, and the parameters after 50 steps."""
    rng = np.random.default_rng(11)
    x, y = rng.normal(size=(16, 3)), rng.normal(size=(16, 2))
    start = [rng.normal(size=shape) for shape in ((8, 3), (8,), (2, 8), (2,))]
    parameters = make(start, torch.float64)
    optimizer = torch.optim.AdamW(parameters, lr=0.02, weight_decay=0.05)
    losses = []
    for _ in range(cases.STEPS):
        hidden = torch.tanh(torch.tensor(x) @ parameters[0].T + parameters[1])
        loss = ((hidden @ parameters[2].T + parameters[3] - torch.tensor(y)) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    record.update({"model/x": x, "model/y": y, "model/losses": np.array(losses)})
    for k, (parameter, value) in enumerate(zip(parameters, start)):
        record[f"model/start/{k}"], record[f"model/end/{k}"] = value, parameter.detach().numpy()


def main():
    torch.Tensor.bfloat16 = torch.Tensor.clone
    rng = np.random.default_rng(2)
    start = [rng.normal(size=shape).astype(np.float32).astype(np.float64) for shape in cases.SHAPES]
    gradients = [rng.normal(size=(cases.STEPS, *shape)).astype(np.float32).astype(np.float64) for shape in cases.SHAPES]
    record = {"start": cases.flat(start).astype(np.float32)}
    steps = range(cases.STEPS)
    record["gradients"] = np.array([cases.flat([g[step] for g in gradients]) for step in steps], np.float32)
    for dtype in (torch.float32, torch.float64):
        torch.set_default_dtype(dtype)
        record_optimizers(record, start, gradients, dtype)
        record_clipping(record, start, gradients, dtype)
        record_shaped(record, dtype)
    record_schedules(record)
    record_model(record)
    np.savez_compressed(Path(__file__).with_name("pytorch.npz"), **record)


if __name__ == "__main__":
    main()
