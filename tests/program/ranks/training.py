"""Trainings that ranks make together, and the same in one process; run by mpiexec, rank 0 prints the differences.

    mpiexec -n 2 python training.py folder
"""

import json
import sys
from pathlib import Path

import numpy as np
from mpi4py import MPI

import tapegrad as tg
import tapegrad.nn.functional as F
from tapegrad import data, functions, nn, optim
from tapegrad.optim import lr_scheduler as schedules

RNG = np.random.default_rng(19)
ROWS = 43  # shares of batches of 12 and of the last one of 7 are uneven for 2 and 3 ranks
X = RNG.normal(size=(ROWS, 6))
Y = RNG.integers(0, 3, ROWS)
IMAGES = RNG.normal(size=(ROWS, 1, 6, 6))
WORDS = RNG.integers(0, 50, (ROWS, 3))
TOKENS = RNG.normal(size=(ROWS, 5, 8))


def dense(dtype):
    return nn.Sequential(nn.Linear(6, 9, dtype=dtype), nn.Tanh(), nn.Linear(9, 3, dtype=dtype))


def dropping(dtype):
    return nn.Sequential(nn.Linear(6, 40, dtype=dtype), nn.Dropout(0.5), nn.Tanh(), nn.Linear(40, 3, dtype=dtype))


def normalised(dtype):
    return nn.Sequential(nn.Linear(6, 9, dtype=dtype), nn.SyncBatchNorm(9, dtype=dtype), nn.ReLU(),
                         nn.Linear(9, 3, dtype=dtype))


def convolutional(dtype):
    return nn.Sequential(nn.Conv2d(1, 4, 3, dtype=dtype), nn.BatchNorm2d(4, sync=True, momentum=None, dtype=dtype),
                         nn.ReLU(), nn.Flatten(), nn.Linear(64, 3, dtype=dtype))


def tables(dtype):
    return nn.Sequential(nn.Embedding(50, 4, sparse=True, dtype=dtype), nn.Flatten(), nn.Linear(12, 3, dtype=dtype))


def transformer(dtype):
    return nn.Sequential(nn.TransformerEncoderLayer(8, 2, 16, dropout=0.3, batch_first=True, dtype=dtype),
                         nn.Flatten(), nn.Linear(40, 3, dtype=dtype))


def deep(dtype):
    return nn.Sequential(nn.Linear(6, 9, dtype=dtype), nn.Tanh(), nn.Linear(9, 9, dtype=dtype), nn.Tanh(),
                         nn.Linear(9, 3, dtype=dtype))


def draws(model, x, y):
    """Dropout and noise along a middle axis, and dropout of what has no rows."""
    h = functions.swapaxes(functions.reshape(model[0](x), (-1, 4, 10)), 0, 1)
    h = F.dropout(h, 0.5) * F.dropout(tg.tensor(np.ones(10, h.dtype)), 0.3) + 0.1 * functions.rand_like(h)
    return F.cross_entropy(model[3](functions.reshape(functions.swapaxes(h, 0, 1), (-1, 40))), y)


def recomputed(model, x, y):
    """Statistics of all ranks are averaged once more in the reverse walk."""
    for layer in model:
        x = tg.checkpoint(layer, x)
    return F.cross_entropy(x, y)


def classify(model, x, y):
    return F.cross_entropy(model(x), y)


def sgd(parameters, **options):
    return optim.SGD(parameters, lr=0.1, **options)


def train(comm, *, build=dense, loss=classify, given=(X, Y), optimizer=sgd, dtype=np.float64, accumulate=1, run=None,
          singly=(5, 2), change=None, batch_size=12, bucket_bytes=300):
    """Losses, parameters and buffers, and optimiser states of a run and of some steps by hand."""
    tg.manual_seed(19)
    model = build(dtype)
    made = optimizer(model.parameters())
    step = tg.TrainStep(lambda *a: loss(model, *a), made, comm=comm, accumulate=accumulate, timeout=200,
                        bucket_bytes=bucket_bytes)
    if change is not None:
        change(model, made)
    arrays = [a.astype(dtype) if getattr(a, "dtype", None) == np.float64 else a for a in given]
    history = step.run(*arrays, batch_size=batch_size, epochs=2, seed=1, **(run or {}))
    losses = list(history.loss)
    if run is None:
        losses += [step(*(a[:n * accumulate] for a in arrays)) for n in singly]
    states = {f"{k} {name}": np.asarray(value, np.float64) for k, p in enumerate(model.parameters())
              for name, value in (made.state[p] if p in made.state else {}).items()}
    return {"loss": np.array(losses), "samples": np.array([history.samples]),
            **{k: np.asarray(v, np.float64) for k, v in model.state_dict().items()}, **states}


class Scaled:
    """A transformation that draws for each row."""

    def __call__(self, x, rng):
        return x * rng.uniform(0.5, 1.5, (len(x), 1))


OPTIMIZERS = {
    "Adadelta": dict(lr=0.5), "Adafactor": dict(lr=0.05), "Adagrad": dict(lr=0.1), "Adam": dict(lr=0.02),
    "AdamW": dict(lr=0.02, amsgrad=True), "Adamax": dict(lr=0.02), "ASGD": dict(lr=0.1), "LAMB": dict(lr=0.02),
    "Lion": dict(lr=0.001), "Muon": dict(lr=0.02), "NAdam": dict(lr=0.02), "RAdam": dict(lr=0.02),
    "RMSprop": dict(lr=0.01, momentum=0.9, centered=True), "Rprop": dict(lr=0.01),
    "SGD": dict(lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01), "SparseAdam": dict(lr=0.02),
}


def of(name, **options):
    return lambda parameters: getattr(optim, name)(parameters, **options)


def muon(parameters):
    parameters = list(parameters)
    return optim.Muon([p for p in parameters if p.ndim == 2], lr=0.02)


CASES = {
    **{name: dict(optimizer=muon if name == "Muon" else of(name, **options)) for name, options in OPTIMIZERS.items()},
    "float32": dict(dtype=np.float32, optimizer=of("Adam", lr=0.02)),
    "clipping by norm": dict(optimizer=of("SGD", lr=0.1, max_grad_norm=0.1)),
    "clipping by value": dict(optimizer=of("SGD", lr=0.1, max_grad_value=0.01)),
    "micro-batches": dict(accumulate=2, run=dict(drop_last=True)),
    "micro-batches by hand": dict(accumulate=3, given=(X[:36], Y[:36])),
    "batch normalisation": dict(build=normalised),
    "batch normalisation in micro-batches": dict(build=normalised, accumulate=2, given=(X[:36], Y[:36])),
    "batch normalisation of images": dict(build=convolutional, given=(IMAGES, Y)),
    "batch normalisation that is recomputed": dict(build=normalised, loss=recomputed),
    "rows of a table": dict(build=tables, given=(WORDS, Y), optimizer=of("SparseAdam", lr=0.02)),
    "rows of a table, clipped": dict(build=tables, given=(WORDS, Y), optimizer=of("SGD", lr=0.1, max_grad_norm=0.2)),
    "rows of a table, Adagrad": dict(build=tables, given=(WORDS, Y), optimizer=of("Adagrad", lr=0.1)),
    "dropout": dict(build=dropping),
    "dropout in micro-batches": dict(build=dropping, accumulate=2, given=(X[:36], Y[:36])),
    "dropout along other axes": dict(build=dropping, loss=draws),
    "dropout of attention": dict(build=transformer, given=(TOKENS, Y)),
    "frozen layers": dict(build=deep, change=lambda model, _: model[2].freeze()),
    "a parameter group more": dict(build=deep, optimizer=lambda p: sgd(list(p)[:2]),
                                   change=lambda model, made: made.add_param_group(
                                       {"params": list(model.parameters())[2:], "lr": 0.05})),
    "a schedule": dict(optimizer=lambda p: [made := sgd(p), schedules.CosineAnnealingLR(made, 8, interval="step")][0]),
    "rows in order": dict(run=dict(shuffle=False)),
    "rows that a function orders": dict(run=dict(shuffle=lambda epoch: np.arange(ROWS)[epoch::2])),
    "batches of one row": dict(given=(X[:5], Y[:5]), batch_size=1),
    "a dataset that draws": dict(given=(data.ArrayDataset(X, Y, transform=Scaled()),), run={}),
    "in buckets that are planned": dict(build=deep, optimizer=of("SGD", lr=0.1, max_grad_norm=0.1), bucket_bytes=None),
    "in one bucket, micro-batches": dict(accumulate=2, run=dict(drop_last=True), bucket_bytes="1 GB"),
    "in one bucket, rows of a table": dict(build=tables, given=(WORDS, Y), bucket_bytes="1 GB"),
}


def by_formula(comm):
    """The largest difference of three steps of linear regression by ranks from NumPy's, over all rows at once."""
    weight = nn.Linear(6, 1, bias=False, dtype=np.float64)
    weight.weight.copy_(np.full((1, 6), 0.25 * (comm.rank == 0)))  # rank 0's is everybody's
    target = X @ np.arange(6.0)
    step = tg.TrainStep(lambda x, y: ((weight(x)[:, 0] - y) ** 2).mean(), sgd(weight.parameters()), comm=comm)
    w, worst = np.full(6, 0.25), 0.0
    for _ in range(3):
        residual = X @ w - target
        worst = max(worst, abs(step(X, target) - (residual ** 2).mean()))
        w = w - 0.1 * 2.0 * residual @ X / ROWS
    return max(worst, float(np.abs(weight.weight.numpy()[0] - w).max()))


def compressed(comm):
    """By how much of the rounding that is allowed 40 steps with compressed gradients differ from exact ones.

    The gradient of a mean of x w is the mean of x, whatever w: after each step w is off by what rounding has left, of
    the ranks' shares and of the sum, 1/256 of each; without feedback it would be off by 40 times as much.
    """
    worst = 0.0
    for dtype in (np.float32, np.float64):
        weight = nn.Linear(6, 1, bias=False, dtype=dtype)
        step = tg.TrainStep(lambda x, weight=weight: weight(x).mean(), optim.SGD(weight.parameters(), lr=1.0),
                            comm=comm, compression="bfloat16")
        w, x = weight.weight.numpy()[0].astype(float), 3.0 + X.astype(dtype)
        shares = [x[ROWS * r // comm.size:ROWS * (r + 1) // comm.size].sum(0) / ROWS for r in range(comm.size)]
        # what is rounded is a number and what was left of the one before, and there is the dtype's own rounding
        allowed = 1.01 * (sum(map(abs, shares)) + abs(x.mean(0))) / 256 + 40 * 200 * np.finfo(dtype).eps
        for k in range(1, 41):
            step(x)
            off = weight.weight.numpy()[0] - (w - k * x.mean(0))
            worst = max(worst, float((abs(off) / allowed).max()))
        assert off.any() and step.explain_communication().nbytes == 12
    return worst


def overlapping(comm):
    """Whether buckets of a deep network, also the last of its micro-batches, have been sent before the walk ended."""
    for accumulate in (1, 3):
        model = nn.Sequential(*[nn.Linear(6, 6, dtype=np.float64) for _ in range(5)])
        step = tg.TrainStep(lambda x, model=model: (model(x) ** 2).mean(), sgd(model.parameters()), comm=comm,
                            accumulate=accumulate, bucket_bytes=400)
        step(X[:36])
        found = step.explain_communication()
        assert [b.parameters for b in found.buckets] == [(f"{k}.weight", f"{k}.bias") for k in (4, 3, 2, 1, 0)]
        sent = [b.sent for b in found.buckets]
        assert sent == sorted(sent) and sent[-2] < found.walked < sent[-1] <= found.ended
        assert [b.nbytes for b in found.buckets] == [336] * 5 and "in 5 buckets" in str(found)
        if comm.rank == 0 and accumulate == 1:
            step.profile(X[:36 // comm.size], seconds=0.0)  # one rank alone: nothing is sent
        step(X[:36])


def main(folder):
    comm, found = MPI.COMM_WORLD, {}
    found["by formula"], found["compressed, part of the rounding that is allowed"] = by_formula(comm), compressed(comm)
    overlapping(comm)
    for name, case in CASES.items():
        together, alone = train(comm, **case), train(None, **case)
        assert together.keys() == alone.keys()
        found[name] = max(float(np.abs(together[k] - alone[k]).max()) for k in alone if alone[k].size)
        assert all(np.isfinite(alone[k]).all() for k in alone), name
    every = comm.gather(found)
    if comm.rank == 0:
        worst = {name: max(of_rank[name] for of_rank in every) for name in found}
        Path(folder, f"equal{comm.size}.json").write_text(json.dumps(worst))


if __name__ == "__main__":
    main(sys.argv[1])
