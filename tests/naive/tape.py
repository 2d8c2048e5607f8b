"""A reverse-mode tape in plain Python, in float64.

A `Run` says how it is to compute: with rounding errors of a size that is asked for, from which follows how large the
errors of a real computation may be, and with a note of every decision (which side of a kink, which element is the
greatest), from which follows whether such errors could have decided otherwise.
"""

from __future__ import annotations

import numpy as np


class Run:
    """A context in which the tape computes.

    Parameters
    ----------
    noise : float
        Relative error put on every result and every contribution to an adjoint.
    seed : int
        Of the errors.
    masks : iterator of ndarray, optional
        What dropout multiplies with, call by call; called with the shape and the probability.
    alike : float
        Error of sums alone, of the sum of their terms' magnitudes: that of terms which all round the same way.

    Attributes
    ----------
    decisions : list of bytes
    largest : float
        The greatest magnitude of a value or an adjoint.
    """

    current: Run | None = None

    def __init__(self, noise=0.0, seed=0, masks=None, alike=0.0):
        self.noise, self.rng, self.masks, self.alike = noise, np.random.default_rng(seed), masks, alike
        self.decisions, self.largest = [], 0.0

    def __enter__(self):
        self.before, Run.current = Run.current, self
        return self

    def __exit__(self, *error):
        Run.current = self.before

    def rounded(self, array):
        """`array` with errors."""
        if array.size:
            with np.errstate(invalid="ignore"):
                self.largest = max(self.largest, float(np.max(np.abs(array))))  # NaN stays
            if not np.isfinite(self.largest):
                self.largest = np.inf
        if not self.noise or not array.size:
            return array
        return array * (1.0 + self.noise * self.rng.uniform(-1.0, 1.0, array.shape))


def decided(choice):
    """`choice`, an array of booleans or indices, noted."""
    if Run.current is not None:
        choice = np.asarray(choice)
        Run.current.decisions.append(np.packbits(choice).tobytes() if choice.dtype == bool else choice.tobytes())
    return choice


def rounded(array):
    """`Run.rounded` of the present run."""
    return array if Run.current is None else Run.current.rounded(array)


def of_terms(summed, *factors):
    """``summed(*factors)``, in which products of the factors are added up, of long doubles or by the library.

    Its terms have errors, for a sum that cancels is as exact as they are large.
    """
    y = np.asarray(summed(rounded(factors[0]), *factors[1:]), np.float64)
    run = Run.current
    if run is None or not run.alike:
        return y
    return y + run.alike * run.rng.choice([-1.0, 1.0], y.shape) * np.asarray(summed(*map(np.abs, factors)), np.float64)


def total(x, axis=None, keepdims=False):
    """The sum, of long doubles: NumPy's of float64 along any but the last axis is a running one."""
    return of_terms(lambda x: np.sum(x, axis=axis, keepdims=keepdims, dtype=np.longdouble), x)


def scattered(shape, key, values):
    """Zeros with `values` added at ``[key]``, where an index may come several times."""

    def summed(values):
        held = np.zeros(shape, np.longdouble)
        np.add.at(held, key, values)
        return held

    return of_terms(summed, values)


def unbroadcast(gradient, shape):
    """Sum ``gradient`` over the axes along which an operand of ``shape`` was repeated."""
    lead = gradient.ndim - len(shape)
    axes = (*range(lead), *(lead + d for d, n in enumerate(shape) if n == 1 and gradient.shape[lead + d] != 1))
    return total(gradient, axes).reshape(shape) if axes else gradient


class Var:
    """A value and how it came about: ``parents`` are (Var, function from my adjoint to that parent's share) pairs."""

    __array_ufunc__ = None  # so that array * Var asks the Var

    def __init__(self, value, parents=(), exact=False):
        value = np.asarray(value, dtype=np.float64)
        self.value = Run.current.rounded(value) if Run.current is not None and parents and not exact else value
        self.parents = list(parents)
        self.adjoint = None

    @property
    def shape(self):
        return self.value.shape

    def backward(self):
        order, seen = [], set()
        waiting = [(self, False)]
        while waiting:
            node, done = waiting.pop()
            if done:
                order.append(node)
            elif id(node) not in seen:
                seen.add(id(node))
                waiting.append((node, True))
                waiting.extend((parent, False) for parent, _ in node.parents)
        for node in order:
            node.adjoint = np.zeros_like(node.value)
        self.adjoint = np.ones_like(self.value)
        for node in reversed(order):
            for parent, share in node.parents:
                parent.adjoint = parent.adjoint + rounded(share(node.adjoint))


def as_var(x):
    return x if isinstance(x, Var) else Var(x)


def unary(f, slope, choice=None):
    """An elementwise op from its function and its slope, written in terms of x and of y = f(x).

    ``choice`` gives, from x, what decides at kinks.
    """

    def op(a):
        a = as_var(a)
        x = a.value
        if choice is not None:
            decided(choice(x))
        out = Var(f(x), [(a, lambda g: g * slope(x, out.value))])  # of y with its error, as it is kept
        return out

    return op


def binary(f, left, right, choice=None):
    """The same of two operands, which broadcast."""

    def op(a, b):
        a, b = as_var(a), as_var(b)
        x, y = a.value, b.value
        if choice is not None:
            decided(choice(x, y))
        shares = [
            (a, lambda g: unbroadcast(g * left(x, y), x.shape)),
            (b, lambda g: unbroadcast(g * right(x, y), y.shape)),
        ]
        return Var(f(x, y), shares)

    return op


def reduction(f, share, choice=None):
    """A reduction over ``axis``; ``share(x, y, g)`` sees y and g with that axis kept."""

    def op(a, axis=None, keepdims=False):
        a = as_var(a)
        x = a.value
        y = f(x, axis=axis, keepdims=True)
        if choice is not None:
            decided(choice(x, y))

        def back(g):
            return np.broadcast_to(share(x, out.value.reshape(y.shape), g.reshape(y.shape)), x.shape)

        out = Var(y if keepdims else f(x, axis=axis), [(a, back)])
        return out

    return op
