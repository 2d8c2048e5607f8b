"""The listing of a tape, and its single instructions."""

from __future__ import annotations

from typing import Any

from ..engine.storage import array_at
from ..engine.walks import walk
from ..ops.table import OPS
from .instructions import Instructions
from .tables import aligned

_LETTER = {"float32": "f32", "float64": "f64", "int64": "i64", "bool": "bool", "uint8": "u8"}


def describe(tape: Instructions, n: int) -> dict[str, Any]:
    """See `Tape.instruction`."""
    if not 0 <= n < tape.count:
        raise IndexError(f"the tape has {tape.count} instructions, not {n + 1}")
    if tape._opcode[n] < 0:
        return {"op": "(given back)", "operands": [], "attributes": []}
    row = tape._words[tape._start[n]:tape._start[n + 1]].tolist()
    first, last = tape._operand_start[n:n + 2].tolist()
    operands = []
    for j, k in enumerate(range(first, last)):
        known = j < len(tape.notes[n][0])
        operand: dict[str, Any] = {"variable": int(tape._variable[k]), "offset": int(tape._offset[k]),
                                   "wanted": bool(tape._flags[k] & walk.WANTED)}
        if known:
            shape, dtype, strides = tape.notes[n][0][j]
            operand["shape"] = shape
            places = {"value": row[1 + 2 * j], "adjoint": row[2 + 2 * j] if tape._adjoints is not None else 0}
            if tape.keep and tape.saved[n]:
                for name, word in places.items():
                    if word:
                        operand[name] = array_at(word * dtype.itemsize, shape, strides, dtype, None).copy()
        operands.append(operand)
    return {"op": OPS[tape._opcode[n]].name, "operands": operands, "attributes": row[1 + 2 * (last - first):]}


def listing(tape: Instructions) -> str:
    """One line an instruction: op, output, inputs, what is saved."""
    rows: list[tuple[str, ...]] = [("#", "op", "out", "in", "saves", "layer")]
    for n in range(tape.count):
        if tape._opcode[n] < 0:
            continue
        op, (operands, saved, where, segment) = OPS[tape._opcode[n]], tape.notes[n]
        first = int(tape._operand_start[n])
        names = [f"%{tape._variable[first + j]} {_LETTER[d.name]}{list(s)}".replace(", ", ",")
                 for j, (s, d, _) in enumerate(operands)]
        saves = " ".join(names[k].split()[0] if k < len(names) else "aux" for k in saved)
        saves = "run again" if segment else saves or "-"
        rows.append((str(n), op.name, names[0], " ".join(names[1:]), saves, where[2] if where else ""))
    if not any(row[5] for row in rows[1:]):
        rows = [row[:5] for row in rows]
    return aligned(rows)
