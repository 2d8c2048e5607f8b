"""`TrainStep`: forward, reverse and update recorded once and replayed as one compiled call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from ...engine.caller import user_line
from ...engine.storage import address_of
from ...engine.writers import Writing, turns, waiting, wake
from ...errors import ArgumentError, CaptureError, CopyError, GradientError, ShapeError
from ...tape.nodes import Leaf
from ...tape.state import state
from ...tensor.tensor import Tensor
from ..capture import Capture
from ..conditions import KEPT
from ..planning.budget import Budget, budget_bytes
from ..planning.report import MemoryReport, Rows
from ..ranks.communicator import Ranks, ranks_of
from ..ranks.reduction import elements_of_row, share_of
from .account import account
from .agreeing import begin_job
from .arguments import as_input, signature_of
from .auxiliary import Auxiliary, split
from .communication import Communication, communication_of
from .epochs import History, count, run_epochs, run_whole
from .nested import is_nested, is_number, leaves_of, over_leaves, with_rows
from .program import Program, scalar_seed
from .step import Step
from .timing import time_instructions


class TrainStep:
    """A training step: ``loss_fn`` recorded, differentiated and followed by the optimiser's update.

    Parameters
    ----------
    loss_fn : callable
        Over tensors, called as the step is: also by name, and with dicts and tuples of tensors; returns a scalar
        `Tensor`.
    optimizer : Optimizer
        Its parameters are trained; others are constants.
    accumulate : int, default 1
        Micro-batches into which a batch is split: forward and reverse run on one after the other, in the memory of
        one, and their gradients are averaged before the update (gradient accumulation). For a loss that is a mean over
        the rows that is the gradient of the whole batch, to rounding. Batch statistics are those of a micro-batch. The
        length of the batch must be a multiple.
    memory_budget : int or str, optional
        Limit of the step's memory in all (`MemoryReport.peak_bytes`), in bytes or as text such as ``"64MiB"``. What
        does not fit is rematerialised in the reverse walk, as little as possible; results are the same to the bit.
        `memory` says what that costs.
    has_aux : bool, default False
        `loss_fn` returns a pair: the loss, and tensors (or nested tuples, lists and dicts of them) that are wanted of
        a step beside it, such as predictions. A call returns ``(loss, aux)`` then, `aux` with NumPy arrays, computed
        with the parameters before the update; `run` leaves them out. Not with `accumulate` or `comm`.
    comm : mpi4py.MPI.Intracomm or "world", optional
        The processes that train the model together (``MPI.COMM_WORLD``, or "world" for it); all make the same calls
        with the same arrays. They begin with rank 0's parameters and random streams. Each runs on its share of the rows
        of every (micro-)batch, and one all-reduce a step sums gradients and losses, weighted by rows: for a loss that
        is a mean over the rows the result is that of one process, to rounding. Batch normalisation needs
        ``sync=True``. Needs mpi4py (``pip install 'tapegrad[mpi]'``).
    timeout : float, default 300.0
        Seconds after which a rank that the others wait for ends the job on all of them.
    bucket_bytes : int or str, optional
        With `comm`: gradients are sent in buckets of at most so many bytes (or text such as ``"1MiB"``), or of one
        parameter, each as soon as the reverse walk has ended its gradients, while the walk goes on. By default bounds
        are those that are predicted to end first, from a measurement of the network at the first step; a bucket for all
        where several would not (`explain_communication` tells). Sums of three ranks and more may round otherwise in
        other buckets: a number given makes runs repeat to the bit.
    compression : "bfloat16", optional
        With `comm`: gradients are rounded to bfloat16 to be sent, in half the bytes (a quarter of float64's), and
        summed in their own dtype; the sums are rounded once more. What rounding leaves, at most 1/256 of each number,
        is added to the gradients of the next step (error feedback, Seide et al., 2014), so it is late rather than lost;
        a checkpoint does not keep it. Rows of `sparse=True` tables, losses and statistics are not rounded.

    Notes
    -----
    Records anew when shapes or dtypes change, the set of frozen parameters, or anything that was assigned to an
    attribute of a module that `loss_fn` calls or refers to (modes, ``Dropout.p``, ``BatchNorm.eps``, a layer, a buffer,
    an attribute that ``forward`` reads), added to a container or taken out. Recordings of earlier signatures are kept,
    and up to 8 of each. Values of parameters and buffers are read anew at each step.

    Threads may call it at the same time: steps that write to the same parameters, gradients or running statistics run
    one after the other; those of other models run beside them.

    The guards do not see changes to: NumPy arrays and Python values that `loss_fn` reads from globals, from its closure
    or from objects that are no modules; the inside of an attribute (``self.weights[0] = 2.0`` of a list or an array;
    assign the attribute instead); class attributes; time, files and random numbers of NumPy and Python, of which a
    warning is given. They stay as they were when the step was recorded: pass them as inputs. Side effects of `loss_fn`
    (printing, counting, assigning attributes) happen while recording only.

    A copy or pickle is made of `loss_fn`, the optimiser with its state, and the options, and records anew. Python
    copies and pickles functions by name: where `loss_fn` closes over the model, or names a global one, make a step over
    the copied model; one that holds it (a module, a bound method, an object that is called) is copied with it.

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
                 memory_budget: int | str | None = None, has_aux: bool = False, comm: Any = None,
                 timeout: float = 300.0, bucket_bytes: int | str | None = None, compression: str | None = None) -> None:
        if not callable(loss_fn):
            raise ArgumentError(f"loss_fn must be a function of the batch, not {type(loss_fn).__name__}")
        if not hasattr(optimizer, "update_rows"):
            raise ArgumentError(f"optimizer must be one of tapegrad.optim, not {type(optimizer).__name__}")
        self.accumulate = count("accumulate", accumulate)
        self.memory_budget = None if memory_budget is None else budget_bytes(memory_budget)
        if has_aux and (self.accumulate > 1 or comm is not None):
            raise ArgumentError("has_aux=True goes with one whole batch a step: without accumulate= and comm=")
        if compression not in (None, "bfloat16"):
            raise ArgumentError(f"compression must be 'bfloat16' or None, not {compression!r}")
        most = None if bucket_bytes is None else budget_bytes(bucket_bytes, "bucket_bytes")
        self.loss_fn, self.optimizer, self.has_aux = loss_fn, optimizer, has_aux
        self._steps: dict[Any, list[Step]] = {}
        self._last: Step | None = None
        #: by structure of nested arguments a step over their leaves; the one that ran last, if it was such
        self._inner: dict[Any, TrainStep] = {}
        self._latest: TrainStep | None = None
        self.recordings = 0
        #: of the latest run, also after Ctrl-C
        self.history = History()
        #: the processes that train together, if there are several
        self.ranks = ranks_of(comm, timeout)
        if self.ranks is not None:
            self.ranks.bucket_bytes, self.ranks.compression = most, compression
            begin_job(self.ranks, loss_fn, optimizer, self._parameters(), self.accumulate)

    # -------------------------------------------------------------- recording

    def _step_for(self, arrays: Sequence[np.ndarray], settle: Callable[[], None] | None = None) -> Step:
        """The recording for such arguments; made if there is none, once `settle` has been called."""
        if state.capture is not None:
            raise CaptureError(f"{user_line()}: a TrainStep inside a recording")
        with Writing(self.optimizer):
            kept = self._steps.setdefault(signature_of(arrays), [])
            for step in kept:
                if step.conditions.hold():
                    step.prepare()
                    break
            else:
                if settle is not None:
                    settle()
                step = self._record(arrays)
                kept.append(step)
                del kept[:-KEPT]
            self._last = step
            return step

    def _parameters(self) -> list[Tensor]:
        return [p for group in self.optimizer.param_groups for p in group["params"]]

    @Capture.ends
    def _record(self, arrays: Sequence[np.ndarray]) -> Step:
        parameters = self._parameters()
        trained = [p for p in parameters if p.requires_grad]
        if not trained:
            raise GradientError("every parameter of the optimiser is frozen: there is nothing to train")
        self.optimizer.update_rows(trained)  # binds every trained parameter to the optimiser's memory
        dtype = self.optimizer.dtype
        each = () if self.ranks is None else self._drawn_by_rows(arrays, trained)
        with Capture(dtype, {p.node for p in trained}, self.loss_fn) as capture:
            capture.ranks = 0 if self.ranks is None else address_of(capture.ranks_table) // 8
            capture.each = each
            inputs = [capture.input(a.shape, dtype if a.dtype.kind == "f" else a.dtype) for a in arrays]
            returned, tree = split(self.loss_fn(*inputs), self.has_aux)
            loss, aux = scalar_seed(returned, "loss_fn"), Auxiliary(tree)
            if not (loss.is_symbolic and loss.requires_grad):
                raise GradientError("the loss does not depend on any parameter that the optimiser trains (a copied "
                                    "TrainStep has its own optimiser but the same loss_fn: one that closes over a "
                                    "model or names a global one still calls that model; make a TrainStep over the "
                                    "copied model)")
            budget = None if self.memory_budget is None else Budget(self.memory_budget, self.optimizer.state_nbytes)
            if budget is not None and capture.synchronised:
                raise ArgumentError("memory_budget= with comm= and batch normalisation: ranks whose shares of a batch "
                                    "differ would recompute different ones; leave memory_budget out, or mark what is "
                                    "to be recomputed by tg.checkpoint")
            program = Program(capture, inputs, [loss, *aux.tensors], loss, budget=budget, slope=1.0 / self.accumulate)
        leaves = {p.node: p.requires_grad for p in parameters if p.node is not None}
        leaves.update({leaf: leaf.requires_grad for leaf in capture.leaves if isinstance(leaf, Leaf)})
        self.recordings += 1
        step = Step(program, signature_of(arrays), capture.conditions(leaves, parameters),
                    self.optimizer, parameters, self.accumulate, self.ranks)
        step.aux = aux
        return step

    def _drawn_by_rows(self, arrays: Sequence[np.ndarray], trained: Sequence[Tensor]) -> list[int]:
        """Of the random ops the elements of a row of the batch; 0 where they do not draw for its rows.

        Their shapes for a batch of one row more tell it.
        """
        dtype, drawn = self.optimizer.dtype, []
        for more in (0, 1):
            with Capture(dtype, {p.node for p in trained}) as capture:
                capture.ranks = address_of(capture.ranks_table) // 8
                self.loss_fn(*[capture.input((len(a) + more, *a.shape[1:]), dtype if a.dtype.kind == "f" else a.dtype)
                               for a in arrays])
            if not capture.drawn:
                return []
            drawn.append(capture.drawn)
        return [elements_of_row(one, other, len(arrays[0])) for one, other in zip(*drawn, strict=True)]

    def __reduce__(self) -> tuple[Any, ...]:
        if self.ranks is not None:
            raise CopyError("a TrainStep of several processes has no copies; make one over the copied optimizer")
        options: dict[str, Any] = {"accumulate": self.accumulate, "memory_budget": self.memory_budget,
                                   "has_aux": self.has_aux}
        return partial(type(self), **options), (self.loss_fn, self.optimizer), {"history": self.history}

    # -------------------------------------------------------------- one step

    def __call__(self, *arrays: Any, **named: Any) -> Any:
        """One step on one batch; returns the loss before the update, a float; with `has_aux` also the rest.

        Parameters
        ----------
        *arrays, **named : array_like, number, or a dict or tuple of them
            As `loss_fn` takes them. A list is an array.
        """
        step = self._last
        shared, plain = self.ranks is not None, self.accumulate == 1 and not self.has_aux
        if plain and step is not None and state.capture is None and not named and not shared:
            turns.count += 1
            try:
                if turns.count == 1:
                    turns.first = step
                    try:
                        if step.takes(arrays):
                            self._latest = None
                            step.prepare()
                            return step.once()
                    finally:
                        turns.first = None
                        if waiting:
                            wake()
            finally:
                turns.count -= 1
        by_rows = self.accumulate > 1 or shared
        if named or by_rows and any(map(is_number, arrays)) or any(map(is_nested, arrays)):
            return self._over_leaves(arrays, named, by_rows, lambda inner, leaves: inner(*leaves))
        self._latest = None
        batch = [as_input(a) for a in arrays]
        if self.accumulate > 1:
            return run_whole(self, batch)
        if self.ranks is not None:
            return self._on_share(self.ranks, batch)
        step = self._step_for(batch)
        with Writing(step):
            if turns.count > 1:  # another thread may have changed the optimiser meanwhile
                step.prepare()
            step.program.give(batch)
            loss = step.once()
            return (loss, step.aux.values(step.program)) if self.has_aux else loss

    def _over_leaves(self, args: Sequence[Any], named: dict[str, Any], by_rows: bool,
                     run: Callable[[TrainStep, list[Any]], Any]) -> Any:
        """`run` of a step over the leaves of nested arguments, and of the leaves."""
        leaves, structure = leaves_of(args, named)
        leaves, numbers = with_rows(leaves) if by_rows else (leaves, frozenset())
        inner = self._inner.get((structure, numbers))
        if inner is None:
            inner = object.__new__(type(self))
            inner.__dict__.update(self.__dict__, loss_fn=over_leaves(self.loss_fn, structure, numbers), _steps={},
                                  _last=None, _inner={}, _latest=None)
            inner = self._inner.setdefault((structure, numbers), inner)
        before, inner.history = inner.recordings, self.history
        try:
            return run(inner, leaves)
        finally:
            self._latest, self.history = inner, inner.history
            self.recordings += inner.recordings - before

    def _on_share(self, ranks: Ranks, batch: list[np.ndarray]) -> float:
        """One step on this rank's share of a batch, which all ranks are given whole."""
        rows = {len(a) if a.ndim else 0 for a in batch}
        if len(rows) != 1 or 0 in rows:
            raise ShapeError("with comm= every argument is a batch whose rows, along axis 0, the ranks share; shapes "
                             f"are {', '.join(str(list(a.shape)) for a in batch)}")
        share = share_of(ranks, rows.pop())
        first = min(share.first, share.of - 1)
        parts = [a[first:first + max(share.rows, 1)] for a in batch]
        step = self._step_for(parts)
        with Writing(step):
            step.prepare()
            step.take_share(share)
            step.program.give(parts)
            return step.once()

    # -------------------------------------------------------------- epochs

    def run(self, *arrays: Any, batch_size: int, epochs: int = 1, shuffle: bool | Callable[[int], Any] = True,
            seed: int | None = None, drop_last: bool = False, progress: bool = False,
            callback: Callable[[int, History], Any] | None = None, monitor: Any = None,
            checkpoint: Any = None, **named: Any) -> History:
        """Train for some epochs over the rows of arrays (axis 0) or of a dataset.

        Parameters
        ----------
        *arrays, **named : array_like, (n, ...), dicts and tuples of them, numbers, or one `tapegrad.data.Dataset`
            As `loss_fn` takes them, also by name; a number is the same for all batches. Arrays in memory are converted
            once to the parameters' dtype (integers to int64). A ``numpy.memmap`` is never read whole: rows are gathered
            where they lie in the file or, in another dtype, converted a few batches at a time; so are those of a
            dataset, on a thread of their own.
        batch_size : int
            With ``comm=`` the rows of all ranks together.
        epochs : int, default 1
            A run of several steps the schedules of the optimiser that were made without ``interval=`` after each epoch,
            unless `callback` does; see `optim.lr_scheduler.LRScheduler`.
        shuffle : bool or callable, default True
            A new order every epoch; or a function of the epoch's number that gives the numbers of its rows in their
            order. Some may be missing or repeat.
        seed : int, optional
            Of the order and of what a dataset draws; by default drawn from `manual_seed`'s stream.
        drop_last : bool, default False
            Leave out a last, smaller batch; else it is a signature of its own.
        progress : bool, default False
            Show a progress bar (needs the ``cli`` extra).
        callback : callable, optional
            Called with the epoch's number and the `History` so far; stops the run by returning True.
        monitor : Monitor, optional
            Looks into the run at the steps that it chooses; results stay the same to the bit.
        checkpoint : Checkpoint, optional
            Keeps the run's state in a folder, from which the same call goes on in another process. A function given
            as `shuffle` must then give the same order for the same epoch again.

        Returns
        -------
        History

        Raises
        ------
        KeyboardInterrupt
            Within about 50 ms of Ctrl-C; parameters are those after the last whole step, which a checkpoint has too.
        DataError
            The checkpoint cannot be read, or is of another run: says which.
        """
        if named or any([is_nested(a) or is_number(a) for a in arrays]):
            return self._over_leaves(arrays, named, True, lambda inner, leaves: inner.run(
                *leaves, batch_size=batch_size, epochs=epochs, shuffle=shuffle, seed=seed, drop_last=drop_last,
                progress=progress, callback=callback, monitor=monitor, checkpoint=checkpoint))
        self._latest = None
        return run_epochs(self, arrays, batch_size, epochs, shuffle, seed, drop_last, progress, callback, monitor,
                          checkpoint)

    # -------------------------------------------------------------- inspection

    @property
    def tape(self) -> Any:
        """The latest recording; prints as the listing."""
        return self._recorded().program.tape

    def _recorded(self) -> Step:
        if self._latest is not None:
            return self._latest._recorded()
        if self._last is None:
            raise GradientError("nothing is recorded yet: call step(...) or step.run(...) first")
        return self._last

    def memory(self) -> MemoryReport:
        """Memory of the latest recording, by purpose, in bytes.

        Where parameters are frozen, `loss_fn` is recorded (not computed) once more to plan the same step with all of
        them trained; see `MemoryReport.unfrozen`.
        """
        if self._latest is not None:
            return self._latest.memory()
        step = self._recorded()
        if step.report is None:
            step.report = account(step.program, self.optimizer.state_nbytes, self._unfrozen(step))
        return step.report

    def explain_communication(self) -> Communication:
        """How the latest recording's gradients are sent to the other ranks: the plan, and what the last step took.

        Each rank may call it alone. It prints; `Communication.plot` draws it.

        Raises
        ------
        GradientError
            No step has been made yet.
        """
        if self._latest is not None:
            return self._latest.explain_communication()
        return communication_of(self._recorded())

    def profile(self, *arrays: Any, seconds: float = 0.5, **named: Any) -> Rows:
        """Microseconds of each instruction, forward and in reverse, on a batch (or micro-batch), without updates.

        Parameters
        ----------
        *arrays, **named : array_like
            As `loss_fn` takes them.
        seconds : float, default 0.5
            About how long to measure.

        Returns
        -------
        Rows
            Prints as a table, iterates over its rows as dicts.
        """
        if named or any(map(is_nested, arrays)):
            return self._over_leaves(arrays, named, False, lambda inner, leaves: inner.profile(
                *leaves, seconds=seconds))
        batch = [as_input(a) for a in arrays]
        step = self._step_for(batch)
        with Writing(step), step.alone():
            return time_instructions(step.program, batch, seconds)

    @Capture.ends
    def _unfrozen(self, step: Step) -> MemoryReport | None:
        """The plan of the same step with nothing frozen; None if nothing is frozen."""
        program = step.program
        capture = program.capture
        leaves = set(capture.leaves)
        for module in capture.modules.values():
            for p in module.parameters(recurse=False):
                if p.node is None:  # never trained: a leaf, so that its gradient can be wanted
                    p.requires_grad_(True).requires_grad_(False)
                leaves.add(p.node)
        if all(leaf.requires_grad for leaf in leaves):
            return None
        dtype = program.tape.dtype
        with Capture(dtype, leaves) as unfrozen:
            inputs = [unfrozen.input(t.shape, t.dtype) for t in program.inputs]
            loss = scalar_seed(split(self.loss_fn(*inputs), self.has_aux)[0], "loss_fn")
            plan = Program(unfrozen, inputs, [loss], loss, runs=False)
        trained = sum(leaf.nbytes for leaf in program.reached)
        more = sum(leaf.nbytes for leaf in plan.reached) / max(trained, 1)
        return account(plan, round(self.optimizer.state_nbytes * more))
