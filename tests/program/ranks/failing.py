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
step = tg.TrainStep(loss, optim.Adam(model.parameters()), comm=comm, timeout=120)
if odd and how == "other parameters":
    model[0].weight.copy_(np.zeros((9, 5)))
if odd and how == "another batch":
    step(x[:9], y[:9])
elif how == "another batch":
    step(x[:8], y[:8])


def after(epoch, history):
    if epoch == 2:
        step.ranks.timeout = 3.0  # now that all is compiled
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
history = step.run(x, y, batch_size=12, epochs=6, seed=0, callback=after, checkpoint=kept)
if comm.rank == 0:
    print(f"done {len(history)} {history.loss[-1]:.6f}")
