"""Every op as a share of this machine's limits: forward and reverse, three sizes, two dtypes, one and two threads.

The calls are those of ops.py. The limits are measured beside them, on as many threads: floating point operations a
second of a large product; bytes a second of an addition by the bytes moved, for each level of cache moves at its own
speed; seconds an element of NumPy's exp. The least time of a call is the longest of what its products take at the
first, its bytes at the second and, of an op that evaluates an elementary function, its elements at the third; its share
of the limit is that by the time it took. Bytes are those of its operands, each once. What takes less than two
microseconds is not judged: the call from Python is a part of it.
"""

from __future__ import annotations

import math
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import compare
import op_works as works
import ops
import report
from profile_step import SIZES, bandwidth, best_seconds
from worker import Worker

THREADS = (1, 2)
LEAST, LOW = 2.0, 0.5  # microseconds; the share of the limit below which a call is listed


def limits(dtype: str, threads: int, seconds: float) -> dict[str, Any]:
    """FLOP a second, bytes a second by bytes moved, seconds an element of exp; all of `threads` threads."""
    import numpy as np
    from scipy.linalg.blas import dgemm, sgemm

    import tapegrad as tg

    gemm, rate = {"float32": sgemm, "float64": dgemm}[dtype], 0.0
    for n, count in product((192, 384, 768), range(1, threads + 1)):  # a busy machine may leave only small ones alone
        tg.set_num_threads(count)  # SciPy's products have as many, once the library has been looked for
        tg.get_num_threads()
        a, b, c = (np.asfortranarray(np.random.default_rng(k).standard_normal((n, n)), dtype=dtype) for k in range(3))
        once = best_seconds(partial(gemm, 1.0, a, b, c=c, overwrite_c=True), seconds / 6)
        rate = max(rate, 2 * n**3 / once)
    with ThreadPoolExecutor(threads) as pool:
        def together(calls: list[Any]) -> float:
            return max(pool.map(lambda call: best_seconds(call, seconds / len(SIZES)), calls))

        def arrays(count: int, most: int) -> list[tuple[Any, ...]]:
            return [tuple(np.ones(most, dtype) for _ in range(count)) for _ in range(threads)]

        stream = {}
        for size in SIZES:
            each = size // (3 * np.dtype(dtype).itemsize * threads)
            stream[size] = size / together([partial(np.add, x, y, out=z) for x, y, z in arrays(3, each)])
        exp = together([partial(np.exp, x, out=y) for x, y in arrays(2, 4096)]) / (4096 * threads)
    return {"gemm": rate, "stream": stream, "exp": exp}


def elementary() -> set[str]:
    """Names of the elementwise ops that cost at least as much as exp, by the library's own table."""
    from tapegrad.ops.elementwise import COSTS, UNARY
    from tapegrad.ops.table import OPS

    return {OPS[code].name for code, (forward, _) in COSTS.items() if forward >= COSTS[UNARY["exp"].opcode][0]}


def least(known: dict[str, Any], direction: str, size: int, limit: dict[str, Any], slow: set[str]) -> float:
    """Microseconds that a call takes at the limits."""
    nbytes, products = map(float, known[direction])
    elements = (100, 10_000, 1_000_000)[size] if slow & set(known["ops"].tolist()) and direction == "forward" else 0
    return 1e6 * max(2 * products / limit["gemm"], nbytes / bandwidth(limit, nbytes), elements * limit["exp"])


def measure(work: str, workers: dict[int, Worker], found: dict[tuple[str, int], dict[str, Any]], slow: set[str],
            arguments: Any) -> list[dict[str, Any]]:
    """A row for each direction and number of threads; they take turns."""
    call, size, dtype = work.rsplit(" | ", 2)
    ready: dict[tuple[str, int], tuple[int, float]] = {}
    for threads, worker in workers.items():
        for direction in ops.DIRECTIONS:
            way = f"tapegrad, {direction}"
            try:
                known = worker.prepare(work, way)[1]
            except RuntimeError:  # ops.py says why
                continue
            once = min(worker.seconds(work, way, 1), worker.seconds(work, way, 1))
            ready[direction, threads] = (max(1, round(arguments.seconds / max(once, 1e-7))),
                                         least(known, direction, works.SIZES[size], found[dtype, threads], slow))
    times: dict[tuple[str, int], list[float]] = {key: [] for key in ready}
    for _ in range(arguments.repeats):
        for (direction, threads), (count, _) in ready.items():
            time.sleep(ops.SETTLE)
            taken = workers[threads].seconds(work, f"tapegrad, {direction}", count)
            times[direction, threads].append(1e6 * taken / count)
    for worker in workers.values():
        worker.forget(work)
    return [{"call": call, "size": size, "dtype": dtype, "direction": direction, "threads": threads, "least": at_best,
             "microseconds": times[direction, threads],
             "share": at_best / report.median(times[direction, threads])}
            for (direction, threads), (_, at_best) in ready.items()]


def judged(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those that take long enough."""
    return [row for row in rows if report.median(row["microseconds"]) >= LEAST]


def show(rows: list[dict[str, Any]]) -> None:
    """The list below `LOW`, and the shares by size and threads."""
    low = sorted((row for row in judged(rows) if row["share"] < LOW), key=lambda row: row["share"])
    cells = [[row["call"], row["size"], row["dtype"], row["direction"], row["threads"],
              compare.cell(row["microseconds"]), compare.few(row["least"]), f"{row['share']:.2f}"]
             for row in low[:ops.SHOWN]]
    report.table(f"below {LOW:g} of the limit, the lowest of {len(low)} (microseconds)",
                 ["call", "elements", "dtype", "", "threads", "taken", "at the limit", "share"], cells)
    cells = []
    for size in works.SIZES:
        for threads in THREADS:
            some = [row["share"] for row in judged(rows) if row["size"] == size and row["threads"] == threads]
            if some:
                cells.append([size, threads, len(some), f"{report.median(some):.2f}",
                              f"{100 * sum(share >= LOW for share in some) / len(some):.0f}%"])
    report.table("shares of the limit", ["elements", "threads", "calls", "median", f"at least {LOW:g}"], cells)


def plot(rows: list[dict[str, Any]], file: Path) -> None:
    """How many calls reach at least so much of the limit."""
    plt = report.pyplot()
    figure, panels = plt.subplots(1, 2, figsize=(9, 3.8), sharey=True, layout="constrained")
    for panel, direction in zip(panels, ops.DIRECTIONS):
        for colour, size in zip(("C0", "C1", "C3"), works.SIZES):
            for threads, line in zip(THREADS, ("-", "--")):
                some = sorted((min(row["share"], 2.0) for row in judged(rows)
                               if (row["direction"], row["size"], row["threads"]) == (direction, size, threads)),
                              reverse=True)
                if some:
                    panel.plot(some, [100 * (k + 1) / len(some) for k in range(len(some))], line, color=colour,
                               linewidth=1.2, label=f"{size}, {threads} thread{'s' * (threads > 1)}")
        panel.axvline(LOW, color="0.4", linewidth=1, linestyle=":")
        panel.axvline(1, color="0.4", linewidth=1)
        panel.set_xlim(0, 2)
        panel.set_xlabel("share of the machine's limit (2: or more)")
        panel.set_title(direction, loc="left", fontsize=10)
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("per cent of calls with at least that")
    panels[0].legend(frameon=False, fontsize=8, title="elements", title_fontsize=8)
    figure.savefig(file, dpi=150)


def main() -> None:
    """Measure and show."""
    parser = ops.options(__doc__)
    arguments = ops.parsed(parser)
    report.set_threads(max(THREADS))
    chosen = ops.chosen_works(parser, arguments)
    found = {(dtype, threads): limits(dtype, threads, 0.02 if arguments.quick else 0.5)
             for dtype in arguments.dtypes for threads in THREADS}
    workers = {threads: Worker(sys.executable, "ops_tapegrad", threads, False) for threads in THREADS}
    rows: list[dict[str, Any]] = []
    slow, progress, began = elementary(), report.Progress(len(chosen)), time.perf_counter()
    for k, work in enumerate(chosen):
        if time.perf_counter() - began > 60 * arguments.minutes:
            print(f"stopped after {arguments.minutes:g} minutes: {k} of {len(chosen)} works (--minutes)")
            break
        progress(work)
        rows += [row for row in measure(work, workers, found, slow, arguments) if math.isfinite(row["share"])]
    progress.end()
    for worker in workers.values():
        worker.close()
    show(rows)
    for (dtype, threads), limit in found.items():
        rates = ", ".join(f"{1e-9 * limit['stream'][size]:,.0f} ({size >> 10:,} KiB)" for size in SIZES[::3])
        print(f"limits, {dtype}, threads {threads}: {1e-9 * limit['gemm']:,.0f} GFLOP/s; {1e9 * limit['exp']:.2f} ns "
              f"an exp; GB/s by bytes moved: {rates}")
    if arguments.plot:
        plot(rows, arguments.plot)
    report.finish(arguments, report.machine(), {"rows": rows, "limits": [
        {"dtype": dtype, "threads": threads, **limit} for (dtype, threads), limit in found.items()]})


if __name__ == "__main__":
    main()
