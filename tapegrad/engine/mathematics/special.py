"""Special functions in float64; of float32 they are computed in float64 and rounded.

The largest error found against mpmath, in ulp of float64, over random arguments of all magnitudes where the function is
a normal number (`tests/engine/mathematics/test_special.py`):

=========  ====  ==========================================================
function   ulp   source
=========  ====  ==========================================================
erfc       2.4   the C library
erfinv     1.3   M. Giles 2010, and two steps of Halley's by erf and erfc
lgamma     2.1   the C library; for x > 0
digamma    2.8   J. Maddock for Boost, 2008; for x > 0
polygamma  2.8   Euler and Maclaurin's sum; orders 1 to 4, for x > 0
i0, i1     2.6   Taylor's series below 4, polynomials beyond
i0e, i1e   2.7   the same
gammainc   3.4   series, a continued fraction, and N. M. Temme 1979; to a = 1e5
gammaincc  3.9   the same
beta       2.5   Stirling's series and logarithms in two floats; a, b > 0
betaln     0.6   the same
j0         2.5   Taylor's series about the zeros up to 26, phases beyond
j1         3.9   the same
=========  ====  ==========================================================

Below 0, near the zeros of lgamma and of polygamma and its like, the error is that of reflection, absolute; so is that
of the beta function below 0. Near the zeros of j0 and j1 beyond 26 it is below 1e-18 of what surrounds them, and beyond
1e5 that of its rounding.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..language import device, device_pair
from . import vecmath64
from .bessel import j0_64, j1_64
from .gammas import beta64, betaln64

__all__ = ["beta", "betaln", "digamma", "erfc", "erfinv", "i0", "i0e", "i1", "i1e", "j0", "j1", "lgamma", "polygamma"]

INF, NAN = math.inf, math.nan
#: powers of x^2 / 4 in I0(x) and I1(x) / x; of x / 2 - 3 in exp(-x) I0(x) and exp(-x) I1(x), between 4 and 8; of
#: 16 / x - 1 in sqrt(x) exp(-x) I0(x) and sqrt(x) exp(-x) I1(x), beyond. Interpolated at Chebyshev's points in 60
#: digits
I0_NEAR = (
    1.0, 1.0, 0.25, 0.027777777777777776, 0.001736111111111111, 6.944444444444444e-05, 1.9290123456790124e-06,
    3.936759889140842e-08, 6.151187326782565e-10, 7.594058428126624e-12, 7.594058428126623e-14,
    6.276081345559193e-16, 4.358389823304995e-18, 2.5789288895295828e-20, 1.3157800456783586e-22,
    5.8479113141260385e-25, 2.2843403570804838e-27, 7.904291893012054e-30, 2.4395962632753253e-32,
    6.757884385804225e-35, 1.6894710964510564e-37, 3.8310002187098785e-40,
)
I1_NEAR = (
    0.5, 0.25, 0.041666666666666664, 0.003472222222222222, 0.00017361111111111112, 5.787037037037037e-06,
    1.3778659611992944e-07, 2.460474930713026e-09, 3.417326292656981e-11, 3.7970292140633116e-13,
    3.451844740057556e-15, 2.615033893982997e-17, 1.676303778194229e-19, 9.21046031974851e-22, 4.385933485594529e-24,
    1.827472285664387e-26, 6.718648109060246e-29, 2.195636636947793e-31, 6.419990166514014e-34,
    1.6894710964510563e-36, 4.022550229645372e-39, 8.706818678886087e-42,
)
I0_MIDDLE = (
    0.16665743263981658, -0.029211946662621384, 0.007740073555740805, -0.0023027988658341227, 0.0007284781501424311,
    -0.0002397236247906713, 8.071001560712558e-05, -2.7323507461223676e-05, 9.140274324976994e-06,
    -2.9756419854223803e-06, 9.319518808177511e-07, -2.786515576856158e-07, 7.918400803667122e-08,
    -2.133982603011129e-08, 5.450981596720876e-09, -1.3202698315622939e-09, 3.035662913756981e-10,
    -6.641427480193863e-11, 1.3818847949468857e-11, -2.696281062201379e-12, 5.117777151303073e-13,
    -1.1126710089986211e-13, 1.9221993050925225e-14,
)
I1_MIDDLE = (
    0.1520514593085059, -0.02147187310688058, 0.004285875256989619, -0.000845842565549262, 0.00012916908816585352,
    2.4064220307355927e-06, -1.4922260508848684e-05, 9.23758983836276e-06, -4.250114594926e-06,
    1.6841174205420505e-06, -6.006317586195453e-07, 1.9645248398660012e-07, -5.952463809924071e-08,
    1.681705941780587e-08, -4.451483357205797e-09, 1.1082409279630234e-09, -2.603961693087874e-10,
    5.7971762248799466e-11, -1.223415557830139e-11, 2.413820998800692e-12, -4.627373248656128e-13,
    1.0170984072051572e-13, -1.7690296368623738e-14,
)
I0_FAR = (
    0.4021765094450081, 0.0033605519836678865, 0.0001362160743919305, 1.1143033788352455e-05, 1.4838475658279249e-06,
    2.9735993830791437e-07, 8.872219737904054e-08, 3.9324708328742363e-08, 2.1548377974791598e-08,
    7.56377201554603e-09, -6.747657956107524e-09, -1.3453822931523271e-08, -5.404771567579958e-09,
    7.697662019062485e-09, 7.430464650325426e-09, -3.82099512308995e-09, -5.95356943826489e-09,
    1.983359036878627e-09, 3.6379546359011143e-09, -1.0267340552488217e-09, -1.618980683624682e-09,
    4.388861044991905e-10, 4.577087631643623e-10, -1.2429481430536811e-10, -6.067631570603006e-11,
    1.6645473602872717e-11,
)
I1_FAR = (
    0.38939845902587233, -0.00974957719323576, -0.00021923576383388928, -1.503854719814553e-05,
    -1.8349101326980946e-06, -3.4838565069237384e-07, -1.0001288294864884e-07, -4.312811174972107e-08,
    -2.337392820814264e-08, -8.436290430234562e-09, 6.734464815301592e-09, 1.4076395500755014e-08,
    5.974437608040264e-09, -7.778592763970399e-09, -7.888351507862078e-09, 3.7219797447255018e-09,
    6.242741219786445e-09, -1.8736450470066097e-09, -3.794670896208339e-09, 9.568523624905203e-10,
    1.6848984479705146e-09, -4.086984233473255e-10, -4.758818838703853e-10, 1.161813630287145e-10,
    6.305965197150057e-11, -1.5626599071977848e-11,
)
#: Bernoulli numbers B_2j / (2 j)!
BERNOULLI = (
    1.0 / 12.0, -1.0 / 720.0, 1.0 / 30240.0, -1.0 / 1209600.0, 1.0 / 47900160.0, -691.0 / 1307674368000.0,
    1.0 / 74724249600.0, -3617.0 / 10670622842880000.0, 43867.0 / 5109094217170944000.0,
    -174611.0 / 802857662698291200000.0,
)
#: beyond this a sum of reciprocal powers is not added up from below 0
DEEPEST = -1e4
ROOT_PI, HALF_ROOT_PI = math.sqrt(math.pi), 0.5 * math.sqrt(math.pi)


def _of_both(name: str, double: Callable, doc: str) -> Callable:
    """A device function of float64, and of float32 by way of it."""
    wide = device(double)

    def single(x: Any) -> Any:
        return np.float32(wide(np.float64(x)))

    pair = device_pair(name, single, double)
    pair.__doc__ = doc
    return pair


def _erfc(x: Any) -> Any:
    return math.erfc(x)


def _lgamma(x: Any) -> Any:
    if x <= 0.0 and x == np.floor(x) or x > 2.5e305:
        return INF
    return math.lgamma(x)


def _digamma(x: Any) -> Any:
    if x != x or x == -INF:
        return NAN
    total = 0.0
    if x <= 0.0:
        if x == 0.0:
            return -math.copysign(INF, x)
        if x == np.floor(x):
            return NAN
        r = x - np.floor(x + 0.5)  # exact, from the nearest pole
        total = -math.pi / math.tan(math.pi * r) if abs(r) != 0.5 else 0.0
        x = 1.0 - x
    if x >= 10.0:
        if x > 1e17:
            return total + math.log(x)
        x -= 1.0
        z = 1.0 / (x * x)
        p = -0.021092796092796093 + z * (0.083333333333333333 + z * -0.44325980392156862)
        p = 0.0039682539682539683 + z * (-0.0041666666666666667 + z * (0.0075757575757575758 + z * p))
        p = z * (0.083333333333333333 + z * (-0.0083333333333333333 + z * p))
        return total + (math.log(x) + 0.5 / x - p)
    while x > 2.0:
        x -= 1.0
        total += 1.0 / x
    while x < 1.0:
        total -= 1.0 / x
        x += 1.0
    g = x - 1569415565.0 / 1073741824.0
    g -= (381566830.0 / 1073741824.0) / 1073741824.0
    g -= 0.9016312093258695918615325266959189453125e-19
    t = x - 1.0
    p = -0.28919126444774784 + t * (-0.045251321448739056 + t * -0.0020713321167745952)
    p = 0.25479851061131551 + t * (-0.32555031186804491 + t * (-0.65031853770896507 + t * p))
    q = 0.054151797245674225 + t * (0.0021284987017821144 + t * -0.55789841321675513e-6)
    q = 1.0 + t * (2.0767117023730469 + t * (1.4606242909763515 + t * (0.43593529692665969 + t * q)))
    return total + (g * 0.99558162689208984375 + g * (p / q))


def _polygamma(n: Any, x: Any) -> Any:
    if x < 0.0 and n == 1.0 and x != np.floor(x):
        sine = math.sin(math.pi * (x - np.floor(x + 0.5)))
        return (math.pi / sine) * (math.pi / sine) - _hurwitz(2.0, 1.0 - x)
    if x < DEEPEST or x != x:
        return NAN
    factorial = 1.0
    for k in range(2, int(n) + 1):
        factorial *= k
    sign = 1.0 if int(n) % 2 == 1 else -1.0
    return sign * factorial * _hurwitz(n + 1.0, x)


def hurwitz(s: Any, a: Any) -> Any:
    """The sum over k >= 0 of (a + k)^-s, for a whole s > 1."""
    if a == INF:
        return 0.0
    total = 0.0
    lost = 0.0  # A. Neumaier, 1974
    while a < 12.0 + s:
        if a == 0.0:
            return INF
        if abs(a) < 1.0 and s * math.log(abs(a)) < -709.78:
            return INF if a > 0.0 or s % 2.0 == 0.0 else -INF
        term = a**-s
        both = total + term
        lost += (total - both) + term if abs(total) >= abs(term) else (term - both) + total
        total = both
        a += 1.0
    power = a**(1.0 - s)
    tail = 0.5 * power / a
    factor = s * power / (a * a)
    for j in range(len(BERNOULLI)):
        tail += BERNOULLI[j] * factor
        factor *= (s + 2 * j + 1) * (s + 2 * j + 2) / (a * a)
    return total + (lost + (tail + power / (s - 1.0)))


_hurwitz = device(hurwitz)


def _powers(c: Any, t: Any) -> Any:
    """A polynomial by Horner's rule."""
    y = c[len(c) - 1]
    for k in range(len(c) - 2, -1, -1):
        y = y * t + c[k]
    return y


_polynomial = device(_powers)


def _beyond(x: Any) -> Any:
    """exp(-x) I0(x) for x >= 4."""
    if x < 8.0:
        return _polynomial(I0_MIDDLE, 0.5 * x - 3.0)
    return _polynomial(I0_FAR, 16.0 / x - 1.0) / math.sqrt(x)


def _beyond1(x: Any) -> Any:
    """exp(-x) I1(x) for x >= 4."""
    if x < 8.0:
        return _polynomial(I1_MIDDLE, 0.5 * x - 3.0)
    return _polynomial(I1_FAR, 16.0 / x - 1.0) / math.sqrt(x)


_scaled0, _scaled1 = device(_beyond), device(_beyond1)


def _grown(a: Any, y: Any) -> Any:
    """e^a y, where e^a may overflow and the product not."""
    if a < 700.0:
        return vecmath64.exp(a) * y
    if a > 720.0:
        return y * INF if y != 0.0 else INF
    return vecmath64.exp(a - 20.0) * y * 485165195.4097903


_growth = device(_grown)


def _i0(x: Any) -> Any:
    a = abs(x)
    return _polynomial(I0_NEAR, 0.25 * a * a) if a < 4.0 else _growth(a, _scaled0(a))


def _i0e(x: Any) -> Any:
    a = abs(x)
    return vecmath64.exp(-a) * _polynomial(I0_NEAR, 0.25 * a * a) if a < 4.0 else _scaled0(a)


def _i1(x: Any) -> Any:
    a = abs(x)
    return x * _polynomial(I1_NEAR, 0.25 * a * a) if a < 4.0 else math.copysign(_growth(a, _scaled1(a)), x)


def _i1e(x: Any) -> Any:
    a = abs(x)
    if a < 4.0:
        return vecmath64.exp(-a) * (x * _polynomial(I1_NEAR, 0.25 * a * a))
    return math.copysign(_scaled1(a), x)


def _erfinv(x: Any) -> Any:
    a = abs(x)
    if not a < 1.0:
        return math.copysign(INF, x) if a == 1.0 else NAN
    w = -math.log((1.0 - a) * (1.0 + a))
    if w > 16.0:
        w = -math.log(1.0 - a)
        y = math.sqrt(w - 0.5 * math.log(math.pi * w))
        y = math.sqrt(w - math.log(y * ROOT_PI)) / a
    elif w < 5.0:
        w -= 2.5
        y = 0.00021858087 + w * (-4.39150654e-06 + w * (-3.5233877e-06 + w * (3.43273939e-07 + w * 2.81022636e-08)))
        y = 1.50140941 + w * (0.246640727 + w * (-0.00417768164 + w * (-0.00125372503 + w * y)))
    else:
        w = math.sqrt(w) - 3.0
        y = 0.00573950773 + w * (-0.00367342844 + w * (0.00134934322 + w * (0.000100950558 + w * -0.000200214257)))
        y = 2.83297682 + w * (1.00167406 + w * (0.00943887047 + w * (-0.0076224613 + w * y)))
    y *= a
    for _ in range(2):
        if a < 0.5:
            wrong = math.erf(y) - a
        else:
            wrong = (1.0 - a) - math.erfc(y)
        step = wrong * HALF_ROOT_PI * math.exp(y * y)
        y -= step / (1.0 + y * step)
    return math.copysign(y, x)


erfc = _of_both("erfc", _erfc, "``1 - erf(x)``, without cancellation.")
erfinv = _of_both("erfinv", _erfinv, "The inverse of erf; NaN outside -1 to 1.")
lgamma = _of_both("lgamma", _lgamma, "The logarithm of the magnitude of the gamma function.")
digamma = _of_both("digamma", _digamma, "The derivative of `lgamma`.")
i0 = _of_both("i0", _i0, "The modified Bessel function of order 0.")
i0e = _of_both("i0e", _i0e, "``exp(-|x|) I0(x)``.")
i1 = _of_both("i1", _i1, "The modified Bessel function of order 1.")
i1e = _of_both("i1e", _i1e, "``exp(-|x|) I1(x)``.")

j0 = _of_both("j0", j0_64, "The Bessel function of the first kind of order 0.")
j1 = _of_both("j1", j1_64, "The Bessel function of the first kind of order 1.")


def _of_two(name: str, double: Callable, doc: str) -> Callable:
    """As `_of_both`, of two arguments."""
    wide = device(double)

    def single(a: Any, x: Any) -> Any:
        return np.float32(wide(np.float64(a), np.float64(x)))

    pair = device_pair(name, single, double)
    pair.__doc__ = doc
    return pair


polygamma = _of_two("polygamma", _polygamma, "A derivative of `digamma`, by its number.")
beta = _of_two("beta", beta64, "Euler's beta function.")
betaln = _of_two("betaln", betaln64, "The logarithm of the magnitude of `beta`.")
