"""Ops, and the tables through which the walks call their kernels.

Dispatch goes through a table of function addresses. Measured beside ``if``/``elif`` over opcodes (numba 0.68, AVX2, the
forward kernels of 30 elementwise ops in float64, 10,000 instructions, nanoseconds an instruction, best of 60):

=======================  ========  =======
instructions             if/elif   address
=======================  ========  =======
one op, 1 element        8.2-8.5   8.2-8.8
four ops mixed, 1        15.7      16.7
one op, 64 elements      17        15-17
four ops mixed, 64       23.9      24.5
=======================  ========  =======

Equally fast, but ``if``/``elif`` compiles all 30 kernels at the first use, 11 s, for each dtype and direction; by
address each costs 0.23 s when a model first uses it. A user's own op needs an address in any case.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from ..engine.kernels import Kernel
from ..engine.language import real, real64
from ..engine.row import Layout, Row, resolved_source
from ..engine.walks.walk import ADJOINT_OF as ADJOINT
from ..engine.walks.walk import CAPACITY, FORWARD
from ..errors import TapegradError

OPS: list[Op] = []

#: all inputs of an op, as bits
EVERY = -1

#: by the status of a kernel, the class of an error and its text (see `tape.raise_status`)
Errors = dict[int, tuple[type[TapegradError], str]]


class Shares(NamedTuple):
    """In-place reuse and aliasing: operands of an instruction that may share memory with its output.

    Attributes
    ----------
    over : tuple of int
        Inputs that the output may overwrite, and whose adjoint may overwrite the output's.
    parts : tuple of (int, int)
        Inputs that are parts of the output, and the element at which each starts there.
    """

    over: tuple[int, ...] = ()
    parts: tuple[tuple[int, int], ...] = ()


class Op:
    """An op: name, kernels, save rule.

    Parameters
    ----------
    name : str
    forward : callable
        Kernel ``(op, f, i, b) -> status``. The row's word 0 holds the mode, word ``1 + 2 j`` the value address of
        operand `j` (0 the output, then the inputs, then auxiliary outputs), ``2 + 2 j`` its adjoint address (0:
        not wanted), and the attributes follow. Or that of another op, which is compiled once for both.
    adjoint : callable, optional
        Kernel that accumulates into the adjoints of the wanted inputs, in the order of the inputs. If bit `j` of the
        mode is set, the contribution to input `j` is the first and is stored instead. No two of those adjoints
        overlap, unless it is `in_turn` or they are `alike`.
    saves : dict of str to str, optional
        The save rule: by input, the operands that its adjoint reads, with spaces between.
    stores : bool
        Whether the adjoint kernel can store a first contribution; else the walk clears the adjoint before it.
    own : bool
        Whether its kernels are the package's; see `Kernel`.
    lists : str, optional
        The attribute of its row for the address of a list of rows, into which the adjoint of a whole leaf writes those
        that it touches (`engine.walks.touched`); 0 for no list.
    errors : dict, optional
        What each non-zero status of the kernels means: the class of the error, and its text.
    again : dict, optional
        Attributes of the row with other values when an instruction is recomputed, which must have no effect but its
        outputs.
    shares : callable, optional
        From the row, what may share memory with the output; the kernels must then allow equal addresses.
    products : callable, optional
        Number of multiply-adds, from the shapes of the output and the inputs; if more than a few an element.
    in_turn : bool
        Whether the adjoint kernel finishes with an input before it starts with the next, on one thread, so that inputs
        may be the same tensor, or views that overlap; see `tensor.recording.apart`.
    alike : bool
        Whether it always accumulates, and an element of all inputs' adjoints is accumulated into by the same thread, so
        that inputs may be identical views.
    form : str, optional
        Distinguishes its kernels from those of another op of the same name.
    straight : bool
        See `Kernel`.
    row : type of Row, optional
        The declaration of its rows.
    composition : dict of str to (str or callable), or callable, optional
        The adjoint once more, as a composition of ops, for derivatives of derivatives: by input its contribution.
        Of an elementwise op an expression in the letters of the row's operands and attributes and of ``g``; else a
        function ``(r, g, t)`` of the instruction, whose operands (tensors) and attributes (numbers) it finds by their
        names, of the output's adjoint, and of the array functions. It reads what `saves` names. Or one function
        ``(r, g, t, wanted)`` for all inputs that gives a dict of them, where they have much in common.
    formula : callable, optional
        Instead, the op itself as a composition ``(r, t)``, from which adjoint and tangent follow.
    tangent : dict of str to callable, or callable, optional
        By input, ``(r, d, t)`` is the output's tangent where that input moves along ``d``; or one function ``(r, moved,
        t)`` of all that move. By default it follows from `composition`, which is linear in ``g``.
    batching : str or callable, optional
        ``(r, t)`` is the op for each of a batch, along a leading axis; "rows" if its row tells of ``rows``, ``outer``
        or ``elements`` as many for each, and behind it the inputs that all rows share, "nest" if its nest has one axis
        more. By default, and where the function gives None, its kernels run in a loop.
    strided : int
        Bit `j`: the row holds the strides of input `j`. Of other inputs it holds the address only, so that `record`
        copies them to C order if need be.
    fixed : int
        Bit `j`: input `j` has no adjoint, though it is of floats; `record` refuses one that wants it.
    states : int
        Bit `j`: the kernel overwrites input `j`, none of whose elements may share memory; by the row if not given.

    Attributes
    ----------
    pull, push : callable or None
        `composition` and `tangent`, where they are one function.
    scalar : Op or None
        The same op over scalars, if it has a form for them.
    summed : Op or None
        The form whose adjoint also sums over axes along which an input is broadcast, if its own does not.
    blocked : Op or None
        The form for nests of short rows, if there is one (`ops.blocks`).
    """

    __slots__ = ("name", "opcode", "forward", "adjoint", "saves", "stores", "errors", "doc", "again",
                 "shares", "products", "lists", "in_turn", "alike", "saved_operands", "scalar", "summed", "blocked",
                 "strided", "states", "fixed", "row", "form", "composition", "pull", "formula", "tangent", "push",
                 "batching")

    def __init__(self, name: str, forward: Callable | Kernel, adjoint: Callable | Kernel | None = None,
                 saves: Sequence[tuple[int, ...]] | Mapping[str, str] = (), stores: bool = False, own: bool = True,
                 errors: Errors | None = None, doc: str = "", again: Mapping[Any, int] | None = None,
                 lists: str = "", products: Callable[[Sequence[tuple[int, ...]]], int] | None = None,
                 shares: Callable[[list[int]], Shares] | None = None, in_turn: bool = False, alike: bool = False,
                 form: str = "", straight: bool = False, strided: int = 0, states: int | None = None, fixed: int = 0,
                 row: type[Row] | None = None, composition: Mapping[str, str | Callable] | Callable | None = None,
                 formula: Callable | None = None, tangent: Mapping[str, Callable] | Callable | None = None,
                 batching: str | Callable | None = None) -> None:
        if len(OPS) >= CAPACITY:
            raise RuntimeError(f"more than {CAPACITY} ops")
        self.name, self.form, self.stores, self.doc, self.row = name, form, stores, doc, row
        self.errors, self.products = errors or {}, products
        self.saves = tuple(_numbers(row, saves)) if isinstance(saves, Mapping) else tuple(saves)
        self.lists = row.word(lists) if row is not None and lists else 0
        self.again = {key if row is None else row.word(key): word for key, word in (again or {}).items()}
        self.shares, self.in_turn, self.alike = shares, in_turn, alike
        self.strided, self.states, self.fixed = strided, states or 0, fixed
        self.pull, self.composition = _by_input(row, composition)
        self.push, self.tangent = _by_input(row, tangent)
        self.formula = formula
        self.batching = batching
        if row is not None:
            self.strided = row.bits(lambda layout: Layout.CONTIGUOUS not in layout)
            self.fixed = row.bits(Layout.FIXED.__and__)
            if states is None:
                self.states = row.bits(Layout.OVERWRITTEN.__and__)
            if self.strided == row.bits(lambda layout: True) and not self.fixed and not self.states:
                self.strided = EVERY
        self.opcode = len(OPS)
        self.scalar: Op | None = None
        self.summed: Op | None = None
        self.blocked: Op | None = None
        prefix = f"{name}.{form}" if form else name
        self.forward: Kernel = self._kernel(f"{prefix}.forward", forward, own, straight, FORWARD)
        self.adjoint = (None if adjoint is None else
                        self._kernel(f"{prefix}.adjoint", adjoint, own, straight, ADJOINT))
        self.saved_operands = lru_cache(maxsize=None)(self._saved_operands)
        OPS.append(self)

    def _kernel(self, name: str, given: Callable | Kernel, own: bool, straight: bool, table: Any) -> Kernel:
        """A kernel of its own, or one that several ops have."""
        if not isinstance(given, Kernel):
            return Kernel(name, given, own, straight, table, self.opcode)
        given.serves(table, self.opcode)
        return given

    def _saved_operands(self, wanted: int) -> tuple[int, ...]:
        """Operands read by the adjoints of the inputs whose bits are set in `wanted` (bit `j - 1`: input `j`)."""
        read: set[int] = set()
        for j, operands in enumerate(self.saves):
            if wanted >> j & 1:
                read.update(operands)
        return tuple(sorted(read))

    def integers(self, words: Sequence[int]) -> dict[str, Any]:
        """By name the integers among the attributes of a row, as messages of errors name them."""
        return self.row.integers(words) if self.row is not None else {}

    def ready_adjoint(self, dtype: np.dtype) -> None:
        """Compile the adjoint kernel, if there is one."""
        if self.adjoint is not None:
            self.adjoint.address(dtype)

    def __repr__(self) -> str:
        return f"Op({self.name!r}, opcode={self.opcode})"


def _by_input(row: type[Row] | None, rules: Any) -> tuple[Callable | None, Mapping[str, Any]]:
    """A function of all inputs, if that is what the rules are, and by input its rule."""
    if callable(rules):
        return rules, dict.fromkeys(row.inputs if row is not None else (), rules)
    return None, rules or {}


def _numbers(row: type[Row] | None, saves: Mapping[str, str]) -> Iterator[tuple[int, ...]]:
    """A save rule in operand numbers; nothing is read for an input that it does not name."""
    assert row is not None and saves.keys() <= set(row.inputs)
    for name in row.inputs:
        yield tuple(row.number(operand) for operand in saves.get(name, "").split())


def kernel_of(source: str, name: str, scope: dict[str, Any]) -> Callable:
    """The function `name` that `source` defines, in the scope `scope`."""
    namespace = {"_real": real, "_real64": real64, **scope}
    exec(resolved_source(source, f"<{name}>", scope), namespace)
    return namespace[name]
