"""``tapegrad train``: from a file to a trained, measured and saved network."""

from __future__ import annotations

import json
import math
import shlex
import time
from contextlib import nullcontext
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from .. import __version__
from ..errors import MissingExtraError
from . import options
from .ahead import compiled_ahead
from .evaluation.comparison import compare, fitted
from .evaluation.importance import importance as measure_importance
from .folding import cross_validate
from .network import SavedModel
from .outcome import Outcome
from .ranks import join, wait_for_first
from .report.page import write_pictures
from .request import Request, with_request
from .resuming import checkpoint_of, command_words, go_on, how_to_go_on, keep_tuned, training_command, tuned_before
from .training import Result, Run
from .tuning import tune as choose_among

__all__ = ["train"]


@with_request
def train(
    request: Request,
    context: typer.Context,
    epochs: options.Epochs = None,
    lr: options.LearningRate = None,
    test_fraction: options.TestFraction = None,
    val_fraction: options.ValFraction = None,
    patience: options.Patience = None,
    members: options.Members = None,
    class_weight: options.ClassWeight = None,
    folds: options.Folds = None,
    tune: options.Tune = None,
    save: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where to put the model (.safetensors).")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw the losses (png, svg, pdf; needs the viz extra).")
    ] = None,
    importance: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Measure what shuffling each column costs, and draw it (png, svg, pdf; needs the viz extra).",
        ),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write a page (.html) of scores, curves and columns (needs the viz extra)."),
    ] = None,
    checkpoint: options.CheckpointFolder = None,
    checkpoint_every: options.CheckpointEvery = None,
    resume: options.Resume = None,
    mpi: options.Mpi = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar and no table.")] = False,
) -> None:
    """Train a network on a CSV file, a NumPy archive, or the handwritten digits that come with the package."""
    if resume is not None:
        go_on(context, resume)
        return
    start = time.perf_counter()
    comm, first_rank = join(mpi, ("--tune", tune), ("--folds", folds))
    if not first_rank:
        save = plot = importance = report = None
        as_json, quiet = False, True
    if save is not None:
        _check_can_save(save)
    for picture, option in ((plot, "--plot"), (importance, "--importance")):
        if picture is not None:
            options.check_can_plot(picture, option)
    if report is not None:
        options.check_can_plot(report, "--report", (".html", ".htm"))
    kept = checkpoint_of(context, checkpoint, checkpoint_every, first_rank)
    problem = request.problem(test_fraction, refit=folds is not None)
    settings = request.settings(
        problem, lr, epochs, members=members, val_fraction=val_fraction, patience=patience, class_weight=class_weight
    )
    shown = not (quiet or as_json)
    candidates = tuned = None
    if tune is not None:
        if val_fraction is None and settings.val_fraction == 0.0:
            settings = replace(settings, val_fraction=0.2)
        fixed = request.fixed if lr is None else (*request.fixed, "lr")
        if (tuned := tuned_before(context)) is None:
            candidates = choose_among(problem, settings, tune, fixed, progress=shown)
            tuned = candidates[0].settings
            keep_tuned(kept, tuned)
    first = settings
    settings = first if tuned is None else tuned
    run = Run(problem, settings, comm)
    is_compared = report is not None or importance is not None or as_json or not quiet
    linear = partial(fitted, problem, run.weights, settings.seed)
    has_kernels = is_compared and problem.target.task == "classification"  # a ridge regression is SciPy's
    with compiled_ahead(linear, "float64") if has_kernels else nullcontext():
        run.train(progress=shown, checkpoint=kept)
    if plot is not None and len(run.losses):
        run.history.plot(plot, f"{problem.title}: loss of training")
    if run.diverged:
        wait_for_first()
        typer.echo(
            f"tapegrad: the loss is {run.losses[-1]} after {len(run.losses)} steps;"
            f" try a learning rate below {settings.lr:g} (--lr)",
            err=True,
        )
        raise typer.Exit(1)
    if not first_rank:
        return
    result = run.result()
    if save is not None:
        fills = problem.features.missing != "error"
        card = _card(context, run, result)
        model = SavedModel(run.network, problem.features, problem.target, fills, run.module, card)
        model.save(save)
    if is_compared:
        comparison = compare(problem, run.module, settings.dtype, run.weights, settings.seed)
        validated = None
        if folds is not None and not run.interrupted:
            validated = cross_validate(problem, lambda fold: first if tune is None else
                                       choose_among(fold, first, tune, fixed)[0].settings, folds, settings.seed, shown)
        columns = None
        if report is not None or importance is not None:
            columns = measure_importance(problem, run.module, settings.dtype, seed=settings.seed)
        written = {"saved to": save, "drawn to": plot if len(run.losses) else None, "columns drawn to": importance,
                   "report written to": report if len(run.losses) else None}  # fmt: skip
        outcome = Outcome(run, result, comparison, validated, columns, candidates, time.perf_counter() - start,
                          {words: path for words, path in written.items() if path is not None})  # fmt: skip
        command = shlex.join(["tapegrad", "train", *command_words(context)])
        write_pictures(outcome, command, importance, report if len(run.losses) else None)
        if as_json:
            typer.echo(json.dumps(outcome.to_dict(), allow_nan=False))
        elif not quiet:
            outcome.print()
    if run.interrupted:
        if checkpoint is not None:
            typer.echo(f"tapegrad: interrupted; {how_to_go_on(checkpoint)}", err=True)
        raise typer.Exit(130)


def _card(context: typer.Context, run: Run, result: Result) -> dict[str, Any]:
    """How a model was trained and how well, for its file."""
    scores = {name: value if math.isfinite(value) else None for name, value in result.score.items()}
    return {"version": __version__, "command": training_command(context), "scores": scores,
            "held_out": result.held_out, "rows": len(run.problem.inputs), "rows_held_out": len(run.problem.held_inputs),
            "epochs": run.epochs_done, "steps": result.steps, "settings": asdict(run.settings)}  # fmt: skip


def _check_can_save(path: Path) -> None:
    try:
        import safetensors  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            "--save needs the safetensors library: pip install 'tapegrad[cli]'"
        ) from error
    options.check_writable(path, "--save")
