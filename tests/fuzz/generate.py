"""Draws programs: the plain-Python tape runs along, so that shapes fit and numbers stay moderate."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

import naive
import numpy as np
from naive import array_functions, layer_functions

from . import BOUNDS
from .judge import Judge, Masks, plain_value
from .program import BUFFER, CONSTANT, INPUT, LEAF, Array, Line, Program

LIMIT = 8.0  # a larger value is brought back by tanh
DRAWERS: list[tuple[float, Callable]] = []


def drawer(weight: float):
    """Have a function of a `Draft` draw an op; it emits lines, and may draw none."""

    def keep(function):
        DRAWERS.append((weight, function))
        return function

    return keep


class TooLarge(Exception):
    """An op asks for an array beyond the program's scale."""


class Draft:
    """A program in the making."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        self.program = Program()
        self.values: dict[str, naive.Var] = {}  # floats, in the order in which they were made
        self.scope: dict = {"tg": array_functions, "F": layer_functions, "layers": layer_functions, "np": np}
        self.uses: dict[str, int] = {}
        self.blocks = 0
        self.block: tuple[int, ...] = ()
        self.masks = Masks()
        scale = self.choose(["tiny"] * 14 + ["middle"] * 4 + ["large"] * 2)
        self.scale = self.program.scale = "tiny" if BOUNDS else scale
        if BOUNDS:  # in plain Python: a few elements, or a few lines
            self.batch, self.extents = self.integer(1, 3), [self.integer(1, 4) for _ in range(3)]
            self.most, self.count = 48, self.integer(3, 14)
            if scale == "large":
                self.batch, self.extents = 1, [self.integer(2048, 2600), 1, 1]
                self.most, self.count = 2600, self.integer(2, 5)
        elif scale == "tiny":
            self.batch = self.integer(1, 5)
            self.extents = [self.integer(1, 6) for _ in range(3)]
            self.most, self.count = 600, self.integer(3, 40)
        elif scale == "middle":
            self.batch = self.choose([1, 2, 17, 64])
            self.extents = [self.choose([1, 8, 33, 100, 130]) for _ in range(3)]
            self.most, self.count = 20_000, self.integer(3, 25)
        else:
            self.batch = self.choose([1, 2, 100, 400, 20_000])
            wide = self.integer(20_000, 200_000) // self.batch
            self.extents = [max(wide, 1), self.choose([1, 2, 3]), max(wide, 1)]
            self.most, self.count = 200_000, self.integer(3, 14)

    # -------------------------------------------------------------- choices

    def integer(self, low: int, high: int) -> int:
        """From `low` to `high`, both included."""
        return int(self.rng.integers(low, high + 1))

    def chance(self, p: float) -> bool:
        return bool(self.rng.random() < p)

    def choose(self, options):
        return options[int(self.rng.integers(len(options)))]

    def number(self, low=0.2, high=1.5, signed=True) -> float:
        """A number of few digits."""
        value = round(float(self.rng.uniform(low, high)), 2)
        return -value if signed and self.chance(0.4) else value

    def extent(self) -> int:
        return self.choose([self.batch, *self.extents])

    def shape(self, least=0, most=3) -> tuple[int, ...]:
        """A shape of the program's extents."""
        for _ in range(20):
            found = tuple(self.extent() if self.chance(0.85) else 1 for _ in range(self.integer(least, most)))
            if math.prod(found) <= self.most:
                return found
        return (1,) * least

    # -------------------------------------------------------------- arrays and values

    def array(self, role, shape, kind="float", low=-1.0, high=1.0) -> str:
        """A new array."""
        if math.prod(shape) > 2 * self.most:
            raise TooLarge
        name = {LEAF: "p", INPUT: "x", CONSTANT: "c", BUFFER: "b"}[role] + str(len(self.program.arrays))
        plain = role == CONSTANT and (kind != "float" or self.chance(0.5))
        made = Array(name, role, tuple(shape), kind, low, high, int(self.rng.integers(1 << 30)), plain)
        self.program.arrays[name] = made
        value = self.scope[name] = plain_value(made, 0)
        if kind == "float":
            self.values[name] = naive.as_var(value)
        return name

    def new(self, shape, low=-1.0, high=1.0) -> str:
        """A new float array of any role."""
        roles = [LEAF] * 5 + [CONSTANT] * 2 + ([INPUT] * 3 if shape and shape[0] == self.batch else [])
        return self.array(self.choose(roles), shape, "float", low, high)

    def indices(self, shape, count) -> str:
        """A new array of ints below `count`."""
        role = INPUT if shape and shape[0] == self.batch and self.chance(0.6) else CONSTANT
        return self.array(role, shape, "int", 0, count)

    def is_plain(self, name: str) -> bool:
        return name in self.program.arrays and self.program.arrays[name].plain

    def pool(self, fits) -> list[str]:
        """Names of floats whose values `fits` accepts."""
        return [n for n, v in self.values.items() if fits(v.value) and self.program_role(n) != BUFFER]

    def program_role(self, name):
        return self.program.arrays[name].role if name in self.program.arrays else None

    def any(self, fits=lambda v: True, shape=None) -> str:
        """A value that fits, late ones more likely; a new array of `shape` if there is none."""
        names = self.pool(fits)
        if not names or self.chance(0.12):
            shape = self.shape(1) if shape is None else shape
            made = self.new(shape)
            if fits(self.values[made].value):
                return made
            names = self.pool(fits) or [made]
        return names[int(len(names) * self.rng.random() ** 0.4)]

    def slot(self, shape, low=None, high=None) -> str:
        """A value of this shape: one that is there, a view of one, or a new array."""
        shape = tuple(shape)

        def fits(v):
            return (v.shape == shape and (low is None or v.min(initial=low) >= low)
                    and (high is None or v.max(initial=high) <= high))

        names = self.pool(fits)
        roll = self.rng.random()
        if names and roll < 0.7:
            return names[int(len(names) * self.rng.random() ** 0.4)]
        if roll < 0.82:
            found = self.view_of(shape)
            if found is not None and fits(self.values[found].value):
                return found
        return self.new(shape, -1.0 if low is None else low, 1.0 if high is None else high)

    def view_of(self, shape) -> str | None:
        """Something seen in this shape."""
        sources = self.pool(lambda v: v.size >= math.prod(shape) or v.ndim <= len(shape))
        self.rng.shuffle(sources)
        for name in sources[:12]:
            v = self.values[name].value
            if self.is_plain(name):
                continue
            if v.shape == shape[::-1] and len(shape) > 1 and self.chance(0.7):
                return self.emit("{0}.T", [name])
            if v.size == math.prod(shape) and v.shape != shape:
                return self.emit(f"tg.reshape({{0}}, {shape})", [name])
            if v.ndim == len(shape) and shape and v.shape != shape and all(a >= b for a, b in zip(v.shape, shape)):
                return self.emit(f"{{0}}[{', '.join(self.slice(a, b) for a, b in zip(v.shape, shape))}]", [name])
            if v.ndim == len(shape) + 1 and v.shape[1:] == shape and v.shape[0]:
                return self.emit(f"{{0}}[{self.integer(0, v.shape[0] - 1)}]", [name])
            if v.shape == shape and shape and self.chance(0.3):
                return self.emit(f"tg.flip({{0}}, {self.integer(0, len(shape) - 1)})", [name])
            if v.ndim < len(shape) and self.chance(0.5):
                try:
                    fits = np.broadcast_shapes(v.shape, shape) == shape
                except ValueError:
                    fits = False
                if fits:
                    return self.emit(f"tg.broadcast_to({{0}}, {shape})", [name])
        return None

    def slice(self, extent: int, taken: int) -> str:
        """A slice of `taken` elements."""
        if taken == extent:
            return self.choose([":", ":", "::-1"])
        if taken == 0:
            return ":0"
        step = self.integer(1, max((extent - 1) // max(taken - 1, 1), 1)) if taken > 1 else 1
        first = self.integer(0, extent - 1 - (taken - 1) * step)
        last = first + (taken - 1) * step
        if self.chance(0.25):
            return f"{last}:{first - 1 if first else ''}:-{step}"
        return f"{first}:{last + 1}:{step}" if step > 1 else f"{first}:{last + 1}"

    # -------------------------------------------------------------- lines

    def emit(self, text: str, operands, targets: int = 1, kept: int | None = None):
        """Append a line; returns the name of its result (or names), None if its numbers would not do."""
        names = tuple(f"v{len(self.program.lines)}" + ("" if targets == 1 else "abc"[k]) for k in range(targets))
        used = sorted({int(k) for k in re.findall(r"{(\d+)}", text)})
        text = re.sub(r"{(\d+)}", lambda found: f"{{{used.index(int(found[1]))}}}", text)
        operands = [operands[k] for k in used]
        line = Line(names, text, tuple(operands), self.block)
        scope = {n: self.scope[n] for n in {*operands, "tg", "F", "layers", "np"}}
        with naive.Run(masks=self.masks) as run, np.errstate(all="ignore"):
            try:
                result = eval(text.format(*operands), scope)
            except (ValueError, IndexError):
                return None
        results = result if targets > 1 else (result,)
        sizes = [np.size(r.value if isinstance(r, naive.Var) else r) for r in results]
        if not run.largest <= 100.0 or max(sizes) > self.most or min(sizes) == 0:
            return None
        self.program.lines.append(line)
        for name, value in zip(names, results):
            self.scope[name] = value
            if isinstance(value, naive.Var):
                self.values[name] = value
        if targets > 1:
            return names
        if isinstance(result, naive.Var) and np.max(np.abs(result.value)) > LIMIT:
            return self.emit(self.choose(["tg.tanh({0})", "{0} * 0.1", "{0} / 16.0"]), [names[0]])
        return names[0]

    def finish(self) -> Program:
        """With scalars of what nobody read, and of some more, as terms."""
        program = self.program
        read = {name for line in program.lines for name in line.operands}
        made = [n for n in self.values if n.startswith("v")]
        loose = [n for n in made if n not in read]
        self.rng.shuffle(loose)
        chosen = loose[:self.integer(1, 9)] + [n for n in made if n in read and self.chance(0.08)][:3]
        for name in chosen or made[-1:]:
            shape = self.values[name].shape
            kind = self.choose(["sum", "mean", "weighted", "square", "plain"])
            if kind == "weighted":
                term = self.emit("tg.sum({0} * {1})", [name, self.array(CONSTANT, shape)])
            elif kind == "square":
                term = self.emit("tg.mean(tg.square({0}))", [name])
            elif kind == "plain" and shape == ():
                term = self.emit("{0} * 1.25", [name])
            else:
                term = self.emit(f"tg.{'sum' if kind == 'sum' else 'mean'}({{0}})", [name])
            if term is not None and self.values[term].shape == ():
                program.terms.append(term)
        return program.without_dead()


def generate(seed) -> tuple[Program, Judge] | None:
    """The program of a seed and its judge; None if its numbers are such that nothing can be judged."""
    from . import ops  # noqa: F401  (which registers the drawers)

    draft = Draft(seed)
    weights = np.array([w for w, _ in DRAWERS])
    for _ in range(draft.integer(1, 3)):
        draft.new(draft.shape(1))
    tries = 0
    while len(draft.program.lines) < draft.count and tries < 4 * draft.count:
        tries += 1
        _, draw = DRAWERS[int(draft.rng.choice(len(DRAWERS), p=weights / weights.sum()))]
        if draft.scale == "tiny" or not getattr(draw, "small", False):
            try:
                draw(draft)
            except TooLarge:
                continue
        if draft.block and draft.chance(0.3):
            draft.block = draft.block[:-1]
    draft.block = ()
    program = draft.finish()
    if not program.terms or not program.leaves:
        return None
    judge = Judge(program)
    expected = judge.expected(0)
    if expected is None or not any(np.any(g) for g in expected.gradients.values()):
        return None
    return program, judge
