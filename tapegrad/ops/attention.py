"""Scaled dot-product attention as one fused op that never holds the matrix of scores (FlashAttention).

Loop tiling over query rows: the scores of a block fill at most `BLOCK` elements of scratch (or `LEAST_ROWS` rows),
which all blocks, heads and layers share; heads, in `PARTS` parts with scratch of their own, are shared among threads.
Of the softmax only the maximum score of each row is kept; the adjoint recomputes the scores of a block (T. Dao et al.,
FlashAttention, NeurIPS 2022). Blocks hold whole rows, so the adjoint does not need the output. Keys that causality
hides from all rows of a block are skipped.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..engine.kernels import Kernel
from ..engine.language import cast, device, doubles_at, plus, read, wide, words_at
from ..engine.mathematics import vecmath as m
from ..engine.mathematics.sums import add_to_total, clear_totals, grown, restored, total_at
from ..engine.philox import philox, random_word
from ..engine.products.blas import product_and_row, scaled_gemm
from ..engine.row import Aux, Input, Nest, Output, Part, Row, contiguous
from ..engine.threads.team import share
from .attending import (
    BOOL_MASK,
    NO_MASK,
    attention_adjoints,
    attention_of_each,
    attention_tangent,
    rotary_tangent,
    rotary_to_x,
)
from .dropout import Dropped, key_of, number_of, stream_of
from .nest import column_stride, row_offset
from .reduction import SUMMED
from .table import Op

#: scores of a block: with the block of their adjoints a fraction of the L2 cache
BLOCK = 1 << 14
#: rows of a block: at least, since smaller products are slow; at most
LEAST_ROWS, MOST_ROWS = 16, 128
#: blocks of a causal head at least, as far as its rows allow: causality skips whole blocks of keys
CAUSAL_BLOCKS = 8
#: parallel parts of the heads at most
PARTS = 8
#: blocks whose contributions to dkey and dvalue are added up in their dtype, where those have totals in float64; blocks
#: above which they have, if the totals are no more than this part of the operands' bytes
TOGETHER, MANY, AFFORDED = 32, 128, 0.25
_INFINITY = math.inf


class Attention(Row):
    """The nest is over heads, which are numbered through.

    The scratch of each part holds float64 totals of a head's dkey and dvalue, if there are many blocks; those of
    products over very many keys; a block of weights; a block of their adjoints, or of the weights after dropout; and a
    sum for each row.
    """

    y: Output
    query: Input
    key: Input
    value: Input
    mask: Input
    scratch: Input = contiguous
    tops: Aux  # the maximum score of each row
    gemm: int
    tokens: int  # query rows
    keys: int
    inside: int  # width of query and key
    width: int  # of value
    query_step: int  # from a row to the next
    key_step: int
    value_step: int
    y_step: int
    block: int  # rows of a block
    scale: float
    causal: bool
    masks: int  # `NO_MASK`, `BOOL_MASK`, `FLOAT_MASK`
    mask_down: int  # strides of the mask by row and key
    mask_along: int
    drops: bool
    dropped: Dropped
    team: int
    forward_part: int  # addresses of the kernels that run a part
    adjoint_part: int
    parts: int
    room: int  # elements of scratch for a part
    totalled: int  # those of the totals of dkey and dvalue, or 0 for no totals
    stretched: int  # and of the totals of products with all keys, or 0
    grain: int  # heads that may share keys, values and mask: their adjoints belong to one part
    nest: Nest = Nest.over("y", "query", "key", "value", "mask")


def rows_of_block(tokens: int, keys: int, causal: bool) -> int:
    """Query rows of a block."""
    most = max(keys // CAUSAL_BLOCKS, LEAST_ROWS) if causal else MOST_ROWS
    return max(min(max(BLOCK // max(keys, 1), LEAST_ROWS), most, tokens), 1)


def room_for_totals(heads: int, parts: int, tokens: int, keys: int, features: int, rows: int) -> int:
    """Elements of a part for the totals of a head's dkey and dvalue, of `features` columns in all; 0: none.

    `rows` are those of a block.
    """
    elements, operands = 2 * keys * features, heads * (tokens + keys) * features
    return elements if tokens > MANY * rows and parts * elements <= AFFORDED * operands else 0


@device
def greater_of(a: Any, b: Any) -> Any:
    """The greater; `b` where one is NaN."""
    return a if a > b else b


@device
def top_of(f: Any, x: int, n: int) -> Any:
    """Maximum of a row, -inf if it is empty; eight accumulators, for each comparison depends on the one before."""
    a = cast(-_INFINITY, f)
    b, c, d, e, g, h, p = a, a, a, a, a, a, a
    whole = n // 8
    for k in range(whole):
        at = x + 8 * k
        a, b = greater_of(f[at], a), greater_of(f[at + 1], b)
        c, d = greater_of(f[at + 2], c), greater_of(f[at + 3], d)
        e, g = greater_of(f[at + 4], e), greater_of(f[at + 5], g)
        h, p = greater_of(f[at + 6], h), greater_of(f[at + 7], p)
    for k in range(x + 8 * whole, x + n):
        a = greater_of(f[k], a)
    return greater_of(greater_of(greater_of(a, b), greater_of(c, d)), greater_of(greater_of(e, g), greater_of(h, p)))


@device
def head_offset(op: Attention, operand: int, head: int) -> int:
    """Where a head of an operand of the nest starts."""
    columns = op.nest.columns
    return row_offset(op, op.nest, operand, head // columns) + head % columns * column_stride(op, op.nest, operand)


@device
def bound_of(op: Attention, part: int, parts: int) -> int:
    """The first head of a part."""
    return part * (op.nest.rows * op.nest.columns // op.grain) // parts * op.grain


@device
def scratch_of(op: Attention, part: int) -> int:
    """Where the blocks of a part start, after its totals."""
    return op.scratch + part * op.room + op.totalled + op.stretched


@device
def stretches_of(op: Attention, block: int) -> int:
    """Offset of the totals of products with all keys from the blocks of a part; 0 if there are none."""
    return block - op.stretched if op.stretched != 0 else 0


@device
def totals_of(op: Attention, f: Any, block: int) -> Any:
    """The totals of a head's dvalue, followed by those of dkey, from where the blocks of a part start."""
    return doubles_at(f, block - op.stretched - op.totalled)


@device
def visible(op: Attention, row: int, keys: int) -> int:
    """How many of the first `keys` keys causality lets a query row attend to."""
    return min(row + 1, keys) if op.causal != 0 else keys


@device
def scores_of(op: Attention, f: Any, b: Any, scores: int, query: int, key: int, mask: int, first: int, count: int,
              keys: int) -> int:
    """S = scale Q K^T + mask, for the rows of a block and its keys; -inf where the mask is false."""
    status = 0
    down, along = op.mask_down, op.mask_along
    status |= scaled_gemm(op.gemm, 0, 1, count, keys, op.inside, op.scale, query + first * op.query_step, op.query_step,
                          key, op.key_step, 0, scores, keys, f)
    if op.masks == NO_MASK:
        return status
    for row in range(count):
        s, at, n = scores + row * keys, mask + (first + row) * down, visible(op, first + row, keys)
        if op.masks == BOOL_MASK:
            if along == 1:
                for k in range(n):
                    f[s + k] = f[s + k] if b[at + k] != 0 else cast(-_INFINITY, f)
            else:
                for k in range(n):
                    f[s + k] = f[s + k] if b[at + k * along] != 0 else cast(-_INFINITY, f)
        elif along == 1:
            for k in range(n):
                f[s + k] += f[at + k]
        else:
            for k in range(n):
                f[s + k] += f[at + k * along]
    return status


@device
def drop_weights(op: Attention, f: Any, i: Any, row: int, p: int, to: int, n: int) -> int:
    """Dropout of a row of weights into `to`; in `p` dropped ones become negative, as a mark.

    `row` counts the rows of all heads; a row's random words depend on its number only, not on the blocks.
    """
    key, stream = key_of(op, op.dropped, i), stream_of(op, op.dropped, i)
    scale, threshold = op.dropped.scale, op.dropped.threshold
    block = number_of(op, op.dropped, row, i) * ((op.keys + 63) // 64)
    whole = n // 64
    for part in range(whole):
        for k in range(p + part * 64, p + part * 64 + 16):
            u, v, w, z = philox((block + part) * 16 + k - p - part * 64, stream, key)
            f[k] = f[k] if u >= threshold else -f[k]
            f[k + 16] = f[k + 16] if v >= threshold else -f[k + 16]
            f[k + 32] = f[k + 32] if w >= threshold else -f[k + 32]
            f[k + 48] = f[k + 48] if z >= threshold else -f[k + 48]
    for k in range(64 * whole, n):
        f[p + k] = f[p + k] if random_word(block * 64 + k, stream, key) >= threshold else -f[p + k]
    for k in range(n):
        f[to + k] = cast(0.0, f) if f[p + k] < 0.0 else scale * f[p + k]
    return 0


@device
def exponentials(f: Any, s: int, n: int, shift: Any) -> Any:
    """s = e^(s - shift) of a row; their sum."""
    total = wide(cast(0.0, f))
    lost = total
    for first in range(0, n, SUMMED):
        part = cast(0.0, f)
        for k in range(first, min(first + SUMMED, n)):
            e = m.exp(f[s + k] - shift)
            f[s + k] = e
            part = plus(part, e)
        total, lost = grown(f, total, lost, wide(part))
    return cast(restored(f, total, lost), f)


def forward_part(part: Part, f: Any, i: Any, b: Any) -> int:
    """Some heads of `attention_forward`."""
    status = 0
    op: Attention = words_at(part.row)
    rows, width, to, block = op.tokens, op.width, op.y_step, scratch_of(op, part.number)
    other = block + op.block * op.keys
    sums = other + op.block * op.keys
    for head in range(bound_of(op, part.number, part.count), bound_of(op, part.number + 1, part.count)):
        y, query = op.y + head_offset(op, 0, head), op.query + head_offset(op, 1, head)
        key, value = op.key + head_offset(op, 2, head), op.value + head_offset(op, 3, head)
        mask = op.mask + head_offset(op, 4, head)
        for first in range(0, rows, op.block):
            count = min(op.block, rows - first)
            keys, weights = visible(op, first + count - 1, op.keys), block
            status |= scores_of(op, f, b, block, query, key, mask, first, count, keys)
            for row in range(count):
                s, n = block + row * keys, visible(op, first + row, keys)
                top = top_of(f, s, n)
                shift = cast(0.0, f) if top == -_INFINITY else top
                total = exponentials(f, s, n, shift)
                for k in range(n, keys):
                    f[s + k] = 0.0
                f[sums + row] = total
                f[op.tops + head * rows + first + row] = cast(_INFINITY, f) if total == 0.0 else shift
            if op.drops != 0:
                weights = other
                for row in range(count):
                    drop_weights(op, f, i, head * rows + first + row, block + row * keys, other + row * keys, keys)
            status |= product_and_row(op.gemm, 0, 0, count, width, keys, cast(1.0, f), weights, keys, value,
                                      op.value_step, 0, y + first * to, to, 0, stretches_of(op, block), f)
            for row in range(count):
                total, at = f[sums + row], y + (first + row) * to
                share_of_each = 1.0 / total
                if total == 0.0:
                    for k in range(width):
                        f[at + k] = 0.0
                else:
                    for k in range(width):
                        f[at + k] *= share_of_each
    return status


def attention_forward(op: Attention, f: Any, i: Any, b: Any) -> int:
    """Y = dropout(softmax(scale Q K^T + mask)) V, for each head; a row that may attend to nothing is zero."""
    return share(op.team, op.forward_part, op, op.parts, f, i, b)


@device
def weights_again(op: Attention, f: Any, i: Any, block: int, head: int, first: int, count: int, keys: int) -> int:
    """P = e^(S - max) / sum over the recomputed scores of a block, and P after dropout; returns the address of that.

    Divided by the sum of its own terms, a row of P adds up to 1 within rounding. The logarithm of the sum, which is
    rounded too, would be off in proportion to the logits, and dP - sum of P dP would suffer from cancellation.
    """
    other = block + op.block * op.keys
    for row in range(count):
        s, n, shift = block + row * keys, visible(op, first + row, keys), f[op.tops + head * op.tokens + first + row]
        total = exponentials(f, s, n, shift)
        share_of_each = cast(0.0, f) if total == 0.0 else 1.0 / total
        for k in range(n):
            f[s + k] *= share_of_each
        for k in range(n, keys):
            f[s + k] = 0.0
        if op.drops != 0:
            drop_weights(op, f, i, head * op.tokens + first + row, s, other + row * keys, keys)
    return other if op.drops != 0 else block


@device
def scores_adjoint(op: Attention, f: Any, block: int, first: int, count: int, keys: int) -> int:
    """dS = P (dP - sum of P dP by row), in place of P; dP in the other block, P marked by dropout."""
    other, scale = block + op.block * op.keys, op.dropped.scale
    for row in range(count):
        p, d, n, total = block + row * keys, other + row * keys, visible(op, first + row, keys), wide(cast(0.0, f))
        lost = total
        for begin in range(0, n, SUMMED):
            end, part = min(begin + SUMMED, n), cast(0.0, f)
            if op.drops != 0:
                for k in range(begin, end):
                    left = cast(0.0, f) if f[p + k] < 0.0 else scale * f[d + k]
                    f[d + k] = left
                    part = plus(part, m.abs(f[p + k]) * left)
            else:
                for k in range(begin, end):
                    part = plus(part, f[p + k] * f[d + k])
            total, lost = grown(f, total, lost, wide(part))
        inner = cast(restored(f, total, lost), f)
        for k in range(n):
            f[p + k] = m.abs(f[p + k]) * (f[d + k] - inner)
    return 0


@device
def mask_adjoint(op: Attention, f: Any, block: int, at: int, first: int, count: int, keys: int) -> int:
    """dmask += dS."""
    for row in range(count):
        s, to = block + row * keys, at + (first + row) * op.mask_down
        for k in range(visible(op, first + row, keys)):
            f[to + k * op.mask_along] += f[s + k]
    return 0


@device
def move_rows(f: Any, totals: Any, first: int, at: int, step: int, rows: int, columns: int) -> int:
    """Accumulate rows into their totals, the first of which is number `first`, and clear them."""
    for row in range(rows):
        x, to = at + row * step, first + row * columns
        for k in range(columns):
            add_to_total(f, totals, to + k, wide(read(f, x + k)))
        for k in range(columns):
            f[x + k] = 0.0
    return 0


@device
def add_total_rows(f: Any, totals: Any, first: int, at: int, step: int, rows: int, columns: int) -> int:
    """Accumulate totals into their rows."""
    for row in range(rows):
        for k in range(columns):
            f[at + row * step + k] += cast(total_at(f, totals, first + row * columns + k), f)
    return 0


@device
def move_to_totals(op: Attention, f: Any, block: int, to_key: int, to_value: int) -> int:
    """Accumulate a head's dvalue and dkey into their totals, and clear them."""
    totals = totals_of(op, f, block)
    if op.d.value != 0:
        move_rows(f, totals, 0, op.d.value + to_value, op.value_step, op.keys, op.width)
    if op.d.key != 0:
        move_rows(f, totals, op.keys * op.width, op.d.key + to_key, op.key_step, op.keys, op.inside)
    return 0


@device
def give_from_totals(op: Attention, f: Any, block: int, to_key: int, to_value: int) -> int:
    """Accumulate the totals into a head's dvalue and dkey, which have been cleared and may be the same memory."""
    totals = totals_of(op, f, block)
    if op.d.value != 0:
        add_total_rows(f, totals, 0, op.d.value + to_value, op.value_step, op.keys, op.width)
    if op.d.key != 0:
        add_total_rows(f, totals, op.keys * op.width, op.d.key + to_key, op.key_step, op.keys, op.inside)
    return 0


def adjoint_part(part: Part, f: Any, i: Any, b: Any) -> int:
    """Some heads of `attention_adjoint`."""
    status = 0
    op: Attention = words_at(part.row)
    rows, width, inside, routine, block = op.tokens, op.width, op.inside, op.gemm, scratch_of(op, part.number)
    scale, one, other = op.scale, cast(1.0, f), block + op.block * op.keys
    for head in range(bound_of(op, part.number, part.count), bound_of(op, part.number + 1, part.count)):
        to_y, to_query = head_offset(op, 0, head), head_offset(op, 1, head)
        to_key, to_value, to_mask = head_offset(op, 2, head), head_offset(op, 3, head), head_offset(op, 4, head)
        query, key, value = op.query + to_query, op.key + to_key, op.value + to_value
        if op.totalled != 0:
            clear_totals(f, totals_of(op, f, block), op.keys * (width + inside))
        for first in range(0, rows, op.block):
            if op.totalled != 0 and first // op.block % TOGETHER == 0:
                move_to_totals(op, f, block, to_key, to_value)
            count = min(op.block, rows - first)
            keys, g = visible(op, first + count - 1, op.keys), op.g + to_y + first * op.y_step
            status |= scores_of(op, f, b, block, query, key, op.mask + to_mask, first, count, keys)
            weights = weights_again(op, f, i, block, head, first, count, keys)
            if op.d.value != 0:
                status |= scaled_gemm(routine, 1, 0, keys, width, count, one, weights, keys, g, op.y_step, 1,
                                      op.d.value + to_value, op.value_step, f)
            if op.d.query != 0 or op.d.key != 0 or op.d.mask != 0:
                status |= scaled_gemm(routine, 0, 1, count, keys, width, one, g, op.y_step, value, op.value_step, 0,
                                      other, keys, f)
                scores_adjoint(op, f, block, first, count, keys)
            if op.d.query != 0:
                status |= product_and_row(routine, 0, 0, count, inside, keys, scale, block, keys, key, op.key_step, 1,
                                          op.d.query + to_query + first * op.query_step, op.query_step, 0,
                                          stretches_of(op, block), f)
            if op.d.key != 0:
                status |= scaled_gemm(routine, 1, 0, keys, inside, count, scale, block, keys,
                                      query + first * op.query_step, op.query_step, 1, op.d.key + to_key,
                                      op.key_step, f)
            if op.d.mask != 0:
                mask_adjoint(op, f, block, op.d.mask + to_mask, first, count, keys)
        if op.totalled != 0:
            move_to_totals(op, f, block, to_key, to_value)
            give_from_totals(op, f, block, to_key, to_value)
    return status


def attention_adjoint(op: Attention, f: Any, i: Any, b: Any) -> int:
    """dV += P^T G; dP = G V^T; dS = P (dP - sum P dP); dQ += scale dS K; dK += scale dS^T Q; dmask += dS."""
    return share(op.team, op.adjoint_part, op, op.parts, f, i, b)


FORWARD_PART, ADJOINT_PART = Kernel("attention.forward_part", forward_part), Kernel("attention.part", adjoint_part)


def attention_products(shapes: Sequence[tuple[int, ...]]) -> int:
    """Multiply-adds of the scores and of the weighted sum; causality is not taken off."""
    y, query, key, value = shapes[:4]
    return math.prod(y) // max(value[-1], 1) * key[-2] * (query[-1] + value[-1])


_ALL = "query key value mask scratch tops"
ATTENTION = Op("attention", attention_forward, attention_adjoint, row=Attention,
               saves={"query": _ALL, "key": _ALL, "value": "query key mask scratch tops", "mask": _ALL},
               doc="dropout(softmax(scale q k^T + mask)) v, by blocks of query rows", products=attention_products,
               alike=True, composition=attention_adjoints, tangent=attention_tangent, batching=attention_of_each)


# ------------------------------------------------------------------ rotary position encoding


class Rotary(Row):
    """Elements `k` and `half + k` of a row are a pair; those from ``2 half`` on stay."""

    y: Output
    x: Input
    table: Input  # cosines, then sines
    half: int  # pairs
    n: int  # elements of a row
    nest: Nest = Nest.over("y", "x", "table")


@device
def rotate_rows(op: Rotary, f: Any, to: int, x: int, to_is_y: int, sign: Any, add: bool) -> int:
    """Rotate each pair by its angle, or back if `sign` is -1: to = x or, with `add`, +=."""
    half, zero = op.half, cast(0.0, f)
    for row in range(op.nest.rows):
        u, v = to + row_offset(op, op.nest, 1 - to_is_y, row), x + row_offset(op, op.nest, to_is_y, row)
        cosines = op.table + row_offset(op, op.nest, 2, row)
        for _ in range(op.nest.columns):
            sines = cosines + half
            for k in range(half):
                a, b = f[v + k], f[v + half + k]
                before, after = f[u + k] if add else zero, f[u + half + k] if add else zero
                f[u + k] = before + a * f[cosines + k] - sign * b * f[sines + k]
                f[u + half + k] = after + b * f[cosines + k] + sign * a * f[sines + k]
            for k in range(2 * half, op.n):
                f[u + k] = (f[u + k] if add else zero) + f[v + k]
            u, v = u + column_stride(op, op.nest, 1 - to_is_y), v + column_stride(op, op.nest, to_is_y)
            cosines += column_stride(op, op.nest, 2)
    return 0


def rotary_forward(op: Rotary, f: Any, i: Any, b: Any) -> int:
    """y_k = x_k cos - x_(h+k) sin, y_(h+k) = x_(h+k) cos + x_k sin."""
    return rotate_rows(op, f, op.y, op.x, 1, cast(1.0, f), False)


def rotary_adjoint(op: Rotary, f: Any, i: Any, b: Any) -> int:
    """dx += g rotated back."""
    return rotate_rows(op, f, op.d.x, op.g, 0, cast(-1.0, f), not op.stores.x)


ROTARY = Op("rotary", rotary_forward, rotary_adjoint, row=Rotary, saves={"x": "table"}, stores=True,
            doc="pairs of elements turned by the angles of a position", composition={"x": rotary_to_x},
            tangent={"x": rotary_tangent}, batching="nest")
