"""Instructions off the thread's tape, or off the recording that is being made, as `Step`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from ..engine.caller import user_line
from ..engine.storage import Buffer
from ..engine.walks.walk import WANTED
from ..errors import GradientError, GraphReleasedError, StaleTensorError
from ..ops.table import OPS
from ..tape.nodes import Leaf, Node
from ..tape.recomputation import Again, rematerialized
from ..tape.reverse import check_unchanged
from ..tape.rows import Symbol
from ..tape.state import state
from ..tape.tape import Tape
from ..tensor.tensor import Tensor
from .steps import Operand, Step

#: by the output of an instruction, what a user has given for its derivative
RULES: WeakKeyDictionary[Node, Any] = WeakKeyDictionary()
_RELEASED = ("a tensor whose stretch of tape was walked already and given back; call the first backward() with "
             "retain_graph=True or create_graph=True, or detach() what is used of it")


def attach(t: Tensor, rule: Any) -> None:
    """Have a result carry what a user has given for its derivative."""
    if t.is_symbolic:
        state.capture.given[t.node.variable] = rule
    elif t.requires_grad:
        RULES[t.node] = rule


def recorded() -> int | None:
    """How many instructions the present recording has, if there is one."""
    return None if state.capture is None else len(state.capture.rows.instructions)


def steps_to(outputs: Sequence[Tensor], since: int | Node | None = None) -> list[Step]:
    """The instructions through which history flows to `outputs`, in the order of computation.

    Those that come before `since` are left out, if it is given: a number of the present recording, or on a tape the
    output of an instruction. They are not looked at, so that the time is in proportion to what is walked.
    """
    first, since = (None, since) if since is None or isinstance(since, int) else (since, None)
    steps: list[Step] = []
    nodes = [t.node for t in outputs if isinstance(t.node, Node)]
    tapes: Any = dict.fromkeys([node.tape for node in nodes])
    for tape in tapes:
        steps += _off_tape(tape, [node for node in nodes if node.tape is tape], first)
    symbols = [t.node for t in outputs if isinstance(t.node, Symbol)]
    capture = state.capture
    recordings = set()
    while symbols and capture is not None:
        recordings.add(capture.tape)
        needed = {node.variable for node in symbols if node.tape is capture.tape}
        steps = [*_off_recording(capture, needed, since or 0), *steps]
        capture = None if since is not None else capture.outer
    if since is None and not recordings.issuperset([node.tape for node in symbols]):
        raise StaleTensorError(f"{user_line()}: the derivative is asked of a recording or a vmap that is over; call "
                               "what vjp and linearize return within it")
    return steps


def _off_tape(tape: Tape, roots: Sequence[Node], first: Node | None) -> list[Step]:
    nodes: dict[int, Node] = {}
    waiting, numbers = list(roots), list[int]()
    least = 0 if first is None or first.tape is not tape else int(tape._producer[first.variable])
    while waiting:
        node = waiting.pop()
        if not node.on_tape:
            if least:
                continue
            raise GraphReleasedError(f"{user_line()}: the derivative reaches {_RELEASED}")
        if node.variable not in nodes:
            nodes[node.variable] = node
            if tape._producer[node.variable] >= least:
                numbers.append(int(tape._producer[node.variable]))
                waiting += node.inputs
    numbers.sort()
    check_unchanged(tape, np.array([n for n in numbers if type(tape.saved[n]) is Again], np.int64))
    again = rematerialized(tape, numbers)
    return [_taped(tape, n, nodes, tape._external_at, again.get(n)) for n in numbers]


def _taped(tape: Tape, n: int, nodes: Mapping[int, Node], sources: Mapping[int, Any],
           again: Sequence[Buffer] | None) -> Step:
    """Instruction `n` of a tape; all that is needed of the tape is read now, for it moves on.

    `again` are the buffers of its operands, if they were computed again.
    """
    op, (kinds, read, *_), saved = OPS[tape._opcode[n]], tape.notes[n], tape.saved[n]
    words = tape._words[tape._start[n]:tape._start[n + 1]].tolist()
    first, last = int(tape._operand_start[n]), int(tape._operand_start[n + 1])
    variables, offsets = tape._variable[first:last].tolist(), tape._offset[first:last].tolist()
    flags, sizes = tape._flags[first:last].tolist(), tape._nbytes[tape._variable[first:last]].tolist()
    for j in range(1, len(kinds)):
        if flags[j] & WANTED and isinstance(sources.get(variables[j]), Node):
            raise GraphReleasedError(f"{user_line()}: {op.name} of shape {list(kinds[0][0])} reads {_RELEASED}")
    held = dict(enumerate(saved if again is None else again)) if tape.keep or again else dict(zip(read, saved))

    def operand(j: int) -> Tensor:
        shape, dtype, strides = kinds[j]
        source = sources.get(variables[j])
        if isinstance(source, Leaf):
            return Tensor._made(source.buffer, offsets[j], shape, strides, dtype, source, source.requires_grad)
        if j not in held:
            raise GradientError(f"{user_line()}: {op.name}: its derivative of higher order reads operand {j} of shape "
                                f"{list(shape)}, which was not kept; compute the derivative with tg.grad or tg.jvp, or "
                                "on a tape that keeps everything (with tg.Tape() as tape:)")
        buffer, node = held[j], nodes.get(variables[j])
        begin = saved.offsets[j] if again else words[1 + 2 * j] - buffer.address // dtype.itemsize
        return Tensor._made(buffer, begin, shape, strides, dtype, node, node is not None)

    operands: list[Operand] = [
        (sources[v] if isinstance(sources.get(v), Leaf) else (id(tape), v),
         nbytes // kinds[j][1].itemsize if j < len(kinds) else 0, offset, flag & WANTED != 0)
        for j, (v, offset, flag, nbytes) in enumerate(zip(variables, offsets, flags, sizes))]
    return Step(op, words[1 + 2 * len(operands):], operands, kinds, "", operand, RULES.get(nodes[variables[0]]),
                held.__getitem__, int(tape._stamp[n]), nodes[variables[0]])


def _off_recording(capture: Any, needed: set[int], since: int) -> list[Step]:
    rows = capture.rows
    sources, found = {v: source for source, v in rows.externals.items()}, []
    moved: frozenset[int] = frozenset()  # variables that a later instruction overwrites
    for opcode, attributes, operands, note in reversed(rows.instructions[since:]):
        if operands[0][0] in needed:
            needed.update([v for v, _, flags in operands[1:] if flags & WANTED])
            found.append(_recorded(capture, opcode, attributes, operands, note, sources, moved))
        states = OPS[opcode].states
        if states:
            moved |= {v for j, (v, _, _) in enumerate(operands) if states >> j & 1}
    return found[::-1]


def _recorded(capture: Any, opcode: int, attributes: Sequence[int], operands: Sequence[tuple[int, int, int]], note: Any,
              sources: Mapping[int, Any], moved: frozenset[int]) -> Step:
    kinds, sizes, tape = note[0], capture.rows.nbytes, capture.tape

    def operand(j: int) -> Tensor:
        v, offset, flags = operands[j]
        shape, dtype, strides = kinds[j]
        source = sources.get(v)
        if v in moved:
            raise GradientError(f"{OPS[opcode].name}: its derivative reads an operand of shape {list(shape)} that a "
                                "later instruction of the recording overwrites (running statistics, in training); "
                                "call the module in training first, or another one")
        if source is None:
            return Tensor._made(None, offset, shape, strides, dtype, Symbol(tape, v, sizes[v], True),
                                j == 0 or flags & WANTED != 0)
        return capture.outside(source, offset, shape, strides, dtype)

    named: list[Operand] = [
        (sources[v] if isinstance(sources.get(v), Leaf) else (id(tape), v),
         sizes[v] // kinds[j][1].itemsize if j < len(kinds) else 0, offset, flags & WANTED != 0)
        for j, (v, offset, flags) in enumerate(operands)]
    return Step(OPS[opcode], attributes, named, kinds, "{}:{}".format(*note[2][:2]), operand,
                capture.given.get(operands[0][0]))
