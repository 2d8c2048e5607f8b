"""Register blocking: the micro-kernels of matrix products, small tiles of the result held in vector registers.

All matrix products and convolutions come down to `tile`: a few rows of the result stay in registers while the
contraction runs, so that each element loaded serves many multiplications. Here are the meanings of it and its helpers
as plain Python; `tile_code` has their LLVM vector code.
"""

from __future__ import annotations

from functools import cache
from threading import get_ident
from typing import Any

import numpy as np

from ..language import cast, device
from ..processor import VECTOR
from ..storage import address_of, aligned_bytes

#: rows of a tile at most: what registers hold, and enough to hide the latency of dependent multiply-adds
ROWS = 8 if VECTOR == 64 else 6
#: elements of a `stack` at least
STACKED = 4224
#: rows of a panel, the part of B that all rows of A are multiplied with before the next: half of a first cache
PANEL = 192 if VECTOR == 64 else 320


def lanes_of(f: Any) -> int:
    """Columns of a tile at most: two vector registers of elements of `f`."""
    return 2 * VECTOR // f.dtype.itemsize


def tile(f: Any, rows: int, lanes: int, depth: int, a: int, a_row: int, a_step: int, b: int, b_step: int,
         alpha: Any, base: int, base_row: int, c: int, c_row: int) -> int:
    """``C[r, j] = alpha * sum over p < depth of A[r, p] B[p, j] + D[r, j]``.

    Parameters
    ----------
    rows, lanes : int
        Extents of C: at most `ROWS`, and at most `lanes_of`.
    a, a_row, a_step : int
        ``A[r, p]`` is ``f[a + r a_row + p a_step]``.
    b, b_step : int
        Row p of B begins at ``f[b + p b_step]``. As many as `lanes_of` elements of each are read, or half as many where
        `lanes` is no more: they must be readable.
    base, base_row : int
        ``D[r, j]`` is ``f[base + r base_row + j]``, or 0 where `base` is 0; it may be C.
    c, c_row : int
        ``C[r, j]`` is ``f[c + r c_row + j]``.
    """
    for r in range(rows):
        for j in range(lanes):
            total = cast(0.0, f)
            for p in range(depth):
                total += f[a + r * a_row + p * a_step] * f[b + p * b_step + j]
            f[c + r * c_row + j] = alpha * total + (f[base + r * base_row + j] if base != 0 else cast(0.0, f))
    return 0


def placed_tile(f: Any, i: Any, rows: int, lanes: int, depth: int, a: int, a_row: int, b: int, places: int, alpha: Any,
                base: int, base_row: int, c: int, c_row: int) -> int:
    """`tile` where ``i[places + p]`` stands for ``p b_step``, and ``i[places + depth + p]`` for ``p a_step``."""
    for r in range(rows):
        for j in range(lanes):
            total = cast(0.0, f)
            for p in range(depth):
                total += f[a + r * a_row + i[places + depth + p]] * f[b + i[places + p] + j]
            f[c + r * c_row + j] = alpha * total + (f[base + r * base_row + j] if base != 0 else cast(0.0, f))
    return 0


def transpose(f: Any, to: int, to_row: int, source: int, source_row: int, rows: int, columns: int, filled: int) -> int:
    """``f[to + p to_row + j] = f[source + j source_row + p]`` for j and p below half of `lanes_of`, p below `columns`.

    From j = `rows` on the last row is repeated. Where `filled` is less than half of `lanes_of`, j stays below half of
    that.
    """
    half = lanes_of(f) // 2
    for j in range(half if filled >= half else half // 2):
        for p in range(min(half, columns)):
            f[to + p * to_row + j] = f[source + min(j, rows - 1) * source_row + p]
    return 0


def move(f: Any, to: int, source: int, lanes: int) -> int:
    """Copy `lanes` elements, at most `lanes_of`, and zeros up to that, or to half of it where `lanes` is no more."""
    half = lanes_of(f) // 2
    for j in range(half if lanes <= half else 2 * half):
        f[to + j] = f[source + j] if j < lanes else cast(0.0, f)
    return 0


def prefetch(f: Any, at: int) -> int:
    """Software prefetch of the cache line of an element."""
    return 0


def stack(f: Any) -> int:
    """Element address of `PANEL` rows of `lanes_of` elements, or `STACKED`, of this call of the compiled function."""
    return address_of(_memory(f.dtype, get_ident())) // f.dtype.itemsize


@cache
def _memory(dtype: np.dtype, thread: int) -> np.ndarray:
    return aligned_bytes(max(PANEL * 2 * VECTOR, STACKED * dtype.itemsize)).view(dtype)


@device
def unit_of(f: Any) -> int:
    """The unit of padding of `transposed`, in elements: 32 bytes."""
    return 16 * lanes_of(f) // VECTOR


@device
def transposed(f: Any, to: int, to_row: int, source: int, source_row: int, rows: int, columns: int, unit: int) -> int:
    """``f[to + p to_row + j] = f[source + j source_row + p]`` for j below `rows`, p below `columns`.

    Padded with the last row to a multiple of `unit`: half of `lanes_of`, or `unit_of`.
    """
    side = lanes_of(f) // 2
    for j in range(0, rows, side):
        for p in range(0, columns, side):
            transpose(f, to + p * to_row + j, to_row, source + j * source_row + p, source_row, rows - j, columns - p,
                      side if rows - j > unit else unit)
    return 0
