"""A function evaluated at fresh variables, and the graph between them: what every derivative begins with."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..engine.caller import user_line
from ..engine.lazy import lazy
from ..engine.tree import flatten, unflatten
from ..errors import ArgumentError, DtypeError, GradientError
from ..functions.constants import zeros_like
from ..tape.history import differentiating
from ..tape.nodes import Leaf
from ..tape.state import enable_grad, no_grad, state
from ..tensor.arrays import FLOAT32, FLOAT64, foreign_array
from ..tensor.tensor import Tensor
from .graph import Graph
from .variables import fresh
from .vmap import mapped, with_axis


class Evaluation:
    """``function(*args, **kwargs)``, to be differentiated by some of its arguments.

    Parameters
    ----------
    function : callable
    args, kwargs
        Of the call.
    positions : sequence of int
        Of the arguments by which it is differentiated, each once.
    has_aux : bool
        Whether it returns a pair of which the second is not differentiated.

    Attributes
    ----------
    outputs : list of Tensor
        The leaves of the result.
    aux : object
    sources : list of Tensor
        The leaves of the arguments by which it is differentiated.
    dtype : numpy.dtype
        Of the sources.
    """

    def __init__(self, function: Callable, args: Sequence[Any], kwargs: dict[str, Any], positions: Sequence[int],
                 has_aux: bool = False) -> None:
        trees = [flatten(args[k]) for k in positions]
        self.structures = [structure for _, structure in trees]
        self.counts = [len(leaves) for leaves, _ in trees]
        dtype = dtype_of([leaf for leaves, _ in trees for leaf in leaves])
        given = [tensor_of(leaf, dtype, f"argument {k}") for k, (leaves, _) in zip(positions, trees) for leaf in leaves]
        self.dtype, self._captured = dtype, state.capture is not None
        self._within, self._records = _inside(), state.grad_enabled
        self._has_history = any([t.requires_grad for t in given])
        with enable_grad(), holding():
            self.sources = [fresh(t) for t in given]
            arguments, rest = list(args), iter(self.sources)
            for k, count, structure in zip(positions, self.counts, self.structures):
                arguments[k] = unflatten(structure, [next(rest) for _ in range(count)])
            with _variables([t.node for t in self.sources if isinstance(t.node, Leaf)]):
                result = function(*arguments, **kwargs)
        result, self.aux = split(result, has_aux)
        leaves, self.structure = flatten(result)
        self._name = getattr(function, "__name__", "the function")
        self.outputs = [self._output(leaf) for leaf in leaves]

    @lazy
    def graph(self) -> Graph:
        """From the sources to the outputs."""
        graph = Graph(self.outputs, self.sources)
        if not self._continues(graph):
            graph.detach()
        return graph

    def _continues(self, graph: Graph) -> bool:
        return self._records and (self._captured or self._has_history or graph.is_open)

    @lazy
    def goes_on(self) -> bool:
        """Whether derivatives have a history of their own: by outer variables, or by leaves such as parameters."""
        return self._continues(self.graph)

    @contextmanager
    def walking(self, seeds: Sequence[Tensor | None] = ()) -> Iterator[None]:
        """While cotangents or tangents are computed: they are recorded if anything can be differentiated by them."""
        recorded = state.grad_enabled and (self.goes_on or state.capture is not None or any(
            [t.requires_grad for t in seeds if t is not None]))
        with enable_grad() if recorded else no_grad():
            yield

    def given(self, t: Tensor) -> Any:
        """A result as the caller has it: a tensor within a transformation or a recording or where it has a history,
        else an array."""
        as_it_is = self._within or self.goes_on or t.requires_grad or _inside()
        return t if as_it_is else t.detach().numpy()[()]

    def check_outputs(self) -> None:
        """Raise if an output has no derivative."""
        for t in self.outputs:
            if not t.is_floating:
                raise GradientError(f"{user_line()}: {self._name}() returned {t.dtype} data of shape {list(t.shape)}, "
                                    "which has no derivative; return it beside the value, with has_aux=True")

    def value(self) -> Any:
        """The function's result."""
        return unflatten(self.structure, [self.given(self.plain(t)) for t in self.outputs])

    def auxiliary(self) -> Any:
        """What the function returned beside its result."""
        leaves, structure = flatten(self.aux)
        return unflatten(structure, [self.given(self.plain(t)) if isinstance(t, Tensor) else t for t in leaves])

    def plain(self, t: Tensor) -> Tensor:
        """A tensor without the history by the sources, unless another may go on."""
        return t if self._records and self._within or self.goes_on else t.detach()

    def by_argument(self, found: Sequence[Any]) -> list[Any]:
        """What belongs to each leaf of the sources, in the structure of each argument."""
        rest = iter(found)
        return [unflatten(structure, [next(rest) for _ in range(count)])
                for count, structure in zip(self.counts, self.structures)]

    def pull(self, cotangents: Sequence[Tensor | None]) -> list[Any]:
        """The sources' cotangents, from the outputs'."""
        with self.walking(cotangents):
            found = self.graph.pull(cotangents)
            return [self.given(zeros_like(t) if g is None else g) for t, g in zip(self.sources, found)]

    def push(self, tangents: Sequence[Tensor | None]) -> list[Any]:
        """The outputs' tangents, from the sources'."""
        with self.walking(tangents):
            found = self.graph.push(tangents)
            return [self.given(zeros_like(t) if d is None else d) for t, d in zip(self.outputs, found)]

    def rows_at_once(self, nbytes: int) -> int:
        """For how many vectors `products` takes about so much memory beside its results: one at least.

        In a recording the cotangents of a walk share bytes, in pairs; define by run all of them last as long as it.
        """
        sizes = [math.prod(step.shape) for step in self.graph.steps] or [0]
        ends = sum([t.size for t in (*self.sources, *self.outputs)])
        elements = ends + (2 * max(sizes) if self._captured else sum(sizes))
        return max(nbytes // (max(elements, 1) * self.dtype.itemsize), 1)

    def products(self, seeds: Sequence[Tensor], reverse: bool, first: int | None = None) -> list[Tensor]:
        """The Jacobian's product with each of some vectors, along a leading axis: in the order of the outputs.

        With `reverse` that of its transpose: the seeds are cotangents of the outputs, the results those of the sources.
        Where the seeds are one tensor of unit vectors in order, `first` is the number of the first.
        """
        walk, ends = (self.graph.pull, self.sources) if reverse else (self.graph.push, self.outputs)
        size = len(seeds[0]) if seeds else 0
        if not size:
            return [Tensor(np.zeros((0, *t.shape), t.dtype)) for t in ends]

        def product(*vectors: Tensor) -> list[Tensor]:
            return [zeros_like(t) if d is None else d for t, d in zip(ends, walk(vectors))]

        found, _ = mapped(product, seeds, [True] * len(seeds), size, self.dtype, True, first)
        return [with_axis(t, has_axis, size) for t, has_axis in found]

    def like(self, tree: Any, structure: Any, of: Sequence[Tensor], what: str) -> list[Tensor | None]:
        """The leaves of a cotangent or tangent, checked against the tensors that it belongs to."""
        leaves, given = flatten(tree)
        if given != structure:
            shown = [repr(unflatten(s, [Ellipsis] * len(own))).replace("Ellipsis", "*")
                     for s, own in ((structure, of), (given, leaves))]
            raise ArgumentError(f"{user_line()}: {what} must have the structure of what it belongs to: {shown[0]}, not "
                                f"{shown[1]}")
        found: list[Tensor | None] = []
        for leaf, t in zip(leaves, of):
            d = tensor_of(leaf, t.dtype, what)
            if d.shape != t.shape:
                raise ArgumentError(f"{user_line()}: {what} has shape {list(d.shape)}, what it belongs to "
                                    f"{list(t.shape)}")
            found.append(d if t.is_floating else None)
        return found

    def _output(self, leaf: Any) -> Tensor:
        if isinstance(leaf, Tensor):
            return leaf
        try:
            return Tensor(leaf, self.dtype if type(leaf) is float else None)
        except (TypeError, ValueError):
            raise GradientError(f"{user_line()}: {self._name}() returned a {type(leaf).__name__}, which has no "
                                "derivative; return tensors, and anything else with has_aux=True") from None


def _inside() -> bool:
    """Whether a recording is made, or a function is being differentiated."""
    return state.capture is not None or state.transforming > 0


@contextmanager
def _variables(leaves: Sequence[Leaf]) -> Iterator[None]:
    """While a function is evaluated: what is differentiated within it has a history by these leaves."""
    for leaf in leaves:
        leaf.is_private = False
    try:
        with differentiating(leaves):
            yield
    finally:
        for leaf in leaves:
            leaf.is_private = True


@contextmanager
def holding() -> Iterator[None]:
    """While a function is evaluated whose derivative may be differentiated: instructions keep all of their operands."""
    before, state.holds = state.holds, True
    try:
        yield
    finally:
        state.holds = before


def split(result: Any, has_aux: bool) -> tuple[Any, Any]:
    """A function's result and what it returned beside it."""
    if not has_aux:
        return result, None
    if not isinstance(result, tuple) or len(result) != 2:
        raise GradientError("with has_aux=True the function must return a pair (value, auxiliary)")
    return result


def dtype_of(leaves: Sequence[Any]) -> np.dtype:
    """The float dtype of what is differentiated: float64 unless all of it is float32; within a recording its own."""
    if state.capture is not None:
        return state.capture.tape.dtype
    dtypes = [leaf.dtype if isinstance(leaf, Tensor) else foreign_array(leaf).dtype for leaf in leaves]
    return FLOAT32 if dtypes and all(d.kind == "f" and d.itemsize <= 4 for d in dtypes) else FLOAT64


def tensor_of(value: Any, dtype: np.dtype, what: str) -> Tensor:
    """`value` as a tensor of a float dtype, with its history."""
    if isinstance(value, Tensor) and value.dtype == dtype:
        return value
    array = value if isinstance(value, Tensor) else foreign_array(value)
    if array.dtype.kind != "f":
        raise DtypeError(f"{what} holds {array.dtype} data, which has no gradient; make it float, or leave it out of "
                         "argnums")
    return value.astype(dtype) if isinstance(value, Tensor) else Tensor(array, dtype)
