"""Matrix products through the address of a BLAS routine.

The address is a word of the instruction's row, so that compiled code depends on no library and stays in the cache.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from .jit import device
from .providers import gemm_address as gemm_address


def fortran_gemm(routine: int, ta: int, tb: int, m: int, n: int, k: int, alpha: Any, a: int, lda: int, b: int,
                 ldb: int, beta: Any, c: int, ldc: int, f: Any) -> int:
    """Column-major C = alpha op(A) op(B) + beta C; `a`, `b`, `c` are element addresses, `ta`, `tb` 1 to transpose."""
    real, integer, size = np.ctypeslib.as_ctypes_type(f.dtype), ctypes.c_int32, f.dtype.itemsize
    slots: dict[int, Any] = {p: integer(v) for p, v in ((2, m), (3, n), (4, k), (7, lda), (9, ldb), (12, ldc))}
    slots |= {0: ctypes.c_char(b"T" if ta else b"N"), 1: ctypes.c_char(b"T" if tb else b"N"),
              5: real(alpha), 10: real(beta)}
    arrays = {6: a * size, 8: b * size, 11: c * size}
    ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 13)(routine)(
        *(arrays[p] if p in arrays else ctypes.addressof(slots[p]) for p in range(13)))
    return 0


@device
def scaled_gemm(routine: int, ta: int, tb: int, m: int, n: int, k: int, alpha: Any, a: int, lda: int, b: int, ldb: int,
                add: int, c: int, ldc: int, f: Any) -> int:
    """Row-major C (m, n) = alpha op(A) op(B), or += where `add` is not 0."""
    if m == 0 or n == 0:
        return 0
    beta = 1.0 if add != 0 else 0.0
    return fortran_gemm(routine, tb, ta, n, m, k, alpha, b, max(ldb, 1), a, max(lda, 1), beta, c, max(ldc, 1), f)


@device
def gemm(routine: int, ta: int, tb: int, m: int, n: int, k: int, a: int, lda: int, b: int, ldb: int, add: int,
         c: int, ldc: int, f: Any) -> int:
    """Row-major C (m, n) = op(A) op(B), or += where `add` is not 0."""
    return scaled_gemm(routine, ta, tb, m, n, k, 1.0, a, lda, b, ldb, add, c, ldc, f)
