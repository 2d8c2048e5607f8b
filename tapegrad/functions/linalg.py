"""Products of vectors, matrices and batches of matrices; einsum."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

from ..engine.products.product import STRETCH, gemm_address, scratch_elements
from ..engine.storage import contiguous_strides
from ..errors import ArgumentError, ShapeError
from ..ops.blocks import SHORT
from ..ops.linalg import LINEAR, LONG_LINEAR, LONG_MATMUL, MATMUL, LinearMap, Products
from ..ops.nest import broadcast_strides, nest
from ..tensor.arrays import BOOL
from ..tensor.recording import lift, record
from ..tensor.tensor import Tensor, constant, view
from .apply import as_given
from .elementwise import contiguous
from .formulas import multiply
from .integers import integers, recorded, to_bool, to_int64
from .layout import expand_dims, permute, reshape
from .reductions import sum as sum_over
from .scratch import scratch

__all__ = [
    "dot", "einsum", "linear", "matmul", "outer",
]


def _matrix_layout(t: Tensor) -> tuple[int, int] | None:
    """Whether the last two axes are transposed in memory, and the leading dimension; None if BLAS cannot read them."""
    (m, n), (row, column) = t.shape[-2:], t.strides[-2:]
    if (column == 1 or n <= 1) and (row >= max(n, 1) or m <= 1):
        return 0, row if m > 1 else max(n, 1)
    if (row == 1 or m <= 1) and (column >= max(m, 1) or n <= 1):
        return 1, column if n > 1 else max(m, 1)
    return None


def _readable(t: Tensor) -> tuple[Tensor, int, int]:
    layout = _matrix_layout(t)
    if layout is None:
        t = contiguous(t)
        layout = 0, max(t.shape[-1], 1)
    return t, *layout


def matmul(a: Any, b: Any) -> Tensor:
    """Matrix product, for every shape that ``numpy.matmul`` takes.

    Parameters
    ----------
    a : array_like, (..., m, k) or (k,)
    b : array_like, (..., k, n) or (k,)
        Leading axes broadcast.

    Returns
    -------
    Tensor, (..., m, n)
        Without the axes that 1-D operands lack. Of integers exact.
    """
    whole = integers(a, b)
    a, b = lift(a, b)
    if a.ndim == 0 or b.ndim == 0:
        raise ShapeError(f"matmul: shapes {list(a.shape)} and {list(b.shape)}: 0-d operands are not allowed; use *")
    u = expand_dims(a, 0) if a.ndim == 1 else a
    v = expand_dims(b, 1) if b.ndim == 1 else b
    if u.shape[-1] != v.shape[-2]:
        raise ShapeError(f"matmul: shapes {list(a.shape)} and {list(b.shape)} do not fit: {u.shape[-1]} columns and "
                         f"{v.shape[-2]} rows")
    try:
        batch = np.broadcast_shapes(u.shape[:-2], v.shape[:-2])
    except ValueError:
        raise ShapeError(f"matmul: leading axes of {list(a.shape)} and {list(b.shape)} do not broadcast") from None
    if whole is not None:
        return product_of_integers(*whole)
    u, ta, lda = _readable(u)
    v, tb, ldb = _readable(v)
    m, k, n = u.shape[-2], u.shape[-1], v.shape[-1]
    shape = (*batch, m, n)
    to_a = broadcast_strides(u.shape[:-2], u.strides[:-2], batch)
    to_b = broadcast_strides(v.shape[:-2], v.strides[:-2], batch)
    added = 2 * _repeats(to_a, batch) + 4 * _repeats(to_b, batch)
    rows, outer = m, (contiguous_strides(shape)[:-2], to_a, to_b)
    if batch and ta == 0 and not any(to_b) and u.shape[:-2] == batch and u.strides == contiguous_strides(u.shape):
        rows, batch, outer, added = math.prod(batch) * m, (), ((), (), ()), 0  # all are rows of one matrix
    op, operands = MATMUL, [u, v]
    if max(rows, n, k) > STRETCH:
        for_a, for_b = ((k, rows) if ta else (rows, k)), ((n, k) if tb else (k, n))
        if needed := _totals((rows, n, k), (*for_a, n), (*for_b, rows)):
            op, operands = LONG_MATMUL, [u, v, scratch(LONG_MATMUL, needed, u, v)]
    words = Products.words(gemm=gemm_address(u.dtype), m=rows, n=n, k=k, ta=ta, lda=lda, tb=tb, ldb=ldb,
                           batch=nest(batch, outer))
    y = record(op, operands, shape, words, dtype=u.dtype, added=added)
    if a.ndim == 1 or b.ndim == 1:
        kept = (*shape[:-2], *((m,) if a.ndim > 1 else ()), *((n,) if b.ndim > 1 else ()))
        y = view(y, 0, kept, contiguous_strides(kept))
    return y


def product_of_integers(a: Tensor, b: Tensor) -> Tensor:
    """``a @ b`` of integers, exact, as ``numpy.matmul``."""
    if not recorded(a, b):
        return Tensor(np.asarray(np.matmul(a._array(), b._array())))
    u = expand_dims(a, 0) if a.ndim == 1 else a
    v = expand_dims(b, 1) if b.ndim == 1 else b
    if min(a.ndim, b.ndim) == 0 or u.shape[-1] != v.shape[-2]:
        raise ShapeError(f"matmul: shapes {list(a.shape)} and {list(b.shape)} do not fit")
    y = sum_over(multiply(expand_dims(u, -1), expand_dims(v, -3)), -2)
    y = to_bool(y) if a.dtype == b.dtype == BOOL else y
    kept = (*y.shape[:-2], *y.shape[-2:][:a.ndim > 1], *y.shape[-1:][:b.ndim > 1])
    return reshape(y, kept)


def _totals(*products: tuple[int, int, int]) -> int:
    """Elements of a workspace that serves each of the products."""
    return max([scratch_elements(m, n, k) for m, n, k in products])


def _repeats(strides: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    return any(s == 0 and n != 1 for s, n in zip(strides, shape))


def linear(x: Any, weight: Any, bias: Any = None) -> Tensor:
    """``x W^T + b``, one fused instruction.

    Parameters
    ----------
    x : array_like, (..., in)
    weight : array_like, (out, in)
    bias : array_like, (out,), optional

    Returns
    -------
    Tensor, (..., out)
    """
    if bias is None:
        x, w = lift(x, weight)
        bias_operand = constant(0.0, w.dtype)
    else:
        x, w, bias_operand = lift(x, weight, bias)
    if x.ndim == 0 or w.ndim != 2 or x.shape[-1] != w.shape[1]:
        raise ShapeError(f"linear: input {list(x.shape)} does not fit weight {list(w.shape)} (out, in): the last axis "
                         "of the input must be the weight's second")
    if bias is not None and bias_operand.shape != (w.shape[0],):
        raise ShapeError(f"linear: bias {list(bias_operand.shape)} does not fit weight {list(w.shape)} (out, in)")
    n, k = w.shape
    m = math.prod(x.shape[:-1])
    op, operands = LINEAR, [x, w, bias_operand]
    if (m > STRETCH or n > STRETCH or k > STRETCH) and (needed := _totals((m, n, k), (m, k, n), (n, k, m))):
        op, operands = LONG_LINEAR, [*operands, scratch(LONG_LINEAR, needed, *operands)]
    words = LinearMap.words(gemm=gemm_address(w.dtype), m=m, n=n, k=k, has_bias=bias is not None)
    return record(op, operands, (*x.shape[:-1], n), words, dtype=w.dtype)


def dot(a: Any, b: Any) -> Tensor:
    """``numpy.dot``: inner product of vectors, product of matrices, else the last axis of `a` with the last but one
    of `b`. Of integers exact."""
    a, b = as_given(a, b)
    if a.ndim == 0 or b.ndim == 0:
        return multiply(a, b)
    if a.ndim <= 2 and b.ndim <= 2:
        return matmul(a, b)
    if b.ndim == 1:
        return matmul(a, b)
    if a.shape[-1] != b.shape[-2]:
        raise ShapeError(f"dot: shapes {list(a.shape)} and {list(b.shape)} do not fit")
    rest = (*b.shape[:-2], b.shape[-1])
    order = (b.ndim - 2, *range(b.ndim - 2), b.ndim - 1)
    flat = matmul(reshape(a, (math.prod(a.shape[:-1]), a.shape[-1])),
                  reshape(permute(b, order), (b.shape[-2], math.prod(rest))))
    return reshape(flat, (*a.shape[:-1], *rest))


def outer(a: Any, b: Any) -> Tensor:
    """Product of every element of `a` with every element of `b`: (a.size, b.size)."""
    a, b = as_given(a, b)
    return multiply(reshape(a, (a.size, 1)), reshape(b, (1, b.size)))


# ------------------------------------------------------------------ einsum


@lru_cache(maxsize=256)
def _parse(subscripts: str, ranks: tuple[int, ...]) -> tuple[tuple[str, ...], str]:
    """Letters of each operand and of the result; an ellipsis becomes upper-case letters not used otherwise."""
    text = subscripts.replace(" ", "")
    left, arrow, right = text.partition("->")
    terms = left.split(",")
    if len(terms) != len(ranks):
        raise ArgumentError(f"einsum: {subscripts!r} names {len(terms)} operands, {len(ranks)} are given")
    spare = [c for c in "ZYXWVUTSRQPONMLKJIHGFEDCBA" if c not in text]
    broadcast = max((r - len(t.replace("...", "")) for t, r in zip(terms, ranks) if "..." in t), default=0)
    letters = "".join(reversed(spare[:broadcast]))
    full = []
    for term, rank in zip(terms, ranks):
        named = term.replace("...", "")
        count = rank - len(named)
        if not named.isalpha() and named or count < 0 or (count and "..." not in term):
            raise ArgumentError(f"einsum: {term!r} in {subscripts!r} does not fit an operand of {rank} axes")
        full.append(term.replace("...", letters[len(letters) - count:]))
    if arrow:
        result = right.replace("...", letters)
    else:
        joined = "".join(full)
        result = letters + "".join(sorted(c for c in set(joined) - set(letters) if joined.count(c) == 1))
    if len(set(result)) != len(result) or not set(result) <= set("".join(full)):
        raise ArgumentError(f"einsum: the output of {subscripts!r} must name each of its letters once, and only "
                            "letters of the operands")
    return tuple(full), result


def _diagonal(t: Tensor, term: str) -> tuple[Tensor, str]:
    """Diagonals for repeated letters of an operand: a view."""
    letters = "".join(dict.fromkeys(term))
    if letters == term:
        return t, term
    shape, strides = [], []
    for c in letters:
        places = [d for d, other in enumerate(term) if other == c]
        if len({t.shape[d] for d in places}) != 1:
            raise ShapeError(f"einsum: axes {c!r} of one operand have extents {[t.shape[d] for d in places]}")
        shape.append(t.shape[places[0]])
        strides.append(sum(t.strides[d] for d in places))
    return view(t, 0, tuple(shape), tuple(strides)), letters


def _summed(t: Tensor, term: str, keep: str) -> tuple[Tensor, str]:
    """Sum over the letters that occur nowhere else."""
    axes = tuple(d for d, c in enumerate(term) if c not in keep)
    return (sum_over(t, axes), "".join(c for c in term if c in keep)) if axes else (t, term)


def _pair(a: Tensor, s: str, b: Tensor, t: str, keep: str) -> tuple[Tensor, str]:
    """Contract two operands by one batched matrix product; elementwise where all are short dot products."""
    a, s = _summed(a, s, keep + t)
    b, t = _summed(b, t, keep + s)
    batch = [c for c in s if c in t and c in keep]
    inner = [c for c in s if c in t and c not in keep]
    left, right = [c for c in s if c not in t], [c for c in t if c not in s]
    extent = {**dict(zip(t, b.shape)), **{c: n for c, n in zip(s, a.shape) if n != 1 or c not in t}}

    if not left and not right and batch and a.dtype.kind == "f" and math.prod(extent[c] for c in inner) < SHORT:
        order = batch + inner
        terms = multiply(permute(a, [s.index(c) for c in order]), permute(b, [t.index(c) for c in order]))
        return (sum_over(terms, tuple(range(len(batch), len(order)))) if inner else terms), "".join(batch)

    def arranged(x: Tensor, term: str, order: list[str], groups: tuple[list[str], ...]) -> Tensor:
        x = permute(x, [term.index(c) for c in order])
        full = tuple(extent[c] for c in order)
        if x.shape != full:
            from .layout import broadcast_to

            x = broadcast_to(x, full)
        return reshape(x, tuple(math.prod(extent[c] for c in g) for g in groups))

    p = arranged(a, s, batch + left + inner, (batch, left, inner))
    q = arranged(b, t, batch + inner + right, (batch, inner, right))
    y = matmul(p, q)
    letters = batch + left + right
    return reshape(y, tuple(extent[c] for c in letters)), "".join(letters)


def _lettered(operands: tuple[Any, ...]) -> tuple[str, tuple[Any, ...]]:
    """Subscripts, of operands followed each by a list of the numbers of its axes; the output's may come last."""
    lists = [list(given) for given in (*operands[1::2], *([operands[-1]] if len(operands) % 2 else []))]
    names = sorted({n for given in lists for n in given if n is not Ellipsis})
    if any(not isinstance(n, (int, np.integer)) or not 0 <= n < 52 for n in names):
        raise ArgumentError(f"einsum: axes are numbers from 0 to 51 and Ellipsis, not {names}")
    letter = {n: "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"[n] for n in names}
    terms = ["".join("..." if n is Ellipsis else letter[n] for n in given) for given in lists]
    if len(operands) % 2:
        return ",".join(terms[:-1]) + "->" + terms[-1], operands[:-1:2]
    return ",".join(terms), operands[::2]


def einsum(subscripts: Any, *operands: Any) -> Tensor:
    """Sum of products in Einstein's notation, as ``numpy.einsum``; explicit or implicit output, ellipsis, diagonals.

    Parameters
    ----------
    subscripts : str
        Or the first operand: then each is followed by a list of the numbers of its axes, from 0 to 51, or Ellipsis, and
        the last list may be the output's.
    *operands : array_like
        Or one list of them, as PyTorch takes it.

    Returns
    -------
    Tensor

    Notes
    -----
    Operands are contracted in pairs, in the order that ``numpy.einsum_path`` finds, each a batched matrix product, or
    elementwise where that would be of single elements, each a sum of less than 64.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.einsum("ij,j->i", [[1.0, 2.0], [3.0, 4.0]], [1.0, 1.0])
    tensor([3., 7.])
    >>> tg.einsum([[1.0, 2.0], [3.0, 4.0]], [0, 1], [1.0, 1.0], [1], [0])
    tensor([3., 7.])
    """
    if not isinstance(subscripts, str):
        if len(operands) < 1 or not all(isinstance(given, (list, tuple)) for given in operands[::2]):
            raise ArgumentError("einsum: the first argument is the subscripts string, or each operand is followed by a "
                                "list of the numbers of its axes")
        subscripts, operands = _lettered((subscripts, *operands))
    elif len(operands) == 1 and isinstance(operands[0], (list, tuple)) and "," in subscripts:
        operands = tuple(operands[0])
    whole = integers(*operands) if operands else None
    tensors = [to_int64(t) for t in whole] if whole is not None else lift(*operands) if operands else []
    terms, result = _parse(subscripts, tuple(t.ndim for t in tensors))
    extents: dict[str, int] = {}
    for t, term in zip(tensors, terms):
        for c, n in zip(term, t.shape):
            if extents.setdefault(c, n) != n and 1 not in (extents[c], n):
                raise ShapeError(f"einsum: {c!r} in {subscripts!r} is {extents[c]} in one operand and {n} in another "
                                 f"(shapes {', '.join(str(list(x.shape)) for x in tensors)})")
            extents[c] = max(extents[c], n) if 1 in (extents[c], n) and 0 not in (extents[c], n) else extents[c]
    parts = [_diagonal(t, term) for t, term in zip(tensors, terms)]
    if len(parts) > 2:
        dummies = [np.broadcast_to(np.float32(0), tuple(extents[c] for c in term)) for _, term in parts]
        explicit = ",".join(term for _, term in parts) + "->" + result
        path = np.einsum_path(explicit, *dummies, optimize="greedy")[0][1:]
    else:
        path = [tuple(range(len(parts)))]
    for step in path:
        chosen = [parts[k] for k in step]
        parts = [p for k, p in enumerate(parts) if k not in step]
        while len(chosen) > 1:
            (a, s), (b, t) = chosen[:2]
            others = "".join(term for _, term in parts + chosen[2:])
            chosen[:2] = [_pair(a, s, b, t, result + others)]
        parts.append(chosen[0])
    t, term = _summed(*parts[0], result)
    y = permute(t, [term.index(c) for c in result])
    if whole is not None:
        return to_bool(y) if all(t.dtype == BOOL for t in whole) else y
    return y if len(tensors) > 1 or y.node is not tensors[0].node else y + 0.0
