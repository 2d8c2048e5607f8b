"""A module's forward as a list of instructions over views, recorded at one or at two lengths of the batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ...engine.storage import array_at
from ...errors import ArgumentError
from ...nn import Module
from ...ops.table import OPS, Op
from ...program.capture import Capture
from ...tape.nodes import Leaf
from ...tensor.tensor import Tensor

__all__ = ["Instruction", "Operand", "Traced", "flat", "traced"]


class Operand(NamedTuple):
    """A view of a variable, in elements."""

    variable: int
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: np.dtype


class Instruction(NamedTuple):
    """An op, its attributes, its operands (the output first), and where it was recorded."""

    op: Op
    words: tuple[int, ...]
    operands: list[Operand]
    where: str

    def integer(self, name: str, at: int = 0) -> int:
        """An attribute by its name in the op's row, or a word after it."""
        row: Any = self.op.row
        return int(self.words[row.places[name] - row.first_place() + at])

    def real(self, name: str, at: int = 0) -> float:
        """An attribute that is a float."""
        return float(np.int64(self.integer(name, at)).view(np.float64))


class Traced(NamedTuple):
    """Instructions in order; by variable what was read from outside, in arrays that hold it; inputs and outputs."""

    instructions: list[Instruction]
    outside: dict[int, Any]
    inputs: list[Operand]
    outputs: list[Operand]

    def values(self, operand: Operand) -> np.ndarray:
        """The values of a view of what was read from outside."""
        source = self.outside[operand.variable]
        buffer = source.buffer if isinstance(source, Leaf) else source
        at = buffer.address + operand.offset * operand.dtype.itemsize
        return array_at(at, operand.shape, operand.strides, operand.dtype, buffer).copy()


def flat(given: Any) -> list[Any]:
    """What a module returns, tuples and lists opened."""
    return [t for part in given for t in flat(part)] if isinstance(given, (tuple, list)) else [given]


def operand_of(t: Tensor) -> Operand:
    """A symbolic tensor as an operand."""
    return Operand(t.node.variable, t.offset, t.shape, t.strides, t.dtype)


@Capture.ends
def traced(module: Module, shapes: Sequence[tuple[int, ...]], dtypes: Sequence[np.dtype]) -> Traced:
    """Record a module's forward on inputs of these shapes."""
    floats = [p.dtype for p in module.parameters()] + [d for d in dtypes if d.kind == "f"]
    with Capture(floats[0] if floats else np.dtype(np.float32), set(), module) as capture:
        inputs = [capture.input(tuple(shape), dtype) for shape, dtype in zip(shapes, dtypes)]
        outputs = flat(module(*inputs))
        for t in outputs:
            if not (isinstance(t, Tensor) and t.is_symbolic):
                raise ArgumentError("to_onnx: the module must return tensors that depend on its inputs, one or a tuple "
                                    f"of them; it returned {type(t).__name__}")
        rows = capture.rows
        rows.keep({t.node.variable for t in outputs})
        instructions = []
        for opcode, words, operands, note in rows.instructions:
            known = [Operand(variable, offset, shape, strides, dtype)
                     for (variable, offset, _), (shape, dtype, strides) in zip(operands, note[0])]
            file, line, layer = note[2]
            instructions.append(Instruction(OPS[opcode], tuple(words), known,
                                            f"{file}:{line}" + (f", layer {layer}" if layer else "")))
        if capture.draws:
            raise ArgumentError("to_onnx: the module draws random numbers in evaluation mode too, which a file cannot "
                                "say")
        outside = {variable: source for source, variable in rows.externals.items()}
        return Traced(instructions, outside, [operand_of(t) for t in inputs], [operand_of(t) for t in outputs])
