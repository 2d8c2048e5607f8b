"""The walk of a group of elementwise instructions in strips: all of them on some thousand elements before the next.

What lives within the group only is then never more than a strip, which stays in the cache. The kernels are those of
the whole arrays; they run on copies of the rows whose addresses are moved from strip to strip. A group's strips are
dealt out to parts, each with rows and strip buffers of its own, so that parts may run at the same time.
"""

from __future__ import annotations

from typing import Any

from .jit import call, device, words_at

# places in a group's row
PARTS, PART, FINISHES, FINISH = 1, 2, 3, 4  # parts, their rows; what runs after all of them: pairs (kernel, row)
GROUP_WORDS = 5
# places in a part's row
FIRST, LAST, STRIP, ELEMENTS = 1, 2, 3, 4  # its strips; elements of a strip, and of the whole arrays
TASKS, TASK = 5, 6  # triples: kernel, row, the row's word that holds the number of elements
MOVES, MOVE = 7, 8  # triples: a row's word, its address at strip 0, elements from strip to strip
PART_WORDS = 9


@device
def run_part(op: Any, f: Any, i: Any, b: Any) -> int:
    """Run all tasks of a part on one strip after the other."""
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
    """Run the parts of a group, then what needs all of them."""
    for part in range(op[PARTS]):
        status = run_part(words_at(op[PART] + part * PART_WORDS), f, i, b)
        if status != 0:
            return status
    for k in range(op[FINISHES]):
        status = call(i[op[FINISH] + 2 * k], words_at(i[op[FINISH] + 2 * k + 1]), f, i, b)
        if status != 0:
            return status
    return 0


def clear(op: Any, f: Any, i: Any, b: Any) -> int:
    """y = 0. Words: 1 y, 2 elements."""
    for k in range(op[2]):
        f[op[1] + k] = 0.0
    return 0
