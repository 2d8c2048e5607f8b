"""Incomplete gamma functions and the beta function in float64, by logarithms in two floats; see `special`.

What is raised to a power, ``x^a e^-x / Gamma(a)``, has an exponent of hundreds whose rounding alone is hundreds of ulp:
it is added up in pairs of floats, a sum and what it lacks (T. J. Dekker, 1971).
"""

from __future__ import annotations

import math
from typing import Any

from ..language import bits_float, device, float_bits
from .vecmath import times
from .vecmath64 import MANTISSA, ONE, SQRT_HALF, WIDTH

INF, NAN = math.inf, math.nan
TWO_PI, HALF_LOG_TWO_PI, HALF_LOG_TWO_PI_LOW = 2.0 * math.pi, 0.9189385332046728, -3.8782941580672414e-17
#: the first 32 bits of log 2, whose products with whole numbers are exact, and the rest
LOG2, LOG2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10
#: 1 / (2 k + 1), and what it lacks
ODD = (0.3333333333333333, 0.2, 0.14285714285714285, 0.1111111111111111, 0.09090909090909091, 0.07692307692307693)
ODD_LOW = (1.850371707708594e-17, -1.1102230246251566e-17, 7.93016446160826e-18, 6.1679056923619804e-18,
           -2.523234146875356e-18, -4.270088556250602e-18)
#: B_2k / (2 k (2 k - 1)), of Stirling's series
STIRLING = (1.0 / 12.0, -1.0 / 360.0, 1.0 / 1260.0, -1.0 / 1680.0, 1.0 / 1188.0, -691.0 / 360360.0, 1.0 / 156.0,
            -3617.0 / 122400.0, 43867.0 / 244188.0, -174611.0 / 125400.0)
#: (-1)^k zeta(k) / k from k = 2 on, of log Gamma(1 + a) = -gamma a + ...
ZETA = (
    0.8224670334241132, -0.40068563438653143, 0.27058080842778454, -0.20738555102867398, 0.1695571769974082,
    -0.1440498967688461, 0.12550966952474304, -0.11133426586956469, 0.1000994575127818, -0.09095401714582904,
    0.083353840546109, -0.0769325164113522, 0.07143294629536133, -0.06666870588242046, 0.06250095514121304,
    -0.058823978658684585, 0.055555767627403614, -0.05263167937961666, 0.05000004769810169, -0.047619070330142226,
    0.04545455629320467, -0.04347826605304026, 0.04166666915034121, -0.04000000119214014, 0.03846153903467518,
    -0.037037037312989324, 0.035714285847333355, -0.034482758684919304, 0.03333333336437758, -0.03225806453115042,
    0.03125000000727597, -0.030303030306558044, 0.029411764707594344, -0.02857142857226011, 0.027777777778181998,
    -0.027027027027223673, 0.02631578947377995, -0.025641025641072283, 0.025000000000022737, -0.024390243902450117,
    0.023809523809529224, -0.023255813953491015, 0.02272727272727402, -0.022222222222222855, 0.021739130434782917,
    -0.021276595744681003, 0.02083333333333341, -0.02040816326530616, 0.020000000000000018, -0.019607843137254912,
    0.019230769230769235, -0.01886792452830189, 0.01851851851851852, -0.01818181818181818,
)
EULER = 0.5772156649015329
#: the coefficients of N. M. Temme's expansion, 1979: of a^-k powers of eta, one behind the other
TEMME = (
    -0.3333333333333333, 0.08333333333333333, -0.014814814814814815, 0.0011574074074074073, 0.0003527336860670194,
    -0.0001787551440329218, 3.919263178522438e-05, -2.185448510679992e-06, -1.85406221071516e-06,
    8.296711340953087e-07, -1.7665952736826078e-07, 6.707853543401498e-09, 1.0261809784240309e-08,
    -4.382036018453353e-09, 9.14769958223679e-10, -2.5514193994946248e-11, -5.830772132550426e-11,
    2.4361948020667415e-11, -0.001851851851851852, -0.003472222222222222, 0.0026455026455026454,
    -0.0009902263374485596, 0.00020576131687242798, -4.018775720164609e-07, -1.8098550334489977e-05,
    7.64916091608111e-06, -1.6120900894563446e-06, 4.647127802807434e-09, 1.378633446915721e-07,
    -5.752545603517705e-08, 1.1951628599778148e-08, -1.7543241719747647e-11, -1.0091543710600413e-09,
    4.162792991842583e-10, -8.56390702649298e-11, 0.004133597883597883, -0.0026813271604938273, 0.0007716049382716049,
    2.0093878600823047e-06, -0.0001073665322636516, 5.2923448829120125e-05, -1.2760635188618728e-05,
    3.423578734096138e-08, 1.3721957309062934e-06, -6.298992138380055e-07, 1.4280614206064242e-07,
    -2.0477098421990866e-10, -1.409252991086752e-08, 6.228974084922022e-09, -1.3670488396617114e-09,
    0.0006494341563786008, 0.00022947209362139917, -0.0004691894943952557, 0.00026772063206283885,
    -7.561801671883977e-05, -2.396505113867297e-07, 1.1082654115347302e-05, -5.6749528269915965e-06,
    1.4230900732435883e-06, -2.7861080291528143e-11, -1.6958404091930278e-07, 8.099464905388083e-08,
    -1.9111168485973655e-08, 2.3928620439808118e-12, 2.0620131815488797e-09, -0.0008618882909167117,
    0.0007840392217200666, -0.0002990724803031902, -1.4638452578843418e-06, 6.641498215465122e-05,
    -3.968365047179435e-05, 1.1375726970678419e-05, 2.507497226237533e-10, -1.6954149536558305e-06,
    8.907507532205309e-07, -2.292934834000805e-07, 2.956794137544049e-11, 2.8865829742708783e-08,
    -1.4189739437803219e-08, -0.00033679855336635813, -6.972813758365857e-05, 0.0002772753244959392,
    -0.00019932570516188847, 6.797780477937208e-05, 1.419062920643967e-07, -1.3594048189768693e-05,
    8.018470256334202e-06, -2.291481176508095e-06, -3.252473551298454e-10, 3.4652846491085265e-07,
    -1.8447187191171344e-07, 4.8240967037894184e-08, 0.0005313079364639922, -0.0005921664373536939,
    0.0002708782096718045, 7.902353232660328e-07, -8.153969367561969e-05, 5.61168275310625e-05,
    -1.8329116582843375e-05, -3.0796134506033047e-09, 3.465155368803609e-06, -2.0291327396058603e-06,
    5.788792863149004e-07, 0.00034436760689237765, 5.171790908260592e-05, -0.00033493161081142234,
    0.0002812695154763237, -0.00010976582244684731, -1.2741009095484485e-07, 2.7744451511563645e-05,
    -1.8263488805711332e-05, 5.7876949497350525e-06, -0.0006526239185953094, 0.0008394987206720873,
    -0.000438297098541721, -6.969091458420552e-07, 0.00016644846642067547, -0.00012783517679769218,
    4.629953263691304e-05, 4.557909867922708e-09, -1.0595271125805195e-05, -0.0005967612901927463,
    -7.204895416020011e-05, 0.0006782308837667328, -0.0006401475260262758, 0.00027750107634328704,
    1.819700838046515e-07, -8.479507117068503e-05, 6.105192082501531e-05, 0.0013324454494800656,
    -0.0019144384985654776, 0.0011089369134596636, 9.9324041226423e-07, -0.0005087450129309319, 0.00042735056665392886,
    0.001579727660730835, 0.00016251626278391583, -0.0020633421035543276, 0.00213896861856891, -0.0010108559391263003,
)
#: where those of each power of 1 / a begin
STARTS = (0, 18, 35, 50, 65, 79, 92, 103, 112, 121, 129, 135, 140)
#: from here on Stirling's series is exact
LARGE = 10.0


# ------------------------------------------------------------------ pairs of floats


def _added(a: Any, b: Any) -> Any:
    """a + b, and what that lacks."""
    s = a + b
    t = s - a
    return s, (a - (s - t)) + (b - t)


added = device(_added)


def _halves(a: Any) -> Any:
    """The upper 26 bits, and the lower."""
    t = times(134217729.0, a)
    upper = t - (t - a)
    return upper, a - upper


halves = device(_halves)


def _multiplied(a: Any, b: Any) -> Any:
    """a b, and what that lacks."""
    p = times(a, b)
    a1, a2 = halves(a)
    b1, b2 = halves(b)
    return p, ((a1 * b1 - p) + a1 * b2 + a2 * b1) + a2 * b2


multiplied = device(_multiplied)


def _plus(a: Any, a_low: Any, b: Any, b_low: Any) -> Any:
    s, low = added(a, b)
    return added(s, low + (a_low + b_low))


plus_pair = device(_plus)


def _product(a: Any, a_low: Any, b: Any, b_low: Any) -> Any:
    p, low = multiplied(a, b)
    return added(p, low + (times(a, b_low) + times(a_low, b)))


times_pair = device(_product)


def _quotient(a: Any, b: Any) -> Any:
    """a / b, and what that lacks."""
    q = a / b
    p, low = multiplied(q, b)
    return q, ((a - p) - low) / b


over = device(_quotient)


def _log_pair(x: Any) -> Any:
    """The logarithm of x > 0: 2 artanh((m - 1) / (m + 1)) + k log 2 of x = m 2^k."""
    tiny = x < 2.2250738585072014e-308
    offset = float_bits(x * 4503599627370496.0 if tiny else x) + (ONE - SQRT_HALF)
    whole = bits_float(((offset >> WIDTH) & 0xFFF) + 0x4330000000000000) - (
        4503599627371571.0 if tiny else 4503599627371519.0)
    m = bits_float((offset & MANTISSA) + SQRT_HALF)
    below, low = added(m, 1.0)
    s = (m - 1.0) / below
    p, p_low = multiplied(s, below)
    s_low = (((m - 1.0) - p) - p_low - times(s, low)) / below
    z, z_low = times_pair(s, s_low, s, s_low)
    tail = 1.0 / 33.0
    for j in range(15, 6, -1):
        tail = tail * z + 1.0 / (2.0 * j + 1.0)
    y, y_low = tail, 0.0
    for j in range(5, -1, -1):
        y, y_low = times_pair(y, y_low, z, z_low)
        y, y_low = plus_pair(y, y_low, ODD[j], ODD_LOW[j])
    y, y_low = times_pair(y, y_low, z, z_low)
    y, y_low = times_pair(2.0 * y, 2.0 * y_low, s, s_low)
    y, y_low = plus_pair(2.0 * s, 2.0 * s_low, y, y_low)
    return plus_pair(times(whole, LOG2), times(whole, LOG2_LOW), y, y_low)


log_pair = device(_log_pair)


# ------------------------------------------------------------------ the gamma function's pieces


def _stirling(a: Any) -> Any:
    """log Gamma(a) less its first terms, for a >= 10."""
    w = 1.0 / (a * a)
    y = STIRLING[9]
    for j in range(8, -1, -1):
        y = y * w + STIRLING[j]
    return y / a


stirling = device(_stirling)


def _log_one_plus(a: Any) -> Any:
    """log Gamma(1 + a) for 0 <= a < 1."""
    t = a if a <= 0.5 else a - 1.0
    y = ZETA[len(ZETA) - 1]
    for j in range(len(ZETA) - 2, -1, -1):
        y = y * t + ZETA[j]
    y = t * (t * y - EULER)
    return y if a <= 0.5 else y + math.log(a)


log_one_plus = device(_log_one_plus)


def _shifted(a: Any) -> Any:
    """A = a + n >= 10 as a pair, and (a + 1) ... (a + n) as one."""
    up, up_low, product, product_low = a, 0.0, 1.0, 0.0
    if a < LARGE:
        n = math.ceil(LARGE - a)
        for j in range(1, int(n) + 1):
            up, up_low = added(a, 1.0 * j)
            product, product_low = times_pair(product, product_low, up, up_low)
    return up, up_low, product, product_low


shifted = device(_shifted)


# ------------------------------------------------------------------ the incomplete gamma functions


def _density(a: Any, x: Any) -> Any:
    """x^a e^-x / Gamma(a + 1), and for a >= 10 less its logarithm but that of its height, as a pair: 0 at x = a."""
    up, up_low, product, product_low = shifted(a)
    large = a >= LARGE
    v, v_low = over(x, a) if large else (x, 0.0)
    away, away_low = added(x, -a) if large else added(x, -up)
    y, y_low, slope = -away, -away_low, 0.0
    for j in range(1 if large else 2):  # a log(x / a), or a log(x) - up log(up)
        log, log_low = log_pair(v)
        term, term_low = times_pair(a if j == 0 else -up, 0.0, log, log_low + v_low / v)
        y, y_low = plus_pair(y, y_low, term, term_low)
        v, v_low, slope = up, 0.0, log + 0.5 / up
    low = y_low - stirling(up)
    if not large:
        low += product_low / product - times(up_low, slope)
    return math.exp(y) * math.exp(low) * (product / math.sqrt(TWO_PI * up)), -y, -y_low


density = device(_density)


def _series(a: Any, x: Any) -> Any:
    """1 + x / (a + 1) + x^2 / ((a + 1) (a + 2)) + ..."""
    total, lost, term, n = 1.0, 0.0, 1.0, a
    while term > total * 1e-18:
        n += 1.0
        term *= x / n
        both = total + term
        lost += (total - both) + term
        total = both
    return total + lost


series = device(_series)


def _fraction(a: Any, x: Any) -> Any:
    """Q(a, x) over x^a e^-x / Gamma(a): 1 / (x + 1 - a - 1 (1 - a) / (x + 3 - a - ...)), from the end."""
    away, y = x - a, 0.0
    steps = int(30.0 + 120.0 / x + min(a, 20.0))
    for k in range(steps, 0, -1):
        y = k * (a - k) / (away + (2 * k + 1) + y)
    return 1.0 / (away + 1.0 + y)


fraction = device(_fraction)


def _uniform(a: Any, x: Any, y: Any, y_low: Any) -> Any:
    """The smaller of P and Q where x is near a: P below it."""
    root, low = math.sqrt(y) if y > 0.0 else 0.0, 0.0
    if root > 0.0:
        p, p_low = multiplied(root, root)
        low = ((y - p) - p_low + y_low) / (2.0 * root)
    eta = math.copysign(root * math.sqrt(2.0 / a), x - a)
    total = 0.0
    for k in range(len(STARTS) - 2, -1, -1):
        c = 0.0
        for j in range(STARTS[k + 1] - 1, STARTS[k] - 1, -1):
            c = c * eta + TEMME[j]
        total = total / a + c
    side = total * math.exp(-y) * (1.0 - y_low) / math.sqrt(TWO_PI * a)
    tail = 0.5 * math.erfc(root) - low * math.exp(-y) / 1.7724538509055159
    return tail - side if x < a else tail + side


uniform = device(_uniform)


def _of_little(a: Any, x: Any) -> Any:
    """Q(a, x) for a < 1 and x <= 0.5: 1 - x^a / Gamma(a + 1) - x^a / Gamma(a) sum (-x)^n / (n! (a + n))."""
    exponent = a * math.log(x) - log_one_plus(a)
    total, term, n = 0.0, -1.0, 0.0
    while abs(term) > 1e-18:
        n += 1.0
        term *= -x / n
        total += term / (a + n)
    return -math.expm1(exponent) + a * math.exp(exponent) * total


of_little = device(_of_little)


def _both(a: Any, x: Any) -> Any:
    """P(a, x) and Q(a, x)."""
    if not (a >= 0.0 and x >= 0.0) or (a == 0.0 and x == 0.0) or (a == INF and x == INF):
        return NAN, NAN
    if x == 0.0 or a == INF:
        return 0.0, 1.0
    if a == 0.0 or x > 2.0 * a + 2000.0:
        return 1.0, 0.0
    if a > 1e32:  # whose root, the width of the step, is beyond the digits of x
        p = 0.5 if x == a else 0.0 if x < a else 1.0
        return p, 1.0 - p
    if a >= LARGE and x < 1e-200:
        return 0.0, 1.0
    q, little = 1.0, a < 1.0 and x <= 0.5
    if little:
        q = of_little(a, x)
        if q < 0.7:
            return 1.0 - q, q
    height, y, y_low = density(a, x)
    if a >= 20.0 and abs(x - a) < 0.3 * a:
        least = uniform(a, x, y, y_low)
        return (least, 1.0 - least) if x < a else (1.0 - least, least)
    if x <= a:
        p = height * series(a, x)
        return p, q if little else 1.0 - p
    q = a * height * fraction(a, x)
    return 1.0 - q, q


both = device(_both)


# ------------------------------------------------------------------ the beta function


def _beta(a: Any, b: Any, logarithm: bool) -> Any:
    """B(a, b) of positive numbers, or its logarithm.

    Gamma(a) is that of up = a + n >= 10 over a product. The logarithm of B is the sum of (up - 1/2) log(up) - up
    of a and b less that of c = a + b; of g, the greater, and c, if that is at least 10, it is
    (g - 1/2) log(g / c) - s log(c) + s, with s the smaller, whose terms do not grow with g.
    """
    great, small = max(a, b), min(a, b)
    c, c_low = added(great, small)
    large = great >= LARGE
    y, low = (small, 0.0) if large else (0.0, c_low - c_low)
    low_more = 0.0
    upper, upper_low, lower, lower_low = 1.0, 0.0, 1.0, 0.0
    for j in range(5 if logarithm else 3):
        one = small if j == 0 else great if j == 1 else c
        up, up_low, v, v_low, factor, factor_low = 1.0, 0.0, upper, 0.0, 1.0, 0.0
        if j < 3:
            up, up_low, product, product_low = shifted(one)
            product, product_low = times_pair(product, product_low, one, 0.0) if one < LARGE else (1.0, 0.0)
            if j < 2:
                lower, lower_low = times_pair(lower, lower_low, product, product_low)
            else:
                upper, upper_low = product, product_low
            v, v_low = up, 0.0
            factor, factor_low = added(up, 0.5 if one < LARGE else -0.5)
            if j == 2:
                factor, factor_low = (-small, 0.0) if large else (-factor, -factor_low)
                v_low = c_low if large else 0.0
            elif j == 1 and large:
                v, v_low = over(great, c)
                v_low -= times(v, c_low / c)
        elif j == 3:
            v, v_low = upper, upper_low
        else:
            v, v_low, factor = lower, lower_low, -1.0
        log, log_low = log_pair(v)
        term, term_low = times_pair(factor, factor_low, log, log_low + v_low / v)
        y, low = plus_pair(y, low, term, term_low)
        if j < 3:
            sign = -1.0 if j == 2 else 1.0
            low_more += sign * stirling(up)
            if j == 0 or not large:
                y, low = plus_pair(y, low, -sign * up, 0.0)
                if one < LARGE:
                    low_more += sign * times(up_low, log + 0.5 / up)
                if j == 2:  # the derivative of log Gamma(c) is about this
                    n = c + 1.0
                    low_more -= c_low * (math.log(n) - 0.5 / n - 1.0 / (12.0 * n * n) - 1.0 / c)
                if j < 2:
                    y, low = plus_pair(y, low, HALF_LOG_TWO_PI, HALF_LOG_TWO_PI_LOW)
                else:
                    y, low = plus_pair(y, low, -HALF_LOG_TWO_PI, -HALF_LOG_TWO_PI_LOW)
    low += low_more
    if logarithm:
        return y + low
    return math.exp(y) * math.exp(low + (upper_low / upper - lower_low / lower)) * (upper / lower)


beta_of_positive = device(_beta)


def _of_one(a: Any) -> Any:
    """The sign of Gamma(a)."""
    return 1.0 if a > 0.0 or math.floor(a) % 2.0 == 0.0 else -1.0


sign_of_gamma = device(_of_one)


def _beyond(a: Any, b: Any) -> Any:
    """log |B(a, b)|, and its sign, where one is not positive or beyond 1e150: by lgamma, whose errors are absolute."""
    if a != a or b != b:
        return NAN, 1.0
    great, small = max(a, b), min(a, b)
    if small > 0.0:
        if great == INF:
            return -INF, 1.0
        if small > 1e10:
            return -(great * math.log1p(small / great) + small * math.log1p(great / small)), 1.0
        return math.lgamma(small) - small * math.log(great), 1.0
    c = a + b
    if small == math.floor(small):
        if great == math.floor(great) and 1.0 - c > 0.0 and great > 0.0:  # of whole numbers the poles cancel
            return (math.lgamma(great) + math.lgamma(1.0 - c) - math.lgamma(1.0 - small),
                    1.0 if great % 2.0 == 0.0 else -1.0)
        return INF, 1.0
    if great <= 0.0 and great == math.floor(great):
        return INF, 1.0
    if c <= 0.0 and c == math.floor(c):
        return -INF, 1.0
    return (math.lgamma(a) + math.lgamma(b) - math.lgamma(c),
            sign_of_gamma(a) * sign_of_gamma(b) * sign_of_gamma(c))


beyond = device(_beyond)


def beta64(a: Any, b: Any) -> Any:
    if not (a > 0.0 and b > 0.0 and a < 1e150 and b < 1e150):
        logarithm, sign = beyond(a, b)
        return sign * math.exp(logarithm)
    return beta_of_positive(a, b, False)


def betaln64(a: Any, b: Any) -> Any:
    if not (a > 0.0 and b > 0.0 and a < 1e150 and b < 1e150):
        return beyond(a, b)[0]
    return beta_of_positive(a, b, True)
