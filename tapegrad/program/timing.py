"""How long each instruction of a recording takes."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from ..engine import walk
from ..engine.storage import array_at
from ..memory import Rows
from .account import instructions_of
from .program import Program

_AT_LEAST = 3


def time_instructions(program: Program, batch: Sequence[np.ndarray], seconds: float) -> Rows:
    """Median times over passes of the whole recording on a batch, instruction by instruction, for about `seconds`.

    The time of an empty walk, which the call itself takes, is taken off.

    Returns
    -------
    Rows
        ``#``, ``op``, ``out``, ``layer``, then microseconds ``forward`` and ``reverse``, and ``share`` of the sum.
    """
    tape, n = program.tape, program.tape.count
    ran: list[np.ndarray] = []
    empty: list[float] = []
    began = time.perf_counter()
    try:
        while len(ran) < _AT_LEAST or time.perf_counter() - began < seconds:
            ran.append(_one_pass(program, batch, empty))
    finally:
        tape._header[walk.BEGIN], tape._header[walk.END] = 0, n
    taken = np.maximum(np.median(ran, axis=0) - np.median(empty), 0.0) * 1e6
    taken[1, [k for k in range(n) if not tape._live[k]]] = 0.0
    total = max(taken.sum(), 1e-9)
    return Rows(("#", "op", "out", "layer", "forward", "reverse", "share"),
                tuple((i.number, i.op, i.out, i.layer or "-", round(float(taken[0, k]), 2),
                       round(float(taken[1, k]), 2), round(float(taken[:, k].sum() / total), 4))
                      for k, i in enumerate(instructions_of(program))))


def _one_pass(program: Program, batch: Sequence[np.ndarray], empty: list[float]) -> np.ndarray:
    """Seconds of each instruction forward and in reverse, and of two walks over nothing."""
    tape, n, seed, clock = program.tape, program.tape.count, program.seed, time.perf_counter
    taken = np.zeros((2, n))
    program.give(batch)
    program.draw()
    for walker, direction, order in ((walk.FORWARD_WALK, 0, range(n)),
                                     (walk.REVERSE_WALK, 1, range(program.end - 1, -1, -1))):
        start = clock()
        tape.run(walker, 0, 0)
        empty.append(clock() - start)
        if direction:
            array_at(program.seed_at, seed.shape, seed.strides, seed.dtype, program)[...] = 1.0
        for k in order:
            start = clock()
            tape.run(walker, k, k + 1)
            taken[direction, k] = clock() - start
    return taken
