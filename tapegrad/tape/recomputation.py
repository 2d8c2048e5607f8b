"""`checkpoint`: segments of the recording whose values are rematerialised in the reverse walk instead of kept.

In a recorded step the plan schedules what is recomputed (`program.planning.schedule`). Define by run, the instructions
stay on the tape and their values are freed; the reverse walk allocates new buffers for those that it needs, writes
their addresses into the rows, and runs the rows.
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
    """A checkpointed segment; `path` lists the enclosing segments, outermost first, and itself."""

    __slots__ = ("path", "slots", "makers")

    def __init__(self, outer: Segment | None) -> None:
        self.path: tuple[Segment, ...] = (*(outer.path if outer is not None else ()), self)
        #: kept by the outermost one while it is recorded: the slot of each buffer that it wrote
        self.slots: WeakKeyDictionary[Buffer, Slot] = WeakKeyDictionary() if outer is None else outer.slots
        #: and the node that wrote it, which a detached tensor does not hold
        self.makers: WeakKeyDictionary[Buffer, Node] = WeakKeyDictionary() if outer is None else outer.makers

    def __enter__(self) -> Segment:
        state.segment = self
        return self

    def __exit__(self, *error: Any) -> None:
        outer = state.segment = self.path[-2] if len(self.path) > 1 else None
        if outer is None:  # later readers keep these buffers alive
            self.slots = WeakKeyDictionary()
            self.makers.clear()  # shared with the inner segments


class Slot:
    """A value that a segment writes: its buffer while there is one."""

    __slots__ = ("segment", "nbytes", "first", "version", "buffer", "checksum")

    def __init__(self, segment: Segment, buffer: Buffer, nbytes: int) -> None:
        self.segment, self.nbytes = segment, nbytes
        self.first, self.version = ref(buffer), buffer.version
        self.buffer: Buffer | None = None  # while it is recomputed
        self.checksum: int | None = None

    def present(self) -> Buffer | None:
        """The buffer: recomputed, or the first one if it is alive and unchanged."""
        if self.buffer is not None:
            return self.buffer
        first = self.first()
        return first if first is not None and first.version == self.version else None

    def sum(self) -> int:
        """Checksum of the present bytes."""
        buffer = self.present()
        assert buffer is not None
        return zlib.crc32(array_at(buffer.address, (self.nbytes,), (1,), np.dtype(np.uint8), buffer).data)


class Again:
    """What it takes to run an instruction of a segment again; iterates over the buffers that it reads.

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
        self.makers = [makers[buffer] for buffer in buffers if buffer in makers]  # stay on the tape
        for j, nbytes in written.items():
            slots[buffers[j]] = Slot(segment, buffers[j], nbytes)
        self.sources: list[Slot | Buffer] = [slots.get(buffer, buffer) for buffer in buffers]
        self.offsets = [word - buffer.address // size for word, buffer, size in zip(words[1::2], buffers, sizes)]

    def __iter__(self) -> Iterator[Buffer]:
        return (source for j, source in enumerate(self.sources)
                if isinstance(source, Buffer) and not self.states >> j & 1)

    def outputs(self) -> Iterator[Slot]:
        """Slots that the instruction writes."""
        return (self.sources[j] for j in self.written)  # type: ignore[misc]

    def inputs(self) -> Iterator[Slot]:
        """Slots that it reads."""
        return (s for j, s in enumerate(self.sources) if isinstance(s, Slot) and j not in self.written)

    def made_by(self, node: Node, output: Buffer) -> None:
        """Have readers of the output within the segment keep its instruction."""
        self.segment.path[0].makers[output] = node

    def remember_result(self) -> None:
        """Have a recomputed output compared with this one."""
        slot = next(self.outputs())
        slot.checksum = slot.sum()


class Replay:
    """A reverse walk that rematerialises segments."""

    def __init__(self, tape: Tape, end: int, keeps: bool) -> None:
        self.tape, self.keeps = tape, keeps
        self.again = [saved if isinstance(saved, Again) else None for saved in tape.saved[:end]]
        #: instructions that are not dead
        self.present = np.flatnonzero(tape._opcode[:end] >= 0).tolist()

    def _path(self, at: int) -> tuple[Segment, ...]:
        again = self.again[self.present[at]]
        return () if again is None else again.segment.path

    def walk(self) -> None:
        """Run the adjoints of all live instructions, and each segment before its own."""
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
        """Free what these instructions recomputed; no adjoint to come reads it."""
        for n in self.present[first:last + 1]:
            again = self.again[n]
            if again is not None:
                for slot in again.outputs():
                    slot.buffer = None

    def _rows(self, segment: Segment, last: int) -> list[int]:
        """The consecutive instructions of a segment, up to `last`."""
        first = last
        while first > 0 and segment in self._path(first - 1):
            first -= 1
        return self.present[first:last + 1]

    def _of(self, n: int) -> Again:
        again = self.again[n]
        assert again is not None
        return again

    def _run_again(self, segment: Segment, rows: Sequence[int], live: np.ndarray) -> None:
        """Rematerialise what the adjoints of the segment read, and the inputs of its inner segments."""
        depth = len(segment.path)
        stay = set()
        for n in rows:
            again = self._of(n)
            if again.segment is segment:
                if live[n]:
                    stay |= {again.sources[j] for j in self.tape.notes[n][1]}
            else:  # recomputed later, with its inner segment
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
        """Write the present addresses of the operands into the row."""
        tape, again = self.tape, self._of(n)
        at = int(tape._start[n]) + 1
        for j, (source, size, offset) in enumerate(zip(again.sources, again.sizes, again.offsets)):
            buffer = source.present() if isinstance(source, Slot) else source
            if buffer is not None:
                tape._words[at + 2 * j] = buffer.address // size + offset


def rematerialized(tape: Tape, numbers: Sequence[int]) -> dict[int, list[Buffer]]:
    """Of those of the instructions that belong to segments the buffers of all operands; what is gone is computed again.

    Who reads them keeps them alive.
    """
    if not any(type(tape.saved[n]) is Again for n in numbers):
        return {}
    replay = Replay(tape, numbers[-1] + 1, True)
    own = [n for n in numbers if replay.again[n] is not None]
    makers = {slot: n for n in replay.present if replay.again[n] is not None for slot in replay._of(n).outputs()}
    waiting = [source for n in own for source in replay._of(n).sources if isinstance(source, Slot)]
    run: set[int] = set()
    while waiting:
        slot = waiting.pop()
        if slot.present() is None and makers[slot] not in run:
            run.add(makers[slot])
            waiting += replay._of(makers[slot]).inputs()
    try:
        for n in sorted(run):
            replay._run(n)
        return {n: [source.present() if isinstance(source, Slot) else source  # type: ignore[misc]
                    for source in replay._of(n).sources] for n in own}
    finally:
        for n in run:
            for slot in replay._of(n).outputs():
                slot.buffer = None


def checkpoint(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """``function(*args, **kwargs)``, whose intermediate values are recomputed in the reverse walk instead of kept.

    The segment costs the memory of its inputs and its result, and the time of one more forward pass (Chen et al. 2016,
    "Training deep nets with sublinear memory cost"). Calls nest: an inner segment is recomputed within an outer one
    too.

    `function` is called once. The reverse walk runs the recorded instructions again, with the same random numbers and
    without updating running statistics a second time: gradients are those without `checkpoint`, to the bit. Where a
    derivative is itself differentiated, all of the segment is computed again when the first one is taken. On a tape
    that keeps everything for inspection (``with tg.Tape()``) it has no effect.

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
        In a define-by-run `backward`, if a user's op (`custom_op`) gives another result than the first time.

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
