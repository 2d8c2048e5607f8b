"""The memory report of a recording."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np

from ...engine.lazy import lazy
from ...tape.tables import aligned

#: kinds of buffers in the arena, in the order of the picture
KINDS = ("data", "kept", "temporary", "recomputed", "adjoint")
_TOTALS = ("parameter_bytes", "gradient_bytes", "optimizer_bytes", "constant_bytes", "activation_bytes",
           "temporary_bytes", "data_bytes", "peak_bytes", "lower_bound_bytes")
_SHOWN = 12


@dataclass(frozen=True)
class Instruction:
    """An instruction of the recording: its number, op, output, layer, and whether the reverse walk visits it."""

    number: int
    op: str
    out: str
    layer: str
    reversed: bool


@dataclass(frozen=True)
class Life:
    """A buffer of the recording and its live range.

    Attributes
    ----------
    name : str
        As in the listing; for an adjoint with a ``d`` before it.
    kind : {"data", "kept", "temporary", "recomputed", "adjoint"}
        Inputs; values that the reverse walk reads; other values; recomputed values; adjoints.
    nbytes, offset : int
        Bytes, and where they start in the arena.
    birth, death : int
        Live range, both ends included: instruction k of n runs at k, event k of the reverse at n + k.
    instruction : int or None
        Its definition; None for an input.
    layer, why : str
        The layer that defines it, and the adjoints that read it.
    """

    name: str
    kind: str
    nbytes: int
    offset: int
    birth: int
    death: int
    instruction: int | None
    layer: str
    why: str


@dataclass(frozen=True)
class Rows:
    """A table; prints with aligned columns, iterates over its rows as dicts."""

    columns: tuple[str, ...]
    cells: tuple[tuple[Any, ...], ...]

    def __len__(self) -> int:
        return len(self.cells)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (dict(zip(self.columns, row)) for row in self.cells)

    def __str__(self) -> str:
        text = [self.columns] + [tuple(f"{c:,}" if isinstance(c, int) else str(c) for c in row) for row in self.cells]
        numbers = [k for k in range(len(self.columns)) if self.cells and all(isinstance(row[k], int)
                                                                             for row in self.cells)]
        return aligned(text, right=numbers)


@dataclass(frozen=True)
class MemoryReport:
    """Memory of a recorded step by purpose, in bytes. The entries before `peak_bytes` add up to it.

    Attributes
    ----------
    parameter_bytes, gradient_bytes, optimizer_bytes : int
        Parameters (frozen ones too), gradients of the trained ones, and optimiser state.
    constant_bytes : int
        Other arrays that the recording reads in place.
    activation_bytes : int
        Values kept for the reverse walk, without inputs, which are data.
    temporary_bytes : int
        The rest: other values, adjoints, alignment and fragmentation.
    data_bytes : int
        The batch, without bytes that activations reuse.
    peak_bytes : int
        The total.
    lower_bound_bytes : int
        Least total of any buffer assignment for the same step.
    instructions : tuple of Instruction
    buffers : tuple of Life
    unfrozen : MemoryReport or None
        The same step with every parameter trained; None if none is frozen.
    reverse : tuple of (int, bool)
        Schedule of the reverse walk: an instruction's number, and whether it is recomputed rather than its adjoint run.
    extra : float
        Expected time of recomputation, as a share of the forward pass's.
    """

    parameter_bytes: int
    gradient_bytes: int
    optimizer_bytes: int
    constant_bytes: int
    activation_bytes: int
    temporary_bytes: int
    data_bytes: int
    peak_bytes: int
    lower_bound_bytes: int
    instructions: tuple[Instruction, ...] = field(default=(), repr=False)
    buffers: tuple[Life, ...] = field(default=(), repr=False)
    unfrozen: MemoryReport | None = field(default=None, repr=False)
    reverse: tuple[tuple[int, bool], ...] = field(default=(), repr=False)
    extra: float = 0.0

    # -------------------------------------------------------------- over time

    @lazy
    def timeline(self) -> dict[str, np.ndarray]:
        """Live bytes of the arena by kind, over the instructions and then over the events of the reverse walk."""
        end = len(self.instructions) + len(self.reverse)
        lines = {kind: np.zeros(end + 1, np.int64) for kind in KINDS}
        for life in self.buffers:
            lines[life.kind][max(life.birth, 0)] += life.nbytes
            lines[life.kind][min(life.death, end - 1) + 1] -= life.nbytes
        return {kind: np.cumsum(line)[:-1] for kind, line in lines.items()}

    @property
    def _live(self) -> np.ndarray:
        return np.sum(list(self.timeline.values()), axis=0)

    @property
    def standing_bytes(self) -> int:
        """Bytes that live throughout: parameters, gradients, optimiser state, constants."""
        return self.parameter_bytes + self.gradient_bytes + self.optimizer_bytes + self.constant_bytes

    @property
    def peak_time(self) -> int:
        """When live bytes peak: an instruction of n, or n plus an event of the reverse walk."""
        return int(np.argmax(self._live)) if self.instructions else 0

    def at(self, time: int) -> tuple[Instruction, str]:
        """What runs at a time: the instruction, and whether ``"forward"``, ``"reverse"`` or ``"again"``."""
        n = len(self.instructions)
        if time < n:
            return self.instructions[time], "forward"
        number, again = self.reverse[time - n]
        return self.instructions[number], "again" if again else "reverse"

    @property
    def recomputed(self) -> int:
        """Number of instructions that the reverse walk recomputes."""
        return sum(again for _, again in self.reverse)

    # -------------------------------------------------------------- tables

    def _kept(self) -> list[Life]:
        return [life for life in self.buffers if life.kind == "kept" or (life.kind == "data" and life.why)]

    def by_instruction(self) -> Rows:
        """By instruction: what is kept of its output, the adjoints that read it, live bytes forward and in reverse."""
        n, live = len(self.instructions), self._live + self.standing_bytes
        kept: dict[int, list[Life]] = {}
        when = {number: n + k for k, (number, again) in enumerate(self.reverse) if not again}
        for life in self._kept():
            if life.instruction is not None:
                kept.setdefault(life.instruction, []).append(life)
        rows = []
        for k, i in enumerate(self.instructions):
            here = kept.get(k, [])
            rows.append((i.number, i.op, i.out, i.layer or "-", sum(life.nbytes for life in here),
                         "; ".join(dict.fromkeys(life.why for life in here)) or "-", int(live[k]),
                         int(live[when[k]]) if i.reversed else 0))
        return Rows(("#", "op", "out", "layer", "kept bytes", "read by the adjoint of", "live forward", "live reverse"),
                    tuple(rows))

    def by_layer(self) -> Rows:
        """By layer, in the order of first instructions: what is kept, its bytes, and the adjoints that read it."""
        layers: dict[str, list[Life]] = {i.layer or "-": [] for i in self.instructions}
        for life in self._kept():
            layers.setdefault("(data)" if life.instruction is None else life.layer or "-", []).append(life)
        rows = tuple((layer, sum(life.nbytes for life in kept), " ".join(life.name for life in kept) or "-",
                      "; ".join(dict.fromkeys(life.why for life in kept)) or "-") for layer, kept in layers.items())
        return Rows(("layer", "kept bytes", "kept", "read by the adjoint of"), rows)

    def compared(self) -> Rows:
        """Bytes as planned beside those with nothing frozen."""
        other = self.unfrozen or self
        return Rows(("", "bytes", "with nothing frozen"),
                    tuple((_words(name), getattr(self, name), getattr(other, name)) for name in _TOTALS))

    def __str__(self) -> str:
        if self.unfrozen is None:
            totals = Rows(("", "bytes"), tuple((_words(name), getattr(self, name)) for name in _TOTALS))
        else:
            totals = self.compared()
        text = str(totals)
        if self.recomputed:
            text += (f"\n\nthe reverse walk runs {self.recomputed} instructions again: about {self.extra:.0%} of a "
                     "forward pass more")
        layers = [row for row in self.by_layer().cells if row[1]]
        if layers:
            shown = sorted(sorted(layers, key=lambda row: -row[1])[:_SHOWN], key=layers.index)
            columns = ("layer", "kept bytes", "kept", "read by the adjoint of")
            text += f"\n\n{Rows(columns, tuple((*row[:2], _short(row[2]), _short(row[3])) for row in shown))}"
            if len(layers) > len(shown):
                rest = sum(row[1] for row in layers) - sum(row[1] for row in shown)
                text += f"\nand {len(layers) - len(shown)} layers more with {rest:,} bytes: by_layer()"
        return text

    # -------------------------------------------------------------- export

    def to_dict(self) -> dict[str, Any]:
        """The report as plain numbers, strings, lists and dicts."""
        totals = {name: getattr(self, name) for name in _TOTALS}
        return {**totals, "peak_time": self.peak_time, "extra": self.extra,
                "timeline": {kind: line.tolist() for kind, line in self.timeline.items()},
                "reverse": [list(event) for event in self.reverse],
                "layers": list(self.by_layer()), "instructions": list(self.by_instruction()),
                "buffers": [asdict(life) for life in self.buffers],
                "unfrozen": None if self.unfrozen is None else
                {name: getattr(self.unfrozen, name) for name in _TOTALS}}

    def to_json(self) -> str:
        """The report as a JSON object.

        >>> MemoryReport(1, 2, 3, 0, 4, 5, 6, 21, 20).to_json()[:22]
        '{"parameter_bytes": 1,'
        """
        return json.dumps(self.to_dict())

    if TYPE_CHECKING:  # a method by assignment, in `memory.plot`

        def plot(self, path: str | PathLike[str], title: str | None = None) -> None: ...


def _words(name: str) -> str:
    return name.removesuffix("_bytes").replace("_", " ")


def _short(text: str, width: int = 48) -> str:
    return text if len(text) <= width else text[:width - 3].rstrip() + "..."


