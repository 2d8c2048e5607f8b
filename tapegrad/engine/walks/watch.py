"""The kernel that checks and poisons the blocks of an arena, with ``TAPEGRAD_DEBUG=1`` (see `poison`)."""

from __future__ import annotations

from typing import Any

from ..kernels import Kernel
from ..language import device
from ..poison import CANARY, POISON
from ..row import Words

BROKEN_STATUS = 253  # of `watch`; the other bits are the block's number


@device
def fill_words(i: Any, at: int, count: int, word: int) -> int:
    """Fill words."""
    for k in range(count):
        i[at + k] = word
    return 0


class Watched(Words):
    mode: int
    blocks: int  # address and count of words, and number, of each
    count: int
    born: bool
    filled: bool
    canary: int  # words of one


def watch(op: Watched, f: Any, i: Any, b: Any) -> int:
    """Define blocks (write canaries, poison) or release them (check canaries, poison)."""
    for row in range(op.blocks, op.blocks + 3 * op.count, 3):
        at, count = i[row], i[row + 1]
        if op.born:
            fill_words(i, at + count, op.canary, CANARY)
        else:
            for k in range(op.canary):
                if i[at + count + k] != CANARY:
                    return i[row + 2] * 256 + BROKEN_STATUS
        if op.filled:
            fill_words(i, at, count, POISON)
    return 0


WATCH = Kernel("watch", watch)
