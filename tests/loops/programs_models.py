"""Likelihoods, filters, ratings and options as loops."""
# ruff: noqa: B007, B023, E741, F841

import math

import numpy as np
from check import Programs

MODELS = Programs()
draw = np.random.default_rng(0)


def garch_by_hand(p, y):
    """The recursion of dsigma/dp, forward."""
# ruff: noqa: B007, B023, E741, F841
    s, ds, total = y[0] ** 2, np.zeros(3), np.zeros(3)
    for t in range(1, len(y)):
        ds = np.array([1.0, y[t - 1] ** 2, s]) + p[2] * ds
        s = p[0] + p[1] * y[t - 1] ** 2 + p[2] * s
        total += (1.0 / s - y[t] ** 2 / s**2) * ds
    return 0.5 * total


@MODELS.add(np.array([0.1, 0.2, 0.7]), draw.normal(size=20))
def garch(p, y):
    s, total = y[0] ** 2, 0.0
    for t in range(1, len(y)):
        s = p[0] + p[1] * y[t - 1] ** 2 + p[2] * s
        total += math.log(s) + y[t] ** 2 / s
    return 0.5 * total


@MODELS.add(0.1, 0.2, 0.5, 0.1, draw.normal(size=15))
def egarch(omega, alpha, beta, gamma, y):
    log_s = omega
    total = 0.0
    for value in y:
        z = value * math.exp(-0.5 * log_s)
        total += log_s + z * z
        log_s = omega + alpha * (abs(z) - 0.7978845608) + gamma * z + beta * log_s
    return total


@MODELS.add(draw.uniform(0.1, 1, (3, 3)), draw.uniform(0.1, 1, (3, 4)), draw.uniform(0.1, 1, 3), draw.integers(0, 4, 8))
def hidden_markov(a, b, start, seen):
    n = len(start)
    alpha = np.empty(n)
    total = 0.0
    for i in range(n):
        alpha[i] = start[i] * b[i, seen[0]]
    for t in range(1, len(seen)):
        scale = 0.0
        for i in range(n):
            scale += alpha[i]
        total += math.log(scale)
        new = np.zeros(n)
        for j in range(n):
            for i in range(n):
                new[j] += alpha[i] / scale * a[i, j]
            new[j] *= b[j, seen[t]]
        for j in range(n):
            alpha[j] = new[j]
    return total + math.log(alpha.sum())


@MODELS.add(0.5, 0.3, draw.normal(size=12))
def kalman_local_level(q, r, y):
    m, p, total = y[0], 1.0, 0.0
    for t in range(1, len(y)):
        p += q
        f = p + r
        v = y[t] - m
        total += math.log(f) + v * v / f
        k = p / f
        m = m + k * v
        p = p * (1 - k)
    return -0.5 * total


@MODELS.add(np.array([[0.9, 0.1], [-0.1, 0.8]]), np.eye(2) * 0.2, np.array([1.0, 0.5]), 0.3, draw.normal(size=6))
def kalman_matrices(a, q, h, r, y):
    m = np.zeros(2)
    p = np.eye(2)
    total = 0.0
    for t in range(y.shape[0]):
        m = np.dot(a, m)
        p = a @ p @ a.T + q
        ph = p @ h
        f = np.dot(h, ph) + r
        v = y[t] - np.dot(h, m)
        total += math.log(f) + v**2 / f
        m = m + ph * (v / f)
        p = p - np.outer(ph, ph) / f
    return total


@MODELS.add(draw.normal(size=5), draw.normal(size=6))
def soft_dtw(x, y):
    n, m = len(x), len(y)
    r = np.full((n + 1, m + 1), 1e10)
    r[0, 0] = 0.0
    for i in range(1, n + 1):
        for j in range(1, m + 1):
            a, b, c = -r[i - 1, j - 1], -r[i - 1, j], -r[i, j - 1]
            big = max(a, b, c)
            total = math.exp(a - big) + math.exp(b - big) + math.exp(c - big)
            r[i, j] = (x[i - 1] - y[j - 1]) ** 2 - (math.log(total) + big)
    return r[n, m]


@MODELS.add(draw.uniform(0.1, 1.0, (6, 4)), np.array([1, 2, 1]))
def ctc(p, label):
    size = 2 * len(label) + 1
    alpha = np.zeros((p.shape[0], size))
    alpha[0, 0] = p[0, 0]
    alpha[0, 1] = p[0, label[0]]
    for t in range(1, p.shape[0]):
        for s in range(size):
            symbol = 0 if s % 2 == 0 else label[s // 2]
            total = alpha[t - 1, s]
            if s > 0:
                total += alpha[t - 1, s - 1]
            if s > 1 and s % 2 == 1 and symbol != label[s // 2 - 1]:
                total += alpha[t - 1, s - 2]
            alpha[t, s] = total * p[t, symbol]
    return -math.log(alpha[-1, size - 1] + alpha[-1, size - 2])


@MODELS.add(draw.normal(size=4), 0.3, draw.integers(0, 4, 10), draw.integers(0, 4, 10), draw.integers(0, 2, 10))
def elo(ratings, k, white, black, won):
    r = ratings.copy()
    total = 0.0
    for g in range(len(white)):
        i, j = white[g], black[g]
        if i == j:
            continue
        e = 1.0 / (1.0 + math.exp(r[j] - r[i]))
        total -= math.log(e if won[g] else 1 - e)
        step = k * (won[g] - e)
        r[i] += step
        r[j] -= step
    return total


def attenuation(deviation):
    return 1.0 / math.sqrt(1.0 + 3.0 * (deviation / math.pi) ** 2)


@MODELS.add(draw.normal(size=3), draw.uniform(0.5, 1, 3), draw.integers(0, 2, 6))
def glicko(mu, phi, won):
    m, d = mu.copy(), phi.copy()
    for k in range(len(won)):
        i = k % 3
        j = (k + 1) % 3
        g = attenuation(d[j])
        e = 1.0 / (1.0 + math.exp(-g * (m[i] - m[j])))
        v = 1.0 / (g**2 * e * (1 - e))
        d[i] = 1.0 / math.sqrt(1.0 / d[i] ** 2 + 1.0 / v)
        m[i] += d[i] ** 2 * g * (won[k] - e)
    return m, d


@MODELS.add(np.array([100.0, 0.05, 0.3]), draw.normal(size=(12, 6)))
def barrier(p, z):
    total = 0.0
    for k in range(z.shape[0]):
        s = p[0]
        alive = True
        for t in range(z.shape[1]):
            s *= math.exp((p[1] - 0.5 * p[2] ** 2) * 0.02 + p[2] * 0.1 * z[k, t])
            if s < 95.0:
                alive = False
                break
        if alive and s > 100.0:
            total += s - 100.0
    return total / z.shape[0]


@MODELS.add(100.0, 0.05, 0.3)
def american_put(spot, rate, vol):
    n = 12
    dt = 1.0 / n
    up = math.exp(vol * math.sqrt(dt))
    prob = (math.exp(rate * dt) - 1 / up) / (up - 1 / up)
    v = np.empty(n + 1)
    for i in range(n + 1):
        v[i] = max(103.0 - spot * up ** (2 * i - n), 0.0)
    for step in range(n - 1, -1, -1):
        for i in range(step + 1):
            held = math.exp(-rate * dt) * (prob * v[i + 1] + (1 - prob) * v[i])
            v[i] = max(held, 103.0 - spot * up ** (2 * i - step))
    return v[0]


def cdf(x):
    return 0.5 * math.erfc(-x / math.sqrt(2.0))


def black_scholes_by_hand(s, k, t, r, vol):
    d = (math.log(s / k) + (r + vol**2 / 2) * t) / (vol * math.sqrt(t))
    e = d - vol * math.sqrt(t)
    density = math.exp(-d * d / 2) / math.sqrt(2 * math.pi)
    return (cdf(d), -math.exp(-r * t) * cdf(e),
            s * density * vol / (2 * math.sqrt(t)) + r * k * math.exp(-r * t) * cdf(e),
            k * t * math.exp(-r * t) * cdf(e), s * density * math.sqrt(t))


@MODELS.add(100.0, 95.0, 0.7, 0.03, 0.25, hand=black_scholes_by_hand)
def black_scholes(s, k, t, r, vol):
    d = (math.log(s / k) + (r + vol**2 / 2) * t) / (vol * math.sqrt(t))
    return s * cdf(d) - k * math.exp(-r * t) * cdf(d - vol * math.sqrt(t))


@MODELS.add(0.94, draw.normal(size=9), hand=lambda lam, y: (
    sum((n := len(y)) and ((len(y) - 1 - t) * lam ** max(len(y) - 2 - t,
                                                         0) * (1 - lam) - lam ** (len(y) - 1 - t)) * y[t]**2
        for t in range(len(y))), np.array([2 * (1 - lam) * lam ** (len(y) - 1 - t) * y[t] for t in range(len(y))])))
def exponential_average(lam, y):
    s = 0.0
    for x in y:
        s = lam * s + (1 - lam) * x * x
    return s


@MODELS.add(draw.normal(size=3), draw.normal(size=(8, 3)), draw.integers(0, 2, 8), hand=lambda w, x, y: (
    x.T @ (1 / (1 + np.exp(-x @ w)) - y), np.outer(1 / (1 + np.exp(-x @ w)) - y, w)))
def logistic(w, x, y):
    loss = 0.0
    for i in range(x.shape[0]):
        z = 0.0
        for j in range(x.shape[1]):
            z += w[j] * x[i, j]
        loss += math.log1p(math.exp(-abs(z))) + max(z, 0.0) - y[i] * z
    return loss


@MODELS.add(np.array([0.5, -0.3]), draw.normal(size=10), hand=lambda p, y: (
    np.array([-2 * sum((y[t] - p[0] * y[t - 1] - p[1] * y[t - 2]) * y[t - k] for t in range(2, 10)) for k in (1, 2)]),
    np.array([sum(2 * (y[t] - p[0] * y[t - 1] - p[1] * y[t - 2]) *
                  ((t == k) - p[0] * (t - 1 == k) - p[1] * (t - 2 == k))
                  for t in range(2, 10)) for k in range(10)])))
def autoregression(p, y):
    total = 0.0
    for t in range(2, len(y)):
        e = y[t]
        for k, coefficient in enumerate(p):
            e -= coefficient * y[t - k - 1]
        total += e**2
    return total


@MODELS.add(draw.uniform(0.2, 2, 6), draw.uniform(0.2, 2, 3))
def smith_waterman(x, gap):
    best = 0.0
    row = np.zeros(len(x) + 1)
    for i in range(3):
        before = 0.0
        for j in range(1, len(x) + 1):
            keep = row[j]
            score = before + math.sin(x[j - 1] * (i + 1))
            if row[j] - gap[i] > score:
                score = row[j] - gap[i]
            if score < 0:
                score = 0.0
            row[j] = score
            before = keep
            best = max(best, score)
    return best


@MODELS.add(draw.uniform(0.5, 2, 4), draw.uniform(1.0, 3.0, 5))
def poisson_process(rates, gaps):
    total = 0.0
    state = 0
    clock = 0.0
    k = 0
    while k < len(gaps):
        clock += gaps[k]
        total += math.log(rates[state]) - rates[state] * gaps[k]
        if clock > 3.3 * (state + 1):
            state = (state + 1) % 4
        k += 1
    return total, clock


MODELS[0].hand = lambda p, y: (garch_by_hand(p, y), None)
