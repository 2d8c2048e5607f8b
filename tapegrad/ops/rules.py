"""Functions and constants for the rules of elementwise ops, besides the functions of `vecmath`."""

from __future__ import annotations

import math
from typing import Any

from ..engine.language import device
from ..engine.mathematics import vecmath
from ..engine.mathematics.library import fmod, hypot
from ..engine.mathematics.special import i0, i0e, j0
from ..engine.mathematics.vecmath import abs, cos, exp, floor, log, log1p, sin, where

SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805  # Klambauer et al. 2017, equation 14
GELU_C, GELU_K = math.sqrt(2.0 / math.pi), 0.044715  # Hendrycks and Gimpel 2016
TWO_OVER_SQRT_PI, HALF_SQRT_PI = 2.0 / math.sqrt(math.pi), 0.5 * math.sqrt(math.pi)
NEGATIVE_INFINITY = -math.inf
PI, LN2, LN10 = math.pi, math.log(2.0), math.log(10.0)
FAR = 2.0 ** 63  # its square is about the greatest float32


@device
def gelu_tanh(x: Any) -> Any:
    """tanh of the cubic that approximates the normal distribution function."""
    return vecmath.tanh(GELU_C * (x + GELU_K * x * x * x))


@device
def stable_softplus(x: Any, beta: Any, threshold: Any) -> Any:
    """ln(1 + e^(beta x)) / beta."""
    return where(beta * x > threshold, x, vecmath.softplus(beta * x) / beta)


@device
def sign(x: Any) -> Any:
    """-1, 0 or 1; NaN of NaN."""
    return where(x > 0.0, 1.0, where(x < 0.0, -1.0, x))


@device
def power_slope(g: Any, a: Any, b: Any) -> Any:
    """g b a^(b-1), which is 0 where b is 0 whatever a is."""
    return where(b == 0.0, 0.0, g * b * vecmath.power(a, b - 1.0))


@device
def power_log_slope(g: Any, a: Any, b: Any, y: Any) -> Any:
    """g a^b ln a, which is 0 at a = 0 for b >= 0."""
    return where((a == 0.0) & (b >= 0.0), 0.0, g * y * log(a))


@device
def arctan_slope(g: Any, x: Any) -> Any:
    """g / (1 + x^2), also where x^2 overflows in float32; elsewhere the factors are 1."""
    s = where(abs(x) > FAR, 1.0 / FAR, 1.0)
    return g * s / (s * s + (x * s) * (x * s)) * s


@device
def divide_slope(g: Any, b: Any, y: Any) -> Any:
    """-g y / b; what might overflow is divided by b first if that makes it smaller."""
    small = abs(b) < 1.0
    return -(where(small, g, 1.0) * y / b) * where(small, 1.0, g)


@device
def share(g: Any, a: Any, b: Any) -> Any:
    """g where a > b, half of it at a tie."""
    return where(a > b, g, where(a == b, 0.5 * g, 0.0))


@device
def clipped(x: Any, low: Any, high: Any) -> Any:
    """x between two bounds; NaN of NaN."""
    return where(x < low, low, where(x > high, high, x))


@device
def huber_of(d: Any, delta: Any) -> Any:
    """d^2 / 2 up to delta, then delta (|d| - delta / 2)."""
    return where(abs(d) <= delta, 0.5 * d * d, delta * (abs(d) - 0.5 * delta))


@device
def clamped_log(x: Any) -> Any:
    """ln x, not below -100."""
    return where(log(x) < -100.0, -100.0, log(x))


@device
def entropy_of(t: Any) -> Any:
    """t ln t, 0 at 0; NaN below, as the logarithm is."""
    return where(t == 0.0, 0.0, t * log(t))


@device
def zero_of(x: Any) -> Any:
    """0, whatever x is."""
    return where(x == x, 0.0, 0.0)


@device
def negative_part(x: Any) -> Any:
    """min(x, 0)."""
    return where(x > 0.0, 0.0, x)


@device
def arctan2_slope(g: Any, u: Any, a: Any, b: Any) -> Any:
    """g u / (a^2 + b^2), without overflow; 0 at the origin."""
    h = hypot(a, b)
    s = where(h == 0.0, 1.0, h)
    return where(h == 0.0, 0.0, g * (u / s) / s)


@device
def log_of_sum(a: Any, b: Any) -> Any:
    """ln(e^a + e^b), without overflow."""
    return where(a == b, a + LN2, where(a > b, a, b) + log1p(exp(-abs(a - b))))


@device
def modulo(a: Any, b: Any) -> Any:
    """The remainder of a / b, with the sign of b."""
    m = fmod(a, b)
    return where((m != 0.0) & ((m < 0.0) != (b < 0.0)), m + b, m)


@device
def floor_divide(a: Any, b: Any) -> Any:
    """The largest integer not above a / b, by the remainder; a / b where b is 0 (NumPy's npy_divmod)."""
    m = fmod(a, b)
    q = (a - m) / b - where((m != 0.0) & ((m < 0.0) != (b < 0.0)), 1.0, 0.0)
    whole = floor(q)
    return where(b == 0.0, a / b, where(q - whole > 0.5, whole + 1.0, whole))


@device
def sinc(x: Any) -> Any:
    """sin(pi x) / (pi x), 1 at 0."""
    z = PI * where(x == 0.0, 1.0, x)
    return where(x == 0.0, 1.0, sin(z) / z)


@device
def sinc_slope(x: Any) -> Any:
    """The derivative of sinc, by its series near 0, where the difference of the formula cancels."""
    near = abs(x) < 0.25
    z = PI * where(near, x, 0.0)
    w = z * z
    series = -PI * z * (1.0 / 3.0 - w * (1.0 / 30.0 - w * (1.0 / 840.0 - w * (1.0 / 45360.0 - w * (
        1.0 / 3991680.0 - w * (1.0 / 518918400.0 - w / 93405312000.0))))))
    far = where(near, 1.0, x)
    return where(near, series, (cos(PI * far) - sinc(far)) / far)


@device
def i1_slope(x: Any, y: Any) -> Any:
    """The derivative of y = I1(x)."""
    nought = x == 0.0
    return where(nought, 0.5, i0(x) - y / where(nought, 1.0, x))


@device
def j1_slope(x: Any, y: Any) -> Any:
    """The derivative of y = J1(x)."""
    nought = x == 0.0
    return where(nought, 0.5, j0(x) - y / where(nought, 1.0, x))


@device
def i1e_slope(x: Any, y: Any) -> Any:
    """The derivative of y = exp(-|x|) I1(x)."""
    nought = x == 0.0
    return where(nought, 0.5, i0e(x) - y * (sign(x) + 1.0 / where(nought, 1.0, x)))
