"""Nanoseconds an op in a graph of 10,000 scalar ops, forward and reverse.

The graph is random: softplus of one earlier value, sum of four, product of two, softmax of four (which gives four
values), in equal shares, from the values made last. It is what a per-op overhead looks like when there is no arithmetic
to hide it. Recorded once and replayed; define-by-run is measured beside it. An op of the graph may take several
instructions of the tape (a sum of four takes three additions), so both counts are shown.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import report
from worker import load_works

works = load_works()


def seconds(call: Callable[[], Any], least: float) -> float:
    """Seconds of one call, averaged over as many as take `least` seconds."""
    call()
    count, began = 0, time.perf_counter()
    while True:
        call()
        count += 1
        taken = time.perf_counter() - began
        if taken >= least:
            return taken / count


def check(f: Callable[[Any], Any], value: float, gradient: Any, x: Any) -> None:
    """Hold the gradient against a central difference along a random direction."""
    import numpy as np

    import tapegrad as tg

    direction = np.random.default_rng(0).standard_normal(x.size)
    with tg.no_grad():
        ahead, behind = (float(f(tg.tensor(x + sign * 1e-5 * direction))) for sign in (1, -1))
    expected, actual = (ahead - behind) / 2e-5, float(gradient @ direction)
    if not np.isfinite(value) or abs(actual - expected) > 1e-6 * max(1.0, abs(expected)):
        sys.exit(f"the gradient is wrong: {actual} along a direction, {expected} by finite differences")


def measure(ops: int, dtype: str, repeats: int, least: float, progress: Callable[[str], None]) -> dict[str, Any]:
    """Seconds for the whole graph, each way, repeat by repeat in turn."""
    import tapegrad as tg

    work = works.Scalars("", ops, dtype)
    f, x = work.function(tg), work.data()
    forward, both = tg.compile(f), tg.compile(tg.value_and_grad(f))
    by_run = tg.value_and_grad(f)

    progress(f"{dtype}: recording")
    began = time.perf_counter()
    forward(x)
    recording = time.perf_counter() - began
    if dtype == "float64":
        check(f, *both(x), x)
    both(x)
    ways = {"forward, recorded": lambda: forward(x), "forward and reverse, recorded": lambda: both(x)}
    times: dict[str, list[float]] = {name: [] for name in (*ways, "define by run")}
    for repeat in range(repeats):
        progress(f"{dtype}: repeat {repeat + 1}")
        for name, call in ways.items():
            times[name].append(seconds(call, least))
        if repeat < 3:
            times["define by run"].append(seconds(lambda: by_run(x), 0.0))
    return {"ops": ops, "instructions": len(both.tape), "seconds_to_record": recording, "seconds": times}


def plot(results: dict[str, Any], file: Path) -> None:
    """A point a repeat."""
    plt = report.pyplot()
    figure, axes = plt.subplots(figsize=(8, 3.2), layout="constrained")
    labels = []
    for dtype, result in results.items():
        for name in ("forward, recorded", "forward and reverse, recorded"):
            values = [1e9 * s / result["ops"] for s in result["seconds"][name]]
            axes.plot(values, [len(labels)] * len(values), "o", alpha=0.6)
            axes.plot([report.median(values)], [len(labels)], "k|", markersize=18)
            labels.append(f"{dtype}\n{name}")
    axes.set_yticks(range(len(labels)), labels)
    axes.invert_yaxis()
    axes.set_xlim(left=0)
    axes.set_xlabel("nanoseconds an op (a point a repeat, a line at the median)")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, dpi=150)


def main() -> None:
    """Measure and show."""
    parser = report.parser(__doc__)
    parser.add_argument("--ops", type=report.positive, default=10_000)
    parser.add_argument("--repeats", type=report.positive, default=15)
    parser.add_argument("--seconds", type=float, default=0.1, help="for each repeat of each way (default %(default)s)")
    arguments = parser.parse_args()
    progress = report.Progress(2 * (arguments.repeats + 1))
    results = {dtype: measure(arguments.ops, dtype, arguments.repeats, arguments.seconds, progress)
               for dtype in ("float32", "float64")}
    progress.end()
    rows = []
    for dtype, result in results.items():
        for name, times in result["seconds"].items():
            once = report.median(times)
            rows.append([f"{dtype} {name}", f"{1e6 * once:,.0f}", f"{1e9 * once / result['ops']:,.1f}",
                         f"{1e9 * once / result['instructions']:,.1f}", f"±{100 * report.spread(times):.0f}%"])
    first = next(iter(results.values()))
    report.table(f"a graph of {first['ops']:,} scalar ops, {first['instructions']:,} instructions "
                 "(define by run: forward and reverse)",
                 ["way", "microseconds", "ns an op", "ns an instruction", "spread"], rows)
    print(f"recording it took {first['seconds_to_record']:.2f} s, "
          f"{1e6 * first['seconds_to_record'] / first['instructions']:.1f} microseconds an instruction")
    if arguments.plot:
        plot(results, arguments.plot)
    report.finish(arguments, report.machine(), results)


if __name__ == "__main__":
    main()
