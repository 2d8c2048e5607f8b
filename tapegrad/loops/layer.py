"""The adjoint of a `custom_op`, derived from its forward."""

from __future__ import annotations

import ast
import copy
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..functions.custom import CustomOp
from ..tensor.recording import lift_to
from ..tensor.tensor import Tensor
from .derived import compiled_primal
from .normal import Normal, normalise
from .operation import Operation
from .source import Source

__all__ = ["derived"]


def derived(op: CustomOp, kinds: Sequence[tuple[int, bool]], out_ndim: int, dtype: np.dtype,
            wanted: Sequence[str]) -> CustomOp:
    """The op with an adjoint by the inputs `wanted`; see `functions.custom.derive_with`.

    Raises
    ------
    CompileError
        The forward holds what is not understood, changes its inputs, or binds its output again.
    """
    count = len(op.inputs)
    ranks = [*(ndim for ndim, _ in kinds), out_ndim, *(0 for _ in op.scalars)]
    floats = [*(not whole for _, whole in kinds), True, *(True for _ in op.scalars)]
    normal = _with_output(op, {name for name, rank in zip((*op.inputs, op.output), ranks) if rank == 0})
    if normal.is_random:
        normal.source.refuse(normal.source.definition, "np.random in a forward of its own", "use tg.njit, or give the "
                             "random numbers as an input")
    if out_ndim:
        _check_output(normal)
    operation = Operation(normal, compiled_primal(normal, "layer"), list(zip(floats, ranks)), dtype)
    _check_inputs(normal, operation.written, count)
    numbers = [op.inputs.index(name) for name in wanted]
    names = [f"x{k}" for k in range(len(ranks)) if k != count]
    arguments = ", ".join(f"x{k}" if rank or k > count else f"x{k}[()]" for k, rank in enumerate(ranks))
    before = f"    x{count} = np.empty_like(g)\n"
    adjoint = operation.adjoint(names, arguments, numbers, [(0,) * out_ndim], before)
    made = CustomOp(op.forward, adjoint, None, "out", op.name, [n for n in names[:count] if int(n[1:]) not in numbers],
                    [*names[:count], "out", *names[count:]])

    def parameters(r: Any) -> list[Tensor]:
        scalars = [lift_to(getattr(r, f"scalar_{name}"), dtype) for name in names[count:]]
        return [*(r.tensor(1 + k) for k in range(count)), Tensor(np.zeros(r.shape, dtype)), *scalars]

    operation.give(made, {f"x{k}": k for k in numbers}, parameters, ())
    return made


def _with_output(op: CustomOp, scalars: set[str]) -> Normal:
    """The forward in normal form, as a function that returns its output; arrays without axes are numbers in it."""
    normal = copy.copy(normalise(Source(op.forward)))
    normal.outputs, normal.results, normal.is_tuple = [op.output], [op.output], False
    numbers: Any = _Numbers(scalars)
    normal.body = [numbers.visit(copy.deepcopy(s)) for s in normal.body]
    return normal


class _Numbers(ast.NodeTransformer):
    """``x[()]`` and ``x[...]`` of arrays without axes are numbers."""

    def __init__(self, names: set[str]) -> None:
        self._names = names

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        self.generic_visit(node)
        index = node.slice
        is_whole = isinstance(index, ast.Tuple) and not index.elts or isinstance(index, ast.Constant) and (
            index.value is Ellipsis)
        if is_whole and isinstance(node.value, ast.Name) and node.value.id in self._names:
            return ast.copy_location(ast.Name(node.value.id, node.ctx), node)
        return node


def _check_output(normal: Normal) -> None:
    """Refuse an output that is another array than the one that the forward is given."""
    output = normal.outputs[0]
    for s in (node for outer in normal.body for node in ast.walk(outer)):
        if isinstance(s, ast.Assign) and isinstance(s.targets[0], ast.Name) and s.targets[0].id == output and (
                not getattr(s, "in_place", False)):
            normal.source.refuse(s, f"the output {output}, which is bound to another array",
                                 f"assign to its elements: {output}[...] = ...")


def _check_inputs(normal: Normal, written: Sequence[int], count: int) -> None:
    """Refuse a forward that changes its inputs, the first `count` of its parameters."""
    for name in [normal.parameters[k] for k in written if k < count]:
        normal.source.refuse(normal.source.definition, f"a forward that writes to its input {name}",
                             f"write to a copy: a = {name}.copy()")
