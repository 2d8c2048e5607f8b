"""The `Tensor` class."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np

from ..engine.caller import is_own, user_line
from ..engine.storage import Buffer, Changes, address_of, array_at, contiguous_strides, copy_buffer
from ..engine.writers import Writing
from ..errors import CaptureError, DtypeError, GradientError, InPlaceError, ShapeError, StaleTensorError
from ..tape.history import convert, leave
from ..tape.nodes import Leaf, Node
from ..tape.reverse import backward
from ..tape.rows import Symbol
from ..tape.state import Forgotten, Modes, state
from ..tape.tape import tape_for
from .arrays import BOOL, DEFAULT_DTYPE, FLOAT64, INT64, as_dtype, foreign_array, keeps_dtype, native
from .copies import Copies
from .exchange import Exported
from .facts import Facts
from .hooks import Hooked
from .methods import TensorMethods

_ONE = np.ones(())
_REMEDIES = {"shape": "reshape(shape)", "strides": "reshape, transpose or an index", "dtype": "astype(dtype)"}


class _Fields:
    """The fields of a tensor, under which it is made: shape and dtype of a `Tensor` cannot be assigned."""

    __slots__ = ("buffer", "offset", "shape", "strides", "dtype", "node", "_requires_grad", "__weakref__")
    buffer: Any  # None where symbolic
    offset: int
    shape: Any  # tuple of int
    strides: tuple[int, ...]
    dtype: np.dtype
    node: Any
    _requires_grad: bool


def made(buffer: Buffer | None, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], dtype: np.dtype,
         node: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor of these fields."""
    t: Any = _new(_Fields)
    t.buffer, t.offset, t.shape, t.strides, t.dtype = buffer, offset, shape, strides, dtype
    t.node, t._requires_grad = node, requires_grad
    t.__class__ = Tensor
    return t


_new = object.__new__


class Tensor(_Fields, Facts, TensorMethods["Tensor"], Hooked, Copies, Exported):
    """An array whose history may be on a tape.

    Parameters
    ----------
    data : array_like
        Values, copied without their history; `tensor` keeps that of tensors.
    dtype : dtype, optional
        float32 or float64; int64 and bool for labels, indices and masks. By default NumPy arrays keep their float
        dtype, Python numbers become float32, integers int64.
    requires_grad : bool, default False
        Record what is computed from it and accumulate its gradient in `grad`.

    Attributes
    ----------
    shape : tuple of int
    dtype : numpy.dtype
    requires_grad : bool
    """

    __slots__ = ()
    __array_priority__ = 1000.0
    _backward_by_compositions: Any  # of `transforms.autograd`
    _made = staticmethod(made)
    _is_owned = False  # whether a module and an optimiser share it, as parameters

    def __init__(self, data: Any, dtype: Any = None, requires_grad: bool = False) -> None:
        array = as_array(data, dtype)
        if isinstance(data, Tensor):
            data = data.detach()
        made = self._of_array(array)
        self._set(buffer=made.buffer, offset=0, shape=made.shape, strides=made.strides, dtype=made.dtype, node=None,
                  _requires_grad=False)
        if requires_grad:
            self.requires_grad_(True)

    # -------------------------------------------------------------- facts

    @property
    def nbytes(self) -> int:
        """Bytes of the elements."""
        return self.size * self.dtype.itemsize

    @property
    def is_leaf(self) -> bool:
        """Whether no recorded op computed it."""
        return not isinstance(self.node, (Node, Symbol))

    @property
    def is_symbolic(self) -> bool:
        """Whether it stands for a value of a recording in the making, and has none."""
        return self.buffer is None

    @property
    def is_floating(self) -> bool:
        """Whether its dtype is float32 or float64."""
        return self.dtype.kind == "f"

    @property
    def is_contiguous(self) -> bool:
        """Whether it is contiguous in C order."""
        return self.strides == contiguous_strides(self.shape) or _is_packed(self.shape, self.strides)

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of a 0-d tensor")
        return self.shape[0]

    # -------------------------------------------------------------- values

    def _array(self) -> np.ndarray:
        """The values, to be read: a view of the buffer, or while capturing what is known of them."""
        if self.buffer is None or Modes.recordings and state.capture is not None:
            capture = state.capture
            if self.buffer is None and (capture is None or self.node.tape is not capture.tape):
                raise StaleTensorError("this tensor belongs to a recording, whose buffers are used again; "
                                       "return it from the compiled function to have its value")
            return capture.known.value_of(self)._memory()
        return self._memory()

    def _memory(self) -> np.ndarray:
        """View of the buffer."""
        size = self.dtype.itemsize
        return array_at(self.buffer.address + self.offset * size, self.shape, self.strides, self.dtype, self.buffer)

    def _check_frozen(self) -> None:
        """Raise where a recording would bake in the values of trained parameters."""
        if state.capture is not None and self._requires_grad and self.buffer is not None:
            raise CaptureError(f"{user_line()}: a recording cannot read the value of a parameter, for it would be "
                               "frozen; use ops on it, which are recorded")

    def _copied(self, how: str) -> np.ndarray:
        """A copy of the values, asked for explicitly."""
        self._check_frozen()
        if self._requires_grad:
            leave(self, how)
        return self._array().copy()

    def numpy(self) -> np.ndarray:
        """The values, copied into a NumPy array.

        Raises
        ------
        GradientError
            Within a function that is being differentiated, if it depends on its arguments; `detach` first.
        """
        return self._copied(".numpy()")

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if self._requires_grad and state.capture is None:
            convert(self, "a conversion to a NumPy array")
        array = self._copied("a conversion to a NumPy array")
        return array if dtype is None else array.astype(dtype)

    def item(self) -> Any:
        """The only element, as a Python number; raises as `numpy` does."""
        return self._number("item()")

    def _number(self, how: str) -> Any:
        if self.size != 1:
            raise ShapeError(f"{how} needs one element; this tensor has shape {list(self.shape)}")
        return self._copied(how).reshape(()).item()

    def tolist(self) -> Any:
        """The values as nested lists; raises as `numpy` does."""
        return self._copied("tolist()").tolist()

    def _converted(self, how: str) -> Any:
        """A Python number for ``float(t)`` and the like: for users, not for ops that take a number."""
        if self._requires_grad and is_own(sys._getframe(2).f_code.co_filename):
            convert(self, "to take it for a plain number")
        return self._number(how)

    def __float__(self) -> float:
        return float(self._converted("float()"))

    def __int__(self) -> int:
        return int(self._converted("int()"))

    def __complex__(self) -> complex:
        return complex(self._converted("complex()"))

    def __bool__(self) -> bool:
        if self.size != 1:
            raise ShapeError(f"the truth of a tensor of shape {list(self.shape)} is ambiguous; use tg.where, .all() or "
                             ".any()")
        self._check_frozen()
        return bool(self._array().reshape(()).item())

    def __index__(self) -> int:
        if self.is_floating:
            raise DtypeError("a float tensor is no index")
        return int(self.item())

    def __format__(self, spec: str) -> str:
        if not spec:
            return str(self)
        if self.size != 1:
            raise ShapeError(f"the format {spec!r} is of one number; this tensor has shape {list(self.shape)}")
        return format(self._array().reshape(()).item(), spec)

    def __hash__(self) -> int:
        return id(self)

    def __iter__(self) -> Iterator[Tensor]:
        if not self.shape:
            raise TypeError("iteration over a 0-d tensor")
        return (self[k] for k in range(self.shape[0]))

    def __repr__(self) -> str:
        if self.buffer is None:
            return f"<symbolic tensor of shape {list(self.shape)}, {self.dtype}>"
        body = np.array2string(self._array(), separator=", ", prefix="tensor(")
        extra = "" if self.dtype in (DEFAULT_DTYPE, INT64, BOOL) else f", dtype={self.dtype}"
        return f"tensor({body}{extra}{', requires_grad=True' if self.requires_grad else ''})"

    # -------------------------------------------------------------- history

    @property
    def grad(self) -> Tensor | None:
        """The accumulated gradient of a leaf, or None before the first `backward`."""
        leaf = self.node
        if not isinstance(leaf, Leaf) or leaf.gradient is None:
            return None
        if Modes.recordings:
            Changes.unmark(leaf.gradient)
        if leaf.derived is not None and self._is_derived(leaf):
            return view(leaf.derived, self.offset - self._leaf_offset(), self.shape, self.strides)
        return view(Tensor._made(leaf.gradient, 0, leaf.shape, contiguous_strides(leaf.shape), leaf.dtype),
                    self.offset - self._leaf_offset(), self.shape, self.strides)

    @grad.setter
    def grad(self, value: Any) -> None:
        leaf = self.node
        if not isinstance(leaf, Leaf):
            raise GradientError("only a leaf that requires a gradient has .grad")
        if value is None:
            leaf.gradient = leaf.derived = None
            Forgotten.count += 1
            return
        array = as_array(value, self.dtype)
        if array.shape != self.shape:
            raise ShapeError(f"a gradient of shape {list(array.shape)} does not fit a tensor of {list(self.shape)}")
        if self.size != math.prod(leaf.shape):
            raise GradientError(f"this is a part of a leaf of shape {list(leaf.shape)}; set the .grad of the leaf")
        leaf.gradient = leaf.home or copy_buffer(np.empty(leaf.nbytes, np.uint8))
        leaf.derived = value if isinstance(value, Tensor) and value.requires_grad and value.is_contiguous else None
        at = leaf.gradient.address + (self.offset - self._leaf_offset()) * self.dtype.itemsize
        array_at(at, self.shape, self.strides, self.dtype, leaf.gradient)[...] = array
        if leaf.touched is not None:
            leaf.touched.describe(leaf.gradient, listed=False)

    @staticmethod
    def _is_derived(leaf: Leaf) -> bool:
        """Whether the gradient still has the values of which the history is known."""
        plain = Tensor._made(leaf.gradient, 0, leaf.shape, contiguous_strides(leaf.shape), leaf.dtype)._memory()
        if not np.array_equal(plain, leaf.derived._memory(), equal_nan=True):
            leaf.derived = None
        return leaf.derived is not None

    def _leaf_offset(self) -> int:
        return (self.node.buffer.address - self.buffer.address) // self.dtype.itemsize

    @property
    def requires_grad(self) -> bool:
        """Whether gradients are wanted; assigning is `requires_grad_`."""
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self.requires_grad_(value)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Say whether gradients are wanted for this leaf. Returns the tensor."""
        if not self.is_leaf:
            if requires_grad == self.requires_grad:
                return self
            raise GradientError("requires_grad can only be changed on a leaf; use detach()")
        if requires_grad and not self.is_floating:
            raise DtypeError(f"only float tensors have gradients, not {self.dtype}")
        if requires_grad and self.node is None:
            if not self.is_contiguous:
                raise GradientError("a strided view cannot become a leaf; copy it with tg.tensor(...)")
            buffer = Buffer(self.buffer.address + self.offset * self.dtype.itemsize, self.nbytes, self.buffer)
            Changes.unmark(self.buffer)
            self.node = Leaf(buffer, self.shape, self.dtype, max(self.nbytes, self.dtype.itemsize))
            self.buffer, self.offset = buffer, 0
        self._requires_grad = bool(requires_grad)
        if self.node is not None:
            self.node.requires_grad = self._requires_grad
            Modes.changed()
        return self

    def backward(self, gradient: Any = None, retain_graph: bool | None = None, create_graph: bool = False) -> None:
        """Accumulate into `grad` of the leaves that this tensor depends on.

        Parameters
        ----------
        gradient : array_like, optional
            The cotangent, of this tensor's shape; needed unless it has one element.
        retain_graph : bool, optional
            Keep the instructions for another call; by default as `create_graph`.
        create_graph : bool, default False
            Record the gradients too: `grad` has a history then, and can be differentiated.

        Raises
        ------
        GradientError
            If nothing was recorded, or the tensor is not a scalar and `gradient` is missing.
        GraphReleasedError
            If the instructions were walked and released already.
        """
        if self.buffer is None:
            raise CaptureError(f"{user_line()}: backward() inside a recording; TrainStep and tg.value_and_grad walk "
                               "back by themselves")
        if not self.requires_grad:
            raise GradientError("backward() from a tensor that does not require a gradient: nothing was recorded "
                                "(is every parameter frozen, or was it computed under no_grad?)")
        leave(self, "backward(), whose gradients have no history,")
        if create_graph:
            self._backward_by_compositions(self, gradient, retain_graph is None or retain_graph)
            return
        if gradient is None:
            if self.size != 1:
                raise GradientError(f"backward() of a tensor of shape {list(self.shape)} needs gradient=, "
                                    "an array of that shape; only a scalar has an implied gradient of 1")
            seed = _ONE
        else:
            seed = as_array(gradient, self.dtype)
            if seed.shape != self.shape:
                raise ShapeError(f"gradient has shape {list(seed.shape)}, the tensor {list(self.shape)}")
        node = self.node
        if isinstance(node, Leaf):
            whole = np.zeros(node.shape, node.dtype)
            at = array_at(address_of(whole) + (self.offset - self._leaf_offset()) * self.dtype.itemsize, self.shape,
                          self.strides, self.dtype, whole)
            at[...] = seed
            self_leaf = Tensor._made(node.buffer, 0, node.shape, contiguous_strides(node.shape), node.dtype, node, True)
            with Writing((node,)):
                before = self_leaf.grad
                self_leaf.grad = whole if before is None else whole + before.numpy()
            return
        backward(node.tape, node, self.offset, self.shape, self.strides, seed, bool(retain_graph))

    def detach(self) -> Tensor:
        """The same values without history, in shared memory."""
        if self.buffer is None:
            return state.capture.detach(self)
        if Modes.recordings and state.capture is not None and type(self.node) is Leaf:
            state.capture.reads(self.node)
        return Tensor._made(self.buffer, self.offset, self.shape, self.strides, self.dtype)

    def named(self, name: str) -> Tensor:
        """Give the tensor a name on the current tape, for `Tape.value` and `Tape.adjoint`. Returns the tensor."""
        tape_for(self.dtype).names[name] = self
        return self

    # -------------------------------------------------------------- in-place, for leaves

    def copy_(self, values: Any) -> Tensor:
        """Overwrite the values of a leaf; not recorded. Returns the tensor."""
        if isinstance(self.node, Node) or self.buffer is None:
            raise InPlaceError("a recorded tensor cannot be changed in place; use x.at[...].set(...) or tg.where")
        array = values._copied("copy_") if isinstance(values, Tensor) else native(foreign_array(values))
        if np.broadcast_shapes(array.shape, self.shape) != self.shape:
            raise ShapeError(f"values of shape {list(array.shape)} do not fit a tensor of {list(self.shape)}")
        self._overwrite()
        self._memory()[...] = array
        return self

    def _overwrite(self) -> None:
        """Count a change of the values."""
        if Modes.recordings and state.capture is not None:
            state.capture.overwrites(self)
        Changes.mark(self.buffer)

    def rehome(self, value_address: int, gradient_address: int, owner: Any) -> None:
        """Move a leaf's values, and from now on its gradient, to addresses in memory that `owner` keeps alive.

        The memory for the gradient holds zeros.
        """
        leaf = self.node
        if not isinstance(leaf, Leaf) or leaf.shape != self.shape:
            raise GradientError("only a whole leaf that requires a gradient has a home")
        values, gradient = self.numpy(), self.grad
        gradient_values = None if gradient is None else gradient.numpy()
        Changes.unmark(self.buffer)  # the values have left it
        leaf.buffer = self.buffer = Buffer(value_address, self.nbytes, owner)
        Changes.unmark(self.buffer)  # recorded steps write to it
        Modes.changed()
        self._set(offset=0, strides=contiguous_strides(self.shape))
        self._memory()[...] = values
        leaf.home = Buffer(gradient_address, self.nbytes, owner)
        if gradient_values is not None:
            self.grad = gradient_values
        elif leaf.touched is not None:
            leaf.touched.empty(leaf.home)

    def __setitem__(self, index: Any, value: Any) -> None:
        if self.requires_grad or self.buffer is None:
            raise InPlaceError("a recorded tensor cannot be changed in place; use x.at[index].set(value), "
                               ".add(value), or tg.where")
        values = native(foreign_array(value))
        self._overwrite()
        self._memory()[index] = values

    @classmethod
    def _of_array(cls, array: np.ndarray) -> Tensor:
        """The values of an array of a dtype of tensors."""
        shape = array.shape
        return cls._made(copy_buffer(array), 0, shape, contiguous_strides(shape), array.dtype)

    def _set(self, **fields: Any) -> None:
        for name, value in fields.items():
            object.__setattr__(self, name, value)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _REMEDIES:
            raise InPlaceError(f"{user_line()}: the {name} of a tensor cannot be assigned, for what was recorded goes "
                               f"on with it as it was; use {_REMEDIES[name]}, which gives another tensor")
        object.__setattr__(self, name, value)


@lru_cache(maxsize=1024)
def _is_packed(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    """Whether strides are those of C order, except along axes of one element."""
    if 0 in shape:
        return True
    pairs = zip(shape, strides, contiguous_strides(shape))
    return all(extent == 1 or have == want for extent, have, want in pairs)


# ------------------------------------------------------------------ making tensors


def as_array(data: Any, dtype: Any = None) -> np.ndarray:
    """`data` as a NumPy array of a dtype of tensors."""
    array = data.numpy() if isinstance(data, Tensor) else foreign_array(data)
    source = type(data).__name__
    if dtype is not None:
        return as_dtype(array, dtype, source)
    array = native(array, source)
    return array if array.dtype != FLOAT64 or keeps_dtype(data) else array.astype(DEFAULT_DTYPE)


@lru_cache(maxsize=1024)
def _constant(value: float, sign: float, dtype: np.dtype) -> Tensor:
    return fixed(Tensor(np.asarray(value, dtype)))


def fixed(t: Tensor) -> Tensor:
    """`t`, marked as never written again, so that recordings need not watch it."""
    t.buffer.version = Changes.FIXED
    return t


def constant(value: float, dtype: np.dtype) -> Tensor:
    """A cached 0-d tensor of a Python number; not to be written to."""
    if value == 0.0:
        return _constant(value, math.copysign(1.0, value), dtype)
    return _constant(value, 0.0, dtype)


def view(t: Tensor, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> Tensor:
    """A view at `offset` (relative, in elements) with another shape; value and adjoint are aliases of `t`'s."""
    return made(t.buffer, t.offset + offset, shape, strides, t.dtype, t.node, t._requires_grad)
