"""From raw statistics to figures of layers, flags, and the place at which the first NaN was born."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ...engine.lazy import lazy
from ...engine.walks.walk import WANTED
from . import statistics as s
from .watch import Layer, Parameter, Place, Watch


@dataclass(frozen=True)
class Limits:
    """When a layer is flagged; see `Monitor`."""

    vanishing: float
    exploding: float
    dead: float
    saturated: float


@dataclass(frozen=True)
class Finding:
    """Something that is wrong in a training run.

    Attributes
    ----------
    step : int
        The first sampled step that showed it.
    flag : str
        ``"nan"``, ``"infinite"``, ``"vanishing"``, ``"exploding"``, ``"dead"`` or ``"saturated"``.
    layer : str
    place : Place or None
        The instruction, with the user's file and line.
    message : str
    """

    step: int
    flag: str
    layer: str
    place: Place | None
    message: str

    def __str__(self) -> str:
        return f"step {self.step}: {self.message}" + (f": {self.place}" if self.place else "")

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {"step": self.step, "flag": self.flag, "layer": self.layer, "message": self.message,
                "place": None if self.place is None else self.place.to_dict()}


class Sample:
    """The statistics of one step.

    Attributes
    ----------
    step : int
        Its number in the run, from 0.
    loss : float
    seconds : float
        When it was made, since the epoch of the clock.
    watch : Watch
        Of the recording that ran.
    results : ndarray of float64, (rows, RESULTS)
    """

    def __init__(self, step: int, loss: float, watch: Watch, limits: Limits) -> None:
        self.step, self.loss, self.watch, self.limits = step, loss, watch, limits
        self.seconds = time.time()
        self.results = watch.results.copy()

    # -------------------------------------------------------------- figures

    def norm(self, row: int | None) -> float:
        """The Euclidean norm of what a row is of; NaN where there is none."""
        return math.nan if row is None else math.sqrt(self.results[row, s.SQUARES])

    def count(self, row: int | None, what: int) -> int:
        """A count of a row; 0 where there is none."""
        return 0 if row is None else int(self.results[row, what])

    def gradient(self, layer: Layer) -> float:
        """The norm of the gradients of all parameters of a layer."""
        return math.sqrt(sum(self.results[p.gradient, s.SQUARES] for p in layer.parameters))

    def change(self, parameter: Parameter) -> float:
        """The norm of a parameter's update."""
        return math.sqrt(self.results[parameter.weight, s.CHANGE])

    def ratio(self, parameter: Parameter) -> float:
        """The norm of the update over that of the weights before it; NaN for weights that are all zero."""
        norm = self.norm(parameter.weight)
        return self.change(parameter) / norm if norm else math.nan

    def dead(self, layer: Layer) -> float:
        """The share of a relu's units that were not active anywhere in the batch."""
        return self.count(layer.value, s.DEAD) / layer.units if layer.units else 0.0

    def saturated(self, layer: Layer) -> float:
        """The share of elements at which a sigmoid or a tanh is flat."""
        if layer.value is None or not self.watch.sizes[layer.value]:
            return 0.0
        return self.count(layer.value, s.OUTSIDE) / int(self.watch.sizes[layer.value])

    # -------------------------------------------------------------- flags

    @lazy
    def reference(self) -> int | None:
        """The layer nearest to the loss whose output has several elements: others' adjoints are compared with its."""
        for k in range(len(self.watch.layers) - 1, -1, -1):
            layer = self.watch.layers[k]
            if layer.adjoint is not None and math.prod(layer.shape) > 1:
                return k
        return None

    @lazy
    def relative(self) -> list[float]:
        """By layer, the root mean square of its adjoints over the reference's; NaN above it, or if that is 0."""
        reference = self.reference
        if reference is None:
            return [math.nan] * len(self.watch.layers)
        sizes = [1 if layer.adjoint is None else max(int(self.watch.sizes[layer.adjoint]), 1)
                 for layer in self.watch.layers]
        each = [self.norm(layer.adjoint) / math.sqrt(size) for layer, size in zip(self.watch.layers, sizes)]
        return [n / each[reference] if each[reference] > 0 and k <= reference else math.nan
                for k, n in enumerate(each)]

    @lazy
    def flags(self) -> list[list[str]]:
        """The flags of each layer."""
        found = []
        for layer, relative in zip(self.watch.layers, self.relative):
            rows = [layer.value, layer.adjoint, *(p.gradient for p in layer.parameters)]
            of_layer = [name for name, what in (("nan", s.NAN), ("infinite", s.INFINITE))
                        if any(self.count(row, what) for row in rows)]
            if relative < self.limits.vanishing:
                of_layer.append("vanishing")
            if relative > self.limits.exploding:
                of_layer.append("exploding")
            if layer.units and self.dead(layer) >= self.limits.dead:
                of_layer.append("dead")
            if self.saturated(layer) >= self.limits.saturated > 0:
                of_layer.append("saturated")
            found.append(of_layer)
        return found

    def findings(self) -> Iterator[Finding]:
        """What the flags mean, each at the layer or instruction that is the cause."""
        layers = self.watch.layers
        yield from self._births()
        for name, worst in (("vanishing", min), ("exploding", max)):
            flagged = [k for k, flags in enumerate(self.flags) if name in flags]
            if flagged and self.reference is not None:
                yield self._change_of_norm(name, worst, max(flagged))
        for layer, flags in zip(layers, self.flags):
            if "dead" in flags:
                yield Finding(self.step, "dead", layer.name, layer.place,
                              f"layer {layer.name}: {self.count(layer.value, s.DEAD)} of {layer.units} units were "
                              "active for no row of the batch")
            if "saturated" in flags:
                yield Finding(self.step, "saturated", layer.name, layer.place,
                              f"layer {layer.name}: {100 * self.saturated(layer):.0f}% of the outputs are saturated")

    def _change_of_norm(self, name: str, worst: Any, first: int) -> Finding:
        """The layer through which adjoints change most on the way from the reference to the first that is flagged."""
        layers = self.watch.layers
        assert self.reference is not None
        way = [k for k in range(self.reference, first - 1, -1) if layers[k].adjoint is not None]
        norms = [self.norm(layers[k].adjoint) for k in way]
        steps = [below / above if above else 1.0 for above, below in zip(norms, norms[1:])]
        at = steps.index(worst(steps))
        layer, verb = layers[way[at]], "vanishes" if name == "vanishing" else "explodes"
        return Finding(self.step, name, layer.name, layer.place,
                       f"the gradient {verb} in layer {layer.name}: the norm of the adjoints is {norms[at]:.2g} at its "
                       f"output and {norms[at + 1]:.2g} at its input")

    # -------------------------------------------------------------- births

    def _births(self) -> Iterator[Finding]:
        nan = self._birth(s.NAN, "nan", "NaN")
        if nan is not None:
            infinite = self._birth(s.INFINITE, "infinite", "infinity")
            if infinite is not None and infinite.place != nan.place:
                yield infinite
            yield nan
        elif not math.isfinite(self.loss):
            infinite = self._birth(s.INFINITE, "infinite", "infinity")
            if infinite is not None:
                yield infinite

    def _birth(self, what: int, flag: str, word: str) -> Finding | None:
        """The first instruction, forward and then in reverse, that made a NaN or an infinity of other numbers."""
        watch = self.watch
        for n, row in enumerate(watch.values):
            if self.count(row, what):
                place = watch.places[n]
                for before, held in ((what, word), (s.INFINITE, "infinity")):
                    given = self._given(n, before)
                    if given is not None:
                        earlier = (f" (it came with an earlier update: Monitor(steps=[{self.step - 1}]) looks into the "
                                   "one before)" if given.startswith("parameter") and self.step else "")
                        return Finding(self.step, flag, self._layer(n), place, f"{given} held {held} before the step"
                                       f"{earlier}, of which layer {self._layer(n)} makes the first {word}")
                return Finding(self.step, flag, self._layer(n), place,
                               f"the first {word} is born in the forward walk, in layer {self._layer(n)}")
        for n, targets in self._walked():
            own = watch.adjoints[n]
            if self.count(own, what):
                continue
            for name, row, adders in targets:
                if self.count(row, what) and not any(self.count(watch.adjoints[k], what) for k in adders):
                    others = [k for k in adders if k != n]
                    either = f", or in instruction {' or '.join(map(str, others))}" if others else ""
                    return Finding(self.step, flag, self._layer(n), watch.places[n], f"the first {word} is born in the "
                                   f"reverse walk, in layer {self._layer(n)}, in the adjoint of {name}{either}")
        return None

    def _given(self, n: int, what: int) -> str | None:
        """The parameter or input that instruction `n` reads and that holds one already."""
        watch, tape = self.watch, self.watch.program.tape
        inputs = {t.node.variable: k for k, t in enumerate(watch.program.inputs)}
        for v in tape._variable[tape._operand_start[n] + 1:tape._operand_start[n + 1]].tolist():
            parameter = watch.parameters.get(v)
            if parameter is not None and self.count(parameter.weight, what):
                return f"parameter {parameter.name}"
            if v in inputs and self.count(watch.inputs[inputs[v]], what):
                return f"input {inputs[v]}"
        return None

    def _walked(self) -> Iterator[tuple[int, list[tuple[str, int, list[int]]]]]:
        """By instruction, in the order of the reverse walk, the adjoints that it adds to: name, row and who adds."""
        watch, tape = self.watch, self.watch.program.tape
        adds: dict[int, list[int]] = {}
        order = [event.instruction for event in watch.program.events]
        for n in order:
            first, last = tape._operand_start[n:n + 2].tolist()
            for k in range(first + 1, last):
                if tape._flags[k] & WANTED and n not in adds.setdefault(int(tape._variable[k]), []):
                    adds[int(tape._variable[k])].append(n)
        for n in order:
            found: list[tuple[str, int, list[int]]] = []
            for v, adders in adds.items():
                if n in adders:
                    parameter = watch.parameters.get(v)
                    row = parameter.gradient if parameter is not None else watch.by_variable.get(v)
                    if row is not None:
                        found.append((parameter.name if parameter is not None else f"%{v}", row, adders))
            yield n, found

    def _layer(self, n: int) -> str:
        """The name of the layer of an instruction."""
        return self.watch.layers[int(np.searchsorted(self.watch.begins, n, "right")) - 1].name

    # -------------------------------------------------------------- as JSON has it

    def quantity(self, row: int | None) -> dict[str, Any] | None:
        """The statistics of a row."""
        if row is None:
            return None
        found, size = self.results[row], int(self.watch.sizes[row])
        bins = found[s.COUNTS:].astype(int).tolist()
        return {"norm": number(self.norm(row)), "mean": number(found[s.SUM] / max(size, 1)),
                "min": number(found[s.LEAST]), "max": number(found[s.GREATEST]), "nan": int(found[s.NAN]),
                "infinite": int(found[s.INFINITE]), "zeros": int(found[s.ZEROS]),
                "histogram": {"counts": bins, "low": found[s.LEAST], "high": found[s.GREATEST]} if any(bins) else None}

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {"step": self.step, "loss": number(self.loss), "layers": [
            {"name": layer.name, **layer.place.to_dict(), "shape": list(layer.shape),
             "value": self.quantity(layer.value), "adjoint": self.quantity(layer.adjoint),
             "dead": number(self.dead(layer)) if layer.units else None,
             "saturated": number(self.saturated(layer)), "flags": flags, "parameters": [
                 {"name": p.name, "shape": list(p.shape), "gradient": self.quantity(p.gradient),
                  "weight": self.quantity(p.weight), "update": number(self.change(p)), "ratio": number(self.ratio(p))}
                 for p in layer.parameters]}
            for layer, flags in zip(self.watch.layers, self.flags)]}


class Monitored(Protocol):
    """What is drawn and written of a monitor."""

    samples: list[Sample]
    step: int

    @property
    def steps(self) -> list[int]: ...
    def __len__(self) -> int: ...
    def latest(self) -> Sample: ...
    def findings(self) -> list[Finding]: ...


def number(value: float) -> float | str:
    """A number that JSON has, or its name."""
    value = float(value)
    return value if math.isfinite(value) else "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
