"""Numbers of two infinitesimal parts in plain NumPy: first and second derivatives without a tape.

``a + b e1 + c e2 + d e1 e2`` with ``e1^2 = e2^2 = 0``: a function of ``x + v e1 + w e2`` has its derivative along v in
`b`, along w in `c`, and the second derivative along both in `d`. Source: J. A. Fike, J. J. Alonso, The development of
hyper-dual numbers for exact second-derivative calculations, AIAA 2011-886.
"""

from __future__ import annotations

import numpy as np


class HyperDual:
    """Arrays of hyper-dual numbers."""

    def __init__(self, a, b=0.0, c=0.0, d=0.0):
        self.a = np.asarray(a, np.float64)
        self.b, self.c, self.d = (np.broadcast_to(np.asarray(part, np.float64), self.a.shape) for part in (b, c, d))

    @staticmethod
    def of(value):
        return value if isinstance(value, HyperDual) else HyperDual(value)

    @property
    def shape(self):
        return self.a.shape

    def function(self, f, df, ddf):
        """A smooth function of each element, given with its derivatives."""
        first = df(self.a)
        return HyperDual(f(self.a), first * self.b, first * self.c, first * self.d + ddf(self.a) * self.b * self.c)

    def linear(self, f):
        """A linear function of the whole array."""
        return HyperDual(f(self.a), f(self.b), f(self.c), f(self.d))

    def __add__(self, other):
        o = HyperDual.of(other)
        return HyperDual(self.a + o.a, self.b + o.b, self.c + o.c, self.d + o.d)

    def __mul__(self, other):
        o = HyperDual.of(other)
        return HyperDual(self.a * o.a, self.a * o.b + self.b * o.a, self.a * o.c + self.c * o.a,
                         self.a * o.d + self.b * o.c + self.c * o.b + self.d * o.a)

    def __matmul__(self, other):
        o = HyperDual.of(other)
        return HyperDual(self.a @ o.a, self.a @ o.b + self.b @ o.a, self.a @ o.c + self.c @ o.a,
                         self.a @ o.d + self.b @ o.c + self.c @ o.b + self.d @ o.a)

    def __neg__(self):
        return self.linear(np.negative)

    def __sub__(self, other):
        return self + -HyperDual.of(other)

    __radd__, __rmul__ = __add__, __mul__

    def __rsub__(self, other):
        return HyperDual.of(other) - self

    def __getitem__(self, index):
        return self.linear(lambda part: part[index])

    def sum(self, axis=None):
        return self.linear(lambda part: part.sum(axis=axis))


def sin(x):
    return HyperDual.of(x).function(np.sin, np.cos, lambda v: -np.sin(v))


def exp(x):
    return HyperDual.of(x).function(np.exp, np.exp, np.exp)


def tanh(x):
    return HyperDual.of(x).function(np.tanh, lambda v: 1 - np.tanh(v) ** 2,
                                    lambda v: -2 * np.tanh(v) * (1 - np.tanh(v) ** 2))
