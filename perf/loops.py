"""Time for the value and the gradient of a loop: tg.njit beside numba's value alone, an adjoint by hand, and the peers.

One thread, float64; each library a process of its own, values checked first, repeats taken in turns, as in compare.py.
The first call of each stands beside: of tapegrad it derives and compiles, with an empty folder of compiled code, and
is measured once more in a new process with what the first one kept.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import compare
import loop_works as works
import report
from worker import Worker

LIBRARIES = {"loops_tapegrad": "", "loops_jax": "peers_python", "loops_casadi": "peers_python",
             "loops_autograd": "peers_python"}
VALUE = "numba, value alone"
#: how many times as fast at least, by the kind of a work
TARGETS = {"garch": {VALUE: 1 / 2.5, "JAX jit": 1.5, "numba, by hand": 0.8, "CasADi": 2.0, "autograd": 1e4},
           "soft_dtw": {VALUE: 1 / 2.5, "JAX jit": 1.5}, "barrier": {VALUE: 1 / 3, "JAX jit": 1.5}}
FIRST, KEPT = 3.0, 0.05  # seconds at most: derive and compile; from the cache, in a new process
BYTES = 16.0  # of tape at most, for an iteration of GARCH


def from_cache(chosen: list[str], arguments: Any) -> dict[str, float]:
    """Seconds of the first call in a new process, by work; the least of three."""
    found: dict[str, float] = {}
    for work in chosen:
        for _ in range(3):
            worker = Worker(sys.executable, "loops_tapegrad", arguments.threads, arguments.quick)
            worker.prepare(work, "tapegrad")
            worker.close()
            found[work] = min(found.get(work, float("inf")), worker.first_calls[work, "tapegrad"])
    return found


def compiled_again(work: Any) -> int:
    """Functions that are compiled for other lengths and another pattern of branches, after a first call."""
    from dataclasses import replace

    from loops_tapegrad import differentiated
    from numba.core import event

    function = differentiated(work)
    function(*works.arguments(work))
    with event.install_recorder("numba:compile") as compiled:
        function(*works.arguments(replace(work, sizes=tuple(n + 3 for n in work.sizes)), seed=1, level=97.0))
    return len(compiled.buffer)


def tape_bytes(work: Any) -> int:
    """Bytes that the reverse sweep's tape takes."""
    import tapegrad as tg

    return tg.njit(getattr(works, work.kind)).memory(*works.arguments(work))


def show(results: dict[str, Any], firsts: dict[tuple[str, str], float]) -> list[dict[str, Any]]:
    """Times and targets; returns the latter."""
    names = list(dict.fromkeys(way for result in results.values() for way in result["microseconds"]))
    report.table("microseconds for the value and the gradient", ["work", *names],
                 [[work, *(compare.cell(result["microseconds"].get(way)) for way in names)]
                  for work, result in results.items()])
    report.table("seconds of the first call", ["work", *names, "tapegrad, from the cache"],
                 [[work, *(compare.few(firsts[work, way]) if (work, way) in firsts else "-" for way in names),
                   compare.few(result["from_cache"])] for work, result in results.items()])
    rows: list[dict[str, Any]] = []

    def judge(work: str, what: str, found: float, target: float, most: bool = False) -> None:
        rows.append({"work": work, "what": what, "found": found, "target": target,
                     "hit": found <= target if most else found >= target, "most": most})

    for work, result in results.items():
        times, kind = result["microseconds"], works.WORKS[work].kind
        for against, target in TARGETS[kind].items():
            if against in times:
                ratio = report.median(times[against]) / report.median(times["tapegrad"])
                judge(work, f"times as fast as {against}", ratio, target)
        judge(work, "seconds to derive and compile", firsts[work, "tapegrad"], FIRST, True)
        judge(work, "seconds from the cache", result["from_cache"], KEPT, True)
        judge(work, "compiled for another length and pattern", result["compiled_again"], 0.0, True)
        if kind == "garch":
            judge(work, "bytes of tape an iteration", result["bytes_per_iteration"], BYTES, True)
    report.table("targets", ["work", "", "found", "target", ""],
                 [[r["work"], r["what"], compare.few(r["found"]), ("<= " if r["most"] else ">= ")
                   + compare.few(r["target"]), "hit" if r["hit"] else "MISS"] for r in rows])
    print(f"{sum(r['hit'] for r in rows)} of {len(rows)} targets hit")
    return rows


def plot(results: dict[str, Any], file: Path) -> None:
    """Bars on a logarithmic axis, a panel a work."""
    plt = report.pyplot()
    names = list(dict.fromkeys(way for result in results.values() for way in result["microseconds"]))
    colours = {name: f"C{k}" for k, name in enumerate(names)}
    heights = [len(result["microseconds"]) + 1.2 for result in results.values()]
    figure, panels = plt.subplots(len(results), 1, figsize=(9, 0.6 + 0.3 * sum(heights)), layout="constrained",
                                  squeeze=False, height_ratios=heights)
    for axes, (work, result) in zip(panels[:, 0], results.items()):
        values = {way: report.median(times) for way, times in result["microseconds"].items()}
        bars = axes.barh(list(values), list(values.values()), 0.8, color=[colours[way] for way in values])
        axes.bar_label(bars, [compare.few(v) for v in values.values()], padding=4, fontsize=8)
        axes.set_title(work, loc="left", fontsize=9)
        axes.tick_params(labelsize=8)
        axes.set_xscale("log")
        axes.set_xlim(min(values.values()) / 2, max(values.values()) * 3)
        axes.invert_yaxis()
        axes.spines[["top", "right"]].set_visible(False)
    panels[-1, 0].set_xlabel("microseconds for the value and the gradient (numba: the value alone)", fontsize=9)
    figure.savefig(file, dpi=150)


def main() -> None:
    """Measure and show."""
    parser = report.parser(__doc__)
    parser.add_argument("--peers-python", metavar="PATH", help="an interpreter that has JAX, CasADi, autograd, NumPy")
    parser.add_argument("--only", metavar="TEXT", action="append", help="works whose names contain TEXT (repeatable)")
    parser.add_argument("--without", metavar="TEXT", action="append", help="leave out ways whose names contain TEXT")
    parser.add_argument("--repeats", type=report.positive, default=9)
    parser.add_argument("--seconds", type=float, default=0.1, help="for each repeat of each way (default %(default)s)")
    parser.add_argument("--threads", type=report.positive, default=1, help="of every library (default %(default)s)")
    parser.add_argument("--quick", action="store_true", help="to try the script: two short repeats, smaller works")
    arguments = parser.parse_args()
    chosen = report.chosen(parser, arguments.only, works.WORKS)
    if arguments.quick:
        arguments.repeats, arguments.seconds = 2, 0.01
    report.set_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TAPEGRAD_CACHE_DIR"] = folder
        workers = compare.start(arguments, LIBRARIES)
        progress = report.Progress(sum(len(worker.ways[work]) for worker in workers for work in chosen)
                                   + len(chosen) * arguments.repeats)
        results = {work: compare.measure(work, workers, arguments, progress) for work in chosen}
        progress.end()
        firsts: dict[tuple[str, str], float] = {}
        for worker in workers:
            firsts.update(worker.first_calls)
            worker.close()
        for work, seconds in from_cache(chosen, arguments).items():
            adjusted = works.adjusted(works.WORKS[work], arguments.quick)
            results[work] |= {"from_cache": seconds, "compiled_again": compiled_again(adjusted),
                              "bytes_per_iteration": tape_bytes(adjusted) / adjusted.sizes[0],
                              "first_calls": {way: s for (of, way), s in firsts.items() if of == work}}
    rows = show(results, firsts)
    if arguments.quick:
        print("--quick: small works; the figures mean nothing")
    if arguments.plot:
        plot(results, arguments.plot)
    versions = {w.library.removeprefix("loops_"): w.version for w in workers}
    report.finish(arguments, report.machine(**versions, threads=arguments.threads), {"works": results, "targets": rows})


if __name__ == "__main__":
    main()
