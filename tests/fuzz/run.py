"""One seed: its program in some of the ways, and what was wrong."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

import tapegrad as tg
from tapegrad.program.planning import strips

from .generate import generate
from .judge import MORE_RUNS, Judge
from .program import Program
from .script import SHORT, script
from .shrink import shrink
from .ways import EAGER, RECORDED, SPLIT, WAYS
from .world import Unjudged, World, Wrong


@dataclass(frozen=True)
class Setup:
    """A way, a dtype, whether leaves are parameters, threads, and whether arrays of 2048 elements run in strips."""

    way: str
    dtype: type
    parameters: bool
    threads: int
    short: bool = False

    def __str__(self) -> str:
        return (f"{self.way}, {self.dtype.__name__}, {self.threads} thread{'s' if self.threads > 1 else ''}"
                f"{', short strips' if self.short else ''}")


@dataclass
class Failure:
    """A program that gave something wrong, or raised."""

    seed: int
    setup: Setup
    program: Program
    error: Exception

    def __str__(self) -> str:
        kind = "" if isinstance(self.error, Wrong) else f"{type(self.error).__name__}: "
        return f"seed {self.seed}, {self.setup}: {kind}{self.error}"


def fits(way: str, program: Program) -> bool:
    """Whether the way can run the program."""
    return WAYS[way] not in SPLIT or bool(program.inputs)


def attempt(program: Program, judge: Judge, setup: Setup) -> tuple[World | None, Exception | None]:
    """Run it; the world says how much was compared. `Unjudged` is no error."""
    before, lengths = tg.get_num_threads(), (strips.STRIP_BYTES, strips.FEWEST_STRIPS)
    tg.set_num_threads(setup.threads)
    if setup.short:
        strips.STRIP_BYTES, strips.FEWEST_STRIPS = SHORT
    world = None
    try:
        world = World(program, judge, setup.dtype, setup.parameters)
        WAYS[setup.way](world)
    except Unjudged:
        pass
    except Exception as error:
        return world, error
    finally:
        tg.set_num_threads(before)
        strips.STRIP_BYTES, strips.FEWEST_STRIPS = lengths
    return world, None


def setups(program: Program, rng: np.random.Generator, count: int | None) -> list[Setup]:
    """All ways in both dtypes, or some: `count` recorded ones and half as many that are not."""
    chosen: list[tuple[str, type]] = []
    for ways, share in ((EAGER, 2), (RECORDED, 1)):
        pairs = [(w.__name__, dtype) for w in ways for dtype in (np.float64, np.float32) if fits(w.__name__, program)]
        order = rng.permutation(len(pairs))
        chosen += [pairs[k] for k in (order if count is None else order[:-(-count // share)])]
    large = program.scale != "tiny"
    return [Setup(w, dtype, bool(rng.integers(2)), int(rng.integers(1, 3)) if large or rng.random() < 0.1 else 1,
                  large and bool(rng.random() < 0.6)) for w, dtype in chosen]


def try_seed(seed: int, count: int | None, totals: Counter) -> list[Failure]:
    """The failures of a seed's program, one a kind; `totals` counts programs, runs and comparisons."""
    made = generate(seed)
    if made is None:
        totals["discarded"] += 1
        return []
    program, judge = made
    totals["programs"] += 1
    failures: list[Failure] = []
    for setup in setups(program, np.random.default_rng([seed, 1]), count):
        world, error = attempt(program, judge, setup)
        totals["runs"] += 1
        totals["comparisons"] += world.comparisons if world is not None else 0
        if isinstance(error, Wrong):  # which it must be by more noise, too
            totals["judged again"] += 1
            _, error = attempt(program, Judge(program, MORE_RUNS), setup)
        if error is not None:
            totals["failures"] += 1
            failures.append(Failure(seed, setup, program, error))
    order = [*WAYS]
    return sorted(failures, key=lambda f: (order.index(f.setup.way), f.setup.dtype is np.float32))


def shrunk(failure: Failure, seconds: float = 20.0) -> Failure:
    """The same failure of a smaller program."""
    found = failure.error

    def fails(program: Program) -> bool:
        nonlocal found
        _, error = attempt(program, Judge(program, MORE_RUNS), failure.setup)
        same = type(error) is type(failure.error)
        found = error if same else found
        return same

    small = shrink(failure.program, fails, seconds)
    _, error = attempt(small, Judge(small, MORE_RUNS), failure.setup)
    return Failure(failure.seed, failure.setup, small, error or found)


def as_script(failure: Failure) -> str:
    """A script that shows it."""
    setup = failure.setup
    world = World(failure.program, Judge(failure.program), setup.dtype, setup.parameters)
    return script(failure.program, world, WAYS[setup.way], failure.error, setup.threads, setup.short)
