"""Solvers, integrators and recurrences as loops."""
# ruff: noqa: B007, B023, E741, F841

import math

import numpy as np
from check import Programs

NUMERICS = Programs()
draw = np.random.default_rng(1)
SPD = np.array([[4.0, 1.0, 0.5], [1.0, 3.0, 0.2], [0.5, 0.2, 2.0]])


def field(t, x, k):
    return -k * x + math.sin(t)


@NUMERICS.add(1.0, 0.7)
def adaptive_runge_kutta(x, k):
    t, h = 0.0, 0.3
    steps = 0
    while t < 2.0:
        if t + h > 2.0:
            h = 2.0 - t
        k1 = field(t, x, k)
        k2 = field(t + h, x + h * k1, k)
        error = abs(h * (k2 - k1) / 2)
        if error > 0.02:
            h *= 0.5
            continue
        x += h * (k1 + k2) / 2
        t += h
        steps += 1
        if error < 0.004:
            h = h * 1.5
        if steps > 100:
            break
    return x


@NUMERICS.add(1.2, 0.5, hand=lambda x, k: (math.exp(-k), -x * math.exp(-k)))
def runge_kutta_decay(x, k):
    h = 1.0 / 400
    for _ in range(400):
        a = -k * x
        b = -k * (x + h / 2 * a)
        c = -k * (x + h / 2 * b)
        d = -k * (x + h * c)
        x = x + h / 6 * (a + 2 * b + 2 * c + d)
    return x


@NUMERICS.add(draw.normal(size=(3, 2)) * 2, draw.normal(size=(3, 2)) * 0.1, draw.uniform(0.5, 1, 3))
def verlet(x0, v0, mass):
    x, v = x0.copy(), v0.copy()
    n = x.shape[0]
    for step in range(4):
        force = np.zeros_like(x)
        for i in range(n):
            for j in range(i):
                d = x[i] - x[j]
                r2 = d[0] ** 2 + d[1] ** 2 + 0.01
                f = mass[i] * mass[j] / (r2 * math.sqrt(r2))
                for c in range(2):
                    force[i, c] -= f * d[c]
                    force[j, c] += f * d[c]
        for i in range(n):
            v[i] += 0.05 * force[i] / mass[i]
            x[i] += 0.05 * v[i]
    return x, v


@NUMERICS.add(draw.normal(size=7), 0.2, 0.5, -0.3)
def heat(u0, c, left, right):
    u = u0.copy()
    n = len(u)
    new = np.empty(n)
    for step in range(5):
        for i in range(n):
            if i == 0:
                new[i] = left
            elif i == n - 1:
                new[i] = u[i] + c * right
            else:
                new[i] = u[i] + c * (u[i - 1] - 2 * u[i] + u[i + 1])
        u[:] = new
    return u


def thomas_by_hand(a, b, c, d):
    n = len(b)
    m = np.diag(b) + np.diag(a[1:], -1) + np.diag(c[:-1], 1)
    x = np.linalg.solve(m, d)
    y = np.linalg.solve(m.T, np.ones(n))
    return (np.array([0.0] + [-y[i] * x[i - 1] for i in range(1, n)]), -y * x,
            np.array([-y[i] * x[i + 1] for i in range(n - 1)] + [0.0]), y)


@NUMERICS.add(draw.uniform(0.1, 0.5, 5), draw.uniform(2, 3, 5), draw.uniform(0.1, 0.5, 5), draw.normal(size=5),
              hand=thomas_by_hand)
def thomas(a, b, c, d):
    n = len(b)
    cp, dp = np.zeros(n), np.zeros(n)
    cp[0], dp[0] = c[0] / b[0], d[0] / b[0]
    for i in range(1, n):
        w = b[i] - a[i] * cp[i - 1]
        cp[i] = c[i] / w
        dp[i] = (d[i] - a[i] * dp[i - 1]) / w
    x = np.empty(n)
    x[n - 1] = dp[n - 1]
    for i in range(n - 2, -1, -1):
        x[i] = dp[i] - cp[i] * x[i + 1]
    total = 0.0
    for value in x:
        total += value
    return total


@NUMERICS.add(SPD)
def cholesky_by_hand(a):
    n = a.shape[0]
    l = np.zeros((n, n))
    for j in range(n):
        s = a[j, j]
        for k in range(j):
            s -= l[j, k] ** 2
        l[j, j] = math.sqrt(s)
        for i in range(j + 1, n):
            t = a[i, j]
            for k in range(j):
                t -= l[i, k] * l[j, k]
            l[i, j] = t / l[j, j]
    return l


@NUMERICS.add(SPD, hand=lambda a: (2 * np.tril(np.linalg.inv(a), -1) + np.diag(np.diag(np.linalg.inv(a))),))
def log_determinant(a):
    l = a.copy()
    total = 0.0
    for j in range(a.shape[0]):
        for k in range(j):
            l[j, j] -= l[j, k] * l[j, k]
        l[j, j] = math.sqrt(l[j, j])
        total += 2 * math.log(l[j, j])
        for i in range(j + 1, a.shape[0]):
            for k in range(j):
                l[i, j] -= l[i, k] * l[j, k]
            l[i, j] /= l[j, j]
    return total


@NUMERICS.add(7.0, hand=lambda a: (0.5 / math.sqrt(a),))
def newton(a):
    x = a
    while abs(x * x - a) > 1e-14:
        x = 0.5 * (x + a / x)
    return x


@NUMERICS.add(2.0, smooth=False, hand=lambda a: (0.0,))
def bisection(a):
    """Halves of an interval do not depend on a but by the branches: its derivative is zero."""
# ruff: noqa: B007, B023, E741, F841
    lo, hi = 0.0, 3.0
    while hi - lo > 1e-6:
        mid = 0.5 * (lo + hi)
        if mid * mid > a:
            hi = mid
        else:
            lo = mid
    return 0.5 * (lo + hi)


@NUMERICS.add(2.0, hand=lambda a: (0.5 / math.sqrt(a),))
def bisection_with_a_newton_step(a):
    lo, hi = 0.0, 3.0
    for _ in range(40):
        mid = 0.5 * (lo + hi)
        if mid * mid > a:
            hi = mid
        else:
            lo = mid
    return lo - (lo * lo - a) / (2 * lo)


@NUMERICS.add(np.array([3.0, 1.0, 0.5, 0.2]))
def levinson(r):
    n = len(r) - 1
    a = np.zeros(n + 1)
    a[0] = 1.0
    e = r[0]
    for m in range(1, n + 1):
        k = r[m]
        for i in range(1, m):
            k += a[i] * r[m - i]
        k = -k / e
        old = a.copy()
        for i in range(1, m):
            a[i] = old[i] + k * old[m - i]
        a[m] = k
        e *= 1 - k * k
    return a, e


@NUMERICS.add(np.array([0.3, -1.0, 2.0, 0.7, -0.4]), np.array([1.0, 2.0, 3.0, 4.0, 5.0]),
              hand=lambda x, w: (w[np.argsort(np.argsort(x))], np.sort(x)))
def insertion_sort(x, w):
    a = x.copy()
    for i in range(1, len(a)):
        key = a[i]
        j = i - 1
        while j >= 0 and a[j] > key:
            a[j + 1] = a[j]
            j -= 1
        a[j + 1] = key
    return (a * w).sum()


@NUMERICS.add(np.array([1.0, -2.0, 0.5, 3.0]), 0.7, hand=lambda c, x: (
    x ** np.arange(3, -1, -1), 3 * c[0] * x**2 + 2 * c[1] * x + c[2]))
def horner(c, x):
    s = 0.0
    for a in c:
        s = s * x + a
    return s


@NUMERICS.add(np.array([1.0, -2.0, 0.5, 3.0]), 0.7, hand=lambda c, x: (
    np.cos(np.arange(4) * np.arccos(x)), np.polynomial.Chebyshev(c).deriv()(x)))
def clenshaw(c, x):
    b1 = b2 = 0.0
    for k in range(len(c) - 1, 0, -1):
        b1, b2 = c[k] + 2 * x * b1 - b2, b1
    return c[0] + x * b1 - b2


@NUMERICS.add(0.9, 0.9)
def escape(cr, ci):
    zr = zi = 0.0
    n = 0
    for k in range(50):
        zr, zi = zr * zr - zi * zi + cr, 2 * zr * zi + ci
        n = k
        if zr * zr + zi * zi > 4.0:
            break
    return n + 1 - math.log(math.log(math.hypot(zr, zi))) / math.log(2)


@NUMERICS.add(SPD, np.array([1.0, 2.0, 3.0]), hand=lambda a, b: (
    -np.outer(np.linalg.solve(a.T, np.ones(3)), np.linalg.solve(a, b)), np.linalg.solve(a.T, np.ones(3))))
def gauss_seidel(a, b):
    n = len(b)
    x = np.zeros(n)
    for sweep in range(60):
        change = 0.0
        for i in range(n):
            s = b[i]
            for j in range(n):
                if j != i:
                    s -= a[i, j] * x[j]
            s /= a[i, i]
            change = max(change, abs(s - x[i]))
            x[i] = s
        if change < 1e-15:
            break
    return x[0] + x[1] + x[2]


@NUMERICS.add(np.array([0.0, 1.0, 2.5, 4.0]), np.array([1.0, 3.0, 2.0, 5.0]), np.array([0.5, 3.1, 2.2, -1.0, 9.0]))
def table(xs, ys, at):
    total = 0.0
    for x in at:
        if x <= xs[0]:
            total += ys[0]
            continue
        if x >= xs[-1]:
            total += ys[-1] * 2
            continue
        k = np.searchsorted(xs, x) - 1
        w = (x - xs[k]) / (xs[k + 1] - xs[k])
        total += (1 - w) * ys[k] + w * ys[k + 1]
    return total


@NUMERICS.add(np.array([0.5, 2.0, 1.0, 3.0, 2.5]), hand=lambda x: (np.array([1.0, 2.0, 0.0, 2.0, 0.0]),))
def cumulative_maxima(x):
    best = x[0]
    total = best
    for k in range(1, x.size):
        if x[k] > best:
            best = x[k]
        total += best
    return total


@NUMERICS.add(SPD, np.array([1.0, -1.0, 0.5]))
def power_iteration(a, start):
    v = start.copy()
    value = 0.0
    for _ in range(5):
        w = np.dot(a, v)
        norm = math.sqrt(np.sum(w * w))
        v = w / norm
        value = norm
    return value, v


@NUMERICS.add(np.array([[2.0, 1.0, 0.3], [0.5, 0.1, 0.7], [1.5, 4.0, 0.9]]), np.array([1.0, 2.0, 3.0]),
              hand=lambda a, b: (-np.outer(np.linalg.solve(a.T, np.ones(3)), np.linalg.solve(a, b)),
                                 np.linalg.solve(a.T, np.ones(3))))
def gaussian_elimination(a, b):
    m, y = a.copy(), b.copy()
    n = len(y)
    for k in range(n):
        best = k
        for i in range(k + 1, n):
            if abs(m[i, k]) > abs(m[best, k]):
                best = i
        if best != k:
            for j in range(n):
                m[k, j], m[best, j] = m[best, j], m[k, j]
            y[k], y[best] = y[best], y[k]
        for i in range(k + 1, n):
            f = m[i, k] / m[k, k]
            for j in range(k, n):
                m[i, j] -= f * m[k, j]
            y[i] -= f * y[k]
    total = 0.0
    for i in range(n - 1, -1, -1):
        for j in range(i + 1, n):
            y[i] -= m[i, j] * y[j]
        y[i] /= m[i, i]
        total += y[i]
    return total


@NUMERICS.add(draw.normal(size=6), draw.normal(size=3), hand=lambda x, h: (
    np.convolve(np.ones(8), h[::-1])[2:8] * 1.0, np.full(3, x.sum())))
def convolution(x, h):
    y = np.zeros(len(x) + len(h) - 1)
    for i in range(len(x)):
        for j in range(len(h)):
            y[i + j] += x[i] * h[j]
    return y.sum()


@NUMERICS.add(0.3, 0.4, hand=lambda a, b: (3 * a**2 * b, a**3))
def product_rule(a, b):
    p = b
    for _ in range(3):
        p *= a
    return p


@NUMERICS.add(draw.normal(size=8))
def fast_walsh(x):
    a = x.copy()
    h = 1
    while h < len(a):
        for i in range(0, len(a), 2 * h):
            for j in range(i, i + h):
                u, v = a[j], a[j + h]
                a[j], a[j + h] = u + v, (u - v) * u
        h *= 2
    return a
