"""``tapegrad profile``: where the memory and the time of a training step go, on the user's data."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from ..memory import Rows
from . import options
from .request import Request, with_request
from .training import Run

__all__ = ["profile"]

_SECONDS = 1.0


@dataclass(frozen=True)
class _Times:
    """Microseconds of a whole step in the compiled loop, and the table by instruction."""

    step: float
    instructions: Rows

    @property
    def walks(self) -> float:
        """Microseconds of all instructions, forward and in reverse."""
        return float(sum(row["forward"] + row["reverse"] for row in self.instructions))


@with_request
def profile(
    request: Request,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw live bytes over the step (needs the viz extra).")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Show where the memory and the time of a training step go, by instruction; options as of train."""
    if plot is not None:
        options.check_can_plot(plot, "--plot")
    problem = request.problem()
    run = Run(problem, request.settings(problem, lr=1e-6))
    times = _measure(run)
    report = run.step.memory()
    if plot is not None:
        report.plot(plot, f"{problem.title}: memory of one training step of {run.batch_size} rows")
    if as_json:
        result = {"batch_size": run.batch_size, "step_microseconds": times.step,
                  "times": list(times.instructions), "memory": report.to_dict()}  # fmt: skip
        typer.echo(json.dumps(result))
        return
    typer.echo(f"{problem.title}: one training step of {run.batch_size} rows\n")
    typer.echo(f"memory\n{report}\n")
    typer.echo("memory by instruction, bytes")
    typer.echo(f"{report.by_instruction()}\n")
    typer.echo("time by instruction, microseconds")
    typer.echo(f"{_with_percent(times.instructions)}\n")
    typer.echo(
        f"a whole step takes {times.step:,.1f} microseconds: {min(times.walks, times.step):,.1f} in these instructions,"
        f" {max(times.step - times.walks, 0.0):,.1f} in gathering the batch and updating the parameters"
    )
    if plot is not None:
        typer.echo(f"drawn to {plot}")


def _measure(run: Run) -> _Times:
    """Train for about a second, then time each instruction on the last batch."""
    rows, given = run.batch_size, run.given
    run.trained.train()
    whole = len(given[0]) // rows * rows
    taken: list[float] = []
    began = time.perf_counter()
    run.step.run(*(a[:rows] for a in given), batch_size=rows)  # compiles what is not compiled yet
    for _ in range(5):
        history = run.step.run(*(a[:whole] for a in given), batch_size=rows, epochs=1, seed=run.settings.seed)
        taken.append(history.seconds / len(history))
        if time.perf_counter() - began > _SECONDS:
            break
    return _Times(1e6 * float(np.median(taken)), run.step.profile(*(a[:rows] for a in given), seconds=_SECONDS))


def _with_percent(rows: Rows) -> Rows:
    return Rows(rows.columns, tuple((*row[:4], f"{row[4]:.1f}", f"{row[5]:.1f}", f"{100 * row[6]:.1f}%")
                                    for row in rows.cells))  # fmt: skip
