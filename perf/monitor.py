"""What it costs to look into a training run: its time with a monitor that samples steps over its time without.

Runs with and without take turns, the first of a pair being now the one and now the other. The cost is the median over
the pairs; beside it stands that of the least times, which other work on the machine disturbs least.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import report
from worker import load_works

works = load_works()
NETWORKS = ("64-128-64-10 relu, 64, Adam", "784-512-256-10 relu, 128, Adam")
TARGET = 0.02  # of the time of the run, if every hundredth step is sampled


def measure(network: Any, every: int, repeats: int, steps: int) -> dict[str, list[float]]:
    """Microseconds a step without a monitor and with one, pair by pair."""
    import numpy as np

    import tapegrad as tg
    import tapegrad.nn.functional as F
    from tapegrad import nn, optim

    model = network.build(nn, np.arange(works.CONTEXT))
    optimizer = getattr(optim, network.optimizer)(model.parameters(), lr=network.lr)
    step = tg.TrainStep(lambda x, y: network.loss(F, model, x, y), optimizer)
    X, Y = network.data()
    epochs = max(steps // network.batches, 1)

    def run(monitor: tg.Monitor | None) -> float:
        began = time.perf_counter()
        history = step.run(X, Y, batch_size=network.batch, epochs=epochs, seed=0, monitor=monitor)
        return 1e6 * (time.perf_counter() - began) / len(history)

    monitor = tg.Monitor(every=every)
    found: dict[str, list[float]] = {"without": [], "with": []}
    run(None), run(monitor)
    for k in range(repeats):
        for name, given in (("without", None), ("with", monitor))[::1 if k % 2 else -1]:
            found[name].append(run(given))
    return found


def costs(found: dict[str, list[float]]) -> tuple[float, float, float]:
    """The median over the pairs, its spread, and that of the least times."""
    ratios = [b / a for a, b in zip(found["without"], found["with"])]
    return report.median(ratios) - 1.0, report.spread(ratios), min(found["with"]) / min(found["without"]) - 1.0


def plot(results: dict[str, dict[str, list[float]]], file: Path) -> None:
    """The cost of every pair, with the median and the target."""
    plt = report.pyplot()
    figure, axes = plt.subplots(figsize=(9, 1 + 0.8 * len(results)), layout="constrained")
    for k, found in enumerate(results.values()):
        ratios = [100 * (b / a - 1.0) for a, b in zip(found["without"], found["with"])]
        axes.plot(ratios, [k] * len(ratios), "|", color="#6d7fa6", ms=14)
        axes.plot([100 * costs(found)[0]], [k], "o", color="#2f5d8a")
    axes.axvline(100 * TARGET, color="#d1495b", linewidth=1)
    axes.axvline(0, color="0.6", linewidth=1)
    axes.set_yticks(range(len(results)), list(results))
    axes.set_ylim(-0.5, len(results) - 0.5)
    axes.set_xlabel("per cent of the run's time: each pair, and their median")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, dpi=150)


def main() -> None:
    """Measure and show."""
    parser = report.parser(__doc__)
    parser.add_argument("--every", type=report.positive, default=100, help="sample every so many steps (default 100)")
    parser.add_argument("--repeats", type=report.positive, default=41)
    parser.add_argument("--steps", type=report.positive, default=400, help="of a repeat, about (default %(default)s)")
    parser.add_argument("--threads", type=report.positive, default=2, help="of BLAS (default %(default)s)")
    arguments = parser.parse_args()
    report.set_threads(arguments.threads)
    results = {}
    progress = report.Progress(len(NETWORKS))
    for name in NETWORKS:
        progress(name)
        results[name] = measure(works.NETWORKS[name], arguments.every, arguments.repeats, arguments.steps)
    progress.end()
    rows = []
    for name, found in results.items():
        cost, spread, least = costs(found)
        target = TARGET * 100 / arguments.every
        rows.append([name, f"{report.median(found['without']):,.1f}", f"{report.median(found['with']):,.1f}",
                     f"{100 * cost:.2f}% ±{100 * spread:.1f}", f"{100 * least:.2f}%",
                     "hit" if cost <= target else "MISS"])
    report.table(f"microseconds a step, every {arguments.every}th looked into",
                 ["network", "without", "with", "cost", "of the least", f"target {2 * 100 / arguments.every:g}%"], rows)
    if arguments.plot:
        plot(results, arguments.plot)
    report.finish(arguments, report.machine(threads=arguments.threads), results)


if __name__ == "__main__":
    main()
