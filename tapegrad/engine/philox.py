"""Philox4x32-10 (Salmon et al. 2011): random numbers as a function of a key and a counter."""

from __future__ import annotations

from typing import Any

from .jit import device

_MASK = 0xFFFFFFFF


@device
def random_word(index: int, stream: int, key: int) -> Any:
    """32 random bits, as an int64, for element `index` of `stream` under `key`."""
    c0, c1, c2, c3 = (index >> 2) & _MASK, (index >> 34) & _MASK, stream & _MASK, (stream >> 32) & _MASK
    k0, k1 = key & _MASK, (key >> 32) & _MASK
    for _ in range(10):
        p, q = 0xD2511F53 * c0, 0xCD9E8D57 * c2
        c0, c1, c2, c3 = ((q >> 32) ^ c1 ^ k0) & _MASK, q & _MASK, ((p >> 32) ^ c3 ^ k1) & _MASK, p & _MASK
        k0, k1 = (k0 + 0x9E3779B9) & _MASK, (k1 + 0xBB67AE85) & _MASK
    lane = index & 3
    low = c0 if lane == 0 else c1
    high = c2 if lane == 2 else c3
    return low if lane < 2 else high
