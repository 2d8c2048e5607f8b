"""The adjoint of an expression: what a statement's adjoint contributes to its operands."""

from __future__ import annotations

import ast
import copy
from typing import Any

from .analysis import Analysis
from .intrinsics import ALLOCATIONS, BINARY, UNARY, ZERO
from .reads import SHAPES, base_of, integer

__all__ = ["Expressions", "barred"]


class Expressions:
    """Pulls seeds back through expressions; `block` is what writes the lines."""

    def __init__(self, block: Any) -> None:
        self._block = block
        self._known: dict[str, str] = {}  # names of values by their texts, during the adjoint of a statement

    def begin(self, s: ast.Assign) -> None:
        """Begin with the adjoint of a statement, before what it has overwritten is restored."""
        self._known = {}
        if getattr(s, "is_costly", False) and isinstance(s.value, ast.Call) and self._facts.is_active(s.value):
            name = self._facts.name_of(s.value)
            if "{v}" in (UNARY[name] if name in UNARY else BINARY[name][0]):
                self._known[ast.unparse(s.value)] = self._block.temporary(ast.unparse(s.targets[0]))

    def _once(self, text: str) -> str:
        """A name for a value that the adjoint of a statement reads several times."""
        if text not in self._known:
            self._known[text] = self._block.temporary(text)
        return self._known[text]

    @property
    def _facts(self) -> Analysis:
        return self._block.facts

    def pull(self, node: ast.expr, seed: str, at: ast.stmt) -> None:
        """Accumulate what `seed`, the adjoint of the expression, contributes to the adjoints of variables."""
        if not self._facts.is_active(node):
            return
        if isinstance(node, (ast.Name, ast.Subscript)) or isinstance(node, ast.Attribute) and node.attr == "T":
            self._variable(node, seed, at)
        elif isinstance(node, ast.UnaryOp):
            self.pull(node.operand, _negative(seed) if isinstance(node.op, ast.USub) else seed, at)
        elif isinstance(node, ast.BinOp):
            self._binary(node, seed, at)
        elif isinstance(node, ast.IfExp):
            self._choice(ast.unparse(node.test), node.body, node.orelse, seed, at)
        elif isinstance(node, ast.Call):
            self._call(node, seed, at)
        elif not (isinstance(node, ast.Attribute) and node.attr in SHAPES):
            self._refuse(node, at)

    def _refuse(self, node: ast.AST, at: ast.stmt) -> None:
        self._block.adjoint.normal.source.refuse(at, f"the expression {ast.unparse(node)}", "write it in simpler parts")

    def _simple(self, seed: str) -> str:
        """A seed that may be read several times."""
        return seed if seed.lstrip("-").isidentifier() else self._block.temporary(seed)

    def _variable(self, node: ast.expr, seed: str, at: ast.stmt, is_spread: bool = False) -> None:
        """Add a seed to a variable's adjoint; `is_spread` if it is the same number for each of its elements."""
        name = base_of(node)
        if not name:
            self._refuse(node, at)
        kind = self._block.adjoint.kinds.get(name)
        if kind is None or kind.is_tuple:
            self._refuse(node, at)
        if self._has_lists(node):
            self._block.adjoint.normal.source.refuse(at, f"the index {ast.unparse(node)} by an array",
                                                     "index in a loop")
        place = ast.unparse(barred(node, name, self._block.adjoint.bar[name]))
        if isinstance(node, ast.Attribute):  # the transpose of an array
            place, seed = ast.unparse(barred(node.value, name, self._block.adjoint.bar[name])), f"({seed}).T"
        if self._facts.rank(node) and not is_spread:
            seed = self._simple(seed)
            self._block.say(f"assert {seed.lstrip('-')}.shape == {place}.shape, 'line {getattr(at, 'lineno', 0)}: "
                            "an array is repeated along an axis; write the loop'")
        if seed.startswith("-") and seed[1:].isidentifier():
            self._block.say(f"{place} -= {seed[1:]}")
        else:
            self._block.say(f"{place} += {seed}")

    def _has_lists(self, node: ast.expr) -> bool:
        for part in ast.walk(node):
            if isinstance(part, ast.Subscript):
                indices = part.slice.elts if isinstance(part.slice, ast.Tuple) else [part.slice]
                if any(self._facts.rank(i) for i in indices if not isinstance(i, ast.Slice)):
                    return True
        return False

    def _part(self, node: ast.expr, whole: ast.expr, seed: str, at: ast.stmt) -> None:
        """Pull what belongs to an operand of an elementwise operation, which may be a scalar beside an array."""
        rank, full = self._facts.rank(node), self._facts.rank(whole)
        if not self._facts.is_active(node):
            return
        if rank == full:
            self.pull(node, seed, at)
        elif rank == 0:
            self.pull(node, self._block.temporary(f"np.sum({seed})"), at)
        else:
            self._block.adjoint.normal.source.refuse(
                at, f"{ast.unparse(whole)}, in which arrays of {rank} and {full} axes are broadcast",
                "write the loop, or repeat the smaller one")

    def _binary(self, node: ast.BinOp, seed: str, at: ast.stmt) -> None:
        left, right = node.left, node.right
        a, b = f"({ast.unparse(left)})", f"({ast.unparse(right)})"
        a, b = (text[1:-1] if isinstance(part, (ast.Name, ast.Constant, ast.Subscript)) else text
                for text, part in ((a, left), (b, right)))
        if isinstance(node.op, ast.MatMult):
            self._product(left, right, seed, at)
            return
        seed = self._simple(seed)
        if isinstance(node.op, (ast.Add, ast.Sub)):
            self._part(left, node, seed, at)
            self._part(right, node, seed if isinstance(node.op, ast.Add) else _negative(seed), at)
        elif isinstance(node.op, ast.Mult):
            if ast.dump(left) == ast.dump(right):
                self._part(left, node, f"2.0 * {seed} * {a}", at)
                return
            self._part(left, node, f"{seed} * {b}", at)
            self._part(right, node, f"{seed} * {a}", at)
        elif isinstance(node.op, ast.Div):
            if not self._facts.is_active(right):
                by = f"* (1.0 / {b})" if self._block.loops and self._is_fixed(right) else f"/ {b}"
                self._part(left, node, f"{seed} {by}", at)
                return
            inverse = self._once(f"1.0 / {b}")
            if self._facts.is_active(left):
                seed = self._block.temporary(f"{seed} * {inverse}")
                self._part(left, node, seed, at)
                self._part(right, node, f"-{seed} * ({a} * {inverse})", at)
            else:
                self._part(right, node, f"-{seed} * {inverse} * ({a} * {inverse})", at)
        elif isinstance(node.op, ast.Pow):
            self._power(node, a, b, seed, at)
        elif isinstance(node.op, ast.Mod):
            self._part(left, node, seed, at)
            self._part(right, node, f"-{seed} * np.floor({a} / {b})", at)
        else:
            self._refuse(node, at)

    def _is_fixed(self, node: ast.expr) -> bool:
        """Whether a number is the same in all iterations of all loops: its inverse is computed once, before them."""
        for part in ast.walk(node):
            if isinstance(part, (ast.Subscript, ast.Call)) or isinstance(part, ast.Name) and (
                    part.id in self._facts.loop_targets
                    or any(place.depth for place in self._facts.places.get(part.id, ()))):
                return False
        return self._facts.rank(node) == 0

    def _power(self, node: ast.BinOp, a: str, b: str, seed: str, at: ast.stmt) -> None:
        exponent: Any = node.right.value if isinstance(node.right, ast.Constant) else None
        if isinstance(node.right, ast.UnaryOp) and isinstance(node.right.op, ast.USub) and isinstance(
                node.right.operand, ast.Constant):
            exponent = -node.right.operand.value  # type: ignore[operator]
        if exponent in (1, 2, 3):
            slope = {1: seed, 2: f"2.0 * {seed} * {a}", 3: f"3.0 * {seed} * {a} * {a}"}[exponent]
            self._part(node.left, node, slope, at)
        elif exponent == 0:
            return
        elif exponent is not None:
            self._part(node.left, node, f"{seed} * {float(exponent)!r} * {a} ** {float(exponent) - 1.0!r}", at)
        elif self._facts.rank(node):
            self._refuse(node, at)
        else:
            self._part(node.left, node, f"{seed} * tapegrad_power_slope({a}, {b})", at)
            self._part(node.right, node, f"{seed} * tapegrad_power_log({a}, {b})", at)

    def _product(self, left: ast.expr, right: ast.expr, seed: str, at: ast.stmt) -> None:
        """Matrix products: dA = G B^T, dB = A^T G."""
        a, b = ast.unparse(left), ast.unparse(right)
        ranks = self._facts.rank(left), self._facts.rank(right)
        seed = self._simple(seed)
        to_left, to_right = {
            (1, 1): (f"{seed} * ({b})", f"{seed} * ({a})"),
            (2, 1): (f"np.outer({seed}, {b})", f"np.dot(({a}).T, {seed})"),
            (1, 2): (f"np.dot({b}, {seed})", f"np.outer({a}, {seed})"),
            (2, 2): (f"np.dot({seed}, ({b}).T)", f"np.dot(({a}).T, {seed})")}.get(ranks, ("", ""))
        if not to_left:
            self._refuse(ast.BinOp(left, ast.MatMult(), right), at)
        self.pull(left, to_left, at)
        self.pull(right, to_right, at)

    def _choice(self, test: str, body: ast.expr, orelse: ast.expr, seed: str, at: ast.stmt) -> None:
        seed = self._simple(seed)
        for k, (word, part) in enumerate(((f"if {test}:", body), ("else:", orelse))):
            if k and not self._facts.is_active(part):
                return
            self._block.say(word)
            self._block.indent += 1
            before, known = len(self._block.lines), dict(self._known)
            self.pull(part, seed, at)
            if len(self._block.lines) == before:
                self._block.say("pass")
            self._known = known  # what a branch has named is not known outside of it
            self._block.indent -= 1

    # -------------------------------------------------------------- calls

    def _recursive(self, node: ast.Call, seed: str, at: ast.stmt) -> None:
        """The adjoint of the function that is called, which adds to the adjoints of arrays and returns the others."""
        adjoint, facts = self._block.adjoint, self._facts
        wanted = [k for k, argument in enumerate(node.args) if facts.is_active(argument)]
        name = adjoint.adjoint_of_call(node, wanted)
        given = [ast.unparse(barred(a, a.id, adjoint.bar[a.id])) if facts.rank(a) else "0.0"  # type: ignore[attr-defined]
                 for a in (node.args[k] for k in wanted)]
        floats, integers = self._block.temporary("np.empty(64)"), self._block.temporary("np.empty(64, np.int64)")
        self._block.say("while True:")  # until its tape is long enough
        self._block.indent += 1
        arguments = ", ".join([*map(ast.unparse, node.args), seed, *given, floats, integers])
        found = self._block.temporary(f"{name}({arguments})")
        self._block.say(f"if {found}[0] <= {floats}.size and {found}[1] <= {integers}.size:")
        self._block.say("    break")
        self._block.say(f"{floats} = np.empty(max({found}[0], {floats}.size))")
        self._block.say(f"{integers} = np.empty(max({found}[1], {integers}.size), np.int64)")
        self._block.indent -= 1
        scalars = [k for k in wanted if not facts.rank(node.args[k])]
        for number, k in enumerate(scalars):
            self.pull(node.args[k], f"{found}[{3 + number}]", at)

    def _call(self, node: ast.Call, seed: str, at: ast.stmt) -> None:
        if hasattr(node, "result"):
            self._recursive(node, seed, at)
            return
        facts, name = self._facts, self._facts.name_of(node)
        arguments = list(node.args)
        if facts.is_method(node):
            arguments.insert(0, node.func.value)  # type: ignore[attr-defined]
        if node.keywords and name not in ZERO and not (name == "sum" and {k.arg for k in node.keywords} == {"axis"}):
            self._block.adjoint.normal.source.refuse(at, f"the options of {ast.unparse(node)}", "write the loop")
        if name in UNARY and len(arguments) == 1:
            self._unary(node, name, arguments[0], seed, at)
        elif name in BINARY and len(arguments) == 2:
            self._two(node, name, arguments, seed, at)
        elif name in ("max", "min", "amax", "amin") and len(arguments) == 1:
            self._extreme(node, "argmax" if "max" in name else "argmin", arguments[0], seed, at)
        elif name in ("max", "min", "maximum", "minimum"):
            self._greatest(node, name, arguments, seed, at)
        elif name in ZERO:
            return
        else:
            rule = getattr(self, f"_{name}", None) if name in _OWN_RULES else None
            if rule is None:
                self._refuse(node, at)
                return
            rule(node, arguments, seed, at)

    def _unary(self, node: ast.Call, name: str, x: ast.expr, seed: str, at: ast.stmt) -> None:
        rule = UNARY[name]
        rank = self._facts.rank(node)
        if rank and "tapegrad_" in rule:
            self._refuse(node, at)
        value = self._once(ast.unparse(node)) if "{v}" in rule else ""
        if name == "log" and not rank:
            rule = f"{{s}} * {self._once(f'1.0 / {_operand(x)}')}"
        self.pull(x, rule.format(s=seed if rule.count("{s}") == 1 else self._simple(seed), x=_operand(x), v=value,
                                 m="np" if rank else "math"), at)

    def _two(self, node: ast.Call, name: str, arguments: list[ast.expr], seed: str, at: ast.stmt) -> None:
        seed = self._simple(seed)
        rank = self._facts.rank(node)
        if rank and ("tapegrad_" in name or "tapegrad_" in BINARY[name][0]):
            self._refuse(node, at)
        x, y = map(_operand, arguments)
        value = self._once(ast.unparse(node)) if "{v}" in BINARY[name][0] else ""
        for argument, rule in zip(arguments, BINARY[name]):
            self._part(argument, node, rule.format(s=seed, x=x, y=y, v=value, m="np" if rank else "math"), at)

    def _greatest(self, node: ast.Call, name: str, arguments: list[ast.expr], seed: str, at: ast.stmt) -> None:
        """The derivative of the first of the greatest, or least."""
        sign = ">=" if "max" in name else "<="
        if self._facts.rank(node):
            if len(arguments) != 2:
                self._refuse(node, at)
            a, b = map(_operand, arguments)
            seed = self._simple(seed)
            self._part(arguments[0], node, f"np.where({a} {sign} {b}, {seed}, 0.0 * {seed})", at)
            self._part(arguments[1], node, f"np.where({a} {sign} {b}, 0.0 * {seed}, {seed})", at)
            return
        first, *rest = arguments
        if not rest:
            self.pull(first, seed, at)
            return
        test = " and ".join(f"{_operand(first)} {sign} {_operand(other)}" for other in rest)
        others: ast.expr = rest[0] if len(rest) == 1 else ast.Call(node.func, rest, [])
        self._choice(test, first, others, seed, at)

    def _extreme(self, node: ast.Call, which: str, x: ast.expr, seed: str, at: ast.stmt) -> None:
        if self._facts.rank(x) != 1 or node.keywords or not isinstance(x, ast.Name):
            self._block.adjoint.normal.source.refuse(at, ast.unparse(node),
                                                     "write the loop, or take it of a 1-D variable")
        index = self._block.temporary(f"np.{which}({ast.unparse(x)})")
        self._block.say(f"{self._block.adjoint.bar[x.id]}[{index}] += {seed}")  # type: ignore[attr-defined]

    def _sum(self, node: ast.Call, arguments: list[ast.expr], seed: str, at: ast.stmt) -> None:
        x, *axis = [*arguments, *(k.value for k in node.keywords)]
        rank = self._facts.rank(x)
        if not axis or rank == 1:
            self._spread(x, seed, at)
            return
        number = integer(axis[0])
        if number is None or len(axis) > 1:
            self._block.adjoint.normal.source.refuse(at, ast.unparse(node), "give the axis as a number")
            return
        along = f"np.expand_dims({seed}, {number % rank})"
        self.pull(x, f"np.zeros_like({ast.unparse(x)}) + {along}", at)

    def _mean(self, node: ast.Call, arguments: list[ast.expr], seed: str, at: ast.stmt) -> None:
        x = arguments[0]
        if len(arguments) > 1:
            self._refuse(node, at)
        self._spread(x, f"({seed}) / ({ast.unparse(x)}).size", at)

    def _spread(self, x: ast.expr, seed: str, at: ast.stmt) -> None:
        """Pull a scalar seed of each element of an array."""
        if isinstance(x, (ast.Name, ast.Subscript)):
            self._variable(x, seed, at, is_spread=True)
        else:
            self.pull(x, self._block.temporary(f"np.full_like({ast.unparse(x)}, {seed})"), at)

    def _dot(self, node: ast.Call, arguments: list[ast.expr], seed: str, at: ast.stmt) -> None:
        self._product(arguments[0], arguments[1], seed, at)

    def _outer(self, node: ast.Call, arguments: list[ast.expr], seed: str, at: ast.stmt) -> None:
        seed = self._simple(seed)
        self.pull(arguments[0], f"np.dot({seed}, {ast.unparse(arguments[1])})", at)
        self.pull(arguments[1], f"np.dot({seed}.T, {ast.unparse(arguments[0])})", at)

    def _where(self, node: ast.Call, arguments: list[ast.expr], seed: str, at: ast.stmt) -> None:
        if len(arguments) != 3:
            self._refuse(node, at)
        test, a, b = arguments
        if not self._facts.rank(node):
            self._choice(ast.unparse(test), a, b, seed, at)
            return
        seed = self._simple(seed)
        self._part(a, node, f"np.where({ast.unparse(test)}, {seed}, 0.0 * {seed})", at)
        self._part(b, node, f"np.where({ast.unparse(test)}, 0.0 * {seed}, {seed})", at)

    def _cumsum(self, node: ast.Call, arguments: list[ast.expr], seed: str, at: ast.stmt) -> None:
        if self._facts.rank(arguments[0]) != 1 or len(arguments) > 1:
            self._refuse(node, at)
        self.pull(arguments[0], f"np.cumsum(({seed})[::-1])[::-1]", at)

    def _copy(self, node: ast.Call, arguments: list[ast.expr], seed: str, at: ast.stmt) -> None:
        self.pull(arguments[0], seed, at)

    _ascontiguousarray = _copy

    def _transpose(self, node: ast.Call, arguments: list[ast.expr], seed: str, at: ast.stmt) -> None:
        if len(arguments) > 1:
            self._refuse(node, at)
        self.pull(arguments[0], f"({seed}).T", at)

    def _full(self, node: ast.Call, arguments: list[ast.expr], seed: str, at: ast.stmt) -> None:
        self.pull(arguments[1], f"np.sum({seed})", at)

    _full_like = _full

    def _array(self, node: ast.Call, arguments: list[ast.expr], seed: str, at: ast.stmt) -> None:
        seed = self._simple(seed)
        parts = arguments[0]
        if not isinstance(parts, (ast.List, ast.Tuple)):
            self._copy(node, arguments, seed, at)
            return
        for k, part in enumerate(parts.elts):
            if isinstance(part, (ast.List, ast.Tuple)):
                for j, inner in enumerate(part.elts):
                    self.pull(inner, f"{seed}[{k}, {j}]", at)
            else:
                self.pull(part, f"{seed}[{k}]", at)

    def _reshape(self, node: ast.Call, arguments: list[ast.expr], seed: str, at: ast.stmt) -> None:
        x = arguments[0]
        self.pull(x, f"np.ascontiguousarray({seed}).reshape(({ast.unparse(x)}).shape)", at)

    _ravel = _flatten = _reshape

    def _prod(self, node: ast.Call, arguments: list[ast.expr], seed: str, at: ast.stmt) -> None:
        if len(arguments) > 1:
            self._refuse(node, at)
        self.pull(arguments[0], f"tapegrad_product_adjoint({ast.unparse(arguments[0])}, {seed})", at)

    def _solve(self, node: ast.Call, arguments: list[ast.expr], seed: str, at: ast.stmt) -> None:
        """x = A^-1 b: db = A^-T g, dA = -db x^T."""
        a, b = arguments
        to_b = self._block.temporary(f"np.linalg.solve(np.ascontiguousarray(({ast.unparse(a)}).T), {seed})")
        if self._facts.is_active(a):
            x = self._block.temporary(ast.unparse(node))
            product = f"np.outer({to_b}, {x})" if self._facts.rank(b) == 1 else f"np.dot({to_b}, {x}.T)"
            self.pull(a, f"-{product}", at)
        self.pull(b, to_b, at)

    def _inv(self, node: ast.Call, arguments: list[ast.expr], seed: str, at: ast.stmt) -> None:
        """dA = -A^-T G A^-T."""
        inverse = self._block.temporary(f"np.ascontiguousarray(({ast.unparse(node)}).T)")
        self.pull(arguments[0], f"-np.dot(np.dot({inverse}, {seed}), {inverse})", at)

    def _det(self, node: ast.Call, arguments: list[ast.expr], seed: str, at: ast.stmt) -> None:
        """dA = g det(A) A^-T."""
        a = ast.unparse(arguments[0])
        self.pull(arguments[0], f"{seed} * {ast.unparse(node)} * np.linalg.inv({a}).T", at)

    def _cholesky(self, node: ast.Call, arguments: list[ast.expr], seed: str, at: ast.stmt) -> None:
        self.pull(arguments[0], f"tapegrad_cholesky_adjoint({ast.unparse(node)}, {seed})", at)


_OWN_RULES = {"sum", "mean", "dot", "outer", "where", "cumsum", "copy", "ascontiguousarray", "transpose", "full",
              "full_like", "array", "reshape", "ravel", "flatten", "prod", "solve", "inv", "det",
              "cholesky"} | (ALLOCATIONS & {"copy", "full", "full_like"})


def _negative(seed: str) -> str:
    return seed[1:] if seed.startswith("-") and seed[1:].isidentifier() else f"-{seed}" if seed.isidentifier() else (
        f"-({seed})")


def _operand(node: ast.expr) -> str:
    text = ast.unparse(node)
    return text if isinstance(node, (ast.Name, ast.Constant, ast.Subscript, ast.Call)) else f"({text})"


def barred(node: ast.expr, name: str, bar: str) -> ast.expr:
    """A place of a variable, in its adjoint."""
    node = copy.deepcopy(node)
    inner = node
    while isinstance(inner, (ast.Subscript, ast.Attribute)):
        if isinstance(inner.value, ast.Name):
            inner.value = ast.Name(bar, ast.Load())
            return node
        inner = inner.value  # type: ignore[assignment]
    return ast.Name(bar, ast.Load())
