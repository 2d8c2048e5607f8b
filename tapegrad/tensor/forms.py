"""Forms: what shapes, strides and dtypes alone say of an instruction, kept, so that define-by-run looks it up."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from ..engine import kernels
from ..engine.poison import ENABLED
from ..engine.storage import contiguous_strides
from ..engine.walks.walk import STORABLE, WANTED
from ..errors import TapegradError
from ..ops.table import EVERY, Op
from ..tape.instructions import Note
from ..tape.nodes import Leaf, Node
from ..tape.state import state
from ..tape.tape import Tape, raise_status
from .tensor import Tensor, made

__all__ = ["Form", "form_of", "run", "source_of"]

#: shape, strides and dtype of an input
Kind = tuple[tuple[int, ...], tuple[int, ...], np.dtype]


class Form:
    """An op over inputs of these shapes, strides and dtypes; each call adds addresses and attributes.

    Attributes
    ----------
    address : int
        Of the kernel, once it has run; 0 before.
    sizes : tuple of int
        Bytes of an element of each input.
    whole : tuple of int
        For each input the elements of a variable of which it visits every one, once; 0 if the adjoint kernel cannot
        store a first contribution there.
    apart : bool
        Whether operands that are parts of one variable have to be looked at (see `recording.apart`).
    """

    __slots__ = ("op", "dtype", "shape", "out_dtype", "aux", "added", "summed", "kinds", "strides", "itemsize",
                 "nbytes", "sizes", "whole", "apart", "address", "has_adjoint", "note", "idle", "_ways")

    def __init__(self, op: Op, kinds: tuple[Kind, ...], shape: tuple[int, ...], dtype: np.dtype, out_dtype: np.dtype,
                 aux: tuple[tuple[int, int], ...], added: int, summed: int) -> None:
        self.op, self.kinds, self.shape, self.dtype, self.out_dtype = op, kinds, shape, dtype, out_dtype
        self.aux, self.added, self.summed = aux, added, summed
        self.strides, self.itemsize = contiguous_strides(shape), out_dtype.itemsize
        self.nbytes = math.prod(shape) * self.itemsize
        self.sizes = tuple([given.itemsize for _, _, given in kinds])
        self.whole = tuple([_visited(*kind[:2]) if op.stores and not added >> j & 1 else 0
                            for j, kind in enumerate(kinds, 1)])
        self.apart = not op.in_turn and len(kinds) > 1
        self.address = 0
        self.has_adjoint = op.adjoint is not None
        self.idle = (0,) * len(aux)
        self.note = [(shape, out_dtype, self.strides), *((s, given, steps) for s, steps, given in kinds)]
        self._ways: dict[int, tuple[Op, tuple[int, ...], Note]] = {}

    def load(self) -> int:
        """The address of the kernel, which is compiled when an op first runs, not when it is recorded."""
        self.address = self.op.forward.address(self.dtype)
        return self.address

    def way(self, wanted: int) -> tuple[Op, tuple[int, ...], Note]:
        """Where the adjoints of these inputs are wanted: the op that is recorded, what it saves, and its note."""
        found = self._ways.get(wanted)
        if found is None:
            op = self.op.summed or self.op if wanted << 1 & self.summed else self.op
            read = op.saved_operands(wanted)
            found = self._ways[wanted] = op, read, (self.note, read, None, None)
        return found


def _visited(shape: tuple[int, ...], strides: tuple[int, ...]) -> int:
    """How many elements side by side a view visits, each once; 0 if it does not."""
    extent = 1 + sum((n - 1) * s for n, s in zip(shape, strides))
    return extent if extent == math.prod(shape) and all(s > 0 for s in strides) else 0


@lru_cache(maxsize=4096)
def form_of(op: Op, kinds: tuple[Kind, ...], shape: tuple[int, ...], dtype: np.dtype,
            out_dtype: np.dtype | None = None, aux: tuple[tuple[int, int], ...] = (), added: int = 0,
            summed: int = 0) -> Form | None:
    """The form of a call of `record`; None where the inputs must be looked at or copied first."""
    if ENABLED or op.fixed or op.states:
        return None
    for j, (extents, strides, _) in enumerate(kinds, 1):
        if not op.strided >> j & 1 and strides != contiguous_strides(extents):
            return None
    if 0 in shape and op.lists == 0:  # no adjoint to visit, unless the op lists rows
        added = EVERY
    return Form(op, kinds, shape, dtype, out_dtype or dtype, aux, added, summed)


def source_of(tape: Tape, t: Tensor, op: Op) -> tuple[int, int, int]:
    """What an input whose adjoint is wanted is a view of: the variable, the offset in it, and its bytes."""
    node, itemsize = t.node, t.dtype.itemsize
    if type(node) is Leaf:
        offset = t.offset + (t.buffer.address - node.buffer.address) // itemsize
        return tape.external(node, node.nbytes, itemsize), offset, node.nbytes
    if not node.on_tape:
        return tape.external(node, t.buffer.nbytes, itemsize), t.offset, t.buffer.nbytes
    if node.tape is not tape:
        raise TapegradError(f"{op.name}: an input was recorded on another tape (another thread's, or outside this "
                            "`with tg.Tape()`); detach() it")
    return node.variable, t.offset, node.nbytes


def run(form: Form | None, inputs: Sequence[Tensor], attributes: Sequence[int]) -> Tensor | None:
    """`recording.record` of a form, where neither a recording nor a mode nor aliasing asks for more; else None."""
    own = state.__dict__
    if form is None or own["capture"] is not None or own["segment"] is not None or own["holds"] or own["entered"]:
        return None
    tape = own["defaults"].get(form.dtype)
    differentiated = own["grad_enabled"] and form.has_adjoint
    if tape is None:
        return None
    if form.apart and differentiated:
        nodes = [t.node for t in inputs if t.node is not None]
        if len(nodes) > 1 and len(set(nodes)) < len(nodes):
            return None
    tape.at_work += 1
    try:
        if tape.lent:
            tape.wait_until_back()
        if tape._dead:
            tape.sweep()
        op, itemsize, allocate = form.op, form.itemsize, tape.storage.allocate
        buffer = allocate(form.nbytes, op.name)
        words, held, wanted, bit = [0, buffer.address // itemsize, 0], [buffer], 0, 1
        for t, size in zip(inputs, form.sizes):
            own_buffer = t.buffer
            if own_buffer is None:
                t._array()  # raises, saying why there is no value
            words += (own_buffer.address // size + t.offset, 0)
            held.append(own_buffer)
            if t._requires_grad and differentiated:
                wanted |= bit
            bit <<= 1
        address = form.address or form.load()
        for n, size in form.aux:
            held.append(allocate(n, op.name))
            words += (held[-1].address // size, 0)
        words += attributes
        if not wanted:
            status = kernels.enter(address, tape.scratch_row(words), form.dtype)
            if status:
                raise_status(op, status, form.note, None, words)
            return made(buffer, 0, form.shape, form.strides, form.out_dtype, None, False)
        op, read, note = form.way(wanted)
        variable = tape.new_variable(form.nbytes or itemsize, itemsize)
        variables, offsets, flags, parents = [variable], [0], [0], []
        for t, size, whole in zip(inputs, form.sizes, form.whole):
            if wanted & 1:
                node = t.node
                if type(node) is Node and node.tape is tape and node.on_tape:
                    v, offset, extent = node.variable, t.offset, node.nbytes
                    parents.append(node)
                else:
                    v, offset, extent = source_of(tape, t, op)
                variables.append(v)
                offsets.append(offset)
                flags.append(WANTED | STORABLE if whole and extent // size == whole else WANTED)
            else:
                variables.append(0)
                offsets.append(0)
                flags.append(0)
            wanted >>= 1
        if form.idle:
            variables += form.idle
            offsets += form.idle
            flags += form.idle
        row = tape.append(op, words, variables, offsets, flags, tuple([held[k] for k in read]), note)
        status = kernels.enter(address, row, form.dtype)
        node = Node(tape, variable, form.nbytes or itemsize, tuple(parents))
        if status:
            raise_status(op, status, form.note, None, words)
        return made(buffer, 0, form.shape, form.strides, form.out_dtype, node, True)
    finally:
        tape.at_work -= 1
