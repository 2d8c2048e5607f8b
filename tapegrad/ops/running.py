"""Products, running sums and products, and linear recurrences along the last axis of contiguous rows."""

from __future__ import annotations

from typing import Any

from ..engine.language import cast, device, wide
from ..engine.mathematics import vecmath as m
from ..engine.mathematics.sums import grown, parts_of_total, restored
from ..engine.row import Input, Output, Row, contiguous
from .reduction import INFINITY, accumulate, rows
from .table import Op

#: elements of a running sum of float64 numbers that are added up before they are added to what comes before
RUN = 32
#: elements of a row up to which products of all but one are multiplied out, for each by itself
MULTIPLIED = 256


def prod_row(f: Any, y: int, x: int, n: int, p: Any) -> int:
    result = wide(cast(1.0, f))  # a product may leave the range of float32 and return to it
    for k in range(n):
        result *= wide(f[x + k])
    f[y] = cast(result, f)
    return 0


def prod_row_adjoint(f: Any, y: int, g: int, x: int, dx: int, n: int, p: Any, store: bool) -> int:
    """dx_k += g * product of the others: y / x_k where that is safe, else multiplied out (zeros, overflow)."""
    result = f[y]
    size = m.abs(result)
    safe = size > 1e-30 and size < 1e30
    for k in range(n):
        others = wide(result / f[x + k]) if safe else multiplied_out(f, x, n, k)
        accumulate(f, dx + k, cast(wide(f[g]) * others, f), store)
    return 0


@device
def multiplied_out(f: Any, x: int, n: int, k: int) -> Any:
    """Product of all elements of a row but `k`, as a float64."""
    product = wide(cast(1.0, f))
    for j in range(n):
        product *= wide(f[x + j]) if j != k else 1.0
    return product


def others_row(f: Any, y: int, x: int, n: int, p: Any) -> int:
    """y_k = product of all x but x_k, as in `prod_row_adjoint`."""
    product = wide(cast(1.0, f))
    for k in range(n):
        product *= wide(f[x + k])
    size = m.abs(product)
    safe = size > 1e-30 and size < 1e30
    for k in range(n):
        f[y + k] = cast(product / wide(f[x + k]) if safe else multiplied_out(f, x, n, k), f)
    return 0


def others_row_adjoint(f: Any, y: int, g: int, x: int, dx: int, n: int, p: Any, store: bool) -> int:
    """dx_j += sum of g_k times the product of all x but x_j and x_k: s = s x_i + g_i p, p = p x_i over i but j."""
    for j in range(n):
        total, product = wide(cast(0.0, f)), wide(cast(1.0, f))
        for k in range(n):
            if k != j:
                total = total * wide(f[x + k]) + wide(f[g + k]) * product
                product *= wide(f[x + k])
        accumulate(f, dx + j, cast(total, f), store)
    return 0


def cumsum_row(f: Any, y: int, x: int, n: int, p: Any) -> int:
    total = wide(cast(0.0, f))
    if parts_of_total(f) == 1:
        for k in range(n):
            total += wide(f[x + k])
            f[y + k] = cast(total, f)
        return 0
    lost = total
    for first in range(0, n, RUN):
        before, part = restored(f, total, lost), wide(cast(0.0, f))
        for k in range(first, min(first + RUN, n)):
            part += wide(f[x + k])
            f[y + k] = cast(before + part, f)
        total, lost = grown(f, total, lost, part)
    return 0


def cumsum_row_adjoint(f: Any, y: int, g: int, x: int, dx: int, n: int, p: Any, store: bool) -> int:
    """dx_k += sum of g from k on."""
    total = wide(cast(0.0, f))
    if parts_of_total(f) == 1:
        for back in range(n):
            k = n - 1 - back
            total += wide(f[g + k])
            accumulate(f, dx + k, cast(total, f), store)
        return 0
    lost = total
    for first in range(0, n, RUN):
        before, part = restored(f, total, lost), wide(cast(0.0, f))
        for back in range(first, min(first + RUN, n)):
            k = n - 1 - back
            part += wide(f[g + k])
            accumulate(f, dx + k, cast(before + part, f), store)
        total, lost = grown(f, total, lost, part)
    return 0


def cumprod_row(f: Any, y: int, x: int, n: int, p: Any) -> int:
    product = wide(cast(1.0, f))
    for k in range(n):
        product *= wide(f[x + k])
        f[y + k] = cast(product, f)
    return 0


def cumprod_row_adjoint(f: Any, y: int, g: int, x: int, dx: int, n: int, p: Any, store: bool) -> int:
    """dx_k += y_(k-1) s_k, s_k = g_k + x_(k+1) s_(k+1): no division, so that zeros are not special."""
    rest, one = wide(cast(0.0, f)), cast(1.0, f)
    for back in range(n):
        k = n - 1 - back
        rest += wide(f[g + k])
        accumulate(f, dx + k, cast(rest * wide(f[y + k - 1] if k > 0 else one), f), store)
        rest *= wide(f[x + k])
    return 0


def logcumsumexp_row(f: Any, y: int, x: int, n: int, p: Any) -> int:
    """y_k = top + ln(sum of e^(x - top)), top the greatest so far."""
    top, total = wide(cast(-INFINITY, f)), wide(cast(0.0, f))
    for k in range(n):
        v = wide(f[x + k])
        if v > top:
            total = total * m.exp(top - v) + 1.0
            top = v
        elif v == top:
            total += 1.0 if v > -INFINITY else 0.0
        else:
            total += m.exp(v - top)
        f[y + k] = cast(top + m.log(total), f)
    return 0


def logcumsumexp_row_adjoint(f: Any, y: int, g: int, x: int, dx: int, n: int, p: Any, store: bool) -> int:
    """dx_k += e^(x_k - y_k) s_k, s_k = g_k + e^(y_k - y_(k+1)) s_(k+1)."""
    rest = wide(cast(0.0, f))
    for back in range(n):
        k = n - 1 - back
        if back > 0:
            rest *= wide(share_of(f, y + k, y + k + 1))
        rest += wide(f[g + k])
        accumulate(f, dx + k, cast(rest * wide(share_of(f, x + k, y + k)), f), store)
    return 0


@device
def share_of(f: Any, part: int, whole: int) -> Any:
    """e^(part - whole), 0 of nothing."""
    return cast(0.0, f) if f[part] == -INFINITY else m.exp(f[part] - f[whole])


# ------------------------------------------------------------------ linear recurrences


class Recurrence(Row):
    y: Output
    a: Input = contiguous
    x: Input = contiguous
    rows: int
    n: int  # elements of a row
    back: bool  # from the last element to the first


def recurrence_forward(op: Recurrence, f: Any, i: Any, b: Any) -> int:
    """y_k = x_k + a_k y_(k-1); back: y_k = x_k + a_(k+1) y_(k+1)."""
    n = op.n
    for row in range(op.rows):
        y, a, x, before = op.y + row * n, op.a + row * n, op.x + row * n, wide(cast(0.0, f))
        for step in range(n):
            k = n - 1 - step if op.back != 0 else step
            if step != 0:
                before *= wide(f[a + k + 1] if op.back != 0 else f[a + k])
            before += wide(f[x + k])
            f[y + k] = cast(before, f)
    return 0


def recurrence_adjoint(op: Recurrence, f: Any, i: Any, b: Any) -> int:
    """The recurrence z of g in the other direction: dx_k += z_k, and da_k += z_k y_(k-1); back: da_k += z_(k-1) y_k."""
    n, zero = op.n, cast(0.0, f)
    for row in range(op.rows):
        y, g, a = op.y + row * n, op.g + row * n, op.a + row * n
        dx, da, z = op.d.x + row * n, op.d.a + row * n, wide(zero)
        for step in range(n):
            k = step if op.back != 0 else n - 1 - step
            if step != 0:
                at = k if op.back != 0 else k + 1
                if op.d.a != 0:
                    accumulate(f, da + at, cast(z * wide(f[y + at] if op.back != 0 else f[y + k]), f), op.stores.a)
                z *= wide(f[a + at])
            z += wide(f[g + k])
            if op.d.x != 0:
                accumulate(f, dx + k, cast(z, f), op.stores.x)
        if op.d.a != 0 and n > 0:
            accumulate(f, da, zero, op.stores.a)
    return 0


def before(y: Any, first: float, t: Any) -> Any:
    """Of each element of a row the one before it; before the first is a number."""
    return t.pad(y, [*[(0, 0)] * (y.ndim - 1), (1, 0)], constant_values=first)[..., :-1]


def recurrence_to_a(r: Any, g: Any, t: Any) -> Any:
    z = t.linear_recurrence(r.a, g, not r.back)
    return before(z, 0.0, t) * r.y if r.back else z * before(r.y, 0.0, t)


def recurrence_by_a(r: Any, d: Any, t: Any) -> Any:
    if r.back:
        return t.linear_recurrence(r.a, t.pad(d * r.y, [*[(0, 0)] * (d.ndim - 1), (0, 1)])[..., 1:], True)
    return t.linear_recurrence(r.a, d * before(r.y, 0.0, t), False)


RECURRENCE = Op("recurrence", recurrence_forward, recurrence_adjoint, row=Recurrence, saves={"a": "a y", "x": "a"},
                stores=True, doc="x_k + a_k y_(k-1)", batching="rows",
                composition={"a": recurrence_to_a, "x": lambda r, g, t: t.linear_recurrence(r.a, g, not r.back)},
                tangent={"a": recurrence_by_a, "x": lambda r, d, t: t.linear_recurrence(r.a, d, r.back)})


# ------------------------------------------------------------------ their slopes


def reversed_(x: Any) -> Any:
    return x[:, ::-1]


def others(r: Any, t: Any) -> Any:
    """Products of all elements but one, within the range of numbers where these are; of many not so, but quickly."""
    if r.n <= MULTIPLIED:
        return t.exclusive_prod(r.x)
    ahead, behind = around(r.x, t)
    return ahead * behind


def around(x: Any, t: Any) -> tuple[Any, Any]:
    """By element of a row the product of those before, and of those behind: no division, so that zeros may stand."""
    return before(t.cumprod(x, 1), 1.0, t), reversed_(before(t.cumprod(reversed_(x), 1), 1.0, t))


def to_others(r: Any, g: Any, t: Any) -> Any:
    """dx_j = sum of g_k times the product of all but x_j and x_k, of k before j and of k behind j."""

    def running(x: Any, z: Any) -> Any:
        """s_j = x_(j-1) s_(j-1) + z_(j-1)."""
        return t.linear_recurrence(before(x, 1.0, t), before(z, 0.0, t), False)

    ahead, behind = around(r.x, t)
    return running(r.x, g * ahead) * behind + ahead * reversed_(running(reversed_(r.x), reversed_(g * behind)))


def to_cumprod(r: Any, g: Any, t: Any) -> Any:
    """dx_k = y_(k-1) s_k, s_k = g_k + x_(k+1) s_(k+1)."""
    return before(r.y, 1.0, t) * t.linear_recurrence(r.x, g, True)


def by_cumprod(r: Any, d: Any, t: Any) -> Any:
    """dy_k = y_(k-1) d_k + x_k dy_(k-1)."""
    return t.linear_recurrence(r.x, before(r.y, 1.0, t) * d, False)


def shares(part: Any, whole: Any, t: Any) -> Any:
    """e^(part - whole), 0 of nothing."""
    nothing = t.equal(part, -INFINITY)
    return t.where(nothing, 0.0, t.exp(t.where(nothing, 0.0, part) - t.where(nothing, 0.0, whole)))


def to_logcumsumexp(r: Any, g: Any, t: Any) -> Any:
    """dx_k = e^(x_k - y_k) s_k, s_k = g_k + e^(y_k - y_(k+1)) s_(k+1)."""
    return shares(r.x, r.y, t) * t.linear_recurrence(shares(before(r.y, -INFINITY, t), r.y, t), g, True)


def by_logcumsumexp(r: Any, d: Any, t: Any) -> Any:
    """dy_k = e^(x_k - y_k) d_k + e^(y_(k-1) - y_k) dy_(k-1)."""
    return t.linear_recurrence(shares(before(r.y, -INFINITY, t), r.y, t), shares(r.x, r.y, t) * d, False)


PROD = rows("prod", prod_row, prod_row_adjoint, "y x", True, "product", weights=others)
EXCLUSIVE_PROD = rows("exclusive_prod", others_row, others_row_adjoint, "x", False, "products of all but one",
                      to_others, to_others)
CUMSUM = rows("cumsum", cumsum_row, cumsum_row_adjoint, "", False, "running sum",
              lambda r, g, t: reversed_(t.cumsum(reversed_(g), 1)), lambda r, d, t: t.cumsum(d, 1))
CUMPROD = rows("cumprod", cumprod_row, cumprod_row_adjoint, "y x", False, "running product", to_cumprod, by_cumprod)
LOGCUMSUMEXP = rows("logcumsumexp", logcumsumexp_row, logcumsumexp_row_adjoint, "x y", False,
                    "logarithm of the running sum of e^x", to_logcumsumexp, by_logcumsumexp)
