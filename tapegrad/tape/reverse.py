"""`Tensor.backward` and `autograd.grad`: one reverse walk over a define-by-run tape."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np

from ..engine.caller import user_line
from ..engine.poison import ENABLED
from ..engine.storage import Buffer, Changes, array_at
from ..engine.walks import walk
from ..engine.writers import Writing
from ..errors import GradientError, GraphReleasedError, InPlaceError
from ..ops.table import ADJOINT, OPS
from .bounds import check_operands
from .hooks import HOOKS, call_hooks
from .lending import alone
from .nodes import Leaf, Node
from .recomputation import Again, Replay
from .sparse import begin_lists
from .tape import Tape

#: bytes of saved values from which on they are freed during the walk, and how many between two stops
_MANY, _STRETCH = 4 << 20, 1 << 20


def backward(tape: Tape, node: Node, offset: int, shape: tuple[int, ...], strides: tuple[int, ...],
             gradient: np.ndarray, retain_graph: bool, only: set[Leaf] | None = None) -> None:
    """Accumulate into the leaves' gradients, given the cotangent `gradient` of a view of `node`'s variable.

    With `only`, the gradients of other leaves are left as they are.
    """
    with alone(tape):
        tape.sweep()
        with Writing(tape._externals):
            _walk_back(tape, node, offset, shape, strides, gradient, retain_graph, only, None)


def adjoints(tape: Tape, node: Node, offset: int, shape: tuple[int, ...], strides: tuple[int, ...],
             gradient: np.ndarray, retain_graph: bool, wanted: Iterable[Leaf | Node]) -> dict[Leaf | Node, Buffer]:
    """The adjoints of those of the wanted that the view depends on; the leaves' gradients are left as they are.

    Only instructions through which history flows from one of the wanted are walked, and released.
    """
    found: dict[Leaf | Node, Buffer] = {}
    with alone(tape):
        tape.sweep()
        with Writing(tape._externals):
            _walk_back(tape, node, offset, shape, strides, gradient, retain_graph, set(),
                       _Wanted(tape, wanted, found))
    return found


class _Wanted:
    """Variables of which the adjoints are asked for, each in a buffer of its own.

    Parameters
    ----------
    tape : Tape
    keys : iterable of Leaf or Node
    found : dict
        By key the buffer, once the reverse walk is planned.
    """

    def __init__(self, tape: Tape, keys: Iterable[Leaf | Node], found: dict[Leaf | Node, Buffer]) -> None:
        self.tape, self.found = tape, found
        at = {key: tape._externals.get(key) if isinstance(key, Leaf) else key.variable if key.on_tape else None
              for key in keys}
        self.variables = {key: v for key, v in at.items() if v is not None}
        self._cleared: list[int] = []  # operands
        self._idle: list[int] = []  # instructions none of whose operands are left

    def prune(self, leaves: Iterable[tuple[Leaf, int]], end: int, seed: int) -> bool:
        """Cut branches of the planned walk that come to nothing that is wanted; whether anything is left.

        If any is cut, the walk must be planned anew.
        """
        tape, useful = self.tape, set(self.variables.values())
        variables, flags, starts = tape._variable, tape._flags, tape._operand_start
        if all(v in useful for _, v in leaves if tape._state[v] == walk.LEAF_REACHED):
            return True
        for n in tape._live[:end].nonzero()[0].tolist():
            own, *inputs = range(int(starts[n]), int(starts[n + 1]))
            kept = [k for k in inputs if flags[k] & walk.WANTED and int(variables[k]) in useful]
            self._cleared += [k for k in inputs if flags[k] & walk.WANTED and k not in kept]
            if kept:
                useful.add(int(variables[own]))
            else:
                self._idle.append(n)
        flags[self._cleared] &= ~walk.WANTED
        return seed in useful

    @property
    def is_pruned(self) -> bool:
        """Whether branches were cut."""
        return bool(self._cleared)

    def restore(self) -> None:
        """Give back the branches that were cut."""
        self.tape._flags[self._cleared] |= walk.WANTED

    def place(self) -> None:
        """Leave out what is idle, and give the adjoints that the planned walk reaches a buffer; leaves have one."""
        tape = self.tape
        tape._live[self._idle] = 0
        for key, v in self.variables.items():
            if isinstance(key, Node) and tape._state[v] == walk.REACHED:
                buffer = self.found[key] = tape.storage.allocate(int(tape._nbytes[v]), "an adjoint")
                tape._adjoint[v] = buffer.address


def _begin(tape: Tape, leaves: Iterable[tuple[Leaf, int]], passed_over: set[Leaf], held: list[Buffer | None]) -> None:
    """Mark the leaves; `held` are the gradients that are accumulated into, which another thread may set to None."""
    for leaf, v in leaves:
        before = None if leaf in passed_over else leaf.gradient
        tape._state[v] = walk.LEAF if before is None else walk.LEAF_WITH_GRADIENT
        tape._adjoint[v] = 0 if before is None else before.address
        held.append(before)


def _walk_back(tape: Tape, node: Node, offset: int, shape: tuple[int, ...], strides: tuple[int, ...],
               gradient: np.ndarray, retain_graph: bool, only: set[Leaf] | None, wanted: _Wanted | None) -> None:
    if not node.on_tape:
        raise GraphReleasedError(f"{user_line()}: this stretch of tape was walked already and given back; call the "
                                 "first backward() with retain_graph=True")
    dtype, seed = tape.dtype, node.variable
    keeps = retain_graph or tape.keep
    leaves = [(source, v) for source, v in tape._externals.items() if isinstance(source, Leaf)]
    passed_over = set() if only is None else {leaf for leaf, _ in leaves} - only
    hooked: set[Leaf] = set()
    own: set[Leaf] = set()  # whose gradients are added to after their hooks
    if any_hooks := bool(HOOKS):
        hooked = {leaf for leaf, _ in leaves if leaf in HOOKS}
        own = hooked - passed_over
        passed_over |= hooked
    held: list[Buffer | None] = []
    _begin(tape, leaves, passed_over, held)
    end = int(tape._producer[seed]) + 1
    total = tape.plan_reverse(seed)
    try:
        if wanted is not None:
            _check_released(tape)
            if not wanted.prune(leaves, end, seed):
                return
            if wanted.is_pruned:
                tape._state[:tape._variable_count] = walk.UNREACHED
                _begin(tape, leaves, passed_over, held)
                total = tape.plan_reverse(seed)
            wanted.place()
        _check_released(tape)
        check_unchanged(tape, tape._live[:end].nonzero()[0])
        _ready_adjoints(tape, end)
        adjoints = tape.storage.allocate(total, "the reverse walk's adjoints")
        fresh = []
        for leaf, v in leaves:
            if tape._state[v] == walk.LEAF_REACHED:
                home = None if leaf in passed_over else leaf.home
                buffer = home or tape.storage.allocate(leaf.nbytes, "a gradient")
                tape._adjoint[v] = buffer.address
                fresh.append((leaf, buffer))
                if wanted is not None and leaf in wanted.variables:
                    wanted.found[leaf] = buffer
        begin_lists(tape, leaves, end, dict(fresh), passed_over)
        tape._header[walk.BASE] = adjoints.address
        if ENABLED:
            check_operands(tape, end)
        tape.run(walk.LINK_REVERSE, 0, end)
        at = int(tape._adjoint[seed]) or adjoints.address
        if math.prod(shape) * dtype.itemsize != tape._nbytes[seed]:
            array_at(at, (int(tape._nbytes[seed]) // dtype.itemsize,), (1,), dtype, adjoints)[...] = 0
        array_at(at + offset * dtype.itemsize, shape, strides, dtype, adjoints)[...] = gradient
        stops = _stops(tape, end, seed, at) if any_hooks else {}
        if any(type(saved) is Again for saved in tape.saved[:end]):
            if stops:
                raise GradientError(f"{user_line()}: register_hook on a result that is walked back together with a "
                                    "tg.checkpoint; remove() the hook, or put it on a leaf")
            Replay(tape, end, keeps).walk()
        else:
            for first, last in _stretches(tape, end, keeps):
                if stops:
                    for stop in sorted((n for n in stops if first < n <= last), reverse=True):
                        tape.walk_back(stop, last, keeps)
                        call_hooks(*stops[stop], tape.dtype, adjoints)
                        last = stop
                tape.walk_back(first, last, keeps)
        if hooked:
            for leaf, buffer in fresh:
                if leaf in hooked:
                    call_hooks(leaf, buffer.address, leaf.dtype, buffer)
                if leaf in own:
                    _add_to(leaf, buffer)
        for leaf, buffer in fresh:
            if leaf not in passed_over:
                leaf.gradient = buffer
        if tape.keep and wanted is None:
            tape._adjoints = adjoints
            tape.leaf_adjoints = dict(fresh)
            tape._kept_adjoint = tape._adjoint[:tape._variable_count].copy()
            tape._kept_adjoint[seed] = at
    except BaseException:
        for n in tape._live[:end].nonzero()[0].tolist():
            if tape.saved[n] is None:  # partly walked and freed: it cannot be walked again
                tape._kill(n)
        raise
    finally:
        if wanted is not None:
            wanted.restore()
        tape._state[:tape._variable_count] = walk.UNREACHED
        tape._adjoint[:tape._variable_count] = 0
        for _, v in leaves:
            tape._state[v] = walk.LEAF
    if not keeps:
        tape.forget(tape._live[:end].nonzero()[0].tolist())


def _stops(tape: Tape, end: int, seed: int, at: int) -> dict[int, tuple[Node, int]]:
    """By the number of the instruction behind it each reached result that has hooks, and where its adjoint is."""
    found = {}
    for key in list(HOOKS):
        if isinstance(key, Node) and key.tape is tape and key.on_tape:
            v = key.variable
            n = int(tape._producer[v])
            if n < end and tape._state[v] == walk.REACHED:
                found[n + 1] = key, at if v == seed else int(tape._adjoint[v])
    return found


def _add_to(leaf: Leaf, buffer: Buffer) -> None:
    """Add an adjoint to the gradient of a leaf."""
    count = (leaf.nbytes // leaf.dtype.itemsize,)
    into = leaf.gradient or leaf.home
    if into is None:
        leaf.gradient = buffer
        return
    whole, more = (array_at(b.address, count, (1,), leaf.dtype, b) for b in (into, buffer))
    whole[...] = more if leaf.gradient is None else whole + more
    leaf.gradient = into
    if leaf.touched is not None:
        leaf.touched.describe(into, listed=False)


def _stretches(tape: Tape, end: int, keeps: bool) -> Iterator[tuple[int, int]]:
    """The walk at once, or in chunks after which enough saved bytes are freed."""
    last = end
    if not keeps and tape.storage.live_bytes >= _MANY:
        left = 0
        for n in range(end - 1, 0, -1):
            if tape._live[n]:
                left += sum(buffer.nbytes for buffer in tape.saved[n])
            if left >= _STRETCH:
                yield n, last
                last, left = n, 0
    yield 0, last


def _ready_adjoints(tape: Tape, end: int) -> None:
    """Compile the missing adjoint kernels of the live instructions before `end`."""
    codes = tape._opcode[:end]
    if not ADJOINT[tape.dtype][codes].all():
        for code in set(codes[tape._live[:end] != 0].tolist()):
            OPS[code].ready_adjoint(tape.dtype)


def check_unchanged(tape: Tape, live: np.ndarray) -> None:
    """Raise if a value that these instructions have saved was overwritten since (version counters)."""
    if len(live) and tape._stamp[live[0]] != Changes.count:
        Changes.settle()
        saved = tape.saved
        for n, stamp in zip(live.tolist(), tape._stamp[live].tolist()):
            for buffer in _read_buffers(tape, n) if tape.keep else saved[n]:
                if buffer.version > stamp:
                    name = OPS[tape._opcode[n]].name
                    raise InPlaceError(f"{name}: a value that its adjoint reads was changed in place after it "
                                       "was computed with (an optimiser's step, copy_ or load_state_dict between "
                                       "the forward pass and backward()); compute the loss again")


def _read_buffers(tape: Tape, n: int) -> Iterable[Buffer]:
    """The buffers that the adjoint of instruction `n`, or its recomputation, reads."""
    saved = tape.saved[n]
    return [saved[j] for j in tape.notes[n][1]] if tape.keep else saved


def _check_released(tape: Tape) -> None:
    """Raise if the walk would reach a result whose instruction has been released."""
    count = tape._variable_count
    if ((tape._state[:count] == walk.REACHED) & (tape._producer[:count] < 0)).any():
        raise GraphReleasedError(
            f"{user_line()}: the gradient reaches a tensor whose stretch of tape was walked already and given back; "
            "detach() it, or call the first backward() with retain_graph=True")
