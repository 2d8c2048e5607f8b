"""The Wengert list: instructions as integers in preallocated arrays.

Instruction ``n`` is ``opcode[n]`` and a row of words, ``words[start[n]:start[n + 1]]``: the mode; for each operand (the
output, the inputs, auxiliary outputs) the addresses of its value and its adjoint; then the attributes (sizes, strides,
scalars as float64 bits). Side tables give for each operand its *variable*, its offset in it in elements, and whether
its adjoint is wanted. Rows vary in length, so that no op has a limit and the walks need no second look-up.

A variable is what ``%k`` names in the listing: the output of an instruction, or a leaf. Operands are views of
variables. Value and adjoint of a variable have separate buffers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

import numpy as np

from ..engine.products.blas import REFUSED
from ..engine.ragged import starts_of
from ..engine.storage import Buffer, Changes, array_at
from ..engine.walks import walk
from ..errors import DtypeError, GradientError, TapegradError, TapeMemoryError
from ..ops.table import OPS, Op
from .instructions import Instructions, Note, packer
from .lending import Lendable, alone
from .listing import describe, listing
from .nodes import Leaf, Node
from .rows import Rows
from .state import state


class Tape(Instructions, Lendable):
    """A Wengert list with the storage of its values.

    Parameters
    ----------
    max_bytes : int, optional
        Limit in bytes of values, adjoints and instructions together.
    keep : bool, default True
        Keep values and adjoints of every instruction for inspection until `reset`. A thread's default tape does not:
        `backward` releases what it has walked.

    Examples
    --------
    >>> import tapegrad as tg
    >>> with tg.Tape() as tape:
    ...     x = tg.tensor(-2.0, requires_grad=True).named("x")
    ...     y = tg.tensor(5.0, requires_grad=True)
    ...     q = (x + y).named("q")
    ...     f = q * -4.0
    >>> f.backward()
    >>> float(tape.value("q")), float(tape.adjoint("q"))
    (3.0, -4.0)
    """

    def __init__(self, max_bytes: int | None = None, *, keep: bool = True) -> None:
        if max_bytes is not None and (not isinstance(max_bytes, (int, np.integer)) or max_bytes <= 0):
            raise TapeMemoryError(f"max_bytes must be a positive number of bytes, not {max_bytes!r}")
        super().__init__(max_bytes, keep)
        self._begin_alone()

    @property
    def live_bytes(self) -> int:
        """Bytes of values and adjoints that are in use."""
        self._sweep()
        return self.storage.live_bytes

    def __len__(self) -> int:
        """Number of live instructions, whose results can still be reached."""
        with alone(self):
            self._sweep()
            return self.count - self._dead_count

    # -------------------------------------------------------------- recording

    def sweep(self) -> None:
        """Release the instructions whose results have died; never between taking a variable and appending."""
        if self._dead:
            self._sweep()

    def new_variable(self, nbytes: int, itemsize: int) -> int:
        """A number for a new variable of `nbytes`."""
        if self._free_variables:
            v = self._free_variables.pop()
        else:
            v = self._variable_count
            if v == len(self._nbytes):
                self._grow(self._PER_VARIABLE)
            self._variable_count = v + 1
        self._nbytes[v], self._itemsize[v] = nbytes, itemsize
        self._producer[v] = -1
        return v

    def external(self, source: Leaf | Buffer | Node, nbytes: int, itemsize: int) -> int:
        """The variable of a leaf, of constant data or of another tape's node; the tape keeps it alive."""
        v = self._externals.get(source)
        if v is None:
            v = self.new_variable(nbytes, itemsize)
            self._enter(source, v)
        return v

    def _enter(self, source: Leaf | Buffer | Node, v: int) -> None:
        """Bind variable `v` to something outside of the tape."""
        self._externals[source], self._external_at[v] = v, source
        if not isinstance(source, Node):
            self._value[v] = source.buffer.address if isinstance(source, Leaf) else source.address
        if isinstance(source, Leaf):
            self._state[v] = walk.LEAF

    def append(self, op: Op, words: list[int], variables: Sequence[int], offsets: Sequence[int], flags: Sequence[int],
               saved: Iterable[Buffer], note: Note) -> int:
        """Append an instruction; `words` is its whole row. Returns the byte address of the row."""
        n, at, operand = self.count, self._word_count, self._operand_count
        n_words, n_operands = len(words), len(variables)
        if n + 1 >= len(self._opcode):
            self._grow(self._PER_INSTRUCTION)
        while at + n_words > len(self._words):
            self._grow(("_words",))
        while operand + n_operands > len(self._variable):
            self._grow(self._PER_OPERAND)
        packer(n_words).pack_into(self._words, 8 * at, *words)
        pack = packer(n_operands).pack_into
        pack(self._variable, 8 * operand, *variables)
        pack(self._offset, 8 * operand, *offsets)
        pack(self._flags, 8 * operand, *flags)
        self._opcode[n] = op.opcode
        self._stamp[n] = Changes.count
        self._producer[variables[0]] = n
        self.count, self._word_count, self._operand_count = n + 1, at + n_words, operand + n_operands
        self._start[n + 1], self._operand_start[n + 1] = self._word_count, self._operand_count
        self.saved.append(saved)
        self.notes.append(note)
        return self._words_address + 8 * at

    def load(self, rows: Rows) -> None:
        """Pack a recording into the arrays; the tape must be empty."""
        opcodes, attributes, operands, notes = zip(*rows.instructions) if rows.instructions else ((),) * 4
        count, variables = len(opcodes), len(rows.nbytes)
        operand_starts = starts_of([len(row) for row in operands])
        of_operands = 1 + 2 * np.diff(operand_starts)
        of_attributes = np.array([len(row) for row in attributes], np.int64)
        starts = starts_of(of_operands + of_attributes)
        self._make_arrays(count + 1, int(starts[-1]), int(operand_starts[-1]), variables)
        self._opcode[:count] = opcodes
        self._start[:count + 1], self._operand_start[:count + 1] = starts, operand_starts
        flat = np.fromiter(chain.from_iterable(chain.from_iterable(operands)), np.int64)
        self._variable[:], self._offset[:], self._flags[:] = flat.reshape(-1, 3).T
        self._nbytes[:], self._itemsize[:] = rows.nbytes, rows.itemsizes
        is_attribute = np.repeat(np.tile([False, True], count), np.stack([of_operands, of_attributes], axis=1).ravel())
        self._words[is_attribute] = list(chain.from_iterable(attributes))
        self._producer[:] = -1
        self._producer[self._variable[operand_starts[:-1]]] = np.arange(count)
        self.count, self._variable_count = count, variables
        self._word_count, self._operand_count = len(self._words), len(self._variable)
        self.saved, self.notes = [()] * count, list(notes)
        self._free_variables = rows.free
        for source, v in rows.externals.items():
            self._enter(source, v)

    def reset(self) -> None:
        """Release every instruction."""
        self.epoch += 1
        self._dead.clear()
        self.names.clear()
        self._state[:self._variable_count] = walk.UNREACHED
        self._adjoint[:self._variable_count] = 0
        self._clear()

    def truncate(self, count: int) -> None:
        """Release the instructions from number `count` on."""
        if not 0 <= count <= self.count:
            raise IndexError(f"the tape has {self.count} instructions; it cannot be cut at {count}")
        for n in range(count, self.count):
            self._kill(n)
        self.count = count
        self._word_count, self._operand_count = int(self._start[count]), int(self._operand_start[count])
        del self.saved[count:], self.notes[count:]
        self._dead_count = int(np.count_nonzero(self._opcode[:count] < 0))
        self._kept_nodes = [node for node in self._kept_nodes if node.on_tape]

    def _kill(self, n: int) -> None:
        """Mark instruction `n` dead and release what it saved."""
        if self._opcode[n] >= 0:
            self._opcode[n] = -1
            self._producer[self._variable[self._operand_start[n]]] = -1
            self.saved[n] = self.notes[n] = None
            self._dead_count += 1

    def forget(self, walked: Sequence[int]) -> None:
        """Release these instructions."""
        if len(walked) == self.count - self._dead_count:
            self.reset()
        else:
            for n in walked:
                self._kill(n)

    def _sweep(self) -> None:
        """Release the instructions whose outputs have died, and compact now and then."""
        while self._dead:
            variable, epoch = self._dead.pop()
            if epoch == self.epoch:
                n = int(self._producer[variable])
                if n >= 0:
                    self._kill(n)
                self._free_variables.append(variable)
        if self._dead_count == self.count:
            if self.count:
                self.count = self._word_count = self._operand_count = self._dead_count = 0
                self.saved, self.notes = [], []
                self._release_externals()
        elif self._dead_count > 256 and 2 * self._dead_count > self.count:
            self._compact()

    def _release_externals(self) -> None:
        used = list(self._externals.values())
        self._state[used] = walk.UNREACHED
        self._free_variables.extend(used)
        self._externals, self._external_at = {}, {}

    def _compact(self) -> None:
        """Compaction: remove dead instructions; order is kept."""
        n = self.count
        keep = np.flatnonzero(self._opcode[:n] >= 0)

        def gather(starts: np.ndarray, arrays: Sequence[np.ndarray]) -> int:
            lengths = starts[keep + 1] - starts[keep]
            ends = np.cumsum(lengths)
            total = int(ends[-1]) if len(ends) else 0
            source = np.repeat(starts[keep] - (ends - lengths), lengths) + np.arange(total)
            for array in arrays:
                array[:total] = array[source]
            starts[1:len(keep) + 1] = ends
            return total

        self._word_count = gather(self._start, [self._words])
        self._operand_count = gather(self._operand_start, [self._variable, self._offset, self._flags])
        self._opcode[:len(keep)] = self._opcode[keep]
        self._stamp[:len(keep)] = self._stamp[keep]
        self.saved = [self.saved[k] for k in keep]
        self.notes = [self.notes[k] for k in keep]
        self.count, self._dead_count = len(keep), 0
        self._producer[self._variable[self._operand_start[:self.count]]] = np.arange(self.count)
        used = set(self._variable[:self._operand_count].tolist())
        for source in [source for source, v in self._externals.items() if v not in used]:
            v = self._externals.pop(source)
            del self._external_at[v]
            self._state[v] = walk.UNREACHED
            self._free_variables.append(v)

    # -------------------------------------------------------------- walking

    def run(self, walker: Any, begin: int, end: int) -> None:
        """Run a compiled walk over instructions `begin` to `end`."""
        self._header[walk.BEGIN], self._header[walk.END] = begin, end
        status = walker(self._header_address, self.dtype)
        if status:
            self.fail(int(self._header[walk.FAILED]), status)

    def walk_back(self, first: int, last: int, keeps: bool) -> None:
        """Run the adjoints of the live instructions from `first` to `last`; release what they saved, unless `keeps`."""
        self.run(walk.REVERSE_WALK, first, last)
        if not keeps:
            for n in self._live[first:last].nonzero()[0].tolist():
                self.saved[first + n] = None

    def fail(self, n: int, status: int) -> None:
        """Raise the error that a kernel of instruction `n` reported."""
        op, note = OPS[self._opcode[n]], self.notes[n]
        raise_status(op, status, note[0], note[2], self._words[self._start[n]:self._start[n + 1]].tolist())

    def plan_reverse(self, seed: int) -> int:
        """Plan the reverse walk seeded at variable `seed`; returns the bytes of its adjoints."""
        dtype = self.dtype
        header = self._header
        header[walk.FORWARD_TABLE], header[walk.ADJOINT_TABLE] = walk.TABLES[dtype]
        header[walk.FLOAT_SIZE] = dtype.itemsize
        header[walk.SEED], header[walk.REUSE] = seed, not self.keep
        self.run(walk.PLAN_REVERSE, 0, int(self._producer[seed]) + 1)
        return int(header[walk.TOTAL])

    # -------------------------------------------------------------- inspection

    def value(self, tensor: Any) -> np.ndarray:
        """Value of a tensor, or of the one with this name (`Tensor.named`)."""
        return self._named(tensor).numpy()

    def adjoint(self, tensor: Any) -> np.ndarray:
        """Adjoint of a tensor, or of the one with this name, after `backward`.

        Raises
        ------
        GradientError
            If no reverse walk has reached it, or the tape does not keep adjoints.
        """
        tensor = self._named(tensor)
        node = tensor.node
        if isinstance(node, Leaf):
            if node.gradient is None:
                raise GradientError("no reverse walk has reached this tensor")
            at, owner = node.gradient.address, node.gradient
        else:
            v = node.variable if node is not None else 0
            if self._adjoints is None or v >= len(self._kept_adjoint) or not self._kept_adjoint[v]:
                raise GradientError("the tape holds no adjoint of this tensor: use `with tg.Tape() as tape:` around "
                                    "the computation, call backward(), and read before reset()")
            at, owner = int(self._kept_adjoint[v]), self._adjoints
        size = self.dtype.itemsize
        return array_at(at + tensor.offset * size, tensor.shape, tensor.strides, self.dtype, owner).copy()

    def _named(self, tensor: Any) -> Any:
        if not isinstance(tensor, str):
            return tensor
        if tensor not in self.names:
            known = ", ".join(map(repr, self.names)) or "none"
            raise TapegradError(f"no tensor on this tape is named {tensor!r}; named are: {known}")
        return self.names[tensor]

    def instruction(self, n: int) -> dict[str, Any]:
        """Everything about instruction `n`.

        Returns
        -------
        dict
            ``op``, ``attributes`` (words), and ``operands``: the output, the inputs and auxiliary outputs, each a dict
            of its ``variable``, ``offset``, ``shape``, ``wanted`` (whether its adjoint is), and on a tape that keeps
            them its ``value`` and, after `backward`, its ``adjoint`` as arrays.
        """
        return describe(self, n)

    def __str__(self) -> str:
        self._sweep()
        return listing(self)

    def __repr__(self) -> str:
        return f"<Tape of {len(self)} instructions, {self.storage.live_bytes:,} bytes in use>"

    # -------------------------------------------------------------- current tape

    def __enter__(self) -> Tape:
        self._enter_thread()
        state.entered.append(self)
        return self

    def __exit__(self, *error: Any) -> None:
        state.entered.remove(self)
        self._leave_thread()


def raise_status(op: Op, status: int, operands: Any, where: tuple[str, int, str] | None, words: Sequence[int]) -> None:
    """Raise the error that `op`'s kernel reported by `status`.

    The low 8 bits of a status number the error and its text; the others are the ``{index}`` that the text may name. It
    may also name integers of the instruction's row, by the row's names or as ``{words[...]}``.
    """
    index, code = status >> 8, status & 255
    named = f"{index}" if -2**55 < index < 2**55 - 1 else f"{index} or beyond"  # all that 56 bits tell
    error, message = op.errors.get(code, (TapegradError, f"status {status}"))
    if code == REFUSED:
        error, message = TapegradError, ("a matrix product in it has extents, or rows so near in memory, that BLAS "
                                         "refuses them; make its operands smaller, or copy them with .contiguous()")
    if status == -1:
        error, message = TapegradError, "the function raised an exception; NUMBA_DISABLE_JIT=1 shows which, and where"
    message = message.format(index=named, words=words, **op.integers(words))
    line = f", recorded at {where[0]}:{where[1]}" if where else ""
    names = op.row.inputs if op.row is not None else ()
    given = ", ".join(str(list(s)) for j, (s, *_) in enumerate(operands[1:]) if names[j:j + 1] != ("scratch",))
    raise error(f"{op.name} of shapes {given}: {message}{line}")


# ------------------------------------------------------------------ the thread's tapes


def tape_for(dtype: np.dtype) -> Tape:
    """The tape on which this thread records ops of `dtype` now."""
    if state.entered:
        tape: Tape = state.entered[-1]
        if tape.dtype is not dtype:
            if tape.dtype is not None and tape.dtype != dtype:
                raise DtypeError(f"this tape records {tape.dtype}; an op of {dtype} cannot join it")
            tape.dtype = dtype
        return tape
    if dtype not in state.defaults:
        state.defaults[dtype] = Tape(keep=False)
        state.defaults[dtype].dtype = dtype
    return state.defaults[dtype]


def current_tape(dtype: Any = np.float32) -> Tape:
    """The tape on which this thread records ops of `dtype` now.

    Examples
    --------
    >>> import tapegrad as tg
    >>> x = tg.tensor([1.0], requires_grad=True)
    >>> y = tg.exp(x)
    >>> len(tg.current_tape()) >= 1
    True
    """
    return tape_for(np.dtype(dtype))
