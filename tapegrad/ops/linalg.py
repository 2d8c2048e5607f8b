"""Matrix products.

A product over so many terms that it is summed in blocks has a form with one more operand: scratch for the totals.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ..engine.language import device
from ..engine.products.blas import column_sums, gemm_and_row, long_gemm
from ..engine.row import At, Input, Nest, Output, Row, Words, absent, contiguous
from .nest import column_stride, row_offset
from .table import Op


class Products(Words):
    """One product for each matrix of a batch."""

    gemm: int
    m: int
    n: int
    k: int
    ta: bool  # whether a's memory is transposed
    lda: int  # its leading stride
    tb: bool
    ldb: int
    batch: Nest = Nest.over("y", "a", "b")


class Matmul(Row):
    y: Output
    a: Input
    b: Input
    products: Products


class LongMatmul(Row):
    y: Output
    a: Input
    b: Input
    scratch: Input
    products: Products


@device
def matmul(op: Matmul, f: Any, at: At[Products], scratch: int) -> int:
    """`matmul_forward` of a row whose products are at `at`."""
    status, batch = 0, at.batch
    m, n, k = at.m, at.n, at.k
    for row in range(at.batch.rows):
        y, u, v = row_offset(op, batch, 0, row), row_offset(op, batch, 1, row), row_offset(op, batch, 2, row)
        for column in range(at.batch.columns):
            status |= long_gemm(at.gemm, at.ta, at.tb, m, n, k, op.a + u + column * column_stride(op, batch, 1), at.lda,
                                op.b + v + column * column_stride(op, batch, 2), at.ldb, 0,
                                op.y + y + column * column_stride(op, batch, 0), n, scratch, f)
    return status


@device
def matmul_adjoints(op: Matmul, f: Any, at: At[Products], scratch: int) -> int:
    """`matmul_adjoint` of a row whose products are at `at`."""
    status, batch = 0, at.batch
    m, n, k, ta, tb, routine = at.m, at.n, at.k, at.ta, at.tb, at.gemm
    lda, ldb = at.lda, at.ldb
    add_a, add_b = 0 if op.stores.a else 1, 0 if op.stores.b else 1
    for row in range(at.batch.rows):
        to_y, to_a, to_b = row_offset(op, batch, 0, row), row_offset(op, batch, 1, row), row_offset(op, batch, 2, row)
        for column in range(at.batch.columns):
            y = op.g + to_y + column * column_stride(op, batch, 0)
            u, v = to_a + column * column_stride(op, batch, 1), to_b + column * column_stride(op, batch, 2)
            if op.d.a != 0:
                if ta == 0:
                    status |= long_gemm(routine, 0, 1 - tb, m, k, n, y, n, op.b + v, ldb, add_a, op.d.a + u, lda,
                                        scratch, f)
                else:
                    status |= long_gemm(routine, tb, 1, k, m, n, op.b + v, ldb, y, n, add_a, op.d.a + u, lda, scratch,
                                        f)
            if op.d.b != 0:
                if tb == 0:
                    status |= long_gemm(routine, 1 - ta, 0, k, n, m, op.a + u, lda, y, n, add_b, op.d.b + v, ldb,
                                        scratch, f)
                else:
                    status |= long_gemm(routine, 1, ta, n, k, m, y, n, op.a + u, lda, add_b, op.d.b + v, ldb, scratch,
                                        f)
    return status


def matmul_forward(op: Matmul, f: Any, i: Any, b: Any) -> int:
    """Y = A B, for each matrix of the batch."""
    return matmul(op, f, op.products, 0)


def matmul_adjoint(op: Matmul, f: Any, i: Any, b: Any) -> int:
    """dA += dY B^T, dB += A^T dY; transposed where the memory is."""
    return matmul_adjoints(op, f, op.products, 0)


def long_matmul_forward(op: LongMatmul, f: Any, i: Any, b: Any) -> int:
    """`matmul_forward` with scratch."""
    return matmul(op, f, op.products, op.scratch)


def long_matmul_adjoint(op: LongMatmul, f: Any, i: Any, b: Any) -> int:
    """`matmul_adjoint` with scratch."""
    return matmul_adjoints(op, f, op.products, op.scratch)


def matmul_products(shapes: Sequence[tuple[int, ...]]) -> int:
    """Products of as many pairs as there are terms."""
    return math.prod(shapes[0]) * shapes[1][-1]


def matmul_to_a(r: Any, g: Any, t: Any) -> Any:
    """dA = dY B^T."""
    return t.matmul(g, t.swapaxes(r.b, -1, -2))


def matmul_to_b(r: Any, g: Any, t: Any) -> Any:
    """dB = A^T dY; where all of a batch is multiplied by one B, as one product."""
    a = r.a
    if len(r.shape_of("b")) == 2 and a.ndim > 2:
        a, g = (t.reshape(x, (math.prod(x.shape[:-1]), x.shape[-1])) for x in (a, g))
    return t.matmul(t.swapaxes(a, -1, -2), g)


def matmul_each(r: Any, t: Any) -> Any:
    """The batch as one more axis of the matrices'; one matrix A with a column of each is one product: (B A^T)^T."""
    if not r.has_axis("a") and r.a.ndim == r.b.ndim - 1 == 2 and r.b.shape[-1] == 1:
        return t.matmul(r.b[..., 0], t.swapaxes(r.a, 0, 1))
    ndim = len(r.call.shape)
    a, b = (t.expand_dims(x, tuple(range(1, 1 + missing))) if missing else x for x, missing in (
        (x, ndim + 1 - x.ndim if r.has_axis(name) else 0) for name, x in (("a", r.a), ("b", r.b))))
    return t.matmul(a, b)


_MATMUL = {"a": matmul_to_a, "b": matmul_to_b}
_MATMUL_TANGENT = {"a": lambda r, d, t: t.matmul(d, r.b), "b": lambda r, d, t: t.matmul(r.a, d)}
MATMUL = Op("matmul", matmul_forward, matmul_adjoint, row=Matmul, saves={"a": "b", "b": "a"}, stores=True,
            doc="matrix products over a batch", products=matmul_products, composition=_MATMUL,
            tangent=_MATMUL_TANGENT, batching=matmul_each)
LONG_MATMUL = Op("matmul", long_matmul_forward, long_matmul_adjoint, row=LongMatmul,
                 saves={"a": "b scratch", "b": "a scratch"}, stores=True, doc=MATMUL.doc, products=matmul_products,
                 form="long", composition=_MATMUL, tangent=_MATMUL_TANGENT, batching=matmul_each)


class LinearMap(Words):
    gemm: int
    m: int  # rows
    n: int  # features of y
    k: int  # of x
    has_bias: bool


class Linear(Row):
    y: Output
    x: Input = contiguous
    w: Input = contiguous
    bias: Input = contiguous | absent
    map: LinearMap


class LongLinear(Row):
    y: Output
    x: Input = contiguous
    w: Input = contiguous
    bias: Input = contiguous | absent
    scratch: Input = contiguous
    map: LinearMap


@device
def linear(op: Linear, f: Any, at: At[LinearMap], scratch: int) -> int:
    """`linear_forward` of a row whose map is at `at`."""
    return gemm_and_row(at.gemm, at.m, at.n, at.k, op.x, op.w, op.bias if at.has_bias != 0 else 0, op.y, scratch, f)


@device
def linear_adjoints(op: Linear, f: Any, at: At[LinearMap], scratch: int) -> int:
    """`linear_adjoint` of a row whose map is at `at`."""
    status = 0
    m, n, k, routine = at.m, at.n, at.k, at.gemm
    if op.d.x != 0:
        status |= long_gemm(routine, 0, 0, m, k, n, op.g, n, op.w, k, 0 if op.stores.x else 1, op.d.x, k, scratch,
                            f)
    if op.d.w != 0:
        status |= long_gemm(routine, 1, 0, n, k, m, op.g, n, op.x, k, 0 if op.stores.w else 1, op.d.w, k, scratch,
                            f)
    if op.d.bias != 0:
        status |= column_sums(routine, m, n, op.g, 0 if op.stores.bias else 1, op.d.bias, f)
    return status


def linear_forward(op: Linear, f: Any, i: Any, b: Any) -> int:
    """Y = X W^T + b."""
    return linear(op, f, op.map, 0)


def linear_adjoint(op: Linear, f: Any, i: Any, b: Any) -> int:
    """dX += dY W, dW += dY^T X, db += sum of the rows of dY."""
    return linear_adjoints(op, f, op.map, 0)


def long_linear_forward(op: LongLinear, f: Any, i: Any, b: Any) -> int:
    """`linear_forward` with scratch."""
    return linear(op, f, op.map, op.scratch)


def long_linear_adjoint(op: LongLinear, f: Any, i: Any, b: Any) -> int:
    """`linear_adjoint` with scratch."""
    return linear_adjoints(op, f, op.map, op.scratch)


def linear_to_w(r: Any, g: Any, t: Any) -> Any:
    """dW = dY^T X."""
    x, g = (t.reshape(a, (math.prod(a.shape[:-1]), a.shape[-1])) for a in (r.x, g))
    return t.matmul(t.swapaxes(g, 0, 1), x)


def linear_each(r: Any, t: Any) -> Any:
    """All of the batch through one W; of a W each, the loop over the op itself adds its b on the way."""
    if r.has_axis("w"):
        return None
    biased = r.map.has_bias
    if not biased or not r.has_axis("bias"):
        return t.linear(r.x, r.w, r.bias if biased else None)
    features = r.w.shape[0]
    b = t.reshape(r.bias, (r.size, *(1,) * (len(r.call.shape) - 1), features))
    return t.linear(r.x, r.w) + b


def linear_along(r: Any, moved: Mapping[str, Any], t: Any) -> Any:
    """dY = X dW^T + dX W^T + db, which is added on the way."""
    d, bias, y = moved.get("x"), moved.get("bias"), None
    if "w" in moved:
        y, bias = t.linear(r.x, moved["w"], bias), None
    if d is None:
        return bias if y is None else y
    z = t.linear(d, r.w, bias)
    return z if y is None else y + z


_LINEAR = {"x": lambda r, g, t: t.matmul(g, r.w), "w": linear_to_w, "bias": lambda r, g, t: g}
LINEAR = Op("linear", linear_forward, linear_adjoint, row=Linear, saves={"x": "w", "w": "x"}, stores=True,
            doc="x W^T + b", in_turn=True, products=matmul_products, composition=_LINEAR, tangent=linear_along,
            batching=linear_each)
LONG_LINEAR = Op("linear", long_linear_forward, long_linear_adjoint, row=LongLinear,
                 saves={"x": "w scratch", "w": "x scratch"}, stores=True, doc=LINEAR.doc, in_turn=True,
                 products=matmul_products, form="long", composition=_LINEAR, tangent=linear_along,
                 batching=linear_each)
