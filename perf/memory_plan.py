"""What the plan of a training step says, for a list of networks and freeze patterns, beside what PyTorch takes.

Bytes are those above the parameters. Planned is the recording's peak, bound the least that any placement could do with,
measured the most resident bytes of a fresh process above those before the model was made. --report NAME prints one
network's whole report instead, and --plot then draws it.
"""

from __future__ import annotations

import argparse
import sys

import report
from memory_networks import measure, prepared, torch_python

PATTERNS = ("none", "all but last", "all but first", "every second")
TABLED = ("MLP", "deep MLP", "residual MLP", "MLP with norm", "autoencoder", "shared weights",
          "convolutions", "transformer")


def main() -> None:
    """Run the script."""
    parser = report.parser(__doc__)
    parser.add_argument("--networks", nargs="+", choices=TABLED, default=TABLED, metavar="NAME",
                        help=f"of {', '.join(TABLED)}")
    parser.add_argument("--freeze", nargs="+", choices=PATTERNS, default=PATTERNS, metavar="PATTERN",
                        help=f"which layers are frozen, of {', '.join(PATTERNS)}")
    parser.add_argument("--report", choices=TABLED, metavar="NAME", help="print one network's memory report")
    parser.add_argument("--budget", metavar="SIZE", help="memory_budget of the network reported, such as 64MiB")
    parser.add_argument("--rows", type=report.positive, default=8192, help="rows of the batch")
    parser.add_argument("--width", type=report.positive, default=256, help="units of each layer")
    parser.add_argument("--no-measure", action="store_true", help="plans only, which takes no processes")
    parser.add_argument("--torch-python", metavar="PATH", help="an interpreter that has PyTorch")
    arguments = parser.parse_args()
    if arguments.report:
        _one_report(arguments)
        return
    other = None if arguments.no_measure else torch_python(arguments.torch_python)
    cases = [(network, pattern) for network in arguments.networks for pattern in arguments.freeze]
    progress = report.Progress(len(cases))
    results, rows = [], []
    for network, pattern in cases:
        progress(f"{network}, frozen: {pattern}")
        task = {"library": "tapegrad", "network": network, "freeze": pattern, "rows": arguments.rows,
                "width": arguments.width}
        result = {"network": network, "frozen": pattern}
        if arguments.no_measure:
            result.update(planned=_plan(task)[0], lower_bound=_plan(task)[1])
        else:
            result.update(measure(sys.executable, task))
        if other:
            result["torch"] = measure(other, {**task, "library": "torch"})["measured"]
        results.append(result)
        rows.append([network, pattern, *(f"{result[key] / 2**20:.2f}" if key in result else "-"
                                         for key in ("planned", "lower_bound", "measured", "torch"))])
    progress.end()
    report.table(f"peak of one step without parameters, MiB: {arguments.rows} rows, width {arguments.width}",
                 ["network", "frozen", "planned", "bound", "measured", "PyTorch measured"], rows)
    if arguments.plot:
        _draw(arguments, results)
    report.finish(arguments, report.machine(), results)


def _plan(task: dict) -> tuple[int, int]:
    run, step, parameters = prepared("tapegrad", task, task["rows"])
    run()
    memory = step.memory()
    return memory.peak_bytes - parameters, memory.lower_bound_bytes - parameters


def _one_report(arguments: argparse.Namespace) -> None:
    """The whole report of one network and the first freeze pattern asked for."""
    task = {"network": arguments.report, "freeze": arguments.freeze[0], "width": arguments.width,
            "budget": arguments.budget}
    run, step, _ = prepared("tapegrad", task, arguments.rows)
    run()
    memory = step.memory()
    print(f"{memory}\n\n{memory.by_instruction()}")
    if arguments.plot:
        budget = f", memory_budget={arguments.budget}" if arguments.budget else ""
        memory.plot(arguments.plot, f"{arguments.report}, frozen: {arguments.freeze[0]}{budget}")
    report.finish(arguments, report.machine(), memory.to_dict())


def _draw(arguments: argparse.Namespace, results: list[dict]) -> None:
    plt = report.pyplot()
    figure, axes = plt.subplots(figsize=(9, 0.32 * len(results) + 1.6), layout="constrained")
    places = range(len(results))[::-1]
    for key, words, colour, height in (("torch", "PyTorch, measured", "#a9b6d0", 0.8),
                                       ("planned", "tapegrad, planned", "#d1495b", 0.45)):
        if key in results[0]:
            axes.barh(places, [r[key] / 2**20 for r in results], height=height, color=colour, label=words)
    if "lower_bound" in results[0]:
        axes.plot([r["lower_bound"] / 2**20 for r in results], places, "k|", ms=9, label="lower bound")
    axes.set_yticks(places, [f"{r['network']}, frozen: {r['frozen']}" for r in results], fontsize=8)
    axes.set(xlabel="peak of one step without parameters, MiB")
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(y=0.01)
    figure.legend(frameon=False, loc="outside upper center", ncols=3)
    figure.savefig(arguments.plot, dpi=130)


if __name__ == "__main__":
    main()
