"""The random numbers of dropout: Philox4x32-10 (Salmon et al., SC 2011), vectorised over counters."""

from __future__ import annotations

import math

import numpy as np

_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = 0x9E3779B9, 0xBB67AE85
_LOW, _SHIFT = np.uint64(0xFFFFFFFF), np.uint64(32)


def philox(counters, stream, key):
    """Four arrays of 32-bit words for an array of 64-bit counters."""
    counters = np.asarray(counters, np.uint64)
    c0, c1 = counters & _LOW, counters >> _SHIFT
    c2, c3 = np.full_like(c0, stream & 0xFFFFFFFF), np.full_like(c0, (stream >> 32) & 0xFFFFFFFF)
    k0, k1 = key & 0xFFFFFFFF, (key >> 32) & 0xFFFFFFFF
    for _ in range(10):
        p0, p1 = c0 * _M0, c2 * _M1
        c0, c1 = (p1 >> _SHIFT) ^ c1 ^ np.uint64(k0), p1 & _LOW
        c2, c3 = (p0 >> _SHIFT) ^ c3 ^ np.uint64(k1), p0 & _LOW
        k0, k1 = (k0 + _W0) & 0xFFFFFFFF, (k1 + _W1) & 0xFFFFFFFF
    return c0, c1, c2, c3


def words(count, stream, key):
    """The 32-bit words of elements 0 to `count`: blocks of 64 are 16 counters' first words, then their second."""
    blocks = -(-count // 64)
    four = philox(np.arange(blocks * 16), stream, key)
    return np.stack([w.reshape(blocks, 16) for w in four], axis=1).ravel()[:count]


def dropout_mask(shape, p, stream, key):
    """What dropout multiplies with: 0 with probability `p`, else ``1 / (1 - p)``."""
    drawn = words(math.prod(shape), stream, key)
    return ((drawn >= min(math.floor(p * 2.0**32 + 0.5), 2**32)) / (1.0 - p)).reshape(shape)


def key_of_seed(seed):
    """The key that belongs to a seed: the second of two NumPy seed sequences, without the sign bit."""
    _, sequence = np.random.SeedSequence(seed).spawn(2)
    return int(sequence.generate_state(1, np.uint64)[0]) & ((1 << 63) - 1)
