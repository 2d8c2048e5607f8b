"""A program: arrays and lines of text that compute a scalar from them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np

LEAF, INPUT, CONSTANT, BUFFER = "leaf", "input", "constant", "buffer"


@dataclass(frozen=True)
class Array:
    """What a program is given under a name.

    Attributes
    ----------
    name : str
    role : str
        LEAF, INPUT (another value every batch), CONSTANT, or BUFFER, which an op may change.
    shape : tuple of int
    kind : str
        "float"; "int", from 0 to `high`; "bool".
    low, high : float
        The values lie between; floats are such that float32 holds them.
    seed : int
    plain : bool
        Whether a constant stays a NumPy array and does not become a tensor.
    """

    name: str
    role: str
    shape: tuple[int, ...]
    kind: str = "float"
    low: float = -1.0
    high: float = 1.0
    seed: int = 0
    plain: bool = False

    def value(self, batch: int = 0) -> np.ndarray:
        """Its values; those of an input depend on the batch."""
        rng = np.random.default_rng([self.seed, batch if self.role == INPUT else 0])
        if self.kind == "float":
            return rng.uniform(self.low, self.high, self.shape).astype(np.float32).astype(np.float64)
        return rng.integers(int(self.high), size=self.shape) if self.kind == "int" else rng.random(self.shape) < 0.7

    def text(self, batch: int = 0) -> str:
        """An expression that makes them."""
        if math.prod(self.shape) <= 24:
            shown = self.value(batch).ravel().tolist()
            return f"np.array({shown}).reshape({self.shape})"
        rng = f"np.random.default_rng([{self.seed}, {batch if self.role == INPUT else 0}])"
        if self.kind == "float":
            return f"{rng}.uniform({self.low}, {self.high}, {self.shape}).astype(np.float32)"
        return f"{rng}.integers({int(self.high)}, size={self.shape})" if self.kind == "int" else (
            f"{rng}.random({self.shape}) < 0.7")


@dataclass(frozen=True)
class Line:
    """``targets = text``, where ``{0}``, ``{1}``, ... in the text stand for the operands.

    `block` says within which stretches of `tg.checkpoint` it stands, outermost first.
    """

    targets: tuple[str, ...]
    text: str
    operands: tuple[str, ...]
    block: tuple[int, ...] = ()

    def render(self) -> str:
        return f"{', '.join(self.targets)} = {self.text.format(*self.operands)}"


@dataclass
class Program:
    """Arrays, lines, the names of the scalars whose sum is the loss, and of which scale it was drawn."""

    arrays: dict[str, Array] = field(default_factory=dict)
    lines: list[Line] = field(default_factory=list)
    terms: list[str] = field(default_factory=list)
    scale: str = "tiny"

    def of(self, role: str) -> list[Array]:
        """The arrays of a role, in order."""
        return [a for a in self.arrays.values() if a.role == role]

    @property
    def leaves(self) -> list[Array]:
        return self.of(LEAF)

    @property
    def inputs(self) -> list[Array]:
        return self.of(INPUT)

    def source(self) -> str:
        """The text of ``loss_fn``, over the inputs; leaves, constants and buffers are globals."""
        body = _block(list(enumerate(self.lines)), (), self._used_after())
        arguments = ", ".join(a.name for a in self.inputs)
        return "\n".join([f"def loss_fn({arguments}):", *(f"    {line}" for line in body),
                          f"    return {' + '.join(self.terms)}"])

    def _used_after(self) -> dict[str, int]:
        """By name, the last line that reads it."""
        used = {name: len(self.lines) for name in self.terms}
        for k, line in enumerate(self.lines):
            for name in line.operands:
                used[name] = max(used.get(name, -1), k)
        return used

    def without_dead(self) -> Program:
        """Without lines and arrays that nothing reads."""
        needed, kept = set(self.terms), []
        for line in reversed(self.lines):
            if needed.intersection(line.targets):
                kept.append(line)
                needed.update(line.operands)
        arrays = {name: a for name, a in self.arrays.items() if name in needed}
        return Program(arrays, kept[::-1], list(self.terms), self.scale)

    def changed(self, **changes) -> Program:
        """A copy with other arrays, lines or terms, without what is then dead."""
        return replace(self, **changes).without_dead()

    def loss_fn(self, namespace: dict):
        """The function, over a namespace that has ``tg``, ``F``, ``np`` and the arrays that are not inputs."""
        scope = dict(namespace)
        exec(compile(self.source(), "<program>", "exec"), scope)
        return scope["loss_fn"]

    @property
    def stretches(self) -> bool:
        """Whether there is a `tg.checkpoint`."""
        return any(line.block for line in self.lines)

    @property
    def draws(self) -> bool:
        """Whether it draws random numbers."""
        return any("dropout(" in line.text for line in self.lines)


def _block(numbered: list[tuple[int, Line]], path: tuple[int, ...], used: dict[str, int]) -> list[str]:
    """The text of the lines of stretch `path`."""
    text: list[str] = []
    k = 0
    while k < len(numbered):
        _, line = numbered[k]
        if line.block == path:
            text.append(line.render())
            k += 1
            continue
        inner = line.block[:len(path) + 1]
        end = k
        while end < len(numbered) and numbered[end][1].block[:len(path) + 1] == inner:
            end += 1
        part = numbered[k:end]
        last = part[-1][0]
        made = [name for _, made_by in part for name in made_by.targets]
        given = [name for name in made if used.get(name, -1) > last] or made[-1:]
        name = f"stretch{'_'.join(map(str, inner))}"
        text.append(f"def {name}():")
        text += [f"    {t}" for t in _block(part, inner, used)]
        text.append(f"    return {', '.join(given)}")
        text.append(f"{', '.join(given)} = tg.checkpoint({name})")
        k = end
    return text
