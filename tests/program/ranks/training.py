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
    return nn.Sequential(nn.Linear(6, 9, dtype=dtype), nn.BatchNorm1d(9, sync=True, dtype=dtype), nn.ReLU(),
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
          singly=(5, 2), change=None, batch_size=12):
    """Losses, parameters and buffers, and optimiser states of a run and of some steps by hand."""
    tg.manual_seed(19)
    model = build(dtype)
    made = optimizer(model.parameters())
    step = tg.TrainStep(lambda *a: loss(model, *a), made, comm=comm, accumulate=accumulate, timeout=200)
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


def main(folder):
    comm, found = MPI.COMM_WORLD, {}
    found["by formula"] = by_formula(comm)
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
