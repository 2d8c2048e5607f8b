"""From a plain Python function to machine code.

Every compiled thing in tapegrad is a plain Python function of one signature::

    def kernel(op, f, i, b) -> int          # 0, or a status code

``op`` points at the instruction's row of 64-bit words; ``f``, ``i`` and ``b`` are all of memory seen
as the tape's float type, as int64 and as bytes, indexed by *element address* (``address // itemsize``).
A kernel is therefore the same for every model and every array, and one signature serves kernels, walks
and optimiser updates alike.

Numba is imported only to compile. The object code is cached (see `cache`); a later process gives it to LLVM without
importing numba.

With ``NUMBA_DISABLE_JIT=1`` the same functions run as plain Python over raw memory.
"""

from __future__ import annotations

import ctypes
import re
import time
from collections.abc import Callable
from functools import cache as once
from functools import partial
from typing import Any

import numpy as np

from ..errors import CompileError
from . import cache
from .language import Memory, specialised, words_at
from .locks import COMPILING, Lock
from .primitives import PLAIN, plain_functions
from .row import resolved

__all__ = ["Kernel", "Through", "compile_seconds", "enter"]

_lock = Lock(COMPILING)
_seconds = 0.0


def compile_seconds() -> float:
    """Seconds that this process has spent compiling (0.0 when all came from the cache)."""
    return _seconds


# ------------------------------------------------------------------ kernels


class Kernel:
    """A function that is compiled when first used, once for each float dtype.

    Parameters
    ----------
    name : str
        Unique among kernels: it is the name of the cache file.
    function : callable
        ``function(op, f, i, b) -> int``; or a `functools.partial` without open parameters that makes it.
    own : bool, default True
        Whether it is the package's. A user's may allocate, and is not cached on disk, for what it calls lies outside of
        the package and cannot be hashed.
    straight : bool, default False
        Whether to enable LLVM's SLP vectoriser, for straight-line code.
    table : dict of dtype to ndarray of int64, optional
        The table in which walks find its address, by `number`; filled in when the address is first asked for.
    number : int

    Attributes
    ----------
    numbers : list of int
        All its indices in the table.
    """

    __slots__ = ("name", "function", "own", "straight", "table", "numbers", "_addresses", "_engines")

    def __init__(self, name: str, function: Callable, own: bool = True, straight: bool = False,
                 table: dict[np.dtype, np.ndarray] | None = None, number: int = 0) -> None:
        self.name, self.function, self.own, self.straight = name, function, own, straight
        self.table, self.numbers = table, [number] if table is not None else []
        self._addresses: dict[np.dtype, int] = {}
        self._engines: list[Any] = []

    def address(self, dtype: np.dtype) -> int:
        """Address of the machine code for `dtype`; compiled or loaded at the first call."""
        address = self._addresses.get(dtype)
        return address if address is not None else self._load(dtype)

    def serves(self, table: dict[np.dtype, np.ndarray], number: int) -> None:
        """Be found in the table under another number too, also where it is compiled already."""
        with _lock.now:
            self.table = table
            self.numbers.append(number)
            for dtype, address in self._addresses.items():
                table[dtype][number] = address

    def _load(self, dtype: np.dtype) -> int:
        with _lock.now:
            if dtype in self._addresses:
                return self._addresses[dtype]
            if isinstance(self.function, partial):
                self.function = self.function()
            if PLAIN:
                address = id(self)
                plain_functions[address] = resolved(self.function)
            else:
                address, engine = _machine_code(self, dtype)
                self._engines.append(engine)
            if self.table is not None:
                self.table[dtype][self.numbers] = address
            self._addresses[dtype] = address
            return address

    def __call__(self, row: int, dtype: np.dtype) -> int:
        """Run on the row of words at byte address `row`; the GIL is released. Returns the status."""
        address = self._addresses.get(dtype)
        return enter(address if address is not None else self._load(dtype), row, dtype)

    def bound(self, row: int, dtype: np.dtype) -> Callable[[], int]:
        """A function that runs on this row: the same in half the time."""
        address = self.address(dtype)
        if PLAIN:
            return partial(_plain_enter, address, row, dtype)
        return partial(_native(), ctypes.c_int64(address), ctypes.c_int64(row))

    def __repr__(self) -> str:
        return f"Kernel({self.name!r})"


class Through(Kernel):
    """A kernel, shared by many ops, that calls `called`, which it finds in a table: compiled when this is first used.

    Parameters
    ----------
    shared, called : Kernel
    """

    __slots__ = ("shared", "called")

    def __init__(self, shared: Kernel, called: Kernel) -> None:
        super().__init__(f"{shared.name}.{called.name}", shared.function)
        self.shared, self.called = shared, called

    def _load(self, dtype: np.dtype) -> int:
        self.called.address(dtype)
        address = self.shared.address(dtype)
        with _lock.now:
            if self.table is not None:
                self.table[dtype][self.numbers] = address
            self._addresses[dtype] = address
        return address


def _plain_enter(address: int, row: int, dtype: np.dtype) -> int:
    with np.errstate(all="ignore"):
        f, i, b = Memory(dtype), Memory(np.int64), Memory(np.uint8)
        return plain_functions[address](words_at(row // 8), f, i, b)


#: Numba's calling convention is ``int32 f(int64* result, void** exception, arguments...)``; this turns it
#: into ``int64 f(...)``. Only a user's function can raise: that is status -1.
_TRAMPOLINE = """
define i64 @tapegrad_enter(i64 %address, i8* %op) {
  %result = alloca i64
  %exception = alloca i8*
  %f = inttoptr i64 %address to i32 (i64*, i8**, i8*, i8*, i8*, i8*)*
  %code = call i32 %f(i64* %result, i8** %exception, i8* %op, i8* null, i8* null, i8* null)
  %status = load i64, i64* %result
  %returned = icmp eq i32 %code, 0
  %given = select i1 %returned, i64 %status, i64 -1
  ret i64 %given
}
"""


@once
def _native() -> Callable[[Any, Any], int]:
    """The trampoline; it takes integers or, faster, ``ctypes.c_int64``."""
    with _lock.now:
        entry, engine = _link(None, "tapegrad_enter", _TRAMPOLINE)
        _keep.append(engine)
        return ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)(entry)


def _first_enter(address: int, row: int, dtype: np.dtype) -> int:
    """Replace this function by the trampoline, and call it."""
    global enter
    native = _native()

    def native_enter(address: int, row: int, dtype: np.dtype) -> int:
        return native(address, row)

    enter = native_enter
    return native_enter(address, row, dtype)


_keep: list[Any] = []
enter: Callable[[int, int, np.dtype], int] = _plain_enter if PLAIN else _first_enter


# ------------------------------------------------------------------ machine code


def _llvm() -> Any:
    import llvmlite.binding as llvm

    if not _keep:
        for start in ("initialize", "initialize_native_target", "initialize_native_asmprinter"):
            try:
                getattr(llvm, start)()
            except RuntimeError:  # llvmlite 0.45 and newer initialises the core by itself and raises
                pass
        _keep.append(llvm)
    return llvm


#: numba's name of a pointer to a function that was not compiled yet where it is called
_PREFIX = ".numba.unresolved$"
_CALLEES = re.compile(re.escape(_PREFIX).encode() + rb"([^\0]+)\0")


def _link(object_code: bytes | None, symbol: str, assembly: str = "") -> tuple[int, Any]:
    """Address of `symbol`. Each has an engine of its own: symbols from different processes' files may collide.

    Functions that call each other reach one another by pointers, as numba has it, which are filled in here.
    """
    llvm = _llvm()
    machine = llvm.Target.from_default_triple().create_target_machine()
    callees = sorted({name.decode() for name in _CALLEES.findall(object_code or b"")})
    pointers = {name: ctypes.c_void_p() for name in callees}
    module = llvm.parse_assembly(assembly + "".join(f'@"{_PREFIX}{name}" = external global i8\n' for name in callees))
    engine = llvm.create_mcjit_compiler(module, machine)
    for name, pointer in pointers.items():
        engine.add_global_mapping(module.get_global_variable(_PREFIX + name), ctypes.addressof(pointer))
    if object_code is not None:
        engine.add_object_file(llvm.ObjectFileRef.from_data(object_code))
    engine.finalize_object()
    for name, pointer in pointers.items():
        pointer.value = engine.get_function_address(name)
        if not pointer.value:
            raise CompileError(f"functions that call each other cannot be linked: {name} is missing; write one of them "
                               "as a loop")
    return engine.get_function_address(symbol), (engine, pointers)


def _machine_code(kernel: Kernel, dtype: np.dtype) -> tuple[int, Any]:
    global _seconds
    file = f"{kernel.name}.{dtype.name}.o"
    kept = cache.read(file) if kernel.own else None
    if kept is None:
        began = time.perf_counter()
        from .lowering import compile_object

        try:
            function = specialised(resolved(kernel.function), dtype)
            kept = compile_object(function, f"tapegrad.{kernel.name}", dtype, kernel.own, kernel.straight)
        except Exception as error:
            if kernel.own or not type(error).__module__.startswith("numba"):
                raise
            lines = "\n".join(line for line in str(error).splitlines() if line.strip())
            raise CompileError(f"numba cannot compile {kernel.name} for {dtype}: {lines}") from None
        _seconds += time.perf_counter() - began
        if kernel.own:
            cache.write(file, *kept)
    symbol, object_code = kept
    return _link(object_code, symbol)
