"""Rows by name: the words of a row are declared once, and written and read by their names.

An op's row is declared as a class, and what writes a row and the kernels that read it use the names of the class::

    class Scaled(Row):               # y = factor x
        y: Output
        x: Input = contiguous
        factor: float
        n: int

    def forward(op: Scaled, f, i, b):
        for k in range(op.n):
            f[op.y + k] = op.factor * f[op.x + k]
        return 0

Before such a function is compiled, or run as plain Python, names are replaced by word numbers (`resolved`), so that the
machine code is that of ``op[6]`` and the like. A variable is a row by its annotation, as a parameter or in an
assignment (``op: Scaled = words_at(part.row)``). A function that serves several rows takes the place of a group of
words in `op`, ``at: At[Dice]``, and reads ``at.scale``; its callers pass ``op.dice``.

In an `Op`'s row, word 0 is the mode; an operand has two words, the addresses of its value and of its adjoint (0: not
wanted), in the order output, inputs, auxiliary outputs; the attributes follow, and a nest of loops comes last.

===========================  ========================================================================
name                         meaning
===========================  ========================================================================
``op.mode``                  word 0
``op.x``                     element address of the value of operand `x`; an ``int`` or ``bool`` attribute
``op.g``                     element address of dL/dy, the output's adjoint
``op.d.x``                   element address of dL/dx, 0 where it is not wanted
``op.stores.x``              whether a first contribution is stored there rather than added
``op.place.x``               the number of the word that ``op.x`` is, for operands that a loop goes through:
                             ``op[op.place.x0 + 2 * j]``
``op.factor``                a ``float`` attribute in the dtype of `f`; a ``double`` in float64. What is assigned to it
                             is its word, ``word_of(factor)``
``Scaled.factor``            the number of a word: ``i[at + Scaled.factor]`` where the row lies in memory
``op.nest``                  the number of the word at which a nest begins, or words of a declaration of
                             their own; ``op.nest.rows`` and the like are words of it
===========================  ========================================================================
"""

from __future__ import annotations

import ast
import inspect
import struct
import sys
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import IntFlag
from itertools import groupby
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, TypeAlias, TypeVar

from .primitives import real, real64

# of these annotations the names count
Output: TypeAlias = int
Input: TypeAlias = int
Aux: TypeAlias = int
double: TypeAlias = float

Group = TypeVar("Group")
#: of a parameter: the number of the first word in `op` of a declaration's words
At = Annotated[Group, "of op"]


class Layout(IntFlag):
    """Requirements on an operand; without `CONTIGUOUS` the row holds its strides."""

    STRIDED = 0
    CONTIGUOUS = 1
    ABSENT = 2
    INT64 = 4
    BOOL = 8
    OVERWRITTEN = 16
    FIXED = 32


#: contiguous in C order
contiguous: Any = Layout.CONTIGUOUS
#: optional
absent: Any = Layout.ABSENT
#: integers, or bytes that are 0 or 1, rather than floats
int64: Any = Layout.INT64
boolean: Any = Layout.BOOL
#: overwritten by the kernel: a state, none of whose elements may share memory
overwritten: Any = Layout.OVERWRITTEN
#: floats without an adjoint; one that wants a gradient is refused
fixed: Any = Layout.FIXED

_OPERANDS = ("Output", "Input", "Aux")
_FLOATS = ("float", "double")
_INTEGERS = {"int": "{0}", "bool": "int({0})"}
_PACK, _UNPACK = struct.Struct("d").pack, struct.Struct("q").unpack


def _kind(kind: Any, scope: Mapping[str, Any]) -> Any:
    """The name of a kind, or the declaration with that name."""
    if kind in (*_OPERANDS, *_INTEGERS, *_FLOATS):
        return kind
    found = scope.get(kind, globals().get(kind)) if isinstance(kind, str) else kind
    if isinstance(found, type) and issubclass(found, Words):
        return found
    raise TypeError(f"{kind!r} is no kind of a word")


def _function(name: str, given: Sequence[str], result: str, before: Sequence[str] = (),
              within: Mapping[str, Any] | None = None) -> Callable:
    """The function of the arguments `before` and the keywords `given` that returns the expression `result`."""
    scope: dict[str, Any] = {"pack": _PACK, "unpack": _UNPACK, "struct": struct, **(within or {})}
    arguments = ", ".join([*before, *(["*", *given] if given else [])])
    # as code of this file, so that errors name the user's line
    exec(compile(f"def {name}({arguments}):\n    return {result}", __file__, "exec"), scope)
    return scope[name]


def _tuple(values: Iterable[str]) -> str:
    return f"({''.join(value + ', ' for value in values)})"


if TYPE_CHECKING:  # to kernels, a declaration's words are the number of the first
    Place: TypeAlias = int
else:
    Place = object


class Words(Place):
    """A declaration of consecutive words.

    Those of a ``class Widths(Words, count=8)`` are integers without names, read as ``op[op.widths + k]``.

    Attributes
    ----------
    kinds : dict of str to (str or type)
        By name: ``int``, ``bool``, ``float``, ``double``, an operand's kind, or a nested declaration.
    places : dict of str to int
        By name, the number of the word, or of the first.
    size : int
        Number of words, without those of a `Nest`.
    """

    kinds: ClassVar[dict[str, Any]] = {}
    places: ClassVar[dict[str, int]] = {}
    size: ClassVar[int] = 0

    if TYPE_CHECKING:

        def __getitem__(self, word: int) -> int: ...
        def __setitem__(self, word: int, value: int) -> None: ...

    def __init_subclass__(cls, count: int = 0) -> None:
        scope = vars(sys.modules[cls.__module__])
        given = cls.__dict__.get("__annotations__", {}) or {f"word{k}": "int" for k in range(count)}
        cls.kinds = {name: _kind(kind, scope) for name, kind in given.items() if not str(kind).startswith("ClassVar")}
        cls.places, at = {}, cls.first_place()
        for name, kind in cls.kinds.items():
            if kind not in _OPERANDS:
                cls.places[name] = at
                at += kind.size if isinstance(kind, type) and issubclass(kind, Words) else 1
        cls.size = at

    @classmethod
    def words(cls, **values: Any) -> tuple[int, ...]:
        """The words of attributes, which are given by name; the function that gives them is made at the first call."""
        names = [name for name, kind in cls.kinds.items() if kind not in _OPERANDS]
        made = _function("words", names, cls._values())
        setattr(cls, "words", staticmethod(made))
        return made(**values)

    @classmethod
    def _values(cls) -> str:
        """An expression for the attributes' words, given their values by name."""
        values: list[str] = []
        for floats, fields in groupby(cls.kinds.items(), lambda field: field[1] in _FLOATS):
            names = [name for name, kind in fields if kind not in _OPERANDS]
            if not floats:
                values += [_INTEGERS.get(cls.kinds[name], "*{0}").format(name) for name in names]
            elif len(names) == 1:
                values.append(f"*unpack(pack({names[0]}))")
            else:
                values.append(f"*struct.unpack('{len(names)}q', struct.pack('{len(names)}d', {', '.join(names)}))")
        return _tuple(values)

    @classmethod
    def word(cls, path: str) -> int:
        """The number of the word of a name, or of one within a group: ``"dice.scale"``."""
        first, _, rest = path.partition(".")
        return cls.places[first] + (cls.kinds[first].word(rest) if rest else 0)

    @classmethod
    def integers(cls, words: Sequence[int]) -> dict[str, Any]:
        """The integer attributes by name; those of a group in a dict of its own."""
        return {name: words[cls.places[name]] if kind == "int" else kind.integers(words[cls.places[name]:])
                for name, kind in cls.kinds.items()
                if kind == "int" or isinstance(kind, type) and issubclass(kind, Words) and kind.size}

    @classmethod
    def first_place(cls) -> int:
        """The number of the first word of the attributes."""
        return 0


class Extents(Words):
    """Extents of the outer axes of a nest, followed by the strides of its operands."""


class Nest(Words):
    """A loop nest (`ops.nest`), whose number of words depends on the axes; `over` names its operands."""

    rows: int
    columns: int
    outer: int
    extents: Extents

    @staticmethod
    def over(*names: str) -> Any:
        """The operands whose strides the nest holds, in order."""
        return names


class Part(Words):
    """The row that `team.share` passes to the kernel of a part: the address of the op's row, the part, their number."""

    row: int
    number: int
    count: int


class Row(Words):
    """Base of the declarations of ops' rows.

    Attributes
    ----------
    operands : tuple of str
        Output, inputs, auxiliary outputs.
    layouts : dict of str to Layout
        Of the operands.
    nests : dict of str to tuple of str
        Of each nest the operands that it is of.
    """

    operands: ClassVar[tuple[str, ...]] = ()
    inputs: ClassVar[tuple[str, ...]] = ()
    layouts: ClassVar[dict[str, Layout]] = {}
    nests: ClassVar[dict[str, tuple[str, ...]]] = {}
    mode: ClassVar[int]
    g: ClassVar[int]
    d: ClassVar[Any]
    stores: ClassVar[Any]
    place: ClassVar[Any]

    def __init_subclass__(cls) -> None:
        kinds = cls.__dict__.get("__annotations__", {})
        cls.operands = tuple(name for name, kind in kinds.items() if kind in _OPERANDS)
        cls.inputs = tuple(name for name in cls.operands if kinds[name] == "Input")
        super().__init_subclass__()
        order = [_OPERANDS.index(cls.kinds[name]) for name in cls.operands]
        if order != sorted(order) or order.count(0) != 1:
            raise TypeError(f"{cls.__name__}: a row has one output, then its inputs, then its auxiliary outputs")
        cls.layouts = {name: Layout(cls.__dict__.get(name, 0)) for name in cls.operands}
        cls.nests = {name: cls.__dict__[name] for name, kind in cls.kinds.items() if kind is Nest}
        cls.places.update({name: 1 + 2 * j for j, name in enumerate(cls.operands)})

    @classmethod
    def first_place(cls) -> int:
        return 1 + 2 * len(cls.operands)

    @classmethod
    def writer(cls, op: Any, record: Callable, nothing: Callable) -> Callable:
        """A function that calls `record` of `op` and a shape, with operands and attributes by name.

        It takes ``(shape, *, dtype, out_dtype=None, added=0, always=False, summed=0)`` and all names of the row. None
        for an absent input becomes ``nothing(0.0, dtype)``.
        """
        aux = cls.operands[1 + len(cls.inputs):]
        inputs = [f"{name} if {name} is not None else nothing(0.0, dtype)" if Layout.ABSENT in cls.layouts[name] else
                  name for name in cls.inputs]
        options = {"out_dtype": None, "added": 0, "always": False, "summed": 0}
        names = [name for name in cls.kinds if name not in cls.operands[:1]]
        return _function("write", [*names, "dtype", *(f"{name}={value}" for name, value in options.items())],
                         f"record(op, {_tuple(inputs)}, shape, {cls._values()}, dtype=dtype, aux={_tuple(aux)}, "
                         f"{', '.join(f'{name}={name}' for name in options)})",
                         ("shape",), {"op": op, "record": record, "nothing": nothing})

    @classmethod
    def row(cls, **words: int) -> list[int]:
        """A row of mode 0 with these words by name, and 0 elsewhere."""
        row = [0] * cls.size
        for name, word in words.items():
            row[cls.places[name]] = word
        return row

    @classmethod
    def bits(cls, holds: Callable[[Layout], Any]) -> int:
        """Bit `j`: whether the layout of input `j` satisfies `holds`."""
        return sum(1 << cls.number(name) for name in cls.inputs if holds(cls.layouts[name]))

    @classmethod
    def number(cls, name: str) -> int:
        """The number of an operand: 0 for the output."""
        return cls.operands.index(name)



def declared(name: str, fields: Mapping[str, Any], **values: Any) -> type[Row]:
    """A row whose fields are known at run time only."""
    return type(name, (Row,), {"__annotations__": dict(fields), "__module__": __name__, **values})


# ------------------------------------------------------------------ names in functions


def resolved(function: Callable) -> Callable:
    """`function` with word numbers for names; itself if it has none."""
    if not _may_name(function):
        return function
    lines, first = inspect.getsourcelines(function)
    tree = ast.parse(textwrap.dedent("".join(lines)))
    ast.increment_lineno(tree, first - 1)
    definition = tree.body[0]
    assert isinstance(definition, ast.FunctionDef)
    return _rebuilt(function, definition) if _resolve(definition, function.__globals__) else function


def resolved_source(source: str, filename: str, scope: Mapping[str, Any]) -> Any:
    """The code of `source`, whose functions may name words of the declarations in `scope`."""
    tree = ast.parse(source)
    for definition in tree.body:
        if isinstance(definition, ast.FunctionDef):
            _resolve(definition, scope)
    return compile(ast.fix_missing_locations(tree), filename, "exec")


def _may_name(function: Callable) -> bool:
    """Whether an annotation in it can be that of a declaration."""
    return any(kind not in ("Any", "int", "bool", "float") for kind in function.__annotations__.values()) or (
        any(name in ("words_at", "frame") or _declares(function.__globals__, name)
            for name in function.__code__.co_names))


def _declares(scope: Mapping[str, Any], name: str) -> bool:
    """Whether a name is that of a declaration."""
    kind = scope.get(name)
    return isinstance(kind, type) and issubclass(kind, Words)


def _resolve(definition: ast.FunctionDef, scope: Mapping[str, Any]) -> bool:
    """Replace names by numbers; returns whether there were any."""
    names = _Names(scope)
    for argument in definition.args.args:
        names.annotate(argument.arg, argument.annotation)
        argument.annotation = None
    definition.returns = None
    definition.decorator_list = []
    definition.body = [names.visit(statement) for statement in definition.body]
    return names.found


class _Names(ast.NodeTransformer):
    """Replaces the names of words; `found`: whether there were any."""

    def __init__(self, scope: Mapping[str, Any]) -> None:
        self.scope, self.found = scope, False
        self.rows: dict[str, tuple[type[Words], str, str]] = {}  # declaration, row, where it begins there

    def annotate(self, name: str, annotation: ast.expr | None) -> bool:
        """Note a variable as a row, or as a place in one, if its annotation is a declaration."""
        text = ast.unparse(annotation) if annotation is not None else ""
        within = text.startswith("At[")
        declaration = text[3:-1] if within else text
        if not _declares(self.scope, declaration):
            return False
        kind = self.scope[declaration]
        self.rows[name] = (kind, "op", f"{name} + ") if within else (kind, name, "")
        return True

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        if isinstance(node.target, ast.Name) and node.value is not None:
            self.found |= self.annotate(node.target.id, node.annotation)
            return ast.copy_location(ast.Assign([node.target], self.visit(node.value)), node)
        return self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        path = [node.attr]
        base = node.value
        while isinstance(base, ast.Attribute):
            path.insert(0, base.attr)
            base = base.value
        if not isinstance(base, ast.Name) or base.id not in self.rows and not _declares(self.scope, base.id):
            return self.generic_visit(node)
        self.found = True
        if base.id in self.rows:
            new = ast.parse(self._word(base.id, path, isinstance(node.ctx, ast.Store)), mode="eval").body
        else:
            new = ast.Constant(self.scope[base.id].word(".".join(path)))
        if isinstance(new, ast.Subscript):
            new.ctx = node.ctx
        for part in ast.walk(new):
            ast.copy_location(part, node)
        return new

    def _word(self, variable: str, path: list[str], assigned: bool) -> str:
        row, name, start = self.rows[variable]
        first, whole = path[0], path
        if issubclass(row, Row):
            if first in ("d", "stores") and len(path) == 2 and path[1] in row.operands:
                j = row.number(path[1])
                return f"{name}[{2 + 2 * j}]" if first == "d" else f"{name}[0] & {1 << j} != 0"
            if first == "place" and len(path) == 2 and path[1] in row.places:
                return str(row.places[path[1]])
            if path in (["g"], ["mode"]):
                return f"{name}[{2 if first == 'g' else 0}]"
        number = 0
        while path and path[0] in row.places:
            number, kind = number + row.places[path[0]], row.kinds[path[0]]
            path = path[1:]
            if isinstance(kind, type):
                row = kind
                continue
            if path:
                break
            at = f"{start}{number}"
            if assigned:
                return f"{name}[{at}]"
            return {"float": f"_real({name}, {at}, f)", "double": f"_real64({name}, {at})"}.get(kind, f"{name}[{at}]")
        if path:
            raise AttributeError(f"{'.'.join([variable, *whole])}: {row.__name__} declares no {path[0]}")
        return f"{start}{number}"


def _rebuilt(function: Callable, definition: ast.FunctionDef) -> Callable:
    """The function that `definition` defines, with the globals and the closure of `function`."""
    free = function.__code__.co_freevars
    enclosing = ast.parse(f"def enclosing(_real, _real64{''.join(', ' + name for name in free)}):\n"
                          f"    return {definition.name}").body[0]
    assert isinstance(enclosing, ast.FunctionDef)
    enclosing.body.insert(0, definition)
    module = ast.fix_missing_locations(ast.Module([enclosing], []))
    scope: dict[str, Any] = {}
    exec(compile(module, function.__code__.co_filename, "exec", dont_inherit=True), function.__globals__, scope)
    made = scope["enclosing"](real, real64, *(cell.cell_contents for cell in function.__closure__ or ()))
    made.__qualname__, made.__module__ = function.__qualname__, function.__module__
    made.__defaults__, made.__doc__ = function.__defaults__, function.__doc__
    return made
