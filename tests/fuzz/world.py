"""A program on tapegrad, judged."""

from __future__ import annotations

from collections import Counter

import numpy as np

import tapegrad as tg
import tapegrad.nn.functional as F
from tapegrad import nn
from tapegrad.functions import recurrence as layers

from .judge import SEED, Expected, Judge
from .program import BUFFER, CONSTANT, LEAF, Array, Program
from .setting import Setting


class Wrong(Exception):
    """A number that is not what it must be.

    Attributes
    ----------
    what : str
    turn : int
        How often that was compared before.
    found, expected : ndarray
    tolerance : float
    """

    def __init__(self, what, turn, found, expected, tolerance):
        self.what, self.turn, self.found, self.expected, self.tolerance = what, turn, found, expected, tolerance
        super().__init__(what)

    @property
    def worst(self) -> int:
        """The flat index of the element that is farthest off."""
        if np.shape(self.found) != np.shape(self.expected):
            return 0
        difference = np.abs(np.asarray(self.found, float) - self.expected).ravel()
        return int(np.argmax(np.where(np.isnan(difference), np.inf, difference)))

    def __str__(self) -> str:
        if np.shape(self.found) != np.shape(self.expected):
            return f"{self.what} has shape {np.shape(self.found)}, must have {np.shape(self.expected)}"
        k = self.worst
        found, expected = float(np.ravel(self.found)[k]), float(np.ravel(self.expected)[k])
        return (f"{self.what}[{k}] is {found:.9g}, must be {expected:.9g} (within {self.tolerance:.1e}, off by "
                f"{abs(found - expected):.1e})")


class Unjudged(Exception):
    """Errors could have changed a decision, or numbers are too large."""


class World(Setting):
    """A program, its tensors and its judge.

    Parameters
    ----------
    program : Program
    judge : Judge
    dtype : type
    parameters : bool
        Whether leaves are of `nn.Parameter`.

    Attributes
    ----------
    comparisons : int
        Arrays that were compared.
    """

    def __init__(self, program: Program, judge: Judge, dtype: type, parameters: bool) -> None:
        self.program, self.judge, self.dtype, self.comparisons = program, judge, dtype, 0
        self.turns: Counter[str] = Counter()
        leaves, buffers, scope = {}, {}, {"tg": tg, "F": F, "layers": layers, "np": np}
        for a in program.arrays.values():
            value = self.given(a)
            if a.role == LEAF:
                made = nn.Parameter(tg.tensor(value)) if parameters else tg.tensor(value, requires_grad=True)
                scope[a.name] = leaves[a.name] = made
            elif a.role == CONSTANT:
                scope[a.name] = value if a.plain else tg.tensor(value)
            elif a.role == BUFFER:
                scope[a.name] = buffers[a.name] = tg.tensor(value)

        def function(*args):
            of_leaves = dict(zip(leaves, args[:len(leaves)]))
            return program.loss_fn({**scope, **of_leaves})(*args[len(leaves):])

        super().__init__(program.loss_fn(scope), function, leaves, buffers,
                         {n: self.given(program.arrays[n]) for n in (*leaves, *buffers)},
                         lambda t: [self.given(a, t) for a in program.inputs], self.subsets(leaves), SEED)

    def given(self, a: Array, t: int = 0) -> np.ndarray:
        """An array as it is given to tapegrad."""
        value = a.value(t)
        return value.astype(self.dtype) if a.kind == "float" else value

    def subsets(self, leaves) -> list[tuple[str, ...]]:
        """Two sets of leaves that may be frozen: one is left that the loss depends on."""
        rng, found = np.random.default_rng(len(self.program.lines)), []
        expected = self.judge.expected(0)
        if expected is None:
            return []
        moved = [n for n, g in expected.gradients.items() if np.any(g)]
        for _ in range(2):
            kept = moved[int(rng.integers(len(moved)))]
            found.append(tuple(n for n in leaves if n != kept and rng.random() < 0.5))
        return found

    # -------------------------------------------------------------- comparisons

    def expected(self, t: int, **changes) -> Expected:
        """What batch `t` must give."""
        found = self.judge.expected(t, **changes)
        if found is None:
            raise Unjudged
        return found

    def compare(self, what: str, found: np.ndarray, expected: np.ndarray, tolerance: float | None) -> None:
        """Raise `Wrong` unless `found` is within the tolerance; None judges nothing."""
        self.turns[what] += 1
        if tolerance is None:
            return
        self.comparisons += 1
        if found.shape != expected.shape or not np.all(np.abs(found - expected) <= tolerance):
            raise Wrong(what, self.turns[what] - 1, found, expected, tolerance)

    def check(self, t: int, frozen=(), leaves=None, **found) -> None:
        """Compare with what batch `t` must give; `frozen` leaves must not have moved."""
        self._compare([self.expected(t, leaves=leaves)], 1.0, frozen, found)

    def check_mean(self, numbers: list[int], **found) -> None:
        """Compare with the mean over some batches, each of which leaves its buffers to the next."""
        expected, kept = [], None
        for k, t in enumerate(numbers):
            expected.append(self.expected(t, buffers=kept, step=k))
            kept = expected[-1].buffers
        self._compare(expected, 1.0 / len(numbers), (), found)

    def check_sum(self, numbers: list[int], **found) -> None:
        """Compare with the sum over some batches, each after a `seed` and a `rewind`."""
        self._compare([self.expected(t) for t in numbers], 1.0, (), found)

    def _compare(self, expected: list[Expected], share: float, frozen, found) -> None:
        for what, value in self.found(**found).items():
            name = what.removesuffix(".grad").removeprefix("update of ")
            each = [e.of(name) for e in expected]
            errors = [e.tolerance(name, v, self.dtype) for e, v in zip(expected, each)]
            right, tolerance = share * sum(each), None if None in errors else share * sum(errors)
            if what.startswith("update") and name in frozen:
                right, tolerance = np.zeros(value.shape), 0.0
            elif what.startswith("update") and tolerance is not None:
                before, after, rate = found["update"]
                tolerance += 4.0 * self._eps * max(_largest(before[name]), _largest(after[name])) / rate
            self.compare(what, value, right, tolerance)

    @property
    def _eps(self) -> float:
        return float(np.finfo(self.dtype).eps)

    def check_path(self, numbers: list[int], micro: int = 1, **found) -> None:
        """Compare with steps of gradient descent on batches one after the other; `micro` of them are a step."""
        values = {a.name: a.value() for a in self.program.leaves}
        kept = {a.name: a.value() for a in self.program.of(BUFFER)}
        errors = {n: self._eps * _largest(v) * len(numbers) for n, v in values.items()}
        items = self.found(**found)
        for s, first in enumerate(range(0, len(numbers), micro)):
            each = []
            for k in range(first, first + micro):
                each.append(self.expected(numbers[k], leaves=dict(values), buffers=dict(kept), step=k))
                kept = each[-1].buffers
            of_step = {n: [e.tolerance(n, e.of(n), self.dtype) for e in each] for n in ("loss", *values)}
            if any(None in t for t in of_step.values()):
                raise Unjudged
            drift = sum(float(np.sum(np.abs(e.gradients[n]))) * errors[n] for e in each for n in values)
            what = f"loss of step {s}"
            self.compare(what, items.pop(what), sum(e.loss for e in each) / micro, sum(of_step["loss"]) / micro + drift)
            for n in values:
                values[n] = values[n] - self.small_rate * sum(e.gradients[n] for e in each) / micro
                errors[n] += self.small_rate * sum(of_step[n]) / micro
        for what, value in items.items():
            name = what.removesuffix(" in the end")
            if name in values:
                self.compare(what, value, values[name], errors[name])
            else:
                tolerance = each[-1].tolerance(name, kept[name], self.dtype)
                self.compare(what, value, kept[name], None if tolerance is None else tolerance + sum(errors.values()))


def _largest(array: np.ndarray) -> float:
    return float(np.max(np.abs(array), initial=0.0))
