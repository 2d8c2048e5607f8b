"""Attention and the rotation by positions as compositions of ops, and in batches."""

from __future__ import annotations

import math
from collections.abc import Mapping, Set
from typing import Any

import numpy as np

from ..engine.storage import contiguous_strides

#: masks
NO_MASK, BOOL_MASK, FLOAT_MASK = 0, 1, 2


def heads_of(r: Any, shape: tuple[int, ...]) -> tuple[tuple[int, ...], int]:
    """Shape of the heads, and the axis of the queries in the result, whose `shape` is (heads, L, heads, EV)."""
    batch = shape[:-1]
    for lead in range(len(batch)):
        if batch[lead] == r.tokens and contiguous_strides(shape)[lead] == r.y_step:
            break
    return (*batch[:lead], *batch[lead + 1:]), lead


def _transposed(t: Any, x: Any) -> Any:
    return t.swapaxes(x, -1, -2)


class Weighing:
    """P = softmax(scale Q K^T + mask), and what dropout leaves of it."""

    def __init__(self, r: Any, t: Any) -> None:
        self._r, self._t = r, t
        self.heads, self.lead = heads_of(r, r.shape)
        s = r.scale * t.matmul(r.query, _transposed(t, r.key))
        if r.masks == FLOAT_MASK:
            s = s + r.mask
        elif r.masks == BOOL_MASK:
            s = t.where(r.mask, s, -math.inf)
        if r.causal:
            s = t.where(np.tri(r.tokens, r.keys, dtype=bool), s, -math.inf)
        top = t.max(s.detach(), axis=-1, keepdims=True)
        e = t.exp(s - t.where(top == -math.inf, 0.0, top))
        total = t.sum(e, axis=-1, keepdims=True)
        self.weights = e / t.where(total == 0.0, 1.0, total)
        if r.drops:
            whole = -(-r.keys // 64) * 64  # random words of a row are those of so many elements
            ones = np.ones((*self.heads, r.tokens, whole), r.kinds[0][1])
            self._mask = t.dropped(ones, r.dropped.words)[..., :r.keys]

    def left(self, x: Any) -> Any:
        """What dropout leaves of weights or of their derivatives."""
        return x * self._mask if self._r.drops else x

    def slope(self, d: Any) -> Any:
        """P (d - sum of P d by row): the Jacobian of the softmax, which is symmetric."""
        p = self.weights
        return p * (d - self._t.sum(p * d, axis=-1, keepdims=True))


def attention_adjoints(r: Any, g: Any, t: Any, wanted: Set[str]) -> dict[str, Any]:
    """dV = P^T G; dP = G V^T; dS = P (dP - sum P dP); dQ = scale dS K; dK = scale dS^T Q; dmask = dS."""
    if 0 in r.shape[:-1] or r.keys == 0:
        return {}
    p, found = Weighing(r, t), {}
    g = t.moveaxis(g, p.lead, -2)
    if "value" in wanted:
        found["value"] = t.matmul(_transposed(t, p.left(p.weights)), g)
    if wanted & {"query", "key", "mask"}:
        s = p.slope(p.left(t.matmul(g, _transposed(t, r.value))))
        if "query" in wanted:
            found["query"] = r.scale * t.matmul(s, r.key)
        if "key" in wanted:
            found["key"] = r.scale * t.matmul(_transposed(t, s), r.query)
        if "mask" in wanted:
            found["mask"] = s
    return found


def attention_tangent(r: Any, moved: Mapping[str, Any], t: Any) -> Any:
    """dS = scale (dQ K^T + Q dK^T) + dmask; dY = P (dS - sum P dS) V + P dV."""
    if 0 in r.shape or r.keys == 0:
        return t.broadcast_to(np.zeros((), r.kinds[0][1]), r.shape)
    p, parts = Weighing(r, t), []
    scores = [rule(moved[name]) for name, rule in (
        ("query", lambda d: r.scale * t.matmul(d, _transposed(t, r.key))),
        ("key", lambda d: r.scale * t.matmul(r.query, _transposed(t, d))),
        ("mask", lambda d: d)) if name in moved]
    if scores:
        parts.append(t.matmul(p.left(p.slope(sum(scores[1:], scores[0]))), r.value))
    if "value" in moved:
        parts.append(t.matmul(p.left(p.weights), moved["value"]))
    dy = sum(parts[1:], parts[0])
    return t.moveaxis(t.broadcast_to(dy, (*p.heads, *dy.shape[-2:])), -2, p.lead)


def attention_of_each(r: Any, t: Any) -> Any:
    """One more axis of heads."""
    heads, lead = heads_of(r, r.call.shape)

    def aligned(name: str) -> Any:
        x = getattr(r, name)
        missing = len(heads) + 3 - x.ndim
        return t.expand_dims(x, tuple(range(1, 1 + missing))) if r.has_axis(name) and missing else x

    query, key, value, mask = map(aligned, ("query", "key", "value", "mask"))
    return t.attention.attend(query, key, value, mask, r.masks, (r.size, *heads), 1 + lead, r.causal, r.scale,
                              r.dropped.words if r.drops else None)


# ------------------------------------------------------------------ rotation by position


def _turned(r: Any, x: Any, t: Any, table: Any) -> Any:
    return t.attention.turned(x, table, r.strides_of("table", r.shape[:-1]), r.half)


def rotary_to_x(r: Any, g: Any, t: Any) -> Any:
    """dx = g turned back."""
    return _turned(r, g, t, t.concatenate([r.table[..., :r.half], -r.table[..., r.half:]], -1))


def rotary_tangent(r: Any, d: Any, t: Any) -> Any:
    """dy = dx turned."""
    return _turned(r, d, t, r.table)
