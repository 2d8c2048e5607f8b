"""A recorded tensor computed again, instruction by instruction, on a tape that keeps everything."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..engine.storage import array_at
from ..errors import ArgumentError, GradientError
from ..tape.nodes import Leaf
from ..tape.reverse import backward
from ..tape.state import enable_grad
from ..tape.tape import Tape
from ..tensor.recording import contiguous, record
from ..tensor.tensor import Tensor, view
from ..transforms.reading import steps_to
from ..transforms.steps import Step, elements_of, variable_of
from .watching import Run, WatchedTape


def replayed(t: Tensor) -> Run:
    """Run again what a tensor was computed by.

    Raises
    ------
    ArgumentError
        It was not computed from anything that requires a gradient.
    GradientError
        An operand was not kept.
    """
    if not t.requires_grad or t.buffer is None or isinstance(t.node, Leaf):
        raise ArgumentError("explain: the tensor was not computed from anything that requires a gradient; give a "
                            "function and its arguments, tg.explain(f, x)")
    source, made = t.node.tape, dict[Any, Tensor]()
    names = {variable_of(named): name for name, named in source.names.items() if named.node is not None}
    tape, found = WatchedTape(), dict[Any, str]()
    with tape, enable_grad():
        for step in steps_to([t]):
            y = _again(step, made, source)
            if step.output in names:
                found[y.node] = names[step.output]
            made[step.output] = view(contiguous(y), 0, (y.size,), (1,))
            tape.notes[-1] = (*tape.notes[-1][:2], source.notes[int(source._producer[step.output[1]])][2], None)
        flat = made[variable_of(t)]
        output = view(flat, t.offset, t.shape, t.strides) if elements_of(t) == flat.size else flat
    found.update({named.node: name for name, named in source.names.items() if isinstance(named.node, Leaf)})
    return Run(tape, output, found, [], "a recorded tensor")


def _again(step: Step, made: dict[Any, Tensor], source: Tape) -> Tensor:
    """An instruction with the same attributes, on operands of this run."""
    operands = []
    for j in step.inputs:
        key, _, offset, wanted = step.operands[j]
        shape, _, strides = step.kinds[j]
        if wanted and key in made:
            operands.append(view(made[key], offset, shape, strides))
        else:
            operands.append(_held(step, j))
    return _recorded(step, operands, source)


def _recorded(step: Step, operands: list[Tensor], source: Tape) -> Tensor:
    words = source._words[source._start[int(source._producer[step.output[1]])]:]
    auxiliary = [_size(step, j, int(words[1 + 2 * j])) for j in range(len(step.kinds), len(step.operands))]
    shape, out_dtype, _ = step.kinds[0]
    return record(step.op, operands, shape, step.attributes, dtype=_dtype(step), out_dtype=out_dtype, aux=auxiliary,
                  added=-1)


def compiled_contribution(step: Step, number: int, g: np.ndarray, source: Tape) -> np.ndarray:
    """What the compiled adjoint of one instruction gives an operand, for ops that have no other rule."""
    leaf = Tensor(step.tensor(number).detach().numpy(), step.kinds[number][1], True)
    operands = [leaf if j == number else step.tensor(j).detach() for j in step.inputs]
    with WatchedTape() as tape, enable_grad():
        y = _recorded(step, operands, source)
    backward(tape, y.node, 0, y.shape, y.strides, g.reshape(y.shape), True, set())
    buffer = tape.leaf_adjoints[leaf.node]
    return array_at(buffer.address, leaf.shape, leaf.strides, leaf.dtype, buffer).copy()


def _size(step: Step, j: int, word: int) -> tuple[int, int]:
    """Bytes of an auxiliary output and of its elements, in which its address is counted."""
    try:
        buffer = step._auxiliary(j)  # type: ignore[misc]
    except KeyError:
        raise _not_kept(step, j) from None
    return buffer.nbytes, buffer.address // word


def _dtype(step: Step) -> np.dtype:
    return next(dtype for _, dtype, _ in step.kinds if dtype.kind == "f")


def _held(step: Step, j: int) -> Tensor:
    try:
        return step.tensor(j)
    except GradientError:
        raise _not_kept(step, j) from None


def _not_kept(step: Step, j: int) -> GradientError:
    of_shape = f", of shape {list(step.kinds[j][0])}," if j < len(step.kinds) else ""
    return GradientError(f"explain: an operand of {step.op.name}{of_shape} was not kept, for no adjoint reads it; give "
                         "the function, tg.explain(f, x), or compute on a tape that keeps everything (with tg.Tape():)")


def last_result(tape: Tape) -> Tensor:
    """The result of the last instruction of a tape that is alive."""
    for n in range(tape.count - 1, -1, -1):
        if tape._opcode[n] >= 0 and tape.keep and tape.saved[n]:
            shape, dtype, strides = tape.notes[n][0][0]
            node = next((k for k in reversed(tape._kept_nodes)
                         if k.on_tape and k.variable == tape._variable[tape._operand_start[n]]), None)
            if node is not None:
                return Tensor._made(tape.saved[n][0], 0, shape, strides, dtype, node, True)
    raise ArgumentError("explain: nothing is recorded on this tape; compute with tg.Tape() as tape: around it")
