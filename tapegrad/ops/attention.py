"""Scaled dot-product attention as one op that never holds the matrix of scores.

A block of query rows at a time: its scores fill at most `BLOCK` elements of scratch (or `LEAST_ROWS` rows), which all
blocks, heads and layers share; heads, in `PARTS` parts with scratch of their own, are shared among threads. Of the
softmax only the greatest score of each row is kept; the adjoint makes the scores of a block again (T. Dao et al.,
FlashAttention, NeurIPS 2022). Blocks hold whole rows, so that the adjoint needs the output neither. Keys that causality
hides from all rows of a block are not visited.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..engine import vecmath as m
from ..engine.blas import scaled_gemm
from ..engine.jit import Kernel, cast, device, plus, real, wide, words_at
from ..engine.philox import philox, random_word
from ..engine.team import share
from .dropout import key_of, stream_of
from .nest import column_stride, row_offset
from .reduction import SUMMED
from .table import EVERY, Op

#: scores of a block: with the block of their adjoints a part of what a core's second cache holds
BLOCK = 1 << 14
#: rows of a block: at least, for products of fewer are slow; at most
LEAST_ROWS, MOST_ROWS = 16, 128
#: blocks of a causal head at least, as far as its rows allow: causality spares whole blocks of keys
CAUSAL_BLOCKS = 8
#: parts of the heads at most
PARTS = 8
_INFINITY = math.inf

# Words: 1 y, 2 g, 3 query, 4 dquery, 5 key, 6 dkey, 7 value, 8 dvalue, 9 mask, 10 dmask, 11 scratch, 13 greatest score
# of each row, 15 gemm, 16 query rows, 17 keys, 18 width of query and key, 19 width of value, 20 to 23 strides of a row
# of query, key, value and y, 24 rows of a block, 25 scale, 26 whether causal, 27 mask: 0 none, 1 bool, 2 float; 28 and
# 29 its strides by row and key, 30 whether there is dropout, 31 to 35 its words (see `dropout`), 36 team, 37 and 38
# addresses of the kernels of a part, 39 parts, 40 heads that may read the same keys, values and mask, so that their
# adjoints belong to one part, 41 nest of the batch (y, query, key, value, mask).
# Scratch, of each part: a block of weights, a block of their adjoints or of what dropout leaves of them, a sum for each
# row. A head is a number that counts through the nest.
_DROPOUT, _NEST = 31, 41


def rows_of_block(tokens: int, keys: int, causal: bool) -> int:
    """Query rows that are taken at once."""
    most = max(keys // CAUSAL_BLOCKS, LEAST_ROWS) if causal else MOST_ROWS
    return max(min(max(BLOCK // max(keys, 1), LEAST_ROWS), most, tokens), 1)


@device
def greater_of(a: Any, b: Any) -> Any:
    """The greater; `b` where one is NaN."""
    return a if a > b else b


@device
def top_of(f: Any, x: int, n: int) -> Any:
    """Greatest of a row, -inf if it is empty; eight at a time, for each comparison waits for the one before."""
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
def head_offset(op: Any, operand: int, head: int) -> int:
    """Where a head of an operand of the nest begins."""
    columns = op[_NEST + 1]
    return row_offset(op, _NEST, operand, head // columns) + head % columns * column_stride(op, _NEST, operand)


@device
def bound_of(op: Any, part: int, parts: int) -> int:
    """The first head of a part."""
    return part * (op[_NEST] * op[_NEST + 1] // op[40]) // parts * op[40]


@device
def scratch_of(op: Any, part: int) -> int:
    """Where the scratch of a part begins."""
    return op[11] + part * op[24] * (2 * op[17] + 1)


@device
def visible(op: Any, row: int, keys: int) -> int:
    """How many of the first `keys` keys a query row may attend to, as far as causality goes."""
    return min(row + 1, keys) if op[26] != 0 else keys


@device
def scores_of(op: Any, f: Any, b: Any, scores: int, query: int, key: int, mask: int, first: int, count: int,
              keys: int) -> int:
    """S = scale Q K^T + mask, for the rows of a block and its keys; -inf where the mask is false."""
    status = 0
    down, along = op[28], op[29]
    status |= scaled_gemm(op[15], 0, 1, count, keys, op[18], real(op, 25, f), query + first * op[20], op[20], key,
                          op[21], 0, scores, keys, f)
    if op[27] == 0:
        return status
    for row in range(count):
        s, at, n = scores + row * keys, mask + (first + row) * down, visible(op, first + row, keys)
        if op[27] == 1:
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
def drop_weights(op: Any, f: Any, i: Any, row: int, p: int, to: int, n: int) -> int:
    """A row of weights after dropout into `to`; at `p` those that were dropped turn negative, as a mark.

    `row` counts the rows of all heads; the random words of a row are those of its number, whatever the blocks.
    """
    key, stream = key_of(op, _DROPOUT, i), stream_of(op, _DROPOUT, i)
    scale, threshold, block = real(op, _DROPOUT, f), op[_DROPOUT + 1], row * ((op[17] + 63) // 64)
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
    for first in range(0, n, SUMMED):
        part = cast(0.0, f)
        for k in range(first, min(first + SUMMED, n)):
            e = m.exp(f[s + k] - shift)
            f[s + k] = e
            part = plus(part, e)
        total += wide(part)
    return cast(total, f)


def forward_part(part: Any, f: Any, i: Any, b: Any) -> int:
    """Some heads of `attention_forward`."""
    status = 0
    op = words_at(part[0])
    rows, width, to, block = op[16], op[19], op[23], scratch_of(op, part[1])
    other = block + op[24] * op[17]
    sums = other + op[24] * op[17]
    for head in range(bound_of(op, part[1], part[2]), bound_of(op, part[1] + 1, part[2])):
        y, query = op[1] + head_offset(op, 0, head), op[3] + head_offset(op, 1, head)
        key, value = op[5] + head_offset(op, 2, head), op[7] + head_offset(op, 3, head)
        mask = op[9] + head_offset(op, 4, head)
        for first in range(0, rows, op[24]):
            count = min(op[24], rows - first)
            keys, weights = visible(op, first + count - 1, op[17]), block
            status |= scores_of(op, f, b, block, query, key, mask, first, count, keys)
            for row in range(count):
                s, n = block + row * keys, visible(op, first + row, keys)
                top = top_of(f, s, n)
                shift = cast(0.0, f) if top == -_INFINITY else top
                total = exponentials(f, s, n, shift)
                for k in range(n, keys):
                    f[s + k] = 0.0
                f[sums + row] = total
                f[op[13] + head * rows + first + row] = cast(_INFINITY, f) if total == 0.0 else shift
            if op[30] != 0:
                weights = other
                for row in range(count):
                    drop_weights(op, f, i, head * rows + first + row, block + row * keys, other + row * keys, keys)
            status |= scaled_gemm(op[15], 0, 0, count, width, keys, cast(1.0, f), weights, keys, value, op[22], 0,
                                  y + first * to, to, f)
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


def attention_forward(op: Any, f: Any, i: Any, b: Any) -> int:
    """Y = dropout(softmax(scale Q K^T + mask)) V, for each head; a row that may attend to nothing is zero."""
    return share(op[36], op[37], op, op[39], f, i, b)


@device
def weights_again(op: Any, f: Any, i: Any, block: int, head: int, first: int, count: int, keys: int) -> int:
    """P = e^(S - greatest) / sum over the scores of a block, and what dropout leaves of it; where that is.

    Divided by the very sum of its terms a row of P adds up to 1 within rounding. By way of the logarithm of the sum,
    which is rounded too, it would be off by as much as the logits are large, and dP - sum of P dP by what cancels
    there.
    """
    other = block + op[24] * op[17]
    for row in range(count):
        s, n, shift = block + row * keys, visible(op, first + row, keys), f[op[13] + head * op[16] + first + row]
        total = exponentials(f, s, n, shift)
        share_of_each = cast(0.0, f) if total == 0.0 else 1.0 / total
        for k in range(n):
            f[s + k] *= share_of_each
        for k in range(n, keys):
            f[s + k] = 0.0
        if op[30] != 0:
            drop_weights(op, f, i, head * op[16] + first + row, s, other + row * keys, keys)
    return other if op[30] != 0 else block


@device
def scores_adjoint(op: Any, f: Any, block: int, first: int, count: int, keys: int) -> int:
    """dS = P (dP - sum of P dP by row), in the place of P; dP in the other block, P marked by dropout."""
    other, scale = block + op[24] * op[17], real(op, _DROPOUT, f)
    for row in range(count):
        p, d, n, total = block + row * keys, other + row * keys, visible(op, first + row, keys), wide(cast(0.0, f))
        for begin in range(0, n, SUMMED):
            end, part = min(begin + SUMMED, n), cast(0.0, f)
            if op[30] != 0:
                for k in range(begin, end):
                    left = cast(0.0, f) if f[p + k] < 0.0 else scale * f[d + k]
                    f[d + k] = left
                    part = plus(part, m.abs(f[p + k]) * left)
            else:
                for k in range(begin, end):
                    part = plus(part, f[p + k] * f[d + k])
            total += wide(part)
        inner = cast(total, f)
        for k in range(n):
            f[p + k] = m.abs(f[p + k]) * (f[d + k] - inner)
    return 0


@device
def mask_adjoint(op: Any, f: Any, block: int, at: int, first: int, count: int, keys: int) -> int:
    """dmask += dS."""
    for row in range(count):
        s, to = block + row * keys, at + (first + row) * op[28]
        for k in range(visible(op, first + row, keys)):
            f[to + k * op[29]] += f[s + k]
    return 0


def adjoint_part(part: Any, f: Any, i: Any, b: Any) -> int:
    """Some heads of `attention_adjoint`."""
    status = 0
    op = words_at(part[0])
    rows, width, inside, routine, block = op[16], op[19], op[18], op[15], scratch_of(op, part[1])
    scale, one, other = real(op, 25, f), cast(1.0, f), block + op[24] * op[17]
    for head in range(bound_of(op, part[1], part[2]), bound_of(op, part[1] + 1, part[2])):
        to_y, to_query = head_offset(op, 0, head), head_offset(op, 1, head)
        to_key, to_value, to_mask = head_offset(op, 2, head), head_offset(op, 3, head), head_offset(op, 4, head)
        query, key, value = op[3] + to_query, op[5] + to_key, op[7] + to_value
        for first in range(0, rows, op[24]):
            count = min(op[24], rows - first)
            keys, g = visible(op, first + count - 1, op[17]), op[2] + to_y + first * op[23]
            status |= scores_of(op, f, b, block, query, key, op[9] + to_mask, first, count, keys)
            weights = weights_again(op, f, i, block, head, first, count, keys)
            if op[8] != 0:
                status |= scaled_gemm(routine, 1, 0, keys, width, count, one, weights, keys, g, op[23], 1,
                                      op[8] + to_value, op[22], f)
            if op[4] != 0 or op[6] != 0 or op[10] != 0:
                status |= scaled_gemm(routine, 0, 1, count, keys, width, one, g, op[23], value, op[22], 0, other,
                                      keys, f)
                scores_adjoint(op, f, block, first, count, keys)
            if op[4] != 0:
                status |= scaled_gemm(routine, 0, 0, count, inside, keys, scale, block, keys, key, op[21], 1,
                                      op[4] + to_query + first * op[20], op[20], f)
            if op[6] != 0:
                status |= scaled_gemm(routine, 1, 0, keys, inside, count, scale, block, keys, query + first * op[20],
                                      op[20], 1, op[6] + to_key, op[21], f)
            if op[10] != 0:
                mask_adjoint(op, f, block, op[10] + to_mask, first, count, keys)
    return status


def attention_adjoint(op: Any, f: Any, i: Any, b: Any) -> int:
    """dV += P^T G; dP = G V^T; dS = P (dP - sum P dP); dQ += scale dS K; dK += scale dS^T Q; dmask += dS."""
    return share(op[36], op[38], op, op[39], f, i, b)


FORWARD_PART, ADJOINT_PART = Kernel("attention.forward_part", forward_part), Kernel("attention.part", adjoint_part)


def attention_products(shapes: Sequence[tuple[int, ...]]) -> int:
    """Products of the scores and of what they weigh, for each query; causality is not taken off."""
    y, query, key, value = shapes[:4]
    return math.prod(y) // max(value[-1], 1) * key[-2] * (query[-1] + value[-1])


_ALL = (1, 2, 3, 4, 5, 6)
ATTENTION = Op("attention", attention_forward, attention_adjoint, (_ALL, _ALL, (1, 2, 4, 5, 6), _ALL, ()),
               doc="dropout(softmax(scale q k^T + mask)) v, by blocks of query rows", products=attention_products,
               strided=0b11110, alike=True)


# ------------------------------------------------------------------ rotation by position

# Words: 1 y, 2 g, 3 x, 4 dx, 5 table (cosines, then sines), 7 pairs h, 8 elements of a row n, 9 nest of the rows (y, x,
# table). The elements k and h + k of a row are a pair; those from 2 h on stay.


@device
def rotate_rows(op: Any, f: Any, to: int, x: int, to_is_y: int, sign: Any, add: bool) -> int:
    """Each pair turned by its angle, or back where `sign` is -1: to = x or, with `add`, +=."""
    half, zero = op[7], cast(0.0, f)
    for row in range(op[9]):
        u, v = to + row_offset(op, 9, 1 - to_is_y, row), x + row_offset(op, 9, to_is_y, row)
        cosines = op[5] + row_offset(op, 9, 2, row)
        for _ in range(op[10]):
            sines = cosines + half
            for k in range(half):
                a, b = f[v + k], f[v + half + k]
                before, after = f[u + k] if add else zero, f[u + half + k] if add else zero
                f[u + k] = before + a * f[cosines + k] - sign * b * f[sines + k]
                f[u + half + k] = after + b * f[cosines + k] + sign * a * f[sines + k]
            for k in range(2 * half, op[8]):
                f[u + k] = (f[u + k] if add else zero) + f[v + k]
            u, v = u + column_stride(op, 9, 1 - to_is_y), v + column_stride(op, 9, to_is_y)
            cosines += column_stride(op, 9, 2)
    return 0


def rotary_forward(op: Any, f: Any, i: Any, b: Any) -> int:
    """y_k = x_k cos - x_(h+k) sin, y_(h+k) = x_(h+k) cos + x_k sin."""
    return rotate_rows(op, f, op[1], op[3], 1, cast(1.0, f), False)


def rotary_adjoint(op: Any, f: Any, i: Any, b: Any) -> int:
    """dx += g turned back."""
    return rotate_rows(op, f, op[4], op[2], 0, cast(-1.0, f), op[0] & 2 == 0)


ROTARY = Op("rotary", rotary_forward, rotary_adjoint, ((2,), ()), stores=True,
            doc="pairs of elements turned by the angles of a position", strided=EVERY)
