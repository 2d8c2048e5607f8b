"""`sweep`: a function for many settings, in several processes, with a file that it goes on from."""

from __future__ import annotations

import math
import os
import time
import traceback
import zlib
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..engine.caller import is_own
from ..engine.random import manual_seed
from ..errors import ArgumentError, DataError, TapegradError
from ..program.running.progress import progress_bar
from .outcome import Sweep
from .results import Results, Row
from .space import OWN, Settings, grouped, identity, points
from .workers import Died, Task, here, in_executor, in_processes, usable_cores

__all__ = ["sweep"]

#: runs that are made by one call, at most
_MOST_TOGETHER = 16


def sweep(
    train: Callable[..., Any],
    space: Mapping[str, Any],
    *,
    samples: int = 1,
    seed: int = 0,
    metric: str = "loss",
    mode: str = "min",
    path: str | os.PathLike[str] | None = None,
    workers: int | None = None,
    executor: Executor | None = None,
    repeats: Collection[str] = (),
    together: Collection[str] = (),
    retry_failed: bool = False,
    progress: bool = False,
) -> Sweep:
    """Call a function that trains for many settings, several at once, and collect what it returns.

    Parameters
    ----------
    train : callable
        Called as ``train(**settings)``; returns a number, or a dict from names to numbers, texts and truth values,
        which makes a row of the table. If it raises, or its process dies, the run is marked as failed, with the cause,
        and the others go on.
    space : mapping
        From the names of settings to what to try: a list, tuple, range or array, all combinations of which are run; one
        value for all runs; or a distribution of SciPy's (whatever has ``rvs(random_state=)``), such as
        ``scipy.stats.loguniform(1e-4, 1e-1)``, from which each run draws.
    samples : int, default 1
        Runs with other draws for each combination, where there are distributions.
    seed : int, default 0
        Of the draws. `manual_seed` is called before each run, with a number that follows from `seed` and the run's
        settings, so that results do not depend on which process makes a run, and when.
    metric : str, default "loss"
        The column that tells how good a run is; a plain number that `train` returns is put there.
    mode : {"min", "max"}
        Whether small or large values of it are good.
    path : path, optional
        A ``.csv`` or ``.parquet`` file that gets a row as soon as a run is finished. If it has rows of this sweep
        already, those runs are not repeated: the same call goes on after a kill or Ctrl-C, and makes what is new after
        `space` or `samples` have grown.
    workers : int, optional
        Processes, forked from this one, which share its cores and need not pickle `train`; one a core by default. 0: in
        this process, one run after the other, for a debugger.
    executor : concurrent.futures.Executor, optional
        Makes the runs instead, such as ``client.get_executor()`` of `dask.distributed`; `train` is sent to it with each
        run. `workers` then limits how many runs it is given at once.
    repeats : collection of str, optional
        Settings that repeat a run, such as a seed: the best is the best in the mean over these. The best of single runs
        is partly the luckiest.
    together : collection of str, optional
        Settings in which runs that are made by one call may differ: `train` is given a list of values for each of them,
        and returns a list of results, in the same order, in which an exception stands for a failed run. Where such a
        call fails as a whole, its runs are made one by one.
    retry_failed : bool, default False
        Make runs again that are marked as failed in the file.
    progress : bool, default False
        Show a progress bar (needs the ``cli`` extra).

    Returns
    -------
    Sweep
        The rows; prints as a table, has ``best`` and ``plot(path)``.

    Raises
    ------
    ArgumentError
        An argument that cannot be used.
    DataError
        The file is of another sweep, or another process writes to it.
    KeyboardInterrupt
        Ctrl-C; the file holds all runs that were finished.

    Examples
    --------
    >>> import numpy as np, scipy.stats, tapegrad as tg
    >>> from tapegrad import nn, optim
    >>> x = np.random.default_rng(0).normal(size=(64, 2))
    >>> def train(width, lr):
    ...     model = nn.Sequential(nn.Linear(2, width), nn.Tanh(), nn.Linear(width, 1))
    ...     step = tg.TrainStep(lambda x: ((model(x) - x[:, :1]) ** 2).mean(), optim.Adam(model.parameters(), lr=lr))
    ...     return step.run(x, batch_size=16, epochs=5, seed=0).loss[-4:].mean()
    >>> result = tg.sweep(train, {"width": [4, 8], "lr": scipy.stats.loguniform(1e-3, 1e-1)}, samples=2, workers=2)
    >>> len(result), result.best["loss"] == min(row["loss"] for row in result)
    (4, True)
    """
    _check(train, samples, seed, metric, mode, workers, space, repeats=repeats, together=together)
    settings = points(space, samples, seed, repeats)
    results = Results(None if path is None else Path(path), list(space))
    try:
        number_of = {tuple(identity(value) for value in each.values()): k for k, each in enumerate(settings)}
        done = _matched(results, number_of, list(space), settings)
        if retry_failed:
            results.keep(lambda row: row["status"] != "failed")
            done = {row["run"] - 1 for row in results.rows}
        left = [k for k in range(len(settings)) if k not in done]
        many = usable_cores() if workers is None else workers
        if left:
            at_once = max(many, 1)
            most = max(1, min(_MOST_TOGETHER, -(-len(left) // at_once)))
            queue = deque(grouped(settings, left, tuple(together), most))
            calls = _Calls(train, dict(enumerate(settings)), tuple(together), metric, seed)
            if executor is not None:
                finished = in_executor(calls.only, queue, executor, workers or None)
            elif many == 0:
                finished = here(calls, queue)
            else:
                finished = in_processes(calls, queue, many, [results])
            with closing(finished), progress_bar(progress, len(settings)) as bar:
                bar.advance(len(done))
                for task, outcome in finished:
                    if len(task) > 1 and (isinstance(outcome, Died) or isinstance(outcome[0], _Whole)):
                        queue.extend([k] for k in task)  # to find which of them it is
                        continue
                    for k, row in zip(task, [{"status": "failed", "error": str(outcome)}] * len(task)
                                      if isinstance(outcome, Died) else outcome):
                        results.add({"run": k + 1, **settings[k], **row})
                    bar.advance(len(task))
                    bar.describe(_so_far(results.rows, len(settings), metric, mode))
        rows = sorted(results.rows, key=lambda row: row["run"])
        return Sweep(rows, list(space), metric, mode, repeats, results.path)
    finally:
        results.close()


def _check(train: Any, samples: Any, seed: Any, metric: Any, mode: Any, workers: Any, space: Any,
           **named: Collection[str]) -> None:
    if not callable(train):
        raise ArgumentError(f"sweep: train must be a function of settings, not {train!r}")
    if not isinstance(space, Mapping) or not space:
        raise ArgumentError("sweep: space must be a dict from names of settings to lists, values or distributions, "
                            f"not {space!r}")
    for name, value, least in (("samples", samples, 1), ("seed", seed, None), ("workers", workers, 0)):
        if name == "workers" and value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or least is not None and value < least:
            of_least = "" if least is None else f" of at least {least}"
            raise ArgumentError(f"sweep: {name} must be a whole number{of_least}, not {value!r}")
    if mode not in ("min", "max"):
        raise ArgumentError(f"sweep: mode must be 'min' or 'max', not {mode!r}")
    if not isinstance(metric, str) or not metric or metric in (*OWN[:2], OWN[3]) or metric in space:
        raise ArgumentError(f"sweep: metric must name a column of results, not {metric!r}")
    for argument, names in named.items():
        if isinstance(names, str):
            raise ArgumentError(f"sweep: {argument} must be a list of names, such as [{names!r}]")
        unknown = [name for name in names if name not in space]
        if unknown:
            raise ArgumentError(f"sweep: {argument} names {unknown[0]!r}, which is not in space ({', '.join(space)})")


def _matched(results: Results, number_of: Mapping[tuple[str, ...], int], names: Sequence[str],
             settings: Sequence[Settings]) -> set[int]:
    """The runs that the file has; they get the numbers and the values of this sweep."""
    found: set[int] = set()
    for k, row in enumerate(results.rows, 1):
        number = number_of.get(tuple(identity(row[name]) for name in names))
        if number is None:
            values = ", ".join(f"{name} = {row[name]}" for name in names)
            raise DataError(f"{results.path}: row {k} is of another sweep ({values}); give this one another file, or "
                            "the settings of then")
        if number in found:
            raise DataError(f"{results.path}: row {k} is of a run that an earlier row has already; remove one of them")
        row["run"] = number + 1
        row.update(settings[number])
        found.add(number)
    return found


class _Whole(str):
    """Why a call for several runs failed."""


@dataclass(frozen=True)
class _Calls:
    """Calls of the function that trains, for the numbers of some runs; gives their rows."""

    train: Callable[..., Any]
    settings: Mapping[int, Settings]
    together: tuple[str, ...]
    metric: str
    seed: int

    def only(self, task: Task) -> _Calls:
        """With the settings of some runs alone."""
        return _Calls(self.train, {k: self.settings[k] for k in task}, self.together, self.metric, self.seed)

    def __call__(self, task: Task) -> list[Row | _Whole]:
        start = time.perf_counter()
        settings = dict(self.settings[task[0]])
        for name in self.together:
            settings[name] = [self.settings[k][name] for k in task]
        words = repr([(name, identity(value)) for name, value in self.settings[task[0]].items()])
        manual_seed(int(np.random.SeedSequence([self.seed % 2**64, zlib.crc32(words.encode())]).generate_state(1)[0]))
        try:
            found = self.train(**settings)
            if self.together:
                found = list(found)
                if len(found) != len(task):
                    raise ArgumentError(f"train was called for {len(task)} runs together and returned {len(found)} "
                                        "results")
            else:
                found = [found]
        except (Exception, SystemExit) as error:
            if len(task) > 1:
                return [_Whole(error)]
            found = [error]
        rows = [self._row(result) for result in found]
        seconds = (time.perf_counter() - start) / len(task)
        return [{**row, "seconds": round(seconds, 4)} for row in rows]

    def _row(self, result: Any) -> Row:
        """What is known of a run."""
        if not isinstance(result, BaseException):
            try:
                metrics = result if isinstance(result, Mapping) else {self.metric: result}
                measured = {self._free(name): _measured(name, value) for name, value in metrics.items()}
                return {"status": "done", **measured}
            except ArgumentError as error:
                result = error
        return {"status": "failed", "error": _cause(result)}

    def _free(self, name: Any) -> str:
        settings = next(iter(self.settings.values()))
        if not isinstance(name, str) or not name or name in OWN or name in settings:
            what = "a column of the table's own" if name in OWN else "a setting" if name in settings else "no name"
            raise ArgumentError(f"train returned a result named {name!r}, which is {what}; give it another name")
        return name


def _measured(name: str, value: Any) -> Any:
    """A result as a table holds it."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    try:
        array = np.asarray(value.detach() if hasattr(value, "detach") else value)
        if array.size == 1 and array.dtype.kind in "biuf":
            return array.reshape(-1)[0].item()
    except Exception:
        pass
    raise ArgumentError(f"train returned a {type(value).__name__} as {name!r}; return a number, a text, or a dict of "
                        "such")


def _cause(error: BaseException) -> str:
    """An error in one line, with the user's line."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not is_own(frame.filename)]
    place = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    text = " ".join(str(error).split())
    if isinstance(error, TapegradError) and text:
        return text  # which says all, and where
    return f"{type(error).__name__}{': ' + text if text else ''}{place}"


def _so_far(rows: Sequence[Row], count: int, metric: str, mode: str) -> str:
    """What a progress bar says."""
    values = [row[metric] for row in rows if isinstance(row.get(metric), (int, float)) and math.isfinite(row[metric])]
    failed = sum(row["status"] == "failed" for row in rows)
    best = f"  best {metric} {(min if mode == 'min' else max)(values):.4g}" if values else ""
    return f"{len(rows)} of {count} runs{f', {failed} failed' if failed else ''}{best}"
