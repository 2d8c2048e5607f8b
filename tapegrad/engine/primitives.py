"""The primitives of kernels as plain Python over raw memory; `lowering` has their LLVM code."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Callable
from typing import Any

import numpy as np

from .storage import address_of, array_at, contiguous_strides

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
PLAIN = os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0")


def enabled() -> bool:
    """Whether kernels run as machine code (``NUMBA_DISABLE_JIT`` is not set)."""
    return not PLAIN


def bits(value: float) -> int:
    """The 64-bit word that holds `value` as a float64.

    >>> bits(1.0) == 0x3FF0000000000000
    True
    """
    return struct.unpack("q", struct.pack("d", value))[0]


# ------------------------------------------------------------------ memory


class Memory:
    """All of memory as elements of one type, from an element address on (the plain-Python twin of a pointer)."""

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
    """All of memory as int64, given it as floats."""
    return Memory(np.int64)


def row_address(op: Any) -> int:
    """Element address of a row."""
    return address_of(op) // 8 if isinstance(op, np.ndarray) else op.base


FRAME_WORDS = 32


def frame() -> Any:
    """`FRAME_WORDS` uninitialised words on the stack of the compiled function."""
    return np.full(FRAME_WORDS, -1, np.int64)


def word_of(value: Any) -> int:
    """`value` as the word of a float64, which `real` reads."""
    return bits(float(value))


def floats_at(f: Any, address: int) -> Any:
    """The elements of `f` from an element address on, as an array of its own for alias analysis.

    LLVM does not vectorise a loop that accesses what it takes for one array with different strides; between two arrays
    it checks for an overlap before the loop.
    """
    return Memory(f.dtype, address)


def doubles_at(f: Any, address: int) -> Any:
    """The memory from an element address of `f` on as float64, whatever the elements of `f` are."""
    return Memory(np.float64, address * f.dtype.itemsize // 8)


def wide(value: Any) -> Any:
    """`value` as a float64, in which long sums are accumulated."""
    return np.float64(value)


def plus(a: Any, b: Any) -> Any:
    """``a + b`` that may be reassociated, so that LLVM vectorises sums.

    All other arithmetic keeps the order written.
    """
    return a + b


def quotient(a: int, b: int) -> int:
    """``a // b`` of integers, `a` not negative and `b` positive: one instruction."""
    return a // b


def read(f: Any, k: int) -> Any:
    """Element `k`, which no `write` of the same loop changes but that of the same iteration, after it.

    LLVM need not prove it, so that one loop serves in place and out of place.
    """
    return f[k]


def write(f: Any, k: int, value: Any) -> int:
    """Set element `k`; see `read`."""
    f[k] = value
    return 0


def held(f: Any, k: int) -> Any:
    """Element `k`, changed by a `write` of the same loop, but only of the same iteration, after it; see `read`."""
    return f[k]


def apart() -> int:
    """Prevent inlining of the function that calls this.

    Within a nest, or beside other loops, LLVM would reload the constants of long formulas for every vector.
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


# ------------------------------------------------------------------ calls by address


def call(address: int, op: Any, f: Any, i: Any, b: Any) -> int:
    """Call the compiled function at `address` (an entry of a kernel table)."""
    return plain_functions[address](op, f, i, b)


#: with `PLAIN`, what the address of a kernel stands for
plain_functions: dict[int, Callable] = {}


def c_call(address: int, number: int, pointer: int, count: int) -> int:
    """Call a C function of up to three arguments (an int, a pointer, a size) that gives an int."""
    function = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)(int(address))
    return function(int(number), int(pointer), int(count))


def fortran_gemm(routine: int, ta: int, tb: int, m: int, n: int, k: int, alpha: Any, a: int, lda: int, b: int,
                 ldb: int, beta: Any, c: int, ldc: int, f: Any) -> int:
    """Column-major C = alpha op(A) op(B) + beta C; `a`, `b`, `c` are element addresses, `ta`, `tb` 1 to transpose."""
    real, integer, size = np.ctypeslib.as_ctypes_type(f.dtype), ctypes.c_int32, f.dtype.itemsize
    slots: dict[int, Any] = {p: integer(int(v)) for p, v in ((2, m), (3, n), (4, k), (7, lda), (9, ldb), (12, ldc))}
    slots |= {0: ctypes.c_char(b"T" if ta else b"N"), 1: ctypes.c_char(b"T" if tb else b"N"),
              5: real(alpha), 10: real(beta)}
    arrays = {p: int(v) * size for p, v in ((6, a), (8, b), (11, c))}
    ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 13)(int(routine))(
        *(arrays[p] if p in arrays else ctypes.addressof(slots[p]) for p in range(13)))
    return 0


def byte_address(f: Any, address: int) -> int:
    """The address in bytes of an element of `f`."""
    return int(address) * f.dtype.itemsize


def fortran(routine: int, arguments: Any, count: int) -> int:
    """Call a Fortran subroutine of up to `MOST_ARGUMENTS` arguments, whose byte addresses are words of a row."""
    ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * count)(int(routine))(*(int(arguments[k]) for k in range(count)))
    return 0


#: and least
LEAST_ARGUMENTS, MOST_ARGUMENTS = 5, 14


# ------------------------------------------------------------------ atomics and fences; there is one thread here


def look(i: Any, at: int) -> int:
    """Atomic load of the word at element address `at`, sequentially consistent."""
    return i[at]


def publish(i: Any, at: int, value: int) -> int:
    """Atomic store of a word, sequentially consistent: after it all earlier writes are visible."""
    i[at] = value
    return 0


def offer(i: Any, at: int, value: int) -> int:
    """Atomic store of a word, release: whoever sees it sees all earlier writes."""
    i[at] = value
    return 0


def settle() -> int:
    """Full memory fence."""
    return 0


def replace(i: Any, at: int, expected: int, value: int) -> int:
    """Compare and swap: write a word if it is `expected`; 1 if it was."""
    if i[at] != expected:
        return 0
    i[at] = value
    return 1


def increase(i: Any, at: int, by: int) -> int:
    """Atomic fetch-and-add; returns the old value."""
    i[at] += by
    return i[at] - by


def pause() -> int:
    """A spin-wait hint to the processor."""
    return 0
