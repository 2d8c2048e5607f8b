"""`TrainStep`: forward, reverse and update recorded once and replayed as one compiled call; epochs of it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..engine import walk
from ..engine.jit import bits
from ..engine.storage import Changes, address_of
from ..errors import ArgumentError, CaptureError, GradientError, ShapeError
from ..memory import MemoryReport, Rows
from ..random import generator
from ..state import state
from ..tape import Leaf
from ..tensor import Tensor, user_line
from . import loop
from .account import account
from .arguments import Conditions, as_input, signature_of
from .capture import Capture
from .program import Program, scalar_seed
from .timing import time_instructions

_CHUNK_SECONDS = 0.05


@dataclass
class History:
    """What a run of epochs left behind.

    Attributes
    ----------
    loss : ndarray of the step's dtype
        The loss of every step, before its update.
    epoch : ndarray of int
        The epoch of every step.
    seconds : float
        Time spent in all.
    samples : int
        Rows that were stepped over.
    """

    loss: np.ndarray = field(default_factory=lambda: np.empty(0))
    epoch: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    seconds: float = 0.0
    samples: int = 0

    def __len__(self) -> int:
        return len(self.loss)

    def epoch_loss(self) -> np.ndarray:
        """Mean loss of each epoch."""
        return np.array([self.loss[self.epoch == e].mean() for e in np.unique(self.epoch)])


class _Step:
    """The recording of one signature, with its update rows."""

    def __init__(self, program: Program, conditions: Conditions, optimizer: Any, parameters: list[Tensor],
                 micro: int) -> None:
        self.program, self.conditions, self.optimizer = program, conditions, optimizer
        reached = set(program.reached)
        self.active = [p for p in parameters if p.node in reached]
        tape, seed = program.tape, program.seed
        self.dtype = tape.dtype
        size = self.dtype.itemsize
        row = self.row = np.zeros(loop.ROW_WORDS, np.int64)
        self.address = address_of(row)
        row[loop.FORWARD] = walk.FORWARD_WALK.address(self.dtype)
        row[loop.REVERSE] = walk.REVERSE_WALK.address(self.dtype)
        row[loop.UPDATE_WALK] = row[loop.FORWARD]
        row[loop.TAPE] = tape._header_address // 8
        row[loop.LOSS] = int(tape._value[seed.node.variable]) // size
        row[loop.SEED] = program.seed_at // size
        row[loop.RANDOM] = address_of(program.capture.random_state) // 8 if program.capture.draws else 0
        row[loop.MICRO], row[loop.SHARE] = micro, bits(1.0 / micro)
        if micro > 1:
            self.adding = program.adding_header()
            row[loop.ADDING] = address_of(self.adding[0]) // 8
        self.update_header = np.zeros(walk.HEADER_WORDS, np.int64)
        self.row[loop.UPDATES] = address_of(self.update_header) // 8
        self.layout = -1
        self.report: MemoryReport | None = None
        self.rates = np.empty(0)
        self.inputs = program._input_arrays()
        self.loss = program.array(seed).reshape(())
        self.prepare()
        loop.TRAIN_STEPS.address(self.dtype)

    def prepare(self) -> None:
        """Take over changes that the user made to the optimiser."""
        optimizer = self.optimizer
        rows = optimizer.update_rows(self.active)
        if optimizer.layout != self.layout:
            self.rows, self.layout = rows, rows.layout
            header = self.update_header
            header[walk.FORWARD_TABLE] = address_of(walk.FORWARD[self.dtype]) // 8
            header[walk.OPCODE], header[walk.START] = address_of(rows.opcodes) // 8, address_of(rows.starts) // 8
            header[walk.WORDS], header[walk.END] = address_of(rows.words) // 8, len(rows.opcodes)
            self.rate_words = address_of(rows.words) // 8 + rows.lr_words.astype(np.int64)
            self.rate_columns = np.ascontiguousarray(rows.lr_groups, np.int64)
            self.row[loop.RATE_WORDS] = address_of(self.rate_words) // 8
            self.row[loop.RATE_COLUMNS] = address_of(self.rate_columns) // 8

    def run(self, first: int, last: int) -> int:
        """Run steps; returns the number done. Gradients stay readable as ``.grad``."""
        row = self.row
        row[loop.FIRST], row[loop.LAST] = first, last
        status = loop.TRAIN_STEPS(self.address, self.dtype)
        for parameter in self.active:
            leaf = parameter.node
            leaf.gradient = leaf.home
            Changes.mark(leaf.buffer)
        if status:
            self.program.tape.fail(int(self.program.tape._header[walk.FAILED]), status)
        return last - first


class TrainStep:
    """A training step: ``loss_fn`` recorded, differentiated and followed by the optimiser's update.

    Parameters
    ----------
    loss_fn : callable
        Over as many tensors as the step is called with; returns a scalar `Tensor`.
    optimizer : Optimizer
        Its parameters are trained; others are constants.
    accumulate : int, default 1
        Micro-batches into which a batch is split: forward and reverse run on one after the other, in the memory of
        one, and their gradients are averaged before the update. For a loss that is a mean over the rows that is the
        gradient of the whole batch, to rounding. Batch statistics are those of a micro-batch. The length of the
        batch must be a multiple.
    memory_budget : int or str, optional
        The most bytes that activations may take.

    Notes
    -----
    Records anew when shapes, dtypes, a module's mode or the set of frozen parameters change, and keeps the recordings
    of earlier signatures.

    Examples
    --------
    >>> import numpy as np, tapegrad as tg
    >>> from tapegrad import nn, optim
    >>> tg.manual_seed(0)
    >>> model = nn.Linear(2, 1)
    >>> step = tg.TrainStep(lambda x, y: ((model(x) - y) ** 2).mean(), optim.SGD(model.parameters(), lr=0.1))
    >>> x = np.random.default_rng(0).normal(size=(64, 2))
    >>> y = x @ [[2.0], [-3.0]]
    >>> history = step.run(x, y, batch_size=16, epochs=50, seed=0)
    >>> bool(history.loss[-1] < 1e-4)
    True
    """

    def __init__(self, loss_fn: Callable[..., Tensor], optimizer: Any, *, accumulate: int = 1,
                 memory_budget: int | str | None = None) -> None:
        if not callable(loss_fn):
            raise ArgumentError(f"loss_fn must be a function of the batch, not {type(loss_fn).__name__}")
        if not hasattr(optimizer, "update_rows"):
            raise ArgumentError(f"optimizer must be one of tapegrad.optim, not {type(optimizer).__name__}")
        self.accumulate = _count("accumulate", accumulate)
        if memory_budget is not None:
            raise ArgumentError("memory_budget: not available yet")
        self.loss_fn, self.optimizer = loss_fn, optimizer
        self._steps: dict[Any, list[_Step]] = {}
        self._last: _Step | None = None
        self.recordings = 0
        #: of the run that was last begun, also after Ctrl-C
        self.history = History()

    # -------------------------------------------------------------- recording

    def _step_for(self, arrays: Sequence[np.ndarray]) -> _Step:
        """The recording for arguments like these, made if there is none."""
        if state.capture is not None:
            raise CaptureError(f"{user_line()}: a TrainStep inside a recording")
        kept = self._steps.setdefault(signature_of(arrays), [])
        for step in kept:
            if step.conditions.hold():
                step.prepare()
                break
        else:
            step = self._record(arrays)
            kept.append(step)
        self._last = step
        return step

    def _parameters(self) -> list[Tensor]:
        return [p for group in self.optimizer.param_groups for p in group["params"]]

    def _record(self, arrays: Sequence[np.ndarray]) -> _Step:
        parameters = self._parameters()
        trained = [p for p in parameters if p.requires_grad]
        if not trained:
            raise GradientError("every parameter of the optimiser is frozen: there is nothing to train")
        self.optimizer.update_rows(trained)  # gives every trained parameter its home
        dtype = self.optimizer.dtype
        with Capture(dtype, {p.node for p in trained}) as capture:
            inputs = [capture.input(a.shape, dtype if a.dtype.kind == "f" else a.dtype) for a in arrays]
            loss = scalar_seed(self.loss_fn(*inputs), "loss_fn")
            if not (loss.is_symbolic and loss.requires_grad):
                raise GradientError("the loss does not depend on any parameter that the optimiser trains")
            program = Program(capture, inputs, [loss], loss)
        leaves = {p.node: p.requires_grad for p in parameters if p.node is not None}
        leaves.update({leaf: leaf.requires_grad for leaf in capture.leaves if isinstance(leaf, Leaf)})
        self.recordings += 1
        return _Step(program, Conditions(list(capture.modules.values()), leaves), self.optimizer, parameters,
                     self.accumulate)

    # -------------------------------------------------------------- one step

    def __call__(self, *arrays: Any) -> float:
        """One step on one batch; returns the loss before the update."""
        batch = [as_input(a) for a in arrays]
        if self.accumulate > 1:
            return self._split_step(batch)
        step = self._step_for(batch)
        for target, source in zip(step.inputs, batch):
            target[...] = source
        step.program.draw()
        step.row[loop.INDEX] = step.row[loop.LOSSES] = 0
        self._set_rates(step, 1)
        step.run(0, 1)
        self._advance(1)
        return float(step.loss)

    def _split_step(self, batch: Sequence[np.ndarray]) -> float:
        """One step on a batch that is split into micro-batches."""
        data, n = self._data(batch)
        self._check_divides(n, "the batch")
        losses: list[np.ndarray] = []
        self._run_part(data, np.arange(n, dtype=np.int64), n, 1, losses, _NoBar())
        return float(losses[0][0])

    def _check_divides(self, rows: int, what: str) -> None:
        if rows % self.accumulate:
            below = rows - rows % self.accumulate
            raise ShapeError(f"accumulate={self.accumulate}: {what} has {rows} rows, which do not split into "
                             f"{self.accumulate} equal micro-batches; use {f'{below} or ' if below else ''}"
                             f"{below + self.accumulate} rows")

    @property
    def _scheduled(self) -> bool:
        """Whether learning rates change from step to step."""
        return any(s.interval == "step" for s in self.optimizer.schedulers)

    def _advance(self, count: int) -> None:
        """Move the schedules on by `count` steps."""
        if self._scheduled:
            self.optimizer.advance_steps(count)

    def _set_rates(self, step: _Step, count: int) -> None:
        """Write the next steps' learning rates where the loop reads them."""
        if not self._scheduled:  # the rows hold the present rates
            step.row[loop.RATE_COUNT] = 0
            return
        rates = np.ascontiguousarray(self.optimizer.upcoming_lrs(count), np.float64)
        step.row[loop.RATES], step.row[loop.COLUMNS] = address_of(rates) // 8, rates.shape[1]
        step.row[loop.RATE_COUNT] = len(step.rate_words)
        step.rates = rates  # kept alive while the loop runs

    # -------------------------------------------------------------- epochs

    def run(self, *arrays: Any, batch_size: int, epochs: int = 1, shuffle: bool = True, seed: int | None = None,
            drop_last: bool = False, progress: bool = False,
            callback: Callable[[int, History], Any] | None = None) -> History:
        """Train for some epochs over arrays that are split along axis 0.

        Parameters
        ----------
        *arrays : array_like, (n, ...)
            As `loss_fn` takes them. Float data of another dtype than the parameters' is converted once.
        batch_size : int
        epochs : int, default 1
        shuffle : bool, default True
            A new order every epoch.
        seed : int, optional
            Of the order; by default drawn from `manual_seed`'s stream.
        drop_last : bool, default False
            Leave out a last, smaller batch; else it is a signature of its own.
        progress : bool, default False
            Show a progress bar (needs the ``cli`` extra).
        callback : callable, optional
            Called with the epoch's number and the `History` so far; stops the run by returning True.

        Returns
        -------
        History

        Raises
        ------
        KeyboardInterrupt
            Within about 50 ms of Ctrl-C; parameters are those after the last whole step.
        """
        data, n = self._data(arrays)
        batch_size, epochs = _count("batch_size", batch_size), _count("epochs", epochs)
        full, rest = divmod(n, batch_size)
        rest = 0 if drop_last else rest
        if full:
            self._check_divides(batch_size, "a batch (batch_size)")
        if rest:
            self._check_divides(rest, f"the last batch of {n} rows by {batch_size} (or leave it out: drop_last=True)")
        if full == 0 and rest == 0:
            raise ArgumentError(f"drop_last leaves nothing: {n} rows, batch_size {batch_size}")
        rng = np.random.default_rng(seed) if seed is not None else generator()
        history = self.history = History()
        began = time.perf_counter()
        losses: list[np.ndarray] = []
        order = np.arange(n, dtype=np.int64)
        with _progress_bar(progress, epochs * (full + (rest > 0))) as bar:
            for epoch in range(epochs):
                if shuffle:
                    order = rng.permutation(n)
                parts = [(order[:full * batch_size], batch_size, full)] if full else []
                if rest:
                    parts.append((order[full * batch_size:full * batch_size + rest], rest, 1))
                of_epoch: list[np.ndarray] = []
                try:
                    for index, size, steps in parts:
                        self._run_part(data, index, size, steps, of_epoch, bar)
                finally:
                    losses += of_epoch
                    done = int(sum(map(len, losses)))
                    history.loss = np.concatenate(losses) if losses else history.loss
                    history.epoch = np.append(history.epoch, np.full(done - len(history.epoch), epoch))
                    history.samples += sum(min(len(part), steps) * size
                                           for part, (_, size, steps) in zip(of_epoch, parts))
                    history.seconds = time.perf_counter() - began
                mean = float(np.concatenate(of_epoch).mean())
                self.optimizer.advance("epoch", metric=mean)
                bar.describe(epoch, mean)
                if callback is not None and callback(epoch, history):
                    break
        return history

    def _data(self, arrays: Sequence[Any]) -> tuple[list[np.ndarray], int]:
        if not arrays:
            raise ArgumentError("run needs at least one array")
        data = [as_input(a) for a in arrays]
        lengths = {a.shape[0] if a.ndim else None for a in data}
        if None in lengths or len(lengths) != 1:
            raise ShapeError("run: arrays must have the same length along axis 0; shapes are "
                             + ", ".join(str(list(a.shape)) for a in data))
        n = lengths.pop()
        if not n:
            raise ArgumentError("run: the arrays are empty")
        dtype = self.optimizer.dtype
        return [np.ascontiguousarray(a, dtype if a.dtype.kind == "f" else a.dtype) for a in data], n

    def _run_part(self, data: list[np.ndarray], index: np.ndarray, size: int, steps: int,
                  losses: list[np.ndarray], bar: Any) -> None:
        """Run batches of one size, in chunks of about 50 ms."""
        rows = size // self.accumulate
        step = self._step_for([a[:rows] for a in data])
        index = np.ascontiguousarray(index)
        table = np.array([[address_of(a), address_of(t), a.nbytes // max(len(a), 1)]
                          for a, t in zip(data, step.inputs)], np.int64)
        loss = np.empty(steps, step.dtype)
        row = step.row
        row[loop.INDEX], row[loop.BATCH], row[loop.INPUTS] = address_of(index) // 8, rows, len(data)
        row[loop.TABLE], row[loop.LOSSES] = address_of(table) // 8, address_of(loss) // step.dtype.itemsize
        step.program.draw()
        self._set_rates(step, steps)
        done, chunk = 0, 1
        row[loop.DONE] = 0
        try:
            while done < steps:
                began = time.perf_counter()
                last = min(done + chunk, steps)
                step.run(done, last)
                bar.advance(last - done)
                seconds = time.perf_counter() - began
                done = last
                chunk = max(1, min(4 * chunk, math.ceil(chunk * _CHUNK_SECONDS / max(seconds, 1e-9))))
        finally:
            finished = int(row[loop.DONE])
            losses.append(loss[:finished])
            self._advance(finished)

    # -------------------------------------------------------------- inspection

    @property
    def tape(self) -> Any:
        """The recording that ran last; prints as the listing."""
        return self._recorded().program.tape

    def _recorded(self) -> _Step:
        if self._last is None:
            raise GradientError("nothing is recorded yet: call step(...) or step.run(...) first")
        return self._last

    def memory(self) -> MemoryReport:
        """What the recording that ran last needs, by purpose, in bytes.

        Where parameters are frozen, `loss_fn` is recorded (not computed) once more to plan the same step with all of
        them trained; see `MemoryReport.unfrozen`.
        """
        step = self._recorded()
        if step.report is None:
            step.report = account(step.program, self.optimizer.state_nbytes, self._unfrozen(step))
        return step.report

    def profile(self, *arrays: Any, seconds: float = 0.5) -> Rows:
        """Microseconds of each instruction, forward and in reverse, on a batch (or micro-batch), without updates.

        Parameters
        ----------
        *arrays : array_like
            As `loss_fn` takes them.
        seconds : float, default 0.5
            About how long to measure.

        Returns
        -------
        Rows
            Prints as a table, iterates over its rows as dicts.
        """
        batch = [as_input(a) for a in arrays]
        return time_instructions(self._step_for(batch).program, batch, seconds)

    def _unfrozen(self, step: _Step) -> MemoryReport | None:
        """The plan of the same step with nothing frozen; None if nothing is."""
        program = step.program
        capture = program.capture
        leaves = set(capture.leaves)
        for module in capture.modules.values():
            for p in module.parameters(recurse=False):
                if p.node is None:  # never trained: a leaf so that it can be wanted
                    p.requires_grad_(True).requires_grad_(False)
                leaves.add(p.node)
        if all(leaf.requires_grad for leaf in leaves):
            return None
        dtype = program.tape.dtype
        with Capture(dtype, leaves) as unfrozen:
            inputs = [unfrozen.input(t.shape, t.dtype) for t in program.inputs]
            loss = scalar_seed(self.loss_fn(*inputs), "loss_fn")
            plan = Program(unfrozen, inputs, [loss], loss, runs=False)
        trained = sum(leaf.nbytes for leaf in program.reached)
        more = sum(leaf.nbytes for leaf in plan.reached) / max(trained, 1)
        return account(plan, round(self.optimizer.state_nbytes * more))


def _count(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ArgumentError(f"{name} must be a positive integer, not {value!r}")
    return int(value)


class _NoBar:
    """A progress bar that is not shown."""

    def __enter__(self) -> _NoBar:
        return self

    def __exit__(self, *error: Any) -> None:
        pass

    def advance(self, steps: int) -> None:
        """Some steps are done."""

    def describe(self, epoch: int, loss: float) -> None:
        """An epoch is over."""


class _RichBar(_NoBar):
    """A progress bar on the terminal."""

    def __init__(self, total: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._progress = Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
                                  TimeRemainingColumn(), console=Console(stderr=True))
        self._task = self._progress.add_task("training", total=total)

    def __enter__(self) -> _RichBar:
        self._progress.start()
        return self

    def __exit__(self, *error: Any) -> None:
        self._progress.stop()

    def advance(self, steps: int) -> None:
        self._progress.advance(self._task, steps)

    def describe(self, epoch: int, loss: float) -> None:
        self._progress.update(self._task, description=f"epoch {epoch + 1}  loss {loss:.4g}")


def _progress_bar(shown: bool, total: int) -> _NoBar:
    if not shown:
        return _NoBar()
    try:
        return _RichBar(total)
    except ImportError:
        from ..errors import MissingExtraError

        raise MissingExtraError("progress=True needs the rich package: pip install 'tapegrad[cli]'") from None
