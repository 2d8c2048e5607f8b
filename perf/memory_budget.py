"""Time against memory: one training step under memory budgets between the smallest that it can keep to and its whole.

For every budget the peak that was planned and the one measured, the time that is expected to be added (as a share of a
forward pass), and the time of a step relative to that without a budget. Beside it the same network with tg.checkpoint
around every sqrt(n) of its n blocks, and with --torch-python PyTorch, plain and with torch.utils.checkpoint likewise.

Bytes are those of parameters, gradients, batch and arena together, MiB; the measured ones the most resident bytes of a
fresh process above those before the model was made, without what the search for a plan takes. Steps of all ways take
turns, repeat by repeat, and their medians are shown with half the distance of the quartiles. The losses of all ways
must agree to the bit (not with PyTorch's).
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import report
from memory_networks import measure, prepared, torch_python

#: blocks, rows and width by default
NETWORKS = {"chain": (64, 2048, 128), "residual": (16, 2048, 128), "convolution-ReLU stack": (24, 4096, 128),
            "transformer": (6, 1024, 128)}
SHARES = (0.05, 0.1, 0.2, 0.4, 0.7)  # of the way from the smallest budget to the whole
MIB = 2**20


def smallest(task: dict[str, Any]) -> int:
    """The least budget that the step can keep to: the error of a hopeless one names it."""
    from tapegrad.errors import TapeMemoryError

    try:
        prepared("tapegrad", {**task, "budget": 1}, task["rows"])[0]()
    except TapeMemoryError as error:
        found = re.search(r"keep to is ([\d,]+) bytes", str(error))
        if found:
            return int(found[1].replace(",", ""))
        raise
    raise AssertionError("a step of one byte")


def ways_of(task: dict[str, Any], budgets: list[str]) -> dict[str, dict[str, Any]]:
    """The tasks to compare, by what the table calls them; the first is the one without a budget."""
    from tapegrad.program.planning.budget import budget_bytes

    run, step, _ = prepared("tapegrad", task, task["rows"])
    run()
    whole = step.memory().peak_bytes
    if budgets:
        sizes = [budget_bytes(text) for text in budgets]
    else:
        least = smallest(task)
        sizes = [round(least + share * (whole - least)) for share in SHARES]
    ways = {"no budget": task}
    for size in sorted(sizes, reverse=True):
        ways[f"budget {size / MIB:.4g}"] = {**task, "budget": size}
    ways["tg.checkpoint"] = {**task, "hand": True}
    return ways


def timed(library: str, ways: dict[str, dict[str, Any]], repeats: int, progress: Callable[[str], None]
          ) -> dict[str, dict[str, Any]]:
    """Milliseconds of the steps of every way, taking turns, and what their reports expect."""
    runs, found = {}, {}
    for name, task in ways.items():
        run, step, _ = prepared(library, task, task["rows"])
        began = time.perf_counter()
        losses = [run(), run()]
        found[name] = {"first_steps_s": time.perf_counter() - began, "losses": losses, "ms": []}
        if step is not None:
            memory = step.memory()
            found[name].update(planned=memory.peak_bytes, lower_bound=memory.lower_bound_bytes, extra=memory.extra,
                               recomputed=memory.recomputed)
            if losses != found["no budget"]["losses"]:
                sys.exit(f"{name}: the losses {losses} are not {found['no budget']['losses']}")
        runs[name] = run
    for repeat in range(repeats):
        progress(f"{library}, steps, repeat {repeat + 1}")
        for name, run in runs.items():
            began = time.perf_counter()
            run()
            found[name]["ms"].append(1e3 * (time.perf_counter() - began))
    return found


def elsewhere(python: str, ways: dict[str, dict[str, Any]], repeats: int) -> dict[str, dict[str, Any]]:
    """`timed` of PyTorch's ways in its interpreter."""
    command = [python, str(Path(__file__).resolve()), "--worker", json.dumps({"ways": ways, "repeats": repeats})]
    answer = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if answer.returncode:
        sys.exit(f"the PyTorch process ended with exit status {answer.returncode}; its message is above")
    return json.loads(answer.stdout)


def show(results: dict[str, dict[str, Any]], title: str) -> None:
    """The table: a row a way."""
    rows = []
    for name, r in results.items():
        plain = results["PyTorch" if "torch" in name.lower() else "no budget"]
        relative = report.median(r["ms"]) / report.median(plain["ms"])
        rows.append([name, f"{r['planned'] / MIB:.1f}" if "planned" in r else "-",
                     f"{r['measured'] / MIB:.1f}" if "measured" in r else "-",
                     f"{100 * r['extra']:.0f}%" if "extra" in r else "-",
                     f"{report.median(r['ms']):.1f} ±{100 * report.spread(r['ms']):.0f}%", f"{relative:.2f}"])
    report.table(title, ["MiB", "planned", "measured", "forward again", "ms a step", "time"], rows)
    print('"time" is relative to the same library without a budget or checkpoints.')


def plot(results: dict[str, dict[str, Any]], title: str, file: Path) -> None:
    """Time over bytes, both relative to no budget: what was measured, and tg.checkpoint and PyTorch beside it."""
    plt = report.pyplot()
    figure, axes = plt.subplots(figsize=(7, 4.4), layout="constrained")

    def points(names: list[str]) -> tuple[list[float], list[float], list[float]]:
        chosen = [results[name] for name in names]
        plain = results["PyTorch" if "torch" in names[0].lower() else "no budget"]
        base = report.median(plain["ms"])
        return ([r.get("measured", r.get("planned", 0)) / MIB for r in chosen],
                [report.median(r["ms"]) / base for r in chosen],
                [report.spread(r["ms"]) * report.median(r["ms"]) / base for r in chosen])

    budgets = sorted((name for name in results if name.startswith(("no", "budget"))),
                     key=lambda name: results[name]["planned"])
    groups = [("memory_budget=", budgets, "o-", "#d1495b"), ("tg.checkpoint", ["tg.checkpoint"], "D", "#edae49"),
              ("PyTorch, plain and with torch.utils.checkpoint",
               [name for name in results if "torch" in name.lower()], "s--", "#5b7db1")]
    for label, names, style, colour in groups:
        if names:
            x, y, error = points(names)
            axes.errorbar(x, y, yerr=error, fmt=style, color=colour, ms=6, capsize=2, lw=1.5, label=label)
    axes.axhline(1.0, color="0.8", lw=0.8, zorder=0)
    axes.set(xlabel="peak of one step, MiB", ylabel="time of a step, relative to the library's plain one", title=title)
    axes.set_xlim(left=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(file, dpi=130)


def main() -> None:
    """Run the script."""
    parser = report.parser(__doc__)
    parser.add_argument("--network", choices=NETWORKS, default="chain", help="(default %(default)s)")
    parser.add_argument("--depth", type=report.positive, metavar="N", help="blocks of the network (chain: 64)")
    parser.add_argument("--rows", type=report.positive, help="rows of the batch (chain: 2048)")
    parser.add_argument("--width", type=report.positive, help="units of each layer (128); images and sequences have "
                        "rows x width values together")
    parser.add_argument("--budgets", nargs="+", default=[], metavar="SIZE", help="such as 64MiB (default: five "
                        "between the smallest that can be kept to and the whole)")
    parser.add_argument("--repeats", type=report.positive, default=7, help="steps timed of each way (default 7)")
    parser.add_argument("--no-measure", action="store_true", help="no measured bytes, which take a process each")
    parser.add_argument("--threads", type=report.positive, default=1, help="of BLAS and PyTorch (default %(default)s)")
    parser.add_argument("--torch-python", metavar="PATH", help="an interpreter that has PyTorch and NumPy")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    report.set_threads(arguments.threads)
    if arguments.worker:
        given = json.loads(arguments.worker)
        print(json.dumps(timed("torch", given["ways"], given["repeats"], lambda what: None)))
        return
    depth, rows, width = (given or default for given, default in zip(
        (arguments.depth, arguments.rows, arguments.width), NETWORKS[arguments.network]))
    task = {"library": "tapegrad", "network": arguments.network, "depth": depth, "freeze": "none", "rows": rows,
            "width": width}
    other = torch_python(arguments.torch_python) if arguments.torch_python else None
    progress = report.Progress(1 + (0 if arguments.no_measure else 2 * bool(other) + (len(arguments.budgets) or
                                    len(SHARES)) + 2) + arguments.repeats + bool(other))
    progress("plans")
    ways = ways_of(task, arguments.budgets)
    results = timed("tapegrad", ways, arguments.repeats, progress)
    if other:
        progress("PyTorch, steps")
        plain = {**task, "library": "torch"}
        theirs = {"PyTorch": plain, "torch.utils.checkpoint": {**plain, "hand": True}}
        results.update(elsewhere(other, theirs, arguments.repeats))
        ways.update(theirs)
    if not arguments.no_measure:
        for name, way in ways.items():
            progress(f"bytes, {name}")
            seen = measure(other if way["library"] == "torch" and other else sys.executable, way)
            results[name]["measured"] = seen["measured"] + seen["parameters"]
    progress.end()
    title = f"{arguments.network}: {depth} blocks, {rows} rows, width {width}, " \
            f"{4 * rows * width / MIB:.3g} MiB an activation"
    show(results, title)
    if arguments.plot:
        plot(results, title, arguments.plot)
    report.finish(arguments, report.machine(threads=arguments.threads), results)


if __name__ == "__main__":
    main()
