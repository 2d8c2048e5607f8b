"""Programs that are easily differentiated wrongly: aliases, arrays that are bound again, sizes, order of evaluation."""
# ruff: noqa: B007, B023, E741, F841

import math

import numpy as np
from check import Programs

TRAPS = Programs()
draw = np.random.default_rng(3)
V, W, M = draw.normal(size=4), draw.normal(size=4), draw.uniform(0.5, 1.5, (3, 4))
SQUARE = np.array([[4.0, 1.0, 0.5], [1.0, 3.0, 0.2], [0.5, 0.2, 2.0]])
scale = np.array([2.0, 3.0])


@TRAPS.add(V)
def view_written_after_it_was_read(x):
    s = 0.0
    for i in range(3):
        a = x * (i + 1.0)
        v = a[1:]
        s += v[0] * v[1]
        v[0] = s
        s += a[1] * a[2]
    return s


@TRAPS.add(V)
def array_made_in_a_loop_and_changed(x):
    s = 1.0
    for i in range(3):
        a = np.zeros(i + 1)
        for j in range(i + 1):
            a[j] = x[j] * s
        a += x[3]
        s += a.sum() * a[i]
        a[0] = s * s
        s *= a[0]
    return s


@TRAPS.add(V)
def array_whose_size_variable_changes(x):
    n = 2
    s = 0.5
    for i in range(3):
        a = np.full(n, s)
        n = n + 1
        a[0] = x[i] * a[1]
        s += a[0] * a[1]
    return s


@TRAPS.add(V)
def array_that_is_bound_again(x):
    a = x * 2
    s = 0.0
    for i in range(3):
        b = a * x
        a = b * b + a
        s += a[i] * b[0]
    return s


@TRAPS.add(V)
def array_handed_on(x):
    u = x.copy()
    for i in range(3):
        new = np.zeros(4)
        for k in range(4):
            new[k] = u[k] * u[k - 1]
        u = new
    return u


def stepped(u, h):
    w = u.copy()
    for k in range(len(u)):
        w[k] = u[k] + h * u[k - 1] * u[k]
    return w


@TRAPS.add(V, 0.3)
def array_from_a_function(x, h):
    u = x.copy()
    for _ in range(3):
        u = stepped(u, h)
    return u * h


@TRAPS.add(V, 0.3)
def arrays_from_branches(x, h):
    if h > 1:
        return x * h
    for i in range(4):
        if x[i] > 0.2:
            a = x * x[i]
            return a
    return x


@TRAPS.add(V)
def rows_by_names(x):
    a = np.zeros((2, 4))
    a[0] = x
    for i in range(3):
        old = a[i % 2]
        new = a[(i + 1) % 2]
        for k in range(4):
            new[k] = old[k] * old[k - 1] + 0.1
    return a[1] + a[0]


@TRAPS.add(V)
def elements_of_both_ends(x):
    a = x.copy()
    s = 0.0
    for i in range(4):
        t = a[i - 1] * 2
        a[i] = t * a[-1]
        s += t
    return s + a[0]


@TRAPS.add(M)
def transposes(m):
    t = m.T
    u = np.transpose(m)
    c = m.T.copy()
    s = 0.0
    for i in range(4):
        for j in range(3):
            s += t[i, j] * u[i, j] * c[i, j]
    t[0, 1] = s
    return np.sum(u * u) + m[1, 0]


@TRAPS.add(V[:1], W)
def array_of_one_element(x, y):
    a = x * 2.0
    s = 0.0
    for i in range(len(y)):
        s += a[0] * y[i] * x[-1]
    return s + np.sum(a)


@TRAPS.add(np.zeros((0, 3)), 2.0)
def matrix_without_rows(m, x):
    s = x
    for row in m:
        for v in row:
            s *= v
    return s * s


@TRAPS.add(V, 0.5)
def loops_without_iterations(x, y):
    s = y
    i = 2
    for i in range(0):
        s *= x[i]
    while s > 10:
        s *= 2
    for j in range(3, 1):
        s = x[j]
    return s * x[i]


def early(p, q):
    for k in range(3):
        p = p * q + 0.1
        if p > 0.6:
            return p, q * k
    return q, p


@TRAPS.add(V)
def function_called_often(x):
    s = 0.1
    for i in range(4):
        for j in range(2):
            a, b = early(abs(x[i]), s)
            s += a * b
            b, a = early(b, a)
            s += a - b
    return s


def uses_scale(x):
    return x * scale[0] + scale[1]


@TRAPS.add(0.4)
def local_with_the_name_of_a_constant(x):
    scale = x * 3
    return uses_scale(x) * scale


@TRAPS.add(0.4)
def number_that_becomes_real(x):
    n = 1
    for i in range(3):
        n = n * x + i
    return n


@TRAPS.add(0.4)
def number_that_becomes_real_at_once(x):
    n = 1
    n = n * x
    y = 0
    y = y + n * x
    return y


@TRAPS.add(0.4, 3)
def integer_parameter_that_becomes_real(x, n):
    n = n * x
    return n * n


@TRAPS.add(V)
def flags_and_late_breaks(x):
    s = 1.0
    i = 0
    while i < 10:
        i += 1
        for j in range(4):
            if j == i:
                continue
            s += x[j] * s * 0.1
            if s > 2.5:
                break
            if j > 2:
                s *= 1.01
        if s > 3:
            break
    return s * i * j


@TRAPS.add(0.5)
def zero_and_negative_powers(x):
    s = 0.0
    for k in range(-2, 3):
        s += x**k
    y = 0.0 * x
    return s + y**0 + x**-2 + y**1 + y**2


@TRAPS.add(V)
def power_of_arrays(x):
    a = np.abs(x) + 1.0
    return np.sum(a**-2 + a**0.5 + a**0 + a**3 / a**1)


@TRAPS.add(V, 1.5)
def fill_and_full(x, y):
    a = np.full((2, 2), y * y)
    a[0, 1] *= x[0]
    b = np.empty(3)
    b.fill(x[1] * y)
    b[1] *= b[0]
    return a.sum() * a[1, 0] + b.sum()


@TRAPS.add(V)
def nested_lists(x):
    a = np.array([[x[0], x[1] * 2], [x[2], 1.0]])
    return a[0, 0] * a[0, 1] + a[1, 0] ** 2 + np.linalg.det(a)


@TRAPS.add(V)
def extremes_at_changing_places(x):
    a = x.copy()
    s = 0.0
    for i in range(4):
        s += a.max() * (i + 1)
        k = np.argmax(a)
        a[k] = a[k] * 0.5 - 0.1
        s += np.min(a)
    return s


@TRAPS.add(M)
def reshapes(m):
    v = m.reshape(12)
    s = v[5] * m[0, 1]
    v[3] = s
    w = m.flatten()
    return np.sum(w * w) + s


@TRAPS.add(V)
def index_in_a_variable_that_changes(x):
    a = x.copy()
    k = 0
    for i in range(5):
        a[k] = a[k] * a[(k + 1) % 4]
        k = (k + 3) % 4
        a[k] += a[k - 1]
    return a * k


@TRAPS.add(V)
def index_in_an_array_that_changes(x):
    order = np.arange(4)
    a = x.copy()
    for i in range(4):
        a[order[i]] *= a[order[i - 1]]
        order[i] = (order[i] + 1) % 4
        a[order[i]] += a[order[i]] * a[0]
    return a


@TRAPS.add(V, 0.7)
def swap_through_an_index(x, y):
    a = x.copy()
    i = 0
    i, a[i] = 2, y
    a[i], i = y * y, 3
    return a * i


@TRAPS.add(V)
def chained(x):
    s = t = x[0]
    a = b = x * 2
    s += 1
    b[0] = s * t
    return a[0] * b[1] + t * s


@TRAPS.add(V)
def enumerates_what_it_changes(x):
    a = x.copy()
    s = 0.0
    for i, v in enumerate(a):
        a[(i + 1) % 4] += v * v
        s += v * a[i]
    return s


@TRAPS.add(SQUARE)
def decompositions_of_what_changes(a):
    m = a.copy()
    s = 0.0
    for k in range(2):
        l = np.linalg.inv(m)
        m[0, 0] += l[1, 1]
        d = np.linalg.det(m)
        m[1, 0] = d * l[0, 0]
        s += d * l[2, 2]
    return s + m[1, 0]


@TRAPS.add(V, 2)
def shifted_bits(x, n):
    s = 1.0
    for i in range(1 << n):
        s = s * 1.1 + x[i] * (i & 1) + x[i >> 1] * (i | n)
    return s


@TRAPS.add(V)
def scalar_and_element_of_a_view(x):
    a = x.copy()
    s = 0.0
    for i in range(3):
        v = a[i:]
        v[0] *= v[1]
        v += s
        s += v[-1]
    return s


@TRAPS.add(0.3)
def nothing_depends_on_it(x):
    y = 3.0
    if x > 5:
        y = 2.0
    return y


@TRAPS.add(V)
def comparisons_as_numbers(x):
    s = 0.0
    for v in x:
        s += (v > 0) * v * v - (v < 0.1) * math.sin(v)
    return s


@TRAPS.add(V)
def inner_loop_with_the_same_variable(x):
    s = 1.0
    for i in range(2):
        s += x[i]
        for i in range(1, 4):
            s *= 1 + x[i] * 0.1
        s += x[i] * s
    return s * i


@TRAPS.add(V)
def index_that_its_own_write_changes(x):
    k = np.array([0, 2, 1, 3])
    a = x.copy()
    for i in range(4):
        k[k[i] % 4] = (k[k[i] % 4] + 1) % 4
        k[k[k[0] % 4] % 4] += i
        k[k[1] % 4] %= 4
        a[k[i] % 4] *= a[k[i - 1] % 4] + x[i]
    a[int(abs(a[0])) % 4] = a[0] * a[1]
    a[int(abs(a[1])) % 4] += a[0] * a[1]
    return a
