"""The recording of one signature of a training step, with its update rows and its loop."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from ...engine.language import bits
from ...engine.ranks import NOT_SUMMED
from ...engine.storage import Changes, Written, address_of
from ...engine.threads.team import at_most, team_address
from ...engine.walks import walk
from ...tape.state import Forgotten, Modes
from ...tensor.tensor import Tensor
from ..conditions import Conditions
from ..planning.report import MemoryReport
from ..ranks.exchange import Exchange
from ..ranks.reduction import Reduction, Share
from . import loop
from .arguments import Signature
from .auxiliary import Auxiliary
from .fingerprints import digest_of
from .pace import Pace
from .program import Program
from .sends import Sends, ends_of

_UPDATE_PART, _UPDATE_PARTS = 1 << 13, 32  # elements of a part of the updates at least, and parts at most


class Step:
    """The recording of one signature, with its update rows."""

    def __init__(self, program: Program, signature: Signature, conditions: Conditions, optimizer: Any,
                 parameters: list[Tensor], micro: int, ranks: Any = None,
                 reduction: Reduction | None = None) -> None:
        self.program, self.conditions, self.optimizer = program, conditions, optimizer
        self.signature, self.parameters, self.micro = signature, parameters, micro
        reached = set(program.reached)
        self.active = tuple([p for p in parameters if p.node in reached])
        #: buffers that it writes, by which threads take turns
        self.written = optimizer.written | program.written
        tape, seed = program.tape, program.seed
        self.dtype = tape.dtype
        size = self.dtype.itemsize
        row = self.row = np.zeros(loop.ROW_WORDS, np.int64)
        self.address = address_of(row)
        row[loop.TAPE] = tape._header_address // 8
        row[loop.LOSS] = int(tape._value[seed.node.variable]) // size
        self.draws = program.capture.draws
        row[loop.RANDOM] = address_of(program.capture.random_state) // 8 if self.draws else 0
        row[loop.LAST] = 1
        row[loop.MICRO], row[loop.SHARE] = micro, bits(1.0 / micro)
        if micro > 1:
            self.adding = program.adding_header()
            row[loop.ADDING] = address_of(self.adding[0]) // 8
        self.update_header = np.zeros(walk.HEADER_WORDS, np.int64)
        self.row[loop.UPDATES] = address_of(self.update_header) // 8
        self.layout = -1
        self.report: MemoryReport | None = None
        self.rates = np.empty(0)
        self.aux = Auxiliary(None)
        self.chunk = 1  # steps of a run at a time, tuned by what they took so far
        self.pace = Pace()
        self.inputs = program._input_arrays()
        self._kinds = [(target, *kind) for target, kind in zip(self.inputs, signature)]
        self._written = Written([p.node.buffer for p in self.active])
        self._forgotten = -1
        self.loss = program.array(seed).reshape(())
        if reduction is None and ranks is not None:
            reduction = Reduction(ranks, [p.node for p in self.active], self.dtype, row, loop.DONE, digest_of(self),
                                  max(1, micro - 1))
            program.ranks_table[:] = reduction.address
        self.reduction = reduction
        self._exchange: Exchange | None = None
        self._sends: Sends | None = None
        self._walk = loop.TRAIN_STEPS.bound(self.address, self.dtype)
        self.prepare()

    def keeping(self) -> Step:
        """The same step, whose values and adjoints stay until its next run (see `Program.keeping`)."""
        kept = Step(self.program.keeping(), self.signature, self.conditions, self.optimizer, self.parameters,
                    self.micro, None, self.reduction)
        kept.aux = self.aux
        return kept

    def _sum_over_ranks(self, reduction: Reduction) -> None:
        """Have the loop sum gradients and losses over the ranks, of which parts begin in the reverse walk."""
        program, exchange = self.program, reduction.exchange
        if exchange is None:
            _, ends, clock = ends_of(program, reduction.dense)
            exchange = reduction.agree(ends, float(clock[-1]))
        self._exchange = exchange
        self.row[loop.REDUCE] = reduction.address
        self.row[loop.SUMMED] = address_of(exchange.tail) // self.dtype.itemsize
        self.loss = exchange.tail[:1].reshape(())
        sends, before = Sends(program, reduction.dense, exchange.plan.bucket_of, reduction.address), self._sends
        if sends.tasks or before is not None and before.tasks:
            if self.micro > 1:  # in the last of them
                self.adding = program.adding_header(sends.tasks)
                self.row[loop.ADDING] = address_of(self.adding[0]) // 8
            else:
                program.insert(sends.tasks)
        self._sends = sends

    def take_share(self, share: Share | None) -> None:
        """Weigh the next batches as a rank's share of batches, and make ready for sums over the ranks."""
        reduction = self.reduction
        if share is not None and reduction is not None:
            if self._exchange is None or self._exchange is not reduction.exchange:
                self._sum_over_ranks(reduction)
            reduction.begin()
            reduction.share = share
            self.program.random_state[2:5] = share.first, share.of, max(share.rows, 1)
            weight = share.weight / self.micro
            self.program.weigh(weight)
            if self.micro > 1:
                self.adding[2].weigh(weight)
            self.row[loop.SHARE] = bits(weight)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Let walks send no gradients to other ranks."""
        reduction = self.reduction
        if reduction is not None:
            reduction.silent = True
        try:
            yield
        finally:
            if reduction is not None:
                reduction.silent = False

    def prepare(self) -> None:
        """Take over the user's changes to the optimiser."""
        if self.optimizer.settle() != self.layout:
            rows = self.rows = self.optimizer.update_rows(self.active)
            self.layout = rows.layout
            header = self.update_header
            header[walk.FORWARD_TABLE], header[walk.ADJOINT_TABLE] = walk.TABLES[self.dtype]
            header[walk.OPCODE], header[walk.START] = address_of(rows.opcodes) // 8, address_of(rows.starts) // 8
            header[walk.WORDS], header[walk.END] = address_of(rows.words) // 8, len(rows.opcodes)
            self.rate_words = address_of(rows.words) // 8 + rows.lr_words.astype(np.int64)
            self.rate_columns = np.ascontiguousarray(rows.lr_groups, np.int64)
            self.row[loop.RATE_WORDS] = address_of(self.rate_words) // 8
            self.row[loop.RATE_COLUMNS] = address_of(self.rate_columns) // 8
            self._share(rows)
            self.listed = any(leaf.touched is not None for leaf in self.program.reached)
            if self.reduction is not None and self.reduction.planned_anew():
                self._exchange = None
        if self.listed:
            self.program.begin_lists()

    def _share(self, rows: Any) -> None:
        """Split the updates among threads if the parameters are large enough."""
        row, header, dtype = self.row, self.update_header, self.dtype
        parts = 1 if rows.after else min(rows.elements // _UPDATE_PART, _UPDATE_PARTS)
        row[loop.UPDATE_WALK] = (walk.SHARED_UPDATES if parts > 1 else walk.FORWARD_WALK).address(dtype)
        if parts > 1:
            header[walk.TEAM], header[walk.PARTS] = team_address(dtype), parts
            header[walk.PART_KERNEL] = walk.UPDATE_PART.address(dtype)
            header[walk.UPDATES], header[walk.ELEMENTS] = len(rows.opcodes) - rows.updates, rows.elements
            header[walk.COUNT], header[walk.WHOLE], header[walk.WIDTH] = rows.count_word, rows.whole_word, rows.width

    def takes(self, arguments: Sequence[Any]) -> bool:
        """Copy arguments in and return True, if they are arrays of this signature and the guards hold."""
        if len(arguments) != len(self._kinds) or self.conditions.seen != Modes.changes and not self.conditions.hold():
            return False
        for given, (target, shape, dtype) in zip(arguments, self._kinds):
            if type(given) is not np.ndarray or given.dtype is not dtype or given.shape != shape:
                return False
            target[...] = given
        return True

    def once(self) -> float:
        """One step on the present inputs; returns its loss."""
        if self.draws:
            self.program.draw()
        self.row[loop.DONE] = 0
        if not self.optimizer.schedulers:
            self.run()
            return float(self.loss)
        self.set_rates(1)
        try:
            self.run()
        finally:
            self.advance(int(self.row[loop.DONE]))
        return float(self.loss)

    def run(self, steps: int = 1) -> None:
        """Run the `steps` steps that the row names. Gradients stay readable as ``.grad``."""
        began = time.perf_counter()
        if self.pace.alone:
            with at_most(1, self.dtype):
                status = self._walk()
        else:
            status = self._walk()
        self.pace.took(steps, time.perf_counter() - began)
        Changes.mark_together(self._written)
        if self._forgotten != Forgotten.count:
            self._forgotten = Forgotten.count
            for p in self.active:
                p.node.gradient = p.node.home
        if status:
            if self.reduction is not None:
                self.reduction.abandon()
                if status == NOT_SUMMED:
                    raise self.reduction.taken()
            self.program.fail(status)

    @property
    def _scheduled(self) -> bool:
        """Whether learning rates change from step to step."""
        schedulers = self.optimizer.schedulers
        return bool(schedulers) and any(s.interval == "step" for s in schedulers)

    def set_rates(self, count: int) -> None:
        """Write the next steps' learning rates for the loop."""
        if not self._scheduled:  # constant rates are in the rows
            return
        rates = np.ascontiguousarray(self.optimizer.upcoming_lrs(count), np.float64)
        self.row[loop.RATES], self.row[loop.COLUMNS] = address_of(rates) // 8, rates.shape[1]
        self.row[loop.RATE_COUNT] = len(self.rate_words)
        self.rates = rates  # kept alive while the loop runs

    def rates_of(self, count: int) -> np.ndarray:
        """The first parameter group's learning rates in the `count` steps after `set_rates`."""
        if self._scheduled:
            return self.rates[:count, 0]
        return np.full(count, float(self.optimizer.param_groups[0].get("lr", np.nan)))

    def advance(self, count: int) -> None:
        """Advance the schedules by `count` steps, and make the row that of a single step again."""
        row = self.row
        row[loop.FIRST], row[loop.LAST] = 0, 1
        row[loop.INDEX] = row[loop.LOSSES] = row[loop.RATE_COUNT] = row[loop.WATCH] = 0
        if self._scheduled:
            self.optimizer.advance_steps(count)
