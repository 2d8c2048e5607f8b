"""The kernel that watches over the blocks of an arena, with ``TAPEGRAD_DEBUG=1`` (see `poison`)."""

from __future__ import annotations

from typing import Any

from ..kernels import Kernel
from ..language import device
from ..poison import CANARY, POISON

BROKEN_STATUS = 253  # of `watch`; the other bits are the block's number


@device
def fill_words(i: Any, at: int, count: int, word: int) -> int:
    """Set so many words."""
    for k in range(count):
        i[at + k] = word
    return 0


def watch(op: Any, f: Any, i: Any, b: Any) -> int:
    """Blocks are born, or have died. Words: 1 their rows (address and count of words, number), 2 how many, 3 whether
    they are born, 4 whether they are filled, 5 words of a canary."""
    for row in range(op[1], op[1] + 3 * op[2], 3):
        at, count = i[row], i[row + 1]
        if op[3] != 0:
            fill_words(i, at + count, op[5], CANARY)
        else:
            for k in range(op[5]):
                if i[at + count + k] != CANARY:
                    return i[row + 2] * 256 + BROKEN_STATUS
        if op[4] != 0:
            fill_words(i, at, count, POISON)
    return 0


WATCH = Kernel("watch", watch)
