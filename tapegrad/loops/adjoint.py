"""The adjoint of a normal form: a forward sweep that records, and a reverse sweep.

Before a variable or an element is overwritten whose value the reverse sweep reads, the forward sweep pushes it onto a
tape of floats or of integers; the reverse sweep pops it, so that at each statement's adjoint everything has the value
that it had there (Griewank and Walther, Evaluating Derivatives, 2nd ed., chapters 4 and 6). What no adjoint reads is
not pushed (to-be-recorded analysis), and neither is what can be computed again at the end of its block.

A push beyond the tape's end is counted and not made; the sweep then ends, and is run again on a longer tape.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Mapping, Sequence
from typing import Any

from .analysis import Analysis
from .checks import check
from .costly import with_recorded_calls
from .decisions import Decisions
from .expressions import Expressions
from .kinds import Kind, infer, kind_of, type_of
from .normal import Normal
from .reads import base_of, base_of_view, loads
from .recursion import Adjoints
from .sums import with_sums
from .syntax import loaded
from .texts import Renamed, beside, gathered

__all__ = ["derive_adjoint"]


class Adjoint:
    """Derives the source of one adjoint.

    Parameters
    ----------
    normal : Normal
    kinds : mapping of str to Kind
    wanted : set of str
        Parameters that are differentiated by.
    adjoints : Adjoints
        Of functions that are called by name.
    """

    def __init__(self, normal: Normal, kinds: Mapping[str, Kind], wanted: set[str], adjoints: Adjoints) -> None:
        self.normal, self.kinds, self.outputs, self._adjoints = normal, kinds, normal.outputs, adjoints
        self.facts = Analysis(normal, kinds, wanted)
        self.wanted = [p for p in normal.parameters if p in wanted]
        self._taken = set(kinds) | set(normal.constants) | normal._taken
        self.bar = {name: self._free(f"{name}_b", self._taken) for name in kinds}
        self.needed: set[str] = set()
        check(self.facts)
        while True:
            before = set(self.needed)
            self.reverse = _Block(self, is_forward=False)
            self.reverse.start()
            self.reverse.block(normal.body, 0)
            self._note(self.reverse.lines)
            if self.needed == before:
                break
        self.forward = _Block(self, is_forward=True)
        self.forward.block(normal.body, 0)

    def adjoint_of_call(self, node: ast.Call, wanted: Sequence[int]) -> str:
        """The name of the adjoint of a function that is called by name, by its arguments of these numbers."""
        name = node.func.id  # type: ignore[attr-defined]
        kinds = [kind_of(a, self.kinds, self.normal.constants) for a in node.args]
        return self._adjoints.of(name, self.normal.calls[name], kinds, wanted)

    @staticmethod
    def _free(name: str, taken: set[str]) -> str:
        while name in taken:
            name += "_"
        taken.add(name)
        return name

    def _note(self, lines: Sequence[str]) -> None:
        """Variables that the reverse sweep reads."""
        tree = ast.parse("\n".join(lines) or "pass")
        own = {name for s in tree.body for name in loads(s) if name in self.kinds}
        self.needed |= own | {self.facts.root(name) for name in own if self.kinds[name].is_array}

    def is_needed(self, name: str) -> bool:
        """Whether the reverse sweep reads a variable, or elements of the memory that it is of."""
        if self.kinds[name].is_array:
            root = self.facts.root(name)
            return any(self.facts.root(other) == root for other in self.needed if self.kinds[other].is_array)
        return name in self.needed

    def lines(self, name: str) -> list[str]:
        """The function: results of the forward sweep, or of both, and the lengths of the tapes."""
        seeds = [f"{o}_seed" for o in self.outputs]
        arguments = [*self.normal.parameters, *seeds, *(f"{p}_given" for p in self.wanted), "floats", "integers"]
        begin = ["top = 0", "bottom = 0", *self._first()]
        head = [f"def {name}({', '.join(arguments)}):", *(f"    {line}" for line in begin)]
        body, back = ([f"    {line}" for line in lines] for lines in (self.forward.lines, self._summed()))
        middle = [f"    if top > floats.size or bottom > integers.size:\n        return {self._results(False)}"]
        kept = [f"    {o}_kept = {o}{'.copy()' * self.kinds[o].is_array}" for o in self.outputs]
        apart = [p for p in self.wanted if self.kinds[p].is_array and self.facts.is_written(p)]
        added = [f"    {p}_given += {self.bar[p]}" for p in apart]  # what others contribute is not of the last contents
        return [*head, "    # forward sweep", *body, *middle, *kept, "    # reverse sweep", *back, *added,
                f"    return {self._results(True)}"]

    def _summed(self) -> list[str]:
        """The reverse sweep."""
        kinds = self.kinds.items()
        arrays = {self.bar[name]: (self.facts.root(name), kind.ndim) for name, kind in kinds if kind.is_array}
        scalars = {self.bar[name] for name, kind in kinds if not kind.is_array and not kind.is_tuple}
        return with_sums(self.reverse.lines, scalars, arrays, lambda name: self._free(name, self._taken))

    def _results(self, done: bool) -> str:
        values = [f"{o}{'_kept' * done}" for o in self.outputs]
        scalars = [self.bar[p] if done else "0.0" for p in self.wanted if not self.kinds[p].is_array]
        return f"({', '.join(['top', 'bottom', *values, *scalars])})"

    def _first(self) -> list[str]:
        """Copies of parameters that are written to; values for what may be pushed before it is assigned."""
        found = []
        for name in self.normal.parameters:
            if self.facts.is_array(name) and self.facts.is_written(name):
                found.append(f"{name} = {name}.copy()")
        for name, kind in self.kinds.items():
            if not kind.is_array and not kind.is_tuple and name not in self.normal.parameters and (
                    name in self.facts.places or name in self.facts.loop_targets):
                found.append(f"{name} = {'0.0' if kind.is_float else 'False' if kind.dtype == 'bool' else '0'}")
        return found


def derive_adjoint(normal: Normal, kinds: Mapping[str, Kind], wanted: set[str],
                   name: str) -> tuple[str, list[int], list[tuple[str, str]]]:
    """Source of ``name(*parameters, *seeds, *adjoints, floats, integers)``, which parameters are written to, and the
    sources of the adjoints of calls, with their names.

    Adjoints of arrays are accumulated into; those of scalars are returned, behind the lengths of the tapes and the
    results.
    """
    adjoints = Adjoints(_of_call)
    adjoint = _adjoint(normal, kinds, wanted, adjoints)
    return "\n".join(adjoint.lines(name)) + "\n", adjoint.facts.written_arguments(), adjoints.texts


def _adjoint(normal: Normal, kinds: Mapping[str, Kind], wanted: set[str], adjoints: Adjoints) -> Adjoint:
    adjoint = Adjoint(normal, kinds, wanted, adjoints)
    changed, more = with_recorded_calls(normal, adjoint.facts, adjoint.reverse.lines)
    return Adjoint(changed, {**kinds, **more}, wanted, adjoints) if more else adjoint


def _of_call(normal: Normal, given: Sequence[Kind], wanted: set[str], name: str, adjoints: Adjoints) -> str:
    kinds = infer(normal, tuple(map(type_of, given)))
    return "\n".join(_adjoint(normal, kinds, wanted, adjoints).lines(name)) + "\n"


class _Block(Decisions):
    """Writes one of the sweeps."""

    def __init__(self, adjoint: Adjoint, is_forward: bool) -> None:
        self.adjoint, self.facts, self.is_forward = adjoint, adjoint.facts, is_forward
        self.lines: list[str] = []
        self.indent = 0
        self._temporaries = 0
        self.expressions = Expressions(self)

    def say(self, line: str) -> None:
        """Append a line."""
        self.lines.append("    " * self.indent + line)

    def temporary(self, value: str) -> str:
        """A name for a value."""
        self._temporaries += 1
        name = f"{'w' if self.is_forward else 'v'}{self._temporaries}_"
        self.say(f"{name} = {value}")
        return name

    def push(self, value: str, is_float: bool) -> None:
        """Record a number."""
        tape, top = ("floats", "top") if is_float else ("integers", "bottom")
        self.say(f"if {top} < {tape}.size:")
        self.say(f"    {tape}[{top}] = {value}")
        self.say(f"{top} += 1")

    def pop(self, target: str, is_float: bool, kind: str = "") -> None:
        """Take a number back."""
        tape, top = ("floats", "top") if is_float else ("integers", "bottom")
        self.say(f"{top} -= 1")
        value = f"{tape}[{top}]"
        self.say(f"{target} = {value + ' != 0' if kind == 'bool' else value}")

    # -------------------------------------------------------------- blocks

    def start(self) -> None:
        """Adjoints of the function's variables at the start of the reverse sweep."""
        adjoint, facts = self.adjoint, self.facts
        for name in adjoint.normal.parameters:
            if name in facts.active:
                if adjoint.kinds[name].is_array:
                    is_given = name in adjoint.wanted and not facts.is_written(name)
                    given = f"{name}_given" if is_given else f"np.zeros_like({name})"
                    self.say(f"{adjoint.bar[name]} = {given}")
                else:
                    self.say(f"{adjoint.bar[name]} = 0.0")
        for name in adjoint.kinds:
            if name in facts.active and not adjoint.kinds[name].is_array and not adjoint.kinds[name].is_tuple and (
                    name not in adjoint.normal.parameters):
                self.say(f"{adjoint.bar[name]} = 0.0")
        self._arrays_of(adjoint.normal.body, 0)
        for output in adjoint.outputs:
            if facts.is_array(output) and facts.is_late_result(output):
                self.say(f"{adjoint.bar[output]} = {output}_seed")
            elif output in facts.active:
                self.say(f"{adjoint.bar[output]} += {output}_seed")

    def block(self, statements: list[ast.stmt], depth: int) -> None:
        """All statements of a block, forward or in reverse."""
        if self.is_forward:
            for s in statements:
                self._forward(s, depth)
            for name in reversed(self._lost_arrays(statements, depth)):
                self.say(f"top = tapegrad_push(floats, top, {name})")
                for axis in range(self.adjoint.kinds[name].ndim):
                    self.push(f"{name}.shape[{axis}]", False)
            return
        if depth:
            self._again(statements, depth)
        for s in reversed(statements):
            self._reverse(s, depth, statements)

    def _own(self, statements: list[ast.stmt]) -> list[Any]:
        """The assignments to variables in a block itself."""
        return [p for places in self.facts.places.values() for p in places if p.block is statements]

    def _lost_arrays(self, statements: list[ast.stmt], depth: int) -> list[str]:
        """Arrays that are bound in a block that runs more than once, and whose contents the reverse sweep reads."""
        if not depth:
            return []
        found = []
        for p in sorted(self._own(statements), key=lambda p: p.at):
            name = p.target.id  # type: ignore[attr-defined]
            if self.facts.is_late_result(name) or getattr(p.statement, "in_place", False):
                continue
            if self.facts.is_array(name) and not self.facts.is_view(p.value) and name not in self.facts.recomputed and (
                    self.adjoint.is_needed(name)) and len(self.facts.binds(name)) == 1:
                if not self.adjoint.kinds[name].is_float:
                    self.adjoint.normal.source.refuse(
                        p.statement, f"the array of integers {name}, which is made anew in each run through a block",
                        "allocate it before")
                found.append(name)
        return found

    def _again(self, statements: list[ast.stmt], depth: int) -> None:
        """What a block's statements read at its end: computed again, or taken back."""
        lost = self._lost_arrays(statements, depth)
        for p in sorted(self._own(statements), key=lambda p: p.at):
            name = p.target.id  # type: ignore[attr-defined]
            if getattr(p.statement, "in_place", False):
                continue
            if name in lost:
                kind = self.adjoint.kinds[name]
                sizes = [self._popped() for _ in range(kind.ndim)][::-1]
                self.say(f"{name} = np.empty(({', '.join(sizes)},), np.{kind.dtype})")
                self.say(f"top = tapegrad_pop(floats, top, {name})")
            elif self._is_made_again(p):
                self.say(f"{name} = {ast.unparse(p.value)}")
        self._arrays_of(statements, depth)

    def _is_made_again(self, p: Any) -> bool:
        """Whether a variable is a view, or can be computed at the end of its block."""
        name = p.target.id
        if self.facts.is_late_result(name):
            return False
        return name in self.facts.recomputed or self.facts.is_array(name) and self.facts.is_view(p.value)

    def _arrays_of(self, statements: list[ast.stmt], depth: int) -> None:
        """Adjoints of the arrays that a block binds."""
        adjoint, facts = self.adjoint, self.facts
        made: set[str] = set()
        for p in sorted(self._own(statements), key=lambda p: p.at):
            name = p.target.id  # type: ignore[attr-defined]
            if not facts.is_array(name) or name not in facts.active or name in made or (
                    name in adjoint.normal.parameters or facts.is_late_result(name) or self._in_place(p.statement)):
                continue
            made.add(name)
            if facts.is_view(p.value):
                renamed = Renamed({base_of_view(p.value): adjoint.bar[base_of_view(p.value)]})
                self.say(f"{adjoint.bar[name]} = {ast.unparse(renamed.visit(copy.deepcopy(p.value)))}")
            else:
                self.say(f"{adjoint.bar[name]} = np.zeros_like({name})")

    # -------------------------------------------------------------- statements

    def _forward(self, s: ast.stmt, depth: int) -> None:
        if isinstance(s, ast.Assign):
            self._record(s, depth)
            target, value = s.targets[0], s.value
            if self._in_place(s):
                value_of = self.temporary(ast.unparse(value))
                if self.facts.rank(value):
                    self.say(f"assert {value_of}.shape == {ast.unparse(target)}.shape, "
                             f"'line {getattr(s, 'lineno', 0)}: an array is assigned one of another shape'")
                self.say(f"{ast.unparse(target)}[...] = {value_of}")
            elif self.facts.rank(loaded(target)) and isinstance(target, ast.Subscript) and self.facts.rank(value):
                value_of = self.temporary(ast.unparse(value))
                self.say(f"assert {value_of}.shape == {ast.unparse(target)}.shape, "
                         f"'line {getattr(s, 'lineno', 0)}: a slice is assigned an array of another shape'")
                self.say(f"{ast.unparse(target)} = {value_of}")
            else:
                self.say(f"{ast.unparse(target)} = {ast.unparse(value)}")
        elif isinstance(s, ast.If):
            decision = None
            if not self._decided(s):
                decision = self.temporary(f"1 if {ast.unparse(s.test)} else 0")
            self.say(f"if {ast.unparse(s.test) if decision is None else decision + ' != 0'}:")
            self._inner(s.body, depth)
            if s.orelse:
                self.say("else:")
                self._inner(s.orelse, depth)
            if decision is not None:
                self.push(decision, False)
        elif isinstance(s, (ast.For, ast.While)):
            self._forward_loop(s, depth)
        elif not isinstance(s, ast.Pass):
            self.say(ast.unparse(s))

    def _inner(self, statements: list[ast.stmt], depth: int) -> None:
        self.indent += 1
        before = len(self.lines)
        self.block(statements, depth + 1)
        if len(self.lines) == before:
            self.say("pass")
        self.indent -= 1

    def _record(self, s: ast.Assign, depth: int) -> None:
        """Push what a statement overwrites, if the reverse sweep reads it."""
        target = s.targets[0]
        if not self._pushes(s, depth):
            return
        if isinstance(target, ast.Name) and not self.facts.is_array(target.id):
            self.push(target.id, self.adjoint.kinds[target.id].is_float)
        elif self.facts.rank(target) or isinstance(target, ast.Name):
            self.say(f"top = tapegrad_push(floats, top, {ast.unparse(loaded(target))})")
        else:
            self.push(ast.unparse(loaded(target)), self.adjoint.kinds[base_of(target)].is_float)

    def _pushes(self, s: ast.Assign, depth: int) -> bool:
        target = s.targets[0]
        name = base_of(target)
        if not self.adjoint.is_needed(name):
            return False
        if isinstance(target, ast.Name):
            if name in self.facts.recomputed:
                return False
            if self.facts.is_array(name):
                return self._in_place(s)
            if self.adjoint.kinds[name].is_tuple:
                if depth:
                    self.adjoint.normal.source.refuse(s, f"the tuple {name} that changes", "give each value a name")
                return False
            places = self.facts.places[name]
            return not (depth == 0 and places[0].statement is s and name not in self.adjoint.normal.parameters)
        if self.facts.rank(target) and not self.adjoint.kinds[name].is_float:
            self.adjoint.normal.source.refuse(s, f"a slice of the array of integers {name} that is written to",
                                              "write its elements in a loop")
        return True

    def _in_place(self, s: ast.Assign) -> bool:
        """Whether an assignment to the name of an array is to its elements."""
        target = s.targets[0]
        if not isinstance(target, ast.Name) or not self.facts.is_array(target.id):
            return False
        places = self.facts.places[target.id]
        if self.facts.is_late_result(target.id):
            return False
        if self.facts.is_view(s.value) and not getattr(s, "in_place", False):
            return False
        return target.id in self.adjoint.normal.parameters or places[0].statement is not s or getattr(
            s, "in_place", False)

    def _reverse(self, s: ast.stmt, depth: int, block: list[ast.stmt]) -> None:
        if isinstance(s, ast.Assign):
            self.expressions.begin(s)
            self._restore(s, depth)
            self._adjoint_of(s)
        elif isinstance(s, ast.If):
            self._reverse_if(s, depth)
        elif isinstance(s, ast.For):
            self._reverse_for(s, depth)
        elif isinstance(s, ast.While):
            count = self._popped()
            self.say(f"for _ in range({count}):")
            self._repeated(s.body, depth)

    def _popped(self) -> str:
        self._temporaries += 1
        name = f"v{self._temporaries}_"
        self.pop(name, False)
        return name

    def _restore(self, s: ast.Assign, depth: int) -> None:
        target = s.targets[0]
        if not self._pushes(s, depth):
            return
        if isinstance(target, ast.Name) and not self.facts.is_array(target.id):
            kind = self.adjoint.kinds[target.id]
            self.pop(target.id, kind.is_float, kind.dtype)
        elif self.facts.rank(target) or isinstance(target, ast.Name):
            self.say(f"top = tapegrad_pop(floats, top, {ast.unparse(loaded(target))})")
        else:
            kind = self.adjoint.kinds[base_of(target)]
            self.pop(ast.unparse(target), kind.is_float, kind.dtype)

    def _adjoint_of(self, s: ast.Assign) -> None:
        """The adjoint of an assignment."""
        facts, bars = self.facts, self.adjoint.bar
        target, value = s.targets[0], s.value
        name = base_of(target)
        if name not in facts.active or not self.adjoint.kinds[name].is_float:
            return
        if facts.is_late_result(name) and name not in self.adjoint.outputs:
            return
        if isinstance(target, ast.Name) and facts.is_array(name) and not self._in_place(s):
            if not facts.is_view(value):
                self.expressions.pull(value, bars[name], s)
            return
        place = ast.unparse(Renamed({name: bars[name]}).visit(copy.deepcopy(loaded(target))))
        is_array = facts.rank(loaded(target)) > 0
        rest = beside(value, loaded(target))
        if rest is not None and not any(facts.root(part) == facts.root(name) for part in facts.differentiable(rest[0])):
            first = len(self.lines)
            self._pull(rest[0], target, place if rest[1] else f"-{place}", s)
            self.lines[first:] = gathered(self.lines[first:])
            return
        if not facts.is_active(value):
            self.say(f"{place}[...] = 0.0" if is_array else f"{place} = 0.0")
            return
        seed = self.temporary(f"{place}.copy()" if is_array else place)
        first = len(self.lines)
        self.say(f"{place}[...] = 0.0" if is_array else f"{place} = 0.0")
        self._pull(value, target, seed, s)
        self.lines[first:] = gathered(self.lines[first:])

    def _pull(self, value: ast.expr, target: ast.expr, seed: str, s: ast.Assign) -> None:
        """Pull the adjoint of a target, each of whose elements may be the same scalar."""
        rank, full = self.facts.rank(value), self.facts.rank(loaded(target))
        if full and not rank:
            seed = self.temporary(f"np.sum({seed})") if self.facts.is_active(value) else seed
        elif rank != full and self.facts.is_active(value):
            self.adjoint.normal.source.refuse(s,
                                              f"the assignment {ast.unparse(s)}, of an array of {rank} axes to one of "
                                              f"{full}", "write the loop")
        self.expressions.pull(value, seed, s)
