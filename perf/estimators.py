"""Milliseconds of `fit`, scikit-learn's perceptrons and ours, on five data sets that come with scikit-learn.

Both start from the same weights and shuffle alike, so that they make as many steps and end at the same loss; that is
checked. Data are scaled to mean 0 and variance 1 and in float64, or with --float32 in float32; options are the defaults
of scikit-learn. The two take turns, repeat by repeat; the median is shown. Beside wall time, which other
work on the machine lengthens, stands the processor time of all threads.
"""

from __future__ import annotations

import sys
import time
import warnings
from pathlib import Path
from typing import Any

import report

SETS = ("iris", "wine", "breast_cancer", "diabetes", "digits")
NETWORKS = ((32,), (100,), (256, 256))
SMALL, WIDE = 5.0, 2.0  # the least that this project set itself, up to 100 wide and beyond


def rows_of(name: str, dtype: str) -> tuple[Any, Any, str]:
    """Scaled rows, targets, and the kind of estimator."""
    from sklearn import datasets
    from sklearn.preprocessing import scale

    x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    kind = "MLPRegressor" if name == "diabetes" else "MLPClassifier"
    return scale(x).astype(dtype), scale(y) if name == "diabetes" else y, kind


def seconds(model: Any, x: Any, y: Any) -> tuple[float, float, float]:
    """Wall and processor seconds of a fit, and its loss."""
    wall, used = time.perf_counter(), time.process_time()
    model.fit(x, y)
    return time.perf_counter() - wall, time.process_time() - used, model.loss_curve_[-1]


def measure(arguments: Any, progress: report.Progress) -> list[dict[str, Any]]:
    """Times of each set and network."""
    from sklearn import neural_network

    import tapegrad.sklearn

    found = []
    for name in arguments.sets:
        x, y, kind = rows_of(name, "float32" if arguments.float32 else "float64")
        for widths in arguments.networks:
            ways = {"scikit-learn": getattr(neural_network, kind), "tapegrad": getattr(tapegrad.sklearn, kind)}
            times: dict[str, list[tuple[float, float, float]]] = {way: [] for way in ways}
            for repeat in range(arguments.repeats + 1):
                for way, cls in ways.items():
                    progress(f"{name}, {widths}, {way}")
                    fitted = seconds(cls(hidden_layer_sizes=widths, max_iter=arguments.epochs, random_state=0), x, y)
                    if repeat:  # the first compiles, or loads what is compiled
                        times[way].append(fitted)
            losses = [t[0][2] for t in times.values()]
            if abs(losses[0] - losses[1]) > (1e-2 if arguments.float32 else 1e-6) * abs(losses[0]):
                sys.exit(f"{name}, {widths}: the loss is {losses[1]}, scikit-learn's {losses[0]}")
            found.append({"set": name, "rows": len(x), "columns": x.shape[1], "widths": list(widths), "loss": losses[1],
                          "wall": {way: [t[0] for t in each] for way, each in times.items()},
                          "used": {way: [t[1] for t in each] for way, each in times.items()}})
    return found


def faster(row: dict[str, Any], kind: str) -> float:
    """How many times as fast."""
    return report.median(row[kind]["scikit-learn"]) / report.median(row[kind]["tapegrad"])


def show(results: list[dict[str, Any]], arguments: Any) -> None:
    """The table, and which rows miss the target."""
    cells, missed = [], []
    for row in results:
        name, target = f"{row['set']} {row['rows']} x {row['columns']}", SMALL if max(row["widths"]) <= 100 else WIDE
        theirs, ours = (row["wall"][way] for way in ("scikit-learn", "tapegrad"))
        cells.append([name, "-".join(map(str, row["widths"])), f"{row['loss']:.4f}",
                      *(f"{1e3 * report.median(t):,.1f} ±{100 * report.spread(t):.0f}%" for t in (theirs, ours)),
                      f"{faster(row, 'wall'):.2f}", f"{faster(row, 'used'):.2f}", f"{target:g}"])
        if faster(row, "wall") < target:
            missed.append(f"{name}, {cells[-1][1]}")
    dtype = "float32" if arguments.float32 else "float64"
    report.table(f"milliseconds to fit at most {arguments.epochs} epochs, adam, {dtype}",
                 ["", "network", "loss", "scikit-learn", "tapegrad", "times as fast", "by processor time", "target"],
                 cells)
    print(f"\nMissed: {'; '.join(missed) or 'none'}.")


def plot(results: list[dict[str, Any]], file: Path) -> None:
    """How many times as fast, by set, a bar a network, with the targets."""
    plt = report.pyplot()
    sets = list(dict.fromkeys(row["set"] for row in results))
    networks = list(dict.fromkeys(tuple(row["widths"]) for row in results))
    figure, axes = plt.subplots(figsize=(8, 4), layout="constrained")
    for k, widths in enumerate(networks):
        at = [sets.index(row["set"]) + (k - (len(networks) - 1) / 2) * 0.8 / len(networks)
              for row in results if tuple(row["widths"]) == widths]
        axes.bar(at, [faster(row, "wall") for row in results if tuple(row["widths"]) == widths],
                 0.8 / len(networks), label="-".join(map(str, widths)), color=f"C{k}")
    for target, label in ((SMALL, "target up to 100 wide"), (WIDE, "target beyond")):
        axes.axhline(target, color="#444444", lw=0.8, ls="--")
        axes.annotate(label, (1.01, target), xycoords=("axes fraction", "data"), va="center", fontsize=8)
    axes.set_xticks(range(len(sets)), sets)
    axes.set_ylabel("times as fast as scikit-learn")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(title="hidden layers", frameon=False)
    figure.savefig(file, dpi=150)


def main() -> None:
    """Measure and show."""
    parser = report.parser(__doc__)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=SETS)
    parser.add_argument("--networks", type=lambda text: tuple(map(report.positive, text.split("-"))), nargs="+",
                        default=NETWORKS, help="widths of hidden layers (default 32 100 256-256)")
    parser.add_argument("--epochs", type=report.positive, default=200, help="at most (default %(default)s)")
    parser.add_argument("--repeats", type=report.positive, default=3)
    parser.add_argument("--threads", type=report.positive, default=2, help="of BLAS (default %(default)s)")
    parser.add_argument("--float32", action="store_true")
    arguments = parser.parse_args()
    report.set_threads(arguments.threads)
    try:
        import sklearn
    except ImportError:
        sys.exit("estimators.py needs scikit-learn: pip install 'tapegrad[sklearn]'")
    warnings.simplefilter("ignore")
    progress = report.Progress(len(arguments.sets) * len(arguments.networks) * 2 * (arguments.repeats + 1))
    results = measure(arguments, progress)
    progress.end()
    show(results, arguments)
    if arguments.plot:
        plot(results, arguments.plot)
    report.finish(arguments, report.machine(sklearn=sklearn.__version__, threads=arguments.threads), results)


if __name__ == "__main__":
    main()
