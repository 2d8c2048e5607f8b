"""``tapegrad train``: from a file to a trained, measured and saved network."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table as Report

from ..errors import MissingExtraError
from . import options
from .network import SavedModel
from .request import Request, with_request
from .training import Result, Run

__all__ = ["train"]


@with_request
def train(
    request: Request,
    epochs: options.Epochs = None,
    lr: options.LearningRate = None,
    val_fraction: options.ValFraction = None,
    save: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where to put the model (.safetensors).")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw the losses (png, svg, pdf; needs the viz extra).")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar and no table.")] = False,
) -> None:
    """Train a network on a CSV file, a NumPy archive, or the handwritten digits that come with the package."""
    start = time.perf_counter()
    if save is not None:
        _check_can_save(save)
    if plot is not None:
        options.check_can_plot(plot, "--plot")
    problem, settings = request.problem(val_fraction), request.settings(lr, epochs)
    run = Run(problem, settings)
    run.train(progress=not (quiet or as_json), validate=plot is not None)
    if plot is not None and len(run.losses):
        run.history.plot(plot, f"{problem.title}: loss of training")
    if run.diverged:
        typer.echo(
            f"tapegrad: the loss is {run.losses[-1]} after {len(run.losses)} steps;"
            f" try a learning rate below {settings.lr:g} (--lr)",
            err=True,
        )
        raise typer.Exit(1)
    result = run.result()
    if save is not None:
        model = SavedModel(run.network, problem.features, problem.target, request.missing == "mean", run.module)
        model.save(save)
    seconds = time.perf_counter() - start
    if as_json:
        typer.echo(json.dumps(_as_json(run, result, seconds, save), allow_nan=False))
    elif not quiet:
        _print_report(run, result, seconds, save, plot)
    if run.interrupted:
        raise typer.Exit(130)


def _check_can_save(path: Path) -> None:
    try:
        import safetensors  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            "--save needs the safetensors library: pip install 'tapegrad[cli]'"
        ) from error
    options.check_writable(path, "--save")


def _print_report(run: Run, result: Result, seconds: float, saved: Path | None, drawn: Path | None) -> None:
    console = Console()
    report = Report(title=run.problem.title, title_justify="left", show_header=False, min_width=48)
    report.add_column()
    report.add_column(justify="right")
    rows = "test" if result.held_out else "training"
    if "accuracy" in result.score:
        report.add_row(f"{rows} accuracy", f"[bold]{result.score['accuracy']:.4f}[/bold]")
    else:
        report.add_row(f"{rows} error (root mean square)", f"[bold]{result.score['rmse']:.6g}[/bold]")
        report.add_row(f"{rows} R²", f"{result.score['r2']:.4f}")
    problem = run.problem
    report.add_row("rows trained on / held out", f"{len(problem.inputs):,} / {len(problem.held_inputs):,}")
    trained = "" if result.trained_parameters == result.parameters else f"{result.trained_parameters:,} of "
    report.add_row("parameters trained", f"{trained}{result.parameters:,}")
    report.add_row("training steps", f"{result.steps:,}")
    report.add_row("training steps a second", f"{result.steps_per_second:,.0f}")
    report.add_row("samples a second", f"{result.samples_per_second:,.0f}")
    report.add_row("peak planned memory", f"{result.peak_bytes / 2**20:,.2f} MiB")
    report.add_row("time spent compiling", f"{result.compile_seconds:.2f} s")
    report.add_row("time in all", f"{seconds:.2f} s")
    console.print(report)
    for note in problem.notes:
        console.print(note, markup=False, highlight=False)
    if run.interrupted:
        console.print(f"interrupted after {run.epochs_done} of {run.settings.epochs} epochs", highlight=False)
    if saved is not None:
        console.print(f"saved to {saved}", markup=False, highlight=False)
    if drawn is not None and result.steps:
        console.print(f"drawn to {drawn}", markup=False, highlight=False)


def _as_json(run: Run, result: Result, seconds: float, saved: Path | None) -> dict[str, Any]:
    target = run.problem.target
    return {
        "task": target.task,
        "target": target.name,
        "held_out": result.held_out,
        **{name: value if value == value else None for name, value in result.score.items()},
        "loss": result.loss if result.loss == result.loss else None,
        "rows": len(run.problem.inputs),
        "rows_held_out": len(run.problem.held_inputs),
        "parameters": result.parameters,
        "parameters_trained": result.trained_parameters,
        "epochs": run.epochs_done,
        "steps": result.steps,
        "steps_per_second": result.steps_per_second,
        "samples_per_second": result.samples_per_second,
        "peak_bytes": result.peak_bytes,
        "compile_seconds": result.compile_seconds,
        "seconds": seconds,
        "interrupted": run.interrupted,
        "notes": run.problem.notes,
        "saved": None if saved is None else str(saved),
    }
