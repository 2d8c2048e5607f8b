"""A function in a normal form: few kinds of statements, one exit, calls of the user's functions written out.

What remains are assignments to one name or one subscript, ``if``, ``for`` over ``range``, ``while``, and ``assert``.
``break``, ``continue`` and ``return`` are flags: what follows them is guarded, so that every statement has one way in
and one way out and can be walked in reverse.
"""

from __future__ import annotations

import ast
import builtins
import copy
import itertools
import math
import re
from collections.abc import Sequence
from types import BuiltinFunctionType, ModuleType
from typing import Any

import numpy as np

from .intrinsics import is_intrinsic
from .source import Source, plain_function

__all__ = ["Normal", "normalise"]

_DEEPEST = 40
#: names that the sweeps use; a variable that is called so gets another
_RESERVED = re.compile(r"top|bottom|floats|integers|np|math|len|range|[vw]\d+_|tapegrad_\w*")


class Normal:
    """A function in normal form.

    Attributes
    ----------
    source : Source
    parameters : list of str
    body : list of ast.stmt
    outputs : list of str
        Variables that hold what is returned; empty if nothing is.
    is_tuple : bool
        Whether a tuple is returned.
    results : list of str
        What the function itself returns; its tangent has other outputs.
    constants : dict of str to object
        What names of the function's surroundings refer to, by the names that the body uses.
    """

    def __init__(self, source: Source) -> None:
        self.source, self.parameters = source, list(source.parameters)
        self.constants: dict[str, Any] = {}
        self._numbers = itertools.count(1)
        self._stack: list[Any] = []
        taken = {node.id for node in ast.walk(source.definition) if isinstance(node, ast.Name)} | set(self.parameters)
        self._taken = taken
        for parameter in self.parameters:
            if _RESERVED.fullmatch(parameter):
                source.refuse(source.definition, f"a parameter that is called {parameter}",
                              "the adjoint uses that name "
                              "itself; call it otherwise")
        self.outputs: list[str] = []
        self.is_tuple = False
        writer = _Writer(self, source, {}, None)
        self.locals = writer._locals
        self.body = writer.function(source.definition.body)
        self.results = list(self.outputs)

    def fresh(self, stem: str) -> str:
        """A name that nothing has."""
        while True:
            name = f"{stem}{next(self._numbers)}"
            if name not in self._taken:
                self._taken.add(name)
                return name


def normalise(source: Source) -> Normal:
    """The function in normal form."""
    return Normal(source)


def load(name: str) -> ast.Name:
    """A name that is read."""
    return ast.Name(name, ast.Load())


def assign(target: ast.expr | str, value: ast.expr, at: ast.AST) -> ast.Assign:
    """An assignment at the line of another node."""
    place = ast.Name(target, ast.Store()) if isinstance(target, str) else _stored(target)
    return ast.copy_location(ast.fix_missing_locations(ast.Assign([place], value, lineno=at.lineno)), at)  # type: ignore


def number(value: int) -> ast.Constant:
    """A constant."""
    return ast.Constant(value)


def _stored(target: ast.expr) -> ast.expr:
    target = copy.deepcopy(target)
    target.ctx = ast.Store()  # type: ignore[attr-defined]
    return target


def _exits(statements: Sequence[ast.stmt]) -> bool:
    """Whether a break, continue or return of the present loop is in these statements."""
    for s in statements:
        if isinstance(s, (ast.Break, ast.Continue, ast.Return)):
            return True
        if isinstance(s, ast.If) and (_exits(s.body) or _exits(s.orelse)):
            return True
        if isinstance(s, (ast.For, ast.While)) and _returns(s.body):
            return True
    return False


def _returns(statements: Sequence[ast.stmt]) -> bool:
    return any(isinstance(node, ast.Return) for s in statements for node in ast.walk(s))


def _always_returns(statements: Sequence[ast.stmt]) -> bool:
    """Whether statements cannot be gone through without a return."""
    for s in statements:
        if isinstance(s, ast.Return) or isinstance(s, ast.If) and _always_returns(s.body) and _always_returns(s.orelse):
            return True
        if isinstance(s, ast.While) and isinstance(s.test, ast.Constant) and s.test.value and not any(
                isinstance(node, ast.Break) for node in _own_exits(s.body)):
            return True
    return False


def _returns_halfway(statements: Sequence[ast.stmt]) -> bool:
    """Whether a branch returns in some cases and goes on in others."""
    return any(isinstance(s, ast.If) and _returns([s]) and (
        not (_always_exits(s.body) or _always_exits(s.orelse)) or _returns_halfway(s.body)
        or _returns_halfway(s.orelse))
        for s in statements)


def _always_exits(statements: Sequence[ast.stmt]) -> bool:
    """Whether the end of these statements cannot be reached."""
    if not statements:
        return False
    last = statements[-1]
    return isinstance(last, (ast.Break, ast.Continue, ast.Return)) or (
        isinstance(last, ast.If) and _always_exits(last.body) and _always_exits(last.orelse))


class _Loop:
    """Flags of the loop around a statement."""

    def __init__(self, writer: _Writer) -> None:
        self.broken, self.skipped = writer.normal.fresh("broke"), writer.normal.fresh("skip")
        self.breaks = self.skips = self.returns = False
        #: flags by which the loop is left
        self.leaves: list[str] = []


class _Writer:
    """Writes one function's statements in normal form; a called function has a writer of its own, with other names."""

    def __init__(self, normal: Normal, source: Source, names: dict[str, str], outputs: list[str] | None) -> None:
        self.normal, self.source, self._names, self._inlined = normal, source, names, outputs
        self._loops: list[_Loop] = []
        self._done = ""
        self._locals = {a for a in source.parameters}
        for node in ast.walk(source.definition):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                self._locals.add(node.id)

    # -------------------------------------------------------------- whole functions

    def function(self, body: Sequence[ast.stmt]) -> list[ast.stmt]:
        """All statements; `outputs` of the normal form, or of this call, are what is returned."""
        definition = self.source.definition
        returned = [node for s in body for node in ast.walk(s) if isinstance(node, ast.Return)]
        self._check_returns(returned)
        if any(r.value is not None for r in returned) and not _always_returns(body):
            self.source.refuse(returned[0], "a function that may end without a result", "return one at its end")
        in_loop = any(_returns(node.body) for s in body for node in ast.walk(s) if isinstance(node, (ast.For,
                                                                                                     ast.While)))
        begin: list[ast.stmt] = []
        if in_loop or _returns_halfway(body):
            self._done = self.normal.fresh("done")
            begin.append(assign(self._done, number(0), definition))
        return begin + self.block(list(body))

    def _check_returns(self, returned: Sequence[ast.Return]) -> None:
        kinds = {len(r.value.elts) if isinstance(r.value, ast.Tuple) else 0 if r.value is None else -1
                 for r in returned}
        if len(kinds) > 1:
            self.source.refuse(returned[-1], "a function that returns results of different kinds",
                               "return the same number of results everywhere")
        count = next(iter(kinds), 0)
        outputs = [self.normal.fresh("result") for _ in range(1 if count == -1 else count)]
        if self._inlined is None:
            self.normal.outputs, self.normal.is_tuple = outputs, count > 0
        else:
            self._inlined.extend(outputs)
        self._results = outputs

    # -------------------------------------------------------------- statements

    def block(self, statements: Sequence[ast.stmt]) -> list[ast.stmt]:
        """Statements in normal form; what follows an exit is guarded."""
        found: list[ast.stmt] = []
        for k, s in enumerate(statements):
            rest = list(statements[k + 1:])
            if isinstance(s, (ast.Break, ast.Continue, ast.Return)):
                return found + self._exit(s)
            if isinstance(s, ast.If) and (_exits(s.body) or _exits(s.orelse)):
                return found + self._leaving_if(s, rest)
            if isinstance(s, (ast.For, ast.While)) and _returns(s.body):
                found += self.statement(s)
                return found + ([self._guard([self._done], rest, s)] if rest else [])
            found += self.statement(s)
        return found

    def _exit(self, s: ast.stmt) -> list[ast.stmt]:
        if isinstance(s, ast.Return):
            before: list[ast.stmt] = []
            if s.value is not None:
                values = s.value.elts if isinstance(s.value, ast.Tuple) else [s.value]
                for name, value in zip(self._results, values):
                    before += self._assigned(ast.Name(name, ast.Store()), value, s, whole=True)
            for loop in self._loops:
                loop.returns = True
            if self._done:
                before.append(assign(self._done, number(1), s))
            return before
        loop = self._loops[-1]
        if isinstance(s, ast.Break):
            loop.breaks = True
            return [assign(loop.broken, number(1), s)]
        loop.skips = True
        return [assign(loop.skipped, number(1), s)]

    def _leaving_if(self, s: ast.If, rest: list[ast.stmt]) -> list[ast.stmt]:
        before, test = self.expression(s.test)
        body, orelse = list(s.body), list(s.orelse)
        left, right = _always_exits(body), _always_exits(orelse)
        if left or right:
            if left and not right:
                orelse, rest = orelse + rest, []
            elif right and not left:
                body, rest = body + rest, []
            else:
                rest = []
            return [*before, self._if(test, self.block(body), self.block(orelse), s)]
        made = self._if(test, self.block(body), self.block(orelse), s)
        if not rest:
            return [*before, made]
        kinds = {type(node) for part in (body, orelse) for node in _own_exits(part)}
        flags = [self._done] if ast.Return in kinds else []
        if self._loops:
            loop = self._loops[-1]
            flags += [flag for flag, kind in ((loop.broken, ast.Break), (loop.skipped, ast.Continue)) if kind in kinds]
        return [*before, made, self._guard(flags, rest, s)]

    def _guard(self, flags: Sequence[str], rest: list[ast.stmt], at: ast.stmt) -> ast.stmt:
        """The rest, if no flag is set."""
        tests: list[ast.expr] = [ast.Compare(load(flag), [ast.Eq()], [number(0)]) for flag in flags]
        test = tests[0] if len(tests) == 1 else ast.BoolOp(ast.And(), tests)
        return self._if(test, self.block(rest), [], at)

    @staticmethod
    def _if(test: ast.expr, body: list[ast.stmt], orelse: list[ast.stmt], at: ast.AST) -> ast.stmt:
        made = ast.If(test, body or [ast.Pass()], orelse)
        return ast.fix_missing_locations(ast.copy_location(made, at))

    def statement(self, s: ast.stmt) -> list[ast.stmt]:
        """One statement that has no exit in it but returns from within loops."""
        if isinstance(s, ast.Pass) or isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant):
            return []
        if isinstance(s, ast.Assign):
            return self._assignment(s)
        if isinstance(s, ast.AnnAssign):
            return [] if s.value is None else self._assigned(s.target, s.value, s)
        if isinstance(s, ast.AugAssign):
            first, target = self._hoisted(s.target, s) if isinstance(s.target, ast.Subscript) else ([], s.target)
            read = copy.deepcopy(target)
            read.ctx = ast.Load()
            made = self._assigned(target, ast.copy_location(ast.BinOp(read, s.op, s.value), s), s)
            setattr(made[-1], "in_place", True)
            return first + made
        if isinstance(s, ast.If):
            before, test = self.expression(s.test)
            return [*before, self._if(test, self.block(s.body), self.block(s.orelse), s)]
        if isinstance(s, ast.For):
            return self._for(s)
        if isinstance(s, ast.While):
            return self._while(s)
        if isinstance(s, ast.Assert):
            before, test = self.expression(s.test)
            return [*before, ast.copy_location(ast.Assert(test, None), s)]
        if isinstance(s, ast.Expr) and isinstance(s.value, ast.Call):
            if self._callee(s.value) is not None:
                return self._inline(s.value, None, s)
            method = s.value.func
            if isinstance(method, ast.Attribute) and method.attr == "fill" and len(s.value.args) == 1:
                target = ast.Subscript(method.value, ast.Slice(), ast.Store())
                return self._assigned(ast.copy_location(target, s), s.value.args[0], s)
        what = {ast.Try: "try", ast.With: "with", ast.Raise: "raise", ast.Delete: "del", ast.Global: "global",
                ast.Nonlocal: "nonlocal", ast.FunctionDef: "a function within the function",
                ast.Import: "import", ast.ImportFrom: "import"}.get(type(s))
        if what is None:
            what = f"the statement {ast.unparse(s).splitlines()[0]!r}"
        instead = {"raise": "use assert, or return a NaN", "try": "test the condition with if",
                   "a function within the function": "define it outside; it is written out where it is called"}
        self.source.refuse(s, what, instead.get(what, "leave it out of the function"))

    def _assignment(self, s: ast.Assign) -> list[ast.stmt]:
        if len(s.targets) == 1:
            return self._assigned(s.targets[0], s.value, s)
        name = self.normal.fresh("same")
        made = self._assigned(ast.Name(name, ast.Store()), s.value, s, whole=True)
        for target in s.targets:
            made += self._assigned(target, _marked(load(name)), s)
        return made

    def _assigned(self, target: ast.expr, value: ast.expr, at: ast.stmt, whole: bool = False) -> list[ast.stmt]:
        """``target = value``; `whole` if the names are of the normal form already."""
        if isinstance(target, ast.Starred):
            self.source.refuse(at, "a starred target", "name each target")
        if isinstance(target, (ast.Tuple, ast.List)):
            return self._unpacked(target, value, at)
        if isinstance(value, ast.Call) and self._callee(value) is not None:
            outputs: list[str] = []
            made = self._inline(value, outputs, at)
            if len(outputs) != 1:
                self.source.refuse(at, f"a call that gives {len(outputs)} results used as one",
                                   "unpack them: a, b = f()")
            if isinstance(target, ast.Subscript):
                more, target = self._hoisted(target, at)
                made = [*made, *more]
            return [*made, self._plain(target, load(outputs[0]), at, whole)]
        if isinstance(value, ast.IfExp) and not getattr(value, "is_ready", False) and self._has_calls(value):
            before, test = self.expression(value.test)
            parts = [self._assigned(target, part, at, whole) for part in (value.body, value.orelse)]
            return [*before, self._if(test, parts[0], parts[1], at)]
        before, value = self.expression(value)
        if isinstance(target, ast.Subscript):
            more, target = self._hoisted(target, at)
            before = [*before, *more]
        return [*before, self._plain(target, value, at, whole)]

    def _hoisted(self, target: ast.Subscript, at: ast.stmt) -> tuple[list[ast.stmt], ast.Subscript]:
        """A target whose indices do not read arrays, for the write might change the index itself."""
        target = copy.deepcopy(target)
        before: list[ast.stmt] = []

        def named(part: Any) -> Any:
            if isinstance(part, ast.Slice):
                return ast.Slice(*(named(bound) for bound in (part.lower, part.upper, part.step)))
            if isinstance(part, ast.Tuple):
                return ast.Tuple([named(inner) for inner in part.elts], ast.Load())
            if part is None or not any(isinstance(node, ast.Subscript) for node in ast.walk(part)):
                return part
            name = self.normal.fresh("at")
            before.extend(self._assigned(ast.Name(name, ast.Store()), part, at, whole=True))
            return _marked(load(name))

        place: ast.expr = target
        while isinstance(place, (ast.Subscript, ast.Attribute)):
            if isinstance(place, ast.Subscript):
                place.slice = named(place.slice)
            place = place.value
        return before, ast.fix_missing_locations(target)

    def _plain(self, target: ast.expr, value: ast.expr, at: ast.stmt, whole: bool) -> ast.stmt:
        if isinstance(target, ast.Name):
            return assign(target.id if whole else self._renamed(target.id), value, at)
        if isinstance(target, ast.Subscript):
            before, place = self.expression(_loaded(target))
            if before:
                self.source.refuse(at, "a call of a function in an index that is written to", "give it a name first")
            return assign(place, value, at)
        self.source.refuse(at, f"an assignment to {ast.unparse(target)}", "assign to a name or to an element")

    def _unpacked(self, target: ast.Tuple | ast.List, value: ast.expr, at: ast.stmt) -> list[ast.stmt]:
        count = len(target.elts)
        if isinstance(value, (ast.Tuple, ast.List)):
            if len(value.elts) != count:
                self.source.refuse(at, "an unpacking of another number of values", "give as many as there are names")
            made, temporaries = [], []
            for part in value.elts:
                name = self.normal.fresh("t")
                made += self._assigned(ast.Name(name, ast.Store()), part, at, whole=True)
                temporaries.append(load(name))
            for place, name_of in zip(target.elts, temporaries):
                if isinstance(place, ast.Name):
                    made.append(assign(self._renamed(place.id), name_of, at))
                else:
                    made += self._assigned(place, _marked(name_of), at)
            return made
        if isinstance(value, ast.Call) and self._callee(value) is not None:
            outputs: list[str] = []
            made = self._inline(value, outputs, at)
            if len(outputs) != count:
                self.source.refuse(at, f"an unpacking of {len(outputs)} results into {count} names",
                                   "name each of them")
            for place, name in zip(target.elts, outputs):
                made += self._assigned(place, _marked(load(name)), at)
            return made
        before, value = self.expression(value)
        if isinstance(value, ast.Tuple):
            marked = ast.Tuple([_marked(part) for part in value.elts], ast.Load())
            return [*before, *self._unpacked(target, marked, at)]
        if not isinstance(value, ast.Name):
            name = self.normal.fresh("t")
            before.append(assign(name, value, at))
            value = load(name)
        for k, place in enumerate(target.elts):
            before += self._assigned(place, _marked(ast.Subscript(value, number(k), ast.Load())), at)
        return before

    # -------------------------------------------------------------- loops

    def _for(self, s: ast.For) -> list[ast.stmt]:
        if s.orelse:
            self.source.refuse(s, "for with else", "set a flag in the loop, and test it after")
        before, kind, given = self._iterated(s.iter, s)
        loop = _Loop(self)
        self._loops.append(loop)
        start: list[ast.stmt] = []
        if kind == "range" and isinstance(s.target, ast.Name) and s.target.id not in _stored_in(s.body):
            index, bounds = self._renamed(s.target.id), given
        else:
            index = self.normal.fresh("k")
            lengths: list[ast.expr] = [ast.Call(load("len"), [array], []) for array in given]
            if kind == "range":
                bounds, start = given, self._assigned(s.target, _marked(load(index)), s)
            else:
                bounds = [ast.Call(self._minimum(), lengths, []) if kind == "zip" and len(given) > 1 else lengths[0]]
                start = self._elements(s, kind, given, index)
        body = self._with_flags(loop, start + self.block(s.body), s)
        self._loops.pop()
        made = ast.For(ast.Name(index, ast.Store()), ast.Call(load("range"), bounds, []), body, [])
        return self._around(loop, before, made, s)

    def _minimum(self) -> ast.expr:
        name = next((k for k, v in self.normal.constants.items() if v is min), None) or self.normal.fresh("min_")
        self.normal.constants[name] = min
        return load(name)

    def _elements(self, s: ast.For, kind: str, given: list[ast.expr], index: str) -> list[ast.stmt]:
        """The targets of a loop over elements, by the index."""
        def element(array: ast.expr) -> ast.expr:
            return _marked(ast.Subscript(array, load(index), ast.Load()))

        if kind == "zip":
            if not isinstance(s.target, ast.Tuple) or len(s.target.elts) != len(given):
                self.source.refuse(s, "zip with another number of targets", "name an element of each")
            return [made for place, array in zip(s.target.elts, given)
                    for made in self._assigned(place, element(array), s)]
        if kind == "enumerate":
            if not isinstance(s.target, ast.Tuple) or len(s.target.elts) != 2:
                self.source.refuse(s, "enumerate without two targets", "write for i, x in enumerate(...)")
            count = load(index) if len(given) == 1 else ast.BinOp(load(index), ast.Add(), given[1])
            return [*self._assigned(s.target.elts[0], _marked(count), s),
                    *self._assigned(s.target.elts[1], element(given[0]), s)]
        return self._assigned(s.target, element(given[0]), s)

    def _iterated(self, node: ast.expr, at: ast.stmt) -> tuple[list[ast.stmt], str, list[ast.expr]]:
        before: list[ast.stmt] = []

        def named(value: ast.expr) -> ast.expr:
            more, value = self.expression(value)
            before.extend(more)
            if not isinstance(value, ast.Name):
                name = self.normal.fresh("seq")
                before.append(assign(name, value, at))
                value = load(name)
            return value

        name = ""
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id not in self._locals:
            name = node.func.id
        if name in ("range", "prange") and isinstance(node, ast.Call):
            bounds = []
            for argument in node.args:
                more, value = self.expression(argument)
                before += more
                bounds.append(value)
            if node.keywords or not 1 <= len(bounds) <= 3:
                self.source.refuse(at, ast.unparse(node), "give one to three bounds")
            return before, "range", bounds
        if name == "reversed" and isinstance(node, ast.Call):
            self.source.refuse(at, "reversed", "write range(n - 1, -1, -1)")
        if name == "enumerate" and isinstance(node, ast.Call):
            parts = [*node.args, *(k.value for k in node.keywords)]
            if not 1 <= len(parts) <= 2:
                self.source.refuse(at, ast.unparse(node), "give an array and a first count")
            return before, "enumerate", [named(part) for part in parts]
        if name == "zip" and isinstance(node, ast.Call) and node.args:
            return before, "zip", [named(argument) for argument in node.args]
        if isinstance(node, (ast.Tuple, ast.List)):
            self.source.refuse(at, "a loop over a tuple that is written out", "loop over a range, and index an array")
        return before, "elements", [named(node)]

    def _while(self, s: ast.While) -> list[ast.stmt]:
        if s.orelse:
            self.source.refuse(s, "while with else", "set a flag in the loop, and test it after")
        before, test = self.expression(s.test)
        loop = _Loop(self)
        self._loops.append(loop)
        if before:
            leave = self._if(ast.UnaryOp(ast.Not(), test), [ast.Break()], [], s)
            body = self._with_flags(loop, before + self.block([_ready(leave), *s.body]), s)
            test = ast.Constant(True)
        else:
            body = self._with_flags(loop, self.block(s.body), s)
        self._loops.pop()
        return self._around(loop, [], ast.While(test, body, []), s)

    def _with_flags(self, loop: _Loop, body: list[ast.stmt], at: ast.stmt) -> list[ast.stmt]:
        if loop.skips:
            body = [assign(loop.skipped, number(0), at), *body]
        loop.leaves = [loop.broken] * loop.breaks + [self._done] * loop.returns
        return body or [ast.Pass()]

    def _around(self, loop: _Loop, before: list[ast.stmt], made: ast.stmt, at: ast.stmt) -> list[ast.stmt]:
        setattr(made, "leaves", loop.leaves)
        if loop.breaks:
            before = [*before, assign(loop.broken, number(0), at)]
        return [*before, ast.fix_missing_locations(ast.copy_location(made, at))]

    # -------------------------------------------------------------- expressions

    def _renamed(self, name: str) -> str:
        if name in self._names:
            return self._names[name]
        if self._inlined is None and not _RESERVED.fullmatch(name):
            return name
        self._names[name] = self.normal.fresh(name.rstrip("_") + "_")
        return self._names[name]

    def expression(self, node: ast.expr) -> tuple[list[ast.stmt], ast.expr]:
        """An expression in the names of the normal form, and statements that come before it."""
        if getattr(node, "is_ready", False):
            return [], node
        before: list[ast.stmt] = []
        return before, _Expression(self, before).visit(copy.deepcopy(node))

    def _has_calls(self, node: ast.expr) -> bool:
        return any(isinstance(part, ast.Call) and self._callee(part) is not None for part in ast.walk(node))

    def _callee(self, node: ast.Call) -> Any:
        """The user's function that is called; None if it is known otherwise."""
        if isinstance(node.func, ast.Name) and node.func.id in self._locals:
            return None
        value = self.source.value_of(node.func)
        return None if value is None or is_intrinsic(value) else plain_function(value)

    def _inline(self, call: ast.Call, outputs: list[str] | None, at: ast.stmt) -> list[ast.stmt]:
        """The body of a called function, with names of its own."""
        function = self._callee(call)
        if function in self.normal._stack or function is self.normal.source.function:
            self.source.refuse(call, f"the recursion of {function.__name__}", "write it as a loop")
        if len(self.normal._stack) >= _DEEPEST:
            self.source.refuse(call, f"more than {_DEEPEST} functions within each other", "call fewer")
        callee = Source(function)
        given = self._bound(call, callee)
        names: dict[str, str] = {}
        made: list[ast.stmt] = []
        written = {node.id for node in ast.walk(callee.definition)
                   if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
        for name, argument in given.items():
            before, value = self.expression(argument) if isinstance(argument, ast.expr) else ([], argument)
            made += before
            if isinstance(value, ast.Name) and name not in written:
                names[name] = value.id
            else:
                names[name] = self.normal.fresh(name + "_")
                made.append(assign(names[name], value, at))
        results: list[str] = []
        self.normal._stack.append(function)
        made += _Writer(self.normal, callee, names, results).function(callee.definition.body)
        self.normal._stack.pop()
        if outputs is not None:
            outputs.extend(results)
        return made

    def _bound(self, call: ast.Call, callee: Source) -> dict[str, Any]:
        arguments = callee.definition.args
        defaults = callee.function.__defaults__ or ()
        positional = [a.arg for a in (*arguments.posonlyargs, *arguments.args)]
        given: dict[str, Any] = {}
        defaults_of = {**dict(zip(positional[len(positional) - len(defaults):], defaults)),
                        **(callee.function.__kwdefaults__ or {})}
        for name, value in defaults_of.items():
            given[name] = _marked(ast.Constant(value))
        given.update(zip(positional, call.args))
        given.update({k.arg: k.value for k in call.keywords if k.arg})
        missing = [name for name in callee.parameters if name not in given]
        if missing or len(call.args) > len(positional) or any(isinstance(a, ast.Starred) for a in call.args):
            self.source.refuse(call, f"the call {ast.unparse(call)}", f"{callee.function.__name__} takes "
                               f"{', '.join(callee.parameters)}")
        for name in callee.parameters:
            default = given[name].value if isinstance(given[name], ast.Constant) else None
            if default is not None and not isinstance(default, (bool, int, float)):
                self.source.refuse(call, f"the default of {callee.function.__name__}'s parameter {name}",
                                   "give it in the "
                                   "call")
        unknown = {k.arg for k in call.keywords} - set(callee.parameters)
        twice = set(positional[:len(call.args)]) & {k.arg for k in call.keywords}
        if unknown or twice:
            self.source.refuse(call, f"the call {ast.unparse(call)}", f"{callee.function.__name__} takes "
                               f"{', '.join(callee.parameters)}")
        return {name: given[name] for name in callee.parameters}


class _Expression(ast.NodeTransformer):
    """Renames locals, notes constants, and takes calls of the user's functions out."""

    def __init__(self, writer: _Writer, before: list[ast.stmt]) -> None:
        self._writer, self._before = writer, before
        self._conditional = 0

    def visit(self, node: ast.AST) -> Any:
        if getattr(node, "is_ready", False):
            return node
        return super().visit(node)

    def visit_Name(self, node: ast.Name) -> ast.AST:
        writer = self._writer
        if node.id in writer._locals:
            return ast.copy_location(load(writer._renamed(node.id)), node)
        return self._constant(node, node.id)

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        value = self._writer.source.value_of(node)
        root = node
        while isinstance(root, ast.Attribute):
            root = root.value  # type: ignore[assignment]
        if isinstance(root, ast.Name) and root.id not in self._writer._locals and value is not None:
            if isinstance(value, (bool, int, float, np.bool_, np.integer, np.floating)):
                return ast.copy_location(self._number(value), node)
            if isinstance(self._writer.source.value_of(root), ModuleType):
                named = self._constant(root, root.id)
                inner = node
                while isinstance(inner.value, ast.Attribute):
                    inner = inner.value
                inner.value = named  # type: ignore[assignment]
                return node
            return self._constant(node, ast.unparse(node).replace(".", "_"))
        return self.generic_visit(node)

    def _number(self, value: Any) -> ast.expr:
        value = value.item() if isinstance(value, np.generic) else value
        if value == value and abs(value) != math.inf:
            return ast.Constant(value)
        name = self._writer.normal.fresh("constant_")  # NaN and infinity have no literals
        self._writer.normal.constants[name] = value
        return load(name)

    def _constant(self, node: ast.expr, name: str) -> ast.AST:
        source, normal = self._writer.source, self._writer.normal
        value = source.value_of(node)
        if value is None:
            source.refuse(node, f"the name {ast.unparse(node)}", "it is not defined where the function is decorated")
        if isinstance(value, (bool, int, float, np.bool_, np.integer, np.floating)):
            return ast.copy_location(self._number(value), node)
        if not (callable(value) or isinstance(value, (ModuleType, np.ndarray, tuple, np.dtype))) or (
                callable(value) and not is_intrinsic(value) and plain_function(value) is None
                and not isinstance(value, (type, np.ufunc, BuiltinFunctionType)) and not hasattr(value, "__wrapped__")):
            source.refuse(node, f"the object {ast.unparse(node)}", "give its numbers and arrays as arguments")
        known = normal.constants.get(name)
        if _RESERVED.fullmatch(name) and not (name in ("np", "math") and isinstance(value, ModuleType)
                                              and value.__name__ in ("numpy", "math")) and (
                getattr(builtins, name,
                        None) is not value) or name in normal.locals and self._writer._inlined is not None or (
                known is not None and known is not value):
            name = next((k for k, v in normal.constants.items() if v is value), None) or normal.fresh(name + "_")
        normal.constants[name] = value
        normal._taken.add(name)
        return ast.copy_location(load(name), node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        writer = self._writer
        if writer._callee(node) is None:
            value = writer.source.value_of(node.func)
            if isinstance(node.func, ast.Name) and node.func.id in writer._locals:
                value = None
            if value is divmod and len(node.args) == 2:
                x, y = (self.visit(argument) for argument in node.args)
                pair = [ast.BinOp(x, ast.FloorDiv(), y), ast.BinOp(x, ast.Mod(), y)]
                return ast.fix_missing_locations(ast.copy_location(ast.Tuple(list(pair), ast.Load()), node))
            is_method = isinstance(node.func, ast.Attribute) and value is None
            if not is_method and not is_intrinsic(value):
                writer.source.refuse(node, f"a call of {ast.unparse(node.func)}", "its derivative is not known; write "
                                     "it in Python, or with functions of math and numpy")
            return self.generic_visit(node)
        if self._conditional:
            writer.source.refuse(node, f"a call of {ast.unparse(node.func)} that is made only under a condition",
                                 "write it with if, or give it a name first")
        if _writes_to_arguments(Source(writer._callee(node))):
            writer.source.refuse(node,
                                 f"a call of {ast.unparse(node.func)}, which writes to arrays, within an expression",
                                 "make the call a statement of its own")
        outputs: list[str] = []
        at = ast.copy_location(ast.Pass(), node)
        self._before.extend(writer._inline(node, outputs, at))
        if len(outputs) != 1:
            writer.source.refuse(node, f"a call that gives {len(outputs)} results within an expression", "unpack it")
        return ast.copy_location(load(outputs[0]), node)

    def visit_IfExp(self, node: ast.IfExp) -> ast.AST:
        node.test = self.visit(node.test)
        self._conditional += 1
        node.body, node.orelse = self.visit(node.body), self.visit(node.orelse)
        self._conditional -= 1
        return node

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.AST:
        node.values[0] = self.visit(node.values[0])
        self._conditional += 1
        node.values[1:] = [self.visit(value) for value in node.values[1:]]
        self._conditional -= 1
        return node

    def _refused(self, node: ast.AST) -> ast.AST:
        what = {ast.ListComp: "a comprehension", ast.Dict: "a dictionary", ast.Lambda: "a lambda",
                ast.NamedExpr: "an assignment within an expression", ast.Yield: "yield", ast.Await: "await",
                ast.Set: "a set", ast.DictComp: "a comprehension", ast.SetComp: "a comprehension",
                ast.GeneratorExp: "a generator", ast.JoinedStr: "a text", ast.YieldFrom: "yield"}[type(node)]
        self._writer.source.refuse(node, what, "write a loop over arrays")

    visit_ListComp = visit_Dict = visit_Lambda = visit_NamedExpr = visit_Yield = visit_Await = _refused
    visit_Set = visit_DictComp = visit_SetComp = visit_GeneratorExp = visit_JoinedStr = visit_YieldFrom = _refused


def _stored_in(statements: Sequence[ast.stmt]) -> set[str]:
    """Names that statements assign."""
    return {node.id for s in statements for node in ast.walk(s)
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}


def _writes_to_arguments(source: Source) -> bool:
    """Whether a function may change elements of what it is given."""
    own = {target.id for node in ast.walk(source.definition) if isinstance(node, ast.Assign)
           and isinstance(node.value, (ast.Call, ast.BinOp)) and not isinstance(getattr(node.value, "func", None),
                                                                                ast.Name)
           for target in node.targets if isinstance(target, ast.Name)}
    for node in ast.walk(source.definition):
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store):
            base = node.value
            while isinstance(base, (ast.Subscript, ast.Attribute)):
                base = base.value
            if not isinstance(base, ast.Name) or base.id not in own or base.id in source.parameters:
                return True
        elif isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name) and node.target.id not in own and (
                node.target.id in source.parameters):
            return True
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            return True
    return False


def _marked(node: ast.expr) -> ast.expr:
    """An expression that is in the names of the normal form already."""
    setattr(node, "is_ready", True)
    return node


def _ready(statement: ast.stmt) -> ast.stmt:
    assert isinstance(statement, ast.If)
    _marked(statement.test)
    return statement


def _loaded(node: ast.expr) -> ast.expr:
    node = copy.deepcopy(node)
    node.ctx = ast.Load()  # type: ignore[attr-defined]
    return node


def _own_exits(statements: Sequence[ast.stmt]) -> list[ast.stmt]:
    """The breaks, continues and returns in statements that belong to the present loop."""
    found: list[ast.stmt] = []
    for s in statements:
        if isinstance(s, (ast.Break, ast.Continue, ast.Return)):
            found.append(s)
        elif isinstance(s, ast.If):
            found += _own_exits(s.body) + _own_exits(s.orelse)
        elif isinstance(s, (ast.For, ast.While)):
            found += [node for part in s.body for node in ast.walk(part) if isinstance(node, ast.Return)]
    return found
