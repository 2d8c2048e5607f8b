"""Gradients of what was computed already, in PyTorch's names: `autograd.grad`, ``backward(create_graph=True)``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..engine.caller import user_line
from ..engine.storage import contiguous_strides
from ..errors import ArgumentError, GradientError, ShapeError
from ..functions.constants import ones_like
from ..functions.elementwise import add, multiply
from ..functions.reductions import sum as total
from ..tape.history import leave
from ..tape.nodes import Leaf, Node
from ..tape.reverse import adjoints
from ..tape.state import enable_grad, no_grad, state
from ..tensor.recording import contiguous
from ..tensor.tensor import Tensor, view
from .evaluation import tensor_of
from .graph import Graph
from .reading import steps_to
from .steps import elements_of, offset_of


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
        Record the gradients, so that they can be differentiated. Without, they are numbers, of one compiled reverse
        walk over what lies between inputs and outputs.
    allow_unused : bool, default False
        Give None for an input that no output depends on, rather than raise.

    Returns
    -------
    tuple of Tensor or None
        One for each input.

    Raises
    ------
    GradientError
        If an output requires no gradient, or no output depends on an input; without `create_graph` in a function that
        is being differentiated, whose derivative would miss what is computed from numbers.
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
    if not create_graph and _is_walked(given, wanted):
        found = _by_walk(given, wanted, seeds, retain)
    else:
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


def _is_walked(outputs: Sequence[Tensor], inputs: Sequence[Tensor]) -> bool:
    """Whether all stands on one tape, whose compiled walk gives numbers."""
    if state.capture is not None or not all([type(t.node) is Node for t in outputs]):
        return False
    tapes = {t.node.tape for t in outputs}.union([t.node.tape for t in inputs if type(t.node) is Node])
    return len(tapes) == 1 and all([t.dtype == outputs[0].dtype and isinstance(t.node, (Leaf, Node)) for t in inputs])


def _by_walk(outputs: Sequence[Tensor], inputs: Sequence[Tensor], seeds: Sequence[Tensor],
             retain: bool) -> list[Tensor | None]:
    """`grad` by one compiled reverse walk."""
    for t in outputs:
        leave(t, "autograd.grad without create_graph=True, whose gradients have no history,")
    output, seed = outputs[0], seeds[0].numpy()
    if len(outputs) > 1:  # from the sum of the products with their adjoints
        with enable_grad():
            output = total(multiply(output, seeds[0].detach()))
            for t, g in zip(outputs[1:], seeds[1:]):
                output = add(output, total(multiply(t, g.detach())))
        seed = np.ones((), output.dtype)
    buffers = adjoints(output.node.tape, output.node, output.offset, output.shape, output.strides, seed, retain,
                       [t.node for t in inputs])
    found, given = list[Tensor | None](), set[Leaf | Node]()
    for t in inputs:
        if t.node not in buffers:
            found.append(None)
            continue
        elements = elements_of(t)
        g = view(Tensor._made(buffers[t.node], 0, (elements,), (1,), t.dtype), offset_of(t), t.shape, t.strides)
        found.append(contiguous(g) if t.size == elements and t.node not in given else Tensor(g.numpy()))
        given.add(t.node)
    return found


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
