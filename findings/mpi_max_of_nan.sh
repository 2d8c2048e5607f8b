#!/usr/bin/env bash
# mpi4py 4.1.2 over the mpich 5.0.2 wheel: an all-reduce hands every rank the same numbers, or so one builds on when
# "all ranks stop if the largest loss is NaN". With MAX and MIN and a NaN on one of two ranks:
# - Of up to eight bytes (a number, or two float32) each rank gets what the other one sent: one holds NaN and the other,
#   the very one that brought it, a number. They then take different branches, silently. Reduce gives the root what the
#   other rank sent.
# - Of more, the ranks agree, but by place: the first half is what rank 1 sent and the rest what rank 0 sent, wherever
#   one of the two is NaN. An array full of NaN on rank 0 comes back with half of them.
# - The lower-case `allreduce` of Python floats gives all of them rank 0's own, NaN or not: a NaN of rank 1 is gone.
# It is so for float32 and float64, in place and not. SUM gives NaN to all.
set -euo pipefail
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
python3 -m venv "$here/env"
"$here/env/bin/pip" install -q --disable-pip-version-check mpi4py==4.1.2 mpich==5.0.2 numpy==2.4.6
cat > "$here/show.py" <<'P'
import mpi4py
import numpy as np
from mpi4py import MPI

world = MPI.COMM_WORLD
rank, nan, failed = world.rank, float("nan"), []
if rank == 0:
    print("mpi4py", mpi4py.__version__, "|", MPI.Get_library_version().split("\n")[0])

def look(what, mine, expected):
    """`mine` is what this rank got; `expected`, what rank 0 and rank 1 got."""
    found = world.gather(mine)
    if rank == 0:
        print(f"{what:74} rank 0: {found[0]}, rank 1: {found[1]}")
        if str(found) != str(expected):
            failed.append(f"{what}: {found}, was {expected}")

def reduced(sent, operation, dtype=np.float64):
    received = np.empty(1, dtype)
    world.Allreduce(np.full(1, sent[rank], dtype), received, operation)
    return float(received[0])

def on_root(sent, operation):
    received = np.zeros(1)
    world.Reduce(np.full(1, sent[rank]), received, operation)
    return float(received[0]) if rank == 0 else None

for name in "MAX", "MIN":
    operation = getattr(MPI, name)
    for sent, swapped in ((nan, 1.0), [1.0, nan]), ((1.0, nan), [nan, 1.0]):
        look(f"Allreduce {name} of {sent}", reduced(sent, operation), swapped)
        look(f"Allreduce {name} of {sent}, float32", reduced(sent, operation, np.float32), swapped)
        look(f"Reduce {name} of {sent}", on_root(sent, operation), [swapped[0], None])
        look(f"allreduce {name} of {sent}, Python floats", world.allreduce(sent[rank], operation), [sent[0]] * 2)
    look(f"Allreduce {name} of (1.0, 2.0)", reduced((1.0, 2.0), operation), [2.0 if name == "MAX" else 1.0] * 2)
pair = np.full(2, (nan, 1.0)[rank], np.float32)
world.Allreduce(MPI.IN_PLACE, pair, MPI.MAX)
look("MAX in place of twice (nan, 1.0), float32", pair.tolist(), [[1.0, 1.0], [nan, nan]])
look("Allreduce SUM of (nan, 1.0)", reduced((nan, 1.0), MPI.SUM), [nan, nan])

for count in 4, 1000:
    half = [1.0] * (count // 2) + [nan] * (count // 2)
    for received in np.full(count, (nan, 1.0)[rank]), np.full(count, (nan, 1.0)[rank], np.float32):
        world.Allreduce(MPI.IN_PLACE, received, MPI.MAX)
        same = str(received.tolist()) == str(half)
        look(f"MAX in place of {count} times (nan, 1.0), {received.dtype}: 1.0, then as many nan", same, [True, True])
raise SystemExit("\n".join(failed) or None)
P
timeout 100 "$here/env/bin/mpiexec" -n 2 "$here/env/bin/python" "$here/show.py"
echo "mpi4py and mpich behave as is claimed above"
