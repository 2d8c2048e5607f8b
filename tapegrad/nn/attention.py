"""Multi-head attention."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from .. import functions
from ..errors import ArgumentError, DtypeError, ShapeError
from ..tensor.arrays import BOOL
from ..tensor.recording import as_tensor
from ..tensor.tensor import Tensor, constant
from . import functional as F
from . import init
from .linear import Linear
from .module import Module
from .parameter import Parameter, float_dtype
from .shapes import positive_int

__all__ = ["MultiheadAttention"]

_HIDDEN = -1e30  # finite, so that a row without a key has no NaN before it is zeroed


class MultiheadAttention(Module):
    """Multi-head attention with projections of query, key and value (Vaswani et al. 2017).

    Parameters
    ----------
    embed_dim : int
        Features of query and output; a multiple of `num_heads`.
    num_heads : int
    dropout : float
        Dropout probability of the attention weights in training.
    bias : bool
        Whether the projections have biases.
    add_bias_kv : bool
        Append a learned token to keys and values.
    add_zero_attn : bool
        Append a token of zeros to keys and values.
    kdim, vdim : int, optional
        Features of key and value; `embed_dim` if not given.
    batch_first : bool
        Whether arrays are (N, L, features) rather than (L, N, features).
    dtype : float32 or float64

    Attributes
    ----------
    in_proj_weight : Parameter, shape (3 embed_dim, embed_dim), or None
        Of query, key and value concatenated, if all have `embed_dim` features; else there are
    q_proj_weight, k_proj_weight, v_proj_weight : Parameter, shape (embed_dim, features), or None
    in_proj_bias : Parameter, shape (3 embed_dim,), or None
    bias_k, bias_v : Parameter, shape (1, 1, embed_dim), or None
    out_proj : Linear

    Examples
    --------
    >>> import numpy as np
    >>> from tapegrad import nn
    >>> attention = nn.MultiheadAttention(8, 2, batch_first=True)
    >>> x = np.ones((3, 5, 8), np.float32)
    >>> output, weights = attention(x, x, x)
    >>> output.shape, weights.shape
    ((3, 5, 8), (3, 5, 5))
    """

    in_proj_weight: Parameter | None
    in_proj_bias: Parameter | None
    q_proj_weight: Parameter | None
    k_proj_weight: Parameter | None
    v_proj_weight: Parameter | None
    bias_k: Parameter | None
    bias_v: Parameter | None

    def __init__(self, embed_dim: int, num_heads: int, dropout: float = 0.0, bias: bool = True,
                 add_bias_kv: bool = False, add_zero_attn: bool = False, kdim: int | None = None,
                 vdim: int | None = None, batch_first: bool = False, dtype: DTypeLike | None = None) -> None:
        super().__init__()
        name = "MultiheadAttention"
        self.embed_dim = positive_int(embed_dim, f"{name}: embed_dim")
        self.num_heads = positive_int(num_heads, f"{name}: num_heads")
        if self.embed_dim % self.num_heads:
            raise ArgumentError(f"{name}: embed_dim {embed_dim} does not divide into {num_heads} heads")
        if not 0.0 <= dropout <= 1.0:
            raise ArgumentError(f"{name}: dropout must be from 0 to 1, got {dropout}")
        self.kdim = self.embed_dim if kdim is None else positive_int(kdim, f"{name}: kdim")
        self.vdim = self.embed_dim if vdim is None else positive_int(vdim, f"{name}: vdim")
        self.head_dim = self.embed_dim // self.num_heads
        self.dropout, self.batch_first, self.add_zero_attn = float(dropout), bool(batch_first), bool(add_zero_attn)
        dtype, e = float_dtype(dtype, name), self.embed_dim
        same = self.kdim == self.vdim == e
        shapes = {"in_proj_weight": (3 * e, e) if same else None, "q_proj_weight": None if same else (e, e),
                  "k_proj_weight": None if same else (e, self.kdim), "v_proj_weight": None if same else (e, self.vdim),
                  "in_proj_bias": (3 * e,) if bias else None, "bias_k": (1, 1, e) if add_bias_kv else None,
                  "bias_v": (1, 1, e) if add_bias_kv else None}
        for label, shape in shapes.items():
            self.register_parameter(label, None if shape is None else Parameter(np.empty(shape, dtype), dtype=dtype))
        self.out_proj = Linear(e, e, bias, dtype)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Reset the projections' weights (Glorot's uniform distribution), and their biases to zero."""
        for weight in (self.in_proj_weight, self.q_proj_weight, self.k_proj_weight, self.v_proj_weight):
            if weight is not None:
                init.xavier_uniform_(weight)
        self.out_proj.reset_parameters()
        for bias in (self.in_proj_bias, self.out_proj.bias):
            if bias is not None:
                init.zeros_(bias)
        for extra in (self.bias_k, self.bias_v):
            if extra is not None:
                init.xavier_normal_(extra)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, key_padding_mask: Any = None,
                need_weights: bool = True, attn_mask: Any = None, average_attn_weights: bool = True,
                is_causal: bool = False) -> tuple[Tensor, Tensor | None]:
        """Attend from query to key and value.

        Parameters
        ----------
        query : Tensor, (L, N, embed_dim), with `batch_first` (N, L, embed_dim), or (L, embed_dim)
        key : Tensor, (S, N, kdim), (N, S, kdim) or (S, kdim)
        value : Tensor, (S, N, vdim), (N, S, vdim) or (S, vdim)
        key_padding_mask : array_like, (N, S) or (S,), optional
            True where a key is to be ignored; or floats, added to the scores.
        need_weights : bool
            Return the weights too; they are then computed whole. Say False for speed and memory.
        attn_mask : array_like, (L, S) or (N num_heads, L, S), optional
            True where a query may *not* attend to a key (the opposite of `functional.scaled_dot_product_attention`); or
            floats, added to the scores.
        average_attn_weights : bool
            Whether the weights are averaged over the heads.
        is_causal : bool
            Query `i` attends only to the keys 0 to `i`; this needs no `attn_mask`, and one that is given holds as well.

        Returns
        -------
        output : Tensor, of the shape of `query`
            A query that may attend to nothing gives `out_proj`'s bias (in PyTorch, with `need_weights`, NaN).
        weights : Tensor, (N, L, S), else (N, num_heads, L, S), or None
            After dropout; without N if the arrays have none.
        """
        query, key, value, batched = self._checked(query, key, value)
        q, k, v = self._projected(query, key, value)
        added = int(self.bias_k is not None) + int(self.add_zero_attn)
        if added:
            k, v = self._longer(k, self.bias_k), self._longer(v, self.bias_v)
        q, k, v = (functions.swapaxes(t, 1, 2) for t in (q, k, v))
        mask = self._mask(attn_mask, key_padding_mask, q, k, added, is_causal and (need_weights or added > 0))
        dropout = self.dropout if self.training else 0.0
        weights = None
        if need_weights:
            weights = self._weights(q, k, mask)
            weights = F.dropout(weights, dropout)
            heads = functions.matmul(weights, v)
            weights = weights.mean(axis=1) if average_attn_weights else weights
            weights = weights if batched else weights[0]
        else:
            heads = F.scaled_dot_product_attention(q, k, v, mask, dropout, is_causal and not added)
        output = self.out_proj(functions.reshape(functions.swapaxes(heads, 1, 2), (*query.shape[:2], self.embed_dim)))
        if not batched:
            return output[0], weights
        return (output if self.batch_first else functions.swapaxes(output, 0, 1)), weights

    def _checked(self, *given: Any) -> tuple[Any, Any, Any, bool]:
        """Query, key and value as (N, L, features), keeping identities; whether they had N."""
        widths, ranks = (self.embed_dim, self.kdim, self.vdim), {np.ndim(t) for t in given}
        shapes = [np.shape(t) for t in given]
        fits = ranks in ({2}, {3}) and all(s[-1] == n for s, n in zip(shapes, widths))
        if fits:
            batched, time = ranks == {3}, -2 if self.batch_first or ranks == {2} else 0
            fits = shapes[1][time] == shapes[2][time]
            fits = fits and (not batched or len({s[0 if self.batch_first else 1] for s in shapes}) == 1)
        if not fits:
            form = "(L, {}) or (N, L, {})" if self.batch_first else "(L, {}) or (L, N, {})"
            expected = ", ".join(form.format(n, n) for n in widths)
            raise ShapeError(f"MultiheadAttention({self.embed_dim}, {self.num_heads}): query, key and value of shape "
                             f"{', '.join(str(list(s)) for s in shapes)}; expected {expected}")
        made: dict[int, Any] = {}
        for t in given:
            if id(t) not in made:
                made[id(t)] = functions.expand_dims(t, 0) if not batched else \
                    t if self.batch_first else functions.swapaxes(t, 0, 1)
        query, key, value = (made[id(t)] for t in given)
        return query, key, value, batched

    def _projected(self, query: Any, key: Any, value: Any) -> list[Tensor]:
        """Query, key and value as (N, L, num_heads, head_dim); identical inputs share a matrix product."""
        e, weight, bias = self.embed_dim, self.in_proj_weight, self.in_proj_bias
        given, weights = (query, key, value), (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight)
        cuts = [n for n in range(1, 3) if weight is None or given[n] is not given[n - 1]]
        found = []
        for first, last in zip([0, *cuts], [*cuts, 3]):
            rows = slice(first * e, last * e)
            part = weights[first] if weight is None else weight if last - first == 3 else weight[rows]
            shift = bias if bias is None or last - first == 3 else bias[rows]
            y = F.linear(given[first], part, shift)  # type: ignore[arg-type]
            y = functions.reshape(y, (*y.shape[:2], last - first, self.num_heads, self.head_dim))
            found += [y[:, :, n] for n in range(last - first)]
        return found

    def _longer(self, t: Tensor, extra: Parameter | None) -> Tensor:
        """(N, S, num_heads, head_dim) with the learned token and the zeros appended."""
        heads = (self.num_heads, self.head_dim)
        parts = [t]
        if extra is not None:
            parts.append(functions.broadcast_to(functions.reshape(extra, heads), (t.shape[0], 1, *heads)))
        if self.add_zero_attn:
            parts.append(Tensor(np.zeros((t.shape[0], 1, *heads), t.dtype)))
        return functions.concatenate(parts, axis=1)

    def _mask(self, attn_mask: Any, padding: Any, q: Tensor, k: Tensor, added: int, causal: bool) -> Tensor | None:
        """One mask as of `functional.scaled_dot_product_attention`; the last `added` keys are always visible."""
        n, h, tokens, keys = q.shape[0], self.num_heads, q.shape[2], k.shape[2] - added
        parts = []
        if attn_mask is not None:
            mask = self._tensor(attn_mask, "attn_mask", ((tokens, keys), (n * h, tokens, keys)))
            parts.append(functions.reshape(mask, (n, h, tokens, keys)) if mask.ndim == 3 else mask)
        if padding is not None:
            mask = self._tensor(padding, "key_padding_mask", ((n, keys), (keys,) if n == 1 else (n, keys)))
            parts.append(functions.reshape(mask, (n, 1, 1, keys)))
        parts = [functions.logical_not(m) if m.dtype == BOOL else m for m in parts]
        if causal:
            parts.append(Tensor(np.tril(np.ones((tokens, keys), bool))))
        if not parts:
            return None
        if added or any(m.dtype != BOOL for m in parts):
            seen, hidden = constant(0.0, q.dtype), constant(-math.inf, q.dtype)
            parts = [functions.where(m, seen, hidden) if m.dtype == BOOL else m.astype(q.dtype) for m in parts]
            total = parts[0] if len(parts) == 1 else parts[0] + parts[1]
            total = total if len(parts) < 3 else total + parts[2]
            return functions.pad(total, [(0, 0)] * (total.ndim - 1) + [(0, added)]) if added else total
        total = parts[0]
        for mask in parts[1:]:
            total = functions.logical_and(total, mask)
        return total

    def _tensor(self, given: Any, label: str, shapes: tuple[tuple[int, ...], ...]) -> Tensor:
        mask = as_tensor(given)
        if mask.dtype.kind not in "bf":
            raise DtypeError(f"MultiheadAttention: {label} is {mask.dtype}; it must be of bool (True: not attended to) "
                             "or of floats (added to the scores)")
        if mask.shape not in shapes:
            expected = " or ".join(str(list(s)) for s in dict.fromkeys(shapes))
            raise ShapeError(f"MultiheadAttention: {label} of shape {list(mask.shape)}; expected {expected}")
        return mask

    def _weights(self, q: Tensor, k: Tensor, mask: Tensor | None) -> Tensor:
        """softmax(q k^T / sqrt(head_dim) + mask), whole; zero for a query without keys."""
        scores = functions.matmul(q * (1.0 / math.sqrt(self.head_dim)), functions.swapaxes(k, -1, -2))
        if mask is None:
            return F.softmax(scores, -1)
        seen = mask
        if mask.dtype != BOOL:
            seen = functions.greater(mask, -math.inf)
            scores = scores + functions.where(seen, mask, 0.0)
        return functions.where(seen, F.softmax(functions.where(seen, scores, _HIDDEN), -1), 0.0)
