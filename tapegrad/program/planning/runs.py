"""Instruction scheduling over scalars: runs of one opcode, as far as dependences allow.

A branch predictor expects the next call to be that of the same kernel. Calls in a user's order it can learn for some
thousand instructions; longer recordings would lose half their time to mispredictions.

Results do not depend on the order, to the bit: contributions to an adjoint keep theirs, except for the first two, for
a + b is b + a.
"""

from __future__ import annotations

from collections import defaultdict
from heapq import heappop, heappush

from ...engine.walks.walk import WANTED
from ...ops.elementwise import BINARY, UNARY
from ...ops.few import SCALED_TOTALS, SOFTMAXES_OF_SCALARS, STACKS, TOTALS
from ...tape.rows import Row

FEWEST = 64  # fewest consecutive instructions over scalars that are scheduled
_SCALAR = {op.scalar.opcode for op in (*UNARY.values(), *BINARY.values()) if op.scalar is not None}
_SCALAR.update(op.opcode for ops in (STACKS, SOFTMAXES_OF_SCALARS, TOTALS, SCALED_TOTALS) for op in ops.values())


def in_runs(rows: list[Row]) -> list[Row]:
    """The same instructions, those of long stretches over scalars scheduled in runs."""
    result: list[Row] = []
    before: dict[int, list[int]] | None = None
    n = 0
    while n < len(rows):
        end = n
        while end < len(rows) and rows[end][0] in _SCALAR and rows[end][3][3] is rows[n][3][3]:
            end += 1
        if end - n < FEWEST:
            end = max(end, n + 1)
            result += rows[n:end]
        else:
            before = _order_of_contributions(rows) if before is None else before
            result += [rows[k] for k in _scheduled(rows, n, end, before)]
        n = end
    return result


def _order_of_contributions(rows: list[Row]) -> dict[int, list[int]]:
    """By instruction, earlier ones that add to the same adjoint and must stay before it (dependences)."""
    readers: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
    wide = set()  # variables that are read other than as scalars
    for n, (code, _, operands, _) in enumerate(rows):
        scalar = code in _SCALAR
        for v, offset, flags in operands[1:]:
            if flags & WANTED:
                readers[v, offset].append(n)
                if not scalar:
                    wide.add(v)
    before: defaultdict[int, list[int]] = defaultdict(list)
    for (v, _), added in readers.items():
        last = len(added) if v in wide else len(added) - 2  # the reverse adds in the opposite order
        for k in range(1, len(added)):
            first = added[min(k - 1, last - 1)] if last > 0 else added[k]
            if first != added[k]:
                before[added[k]].append(first)
    return before


def _scheduled(rows: list[Row], begin: int, end: int, before: dict[int, list[int]]) -> list[int]:
    """List scheduling of the instructions `begin` to `end`.

    Priority is to the present kind while one of it is ready, then to the kind of the first ready instruction.
    """
    waits, then = [0] * (end - begin), [[] for _ in range(end - begin)]  # type: list[int], list[list[int]]
    made: dict[int, int] = {}
    for n in range(begin, end):
        operands = rows[n][2]
        needs = {made[v] for v, _, _ in operands[1:] if v in made}
        needs.update([k for k in before.get(n, ()) if k >= begin])
        waits[n - begin] = len(needs)
        for k in needs:
            then[k - begin].append(n)
        made[operands[0][0]] = n
    ready: defaultdict[int, list[int]] = defaultdict(list)
    for n in range(begin, end):
        if not waits[n - begin]:
            heappush(ready[rows[n][0]], n)
    order: list[int] = []
    queue = ready[rows[begin][0]]
    while len(order) < end - begin:
        if not queue:
            queue = min([q for q in ready.values() if q])
        n = heappop(queue)
        order.append(n)
        for k in then[n - begin]:
            waits[k - begin] -= 1
            if not waits[k - begin]:
                heappush(ready[rows[k][0]], k)
    return order
