"""Discrete Fourier transforms of several rows at once, of any length.

Stockham's self-sorting transform, radix 4, 2, 3, 5 and the odd primes up to `DIRECT`; lengths with greater prime
factors go by Bluestein's convolution with a chirp, of a length that has none. References: Stockham, High-speed
convolution and correlation, 1966; Bluestein, A linear filtering approach to the computation of discrete Fourier
transform, 1970; Frigo and Johnson, The design and implementation of FFTW3, 2005.

Of `lanes` rows, element j of row q lies at ``j lanes + q``, so that all butterflies run over the rows, whatever the
length; the imaginary parts lie `apart_by` elements behind the real ones, more than there are, for what is apart by a
power of two falls into the same places of a cache. There are only transforms by ``e^(-2 pi i j k / n)``; with real and
imaginary parts exchanged, before and after, such a transform is the inverse without its division by n.

Tables hold cosines and sines that are right to the last bit, for angles are reduced in integers first.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from ..language import apart, device, read, write

#: the greatest prime factor that is transformed by its definition
DIRECT = 31


#: elements between real and imaginary parts
GAP = 16


@device
def apart_by(n: int, lanes: int) -> int:
    """How far the imaginary parts of `lanes` rows of length `n` lie behind the real ones."""
    return n * lanes + GAP


# ------------------------------------------------------------------ tables


@device
def radix_of(n: int) -> int:
    """The radix of the next stage of a transform of length `n` above 1."""
    if n % 4 == 0:
        return 4
    for radix in (2, 3, 5):
        if n % radix == 0:
            return radix
    radix = 7
    while n % radix != 0:
        radix += 2
    return radix


def radices(n: int) -> list[int]:
    """The radices of all stages."""
    found = []
    while n > 1:
        found.append(radix_of(n))
        n //= found[-1]
    return found


@lru_cache(maxsize=4096)
def length_of(n: int) -> int:
    """The length that is transformed by stages: `n`, or for a greater prime factor that of the convolution."""
    rest = n
    for radix in (2, *range(3, DIRECT + 1, 2)):
        while rest % radix == 0:
            rest //= radix
    return n if rest == 1 else _smooth(2 * n - 1)


def _smooth(least: int) -> int:
    """The least number from `least` on without prime factors above 5."""
    best, five = 1 << (least - 1).bit_length(), 1
    while five < best:
        three = five
        while three < best:
            best = min(best, three << max(-(-least // three) - 1, 0).bit_length())
            three *= 3
        five *= 5
    return best


def roots(k: np.ndarray, n: int) -> np.ndarray:
    """e^(-2 pi i k / n), from angles up to pi / 4."""
    k = k % n
    eighth = (8 * k + n) // (2 * n)  # the nearest multiple of a quarter turn
    angle = (2.0 * np.pi) * ((4 * k - eighth * n) / (4 * n))
    cosine, sine = np.cos(angle), np.sin(angle)
    quarter = eighth % 4
    return (np.choose(quarter, [cosine, -sine, -cosine, sine])
            - 1j * np.choose(quarter, [sine, cosine, -sine, -cosine]))


def _halves(values: np.ndarray) -> list[np.ndarray]:
    return [values.real.ravel(), values.imag.ravel()]


def _stages(n: int) -> list[np.ndarray]:
    """By stage the factors w^(p k), k from 1 on, real and imaginary, and for a greater radix its own roots."""
    parts: list[np.ndarray] = []
    for radix in radices(n):
        m = n // radix
        for k in range(1, radix):
            parts += _halves(roots(k * np.arange(m), n))
        if radix > 5:
            parts += _halves(roots(np.arange(radix), radix))
        n = m
    return parts


def table_of(n: int) -> np.ndarray:
    """The float64 table of a transform of length `n`: of its stages, preceded by those of a convolution's chirp."""
    length = length_of(n)
    parts = _stages(length)
    if length != n:
        j = np.arange(n)
        squares = np.array([k * k % (2 * n) for k in range(n)])
        chirp = roots(squares, 2 * n)
        kernel = np.zeros(length, complex)
        kernel[:n] = chirp.conj()
        kernel[-j[1:]] = chirp[1:].conj()
        parts = [*_halves(chirp), *_halves(np.fft.fft(kernel) / length), *parts]
    return np.concatenate([*parts, np.zeros(1)])


# ------------------------------------------------------------------ stages
# x[q + s (p + m k)], k < radix, become y[q + s (radix p + k)], times w^(p k)


@device
def stage2(f: Any, x: int, y: int, w: int, m: int, s: int, size: int) -> int:
    """Radix 2."""
    apart()
    for p in range(m):
        wr, wi = f[w + p], f[w + m + p]
        for q in range(s):
            a, b = x + q + s * p, x + q + s * (p + m)
            to = y + q + s * 2 * p
            ar, ai, br, bi = read(f, a), read(f, a + size), read(f, b), read(f, b + size)
            dr, di = ar - br, ai - bi
            write(f, to, ar + br)
            write(f, to + size, ai + bi)
            write(f, to + s, dr * wr - di * wi)
            write(f, to + s + size, dr * wi + di * wr)
    return 0


@device
def stage3(f: Any, x: int, y: int, w: int, m: int, s: int, size: int) -> int:
    """Radix 3."""
    apart()
    sine = 0.8660254037844386467637231707529
    for p in range(m):
        w1r, w1i, w2r, w2i = f[w + p], f[w + m + p], f[w + 2 * m + p], f[w + 3 * m + p]
        for q in range(s):
            a, to = x + q + s * p, y + q + s * 3 * p
            b, c = a + s * m, a + 2 * s * m
            ar, ai, br, bi = read(f, a), read(f, a + size), read(f, b), read(f, b + size)
            cr, ci = read(f, c), read(f, c + size)
            tr, ti = br + cr, bi + ci
            ur, ui = ar - 0.5 * tr, ai - 0.5 * ti
            vr, vi = sine * (bi - ci), sine * (cr - br)  # -i sin (b - c)
            write(f, to, ar + tr)
            write(f, to + size, ai + ti)
            pr, pi, mr, mi = ur + vr, ui + vi, ur - vr, ui - vi
            write(f, to + s, pr * w1r - pi * w1i)
            write(f, to + s + size, pr * w1i + pi * w1r)
            write(f, to + 2 * s, mr * w2r - mi * w2i)
            write(f, to + 2 * s + size, mr * w2i + mi * w2r)
    return 0


@device
def stage4(f: Any, x: int, y: int, w: int, m: int, s: int, size: int) -> int:
    """Radix 4."""
    apart()
    for p in range(m):
        w1r, w1i, w2r, w2i = f[w + p], f[w + m + p], f[w + 2 * m + p], f[w + 3 * m + p]
        w3r, w3i = f[w + 4 * m + p], f[w + 5 * m + p]
        for q in range(s):
            a, to = x + q + s * p, y + q + s * 4 * p
            b, c, d = a + s * m, a + 2 * s * m, a + 3 * s * m
            ar, ai, br, bi = read(f, a), read(f, a + size), read(f, b), read(f, b + size)
            cr, ci, dr, di = read(f, c), read(f, c + size), read(f, d), read(f, d + size)
            er, ei, hr, hi = ar + cr, ai + ci, br + dr, bi + di
            ur, ui, vr, vi = ar - cr, ai - ci, bi - di, dr - br  # v = -i (b - d)
            write(f, to, er + hr)
            write(f, to + size, ei + hi)
            pr, pi, mr, mi, zr, zi = ur + vr, ui + vi, ur - vr, ui - vi, er - hr, ei - hi
            write(f, to + s, pr * w1r - pi * w1i)
            write(f, to + s + size, pr * w1i + pi * w1r)
            write(f, to + 2 * s, zr * w2r - zi * w2i)
            write(f, to + 2 * s + size, zr * w2i + zi * w2r)
            write(f, to + 3 * s, mr * w3r - mi * w3i)
            write(f, to + 3 * s + size, mr * w3i + mi * w3r)
    return 0


@device
def first4(f: Any, x: int, y: int, w: int, m: int, size: int) -> int:
    """`stage4` of one row, over p."""
    apart()
    for p in range(m):
        a, to = x + p, y + 4 * p
        b, c, d = a + m, a + 2 * m, a + 3 * m
        ar, ai, br, bi = read(f, a), read(f, a + size), read(f, b), read(f, b + size)
        cr, ci, dr, di = read(f, c), read(f, c + size), read(f, d), read(f, d + size)
        w1r, w1i, w2r, w2i = read(f, w + p), read(f, w + m + p), read(f, w + 2 * m + p), read(f, w + 3 * m + p)
        w3r, w3i = read(f, w + 4 * m + p), read(f, w + 5 * m + p)
        er, ei, hr, hi = ar + cr, ai + ci, br + dr, bi + di
        ur, ui, vr, vi = ar - cr, ai - ci, bi - di, dr - br
        pr, pi, mr, mi, zr, zi = ur + vr, ui + vi, ur - vr, ui - vi, er - hr, ei - hi
        write(f, to, er + hr)
        write(f, to + 1, pr * w1r - pi * w1i)
        write(f, to + 2, zr * w2r - zi * w2i)
        write(f, to + 3, mr * w3r - mi * w3i)
        write(f, to + size, ei + hi)
        write(f, to + 1 + size, pr * w1i + pi * w1r)
        write(f, to + 2 + size, zr * w2i + zi * w2r)
        write(f, to + 3 + size, mr * w3i + mi * w3r)
    return 0


@device
def stage5(f: Any, x: int, y: int, w: int, m: int, s: int, size: int) -> int:
    """Radix 5."""
    apart()
    c1, c2 = 0.30901699437494742410229341718282, -0.80901699437494742410229341718282
    s1, s2 = 0.95105651629515357211643933337938, 0.58778525229247312916870595463907
    for p in range(m):
        w1r, w1i, w2r, w2i = f[w + p], f[w + m + p], f[w + 2 * m + p], f[w + 3 * m + p]
        w3r, w3i, w4r, w4i = f[w + 4 * m + p], f[w + 5 * m + p], f[w + 6 * m + p], f[w + 7 * m + p]
        for q in range(s):
            a, to = x + q + s * p, y + q + s * 5 * p
            b, c, d, e = a + s * m, a + 2 * s * m, a + 3 * s * m, a + 4 * s * m
            ar, ai, br, bi = read(f, a), read(f, a + size), read(f, b), read(f, b + size)
            cr, ci, dr, di = read(f, c), read(f, c + size), read(f, d), read(f, d + size)
            er, ei = read(f, e), read(f, e + size)
            tr, ti, ur, ui = br + er, bi + ei, cr + dr, ci + di
            vr, vi, zr, zi = br - er, bi - ei, cr - dr, ci - di
            write(f, to, ar + tr + ur)
            write(f, to + size, ai + ti + ui)
            gr, gi = ar + c1 * tr + c2 * ur, ai + c1 * ti + c2 * ui
            hr, hi = ar + c2 * tr + c1 * ur, ai + c2 * ti + c1 * ui
            jr, ji = s1 * vi + s2 * zi, -(s1 * vr + s2 * zr)  # -i (s1 v + s2 z)
            kr, ki = s2 * vi - s1 * zi, s1 * zr - s2 * vr
            pr, pi = gr + jr, gi + ji
            write(f, to + s, pr * w1r - pi * w1i)
            write(f, to + s + size, pr * w1i + pi * w1r)
            pr, pi = hr + kr, hi + ki
            write(f, to + 2 * s, pr * w2r - pi * w2i)
            write(f, to + 2 * s + size, pr * w2i + pi * w2r)
            pr, pi = hr - kr, hi - ki
            write(f, to + 3 * s, pr * w3r - pi * w3i)
            write(f, to + 3 * s + size, pr * w3i + pi * w3r)
            pr, pi = gr - jr, gi - ji
            write(f, to + 4 * s, pr * w4r - pi * w4i)
            write(f, to + 4 * s + size, pr * w4i + pi * w4r)
    return 0


@device
def begin_sums(f: Any, a: int, to: int, m: int, s: int, radix: int, size: int) -> int:
    """The sums of a stage begin with the first element."""
    apart()
    for k in range(radix):
        for q in range(s):
            write(f, to + s * k + q, read(f, a + q))
            write(f, to + s * k + q + size, read(f, a + q + size))
    return 0


@device
def add_product(f: Any, a: int, to: int, cosine: Any, sine: Any, s: int, size: int) -> int:
    """to += a (cosine + i sine)."""
    apart()
    for q in range(s):
        re, im = read(f, a + q), read(f, a + q + size)
        write(f, to + q, f[to + q] + (re * cosine - im * sine))
        write(f, to + q + size, f[to + q + size] + (re * sine + im * cosine))
    return 0


@device
def turn(f: Any, to: int, cosine: Any, sine: Any, s: int, size: int) -> int:
    """to *= cosine + i sine."""
    apart()
    for q in range(s):
        re, im = f[to + q], f[to + q + size]
        f[to + q], f[to + q + size] = re * cosine - im * sine, re * sine + im * cosine
    return 0


@device
def stage(f: Any, x: int, y: int, w: int, m: int, s: int, size: int, radix: int) -> int:
    """Any radix, by the definition."""
    own = w + 2 * (radix - 1) * m
    for p in range(m):
        a, to = x + s * p, y + s * radix * p
        begin_sums(f, a, to, m, s, radix, size)
        for k in range(radix):
            for j in range(1, radix):
                at = own + j * k % radix
                add_product(f, a + s * m * j, to + s * k, f[at], f[at + radix], s, size)
        for k in range(1, radix):
            at = w + 2 * (k - 1) * m + p
            turn(f, to + s * k, f[at], f[at + m], s, size)
    return 0


@device
def stages(f: Any, n: int, lanes: int, table: int, x: int, y: int) -> int:
    """The transform of `lanes` rows at `x`, with room for as many at `y`: where the result lies, `x` or `y`."""
    apart()
    s, size, left, w = lanes, apart_by(n, lanes), n, table
    while left > 1:
        radix = radix_of(left)
        m = left // radix
        if radix == 4:
            if s == 1:
                first4(f, x, y, w, m, size)
            else:
                stage4(f, x, y, w, m, s, size)
        elif radix == 2:
            stage2(f, x, y, w, m, s, size)
        elif radix == 3:
            stage3(f, x, y, w, m, s, size)
        elif radix == 5:
            stage5(f, x, y, w, m, s, size)
        else:
            stage(f, x, y, w, m, s, size, radix)
        w += 2 * (radix - 1) * m + (2 * radix if radix > 5 else 0)
        x, y = y, x
        s *= radix
        left = m
    return x


# ------------------------------------------------------------------ a convolution with a chirp


@device
def turn_all(f: Any, x: int, y: int, w: int, n: int, lanes: int, size: int, other: int, behind: int) -> int:
    """y_j = x_j w_j over all rows, whose imaginary parts lie `size`, `other` and `behind` elements behind."""
    apart()
    for j in range(n):
        cosine, sine = f[w + j], f[w + behind + j]
        for q in range(lanes):
            re, im = read(f, x + j * lanes + q), read(f, x + j * lanes + q + size)
            write(f, y + j * lanes + q, re * cosine - im * sine)
            write(f, y + j * lanes + q + other, re * sine + im * cosine)
    return 0


@device
def exchange(f: Any, x: int, size: int) -> int:
    """Exchange real and imaginary parts."""
    apart()
    for k in range(size):
        f[x + k], f[x + size + k] = f[x + size + k], f[x + k]
    return 0


@device
def transform(f: Any, n: int, length: int, lanes: int, table: int, x: int, y: int) -> int:
    """`stages` of any length `n`, of rows at `x`.

    The room at `x` and at `y` is for twice `apart_by` of `length`.
    """
    apart()
    if length == n:
        return stages(f, n, lanes, table, x, y)
    size, whole, chirp, kernel = apart_by(n, lanes), apart_by(length, lanes), table, table + 2 * n
    turn_all(f, x, y, chirp, n, lanes, size, whole, n)
    for k in range(n * lanes, length * lanes):
        f[y + k], f[y + whole + k] = 0.0, 0.0
    found = stages(f, length, lanes, kernel + 2 * length, y, x)
    other = x if found == y else y
    turn_all(f, found, other, kernel, length, lanes, whole, whole, length)
    exchange(f, other, whole)
    found = stages(f, length, lanes, kernel + 2 * length, other, found)
    other = x if found == y else y
    exchange(f, found, whole)
    turn_all(f, found, other, chirp, n, lanes, whole, size, n)
    return other
