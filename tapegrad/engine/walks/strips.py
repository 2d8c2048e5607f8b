"""Elementwise fusion with loop tiling: a group's instructions all run on one strip (tile) before the next.

What lives within the group only is then never larger than a strip, which stays in cache. The kernels are those of whole
arrays; they run on copies of the rows whose addresses move from strip to strip. A group's strips are divided into
parallel parts, each with rows and strip buffers of its own.
"""

from __future__ import annotations

from typing import Any

from ..kernels import Kernel
from ..language import call, words_at
from ..threads.team import share

# places in a group's row
TEAM, RUN_PART = 1, 2  # addresses of the team and of `run_part`
PARTS, PART = 3, 4  # parts, and their rows
FINISHES, FINISH = 5, 6  # what runs after all parts: pairs (kernel, row)
# places in a part's row
FIRST, LAST, STRIP, ELEMENTS = 1, 2, 3, 4  # its strips; elements of a strip, and of the whole arrays
TASKS, TASK = 5, 6  # triples: kernel, row, the row's word that holds the number of elements
MOVES, MOVE = 7, 8  # triples: a row's word, its address at strip 0, elements from strip to strip
PART_WORDS = 9


def run_part(words: Any, f: Any, i: Any, b: Any) -> int:
    """Run all tasks of a part, strip after strip; words: 0 the group's row, 1 the part's number."""
    op = words_at(i[words[0] + PART] + words[1] * PART_WORDS)
    strip = op[STRIP]
    for s in range(op[FIRST], op[LAST]):
        for k in range(op[MOVES]):
            move = op[MOVE] + 3 * k
            i[i[move]] = i[move + 1] + s * i[move + 2]
        count = min(strip, op[ELEMENTS] - s * strip)
        for k in range(op[TASKS]):
            task = op[TASK] + 3 * k
            i[i[task + 2]] = count
            status = call(i[task], words_at(i[task + 1]), f, i, b)
            if status != 0:
                return status
    return 0


def run_strips(op: Any, f: Any, i: Any, b: Any) -> int:
    """Run the parts of a group in parallel, then what needs all of them."""
    status = share(op[TEAM], op[RUN_PART], op, op[PARTS], f, i, b)
    if status != 0:
        return status
    for k in range(op[FINISHES]):
        status = call(i[op[FINISH] + 2 * k], words_at(i[op[FINISH] + 2 * k + 1]), f, i, b)
        if status != 0:
            return status
    return 0


RUN = Kernel("strips.part", run_part)
