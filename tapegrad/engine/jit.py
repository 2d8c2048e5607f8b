"""From a plain Python function to machine code, and the folder that keeps it.

Every compiled thing in tapegrad is a plain Python function of one signature::

    def kernel(op, f, i, b) -> int          # 0, or a status code

``op`` points at the instruction's row of 64-bit words; ``f``, ``i`` and ``b`` are all of memory seen
as the tape's float type, as int64 and as bytes, indexed by *element address* (``address // itemsize``).
A kernel is therefore the same for every model and every array, and one signature serves kernels, walks
and optimiser updates alike.

Numba is imported only to compile. What it makes is kept as object code, one file a kernel and dtype, and
a later process hands the file to LLVM without importing numba. Numba's own cache is not used: it looks at
one source file only, and cannot key closures. The folder's name holds the version, a hash of *all*
sources of the package, the versions of numba and llvmlite and the CPU, so that an edit or an upgrade
never runs old code; files appear by an atomic rename and carry a checksum, so that any number of
processes may compile at once; a folder that cannot be used costs one warning, never an error.

With ``NUMBA_DISABLE_JIT=1`` the same functions run as plain Python over raw memory.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import struct
import sys
import tempfile
import time
import types
import warnings
from collections.abc import Callable
from functools import cache, partial
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import CompileError
from . import processor
from .locks import COMPILING, Lock
from .storage import address_of, array_at, contiguous_strides

__all__ = [
    "Kernel", "Memory", "apart", "array_of", "bits", "cache_folder", "call", "cast", "compile_seconds", "device",
    "device_pair", "doubles_at", "enabled", "float_bits", "floats_at", "bits_float", "frame", "integers", "plus",
    "read", "real", "real64", "row_address", "wide", "word_of", "words_at", "write",
]

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


def enabled() -> bool:
    """Whether kernels run as machine code (``NUMBA_DISABLE_JIT`` is not set)."""
    return not _PLAIN


_PLAIN = os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0")
_lock = Lock(COMPILING)
_seconds = 0.0


def compile_seconds() -> float:
    """Seconds that this process has spent compiling (0.0 when all came from the cache)."""
    return _seconds


def bits(value: float) -> int:
    """The 64-bit word that holds `value` as a float64.

    >>> bits(1.0) == 0x3FF0000000000000
    True
    """
    return struct.unpack("q", struct.pack("d", value))[0]


# ------------------------------------------------------------------ device functions


#: functions that kernels may call, in the order of their definition; `intrinsics` teaches them to numba
DEVICE_FUNCTIONS: list[tuple[Callable, Callable, Callable]] = []


def device(function: Callable) -> Callable:
    """Let compiled functions call `function`; it stays a plain Python function."""
    if _PLAIN:
        function = _named(function)
    DEVICE_FUNCTIONS.append((function, function, function))
    return function


def device_pair(name: str, single: Callable, double: Callable) -> Callable:
    """One device function of two bodies: `single` for float32 arguments, `double` for float64."""

    def pair(*args: Any) -> Any:
        return single(*args) if any(type(a) is np.float32 for a in args) else double(*args)

    pair.__name__ = pair.__qualname__ = name
    pair.__doc__ = double.__doc__
    DEVICE_FUNCTIONS.append((pair, single, double))
    return pair


# Primitive device functions: here the plain-Python meaning, in `intrinsics` the LLVM one.


class Memory:
    """All of memory as elements of one type, from an element address on (plain-Python twin of a pointer)."""

    def __init__(self, dtype: Any, base: int = 0) -> None:
        self.dtype, self.base = np.dtype(dtype), int(base)
        self._ctype = np.ctypeslib.as_ctypes_type(self.dtype)
        self._give = self.dtype.type if self.dtype.kind == "f" else int

    def _at(self, k: int) -> Any:
        return self._ctype.from_address((self.base + int(k)) * self.dtype.itemsize)

    def __getitem__(self, k: int) -> Any:
        return self._give(self._at(k).value)

    def __setitem__(self, k: int, value: Any) -> None:
        self._at(k).value = value


def words_at(address: int) -> Any:
    """The row of int64 words at element address `address` (bytes // 8)."""
    return Memory(np.int64, address)


def integers(f: Any) -> Any:
    """All of memory as int64, from all of it as floats."""
    return Memory(np.int64)


def row_address(op: Any) -> int:
    """Element address of a row."""
    return address_of(op) // 8 if isinstance(op, np.ndarray) else op.base


FRAME_WORDS = 32


def frame() -> Any:
    """A row of `FRAME_WORDS` words for the time of this call of the compiled function; anything stands in it."""
    return np.full(FRAME_WORDS, -1, np.int64)


def word_of(value: Any) -> int:
    """`value` as a float64, as a word that `real` reads."""
    return bits(float(value))


def floats_at(f: Any, address: int) -> Any:
    """The elements of `f` from an element address on, as memory of its own.

    LLVM does not vectorise a loop that reads and writes what it takes for one array in steps of different lengths;
    between two arrays it checks for an overlap before the loop.
    """
    return Memory(f.dtype, address)


def doubles_at(f: Any, address: int) -> Any:
    """The memory from an element address of `f` on as float64, whatever the elements of `f` are."""
    return Memory(np.float64, address * f.dtype.itemsize // 8)


def wide(value: Any) -> Any:
    """`value` as a float64: what the parts of a long sum are added up in."""
    return np.float64(value)


def plus(a: Any, b: Any) -> Any:
    """``a + b``, one addition of many whose order does not matter: LLVM makes vector code of a loop that sums so.

    All other arithmetic keeps the order in which it is written.
    """
    return a + b


def read(f: Any, k: int) -> Any:
    """Element `k`, which no `write` of the same loop changes but that at the same step, after it.

    LLVM need not find out, so that one loop serves whether its result lies elsewhere or over what it reads.
    """
    return f[k]


def write(f: Any, k: int, value: Any) -> int:
    """Set element `k`; see `read`."""
    f[k] = value
    return 0


def apart() -> int:
    """Keep the function that calls this out of its callers.

    In a loop within another, or beside others, LLVM reads the constants of long formulas again for every vector.
    """
    return 0


def real64(op: Any, k: int) -> float:
    """Word `k` of the row as a float64."""
    return np.int64(op[k]).view(np.float64)


def real(op: Any, k: int, f: Any) -> Any:
    """Word `k` of the row, written as a float64, in the dtype of `f`."""
    return f.dtype.type(real64(op, k))


def cast(value: Any, f: Any) -> Any:
    """`value` in the dtype of `f`."""
    return f.dtype.type(value)


def float_bits(x: Any) -> Any:
    """The bits of a float32 as an int32, of a float64 as an int64."""
    return x.view(np.int32) if type(x) is np.float32 else np.float64(x).view(np.int64)


def bits_float(n: Any) -> Any:
    """The float32 whose bits are the int32 `n`, the float64 whose bits are the int64 `n`."""
    return n.view(np.float32) if type(n) is np.int32 else np.int64(n).view(np.float64)


def array_of(memory: Any, address: int, shape: Any) -> Any:
    """C-contiguous array over the elements of `memory` from an element address on."""
    extents = tuple(map(int, shape))
    return array_at(address * memory.dtype.itemsize, extents, contiguous_strides(extents), memory.dtype, None)


def call(address: int, op: Any, f: Any, i: Any, b: Any) -> int:
    """Call the compiled function at `address` (an entry of a kernel table)."""
    return _plain_functions[address](op, f, i, b)


_plain_functions: dict[int, Callable] = {}


# ------------------------------------------------------------------ kernels


class Kernel:
    """A function that is compiled when it is first used, once for each float dtype.

    Parameters
    ----------
    name : str
        Unique among kernels: it names the file in the cache.
    function : callable
        ``function(op, f, i, b) -> int``; or a `functools.partial` without open parameters that makes it.
    own : bool, default True
        Whether it is the package's. A user's may allocate, and is not kept on disk, for what it calls lies outside
        the package and cannot be hashed.
    straight : bool, default False
        Whether LLVM shall make vector code of lines that do the same to neighbours, not only of loops.
    table : dict of dtype to ndarray of int64, optional
        Where walks look for its address, by `number`: it is there as soon as anybody has asked for it.
    number : int
    """

    __slots__ = ("name", "function", "own", "straight", "table", "number", "_addresses", "_engines")

    def __init__(self, name: str, function: Callable, own: bool = True, straight: bool = False,
                 table: dict[np.dtype, np.ndarray] | None = None, number: int = 0) -> None:
        self.name, self.function, self.own, self.straight = name, function, own, straight
        self.table, self.number = table, number
        self._addresses: dict[np.dtype, int] = {}
        self._engines: list[Any] = []

    def address(self, dtype: np.dtype) -> int:
        """Address of the machine code for `dtype`; compiles or loads it at the first call."""
        address = self._addresses.get(dtype)
        return address if address is not None else self._load(dtype)

    def _load(self, dtype: np.dtype) -> int:
        with _lock.now:
            if dtype in self._addresses:
                return self._addresses[dtype]
            if isinstance(self.function, partial):
                self.function = self.function()
            if _PLAIN:
                address = id(self)
                _plain_functions[address] = _named(self.function)
            else:
                address, engine = _machine_code(self, dtype)
                self._engines.append(engine)
            if self.table is not None:
                self.table[dtype][self.number] = address
            self._addresses[dtype] = address
            return address

    def __call__(self, row: int, dtype: np.dtype) -> int:
        """Run on the row of words at byte address `row`; the GIL is released. Returns the status."""
        address = self._addresses.get(dtype)
        return enter(address if address is not None else self._load(dtype), row, dtype)

    def bound(self, row: int, dtype: np.dtype) -> Callable[[], int]:
        """What runs on this row whenever it is called: the same in half the time."""
        address = self.address(dtype)
        if _PLAIN:
            return partial(_plain_enter, address, row, dtype)
        return partial(_native(), ctypes.c_int64(address), ctypes.c_int64(row))

    def __repr__(self) -> str:
        return f"Kernel({self.name!r})"


def _plain_enter(address: int, row: int, dtype: np.dtype) -> int:
    with np.errstate(all="ignore"):
        f, i, b = Memory(dtype), Memory(np.int64), Memory(np.uint8)
        return _plain_functions[address](words_at(row // 8), f, i, b)


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


@cache
def _native() -> Callable[[Any, Any], int]:
    """The trampoline; it takes whole numbers or, sooner, ``ctypes.c_int64``."""
    with _lock.now:
        entry, engine = _link(None, "tapegrad_enter", _TRAMPOLINE)
        _keep.append(engine)
        return ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)(entry)


def _first_enter(address: int, row: int, dtype: np.dtype) -> int:
    """Put the trampoline in this function's place, and call it."""
    global enter
    native = _native()

    def native_enter(address: int, row: int, dtype: np.dtype) -> int:
        return native(address, row)

    enter = native_enter
    return native_enter(address, row, dtype)


_keep: list[Any] = []
enter: Callable[[int, int, np.dtype], int] = _plain_enter if _PLAIN else _first_enter


# ------------------------------------------------------------------ machine code and its folder


def _llvm() -> Any:
    import llvmlite.binding as llvm

    if not _keep:
        for start in ("initialize", "initialize_native_target", "initialize_native_asmprinter"):
            try:
                getattr(llvm, start)()
            except RuntimeError:  # llvmlite 0.45 and newer initialises the core by itself and says so
                pass
        _keep.append(llvm)
    return llvm


def _link(object_code: bytes | None, symbol: str, assembly: str = "") -> tuple[int, Any]:
    """Address of `symbol`. An engine each: symbols of different processes' object files may collide."""
    llvm = _llvm()
    machine = llvm.Target.from_default_triple().create_target_machine()
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(assembly), machine)
    if object_code is not None:
        engine.add_object_file(llvm.ObjectFileRef.from_data(object_code))
    engine.finalize_object()
    return engine.get_function_address(symbol), engine


def _machine_code(kernel: Kernel, dtype: np.dtype) -> tuple[int, Any]:
    global _seconds
    file = f"{kernel.name}.{dtype.name}.o"
    kept = _read(file) if kernel.own else None
    if kept is None:
        began = time.perf_counter()
        from .intrinsics import compile_object

        try:
            function = specialised(_named(kernel.function), dtype)
            kept = compile_object(function, f"tapegrad.{kernel.name}", dtype, kernel.own, kernel.straight)
        except Exception as error:
            if kernel.own or not type(error).__module__.startswith("numba"):
                raise
            lines = "\n".join(line for line in str(error).splitlines() if line.strip())
            raise CompileError(f"numba cannot compile {kernel.name} for {dtype}: {lines}") from None
        _seconds += time.perf_counter() - began
        if kernel.own:
            _write(file, *kept)
    symbol, object_code = kept
    return _link(object_code, symbol)


def _named(function: Callable) -> Callable:
    """`function` with the numbers of a row's words in place of their names."""
    from .row import resolved

    return resolved(function)


def specialised(function: Callable, dtype: np.dtype) -> Callable:
    """`function` with its float constants in `dtype`, for numba would promote float32 to float64."""
    if dtype != np.float32:
        return function

    def single(value: Any) -> Any:
        return np.float32(value) if type(value) is float else value

    code = function.__code__
    code = code.replace(co_consts=tuple(map(single, code.co_consts)))
    names = {n: function.__globals__[n] for n in code.co_names if n in function.__globals__}
    closure = tuple(types.CellType(single(c.cell_contents)) for c in function.__closure__ or ())
    scope = {**names, "__name__": function.__module__, "__builtins__": __builtins__}
    scope = {n: single(v) for n, v in scope.items()}
    result = types.FunctionType(code, scope, function.__name__, function.__defaults__, closure or None)
    result.__qualname__, result.__module__ = function.__qualname__, function.__module__
    return result


def _sources_hash() -> str:
    digest = hashlib.sha256()
    root = Path(__file__).resolve().parent.parent
    for path in sorted(root.rglob("*.py")):
        digest.update(str(path.relative_to(root)).encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _user_cache() -> Path:
    chosen = os.environ.get("TAPEGRAD_CACHE_DIR")
    if chosen:
        return Path(chosen)
    try:
        home = Path.home()
    except RuntimeError:  # a user without one: a place where nothing can be written, which costs the one warning
        home = Path(os.devnull)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", home)) / "tapegrad" / "cache"
    if sys.platform == "darwin":
        return home / "Library" / "Caches" / "tapegrad"
    return Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache") / "tapegrad"


_folder: Path | None = None


def cache_folder() -> Path:
    """The folder that holds this version's machine code (it may not exist yet)."""
    global _folder
    if _folder is None:
        from .._version import __version__

        compilers = f"numba{metadata.version('numba')}-llvmlite{metadata.version('llvmlite')}"
        cpu_hash = hashlib.sha256(f"{processor.NAME} {processor.FEATURES}".encode()).hexdigest()[:8]
        _folder = _user_cache() / f"{__version__}-{_sources_hash()}-{compilers}-{cpu_hash}"
    return _folder


_warned = False


def _warn_once(message: str) -> None:
    global _warned
    if not _warned:
        _warned = True
        warnings.warn(message, RuntimeWarning, stacklevel=2)


def _read(file: str) -> tuple[str, bytes] | None:
    path = cache_folder() / file
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):  # the second is for _write to report, with its remedy
        return None
    except OSError as error:
        _warn_once(f"tapegrad cannot read its cache of compiled code ({error}); it compiles anew")
        return None
    checksum, _, rest = content.partition(b"\n")
    symbol, _, object_code = rest.partition(b"\n")
    if hashlib.sha256(rest).hexdigest().encode() != checksum:
        _warn_once(f"tapegrad's cache file {path} is damaged; it is compiled anew")
        return None
    return symbol.decode(), object_code


def _write(file: str, symbol: str, object_code: bytes) -> None:
    folder = cache_folder()
    rest = symbol.encode() + b"\n" + object_code
    content = hashlib.sha256(rest).hexdigest().encode() + b"\n" + rest
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=folder, suffix=".part")
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        os.replace(temporary, folder / file)
    except OSError as error:
        _warn_once(f"tapegrad cannot keep compiled code ({error}); every process will compile anew. "
                   "Set TAPEGRAD_CACHE_DIR to a folder that can be written")
