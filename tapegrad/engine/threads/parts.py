"""Data parallelism in one elementwise instruction: its kernel runs on copies of its row, for some elements each.

Fused groups (`engine.walks.strips`) do that for arrays larger than a cache; this is for a single instruction that costs
enough.
"""

from __future__ import annotations

from typing import Any

from ..kernels import Kernel
from ..language import call, device, frame, words_at
from ..row import Part
from .team import share

# places in the row
TEAM, RUN_PART, PARTS = 1, 2, 3
KERNEL, ROW, WORDS, COUNT = 4, 5, 6, 7  # what runs: kernel, row, number of its words, and which of them counts elements
PER = 8  # by word of the row: elements for one step of the address that it holds, 0 if it does not move
#: alignment of a part, in elements
UNIT = 1024


@device
def bound_of(elements: int, part: int, parts: int) -> int:
    """The first element of a part."""
    units = (elements + UNIT - 1) // UNIT
    return min(part * units // parts * UNIT, elements)


def run_part(part: Part, f: Any, i: Any, b: Any) -> int:
    """Run a part of the elements of a row of `run_parts`."""
    op, own = words_at(part.row), frame()
    row, count = words_at(op[ROW]), op[COUNT]
    first, end = bound_of(row[count], part.number, part.count), bound_of(row[count], part.number + 1, part.count)
    for k in range(op[WORDS]):
        moves = op[PER + k] != 0 and row[k] != 0  # 0 for an adjoint that is not wanted
        own[k] = row[k] + (first // op[PER + k] if moves else 0)
    own[count] = end - first
    return call(op[KERNEL], own, f, i, b)


def run_parts(op: Any, f: Any, i: Any, b: Any) -> int:
    """Run an elementwise instruction in parts."""
    return share(op[TEAM], op[RUN_PART], op, op[PARTS], f, i, b)


RUN, PART = Kernel("parts.all", run_parts), Kernel("parts.part", run_part)
