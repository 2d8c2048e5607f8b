"""Peak memory against depth for a stack of equal layers of which one trains, beside PyTorch's.

A frozen linear layer or convolution keeps no input, so the peak does not grow with the layers above the trained one;
what ReLU keeps does, a bit a value. Planned bytes are those of the recording, measured ones the most resident bytes of
a fresh process above those before the model was made. The batch counts (of tapegrad the copy in the recording),
parameters do not.
"""

from __future__ import annotations

import sys

import report
from memory_networks import measure, torch_python

STACKS = ("linear stack", "ReLU stack", "convolution stack", "convolution-ReLU stack")


def main() -> None:
    """Run the script."""
    parser = report.parser(__doc__)
    parser.add_argument("--stack", choices=STACKS, default=STACKS[0])
    parser.add_argument("--train", type=report.positive, default=4, metavar="N", help="the layer that trains (from 1)")
    parser.add_argument("--depths", type=report.positive, nargs=2, default=(5, 10), metavar=("FROM", "TO"))
    parser.add_argument("--rows", type=report.positive, default=32768, help="rows of the batch")
    parser.add_argument("--width", type=report.positive, default=256, help="units of each layer; images of the "
                        "convolutions, 16 x 32 x 32 each, have rows x width values together")
    parser.add_argument("--torch-python", metavar="PATH", help="an interpreter that has PyTorch")
    arguments = parser.parse_args()
    first, last = arguments.depths
    if not arguments.train <= first <= last:
        parser.error("--depths must rise, from at least --train")
    other = torch_python(arguments.torch_python)
    libraries = {"tapegrad": sys.executable, **({"torch": other} if other else {})}
    depths = range(first, last + 1)
    progress = report.Progress(len(depths) * len(libraries))
    results = []
    for depth in depths:
        row = {"depth": depth}
        for library, python in libraries.items():
            progress(f"{library}, {depth} layers")
            task = {"library": library, "network": arguments.stack, "depth": depth, "freeze": str(arguments.train),
                    "rows": arguments.rows, "width": arguments.width}
            row[library] = measure(python, task)
        results.append(row)
    progress.end()
    activation = 4 * arguments.rows * arguments.width
    columns = ["layers", "tapegrad planned", "tapegrad measured", *(["PyTorch measured"] if other else [])]
    rows = [[row["depth"], *(f"{row[library][what] / 2**20:.1f}" for library, what in
                             (("tapegrad", "planned"), ("tapegrad", "measured"), ("torch", "measured"))
                             if library in row)] for row in results]
    report.table(f"{arguments.stack}, layer {arguments.train} trains, {activation / 2**20:.0f} MiB an activation: peak "
                 "without parameters, MiB", columns, rows)
    if arguments.plot:
        plt = report.pyplot()
        figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
        for library, what, words, style in (("torch", "measured", "PyTorch, measured", "s-"),
                                            ("tapegrad", "measured", "tapegrad, measured", "o-"),
                                            ("tapegrad", "planned", "tapegrad, planned", "k:")):
            if library in results[0]:
                axes.plot(list(depths), [row[library][what] / 2**20 for row in results], style, label=words)
        axes.set(xlabel="layers in the stack", ylabel="peak without parameters, MiB", xticks=list(depths),
                 title=f"One trained layer in a {arguments.stack}, {activation / 2**20:.0f} MiB an activation")
        axes.set_ylim(bottom=0)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
        figure.savefig(arguments.plot, dpi=130)
    report.finish(arguments, report.machine(), results)


if __name__ == "__main__":
    main()
