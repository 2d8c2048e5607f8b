"""Tensors whose gradients a Python function sees, and may replace, on their way back: define by run and in replays."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Sequence
from functools import cache
from itertools import count
from threading import get_ident
from typing import Any
from weakref import WeakKeyDictionary, WeakValueDictionary

import numpy as np

from ..engine.storage import contiguous_strides
from ..ops.seen import FAILED, SEEN
from ..tape.state import no_grad
from ..tape.tape import Tape
from ..tensor.recording import contiguous, recorder
from ..tensor.tensor import Tensor, fixed, view
from .layout import concatenate, reshape
from .scratch import scratch

Seeing = Callable[[Sequence[Tensor]], Sequence[Tensor]]

_numbers = count(1)


class _Called:
    """A function of the gradients of tensors of these shapes."""

    def __init__(self, function: Seeing, shapes: Sequence[tuple[int, ...]], dtype: np.dtype) -> None:
        self.function, self.shapes, self.dtype, self.number = function, list(shapes), dtype, next(_numbers)

    def on_memory(self, address: int, n: int) -> None:
        """Call the function with what lies there, which its result overwrites."""
        kind = np.ctypeslib.as_ctypes_type(self.dtype)
        values = np.ctypeslib.as_array((kind * n).from_address(address)) if n else np.zeros(0, self.dtype)
        parts, at = [], 0
        for shape in self.shapes:
            size = math.prod(shape)
            parts.append(Tensor(values[at:at + size].reshape(shape).copy()))
            at += size
        with Tape(), no_grad():
            found = [part.detach().numpy() for part in self.function(parts)]
        values[...] = np.concatenate([part.ravel() for part in found])

    def on_tensor(self, g: Tensor) -> Tensor:
        """The same with history."""
        flat, parts, at = reshape(g, (-1,)), [], 0
        for shape in self.shapes:
            size = math.prod(shape)
            parts.append(reshape(flat[at:at + size], shape))
            at += size
        found = [reshape(part, (-1,)) for part in self.function(parts)]
        return reshape(found[0] if len(found) == 1 else concatenate(found), g.shape)


#: by number, and by what keeps them alive
_called: WeakValueDictionary[int, _Called] = WeakValueDictionary()
_kept: WeakKeyDictionary[Any, _Called] = WeakKeyDictionary()


@cache
def _entry() -> Any:
    """The C function by which walks call."""

    def call(number: int, address: int, n: int) -> int:
        try:
            _called[number].on_memory(address, n)
        except BaseException as error:  # an exception cannot leave a C function: the walk's end raises it
            FAILED[get_ident()] = error
            return 1
        return 0

    return ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_int32, ctypes.c_int64, ctypes.c_int64)(call)


def seen(tensors: Sequence[Tensor], function: Seeing) -> list[Tensor]:
    """The same tensors, whose gradients all together go through `function` on their way back.

    Parameters
    ----------
    tensors : sequence of Tensor
        Of one float dtype.
    function : callable
        From a list of gradients to one of the same shapes. It runs once in each reverse walk that reaches one of the
        tensors, in each replay of a recording too; the gradient of a tensor that nothing depends on is zero.
    """
    shapes, dtype = [t.shape for t in tensors], tensors[0].dtype
    called = _Called(function, shapes, dtype)
    token = fixed(Tensor(np.zeros(1, dtype)))
    _called[called.number] = _kept[token.buffer] = called
    flat = [reshape(contiguous(t), (t.size,)) for t in tensors]
    whole = flat[0] if len(flat) == 1 else concatenate(flat)
    y = recorder(SEEN)(whole.shape, dtype=dtype, x=whole, table=token, scratch=scratch(SEEN, max(whole.size, 1), whole),
                       n=whole.size, function=ctypes.cast(_entry(), ctypes.c_void_p).value, called=called.number)
    found, at = [], 0
    for shape in shapes:
        found.append(view(y, at, shape, contiguous_strides(shape)))
        at += math.prod(shape)
    return found


def changed(number: int, g: Tensor) -> Tensor:
    """What the function of an instruction makes of a gradient with history."""
    return _called[number].on_tensor(g)
