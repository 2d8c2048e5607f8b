"""Resident memory over a million forward calls that never call backward.

Each call records three ops, for the parameter requires a gradient, and drops its result. A tape that kept what nobody
can reach any more would grow by about a kilobyte a call, to a gigabyte; here resident memory has to stay where it was.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import report


def resident_bytes() -> int:
    """Resident size of this process."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        try:
            import psutil
        except ImportError:
            sys.exit("without /proc this needs psutil: pip install psutil")
        return psutil.Process().memory_info().rss


def measure(calls: int, size: int, samples: int) -> list[dict[str, Any]]:
    """Calls made, seconds, resident bytes, instructions and bytes on the tape, at equal distances."""
    import numpy as np

    import tapegrad as tg

    rng = np.random.default_rng(0)
    weight = tg.tensor(rng.standard_normal(size), requires_grad=True)
    x = tg.tensor(rng.standard_normal(size))
    result: list[dict[str, Any]] = []
    progress = report.Progress(samples)
    with tg.Tape(keep=False) as tape:
        tg.tanh(weight * x).sum()  # what compiling takes is not growth
        began = time.perf_counter()
        for sample in range(samples + 1):
            if sample:
                progress(f"{result[-1]['calls']:,} calls, {result[-1]['resident_bytes'] / 2**20:.1f} MiB resident")
                for _ in range(calls * sample // samples - calls * (sample - 1) // samples):
                    tg.tanh(weight * x).sum()
            result.append({"calls": calls * sample // samples, "seconds": time.perf_counter() - began,
                           "resident_bytes": resident_bytes(), "instructions": len(tape),
                           "tape_bytes": tape.live_bytes})
    progress.end()
    return result


def plot(results: list[dict[str, Any]], file: Path) -> None:
    """Resident memory over calls."""
    plt = report.pyplot()
    figure, axes = plt.subplots(figsize=(8, 3), layout="constrained")
    axes.plot([r["calls"] for r in results], [r["resident_bytes"] / 2**20 for r in results], marker=".")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("forward calls without backward")
    axes.set_ylabel("resident memory, MiB")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, dpi=150)


def main() -> None:
    """Measure and show; exit status 1 if memory grew."""
    parser = report.parser(__doc__)
    parser.add_argument("--calls", type=report.positive, default=1_000_000)
    parser.add_argument("--size", type=report.positive, default=64, help="elements of each array (default %(default)s)")
    parser.add_argument("--allowed", metavar="BYTES", type=report.positive, default=2 << 20,
                        help="growth after the first tenth of the calls beyond which this fails (default 2 MiB)")
    arguments = parser.parse_args()
    samples = min(50, arguments.calls)
    results = measure(arguments.calls, arguments.size, samples)
    every = max(1, samples // 10)
    report.table("forward calls that never call backward", ["calls", "seconds", "resident MiB", "on the tape"],
                 [[f"{r['calls']:,}", f"{r['seconds']:.1f}", f"{r['resident_bytes'] / 2**20:.2f}", r["instructions"]]
                  for r in results[::every]])
    settled = results[max(1, samples // 10)]
    grown = results[-1]["resident_bytes"] - settled["resident_bytes"]
    print(f"grown by {grown:,} bytes from call {settled['calls']:,} on; "
          f"{1e6 * results[-1]['seconds'] / arguments.calls:.2f} microseconds a call")
    if arguments.plot:
        plot(results, arguments.plot)
    report.finish(arguments, report.machine(), results)
    if grown > arguments.allowed:
        sys.exit(f"memory grew by more than {arguments.allowed:,} bytes")


if __name__ == "__main__":
    main()
