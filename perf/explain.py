"""What it costs to look: seconds to explain graphs, to the table of text and to the page.

The graphs are a perceptron's training step, a transformer's, and 10,000 scalar ops; the last has the targets 2 and 5
seconds. What a monitor adds to a training run is in monitor.py.
"""

from __future__ import annotations

import gc
import tempfile
import time
from pathlib import Path
from typing import Any

import report
from worker import load_works

works = load_works()
TEXT_SECONDS, PAGE_SECONDS = 2.0, 5.0
GRAPHS = ("64-128-64-10 relu, 64, Adam", "character transformer, 16 x 64, AdamW", "10,000 scalar ops, float64")


def step_of(network: Any) -> tuple[Any, Any, Any]:
    """A training step of a network, and its data."""
    import numpy as np

    import tapegrad as tg
    import tapegrad.nn.functional as F
    from tapegrad import nn, optim

    model = network.build(nn, np.arange(works.CONTEXT))
    optimizer = getattr(optim, network.optimizer)(model.parameters(), lr=1e-3)
    X, Y = network.data()
    return tg.TrainStep(lambda x, y: network.loss(F, model, x, y), optimizer), X, Y


def explained(work: Any) -> dict[str, float]:
    """Seconds to the text and from it to the page, and the number of nodes."""
    import tapegrad as tg

    if isinstance(work, works.Network):
        step, X, Y = step_of(work)

        def call() -> Any:
            return step.explain(X[:work.batch], Y[:work.batch])
    else:
        function, x = work.function(tg), work.data()

        def call() -> Any:
            return tg.explain(function, x)

    gc.collect()
    began = time.perf_counter()
    explanation = call()
    str(explanation)
    read = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        explanation.html(Path(folder) / "page.html")
    return {"nodes": len(explanation), "text": read - began, "page": time.perf_counter() - read}


def plot(results: dict[str, Any], file: Path) -> None:
    """Seconds to the text and to the page."""
    plt = report.pyplot()
    figure, axes = plt.subplots(figsize=(8, 3), layout="constrained")
    names = list(results)
    for k, way in enumerate(("text", "page")):
        values = [report.median([r[way] for r in results[name]]) for name in names]
        bars = axes.barh([row + (k - 0.5) * 0.38 for row in range(len(names))], values, 0.36, label=f"to the {way}")
        axes.bar_label(bars, [f"{v:.3g} s" for v in values], padding=3, fontsize=8)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlabel("seconds")
    axes.margins(x=0.15)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(file, dpi=150)


def main() -> None:
    """Measure and show."""
    parser = report.parser(__doc__)
    parser.add_argument("--repeats", type=report.positive, default=7)
    parser.add_argument("--threads", type=report.positive, default=2, help="of BLAS (default %(default)s)")
    parser.add_argument("--quick", action="store_true", help="to try the script: a small graph")
    arguments = parser.parse_args()
    report.set_threads(arguments.threads)
    progress = report.Progress(len(GRAPHS) * arguments.repeats)
    results: dict[str, Any] = {name: [] for name in GRAPHS}
    for _ in range(arguments.repeats):
        for name in GRAPHS:
            progress(name)
            results[name].append(explained(works.adjusted(works.WORKS[name], arguments.quick)))
    progress.end()
    rows = []
    for name, taken in results.items():
        text, page = (report.median([r[way] for r in taken]) for way in ("text", "page"))
        is_judged = name.startswith("10,000")
        verdict = f"{_verdict(text <= TEXT_SECONDS)}, {_verdict(text + page <= PAGE_SECONDS)}" if is_judged else "-"
        rows.append([name, f"{taken[0]['nodes']:,}", f"{text:.3f}", f"{text + page:.3f}", verdict])
    report.table("seconds to explain", ["graph", "nodes", "to text", "to the page", "targets"], rows)
    print(f"targets: text within {TEXT_SECONDS:g} s, page within {PAGE_SECONDS:g} s")
    if arguments.plot:
        plot(results, arguments.plot)
    report.finish(arguments, report.machine(threads=arguments.threads), results)


def _verdict(hit: bool) -> str:
    return "hit" if hit else "MISS"


if __name__ == "__main__":
    main()
