"""A training by ranks of which the last one fails as it is told; run by mpiexec.

    mpiexec -n 2 python failing.py how folder
"""

import os
import signal
import sys

import numpy as np
from mpi4py import MPI

import tapegrad as tg
import tapegrad.nn.functional as F
from tapegrad import nn, optim

how, folder = sys.argv[1:]
comm = MPI.COMM_WORLD
odd = comm.rank == comm.size - 1
tg.manual_seed(19)
hidden = 10 if odd and how == "another model" else 9
rng = np.random.default_rng(19)
rows = 60 if odd and how == "other rows" else 64
x, y = rng.normal(size=(64, 5))[:rows], rng.integers(0, 3, 64)[:rows]
model = nn.Sequential(nn.Linear(5, hidden), nn.Tanh(), nn.Linear(hidden, 3))
if odd and how == "another loss":
    loss = lambda x, y: 2.0 * F.cross_entropy(model(x), y)
else:
    loss = lambda x, y: F.cross_entropy(model(x), y)
buckets = dict(bucket_bytes=200) if "walk" in how else {}
step = tg.TrainStep(loss, optim.Adam(model.parameters()), comm=comm, timeout=120, **buckets)
if odd and how == "other parameters":
    model[0].weight.copy_(np.zeros((9, 5)))
if odd and how == "another batch":
    step(x[:9], y[:9])
elif how == "another batch":
    step(x[:8], y[:8])


begin_add, begun = step.ranks and step.ranks.begin_add, []


def second_fails(array):
    """In the middle of a walk, while the first bucket is under way."""
    begun.append(array)
    if len(begun) == 2:
        if how == "is stopped in a walk":
            os.kill(os.getpid(), signal.SIGSTOP)
        raise ValueError("the memory is full")
    return begin_add(array)


def after(epoch, history):
    if epoch == 2:
        step.ranks.timeout = 3.0  # now that all is compiled
    if epoch == 3 and odd and "walk" in how:
        step.ranks.begin_add = second_fails
    if epoch == 3 and how == "all raise":
        raise ValueError(f"it is late in {epoch}")
    if epoch == 3 and odd:
        if how == "raises":
            raise ValueError("the disk is full")
        if how == "is killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if how == "is stopped":
            os.kill(os.getpid(), signal.SIGSTOP)


kept = tg.Checkpoint(folder, every=0.0, resume=True)
try:
    history = step.run(x, y, batch_size=12, epochs=6, seed=0, callback=after, checkpoint=kept)
except ValueError:
    if how != "is caught in a walk":
        raise
    step(x, y)
if comm.rank == 0:
    print(f"done {len(history)} {history.loss[-1]:.6f}")
