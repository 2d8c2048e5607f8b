"""What a program must give, by the plain-Python tape, and within which errors."""

from __future__ import annotations

from dataclasses import dataclass

import naive
import numpy as np
from naive import array_functions, layer_functions, random_words

from .program import LEAF, Array, Program

NOISE = 1e-6  # relative, of every result, to find out how far errors carry
RUNS, MORE_RUNS = 2, 12  # with noise; where two that are small by chance would find fault with a rounding
SAFETY = 40.0  # an op's own error may be some roundings, and no run has the worst of them
#: with more runs there are some in which the terms of a sum have errors of one sign, for a constant that is added to
#: numbers of few digits is rounded alike in all of them; a term is rounded once, and in three sums of `sums.eight`:
#: the error of a sum is within 4 u sum |x_k|, u = eps / 2
ALIKE, ALIKE_RUNS, ROUNDINGS = 1e-9, 8, 4
LARGEST = 1e4
ILL = 0.03  # errors of this part of the largest element, and nothing is judged
SEED = 20261129  # of what the programs draw


@dataclass
class Expected:
    """Loss, gradients by leaf, buffers as they are left, and how far each moves with errors of `NOISE`.

    `shifts` says how far each moves with the errors of sums all of whose terms are rounded the same way, of 1 part.
    """

    loss: np.ndarray
    gradients: dict[str, np.ndarray]
    buffers: dict[str, np.ndarray]
    moves: dict[str, float]
    shifts: dict[str, float]

    def of(self, name: str) -> np.ndarray:
        """The loss, a leaf's gradient or a buffer."""
        return self.loss if name == "loss" else self.gradients[name] if name in self.gradients else self.buffers[name]

    def tolerance(self, what: str, value: np.ndarray, dtype: type) -> float | None:
        """The absolute error that `what` may have; None if that is too large to judge by."""
        eps, largest = float(np.finfo(dtype).eps), float(np.max(np.abs(value), initial=0.0))
        error = SAFETY * self.moves[what] * eps / NOISE + 8.0 * eps * largest + float(np.finfo(dtype).tiny)
        error += ROUNDINGS * eps / 2.0 * self.shifts[what]
        return error if error <= ILL * largest or error == 0.0 else None


class Masks:
    """The masks of the dropouts of one run, in the order of calls."""

    def __init__(self, step: int = 0):
        self.stream = step << 20

    def __call__(self, shape, p):
        self.stream += 1
        return random_words.dropout_mask(shape, p, self.stream - 1, random_words.key_of_seed(SEED))


def plain_value(array: Array, batch: int):
    """An array as the tape takes it."""
    value = array.value(batch)
    return naive.Var(value) if array.kind == "float" and not array.plain else value


class Judge:
    """Runs one program, and keeps what it found for its first leaves and buffers."""

    def __init__(self, program: Program, runs: int = RUNS):
        self.program, self.runs = program, runs
        self.kept: dict[tuple[int, int], Expected | None] = {}

    def expected(self, batch: int, leaves: dict[str, np.ndarray] | None = None,
                 buffers: dict[str, np.ndarray] | None = None, step: int = 0) -> Expected | None:
        """What this batch must give; None if errors could change a decision, or numbers grow too large.

        `leaves` and `buffers` hold values other than the first ones; `step` is the number of the run since seeding.
        """
        if leaves or buffers:
            return self._find(batch, leaves or {}, buffers or {}, step)
        key = batch, step if self.program.draws else 0
        if key not in self.kept:
            self.kept[key] = self._find(batch, {}, {}, step)
        return self.kept[key]

    def _find(self, batch, leaves, buffers, step):
        found, first, closely = [], None, ALIKE_RUNS if self.runs > RUNS else 0
        for k in range(1 + self.runs + closely):
            noise, alike = (NOISE if 0 < k <= self.runs else 0.0), (ALIKE if k > self.runs else 0.0)
            with naive.Run(noise, k, Masks(step), alike) as run, np.errstate(all="ignore"):
                found.append(self._walk(batch, leaves, buffers))
            if first is None:
                first = run
            if not run.largest <= LARGEST or run.decisions != first.decisions:
                return None
        loss, gradients, kept = found[0]
        noisy, alike = found[1:1 + self.runs], found[1 + self.runs:]
        return Expected(loss, gradients, kept, _moves(found[0], noisy), {name: move / ALIKE for name, move in
                                                                         _moves(found[0], alike).items()})

    def _walk(self, batch, leaves, buffers):
        program = self.program
        arrays = {a.name: plain_value(a, batch) for a in program.arrays.values()}
        for name, value in (*leaves.items(), *buffers.items()):  # results of earlier steps, which round too
            arrays[name] = naive.Var(naive.Run.current.rounded(value))
        loss_fn = program.loss_fn({"tg": array_functions, "F": layer_functions, "layers": layer_functions, "np": np,
                                   **arrays})
        loss = loss_fn(*[arrays[a.name] for a in program.inputs])
        loss.backward()
        gradients = {a.name: np.zeros(a.shape) if arrays[a.name].adjoint is None else arrays[a.name].adjoint
                     for a in program.arrays.values() if a.role == LEAF}
        kept = {a.name: np.array(arrays[a.name].value) for a in program.of("buffer")}
        return np.array(loss.value), gradients, kept


def _moves(exact, others) -> dict[str, float]:
    """By name how far others of these results are off the first."""
    def off(value, *found):
        return max((float(np.max(np.abs(f - value), initial=0.0)) for f in found), default=0.0)

    moves = {"loss": off(exact[0], *[f[0] for f in others])}
    for part in (1, 2):
        moves.update({name: off(value, *[f[part][name] for f in others]) for name, value in exact[part].items()})
    return moves
