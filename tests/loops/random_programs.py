"""Small programs as source, drawn at random."""

from __future__ import annotations

import importlib.util
import pathlib
from typing import Any

from hypothesis import strategies as st

SCALARS = ("x", "y", "s", "t")
ARRAYS = ("a", "b", "c")
EXPRESSIONS = ("{p} * {q}", "{p} + {q}", "{p} - 0.5 * {q}", "math.sin({p})", "math.tanh({p} * {q})",
               "math.exp(-{p} * {p})",
               "{p} / ({q} * {q} + 1.0)", "({p} if {i} % 2 == 0 else {q})", "max({p}, {q})", "abs({p}) + {q}", "0.7",
               "scaled({p}, {q})", "{p} ** 2 - {q} ** 3 * 0.1", "math.sqrt({p} * {p} + 1.0) * {i}", "np.sum({r}) * 0.1",
               "np.dot({r}, {r2}) * 0.1")


class Writer:
    """Writes statements; names of loop variables and of what is in reach are kept by block."""

    def __init__(self, draw: Any) -> None:
        self.draw, self.lines, self.loops, self.views, self.left = draw, [], [], [], 14
        self.after: list[str] = []
        self.counters = 0

    def pick(self, options: Any) -> Any:
        return self.draw(st.sampled_from(list(options)))

    def say(self, depth: int, line: str) -> None:
        self.lines.append("    " * depth + line)

    def index(self, size: int = 4) -> str:
        """An integer within an array of so many elements; some are negative and wrap."""
        names = [*self.loops, *self.after, "n"]
        kind = self.pick(range(5))
        if kind == 0:
            return str(self.pick(range(-size, size)))
        if kind == 1:
            return f"({self.pick(names)} * {self.pick((1, 2, 3))} + {self.pick(range(3))}) % {size}"
        if kind == 2:
            return f"{self.pick(names)} % {size} - {self.pick((1, 2, size))}"
        if kind == 3:
            return f"marks[{self.pick(names)} % 4] % {size}"
        return f"{self.pick(names)} % {size}"

    def array(self) -> str:
        return self.pick((*ARRAYS, *self.views)) if self.views else self.pick(ARRAYS)

    def element(self) -> str:
        name = self.array()
        if name == "c":
            return f"c[{self.index(2)}, {self.index(3)}]"
        return f"{name}[{self.index(2 if name in self.views else 4)}]"

    def operand(self) -> str:
        return self.pick(SCALARS) if self.pick((True, False)) else self.element()

    def row(self) -> str:
        return self.pick(("a", "b"))

    def value(self) -> str:
        return self.pick(EXPRESSIONS).format(p=self.operand(), q=self.operand(), r=self.row(), r2=self.row(),
                                             i=self.pick([*self.loops, *self.after, "n"]))

    def test(self) -> str:
        return self.pick((f"{self.operand()} > {self.pick(('0.1234', self.operand() + ' + 0.0517'))}",
                          f"{self.pick([*self.loops, *self.after, 'n'])} % 3 == {self.pick(range(3))}", "flag",
                          f"{self.operand()} * {self.operand()} < 0.3171 and not flag"))

    def block(self, depth: int, in_loop: bool) -> None:
        views, after = list(self.views), list(self.after)
        for _ in range(self.pick((1, 2, 3, 4))):
            if self.left <= 0:
                break
            self.left -= 1
            if self.statement(depth, in_loop):
                break
        else:
            self.views, self.after = views, after
            self.say(depth, "pass")
            return
        self.views, self.after = views, after
        self.say(depth, "pass")

    def statement(self, depth: int, in_loop: bool) -> bool:
        """One statement; whether nothing may follow it."""
        kinds = ["scalar", "scalar", "element", "element", "add", "whole", "mark", "flag", "swap", "call", "slice"]
        if depth < 4:
            kinds += ["if", "if", "for", "for", "while", "rows"]
        if depth < 4 and not self.views:
            kinds += ["view"]
        if depth > 1:
            kinds += ["return"] if self.pick(range(4)) == 0 else []
            kinds += ["break", "continue"] if in_loop else []
        kind = self.pick(kinds)
        if kind == "scalar":
            self.say(depth, f"{self.pick(SCALARS)} = {self.value()}")
        elif kind == "add":
            self.say(depth, f"{self.operand()} {self.pick(('+=', '-=', '*='))} {self.value()}")
        elif kind == "element":
            self.say(depth, f"{self.element()} = {self.value()}")
        elif kind == "whole":
            name, other = self.pick(("a", "b")), self.pick(("a", "b"))
            self.say(depth, self.pick((f"{name}[:] = {other} * {self.pick(SCALARS)} + {self.operand()}",
                                       f"{name} *= {self.operand()}", f"{name}[:] = np.tanh({other}) - {name}",
                                       f"c[{self.index(2)}] = {name}[:3] * 0.5",
                                       f"c[:, {self.index(3)}] += {name}[1:3]",
                                       f"c *= {self.pick(SCALARS)}", f"{name} += {other}[::-1] * 0.3")))
        elif kind == "slice":
            name, other = self.pick(("a", "b")), self.pick(("a", "b"))
            one, two = self.pick(("1:", ":3", "::2", "::-1", "0:2", "n:")), self.pick((":-1", "1:4", "1::2", ":",
                                                                                       "2:4", "n:"))
            sizes = []
            for part in (one, two):
                bounds = (int(p) if p else None for p in part.replace("n", "3").split(":"))
                sizes.append(len(range(4)[slice(*bounds)]))
            if sizes[0] == sizes[1]:
                self.say(depth, f"{name}[{one}] = {other}[{two}] * 0.9")
        elif kind == "mark":
            self.say(depth, f"marks[{self.index()}] += {self.pick((1, 2))}")
        elif kind == "flag":
            self.say(depth, f"flag = {self.test()}")
        elif kind == "swap":
            p, q = self.operand(), self.operand()
            self.say(depth, f"{p}, {q} = {q}, {p}")
        elif kind == "call":
            p, q = self.operand(), self.operand()
            self.say(depth, self.pick((f"changed({self.row()}, {p}, {self.pick([*self.loops, 'n'])})",
                                       f"{self.pick(SCALARS)}, {self.pick(SCALARS)} = early({p}, {q})")))
        elif kind == "view":
            name = f"view{len(self.lines)}"
            where = self.pick(("a[1:3]", "b[::2]", "a[::-2]", f"c[{self.pick((0, 1))}]", "c[:, 1]", "c.T[2]",
                               *(f"c[{i} % 2]" for i in self.loops)))
            self.say(depth, f"{name} = {where}")
            self.views.append(name)
        elif kind == "if":
            self.say(depth, f"if {self.test()}:")
            self.block(depth + 1, in_loop)
            if self.pick((True, False)):
                self.say(depth, f"elif {self.test()}:")
                self.block(depth + 1, in_loop)
            if self.pick((True, False)):
                self.say(depth, "else:")
                self.block(depth + 1, in_loop)
        elif kind in ("for", "rows"):
            self.counters += 1
            name = f"i{self.counters}" if self.pick(range(3)) or not self.after else self.pick(self.after)
            bounds = self.pick(("3", "1, 4", "3, -1, -1", "0, 5, 2", "n", "n - 3", "4, 0, -2", "n, n - 2, -1", "0",
                                "marks[1] % 4", "-2, 2"))
            self.say(depth, f"for {name} in range({bounds}):" if kind == "for" else f"for {name}, e{self.counters} in "
                     f"enumerate({self.pick(('a', 'b'))}):")
            if name not in self.after:
                self.after.append(name)
            if kind == "rows":
                self.say(depth + 1, f"{self.pick(SCALARS)} += e{self.counters} * 0.3")
            self.loops.append(name)
            self.block(depth + 1, True)
            self.loops.pop()
        elif kind == "while":
            self.counters += 1
            name = f"k{self.counters}"
            self.say(depth, f"{name} = 0")
            self.say(depth, f"while {name} < {self.pick((2, 3))} and {self.pick(SCALARS)} < 5.0431:")
            self.say(depth + 1, f"{name} += 1")
            self.loops.append(name)
            self.block(depth + 1, True)
            self.loops.pop()
        elif kind == "return":
            self.say(depth, f"return {self.value()}, {self.operand()}")
            return True
        else:
            self.say(depth, kind)
            return True
        return False


HEAD = '''import math

import numpy as np


def scaled(p, q):
    if p > q + 0.0713:
        return p * q
    return p - q * 0.5


def early(p, q):
    for k in range(3):
        p = p * q + 0.1
        if p > 1.0371:
            return p, q * k
    return q, p


def changed(r, p, j):
    for k in range(len(r) - 1):
        if k == j:
            continue
        r[k] = r[k + 1] * p + r[k - 1]


def program(x, y, a0, b, c, n):
    a = a0.copy()
    marks = np.zeros(4, np.int64)
    flag = n > 5
    s = t = 0.5
'''


@st.composite
def programs(draw: Any) -> str:
    """Source of a module with a function ``program(x, y, a0, b, c, n)``."""
    writer = Writer(draw)
    names = [f"i{k}" for k in range(1, 12)]
    while writer.left > 0:
        writer.left -= 1
        writer.statement(1, False)
    head = HEAD + "".join(f"    {name} = {k % 3}\n" for k, name in enumerate(names))
    total = "s + t * x + y + np.sum(a * a) + np.sum(b) * 0.5 + np.sum(c * c)"
    return head + "\n".join(writer.lines) + f"\n    return {total}, a[1] * b[2] + s\n"


def function_of(source: str, folder: pathlib.Path) -> Any:
    """The function of a source that is written into a file of its own, where the derivation finds it."""
    name = f"random_{abs(hash(source)):x}"
    path = folder / f"{name}.py"
    path.write_text(source)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.program
