"""What it costs to record: microseconds an instruction that is recorded, and from a new model or shape to its result.

Recording is what tapegrad does where others compile. Five things are timed, for each network and for a graph of 10,000
scalar ops:

- record: from a new TrainStep (or compiled function) to the result of its first call;
- another shape: the same with a batch of another length, whose recording comes beside the first;
- record again: one of the trained layers is frozen, so that the step is recorded anew;
- back again: to a signature that is kept, which must cost no more than a call;
- replay: a call of the recording.

Kernels are compiled (or loaded) beforehand by a model of the same ops, for they belong to the machine and not to a
model.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import report
from worker import load_works

works = load_works()
WAYS = ("record", "another shape", "record again", "back again", "replay")
NEW_MILLISECONDS = 5.0  # from a new perceptron to its result
MICROSECONDS = 20.0  # an instruction,
MANY = 50  # in recordings of so many that what each costs as a whole does not count


def seconds(call: Callable[[], Any]) -> float:
    """Seconds of one call."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def counts_of(recorded: Any) -> dict[str, int]:
    """Instructions that a step or a compiled function has recorded, and of those that are left on its tape."""
    return {"recorded": recorded._last.program.capture.recorded, "instructions": len(recorded.tape)}


def network_once(network: Any) -> tuple[dict[str, float], dict[str, int]]:
    """One measurement of each, and the numbers of instructions."""
    import numpy as np

    import tapegrad as tg
    import tapegrad.nn.functional as F
    from tapegrad import nn, optim

    model = network.build(nn, np.arange(works.CONTEXT))
    optimizer = getattr(optim, network.optimizer)(model.parameters(), lr=1e-3)
    X, Y = network.data()
    b = network.batch
    x, y, fewer, of_fewer = X[:b].copy(), Y[:b].copy(), X[:b // 2].copy(), Y[:b // 2].copy()
    step = tg.TrainStep(lambda x, y: network.loss(F, model, x, y), optimizer)
    gc.collect()
    found = {"record": seconds(lambda: step(x, y)), "another shape": seconds(lambda: step(fewer, of_fewer))}
    counts = counts_of(step)
    first = next(iter(model.parameters()))
    first.requires_grad_(False)
    found["record again"] = seconds(lambda: step(x, y))
    first.requires_grad_(True)
    found["back again"] = seconds(lambda: step(x, y))
    assert step.recordings == 3
    found["replay"] = min(seconds(lambda: step(x, y)) for _ in range(5))
    return found, counts


def graph_once(graph: Any) -> tuple[dict[str, float], dict[str, int]]:
    """The same of a graph of scalars, which has one shape and nothing to freeze."""
    import tapegrad as tg

    call = tg.compile(tg.value_and_grad(graph.function(tg)))
    x = graph.data()
    gc.collect()
    found = {"record": seconds(lambda: call(x))}
    found["replay"] = min(seconds(lambda: call(x)) for _ in range(5))
    return found, counts_of(call)


def measure(names: list[str], repeats: int, quick: bool) -> dict[str, Any]:
    """Seconds of every repeat, the works in turn."""
    results: dict[str, Any] = {name: {"seconds": {}} for name in names}
    progress = report.Progress(len(names) * (repeats + 1))
    for repeat in range(-1, repeats):  # the first one makes the kernels ready
        for name in names:
            progress(name)
            work = works.adjusted(works.WORKS[name], quick)
            once = network_once if isinstance(work, works.Network) else graph_once
            taken, counts = once(work)
            results[name].update(counts)
            if repeat >= 0:
                for way, value in taken.items():
                    results[name]["seconds"].setdefault(way, []).append(value)
    progress.end()
    return results


def plot(results: dict[str, Any], file: Path) -> None:
    """Milliseconds to the first result, by work, on a logarithmic axis."""
    plt = report.pyplot()
    figure, axes = plt.subplots(figsize=(9, 1 + 0.75 * len(results)), layout="constrained")
    height = 0.8 / len(WAYS)
    for k, way in enumerate(WAYS):
        timed = [(row, r["seconds"][way]) for row, r in enumerate(results.values()) if way in r["seconds"]]
        places = [row + (k - (len(WAYS) - 1) / 2) * height for row, _ in timed]
        values = [1e3 * report.median(taken) for _, taken in timed]
        bars = axes.barh(places, values, 0.9 * height, label=way)
        axes.bar_label(bars, [f"{v:,.3g}" for v in values], padding=3, fontsize=7)
    axes.set_yticks(range(len(results)), [f"{name}\n{r['recorded']:,} instructions" for name, r in results.items()],
                    fontsize=8)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.margins(x=0.12)
    axes.set_xlabel("milliseconds to the result")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=len(WAYS), frameon=False)
    figure.savefig(file, dpi=150)


def main() -> None:
    """Measure and show."""
    parser = report.parser(__doc__)
    parser.add_argument("--only", metavar="TEXT", help="works whose names contain TEXT")
    parser.add_argument("--repeats", type=report.positive, default=9)
    parser.add_argument("--threads", type=report.positive, default=2, help="of BLAS (default %(default)s)")
    parser.add_argument("--quick", action="store_true", help="to try the script: a small graph")
    arguments = parser.parse_args()
    names = [name for name, work in works.WORKS.items() if not isinstance(work, works.Chain)
             and (not arguments.only or arguments.only in name)]
    if not names:
        parser.error(f"--only {arguments.only}: no work's name contains that; there are {'; '.join(works.WORKS)}")
    report.set_threads(arguments.threads)
    results = measure(names, arguments.repeats, arguments.quick)
    rows = []
    for name, result in results.items():
        times = result["seconds"]
        recording = report.median(times["record"]) - report.median(times["replay"])
        each = 1e6 * recording / result["recorded"]
        verdict = ["hit" if each <= MICROSECONDS else "MISS"] if result["recorded"] >= MANY else []
        if isinstance(works.WORKS[name], works.Network) and works.WORKS[name].family == "multilayer":
            new = 1e3 * max(report.median(times[way]) for way in ("record", "another shape"))
            verdict.append("hit" if new <= NEW_MILLISECONDS else "MISS")
        rows.append([name, f"{result['recorded']:,}", f"{result['instructions']:,}",
                     *(f"{1e3 * report.median(times[way]):,.2f}" if way in times else "-" for way in WAYS),
                     f"{each:,.1f} ±{100 * report.spread(times['record']):.0f}%", ", ".join(verdict) or "-"])
    report.table("milliseconds from the call to the result, and microseconds an instruction to record",
                 ["work", "recorded", "of them left", *WAYS, "us a recorded one", "targets"], rows)
    print(f"targets: at most {MICROSECONDS:g} microseconds an instruction (of recordings with {MANY} or more); for "
          f"perceptrons at most {NEW_MILLISECONDS:g} ms from a new model or shape to the result")
    if arguments.plot:
        plot(results, arguments.plot)
    report.finish(arguments, report.machine(threads=arguments.threads), results)


if __name__ == "__main__":
    main()
