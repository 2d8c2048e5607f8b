"""Dropout."""

from __future__ import annotations

import math
from typing import Any

from ..engine.random import dropout_key
from ..errors import ArgumentError
from ..ops.dropout import DROPOUT, Dropped
from ..tape.state import state
from ..tensor.recording import lift, recorder
from ..tensor.tensor import Tensor

__all__ = ["dropout"]


def dropout_words(p: float, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The words that say what is dropped, with probability `p`, of what has such a shape.

    Every call gets a random stream of its own.
    """
    scale, threshold = 0.0 if p == 1.0 else 1.0 / (1.0 - p), min(math.floor(p * 2.0**32 + 0.5), 2**32)
    key, stream, counted, each = random_stream(shape)
    return Dropped.words(scale=scale, threshold=threshold, key=key, stream=stream, counted=counted, each=each)


def random_stream(shape: tuple[int, ...], by_rows: bool = True) -> tuple[int, int, int, int]:
    """Of one more random op key, stream, address of the recording's state, and elements of a row of a shared batch.

    `by_rows` says whether numbers of the shape can be drawn some by some.
    """
    return state.capture.random_stream(shape, by_rows) if state.capture is not None else (*dropout_key(), 0, 0)


def dropout(x: Any, p: float = 0.5, training: bool = True) -> Tensor:
    """Elements set to zero with probability `p`, the others divided by ``1 - p``; `x` itself unless `training`.

    The mask depends on the seed (`manual_seed`), the call and the element's index; it is not stored.
    """
    if not 0.0 <= p <= 1.0:
        raise ArgumentError(f"dropout: p is a probability, not {p}")
    if not training or p == 0.0:
        return lift(x)[0]
    x = lift(x)[0]
    return dropped(x, dropout_words(p, x.shape))


def dropped(x: Any, words: tuple[int, ...]) -> Tensor:
    """What dropout leaves of `x`; the same `words` drop the same elements."""
    x = lift(x)[0]
    return recorder(DROPOUT)(x.shape, dtype=x.dtype, always=True, x=x, dropped=words, elements=x.size)
