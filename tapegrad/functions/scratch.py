"""Working memory: one piece that all ops of a recording share, and one a tape for what is computed at once."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary, ref

from ..ops.scratch import SCRATCH
from ..ops.table import Op
from ..tape.state import state
from ..tape.tape import tape_for
from ..tensor.recording import depends, record
from ..tensor.tensor import Tensor

#: the scratch of each recording in the making
_recorded: WeakKeyDictionary[Any, Tensor] = WeakKeyDictionary()

#: the scratch that each tape used last; alive while an instruction refers to it
_computed: WeakKeyDictionary[Any, ref[Any]] = WeakKeyDictionary()


def scratch(op: Op, elements: int, *operands: Tensor) -> Tensor:
    """Working memory for an instruction, the recording's or the tape's where it is large enough.

    An instruction writes it before it reads it, in its adjoint too, for any other may have used it meanwhile. In a
    recording it is the output of an instruction of its own, so that it is planned once and does not grow with the
    number of layers.

    Parameters
    ----------
    op : Op
        Whose it is first; errors about memory name it.
    elements : int
    *operands : Tensor
        What `op` is applied to; the first one's dtype is that of the scratch.

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
