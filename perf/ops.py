"""Every op beside NumPy and PyTorch eager: forward and reverse, three sizes, two dtypes.

Elementwise ops come from the library's own table, the others from a list of calls (op_works.py); ops of the table that
no call reaches are named at the end. Ours are recorded instructions that run in place, by one call from Python forward
and one in reverse; PyTorch's are eager calls that record their history, and `torch.autograd.grad` of their results. The
libraries have processes of their own and take turns, repeat by repeat. Results and gradients are compared first: a peer
that gives others is left out, and named. A ratio is that of the medians, ours by the peer's: above 1 ours is slower.
"""

from __future__ import annotations

import random
import sys
import time
from pathlib import Path
from typing import Any

import compare
import op_works as works
import report
from worker import Worker

LIBRARIES = {"ops_tapegrad": "", "ops_numpy": "", "ops_torch": "torch_python"}
PEERS = ("PyTorch", "NumPy")
DIRECTIONS = ("forward", "reverse")
AIM, WORST = 0.9, 2.0  # the share of ops that are no slower than PyTorch, and how much slower any may be
TOLERANCE = {"float32": 2e-3, "float64": 1e-7}
SETTLE = 0.003  # seconds between turns
SHOWN = 60


def calls() -> list[str]:
    """Those that follow from the table of elementwise ops, and those listed."""
    import numpy as np
    import ops_tapegrad

    import tapegrad as tg
    from tapegrad.ops.elementwise import BINARY, COMPARE, UNARY
    from tapegrad.ops.table import OPS

    def finite(call: str) -> bool | None:
        work = works.Work(call, 0, "float64")
        try:
            with tg.no_grad():
                found = work.evaluated(ops_tapegrad.names())({k: tg.tensor(a) for k, a in work.arrays().items()})
        except (SyntaxError, AttributeError, TypeError, ValueError):  # no such function, or not of these
            return None
        return isinstance(found, tg.Tensor) and bool(np.isfinite(found.numpy()).all())

    whole = [op.name.removesuffix("_int64") for op in OPS if op.name.endswith("_int64")]
    return list(dict.fromkeys([*works.elementwise(UNARY, 1, finite), *works.elementwise([*BINARY, *COMPARE], 2, finite),
                               *works.elementwise(whole, -1, finite), *works.LISTED]))


def alike(ours: Any, theirs: Any, tolerance: float) -> bool:
    """Whether two digests are of the same arrays."""
    import numpy as np

    if len(ours) < len(theirs):
        return False
    ours = ours[:len(theirs)]  # NumPy's sort gives no indices
    sizes = np.maximum(np.repeat(np.abs(theirs[1::2]), 2), 1e-3)  # of each array
    return bool((np.abs(ours - theirs) <= tolerance * sizes)[np.isfinite(theirs)].all())


def measure(work: str, workers: list[Worker], arguments: Any, ways: dict[str, list[str]]) -> dict[str, Any]:
    """Microseconds of each way, repeat by repeat; which peers differ; which ops ran."""
    found: dict[str, Any] = {"microseconds": {}, "differs": [], "ops": [], "failed": {}}
    digests: dict[str, dict[str, Any]] = {}
    counts: dict[str, tuple[Worker, int]] = {}
    for worker in workers:
        for way in ways[worker.library]:
            try:
                digests[way] = worker.prepare(work, way)[1]
            except RuntimeError as error:
                found["failed"][way] = str(error)
                continue
            once = worker.seconds(work, way, 1)
            if once < arguments.seconds:
                once = min(once, worker.seconds(work, way, 1))
            counts[way] = worker, max(1, round(arguments.seconds / max(once, 1e-7)))
    ours = digests.get("tapegrad, forward")
    if ours is not None:
        found["ops"] = ours["ops"].tolist()
        for way, theirs in digests.items():
            same = ("results", "gradients") if way.startswith("PyTorch") else ("results",)
            if way.startswith("tapegrad") or any(text in work for text in works.DRAWN):
                continue
            if not all(alike(ours[name], theirs[name], TOLERANCE[work[-7:]]) for name in same):
                found["differs"].append(way)
                del counts[way]
        times: dict[str, list[float]] = {way: [] for way in counts}
        slow = any(count == 1 for _, count in counts.values())
        for repeat in range(min(arguments.repeats, 3) if slow else arguments.repeats):
            order = list(counts.items())
            for way, (worker, count) in order[repeat % len(order):] + order[:repeat % len(order)]:
                time.sleep(SETTLE)
                times[way].append(1e6 * worker.seconds(work, way, count) / count)
        found["microseconds"] = times
    for worker in workers:
        worker.forget(work)
    return found


def compared(results: dict[str, Any]) -> list[dict[str, Any]]:
    """A row for each work, direction and peer."""
    rows = []
    for work, result in results.items():
        times = result["microseconds"]
        for direction in DIRECTIONS:
            ours = times.get(f"tapegrad, {direction}")
            for peer in PEERS:
                theirs = times.get(f"{peer}, {direction}")
                if ours and theirs:
                    call, size, dtype = work.rsplit(" | ", 2)
                    rows.append({"call": call, "size": size, "dtype": dtype, "direction": direction, "peer": peer,
                                 "ratio": report.median(ours) / report.median(theirs), "ours": ours, "theirs": theirs})
    return rows


def show(results: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    """The slower ones, and the shares."""
    slower = sorted((row for row in rows if row["ratio"] > 1), key=lambda row: -row["ratio"])
    cells = [[row["call"], row["size"], row["dtype"], row["direction"], row["peer"], compare.cell(row["ours"]),
              compare.cell(row["theirs"]), f"{row['ratio']:.2f}"] for row in slower[:SHOWN]]
    title = f"slower than a peer, the {SHOWN} worst of {len(slower)}" if len(slower) > SHOWN else "slower than a peer"
    report.table(f"{title} (microseconds)", ["call", "elements", "dtype", "", "peer", "tapegrad", "peer's", "times"],
                 cells)
    cells = []
    for peer in PEERS:
        for size in [*works.SIZES, None]:
            some = [row["ratio"] for row in rows if row["peer"] == peer and size in (None, row["size"])]
            if some:
                cells.append([peer, size or "all", len(some), f"{report.median(some):.2f}",
                              f"{100 * share(some, 1.0):.1f}%", f"{100 * share(some, WORST):.1f}%",
                              f"{max(some):.1f}"])
    report.table("shares of calls", ["peer", "elements", "calls", "median ratio", "no slower", "at most twice",
                                     "worst"], cells)
    against = [row["ratio"] for row in rows if row["peer"] == "PyTorch"]
    if against:
        print(f"\naim: {100 * AIM:.0f}% no slower than PyTorch: {'hit' if share(against, 1.0) >= AIM else 'MISS'}; "
              f"none slower than {WORST:g} times: {'hit' if max(against) <= WORST else 'MISS'}")
    for way in sorted({way for result in results.values() for way in result["differs"]}):
        some = sorted({work.rsplit(" | ", 2)[0] for work, result in results.items() if way in result["differs"]})
        print(f"other results: {way}: {'; '.join(some)}")


def share(ratios: list[float], most: float) -> float:
    """Of those up to `most`."""
    return sum(ratio <= most for ratio in ratios) / len(ratios)


def unreached(results: dict[str, Any]) -> list[str]:
    """Names of the ops of the table that no call recorded."""
    from tapegrad.ops.table import OPS

    return sorted({op.name for op in OPS} - {name for result in results.values() for name in result["ops"]})


def plot(rows: list[dict[str, Any]], file: Path) -> None:
    """How many calls take at most so many times as long as the peer's."""
    plt = report.pyplot()
    panels = [(peer, direction) for peer in PEERS for direction in DIRECTIONS
              if any(row["peer"] == peer and row["direction"] == direction for row in rows)]
    figure, axes = plt.subplots(1, max(1, len(panels)), figsize=(1 + 4 * max(1, len(panels)), 3.8), sharey=True,
                                layout="constrained", squeeze=False)
    for panel, (peer, direction) in zip(axes[0], panels):
        for colour, size in zip(("C0", "C1", "C3"), works.SIZES):
            for dtype, line in zip(works.DTYPES, ("-", "--")):
                some = sorted(row["ratio"] for row in rows if (row["peer"], row["direction"], row["size"],
                                                               row["dtype"]) == (peer, direction, size, dtype))
                if some:
                    panel.plot(some, [100 * (k + 1) / len(some) for k in range(len(some))], line, color=colour,
                               linewidth=1.2, label=f"{size}, {dtype}")
        panel.axvline(1, color="0.4", linewidth=1)
        panel.axvline(WORST, color="0.4", linewidth=1, linestyle=":")
        panel.axhline(100 * AIM, color="0.7", linewidth=0.8, linestyle=":")
        panel.set_xscale("log")
        panel.set_xlabel(f"time by that of {peer}")
        panel.set_title(f"{direction}, beside {peer}", loc="left", fontsize=10)
        panel.spines[["top", "right"]].set_visible(False)
    axes[0, 0].set_ylabel("per cent of calls with at most that")
    if panels:
        axes[0, 0].legend(frameon=False, fontsize=8, title="elements", title_fontsize=8)
    figure.savefig(file, dpi=150)


def chosen_works(parser: Any, arguments: Any) -> list[str]:
    """Names of works, by the options `--only`, `--sizes`, `--dtypes`; mixed, so that the first ones are a sample."""
    found = [f"{call} | {size} | {dtype}" for call in report.chosen(parser, arguments.only, calls())
             for size in arguments.sizes for dtype in arguments.dtypes]
    random.Random(0).shuffle(found)
    return found


def options(description: str | None) -> Any:
    """What this script and limits.py have in common."""
    parser = report.parser(description)
    parser.add_argument("--only", metavar="TEXT", action="append", help="calls that contain TEXT (repeatable)")
    parser.add_argument("--sizes", nargs="+", choices=list(works.SIZES), default=list(works.SIZES),
                        help="elements of a matrix")
    parser.add_argument("--dtypes", nargs="+", choices=works.DTYPES, default=list(works.DTYPES))
    parser.add_argument("--repeats", type=report.positive, default=5)
    parser.add_argument("--seconds", type=float, default=0.002, help="of each repeat (default %(default)s)")
    parser.add_argument("--minutes", type=float, default=10.0, help="after which nothing more is begun, and the calls "
                                                                    "so far, a sample of all, are shown")
    parser.add_argument("--quick", action="store_true", help="to try the script: the smallest size in float32, "
                                                             "two short repeats")
    return parser


def parsed(parser: Any) -> Any:
    """Its arguments; `--quick` sets others."""
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.sizes, arguments.dtypes, arguments.repeats = list(works.SIZES)[:1], ["float32"], 2
        arguments.seconds = 1e-4
    return arguments


def main() -> None:
    """Measure and show."""
    parser = options(__doc__)
    parser.add_argument("--torch-python", metavar="PATH", help="an interpreter that has PyTorch and NumPy")
    parser.add_argument("--threads", type=report.positive, default=2, help="of every library (default %(default)s)")
    arguments = parsed(parser)
    report.set_threads(arguments.threads)
    chosen = chosen_works(parser, arguments)
    workers = compare.start(arguments, LIBRARIES)
    ways = {"ops_tapegrad": [f"tapegrad, {d}" for d in DIRECTIONS], "ops_torch": [f"PyTorch, {d}" for d in DIRECTIONS],
            "ops_numpy": ["NumPy, forward"]}
    progress = report.Progress(len(chosen))
    results: dict[str, Any] = {}
    began = time.perf_counter()
    for work in chosen:
        if time.perf_counter() - began > 60 * arguments.minutes:
            print(f"stopped after {arguments.minutes:g} minutes: {len(results)} of {len(chosen)} works (--minutes)")
            break
        progress(work)
        results[work] = measure(work, workers, arguments, ways)
    progress.end()
    for worker in workers:
        worker.close()
    rows = compared(results)
    show(results, rows)
    absent = sorted({f"{work.rsplit(' | ', 2)[0]}: {result['failed']['tapegrad, forward']}"
                     for work, result in results.items() if "tapegrad, forward" in result["failed"]})
    print("\n".join(["", *absent]) if absent else "")
    if not arguments.only:
        print("no call reaches: " + ", ".join(unreached(results)))
    if arguments.plot:
        plot(rows, arguments.plot)
    versions = {w.library.removeprefix("ops_"): w.version for w in workers if w.library != "ops_tapegrad"}
    report.finish(arguments, report.machine(**versions, threads=arguments.threads), {"works": results, "rows": rows})


if __name__ == "__main__":
    sys.modules.setdefault("ops", sys.modules["__main__"])
    main()
