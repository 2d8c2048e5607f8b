"""Adjoints of programs against differences of the same program run in plain Python."""
# ruff: noqa: B007, B023, E741, F841

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np

from tapegrad.loops.derived import Derived
from tapegrad.loops.normal import normalise
from tapegrad.loops.source import Source


@dataclass
class Program:
    """A function, arguments for it, and its gradient by hand where there is one.

    `hand` takes the arguments and gives the gradients by the floats among them, in order, of a scalar result.
    Where a function is not `smooth`, differences say nothing.
    """
# ruff: noqa: B007, B023, E741, F841

    function: Callable
    args: tuple[Any, ...]
    hand: Callable | None = None
    smooth: bool = True

    def __repr__(self) -> str:
        return self.function.__name__


class Programs(list):
    """Programs of a file: ``@programs.add(*args)`` takes one in."""

    def add(self, *args: Any, hand: Callable | None = None, smooth: bool = True) -> Callable:
        """Take a function in, with arguments."""
        def taken(function: Callable) -> Callable:
            self.append(Program(function, args, hand, smooth))
            return function
        return taken


def copies(args: Sequence[Any]) -> list[Any]:
    """Arguments that a program may write to; the strides stay."""
    return [a.copy(order="K") if isinstance(a, np.ndarray) else a for a in args]


def is_real(value: Any) -> bool:
    """Whether an argument is differentiated by."""
    return isinstance(value, (float, np.floating)) or isinstance(value, np.ndarray) and value.dtype.kind == "f"


def results_of(function: Callable, args: Sequence[Any]) -> list[np.ndarray]:
    """What a function returns, as a list."""
    found = function(*copies(args))
    return [np.array(r, dtype=float) for r in (found if isinstance(found, tuple) else (found,))]


def weights_for(results: Sequence[np.ndarray]) -> list[Any]:
    """Adjoints of the results."""
    if len(results) == 1 and not results[0].ndim:
        return [1.0]
    draw = np.random.default_rng(7)
    return [draw.uniform(0.5, 1.5, r.shape) if r.ndim else float(draw.uniform(0.5, 1.5)) for r in results]


def differences(function: Callable, args: Sequence[Any], weights: Sequence[Any],
                step: float = 2e-5) -> list[np.ndarray]:
    """Central differences of fourth order of the weighted sum of the results, in plain Python."""
    found = []
    for k, given in enumerate(args):
        if not is_real(given):
            continue
        slope = np.zeros(np.shape(given))
        for at in np.ndindex(*slope.shape):
            def moved(by: float, k: int = k, at: tuple = at) -> float:
                shifted = [np.array(a, np.float64) if is_real(a) and np.ndim(a) else a for a in copies(args)]
                if slope.shape:
                    shifted[k][at] += by
                else:
                    shifted[k] = float(shifted[k]) + by
                with np.errstate(all="ignore"):
                    return sum(float(np.sum(w * r)) for w, r in zip(weights, results_of(function, shifted)))
            slope[at] = (8 * (moved(step) - moved(-step)) - (moved(2 * step) - moved(-2 * step))) / (12 * step)
        found.append(slope)
    return found


_DERIVED: dict[Any, Derived] = {}


def derive(function: Callable, args: Sequence[Any]) -> Derived:
    """The adjoint of a function by all its floats; the same again for the same function."""
    key = function, tuple(numba.typeof(a) for a in args)
    if key not in _DERIVED:
        normal = normalise(Source(function))
        wanted = [p for p, a in zip(normal.parameters, args) if is_real(a)]
        _DERIVED[key] = Derived(normal, key[1], wanted)
    return _DERIVED[key]


def gradients(function: Callable, args: Sequence[Any], weights: Sequence[Any]) -> tuple[list[Any], list[Any], Derived]:
    """Results and gradients of the derived adjoint."""
    derived = derive(function, args)
    weights = [np.asarray(w, np.float64) if np.ndim(w) else w for w in weights]
    results, found = derived.run(copies(args), weights)
    return results, found, derived


def worst_error(found: Sequence[Any], expected: Sequence[Any]) -> float:
    """The greatest error, beside the greatest expected element."""
    assert len(found) == len(expected)
    worst = 0.0
    for g, e in zip(found, expected):
        assert np.shape(g) == np.shape(e)
        if np.size(e):
            worst = max(worst, float(np.max(np.abs(np.asarray(g, float) - e))) / (1.0 + float(np.max(np.abs(e)))))
    assert not np.isnan(worst)
    return worst


def check_accumulates(derived: Derived, args: Sequence[Any], weights: Sequence[Any], found: Sequence[Any],
                      tolerance: float) -> None:
    """Adjoints of arrays are added to what others have contributed, and do not read it."""
    given = [np.full(g.shape, 7.0, g.dtype) if isinstance(g, np.ndarray) else 0.0 for g in found]
    weights = [np.asarray(w, np.float64) if np.ndim(w) else w for w in weights]
    top, bottom = derived.length(copies(args), weights)
    derived.function(*copies(args), *weights, *given, np.empty(top), np.empty(bottom, np.int64))
    for g, alone in zip(given, found):
        if isinstance(g, np.ndarray):
            assert np.allclose(g - 7.0, alone, rtol=tolerance, atol=10 * tolerance), derived.source


def check(function: Callable, args: Sequence[Any], tolerance: float = 1e-8) -> float:
    """Compare values and gradients; gives the worst error."""
    expected = results_of(function, args)
    weights = weights_for(expected)
    results, found, derived = gradients(function, args, weights)
    assert len(results) == len(expected)
    for r, e in zip(results, expected):
        assert np.allclose(r, e, rtol=tolerance, atol=tolerance), f"value {r} instead of {e}\n{derived.source}"
    slopes = differences(function, args, weights)
    check_accumulates(derived, args, weights, found, tolerance)
    error = worst_error(found, slopes)
    assert error <= tolerance, f"{function.__name__}: {error}\n{found}\n{slopes}\n{derived.source}"
    return error
