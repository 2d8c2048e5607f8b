"""Every statement and call that loops may use, in programs that are as short as they can be."""
# ruff: noqa: B007, B023, E741, F841

import math

import numpy as np
from check import Programs

LANGUAGE = Programs()
draw = np.random.default_rng(2)
SCALE = 1.5
TABLE = np.array([0.5, 2.0, 1.0])
V, W, M = draw.normal(size=4), draw.normal(size=4), draw.uniform(0.5, 1.5, (3, 4))
SQUARE = np.array([[4.0, 1.0, 0.5], [1.0, 3.0, 0.2], [0.5, 0.2, 2.0]])


def closed_over(power):
    def inner(x):
        s = 0.0
        for v in x:
            s += v**power
        return s

    return inner


LANGUAGE.add(V, hand=lambda x: (3 * x**2,))(closed_over(3))


@LANGUAGE.add(0.7)
def unary_functions(x):
    a = math.exp(x) + math.expm1(x) + math.log(x) + math.log1p(x) + math.log2(x) + math.log10(x) + math.sqrt(x)
    b = math.sin(x) + math.cos(x) + math.tan(x) + math.asin(x) + math.acos(x) + math.atan(x) + math.fabs(x)
    c = math.sinh(x) + math.cosh(x) + math.tanh(x) + math.asinh(x) + math.acosh(x + 1) + math.atanh(x)
    return a * b + c * math.erf(x) + math.erfc(x) * math.lgamma(x + 2) + math.gamma(x) + abs(-x) + math.radians(x)


@LANGUAGE.add(0.7, 1.3)
def binary_functions(x, y):
    a = math.pow(x, y) + x**y + math.atan2(x, y) + math.hypot(x, y)  + math.copysign(x, -y) + y % x
    return a + max(x, y) + min(x, y, 3.0) + np.maximum(x, y) + np.minimum(x, y) + float(x) + np.power(x, 2.0)


@LANGUAGE.add(2.7, 1.3, hand=lambda x, y: (1.0, 2.0))
def rounding_has_derivative_zero(x, y):
    return x + 2 * y + math.floor(x) * 2 + int(x) + round(y) + math.ceil(x) + np.sign(y) + (x > y) + x // y


@LANGUAGE.add(7.3, 2.0, hand=lambda x, y: (1.0, -3.0))
def quotients(x, y):
    q, r = divmod(x, y)
    n, k = divmod(17, 5)
    return q + r + n // 2 + k % 2


@LANGUAGE.add(V)
def numpy_scalars(x):
    s = 0.0
    for v in x:
        s += np.exp(v) + np.log(abs(v)) + np.sin(v) * np.tanh(v) + np.square(v) + np.arctan(v) + np.sqrt(np.abs(v))
    return s


@LANGUAGE.add(V, W)
def zip_and_enumerate(x, y):
    s = 0.0
    for a, b in zip(x, y):
        s += a * b**2
    for i, a in enumerate(x):
        s += i * a**2
    for i, a in enumerate(y, 1):
        s += i * a**3
    return s


@LANGUAGE.add(V, W[:2])
def zip_of_different_lengths(x, y):
    s = 0.0
    for a, b in zip(x, y):
        s += a * b**2
    return s


@LANGUAGE.add(M)
def rows_of_a_matrix(m):
    s = 1.0
    for row in m:
        for x in row:
            s = s * x + x
    return s


@LANGUAGE.add(0.4)
def while_and_break(x):
    n = 0
    while True:
        x = x * 1.5 + 0.1
        n += 1
        if x > 4:
            break
    return x * n


@LANGUAGE.add(V)
def continue_and_else_if(x):
    s = 0.0
    for i in range(len(x)):
        if i == 2:
            continue
        elif x[i] > 0:
            s += x[i] ** 2
        else:
            s -= x[i] ** 3
        s *= 1.1
    return s


@LANGUAGE.add(np.array([0.1, 0.5, 0.9, 2.0]))
def return_from_nested_loops(x):
    s = 0.0
    for i in range(4):
        for j in range(4):
            s += x[i] * x[j]
            if s > 1.7:
                return s * x[i]
    return s


@LANGUAGE.add(0.3, 0.6)
def return_from_nested_branches(x, y):
    if x < y:
        if x > 1:
            return x
        x = x * y
    z = x + y
    return z * z


@LANGUAGE.add(0.3, 0.6)
def three_returns(x, y):
    """A docstring."""
# ruff: noqa: B007, B023, E741, F841
    if x > y:
        return x
    if x * y > 5:
        return y
    return x * y + y


@LANGUAGE.add(0.3)
def asserts_and_pass(x):
    assert x > 0, "positive"
    if x > 5:
        pass
    else:
        x = x * x
    pass
    return x


@LANGUAGE.add(0.3, 0.6)
def swaps(x, y):
    for _ in range(3):
        x, y = y, x + y * x
    return x - 2 * y


@LANGUAGE.add(V)
def swaps_of_elements(v):
    a = v.copy()
    a[0], a[1] = a[1] ** 2, a[0] * 3
    a[2], a[3] = a[3], a[2]
    return a[0] + 2 * a[1] + 3 * a[2] * a[3] + a[2]


@LANGUAGE.add(0.7)
def allocations(x):
    a, b, c, d = np.zeros(3), np.ones(3), np.full(3, x), np.empty(3)
    e, f = np.empty_like(a), np.full_like(a, x * 2)
    for i in range(3):
        d[i] = a[i] + b[i] * x
        e[i] = c[i] * d[i] + f[i]
    return e.sum() + np.zeros_like(a).sum()


@LANGUAGE.add(draw.normal(size=(2, 3, 2, 2)))
def four_axes(a):
    b = np.zeros((2, 3, 2, 2))
    for i in range(2):
        for j in range(3):
            b[i, j] = a[i, j].T * (i + j)
            b[i, j, 0, 1] *= a[1 - i, j, 1, 0]
    return b


@LANGUAGE.add(V)
def slices_and_views(x):
    a = x.copy()
    v = a[1:3]
    v[0] = v[1] * a[0]
    a[2] = a[1] ** 2
    a[::2] = a[1::2]
    w = a[::-1]
    w[1] += 2 * v[0]
    return np.sum(a * x)


@LANGUAGE.add(V, 0.5)
def whole_slices(x, y):
    a = np.empty(6)
    a[:4] = x
    a[4:] = y
    a[1:] = a[:-1] * 2
    a += 1.0
    a *= a
    a[2:4] -= x[:2]
    a /= 2.0
    return a


@LANGUAGE.add(V, 0.5)
def arrays_and_scalars(x, s):
    a = x * s
    a += s
    a = a - x
    a[1:3] = s * s
    a[0:2] += s
    return a.sum() * s + np.sum(s / (a * a + 1))


@LANGUAGE.add(M)
def out_of_an_index_array(m):
    which = np.array([2, 0, 1])
    s = 0.0
    for k in range(3):
        s += m[which[k], k] * m[which[which[k]], -1]
    return s


@LANGUAGE.add(V, 3, True)
def integers_and_booleans(x, n, flag):
    count = 0
    s = 0.0
    for i in range(n):
        if flag:
            s += x[i] * count
        flag = not flag
        count += i
    return s * count


@LANGUAGE.add(V)
def integer_state(x):
    marks = np.zeros(4, np.int64)
    s = 0.0
    for i in range(8):
        k = (i * 3) % 4
        if marks[k] % 2 == 0:
            s += x[k] * (marks[k] + 1)
        else:
            s *= x[k]
        marks[k] += 1
    return s


@LANGUAGE.add(V)
def boolean_state(x):
    done = np.zeros(4, np.bool_)
    s = 1.0
    for i in range(7):
        k = (i * i) % 4
        if done[k]:
            s = s * x[k]
        else:
            s = s + x[k]
            done[k] = True
    return s


@LANGUAGE.add(V)
def loop_variable_after_its_loop(x):
    s = 1.0
    for i in range(4):
        s *= x[i]
        if i == 2:
            break
    s += x[i] * s
    for i in range(3):
        s += x[i]
    return s * x[i] * i


@LANGUAGE.add(V)
def loop_variable_that_is_assigned(x):
    s = 0.0
    for i in range(3):
        s += x[i] * s
        i = i + 1
        s += x[i] ** 2
    return s


@LANGUAGE.add(V)
def bounds_that_change(x):
    n = 4
    s = 1.0
    for i in range(n):
        n = n - 1
        if x[i] > 0:
            s = s * x[n]
        s += x[i] * n
    return s * n


@LANGUAGE.add(V)
def ranges_with_steps(x):
    s = 1.0
    for i in range(3, -1, -2):
        s = s * x[i] + i
    for i in range(0, 4, 3):
        s = s * x[i] + i
    for i in range(len(x) >> 1, 4 if s > 0 or s <= 0 else 1):
        s = s * x[i] + i
    for i in range(2, 2):
        s = s * x[i]
    return s


@LANGUAGE.add(V, 0.8)
def assigned_in_one_branch(x, y):
    z = y
    for i in range(4):
        if x[i] > 0:
            t = x[i] * z
            z = t + 0.5
        else:
            z = z * 2
        if i == 3:
            z += x[0]
    return z


def doubled(x, times=2):
    return x * times


def both(x, y):
    if x > y:
        return x - y, x
    return y * x, y


def filled(a, x, *, shift=1.0):
    for i in range(len(a)):
        a[i] += x * (i + shift)


def factor(x):
    return doubled(x) + doubled(x, times=3)


@LANGUAGE.add(0.3, 0.6)
def calls(x, y):
    s = 0.0
    for _ in range(2):
        p, q = both(x, y)
        s += factor(p) * q
        x = doubled(y) if s > 100 else q * 0.9
    return s


@LANGUAGE.add(0.3)
def calls_that_write(x):
    a = np.zeros(3)
    for k in range(2):
        filled(a, x)
        filled(a, a[0] * x, shift=2.0)
    return a[0] * a[1] + a[2]


@LANGUAGE.add(0.3)
def call_in_a_while_test(x):
    s = x
    while doubled(s) < 3.0:
        s = s * s + 0.4
    return s


@LANGUAGE.add(V[:3])
def constants_around(x):
    s = 0.0
    for i in range(3):
        s += SCALE * TABLE[i] * x[i] ** 2 * math.pi
    return s + np.sum(TABLE * x) + np.sum(x[0] * TABLE)


@LANGUAGE.add(V, W, M, SQUARE)
def whole_arrays(x, y, m, a):
    b = x * y - x / (y * y + 1) + np.exp(x) + x**2 - (-y)
    c = np.where(x > 0, x * 2, y)
    d = m @ b + np.dot(m, c)
    e = np.linalg.solve(a, d)
    f = np.dot(d, e) + np.linalg.det(a) + np.sum(np.linalg.inv(a))
    return f + np.mean(b) + np.max(c) + np.min(b) + np.sum(np.cumsum(x) * y) + np.sum(np.outer(x, y)) + np.prod(x)


@LANGUAGE.add(SQUARE)
def library_cholesky(a):
    l = np.linalg.cholesky((a + a.T) / 2.0)
    return l[0, 0] + l[1, 0] * l[2, 1] + l[2, 2]


@LANGUAGE.add(V, M)
def methods(x, m):
    y = x.copy().reshape(2, 2)
    z = m.T.copy()
    return y.sum() * y[0, 1] + z.mean() * x.max() + x.dot(z[:, 1]) + np.array([x[0], x[1] * 2]).sum() + m.T[1, 2]


@LANGUAGE.add(0.5, 1.5)
def conditional_expressions(x, y):
    s = 0.0
    for i in range(4):
        s += (x if i % 2 else y * x) * (s if s > 1.0 else 1.0 + x)
    return s


@LANGUAGE.add(V, 0.4)
def several_results(x, y):
    a = x * y
    n = 0
    for v in x:
        if v > 0:
            n += 1
    return a, y * n, n, a[1]


@LANGUAGE.add(V)
def returns_what_it_overwrites(x):
    a = x.copy()
    for i in range(1, 4):
        a[i] = a[i - 1] * a[i]
    return a


@LANGUAGE.add(V)
def reserved_names(x):
    top = 0.0
    for floats in range(4):
        bottom = x[floats] * 2
        top += bottom * top + bottom
    return top


@LANGUAGE.add(draw.normal(size=(4, 2))[:, 0], np.asfortranarray(M))
def strided_arguments(x, m):
    m[0, 0] = x[1] * m[1, 1]
    for i in range(3):
        m[i] *= x[i]
        x[i] = x[i + 1] * m[i, i]
    return np.sum(m * m) + x[2] * x[0]


@LANGUAGE.add(np.empty(0), 0.5)
def empty_arrays(x, y):
    s = y
    for i in range(len(x)):
        s *= x[i]
    a = x * y
    return s * s + a.sum()


@LANGUAGE.add(V.astype(np.float32), 0.5)
def single_precision(x, y):
    s = 0.0
    for v in x:
        s = s * y + v * v
    return s


@LANGUAGE.add(M.astype(np.float32), V.astype(np.float32))
def single_precision_arrays(m, v):
    a = m * 2.0
    for i in range(3):
        for j in range(4):
            a[i, j] = a[i, j] * v[j] + a[i, j - 1]
    return a.sum()
