"""Capture (tracing): ops that depend on the inputs or on a parameter are recorded, not computed."""

from __future__ import annotations

import gc
import math
import warnings
from collections.abc import Callable, Sequence, Set
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import numpy as np

from ..engine.caller import user_frame, user_line
from ..engine.storage import Buffer, Changes, array_at, contiguous_strides
from ..engine.walks.walk import STORABLE, WANTED
from ..errors import CaptureError, DtypeError, InPlaceError, StaleTensorError
from ..functions.elementwise import as_bool, convert, whole
from ..functions.integers import to_int64
from ..ops.table import Op
from ..tape.history import is_argument
from ..tape.hooks import refuse_hooks
from ..tape.nodes import Leaf, Node
from ..tape.rows import Rows, Symbol, differentiable, merged
from ..tape.state import ABSENT, Modes, state
from ..tape.tape import Tape
from ..tensor.arrays import BOOL, INT64
from ..tensor.recording import covers, leaf_relative
from ..tensor.tensor import Tensor
from .conditions import Conditions, Looks, is_plain, look_below, same
from .known import Known
from .planning.fusion import fuse
from .planning.runs import in_runs
from .reach import Draws, reach

P = ParamSpec("P")
R = TypeVar("R")


class Capture:
    """A recording in the making; as a context manager it makes the thread record into it.

    Parameters
    ----------
    dtype : numpy.dtype
        The recording's float dtype.
    trained : set of Leaf, optional
        Leaves whose gradients are wanted, frozen or not; by default all that require one.
    function : callable, optional
        What is recorded. Modules that it can reach are guarded; a warning is given of random numbers that it draws.

    Attributes
    ----------
    tape : Tape
    modules : dict
        Modules that were called, by identity.
    seen : dict
        Modules whose parameters, buffers or children were looked up, called or not, by identity.
    roots : list
        Those of `modules` that no other module called.
    layer : str
        Dotted name of the module that is being called.
    leaves : dict of Leaf to bool
        Leaves that were read, and whether they required a gradient.
    known : Known
        Constants, for folding.
    mixes : bool
        Whether ops on tensors of another dtype only are computed at once, in that dtype; else they are an error.
    rows : Rows
        What has been recorded.
    has_variables : bool
        Whether some values are variables of inner derivatives, which require a gradient there, and nowhere else.
    given : dict of int to object
        By variable, what a user has given for its derivative.
    outer : Capture or None
        The recording within which this one is made.
    draws : int
        Number of ops that draw random numbers.
    drawn : list of (tuple of int, bool)
        The shapes of what they draw, and whether it can be drawn some by some.
    each : sequence of int
        Of these the elements of a row of a batch that ranks share; 0 where they do not lie by rows.
    random_state : ndarray of int64
        Key and step of the random ops; first row, rows of all ranks and own rows of the share of a batch; and
        `ranks_table`, which lies behind.
    ranks_table : ndarray of int64
        The address of the function by which kernels sum over processes.
    ranks : int
        The element address of that table, if several processes run the recording on parts of a batch, else 0.
    synchronised : bool
        Whether an instruction of the walks waits for the other processes.
    recorded : int
        Number of recorded instructions, before dead code elimination and fusion.
    """

    def __init__(self, dtype: np.dtype, trained: set[Leaf] | None = None, function: Any = None) -> None:
        self._function = function
        self.tape = Tape()
        self.tape.dtype = dtype
        self.rows = Rows()
        self.trained = trained
        refuse_hooks(trained or ())
        self.modules: dict[int, Any] = {}
        self.roots: list[Any] = []
        self.layer = ""
        self._reached: Looks = {}
        self.seen: dict[int, Any] = {}
        self._names: dict[int, str] = {}
        self._calls: list[str] = []
        self.leaves: dict[Leaf, bool] = {}
        self._detached: dict[Buffer, Leaf] = {}
        self.known = Known(trained or set())
        self.mixes = True
        self.kept: list[Any] = []
        self.random_state = np.zeros(6, np.int64)
        self.drawn: list[tuple[tuple[int, ...], bool]] = []
        self.each: Sequence[int] = ()
        self.ranks_table = self.random_state[5:]
        self.ranks = 0
        self.synchronised = False
        self.draws = self.recorded = 0
        self.outer: Capture | None = None
        self.has_variables = False
        self.given: dict[int, Any] = {}

    def __enter__(self) -> Capture:
        if state.capture is not None:
            raise CaptureError(f"{user_line()}: a recording inside a recording (tg.compile or TrainStep called from a "
                               "function that is being recorded); call the plain function instead")
        if self._function is not None:
            self._reached, generators = reach(self._function)
            self._draws = Draws(generators)
        self._grad_before, self._collects = state.grad_enabled, gc.isenabled()
        self._began = Modes.changes
        Changes.born = self.known.born
        Modes.record(1)
        gc.disable()  # whatever is recorded stays alive; scanning it over and over would take a fifth of the time
        state.grad_enabled = True
        state.capture = self
        return self

    def __exit__(self, *error: Any) -> None:
        Changes.born = 0
        state.grad_enabled = self._grad_before
        if self._collects:
            gc.enable()
        Modes.record(-1)
        state.capture = None
        if self._function is not None and error[0] is None:
            self._warn_of_draws()

    @staticmethod
    def ends(function: Callable[P, R]) -> Callable[P, R]:
        """A function that records, and leaves no recording open behind it.

        Ctrl-C may fall between the last line of a ``with`` and `__exit__`, which then is never called.
        """
        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            before = state.capture
            try:
                return function(*args, **kwargs)
            except BaseException as error:
                if state.capture is not before:
                    state.capture.__exit__(type(error))
                raise

        return call

    def _warn_of_draws(self) -> None:
        code = getattr(self._function, "__code__", None)
        for name in self._draws.drawn():
            self._warn(f"{name} was drawn from while {getattr(self._function, '__name__', 'a function')} was being "
                       "recorded: every replay has the same numbers again. Draw them outside and pass them as an "
                       "input, or use ops that draw at every replay: tg.rand, randn, randint, dropout", code)

    def _warn(self, message: str, code: Any = None) -> None:
        where = user_frame() if code is None else (code.co_filename, code.co_firstlineno)
        warnings.warn_explicit(message, RuntimeWarning, *where)

    # -------------------------------------------------------------- called by ops and tensors

    def input(self, shape: tuple[int, ...], dtype: np.dtype, requires_grad: bool = False) -> Tensor:
        """A symbolic tensor for an argument."""
        nbytes = (math.prod(shape) or 1) * dtype.itemsize
        node = Symbol(self.tape, self.rows.variable(nbytes, dtype.itemsize), nbytes, False)
        return Tensor._made(None, 0, shape, contiguous_strides(shape), dtype, node, requires_grad)

    def finish(self, kept: Set[int]) -> None:
        """Put the recording on the tape, without what the variables `kept`, which are read at the end, do not need."""
        self.recorded = len(self.rows.instructions)
        self.known.forget()
        self.rows.keep(kept)
        if self.has_variables:
            self.rows.instructions = merged(differentiable(self.rows.instructions), self.rows.nbytes, kept,
                                            self._equal_constants())
            self.rows.keep(kept)
        fuse(self.rows, kept)
        self.rows.instructions = in_runs(self.rows.instructions)
        self.tape.load(self.rows)
        self.rows = Rows()

    def _equal_constants(self) -> dict[int, int]:
        """By variable of a constant an earlier one of the same bytes."""
        found: dict[bytes, int] = {}
        equal = {}
        for source, v in self.rows.externals.items():
            if isinstance(source, Buffer) and source.version in (self.known.born, Changes.FIXED):
                values = array_at(source.address, (source.asked,), (1,), np.dtype(np.uint8), source).tobytes()
                equal[v] = found.setdefault(values, v)
        return equal

    def enter_module(self, module: Any) -> None:
        """A module's call begins: guard its mode, and give what follows its layer."""
        self.modules.setdefault(id(module), module)
        if not self._calls and module not in self.roots:
            self._name_below(module)
        self._calls.append(self.layer)
        self.layer = self._names.get(id(module)) or type(module).__name__

    def assigns(self, module: Any, name: str, before: Any, after: Any) -> None:
        """The function being recorded has assigned to a module's attribute, which a replay will not do."""
        if name == "training":  # guarded by other recordings too
            module._version.attribute(name)
        elif before is not ABSENT and module._version.made <= self._began and not (
                is_plain(before) and same(before, after)):
            self._warn(f"{type(module).__name__}.{name} is assigned while it is being recorded, which no replay does "
                       "again: what reads it later finds what was left there. Return the value from the function, and "
                       "pass what a call leaves for the next one as an input")

    def replaces(self, module: Any, name: str, value: Any) -> None:
        """The function being recorded puts a tensor in the place of a buffer."""
        if isinstance(value, Tensor) and value.is_symbolic:
            raise CaptureError(f"{user_line()}: a recording cannot put a value that it computes in the place of buffer "
                               f"{name!r} of {type(module).__name__}: no replay would. Return it from the function and "
                               f"call {name}.copy_(...) outside")

    def conditions(self, leaves: dict[Any, bool], tensors: Sequence[Tensor] = ()) -> Conditions:
        """The guards of the recording: `leaves`, `tensors` and the modules that it saw."""
        looks: Looks = {}
        if self._began == Modes.changes:
            looks = dict(self._reached)
        else:
            for module, _ in self._reached.values():
                look_below(module, looks)
        for key, module in (*self.modules.items(), *self.seen.items()):
            if key not in looks:
                look_below(module, looks)
        return Conditions(looks, leaves, tensors, self.known.watched(), self.trained or ())

    def leave_module(self) -> None:
        """The innermost call has ended."""
        self.layer = self._calls.pop()

    def name_of(self, module: Any) -> str:
        """The name by which the layers of a module that was called are known."""
        return self._names.get(id(module)) or type(module).__name__

    def _name_below(self, root: Any) -> None:
        """Name a root's modules: dotted as in its `state_dict`, prefixed by the root's class if names clash."""
        taken = set(self._names.values())
        self.roots.append(root)
        names = {id(module): name or type(root).__name__ for name, module in root.named_modules()}
        if taken.intersection(names.values()):
            prefix = f"{type(root).__name__}{len(self.roots)}"
            names = {key: prefix if key == id(root) else f"{prefix}.{name}" for key, name in names.items()}
        for key, name in names.items():
            self._names.setdefault(key, name)

    def wants(self, t: Tensor) -> bool:
        """Whether the adjoint of `t` is needed."""
        if self.trained is not None and isinstance(t.node, Leaf):
            return t.node in self.trained
        return t.requires_grad

    def record(self, op: Op, inputs: Sequence[Tensor], shape: tuple[int, ...], attributes: Sequence[int],
               dtype: np.dtype, out_dtype: np.dtype, aux: Sequence[tuple[int, int]], added: int,
               random: bool, summed: int) -> Tensor:
        """Append an instruction; its addresses are written when the recording is linked."""
        tape, made, recipes = self.tape, self.rows, self.known.recipes
        if dtype is not tape.dtype and dtype != tape.dtype:
            raise DtypeError(f"{op.name}: an op of {dtype} in a recording of {tape.dtype}")
        differentiated = state.grad_enabled and op.adjoint is not None
        itemsize, strides = out_dtype.itemsize, contiguous_strides(shape)
        nbytes = (math.prod(shape) or 1) * itemsize
        variable, wanted, computable = made.variable(nbytes, itemsize), 0, not (random or op.again)
        operands, known = [(variable, 0, 0)], [(shape, out_dtype, strides)]
        for j, t in enumerate(inputs):
            known.append((t.shape, t.dtype, t.strides))
            node, flag = t.node, 0
            if t.buffer is None and node.tape is tape:
                v, offset, wants = node.variable, t.offset, t._requires_grad
                computable = computable and v in recipes
            else:
                v, offset, wants = self._outside(t), leaf_relative(t, node), self.wants(t)
                computable = computable and not t._requires_grad
            if wants and differentiated:
                wanted |= 1 << j
                whole = op.stores and not added >> (j + 1) & 1 and covers(t, node.nbytes)
                flag = WANTED | STORABLE if whole else WANTED
            operands.append((v, offset, flag))
        for size, of_one in aux:
            operands.append((made.variable(max(size, of_one), of_one), 0, 0))
        if wanted << 1 & summed:
            op = op.summed or op
        note = known, op.saved_operands(wanted), (*user_frame(), self.layer), state.segment
        made.instructions.append((op.opcode, attributes, operands, note))
        if computable:
            recipes[variable] = op, tuple(inputs), (shape, attributes), {"dtype": dtype, "out_dtype": out_dtype,
                                                                        "aux": aux}
        return Tensor._made(None, 0, shape, strides, out_dtype, Symbol(tape, variable, nbytes, True), wanted != 0)

    def _outside(self, t: Tensor) -> int:
        """The variable of a leaf or a constant."""
        node = t.node
        if t.buffer is None:
            raise StaleTensorError(f"{user_line()}: a tensor of another recording is used in this one; return it "
                                   "from that recording, or compute it here")
        if state.transforming and is_argument(t):
            raise CaptureError(f"{user_line()}: a recording would cut the gradient by an argument of the function that "
                               "is being differentiated; call the plain function, or detach() what it uses of it")
        if not isinstance(node, Leaf):
            node = self._detached.get(t.buffer, node)
        if isinstance(node, Leaf):
            self.leaves.setdefault(node, node.requires_grad)
            return self.rows.outside(node, node.nbytes, t.dtype.itemsize)
        if isinstance(node, Node) and t.requires_grad:
            raise CaptureError(f"{user_line()}: a tensor computed outside is used in a recording, which would freeze "
                               "its value and cut its gradient; compute it inside, pass it as an argument, or "
                               "detach() it")
        self.kept.append(t)
        return self.rows.outside(t.buffer, t.buffer.nbytes, t.dtype.itemsize)

    def outside(self, source: Leaf | Buffer, offset: int, shape: tuple[int, ...], strides: tuple[int, ...],
                dtype: np.dtype) -> Tensor:
        """A view of a leaf or of constant data as a tensor."""
        if isinstance(source, Leaf):
            return Tensor._made(source.buffer, offset, shape, strides, dtype, source, source.requires_grad)
        return Tensor._made(source, offset, shape, strides, dtype)

    def reads(self, leaf: Leaf) -> None:
        """A leaf was detached: its values are read where an optimiser may later move them."""
        self.leaves.setdefault(leaf, leaf.requires_grad)
        self._detached[leaf.buffer] = leaf

    def overwrites(self, t: Tensor) -> None:
        """The function being recorded overwrites a tensor, which no replay will do."""
        if t.buffer in self.rows.externals or isinstance(t.node, Leaf) and t.node in self.rows.externals:
            raise InPlaceError(f"{user_line()}: a tensor that this recording has read is overwritten in it, so that "
                               "replays would read the later values; make a new tensor, or overwrite it outside")
        if t.buffer.version != self.known.born:
            self._warn("a tensor is overwritten (copy_, t[...] =) while a function is being recorded, which no replay "
                       "does again: what reads it later finds what was left there. Overwrite it outside, or make a new "
                       "tensor")

    def computes(self, op: Op, inputs: Sequence[Tensor]) -> bool:
        """Whether an op of another dtype is computed at once, its operands being guarded."""
        if not self.mixes or op.again or any(t.buffer is None or not self.known.readable(t) for t in inputs):
            return False
        for t in inputs:
            self.known.value_of(t)
        return True

    def detach(self, t: Tensor) -> Tensor:
        """The same value, with no gradient flowing through it."""
        return Tensor._made(None, t.offset, t.shape, t.strides, t.dtype, t.node, False)

    def convert(self, t: Tensor, dtype: np.dtype) -> Tensor:
        """A symbolic tensor in another dtype."""
        if dtype == BOOL:
            return as_bool(t)
        if dtype.kind == "f" and t.dtype.kind in "ib":
            if dtype != self.tape.dtype:
                raise DtypeError(f"{user_line()}: this recording computes in {self.tape.dtype}, not {dtype}")
            return convert(t, dtype)
        if dtype == INT64:
            return to_int64(t) if t.dtype == BOOL else whole(t)
        raise DtypeError(f"{user_line()}: a recording of {self.tape.dtype} cannot convert {t.dtype} to {dtype}")

    def wait_for_ranks(self) -> None:
        """An instruction of the walks waits for the other processes."""
        self.synchronised = True

    def random_stream(self, shape: tuple[int, ...], by_rows: bool = True) -> tuple[int, int, int, int]:
        """Of one more random op key, stream, where the recording keeps its state, and elements of a shared row."""
        n, each = self.draws, self.each[self.draws] if self.draws < len(self.each) else 0
        self.draws += 1
        self.drawn.append((shape, by_rows))
        return 0, n, self.random_state.__array_interface__["data"][0] // 8, each
