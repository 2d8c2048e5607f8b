"""Time for derivatives of higher order, dense and sparse, and for many models at once, beside the peers'.

Recorded calls in tapegrad, jitted ones in JAX, PyTorch eager, CasADi's virtual machine; each library a process of its
own, values checked first, repeats taken in turns, as in compare.py. The first call of a new function of the same kind
stands beside: kernels are compiled, and what is measured is recording it.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import compare
import derivative_works as works
import report

LIBRARIES = {"derivatives_tapegrad": "", "derivatives_jax": "peers_python", "derivatives_torch": "torch_python",
             "derivatives_casadi": "peers_python"}
BESIDE = "tapegrad, one gradient or model"
#: by the kind of a work: against which way how many times as fast, or how many times as long at most
TARGETS = {"logistic": {"JAX jit": 2.0}, "hvp": {"JAX jit": 2.0, BESIDE: 1 / 3.5}, "jacobian": {"JAX jit": 1.5},
           "rosenbrock": {"CasADi": 1.5, BESIDE: 1 / 6}, "reaction": {"CasADi": 2.0},
           "pinn": {"JAX jit": 1.5, "PyTorch eager": 4.0}, "ensemble": {"JAX jit": 2.0, BESIDE: 1 / 8}}
FIRST_CALL = 0.05  # seconds at most


def first_calls(threads: int, quick: bool) -> dict[str, float]:
    """Seconds from a new function to its first result, by the kind of the work, without those of `Way`'s checks."""
    import derivatives_tapegrad as ours

    import tapegrad as tg

    ours.begin(threads)
    found = {}
    for work in works.WORKS.values():
        work = works.adjusted(work, quick)
        ours.MAKERS[work.kind](work)
        found[work.kind] = min(_recording(tg, ours, work) for _ in range(3))
    return found


def _recording(tg: Any, ours: Any, work: Any) -> float:
    """Seconds that a compiled function's or a step's first call takes."""
    calls: list[float] = []

    def timed(call: Any) -> Any:
        def first(self: Any, *args: Any, **kwargs: Any) -> Any:
            began = time.perf_counter()
            try:
                return call(self, *args, **kwargs)
            finally:
                calls.append(time.perf_counter() - began)

        return first

    kinds = type(tg.compile(abs)), tg.TrainStep
    before = [kind.__call__ for kind in kinds]
    for kind in kinds:
        kind.__call__ = timed(kind.__call__)
    try:
        ours.MAKERS[work.kind](work)
    finally:
        for kind, call in zip(kinds, before):
            kind.__call__ = call
    return calls[0]


def show(results: dict[str, Any], firsts: dict[str, float]) -> list[dict[str, Any]]:
    """Times and targets; returns the latter."""
    names = list(dict.fromkeys(way for result in results.values() for way in result["microseconds"]))
    cells = [[work, *(compare.cell(result["microseconds"].get(way)) for way in names)]
             for work, result in results.items()]
    report.table("microseconds for one result", ["work", *names], cells)
    rows = []
    for work, result in results.items():
        kind, times = works.WORKS[work].kind, result["microseconds"]
        for against, target in TARGETS[kind].items():
            if against in times:
                ratio = report.median(times[against]) / report.median(times["tapegrad"])
                rows.append({"work": work, "against": against, "ratio": ratio, "target": target,
                             "hit": ratio >= target})
        if kind in firsts:
            ratio = FIRST_CALL / firsts[kind]
            rows.append({"work": work, "against": f"first call: {1e3 * firsts[kind]:.0f} ms of {1e3 * FIRST_CALL:.0f}",
                         "ratio": ratio, "target": 1.0, "hit": ratio >= 1.0})
    report.table("how many times as fast; the target is the least", ["work", "against", "times", "target", ""],
                 [[r["work"], r["against"], compare.few(r["ratio"]), compare.few(r["target"]),
                   "hit" if r["hit"] else "MISS"] for r in rows])
    print(f"{sum(r['hit'] for r in rows)} of {len(rows)} targets hit")
    return rows


def main() -> None:
    """Measure and show."""
    parser = report.parser(__doc__, plot=False)
    parser.add_argument("--torch-python", metavar="PATH", help="an interpreter that has PyTorch and NumPy")
    parser.add_argument("--peers-python", metavar="PATH", help="an interpreter that has JAX, CasADi, NumPy")
    parser.add_argument("--only", metavar="TEXT", action="append", help="works whose names contain TEXT (repeatable)")
    parser.add_argument("--repeats", type=report.positive, default=9)
    parser.add_argument("--seconds", type=float, default=0.25, help="for each repeat of each way (default %(default)s)")
    parser.add_argument("--threads", type=report.positive, default=2, help="of every library (default %(default)s)")
    parser.add_argument("--quick", action="store_true", help="to try the script: two short repeats, smaller works")
    arguments = parser.parse_args()
    arguments.without = []
    chosen = report.chosen(parser, arguments.only, works.WORKS)
    if arguments.quick:
        arguments.repeats, arguments.seconds = 2, 0.01
    report.set_threads(arguments.threads)
    workers = compare.start(arguments, LIBRARIES)
    progress = report.Progress(sum(len(worker.ways[work]) for worker in workers for work in chosen)
                               + len(chosen) * arguments.repeats)
    results = {work: compare.measure(work, workers, arguments, progress) for work in chosen}
    progress.end()
    for worker in workers:
        worker.close()
    firsts = first_calls(arguments.threads, arguments.quick) if len(chosen) == len(works.WORKS) else {}
    rows = show(results, firsts)
    if arguments.quick:
        print("--quick: small works; the figures mean nothing")
    versions = {w.library.removeprefix("derivatives_"): w.version for w in workers}
    report.finish(arguments, report.machine(**versions, threads=arguments.threads), {"works": results, "targets": rows})


if __name__ == "__main__":
    sys.modules.setdefault("derivatives", sys.modules["__main__"])
    main()
