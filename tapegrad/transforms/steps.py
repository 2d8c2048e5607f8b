"""An instruction as rules of differentiation see it: its operands are tensors with history, its attributes numbers."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any

from ..engine.caller import user_line
from ..engine.row import Nest, Words
from ..engine.storage import Buffer, Changes, contiguous_strides
from ..errors import InPlaceError
from ..ops.table import Op
from ..tape.nodes import Leaf
from ..tensor.recording import contiguous
from ..tensor.tensor import Tensor, view
from .placing import laid, placed

#: shape, dtype, strides
Kind = tuple[tuple[int, ...], Any, tuple[int, ...]]
#: key of a variable, its elements, offset there, whether history flows through the operand
Operand = tuple[Any, int, int, bool]


class Attributes:
    """Words of a declaration by their names: integers, floats, and within them words of declarations of their own."""

    def __init__(self, declaration: type[Words], words: Sequence[int]) -> None:
        self._declaration, self._words = declaration, words

    def __getitem__(self, k: int) -> int:
        return self._words[k]

    @property
    def words(self) -> tuple[int, ...]:
        """All of them."""
        return tuple(self._words[:self._declaration.size])

    def __getattr__(self, name: str) -> Any:
        kinds = self._declaration.kinds
        if name not in kinds:
            raise AttributeError(f"{self._declaration.__name__} declares no {name}")
        at, kind = self._declaration.places[name], kinds[name]
        if kind is Nest:
            return tuple(self._words[at:])
        if isinstance(kind, type):
            return Attributes(kind, self._words[at:])  # type: ignore[arg-type]
        word = self._words[at]
        if kind in ("float", "double"):
            return struct.unpack("d", struct.pack("q", word))[0]
        return bool(word) if kind == "bool" else word


class Step:
    """An instruction: its op, its attributes, and its operands as views of variables.

    What the op's row declares is found by its name: ``step.x`` is a tensor, ``step.eps`` a number.

    Attributes
    ----------
    op : Op
    attributes : tuple of int
        The words that follow the operands in the row.
    operands : sequence of Operand
        The output, the inputs, the auxiliary outputs.
    kinds : sequence of (shape, dtype, strides)
        Of the output and the inputs.
    where : str
        The user's line, where it is known.
    stamp : int, optional
        Version of buffers when it was computed; what is read must not be of a later one.
    node : Node, optional
        What its output holds of its tape.
    """

    def __init__(self, op: Op, attributes: Sequence[int], operands: Sequence[Operand], kinds: Sequence[Kind],
                 where: str, operand: Callable[[int], Tensor], rule: Any = None,
                 auxiliary: Callable[[int], Buffer] | None = None, stamp: int | None = None, node: Any = None) -> None:
        self.op, self.attributes, self.operands, self.kinds, self.where = op, tuple(attributes), operands, kinds, where
        self._rule, self._is_constant, self._stamp, self.node = rule, False, stamp, node
        self._operand, self._tensors, self._auxiliary = operand, dict[int, Tensor](), auxiliary

    def tensor(self, j: int) -> Tensor:
        """Operand `j` with its history: 0 the output, then the inputs."""
        if j not in self._tensors:
            t = self._operand(j)
            self._tensors[j] = t.detach() if self._is_constant else t
        self._check_unchanged(self._tensors[j])
        return self._tensors[j]

    @property
    def rule(self) -> Any:
        """What a user has given for the derivative, in place of that of the op (see `rules.Rule`), or None."""
        if self._rule is not None and self._stamp is not None:
            for t in self._rule.operands:
                self._check_unchanged(t)
        return self._rule

    def _check_unchanged(self, t: Tensor) -> None:
        """Raise if what is read was overwritten since (version counters)."""
        if self._stamp is not None and self._stamp != Changes.count and t.buffer is not None:
            Changes.settle()
            if t.buffer.version > self._stamp:
                raise InPlaceError(f"{user_line()}: {self.op.name} of shape {list(self.shape)}: a value that its "
                                   "derivative reads was changed in place after it was computed with (an optimiser's "
                                   "step, copy_ or load_state_dict); compute the function again")

    def detach(self) -> None:
        """From now on operands are constants."""
        self._is_constant = True
        if self._rule is not None:
            self._rule = self._rule.detached()

    def kept(self, name: str, shape: tuple[int, ...], dtype: Any) -> Tensor | None:
        """What an auxiliary output holds; None in a recording, which has no tensor of it."""
        if self._auxiliary is None:
            return None
        row: Any = self.op.row
        return Tensor._made(self._auxiliary(row.number(name)), 0, shape, contiguous_strides(shape), dtype)

    @property
    def output(self) -> Any:
        """The variable of the output."""
        return self.operands[0][0]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the output."""
        return self.kinds[0][0]

    @property
    def inputs(self) -> range:
        """Numbers of the inputs."""
        return range(1, len(self.kinds))

    def flows(self, reached: Any) -> list[int]:
        """Numbers of the inputs through which history flows from variables in `reached`."""
        return [j for j in self.inputs if self.operands[j][3] and self.operands[j][0] in reached]

    def strides_of(self, operand: str, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Strides of an operand over the shape over which the row's nest goes."""
        row: Any = self.op.row
        name, over = next(iter(row.nests.items()))
        return laid(getattr(self, name), over.index(operand), shape)

    def read_as(self, t: Tensor, operand: str, shape: tuple[int, ...], offset: int = 0) -> Tensor:
        """`t`, which lies as an operand without gaps does, in the shape over which the row's nest goes."""
        return view(contiguous(t), offset, shape, self.strides_of(operand, shape))

    def placed_as(self, t: Tensor, operand: str, elements: int, offset: int) -> Tensor:
        """The flat tensor of so many elements that holds `t` where the nest has an operand, and 0 elsewhere."""
        return placed(t, elements, offset, t.shape, self.strides_of(operand, t.shape))

    def shape_of(self, operand: str) -> tuple[int, ...]:
        """The shape of the output or an input."""
        row: Any = self.op.row
        return self.kinds[row.number(operand)][0]

    def __getattr__(self, name: str) -> Any:
        row = self.op.row
        if row is None or name.startswith("_"):
            raise AttributeError(name)
        if name in row.operands:
            return self.tensor(row.number(name))
        first = 1 + 2 * len(self.operands)
        return getattr(Attributes(row, (0,) * first + self.attributes), name)

    def name(self, j: int) -> str:
        """The name of operand `j`."""
        return self.op.row.operands[j] if self.op.row is not None else str(j)

    def at(self) -> str:
        """Where it was recorded, or else where the user is now."""
        return self.where or user_line()


def variable_of(t: Tensor) -> Any:
    """What tells the variable of a tensor from every other: a leaf, or a number on a tape or in a recording."""
    return variable_of_node(t.node)


def variable_of_node(node: Any) -> Any:
    """As `variable_of`, of what a tensor holds of its tape."""
    return node if node is None or isinstance(node, Leaf) else (id(node.tape), node.variable)


def elements_of(t: Tensor) -> int:
    """Elements of the variable that a tensor is a view of."""
    return t.node.nbytes // t.dtype.itemsize


def offset_of(t: Tensor) -> int:
    """Where a tensor begins in its variable."""
    node = t.node
    return t.offset + (t.buffer.address - node.buffer.address) // t.dtype.itemsize if type(node) is Leaf else t.offset
