"""Which elements of a result depend on which elements of an argument, by index sets through the graph.

For each variable a sparse matrix of booleans has a row for each of its elements and a column for each element of the
argument. A view takes rows; an instruction multiplies by the matrix that says which elements of its output depend on
which elements of an operand. Where that is not known, every element depends on all: the pattern may have too many
elements, never too few.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..tape.state import no_grad
from ..tensor.recording import record
from ..tensor.tensor import Tensor, view
from .graph import Graph
from .placing import is_block, laid, numbers
from .steps import Step, elements_of, offset_of, variable_of

Sets = Any  # scipy.sparse.csr_array of bool


def pattern_of(graph: Graph, source: Tensor, output: Tensor) -> Sets:
    """The elements of `output` by those of `source` on which they depend.

    Returns
    -------
    scipy.sparse.csr_array of bool, (output.size, source.size)
    """
    import scipy.sparse  # not with the package, for it takes its time

    n = source.size
    own = numbers(offset_of(source), source.shape, source.strides).ravel()
    first = scipy.sparse.coo_array((np.ones(n, bool), (own, np.arange(n))), (elements_of(source), n)).tocsr()
    sets: dict[Any, Sets] = {variable_of(source): first}
    for step in graph.steps:
        found = None
        for j in step.flows(sets):
            shape, _, strides = step.kinds[j]
            part = _seen(sets[step.operands[j][0]], step.operands[j][2], shape, strides)
            if not (isinstance(step.op.composition.get(step.name(j)), str) and shape == step.shape):
                part = (_dependence(step, j) @ part).astype(bool)
            found = part if found is None else found + part
        if found is not None:
            sets[step.output] = found
    of_output = sets.get(variable_of(output)) if output.node is not None else None
    if of_output is None:
        return scipy.sparse.csr_array((output.size, n), dtype=bool)
    chosen = scipy.sparse.csr_array(_seen(of_output, offset_of(output), output.shape, output.strides), copy=True)
    chosen.sum_duplicates()
    chosen.sort_indices()
    return chosen


def _seen(sets: Sets, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> Sets:
    """Those of a view of a variable."""
    if offset == 0 and is_block(shape, strides) and math.prod(shape) == sets.shape[0]:
        return sets
    return sets[numbers(offset, shape, strides).ravel()]


def _dependence(step: Step, j: int) -> Sets:
    """The elements of the output by those of operand `j` on which they depend."""
    import scipy.sparse

    op, name = step.op, step.name(j)
    rule = _RULES.get(op.name)
    rows, columns = math.prod(step.shape), math.prod(step.kinds[j][0])
    if isinstance(op.composition.get(name), str):
        rule = _each
    found = rule(step, j) if rule is not None else None
    if found is None:
        return scipy.sparse.csr_array(np.ones((rows, columns), bool))
    to, of = found
    return scipy.sparse.coo_array((np.ones(len(to), bool), (to, of)), (rows, columns)).tocsr()


def _each(step: Step, j: int) -> Any:
    """Element by element, broadcast."""
    shape = step.kinds[j][0]
    of = np.broadcast_to(np.arange(math.prod(shape)).reshape(shape), step.shape)
    return np.arange(of.size), of.ravel()


def _nest(step: Step, j: int) -> Any:
    """The output's element and the operand's at each place of the nest over the operand."""
    row: Any = step.op.row
    shape = step.kinds[j][0]
    to = numbers(0, shape, laid(step.nest, row.nests["nest"].index("y"), shape)).ravel()
    return to, np.arange(to.size)


def _moved(step: Step, j: int) -> Any:
    """Of an op that moves elements: where it puts the elements' numbers."""
    inputs = [step.tensor(k).detach() for k in step.inputs]
    if any(t.is_symbolic and t.dtype.kind != "f" for t in inputs):
        return None
    probes = [t if t.dtype.kind != "f" else
              _lying(np.arange(1.0, t.size + 1.0) if k == j else np.zeros(t.size), t.shape, t.strides)
              for k, t in zip(step.inputs, inputs)]
    with no_grad():
        y = record(step.op, probes, step.shape, step.attributes, dtype=probes[j - 1].dtype)
    found = np.rint(y.numpy().ravel()).astype(np.int64)
    to = np.flatnonzero(found)
    return to, found[to] - 1


def _lying(values: np.ndarray, shape: tuple[int, ...], strides: tuple[int, ...]) -> Tensor:
    """A tensor of these values and strides."""
    places = numbers(0, shape, strides).ravel()
    first = int(places.min(initial=0))
    memory = np.zeros(int(places.max(initial=0)) - first + 1)
    memory[places - first] = values
    return view(Tensor(memory), -first, shape, strides)


def _product(step: Step, j: int) -> Any:
    """Of a product of matrices: a row of the first operand, or a column of the second."""
    shape = step.kinds[j][0]
    axis = len(shape) - 1 if j == 1 else len(shape) - 2
    lines = np.moveaxis(np.arange(math.prod(shape)).reshape(shape), axis, -1)
    lines = lines[..., :, None, :] if j == 1 else lines[..., None, :, :]
    lines = np.broadcast_to(lines, (*step.shape, shape[axis]))
    return np.repeat(np.arange(math.prod(step.shape)), shape[axis]), lines.ravel()


def _linear(step: Step, j: int) -> Any:
    """Of x W^T + b: a row of x."""
    if j != 1:
        return None
    shape = step.kinds[1][0]
    lines = np.broadcast_to(np.arange(math.prod(shape)).reshape(*shape[:-1], 1, shape[-1]), (*step.shape, shape[-1]))
    return np.repeat(np.arange(math.prod(step.shape)), shape[-1]), lines.ravel()


def _rows(step: Step, j: int) -> Any:
    """Row by row: each element of a row depends on all of the row."""
    n, rows = step.n, step.rows
    out = math.prod(step.shape) // rows if rows else 0
    to = np.repeat(np.arange(rows * out), n)
    of = np.broadcast_to(np.arange(rows * n).reshape(rows, 1, n), (rows, out, n))
    return to, of.ravel()


_RULES: dict[str, Callable[[Step, int], Any]] = {
    "where": _each, "sum": _nest, "pad": _moved, "concatenate": _moved, "take": _moved, "gather": _moved,
    "stack": _moved, "embedding": _moved, "matmul": _product, "linear": _linear,
    **dict.fromkeys(("max", "min", "prod", "var", "std", "logsumexp", "softmax", "log_softmax", "cumsum", "cumprod",
                     "logcumsumexp"), _rows)}
