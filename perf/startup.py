"""Seconds from the start of a process to its first gradient and its first training step, cold and warm.

Cold: the folder of compiled code is empty, as on a machine that has never run this version. Warm: it is filled. Each
measurement is a process of its own, timed from outside, from before it starts until it says that it has its result.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import report

NUMPY = "import numpy\n"
IMPORT = "import tapegrad, tapegrad.nn, tapegrad.optim\n"
GRADIENT = """
import tapegrad as tg
x = tg.tensor([0.5, -1.0, 2.0], requires_grad=True)
tg.tanh(x * x).sum().backward()
assert x.grad is not None
"""
STEP = """
import numpy as np
import tapegrad as tg
import tapegrad.nn.functional as F
from tapegrad import nn, optim
model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
step = tg.TrainStep(lambda x, y: F.cross_entropy(model(x), y), optim.Adam(model.parameters(), lr=1e-3))
assert step(np.zeros((32, 64), np.float32), np.zeros(32, np.int64)) > 0
"""
SAY = """
import json, sys
kernels = sys.modules.get("tapegrad.engine.kernels")
print(json.dumps({"compiling": kernels.compile_seconds() if kernels else 0.0, "numba": "numba" in sys.modules}),
      flush=True)
"""
# what is measured: (title, program, whether the folder is empty)
CASES = (
    ("import numpy", NUMPY, False),
    ("import tapegrad, nn, optim", IMPORT, False),
    ("warm: start to first gradient", GRADIENT, False),
    ("warm: start to first training step", STEP, False),
    ("cold: start to first training step", STEP, True),
)


#: at most so many seconds
TARGETS = {"warm: start to first gradient": 1.0, "cold: start to first training step": 10.0}


def once(program: str, cache: str) -> dict[str, Any]:
    """Seconds until the program has its result, and what it says of itself."""
    env = {**os.environ, "TAPEGRAD_CACHE_DIR": cache}
    began = time.perf_counter()
    with subprocess.Popen([sys.executable, "-c", program + SAY], env=env, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        taken = time.perf_counter() - began
    if process.returncode:
        sys.exit(f"the program failed (exit status {process.returncode}); its message is above")
    return {"seconds": taken, **json.loads(line)}


def measure(repeats: int, cold_repeats: int) -> dict[str, list[dict[str, Any]]]:
    """The measurements, one of each in turn."""
    results: dict[str, list[dict[str, Any]]] = {title: [] for title, _, _ in CASES}
    progress = report.Progress(1 + repeats * (len(CASES) - 1) + cold_repeats)
    with tempfile.TemporaryDirectory() as filled:
        progress("filling a folder of compiled code")
        for program in (GRADIENT, STEP):
            once(program, filled)
        for repeat in range(repeats):
            for title, program, cold in CASES:
                if cold and repeat >= cold_repeats:
                    continue
                progress(title)
                with tempfile.TemporaryDirectory() as empty:
                    results[title].append(once(program, empty if cold else filled))
    progress.end()
    return results


def verdict(title: str, seconds: float) -> str:
    """The target, if there is one, and whether it is hit."""
    if title not in TARGETS:
        return "-"
    return f"{TARGETS[title]:g}: {'hit' if seconds <= TARGETS[title] else 'MISS'}"


def plot(results: dict[str, list[dict[str, Any]]], file: Path) -> None:
    """Bars of the medians, with the part that is compiling."""
    plt = report.pyplot()
    figure, axes = plt.subplots(figsize=(8, 2.8), layout="constrained")
    total = [report.median([r["seconds"] for r in runs]) for runs in results.values()]
    compiling = [report.median([r["compiling"] for r in runs]) for runs in results.values()]
    axes.barh(list(results), total, color="#9bb8d3", label="in all")
    axes.barh(list(results), compiling, color="#2f5d8a", label="compiling")
    for place, value in enumerate(total):
        axes.annotate(f"{value:.2f} s", (value, place), xytext=(4, 0), textcoords="offset points", va="center")
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set_xlabel("seconds")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(file, dpi=150)


def main() -> None:
    """Measure and show."""
    parser = report.parser(__doc__)
    parser.add_argument("--repeats", type=report.positive, default=7, help="of the warm starts (%(default)s)")
    parser.add_argument("--cold-repeats", type=report.positive, default=3, help="of the cold start (%(default)s)")
    arguments = parser.parse_args()
    arguments.cold_repeats = min(arguments.cold_repeats, arguments.repeats)
    results = measure(arguments.repeats, arguments.cold_repeats)
    rows = []
    for title, runs in results.items():
        times = [r["seconds"] for r in runs]
        rows.append([title, f"{report.median(times):.2f}", f"{min(times):.2f}", f"{max(times):.2f}",
                     f"{report.median([r['compiling'] for r in runs]):.2f}",
                     "yes" if any(r["numba"] for r in runs) else "no", len(runs), verdict(title, report.median(times))])
    report.table("seconds from the start of a process",
                 ["what", "median", "least", "most", "compiling", "imports numba", "processes", "target"], rows)
    if arguments.plot:
        plot(results, arguments.plot)
    report.finish(arguments, report.machine(), results)


if __name__ == "__main__":
    main()
