"""Values that are handed on together: tuples, named tuples, arrays that exchange their names; sums along an axis."""
# ruff: noqa: B007, B023, E741, F841

import math
from typing import NamedTuple

import numpy as np
from check import Programs

HANDED = Programs()
V, M = np.array([0.5, 1.5, -0.5, 2.0]), np.arange(1.0, 13.0).reshape(3, 4) / 7


class State(NamedTuple):
    """Of a pendulum."""

    angle: float
    speed: float


def energy(state, mass):
    return state.speed**2 * mass + state.angle**2


def both(pair):
    return pair[0] * pair[1], pair[1]


@HANDED.add(0.7, hand=lambda x: (4 * x**3 + 3,))
def a_pair_that_changes(x):
    pair = (x, x * 2)
    for _ in range(1):
        pair = (pair[1] * 0.5, pair[0] ** 3)
    a, b = pair
    return a * b + x * 3 + len(pair)


@HANDED.add(0.3, 0.1)
def a_pendulum(x, h):
    state = State(x, 1.0)
    for _ in range(4):
        state = State(speed=state.speed - h * math.sin(state.angle), angle=state.angle + h * state.speed)
    return energy(state, 2.0)


@HANDED.add(0.4)
def a_pair_that_is_given_and_returned(x):
    pair = (x, x + 1.0)
    for _ in range(2):
        a, b = both(pair)
        pair = (a, b * x)
    return pair


@HANDED.add(V)
def arrays_that_exchange_their_names(x):
    a, b = x.copy(), x * 2
    for _ in range(3):
        a, b = b, a
        a[0] *= b[1]
        b[2] += a[0] * a[3]
    return a, b


@HANDED.add(V, 3)
def heat_between_two_buffers(u, n):
    old, new = u.copy(), u.copy()
    for _ in range(n):
        for i in range(1, len(u) - 1):
            new[i] = old[i] + 0.1 * (old[i - 1] - 2 * old[i] + old[i + 1]) * old[i]
        old, new = new, old
    return old


@HANDED.add(V)
def three_arrays_in_turn(x):
    a, b, c = x * 1.0, x * 2, np.sin(x)
    for k in range(4):
        a, b, c = b, c, a
        a[k] = b[k] * c[0]
    return np.sum(a) + b[1] * c[2]


@HANDED.add(M, hand=lambda m: (2 * m.sum(0) + 2 * m * m.sum(1)[:, None] + (m * m).sum(1)[:, None],))
def sums_along_axes(m):
    columns, squares, rows = np.sum(m, axis=0), np.sum(m * m, 1), m.sum(axis=-1)
    return np.sum(columns * columns) + np.sum(squares * rows)
