"""`tg.njit`: numba's, whose loops can be differentiated."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import update_wrapper
from types import FunctionType
from typing import TYPE_CHECKING, Any

import numpy as np

from ..engine import as_written
from ..engine.caller import user_line
from ..engine.language import enabled
from ..engine.lazy import lazy
from ..errors import ArgumentError, CaptureError, CompileError, GradientError
from ..functions.dropout import dropout_words, dropped
from ..functions.layout import reshape
from ..tape.state import state
from ..tensor.arrays import FLOAT64, foreign_array
from ..tensor.copies import by_name_or
from ..tensor.exchange import is_foreign
from ..tensor.recording import lift_to
from ..tensor.tensor import Tensor
from .derived import Derived, compiled_primal, primal_function
from .draws import random_state, restore, seeded
from .intrinsics import is_intrinsic
from .normal import Normal, normalise
from .source import Source, plain_function

if TYPE_CHECKING:
    from .operation import Operation

__all__ = ["Loop", "njit"]


class Loop:
    """A function made by `njit`; call it with arrays and numbers, or with tensors.

    Attributes
    ----------
    py_func : function
        The function itself.
    """

    def __init__(self, function: Callable, shape: Callable | None = None, max_bytes: int = 1 << 33) -> None:
        self._source = Source(function)
        self.py_func = self._source.function
        self._shape, self._limit = shape, max_bytes
        self._derived: dict[Any, Derived] = {}
        self._operations: dict[Any, Operation] = {}
        self._last: Derived | None = None
        self._seen: dict[Any, Derived] = {}
        self._signature = inspect.signature(self.py_func)
        update_wrapper(self, self.py_func)

    @lazy
    def _normal(self) -> Normal:
        return normalise(self._source)

    @lazy
    def _normal_serves(self) -> bool:
        """Whether the normal form is called in place of the function, which numba cannot call: it calls loops, or
        plain functions."""
        names = inspect.getclosurevars(self.py_func)
        return any(isinstance(value, (Loop, FunctionType)) and not is_intrinsic(value)
                   for value in (*names.globals.values(), *names.nonlocals.values()))

    @lazy
    def _primal(self) -> Callable:
        if self._normal_serves:
            return compiled_primal(self._normal, self.__name__)
        if not enabled():
            return self.py_func
        try:
            return primal_function(self._normal)
        except CompileError:  # it can be called, but not differentiated
            return as_written.compiled(self.py_func)

    __name__: str

    def __reduce__(self) -> Any:
        return by_name_or(self, (Loop, (self.py_func, self._shape, self._limit)))

    def __repr__(self) -> str:
        return f"<tg.njit of {self.__name__}>"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The function: of arrays and numbers at numba's speed; of tensors an op on the tape."""
        if any(isinstance(a, Tensor) for a in (*args, *kwargs.values())):
            return self._applied(self._bound(args, kwargs))
        if self._normal_serves:
            return self._primal(*self._bound(args, kwargs))
        return self._primal(*args, **kwargs)

    def _bound(self, args: Sequence[Any], kwargs: dict[str, Any]) -> list[Any]:
        try:
            bound = self._signature.bind(*args, **kwargs)
        except TypeError as error:
            raise ArgumentError(f"{self.__name__}: {error}") from None
        bound.apply_defaults()
        return [bound.arguments[p] for p in self._normal.parameters]

    # -------------------------------------------------------------- over arrays

    def _derivation(self, args: Sequence[Any], wanted: tuple[str, ...]) -> Derived:
        import numba

        key = tuple(map(numba.typeof, args)), wanted
        if key not in self._derived:
            self._derived[key] = Derived(self._normal, key[0], wanted, limit=self._limit)
        self._last = self._derived[key]
        return self._last

    def value_and_gradient(self, args: Sequence[Any], kwargs: dict[str, Any],
                           positions: Sequence[int]) -> tuple[Any, list[Any]] | None:
        """The value and the gradients by positional arguments, by one call of compiled code.

        None if some argument is of a kind that `value_and_grad` handles itself.
        """
        key = None if kwargs else _shown(args, positions)
        seen = self._seen.get(key)
        if seen is not None:
            self._last = seen
            results, gradients = seen.run(args, _SEED)
            return np.float64(results[0]), gradients
        if any(isinstance(args[k], Tensor) for k in positions):
            return None
        given = [a if isinstance(a, np.ndarray) or not is_foreign(a) else foreign_array(a)
                 for a in self._bound(args, kwargs)]
        if any(isinstance(a, (list, tuple, dict)) for a in given):
            return None
        for k in positions:
            if isinstance(given[k], (int, np.integer)) and not isinstance(given[k], bool):
                given[k] = float(given[k])
        given = [np.ascontiguousarray(a) if isinstance(a, np.ndarray) else a for a in given]
        derived = self._derivation(given, tuple(self._normal.parameters[k] for k in positions))
        if len(derived.outputs) != 1 or self._normal.is_tuple or derived.kinds[derived.outputs[0]].is_array:
            raise GradientError(f"{user_line()}: the gradient of {self.__name__} is asked for, which does not return "
                                "one number; use tg.vjp or tg.jacobian")
        if key is not None and len(args) == len(given):
            self._seen[key] = derived
        results, gradients = derived.run(given, _SEED)
        return np.float64(results[0]), gradients

    @property
    def adjoint_source(self) -> str:
        """Python source of the adjoint that was derived last; by the first call's arguments if there was none."""
        if self._last is None:
            raise ArgumentError(f"{self.__name__}: the adjoint is derived for the types of the arguments; take a "
                                f"gradient first, or say {self.__name__}.derive(*args)")
        return self._last.source

    def derive(self, *args: Any, argnums: int | Sequence[int] | None = None) -> str:
        """Derive the adjoint for such arguments, by all floats or those of `argnums`; returns its source."""
        given = self._bound(args, {})
        floats = [k for k, a in enumerate(given) if np.asarray(a).dtype.kind == "f"]
        positions = floats if argnums is None else [argnums] if isinstance(argnums, int) else list(argnums)
        return self._derivation(given, tuple(self._normal.parameters[k] for k in positions)).source

    def memory(self, *args: Any, argnums: int | Sequence[int] = 0) -> int:
        """Bytes that the reverse sweep's tape takes for these arguments."""
        self.derive(*args, argnums=argnums)
        given = self._bound(args, {})
        assert self._last is not None
        seeds = [np.zeros((0,) * kind.ndim) if kind.is_array else 0.0
                 for kind in (self._last.kinds[o] for o in self._last.outputs)]
        return 8 * sum(self._last.length(given, seeds))

    # -------------------------------------------------------------- over tensors

    def _applied(self, given: list[Any]) -> Any:
        tensors = self._tensors(given)
        if self._normal.is_random:
            if state.capture is not None and state.capture.ranks:
                raise CaptureError(f"{user_line()}: {self.__name__} draws random numbers, and with comm= every rank "
                                   "would draw the same for its rows; draw them outside of the loop (tg.rand, "
                                   "tg.randn) and give them as an argument")
            dtype = next((t.dtype for t in tensors if t.is_floating), FLOAT64)
            tensors.append(dropped(Tensor(np.ones(_SEED_BITS, dtype)), dropout_words(0.5, (_SEED_BITS,))))
        kinds = tuple((t.is_floating, t.ndim) for t in tensors)
        dtype = next((t.dtype for t in tensors if t.is_floating), FLOAT64)
        key = kinds, dtype
        if key not in self._operations:
            from .operation import Operation  # with the rules, of which arrays need none that are kept

            normal, primal = self._normal, self._primal
            if normal.is_random:
                normal = seeded(normal)
                primal = compiled_primal(normal, self.__name__)
            self._operations[key] = Operation(normal, primal, kinds, dtype)
        operation = self._operations[key]
        self._check_apart(operation, tensors)
        shapes = self._shapes(operation, tensors)
        whole, found, at = operation(tensors, shapes), [], 0
        if len(shapes) == 1:
            return (whole,) if self._normal.is_tuple else whole
        for shape in shapes:
            count = int(np.prod(shape))
            found.append(reshape(whole[at:at + count], shape))
            at += count
        return tuple(found)

    def _check_apart(self, operation: Operation, tensors: Sequence[Tensor]) -> None:
        """Refuse a tensor that is written to while another argument is of the same memory."""
        for k in operation.written:
            for j, other in enumerate(tensors):
                if j != k and (tensors[k].buffer is other.buffer if other.buffer is not None else
                               tensors[k].node is other.node):
                    names = self._normal.parameters
                    raise CompileError(f"{user_line()}: {self.__name__}: the arguments {names[k]}, which is written "
                                       f"to, and {names[j]} share memory; give a copy")

    def _tensors(self, given: Sequence[Any]) -> list[Tensor]:
        floats = [a.dtype for a in given if isinstance(a, Tensor) and a.is_floating]
        dtype = floats[0] if floats else FLOAT64
        found = []
        for name, a in zip(self._normal.parameters, given):
            if not isinstance(a, Tensor):
                array = foreign_array(a)
                if array.dtype.kind in "iub":
                    array = array.astype(np.int64)
                elif array.dtype.kind != "f":
                    raise ArgumentError(f"{self.__name__}: the argument {name} is to be a number or an array, not "
                                        f"{type(a).__name__}")
                a = lift_to(array, dtype) if array.dtype.kind == "f" else Tensor(array)
            found.append(a)
        return found

    def _shapes(self, operation: Operation, tensors: Sequence[Tensor]) -> list[tuple[int, ...]]:
        """Shapes of the outputs: by `shape`, or of what the function returns for these values."""
        if not operation.outputs:
            raise ArgumentError(f"{self.__name__} returns nothing; on a tape it must return what it computes")
        if all(not kind.is_array for kind in operation.outputs):
            return [()] * len(operation.outputs)
        if self._shape is not None:
            found = self._shape(*(t.shape for t in tensors[:len(self._normal.parameters)]))
            found = found if self._normal.is_tuple else [found]
            return [tuple(int(n) for n in shape) for shape in found]
        if any(t.is_symbolic for t in tensors):
            raise CaptureError(f"{user_line()}: {self.__name__} returns an array, whose shape a recording must know; "
                               "say it: tg.njit(f, shape=lambda *shapes: shapes[0])")
        arrays = [t.detach().numpy() for t in tensors[:len(self._normal.parameters)]]
        state = random_state() if self._normal.is_random else None
        result = self._primal(*(a if a.ndim else a[()] for a in arrays))
        if state is not None:
            restore(state)
        return [np.shape(r) for r in (result if self._normal.is_tuple else [result])]


_SEED = [1.0]
_SEED_BITS = 32  # of a generator's seed
#: flags of arrays that numba's types are made of, as in NumPy's C interface: contiguous, aligned, writeable
_CONTIGUOUS, _FLAGS = 0x1, 0x1 | 0x100 | 0x400


def _shown(args: Sequence[Any], positions: Sequence[int]) -> Any:
    """What the types of contiguous arrays and floats are known by, without asking numba; None of other arguments."""
    found: list[Any] = [*positions]
    for a in args:
        kind = type(a)
        if kind is np.ndarray:
            flags, axes = a.flags.num & _FLAGS, a.ndim
            if not axes or not flags & _CONTIGUOUS:
                return None
            found += a.dtype, axes, flags
        elif kind is float:
            found.append(kind)
        else:
            return None
    return tuple(found)


def njit(function: Callable | None = None, *, shape: Callable | None = None, max_bytes: int = 1 << 33) -> Any:
    """Compile a function with numba, and derive its adjoint where it is differentiated.

    Parameters
    ----------
    function : callable
        Plain Python as numba takes it, or a numba dispatcher.
    shape : callable, optional
        ``shape(*argument_shapes)`` gives the shape of an array that the function returns (a list of shapes, of a
        tuple), for recordings, which must know it beforehand.
    max_bytes : int, default 8 GiB
        Limit of the tape of the reverse sweep.

    Returns
    -------
    Loop
        Of arrays and numbers, the function at numba's speed. Under `value_and_grad` and `grad` a call runs the derived
        adjoint. Of a `Tensor`, an op: define by run, recorded, in a batch, differentiated twice.

    Raises
    ------
    CompileError
        The function holds what is not understood; names the file, the line, the construct and what to write instead.
    TapeMemoryError
        A reverse sweep needs more than `max_bytes`.

    Notes
    -----
    The adjoint is derived from the source: a forward sweep that records what the reverse sweep needs and cannot
    compute again, and the reverse sweep (A. Griewank and A. Walther, Evaluating Derivatives, 2nd ed., 2008). It is
    plain Python, `Loop.adjoint_source`, which numba compiles once for each combination of argument types; another
    length or another pattern of branches compiles nothing.

    Understood: assignments, also of tuples and named tuples, and exchanges ``a, b = b, a``; ``for`` over ranges,
    arrays, ``enumerate`` and ``zip``; ``while``, ``if``, ``break``, ``continue``, ``return`` anywhere, ``assert``;
    conditional expressions; scalars and arrays of floats, integers and booleans; slices that name parts of arrays;
    functions of ``math`` and NumPy, matrix products and small linear algebra; calls of other functions, which are
    written out where they are called. A function that calls itself is called by name: the reverse sweep of a call runs
    its adjoint, which computes once more what the call had computed, for each level above it; the tapes of these come
    beside that of `Loop.memory`. Costly values, such as those of ``exp`` in a loop, are recorded where the reverse
    sweep reads them.

    =========================================  =====================================================
    refused                                    instead
    =========================================  =====================================================
    ``try``, ``with``, ``raise``               a test with ``if``; ``assert``
    ``yield``, ``lambda``, comprehensions      a loop over an array
    dictionaries, sets, lists                  arrays
    recursion of functions that write to       one number or array as result; a loop
    arrays, draw, or return several results
    functions whose source is not at hand      one of ``math`` or NumPy, or the formula
    ``random``, NumPy's generators             ``np.random``
    ``np.random.shuffle``                      an order by ``np.random.permutation``
    a draw whose parameters are                one without parameters, transformed
    differentiated (but location and scale)
    an array that names several arrays         ``.copy()``, or two names; ``a, b = b, a``
    in turn, and is written to; arrays that
    are rebound while another name is of
    their elements
    arguments that share memory, of which one  a copy
    is written to
    an index that is an array or a tuple, or   the loop; the indices written out
    inserts an axis
    ``linspace`` and ``arange`` of what is     the formula of an element
    differentiated
    broadcasting of arrays of different axes   the loop
    a tuple of what is differentiated at a     a name for each value
    computed index
    ``mean``, ``max``, ``prod`` along an       ``np.sum(a, axis) / n``; the loop
    axis (numba has none)
    =========================================  =====================================================

    ``np.random``: the reverse sweep has the numbers that the forward sweep drew, and ``normal(m, s)``,
    ``uniform(a, b)`` and other draws with a location or a scale have derivatives by these. Of arrays the numbers come
    from numba's generator (Mersenne Twister, a thread's own), as in ``numba.njit``, which ``np.random.seed`` in a
    compiled function seeds: the value is that of the plain call. Of tensors they come from such a generator that is
    seeded anew for each call, and for each run of a recording, from `manual_seed`; each call of a batch (`vmap`)
    has numbers of its own.

    Comparisons, ``int``, ``floor`` and the like have the derivative zero. Of ``max`` and ``min`` the first of equal
    arguments has it; ``abs`` has 0 at 0.

    Examples
    --------
    >>> import math, numpy as np, tapegrad as tg
    >>> @tg.njit
    ... def newton(a):
    ...     x = a
    ...     while abs(x * x - a) > 1e-12:
    ...         x = 0.5 * (x + a / x)
    ...     return x
    >>> value, slope = tg.value_and_grad(newton)(9.0)
    >>> round(float(value), 6), round(float(slope), 6)
    (3.0, 0.166667)
    """
    if function is None:
        return lambda f: njit(f, shape=shape, max_bytes=max_bytes)
    if plain_function(function) is None:
        raise ArgumentError(f"njit takes a function, not {type(function).__name__}")
    return Loop(function, shape, max_bytes)
