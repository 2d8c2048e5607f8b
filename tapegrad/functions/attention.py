"""Attention, and rotary and sinusoidal position encodings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from ..engine.products.product import gemm_address, scratch_elements
from ..engine.storage import contiguous_strides
from ..engine.threads.team import team_address
from ..errors import ArgumentError, DtypeError, ShapeError
from ..ops.attending import BOOL_MASK, FLOAT_MASK, NO_MASK
from ..ops.attention import (
    ADJOINT_PART,
    ATTENTION,
    FORWARD_PART,
    PARTS,
    ROTARY,
    room_for_totals,
    rows_of_block,
)
from ..ops.dropout import Dropped
from ..ops.nest import broadcast_strides, nest
from ..tensor.arrays import BOOL
from ..tensor.recording import as_tensor, lift, recorder
from ..tensor.tensor import Tensor, as_array, constant, fixed, view
from .dropout import dropout_words
from .elementwise import contiguous
from .layout import reshape, swapaxes
from .scratch import scratch

__all__ = ["rotary_embedding", "scaled_dot_product_attention", "sinusoidal_positions"]

_KEPT = Dropped.words(scale=1.0, threshold=0, key=0, stream=0, counted=0, each=0)

def scaled_dot_product_attention(query: Any, key: Any, value: Any, attn_mask: Any = None, dropout_p: float = 0.0,
                                 is_causal: bool = False, scale: float | None = None,
                                 enable_gqa: bool = False) -> Tensor:
    """``dropout(softmax(scale * query @ key.T + mask)) @ value`` (Vaswani et al. 2017), one fused instruction.

    Parameters
    ----------
    query : array_like, (..., L, E)
        Often (batch, heads, L, E); the leading axes of all operands broadcast.
    key : array_like, (..., S, E)
    value : array_like, (..., S, EV)
    attn_mask : array_like, broadcast to (..., L, S), optional
        Of bool: True where a query may attend to a key. Of floats: added to the scores; it may require a gradient.
    dropout_p : float
        Each weight becomes zero with this probability, and the others are divided by ``1 - dropout_p``; in evaluation
        too, so give 0.0 there.
    is_causal : bool
        Query `i` attends only to the keys 0 to `i`, also where L and S differ. With `attn_mask`, both hold.
    scale : float, optional
        ``1 / sqrt(E)`` if not given.
    enable_gqa : bool
        Grouped-query attention (Ainslie et al. 2023): each head of `key` and `value` serves several consecutive heads
        of `query`; axis -3 of `query` is a multiple of theirs.

    Returns
    -------
    Tensor, (..., L, EV)
        A query that may attend to nothing gives zero, with zero gradients.

    Notes
    -----
    The (L, S) matrices exist only as tiles of rows, in a workspace that all attention of a recording shares. The
    reverse walk keeps one number a row and recomputes the weights, with the random bits of dropout (Dao et al. 2022).
    Operands are read in place: heads that are views by a transpose are not copied, and the result has the layout of
    `query`, so that merging its heads is a view as well.

    Examples
    --------
    >>> import numpy as np
    >>> import tapegrad.nn.functional as F
    >>> x = np.eye(3, dtype=np.float32)
    >>> F.scaled_dot_product_attention(x, x, x, is_causal=True)[0]
    tensor([1., 0., 0.])
    """
    name = "scaled_dot_product_attention"
    if not 0.0 <= dropout_p <= 1.0:
        raise ArgumentError(f"{name}: dropout_p is a probability, not {dropout_p}")
    kind, mask = _mask(name, attn_mask)
    floats = lift(query, key, value, *((mask,) if kind == FLOAT_MASK else ()))
    q, k, v = floats[:3]
    if kind != BOOL_MASK:
        mask = floats[3] if kind == FLOAT_MASK else constant(0.0, q.dtype)
    _check(name, q, k, v)
    by_token = _is_by_token(q)
    heads = q.shape[-3:-2]
    if enable_gqa:
        groups = _groups(name, q, k, v)
        q, mask = (_grouped(t, groups, heads[0]) for t in (q, mask))
        k, v = (_grouped(t, 1, k.shape[-3]) for t in (k, v))
    batch = _batch(name, q, k, v)
    _check_mask(name, mask, (*batch, q.shape[-2], k.shape[-2]), attn_mask)
    lead = len(batch) - (2 if enable_gqa else 1) if by_token and batch else len(batch)
    y = attend(q, k, v, mask, kind, batch, lead, is_causal,
               1.0 / math.sqrt(max(q.shape[-1], 1)) if scale is None else float(scale),
               dropout_words(dropout_p, (*batch, q.shape[-2])) if dropout_p > 0.0 else None)
    if enable_gqa:
        y = reshape(y, (*y.shape[:lead], y.shape[lead], *heads, y.shape[-1]) if by_token else
                    (*batch[:-2], *heads, *y.shape[-2:]))
    return swapaxes(y, -2, -3) if by_token and batch else y


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor, kind: int, batch: tuple[int, ...], lead: int, causal: bool,
           scale: float, dropped: tuple[int, ...] | None) -> Tensor:
    """`ATTENTION` of heads of shape `batch`, whose result has the axis of the queries behind the first `lead`.

    `kind` is that of the mask, `dropped` the words that say which weights are dropped.
    """
    q, k, v = (_by_rows(t) for t in (q, k, v))
    tokens, keys, width = q.shape[-2], k.shape[-2], v.shape[-1]
    mask_steps, mask_strides = _mask_strides(mask, (*batch, tokens, keys))
    shape = (*batch[:lead], tokens, *batch[lead:], width)
    steps = contiguous_strides(shape)
    strides = ((*steps[:lead], *steps[lead + 1:-1]),
               *(broadcast_strides(t.shape[:-2], t.strides[:-2], batch) for t in (q, k, v)), mask_strides)
    rows = rows_of_block(tokens, keys, causal)
    adding = strides[1:] if kind == FLOAT_MASK and mask.requires_grad else strides[1:4]
    grain = _shared_heads(batch, adding)
    parts = min(max(math.prod(batch) // grain, 1), PARTS)
    size, features = q.dtype.itemsize, q.shape[-1] + width
    totalled = room_for_totals(math.prod(batch), parts, tokens, keys, features, rows)
    stretched = scratch_elements(rows, max(q.shape[-1], width), keys)
    room = rows * (2 * keys + 1)
    if totalled or stretched:
        room = totalled + stretched + room + room % 2  # alignment: the next part's float64 totals follow
    return recorder(ATTENTION)(
        shape, dtype=q.dtype, always=dropped is not None, query=q, key=k, value=v, mask=mask,
        scratch=scratch(ATTENTION, parts * room, q, k, v, mask), tops=(max(math.prod(batch) * tokens, 1) * size, size),
        gemm=gemm_address(q.dtype), tokens=tokens, keys=keys, inside=q.shape[-1], width=width, query_step=_row_step(q),
        key_step=_row_step(k), value_step=_row_step(v), y_step=steps[lead], block=rows, scale=scale, causal=causal,
        masks=kind, mask_down=mask_steps[0], mask_along=mask_steps[1], drops=dropped is not None,
        dropped=_KEPT if dropped is None else dropped, team=team_address(q.dtype),
        forward_part=FORWARD_PART.address(q.dtype), adjoint_part=ADJOINT_PART.address(q.dtype), parts=parts,
        room=room, totalled=totalled, stretched=stretched, grain=grain, nest=nest(batch, strides))


def _shared_heads(batch: tuple[int, ...], strides: Sequence[tuple[int, ...]]) -> int:
    """Number of adjacent heads among which memory is shared by broadcasting; others share none."""
    first = next((d for d, n in enumerate(batch) if n != 1 and any(s[d] == 0 for s in strides)), len(batch))
    return max(math.prod(batch[first:]), 1)


def _is_by_token(t: Tensor) -> bool:
    """Whether axis -2 lies outside axis -3 in memory, as in heads that are views by a transpose."""
    return t.ndim > 2 and abs(t.strides[-2]) > abs(t.strides[-3])


def _mask(name: str, given: Any) -> tuple[int, Any]:
    """Kind of a mask, and the mask as a tensor."""
    if given is None:
        return NO_MASK, None
    mask = as_tensor(given)
    if mask.dtype.kind not in "bf":
        raise DtypeError(f"{name}: attn_mask is {mask.dtype}; it must be of bool (True: may attend) or of floats "
                         "(added to the scores)")
    return (BOOL_MASK if mask.dtype == BOOL else FLOAT_MASK), mask


def _check(name: str, q: Tensor, k: Tensor, v: Tensor) -> None:
    if min(q.ndim, k.ndim, v.ndim) < 2 or q.shape[-1] != k.shape[-1] or k.shape[-2] != v.shape[-2]:
        raise ShapeError(f"{name}: a query of shape {list(q.shape)}, a key of {list(k.shape)} and a value of "
                         f"{list(v.shape)} do not fit; expected (..., L, E), (..., S, E) and (..., S, EV)")


def _groups(name: str, q: Tensor, k: Tensor, v: Tensor) -> int:
    """Number of query heads that share a head of key and value."""
    if min(q.ndim, k.ndim, v.ndim) < 3 or k.shape[-3] != v.shape[-3] or k.shape[-3] < 1 or q.shape[-3] % k.shape[-3]:
        raise ShapeError(f"{name}: enable_gqa needs as many heads (axis -3) in key and value, and a multiple in query; "
                         f"the shapes are {list(q.shape)}, {list(k.shape)} and {list(v.shape)}")
    return q.shape[-3] // k.shape[-3]


def _grouped(t: Tensor, groups: int, heads: int) -> Tensor:
    """Axis -3 as (heads / groups, groups) if it holds the heads, else with a new axis of extent 1; a view."""
    if t.ndim < 3:
        return t
    extent, step = t.shape[-3], t.strides[-3]
    inner = groups if extent == heads else 1
    return view(t, 0, (*t.shape[:-3], extent // inner, inner, *t.shape[-2:]),
                (*t.strides[:-3], step * inner, step, *t.strides[-2:]))


def _batch(name: str, q: Tensor, k: Tensor, v: Tensor) -> tuple[int, ...]:
    try:
        return np.broadcast_shapes(q.shape[:-2], k.shape[:-2], v.shape[:-2])
    except ValueError:
        raise ShapeError(f"{name}: the leading axes of query {list(q.shape)}, key {list(k.shape)} and value "
                         f"{list(v.shape)} do not broadcast") from None


def _by_rows(t: Tensor) -> Tensor:
    """`t` in a layout that BLAS can read and accumulate into: rows contiguous and disjoint."""
    (rows, columns), (down, along) = t.shape[-2:], t.strides[-2:]
    return t if (along == 1 or columns <= 1) and (down >= max(columns, 1) or rows <= 1) and down > 0 else contiguous(t)


def _row_step(t: Tensor) -> int:
    """Leading dimension for BLAS: the stride of a single row is meaningless."""
    return t.strides[-2] if t.shape[-2] > 1 else max(t.shape[-1], 1)


def _check_mask(name: str, mask: Tensor, shape: tuple[int, ...], given: Any) -> None:
    try:
        fits = np.broadcast_shapes(mask.shape, shape) == shape
    except ValueError:
        fits = False
    if not fits:
        raise ShapeError(f"{name}: an attn_mask of shape {list(np.shape(given))} does not broadcast to the scores, "
                         f"(..., L, S) = {list(shape)}")


def _mask_strides(mask: Tensor, shape: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Strides of a mask by query and key, and those over the batch."""
    strides = broadcast_strides(mask.shape, mask.strides, shape)
    return strides[-2:], strides[:-2]


# ------------------------------------------------------------------ position encodings


def rotary_embedding(input: Any, positions: Any = 0, base: float = 10000.0, dim: int | None = None) -> Tensor:
    """Rotate pairs of features by angles proportional to the position (RoPE, Su et al. 2021), one instruction.

    Parameters
    ----------
    input : array_like, (..., L, E)
        Queries or keys; the axis before the last is the position.
    positions : int or array_like of int
        The position of the first element, the others following; or all positions, of shape (L,) or broadcast to
        (..., L). A recording holds them as constants; they cannot depend on its inputs.
    base : float
    dim : int, optional
        Only the first `dim` features are rotated; all if not given. Even.

    Returns
    -------
    Tensor, of the shape of `input`

    Notes
    -----
    Feature ``k`` is paired with feature ``dim / 2 + k`` (the halves of LLaMA and GPT-NeoX; the paper pairs neighbours,
    which is the same up to a permutation of the features), and rotated by ``position * base**(-2 k / dim)``::

        y[k]           = x[k] cos - x[dim / 2 + k] sin
        y[dim / 2 + k] = x[dim / 2 + k] cos + x[k] sin

    The inner product of a rotated query and a rotated key depends only on the difference of their positions. Angles are
    computed in float64.

    Examples
    --------
    >>> import numpy as np
    >>> import tapegrad.nn.functional as F
    >>> F.rotary_embedding(np.float32([[1.0, 0.0], [1.0, 0.0]])).numpy().round(4).tolist()
    [[1.0, 0.0], [0.5403000116348267, 0.8414999842643738]]
    """
    x = input if isinstance(input, Tensor) and input.is_floating else lift(input)[0]
    width = x.shape[-1] if dim is None and x.ndim else dim
    if x.ndim < 2 or width is None or not 0 <= width <= x.shape[-1] or width % 2:
        raise ShapeError(f"rotary_embedding: an input of shape {list(x.shape)} and dim={dim}: expected (..., L, E) and "
                         "an even number of features of at most E")
    table = _rotations(_positions(x, positions), width, float(base), x.dtype)
    if x.shape[-1] > 1 and x.strides[-1] != 1:
        x = contiguous(x)
    order = [*range(x.ndim)]
    if _is_by_token(x):
        order[-3], order[-2] = order[-2], order[-3]
    steps = broadcast_strides(table.shape, table.strides, (*x.shape[:-1], width))
    shape, places = tuple(x.shape[d] for d in order), order[:-1]
    lying = view(x, 0, shape, tuple(x.strides[d] for d in order))
    y = turned(lying, table, tuple(steps[d] for d in places), width // 2)
    return y if places == sorted(places) else swapaxes(y, -2, -3)


def turned(x: Tensor, table: Tensor, steps: tuple[int, ...], half: int) -> Tensor:
    """`ROTARY` of a result of the same layout; `steps` are the strides of the table over the positions."""
    places = x.shape[:-1]
    return recorder(ROTARY)(x.shape, dtype=x.dtype, x=x, table=table, half=half, n=x.shape[-1],
                            nest=nest(places, (contiguous_strides(x.shape)[:-1], x.strides[:-1], steps)))


def _positions(x: Tensor, given: Any) -> tuple[tuple[int, ...], bytes] | tuple[int, int]:
    """First position and count; or shape and values of an array."""
    if isinstance(given, (int, np.integer)):
        return int(given), x.shape[-2]
    array = as_array(given)
    if array.dtype.kind != "i":
        raise DtypeError(f"rotary_embedding: positions must be integers, not {array.dtype}")
    try:
        fits = np.broadcast_shapes(array.shape, x.shape[:-1]) == x.shape[:-1]
    except ValueError:
        fits = False
    if not fits:
        raise ShapeError(f"rotary_embedding: positions of shape {list(array.shape)} do not broadcast to "
                         f"{list(x.shape[:-1])}, the input without its last axis")
    return array.shape, array.tobytes()


@lru_cache(maxsize=64)
def _rotations(positions: Any, width: int, base: float, dtype: np.dtype) -> Tensor:
    """Cosines, then sines, of the angles of each position, along the last axis."""
    first, last = positions
    if isinstance(first, int):
        where = np.arange(first, first + last)
    else:
        where = np.frombuffer(last, np.int64).reshape(first)
    angles = where[..., None] * base ** (-np.arange(0, width, 2) / max(width, 1))
    return fixed(Tensor(np.concatenate([np.cos(angles), np.sin(angles)], axis=-1).astype(dtype)))


@lru_cache(maxsize=64)
def _sinusoids(length: int, dim: int, base: float) -> np.ndarray:
    angles = np.arange(length)[:, None] * base ** (-np.arange(0, dim, 2) / max(dim, 1))
    table = np.empty((length, dim))
    table[:, 0::2], table[:, 1::2] = np.sin(angles), np.cos(angles[:, :dim // 2])
    return table


def sinusoidal_positions(length: int, dim: int, base: float = 10000.0, dtype: Any = np.float32) -> Tensor:
    """``sin(p * base**(-2 i / dim))`` in feature ``2 i`` of row `p`, the cosine in feature ``2 i + 1``.

    The positional encoding of Vaswani et al. (2017), section 3.5.

    Parameters
    ----------
    length, dim : int
    base : float
    dtype : float32 or float64

    Returns
    -------
    Tensor, (length, dim)
    """
    if length < 0 or dim < 0:
        raise ArgumentError(f"sinusoidal_positions: length and dim must not be negative, not {length} and {dim}")
    return Tensor(_sinusoids(int(length), int(dim), float(base)), dtype)
