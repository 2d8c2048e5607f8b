"""A recorded step that is watched: its twin, which keeps everything, and what is measured of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...engine.storage import address_of, aligned_bytes
from ...ops.masked import MASKED
from ...ops.table import OPS
from ...program.running.program import Program
from ...program.running.step import Step
from ...tape.nodes import Leaf
from . import statistics as s

#: by op, outputs between which the slope is at least a hundredth of its greatest
_FLAT = math.sqrt(0.99)
_LINEAR = {"sigmoid": (0.5 - 0.5 * _FLAT, 0.5 + 0.5 * _FLAT), "tanh": (-_FLAT, _FLAT)}
_ACTIVATIONS = {"relu", *_LINEAR}
_MASKED = {op.name: name for name, op in MASKED.items()}


@dataclass(frozen=True)
class Place:
    """An instruction: its number in the listing, its op, the module, and the user's line."""

    instruction: int
    op: str
    module: str
    file: str
    line: int

    def __str__(self) -> str:
        return f"instruction {self.instruction} ({self.op}), {self.file}:{self.line}"

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {"instruction": self.instruction, "op": self.op, "module": self.module,
                "where": {"file": self.file, "line": self.line} if self.file else None}


@dataclass(frozen=True)
class Parameter:
    """A trained parameter, and the rows of its statistics."""

    name: str
    shape: tuple[int, ...]
    gradient: int
    weight: int


@dataclass(frozen=True)
class Layer:
    """Consecutive instructions of one module, of which the last makes the output.

    Attributes
    ----------
    name : str
        The module's dotted path; with op and number if it is called several times, or is no module.
    value, adjoint : int or None
        Rows of the statistics of the output.
    units : int
        Units of a relu; else 0.
    """

    name: str
    place: Place
    shape: tuple[int, ...]
    value: int | None
    adjoint: int | None
    units: int
    parameters: tuple[Parameter, ...]


class Watch:
    """A step under observation.

    Parameters
    ----------
    step : Step

    Attributes
    ----------
    kept : Step
        Runs in its place; values and adjoints stay.
    layers : list of Layer
    sizes : ndarray of int64, (rows,)
        Elements of what the rows of `results` are of.
    results : ndarray of float64, (rows, RESULTS)
        The latest statistics.
    """

    def __init__(self, step: Step) -> None:
        self.step, self.kept = step, step.keeping()
        program = self.program = self.kept.program
        self._rows: list[dict[str, Any]] = []
        tape = program.tape
        variables = tape._variable[tape._operand_start[:program.count]].tolist()
        self._size = tape.dtype.itemsize
        self.places = [self._place(n) for n in range(program.count)]
        self.begins = _begins(self.places)
        last = {*(n - 1 for n in self.begins[1:]), program.count - 1}
        self.inputs = [self._row(int(tape._value[t.node.variable]), t.size, bins=False) if t.is_floating else None
                       for t in program.inputs]
        self.values, self.adjoints, self.units = [], [], []
        for n, v in enumerate(variables):
            shape, dtype, _ = tape.notes[n][0][0]
            size, op = math.prod(shape), self.places[n].op
            units = _units(shape) if op == "relu" else (0, 0, 1)
            floating, adjoint = dtype == tape.dtype, program.lives.adjoint_birth[v] <= program.lives.adjoint_death[v]
            self.units.append(units[1])
            self.values.append(self._row(int(tape._value[v]), size, n in last, _LINEAR.get(op), units)
                               if floating else None)
            self.adjoints.append(self._row(int(tape._adjoint[v]), size, n in last) if floating and adjoint else None)
        self.by_variable = dict(zip(variables, self.adjoints))
        self._leaves()
        self.layers = self._made_layers()
        self._bind()

    def _place(self, n: int) -> Place:
        name, where = OPS[self.program.tape._opcode[n]].name, self.program.tape.notes[n][2]
        file, line, module = where or ("", 0, "")
        return Place(n, _MASKED.get(name, name), module, file, line)

    def _row(self, address: int, size: int, bins: bool, linear: tuple[float, float] | None = None,
             units: tuple[int, int, int] = (0, 0, 1), other: int = 0) -> int:
        low, high = linear or (-math.inf, math.inf)
        outer, channels, inner = units
        self._rows.append({"x": address // self._size, "n": size, "bins": bins, "bounded": linear is not None,
                           "low": low, "high": high, "other": other // self._size, "outer": outer, "units": channels,
                           "inner": inner})
        return len(self._rows) - 1

    def _leaves(self) -> None:
        """Measure gradients, and copies of the weights before the update against what they are after it."""
        names = names_of(self.program)
        externals = self.program.tape._externals
        self._copies, self._before, self.parameters = [], [], {}
        for k, leaf in enumerate(self.program.reached):
            count = leaf.nbytes // self._size
            copy = aligned_bytes(max(leaf.nbytes, 64))
            self._before.append(copy)
            at = leaf.buffer.address
            self._copies.append(s.Copy.words(source=at // self._size, target=address_of(copy) // self._size, n=count))
            assert leaf.home is not None
            self.parameters[externals[leaf]] = Parameter(
                names.get(leaf, f"parameter {k}"), tuple(leaf.shape), self._row(leaf.home.address, count, True),
                self._row(address_of(copy), count, True, other=at))

    def _made_layers(self) -> list[Layer]:
        tape, count = self.program.tape, self.program.count
        layers, taken = [], set[int]()
        paths = [self.places[n].module for n in self.begins]
        for begin, end in zip(self.begins, [*self.begins[1:], count]):
            place = self.places[end - 1]
            name = place.module
            if not name or paths.count(name) > 1:
                name = f"{name}{' ' if name else ''}{place.op} #{place.instruction}"
            read = dict.fromkeys(tape._variable[tape._operand_start[begin]:tape._operand_start[end]].tolist())
            own = [self.parameters[v] for v in read if v in self.parameters and v not in taken]
            taken.update(read)
            layers.append(Layer(name, place, tape.notes[end - 1][0][0][0], self.values[end - 1],
                                self.adjoints[end - 1], self.units[end - 1], tuple(own)))
        return layers

    def _bind(self) -> None:
        """Make the rows of the compiled calls."""
        self.results = np.zeros((len(self._rows), s.RESULTS))
        self.sizes = np.array([row["n"] for row in self._rows], np.int64)
        units = np.cumsum([0, *(row["units"] for row in self._rows)])  # arrays are measured at the same time
        scratch = self._scratch = np.zeros(units[-1] + 1, self.kept.dtype)
        rows = [s.Array.words(**row, scratch=address_of(scratch) // self._size + int(units[k]),
                              result=address_of(self.results[k:]) // self._size) for k, row in enumerate(self._rows)]
        self.measure = s.Calls(s.STATISTICS, rows, self.kept.dtype)
        self.copy_weights = s.Calls(s.COPIES, self._copies, self.kept.dtype)
        del self._rows, self._copies


def _begins(places: list[Place]) -> list[int]:
    """Where layers begin: another module, or an activation was the last instruction."""
    return [n for n, place in enumerate(places)
            if not n or place.module != places[n - 1].module or places[n - 1].op in _ACTIVATIONS]


def _units(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Extents before, along and after the axis of the units: channels of images, else the last one."""
    if len(shape) < 2:
        return 0, 0, 1
    axis = 1 if len(shape) > 3 else len(shape) - 1
    return math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1:])


def names_of(program: Program) -> dict[Leaf, str]:
    """Names of parameters, as in the state dict of the outermost module; of several, after the name of each."""
    found: dict[Leaf, str] = {}
    roots = program.capture.roots
    for root in roots:
        before = f"{program.capture.name_of(root)}." if len(roots) > 1 else ""
        for name, parameter in root.named_parameters():
            found.setdefault(parameter.node, f"{before}{name}")
    return found
