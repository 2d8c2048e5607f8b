"""What Python costs beside compiled code: microseconds of a call step(x, y), and of a step of TrainStep.run.

The compiled work is one call of the compiled loop over as many steps: for run with the batches gathered, and with the
drawing of the rows' orders, which NumPy does; for the call with one batch in place. What is beyond it is the rest: of
run the calls that it is cut into and what it keeps of them, shared by the steps of an epoch; of the call the copying
of its arguments and everything that could have changed since the last one.

Networks are small, so that the rest is not lost in the spread of the work.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import report
from worker import load_works

works = load_works()
NETWORKS = {network.name: network for network in (
    works.Network("1-1, 1, SGD", "multilayer", 1, 256, "SGD", 1e-3, (1, 1), "tanh"),
    works.Network("8-32-32-1 tanh, 32, SGD", "multilayer", 32, 256, "SGD", 1e-3, (8, 32, 32, 1), "tanh"),
    works.Network("64-[8]x30-1 tanh, 4, SGD", "multilayer", 4, 256, "SGD", 1e-3, (64, *[8] * 30, 1), "tanh"),
)}
WAYS = ("work of run", "run", "work of the call", "call")
TARGETS = {"run": 0.2, "call": 3.0}  # microseconds beyond the work


def ready(network: Any) -> tuple[Any, Any, Any]:
    """The step, recorded, with inputs and targets of all batches."""
    import numpy as np

    import tapegrad as tg
    import tapegrad.nn.functional as F
    from tapegrad import nn, optim

    model = network.build(nn, np.arange(works.CONTEXT))
    optimizer = getattr(optim, network.optimizer)(model.parameters(), lr=network.lr)
    step = tg.TrainStep(lambda x, y: network.loss(F, model, x, y), optimizer)
    X, Y = network.data()
    step.run(X, Y, batch_size=network.batch)
    return step, X, Y


def compiled(step: Any, X: Any, Y: Any, batch: int, steps: int, gathers: bool) -> float:
    """Microseconds a step of the compiled loop alone."""
    import numpy as np

    from tapegrad.engine.storage import address_of
    from tapegrad.program.running import loop
    from tapegrad.program.running.source import table_of

    recorded = step._step_for([X[:batch], Y[:batch]])
    row, rng = recorded.row, np.random.default_rng(0)
    began = time.perf_counter()
    orders = [rng.permutation(len(X)) for _ in range(steps * batch // len(X))] if gathers else []
    drawing = time.perf_counter() - began
    order = np.concatenate(orders) if gathers else None
    table, losses = table_of([X, Y], recorded.inputs), np.empty(steps, recorded.dtype)
    row[loop.BATCH], row[loop.INPUTS], row[loop.TABLE] = batch, 2, address_of(table) // 8
    row[loop.INDEX] = 0 if order is None else address_of(order) // 8
    row[loop.LOSSES], row[loop.LAST] = address_of(losses) // recorded.dtype.itemsize, steps
    began = time.perf_counter()
    recorded._walk()
    taken = time.perf_counter() - began
    recorded.advance(steps)
    return 1e6 * (drawing + taken) / steps


def measure(network: Any, repeats: int, steps: int) -> dict[str, list[float]]:
    """Microseconds a step of every way, repeat by repeat in turn."""
    step, X, Y = ready(network)
    batch, epochs = network.batch, max(steps // network.batches, 1)
    x, y = X[:batch].copy(), Y[:batch].copy()
    found: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in range(repeats):
        found["work of run"].append(compiled(step, X, Y, batch, epochs * network.batches, gathers=True))
        began = time.perf_counter()
        history = step.run(X, Y, batch_size=batch, epochs=epochs, seed=0)
        found["run"].append(1e6 * (time.perf_counter() - began) / len(history))
        found["work of the call"].append(compiled(step, X, Y, batch, steps, gathers=False))
        began = time.perf_counter()
        for _ in range(steps):
            step(x, y)
        found["call"].append(1e6 * (time.perf_counter() - began) / steps)
    return found


def beyond(found: dict[str, list[float]]) -> dict[str, float]:
    """Microseconds beyond the work, of the least times, which other work on the machine disturbs least."""
    least = {way: min(times) for way, times in found.items()}
    return {"run": least["run"] - least["work of run"], "call": least["call"] - least["work of the call"]}


def plot(results: dict[str, dict[str, list[float]]], file: Path) -> None:
    """Bars of what is beyond the work, with the targets."""
    plt = report.pyplot()
    figure, axes = plt.subplots(1, len(TARGETS), figsize=(9, 1 + 0.5 * len(results)), layout="constrained", sharey=True)
    for place, (way, target) in zip(axes, TARGETS.items()):
        bars = place.barh(list(results), [beyond(found)[way] for found in results.values()], color="#2f5d8a")
        place.bar_label(bars, fmt="%.2f", padding=3)
        place.axvline(target, color="0.6", linewidth=1)
        place.set_xlabel(f"{way}: microseconds a step beyond the compiled work")
        place.margins(x=0.15)
        place.spines[["top", "right"]].set_visible(False)
    axes[0].invert_yaxis()
    figure.savefig(file, dpi=150)


def main() -> None:
    """Measure and show."""
    parser = report.parser(__doc__)
    parser.add_argument("--repeats", type=report.positive, default=15)
    parser.add_argument("--steps", type=report.positive, default=4096, help="of a repeat (default %(default)s)")
    parser.add_argument("--threads", type=report.positive, default=2, help="of BLAS (default %(default)s)")
    arguments = parser.parse_args()
    report.set_threads(arguments.threads)
    results = {}
    progress = report.Progress(len(NETWORKS))
    for name, network in NETWORKS.items():
        progress(name)
        results[name] = measure(network, arguments.repeats, arguments.steps)
    progress.end()
    rows = []
    for name, found in results.items():
        rest = beyond(found)
        verdicts = ["hit" if rest[way] <= target else "MISS" for way, target in TARGETS.items()]
        rows.append([name, *(f"{min(found[way]):,.2f}" for way in WAYS), *(f"{rest[way]:.2f}" for way in TARGETS),
                     ", ".join(verdicts)])
    report.table("microseconds a step, the least of the repeats", ["network", *WAYS, "run beyond", "call beyond",
                                                                   "targets"], rows)
    print(f"targets: beyond the compiled work at most {TARGETS['run']:g} of a step of run (epochs of 256 steps) and "
          f"{TARGETS['call']:g} of a call")
    if arguments.plot:
        plot(results, arguments.plot)
    report.finish(arguments, report.machine(threads=arguments.threads), results)


if __name__ == "__main__":
    main()
