"""A recording, planned and linked: ready to be replayed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...engine import poison
from ...engine.kernels import Kernel
from ...engine.lazy import lazy
from ...engine.random import dropout_key
from ...engine.storage import address_of, aligned_bytes, array_at
from ...engine.walks import walk
from ...engine.walks.watch import BROKEN_STATUS
from ...errors import TapegradError
from ...ops.table import OPS
from ...tape.bounds import check_operands
from ...tape.nodes import Leaf
from ...tape.sparse import link_lists
from ...tape.tape import Tape
from ...tensor.tensor import Tensor
from ..capture import Capture
from ..planning.budget import Budget, Plan, plan_within
from ..planning.liveness import layout_of, lives_of
from ..planning.masks import keep_masks
from ..planning.schedule import Event, Operands, rows_of, tree_of
from ..planning.strips import STRIPS, Forms, GroupRows
from ..planning.watch import Watch
from .binding import Place, places_of
from .tasks import Tasks


class Program:
    """A captured recording with its plan and its arena.

    Parameters
    ----------
    capture : Capture
    inputs : sequence of Tensor
        Symbolic tensors, in the order of the arguments.
    outputs : sequence of Tensor
        Results of the recording; symbolic or not.
    seed : Tensor, optional
        Scalar that the reverse walk starts from.
    gradients_of : sequence of Tensor
        Symbolic inputs whose adjoints are read afterwards.
    runs : bool, default True
        False for a plan only: nothing is allocated and nothing can be run.
    budget : Budget, optional
        Limit of its bytes; what does not fit is rematerialised in the reverse walk.
    slope : float, default 1.0
        The seed's adjoint (cotangent of the result).
    """

    def __init__(self, capture: Capture, inputs: Sequence[Tensor], outputs: Sequence[Tensor],
                 seed: Tensor | None = None, gradients_of: Sequence[Tensor] = (), runs: bool = True,
                 budget: Budget | None = None, slope: float = 1.0) -> None:
        self.runs, self.slope = runs, slope
        self.capture, self.tape = capture, capture.tape
        self.inputs, self.outputs = tuple(inputs), tuple(outputs)
        self.seed: Any = seed
        self.gradients_of = tuple(gradients_of)
        read = (*self.outputs, *(() if seed is None else (seed,)))
        capture.finish({t.node.variable for t in read if t.is_symbolic})
        self.reached: list[Leaf] = []
        self.count, self.end = self.tape.count, 0
        if seed is not None:
            self._plan_reverse()
        operands = Operands(self.tape, self.count)
        self.forms = Forms(self.tape, self.count)
        plan = self._plan(operands, budget)
        self.events, self.lives, self.layout, self.extra = plan.events, plan.lives, plan.layout, plan.extra
        self.times = self.lives.times
        #: by time, the number of the row that runs
        self.rows = [*range(self.count), *rows_of(self.tape, operands, self.events)]
        self.random_state = capture.random_state
        #: the address of the function by which kernels sum over processes, or 0
        self.ranks_table = capture.ranks_table
        self.group_rows: list[GroupRows] = []
        self._begin()
        if runs:
            self.linked = self.tape.count
            self._link()
            self.group_numbers = [self._append_group(rows) for rows in self.group_rows]
            self.tape.count = self.count  # rows behind belong to recomputations and groups
            self._ready()

    def _begin(self) -> None:
        """Reset what depends on addresses."""
        self._places: tuple[dict[int, Place], dict[int, Place]] | None = None
        self._results: dict[int, np.ndarray] = {}
        self._gradients: dict[int, np.ndarray | None] = {}
        self._inputs: list[np.ndarray] = []
        self._outputs: list[np.ndarray | None] = []
        self.watch: Watch | None = None
        self._between: Sequence[tuple[int, Kernel, int]] = ()

    def twin(self) -> Program:
        """Another instance with its own arena, for concurrent calls: linked anew, not recorded."""
        twin = object.__new__(Program)
        twin.__dict__.update(self.__dict__)
        twin.tape = tape = _own_rows(self.tape)
        twin._begin()
        twin.__dict__.pop("first_output", None)
        twin.random_state = self.random_state.copy()
        twin._move_random_state(address_of(self.random_state) // 8)
        tape.count = self.linked
        twin._link()
        tape.count = self.count
        for n, rows in zip(self.group_numbers, twin.group_rows):
            tape._words[tape._start[n]:tape._start[n + 1]] = rows.row
        twin._ready()
        return twin

    def keeping(self) -> Program:
        """Another instance with an arena of its own, in which every value and adjoint stays until the next run.

        It is linked anew, not recorded, and results are the same to the bit: nothing is fused, shared, overwritten or
        recomputed. Random numbers continue those of this program.
        """
        kept = object.__new__(Program)
        kept.__dict__.update(self.__dict__)
        kept.tape = tape = _own_rows(self.tape)
        kept._begin()
        for name in ("first_output", "written"):
            kept.__dict__.pop(name, None)
        tape.count = self.count
        operands = self.times.operands.apart()
        kept.events = [Event(n, False) for n in reversed(range(self.end)) if operands.live[n]]
        every = list(range(len(operands.nbytes)))
        kept.lives = lives_of(operands, kept.events, False, [t.node.variable for t in self.inputs], every,
                              None if self.seed is None else self.seed.node.variable, every)
        kept.layout, kept.times, kept.extra = layout_of(kept.lives), kept.lives.times, 0.0
        kept.rows = [*range(self.count), *(event.instruction for event in kept.events)]
        kept.group_rows, kept.group_numbers, kept.linked = [], [], self.count
        kept._link()
        kept._ready()
        return kept

    def _move_random_state(self, before: int) -> None:
        """Have random ops read the key of this program; no other attribute can be that address."""
        tape = self.tape
        for n in range(self.linked if self.capture.draws else 0):
            at = int(tape._start[n]) + 1 + 2 * int(tape._operand_start[n + 1] - tape._operand_start[n])
            attributes = tape._words[at:tape._start[n + 1]]
            attributes[attributes == before] = address_of(self.random_state) // 8

    # -------------------------------------------------------------- planning

    def _plan_reverse(self) -> None:
        """Plan the reverse walk, and the addresses of the leaves' gradients."""
        tape, seed = self.tape, self.seed
        leaves = [(source, v) for source, v in tape._externals.items() if isinstance(source, Leaf)]
        for _, v in leaves:
            tape._state[v] = walk.LEAF
        tape.plan_reverse(seed.node.variable)
        for leaf, v in leaves:
            if tape._state[v] == walk.LEAF_REACHED:
                if self.runs:
                    if leaf.home is None:
                        raise TapegradError("a trained leaf has no place for its gradient; give it to an optimiser")
                    tape._adjoint[v] = leaf.home.address
                self.reached.append(leaf)
        self.end = int(tape._producer[seed.node.variable]) + 1
        self.listed = link_lists(tape, leaves, self.end)
        keep_masks(tape, self.end, [t.node.variable for t in self.outputs if t.is_symbolic])

    def _plan(self, operands: Operands, budget: Budget | None) -> Plan:
        """Rematerialisation and buffer assignment."""
        ends = ([t.node.variable for t in self.inputs], [t.node.variable for t in self.outputs if t.is_symbolic],
                None if self.seed is None else self.seed.node.variable, [t.node.variable for t in self.gradients_of])
        plan = Plan(operands, tree_of(self.tape, self.end), ends, self.forms)
        return plan if budget is None else plan_within(plan, self.end, budget, self.standing_bytes)

    @property
    def standing_bytes(self) -> int:
        """Bytes beside the arena that it reads and writes: parameters, their gradients, constants."""
        return sum(s.nbytes for s in (*self.tape._externals, *self.reached))

    def _link(self) -> None:
        """Allocate the arena and write all addresses into the rows."""
        tape = self.tape
        #: the plan's buffer assignment, or one with gaps for canaries
        self._laid = layout = layout_of(self.lives, poison.GAP) if poison.ENABLED else self.layout
        self.arena = aligned_bytes(max(layout.total, 64))
        base, originals = address_of(self.arena), self.lives.originals
        if poison.ENABLED:
            poison.fill(base, layout.total)
            check_operands(tape, tape.count)
        tape._value[layout.values] = base + layout.value_offsets
        tape._adjoint[layout.adjoints] = base + layout.adjoint_offsets
        for group, at in zip(self.lives.groups, layout.group_offsets):
            tape._value[group.values] = base + at + group.value_offsets
            tape._adjoint[group.adjoints] = base + at + group.adjoint_offsets
        tape._adjoint[:len(originals)] = tape._adjoint[originals]
        tape._state[:len(originals)] = tape._state[originals]
        tape.run(walk.LINK_VALUES, 0, tape.count)
        if self.seed is not None:
            tape.run(walk.LINK_REVERSE, 0, tape.count)
        self.group_rows = self._rows_of_groups(tape._words)

    def _append_group(self, rows: GroupRows) -> int:
        """Append a row for a fused group; returns its number."""
        self.tape.append(STRIPS, rows.row, [self.tape.new_variable(0, 1)], [0], [0], (), ([], (), None, None))
        return self.tape.count - 1

    def _rows_of_groups(self, words: np.ndarray) -> list[GroupRows]:
        base = address_of(self.arena)
        return [GroupRows(self.tape, group, self.times, self.forms, self.rows, base + at, words)
                for group, at in zip(self.lives.groups, self._laid.group_offsets)]

    def begin_lists(self) -> None:
        """Announce to the row lists of table gradients that the next runs write these."""
        for leaf in self.reached:
            if leaf.touched is not None and leaf.home is not None:
                leaf.touched.describe(leaf.home, leaf in self.listed)

    def insert(self, between: Sequence[tuple[int, Kernel, int]]) -> None:
        """Have the walks run other tasks too: before which row, the kernel, and the byte address of its row."""
        self._between = between
        self._ready()

    def adding_header(self, between: Sequence[tuple[int, Kernel, int]] = ()) -> tuple[np.ndarray, np.ndarray, Tasks]:
        """Header, words and tasks of the same recording, with a reverse walk that accumulates into all gradients.

        Other tasks are those of `insert`.
        """
        tape = self.tape
        words, header = tape._words[:tape._word_count].copy(), tape._header.copy()
        leaves = {v for source, v in tape._externals.items() if isinstance(source, Leaf)}
        for n in (n for time, n in enumerate(self.rows) if self.times.is_adjoint[time]):
            first, last = int(tape._operand_start[n]), int(tape._operand_start[n + 1])
            for j, v in enumerate(tape._variable[first:last].tolist()):
                if v in leaves:  # neither stored nor cleared before
                    words[tape._start[n]] &= ~(1 << j | 1 << (32 + j))
        if self.lives.groups:
            self.adding_rows = self._rows_of_groups(words)
            for n, rows in zip(self.group_numbers, self.adding_rows):
                words[tape._start[n]:tape._start[n + 1]] = rows.row
        tasks = self._tasks(words, between)
        tasks.write(header)
        return header, words, tasks

    def _adjoint_place(self, t: Tensor) -> int:
        """Byte address of the adjoint of `t`, 0 if the walk does not reach it."""
        at = int(self.tape._adjoint[t.node.variable])
        return at and at + t.offset * t.dtype.itemsize

    def _ready(self) -> None:
        """Compile every kernel and complete the header."""
        self.tasks = self._tasks(self.tape._words, self._between)
        self.tasks.write(self.tape._header)
        self._walk = walk.TASK_WALK.bound(self.tape._header_address, self.tape.dtype)

    def runs_alone(self) -> np.ndarray:
        """By time, whether a row of the walks begins there; a fused group has one for all its times."""
        runs = np.ones(len(self.rows), bool)
        for group in self.lives.groups:
            runs[group.first + 1:group.last + 1] = False
        return runs

    def _tasks(self, words: np.ndarray, between: Sequence[tuple[int, Kernel, int]]) -> Tasks:
        """The tasks of the walks, forward and in reverse: by time a row, or one for all times of a group."""
        rows, adjoint = np.array(self.rows, np.int64), np.array(self.times.is_adjoint, bool)
        runs = self.runs_alone()
        for group, n in zip(self.lives.groups, self.group_numbers):
            rows[group.first], adjoint[group.first] = n, False
        seed = None
        if self.seed is not None:
            turn = 0 if self.lives.seeded_first else int(runs[:self.count].sum())
            seed = turn, self._adjoint_place(self.seed), self.slope
        if poison.ENABLED and self.watch is None and len(rows):
            self.watch = Watch(self.tape, self.lives, self._laid, address_of(self.arena), np.cumsum(runs) - 1)
        more = [*(self.watch.tasks if self.watch is not None else ()), *between]
        return Tasks(self.tape, rows[runs], adjoint[runs], seed, words, self.lives.together, more)

    # -------------------------------------------------------------- running

    def array(self, t: Tensor) -> np.ndarray:
        """View of the present value of one of the recording's tensors (or of any other).

        It keeps the arena alive but not the program, which may hold it: the garbage collector cannot see through an
        array.
        """
        if not t.is_symbolic:
            return t._memory()
        at = int(self.tape._value[t.node.variable]) + t.offset * t.dtype.itemsize
        return array_at(at, t.shape, t.strides, t.dtype, self.arena)

    @property
    def expected_seconds(self) -> float:
        """What a run is expected to take, by the cost model of the plan."""
        work = self.times.operands.work
        return 1e-9 * sum([work[n] for n in self.times.instructions])

    def results(self) -> list[np.ndarray]:
        """Views of the outputs, which the next run overwrites."""
        if not self._outputs:
            self._outputs = [self.array(t) if t.is_symbolic else None for t in self.outputs]
        return [t._memory() if array is None else array for t, array in zip(self.outputs, self._outputs)]

    @lazy
    def first_output(self) -> np.ndarray:
        """View of the first output."""
        return self.array(self.outputs[0])

    @lazy
    def written(self) -> frozenset[Any]:
        """Buffers outside of the arena that the recording itself writes: running statistics."""
        tape = self.tape
        numbers = [n for n, code in enumerate(tape._opcode[:self.count].tolist()) if OPS[code].again]
        if not numbers:
            return frozenset()
        sources = {v: source for source, v in tape._externals.items()}
        variables = [v for n in numbers
                     for v in tape._variable[tape._operand_start[n]:tape._operand_start[n + 1]].tolist()]
        return frozenset([sources[v] for v in variables if v in sources])

    def give(self, arrays: Sequence[np.ndarray]) -> None:
        """Copy the arguments into the inputs."""
        for t, array in zip(self._input_arrays(), arrays):
            t[...] = array

    def call(self, arrays: Sequence[np.ndarray]) -> None:
        """Run on these arguments; large ones are bound without a copy, and gradients are written to new arrays."""
        if self._places is None:
            self._places = places_of(self)
        arguments, gradients = self._places
        for k, (t, array) in enumerate(zip(self._input_arrays(), arrays)):
            if k not in arguments or not arguments[k].take(array):
                t[...] = array
        self._results = {v: place.new() for v, place in gradients.items()} if gradients else {}
        self.draw()
        self.run()

    def _input_arrays(self) -> list[np.ndarray]:
        if not self._inputs:
            self._inputs = [self.array(t) for t in self.inputs]
        return self._inputs

    def draw(self, done: int = 0) -> None:
        """Draw new random numbers for this run, of which `done` passes have been made already."""
        if self.capture.draws:
            key, counter = dropout_key()
            self.random_state[:2] = key, (counter << 20) + done

    def weigh(self, slope: float) -> None:
        """Have the next runs start from another adjoint of the seed."""
        self.slope = slope
        self.tasks.weigh(slope)

    def run(self, begin: int = 0, end: int | None = None) -> None:
        """Run the recording on the present inputs, forward and in reverse; or some tasks of it."""
        header = self.tape._header
        header[walk.BEGIN], header[walk.END] = begin, len(self.tasks.pairs) if end is None else end
        status = self._walk()
        if status:
            self.fail(status)

    def fail(self, status: int) -> None:
        """Raise the error that a kernel reported."""
        if self.watch is not None and status & 255 == BROKEN_STATUS:
            self.watch.fail(status >> 8)
        self.tape.fail(self.tasks.row_of(int(self.tape._header[walk.FAILED])), status)

    def gradient(self, t: Tensor) -> np.ndarray:
        """The adjoint of one of `gradients_of`, in a new array; zeros if the result does not depend on it."""
        v = t.node.variable
        if v in self._results:
            return self._results.pop(v)
        if v not in self._gradients:
            at = self._adjoint_place(t)
            self._gradients[v] = array_at(at, t.shape, t.strides, t.dtype, self.arena) if at else None
        gradient = self._gradients[v]
        return np.zeros(t.shape, t.dtype) if gradient is None else gradient.copy()


def _own_rows(tape: Tape) -> Tape:
    """The same recording with rows, addresses and header of its own; what is never written is shared."""
    twin = object.__new__(Tape)
    twin.__dict__.update(tape.__dict__)
    for name in ("_words", "_value", "_adjoint", "_header"):
        setattr(twin, name, getattr(tape, name).copy())
    twin._header_address = address_of(twin._header)
    twin._point_header()
    return twin


def scalar_seed(t: Any, what: str) -> Tensor:
    """`t` as a 0-d tensor that is a whole variable, by a recorded copy if need be."""
    from ...errors import GradientError

    if not isinstance(t, Tensor):
        raise GradientError(f"{what} must return a scalar Tensor, not {type(t).__name__}")
    if t.size != 1:
        raise GradientError(f"{what} must return a scalar; it returned a tensor of shape {list(t.shape)}: "
                            "reduce it with .sum() or .mean()")
    if not t.is_floating:
        raise GradientError(f"{what} must return a float scalar, not {t.dtype}")
    if t.is_symbolic and (t.offset or t.dtype.itemsize != t.node.nbytes or not t.node.computed):
        t = t * 1.0
    return t
