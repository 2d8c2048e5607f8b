"""Rematerialisation within a memory budget: what to recompute in the reverse walk so that a step fits.

The recording is cut into stages. Dynamic programming chooses for every range of them whether its first stage keeps what
its adjoints read, or a prefix of the range is run without keeping anything and recomputed when the reverse arrives: the
persistent schedules of Beaumont, Eyraud-Dubois, Herrmann, Joly and Shilova 2019 ("Optimal checkpointing for
heterogeneous chains: how to train deep neural networks with limited memory", section 4), which are nested segments. For
a chain that is optimal among such schedules, to the resolution of the memory levels; in other graphs the values that
cross a cut count in full. Candidates are then planned like any recording, only the bytes of that plan are compared with
the budget, and segments are dropped again where there is room.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...engine.lazy import lazy
from ...errors import ArgumentError, TapeMemoryError
from .liveness import Layout, Lives, layout_of, lives_of
from .placement import live_bytes
from .schedule import Event, Operands, Tree, events_of
from .strips import Forms

MORE_BYTES = 1 / 64  # share of a plan's bytes by which fusion may enlarge it
_LEVELS = 512
_STAGES = 64
_LOOKED, _MOVES = 8, 8_000  # plans to evaluate: at least; this over the number of instructions
_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12,
          "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}


@dataclass(frozen=True)
class Budget:
    """Limit of a step's bytes, and those of them that the optimiser's state takes."""

    nbytes: int
    optimizer_bytes: int


def budget_bytes(value: Any, name: str = "memory_budget") -> int:
    """Bytes from an integer or from text such as ``"64MiB"``, ``"1.5 GB"``.

    >>> budget_bytes("64MiB"), budget_bytes("1.5 kB"), budget_bytes(100)
    (67108864, 1500, 100)
    """
    size = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([a-z]*)\s*", str(value).lower())
    if isinstance(value, str) and size is not None and size[2] in _UNITS:
        nbytes = int(float(size[1]) * _UNITS[size[2]])
    elif isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        nbytes = int(value)
    else:
        raise ArgumentError(f"{name} must be a number of bytes or a size such as '64MiB', not {value!r}")
    if nbytes <= 0:
        raise ArgumentError(f"{name} must be positive, not {value!r}")
    return nbytes


class Plan:
    """A schedule of a recording with its liveness and its buffer assignment, both computed when first asked for.

    Parameters
    ----------
    operands : Operands
    tree : Tree
        Segments that are recomputed.
    ends : tuple
        The arguments of `lives_of` from `inputs` to `read_adjoints`.
    forms : Forms, optional
        Which instructions can be fused elementwise; none by default.
    """

    def __init__(self, operands: Operands, tree: Tree, ends: tuple[Any, ...], forms: Forms | None = None) -> None:
        self.operands, self.tree, self.ends, self.forms = operands, tree, ends, forms
        self.events: list[Event] = events_of(operands, tree)

    @lazy
    def _placed(self) -> tuple[Lives, Layout]:
        """The better of concatenation in place or by copying; with elementwise fusion unless that takes more memory."""
        whole = self._least(None)
        if not self.forms:
            return whole
        strips = self._least(self.forms)
        return strips if strips[1].total <= (1.0 + MORE_BYTES) * whole[1].total else whole

    def _least(self, forms: Forms | None) -> tuple[Lives, Layout]:
        ways = (True, False) if self.operands.parts else (False,)
        inputs, outputs, seed, read = self.ends
        lives = [lives_of(self.operands, self.events, joined, inputs, outputs, seed, read, forms) for joined in ways]
        return min(((each, layout_of(each)) for each in lives), key=lambda placed: placed[1].total)

    @property
    def lives(self) -> Lives:
        """Live ranges."""
        return self._placed[0]

    @property
    def layout(self) -> Layout:
        """Buffer assignment."""
        return self._placed[1]

    @property
    def extra(self) -> float:
        """Expected time of recomputation, as a share of the forward pass."""
        again = sum(self.operands.work[e.instruction] for e in self.events if e.again)
        return again / sum(self.operands.work) if again else 0.0

    def other(self, tree: Tree) -> Plan:
        """The same recording with other segments."""
        return Plan(self.operands, tree, self.ends, self.forms)

    def whole(self) -> Plan:
        """The same without elementwise fusion."""
        return Plan(self.operands, self.tree, self.ends)


def plan_within(plan: Plan, end: int, budget: Budget, standing: int) -> Plan:
    """The plan itself if it keeps to the budget, else the fastest one found that does, without elementwise fusion.

    Fusion and recomputed segments conflict: a fused group that spans the turn from forward to reverse keeps nothing,
    and bytes would no longer rise with the levels.

    Raises
    ------
    TapeMemoryError
        If no plan does; the message names the smallest budget that can be kept to.
    """
    room = budget.nbytes - budget.optimizer_bytes - standing
    plain = plan.other(list(range(end)))
    whole = plain.whole()  # fusion may take a little more memory
    least = math.inf
    for given in (plan, plan.whole(), plain, whole):
        if given.layout.total <= room:
            return given
        least = min(least, given.layout.total)
    chosen, found = _search(Stages(whole, end), room)
    if chosen is None:
        least = min(least, found)
        beside = budget.optimizer_bytes + standing
        raise TapeMemoryError(
            f"memory_budget={budget.nbytes:,} bytes: the smallest that this step can keep to is {least + beside:,} "
            f"bytes, of which {beside:,} are parameters, gradients, optimiser state and constants; a smaller batch or "
            f"accumulate= needs less ({plain.layout.total + beside:,} bytes are needed to compute nothing again)")
    return chosen


def _search(stages: Stages, room: int) -> tuple[Plan | None, float]:
    """The fastest plan of at most `room` bytes, and the fewest bytes of any plan that was evaluated."""
    levels = stages.distinct_levels()
    looked: dict[int, Plan] = {}

    def at(k: int) -> Plan:
        if k not in looked:
            looked[k] = stages.plan.other(stages.tree(levels[k]))
        return looked[k]

    low, high = -1, len(levels)  # bisection for the highest level that fits; bytes all but rise with the level
    while high - low > 1:
        middle = (low + high) // 2
        if at(middle).layout.total <= room:
            low = middle
        else:
            high = middle
    if low < 0:
        for k in range(min(_LOOKED, len(levels))):
            at(k)
    fitting = [plan for plan in looked.values() if plan.layout.total <= room]
    if not fitting:
        return None, min((plan.layout.total for plan in looked.values()), default=math.inf)
    return _with_less(min(fitting, key=lambda plan: (plan.extra, plan.layout.total)), room), room


def _with_less(plan: Plan, room: int) -> Plan:
    """Drop or shorten segments as long as that saves time and the plan still fits."""
    left = max(_LOOKED, _MOVES // max(len(plan.operands.results), 1))
    better = True
    while better and left > 0:
        better = False
        for tree in _less(plan.tree):
            left -= 1
            other = plan.other(tree)
            if other.extra < plan.extra and other.layout.total <= room:
                plan, better = other, True
                break
            if left == 0:
                break
    return plan


def _less(tree: Tree) -> Iterator[Tree]:
    """The trees with one segment less, or with one that begins later or ends earlier by an item."""
    for k, item in enumerate(tree):
        if isinstance(item, list):
            before, after = tree[:k], tree[k + 1:]
            yield [*before, *item, *after]
            if len(item) > 1:
                yield [*before, item[0], item[1:], *after]
                yield [*before, item[:-1], item[-1], *after]
            for inner in _less(item):
                yield [*before, inner, *after]


class Stages:
    """A recording cut into stages, and the table of the dynamic program over them.

    Attributes
    ----------
    cuts : list of int
        Stage s is the instructions ``cuts[s]`` to ``cuts[s + 1]``.
    """

    def __init__(self, plan: Plan, end: int) -> None:
        self.plan, self.operands = plan, plan.operands
        self._size = plan.lives.nbytes.tolist()
        self._crossing_sets(end)
        self.cuts = self._cut(end)
        self.unit = max(plan.layout.total / _LEVELS, 1.0)
        self._measure()
        self._solve()

    # -------------------------------------------------------------- the recording

    def _bytes(self, variables: set[int]) -> int:
        return sum(self._size[v] for v in variables)

    def _crossing_sets(self, end: int) -> None:
        """Liveness in the forward pass: the values that each instruction or a later one reads."""
        operands, inputs = self.operands, set(self.plan.ends[0])
        needed: set[int] = set()
        self.crossing: list[set[int]] = [set()] * (end + 1)
        for n in range(len(operands.results) - 1, -1, -1):
            needed -= set(operands.outputs[n]) - inputs
            needed |= {v for v in operands.inputs[n] if self._size[v]}
            if n <= end:
                self.crossing[n] = set(needed)
        self.row_bytes = [self._bytes(self.crossing[n] | set(operands.outputs[n])) - self._overwritten(n, inputs)
                          for n in range(end)]

    def _overwritten(self, n: int, inputs: set[int]) -> int:
        """Bytes of an input that instruction `n` can overwrite in the forward pass (in-place reuse)."""
        free = [v for v in self.operands.over.lists[n] if v not in inputs and v not in self.crossing[n + 1]]
        return self._size[free[0]] if free else 0

    def _cut(self, end: int) -> list[int]:
        """Where stages begin: in each equal share of the kept bytes, where least crosses."""
        if end <= _STAGES:
            return list(range(end + 1))
        kept = np.cumsum([self._bytes(set(s)) if live else 0.0
                          for s, live in zip(self.operands.saved[:end], self.operands.live)])
        share = np.minimum((kept - kept[0]) * (_STAGES / max(kept[-1] - kept[0], 1)), _STAGES - 1).astype(int)
        cuts = [0]
        for bucket in range(_STAGES):
            rows = [n for n in np.flatnonzero(share == bucket).tolist() if n > cuts[-1]]
            if rows:
                cuts.append(min(rows, key=lambda n: self._bytes(self.crossing[n])))
        return [*cuts, end]

    def _measure(self) -> None:
        """Work, kept bytes and transient peaks of the stages, in levels."""
        lives, operands, cuts = self.plan.lives, self.operands, self.cuts
        count, n = len(cuts) - 1, len(operands.results)
        alive = (lives.nbytes > 0) & (lives.adjoint_birth <= lives.adjoint_death)
        adjoints = live_bytes(lives.nbytes[alive], lives.adjoint_birth[alive], lives.adjoint_death[alive], n, lives.end)
        adjoint_bytes = dict.fromkeys(range(cuts[-1]), 0)
        adjoint_bytes.update({e.instruction: int(adjoints[k]) for k, e in enumerate(self.plan.events)})
        self.border = [self.crossing[c] for c in cuts]
        self.kept = [{v for k in range(a, b) if operands.live[k] for v in operands.saved[k] if self._size[v]}
                     for a, b in zip(cuts, cuts[1:])] + [set()]
        self.run = [max(self.row_bytes[a:b]) for a, b in zip(cuts, cuts[1:])]
        self.back = [max(adjoint_bytes[k] for k in range(a, b)) for a, b in zip(cuts, cuts[1:])]
        self.work = np.concatenate([[0.0], np.cumsum([sum(operands.work[a:b]) for a, b in zip(cuts, cuts[1:])])])
        self.count = count

    def _level(self, nbytes: float) -> int:
        return int(math.floor(nbytes / self.unit + 0.5))

    # -------------------------------------------------------------- the dynamic programme

    def _solve(self) -> None:
        """Fill ``time[s, t, m]``: least recomputation for stages s to t (excluded) in m levels; and the choice."""
        count, levels = self.count, _LEVELS + 1
        self.time = np.full((count + 1, count + 1, levels), np.inf)
        self.choice = np.zeros((count + 1, count + 1, levels), np.int16)
        keep_least = []
        self.keep_levels: list[int] = []  # levels that stage s takes from the later ones
        self.held = held = np.zeros((count, count + 1), np.int64)  # and that the range from s to `later` takes
        for s in range(count):
            self.keep_levels.append(self._level(self._bytes(self.kept[s] - (self.border[s + 1] & self.kept[s + 1]))))
            inside = self._bytes(self.kept[s] - self.border[s] - self.border[s + 1])
            keep_least.append(self._level(max(self.run[s] + inside, self._bytes(self.kept[s]) + self.back[s])))
            for later in range(s + 1, count + 1):
                held[s, later] = self._level(self._bytes(self.border[s] - self.border[later]))
        for s in range(count - 1, -1, -1):
            run = np.maximum.accumulate([self._level(self.run[j]) + held[s, j] for j in range(s, count)])
            for t in range(s + 1, count + 1):
                rest = self._shifted(s + 1, t, self.keep_levels[s]) if t > s + 1 else np.zeros(levels)
                best, how = np.where(np.arange(levels) >= keep_least[s], rest, np.inf), np.zeros(levels, np.int16)
                for later in range(s + 1, t):
                    again = self.work[later] - self.work[s]
                    time = self._shifted(later, t, int(held[s, later])) + self.time[s, later] + again
                    time[:run[later - s - 1]] = np.inf
                    better = time < best
                    best = np.where(better, time, best)
                    how[better] = later
                self.time[s, t], self.choice[s, t] = best, how

    def _shifted(self, s: int, t: int, levels: int) -> np.ndarray:
        """``time[s, t]`` with `levels` less."""
        levels = min(levels, _LEVELS + 1)
        return np.concatenate([np.full(levels, np.inf), self.time[s, t][:_LEVELS + 1 - levels]])

    def distinct_levels(self) -> list[int]:
        """The levels at which the least time changes, rising."""
        time = self.time[0, self.count]
        return [m for m in range(_LEVELS + 1) if np.isfinite(time[m]) and (m == 0 or time[m] < time[m - 1])]

    def tree(self, level: int) -> Tree:
        """The segments of the optimal schedule within `level` levels."""
        return self._stretch(0, self.count, level)

    def _stretch(self, s: int, t: int, level: int) -> Tree:
        tree: Tree = []
        while s < t:
            later = int(self.choice[s, t, level])
            if later == 0:
                tree += range(self.cuts[s], self.cuts[s + 1])
                level -= self.keep_levels[s]
                s += 1
            else:
                tree.append(self._stretch(s, later, level))
                level -= int(self.held[s, later])
                s = later
        return tree
