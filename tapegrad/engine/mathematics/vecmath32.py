"""The formulas of `vecmath` for float32, compiled in the order written."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..language import bits_float, float_bits

LOG2_E = 1.4426950408889634
#: log(2) in two parts: 15 bits, so that whole numbers up to 512 times it are exact, and the rest
LOG_2, LOG_2_REST = 22713 / 32768, 1.4286068203094172e-06
#: 1.5 * 2**23: adding it rounds to a whole number, which then stands in the low bits
ROUND = 12582912.0
#: bits of 1, of 2**64 and 2**-64, of sqrt(1/2), of all mantissa bits, and the width of the mantissa
ONE, LARGE, SMALL, SQRT_HALF, MANTISSA, WIDTH = 0x3F800000, 0x5F800000, 0x1F800000, 0x3F3504F3, 0x7FFFFF, 23
TWO_64, TWO_MINUS_64 = 2.0**64, 2.0**-64
# selections must yield numpy.float32 in plain Python too
INF, NAN = np.float32(math.inf), np.float32(math.nan)
#: exp(x) is 0 below -UNDERFLOW; expm1(x) is -1 below -EXPM1_FLAT; tanh and erf are 1 above TANH_FLAT and ERF_FLAT
UNDERFLOW, EXPM1_FLAT, TANH_FLAT, ERF_FLAT = np.float32(104), np.float32(18), np.float32(10), np.float32(4)
#: Phi(-x) is 0 above NORMAL_FLAT
NORMAL_FLAT, INV_SQRT_2PI = np.float32(14.5), 0.3989422804014327
#: `order` of NaN
HIGHEST = np.int32(0x7FFFFFFF)
#: ``n + ROUND`` for n = 128, where 2**n overflows
TOP = np.float32(ROUND + 128)


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
    return bits_float(np.int32((float_bits(t) << WIDTH) + factor))


def _expm1_squares(r: Any) -> Any:
    """``exp(r) - 1 - r``, minimax: relative to ``exp(r) - 1`` 2**-26."""
    z = r * r
    return z * ((0.5 + r * 0.16666539) + z * ((0.041666612 + r * 0.008367112) + z * 0.0013917026))


def exp(x: Any) -> Any:
    x = -UNDERFLOW if x < -UNDERFLOW else x
    t = _whole(x)
    t = TOP if t > TOP else t
    r = _remainder(x, t)
    # 2**n in two factors, for it may lie outside the normal numbers
    scale = _two_to(t, LARGE if x < 0.0 else SMALL)
    return (scale + scale * (r + _expm1_squares(r))) * (TWO_MINUS_64 if x < 0.0 else TWO_64)


def _exp_minus(a: Any) -> Any:
    """``exp(-a)`` for a >= 0."""
    x = -UNDERFLOW if a > UNDERFLOW else -a
    t = _whole(x)
    r = _remainder(x, t)
    scale = _two_to(t, LARGE)
    return (scale + scale * (r + _expm1_squares(r))) * TWO_MINUS_64


def expm1(x: Any) -> Any:
    c = -EXPM1_FLAT if x < -EXPM1_FLAT else x
    t = _whole(c)
    t = TOP if t > TOP else t
    r = _remainder(c, t)
    # half of 2**n - 1 + 2**n (exp(r) - 1)
    scale = _two_to(t, ONE - (1 << WIDTH))
    y = 2.0 * (((scale - 0.5) + scale * r) + scale * _expm1_squares(r))
    return x if abs(x) < 1e-10 else y


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
    numerator = a * z * (-0.33333322 + z * -0.0015513693) if small else -2.0
    denominator = 1.0 + z * 0.4046465 if small else one_and_exp
    return np.copysign((a if small else 1.0) + numerator / denominator, x)


def sigmoid(x: Any) -> Any:
    # q = 1/(1 + exp(|x|)); the denominator is scaled down, as q may be below the normal numbers
    a = abs(x)
    a = UNDERFLOW if a > UNDERFLOW else a
    t = _whole(a)
    r = _remainder(a, t)
    scale = _two_to(t, SMALL)
    high = scale + TWO_MINUS_64
    low = TWO_MINUS_64 - (high - scale)
    q = 1.0 / (high + (scale * (r + _expm1_squares(r)) + low)) * TWO_MINUS_64
    return q if x < 0.0 else 1.0 - q


def erf(x: Any) -> Any:
    a = abs(x)
    a = ERF_FLAT if a > ERF_FLAT else a
    z = a * a
    w = z * z
    # below 0.9: a + a P(a**2);  above: 1 - exp(-Q(a)), to 2**-26 and 2**-28
    p = (0.12837915 + z * -0.37612504) + w * (
        (0.11281922 + z * -0.026770508) + w * (0.004998989 + z * -0.0006020977))
    q = (0.00016645982 + a * 1.1277972) + z * (0.63697594 + a * 0.10411394) + w * (
        (-0.022315405 + a * 0.0030655556) + z * -0.00019822796)
    t = _whole(-q)
    r = _remainder(-q, t)
    scale = _two_to(t, ONE)
    y = (1.0 - scale) - scale * (r + _expm1_squares(r))
    return np.copysign(a + a * p if a < 0.9 else y, x)


def _tail_ratio(a: Any) -> Any:
    """``Phi(-a) exp(a**2/2)``, Phi the normal distribution function, for a from 0 to 14.5, minimax: relative 2**-26."""
    z = a * a
    numerator = (0.5 + a * 0.43829486) + z * ((0.18323506 + a * 0.040633205) + z * 0.0041163065)
    denominator = (1.0 + a * 1.6744747) + z * ((1.2025028 + a * 0.46947044) + z * (0.10185879 + a * 0.010317931))
    return numerator / denominator


def gelu(x: Any) -> Any:
    a = abs(x)
    a = NORMAL_FLAT if a > NORMAL_FLAT else a
    tail = _exp_minus(0.5 * a * a) * _tail_ratio(a)
    return x * (1.0 - tail) if x > 0.0 else -a * tail


def gelu_slope(x: Any) -> Any:
    a = abs(x)
    a = NORMAL_FLAT if a > NORMAL_FLAT else a
    below = _exp_minus(0.5 * a * a) * (_tail_ratio(a) - a * INV_SQRT_2PI)  # the slope at -a
    return 1.0 - below if x > 0.0 else below


# ------------------------------------------------------------------ logarithms:  x = 2**n (1 + f)


def _log(n: Any, f: Any) -> Any:
    """``n log(2) + log(1 + f)`` for f from sqrt(1/2) - 1 to sqrt(2) - 1."""
    # log(1 + f) = f - f**2/2 + f**3 P(f), minimax: relative 2**-29
    z = f * f
    p = (0.14209595 + f * -0.12549792) + z * ((0.12108714 + f * -0.10915398) + z * 0.05337648)
    p = (0.33333313 + f * -0.25000167) + z * ((0.20002222 + f * -0.16659366) + z * p)
    return n * LOG_2 + (f + ((n * LOG_2_REST - 0.5 * z) + f * z * p))


def log(x: Any) -> Any:
    tiny = x < 1.17549435e-38
    scaled = x * 8388608.0 if tiny else x
    offset = np.int32(float_bits(scaled) - SQRT_HALF)
    n = bits_float(np.int32((offset >> WIDTH) + 0x4B400000)) - (12582935.0 if tiny else ROUND)
    f = bits_float(np.int32((offset & MANTISSA) + SQRT_HALF)) - 1.0
    y = _log(n, f)
    y = y if x < INF else x
    return y if x > 0.0 else (-INF if x == 0.0 else NAN)


def log1p(x: Any) -> Any:
    u = 1.0 + x
    back = u - 1.0
    low = (1.0 - (u - back)) + (x - back)  # 1 + x = u + low, exactly
    offset = np.int32(float_bits(u) - SQRT_HALF)
    exponent = offset >> WIDTH
    n = bits_float(np.int32(exponent + 0x4B400000)) - ROUND
    scale = bits_float(np.int32(ONE + (1 << WIDTH) - (exponent << WIDTH)))  # 2**(1 - n), or 0 for n = 128
    f = (bits_float(np.int32((offset & MANTISSA) + SQRT_HALF)) - 1.0) + (0.5 * low) * scale
    y = _log(n, f)
    y = y if x < INF else x
    y = y if x > -1.0 else (-INF if x == -1.0 else NAN)
    return x if abs(x) < 1e-10 else y


def softplus(x: Any) -> Any:
    # max(x, 0) + log(1 + e),  e = exp(-|x|)
    e = _exp_minus(abs(x))
    large = e > 0.41421356
    return (x if x > 0.0 else 0.0) + _log(1.0 if large else 0.0, 0.5 * e - 0.5 if large else e)


# ------------------------------------------------------------------ order


def order(x: Any) -> Any:
    n = float_bits(x)
    n = np.int32(n ^ ((n >> 31) & 0x7FFFFFFF))  # of a negative number all bits but the sign are turned
    return HIGHEST if x != x else n


def from_order(n: Any) -> Any:
    return bits_float(np.int32(n ^ ((n >> 31) & 0x7FFFFFFF)))
