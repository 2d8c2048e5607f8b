"""The compiled walks: forward, reverse, and the planning of the reverse.

They read a tape through its header, a row of words (addresses in elements of int64, sizes and results) whose places are
named below. Nothing here depends on what an op does.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..kernels import Kernel
from ..language import FLOATS, call, device, frame, words_at
from ..row import Part, Words
from ..storage import address_of
from ..threads.team import share

# places in the header
FORWARD_TABLE, ADJOINT_TABLE, OPCODE, START, WORDS = 1, 2, 3, 4, 5
OPERAND_START, OPERAND_VARIABLE, OPERAND_OFFSET, OPERAND_FLAGS, LIVE = 6, 7, 8, 9, 10
VALUE, ADJOINT, NBYTES, ITEMSIZE, STATE, PLACE = 11, 12, 13, 14, 15, 16
BEGIN, END, FAILED, TOTAL, SEED, BASE, FLOAT_SIZE = 17, 18, 19, 20, 21, 22, 23
REUSE, HOLE, HOLE_BYTES = 24, 25, 26  # whether adjoints share bytes; gaps in their block while it is planned
TASKS, TASK_COUNT = 27, 28  # a recording's task list: pairs (kernel, row); for the kernel see `run_task`
# parallel updates: the first of their rows, elements of all, and the words of a row with its number of elements, with a
# flag that it must be run whole, and after its last
TEAM, PART_KERNEL, PARTS, UPDATES, ELEMENTS, COUNT, WHOLE, WIDTH = range(29, 37)
COMMON, COMMON_KERNELS = 37, 8  # the kernels of most tasks
HEADER_WORDS = COMMON + COMMON_KERNELS

_GAPS = 64  # gaps that are tried for an adjoint

# flags of an operand
WANTED, STORABLE = 1, 2

# states of a variable while the reverse walk is planned
UNREACHED, REACHED, LEAF, LEAF_WITH_GRADIENT, LEAF_REACHED, LEAF_ADDED = 0, 1, 2, 3, 4, 5


@device
def run_forward(op: Any, begin: int, end: int, f: Any, i: Any, b: Any) -> int:
    """Run instructions `begin` to `end`."""
    table, opcode, start, words = op[FORWARD_TABLE], op[OPCODE], op[START], op[WORDS]
    for n in range(begin, end):
        status = call(i[table + i[opcode + n]], words_at(words + i[start + n]), f, i, b)
        if status != 0:
            op[FAILED] = n
            return status
    return 0


def forward_walk(op: Any, f: Any, i: Any, b: Any) -> int:
    """Run instructions BEGIN to END."""
    return run_forward(op, op[BEGIN], op[END], f, i, b)


def update_part(op: Part, f: Any, i: Any, b: Any) -> int:
    """A parallel part of a header's updates: a range of the elements of all rows, concatenated."""
    header, part, piece = words_at(op.row), op.number, frame()
    begin, end = header[ELEMENTS] * part // header[PARTS], header[ELEMENTS] * (part + 1) // header[PARTS]
    count, at = header[COUNT], 0
    for n in range(header[UPDATES], header[END]):
        row = words_at(header[WORDS] + i[header[START] + n])
        size, first = row[count], begin <= at and (at < end or part + 1 == header[PARTS])
        low, high = bound(begin - at, size), bound(end - at, size)
        if row[header[WHOLE]] != 0:
            low, high = 0, size if first else 0
        if low < high or (size == 0 and first):
            for word in range(1, header[WIDTH]):
                piece[word] = row[word]
            for word in range(1, count):
                if piece[word] != 0:
                    piece[word] += low
            piece[count] = high - low
            status = call(i[header[FORWARD_TABLE] + i[header[OPCODE] + n]], piece, f, i, b)
            if status != 0:
                return status
            if low == 0:
                row[0] = piece[count + 1]
        at += size
    return 0


@device
def bound(at: int, size: int) -> int:
    """Where a row of `size` elements is split near `at`: at whole vectors, so that results are bitwise the same."""
    return size if at >= size else max(at, 0) // 64 * 64


def shared_updates(op: Any, f: Any, i: Any, b: Any) -> int:
    """Run the instructions before the updates, then these, in parallel over their elements.

    A row of an update has addresses of arrays before COUNT, and its step count after it.
    """
    status = run_forward(op, op[BEGIN], op[UPDATES], f, i, b)
    if status != 0:
        return status
    status = share(op[TEAM], op[PART_KERNEL], op, op[PARTS], f, i, b)
    for n in range(op[UPDATES], op[END]):
        row = words_at(op[WORDS] + i[op[START] + n])
        row[op[COUNT] + 1] = row[0]
    return status


@device
def clear(b: Any, at: int, nbytes: int) -> int:
    """Zeros; a scalar without a call of the C library's `memset`, which a loop becomes."""
    if nbytes == 4:
        b[at], b[at + 1], b[at + 2], b[at + 3] = 0, 0, 0, 0
        return 0
    if nbytes == 8:
        b[at], b[at + 1], b[at + 2], b[at + 3], b[at + 4], b[at + 5], b[at + 6], b[at + 7] = 0, 0, 0, 0, 0, 0, 0, 0
        return 0
    for k in range(nbytes):
        b[at + k] = 0
    return 0


@device
def run_adjoint(op: Any, n: int, f: Any, i: Any, b: Any) -> int:
    """Clear the adjoints that instruction `n` is the first to accumulate into, and run its adjoint."""
    row = words_at(op[WORDS] + i[op[START] + n])
    fresh = row[0] >> 32
    if fresh != 0:
        operand = op[OPERAND_VARIABLE] + i[op[OPERAND_START] + n]
        j = 0
        while fresh != 0:
            if fresh & 1 != 0:
                v = i[operand + j]
                clear(b, i[op[ADJOINT] + v], i[op[NBYTES] + v])
            fresh >>= 1
            j += 1
    status = call(i[op[ADJOINT_TABLE] + i[op[OPCODE] + n]], row, f, i, b)
    if status != 0:
        op[FAILED] = n
    return status


def reverse_walk(op: Any, f: Any, i: Any, b: Any) -> int:
    """Run the adjoints of the live instructions from END down to BEGIN."""
    live, first, last = op[LIVE], op[BEGIN], op[END] - 1
    for back in range(op[END] - first):
        if i[live + last - back] != 0:
            status = run_adjoint(op, last - back, f, i, b)
            if status != 0:
                return status
    return 0


@device
def run_task(op: Any, kernel: int, row: Any, f: Any, i: Any, b: Any) -> int:
    """Call a kernel by its address, or one of the header's common ones by its number.

    Each of those has a call site of its own, found by branches: over graphs of thousands of instructions processors
    predict branches better than the target of one indirect call.
    """
    if kernel >= COMMON_KERNELS:
        return call(kernel, row, f, i, b)
    if kernel < 4:
        if kernel < 2:
            return call(op[COMMON], row, f, i, b) if kernel == 0 else call(op[COMMON + 1], row, f, i, b)
        return call(op[COMMON + 2], row, f, i, b) if kernel == 2 else call(op[COMMON + 3], row, f, i, b)
    if kernel < 6:
        return call(op[COMMON + 4], row, f, i, b) if kernel == 4 else call(op[COMMON + 5], row, f, i, b)
    return call(op[COMMON + 6], row, f, i, b) if kernel == 6 else call(op[COMMON + 7], row, f, i, b)


@device
def run_tasks(op: Any, begin: int, end: int, f: Any, i: Any, b: Any) -> int:
    """Run tasks `begin` to `end`."""
    tasks = op[TASKS]
    for k in range(begin, end):
        status = run_task(op, i[tasks + 2 * k], words_at(i[tasks + 2 * k + 1]), f, i, b)
        if status != 0:
            op[FAILED] = k
            return status
    return 0


def task_walk(op: Any, f: Any, i: Any, b: Any) -> int:
    """Run tasks BEGIN to END."""
    return run_tasks(op, op[BEGIN], op[END], f, i, b)


class Put(Words):
    mode: int
    y: int
    value: float


def put_float(op: Put, f: Any, i: Any, b: Any) -> int:
    """y = value."""
    f[op.y] = op.value
    return 0


class Clear(Words):
    mode: int
    y: int
    count: int


def clear_floats(op: Clear, f: Any, i: Any, b: Any) -> int:
    """y = 0."""
    if op.count == 1:  # without a call of `memset`, which the loop becomes
        f[op.y] = 0.0
        return 0
    for k in range(op.count):
        f[op.y + k] = 0.0
    return 0


class ClearSeveral(Words):
    mode: int
    rows: int  # the first `Clear`
    count: int


def clear_several(op: ClearSeveral, f: Any, i: Any, b: Any) -> int:
    """`clear_floats` of consecutive rows."""
    for row in range(op.rows, op.rows + 3 * op.count, 3):
        at, count = i[row + 1], i[row + 2]
        if count == 4:
            f[at], f[at + 1], f[at + 2], f[at + 3] = 0.0, 0.0, 0.0, 0.0
        else:
            for k in range(count):
                f[at + k] = 0.0
    return 0


@device
def take_place(op: Any, v: int, holes: int, i: Any) -> int:
    """Best fit: assign the adjoint of variable `v` to the tightest of the last gaps, or the end; returns the gaps."""
    wanted, best = (i[op[NBYTES] + v] + 63) // 64 * 64, -1
    for k in range(max(0, holes - _GAPS), holes):
        room = i[op[HOLE_BYTES] + k]
        if room >= wanted and (best < 0 or room < i[op[HOLE_BYTES] + best]):
            best = k
    if best < 0:
        i[op[PLACE] + v] = op[TOTAL]
        op[TOTAL] += wanted
        return holes
    i[op[PLACE] + v] = i[op[HOLE] + best]
    i[op[HOLE] + best] += wanted
    i[op[HOLE_BYTES] + best] -= wanted
    if i[op[HOLE_BYTES] + best] > 0:
        return holes
    i[op[HOLE] + best] = i[op[HOLE] + holes - 1]
    i[op[HOLE_BYTES] + best] = i[op[HOLE_BYTES] + holes - 1]
    return holes - 1


def plan_reverse(op: Any, f: Any, i: Any, b: Any) -> int:
    """Liveness and buffer assignment of the reverse walk from SEED, and which contributions are stored.

    The first contribution to an adjoint is stored if the kernel can do so and the operand is all of its variable; else
    the walk zeroes the adjoint before it. TOTAL becomes the bytes of the adjoints. With REUSE an adjoint's live range
    ends with the instruction that computed its variable.
    """
    state, variable, flags = op[STATE], op[OPERAND_VARIABLE], op[OPERAND_FLAGS]
    seed, holes = op[SEED], 0
    op[TOTAL] = 0
    if i[state + seed] == UNREACHED:
        i[state + seed] = REACHED
        take_place(op, seed, holes, i)
    first, last = op[BEGIN], op[END] - 1
    for back in range(op[END] - first):
        n = last - back
        operand = i[op[OPERAND_START] + n]
        own = i[variable + operand]
        alive = i[op[OPCODE] + n] >= 0 and i[state + own] == REACHED
        i[op[LIVE] + n] = 1 if alive else 0
        if alive:
            mode = 0
            for j in range(1, i[op[OPERAND_START] + n + 1] - operand):
                flag = i[flags + operand + j]
                if flag & WANTED != 0:
                    v = i[variable + operand + j]
                    at = i[state + v]
                    if at == UNREACHED or at == LEAF:
                        mode |= 1 << j if flag & STORABLE != 0 else 1 << (32 + j)
                        if at == UNREACHED:
                            i[state + v] = REACHED
                            holes = take_place(op, v, holes, i)
                        else:
                            i[state + v] = LEAF_REACHED
                    elif at == LEAF_WITH_GRADIENT:
                        i[state + v] = LEAF_ADDED
            i[op[WORDS] + i[op[START] + n]] = mode
            if op[REUSE] != 0:
                i[op[HOLE] + holes] = i[op[PLACE] + own]
                i[op[HOLE_BYTES] + holes] = (i[op[NBYTES] + own] + 63) // 64 * 64
                holes += 1
    return 0


def link_reverse(op: Any, f: Any, i: Any, b: Any) -> int:
    """Relocation: write the adjoint addresses of the live instructions; those of this walk are relative to BASE."""
    state, variable, size = op[STATE], op[OPERAND_VARIABLE], op[FLOAT_SIZE]
    for n in range(op[BEGIN], op[END]):
        if i[op[LIVE] + n] != 0:
            operand = i[op[OPERAND_START] + n]
            row = op[WORDS] + i[op[START] + n]
            for j in range(i[op[OPERAND_START] + n + 1] - operand):
                word = 0
                if j == 0 or i[op[OPERAND_FLAGS] + operand + j] & WANTED != 0:
                    v = i[variable + operand + j]
                    if i[state + v] == REACHED and i[op[ADJOINT] + v] == 0:
                        i[op[ADJOINT] + v] = op[BASE] + i[op[PLACE] + v]
                    word = i[op[ADJOINT] + v] // size + i[op[OPERAND_OFFSET] + operand + j]
                i[row + 2 + 2 * j] = word
    return 0


def link_values(op: Any, f: Any, i: Any, b: Any) -> int:
    """Relocation: write the value address of every operand of a recording."""
    variable = op[OPERAND_VARIABLE]
    for n in range(op[BEGIN], op[END]):
        operand = i[op[OPERAND_START] + n]
        row = op[WORDS] + i[op[START] + n]
        for j in range(i[op[OPERAND_START] + n + 1] - operand):
            v = i[variable + operand + j]
            i[row + 1 + 2 * j] = i[op[VALUE] + v] // i[op[ITEMSIZE] + v] + i[op[OPERAND_OFFSET] + operand + j]
    return 0


FORWARD_WALK = Kernel("walk.forward", forward_walk)
SHARED_UPDATES, UPDATE_PART = Kernel("walk.updates", shared_updates), Kernel("walk.update_part", update_part)
REVERSE_WALK = Kernel("walk.reverse", reverse_walk)
TASK_WALK = Kernel("walk.tasks", task_walk)
PUT, CLEAR = Kernel("walk.put", put_float), Kernel("walk.clear", clear_floats)
CLEAR_SEVERAL = Kernel("walk.clear_several", clear_several)
PLAN_REVERSE = Kernel("walk.plan_reverse", plan_reverse)
LINK_REVERSE = Kernel("walk.link_reverse", link_reverse)
LINK_VALUES = Kernel("walk.link_values", link_values)

# ------------------------------------------------------------------ kernel tables

CAPACITY = 4096
#: address of each op's kernel by opcode; 0 until it is compiled
FORWARD: dict[np.dtype, np.ndarray] = {dtype: np.zeros(CAPACITY, np.int64) for dtype in FLOATS}
ADJOINT_OF: dict[np.dtype, np.ndarray] = {dtype: np.zeros(CAPACITY, np.int64) for dtype in FLOATS}
#: where both tables of a dtype are, as the header holds them
TABLES = {dtype: (address_of(FORWARD[dtype]) // 8, address_of(ADJOINT_OF[dtype]) // 8) for dtype in FLOATS}


def run_rows(opcodes: np.ndarray, starts: np.ndarray, words: np.ndarray, dtype: np.dtype) -> None:
    """Run each row ``words[starts[r]:]`` with the forward kernel of ``opcodes[r]``, in one compiled call.

    The kernels must have been compiled.
    """
    header = np.zeros(HEADER_WORDS, np.int64)
    header[FORWARD_TABLE], header[ADJOINT_TABLE] = TABLES[dtype]
    header[OPCODE], header[START], header[WORDS] = (address_of(a) // 8 for a in (opcodes, starts, words))
    header[END] = len(opcodes)
    status = FORWARD_WALK(address_of(header), dtype)
    if status:
        raise RuntimeError(f"row {header[FAILED]} ended with status {status}")
