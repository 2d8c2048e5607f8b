"""``tapegrad sweep``: many trainings with other settings."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Sequence
from dataclasses import fields
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

import typer

from .. import sweep as sweep_over
from ..data.writing import check_can_write
from ..errors import ArgumentError, DataError
from ..sweeps.outcome import Sweep
from ..sweeps.space import points
from . import options
from .evaluation.comparison import WORDS
from .options import check_can_plot, check_writable
from .problem import Problem
from .request import Request
from .sweep_config import Config, parsed_options, read_config, training_words
from .together import TOGETHER, can_be_together, train_together
from .training import Run

__all__ = ["sweep"]

_VALIDATION = "validation_loss"
#: scores that are printed
_SHOWN = ("accuracy", "log_loss", "r2", "rmse")
#: options that say how to train; the others say on what
_OF_TRAINING = ("hidden", "activation", "batch_size", "optimizer", "weight_decay", "dropout", "freeze", "lr", "epochs",
                "members", "val_fraction", "patience", "class_weight")  # fmt: skip


def sweep(
    config: Annotated[
        Path,
        typer.Argument(
            help="A TOML file: data = 'FILE', options of tapegrad train by their names; in a table named grid lists of"
            " values, all combinations of which are tried, in one named random ranges such as"
            " lr = {low = 1e-4, high = 1e-2, log = true}, with samples = N draws; repeats = N seeds.",
            metavar="CONFIG",
            show_default=False,
        ),
    ],
    workers: Annotated[
        int | None,
        typer.Option(
            parser=options.whole(0), metavar="N", help="Processes; 0: none but this one.", show_default="one a core"
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE",
            help="The results, a row a run, .csv or .parquet; runs that it has already are not repeated.",
            show_default="the config's name with .csv",
        ),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN", help="What the best run is the best in.", show_default="validation_loss, if there is one"
        ),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Draw the runs over each setting (png, svg, pdf; needs the viz extra)."),
    ] = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Make failed runs of the file again.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the runs as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar and no table.")] = False,
) -> None:
    """Train many networks with other settings, several at once, into one table that a killed sweep goes on from."""
    asked = read_config(config)
    path = config.with_suffix(".csv") if output is None else output
    if path.suffix.lower() not in (".csv", ".parquet"):
        raise DataError(f"--output {path}: the name must end in .csv or .parquet")
    check_can_write(path)
    check_writable(path, "--output")
    if plot is not None:
        check_can_plot(plot, "--plot")
    trained = _Trained(asked)
    chosen, mode = trained.metric(metric)
    try:
        found = sweep_over(
            trained, asked.space, samples=asked.samples, seed=asked.seed, metric=chosen, mode=mode, path=path,
            workers=workers, repeats=asked.repeats, together=[name for name in TOGETHER if name in asked.space],
            retry_failed=retry_failed, progress=not (quiet or as_json),
        )  # fmt: skip
    except KeyboardInterrupt:
        typer.echo(f"tapegrad: interrupted; finished runs are in {path}, from where the same command goes on", err=True)
        raise typer.Exit(130) from None
    if len(found.failed) == len(found):
        typer.echo(f"tapegrad: {config}: all {len(found)} runs failed; the first: {found.failed[0]['error']}", err=True)
        raise typer.Exit(1)
    if plot is not None:
        found.plot(plot)
    best = found.best
    first_seed = {name: asked.space[name][0] for name in found.repeats}
    command = shlex.join(["tapegrad", "train", *asked.data, *training_words({**best, **first_seed})])
    if as_json:
        typer.echo(json.dumps({"best": _finite(best), "metric": chosen, "command": command,
                               "runs": [_finite(row) for row in found]}, allow_nan=False))  # fmt: skip
    elif not quiet:
        _print(found, command, [f"written to {path}", *([] if plot is None else [f"drawn to {plot}"])])


def _print(found: Sweep, command: str, written: Sequence[str]) -> None:
    shown = [name for name in found.columns
             if name in (found.metric, _VALIDATION) or name.partition("_")[2] in _SHOWN]  # fmt: skip
    typer.echo(found.table(shown))
    if found.metric != _VALIDATION:
        typer.echo(f"the best of {len(found)} on the same rows is partly the luckiest: its {found.metric} is a little "
                   "better than that of new rows will be")  # fmt: skip
    for line in (*written, f"the best: {command}"):
        typer.echo(line)


def _finite(row: dict[str, Any]) -> dict[str, Any]:
    return {name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in row.items()}  # fmt: skip


class _Trained:
    """The function of settings that `tg.sweep` calls: trains as ``tapegrad train`` does, and gives the scores.

    Parameters
    ----------
    config : Config
        Its data are read, with the settings of the first run, before there are other processes, which then share them.
    """

    def __init__(self, config: Config) -> None:
        self._data = tuple(Path(path) for path in config.data)
        self._problem = lru_cache(maxsize=4)(self._load)
        self._together = [name for name in TOGETHER if name in config.space]
        # what would fail in every run fails here
        self._first = self._run(points(config.space, 1, config.seed, config.repeats)[0])

    def metric(self, name: str | None) -> tuple[str, str]:
        """The column that tells how good a run is, and whether "min" or "max" of it is best.

        Raises
        ------
        DataError
            There is no such column.
        """
        run = self._first
        scores = [f"{_rows(run)}_{each}" for each in run.score()]
        known = [*([_VALIDATION] if run.rows_validated else []), *scores]
        if name is None:
            name = known[0] if run.rows_validated else next(s for s in scores if s.endswith(("log_loss", "rmse")))
        if name not in known:
            raise DataError(f"--metric {name}: there is no such column; those of these data are {', '.join(known)}")
        return name, "min" if name.endswith(("loss", "rmse", "mae")) else "max"

    def __call__(self, **settings: Any) -> Any:
        """The results of a run, or a list of those of several."""
        if not self._together:
            return self._alone(settings)
        count = len(settings[self._together[0]])
        each = [{**settings, **{name: settings[name][k] for name in self._together}} for k in range(count)]
        if count == 1:
            return [_outcome(self._alone, each[0])]
        runs = [self._run(one, stacked=True) for one in each]
        if not all(can_be_together(run) for run in runs):
            return [_outcome(self._alone, one) for one in each]
        finite = train_together(runs)
        return [_outcome(self._alone, one) if not is_finite else _results(run)
                for one, run, is_finite in zip(each, runs, finite, strict=True)]

    def _alone(self, settings: dict[str, Any]) -> dict[str, Any]:
        run = self._run(settings)
        run.train()
        if run.interrupted:
            raise KeyboardInterrupt
        if run.diverged:
            raise ArgumentError(f"the loss is {run.losses[-1]} after {len(run.losses)} steps; try a learning rate "
                                f"below {run.settings.lr:g}")  # fmt: skip
        return _results(run)

    def _run(self, settings: dict[str, Any], stacked: bool = False) -> Run:
        given = parsed_options(settings)
        request = Request(data=list(self._data), **{f.name: given[f.name] for f in fields(Request) if f.name in given})
        of_data = tuple(sorted((name, repr(value)) for name, value in given.items() if name not in _OF_TRAINING))
        problem = self._problem(_Keyed(of_data, request, given["test_fraction"]))
        more = {name: given[name] for name in ("members", "val_fraction", "patience", "class_weight")}
        return Run(problem, request.settings(problem, given["lr"], given["epochs"], **more), stacked=stacked)

    def _load(self, key: _Keyed) -> Problem:
        return key.request.problem(key.test_fraction)


class _Keyed:
    """A request that is equal to another one for the same data."""

    def __init__(self, key: tuple[tuple[str, str], ...], request: Request, test_fraction: float | None) -> None:
        self.key, self.request, self.test_fraction = key, request, test_fraction

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Keyed) and self.key == other.key


def _outcome(train: Any, settings: dict[str, Any]) -> dict[str, Any] | Exception:
    try:
        return train(settings)
    except Exception as error:
        return error


def _rows(run: Run) -> str:
    return "test" if run.held_out else "training"


def _results(run: Run) -> dict[str, Any]:
    """The row of a trained run."""
    validated = {} if run.best is None else {_VALIDATION: float(run.best.loss.mean())}
    scores = {f"{_rows(run)}_{name}": value for name, value in run.score().items() if name in WORDS}
    return {**validated, **scores, "epochs_done": run.epochs_done, "parameters": run.trained.num_parameters()}
