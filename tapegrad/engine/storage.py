"""Memory for tensors: aligned, accounted, pooled and reused.

Small buffers are carved from blocks that double in size, with free lists by size class; a buffer of a mebibyte or more
is a block of its own and is returned to the operating system when it dies.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from functools import lru_cache
from typing import Any
from weakref import ref

import numpy as np

from ..errors import CorruptionError, TapeMemoryError
from .locks import Lock
from .poison import ENABLED, GAP, broken, check_canary, fill, set_canary

ALIGNMENT = 64
_LARGE = 1 << 20
_FIRST_BLOCK = 1 << 16
_BYTE: Any = ctypes.c_char


def aligned_bytes(nbytes: int) -> np.ndarray:
    """Uninitialised uint8 array of `nbytes`, aligned to 64 bytes."""
    raw = np.empty(nbytes + ALIGNMENT, np.uint8)
    skip = -ctypes.addressof(_BYTE.from_buffer(raw)) % ALIGNMENT  # for which its interface takes twice as long
    return raw[skip:skip + nbytes]


def address_of(array: np.ndarray) -> int:
    """Byte address of the first element."""
    try:
        return ctypes.addressof(_BYTE.from_buffer(array))  # in a quarter of the time
    except (TypeError, ValueError, BufferError):  # read-only, empty or not contiguous
        return array.__array_interface__["data"][0]


class Buffer:
    """Bytes at a fixed address, kept alive by `owner`.

    Attributes
    ----------
    version : int
        Version counter: `Changes.count` at the last overwrite; before that, `Changes.born` at the allocation.
    """

    __slots__ = ("address", "nbytes", "owner", "version", "_unmarked", "__weakref__")
    _unmarked: bool

    def __init__(self, address: int, nbytes: int, owner: Any) -> None:
        self.address, self.nbytes, self.owner, self.version = address, nbytes, owner, Changes.born

    @property
    def unmarked(self) -> bool:
        """Whether it may be overwritten without `Changes.mark`: by a replay, a kernel, or through another buffer."""
        return hasattr(self, "_unmarked")  # set for few, and free for the others

    @property
    def asked(self) -> int:
        """Number of bytes that were asked for; the rest is padding."""
        return self.nbytes

    def __deepcopy__(self, memo: dict[int, Any]) -> Buffer:
        rebuild, (source, *place) = self.__reduce__()
        return rebuild(deepcopy(source, memo) if place else source, *place)

    def __reduce__(self) -> tuple[Any, ...]:
        if isinstance(self.owner, Buffer):
            return _part, (self.owner, self.address - self.owner.address, self.nbytes)
        return _filled, (array_at(self.address, (self.asked,), (1,), np.dtype(np.uint8), self),)


def _filled(values: np.ndarray) -> Buffer:
    """A buffer of these bytes, restored from any copy."""
    home = aligned_bytes(max(len(values), 8))
    home[:len(values)] = values
    return array_buffer(home)


def _part(whole: Buffer, offset: int, nbytes: int) -> Buffer:
    return Buffer(whole.address + offset, nbytes, whole)


class Written:
    """Buffers that are overwritten together, repeatedly."""

    __slots__ = ("buffers", "version", "waits", "__weakref__")

    def __init__(self, buffers: Sequence[Buffer]) -> None:
        self.buffers, self.version = buffers, 0
        self.waits = False  # for `Changes.settle`

    def settle(self) -> None:
        """Update the buffers' versions to the last overwrite."""
        self.waits = False
        for buffer in self.buffers:
            buffer.version = max(buffer.version, self.version)

    def __del__(self) -> None:
        if self.waits:
            self.settle()


class Changes:
    """Version counter of in-place changes of buffers, by which a reverse walk tells whether it would read others.

    Attributes
    ----------
    born : int
        Version of new buffers: negative while a recording is being made, and unique to it.
    watched : bool
        Whether recordings depend on the contents of some buffers, so that `notice` must be called at each change.
    notice : callable
    """

    FIXED = -1  # version of buffers that are never written
    count = born = 0
    watched = False
    notice: Callable[[], Any]
    _settling = Lock()
    _later: set[ref[Written]] = set()  # weak: what dies settles its buffers itself

    @classmethod
    def mark(cls, buffer: Buffer) -> None:
        """`buffer` is being overwritten."""
        cls.count += 1
        before, buffer.version = buffer.version, cls.count
        if cls.watched or before < 0:
            cls.notice()

    @classmethod
    def unmark(cls, buffer: Buffer) -> None:
        """From now on `buffer` may be overwritten without being marked."""
        if not buffer.unmarked:
            buffer._unmarked = True
            cls.notice()

    @classmethod
    def overwritten(cls, buffers: Iterable[Buffer]) -> None:
        """These were overwritten, define by run; they are unmarked, so that no recording depends on their contents."""
        count = cls.count = cls.count + 1
        for buffer in buffers:
            buffer.version = count

    @classmethod
    def mark_together(cls, written: Written) -> None:
        """These buffers are being overwritten; their versions are updated by `settle`."""
        cls.count = written.version = cls.count + 1
        if not written.waits:
            written.waits = True
            cls._later.add(ref(written, cls._later.discard))

    @classmethod
    def settle(cls) -> None:
        """Update every buffer's version to its last change."""
        with cls._settling.now:  # or another thread would find nothing to settle and read stale versions
            while cls._later:
                try:
                    written = cls._later.pop()()
                except KeyError:  # the last one has died meanwhile
                    continue
                if written is not None:
                    written.settle()


class _Pooled(Buffer):
    """Bytes of a block; returned to the free list of their size class."""

    __slots__ = ("asked",)
    asked: int

    def __del__(self) -> None:
        storage = self.owner
        storage.live_bytes -= self.nbytes
        storage._free[self.nbytes].append(self.address)


class _Large(Buffer):
    """A block of its own."""

    __slots__ = ("asked", "storage")
    asked: int
    storage: Storage

    def __del__(self) -> None:
        self.storage.live_bytes -= self.nbytes
        self.storage.held_bytes -= self.nbytes


@lru_cache(maxsize=4096)
def size_class(nbytes: int) -> int:
    """`nbytes` rounded up: to 64 below 512 bytes, then to eighths of the power of two below."""
    step = max(ALIGNMENT, 1 << max(nbytes.bit_length() - 4, 0))
    return -(-max(nbytes, 1) // step) * step


class Storage:
    """The memory pool of a tape.

    Attributes
    ----------
    live_bytes, held_bytes : int
        Bytes of buffers in use, and bytes obtained from the operating system.
    max_bytes : int or None
        Limit of the bytes held.
    """

    def __init__(self, max_bytes: int | None = None) -> None:
        self.max_bytes = max_bytes
        self.live_bytes = self.held_bytes = self.peak_bytes = 0
        self.beside = 0  # bytes that the owner holds elsewhere and that count too
        self._free: dict[int, list[int]] = {}
        self._blocks: list[np.ndarray] = []
        self._next = self._end = 0
        self._block_bytes = _FIRST_BLOCK
        self._carving = Lock()

    def allocate(self, nbytes: int, purpose: str = "a buffer") -> Buffer:
        """A buffer of at least `nbytes` bytes, aligned to 64.

        Raises
        ------
        TapeMemoryError
            If more than `max_bytes` would be held.
        """
        size = size_class(nbytes)
        if size >= _LARGE:
            self._check(size, purpose)
            block = aligned_bytes(size + GAP)
            large = _Large(address_of(block), size, block)
            large.storage = self
            self.held_bytes += size
            buffer: _Pooled | _Large = large
        else:
            free = self._free.get(size)
            if free is None:
                free = self._free[size] = []
            try:
                address = free.pop() if free else self._carve(size, purpose)
            except IndexError:  # another thread has taken the last one meanwhile
                address = self._carve(size, purpose)
            buffer = _Pooled(address, size, self)
        buffer.asked = nbytes
        self.live_bytes += size
        if self.live_bytes > self.peak_bytes:
            self.peak_bytes = self.live_bytes
        return buffer

    def _carve(self, size: int, purpose: str) -> int:
        """Fresh bytes, bump-allocated from the last block."""
        with self._carving.now:  # tapes that one thread made and another walks in reverse
            while self._next + size + GAP > self._end:
                self._new_block(size + GAP, purpose)
            address = self._next
            self._next += size + GAP
        return address

    def owns(self, buffer: Buffer) -> bool:
        """Whether the buffer's bytes are counted here."""
        return buffer.owner is self or getattr(buffer, "storage", None) is self

    def _new_block(self, size: int, purpose: str) -> None:
        nbytes = max(self._block_bytes, size)
        if self.max_bytes is not None and self.beside + self.held_bytes + nbytes > self.max_bytes:
            nbytes = size
        self._check(nbytes, purpose)
        block = aligned_bytes(nbytes)
        self._blocks.append(block)
        self._next = address_of(block)
        self._end = self._next + nbytes
        self.held_bytes += nbytes
        self._block_bytes = min(2 * self._block_bytes, 64 * _LARGE)

    def _check(self, nbytes: int, purpose: str) -> None:
        held = self.held_bytes + self.beside
        if self.max_bytes is not None and held + nbytes > self.max_bytes:
            raise TapeMemoryError(
                f"{purpose} asks for {nbytes:,} bytes; the tape holds {held:,} of the {self.max_bytes:,} "
                "that it may hold. Release tensors, call backward() sooner, or raise max_bytes"
            )


class _WatchedStorage(Storage):
    """With ``TAPEGRAD_DEBUG=1``: buffers are poisoned before and after use, with a canary behind each."""

    def allocate(self, nbytes: int, purpose: str = "a buffer") -> Buffer:
        if broken:
            raise CorruptionError(f"something was written behind {broken.pop()}; please report this with the code")
        buffer = super().allocate(nbytes, purpose)
        fill(buffer.address, buffer.nbytes)
        set_canary(buffer.address + buffer.nbytes)
        return buffer


def _watched(release: Callable[[Any], None]) -> Callable[[Any], None]:
    """`release` of a buffer that checks its canary first, and poisons it."""

    def watching(buffer: Any) -> None:
        check_canary(buffer.address, buffer.nbytes)
        fill(buffer.address, buffer.nbytes)
        release(buffer)

    return watching


def storage(max_bytes: int | None) -> Storage:
    """The storage of a new tape."""
    return _WatchedStorage(max_bytes) if ENABLED else Storage(max_bytes)


if ENABLED:
    for _kind in (_Pooled, _Large):
        _kind.__del__ = _watched(_kind.__del__)  # type: ignore[method-assign]


def array_buffer(array: np.ndarray) -> Buffer:
    """The buffer of a C-contiguous array, which it keeps alive."""
    return Buffer(address_of(array), array.nbytes, array)


def copy_buffer(array: np.ndarray) -> Buffer:
    """A buffer of its own of an array's elements, in C order and aligned."""
    dtype = array.dtype
    count, itemsize = max(array.size, 1), dtype.itemsize
    raw = np.empty(count + ALIGNMENT // itemsize, dtype)  # aligned to its elements
    begin = ctypes.addressof(_BYTE.from_buffer(raw))
    skip = -begin % ALIGNMENT
    home = raw[skip // itemsize:skip // itemsize + count]
    if array.size:
        home.reshape(array.shape)[...] = array
    return Buffer(begin + skip, count * itemsize, home)


def array_at(address: int, shape: tuple[int, ...], strides: tuple[int, ...], dtype: np.dtype, owner: Any) -> np.ndarray:
    """NumPy array over memory at a byte address; `strides` in elements, `owner` kept alive.

    The memory must hold the elements: it is the caller's own.
    """
    interface = {"data": (address or ALIGNMENT, False), "shape": shape, "version": 3, "typestr": dtype.str,
                 "strides": tuple(s * dtype.itemsize for s in strides)}
    return np.asarray(_Exposed(interface, owner))


@lru_cache(maxsize=4096)
def contiguous_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Strides, in elements, of a C-contiguous array of this shape."""
    strides, step = [], 1
    for extent in reversed(shape):
        strides.append(step)
        step *= max(extent, 1)
    return tuple(reversed(strides))


class _Exposed:
    """Carrier of an array interface."""

    __slots__ = ("__array_interface__", "owner")

    def __init__(self, interface: dict[str, Any], owner: Any) -> None:
        self.__array_interface__, self.owner = interface, owner
