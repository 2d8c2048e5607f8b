"""What the scripts of this folder share: options, progress, tables, JSON, pictures."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Iterable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

if importlib.util.find_spec("tapegrad") is None:  # not installed: take the sources that lie beside
    sys.path.append(str(Path(__file__).resolve().parent.parent))


def parser(description: str | None, *, plot: bool = True) -> argparse.ArgumentParser:
    """A parser with the options that all scripts have."""
    result = argparse.ArgumentParser(description=(description or "").split("\n\n")[0])
    result.add_argument("--json", metavar="FILE", type=Path, help="write the results as JSON (- for standard output)")
    if plot:
        result.add_argument("--plot", metavar="FILE", type=Path, help="draw the results (needs matplotlib)")
    return result


def positive(text: str) -> int:
    """An option that is a whole number of at least 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number of at least 1")
    return value


def set_threads(count: int) -> None:
    """Threads of BLAS and OpenMP; has to come before NumPy is imported."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(count)


def chosen(parser: argparse.ArgumentParser, only: Sequence[str] | None, names: Iterable[str]) -> list[str]:
    """The works whose names contain one of the texts of ``--only``; ends with what there is if that is none."""
    names = list(names)
    found = [name for name in names if not only or any(text in name for text in only)]
    if not found:
        parser.error(f"--only {' '.join(only or ())}: no work's name contains that; there are {'; '.join(names)}")
    return found


class Progress:
    """A line on standard error that says what runs now; silent where nobody looks."""

    def __init__(self, total: int) -> None:
        self._total, self._done, self._shown = total, 0, sys.stderr.isatty()

    def __call__(self, what: str) -> None:
        """The next of the pieces of work begins."""
        self._done += 1
        if self._shown:
            print(f"\r\033[K[{self._done}/{self._total}] {what}", end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        """All is done."""
        if self._shown:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


def median(values: Sequence[float]) -> float:
    """The median; NaN of nothing."""
    return statistics.median(values) if values else float("nan")


def spread(values: Sequence[float]) -> float:
    """Half the distance of the quartiles by the median: what half of the repeats stay within."""
    if len(values) < 2:
        return float("nan")
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return (high - low) / 2 / median(values)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print aligned columns; the first to the left, the others to the right."""
    cells = [[str(c) for c in row] for row in (columns, *rows)]
    widths = [max(len(row[c]) for row in cells) for c in range(len(columns))]
    print(f"\n{title}")
    for k, row in enumerate(cells):
        print("  ".join(c.ljust(w) if n == 0 else c.rjust(w) for n, (c, w) in enumerate(zip(row, widths))).rstrip())
        if k == 0:
            print("  ".join("-" * w for w in widths))


def machine(**more: Any) -> dict[str, Any]:
    """Where and with what this was measured."""
    versions = {}
    for name in ("numpy", "numba", "llvmlite", "scipy"):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            pass
    import tapegrad

    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {"date": time.strftime("%Y-%m-%d"), "python": platform.python_version(), "tapegrad": tapegrad.__version__,
            **versions, "system": f"{platform.system()} {platform.machine()}", "cpu": _cpu_name(),
            "cores": os.cpu_count(), "load": load, **more}


def _cpu_name() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
        return names[0] if names else platform.processor()
    except OSError:
        return platform.processor()


def finish(arguments: argparse.Namespace, facts: dict[str, Any], results: Any) -> None:
    """Print where it was measured, and write the JSON file if one is asked for."""
    load = facts.get("load")
    print("\n" + ", ".join(f"{name} {value}" for name, value in facts.items() if name != "load" and value is not None))
    if load is not None and load > 0.7 * (facts["cores"] or 1):
        print(f"The machine was busy with other work (load {load:.1f} at the end): take the numbers as rough.")
    if arguments.json:
        text = json.dumps({"machine": facts, "results": results}, indent=2)
        if str(arguments.json) == "-":
            print(text)
        else:
            arguments.json.write_text(text + "\n")


def pyplot() -> Any:
    """matplotlib.pyplot without a window."""
    try:
        import matplotlib
    except ImportError:
        sys.exit("--plot needs matplotlib: pip install 'tapegrad[viz]'")
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    return plt
