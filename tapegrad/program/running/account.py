"""Accounting: the purpose of each byte of a planned recording."""

from __future__ import annotations

import numpy as np

from ...engine.walks.walk import WANTED
from ...ops.table import OPS
from ...tape.nodes import Leaf
from ..planning.report import Instruction, Life, MemoryReport
from .program import Program


def account(program: Program, optimizer_bytes: int, unfrozen: MemoryReport | None = None) -> MemoryReport:
    """The memory report of a recording.

    Parameters
    ----------
    program : Program
    optimizer_bytes : int
    unfrozen : MemoryReport, optional
        The same step with nothing frozen.
    """
    layout = program.layout
    parameters = sum(source.nbytes for source in program.tape._externals if isinstance(source, Leaf))
    gradients = sum(leaf.nbytes + (0 if leaf.touched is None else leaf.touched.nbytes) for leaf in program.reached)
    instructions, lives = instructions_of(program), _lives(program)
    kept = [life for life in lives if life.kind == "kept"]
    data = sum(life.nbytes - sum(_overlap(life, other) for other in kept) for life in lives if life.kind == "data")
    activation = sum(life.nbytes for life in kept)
    standing = program.standing_bytes + optimizer_bytes
    constants = program.standing_bytes - parameters - gradients
    return MemoryReport(parameters, gradients, optimizer_bytes, constants, activation,
                        layout.total - activation - data, data, standing + layout.total,
                        standing + layout.lower_bound, instructions, tuple(lives), unfrozen,
                        tuple((event.instruction, event.again) for event in program.events),
                        program.extra)


def _overlap(one: Life, other: Life) -> int:
    """Bytes of the arena that two buffers have in common."""
    return max(0, min(one.offset + one.nbytes, other.offset + other.nbytes) - max(one.offset, other.offset))


def instructions_of(program: Program) -> tuple[Instruction, ...]:
    """The instructions of a recording, described."""
    tape = program.tape
    rows = []
    reverse = {event.instruction for event in program.events if not event.again}
    for n in range(tape.count):
        shape, dtype = tape.notes[n][0][0][:2]
        out = f"%{tape._variable[tape._operand_start[n]]} {dtype.name}{list(shape)}".replace(", ", ",")
        rows.append(Instruction(n, OPS[tape._opcode[n]].name, out, tape.notes[n][2][2],
                                n in reverse))
    return tuple(rows)


def _names(program: Program) -> dict[int, str]:
    """Names of the leaves' variables in their modules."""
    of_leaf = {}
    for root in reversed(program.capture.roots):
        of_leaf.update({p.node: name for name, p in root.named_parameters()})
    return {v: of_leaf[source] for source, v in program.tape._externals.items() if source in of_leaf}


def _readers(program: Program) -> dict[int, str]:
    """By variable, the adjoints that read it."""
    tape = program.tape
    names = _names(program)
    why: dict[int, list[str]] = {}
    for event in program.events:
        n = event.instruction
        if event.again:
            for v in program.times.operands.read_by(event):
                if v not in event.versions:
                    why.setdefault(v, []).append(f"#{n} {OPS[tape._opcode[n]].name}, run again")
            continue
        op, first, last = OPS[tape._opcode[n]], int(tape._operand_start[n]), int(tape._operand_start[n + 1])
        variables = tape._variable[first:last].tolist()
        for j in tape.notes[n][1]:
            if variables[j] in event.versions:
                continue
            targets = [variables[k + 1] for k, read in enumerate(op.saves)
                       if j in read and tape._flags[first + k + 1] & WANTED]
            what = ", ".join(names.get(v, f"%{v}") for v in targets)
            why.setdefault(variables[j], []).append(f"#{n} {op.name} to {what}")
    return {v: "; ".join(reversed(dict.fromkeys(reasons))) for v, reasons in why.items()}


def _lives(program: Program) -> list[Life]:
    """Every buffer of the arena."""
    tape, lives = program.tape, program.lives
    inputs, why = {t.node.variable for t in program.inputs}, _readers(program)
    made_by = np.full(tape._variable_count, -1, np.int64)
    starts = tape._operand_start[:tape.count + 1].tolist()
    for n in range(tape.count - 1, -1, -1):
        made_by[tape._variable[starts[n]:starts[n + 1]]] = n  # auxiliary outputs belong to the first
    made_by[list(inputs)] = -1
    found = []
    originals, layout = lives.originals.tolist(), program.layout
    for variables, offsets, births, deaths, adjoint in (
            (layout.values, layout.value_offsets, lives.value_birth, lives.value_death, False),
            (layout.adjoints, layout.adjoint_offsets, lives.adjoint_birth, lives.adjoint_death, True)):
        for v, offset in zip(variables.tolist(), offsets.tolist()):
            n, name = int(made_by[originals[v]]), f"%{originals[v]}"
            kind = ("adjoint" if adjoint else "data" if v in inputs else "kept" if lives.kept[v] else
                    "temporary" if v == originals[v] else "recomputed")
            found.append(Life(f"{'d' if adjoint else ''}{name}", kind, int(tape._nbytes[v]), offset, int(births[v]),
                              int(deaths[v]), None if n < 0 else n, "" if n < 0 else tape.notes[n][2][2],
                              "" if adjoint else why.get(v, "")))
    for group, offset in zip(lives.groups, layout.group_offsets):
        found.append(Life(program.times.stretch(group), "temporary", group.nbytes, offset, group.first, group.last,
                          program.times.instructions[group.first], "", ""))
    return found
