"""Many seeds, in processes of their own: a program may end one."""

from __future__ import annotations

import argparse
import multiprocessing
import time
from collections import Counter
from pathlib import Path

from .run import Failure, as_script, shrunk, try_seed


def work(seeds, ways, messages, at):
    """Try seeds as they come; `at` holds the one at hand, for whoever finds this process dead."""
    while (seed := seeds.get()) is not None:
        at.value = seed
        totals: Counter = Counter()
        failures = try_seed(seed, ways, totals)
        messages.put((seed, totals, report(failures) if failures else ""))
    at.value = -1
    messages.put(None)


def report(failures: list[Failure]) -> str:
    """What a seed's program gets wrong, and a script that shows the first of it, as small as it became."""
    small = shrunk(failures[0])
    runs = ", ".join(sorted({f"{f.setup.way} {f.setup.dtype.__name__}" for f in failures}))
    return "\n".join([f"# {failures[0]}", f"# wrong in {len(failures)} runs: {runs}", f"# shrunk: {small}",
                      as_script(small)])


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Random programs by hand.")
    parser.add_argument("--count", type=int, default=1000, help="programs")
    parser.add_argument("--seed", type=int, default=0, help="the first one's")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop after so many")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--ways", type=int, default=None, help="recorded ways a program is run in; all by default")
    parser.add_argument("--scripts", type=Path, help="folder for the scripts of failing programs")
    options = parser.parse_args()

    context = multiprocessing.get_context("spawn")
    end, next_seed, last = time.monotonic() + 60.0 * options.minutes, options.seed, options.seed + options.count
    messages, workers = context.Queue(), []

    def start():
        seeds, at = context.Queue(1), context.Value("q", -1)
        process = context.Process(target=work, args=(seeds, options.ways, messages, at))
        process.start()
        workers.append([process, seeds, at])

    for _ in range(options.jobs):
        start()
    totals, began, shown_at, failing = Counter(), time.monotonic(), 0.0, 0
    while workers:
        for worker in list(workers):
            process, seeds, at = worker
            if not process.is_alive():
                workers.remove(worker)
                if at.value >= 0:
                    print(f"\nseed {at.value}: the process ended with {process.exitcode}", flush=True)
                    failing += 1
                    if next_seed < last:
                        start()
            elif seeds.empty():
                over = next_seed >= last or time.monotonic() > end
                try:
                    seeds.put_nowait(None if over else next_seed)
                    next_seed += not over
                except Exception:  # full in the meantime
                    pass
        try:
            message = messages.get(timeout=0.05)
        except Exception:  # nothing yet
            continue
        if message is None:
            continue
        seed, found, script = message
        totals.update(found)
        if script:
            failing += 1
            print(f"\n{script}", flush=True)
            if options.scripts:
                options.scripts.mkdir(parents=True, exist_ok=True)
                (options.scripts / f"seed_{seed}.py").write_text(script)
        if time.monotonic() - shown_at > 1.0:
            shown_at = time.monotonic()
            print(f"\r{_line(totals, failing, shown_at - began)}", end="", flush=True)
    print(f"\r{_line(totals, failing, time.monotonic() - began)}")
    return int(failing > 0)


def _line(totals: Counter, failing: int, seconds: float) -> str:
    return (f"{totals['programs']:,} programs ({totals['discarded']:,} discarded), {totals['runs']:,} runs, "
            f"{totals['comparisons']:,} comparisons, {failing:,} programs wrong, {seconds:.0f} s")
