"""Sums over the processes of a job, as compiled code asks for them: by the address of a function of one's own.

The function takes what is wanted and the address of three words: where the numbers are (an element address), how many,
and a count. It is told in a table, whose address a row holds, so that a recording may be linked before it is known.
"""

from __future__ import annotations

from typing import Any

from .kernels import Kernel
from .language import c_call, device, frame, row_address
from .row import Words

__all__ = ["AVERAGE", "BUCKET", "DONE", "FAILED", "GRADIENTS", "NOT_SUMMED", "SEND", "SUM", "Send", "over_ranks",
           "sum_gradients"]

#: what is wanted: the step's gradients and loss summed; numbers averaged by counts; numbers summed. Counts are summed
GRADIENTS, AVERAGE, SUM = 0, 1, 2
#: a bucket of gradients is ready to be sent, or, with number -1, those under way are to be looked after
BUCKET = 3
#: what the function returns; 0 is what it returns if Python is interrupted at its entry
DONE, FAILED = 1, 2
#: status of a walk in which it failed
NOT_SUMMED = 1 << 40


@device
def sum_gradients(function: int) -> int:
    """The status of the sum of gradients."""
    return 0 if c_call(function, GRADIENTS, 0, 0) == DONE else NOT_SUMMED


@device
def over_ranks(table: int, what: int, at: int, n: int, count: int, i: Any) -> int:
    """Replace `n` numbers by their averages or sums over the ranks; returns the sum of the counts, or -1."""
    words = frame()
    words[0], words[1], words[2] = at, n, count
    return words[2] if c_call(i[table], what, row_address(words) * 8, 0) == DONE else -1


class Send(Words):
    mode: int
    function: int
    number: int


def send_bucket(op: Send, f: Any, i: Any, b: Any) -> int:
    """A task of the reverse walk: its gradients so far are final."""
    return 0 if c_call(op.function, BUCKET, op.number, 0) == DONE else NOT_SUMMED


SEND = Kernel("ranks.send", send_bucket)
