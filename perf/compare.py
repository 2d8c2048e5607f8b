"""Time for one step, tapegrad beside its peers and beside what could be written by hand.

The works: five multilayer perceptrons, LeNet, a character transformer, a chain of elementwise functions, a graph
of 10,000 scalar ops. The peers, each where it is installed: PyTorch eager and torch.compile, JAX, CasADi, HIPS
autograd; the perceptrons as one hand-written numba function; the graph as a flat tape in C.

Every library is a process of its own that waits while the others run. For each work all are prepared from the same
parameters and data and must give the same losses and gradients, or nothing is timed. Then they take turns, repeat by
repeat, so that a change of the machine's speed meets all of them. The median of the repeats is shown with the spread
that half of them stay within; ratios are of medians. Float32 unless a work's name says otherwise.

TrainStep.run also gathers a shuffled batch at every step; PyTorch's and JAX's steps run on one batch that stays in
place.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import report
from worker import Worker, load_works

WORKS = load_works().WORKS

# modules that know how to run the works, and the option that says which interpreter runs them
LIBRARIES = {"ways_tapegrad": "", "handwritten": "", "scalar_tape": "", "ways_torch": "torch_python",
             "ways_jax": "peers_python", "ways_casadi": "peers_python", "ways_autograd": "peers_python"}
NAMES = {"ways_tapegrad": "tapegrad", "handwritten": "numba", "scalar_tape": "C", "ways_torch": "torch",
         "ways_jax": "jax", "ways_casadi": "casadi", "ways_autograd": "autograd"}

# the order of columns and colours
ORDER = ("tapegrad", "tapegrad, step(x, y)", "tapegrad, by run", "handwritten", "C", "PyTorch eager", "torch.compile",
         "JAX jit", "CasADi", "autograd")

TOLERANCE = 1e-4
SETTLE = 0.05  # seconds between turns, for the last one's threads to go to sleep


@dataclass(frozen=True)
class Target:
    """How many times faster one way is to be than another."""

    work: str
    against: str
    ratio: float
    ours: str = "tapegrad"


def _targets() -> list[Target]:
    eager, jax = "PyTorch eager", "JAX jit"
    both = {"8-32-32-1 tanh, 32, SGD": (25, 10), "64-128-64-10 relu, 64, Adam": (9, 3.3),
            "784-512-256-10 relu, 128, Adam": (1.8, 1.4), "1024-1024-1024-10 relu, 256, SGD": (1.1, 1.0),
            "64-[64]x30-10 tanh, 64, SGD": (4.5, 1.7), "LeNet, 64, SGD": (1.5, 2.5),
            "character transformer, 16 x 64, AdamW": (1.5, 2), "Black-Scholes, 1e6 options": (4, 1.2)}
    found = []
    for work, ratios in both.items():
        found += [Target(work, peer, ratio) for peer, ratio in zip((eager, jax), ratios)]
        if work[0].isdigit():
            found.append(Target(work, "handwritten", 0.9))
    first = next(iter(both))
    found.insert(3, Target(first, eager, 1.0, "tapegrad, by run"))
    for dtype in ("float32", "float64"):
        work = f"10,000 scalar ops, {dtype}"
        found += [Target(work, eager, 500), Target(work, "C", 1 / 1.5)]
    return [*found, Target(work, "CasADi", 1.0)]


TARGETS = _targets()
CALL_MICROSECONDS = 3.0  # that step(x, y) may take beyond TrainStep.run


def start(arguments: Any, libraries: dict[str, str] = LIBRARIES) -> list[Worker]:
    """The processes of the libraries that are there; says on standard error which are not."""
    workers = []
    for module, option in libraries.items():
        python = getattr(arguments, option, None) or sys.executable
        worker = Worker(python, module, arguments.threads, arguments.quick)
        if worker.missing is not None:
            print(f"without {NAMES.get(module, module)}: {worker.missing}", file=sys.stderr)
            worker.close()
        else:
            workers.append(worker)
    return workers


def check(work: str, results: dict[str, tuple[list[float], dict[str, Any]]]) -> dict[str, float]:
    """The worst relative difference of each way's losses and gradients from the first way's; ends where one is large.

    A gradient's is that of its norm. Biases whose gradient is nothing but rounding are held against the others' size.
    """
    import numpy as np

    (first, (losses, gradients)), *others = results.items()
    size = max(float(np.linalg.norm(g)) for g in gradients.values())
    worst = {first: 0.0}
    for name, (their_losses, theirs) in others:
        if set(theirs) != set(gradients) or len(their_losses) != len(losses):
            sys.exit(f"{work}: {name} has other parameters than {first}")
        differences = {"losses": max(abs(a - b) / max(abs(b), 1e-3) for a, b in zip(their_losses, losses))}
        for key, g in gradients.items():
            if theirs[key].shape != g.shape:
                sys.exit(f"{work}: {name} has a gradient {theirs[key].shape} of {key}, {first} one of {g.shape}")
            difference = float(np.linalg.norm(theirs[key].astype(np.float64) - g))
            differences[f"the gradient of {key}"] = difference / max(float(np.linalg.norm(g)), 1e-3 * size, 1e-30)
        what = max(differences, key=lambda key: differences[key])
        worst[name] = differences[what]
        if not worst[name] <= TOLERANCE:
            sys.exit(f"{work}: {what} of {name} and {first} differ by {worst[name]:.1e}: {their_losses} {losses}")
    return worst


def measure(work: str, workers: list[Worker], arguments: Any, progress: Any) -> dict[str, Any]:
    """Microseconds a step, repeat by repeat and way by way, and how well they agree."""
    ways = {way: worker for worker in workers for way in worker.ways[work]
            if not arguments.without or not any(text in way for text in arguments.without)}
    prepared: dict[str, tuple[list[float], dict[str, Any]]] = {}
    counts = {}
    for way, worker in ways.items():
        progress(f"{work}: {way}, preparing")
        try:
            losses, gradients, every = worker.prepare(work, way)
        except RuntimeError as error:
            if worker.library.endswith("_tapegrad"):
                sys.exit(f"{work}: {way} fails: {error}")
            print(f"{work}: without {way}, which fails: {error}", file=sys.stderr)
            continue
        prepared[way] = losses, gradients
        once = worker.seconds(work, way, every)
        if once < arguments.seconds:
            once = worker.seconds(work, way, every)
        counts[way] = every * max(1, round(arguments.seconds / once))
    worst = check(work, prepared)
    times: dict[str, list[float]] = {way: [] for way in counts}
    for repeat in range(arguments.repeats):
        progress(f"{work}: repeat {repeat + 1}")
        order = [(way, ways[way]) for way in counts]
        for way, worker in order[repeat % len(order):] + order[:repeat % len(order)]:
            time.sleep(SETTLE)
            times[way].append(1e6 * worker.seconds(work, way, counts[way]) / counts[way])
    for worker in workers:
        worker.forget(work)
    return {"losses": next(iter(prepared.values()))[0], "worst_difference": worst, "microseconds": times}


def judged(results: dict[str, Any]) -> list[dict[str, Any]]:
    """Each target whose work and ways were measured, with the ratio reached and its range over the repeats."""
    rows = []
    for target in TARGETS:
        times = results.get(target.work, {}).get("microseconds", {})
        if target.ours in times and target.against in times:
            ratio = report.median(times[target.against]) / report.median(times[target.ours])
            turns = [a / b for a, b in zip(times[target.against], times[target.ours])]
            rows.append({"work": target.work, "ours": target.ours, "against": target.against, "target": target.ratio,
                         "ratio": ratio, "spread": report.spread(turns), "hit": ratio >= target.ratio})
    return rows


def few(value: float) -> str:
    """Three figures."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def cell(times: list[float] | None) -> str:
    """Median and spread in a table."""
    if times is None:
        return "-"
    return few(report.median(times)) + (f" ±{100 * report.spread(times):.0f}%" if len(times) > 1 else "")


def show(results: dict[str, Any]) -> None:
    """Times, agreement and targets."""
    names = [name for name in ORDER if any(name in result["microseconds"] for result in results.values())]
    cells = [[work, *(cell(result["microseconds"].get(way)) for way in names)] for work, result in results.items()]
    report.table("microseconds for one step (for a chain or a graph: value and gradient)", ["work", *names], cells)
    worst = max((d, way, work) for work, r in results.items() for way, d in r["worst_difference"].items())
    print(f"\nlosses and gradients agree: worst relative difference {worst[0]:.1e} ({worst[1]}, {worst[2]})")
    rows = judged(results)
    if rows:
        cells = [[r["work"], r["ours"], r["against"], f"{few(r['ratio'])} ±{100 * r['spread']:.0f}%",
                  few(r["target"]), "hit" if r["hit"] else "MISS"] for r in rows]
        report.table("how many times as fast; the target is the least",
                     ["work", "way", "against", "times", "target", ""], cells)
        print(f"{sum(r['hit'] for r in rows)} of {len(rows)} targets hit")
    for work, result in results.items():
        times = result["microseconds"]
        if "tapegrad, step(x, y)" in times and work == TARGETS[0].work:
            more = report.median(times["tapegrad, step(x, y)"]) - report.median(times["tapegrad"])
            print(f"step(x, y) takes {more:.1f} microseconds more than a step of TrainStep.run ({work}; "
                  f"target {CALL_MICROSECONDS:g}): {'hit' if more <= CALL_MICROSECONDS else 'MISS'}")


def plot(results: dict[str, Any], file: Path) -> None:
    """Bars on a logarithmic axis, a panel a work."""
    plt = report.pyplot()
    colours = {name: f"C{k}" for k, name in enumerate(ORDER)}
    heights = [len(result["microseconds"]) + 1.2 for result in results.values()]
    figure, panels = plt.subplots(len(results), 1, figsize=(9, 0.6 + 0.26 * sum(heights)), layout="constrained",
                                  squeeze=False, height_ratios=heights)
    for axes, (work, result) in zip(panels[:, 0], results.items()):
        times = result["microseconds"]
        values = [report.median(t) for t in times.values()]
        low, high = zip(*((v - min(t), max(t) - v) for v, t in zip(values, times.values())))
        bars = axes.barh(list(times), values, 0.8, color=[colours[name] for name in times], xerr=(low, high),
                         error_kw={"ecolor": "0.3", "elinewidth": 0.8})
        axes.bar_label(bars, [few(v) for v in values], padding=4, fontsize=8)
        axes.set_title(work, loc="left", fontsize=9)
        axes.tick_params(labelsize=8)
        axes.set_xscale("log")
        axes.set_xlim(min(values) / 2, max(values) * 3)
        axes.invert_yaxis()
        axes.spines[["top", "right"]].set_visible(False)
    panels[-1, 0].set_xlabel("microseconds for one step (bars: medians; lines: least and most)", fontsize=9)
    figure.savefig(file, dpi=150)


def main() -> None:
    """Measure and show."""
    parser = report.parser(__doc__)
    parser.add_argument("--torch-python", metavar="PATH", help="an interpreter that has PyTorch and NumPy")
    parser.add_argument("--peers-python", metavar="PATH", help="an interpreter that has JAX, CasADi, autograd, NumPy")
    parser.add_argument("--only", metavar="TEXT", action="append", help="works whose names contain TEXT (repeatable)")
    parser.add_argument("--without", metavar="TEXT", action="append", help="leave out ways whose names contain TEXT")
    parser.add_argument("--list", action="store_true", help="print the works and end")
    parser.add_argument("--repeats", type=report.positive, default=9)
    parser.add_argument("--seconds", type=float, default=0.25, help="for each repeat of each way (default %(default)s)")
    parser.add_argument("--threads", type=report.positive, default=2, help="of every library (default %(default)s)")
    parser.add_argument("--quick", action="store_true", help="to try the script: two short repeats, smaller works, no "
                                                             "torch.compile")
    arguments = parser.parse_args()
    if arguments.list:
        print("\n".join(WORKS))
        return
    chosen = [work for work in WORKS if not arguments.only or any(text in work for text in arguments.only)]
    if not chosen:
        parser.error(f"--only {' '.join(arguments.only)}: no work's name contains that; there are {'; '.join(WORKS)}")
    if arguments.quick:
        arguments.repeats, arguments.seconds = 2, 0.01
        arguments.without = [*(arguments.without or ()), "torch.compile"]
    report.set_threads(arguments.threads)
    workers = start(arguments)
    progress = report.Progress(sum(len(worker.ways[work]) for worker in workers for work in chosen)
                               + len(chosen) * arguments.repeats)
    results = {work: measure(work, workers, arguments, progress) for work in chosen}
    progress.end()
    for worker in workers:
        worker.close()
    show(results)
    if arguments.quick:
        print("--quick: a chain of 10,000 options and graphs of 300 ops; the figures mean nothing")
    if arguments.plot:
        plot(results, arguments.plot)
    versions = {NAMES[w.library]: w.version for w in workers if w.library not in ("ways_tapegrad", "handwritten")}
    report.finish(arguments, report.machine(**versions, threads=arguments.threads),
                  {"works": results, "targets": judged(results)})


if __name__ == "__main__":
    main()
