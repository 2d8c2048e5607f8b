"""Products of vectors and tensors, made of matrix products; powers and chains of matrices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import ArgumentError, ShapeError
from ..tensor.recording import as_tensor, lift
from ..tensor.tensor import Tensor
from .apply import as_given
from .factorizations import inv, matrices, solve
from .formulas import multiply, subtract
from .layout import expand_dims, moveaxis, one_axis, permute, reshape, stack
from .linalg import matmul

__all__ = ["cross", "inner", "kron", "matvec", "tensordot", "vdot", "vecdot", "vecmat"]


def inner(a: Any, b: Any) -> Tensor:
    """Sum of products over the last axes of both: (..., k) and (..., k) make the axes of `a`, then those of `b`.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.inner([1.0, 2.0], [[3.0, 4.0], [5.0, 6.0]])
    tensor([11., 17.])
    """
    u, v = as_given(as_tensor(a), b)
    if u.ndim == 0 or v.ndim == 0:
        return multiply(u, v)
    if u.shape[-1] != v.shape[-1]:
        raise ShapeError(f"inner: the last axes of shapes {list(u.shape)} and {list(v.shape)} differ")
    return tensordot(u, v, (-1, -1))


def vdot(a: Any, b: Any) -> Tensor:
    """Sum of products of all elements, in C order."""
    u, v = as_given(as_tensor(a), b)
    if u.size != v.size:
        raise ShapeError(f"vdot: {u.size} elements and {v.size} (shapes {list(u.shape)} and {list(v.shape)})")
    return matmul(reshape(u, (u.size,)), reshape(v, (v.size,)))


def _row(name: str, x: Any, axis: int = -1) -> Tensor:
    """`x` with an axis at the end."""
    t = as_tensor(x)
    if t.ndim == 0:
        raise ShapeError(f"{name}: a number is no vector")
    return t if axis == -1 else moveaxis(t, one_axis(axis, t.ndim, name), -1)


def vecdot(x1: Any, x2: Any, axis: int = -1, *, dim: int | None = None) -> Tensor:
    """Sum of products along one axis, the others broadcast; `dim` is an alias of `axis`.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.vecdot([[1.0, 2.0], [3.0, 4.0]], [1.0, 1.0])
    tensor([3., 7.])
    """
    u, v = (_row("vecdot", x, axis if dim is None else dim) for x in (x1, x2))
    y = matmul(expand_dims(u, -2), expand_dims(v, -1))
    return reshape(y, y.shape[:-2])


def matvec(x1: Any, x2: Any) -> Tensor:
    """Matrices (..., n, k) times vectors (..., k), leading axes broadcast: (..., n)."""
    y = matmul(x1, expand_dims(_row("matvec", x2), -1))
    return reshape(y, y.shape[:-1])


def vecmat(x1: Any, x2: Any) -> Tensor:
    """Vectors (..., n) times matrices (..., n, k), leading axes broadcast: (..., k)."""
    y = matmul(expand_dims(_row("vecmat", x1), -2), x2)
    return reshape(y, (*y.shape[:-2], y.shape[-1]))


def tensordot(a: Any, b: Any, axes: Any = 2, *, dims: Any = None) -> Tensor:
    """Sum of products over axes of both.

    Parameters
    ----------
    a, b : array_like
    axes : int, or pair of int or of sequences of int
        So many last axes of `a` with as many first ones of `b`, or the axes of `a` and those of `b`. `dims` is
        PyTorch's name.

    Returns
    -------
    Tensor
        The other axes of `a`, then those of `b`.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.tensordot([[1.0, 2.0], [3.0, 4.0]], [[1.0, 2.0], [3.0, 4.0]])
    tensor(30.)
    """
    u, v = as_given(as_tensor(a), b)
    chosen = axes if dims is None else dims
    if isinstance(chosen, (int, np.integer)):
        count = int(chosen)
        if not 0 <= count <= min(u.ndim, v.ndim):
            raise ArgumentError(f"tensordot: {count} axes of shapes {list(u.shape)} and {list(v.shape)}")
        of_a, of_b = list(range(u.ndim - count, u.ndim)), list(range(count))
    else:
        pair = [[part] if isinstance(part, (int, np.integer)) else list(part) for part in chosen]
        if len(pair) != 2 or len(pair[0]) != len(pair[1]):
            raise ArgumentError(f"tensordot: axes are a number, or as many of one tensor as of the other, not {chosen}")
        of_a, of_b = ([one_axis(int(d), t.ndim, "tensordot") for d in part] for part, t in zip(pair, (u, v)))
    if [u.shape[d] for d in of_a] != [v.shape[d] for d in of_b] or len(set(of_a)) + len(set(of_b)) != 2 * len(of_a):
        raise ShapeError(f"tensordot: axes {of_a} of shape {list(u.shape)} and axes {of_b} of shape {list(v.shape)} do "
                         "not fit")
    left, right = ([d for d in range(t.ndim) if d not in part] for t, part in ((u, of_a), (v, of_b)))
    shape = [u.shape[d] for d in left], [v.shape[d] for d in right]
    summed = math.prod(u.shape[d] for d in of_a)
    y = matmul(reshape(permute(u, (*left, *of_a)), (math.prod(shape[0]), summed)),
               reshape(permute(v, (*of_b, *right)), (summed, math.prod(shape[1]))))
    return reshape(y, (*shape[0], *shape[1]))


def kron(a: Any, b: Any) -> Tensor:
    """Kronecker product: each element of `a` times all of `b`, in blocks.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.kron([1.0, 10.0], [1.0, 2.0])
    tensor([ 1.,  2., 10., 20.])
    """
    u, v = as_given(as_tensor(a), b)
    ndim = max(u.ndim, v.ndim)
    m, n = ((1,) * (ndim - t.ndim) + t.shape for t in (u, v))
    y = multiply(reshape(u, [k for pair in zip(m, (1,) * ndim) for k in pair]),
                 reshape(v, [k for pair in zip((1,) * ndim, n) for k in pair]))
    return reshape(y, tuple(p * q for p, q in zip(m, n)))


def cross(a: Any, b: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: int | None = None, *,
          dim: int | None = None) -> Tensor:
    """Cross product of vectors of three elements, or of two, whose third is 0; other axes broadcast.

    Parameters
    ----------
    a, b : array_like
    axisa, axisb, axisc : int, default -1
        The axes of the vectors, and that of the result.
    axis : int, optional
        All three; `dim` is an alias.

    Returns
    -------
    Tensor
        Without `axisc` where both have two elements: the third component.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.cross([1.0, 0.0, 0.0], [0.0, 1.0, 0.0])
    tensor([0., 0., 1.])
    """
    one = axis if dim is None else dim
    axisa, axisb, axisc = (axisa, axisb, axisc) if one is None else (one, one, one)
    u, v = as_given(as_tensor(a), b)
    u, v = _row("cross", u, axisa), _row("cross", v, axisb)
    if u.shape[-1] not in (2, 3) or v.shape[-1] not in (2, 3):
        raise ShapeError(f"cross: vectors of 2 or 3 elements, not of {u.shape[-1]} and {v.shape[-1]} (shapes "
                         f"{list(u.shape)} and {list(v.shape)})")

    def minor(p: int, q: int) -> Tensor:
        """u_p v_q - u_q v_p, of elements that there are."""
        terms = [multiply(u[..., i], v[..., j]) if i < u.shape[-1] and j < v.shape[-1] else None
                 for i, j in ((p, q), (q, p))]
        if terms[0] is None or terms[1] is None:
            return -terms[1] if terms[0] is None and terms[1] is not None else terms[0]  # type: ignore[return-value]
        return subtract(terms[0], terms[1])

    if u.shape[-1] == v.shape[-1] == 2:
        return minor(0, 1)
    return stack([minor(1, 2), minor(2, 0), minor(0, 1)], axisc)


# ------------------------------------------------------------------ powers and chains


def matrix_power(a: Any, n: int) -> Tensor:
    """The product of `n` equal square matrices (..., m, m), of their inverses for negative `n`; by repeated squaring.

    Of integers exact, unless `n` is negative.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.linalg.matrix_power([[1.0, 1.0], [0.0, 1.0]], 5)
    tensor([[1., 5.],
            [0., 1.]])
    """
    if not isinstance(n, (int, np.integer)):
        raise ArgumentError(f"matrix_power: the exponent must be an integer, not {n!r}")
    t = matrices("matrix_power", a, square=True, exact=n >= 0)
    if n == 0:
        return Tensor(np.broadcast_to(np.eye(t.shape[-1], dtype=t.dtype), t.shape).copy())
    square, left, result = inv(t) if n < 0 else t, abs(int(n)), None
    while True:
        if left % 2:
            result = square if result is None else matmul(result, square)
        left //= 2
        if not left:
            assert result is not None
            return result
        square = matmul(square, square)


def multi_dot(arrays: Sequence[Any]) -> Tensor:
    """The product of several matrices, in the order that takes the fewest multiplications.

    Parameters
    ----------
    arrays : sequence of array_like
        Matrices; the first and the last may be vectors, a row and a column.

    Returns
    -------
    Tensor
        Without the axes that vectors lack.

    Notes
    -----
    The order is found by dynamic programming (Cormen et al., Introduction to Algorithms, section 14.2).
    """
    parts = as_given(*arrays)
    if len(parts) < 2:
        raise ArgumentError(f"multi_dot: at least two matrices, not {len(parts)}")
    if any(t.ndim != 2 for t in parts[1:-1]) or any(t.ndim not in (1, 2) for t in (parts[0], parts[-1])):
        raise ShapeError("multi_dot: matrices, and vectors at the ends, not shapes "
                         + ", ".join(str(list(t.shape)) for t in parts))
    row, column = parts[0].ndim == 1, parts[-1].ndim == 1
    parts[0] = expand_dims(parts[0], 0) if row else parts[0]
    parts[-1] = expand_dims(parts[-1], 1) if column else parts[-1]
    for left, right in zip(parts, parts[1:]):
        if left.shape[1] != right.shape[0]:
            raise ShapeError(f"multi_dot: {left.shape[1]} columns do not fit {right.shape[0]} rows (shapes "
                             + ", ".join(str(list(t.shape)) for t in parts) + ")")
    y = _chained(parts)
    kept = tuple(n for n, gone in zip(y.shape, (row, column)) if not gone)
    return reshape(y, kept) if row or column else y


def _chained(parts: Sequence[Tensor]) -> Tensor:
    sizes = [parts[0].shape[0], *(t.shape[1] for t in parts)]
    count = len(parts)
    cost, cut = np.zeros((count, count)), np.zeros((count, count), int)
    for length in range(1, count):
        for i in range(count - length):
            j = i + length
            costs = [cost[i, k] + cost[k + 1, j] + float(sizes[i]) * sizes[k + 1] * sizes[j + 1] for k in range(i, j)]
            cut[i, j] = i + int(np.argmin(costs))
            cost[i, j] = min(costs)

    def product(i: int, j: int) -> Tensor:
        return parts[i] if i == j else matmul(product(i, int(cut[i, j])), product(int(cut[i, j]) + 1, j))

    return product(0, count - 1)


# ------------------------------------------------------------------ tensors as matrices


def tensorinv(a: Any, ind: int = 2) -> Tensor:
    """The inverse of ``tensordot(a, ., ind)``, whose first `ind` extents have the product of the others."""
    t = lift(a)[0]
    rows = math.prod(t.shape[:ind]) if ind > 0 else 0
    if ind <= 0 or rows * math.prod(t.shape[ind:]) != rows * rows:
        raise ShapeError(f"tensorinv: the first {ind} extents of {list(t.shape)} must have the product of the others")
    return reshape(inv(reshape(t, (rows, rows))), (*t.shape[ind:], *t.shape[:ind]))


def tensorsolve(a: Any, b: Any, axes: Sequence[int] | None = None, *, dims: Sequence[int] | None = None) -> Tensor:
    """The solution x of ``tensordot(a, x, x.ndim) = b``; `axes` of `a` are moved to its end first, PyTorch's `dims`."""
    u, v = lift(a, b)
    moved = axes if dims is None else dims
    if moved is not None:
        ends = [one_axis(d, u.ndim, "tensorsolve") for d in moved]
        u = permute(u, (*(d for d in range(u.ndim) if d not in ends), *ends))
    shape = u.shape[v.ndim:]
    if math.prod(shape) != v.size or u.shape[:v.ndim] != v.shape:
        raise ShapeError(f"tensorsolve: shapes {list(u.shape)} and {list(v.shape)} do not fit: the extents behind "
                         "those of the right-hand side must have their product")
    return reshape(solve(reshape(u, (v.size, v.size)), reshape(v, (v.size,))), shape)
