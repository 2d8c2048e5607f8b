"""Products of vectors, matrices and stacks of matrices on the plain-Python tape, under tapegrad's names."""

from __future__ import annotations

import math

import numpy as np

from .elementwise_functions import add, multiply
from .layout_functions import concatenate, expand_dims, reshape, split, transpose
from .tape import Var, as_var, of_terms, unbroadcast


def _einsum(subscripts, x, y):
    """NumPy's, of long doubles; where that would take long the library's products, which sum in blocks."""
    extents = {**dict(zip(subscripts.split(",")[0], x.shape)),
               **dict(zip(subscripts.split("->")[0].split(",")[1], y.shape))}
    how = {"optimize": True} if math.prod(extents.values()) > 5_000_000 else {"dtype": np.longdouble}
    return of_terms(lambda x, y: np.einsum(subscripts, x, y, **how), x, y)


def _contract(subscripts, a, b):
    """Sum of products of two operands, none of whose letters comes twice."""
    a, b = as_var(a), as_var(b)
    left, result = subscripts.split("->")
    s, t = left.split(",")
    x, y = a.value, b.value

    def share(term, other_term, other, shape):
        def back(g):
            alone = [c for c in term if c not in other_term + result]  # summed up by itself: the same for all
            part = _einsum(f"{result},{other_term}->{''.join(c for c in term if c not in alone)}", g, other)
            for d, c in enumerate(term):
                if c in alone:
                    part = np.expand_dims(part, d)
            return np.broadcast_to(part, shape)

        return back

    out = _einsum(subscripts, x, y)
    return Var(out, [(a, share(s, t, y, x.shape)), (b, share(t, s, x, y.shape))])


def einsum(subscripts, *operands):
    if len(operands) == 2:
        return _contract(subscripts, *operands)
    left, result = subscripts.split("->")
    s, t, *rest = left.split(",")
    kept = "".join(dict.fromkeys(c for c in s + t if c in result + "".join(rest)))
    first = _contract(f"{s},{t}->{kept}", *operands[:2])
    return _contract(f"{kept},{rest[0]}->{result}", first, operands[2])


def matmul(a, b):
    a, b = as_var(a), as_var(b)
    u = expand_dims(a, 0) if a.value.ndim == 1 else a
    v = expand_dims(b, 1) if b.value.ndim == 1 else b
    x, y = u.value, v.value
    out = Var(of_terms(np.matmul, x, y), [
        (u, lambda g: unbroadcast(of_terms(np.matmul, g, np.swapaxes(y, -1, -2)), x.shape)),
        (v, lambda g: unbroadcast(of_terms(lambda g, x: np.swapaxes(x, -1, -2) @ g, g, x), y.shape))])
    if a.value.ndim == 1 or b.value.ndim == 1:
        lead = out.shape[:-2]
        kept = (*(out.shape[-2:-1] if a.value.ndim > 1 else ()), *(out.shape[-1:] if b.value.ndim > 1 else ()))
        out = reshape(out, lead + kept)
    return out


def dot(a, b):
    return matmul(a, b)


def outer(a, b):
    return multiply(reshape(a, (-1, 1)), reshape(b, (1, -1)))


def linear(x, weight, bias=None):
    y = matmul(x, transpose(weight))
    return y if bias is None else add(y, bias)


def cumprod(a, axis):
    parts = split(a, as_var(a).shape[axis], axis)
    found = parts[:1]
    for part in parts[1:]:
        found.append(multiply(found[-1], part))
    return concatenate(found, axis)
