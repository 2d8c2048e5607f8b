"""Microseconds for one training step of an embedding table, sparse and dense, against the rows of the table.

The step reads a batch of random rows, and its loss is their mean square. With sparse=True clearing the gradient and
updating the table take the rows of the batch; without, all rows. The same batches train both, and where the update is
the same (SGD, Adagrad) their losses must agree. For one table and optimiser the two take turns, repeat by repeat; the
median is shown. With --torch-python PATH PyTorch's eager step runs afterwards, in a process of that interpreter.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import report

#: names of a sparse and a dense optimiser, and whether the two give the same numbers
OPTIMIZERS = (("SGD", "SGD", True), ("Adagrad", "Adagrad", True), ("SparseAdam", "Adam", False))
BATCHES = 2048  # of indices that are drawn
CHECKED_STEPS = 20
LR = 0.05

Run = Callable[[int], Any]


def indices(rows: int, batch: int) -> Any:
    """Random rows for `BATCHES` batches, one after the other."""
    import numpy as np

    return np.random.default_rng(rows).integers(0, rows, BATCHES * batch)


def recorded(rows: int, width: int, batch: int, optimizer: str, sparse: bool) -> tuple[list[float], Run]:
    """`TrainStep.run`: losses of some first steps, and a function that makes so many steps."""
    import tapegrad as tg
    from tapegrad import nn, optim

    tg.manual_seed(0)
    table = nn.Embedding(rows, width, sparse=sparse)
    step = tg.TrainStep(lambda k: table(k).square().mean(), getattr(optim, optimizer)(table.parameters(), lr=LR))
    index = indices(rows, batch)

    def run(steps: int) -> Any:
        return step.run(index[:steps * batch], batch_size=batch, shuffle=False).loss

    return run(CHECKED_STEPS).tolist(), run


def _by_run(table: Any, update: Any, batches: Any) -> tuple[list[float], Run]:
    """Steps as both libraries spell them."""

    def run(steps: int) -> list[Any]:
        losses = []
        for k in batches[:steps]:
            update.zero_grad()
            loss = table(k).square().mean()
            loss.backward()
            update.step()
            losses.append(loss)
        return losses

    return [loss.item() for loss in run(CHECKED_STEPS)], run


def define_by_run(rows: int, width: int, batch: int, optimizer: str, sparse: bool) -> tuple[list[float], Run]:
    """Each op computed at once and recorded, backward, step."""
    import tapegrad as tg
    from tapegrad import nn, optim

    tg.manual_seed(0)
    table = nn.Embedding(rows, width, sparse=sparse)
    update = getattr(optim, optimizer)(table.parameters(), lr=LR)
    batches = [tg.tensor(k) for k in indices(rows, batch).reshape(BATCHES, batch)]

    return _by_run(table, update, batches)


def torch_eager(rows: int, width: int, batch: int, optimizer: str, sparse: bool) -> tuple[list[float], Run]:
    """PyTorch as most people use it."""
    import torch

    torch.manual_seed(0)
    table = torch.nn.Embedding(rows, width, sparse=sparse)
    update = getattr(torch.optim, optimizer)(table.parameters(), lr=LR)
    batches = torch.from_numpy(indices(rows, batch).reshape(BATCHES, batch)).unbind()

    return _by_run(table, update, batches)


def microseconds(runs: dict[str, Run], repeats: int, seconds: float, progress: Callable[[str], None],
                 what: str) -> dict[str, list[float]]:
    """Microseconds a step of every repeat, taking turns."""
    counts: dict[str, int] = {}
    times: dict[str, list[float]] = {name: [] for name in runs}
    for name, run in runs.items():
        began = time.perf_counter()
        run(CHECKED_STEPS)
        counts[name] = min(max(2, round(seconds * CHECKED_STEPS / (time.perf_counter() - began))), BATCHES)
    for repeat in range(repeats):
        progress(f"{what}, repeat {repeat + 1}")
        for name, run in runs.items():
            began = time.perf_counter()
            run(counts[name])
            times[name].append(1e6 * (time.perf_counter() - began) / counts[name])
    return times


def measure(ways: dict[str, Any], arguments: Any, progress: Callable[[str], None]) -> dict[str, dict[int, list[float]]]:
    """Microseconds of every repeat, by way with optimiser, and by rows."""
    found: dict[str, dict[int, list[float]]] = {}
    for rows in arguments.rows:
        for label, make in ways.items():
            for sparse_name, dense_name, same in OPTIMIZERS:
                made = {f"{label}: {name} {'sparse' if sparse else 'dense'}":
                        make(rows, arguments.width, arguments.batch, name, sparse)
                        for name, sparse in ((sparse_name, True), (dense_name, False))}
                (first, _), (second, _) = made.values()
                if same and any(abs(a - b) > 1e-5 * abs(b) for a, b in zip(first, second)):
                    sys.exit(f"{rows} rows, {sparse_name}: the losses {first} of the sparse table are not {second}")
                times = microseconds({name: run for name, (_, run) in made.items()}, arguments.repeats,
                                     arguments.seconds, progress, f"{rows:,} rows, {label}, {sparse_name}")
                for name, values in times.items():
                    found.setdefault(name, {})[rows] = values
    return found


def elsewhere(arguments: Any) -> tuple[dict[str, dict[int, list[float]]], str]:
    """`measure` of PyTorch's step in another interpreter, and the version."""
    command = [arguments.torch_python, str(Path(__file__).resolve()), "--worker", "--rows", *map(str, arguments.rows)]
    for name in ("width", "batch", "repeats", "seconds", "threads"):
        command += [f"--{name}", str(getattr(arguments, name))]
    answer = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if answer.returncode:
        sys.exit(f"the PyTorch process ended with exit status {answer.returncode}; its message is above")
    given = json.loads(answer.stdout)
    return {name: {int(rows): times for rows, times in by_rows.items()}
            for name, by_rows in given["results"].items()}, given["version"]


def show(results: dict[str, dict[int, list[float]]], arguments: Any) -> None:
    """The table: a row a way and optimiser, a column a size."""
    cells = [[name, *(f"{report.median(by_rows[rows]):,.1f} ±{100 * report.spread(by_rows[rows]):.0f}%"
                      for rows in arguments.rows)] for name, by_rows in results.items()]
    report.table(f"microseconds for one step, batch {arguments.batch}, float32, by rows of the table "
                 f"(x {arguments.width})", ["", *(f"{rows:,}" for rows in arguments.rows)], cells)


def plot(results: dict[str, dict[int, list[float]]], file: Path) -> None:
    """Time over rows, both logarithmic; a panel an optimiser, a colour a way, dashed where dense."""
    plt = report.pyplot()
    figure, panels = plt.subplots(1, len(OPTIMIZERS), figsize=(11, 4), sharey=True, layout="constrained")
    for axes, (sparse_name, dense_name, _) in zip(panels, OPTIMIZERS):
        for k, way in enumerate(dict.fromkeys(name.split(":")[0] for name in results)):
            for name, line in ((f"{sparse_name} sparse", "-"), (f"{dense_name} dense", "--")):
                by_rows = results[f"{way}: {name}"]
                axes.plot(list(by_rows), [report.median(times) for times in by_rows.values()], line, marker=".",
                          color=f"C{k}", label=f"{way}, {name.split()[1]}")
        axes.set_title(sparse_name if sparse_name == dense_name else f"{sparse_name}; dense: {dense_name}")
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel("rows of the table")
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("microseconds for one training step")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels) // 2, frameon=False)
    figure.savefig(file, dpi=150)


def main() -> None:
    """Measure and show."""
    parser = report.parser(__doc__)
    parser.add_argument("--rows", type=report.positive, nargs="+", default=[1_000, 100_000, 1_000_000],
                        help="of the tables (default 1000 100000 1000000)")
    parser.add_argument("--width", type=report.positive, default=32, help="columns of the table (default %(default)s)")
    parser.add_argument("--batch", type=report.positive, default=64, help="rows a step reads (default %(default)s)")
    parser.add_argument("--torch-python", metavar="PATH", help="an interpreter that has PyTorch and NumPy")
    parser.add_argument("--repeats", type=report.positive, default=7)
    parser.add_argument("--seconds", type=float, default=0.1, help="for each repeat of each way (default %(default)s)")
    parser.add_argument("--threads", type=report.positive, default=1, help="of BLAS and PyTorch (default %(default)s)")
    parser.add_argument("--worker", action="store_true", help="measure PyTorch for another embedding.py (internal)")
    arguments = parser.parse_args()
    report.set_threads(arguments.threads)
    ways: dict[str, Any] = {"recorded": recorded, "define by run": define_by_run}
    if arguments.worker:
        import torch

        torch.set_num_threads(arguments.threads)
        results = measure({"PyTorch": torch_eager}, arguments, lambda what: None)
        print(json.dumps({"version": torch.__version__, "results": results}))
        return
    progress = report.Progress(len(arguments.rows) * len(ways) * len(OPTIMIZERS) * arguments.repeats)
    results, version = measure(ways, arguments, progress), None
    if arguments.torch_python:
        progress("PyTorch")
        theirs, version = elsewhere(arguments)
        results.update(theirs)
    progress.end()
    show(results, arguments)
    if arguments.plot:
        plot(results, arguments.plot)
    report.finish(arguments, report.machine(torch=version, threads=arguments.threads), results)


if __name__ == "__main__":
    main()
