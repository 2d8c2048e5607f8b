"""A function in a normal form: few kinds of statements, one exit, calls of the user's functions written out.

What remains are assignments to one name or one subscript, ``if``, ``for`` over ``range``, ``while``, and ``assert``.
``break``, ``continue`` and ``return`` are flags: what follows them is guarded, so that every statement has one way in
and one way out and can be walked in reverse.
"""

from __future__ import annotations

import ast
import copy
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from .calls import Expression, arguments_of
from .draws import is_draw
from .intrinsics import is_intrinsic
from .iterations import Iterations
from .recursion import Called
from .source import Source, plain_function
from .syntax import (
    RESERVED,
    Exits,
    always_exits,
    always_returns,
    assign,
    branch,
    exits,
    load,
    loaded,
    marked,
    number,
    own_exits,
    returns,
    returns_halfway,
    with_named_indices,
    writes_to_arguments,
)
from .tuples import with_elements

__all__ = ["Normal", "normalise"]

_DEEPEST = 40


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
    is_random : bool
        Whether it draws random numbers.
    calls : dict of str to Called
        Functions that are called by name, for they call themselves; shared with these.
    constants : dict of str to object
        What names of the function's surroundings refer to, by the names that the body uses.
    """

    def __init__(self, source: Source, calls: dict[str, Called] | None = None) -> None:
        source = with_elements(source)
        self.source, self.parameters = source, list(source.parameters)
        self.calls: dict[str, Called] = {} if calls is None else calls
        self.constants: dict[str, Any] = {}
        self._numbers = itertools.count(1)
        self._stack: list[Any] = []
        taken = {node.id for node in ast.walk(source.definition) if isinstance(node, ast.Name)} | set(self.parameters)
        self._taken = taken
        for parameter in self.parameters:
            if RESERVED.fullmatch(parameter):
                source.refuse(source.definition, f"a parameter that is called {parameter}",
                              "the adjoint uses that name "
                              "itself; call it otherwise")
        self.outputs: list[str] = []
        self.is_tuple = self.is_random = False
        writer = Writer(self, source, {}, None)
        self.locals = writer.locals
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


class Writer(Iterations):
    """Writes one function's statements in normal form; a called function has a writer of its own, with other names."""

    def __init__(self, normal: Normal, source: Source, names: dict[str, str], outputs: list[str] | None) -> None:
        self.normal, self.source, self._names, self.inlined = normal, source, names, outputs
        self._loops: list[Exits] = []
        self._done = ""
        self.locals = {a for a in source.parameters}
        for node in ast.walk(source.definition):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                self.locals.add(node.id)

    def function(self, body: Sequence[ast.stmt]) -> list[ast.stmt]:
        """All statements; `outputs` of the normal form, or of this call, are what is returned."""
        definition = self.source.definition
        returned = [node for s in body for node in ast.walk(s) if isinstance(node, ast.Return)]
        self._check_returns(returned)
        if any(r.value is not None for r in returned) and not always_returns(body):
            self.source.refuse(returned[0], "a function that may end without a result", "return one at its end")
        in_loop = any(returns(node.body) for s in body for node in ast.walk(s) if isinstance(node, (ast.For,
                                                                                                     ast.While)))
        begin: list[ast.stmt] = []
        if in_loop or returns_halfway(body):
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
        if self.inlined is None:
            self.normal.outputs, self.normal.is_tuple = outputs, count > 0
        else:
            self.inlined.extend(outputs)
        self._results = outputs

    # -------------------------------------------------------------- statements

    def block(self, statements: Sequence[ast.stmt]) -> list[ast.stmt]:
        """Statements in normal form; what follows an exit is guarded."""
        found: list[ast.stmt] = []
        for k, s in enumerate(statements):
            rest = list(statements[k + 1:])
            if isinstance(s, (ast.Break, ast.Continue, ast.Return)):
                return found + self._exit(s)
            if isinstance(s, ast.If) and (exits(s.body) or exits(s.orelse)):
                return found + self._leaving_if(s, rest)
            if isinstance(s, (ast.For, ast.While)) and returns(s.body):
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
        left, right = always_exits(body), always_exits(orelse)
        if left or right:
            if left and not right:
                orelse, rest = orelse + rest, []
            elif right and not left:
                body, rest = body + rest, []
            else:
                rest = []
            return [*before, branch(test, self.block(body), self.block(orelse), s)]
        made = branch(test, self.block(body), self.block(orelse), s)
        if not rest:
            return [*before, made]
        kinds = {type(node) for part in (body, orelse) for node in own_exits(part)}
        flags = [self._done] if ast.Return in kinds else []
        if self._loops:
            loop = self._loops[-1]
            flags += [flag for flag, kind in ((loop.broken, ast.Break), (loop.skipped, ast.Continue)) if kind in kinds]
        return [*before, made, self._guard(flags, rest, s)]

    def _guard(self, flags: Sequence[str], rest: list[ast.stmt], at: ast.stmt) -> ast.stmt:
        """The rest, if no flag is set."""
        tests: list[ast.expr] = [ast.Compare(load(flag), [ast.Eq()], [number(0)]) for flag in flags]
        test = tests[0] if len(tests) == 1 else ast.BoolOp(ast.And(), tests)
        return branch(test, self.block(rest), [], at)

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
            return [*before, branch(test, self.block(s.body), self.block(s.orelse), s)]
        if isinstance(s, ast.For):
            return self._for(s)
        if isinstance(s, ast.While):
            return self._while(s)
        if isinstance(s, ast.Assert):
            before, test = self.expression(s.test)
            return [*before, ast.copy_location(ast.Assert(test, None), s)]
        if isinstance(s, ast.Expr) and isinstance(s.value, ast.Call):
            if self.callee(s.value) is not None:
                return self.inline(s.value, None, s)
            if self.source.value_of(s.value.func) is np.random.seed:
                before, call = self.expression(s.value)
                self.normal.is_random = True
                return [*before, ast.copy_location(ast.Expr(call), s)]
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
            made += self._assigned(target, marked(load(name)), s)
        return made

    def _assigned(self, target: ast.expr, value: ast.expr, at: ast.stmt, whole: bool = False) -> list[ast.stmt]:
        """``target = value``; `whole` if the names are of the normal form already."""
        if isinstance(target, ast.Starred):
            self.source.refuse(at, "a starred target", "name each target")
        if isinstance(target, (ast.Tuple, ast.List)):
            return self._unpacked(target, value, at)
        if isinstance(value, ast.Call) and self.callee(value) is not None:
            outputs: list[str] = []
            made = self.inline(value, outputs, at)
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
            return [*before, branch(test, parts[0], parts[1], at)]
        before, value = self.expression(value)
        if isinstance(target, ast.Subscript):
            more, target = self._hoisted(target, at)
            before = [*before, *more]
        return [*before, self._plain(target, value, at, whole)]

    def _hoisted(self, target: ast.Subscript, at: ast.stmt) -> tuple[list[ast.stmt], ast.Subscript]:
        """A target whose indices do not read arrays, for the write might change the index itself."""
        before: list[ast.stmt] = []

        def named(index: ast.expr) -> ast.expr:
            name = self.normal.fresh("at")
            before.extend(self._assigned(ast.Name(name, ast.Store()), index, at, whole=True))
            return marked(load(name))

        return before, with_named_indices(target, named)

    def _plain(self, target: ast.expr, value: ast.expr, at: ast.stmt, whole: bool) -> ast.stmt:
        if isinstance(target, ast.Name):
            return assign(target.id if whole else self.renamed(target.id), value, at)
        if isinstance(target, ast.Subscript):
            before, place = self.expression(loaded(target))
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
                setattr(made[-1], "is_exchanged", True)
                temporaries.append(load(name))
            for place, name_of in zip(target.elts, temporaries):
                if isinstance(place, ast.Name):
                    made.append(assign(self.renamed(place.id), name_of, at))
                else:
                    made += self._assigned(place, marked(name_of), at)
            return made
        if isinstance(value, ast.Call) and self.callee(value) is not None:
            outputs: list[str] = []
            made = self.inline(value, outputs, at)
            if len(outputs) != count:
                self.source.refuse(at, f"an unpacking of {len(outputs)} results into {count} names",
                                   "name each of them")
            for place, name in zip(target.elts, outputs):
                made += self._assigned(place, marked(load(name)), at)
            return made
        before, value = self.expression(value)
        if isinstance(value, ast.Tuple):
            pair = ast.Tuple([marked(part) for part in value.elts], ast.Load())
            return [*before, *self._unpacked(target, pair, at)]
        if not isinstance(value, ast.Name):
            name = self.normal.fresh("t")
            before.append(assign(name, value, at))
            value = load(name)
        for k, place in enumerate(target.elts):
            before += self._assigned(place, marked(ast.Subscript(value, number(k), ast.Load())), at)
        return before

    # -------------------------------------------------------------- expressions

    def renamed(self, name: str) -> str:
        if name in self._names:
            return self._names[name]
        if self.inlined is None and not RESERVED.fullmatch(name):
            return name
        self._names[name] = self.normal.fresh(name.rstrip("_") + "_")
        return self._names[name]

    def expression(self, node: ast.expr) -> tuple[list[ast.stmt], ast.expr]:
        """An expression in the names of the normal form, and statements that come before it."""
        if getattr(node, "is_ready", False):
            return [], node
        before: list[ast.stmt] = []
        return before, Expression(self, before).visit(copy.deepcopy(node))

    def _has_calls(self, node: ast.expr) -> bool:
        return any(isinstance(part, ast.Call) and (self.callee(part) is not None or self.draws(part))
                   for part in ast.walk(node))

    def draws(self, node: ast.Call) -> bool:
        """Whether a call draws a random number."""
        return not (isinstance(node.func, ast.Name) and node.func.id in self.locals) and is_draw(
            self.source.value_of(node.func))

    def callee(self, node: ast.Call) -> Any:
        """The user's function that is called; None if it is known otherwise."""
        if isinstance(node.func, ast.Name) and node.func.id in self.locals:
            return None
        value = self.source.value_of(node.func)
        return None if value is None or is_intrinsic(value) or is_draw(value) else plain_function(value)

    def inline(self, call: ast.Call, outputs: list[str] | None, at: ast.stmt) -> list[ast.stmt]:
        """The body of a called function, with names of its own."""
        function = self.callee(call)
        if function in self.normal._stack or function is self.normal.source.function:
            return self._recursion(call, function, outputs, at)
        if len(self.normal._stack) >= _DEEPEST:
            self.source.refuse(call, f"more than {_DEEPEST} functions within each other", "call fewer")
        callee = Source(function)
        given = arguments_of(self.source, call, callee)
        names: dict[str, str] = {}
        made: list[ast.stmt] = []
        for name, argument in given.items():
            before, given[name] = self.expression(argument) if isinstance(argument, ast.expr) else ([], argument)
            made += before
        callee = with_elements(callee, {name: value for name, value in given.items() if isinstance(value, ast.Tuple)})
        for name, elements in callee.elements.items():
            if name in given:
                given.update(zip(elements, given.pop(name).elts))
        written = {node.id for node in ast.walk(callee.definition)
                   if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
        for name, value in given.items():
            if isinstance(value, ast.Name) and name not in written:
                names[name] = value.id
            else:
                names[name] = self.normal.fresh(name + "_")
                made.append(assign(names[name], value, at))
        results: list[str] = []
        self.normal._stack.append(function)
        made += Writer(self.normal, callee, names, results).function(callee.definition.body)
        self.normal._stack.pop()
        if outputs is not None:
            outputs.extend(results)
        return made

    def _recursion(self, call: ast.Call, function: Any, outputs: list[str] | None, at: ast.stmt) -> list[ast.stmt]:
        """A call by name, of names and numbers."""
        callee, calls = Source(function), self.normal.calls
        what = f"the recursion of {function.__name__}, which"
        if writes_to_arguments(callee) or outputs is None:
            self.source.refuse(call, f"{what} writes to arrays", "return a number or a new array, or write it as "
                               "a loop")
        values = [node.value for node in ast.walk(callee.definition) if isinstance(node, ast.Return)]
        if not values or any(value is None or isinstance(value, ast.Tuple) for value in values):
            self.source.refuse(call, f"{what} returns no single result", "return one number or array, or write it as a "
                               "loop")
        name = next((name for name, called in calls.items() if called.function is function), "")
        if not name:
            name = f"tapegrad_{function.__name__}{len(calls) or ''}"
            calls[name] = Called(function, None)  # type: ignore[arg-type]  # for the calls within
            calls[name].normal = normal = Normal(callee, calls)
            if normal.is_random:
                self.source.refuse(call, f"{what} draws random numbers", "give them as an argument")
        made: list[ast.stmt] = []
        arguments: list[ast.expr] = []
        for argument in arguments_of(self.source, call, callee).values():
            before, value = self.expression(argument)
            made += before
            if not isinstance(value, (ast.Name, ast.Constant)):
                arguments.append(load(self.normal.fresh("argument")))
                made.append(assign(arguments[-1].id, value, at))  # type: ignore[attr-defined]
            else:
                arguments.append(value)
        outputs.append(self.normal.fresh("returned"))
        value = ast.Call(load(name), arguments, [])
        setattr(value, "result", outputs[0])
        return [*made, assign(outputs[0], value, at)]
