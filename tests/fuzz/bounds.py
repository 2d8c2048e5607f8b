"""Bounds for the plain-Python twin of the compiled code: every access lies within memory that somebody holds.

With ``NUMBA_DISABLE_JIT=1`` kernels run as plain Python over `tapegrad.engine.primitives.Memory`, which reads raw
addresses. Here another class stands in its place, which asks for every access

* whether it lies within a live array or buffer, and
* while an instruction of a recording runs, and the access lies within the recording's arena or beside its leaves and
  constants: whether it lies within one of the instruction's operands or their adjoints;

and BLAS gets no matrix that reaches beyond its memory, nor a leading dimension that is too small. `install` must come
before tapegrad is imported and is part of the tests alone: nothing in the package asks for it.
"""

from __future__ import annotations

import importlib.util
import sys
import types
import weakref
from bisect import bisect_right, insort
from pathlib import Path

import numpy as np


class BoundsError(AssertionError):
    """An access beyond what is held."""


class Regions:
    """Memory that somebody holds: disjoint stretches of addresses."""

    def __init__(self):
        self.starts, self.ends, self.held = [], {}, {}

    def add(self, first: int, nbytes: int, holder) -> None:
        """Hold `nbytes` from address `first` on for as long as `holder` lives."""
        if nbytes <= 0 or self.ends.get(first, 0) >= first + nbytes:
            return
        if first not in self.ends:
            insort(self.starts, first)
        self.ends[first] = first + nbytes
        self.held[first] = weakref.ref(holder, lambda _, first=first, end=first + nbytes: self.drop(first, end))

    def drop(self, first: int, end: int) -> None:
        """Nobody holds it any more."""
        if self.ends.get(first) == end:
            del self.ends[first], self.held[first]
            at = bisect_right(self.starts, first) - 1
            if at >= 0 and self.starts[at] == first:
                del self.starts[at]

    def around(self, address: int) -> tuple[int, int]:
        """The stretch in which an address lies."""
        first = self.starts[bisect_right(self.starts, address) - 1]
        return first, self.ends[first]

    def check(self, first: int, last: int, what: str) -> None:
        """Raise unless the bytes from `first` up to `last` are held by one holder."""
        at = bisect_right(self.starts, first) - 1
        if at < 0 or self.ends[self.starts[at]] < last:
            near = "nothing" if at < 0 else f"{first - self.ends[self.starts[at]]} bytes behind the end of one"
            raise BoundsError(f"{what} of {last - first} bytes at {first:#x}, which nobody holds ({near})")


NO_ADDRESS = 1 << 47  # from here on no process has memory: such addresses are reckoned with, not read

REGIONS = Regions()
Stretches = list[tuple[int, int]]  # first address, end
#: of the instruction that runs: its operands and their adjoints, and what else of its recording it must not touch
RUNNING: list[tuple[Stretches, Stretches] | None] = [None]


def check(first: int, nbytes: int, what: str) -> None:
    """Raise unless this may be read and written now."""
    last = first + nbytes
    REGIONS.check(first, last, what)
    running = RUNNING[-1]
    if running is not None:
        operands, guarded = running
        if any(a <= first < b for a, b in guarded) and not any(a <= first and last <= b for a, b in operands):
            raise BoundsError(f"{what} of {nbytes} bytes at {first:#x}, outside of the operands "
                              f"{[(hex(a), hex(b)) for a, b in operands]}")


def root_of(array: np.ndarray) -> np.ndarray:
    """The array whose memory it is."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def checked_memory(memory: type) -> type:
    """`Memory`, with a look at every address."""

    class CheckedMemory(memory):
        def _at(self, k):
            check((self.base + int(k)) * self.dtype.itemsize, self.dtype.itemsize, "an access")
            return super()._at(k)

    return CheckedMemory


def watch_storage(storage) -> None:
    """Hold what tapegrad takes the address of, and every buffer."""
    make, address_of, array_at, new_block = (storage.aligned_bytes, storage.address_of, storage.array_at,
                                             storage.Storage._new_block)
    allocate, exact = storage.Storage.allocate, weakref.WeakValueDictionary()
    copy_buffer = storage.copy_buffer

    def aligned_bytes(nbytes):
        array = make(nbytes)
        root = root_of(array)
        exact[id(root)] = root
        REGIONS.add(address_of(array), nbytes, root)
        return array

    def watched_address(array):
        address = address_of(array)
        root = root_of(array)
        if root.base is None and id(root) not in exact:
            REGIONS.add(root.__array_interface__["data"][0], root.nbytes, root)
        elif root.base is not None and not isinstance(root.base, storage._Exposed):
            REGIONS.add(root.__array_interface__["data"][0], root.nbytes, root)
        return address

    def watched_array(address, shape, strides, dtype, owner):
        if 0 not in shape and 0 < address < NO_ADDRESS:
            steps = [(n - 1) * s * dtype.itemsize for n, s in zip(shape, strides)]
            first = address + sum(s for s in steps if s < 0)
            REGIONS.check(first, address + sum(s for s in steps if s > 0) + dtype.itemsize, "an array")
        return array_at(address, shape, strides, dtype, owner)

    def block(self, size, purpose):
        new_block(self, size, purpose)
        first = address_of(self._blocks[-1])
        REGIONS.drop(first, REGIONS.ends[first])  # its buffers are held, each for itself

    def watched_allocate(self, nbytes, purpose="a buffer"):
        buffer = allocate(self, nbytes + 64, purpose)  # 64 bytes lie between it and the next
        if isinstance(buffer, storage._Large):
            REGIONS.drop(buffer.address, REGIONS.ends[buffer.address])
        REGIONS.add(buffer.address, max(nbytes, 1), buffer)
        return buffer

    def watched_copy(array):
        buffer = copy_buffer(array)
        REGIONS.add(buffer.address, buffer.nbytes, buffer)
        return buffer

    storage.copy_buffer = watched_copy
    storage.aligned_bytes, storage.address_of, storage.array_at = aligned_bytes, watched_address, watched_array
    storage.Storage._new_block, storage.Storage.allocate = block, watched_allocate


def watch_kernels(primitives) -> None:
    """Check what kernels read and write, and know which instruction runs."""
    array_of, call = primitives.array_of, primitives.call

    def watched_array_of(memory, address, shape):
        nbytes = int(np.prod([int(n) for n in shape])) * memory.dtype.itemsize
        if nbytes:
            check(address * memory.dtype.itemsize, nbytes, "an array")
        return array_of(memory, address, shape)

    def watched_call(address, op, f, i, b):
        RUNNING.append(operands_of(primitives.row_address(op) * 8))
        try:
            return call(address, op, f, i, b)
        finally:
            RUNNING.pop()

    primitives.Memory = checked_memory(primitives.Memory)
    primitives.array_of, primitives.call = watched_array_of, watched_call


RECORDINGS: list[weakref.ref] = []


def operands_of(row: int):
    """What the instruction at this address may touch of its arena; what the present one may if it is none."""
    for found in RECORDINGS:
        program = found()
        if program is None:
            continue
        tape = program.tape
        at = (row - tape._words.__array_interface__["data"][0]) // 8
        if not 0 <= at < len(tape._words):
            continue
        n = int(np.searchsorted(tape._start[:tape.count + 1], at, "right")) - 1
        if n >= tape.count or tape._start[n] != at:
            return None
        operands = []
        for v in tape._variable[tape._operand_start[n]:tape._operand_start[n + 1]].tolist():
            for first in (int(tape._value[v]), int(tape._adjoint[v])):
                operands.append((first, first + int(tape._nbytes[v])))
        return operands, guarded_of(program)
    return RUNNING[-1]


def guarded_of(program) -> Stretches:
    """The arena, and the memory in which the leaves, their gradients and the constants lie."""
    tape = program.tape
    first = program.arena.__array_interface__["data"][0]
    found = [(first, first + program.arena.nbytes)]
    for v in tape._externals.values():
        found += [REGIONS.around(int(at)) for at in (tape._value[v], tape._adjoint[v]) if at]
    return found


def watch_products(blas) -> None:
    """Look at the matrices that BLAS is given."""
    product = blas.fortran_gemm

    def fortran_gemm(routine, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc, f):
        size = f.dtype.itemsize
        for name, at, step, rows, columns in (("A", a, lda, k if ta else m, m if ta else k),
                                              ("B", b, ldb, n if tb else k, k if tb else n), ("C", c, ldc, m, n)):
            if step < max(rows, 1):
                raise BoundsError(f"{name} of {rows} rows has the leading dimension {step}")
            if rows and columns:
                check(at * size, ((columns - 1) * step + rows) * size, f"matrix {name}")
        return product(routine, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc, f)

    blas.fortran_gemm = fortran_gemm


def watch_recordings(program, capture) -> None:
    """Know the recordings, for whose arenas every instruction's operands are checked."""
    link, stream = program.Program._link, capture.Capture.random_stream

    def watched_stream(self, *what):
        REGIONS.add(self.random_state.__array_interface__["data"][0], self.random_state.nbytes, self.random_state)
        return stream(self, *what)

    capture.Capture.random_stream = watched_stream

    def watched_link(self):
        link(self)
        RECORDINGS[:] = [r for r in RECORDINGS if r() is not None]
        RECORDINGS.append(weakref.ref(self))

    program.Program._link = watched_link


def watch_scratch(module) -> None:
    """Working memory that is used again may be asked for more than at first, up to what the buffer has."""
    scratch = module.scratch

    def watched_scratch(op, elements, *operands):
        found = scratch(op, elements, *operands)
        if found.buffer is not None:
            REGIONS.add(found.buffer.address, elements * found.dtype.itemsize, found.buffer)
        return found

    for user in [m for name, m in sys.modules.items() if name.startswith("tapegrad.")]:
        if getattr(user, "scratch", None) is scratch:
            user.scratch = watched_scratch


def install() -> None:
    """Import tapegrad with bounds."""
    package = Path(importlib.util.find_spec("tapegrad").origin).parent
    stubs = {"tapegrad": package, "tapegrad.engine": package / "engine"}
    for name, path in stubs.items():
        sys.modules[name] = types.ModuleType(name)
        sys.modules[name].__path__ = [str(path)]
    storage = importlib.import_module("tapegrad.engine.storage")
    watch_storage(storage)
    primitives = importlib.import_module("tapegrad.engine.primitives")
    if primitives.enabled():
        raise RuntimeError("bounds are checked in plain Python: set NUMBA_DISABLE_JIT=1")
    watch_kernels(primitives)
    for name in stubs:
        del sys.modules[name]
    importlib.import_module("tapegrad")
    blas, program, capture, strips, scratch = (importlib.import_module(f"tapegrad.{name}") for name in (
        "engine.products.blas", "program.running.program", "program.capture", "program.planning.strips",
        "functions.scratch"))
    watch_scratch(scratch)
    watch_products(blas)
    watch_recordings(program, capture)
    strips.STRIP_BYTES, strips.FEWEST_STRIPS = 1, 2  # so that small arrays run in strips



