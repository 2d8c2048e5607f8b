"""Makes a failing program small: terms, lines, arrays and stretches go as long as it fails the same way."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import naive
import numpy as np
from naive import array_functions, layer_functions

from .judge import Masks, plain_value
from .program import CONSTANT, INPUT, LEAF, Array, Line, Program


def shrink(program: Program, fails: Callable[[Program], bool], seconds: float = 20.0) -> Program:
    """The smallest program found that still `fails`."""
    end = time.monotonic() + seconds
    again = True
    while again:
        again = False
        for smaller in _smaller(program):
            if time.monotonic() > end:
                return program
            if smaller.terms and smaller.leaves and _size(smaller) < _size(program) and fails(smaller):
                program, again = smaller, True
                break
    return program


def _size(program: Program) -> tuple[int, ...]:
    """What must become less, the most important first."""
    lines = program.lines
    return (len(lines), len(program.terms), sum(len(line.block) for line in lines), len(program.inputs),
            len(program.leaves), sum(a.plain and a.kind == "float" for a in program.arrays.values()),
            sum(len(set(line.operands)) for line in lines))


def _smaller(program: Program) -> Iterator[Program]:
    """Programs with a little less, the greatest steps first."""
    if len(program.terms) > 1:
        half = len(program.terms) // 2
        yield program.changed(terms=program.terms[:half])
        yield program.changed(terms=program.terms[half:])
        for k in range(len(program.terms)):
            yield program.changed(terms=program.terms[:k] + program.terms[k + 1:])
    try:
        values = _values(program)
    except (ValueError, IndexError, TypeError, AttributeError):
        return
    for k, line in enumerate(program.lines[:-2]):  # the loss is the sum of an early value
        for name in line.targets:
            if isinstance(values.get(name), naive.Var):
                total = Line(("total",), "tg.sum({0})", (name,))
                yield Program(program.arrays, [*program.lines[:k + 1], total], ["total"]).without_dead()
    for k in reversed(range(len(program.lines))):
        line = program.lines[k]
        for name in line.targets:
            value = values.get(name)
            if not isinstance(value, naive.Var):
                continue
            for operand in line.operands:
                other = values[operand]
                if isinstance(other, naive.Var) and other.shape == value.shape:
                    yield _renamed(program, name, operand, k)
            for role in (CONSTANT, LEAF):
                yield _given(program, name, value.value, role, k)
    for number in {n for line in program.lines for n in line.block}:
        yield program.changed(lines=[replace(line, block=tuple(n for n in line.block if n != number))
                                     for line in program.lines])
    for name, a in program.arrays.items():
        for change in _plainer(a):
            yield program.changed(arrays={**program.arrays, name: replace(a, **change)})


def _plainer(a: Array) -> list[dict]:
    """Changes that make less of an array."""
    if a.role == INPUT:
        return [{"role": CONSTANT}, {"role": LEAF}] if a.kind == "float" else [{"role": CONSTANT, "plain": True}]
    if a.role == LEAF:
        return [{"role": CONSTANT}]
    return [{"plain": False}] if a.plain and a.kind == "float" else []


def _values(program: Program) -> dict:
    """What every name stands for."""
    scope = {"tg": array_functions, "F": layer_functions, "layers": layer_functions, "np": np,
             **{a.name: plain_value(a, 0) for a in program.arrays.values()}}
    scope = {n: naive.Var(v) if isinstance(v, np.ndarray) and v.dtype == np.float64 else v for n, v in scope.items()}
    with naive.Run(masks=Masks()), np.errstate(all="ignore"):
        for line in program.lines:
            result = eval(line.text.format(*line.operands), scope)
            scope.update(zip(line.targets, result if len(line.targets) > 1 else (result,)))
    return scope


def _renamed(program: Program, name: str, other: str, after: int) -> Program:
    """`other` in place of `name` from line `after` on."""
    def of(names):
        return tuple(other if n == name else n for n in names)

    lines = [line if k <= after else replace(line, operands=of(line.operands)) for k, line in enumerate(program.lines)]
    return program.changed(lines=lines, terms=list(of(program.terms)))


def _given(program: Program, name: str, value: np.ndarray, role: str, after: int) -> Program:
    """An array of such values in place of `name`."""
    low, high = float(np.min(value, initial=np.inf)), float(np.max(value, initial=-np.inf))
    made = Array(f"{'p' if role == LEAF else 'c'}_{name}", role, value.shape, "float", round(low, 3),
                 round(max(high, low + 0.01), 3), 1 + after)
    arrays = {**program.arrays, made.name: made}
    return _renamed(Program(arrays, program.lines, program.terms), name, made.name, after)


