"""The formulas of `vecmath` for float64, compiled in the order written."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..language import bits_float, float_bits

LOG2_E = 1.4426950408889634
#: log(2) in two parts: 42 bits, so that whole numbers up to 2048 times it are exact, and the rest
LOG_2, LOG_2_REST = 0.6931471805598903, 5.497923018708371e-14
#: 1.5 * 2**52: adding it rounds to a whole number, which then stands in the low bits
ROUND = 6755399441055744.0
#: bits of 1, of 2**512 and 2**-512, of sqrt(1/2), of all mantissa bits, and the width of the mantissa
ONE, LARGE, SMALL = 0x3FF0000000000000, 0x5FF0000000000000, 0x1FF0000000000000
SQRT_HALF, MANTISSA, WIDTH = 0x3FE6A09E667F3BCD, 0xFFFFFFFFFFFFF, 52
TWO_512, TWO_MINUS_512 = 2.0**512, 2.0**-512
# selections must yield numpy.float64 in plain Python too
INF, NAN = np.float64(math.inf), np.float64(math.nan)
#: exp(x) is 0 below -UNDERFLOW; expm1(x) is -1 below -EXPM1_FLAT; tanh and erf are 1 above TANH_FLAT and ERF_FLAT
UNDERFLOW, EXPM1_FLAT, TANH_FLAT, ERF_FLAT = np.float64(746), np.float64(38), np.float64(20), np.float64(6)
#: the normal density is 0 outside NORMAL_FLAT
NORMAL_FLAT, INV_SQRT_2PI = np.float64(39), 0.3989422804014327
ROOT_HALF = 0.7071067811865476
#: `order` of NaN
HIGHEST = np.int64(0x7FFFFFFFFFFFFFFF)
#: ``n + ROUND`` for n = 1024, where 2**n overflows
TOP = np.float64(ROUND + 1024.0)


# ------------------------------------------------------------------ exponentials:  x = n log(2) + r


def _whole(x: Any) -> Any:
    """``n + ROUND``."""
    return x * LOG2_E + ROUND


def _remainder(x: Any, t: Any) -> Any:
    """`r`, where ``t = n + ROUND``; at most log(2)/2."""
    n = t - ROUND
    return (x - n * LOG_2) - n * LOG_2_REST


def _two_to(t: Any, factor: Any) -> Any:
    """2**n times the power of two whose bits are `factor`, where ``t = n + ROUND``."""
    return bits_float((float_bits(t) << WIDTH) + factor)


def _expm1_squares(r: Any) -> Any:
    """``exp(r) - 1 - r``, minimax: relative to ``exp(r) - 1`` 2**-61."""
    z = r * r
    w = z * z
    p = (2.480158734996996e-05 + r * 2.7557244204023095e-06) + z * (
        2.7557240437538754e-07 + r * 2.5109008711658705e-08) + w * 2.0928303273069854e-09
    return z * ((0.5 + r * 0.16666666666666677) + z * (0.04166666666666667 + r * 0.008333333333321483) + w * (
        (0.0013888888888878702 + r * 0.00019841269886280917) + z * p))


def exp(x: Any) -> Any:
    x = -UNDERFLOW if x < -UNDERFLOW else x
    t = _whole(x)
    t = TOP if t > TOP else t
    r = _remainder(x, t)
    # 2**n in two factors, for it may lie outside the normal numbers
    scale = _two_to(t, LARGE if x < 0.0 else SMALL)
    return (scale + scale * (r + _expm1_squares(r))) * (TWO_MINUS_512 if x < 0.0 else TWO_512)


def _exp_minus(a: Any) -> Any:
    """``exp(-a)`` for a >= 0."""
    x = -UNDERFLOW if a > UNDERFLOW else -a
    t = _whole(x)
    r = _remainder(x, t)
    scale = _two_to(t, LARGE)
    return (scale + scale * (r + _expm1_squares(r))) * TWO_MINUS_512


def expm1(x: Any) -> Any:
    c = -EXPM1_FLAT if x < -EXPM1_FLAT else x
    t = _whole(c)
    t = TOP if t > TOP else t
    r = _remainder(c, t)
    # half of 2**n - 1 + 2**n (exp(r) - 1)
    scale = _two_to(t, ONE - (1 << WIDTH))
    y = 2.0 * (((scale - 0.5) + scale * r) + scale * _expm1_squares(r))
    return x if abs(x) < 1e-18 else y


def tanh(x: Any) -> Any:
    a = abs(x)
    a = TANH_FLAT if a > TANH_FLAT else a
    small = a < 0.55
    # below 0.55: a + a**3 P(a**2)/Q(a**2);  else 1 - 2/(1 + exp(2a)).  One division serves both
    t = _whole(2.0 * a)
    r = _remainder(2.0 * a, t)
    scale = _two_to(t, ONE)
    one_and_exp = (scale + 1.0) + scale * (r + _expm1_squares(r))
    z = a * a
    p = -0.3333333333333333 + z * (-0.020500294460065124 + z * -0.00019924431010205255)
    q = 1.0 + z * (0.46150088338019096 + z * (0.023293324377717098 + z * 0.0002066047160682939))
    numerator = a * z * p if small else -2.0
    denominator = q if small else one_and_exp
    return np.copysign((a if small else 1.0) + numerator / denominator, x)


def sigmoid(x: Any) -> Any:
    # q = 1/(1 + exp(|x|)); the denominator is scaled down, as q may be below the normal numbers
    a = abs(x)
    a = UNDERFLOW if a > UNDERFLOW else a
    t = _whole(a)
    r = _remainder(a, t)
    scale = _two_to(t, SMALL)
    high = scale + TWO_MINUS_512
    low = TWO_MINUS_512 - (high - scale)
    q = 1.0 / (high + (scale * (r + _expm1_squares(r)) + low)) * TWO_MINUS_512
    return q if x < 0.0 else 1.0 - q


def erf(x: Any) -> Any:
    a = abs(x)
    a = ERF_FLAT if a > ERF_FLAT else a
    z = a * a
    w = z * z
    # below 1: a + a P(a**2);  above: 1 - exp(-Q(a)), to 2**-56 and 2**-56
    p = ((0.0001205528049678781 + z * -1.492446564616125e-05)
         + w * (1.6444150675051541e-06 + z * -1.618399211068097e-07)
         + (w * w) * (1.3616703621796577e-08 + z * -7.607820420941618e-10))
    p = (0.1128379167093695 + z * -0.02686617064195914) + w * (
        (0.005223977596735902 + z * -0.0008548325485002327) + w * p)
    p = (0.12837916709551256 + z * -0.37612638903183343) + w * p
    q = ((-2.1356142770699416e-06 + a * 3.732907256099392e-07)
         + z * (-4.6421169036189e-08 + a * 3.934092847694788e-09)
         + w * (-2.0448636753368203e-10 + a * 4.928352133473325e-12))
    q = (0.0001350538630784124 + a * 2.0264816577762132e-05) + z * (
        -2.282173509802444e-05 + a * 8.666914110242707e-06) + w * q
    q = (-0.018990174515142528 + a * -0.0004106338491025893) + z * (
        0.0019159496302272754 + a * -0.0007706484654395084) + w * q
    q = (5.028721060936893e-07 + a * 1.1283740892704082) + z * (
        0.6366436289711548 + a * 0.10270343717055386) + w * q
    t = _whole(-q)
    r = _remainder(-q, t)
    scale = _two_to(t, ONE)
    y = (1.0 - scale) - scale * (r + _expm1_squares(r))
    return np.copysign(a + a * p if a < 1.0 else y, x)


def _normal(x: Any) -> Any:
    """The normal distribution function."""
    return 0.5 * (1.0 + erf(x * ROOT_HALF))


def gelu(x: Any) -> Any:
    return (0.0 if x == -INF else x) * _normal(x)


def gelu_slope(x: Any) -> Any:
    c = -NORMAL_FLAT if x < -NORMAL_FLAT else (NORMAL_FLAT if x > NORMAL_FLAT else x)
    return _normal(x) + c * INV_SQRT_2PI * exp(-0.5 * c * c)


# ------------------------------------------------------------------ logarithms:  x = 2**n (1 + f)


def _log(n: Any, f: Any) -> Any:
    """``n log(2) + log(1 + f)`` for f from sqrt(1/2) - 1 to sqrt(2) - 1."""
    # log(1 + f) = 2 artanh(s) = f - f**2/2 + s (f**2/2 + z R(z)),  s = f/(2 + f),  z = s**2;  R to 2**-59
    s = f / (2.0 + f)
    z = s * s
    w = z * z
    p = (0.2857142870549894 + z * 0.2222220188347213) + w * (
        (0.18183409990221405 + z * 0.15317655191413046) + w * 0.1476260716950358)
    p = z * ((0.6666666666666696 + z * 0.39999999999612185) + w * p)
    half_square = 0.5 * f * f
    return n * LOG_2 + (f + ((n * LOG_2_REST - half_square) + s * (half_square + p)))


def log(x: Any) -> Any:
    tiny = x < 2.2250738585072014e-308
    scaled = x * 4503599627370496.0 if tiny else x
    offset = float_bits(scaled) + (ONE - SQRT_HALF)
    # n + 1023 in the mantissa of 2**52
    n = bits_float(((offset >> WIDTH) & 0xFFF) + 0x4330000000000000) - (
        4503599627371571.0 if tiny else 4503599627371519.0)
    f = bits_float((offset & MANTISSA) + SQRT_HALF) - 1.0
    y = _log(n, f)
    y = y if x < INF else x
    return y if x > 0.0 else (-INF if x == 0.0 else NAN)


def log1p(x: Any) -> Any:
    u = 1.0 + x
    back = u - 1.0
    low = (1.0 - (u - back)) + (x - back)  # 1 + x = u + low, exactly
    offset = float_bits(u) + (ONE - SQRT_HALF)
    exponent = (offset >> WIDTH) & 0xFFF
    n = bits_float(exponent + 0x4330000000000000) - 4503599627371519.0
    scale = bits_float((2047 - exponent) << WIDTH)  # 2**(1 - n), or 0 for n = 1024
    f = (bits_float((offset & MANTISSA) + SQRT_HALF) - 1.0) + (0.5 * low) * scale
    y = _log(n, f)
    y = y if x < INF else x
    y = y if x > -1.0 else (-INF if x == -1.0 else NAN)
    return x if abs(x) < 1e-18 else y


def softplus(x: Any) -> Any:
    # max(x, 0) + log(1 + e),  e = exp(-|x|)
    e = _exp_minus(abs(x))
    large = e > 0.41421356
    return (x if x > 0.0 else 0.0) + _log(1.0 if large else 0.0, 0.5 * e - 0.5 if large else e)


# ------------------------------------------------------------------ order


def order(x: Any) -> Any:
    n = float_bits(x)
    n = n ^ ((n >> 63) & 0x7FFFFFFFFFFFFFFF)  # of a negative number all bits but the sign are turned
    return HIGHEST if x != x else n


def from_order(n: Any) -> Any:
    return bits_float(n ^ ((n >> 63) & 0x7FFFFFFFFFFFFFFF))
