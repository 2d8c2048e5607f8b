"""What ``tapegrad train`` says at the end, as tables and as JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from .evaluation.comparison import WORDS, Comparison, baseline_name, best_of, shown, spread, with_spread
from .evaluation.importance import Importance
from .training import Result, Run
from .tuning import Candidate

__all__ = ["CANDIDATES_SHOWN", "CANDIDATE_COLUMNS", "Outcome", "candidate_cells"]

_COLUMNS_SHOWN = 20
CANDIDATES_SHOWN = 5
CANDIDATE_COLUMNS = ("hidden", "dropout", "rate", "decay", "epochs", "validation loss")


@dataclass(frozen=True)
class Outcome:
    """A finished training run.

    Attributes
    ----------
    run : Run
    result : Result
    comparison : Comparison
        Of the network with simpler models, on the held-out rows.
    folds : list of Comparison, optional
        Of a cross-validation.
    importance : Importance, optional
        Of the columns.
    candidates : list of Candidate, optional
        That were tried, the best first.
    seconds : float
        In all.
    written : dict of str to Path
        Files, and what was done to them.
    """

    run: Run
    result: Result
    comparison: Comparison
    folds: Sequence[Comparison] | None
    importance: Importance | None
    candidates: Sequence[Candidate] | None
    seconds: float
    written: dict[str, Path]

    @property
    def rows_scored(self) -> str:
        """"test" or "training", whichever rows the scores are of."""
        return "test" if self.result.held_out else "training"

    @property
    def split(self) -> str:
        """How the rows were split, in words."""
        run, problem = self.run, self.run.problem
        held = len(problem.held_inputs)
        test = f"{_rows(held, 'test row')}, {problem.drawn}, measured once" if held else "no test rows"
        if not run.rows_validated:
            return f"split: {_rows(len(problem.inputs), 'row')} to learn from, {test}; no early stopping"
        own = ", others for each network" if run.settings.members > 1 else ""
        learned = len(problem.inputs) - run.rows_validated
        return (f"split: {_rows(learned, 'row')} to learn from, {run.rows_validated:,} to decide when to stop{own}; "
                f"{test}; seed {run.settings.seed}")

    @property
    def stopping(self) -> str:
        """When training ended and what was kept, in words."""
        run = self.run
        if run.best is None or not (run.best.epoch > 0).all():
            return f"{run.epochs_done} of {run.settings.epochs} epochs"
        first, last = int(run.best.epoch.min()), int(run.best.epoch.max())
        kept = f"epoch {first}" if first == last else f"epochs {first} to {last}"
        return f"{run.epochs_done} of {run.settings.epochs} epochs, best {kept}"

    @property
    def notes(self) -> list[str]:
        """What a user should know about the data and the comparison."""
        problem, found = self.run.problem, self.comparison
        fitted = [] if found.linear_rows == len(problem.inputs) else [
            f"the linear model is fitted to a sample of {found.linear_rows:,} rows"
        ]  # fmt: skip
        return [*problem.notes, *fitted]

    def print(self) -> None:
        """Print the tables and the notes."""
        console = Console()
        console.print(self._table())
        console.print(self._scores())
        if self.folds is not None:
            console.print(self._folds())
        if self.candidates is not None:
            console.print(self._candidates(self.candidates))
        if self.importance is not None:
            console.print(self._importance(self.importance))
        lines = [self.split, *self.notes]
        if self.run.interrupted:
            lines.append(f"interrupted after {self.run.epochs_done} of {self.run.settings.epochs} epochs")
        lines += [f"{words} {path}" for words, path in self.written.items()]
        for line in lines:
            console.print(line, markup=False, highlight=False)

    def _table(self) -> Table:
        run, result, problem = self.run, self.result, self.run.problem
        table = Table(title=Text(problem.title), title_justify="left", show_header=False, min_width=48)
        table.add_column()
        table.add_column(justify="right")
        for name in ("accuracy",) if "accuracy" in result.score else ("rmse", "r2"):
            table.add_row(f"{self.rows_scored} {WORDS[name]}", f"[bold]{shown(name, result.score[name])}[/bold]")
        table.add_row("rows trained on / held out", f"{len(problem.inputs):,} / {len(problem.held_inputs):,}")
        if run.settings.members > 1:
            table.add_row("networks averaged", f"{run.settings.members}")
        table.add_row("training", self.stopping)
        trained = "" if result.trained_parameters == result.parameters else f"{result.trained_parameters:,} of "
        table.add_row("parameters trained", f"{trained}{result.parameters:,}")
        table.add_row("training steps", f"{result.steps:,}")
        table.add_row("training steps a second", f"{result.steps_per_second:,.0f}")
        table.add_row("samples a second", f"{result.samples_per_second:,.0f}")
        table.add_row("peak planned memory", f"{result.peak_bytes / 2**20:,.2f} MiB")
        table.add_row("time spent compiling", f"{result.compile_seconds:.2f} s")
        table.add_row("time in all", f"{self.seconds:.2f} s")
        return table

    def _headed(self, title: str) -> Table:
        table = Table(title=title, title_justify="left", min_width=48)
        table.add_column("")
        for name in ("network", "linear model", baseline_name(self.run.problem.target)):
            table.add_column(name, justify="right")
        return table

    def _scores(self) -> Table:
        models = self.comparison.models
        table = self._headed(f"scores of {_rows(len(self.comparison.actual), f'{self.rows_scored} row')}")
        for name in (name for name in WORDS if name in self.result.score):
            best = best_of(name, models)
            cells = [shown(name, values[name]) for values in models.values()]
            table.add_row(WORDS[name], *(f"[bold]{cell}[/bold]" if model == best else cell
                                         for model, cell in zip(models, cells, strict=True)))
        return table

    def _folds(self) -> Table:
        assert self.folds is not None
        found = spread(self.folds)
        table = self._headed(f"{len(self.folds)} folds, each row held out once: mean ± standard deviation")
        for name in (name for name in WORDS if name in self.result.score):
            table.add_row(WORDS[name], *(with_spread(name, *values[name]) for values in found.values()))
        return table

    def _candidates(self, candidates: Sequence[Candidate]) -> Table:
        table = Table(title=f"{len(candidates)} candidates, the chosen one first", title_justify="left", min_width=48)
        for name in CANDIDATE_COLUMNS:
            table.add_column(name, justify="right")
        for candidate in candidates[:CANDIDATES_SHOWN]:
            table.add_row(*candidate_cells(candidate))
        return table

    def _importance(self, found: Importance) -> Table:
        what = "rise of the log loss" if found.score == "log_loss" else "fall of R²"
        table = Table(title=f"{what} when a column is shuffled", title_justify="left", min_width=48)
        table.add_column("column")
        table.add_column("mean ± deviation", justify="right")
        for name, mean, deviation in list(zip(found.columns, found.mean, found.deviation))[:_COLUMNS_SHOWN]:
            table.add_row(Text(name), f"{mean:.4f} ± {deviation:.4f}")
        if len(found.columns) > _COLUMNS_SHOWN:
            table.add_row(f"{len(found.columns) - _COLUMNS_SHOWN} more that cost less", "")
        return table

    def to_dict(self) -> dict[str, Any]:
        """Everything, in types that JSON has; None for what is not finite."""
        run, result = self.run, self.result
        target = run.problem.target
        return {
            "task": target.task,
            "target": target.name,
            "held_out": result.held_out,
            **_finite(result.score),
            "models": _finite(self.comparison.models),
            "folds": None if self.folds is None else [_finite(fold.models) for fold in self.folds],
            "importance": None if self.importance is None else _finite(dict(
                zip(self.importance.columns, self.importance.mean.tolist())
            )),  # fmt: skip
            "candidates": None if self.candidates is None else [
                {"hidden": list(c.settings.hidden), "dropout": c.settings.dropout, "lr": c.settings.lr,
                 "weight_decay": c.settings.weight_decay, "validation_loss": _finite(c.loss), "epochs": c.epochs}
                for c in self.candidates
            ],
            "loss": _finite(result.loss),
            "rows": len(run.problem.inputs),
            "rows_validated": run.rows_validated,
            "rows_held_out": len(run.problem.held_inputs),
            "members": run.settings.members,
            "parameters": result.parameters,
            "parameters_trained": result.trained_parameters,
            "epochs": run.epochs_done,
            "best_epochs": None if run.best is None else run.best.epoch.tolist(),
            "steps": result.steps,
            "steps_per_second": result.steps_per_second,
            "samples_per_second": result.samples_per_second,
            "peak_bytes": result.peak_bytes,
            "compile_seconds": result.compile_seconds,
            "seconds": self.seconds,
            "interrupted": run.interrupted,
            "notes": self.notes,
            "saved": str(self.written["saved to"]) if "saved to" in self.written else None,
        }


def _rows(count: int, name: str) -> str:
    return f"{count:,} {name}{'' if count == 1 else 's'}"


def candidate_cells(candidate: Candidate) -> list[str]:
    """A candidate under `CANDIDATE_COLUMNS`."""
    settings = candidate.settings
    return [", ".join(map(str, settings.hidden)) or "none", f"{settings.dropout:g}", f"{settings.lr:.2g}",
            f"{settings.weight_decay:.2g}", f"{candidate.epochs}", f"{candidate.loss:.4f}"]  # fmt: skip


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    return value if math.isfinite(value) else None
