"""Workspaces: one that all ops of a recording share, and one for each define-by-run tape."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary, ref

from ..ops.scratch import SCRATCH
from ..ops.table import Op
from ..tape.state import state
from ..tape.tape import tape_for
from ..tensor.recording import depends, record
from ..tensor.tensor import Tensor

#: of each recording in the making
_recorded: WeakKeyDictionary[Any, Tensor] = WeakKeyDictionary()

#: the latest of each tape; kept alive by the instructions that use it
_computed: WeakKeyDictionary[Any, ref[Any]] = WeakKeyDictionary()


def scratch(op: Op, elements: int, *operands: Tensor) -> Tensor:
    """A workspace for an instruction: the present one of the recording or the tape if large enough, else a new one.

    Its contents do not survive: every kernel, adjoints included, writes before it reads. In a recording it is the
    output of an instruction of its own, so that it is planned once and does not grow with the number of layers.

    Parameters
    ----------
    op : Op
        First user; errors about memory name it.
    elements : int
    *operands : Tensor
        Inputs of `op`; the first one's dtype is that of the workspace.

    Returns
    -------
    Tensor, (at least `elements`,)
    """
    dtype, capture = operands[0].dtype, state.capture
    if capture is not None and depends(operands):
        found = _recorded.get(capture)
        if found is None or found.size < elements:
            found = _recorded[capture] = record(SCRATCH, (), (elements,), dtype=dtype, always=True)
        return found
    tape = tape_for(dtype)
    last = _computed.get(tape)
    buffer = None if last is None else last()
    if buffer is None or buffer.nbytes < elements * dtype.itemsize:
        buffer = tape.storage.allocate(elements * dtype.itemsize, op.name)
        _computed[tape] = ref(buffer)
    return Tensor._made(buffer, 0, (elements,), (1,), dtype)
