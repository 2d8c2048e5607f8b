"""`checkpoint`: a stretch of the recording whose values are not kept but computed again in the reverse walk.

In a recorded step the plan says which instructions run again (`program.planning.schedule`). Define by run, the
instructions stay on the tape and their values go; the reverse walk makes new buffers for those that it needs, writes
their addresses into the rows, and runs them.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from weakref import WeakKeyDictionary, ref

import numpy as np

from ..engine.storage import Buffer, array_at
from ..engine.walks import walk
from ..errors import RecomputationError
from ..ops.table import OPS
from .nodes import Node
from .state import state
from .tape import Tape


class Segment:
    """What is recorded while it is the thread's present one; `path` are the segments around it and itself."""

    __slots__ = ("path", "slots", "makers")

    def __init__(self, outer: Segment | None) -> None:
        self.path: tuple[Segment, ...] = (*(outer.path if outer is not None else ()), self)
        #: of the outermost one while it is recorded: where the values of its buffers come from
        self.slots: WeakKeyDictionary[Buffer, Slot] = WeakKeyDictionary() if outer is None else outer.slots
        #: and the instructions that made them, for a detached tensor holds its buffer only
        self.makers: WeakKeyDictionary[Buffer, Node] = WeakKeyDictionary() if outer is None else outer.makers

    def __enter__(self) -> Segment:
        state.segment = self
        return self

    def __exit__(self, *error: Any) -> None:
        outer = state.segment = self.path[-2] if len(self.path) > 1 else None
        if outer is None:  # who uses these buffers from now on keeps them
            self.slots = WeakKeyDictionary()
            self.makers.clear()  # inner segments hold it too


class Slot:
    """A value that an instruction of a segment writes: its bytes while somebody has them."""

    __slots__ = ("segment", "nbytes", "first", "version", "buffer", "checksum")

    def __init__(self, segment: Segment, buffer: Buffer, nbytes: int) -> None:
        self.segment, self.nbytes = segment, nbytes
        self.first, self.version = ref(buffer), buffer.version
        self.buffer: Buffer | None = None  # while it is computed again
        self.checksum: int | None = None

    def present(self) -> Buffer | None:
        """The bytes, if they are there: computed again, or the first ones, unchanged."""
        if self.buffer is not None:
            return self.buffer
        first = self.first()
        return first if first is not None and first.version == self.version else None

    def sum(self) -> int:
        """Checksum of the bytes that are present."""
        buffer = self.present()
        assert buffer is not None
        return zlib.crc32(array_at(buffer.address, (self.nbytes,), (1,), np.dtype(np.uint8), buffer).data)


class Again:
    """Where an instruction of a segment finds its operands when it runs again; iterates over the buffers it reads.

    Parameters
    ----------
    segment : Segment
    buffers, sizes : sequence of Buffer, of int
        Of the output, the inputs, auxiliary outputs; bytes of an element.
    written : dict of int to int
        Operands that the instruction writes, and their bytes.
    words : list of int
        The row.
    states : int
        Bits of the operands that only the first run reads, and overwrites.
    """

    __slots__ = ("segment", "sources", "offsets", "sizes", "written", "makers", "states")

    def __init__(self, segment: Segment, buffers: Sequence[Buffer], sizes: Sequence[int], written: dict[int, int],
                 words: list[int], states: int = 0) -> None:
        slots, makers = segment.path[0].slots, segment.path[0].makers
        self.segment, self.sizes, self.written, self.states = segment, sizes, tuple(written), states
        self.makers = [makers[buffer] for buffer in buffers if buffer in makers]  # they stay on the tape
        for j, nbytes in written.items():
            slots[buffers[j]] = Slot(segment, buffers[j], nbytes)
        self.sources: list[Slot | Buffer] = [slots.get(buffer, buffer) for buffer in buffers]
        self.offsets = [word - buffer.address // size for word, buffer, size in zip(words[1::2], buffers, sizes)]

    def __iter__(self) -> Iterator[Buffer]:
        return (source for j, source in enumerate(self.sources)
                if isinstance(source, Buffer) and not self.states >> j & 1)

    def outputs(self) -> Iterator[Slot]:
        """The slots that the instruction writes."""
        return (self.sources[j] for j in self.written)  # type: ignore[misc]

    def inputs(self) -> Iterator[Slot]:
        """The slots that it reads."""
        return (s for j, s in enumerate(self.sources) if isinstance(s, Slot) and j not in self.written)

    def made_by(self, node: Node, output: Buffer) -> None:
        """Have what reads the output in the same stretch keep its instruction."""
        self.segment.path[0].makers[output] = node

    def remember_result(self) -> None:
        """Have the output compared when the instruction runs again."""
        slot = next(self.outputs())
        slot.checksum = slot.sum()


class Replay:
    """The reverse walk over instructions of which some belong to segments."""

    def __init__(self, tape: Tape, end: int, keeps: bool) -> None:
        self.tape, self.keeps = tape, keeps
        self.again = [saved if isinstance(saved, Again) else None for saved in tape.saved[:end]]
        #: instructions that are not dead
        self.present = np.flatnonzero(tape._opcode[:end] >= 0).tolist()

    def _path(self, at: int) -> tuple[Segment, ...]:
        again = self.again[self.present[at]]
        return () if again is None else again.segment.path

    def walk(self) -> None:
        """Run the adjoints of all live instructions; segments run again when the walk arrives at them."""
        tape, present, last = self.tape, self.present, len(self.present) - 1
        live = tape._live[:len(self.again)] != 0
        open_segments: list[Segment] = []
        try:
            while last >= 0:
                path, first = self._path(last), last
                while first > 0 and self._path(first - 1) == path:
                    first -= 1
                if live[present[first:last + 1]].any():
                    while open_segments and open_segments[-1] not in path:
                        open_segments.pop()
                    for segment in path[len(open_segments):]:
                        open_segments.append(segment)
                        self._run_again(segment, self._rows(segment, last), live)
                    tape.walk_back(present[first], present[last] + 1, self.keeps)
                self._give_back(first, last)
                last = first - 1
        finally:
            self._give_back(0, last)

    def _give_back(self, first: int, last: int) -> None:
        """Drop what these instructions computed again: only adjoints behind them read it."""
        for n in self.present[first:last + 1]:
            again = self.again[n]
            if again is not None:
                for slot in again.outputs():
                    slot.buffer = None

    def _rows(self, segment: Segment, last: int) -> list[int]:
        """The instructions of a segment, which come one after another, up to `last`."""
        first = last
        while first > 0 and segment in self._path(first - 1):
            first -= 1
        return self.present[first:last + 1]

    def _of(self, n: int) -> Again:
        again = self.again[n]
        assert again is not None
        return again

    def _run_again(self, segment: Segment, rows: Sequence[int], live: np.ndarray) -> None:
        """Compute what the adjoints of the segment read, and what the segments within it begin with."""
        depth = len(segment.path)
        stay = set()
        for n in rows:
            again = self._of(n)
            if again.segment is segment:
                if live[n]:
                    stay |= {again.sources[j] for j in self.tape.notes[n][1]}
            else:  # runs within an inner segment, later
                inner = again.segment.path[depth]
                stay |= {slot for slot in again.inputs() if inner not in slot.segment.path}
        run: list[int] = []
        needed = {slot for slot in stay if isinstance(slot, Slot)}
        for n in reversed(rows):
            if any(slot in needed and slot.present() is None for slot in self._of(n).outputs()):
                run.append(n)
                needed.update(self._of(n).inputs())
        last_use = {slot: n for n in reversed(run) for slot in self._of(n).inputs()}
        for n in reversed(run):
            self._run(n)
            for slot in (*self._of(n).inputs(), *self._of(n).outputs()):
                if slot not in stay and last_use.get(slot, n) == n and segment in slot.segment.path:
                    slot.buffer = None
        for n in rows:
            if self._of(n).segment is segment and live[n]:
                self._point(n)

    def _run(self, n: int) -> None:
        tape, again, op = self.tape, self._of(n), OPS[self.tape._opcode[n]]
        for slot in again.outputs():
            if slot.buffer is None:
                slot.buffer = tape.storage.allocate(slot.nbytes, op.name)
        self._point(n)
        for k, word in op.again.items():
            tape._words[tape._start[n] + k] = word
        tape.run(walk.FORWARD_WALK, n, n + 1)
        for slot in again.outputs():
            if slot.checksum is not None and slot.checksum != slot.sum():
                raise RecomputationError(
                    f"{op.name}: run again by the reverse walk through tg.checkpoint it gives another result than the "
                    "first time; it must depend on nothing but its inputs")

    def _point(self, n: int) -> None:
        """Write into the row where the operands lie now."""
        tape, again = self.tape, self._of(n)
        at = int(tape._start[n]) + 1
        for j, (source, size, offset) in enumerate(zip(again.sources, again.sizes, again.offsets)):
            buffer = source.present() if isinstance(source, Slot) else source
            if buffer is not None:
                tape._words[at + 2 * j] = buffer.address // size + offset


def checkpoint(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """``function(*args, **kwargs)``, of whose values none is kept for the reverse walk: they are computed again there.

    A stretch then costs the memory of its inputs and its result, and once more the time of its forward pass (Chen et
    al. 2016, "Training deep nets with sublinear memory cost"). Calls nest: an inner stretch is computed again within
    an outer one, too.

    `function` is called once. The reverse walk runs the instructions that it recorded, with the same random numbers
    and without moving running statistics a second time, so that gradients are those without `checkpoint` to the bit.
    On a tape that keeps everything for inspection (``with tg.Tape()``) it changes nothing.

    Parameters
    ----------
    function : callable
    *args, **kwargs
        Its arguments.

    Returns
    -------
    What `function` returns.

    Raises
    ------
    RecomputationError
        In a define-by-run `backward`, if an op of the user's (`custom_op`) gives another result than the first time.

    Examples
    --------
    >>> import tapegrad as tg
    >>> x = tg.tensor([0.5, 1.0], dtype="float64", requires_grad=True)
    >>> tg.checkpoint(lambda x: tg.exp(tg.sin(x)), x).sum().backward()
    >>> x.grad.numpy().round(3).tolist()
    [1.417, 1.253]
    """
    with Segment(state.segment):
        return function(*args, **kwargs)
