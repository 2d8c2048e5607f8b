"""Training over MPI: how much faster two ranks are than one, where the time goes, and PyTorch's DDP beside it.

Each rank has one core and one thread. Weak scaling: a batch for each rank; strong scaling: one batch shared out. Of a
step the compiled walks, the all-reduce and the rest are told apart by timing the all-reduce where it is called, which
includes waiting for the other rank. DDP runs with Gloo over the loopback interface; the MPI library uses shared memory
where ranks are on one machine. One rank alone is also timed with ``comm=`` of one process.

    mpiexec must be on the path or beside python (pip install 'tapegrad[mpi]').
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import report

HERE = Path(__file__).resolve()
#: name, widths, batch of a rank
NETWORKS = {"64-128-64-10": ((64, 128, 64, 10), 64), "784-512-256-10": ((784, 512, 256, 10), 128)}


def pin(rank: int) -> None:
    """Stay on one core."""
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[rank % len(cores)]})


def data_of(widths: tuple[int, ...], rows: int) -> tuple[Any, Any]:
    """Random rows and labels."""
    import numpy as np

    rng = np.random.default_rng(0)
    return rng.normal(size=(rows, widths[0])).astype(np.float32), rng.integers(0, widths[-1], rows)


def ours(network: str, rows: int, seconds: float, comm: Any) -> dict[str, float]:
    """Microseconds of a step in a run, and of its all-reduce."""
    import warnings

    import tapegrad as tg
    import tapegrad.nn.functional as F
    from tapegrad import nn, optim

    warnings.simplefilter("ignore", RuntimeWarning)
    widths, _ = NETWORKS[network]
    tg.set_num_threads(1)
    tg.manual_seed(0)
    layers: list[Any] = []
    for a, b in zip(widths, widths[1:]):
        layers += [nn.Linear(a, b), nn.ReLU()]
    model = nn.Sequential(*layers[:-1])
    step = tg.TrainStep(lambda x, y: F.cross_entropy(model(x), y), optim.Adam(model.parameters()), comm=comm)
    X, y = data_of(widths, 8 * rows)
    spent = [0.0]
    if step.ranks is not None:
        add = step.ranks.add

        def timed(array: Any) -> None:
            began = time.perf_counter()
            add(array)
            spent[0] += time.perf_counter() - began

        step.ranks.add = timed  # type: ignore[method-assign]
    step.run(X, y, batch_size=rows, epochs=2, seed=0)
    began = time.perf_counter()
    step.run(X, y, batch_size=rows, epochs=5, seed=0)
    epochs = max(3, int(5 * seconds / (time.perf_counter() - began)))
    if step.ranks is not None:
        epochs = step.ranks.spread(epochs)
    spent[0], began = 0.0, time.perf_counter()
    history = step.run(X, y, batch_size=rows, epochs=epochs, seed=0)
    steps = len(history)
    return {"step": 1e6 * (time.perf_counter() - began) / steps, "sums": 1e6 * spent[0] / steps,
            "bytes": float(sum(p.nbytes for p in model.parameters()))}


def torch_ddp(network: str, rows: int, seconds: float, rank: int, ranks: int) -> dict[str, float]:
    """Microseconds of a step of PyTorch, with DistributedDataParallel over Gloo if there are two ranks."""
    import torch
    import torch.distributed as dist
    from torch.nn.parallel import DistributedDataParallel

    torch.set_num_threads(1)
    torch.manual_seed(0)
    widths, _ = NETWORKS[network]
    layers: list[Any] = []
    for a, b in zip(widths, widths[1:]):
        layers += [torch.nn.Linear(a, b), torch.nn.ReLU()]
    model: Any = torch.nn.Sequential(*layers[:-1])
    if ranks > 1:
        dist.init_process_group("gloo", init_method=os.environ["MEETING"], rank=rank, world_size=ranks)
        model = DistributedDataParallel(model)
    opt = torch.optim.Adam(model.parameters())
    X, y = data_of(widths, 8 * rows // ranks)
    x, t = torch.from_numpy(X), torch.from_numpy(y)
    each = rows // ranks

    def epoch() -> None:
        for k in range(8):
            opt.zero_grad()
            torch.nn.functional.cross_entropy(model(x[k * each:(k + 1) * each]), t[k * each:(k + 1) * each]).backward()
            opt.step()

    epoch()
    began = time.perf_counter()
    epoch()
    epochs = torch.tensor([max(3, int(seconds / (time.perf_counter() - began)))])
    if ranks > 1:
        dist.broadcast(epochs, 0)
    began = time.perf_counter()
    for _ in range(int(epochs)):
        epoch()
    took = 1e6 * (time.perf_counter() - began) / (8 * int(epochs))
    if ranks > 1:
        dist.destroy_process_group()
    return {"step": took}


def worker(words: list[str]) -> None:
    """One rank: library, network, rows of a batch, seconds, rank and ranks for PyTorch."""
    library, network, rows, seconds, *where = words
    if library == "torch":
        rank, ranks = map(int, where)
        pin(rank)
        found = torch_ddp(network, int(rows), float(seconds), rank, ranks)
    elif library == "plain":
        rank = 0
        pin(0)
        found = ours(network, int(rows), float(seconds), None)
    else:
        from mpi4py import MPI

        rank = MPI.COMM_WORLD.rank
        pin(rank)
        found = ours(network, int(rows), float(seconds), MPI.COMM_WORLD)
    if rank == 0:
        print(json.dumps(found))


def measured(python: str, library: str, network: str, rows: int, seconds: float, ranks: int) -> dict[str, float]:
    """What rank 0 has measured."""
    words = [library, network, str(rows), str(seconds)]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1",
           "PYTHONPATH": os.pathsep.join([str(HERE.parent.parent), os.environ.get("PYTHONPATH", "")])}
    if library == "torch":
        with tempfile.TemporaryDirectory() as folder:
            env["MEETING"] = f"file://{folder}/meeting"
            others = [subprocess.Popen([python, str(HERE), "--worker", *words, str(r), str(ranks)], env=env,
                                       stdout=subprocess.PIPE, text=True) for r in range(ranks)]
            answers = [process.communicate()[0] for process in others]
        return json.loads(answers[0].splitlines()[-1])
    start = [python] if library == "plain" else [str(Path(python).with_name("mpiexec")), "-n", str(ranks), python]
    done = subprocess.run([*start, str(HERE), "--worker", *words], env=env, stdout=subprocess.PIPE, text=True,
                          check=True)
    return json.loads(done.stdout.splitlines()[-1])


def measure(names: list[str], seconds: float, repeats: int, torch_python: str | None) -> list[dict[str, Any]]:
    """A row for each network and library; all take turns in every repeat."""
    rows = []
    for network in names:
        batch = NETWORKS[network][1]
        works: dict[str, tuple[str, str, int, int]] = {
            "alone": (sys.executable, "plain", batch, 1), "comm of one": (sys.executable, "mpi", batch, 1),
            "weak": (sys.executable, "mpi", 2 * batch, 2), "strong": (sys.executable, "mpi", batch, 2)}
        if torch_python:
            works |= {f"torch {name}": (torch_python, "torch", size, ranks)
                      for name, (_, _, size, ranks) in works.items() if name != "comm of one"}
        progress, found = report.Progress(repeats * len(works)), {name: [] for name in works}
        for _ in range(repeats):
            for name, (python, library, size, ranks) in works.items():
                progress(f"{network}: {name}")
                found[name].append(measured(python, library, network, size, seconds, ranks))
        progress.end()
        of = {name: {key: report.median([one[key] for one in each]) for key in each[0]} for name, each in found.items()}
        for library, prefix in (("tapegrad", ""), ("PyTorch DDP over Gloo", "torch ")):
            if f"{prefix}weak" in of:
                alone, weak, strong = (of[prefix + name] for name in ("alone", "weak", "strong"))
                rows.append({"network": network, "library": library, "batch": batch, "alone_us": alone["step"],
                             "comm_of_one_us": None if prefix else of["comm of one"]["step"],
                             "weak_us": weak["step"], "weak_sums_us": weak.get("sums"),
                             "weak_efficiency": alone["step"] / weak["step"], "strong_us": strong["step"],
                             "strong_speedup": alone["step"] / strong["step"], "bytes": alone.get("bytes"),
                             "spread": max(report.spread([one["step"] for one in found[prefix + name]])
                                           for name in ("alone", "weak", "strong")) if repeats > 1 else None})
    return rows


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Efficiency of weak scaling, in bars."""
    plt = report.pyplot()
    figure, axes = plt.subplots(figsize=(6.0, 3.2), layout="constrained")
    names = [f"{r['network']}\n{r['library']}" for r in rows]
    colours = ["C0" if r["library"] == "tapegrad" else "C1" for r in rows]
    axes.bar(names, [r["weak_efficiency"] for r in rows], color=colours)
    axes.axhline(1.0, color="grey", linewidth=0.8)
    axes.set_ylabel("weak-scaling efficiency, 2 ranks")
    axes.tick_params(axis="x", labelsize=7)
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = report.parser(__doc__)
    parser.add_argument("--seconds", type=float, default=1.0, help="how long each measures")
    parser.add_argument("--repeats", type=report.positive, default=5)
    parser.add_argument("--torch-python", metavar="PATH", help="a Python that has PyTorch")
    parser.add_argument("--only", nargs="*", help=f"of {', '.join(NETWORKS)}")
    arguments = parser.parse_args()
    names = report.chosen(parser, arguments.only, NETWORKS)
    rows = measure(names, arguments.seconds, arguments.repeats, arguments.torch_python)

    def number(value: float | None, form: str = ",.0f") -> str:
        return "-" if value is None else format(value, form)

    report.table("microseconds a step on one core a rank", (
        "network", "library", "batch a rank", "1 rank", "comm of one", "2 ranks, weak", "of it all-reduce",
        "efficiency", "2 ranks, strong", "speedup", "bytes a step", "spread"), [
        (r["network"], r["library"], r["batch"], number(r["alone_us"], ",.1f"), number(r["comm_of_one_us"], ",.1f"),
         number(r["weak_us"], ",.1f"), number(r["weak_sums_us"], ",.1f"), number(r["weak_efficiency"], ".2f"),
         number(r["strong_us"], ",.1f"), number(r["strong_speedup"], ".2f"), number(r["bytes"]),
         number(r["spread"], ".0%")) for r in rows])
    if arguments.plot:
        draw(rows, arguments.plot)
    report.finish(arguments, report.machine(), rows)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        worker(sys.argv[2:])
    else:
        main()
