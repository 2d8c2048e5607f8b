"""The recording of one signature of a training step, with the rows of its updates and of the compiled loop."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..engine import walk
from ..engine.jit import bits
from ..engine.storage import Changes, address_of
from ..memory import MemoryReport
from ..tensor import Tensor
from . import loop
from .arguments import Conditions
from .program import Program


class Step:
    """The recording of one signature, with its update rows."""

    def __init__(self, program: Program, conditions: Conditions, optimizer: Any, parameters: list[Tensor],
                 micro: int) -> None:
        self.program, self.conditions, self.optimizer = program, conditions, optimizer
        reached = set(program.reached)
        self.active = tuple([p for p in parameters if p.node in reached])
        tape, seed = program.tape, program.seed
        self.dtype = tape.dtype
        size = self.dtype.itemsize
        row = self.row = np.zeros(loop.ROW_WORDS, np.int64)
        self.address = address_of(row)
        row[loop.FORWARD] = walk.FORWARD_WALK.address(self.dtype)
        row[loop.REVERSE] = walk.SCHEDULED_WALK.address(self.dtype)
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
        self.program.begin_lists()
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
        count = Changes.count = Changes.count + 1
        for parameter in self.active:
            leaf = parameter.node
            leaf.gradient, leaf.buffer.version = leaf.home, count
        if status:
            self.program.tape.fail(int(self.program.tape._header[walk.FAILED]), status)
        return last - first

    @property
    def _scheduled(self) -> bool:
        """Whether learning rates change from step to step."""
        schedulers = self.optimizer.schedulers
        return bool(schedulers) and any(s.interval == "step" for s in schedulers)

    def set_rates(self, count: int) -> None:
        """Write the next steps' learning rates where the loop reads them."""
        if not self._scheduled:  # the rows hold the present rates
            self.row[loop.RATE_COUNT] = 0
            return
        rates = np.ascontiguousarray(self.optimizer.upcoming_lrs(count), np.float64)
        self.row[loop.RATES], self.row[loop.COLUMNS] = address_of(rates) // 8, rates.shape[1]
        self.row[loop.RATE_COUNT] = len(self.rate_words)
        self.rates = rates  # kept alive while the loop runs

    def advance(self, count: int) -> None:
        """Move the schedules on by `count` steps."""
        if self._scheduled:
            self.optimizer.advance_steps(count)
