"""The computation graph, walked by ops that are recorded like any other: for derivatives that are differentiated again.

The compiled reverse walk gives numbers. Where a derivative is itself to be differentiated, pushed forward or batched,
the graph is walked here in Python instead: `pull` in reverse with cotangents (adjoints), `push` forward with tangents.
A variable may be seen through many views; its cotangent and its tangent are flat tensors of all its elements, of which
those of a view are the same view.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from .. import functions
from ..engine.storage import contiguous_strides
from ..errors import GradientError, ShapeError
from ..functions.formulas import add, subtract
from ..functions.layout import broadcast_to, concatenate, reshape
from ..ops.mapped import Mapped
from ..tape.hooks import HOOKS
from ..tape.nodes import Leaf, Node
from ..tape.state import enable_grad
from ..tensor.recording import contiguous, lift_to
from ..tensor.tensor import Tensor, view
from .elementwise import evaluate
from .placing import is_block, placed, sum_to
from .reading import recorded, steps_to
from .steps import Step, elements_of, offset_of, variable_of
from .trace import Trace
from .variables import fresh
from .vmap import run, with_axis


class Graph:
    """What outputs were computed from sources by.

    Parameters
    ----------
    outputs : sequence of Tensor
    sources : sequence of Tensor
        Views of variables, of which some may have been computed from others.
    since : int or Node, optional
        Of the present recording, or of a tape, the instruction before which nothing depends on the sources; none before
        it is walked.
    """

    def __init__(self, outputs: Sequence[Tensor], sources: Sequence[Tensor], since: int | Node | None = None) -> None:
        self.outputs, self.sources = outputs, sources
        own = self._own = {variable_of(t) for t in sources}
        reached, made = set(own), set()
        self.steps: list[Step] = []
        ends = {variable_of(t) for t in outputs if t.requires_grad}
        for step in steps_to([t for t in outputs if t.requires_grad], since):
            made.add(step.output)
            ends.update([step.operands[j][0] for j in step.inputs if step.operands[j][3]])
            if step.flows(reached):
                reached.add(step.output)
                self.steps.append(step)
        self._reached = reached
        #: whether the outputs depend on something else too that can be differentiated by
        self.is_open = any(not (isinstance(end, Leaf) and end.is_private) for end in ends - made - own)

    def detach(self) -> None:
        """From now on what is computed from cotangents or tangents has a history by these alone."""
        for step in self.steps:
            step.detach()

    def pull(self, cotangents: Sequence[Tensor | None]) -> list[Tensor | None]:
        """The cotangents of the sources from those of the outputs; None where no output depends on one."""
        totals = _Cotangents()
        for t, g in zip(self.outputs, cotangents):
            if g is not None and variable_of(t) in self._reached:
                totals.add(variable_of(t), elements_of(t), offset_of(t), t.shape, t.strides, g)
        for step in reversed(self.steps):
            flat = totals.take(step.output, step.output in self._own)
            if flat is None:
                continue
            if HOOKS and step.node in HOOKS:
                flat = totals.replace(step.output, _hooked(step.node, flat), step.output in self._own)
            g = view(contiguous(flat), 0, step.shape, contiguous_strides(step.shape))
            if step.rule is not None:
                for t, contribution in step.rule.pull(g):
                    if variable_of(t) in self._reached:
                        totals.add(variable_of(t), elements_of(t), offset_of(t), t.shape, t.strides,
                                   sum_to(contribution, t.shape))
                continue
            for j, contribution in contributions(step, g, step.flows(self._reached)):
                key, elements, offset, _ = step.operands[j]
                shape, _, strides = step.kinds[j]
                totals.add(key, elements, offset, shape, strides, contribution)
        found = [totals.of(t) for t in self.sources]
        if not HOOKS:
            return found
        return [g if g is None or not isinstance(t.node, Leaf) or t.node not in HOOKS else
                _part(_hooked(t.node, placed(g, elements_of(t), offset_of(t), t.shape, t.strides)), t)
                for t, g in zip(self.sources, found)]

    def push(self, tangents: Sequence[Tensor | None]) -> list[Tensor | None]:
        """The tangents of the outputs from those of the sources; None where one depends on no source that moves."""
        flat: dict[Any, Tensor] = {}
        for t, d in zip(self.sources, tangents):
            if d is not None:
                flat[variable_of(t)] = placed(d, elements_of(t), offset_of(t), t.shape, t.strides)
        for step in self.steps:
            if step.rule is not None:
                dy = step.rule.push(lambda t: _part(flat.get(variable_of(t)), t))
                if dy is not None:
                    flat[step.output] = reshape(dy, (dy.size,))
                continue
            moved = {}
            for j in step.flows(flat):
                shape, _, strides = step.kinds[j]
                moved[j] = view(contiguous(flat[step.operands[j][0]]), step.operands[j][2], shape, strides)
            if moved:
                dy = _tangent(step, moved)
                if dy is not None:
                    flat[step.output] = reshape(dy, (dy.size,))
        return [_part(flat.get(variable_of(t)), t) for t in self.outputs]


def _part(flat: Tensor | None, t: Tensor) -> Tensor | None:
    """Of a flat tensor of all elements of a variable, the view that `t` is of the variable."""
    return None if flat is None else view(contiguous(flat), offset_of(t), t.shape, t.strides)


def _hooked(node: Any, flat: Tensor) -> Tensor:
    """The cotangent of a variable, flat, after the hooks on it."""
    for hook in list(HOOKS.get(node, {}).values()):
        given = hook.function(view(contiguous(flat), hook.offset, hook.shape, hook.strides))
        if given is not None:
            if given.shape != hook.shape:
                raise ShapeError(f"register_hook: the hook gave shape {list(given.shape)}; the gradient has "
                                 f"{list(hook.shape)}")
            flat = placed(lift_to(given, flat.dtype), flat.size, hook.offset, hook.shape, hook.strides)
    return flat


class _Cotangents:
    """By variable a flat tensor of all its elements, to which the contributions of views are added up.

    Blocks that do not overlap are put side by side in the end, rather than each into zeros at once: a variable that is
    used row by row is made once, not for every row.
    """

    def __init__(self) -> None:
        self._totals: dict[Any, Tensor] = {}
        self._blocks: dict[Any, dict[int, Tensor]] = {}  # by variable, then by where they begin
        self._begins: dict[Any, list[int]] = {}  # the same, in order
        self._elements: dict[Any, int] = {}

    def add(self, key: Any, elements: int, offset: int, shape: tuple[int, ...], strides: tuple[int, ...],
            contribution: Tensor) -> None:
        """Add what belongs to a view of a variable of so many elements."""
        if 0 < contribution.size < elements and is_block(shape, strides):
            blocks, count = self._blocks.setdefault(key, {}), contribution.size
            block = view(contiguous(contribution), 0, (count,), (1,))
            if offset in blocks and blocks[offset].size == count:
                blocks[offset] = add(blocks[offset], block)
                return
            begins = self._begins.setdefault(key, [])
            k = bisect_left(begins, offset)
            if (k == 0 or begins[k - 1] + blocks[begins[k - 1]].size <= offset) and (
                    k == len(begins) or offset + count <= begins[k]):
                begins.insert(k, offset)
                blocks[offset], self._elements[key] = block, elements
                return
        self._add(key, placed(contribution, elements, offset, shape, strides))

    def _add(self, key: Any, flat: Tensor) -> None:
        before = self._totals.get(key)
        self._totals[key] = flat if before is None else add(before, flat)

    def _whole(self, key: Any) -> Tensor | None:
        """What has been added up, with the blocks."""
        blocks, begins, at, parts = self._blocks.pop(key, {}), self._begins.pop(key, []), 0, []
        if len(blocks) == 1:
            (first, block), = blocks.items()
            self._add(key, placed(block, self._elements[key], first, block.shape, (1,)))
        elif blocks:
            for first in begins:
                if first > at:
                    parts.append(Tensor(np.zeros(first - at, blocks[first].dtype)))
                parts.append(blocks[first])
                at = first + blocks[first].size
            if at < self._elements[key]:
                parts.append(Tensor(np.zeros(self._elements[key] - at, parts[-1].dtype)))
            self._add(key, concatenate(parts))
        return self._totals.get(key)

    def take(self, key: Any, keeps: bool) -> Tensor | None:
        """What has been added up; it is forgotten unless it will be asked for again."""
        flat = self._whole(key)
        return flat if keeps else self._totals.pop(key, None)

    def replace(self, key: Any, flat: Tensor, keeps: bool) -> Tensor:
        """Another in the place of what `take` gave."""
        if keeps:
            self._totals[key] = flat
        return flat

    def of(self, t: Tensor) -> Tensor | None:
        """What belongs to a view of a variable."""
        return _part(self._whole(variable_of(t)), t)


# ------------------------------------------------------------------ one instruction


def contributions(step: Step, g: Tensor, inputs: Iterable[int]) -> Iterator[tuple[int, Tensor]]:
    """By input what it contributes to its cotangent, given that of the output."""
    op = step.op
    if isinstance(op, Mapped):
        yield from _of_each(step, g, inputs)
        return
    if op.formula is not None:
        yield from _by_formula(step, g, inputs)
        return
    if op.pull is not None:
        wanted = {step.name(j): j for j in inputs}
        for name, c in op.pull(step, g, functions, wanted.keys()).items():
            yield wanted[name], sum_to(c, step.kinds[wanted[name]][0])
        return
    for j in inputs:
        rule = op.composition.get(step.name(j))
        if rule is None:
            raise GradientError(f"{step.at()}: {op.name} has no second derivative by its input {step.name(j)!r}: "
                                "its adjoint is not given as a composition of ops; detach() what it uses, or compute "
                                "it by other ops")
        c = evaluate(rule, step, g) if isinstance(rule, str) else rule(step, g, functions)
        if isinstance(c, Tensor):
            yield j, sum_to(c, step.kinds[j][0])


def _tangent(step: Step, moved: Mapping[int, Tensor]) -> Tensor | None:
    """The output's tangent, given those of some inputs."""
    op, total = step.op, None
    if isinstance(op, Mapped):
        with _One(step) as one:
            dy = _tangent(one.step, {j: one.slice(d, j) for j, d in moved.items()})
        return None if dy is None else one.results([dy])[0]
    if op.formula is not None:
        y, sources = _formula(step, moved)
        return Graph([y], sources).push(list(moved.values()))[0]
    if op.push is not None:
        dy = op.push(step, {step.name(j): d for j, d in moved.items()}, functions)
        return dy if dy.shape == step.shape else broadcast_to(dy, step.shape)
    rest = {}
    for j, d in moved.items():
        rule: Any = op.tangent.get(step.name(j)) or op.composition.get(step.name(j))
        if rule == "-g" and total is not None:
            total = subtract(total, d)
            continue
        if isinstance(rule, str):
            part = evaluate(rule, step, d)
        elif step.name(j) in op.tangent:
            part = rule(step, d, functions)
        else:
            rest[j] = d
            continue
        if isinstance(part, Tensor):
            part = part if part.shape == step.shape else broadcast_to(part, step.shape)
            total = part if total is None else add(total, part)
    if rest:
        part = _transposed(step, rest)
        if part is not None:
            total = part if total is None else add(total, part)
    return total


def _transposed(step: Step, moved: Mapping[int, Tensor]) -> Tensor | None:
    """The tangent where no rule is given: the adjoint is linear in the cotangent, and its transpose is the tangent."""
    shape, dtype, _ = step.kinds[0]
    since = recorded()
    with enable_grad():
        u = fresh(Tensor(np.zeros(shape, dtype)))
        if since is None:
            u = fresh(u)  # by an instruction, after which all comes that depends on it
        found = dict(contributions(step, u, moved))
    return Graph(list(found.values()), [u], u.node if since is None else since).pull([moved[j] for j in found])[0]


class _One:
    """An instruction for each of a batch, seen as one of them: a trace of what is computed for one."""

    def __init__(self, step: Step) -> None:
        op: Any = step.op
        self._axes = [step.axes >> j & 1 for j in range(len(step.kinds))]
        self._whole, self._size = step, step.count
        self._trace, self._values = Trace(step.kinds[0][1], "vmap"), dict[int, Tensor]()
        kinds = [(shape[1:], dtype, strides[1:]) if axis else (shape, dtype, strides)
                 for (shape, dtype, strides), axis in zip(step.kinds, self._axes)]
        attributes = step.attributes[len(step.attributes) - step.length:]
        self.step = Step(op.inner, attributes, step.operands[:-1], kinds, step.where,
                         lambda j: self.slice(step.tensor(j), j))

    def slice(self, t: Tensor, j: int = 0) -> Tensor:
        """What one of the batch has of a tensor that belongs to operand `j`."""
        if not self._axes[j]:
            return t
        one = self._trace.input(t.shape[1:], t.dtype, t.requires_grad)
        self._values[one.node.variable] = t
        return one

    def __enter__(self) -> _One:
        self._trace.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._trace.__exit__(*error)

    def results(self, found: Sequence[Tensor]) -> list[Tensor]:
        """What was found for one, for all of the batch along a leading axis."""
        return [with_axis(t, has_axis, self._size)
                for t, has_axis in run(self._trace, found, self._values, self._size)]


def _of_each(step: Step, g: Tensor, inputs: Iterable[int]) -> Iterator[tuple[int, Tensor]]:
    with _One(step) as one:
        found = list(contributions(one.step, one.slice(g), inputs))
    for (j, _), c in zip(found, one.results([c for _, c in found])):
        yield j, sum_to(c, step.kinds[j][0])


class _Substituted:
    """An instruction some of whose operands are other tensors."""

    def __init__(self, step: Step, tensors: Mapping[str, Tensor]) -> None:
        self._step = step
        self.__dict__.update(tensors)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._step, name)


def _formula(step: Step, inputs: Iterable[int]) -> tuple[Tensor, list[Tensor]]:
    """The output of an op by its formula, as a function of fresh variables for `inputs`."""
    formula: Any = step.op.formula
    with enable_grad():
        sources = {step.name(j): fresh(step.tensor(j)) for j in inputs}
        return formula(_Substituted(step, sources), functions), list(sources.values())


def _by_formula(step: Step, g: Tensor, inputs: Iterable[int]) -> Iterator[tuple[int, Tensor]]:
    inputs = list(inputs)
    y, sources = _formula(step, inputs)
    for j, c in zip(inputs, Graph([y], sources).pull([reshape(g, y.shape)])):
        if c is not None:
            yield j, c


