"""How an op runs on tensors and joins the tape: `lift` its operands, then `record`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from operator import attrgetter
from typing import Any

import numpy as np

from ..engine import kernels
from ..engine.caller import user_line
from ..engine.storage import Changes, array_at, contiguous_strides
from ..engine.walks.walk import STORABLE, WANTED
from ..errors import ArgumentError, DtypeError, GradientError, ShapeError
from ..ops.elementwise import UNARY
from ..ops.few import STACKS
from ..ops.integers import CONCATENATE_INT64
from ..ops.layout import CONCATENATE, COPY_BOOL, COPY_INT64, JOINED, Concatenate
from ..ops.nest import nest
from ..ops.table import EVERY, Op
from ..tape.bounds import checked
from ..tape.nodes import Leaf, Node
from ..tape.recomputation import Again
from ..tape.state import state
from ..tape.tape import raise_status, tape_for
from .arrays import BOOL, DEFAULT_DTYPE, FLOAT32, FLOAT64, INT64, foreign_array, keeps_dtype
from .forms import form_of, run, source_of
from .tensor import Tensor, as_array, constant, fixed, view


def lift(*values: Any) -> list[Tensor]:
    """Operands (tensors, arrays, numbers) as tensors of one float dtype.

    The dtype is that of the recorded tensors, else of the other tensors, else of the arrays; whatever is not recorded
    is cast to it.
    """
    dtype = _one_dtype(values)
    if dtype is None:
        values = tuple([gathered(v) for v in values])
        dtype = common_dtype(values)
    return [v if isinstance(v, Tensor) and v.dtype is dtype else lift_to(v, dtype) for v in values]


def _one_dtype(values: Sequence[Any]) -> np.dtype | None:
    """The float dtype that all tensors among `values` have, if the others are Python numbers; else None."""
    dtype: Any = None
    for v in values:
        if isinstance(v, Tensor):
            if v.dtype is not dtype:
                if dtype is not None or v.dtype.kind != "f":
                    return None
                dtype = v.dtype
        elif type(v) is not float and type(v) is not int:
            return None
    return dtype


def common_dtype(values: Sequence[Any]) -> np.dtype:
    """The float dtype in which an op over `values` computes."""
    recorded: np.dtype | None = None
    loose: np.dtype | None = None
    for v in values:
        if isinstance(v, Tensor):
            if v.dtype.kind != "f":
                continue
            if v.requires_grad or v.buffer is None:
                if recorded is None:
                    recorded = v.dtype
                elif recorded != v.dtype:
                    raise DtypeError(f"recorded tensors of {recorded} and {v.dtype} do not go together; "
                                     "convert one with .astype(...)")
            elif loose is None or loose.itemsize < v.dtype.itemsize:
                loose = v.dtype
    if recorded is not None:
        return recorded
    if loose is not None:
        return loose
    for v in values:
        dtype = None if isinstance(v, Tensor) else _float_dtype(v)
        if dtype is not None:
            loose = dtype if loose is None or loose.itemsize < dtype.itemsize else loose
    if loose is not None:
        return loose
    return DEFAULT_DTYPE if state.capture is None else state.capture.tape.dtype


def _float_dtype(value: Any) -> np.dtype | None:
    """float32 or float64, for floats that have a dtype: arrays, NumPy scalars, series and frames; else None."""
    if type(value) is float or type(value) is int:
        return None
    given = getattr(value, "dtype", None)
    if not isinstance(given, np.dtype):
        if not keeps_dtype(value):
            return None
        given = foreign_array(value).dtype
    return None if given.kind != "f" else FLOAT32 if given.itemsize <= 4 else FLOAT64


def lift_to(value: Any, dtype: np.dtype) -> Tensor:
    """`value` as a tensor of float `dtype`."""
    if isinstance(value, Tensor):
        if value.dtype is dtype or value.dtype == dtype:
            return value
        return astype(value, dtype)
    if type(value) is float or type(value) is int:
        return constant(float(value), dtype)
    if isinstance(value, (list, tuple)) and _holds_tensors(value):
        return lift_to(gathered(value), dtype)
    return Tensor(value, dtype)


def as_tensor(value: Any) -> Tensor:
    """`value` as a tensor, of its own dtype."""
    if isinstance(value, Tensor):
        return value
    value = gathered(value)
    return value if isinstance(value, Tensor) else Tensor(value)


# ------------------------------------------------------------------ sequences of tensors


def _holds_tensors(sequence: Sequence[Any]) -> bool:
    """Whether a list or tuple, or a list in it, holds a tensor."""
    for part in sequence:
        if isinstance(part, Tensor) or (isinstance(part, (list, tuple)) and _holds_tensors(part)):
            return True
    return False


def gathered(value: Any) -> Any:
    """A list or tuple of tensors, nested or not, stacked with their history; anything else as it is.

    It may hold arrays and numbers too; the dtype is the tensors'.
    """
    if not isinstance(value, (list, tuple)) or not _holds_tensors(value):
        return value
    leaves: list[Any] = []
    outer = _shape_of_nest(value, leaves)
    if all(not t.is_floating if isinstance(t, Tensor) else not isinstance(t, float) and np.asarray(t).dtype.kind != "f"
           for t in leaves):
        shape = np.shape(leaves[0]) if not isinstance(leaves[0], Tensor) else leaves[0].shape
        if not any(isinstance(t, Tensor) and t.is_symbolic for t in leaves):
            return Tensor(np.array([as_array(t) for t in leaves]).reshape(*outer, *shape))
        parts = [t if isinstance(t, Tensor) else Tensor(t) for t in leaves]
        if any(t.dtype != INT64 for t in parts):
            raise DtypeError(f"{user_line()}: a sequence with bool tensors that depend on the recording's inputs; join "
                             "them with tg.stack")
    else:
        parts = lift(*leaves)
    shape = parts[0].shape
    if any(t.shape != shape for t in parts):
        raise ShapeError("a sequence of tensors of shapes " + ", ".join(str(list(t.shape)) for t in parts)
                         + " is not rectangular; tg.concatenate joins along an axis that they have")
    flat = [Tensor._made(t.buffer, t.offset, (t.size,), (1,), t.dtype, t.node, t.requires_grad)
            for t in map(contiguous, parts)]
    while len(flat) > 1:
        flat = [joined(flat[k:k + JOINED], 0) for k in range(0, len(flat), JOINED)]
    whole = (*outer, *shape)
    t = flat[0]
    return Tensor._made(t.buffer, t.offset, whole, contiguous_strides(whole), t.dtype, t.node, t.requires_grad)


def _shape_of_nest(value: Sequence[Any], leaves: list[Any]) -> tuple[int, ...]:
    """Shape of nested lists; their tensors, arrays and numbers are appended to `leaves`."""
    shapes = set()
    for part in value:
        if isinstance(part, (list, tuple)):
            shapes.add(_shape_of_nest(part, leaves))
        else:
            shapes.add(())
            leaves.append(part)
    if len(shapes) > 1:
        raise ShapeError("a sequence of tensors must be rectangular; some of its parts are nested deeper than others")
    return (len(value), *shapes.pop()) if shapes else (0,)


@cache
def _nothing(dtype: np.dtype) -> Tensor:
    """A 0-d tensor in the place of absent parts."""
    return fixed(Tensor(np.empty(0, dtype)))


def joined(parts: Sequence[Tensor], d: int) -> Tensor:
    """Concatenate up to `JOINED` tensors along axis `d`, in one instruction."""
    if len(parts) == 1:
        return parts[0]
    first = parts[0]
    rows = math.prod(first.shape[:d])
    widths = [math.prod(p.shape[d:]) for p in parts]
    shape = (*first.shape[:d], sum(p.shape[d] for p in parts), *first.shape[d + 1:])
    if rows == 1 and sum(widths) == len(parts) == widths.count(1) and first.dtype.kind == "f":
        return record(STACKS[len(parts)], parts, shape, (), dtype=first.dtype)
    absent, nothing = JOINED - len(parts), _nothing(first.dtype)
    words = Concatenate.words(rows=rows, width=sum(widths), widths=(*widths, *(0,) * absent))
    dtype, op = (first.dtype, CONCATENATE) if first.is_floating else (common_dtype(()), CONCATENATE_INT64)
    return record(op, (*parts, *(nothing,) * absent), shape, words, dtype=dtype, out_dtype=first.dtype)


# ------------------------------------------------------------------ dtypes and ops


def astype(t: Tensor, dtype: Any) -> Tensor:
    """`t` converted to another dtype: float32 and float64 freely if not recorded, else only to its own."""
    dtype = np.dtype(dtype)
    if dtype == t.dtype:
        return t
    if t.buffer is None:
        return state.capture.convert(t, dtype)
    if t.requires_grad and state.grad_enabled and dtype.kind == "f":
        raise DtypeError(f"a tape has one dtype: a recorded {t.dtype} tensor cannot become {dtype}; convert the "
                         "inputs and parameters instead")
    if state.capture is not None:
        own = state.capture.tape.dtype
        if t.dtype.kind in "ib" and dtype == own:
            return state.capture.convert(t, dtype)
        if not state.capture.known.readable(t):
            if t.dtype == own and dtype in (BOOL, INT64):
                return state.capture.convert(t, dtype)
            raise DtypeError(f"{user_line()}: a recording of {own} cannot convert a {t.dtype} tensor that training "
                             "changes; convert the inputs and parameters instead")
    return Tensor(t._array().astype(dtype))


def contiguous(x: Any) -> Tensor:
    """`x` itself if it is contiguous in C order, else a contiguous copy."""
    t = x if isinstance(x, Tensor) else as_tensor(x)
    if t is not x and t.is_floating:
        t = lift(x)[0]  # Python's floats are of the recording's dtype
    if t.is_contiguous:
        return t
    words = nest(t.shape, (t.strides,))
    if t.is_floating:
        return recorder(UNARY["copy"])(t.shape, dtype=t.dtype, x=t, p=0.0, q=0.0, nest=words)
    if not t.is_symbolic:
        return Tensor(t._array())
    op = COPY_BOOL if t.dtype == BOOL else COPY_INT64
    return recorder(op)(t.shape, dtype=state.capture.tape.dtype, out_dtype=t.dtype, x=t, nest=words)


def _as_told(op: Op, inputs: Sequence[Tensor]) -> Sequence[Tensor]:
    """`inputs` in the layout that the row of `op` declares; copied to C order where it takes no strides."""
    if op.fixed or op.states:
        _check(op, inputs)
    for j, t in enumerate(inputs, 1):
        if t.strides != contiguous_strides(t.shape) and not op.strided >> j & 1 and not t.is_contiguous:
            inputs = (*inputs[:j - 1], contiguous(t), *inputs[j:])
    return inputs


def _check(op: Op, inputs: Sequence[Tensor]) -> None:
    """Refuse inputs that want a gradient which is not implemented, and those that cannot be overwritten."""
    for j, t in enumerate(inputs, 1):
        if op.fixed >> j & 1 and state.wants(t):
            raise GradientError(f"{user_line()}: {op.name} has no gradient by its input of shape {list(t.shape)}, "
                                "which requires one; detach() it")
        if op.states >> j & 1:
            gaps = not op.strided >> j & 1 and not t.is_contiguous
            if gaps or any(s == 0 and n > 1 for s, n in zip(t.strides, t.shape)):
                raise ArgumentError(f"{user_line()}: {op.name} overwrites an input of shape {list(t.shape)}, whose "
                                    "elements do not lie in order, each apart; copy it with tg.tensor(...)")


@checked
def record(op: Op, inputs: Sequence[Tensor], shape: tuple[int, ...], attributes: Sequence[int] = (), *,
           dtype: np.dtype, out_dtype: np.dtype | None = None, aux: Sequence[tuple[int, int]] = (),
           added: int = 0, always: bool = False, summed: int = 0) -> Tensor:
    """Run `op` and append it to the tape; during capture, only append it.

    Parameters
    ----------
    op : Op
    inputs : sequence of Tensor
        Those for which the row holds no strides (`Op.strided`) are copied to C order if need be.
    shape : tuple of int
        Of the output, which is contiguous.
    attributes : sequence of int
        Words after the operands.
    dtype : numpy.dtype
        Float dtype of the kernels.
    out_dtype : numpy.dtype, optional
        Of the output, if different.
    aux : sequence of (nbytes, itemsize)
        Auxiliary outputs, for the adjoint.
    added : int
        Bit `j`: the adjoint kernel accumulates several times into an element of input `j` (broadcasting), so that the
        first contribution must be added too.
    always : bool
        Capture even if no input depends on the recording's inputs (random numbers).
    summed : int
        Bit `j`: if the adjoint of input `j` is wanted, record `op.summed` instead.
    """
    if not always and state.capture is None:
        form = form_of(op, tuple([(t.shape, t.strides, t.dtype) for t in inputs]), shape, dtype, out_dtype, tuple(aux),
                       added, summed)
        found = run(form, inputs, attributes)
        if found is not None:
            return found
    if 0 in shape and op.lists == 0:  # no adjoint to visit, unless the op lists rows
        added = EVERY
    if op.strided != EVERY:
        inputs = _as_told(op, inputs)
    capture = state.capture
    if not op.in_turn and len(inputs) > 1 and state.grad_enabled:
        inputs = apart(inputs, op.alike)
    if capture is not None and (always or depends(inputs)) and not (
            dtype != capture.tape.dtype and capture.computes(op, inputs)):
        return capture.record(op, inputs, shape, attributes, dtype, out_dtype or dtype, aux, added, always,
                              summed)
    tape = tape_for(dtype)
    tape.at_work += 1
    try:
        if tape.lent:
            tape.wait_until_back()
        if tape._dead:
            tape.sweep()
        out_dtype = out_dtype or dtype
        itemsize, strides = out_dtype.itemsize, contiguous_strides(shape)
        nbytes = math.prod(shape) * itemsize
        buffer = tape.storage.allocate(nbytes, op.name)
        words, operands, held = [0, buffer.address // itemsize, 0], [(shape, out_dtype, strides)], [buffer]
        differentiated, wanted = state.grad_enabled and op.adjoint is not None, 0
        for j, t in enumerate(inputs):
            if t.buffer is None:
                t._array()  # raises, saying why there is no value
            words += (t.buffer.address // t.dtype.itemsize + t.offset, 0)
            operands.append((t.shape, t.dtype, t.strides))
            held.append(t.buffer)
            if differentiated and t.requires_grad:
                wanted |= 1 << j
        for n, size in aux:
            held.append(tape.storage.allocate(n, op.name))
            words += (held[-1].address // size, 0)
        words += attributes
        address = op.forward._addresses.get(dtype) or op.forward.address(dtype)
        if not wanted:
            status = kernels.enter(address, tape.scratch_row(words), dtype)
            if status:
                raise_status(op, status, operands, None, words)
            return Tensor._made(buffer, 0, shape, strides, out_dtype)
        if wanted << 1 & summed:
            op = op.summed or op
        variable = tape.new_variable(nbytes or itemsize, itemsize)
        variables, offsets, flags, parents = [variable], [0], [0], []
        for j, t in enumerate(inputs):
            v = offset = flag = 0
            if wanted >> j & 1:
                v, offset, extent = source_of(tape, t, op)
                if type(t.node) is Node and t.node.on_tape:
                    parents.append(t.node)
                whole = op.stores and not added >> (j + 1) & 1 and covers(t, extent)
                flag = WANTED | STORABLE if whole else WANTED
            variables.append(v)
            offsets.append(offset)
            flags.append(flag)
        nothing = (0,) * len(aux)
        variables += nothing
        offsets += nothing
        flags += nothing
        read = op.saved_operands(wanted) if not state.holds else tuple(
            [j for j in range(len(held)) if not op.states >> j & 1])
        saved: Any
        if tape.keep:
            saved = tuple(held)
        elif state.segment is not None:
            written = {0: nbytes, **{len(inputs) + 1 + k: n for k, (n, _) in enumerate(aux)}}
            sizes = (itemsize, *(t.dtype.itemsize for t in inputs), *(size for _, size in aux))
            saved = Again(state.segment, held, sizes, written, words, op.states)
        else:
            saved = tuple([held[k] for k in read])
        row = tape.append(op, words, variables, offsets, flags, saved, (operands, read, None, None))
        status = kernels.enter(address, row, dtype)
        node = Node(tape, variable, nbytes or itemsize, tuple(parents))
        if tape.keep:
            tape._kept_nodes.append(node)
        if status:
            raise_status(op, status, operands, None, words)
        if type(saved) is Again:
            saved.made_by(node, buffer)
            if not op.forward.own:
                saved.remember_result()
        return Tensor._made(buffer, 0, shape, strides, out_dtype, node, True)
    finally:
        tape.at_work -= 1


@cache
def recorder(op: Op) -> Callable[..., Tensor]:
    """`record` for `op` by the names of its row: ``recorder(OP)(shape, dtype=..., name=..., ...)``.

    An auxiliary output is given as (nbytes, itemsize), an absent input as None.
    """
    assert op.row is not None
    return op.row.writer(op, record, constant)


def apart(inputs: Sequence[Tensor], alike: bool = False) -> Sequence[Tensor]:
    """Operands whose adjoints do not alias.

    A kernel that accumulates into several adjoints in an order of its own, or on several threads, can then store the
    first contribution: of operands that are overlapping views of one variable, the later one is copied. The adjoints of
    disjoint views are cleared before and accumulated into; so are those of identical views, if these may be `alike`.
    """
    nodes = [t.node for t in inputs if t.node is not None]
    if len(set(nodes)) == len(nodes):
        return inputs
    wants: Callable[[Tensor], bool] = state.capture.wants if state.capture is not None else attrgetter("requires_grad")
    found: list[Tensor] = []
    for t in inputs:
        if wants(t) and any(u.node is t.node and wants(u) and not (alike and _same(u, t)) and _meet(u, t)
                            for u in found):
            t = _copied(t)
        found.append(t)
    return found


def _same(t: Tensor, u: Tensor) -> bool:
    """Whether two views of one variable are identical."""
    return (t.offset, t.buffer, t.shape, t.strides) == (u.offset, u.buffer, u.shape, u.strides)


def _meet(t: Tensor, u: Tensor) -> bool:
    """Whether two views of one variable overlap."""
    return _views_meet(leaf_relative(u, u.node) - leaf_relative(t, t.node), t.shape, t.strides, u.shape, u.strides)


@lru_cache(maxsize=4096)
def _views_meet(apart: int, shape: tuple[int, ...], strides: tuple[int, ...], other: tuple[int, ...],
                other_strides: tuple[int, ...]) -> bool:
    byte, middle, most = np.dtype(np.uint8), 1 << 48, 10**5  # an address that nobody reads, and the limit of the search
    one, two = array_at(middle, shape, strides, byte, None), array_at(middle + apart, other, other_strides, byte, None)
    try:
        return np.shares_memory(one, two, max_work=most)  # type: ignore[arg-type]
    except np.exceptions.TooHardError:
        return True


def _copied(t: Tensor) -> Tensor:
    """The same view of a copy of the memory that it spans."""
    steps = [(n - 1) * s for n, s in zip(t.shape, t.strides)]
    before = sum([step for step in steps if step < 0])
    line = (1 + sum(map(abs, steps)),)
    whole = Tensor._made(t.buffer, t.offset + before, line, (1,), t.dtype, t.node, t._requires_grad)
    copy = recorder(UNARY["copy"])(line, dtype=t.dtype, x=whole, p=0.0, q=0.0, nest=nest(line, ((1,),)))
    return view(copy, -before, t.shape, t.strides)


def depends(inputs: Sequence[Tensor]) -> bool:
    """Whether some input may have another value at another replay."""
    known = state.capture.known
    born = known.born
    for t in inputs:
        buffer = t.buffer
        if buffer is None or t._requires_grad or buffer.version != born and buffer.version != Changes.FIXED:
            return True
    known.fold(inputs)
    return False


def leaf_relative(t: Tensor, node: Any) -> int:
    """Offset of a view within its variable."""
    if type(node) is Leaf:
        return t.offset + (t.buffer.address - node.buffer.address) // t.dtype.itemsize
    return t.offset


@lru_cache(maxsize=4096)
def _covers(shape: tuple[int, ...], strides: tuple[int, ...], elements: int) -> bool:
    if math.prod(shape) != elements:
        return False
    extent = 1 + sum((n - 1) * s for n, s in zip(shape, strides))
    return all(s > 0 for s in strides) and extent == elements


def covers(t: Tensor, nbytes: int) -> bool:
    """Whether a view visits every element of its variable of `nbytes` exactly once."""
    return _covers(t.shape, t.strides, nbytes // t.dtype.itemsize)
