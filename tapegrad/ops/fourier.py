"""Discrete Fourier transforms along rows: of complex numbers, as pairs, and to and from those of real numbers.

With theta = 2 pi j k / n and a factor `scale`::

    PAIRS   y_k = scale sum_j x_j e^(-i theta), or e^(i theta)
    HALF    y_k = scale c_k sum_j x_j e^(-i theta),  k = 0 .. n / 2 rounded down
    REALS   y_j = scale Re sum_k c_k x_k e^(i theta)

c is 1 where k is 0 or n / 2, and else `inner`, so 1 or 2: the other half of the terms. The last two are each other's
transposes, and the first with its conjugate, so each one's adjoint, and the adjoint of that, is one of them.

A real transform of even length n is a complex one of half the length, of (x_2j, x_2j+1) (Sorensen et al., Real-valued
fast Fourier transform algorithms, 1987).
"""

from __future__ import annotations

from typing import Any

from ..engine.kernels import Kernel
from ..engine.language import apart, cast, device, frame, words_at
from ..engine.mathematics.fourier import apart_by, transform
from ..engine.row import Input, Output, Part, Row, Words, contiguous, fixed
from ..engine.threads.team import share
from .table import Op

#: kinds of transforms
PAIRS, HALF, REALS = range(3)


class Lines(Words):
    """What is to be transformed: as part kernels see it."""

    rows: int
    n: int  # elements of a row, as NumPy counts them
    inverse: bool
    scale: float
    inner: float
    length: int  # `mathematics.fourier.length_of` the complex transform
    roots: int  # where in the table a real transform's own roots begin
    lanes: int  # rows at once
    room: int  # elements of scratch of a part


class Fourier(Row):
    y: Output
    x: Input = contiguous
    table: Input = contiguous | fixed  # `mathematics.fourier.table_of`, and of a real transform its own roots
    scratch: Input = contiguous
    kind: int
    lines: Lines
    team: int
    part: int  # address of the kernel that runs a part
    parts: int


class Piece(Words):
    """The row that parts have: the transform of `source` into `target`."""

    source: int
    target: int
    table: int
    scratch: int
    kind: int
    store: bool
    lines: Lines


@device
def put(f: Any, to: int, value: Any, store: bool) -> int:
    """to = value, or +=."""
    f[to] = value if store else f[to] + value
    return 0


# ------------------------------------------------------------------ complex numbers


@device
def load_pairs(f: Any, x: int, to: int, n: int, lanes: int, behind: int, swapped: int) -> int:
    """Rows of pairs, side by side; real and imaginary parts exchanged if `swapped` is 1."""
    apart()
    for q in range(lanes):
        row = x + 2 * n * q
        for j in range(n):
            f[to + j * lanes + q] = f[row + 2 * j + swapped]
            f[to + j * lanes + q + behind] = f[row + 2 * j + 1 - swapped]
    return 0


@device
def save_pairs(f: Any, x: int, to: int, n: int, lanes: int, behind: int, swapped: int, scale: Any, store: bool) -> int:
    """The reverse of `load_pairs`, times `scale`."""
    apart()
    for q in range(lanes):
        row = to + 2 * n * q
        for j in range(n):
            put(f, row + 2 * j + swapped, scale * f[x + j * lanes + q], store)
            put(f, row + 2 * j + 1 - swapped, scale * f[x + j * lanes + q + behind], store)
    return 0


@device
def pairs_to_pairs(op: Piece, f: Any, x: int, to: int, lanes: int, own: int, store: bool) -> int:
    """Some rows of a transform of complex numbers."""
    n, swapped = op.lines.n, 1 if op.lines.inverse != 0 else 0
    load_pairs(f, x, own, n, lanes, apart_by(n, lanes), swapped)
    found = transform(f, n, op.lines.length, lanes, op.table, own, own + 2 * apart_by(op.lines.length, lanes))
    return save_pairs(f, found, to, n, lanes, apart_by(n, lanes), swapped, op.lines.scale, store)


# ------------------------------------------------------------------ real numbers


@device
def load_reals(f: Any, x: int, to: int, n: int, lanes: int) -> int:
    """Rows of real numbers: of even length as half as many pairs."""
    apart()
    half, size = n // 2, apart_by(n // 2 if n % 2 == 0 else n, lanes)
    for q in range(lanes):
        row = x + n * q
        if n % 2 == 0:
            for j in range(half):
                f[to + j * lanes + q] = f[row + 2 * j]
                f[to + j * lanes + q + size] = f[row + 2 * j + 1]
        else:
            for j in range(n):
                f[to + j * lanes + q] = f[row + j]
                f[to + j * lanes + q + size] = 0.0
    return 0


@device
def save_half(f: Any, x: int, to: int, n: int, lanes: int, w: int, scale: Any, inner: Any, store: bool) -> int:
    """The first half of the transform of real numbers; of an even length X_k = E_k + w^k O_k of E and O.

    With Z the transform of the pairs, E_k = (Z_k + conj Z_-k) / 2 and O_k = -i (Z_k - conj Z_-k) / 2.
    """
    apart()
    half, own = n // 2, scale * inner
    length = half if n % 2 == 0 else n
    behind = apart_by(length, lanes)
    for q in range(lanes):
        row = to + 2 * (half + 1) * q
        put(f, row + 1, cast(0.0, f), store)
        if n % 2 == 0:
            re, im = f[x + q], f[x + q + behind]
            put(f, row, scale * (re + im), store)
            put(f, row + 2 * half, scale * (re - im), store)
            put(f, row + 2 * half + 1, cast(0.0, f), store)
            for k in range(1, half):
                a, b = x + k * lanes + q, x + (half - k) * lanes + q
                er, ei = 0.5 * (f[a] + f[b]), 0.5 * (f[a + behind] - f[b + behind])
                odd, imaginary = 0.5 * (f[a + behind] + f[b + behind]), 0.5 * (f[b] - f[a])
                wr, wi = f[w + k], f[w + half + 1 + k]
                put(f, row + 2 * k, own * (er + (odd * wr - imaginary * wi)), store)
                put(f, row + 2 * k + 1, own * (ei + (odd * wi + imaginary * wr)), store)
        else:
            put(f, row, scale * f[x + q], store)
            for k in range(1, half + 1):
                put(f, row + 2 * k, own * f[x + k * lanes + q], store)
                put(f, row + 2 * k + 1, own * f[x + k * lanes + q + behind], store)
    return 0


@device
def load_half(f: Any, x: int, to: int, n: int, lanes: int, w: int, inner: Any) -> int:
    """The reverse of `save_half`, with real and imaginary parts exchanged: Z_k = (G_k + G'_k) + i w^-k (G_k - G'_k).

    G' is conj G_(n/2 - k); an odd row is completed by its conjugates.
    """
    apart()
    half, part = n // 2, 0.5 * inner
    behind = apart_by(half if n % 2 == 0 else n, lanes)
    for q in range(lanes):
        row = x + 2 * (half + 1) * q
        if n % 2 == 0:
            re, last = f[row], f[row + 2 * half]
            f[to + q + behind], f[to + q] = re + last, re - last
            for k in range(1, half):
                a, b = row + 2 * k, row + 2 * (half - k)
                er, ei = part * (f[a] + f[b]), part * (f[a + 1] - f[b + 1])
                dr, di = part * (f[a] - f[b]), part * (f[a + 1] + f[b + 1])
                wr, wi = f[w + k], f[w + half + 1 + k]
                f[to + k * lanes + q + behind] = er + (dr * wi - di * wr)
                f[to + k * lanes + q] = ei + (dr * wr + di * wi)
        else:
            f[to + q + behind], f[to + q] = f[row], 0.0
            for k in range(1, half + 1):
                re, im = part * f[row + 2 * k], part * f[row + 2 * k + 1]
                f[to + k * lanes + q + behind], f[to + k * lanes + q] = re, im
                f[to + (n - k) * lanes + q + behind], f[to + (n - k) * lanes + q] = re, -im
    return 0


@device
def save_reals(f: Any, x: int, to: int, n: int, lanes: int, scale: Any, store: bool) -> int:
    """Rows of real numbers from a transform with real and imaginary parts exchanged."""
    apart()
    half = n // 2
    behind = apart_by(half if n % 2 == 0 else n, lanes)
    for q in range(lanes):
        row = to + n * q
        if n % 2 == 0:
            for j in range(half):
                put(f, row + 2 * j, scale * f[x + j * lanes + q + behind], store)
                put(f, row + 2 * j + 1, scale * f[x + j * lanes + q], store)
        else:
            for j in range(n):
                put(f, row + j, scale * f[x + j * lanes + q + behind], store)
    return 0


@device
def reals_to_half(op: Piece, f: Any, x: int, to: int, lanes: int, own: int, store: bool) -> int:
    """Some rows of a real transform."""
    n = op.lines.n
    points = n // 2 if n % 2 == 0 else n
    load_reals(f, x, own, n, lanes)
    found = transform(f, points, op.lines.length, lanes, op.table, own, own + 2 * apart_by(op.lines.length, lanes))
    return save_half(f, found, to, n, lanes, op.table + op.lines.roots, op.lines.scale, op.lines.inner, store)


@device
def half_to_reals(op: Piece, f: Any, x: int, to: int, lanes: int, own: int, store: bool) -> int:
    """Some rows of its transpose."""
    n = op.lines.n
    points = n // 2 if n % 2 == 0 else n
    load_half(f, x, own, n, lanes, op.table + op.lines.roots, op.lines.inner)
    found = transform(f, points, op.lines.length, lanes, op.table, own, own + 2 * apart_by(op.lines.length, lanes))
    return save_reals(f, found, to, n, lanes, op.lines.scale, store)


# ------------------------------------------------------------------ parts


@device
def first_row(op: Piece, part: int, parts: int) -> int:
    """The first row of a part, which begins with a group of rows that are transformed at once."""
    groups = (op.lines.rows + op.lines.lanes - 1) // op.lines.lanes
    return min(part * groups // parts * op.lines.lanes, op.lines.rows)


def transform_part(part: Part, f: Any, i: Any, b: Any) -> int:
    """Some rows of a transform."""
    op: Piece = words_at(part.row)
    own, n, half = op.scratch + part.number * op.lines.room, op.lines.n, 2 * (op.lines.n // 2 + 1)
    last, kind, store = first_row(op, part.number + 1, part.count), op.kind, op.store != 0
    for row in range(first_row(op, part.number, part.count), last, op.lines.lanes):
        lanes = min(op.lines.lanes, last - row)
        if kind == PAIRS:
            pairs_to_pairs(op, f, op.source + row * 2 * n, op.target + row * 2 * n, lanes, own, store)
        elif kind == HALF:
            reals_to_half(op, f, op.source + row * n, op.target + row * half, lanes, own, store)
        else:
            half_to_reals(op, f, op.source + row * half, op.target + row * n, lanes, own, store)
    return 0


@device
def transform_rows(op: Fourier, f: Any, i: Any, b: Any, source: int, target: int, kind: int,
                   inverse: bool, store: bool) -> int:
    """All rows of a transform of `source`."""
    piece: Piece = frame()
    piece.source, piece.target, piece.table, piece.scratch, piece.kind, piece.store = (
        source, target, op.table, op.scratch, kind, store)
    for k in range(LINES):
        piece[piece.lines + k] = op[op.lines + k]
    piece.lines.inverse = inverse
    return share(op.team, op.part, piece, op.parts, f, i, b)


def transform_forward(op: Fourier, f: Any, i: Any, b: Any) -> int:
    """y_k = scale c_k sum_j x_j e^(-+i theta), or the real part of a sum over k."""
    return transform_rows(op, f, i, b, op.x, op.y, op.kind, op.lines.inverse != 0, True)


def transform_adjoint(op: Fourier, f: Any, i: Any, b: Any) -> int:
    """dx += the transpose: the conjugate transform of g; of one to real numbers that from them, and so on."""
    kind = op.kind if op.kind == PAIRS else HALF + REALS - op.kind
    return transform_rows(op, f, i, b, op.g, op.d.x, kind, op.lines.inverse == 0, op.stores.x != 0)


LINES = Lines.size


# ------------------------------------------------------------------ the op


def _transpose(r: Any, g: Any, t: Any) -> Any:
    kind, a = r.kind, r.lines
    back = PAIRS if kind == PAIRS else HALF + REALS - kind
    return t.fourier.transformed(back, g, a.n, (kind == PAIRS) != bool(a.inverse), a.scale, a.inner)


def _same(r: Any, d: Any, t: Any) -> Any:
    a = r.lines
    return t.fourier.transformed(r.kind, d, a.n, bool(a.inverse), a.scale, a.inner)


TRANSFORM = Op("fourier", transform_forward, transform_adjoint, row=Fourier, saves={"x": "table scratch"}, stores=True,
               doc="discrete Fourier transforms of rows", composition={"x": _transpose}, tangent={"x": _same},
               batching=lambda r, t: _same(r, r.x, t))
PART = Kernel("fourier.part", transform_part)
