"""Ops that tests of `custom_op` define, with their formulas in NumPy."""

import numpy as np

import tapegrad as tg


def bent(x, y):
    """y = x + x**2 / 2 above 0, x below."""
    for k in range(x.size):
        y[k] = x[k] + 0.5 * x[k] * x[k] if x[k] > 0.0 else x[k]


def bent_adjoint(g, x, dx):
    for k in range(x.size):
        dx[k] += g[k] * (1.0 + x[k]) if x[k] > 0.0 else g[k]


def bent_formula(x):
    return np.where(x > 0, x + x**2 / 2, x)


def bent_slope(x):
    return np.where(x > 0, 1 + x, 1)


def logistic(x, y, rate):
    """y = 1 / (1 + exp(-rate x)) over two axes."""
    for r in range(x.shape[0]):
        for c in range(x.shape[1]):
            y[r, c] = 1.0 / (1.0 + np.exp(-rate * x[r, c]))


def logistic_adjoint(g, y, dx, rate):
    """Reads the output alone: dx = g rate y (1 - y)."""
    for r in range(y.shape[0]):
        for c in range(y.shape[1]):
            dx[r, c] += g[r, c] * rate * y[r, c] * (1.0 - y[r, c])


def squared_distances(a, b, y):
    """y[n, m] = |a[n] - b[m]|**2."""
    for n in range(a.shape[0]):
        for m in range(b.shape[0]):
            total = 0.0 * a[n, 0]
            for k in range(a.shape[1]):
                total += (a[n, k] - b[m, k]) ** 2
            y[n, m] = total


def squared_distances_adjoint(g, a, b, da, db):
    for n in range(a.shape[0]):
        for m in range(b.shape[0]):
            for k in range(a.shape[1]):
                slope = g[n, m] * 2.0 * (a[n, k] - b[m, k])
                da[n, k] += slope
                db[m, k] -= slope


def squared_distances_formula(a, b):
    return ((a[:, None, :] - b[None, :, :]) ** 2).sum(axis=2)


def picked(table, index, y):
    """y[n] = table[index[n]], the rows of a table."""
    for n in range(index.size):
        for k in range(table.shape[1]):
            y[n, k] = table[index[n], k]


def picked_adjoint(g, index, dtable):
    for n in range(index.size):
        for k in range(dtable.shape[1]):
            dtable[index[n], k] += g[n, k]


def make_bend():
    return tg.custom_op(bent, bent_adjoint)


def make_logistic():
    return tg.custom_op(logistic, logistic_adjoint)


def make_distances():
    return tg.custom_op(squared_distances, squared_distances_adjoint, shape=lambda a, b: (a[0], b[0]))


def make_pick():
    return tg.custom_op(picked, picked_adjoint, shape=lambda table, index: (index[0], table[1]))
