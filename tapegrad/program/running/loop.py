"""The compiled training loop: gather a batch, walk forward and in reverse, update, without Python in between."""

from __future__ import annotations

import math
from typing import Any

from ...engine.kernels import Kernel
from ...engine.language import call, cast, device, real, words_at
from ...engine.ranks import sum_gradients
from ...engine.walks.walk import FAILED, TASK_COUNT, run_tasks

# Words of the row
TAPE, UPDATES, UPDATE_WALK = 1, 2, 3  # headers, as element addresses of int64 (no updates: 0); address of their walk
FIRST, LAST = 4, 5  # steps to run
INDEX, BATCH, INPUTS, TABLE = 6, 7, 8, 9  # rows to gather (0: all in place), rows at once, inputs, their table
LOSSES, LOSS = 10, 11  # where losses go (0: nowhere), where a micro-batch's loss is
RATES, COLUMNS, RATE_COUNT, RATE_WORDS, RATE_COLUMNS = 12, 13, 14, 15, 16  # learning rates by step and column
RANDOM, DONE = 17, 18  # random state or 0; steps done
MICRO, ADDING, SHARE = 19, 20, 21  # micro-batches a step; header whose gradients are all added to; 1/MICRO as real
WATCH = 22  # whether to stop at a loss that is infinite or NaN, before its update
REDUCE, SUMMED = 23, 24  # function that sums gradients and losses over processes, or 0; where it wants the loss
ROW_WORDS = 25


def train_steps(op: Any, f: Any, i: Any, b: Any) -> int:
    """Run steps FIRST to LAST of an epoch; DONE tells how many were."""
    share = real(op, SHARE, f)
    for step in range(op[FIRST], op[LAST]):
        for k in range(op[RATE_COUNT]):
            i[i[op[RATE_WORDS] + k]] = i[op[RATES] + step * op[COLUMNS] + i[op[RATE_COLUMNS] + k]]
        loss = cast(0.0, f)
        for micro in range(op[MICRO]):
            if op[INDEX] != 0:
                for k in range(op[INPUTS]):
                    source, target, width = (i[op[TABLE] + 3 * k], i[op[TABLE] + 3 * k + 1], i[op[TABLE] + 3 * k + 2])
                    first = op[INDEX] + (step * op[MICRO] + micro) * op[BATCH]
                    gather_rows(i, b, first, op[BATCH], source, target, width)
            header = words_at(op[TAPE] if micro == 0 else op[ADDING])
            status = run_tasks(header, 0, header[TASK_COUNT], f, i, b)
            if status != 0:
                i[op[TAPE] + FAILED] = header[FAILED]
                return status
            loss += f[op[LOSS]] * share
            if op[RANDOM] != 0:
                i[op[RANDOM] + 1] += 1
        if op[REDUCE] != 0:
            f[op[SUMMED]] = loss
            status = sum_gradients(op[REDUCE])
            if status != 0:
                return status
            loss = f[op[SUMMED]]
        if op[WATCH] != 0 and not math.fabs(loss) < math.inf:
            if op[RANDOM] != 0:
                i[op[RANDOM] + 1] -= op[MICRO]
            return 0
        if op[LOSSES] != 0:
            f[op[LOSSES] + step] = loss
        if op[UPDATES] != 0:
            status = call(op[UPDATE_WALK], words_at(op[UPDATES]), f, i, b)
            if status != 0:
                return status
        op[DONE] = step + 1
    return 0


@device
def gather_rows(i: Any, b: Any, first: int, count: int, source: int, target: int, width: int) -> int:
    """Copy rows bytewise; a function of its own so that LLVM turns the inner loop into block copies."""
    for r in range(count):
        at, to = source + i[first + r] * width, target + r * width
        for c in range(width):
            b[to + c] = b[at + c]
    return 0


TRAIN_STEPS = Kernel("loop.train_steps", train_steps)
