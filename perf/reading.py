"""Time and memory from a file of a million rows to the first training step, beside polars and pandas.

    python perf/reading.py [--rows 1000000] [--repeats 3] [--file data.csv]

Each reading happens in a process of its own, one after the other, several times; what counts is the median of seconds
(and of seconds of all processors) and the largest growth of resident memory, from when its libraries are imported.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

import numpy as np

_MEASURED = """
import json, sys, time

def bytes_of(key):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith(key))

path = sys.argv[1]
{imports}
before, began, used = bytes_of("VmRSS"), time.perf_counter(), time.process_time()
{work}
print(json.dumps([time.perf_counter() - began, time.process_time() - used, bytes_of("VmHWM") - before]))
"""
_WAYS = {
    "tapegrad, table": ("import pyarrow.csv\nfrom tapegrad.data import read_table", "table = read_table(path)"),
    "tapegrad, inputs": (
        "import pyarrow.csv\nfrom pathlib import Path\nfrom tapegrad.cli.request import Request",
        "problem = Request(data=[Path(path)], target='y').problem()",
    ),
    "tapegrad, first step": (
        "import pyarrow.csv\nimport tapegrad as tg\nfrom pathlib import Path\nfrom tapegrad import nn, optim\n"
        "import tapegrad.nn.functional as F\nfrom tapegrad.cli.request import Request",
        "problem = Request(data=[Path(path)], target='y').problem()\n"
        "model = nn.Sequential(nn.Linear(problem.inputs.shape[1], 128), nn.ReLU(), nn.Linear(128, 1))\n"
        "step = tg.TrainStep(lambda x, y: F.mse_loss(model(x), y), optim.Adam(model.parameters()))\n"
        "step(problem.inputs[:64], problem.targets[:64].astype('float32'))",
    ),
    "polars": ("import polars", "table = polars.read_csv(path)"),
    "polars, float32 matrix": (
        "import polars, numpy",
        "table = polars.read_csv(path)\nmatrix = table.to_numpy().astype(numpy.float32)",
    ),
    "pandas": ("import pandas", "table = pandas.read_csv(path)"),
    "pandas, float32 matrix": (
        "import pandas, numpy",
        "table = pandas.read_csv(path)\nmatrix = table.to_numpy(numpy.float32)",
    ),
}


def write(path: Path, rows: int) -> None:
    """A file of ten columns of numbers and a target."""
    rng = np.random.default_rng(0)
    with open(path, "w") as file:
        file.write(",".join([*(f"x{j}" for j in range(10)), "y"]) + "\n")
        for start in range(0, rows, 10_000):
            n = min(10_000, rows - start)
            X = rng.normal(size=(n, 10))
            y = X[:, 0] - X[:, 1] ** 2 + 0.1 * rng.normal(size=n)
            np.savetxt(file, np.column_stack([X, y]), fmt="%.5f", delimiter=",")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--file", type=Path, help="a file of eleven columns of numbers, the last called y")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = given.file or Path(folder) / "data.csv"
        if given.file is None:
            write(path, given.rows)
        matrix = 4 * 11 * given.rows
        found: dict[str, list[list[float]]] = {way: [] for way in _WAYS}
        for _ in range(given.repeats):
            for way, (imports, work) in _WAYS.items():
                code = _MEASURED.format(imports=imports, work=work)
                done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True)
                if done.returncode == 0:
                    found[way].append(json.loads(done.stdout.splitlines()[-1]))
        size = os.path.getsize(path)
        print(f"{given.rows:,} rows of 11 columns, {size / 1e6:.0f} MB; as float32 {matrix / 1e6:.0f} MB")
        print(f"{'':24}{'seconds':>9}{'CPU s':>7}{'peak MB':>9}{'peak / float32':>16}")
        for way, runs in found.items():
            if runs:
                seconds, used, peak = (median(run[0] for run in runs), median(run[1] for run in runs),
                                       max(run[2] for run in runs))
                print(f"{way:24}{seconds:9.2f}{used:7.2f}{peak / 1e6:9.0f}{peak / matrix:16.2f}")
            else:
                print(f"{way:24}{'not installed':>18}")


if __name__ == "__main__":
    main()
