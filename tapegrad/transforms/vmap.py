"""`vmap`: a function of one, applied to many at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..engine.storage import contiguous_strides
from ..engine.tree import flatten, unflatten
from ..errors import ArgumentError, DtypeError, IndexRangeError, ShapeError
from ..functions.layout import broadcast_to, moveaxis
from ..tape.state import enable_grad, state
from ..tensor.arrays import DEFAULT_DTYPE, FLOAT64
from ..tensor.recording import as_tensor, contiguous, lift_to, record
from ..tensor.tensor import Tensor, view
from .batching import batch
from .factors import Products
from .reading import attach
from .trace import Trace
from .transformation import Transformation


class Vmap(Transformation):
    """``vmap(f)``; call it, nest it, or give it to `compile`."""

    def __init__(self, function: Callable, in_axes: Any, out_axes: Any) -> None:
        super().__init__(function, in_axes, out_axes)
        self._in_axes, self._out_axes = in_axes, out_axes

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The function of each, stacked."""
        within = state.capture is not None or state.transforming > 0
        axes = axes_like((self._in_axes, 0), (args, kwargs), "in_axes")
        leaves, structure = flatten((args, kwargs))
        given = [leaf if axis is None else as_tensor(leaf) for leaf, axis in zip(leaves, axes)]
        size = _size([(t, axis) for t, axis in zip(given, axes) if axis is not None])
        dtype = _dtype([t for t in given if isinstance(t, (Tensor, np.ndarray))])
        given = [t if axis is None else _first(t if t.dtype.kind != "f" else lift_to(t, dtype), axis)
                 for t, axis in zip(given, axes)]
        each = [axis is not None for axis in axes]
        try:
            found, result = mapped(lambda *leaves: self._called(structure, leaves), given, each, size, dtype)
        except DtypeError as error:
            if state.capture is not None or any(isinstance(t, (Tensor, np.ndarray)) and t.dtype.kind == "f"
                                                for t in given):
                raise
            dtype = FLOAT64  # integers alone do not say in which dtype the function computes
            try:
                found, result = mapped(lambda *leaves: self._called(structure, leaves), given, each, size, dtype)
            except DtypeError:
                raise error from None
        outputs = axes_like(self._out_axes, result, "out_axes")
        history = any(t.requires_grad for t, _ in found if isinstance(t, Tensor))
        arranged = [self._arranged(t, has_axis, axis, size, dtype, within or history)
                    for (t, has_axis), axis in zip(found, outputs)]
        return unflatten(flatten(result)[1], arranged)

    def _called(self, structure: Any, leaves: Sequence[Any]) -> Any:
        args, kwargs = unflatten(structure, list(leaves))
        return self._function(*args, **kwargs)

    def _arranged(self, t: Any, has_axis: bool, axis: int | None, size: int, dtype: np.dtype,
                  as_it_is: bool) -> Any:
        if not isinstance(t, Tensor):
            t = Tensor(t, dtype) if type(t) is float else as_tensor(t)
        if axis is None:
            if has_axis:
                raise ArgumentError(f"vmap: {self._name} gives a result for each, which out_axes=None does not hold")
        else:
            t = with_axis(t, has_axis, size)
            t = moveaxis(t, 0, _within(axis, t.ndim, "out_axes"))
        return t if as_it_is else t.detach().numpy()[()]


def mapped(function: Callable, leaves: Sequence[Any], axes: Sequence[bool], size: int, dtype: np.dtype,
           derives: bool = False, first: int | None = None) -> tuple[list[tuple[Any, bool]], Any]:
    """A function of some leaves, for each along the first axis of those of `axes`.

    With `derives` it is a walk along a graph, whose products may be computed in any order. Where its only leaf is a
    unit vector, and those of the batch are in order, `first` is the number of the first.

    Returns
    -------
    list of (Tensor, bool)
        The leaves of its result, and whether each has a leading axis for the batch.
    object
        Its result for one of them, symbolic.
    """
    with Trace(dtype, "vmap") as trace, enable_grad():
        symbols = [trace.input(t.shape[1:], t.dtype, t.requires_grad) if axis else t for t, axis in zip(leaves, axes)]
        result = function(*symbols)
    values = {s.node.variable: t for s, t, axis in zip(symbols, leaves, axes) if axis}
    units = None if first is None else (symbols[0].node.variable, first)
    return run(trace, [t for t in flatten(result)[0]], values, size, derives, units), result


def with_axis(t: Tensor, has_axis: bool, size: int) -> Tensor:
    """A result of `mapped` for all of the batch: one that has no axis for it is the same for each."""
    return t if has_axis else broadcast_to(t, (size, *t.shape))


def run(trace: Trace, results: Sequence[Any], values: Mapping[int, Tensor], size: int,
        derives: bool = False, units: tuple[int, int] | None = None) -> list[tuple[Any, bool]]:
    """Run a trace for a batch: `values` are those of variables, along a leading axis; `derives` as for `mapped`.

    `units` are the variable that is a unit vector, if there is one, and the number of the first.
    """
    known: dict[int, tuple[Tensor, bool]] = {v: (_flat(t, True), True) for v, t in values.items()}
    needed = {t.node.variable for t in results if isinstance(t, Tensor) and trace.owns(t)}
    calls = []
    for call in reversed(trace.calls):
        if call.variable in needed:
            rule = trace.given.get(call.variable)
            operands = call.inputs if rule is None else (*call.inputs, *rule.operands)
            needed.update([t.node.variable for t in operands if trace.owns(t)])
            calls.append(call)

    def seen(t: Tensor) -> tuple[Tensor, bool]:
        if not trace.owns(t):
            return t, False
        product = products.pop(t.node.variable)
        if product is not None:
            known[t.node.variable] = _flat(product.computed(), True), True
        flat, has_axis = known[t.node.variable]
        if has_axis:
            found = view(flat, t.offset, (size, *t.shape), (flat.strides[0], *t.strides))
        else:
            found = view(flat, t.offset, t.shape, t.strides)
        return found if t.requires_grad or not found.requires_grad else found.detach(), has_axis

    products = Products(trace, seen, size, units)
    for call in reversed(calls):
        if derives and products.takes(call):
            continue
        pairs = [seen(t) for t in call.inputs]
        operands, axes = [t for t, _ in pairs], [axis for _, axis in pairs]
        has_axis = any(axes) or call.draws
        if has_axis:
            y = products.column(call)
            y = batch(call, size, operands, axes) if y is None else y
        else:
            y = record(call.op, operands, call.shape, call.attributes, dtype=call.dtype, out_dtype=call.out_dtype,
                       aux=call.aux, added=call.added, always=call.random, summed=call.summed)
        known[call.variable] = _flat(y, has_axis), has_axis
        if call.variable in trace.given:
            attach(y, trace.given[call.variable].over(seen, size))
    return [seen(t) if isinstance(t, Tensor) else (t, False) for t in results]


def _flat(t: Tensor, has_axis: bool) -> Tensor:
    """All elements along one axis, behind that of the batch."""
    t = contiguous(t)
    shape = (t.shape[0], t.size // t.shape[0] if t.shape[0] else 0) if has_axis else (t.size,)
    return view(t, 0, shape, contiguous_strides(shape))


# ------------------------------------------------------------------ axes


def axes_like(axes: Any, tree: Any, what: str) -> list[int | None]:
    """By leaf of a tree its axis; one axis may stand for all of a part of the tree."""
    if axes is None or isinstance(axes, (int, np.integer)):
        return [None if axes is None else int(axes)] * len(flatten(tree)[0])
    if isinstance(axes, dict) and isinstance(tree, dict) and axes.keys() == tree.keys():
        return [axis for key, part in tree.items() for axis in axes_like(axes[key], part, what)]
    if isinstance(axes, (tuple, list)) and isinstance(tree, (tuple, list)) and len(axes) == len(tree):
        return [axis for one, part in zip(axes, tree) for axis in axes_like(one, part, what)]
    raise ArgumentError(f"vmap: {what} {axes!r} does not fit {_shown(tree)}; it is an axis, None, or has the "
                        "structure of what it stands for")


def _shown(tree: Any) -> str:
    if isinstance(tree, (tuple, list)):
        return f"a {type(tree).__name__} of {len(tree)}"
    return f"a dict of {', '.join(map(repr, tree))}" if isinstance(tree, dict) else "a single array"


def _within(axis: int, ndim: int, what: str) -> int:
    if not -ndim <= axis < ndim:
        raise IndexRangeError(f"vmap: {what} {axis} is out of range for an array of {ndim} axes")
    return axis % ndim


def _first(t: Tensor, axis: int) -> Tensor:
    return moveaxis(t, axis, 0)


def _size(batched: Sequence[tuple[Tensor, int]]) -> int:
    """The common extent of the mapped axes."""
    sizes = [t.shape[_within(axis, t.ndim, "in_axes")] for t, axis in batched]
    if not sizes:
        raise ArgumentError("vmap: no argument is mapped: in_axes is None for all of them")
    if len(set(sizes)) > 1:
        raise ShapeError("vmap: the mapped axes have different extents: " + ", ".join(
            f"{n} (axis {axis} of {list(t.shape)})" for n, (t, axis) in zip(sizes, batched)))
    return sizes[0]


def _dtype(given: Sequence[Any]) -> np.dtype:
    """The float dtype in which the function is traced."""
    if state.capture is not None:
        return state.capture.tape.dtype
    floats = [t.dtype for t in given if t.dtype.kind == "f"]
    recorded = [t.dtype for t in given if isinstance(t, Tensor) and t.requires_grad]
    return recorded[0] if recorded else FLOAT64 if FLOAT64 in floats else floats[0] if floats else DEFAULT_DTYPE


def vmap(f: Callable, in_axes: Any = 0, out_axes: Any = 0) -> Vmap:
    """A function that applies `f` to each along an axis of its arguments, all at once.

    Parameters
    ----------
    f : callable
        Over tensors, of one.
    in_axes : int, None, or a tuple of these, default 0
        By argument the axis that is mapped, None where an argument is the same for all; an entry may have the structure
        of its argument. Keyword arguments are mapped along axis 0.
    out_axes : int, None, or in the structure of the result, default 0
        Where the axis is in the results; None for a result that does not depend on what is mapped.

    Returns
    -------
    callable

    Raises
    ------
    CaptureError
        If `f` reads the value of what depends on a mapped argument: it is another one for each.

    Notes
    -----
    `f` runs once, on tensors that have a shape and no values; its ops are then applied with an axis more. Ops with
    a batching rule run once for all, the others in a compiled loop.

    Examples
    --------
    >>> import numpy as np, tapegrad as tg
    >>> tg.vmap(tg.grad(lambda w, x: tg.tanh(w * x)), in_axes=(None, 0))(0.0, np.array([1.0, 2.0])).tolist()
    [1.0, 2.0]
    """
    return Vmap(f, in_axes, out_axes)


