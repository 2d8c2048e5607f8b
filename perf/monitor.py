"""What it costs to look into a training run: its time with a monitor that samples steps over its time without.

Short runs with and without take turns, the first of a pair being now the one and now the other; each run with a
monitor looks into as many steps as every other. The cost is the median over the pairs. Its confidence interval of 95
per cent, from the order of the pairs, decides: a target within it is neither hit nor missed. Beside it stands the cost
by the least times, which other work on the machine disturbs least.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import report
from worker import load_works

works = load_works()
NETWORKS = ("64-128-64-10 relu, 64, Adam", "784-512-256-10 relu, 128, Adam")
TARGET = 0.02  # of the time of the run, if every hundredth step is sampled


def measure(network: Any, every: int, repeats: int, seconds: float, steps: int,
            clock: Callable[[], float]) -> dict[str, list[float]]:
    """Microseconds a step without a monitor and with one, pair by pair: so many pairs, or as the seconds allow."""
    import numpy as np

    import tapegrad as tg
    import tapegrad.nn.functional as F
    from tapegrad import nn, optim

    model = network.build(nn, np.arange(works.CONTEXT))
    optimizer = getattr(optim, network.optimizer)(model.parameters(), lr=network.lr)
    step = tg.TrainStep(lambda x, y: network.loss(F, model, x, y), optimizer)
    X, Y = network.data()
    steps = math.ceil(steps / every) * every
    batches = max(n for n in range(1, network.batches + 1) if steps % n == 0)
    X, Y, epochs = X[:batches * network.batch], Y[:batches * network.batch], steps // batches

    def run(monitor: tg.Monitor | None) -> float:
        began = clock()
        history = step.run(X, Y, batch_size=network.batch, epochs=epochs, seed=0, monitor=monitor)
        return 1e6 * (clock() - began) / len(history)

    monitor = tg.Monitor(every=every)
    found: dict[str, list[float]] = {"without": [], "with": []}
    run(None), run(monitor)
    began = time.perf_counter()
    for k in range(repeats):
        if k > 5 and time.perf_counter() - began > seconds:
            break
        for name, given in (("without", None), ("with", monitor))[::1 if k % 2 else -1]:
            found[name].append(run(given))
    return found


def costs(found: dict[str, list[float]]) -> tuple[float, float, float, float]:
    """The median over the pairs, the ends of its confidence interval of 95 per cent, and that of the least times.

    Between the order statistics n / 2 -+ 0.98 sqrt(n) the median of a distribution lies in 95 of 100 samples of n.
    """
    ratios = sorted(b / a - 1.0 for a, b in zip(found["without"], found["with"]))
    n = len(ratios)
    low = max(math.floor(n / 2 - 0.98 * math.sqrt(n)), 0)
    least = min(found["with"]) / min(found["without"]) - 1.0
    return report.median(ratios), ratios[low], ratios[n - 1 - low], least


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
    parser.add_argument("--repeats", type=report.positive, default=1000, help="pairs at most (default %(default)s)")
    parser.add_argument("--seconds", type=float, default=60.0, help="for each network (default %(default)s)")
    parser.add_argument("--steps", type=report.positive, default=200,
                        help="of a run at least, a multiple of --every (default %(default)s)")
    parser.add_argument("--threads", type=report.positive, default=2, help="of BLAS (default %(default)s)")
    parser.add_argument("--cpu", action="store_true",
                        help="count the process's own time; on a busy machine, with --threads 1")
    arguments = parser.parse_args()
    report.set_threads(arguments.threads)
    results = {}
    progress = report.Progress(len(NETWORKS))
    for name in NETWORKS:
        progress(name)
        results[name] = measure(works.NETWORKS[name], arguments.every, arguments.repeats, arguments.seconds,
                                arguments.steps, time.process_time if arguments.cpu else time.perf_counter)
    progress.end()
    rows = []
    for name, found in results.items():
        cost, low, high, least = costs(found)
        target = TARGET * 100 / arguments.every
        rows.append([name, f"{len(found['with'])}", f"{report.median(found['without']):,.1f}",
                     f"{report.median(found['with']):,.1f}", f"{100 * cost:.2f}%",
                     f"{100 * low:.2f} to {100 * high:.2f}%", f"{100 * least:.2f}%",
                     "hit" if high <= target else "MISS" if low > target else "undecided"])
    report.table(f"microseconds a step, every {arguments.every}th looked into",
                 ["network", "pairs", "without", "with", "cost", "95 of 100", "of the least",
                  f"target {2 * 100 / arguments.every:g}%"], rows)
    if arguments.plot:
        plot(results, arguments.plot)
    report.finish(arguments, report.machine(threads=arguments.threads), results)


if __name__ == "__main__":
    main()
