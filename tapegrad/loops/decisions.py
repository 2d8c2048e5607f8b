"""Branches and loops of the sweeps: which way was taken, how often, and the same backwards."""

from __future__ import annotations

import ast
from typing import Any

from .texts import bound_of, sum_of

__all__ = ["Decisions"]


class Decisions:
    """What `adjoint._Block`, which writes the other statements, says of branches and loops."""

    adjoint: Any
    facts: Any
    indent: int
    loops = 0  # around the statement that is written
    _temporaries: int

    def say(self, line: str) -> None:
        raise NotImplementedError

    def temporary(self, value: str) -> str:
        raise NotImplementedError

    def push(self, value: str, is_float: bool) -> None:
        raise NotImplementedError

    def pop(self, target: str, is_float: bool, kind: str = "") -> None:
        raise NotImplementedError

    def _popped(self) -> str:
        raise NotImplementedError

    def _inner(self, statements: list[ast.stmt], depth: int) -> None:
        raise NotImplementedError

    def _decided(self, s: ast.If) -> bool:
        """Whether the test has the same value after the statement."""
        return self.facts.holds_after(s.test, [*s.body, *s.orelse])

    def _reverse_if(self, s: ast.If, depth: int) -> None:
        if self._decided(s):
            test = ast.unparse(s.test)
        else:
            test = f"{self._popped()} != 0"
        self.say(f"if {test}:")
        self._inner(s.body, depth)
        if s.orelse:
            self.say("else:")
            self._inner(s.orelse, depth)

    def _forward_loop(self, s: ast.For | ast.While, depth: int) -> None:
        leaves = getattr(s, "leaves", ())
        counted = bool(leaves) or isinstance(s, ast.While)
        escaping = isinstance(s, ast.For) and self._escapes(s)
        kept: list[str] = []
        if isinstance(s, ast.For):
            if escaping and self.adjoint.is_needed(s.target.id):  # type: ignore[attr-defined]
                self.push(s.target.id, False)  # type: ignore[attr-defined]
            kept = [self.temporary(ast.unparse(value)) for value in self._kept_bounds(s)]
        count = self.temporary("0") if counted else ""
        if isinstance(s, ast.For):
            self.say(f"for {s.target.id} in {ast.unparse(s.iter)}:")  # type: ignore[attr-defined]
        else:
            self.say(f"while {ast.unparse(s.test)}:")
        if counted:
            self.say(f"    {count} += 1")
        self._inner(s.body, depth)
        for flag in leaves:
            self.say(f"    if {flag} != 0:")
            self.say("        break")
        for value in kept:
            self.push(value, False)
        if counted:
            self.push(count, False)

    def _escapes(self, s: ast.For) -> bool:
        """Whether a loop's variable is read after it."""
        return s.target.id not in self.facts.plain_targets  # type: ignore[attr-defined]

    def _kept_bounds(self, s: ast.For) -> list[ast.expr]:
        """Bounds of a range that the loop changes."""
        return [] if self.facts.holds_after(ast.Tuple(s.iter.args, ast.Load()), [s]) else s.iter.args  # type: ignore

    def _repeated(self, statements: list[ast.stmt], depth: int) -> None:
        """The body of a loop."""
        self.loops += 1
        self._inner(statements, depth)
        self.loops -= 1

    def _reverse_for(self, s: ast.For, depth: int) -> None:
        arguments = [bound_of(a) for a in s.iter.args]  # type: ignore[attr-defined]
        counted = bool(getattr(s, "leaves", ()))
        count = self._popped() if counted else ""
        kept = self._kept_bounds(s)
        if kept:
            arguments = [self._popped() for _ in kept][::-1]
        first, last, step = {1: ["0", *arguments, "1"], 2: [*arguments, "1"]}.get(len(arguments), arguments)
        name = s.target.id  # type: ignore[attr-defined]
        if counted:
            self._temporaries += 1
            index = f"v{self._temporaries}_"
            self.say(f"for {index} in range({count} - 1, -1, -1):")
            self.say(f"    {name} = {sum_of(first, f'{index} * ({step})' if step != '1' else index)}")
        elif step == "1":
            self.say(f"for {name} in range({last} - 1, {sum_of(first, '-1')}, -1):")
        elif step == "-1":
            self.say(f"for {name} in range({sum_of(last, '1')}, {sum_of(first, '1')}):")
        else:
            self._temporaries += 1
            index = f"v{self._temporaries}_"
            self.say(f"for {index} in range(len(range({first}, {last}, {step})) - 1, -1, -1):")
            self.say(f"    {name} = {first} + {index} * ({step})")
        self._repeated(s.body, depth)
        if self._escapes(s) and self.adjoint.is_needed(name):
            self.pop(name, False)
