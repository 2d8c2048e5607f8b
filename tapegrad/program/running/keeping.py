"""What a checkpoint of a run holds, and how a run goes on from one.

It holds the state in which the batches of one size that are under way were begun, and parameters, optimiser state and
buffers as they are after some of these batches. The run goes the same way again from there: it draws the same keys and
computes the same learning rates for all of these batches, and its loop begins behind those that are done.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from ...engine.random import restore_shared_streams, restore_streams, shared_streams, streams
from ...engine.storage import Changes
from ...engine.writers import Writing
from ...errors import DataError
from . import loop
from .fingerprints import Outside, begun_with, buffer_of, bytes_of, check_same, of_model, outside
from .protocols import Checkpointing, Training
from .source import Batches, Source, Stretch, copied

__all__ = ["Keeping", "NotKept", "Position", "Ran", "buffers_of"]


class Ran(NamedTuple):
    """Losses and learning rates of consecutive steps."""

    loss: np.ndarray
    lr: np.ndarray


@dataclass
class Position:
    """Where a run is.

    Attributes
    ----------
    epoch : int
    key : int or None
        Of the epoch's order; None before it is drawn.
    part : int
        Number, in the epoch, of the batches of one size.
    done : int
        Batches of this size that are done.
    place : object
        Of the source (see `Source.stretches`).
    ran : list of Ran
        The epoch's batches of other sizes, which are done.
    stopped : bool
        Whether the callback has ended the run.
    """

    epoch: int = 0
    key: int | None = None
    part: int = 0
    done: int = 0
    place: Any = None
    ran: list[Ran] = field(default_factory=list)
    stopped: bool = False


class NotKept:
    """The interface of `Keeping`, for a run of which nothing is kept."""

    def __enter__(self) -> NotKept:
        return self

    def __exit__(self, *error: Any) -> None:
        pass

    def start(self, record: Any) -> Position:
        """Where the run begins; puts the history so far into `record`."""
        return Position()

    def epoch_begins(self) -> None:
        """The order of an epoch is about to be drawn."""

    def same_order(self, key: int | None, order: np.ndarray) -> int | None:
        """The key of an order that a user's function has given, which must be the one of before, if any."""
        return None

    def restore(self, step: Any, size: str) -> bool:
        """Restore what only a recording knows, for batches of a size; returns whether that may have changed it."""
        return False

    def begin(self, step: Any, stretch: Stretch, position: Position, losses: np.ndarray) -> int:
        """Batches of one size begin; returns how many are done, whose losses it writes."""
        return 0

    def runs(self, row: np.ndarray) -> None:
        """A loop runs them, whose row tells how many are done."""

    def at(self, done: int) -> None:
        """So many of them are done, and a checkpoint may be written."""

    def ended(self) -> None:
        """Their loop has ended, or was interrupted."""

    def finish(self, position: Position) -> None:
        """The run is over."""


@dataclass
class _Present:
    """The batches of one size that are under way.

    It is replaced as a whole and asks the loop's row, for Ctrl-C may come between any two lines of Python.

    Attributes
    ----------
    step : Step
    losses : ndarray, shape (batches,)
    begun : dict
        The state at their beginning.
    before : int
        How many were done when the loop began, or when it ended.
    row : ndarray or None
        Of the loop, while it runs.
    """

    step: Any
    losses: np.ndarray
    begun: dict[str, Any]
    before: int
    row: np.ndarray | None = None

    @property
    def done(self) -> int:
        """How many are done."""
        return self.before if self.row is None else int(self.row[loop.DONE])


class Keeping(NotKept):
    """A run whose state is written to a checkpoint; as a context manager it holds the checkpoint's folder.

    Parameters
    ----------
    train : TrainStep
    checkpoint : Checkpointing
    source : Source
    rng : Generator or None
        That of the shuffling, if it is not the library's.
    settings : dict
        Of the run, by name; they must be the same when it goes on.
    callback : callable or None
        Its state is kept too, if it has `state_dict` and `load_state_dict`.
    """

    def __init__(self, train: Training, checkpoint: Checkpointing, source: Source, rng: np.random.Generator | None,
                 settings: dict[str, Any], callback: Any) -> None:
        self.train, self.checkpoint, self.source, self.rng = train, checkpoint, source, rng
        self.settings = settings
        self.callback = callback if hasattr(callback, "state_dict") and hasattr(callback, "load_state_dict") else None
        self.parameters = [p for group in train.optimizer.param_groups for p in group["params"]]
        self._present: _Present | None = None
        self._outside: dict[Any, Outside] = {}  # by recording
        self._changed: set[str] = set()
        self._late: dict[str, Any] | None = None  # what is to be restored when there is a recording
        # ranks draw from generators of their own; what is kept is one rank's
        self._shares = train.ranks is None
        self._shared: dict[str, Any] | None = None  # before the epoch's order was drawn
        source.kept = self._shares

    def __enter__(self) -> Keeping:
        self.saved = self.checkpoint.open()
        return self

    def __exit__(self, kind: Any = None, *error: Any) -> None:
        try:
            if kind is not None and issubclass(kind, (KeyboardInterrupt, SystemExit)) and self._present is not None:
                with Writing(self._present.step):
                    self._write(self._present, last=True)
        finally:
            self.checkpoint.close()

    # -------------------------------------------------------------- going on

    def start(self, record: Any) -> Position:
        """Where the run begins; checks that the checkpoint is one of this run, and restores it."""
        saved, optimizer = self.saved, self.train.optimizer
        self.record = record
        made = {"settings": self.settings, **begun_with(self.source, optimizer)}
        if saved is None:
            self.made: dict[str, Any] = {**made, "model": {}, "outside": {}}
            return Position()
        self.made = saved["made"]
        check_same(self.checkpoint.name, self.made, made)
        for p, trained, values in zip(self.parameters, saved["trained"], saved["parameters"]):
            if p.requires_grad != trained:
                p.requires_grad_(trained)
            p.copy_(values)
        groups = [{**group, "params": saved_of} for group, saved_of in zip(saved["groups"], _numbers(optimizer))]
        optimizer.load_state_dict({"state": saved["optimizer"], "param_groups": groups})
        optimizer.sync_hyperparameters()
        for schedule, state in zip(optimizer.schedulers, saved["schedules"]):
            schedule.load_state_dict(state)
        if self.callback is not None and saved["callback"] is not None:
            self.callback.load_state_dict(saved["callback"])
        restore_streams(saved["streams"])
        if self.rng is not None:
            self.rng.bit_generator.state = saved["generator"]
        record.restore(saved["history"])
        self._late = saved
        self._restore_shared()
        position = saved["position"]
        return Position(**{**position, "ran": [Ran(*ran) for ran in position["ran"]]})

    def _restore_shared(self) -> None:
        if self._shares and self.saved is not None and self.saved.get("shared") is not None:
            try:
                restore_shared_streams(self.saved["shared"])
            except DataError as error:
                raise DataError(f"{self.checkpoint.name}: {error}") from None

    def epoch_begins(self) -> None:
        """The order of an epoch is about to be drawn."""
        if self._shares:
            self._shared = shared_streams()

    def same_order(self, key: int | None, order: np.ndarray) -> int | None:
        """The key of an order that a user's function has given, which must be the one of before, if any."""
        found = zlib.crc32(order.data)
        if key not in (None, found):
            raise DataError(f"{self.checkpoint.name}: the function given as shuffle has another order for the epoch in "
                            "which the checkpoint was written: let its order depend on the epoch's number alone")
        return found

    def restore(self, step: Any, size: str) -> bool:
        """Restore what only a recording knows, for batches of a size; returns whether that may have changed it."""
        late = self._late
        if late is None:
            return False
        self._check_model(step, size)
        with Writing(step):
            if (buffers := late.pop("buffers", None)) is not None:
                _restore(self.checkpoint.name, step, buffers)
                return True
            if not (changed := late.pop("changed", {})):
                return False
            sources = self._outside_of(step).sources
            if not changed.keys() <= sources.keys():
                raise DataError(f"{self.checkpoint.name}: its checkpoint is of another model or loss, which reads more "
                                "constants")
            for k, array in changed.items():
                _overwrite(sources[k], array)
            self._changed = set(changed)
            return True

    def begin(self, step: Any, stretch: Stretch, position: Position, losses: np.ndarray) -> int:
        """Batches of one size begin; returns how many are done, whose losses it writes."""
        size = stretch.batches.name
        if step not in self._outside:
            if self._late is None:
                self.made["model"][size] = of_model(step)  # a callback may have changed it
            values = self._outside[step] = self._outside_of(step)
            known = self.made["outside"].setdefault(size, values.digests)
            differ = {k for k, digest in values.digests.items() if digest != known.get(k)}
            if self._late is not None and differ - self._changed:
                check_same(self.checkpoint.name, {"outside": known}, {"outside": values.digests})
            values.count_as_changed(differ)
        late, self._late = self._late, None
        if late is not None:
            losses[:position.done] = late["losses"]
        self._present = _Present(step, losses, self._state(position, stretch.place), position.done)
        if self.checkpoint.due():
            self._write(self._present)
        return position.done

    def _check_model(self, step: Any, size: str) -> None:
        """Raise unless a recording is the one that the checkpoint knows for batches of a size."""
        if (known := self.made["model"].get(size)) is not None:
            check_same(self.checkpoint.name, {"model": known}, {"model": of_model(step)})

    def _outside_of(self, step: Any) -> Outside:
        known = {p.buffer for p in self.parameters} | {buffer_of(source) for source, _ in buffers_of(step)}
        return outside(step, known)

    def runs(self, row: np.ndarray) -> None:
        """A loop runs them, whose row tells how many are done."""
        assert self._present is not None
        self._present.row = row

    def at(self, done: int) -> None:
        """So many are done; writes a checkpoint if the time has come."""
        present = self._present
        assert present is not None
        if self.checkpoint.due() and done < len(present.losses):  # at the end, the next begin with less to do again
            self._write(present)

    def ended(self) -> None:
        """Their loop has ended, or was interrupted."""
        assert self._present is not None
        self._present.before = self._present.done
        self._present.row = None

    def finish(self, position: Position) -> None:
        """The run is over: the last checkpoint says so."""
        if self._present is None:  # it was over before
            rows = int(next(iter(self.made["model"])).partition(",")[0])
            with closing(self.source.stretches([Batches(np.arange(rows) % len(self.source), rows, 1)])) as stretches:
                arrays = [a[:rows // self.train.accumulate] for a in next(stretches).arrays]
            while self.restore(self.train._step_for(arrays), str(rows)):
                pass
            self._restore_shared()
            return
        step = self._present.step
        self.epoch_begins()
        self._present = _Present(step, np.empty(0), self._state(position, self.source.place()), 0)
        with Writing(step):
            self._write(self._present, last=True)

    # -------------------------------------------------------------- what is kept

    def _state(self, position: Position, place: Any) -> dict[str, Any]:
        """What is kept as it is when batches of one size begin."""
        optimizer = self.train.optimizer
        return {
            "position": {"epoch": position.epoch, "key": position.key, "part": position.part, "place": place,
                         "ran": [tuple(ran) for ran in position.ran], "stopped": position.stopped},
            "trained": [bool(p.requires_grad) for p in self.parameters],
            "groups": [{key: copied(value) for key, value in group.items() if key != "params"}
                       for group in optimizer.param_groups],
            "schedules": [copied(schedule.state_dict()) for schedule in optimizer.schedulers],
            "callback": None if self.callback is None else copied(self.callback.state_dict()),
            "streams": streams(),
            "shared": self._shared,
            "generator": None if self.rng is None else dict(self.rng.bit_generator.state),
            "history": self.record.mark(),
        }

    def _write(self, present: _Present, last: bool = False) -> None:
        begun, done, state = present.begun, present.done, self.train.optimizer.state
        self.checkpoint.write({
            **begun,
            "position": {**begun["position"], "done": done},
            # the steps that are done have changed averages of parameters
            "schedules": [copied(s.state_dict()) if s.interval == "average" else before
                          for s, before in zip(self.train.optimizer.schedulers, begun["schedules"])],
            "history": self.record.state(begun["history"]),
            "steps": begun["history"][0] + sum(len(ran[0]) for ran in begun["position"]["ran"]) + done,
            "losses": present.losses[:done],
            "made": self.made,
            "parameters": [p._memory() for p in self.parameters],
            "optimizer": {k: state[p] for k, p in enumerate(self.parameters) if p in state},
            "buffers": [array for _, array in buffers_of(present.step)],
            "changed": self._outside[present.step].changed(),
        }, last)


def _numbers(optimizer: Any) -> list[list[int]]:
    """By group, the numbers of its parameters."""
    numbers = iter(range(sum(len(group["params"]) for group in optimizer.param_groups)))
    return [[next(numbers) for _ in group["params"]] for group in optimizer.param_groups]


def buffers_of(step: Any) -> list[tuple[Any, np.ndarray]]:
    """The buffers of the modules that a recording reaches, and other tensors that it overwrites itself."""
    found = [b for module, _ in step.conditions.looks for b in module._buffers.values() if b is not None]
    arrays = [(b, b._memory()) for b in dict.fromkeys(found)]
    covered = {b.buffer for b in found}
    program = step.program
    arrays += [(source, bytes_of(source)) for source in program.tape._externals
               if source in program.written and buffer_of(source) not in covered]
    return arrays


def _restore(name: str, step: Any, saved: Sequence[np.ndarray]) -> None:
    """Put saved values into the buffers of a recording."""
    ours = buffers_of(step)
    if [array.shape for _, array in ours] != [array.shape for array in saved]:
        raise DataError(f"{name}: its checkpoint is of another model, whose buffers have the shapes "
                        f"{[list(a.shape) for a in saved]}; here they are {[list(a.shape) for _, a in ours]}")
    for (target, _), values in zip(ours, saved):
        _overwrite(target, values)


def _overwrite(target: Any, values: np.ndarray) -> None:
    """Overwrite a tensor, or the bytes of a leaf or a buffer."""
    if hasattr(target, "copy_"):
        target.copy_(values)
    else:
        bytes_of(target)[...] = values
        Changes.mark(buffer_of(target))
