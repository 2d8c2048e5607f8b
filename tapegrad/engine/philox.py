"""Counter-based random numbers: Philox4x32-10.

Four 32-bit words are a function of a counter, a stream and a seed (64 bits each) and of nothing else. So the numbers do
not depend on the number of threads or their order, and a dropout mask need not be stored: the reverse walk regenerates
it.

Source: J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw, Parallel random numbers: as easy as 1, 2, 3, SC 2011.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .kernels import Kernel
from .language import cast, device, device_pair
from .row import Words

__all__ = ["SHUFFLE", "Shuffle", "philox", "random_word", "scale_some_survivors", "scale_survivors", "uniform"]

WORD = 0xFFFFFFFF


@device
def philox(counter: Any, stream: Any, seed: Any) -> Any:
    """Four words, each from 0 to 2**32 - 1: block number `counter` of `stream` under the key `seed`.

    In the paper's terms the counter's low half is `counter`, its high half `stream`. The arguments are int64, taken
    as 64 bits whatever the sign.
    """
    counter, stream, seed = int(counter), int(stream), int(seed)
    a, b = counter & WORD, (counter >> 32) & WORD
    c, d = stream & WORD, (stream >> 32) & WORD
    key, other = seed & WORD, (seed >> 32) & WORD
    for _ in range(10):
        left, right = a * 0xD2511F53, c * 0xCD9E8D57
        a, b = ((right >> 32) & WORD) ^ b ^ key, right & WORD
        c, d = ((left >> 32) & WORD) ^ d ^ other, left & WORD
        key, other = (key + 0x9E3779B9) & WORD, (other + 0xBB67AE85) & WORD
    return a, b, c, d


# Elements are served in blocks of 64: 16 counters, whose first words go to the first 16 elements, and so on. A loop
# over the 16 is then contiguous, vectorises, and wastes no word.


@device
def random_word(element: Any, stream: Any, seed: Any) -> Any:
    """The word, from 0 to 2**32 - 1, that belongs to element number `element` of an array.

    Computes a block of four words for one: about 3.4 ns in a loop, four times as much as `scale_survivors`.
    """
    a, b, c, d = philox((element >> 6) * 16 + (element & 15), stream, seed)
    lane = (element >> 4) & 3
    return (a if lane == 0 else b) if lane < 2 else (c if lane == 2 else d)


@device
def scale_survivors(
    f: Any, y: Any, x: Any, elements: Any, scale: Any, threshold: Any, stream: Any, seed: Any, store: Any
) -> int:
    """``y[k] += scale * x[k]`` for every k with ``random_word(k, stream, seed) >= threshold``: dropout.

    With `store`, ``y[k] = scale * x[k]`` for those and 0 for the others. `y` and `x` are addresses in `f`; an element
    survives with probability ``1 - threshold / 2**32``. The reverse walk makes the same call with adjoints for values.
    """
    if store:  # two loops, for neither vectorises with the branch
        return _scale_survivors(f, y, x, elements, scale, threshold, stream, seed, True, 0)
    return _scale_survivors(f, y, x, elements, scale, threshold, stream, seed, False, 0)


@device
def scale_some_survivors(
    f: Any, y: Any, x: Any, first: Any, elements: Any, scale: Any, threshold: Any, stream: Any, seed: Any, store: Any
) -> int:
    """`scale_survivors` of the `elements` from number `first` of an array on, which lie at `y` and `x`."""
    head = min(-first & 63, elements)
    for k in range(head):
        _scale_survivor(f, y + k, x + k, scale, random_word(first + k, stream, seed) >= threshold, store)
    y, x, elements, blocks = y + head, x + head, elements - head, (first + head) >> 6
    if store:
        return _scale_survivors(f, y, x, elements, scale, threshold, stream, seed, True, blocks)
    return _scale_survivors(f, y, x, elements, scale, threshold, stream, seed, False, blocks)


@device
def _scale_survivors(
    f: Any, y: Any, x: Any, elements: Any, scale: Any, threshold: Any, stream: Any, seed: Any, store: Any, blocks: Any
) -> int:
    whole = elements >> 6
    for block in range(whole):
        for k in range(16):
            a, b, c, d = philox((blocks + block) * 16 + k, stream, seed)
            u, v = y + block * 64 + k, x + block * 64 + k
            _scale_survivor(f, u, v, scale, a >= threshold, store)
            _scale_survivor(f, u + 16, v + 16, scale, b >= threshold, store)
            _scale_survivor(f, u + 32, v + 32, scale, c >= threshold, store)
            _scale_survivor(f, u + 48, v + 48, scale, d >= threshold, store)
    for k in range(whole * 64, elements):
        _scale_survivor(f, y + k, x + k, scale, random_word(blocks * 64 + k, stream, seed) >= threshold, store)
    return 0


@device
def _scale_survivor(f: Any, y: Any, x: Any, scale: Any, survives: Any, store: Any) -> int:
    zero = cast(0.0, f)
    before = zero if store else f[y]
    f[y] = before + (scale * f[x] if survives else zero)
    return 0


def _uniform32(element: Any, stream: Any, seed: Any, zero: Any) -> Any:
    word, _, _, _ = philox(element, stream, seed)
    return np.float32(np.int32(word >> 8)) * 2.0**-24


def _uniform64(element: Any, stream: Any, seed: Any, zero: Any) -> Any:
    """A number from 0 up to but not 1, in the dtype of `zero`: 24 random bits as float32, 53 as float64.

    Uses the first word of block number `element`, so its stream must not serve anything else.
    """
    word, more, _, _ = philox(element, stream, seed)
    return np.float64(np.int32(word >> 5)) * 2.0**-27 + np.float64(np.int32(more >> 6)) * 2.0**-53


uniform = device_pair("uniform", _uniform32, _uniform64)


class Shuffle(Words):
    mode: int
    numbers: int  # where they are
    count: int  # at most 2**32
    seed: int


def shuffle(op: Shuffle, f: Any, i: Any, b: Any) -> int:
    """Shuffle numbers.

    R. Durstenfeld, Algorithm 235: random permutation, CACM 1964. A number below a bound is the high half of the bound
    times a word, with rejection by the low half against bias (D. Lemire, Fast random integer generation in an interval,
    ACM TOMACS 2019).
    """
    at, bound, counter = op.numbers, op.count, 0
    while bound > 1:
        w, x, y, z = philox(counter, 0, op.seed)
        counter += 1
        for turn in range(4):
            word = (w if turn == 0 else x) if turn < 2 else (y if turn == 2 else z)
            product = word * bound
            if bound > 1 and ((product & WORD) >= bound or (product & WORD) >= (WORD + 1) % bound):
                bound -= 1
                other = at + ((product >> 32) & WORD)
                kept = i[other]
                i[other] = i[at + bound]
                i[at + bound] = kept
    return 0


SHUFFLE = Kernel("philox.shuffle", shuffle)
