"""Gradients of what was computed already, in PyTorch's names: `autograd.grad`, ``backward(create_graph=True)``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..engine.caller import user_line
from ..engine.storage import contiguous_strides
from ..errors import ArgumentError, GradientError, ShapeError
from ..functions.elementwise import add, ones_like
from ..tape.nodes import Leaf
from ..tape.state import enable_grad, no_grad
from ..tensor.tensor import Tensor
from .evaluation import tensor_of
from .graph import Graph
from .reading import steps_to


def grad(outputs: Tensor | Sequence[Tensor], inputs: Tensor | Sequence[Tensor], grad_outputs: Any = None,
         retain_graph: bool | None = None, create_graph: bool = False, allow_unused: bool = False
         ) -> tuple[Tensor | None, ...]:
    """Gradients of tensors by tensors that they were computed from; ``.grad`` stays as it is.

    Parameters
    ----------
    outputs : Tensor or sequence of Tensor
    inputs : Tensor or sequence of Tensor
        Leaves or what was computed on the way. A view has no history of its own: its gradient is that of the elements
        that it shows, however else they were used.
    grad_outputs : array_like, or a sequence of arrays or None, optional
        The adjoint of each output; None stands for 1, of an output of one element.
    retain_graph : bool, optional
        Keep the stretch of tape for another call; by default as `create_graph`.
    create_graph : bool, default False
        Record the gradients, so that they can be differentiated.
    allow_unused : bool, default False
        Give None for an input that no output depends on, rather than raise.

    Returns
    -------
    tuple of Tensor or None
        One for each input.

    Raises
    ------
    GradientError
        If an output requires no gradient, or no output depends on an input.
    GraphReleasedError
        If the stretch of tape was walked already.

    Examples
    --------
    >>> import tapegrad as tg
    >>> x = tg.tensor(2.0, requires_grad=True)
    >>> g, = tg.autograd.grad(x ** 3, x, create_graph=True)
    >>> h, = tg.autograd.grad(g, x)
    >>> float(g), float(h)
    (12.0, 12.0)
    """
    given: list[Any] = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    wanted = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    seeds = _seeds(given, grad_outputs)
    for t in wanted:
        if not t.requires_grad:
            raise GradientError(f"{user_line()}: autograd.grad: an input of shape {list(t.shape)} requires no gradient")
    retain = create_graph if retain_graph is None else retain_graph
    with enable_grad() if create_graph else no_grad():
        found = Graph(given, wanted).pull(seeds)
    if not create_graph:
        found = [None if g is None else g.detach() for g in found]
    if not retain:
        release(given)
    if not allow_unused and any(g is None for g in found):
        k = [g is None for g in found].index(True)
        raise GradientError(f"{user_line()}: autograd.grad: no output depends on input {k}, of shape "
                            f"{list(wanted[k].shape)}; allow_unused=True gives None for it")
    return tuple(found)


def _seeds(outputs: Sequence[Tensor], given: Any) -> list[Tensor]:
    listed = [given] if given is None or isinstance(given, (Tensor, np.ndarray)) else list(given)
    if given is None:
        listed = [None] * len(outputs)
    if len(listed) != len(outputs):
        raise ArgumentError(f"{user_line()}: autograd.grad: {len(listed)} grad_outputs for {len(outputs)} outputs")
    seeds = []
    for t, g in zip(outputs, listed):
        if not t.requires_grad:
            raise GradientError(f"{user_line()}: a tensor of shape {list(t.shape)} requires no gradient: nothing was "
                                "recorded (is every parameter frozen, or was it computed under no_grad?)")
        if g is None and t.size != 1:
            raise GradientError(f"{user_line()}: a tensor of shape {list(t.shape)} needs its adjoint, an array of that "
                                "shape; only one of a single element has an implied one of 1")
        seed = ones_like(t) if g is None else tensor_of(g, t.dtype, "the adjoint of an output")
        if seed.shape != t.shape:
            raise ShapeError(f"{user_line()}: an adjoint has shape {list(seed.shape)}, the output {list(t.shape)}")
        seeds.append(seed)
    return seeds


def release(outputs: Sequence[Tensor]) -> None:
    """Give back the stretch of tape by which the outputs were computed."""
    for t in outputs:
        node = t.node
        if node is not None and not isinstance(node, Leaf) and t.buffer is not None and node.on_tape:
            numbers = {node.tape._producer[step.output[1]] for step in steps_to([t])}
            node.tape.forget(sorted(int(n) for n in numbers))


def _backward(t: Tensor, gradient: Any, retain_graph: bool) -> None:
    """``t.backward(gradient, create_graph=True)``."""
    seeds, leaves = _seeds([t], gradient), dict[Leaf, Tensor]()
    keys = [t.node, *(step.operands[j][0] for step in steps_to([t]) for j in step.inputs if step.operands[j][3])]
    for leaf in keys:
        if isinstance(leaf, Leaf):
            strides = contiguous_strides(leaf.shape)
            leaves[leaf] = Tensor._made(leaf.buffer, 0, leaf.shape, strides, leaf.dtype, leaf, True)
    with enable_grad():
        found = Graph([t], list(leaves.values())).pull(seeds)
        for tensor, g in zip(leaves.values(), found):
            before = tensor.grad
            if g is not None:
                tensor.grad = g if before is None else add(before, g)
    if not retain_graph:
        release([t])


Tensor._backward_by_compositions = staticmethod(_backward)
