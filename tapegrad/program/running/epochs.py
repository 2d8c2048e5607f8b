"""Epochs over arrays: shuffling, batches run in compiled chunks, and the history."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import chain, groupby
from os import PathLike
from typing import Any

import numpy as np

from ...engine.random import generator, shuffle_key, shuffled
from ...engine.storage import address_of
from ...engine.writers import Writing
from ...errors import ArgumentError, IndexRangeError, ShapeError
from . import loop
from .agreeing import OfFirst, check_recording, check_run, check_values, share_streams
from .keeping import Keeping, NotKept, Position, Ran
from .progress import NoBar, progress_bar
from .protocols import Checkpointing, Monitoring, Training
from .source import Batches, Source, Stretch, check_alike, source_of, table_of

_CHUNK_SECONDS = 0.05


@dataclass
class History:
    """The history of a run of epochs.

    Attributes
    ----------
    loss : ndarray of the step's dtype
        The loss of every step, before its update.
    epoch : ndarray of int
        The epoch of every step.
    seconds : float
        Wall time of the run.
    samples : int
        Rows that were trained on.
    lr : ndarray of float64
        The learning rate of every step, of the first parameter group.
    validation : list of (int, float)
        Steps so far and a validation loss, as `validated` has added them.
    """

    loss: np.ndarray = field(default_factory=lambda: np.empty(0))
    epoch: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    seconds: float = 0.0
    samples: int = 0
    lr: np.ndarray = field(default_factory=lambda: np.empty(0))
    validation: list[tuple[int, float]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.loss)

    def epoch_loss(self) -> np.ndarray:
        """Mean loss of each epoch."""
        return np.array([self.loss[self.epoch == e].mean() for e in np.unique(self.epoch)])

    def validated(self, loss: float) -> None:
        """Add a validation loss, as a callback measures it after an epoch."""
        self.validation.append((len(self), float(loss)))

    def plot(self, path: str | PathLike[str], title: str | None = None) -> None:
        """Draw the loss of every step, smoothed, with validation losses, over the learning rate.

        Parameters
        ----------
        path : path
            File to write; its suffix gives the format (png, svg, pdf).
        title : str, optional

        Raises
        ------
        ArgumentError
            No step was made.
        MissingExtraError
            Without matplotlib (``pip install 'tapegrad[viz]'``).
        """
        from .curves import plot

        if not len(self):
            raise ArgumentError("plot: the history has no steps")
        plot(self.loss, self.epoch, self.lr, self.validation, path, title)


def run_epochs(train: Training, given: Sequence[Any], batch_size: int, epochs: int,
               shuffle: bool | Callable[[int], Any], seed: int | None, drop_last: bool, progress: bool,
               callback: Callable[[int, History], Any] | None, monitor: Monitoring | None = None,
               checkpoint: Checkpointing | None = None) -> History:
    """`TrainStep.run`."""
    ranks = train.ranks
    if ranks is not None:
        share_streams(ranks)
    source = source_of(given, train.optimizer.dtype, seed)
    n = len(source)
    batch_size, epochs = count("batch_size", batch_size), count("epochs", epochs)
    full, rest = divided(train, n, batch_size, drop_last)
    rng = np.random.default_rng(seed) if seed is not None else generator()
    kept = NotKept()
    settings = {"batch_size": batch_size, "shuffle": "a function" if callable(shuffle) else shuffle,
                "seed": seed, "drop_last": drop_last, "accumulate": train.accumulate}
    if ranks is not None:
        check_run(ranks, source, train.optimizer, {**settings, "epochs": epochs, "monitor": monitor is not None,
                                                   "checkpoint": checkpoint is not None})
        checkpoint = None if checkpoint is None else OfFirst(checkpoint, ranks)
        progress = progress and ranks.first
    if checkpoint is not None:
        kept = Keeping(train, checkpoint, source, None if seed is None else rng, settings, callback)
    record = _Record(train.optimizer.dtype)
    history = train.history = record.history
    with (train.optimizer.stepping(epochs) as schedules, kept,
          progress_bar(progress, epochs * (full + (rest > 0))) as bar):
        at = kept.start(record)
        before = len(history) + at.done + sum(len(ran.loss) for ran in at.ran)
        bar.advance(before)
        if monitor is not None:
            monitor.passed(before)
        order = np.arange(n, dtype=np.int64)
        for epoch in range(at.epoch, 0 if at.stopped else epochs):
            kept.epoch_begins()
            if callable(shuffle):
                order = order_given(shuffle(epoch), n)
                full, rest = divided(train, len(order), batch_size, drop_last)
                at.key = kept.same_order(at.key, order)
            elif shuffle:
                if at.key is None:
                    at.key = shuffle_key(rng)
                order = shuffled(n, at.key)
            parts = [Batches(order[:full * batch_size], batch_size, full)] if full else []
            if rest:
                parts.append(Batches(order[full * batch_size:full * batch_size + rest], rest, 1))
            of_epoch = at.ran
            shares = parts if ranks is None else [part.shared(ranks, train.accumulate) for part in parts]
            try:
                run_parts(train, source, shares, at, bar, monitor, kept)
            finally:
                record.add(epoch, of_epoch, parts)
            if progress or train.optimizer.schedulers:
                mean = float(np.concatenate([ran.loss for ran in of_epoch]).mean())
                train.optimizer.advance("epoch", metric=mean)
                bar.describe(f"epoch {epoch + 1}  loss {mean:.4g}")
            schedules.before_callback()
            if ranks is not None:
                ranks.doing = f"the callback after epoch {epoch}"
            stopped = callback is not None and bool(callback(epoch, history))
            at = Position(epoch + 1, stopped=any(ranks.gather(stopped)) if ranks is not None else stopped)
            schedules.after_callback()
            if at.stopped:
                break
        kept.finish(at)
    if ranks is not None:
        check_values(ranks, train.optimizer, "has come to other parameters than")
    return history


class _Record:
    """A history that grows by epochs.

    Attributes
    ----------
    history : History
    """

    def __init__(self, dtype: np.dtype) -> None:
        self.history, self._began = History(), time.perf_counter()
        self._loss, self._epoch = _Growing(dtype), _Growing(np.dtype(np.int64))
        self._lr = _Growing(np.dtype(np.float64))

    def add(self, epoch: int, ran: Sequence[Ran], parts: Sequence[Batches]) -> None:
        """Steps of an epoch are done."""
        for each in ran:
            self._loss.extend(each.loss, len(each.loss))
            self._epoch.extend(epoch, len(each.loss))
            self._lr.extend(each.lr, len(each.loss))
        self._show(self.history.samples + sum(len(each.loss) * part.size for each, part in zip(ran, parts)))

    def _show(self, samples: int) -> None:
        history = self.history
        history.loss, history.epoch, history.lr = self._loss.array, self._epoch.array, self._lr.array
        history.samples, history.seconds = samples, time.perf_counter() - self._began

    def mark(self) -> tuple[int, int, int]:
        """Where the history is now: steps, samples and validation losses."""
        return len(self.history), self.history.samples, len(self.history.validation)

    def state(self, mark: tuple[int, int, int]) -> dict[str, Any]:
        """The history up to a mark, for `restore`; its arrays are views."""
        steps, samples, validated = mark
        return {"loss": self._loss.array[:steps], "lr": self._lr.array[:steps],
                "steps": np.bincount(self._epoch.array[:steps]), "samples": samples,
                "validation": self.history.validation[:validated], "seconds": time.perf_counter() - self._began}

    def restore(self, state: dict[str, Any]) -> None:
        """Have the history go on from a state."""
        steps = state["steps"]
        self._began = time.perf_counter() - state["seconds"]
        self._loss.extend(state["loss"], len(state["loss"]))
        self._lr.extend(state["lr"], len(state["lr"]))
        self._epoch.extend(np.repeat(np.arange(len(steps)), steps), len(state["loss"]))
        self.history.validation[:] = state["validation"]
        self._show(state["samples"])


class _Growing:
    """An array that grows by doubling; earlier views stay valid."""

    def __init__(self, dtype: np.dtype) -> None:
        self._held, self._count = np.empty(64, dtype), 0

    def extend(self, values: Any, count: int) -> None:
        """Append `count` elements."""
        last = self._count + count
        if last > len(self._held):
            self._held = np.concatenate([self.array, np.empty(max(last, self._count), self._held.dtype)])
        self._held[self._count:last] = values
        self._count = last

    @property
    def array(self) -> np.ndarray:
        """All elements, a view."""
        return self._held[:self._count]


def run_whole(train: Training, batch: Sequence[np.ndarray]) -> float:
    """One step on a batch that is split into micro-batches; returns the loss before the update."""
    source = source_of(batch, train.optimizer.dtype, None)
    n = len(source)
    check_divides(train.accumulate, n, "the batch")
    at = Position()
    batch_of_all = Batches(np.arange(n, dtype=np.int64), n, 1)
    part = batch_of_all if train.ranks is None else batch_of_all.shared(train.ranks, train.accumulate)
    run_parts(train, source, [part], at, NoBar(), None, NotKept())
    return float(at.ran[0].loss[0])


def run_parts(train: Training, source: Source, parts: Sequence[Batches], at: Position, bar: NoBar,
              monitor: Monitoring | None, kept: NotKept) -> None:
    """Run batches of one size after those of another, from the position on; appends to ``at.ran`` for each size."""
    with closing(source.stretches(parts[at.part:], at.done, at.place)) as stretches:
        for _, of_part in groupby(stretches, lambda stretch: id(stretch.batches)):
            _run_batches(train, of_part, source.settle, at, bar, monitor, kept)
            at.part, at.done = at.part + 1, 0


def _run_batches(train: Training, stretches: Iterator[Stretch], settle: Callable[[], None], at: Position, bar: NoBar,
                 monitor: Monitoring | None, kept: NotKept) -> None:
    """Run batches of one size, in chunks of about 50 ms."""
    first = next(stretches)
    batches = first.batches
    rows = batches.size // train.accumulate
    arrays = [a[:rows] for a in first.arrays]
    step = train._step_for(arrays, settle)
    while kept.restore(step, batches.name):
        step = train._step_for(arrays, settle)
    if train.ranks is not None:
        check_recording(train.ranks, step, batches.whole)
    with Writing(step):
        loss = np.empty(batches.steps, step.dtype)
        begun = kept.begin(step, first, at, loss)
        step.prepare()  # another thread may have changed the optimiser meanwhile
        step.take_share(batches.share)
        row = step.row
        row[loop.BATCH], row[loop.INPUTS] = rows, len(first.arrays)
        row[loop.LOSSES] = address_of(loss) // step.dtype.itemsize
        step.program.draw(begun * train.accumulate)
        step.set_rates(batches.steps)
        row[loop.DONE] = begun
        kept.runs(row)
        row[loop.WATCH] = monitor is not None and monitor.watches(step)
        try:
            for stretch in chain([first], stretches):
                check_alike([first.arrays, stretch.arrays])
                index = np.ascontiguousarray(stretch.order)
                table = table_of(stretch.arrays, step.inputs)
                # the loop counts the rows of all batches; the index starts at this stretch
                row[loop.INDEX] = address_of(index) // 8 - stretch.first * batches.size
                row[loop.TABLE] = address_of(table) // 8
                done = max(stretch.first, begun)
                while done < stretch.last:
                    last = min(done + step.chunk, stretch.last)
                    if monitor is not None:
                        if not (left := monitor.left()):
                            _observe(monitor, step, stretch.arrays, loss, done, kept)
                            bar.advance(1)
                            done += 1
                            kept.at(done)
                            continue
                        last = min(last, done + left)
                    began = time.perf_counter()
                    row[loop.FIRST], row[loop.LAST] = done, last
                    step.run(last - done)
                    if monitor is not None:
                        monitor.passed(int(row[loop.DONE]) - done)
                        if row[loop.DONE] < last:
                            last = int(row[loop.DONE])
                            row[loop.WATCH] = 0
                            monitor.stopped()
                    bar.advance(last - done)
                    seconds = max(time.perf_counter() - began, 1e-9)
                    step.chunk = max(1, min(4 * step.chunk, math.ceil((last - done) * _CHUNK_SECONDS / seconds)))
                    done = last
                    kept.at(done)
        finally:
            finished = int(row[loop.DONE])
            kept.ended()
            at.ran.append(Ran(loss[:finished], step.rates_of(finished)))
            step.advance(finished)


def _observe(monitor: Monitoring, step: Any, arrays: Sequence[np.ndarray], losses: np.ndarray, at: int,
             kept: NotKept) -> None:
    """Run step number `at` of the loop so that a monitor can look into it."""
    twin = monitor.begin(step)
    twin.prepare()
    twin.take_share(None if step.reduction is None else step.reduction.share)
    row, table = twin.row, table_of(arrays, twin.inputs)
    row[loop.INDEX:loop.LOSSES + 1] = step.row[loop.INDEX:loop.LOSSES + 1]
    row[loop.RATES:loop.RATE_COUNT + 1] = step.row[loop.RATES:loop.RATE_COUNT + 1]
    row[loop.TABLE] = address_of(table) // 8
    row[loop.FIRST], row[loop.LAST], row[loop.DONE] = at, at + 1, at
    kept.runs(row)
    try:
        twin.run()
    finally:
        step.row[loop.DONE] = row[loop.DONE]
        kept.runs(step.row)
        row[loop.INDEX] = row[loop.LOSSES] = 0
        step.prepare()
    monitor.end(step, float(losses[at]))


def divided(train: Training, n: int, batch_size: int, drop_last: bool) -> tuple[int, int]:
    """Number of full batches of `n` rows, and rows of the last, smaller one."""
    full, rest = divmod(n, batch_size)
    rest = 0 if drop_last else rest
    if full:
        check_divides(train.accumulate, batch_size, "a batch (batch_size)")
    if rest:
        check_divides(train.accumulate, rest,
                      f"the last batch of {n} rows by {batch_size} (or leave it out: drop_last=True)")
    if full == 0 and rest == 0:
        raise ArgumentError(f"drop_last leaves nothing: {n} rows, batch_size {batch_size}")
    return full, rest


def order_given(order: Any, n: int) -> np.ndarray:
    """The order of an epoch's rows as a user's function gives it; the compiled loop does not check it again."""
    rows = np.asarray(order)
    if rows.ndim != 1 or not rows.size or rows.dtype.kind not in "iu":
        raise ShapeError("shuffle: the function must give the numbers of rows as integers along one axis; it gave "
                         f"{rows.dtype} {list(rows.shape)}")
    if rows.min() < 0 or rows.max() >= n:
        raise IndexRangeError(f"shuffle: the function gave row {rows.min() if rows.min() < 0 else rows.max()} of {n}")
    return np.ascontiguousarray(rows, np.int64)


def check_divides(accumulate: int, rows: int, what: str) -> None:
    """Refuse a batch that cannot be split into equal micro-batches."""
    if rows % accumulate:
        below = rows - rows % accumulate
        raise ShapeError(f"accumulate={accumulate}: {what} has {rows} rows, which do not split into "
                         f"{accumulate} equal micro-batches; use {f'{below} or ' if below else ''}"
                         f"{below + accumulate} rows")


def count(name: str, value: Any) -> int:
    """A positive integer given by a user."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ArgumentError(f"{name} must be a positive integer, not {value!r}")
    return int(value)
