"""``t.register_hook(f)``."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..engine.caller import user_line
from ..errors import ArgumentError, CaptureError, GradientError, ShapeError
from ..tape.hooks import Handle, Hook, add_hook
from ..tape.nodes import Leaf
from ..tape.state import no_grad

__all__ = ["Hooked"]


class Hooked:
    """Tensors whose gradients hooks see."""

    __slots__ = ()
    node: Any
    buffer: Any
    shape: Any
    strides: tuple[int, ...]
    dtype: np.dtype
    offset: int

    def register_hook(self, hook: Callable[[Any], Any]) -> Handle:
        """Call ``hook(gradient)`` whenever the gradient by this tensor is computed, as PyTorch's.

        Parameters
        ----------
        hook : callable
            What it returns, unless None, takes the place of the gradient: a tensor or array of the same shape. Of a
            leaf it is called once for each `backward`, before the gradient is added to `grad`.

        Returns
        -------
        Handle
            Its ``remove()`` removes the hook.

        Raises
        ------
        GradientError
            If the tensor requires no gradient, or shows only a part of another, which has no gradient of its own.
        CaptureError
            In a recording, which is compiled and calls no Python; recorded steps refuse parameters that have hooks.

        Examples
        --------
        >>> import tapegrad as tg
        >>> x = tg.tensor([1.0, 2.0], requires_grad=True)
        >>> handle = x.register_hook(lambda g: 10 * g)
        >>> (x * x).sum().backward()
        >>> x.grad
        tensor([20., 40.])
        """
        t: Any = self
        if t.is_symbolic:
            raise CaptureError(f"{user_line()}: register_hook in a recording, which is compiled and calls no Python; "
                               "use it define by run")
        if not t.requires_grad:
            raise GradientError(f"{user_line()}: register_hook: a tensor of shape {list(t.shape)} requires no gradient")
        leaf = isinstance(t.node, Leaf)
        elements = math.prod(t.node.shape) if leaf else t.node.nbytes // t.dtype.itemsize
        offset = t._leaf_offset() if leaf else 0
        if t.size != elements or 0 in [s for n, s in zip(t.shape, t.strides) if n > 1]:
            raise GradientError(f"{user_line()}: register_hook: a view of shape {list(t.shape)} shows a part of a "
                                f"tensor of {elements} elements and has no gradient of its own; register the hook on "
                                "that tensor, or on a copy with history: part = tg.clone(part)")
        if not callable(hook):
            raise ArgumentError(f"{user_line()}: register_hook: a hook is a function, not {type(hook).__name__}")

        def on_array(adjoint: np.ndarray) -> np.ndarray | None:
            given = tensor_of(adjoint)
            with no_grad():
                found = hook(given)
            if found is None:
                return None
            array = found._array() if hasattr(found, "_array") else np.asarray(found)
            if array.shape != adjoint.shape:
                raise ShapeError(f"register_hook: the hook gave shape {list(array.shape)}; the gradient has "
                                 f"{list(adjoint.shape)}")
            return array

        tensor_of = type(t)._of_array
        return add_hook(t.node, Hook(hook, on_array, t.offset - offset, t.shape, t.strides))
