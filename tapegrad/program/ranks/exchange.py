"""Gradients on their way: buckets that are summed over the ranks while the reverse walk goes on, or compressed ones."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...engine.storage import ALIGNMENT, address_of, array_at
from ...errors import RanksError
from .communicator import Ranks
from .schedule import Plan

__all__ = ["Exchange", "rounded", "widened"]

#: elements that are rounded at once, so that they stay in a core's cache
_BLOCK = 1 << 14


def rounded(x: np.ndarray) -> np.ndarray:
    """The upper halves (uint16) of the bfloat16 numbers nearest to a float array; ties go to even.

    >>> rounded(np.float32([1.0, 1.00390625, -0.1])).tolist() == [0x3F80, 0x3F80, 0xBDCD]
    True
    """
    with np.errstate(over="ignore", invalid="ignore"):  # beyond float32 it is infinite
        x = x.astype(np.float32, copy=False)
    word = x.view(np.uint32)
    found = ((word + (((word >> np.uint32(16)) & np.uint32(1)) + np.uint32(0x7FFF))) >> np.uint32(16)).astype(np.uint16)
    found[np.isnan(x)] = 0x7FC0
    return found


def widened(halves: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """The floats of the bfloat16 numbers whose upper halves these are."""
    return (halves.astype(np.uint32) << np.uint32(16)).view(np.float32).astype(dtype, copy=False)


def _round_with_feedback(x: np.ndarray, rest: np.ndarray, out: np.ndarray) -> None:
    """out = bfloat16(x + rest); rest = x + rest - out, which the next step's numbers get."""
    for at in range(0, len(x), _BLOCK):
        part = slice(at, at + _BLOCK)
        with np.errstate(over="ignore", invalid="ignore"):
            wanted = x[part] + rest[part]
            out[part] = rounded(wanted)
            left = wanted - widened(out[part], x.dtype)
        left[~np.isfinite(left)] = 0.0  # infinities and NaN are sent as they are, and pass
        rest[part] = left


class Bucket:
    """Gradients that are summed together.

    Where they lie behind each other they are summed in place; else they are packed for it.

    Parameters
    ----------
    leaves : list of int
        Numbers of its gradients.
    arrays : sequence of ndarray
        The gradients.
    tail : ndarray or None
        Two numbers that lie right behind the last gradient and are summed with them.
    """

    def __init__(self, leaves: list[int], arrays: Sequence[np.ndarray], tail: np.ndarray | None) -> None:
        self.leaves, self._arrays, self._packed = leaves, arrays, list[tuple[np.ndarray, np.ndarray]]()
        parts = sorted([*arrays, *([] if tail is None else [tail])], key=address_of)
        size, begin = parts[0].itemsize, address_of(parts[0])
        gaps = [address_of(b) - address_of(a) - a.nbytes for a, b in zip(parts, parts[1:])]
        if all(0 <= gap < ALIGNMENT for gap in gaps):
            whole = (address_of(parts[-1]) + parts[-1].nbytes - begin) // size
            self.flat = array_at(begin, (whole,), (1,), parts[0].dtype, parts)
        else:
            self.flat, at = np.zeros(sum(len(a) for a in parts), parts[0].dtype), 0
            for array in parts:
                self._packed.append((array, self.flat[at:at + len(array)]))
                at += len(array)
        #: of the latest step, on `time.perf_counter`'s clock
        self.sent = self.arrived = 0.0

    def pack(self, idle: bool) -> None:
        """Gather the gradients; zeros if this rank has no rows."""
        for array in self._arrays if idle else ():
            array[:] = 0.0
        for array, place in self._packed:
            place[:] = array

    def unpack(self) -> None:
        """Put the sums where the gradients lie."""
        for array, place in self._packed:
            array[:] = place


class _Plain:
    """A bucket's sum on its way."""

    def __init__(self, ranks: Ranks, array: np.ndarray) -> None:
        self.request = ranks.begin_add(array)

    def advance(self, turn: bool) -> bool:
        """Let it go on; whether it has ended."""
        return bool(self.request.Test())


class _Compressed:
    """A bucket's sum in bfloat16 on its way.

    Each rank sums a part of it, in the order of the ranks and in the gradients' dtype, so that all get the same bits;
    what rounding leaves, of the gradients and of the sum, is added to those of the next step.
    """

    def __init__(self, ranks: Ranks, array: np.ndarray, kept: dict[str, np.ndarray]) -> None:
        if not kept:
            each = -(-len(array) // ranks.size)
            kept.update(rest=np.zeros(len(array), array.dtype), rest_of_sum=np.zeros(each, array.dtype),
                        given=np.zeros((ranks.size, each), np.uint16), got=np.zeros((ranks.size, each), np.uint16),
                        mine=np.zeros(each, np.uint16), sums=np.zeros((ranks.size, each), np.uint16))
        self._ranks, self._array, self._kept = ranks, array, kept
        _round_with_feedback(array, kept["rest"], kept["given"].reshape(-1)[:len(array)])
        self._request, self._gathering = ranks.begin_exchange(kept["given"], kept["got"]), False

    def advance(self, turn: bool) -> bool:
        """Let it go on; whether it has ended. On its `turn` all earlier ones are gathered, or have begun to be."""
        kept, array = self._kept, self._array
        if not self._gathering:
            if not self._request.Test() or not turn:
                return False
            total = np.zeros(kept["got"].shape[1], array.dtype)
            with np.errstate(over="ignore", invalid="ignore"):
                for halves in kept["got"]:
                    total += widened(halves, array.dtype)
            _round_with_feedback(total, kept["rest_of_sum"], kept["mine"])
            self._request, self._gathering = self._ranks.begin_gather(kept["mine"], kept["sums"]), True
        if not self._request.Test():
            return False
        array[:] = widened(kept["sums"].reshape(-1)[:len(array)], array.dtype)
        return True

    @property
    def begun(self) -> bool:
        """Whether it is gathered."""
        return self._gathering


class Exchange:
    """The buckets of a set of gradients, and which of them are under way.

    Parameters
    ----------
    ranks : Ranks
    arrays : sequence of ndarray
        The gradients.
    beside : ndarray or None
        Two numbers behind the last gradient, for the loss and a check; None if there are none.
    plan : Plan

    Attributes
    ----------
    tail : ndarray, (2,)
        The rank's loss and a check; after `finish` their sums.
    buckets : list of Bucket
    """

    def __init__(self, ranks: Ranks, arrays: Sequence[np.ndarray], dtype: np.dtype, beside: np.ndarray | None,
                 plan: Plan) -> None:
        self.ranks, self.plan, self.compressed = ranks, plan, ranks.compression is not None
        members: dict[int, list[int]] = {}
        for k, number in enumerate(plan.bucket_of):
            members.setdefault(number, []).append(k)
        single = len(members) == 1 and not self.compressed
        self.tail = np.zeros(2, dtype) if beside is None or not single else beside
        self.buckets = [Bucket(leaves, [arrays[k] for k in leaves], self.tail if single else None)
                        for _, leaves in sorted(members.items())]
        self._tail_alone = not single
        self._kept: list[dict[str, np.ndarray]] = [{} for _ in self.buckets]
        self._flights: list[tuple[Bucket | None, Any]] = []
        self._sent, self._broken = 0, False
        #: of the latest step, on `time.perf_counter`'s clock: when it began, its walk ended, and its sums had arrived
        self.began = self.walked = self.ended = self._began = 0.0

    def begin(self) -> None:
        """A run begins."""
        self._began = time.perf_counter()

    def send(self, idle: bool) -> None:
        """Begin the sum of the next bucket."""
        if self._broken:
            raise RanksError(f"rank {self.ranks.rank} has failed in the middle of a step whose sums had begun, so it "
                             "cannot make another one with the other ranks; let the error end the job")
        bucket, kept = self.buckets[self._sent], self._kept[self._sent]
        bucket.pack(idle)
        bucket.sent = time.perf_counter()
        flight = _Compressed(self.ranks, bucket.flat, kept) if self.compressed else _Plain(self.ranks, bucket.flat)
        self._flights.append((bucket, flight))
        self._sent += 1

    def advance(self) -> bool:
        """Let what is under way go on; whether nothing is any more."""
        turn, left = True, []
        for bucket, flight in self._flights:
            if flight.advance(turn):
                if bucket is not None:
                    bucket.arrived = time.perf_counter()
                    bucket.unpack()
            else:
                left.append((bucket, flight))
                turn = turn and getattr(flight, "begun", True)
        self._flights = left
        return not left

    Test = advance  # as of one request

    def finish(self, idle: bool) -> None:
        """Send the buckets that have not been sent, and wait for all."""
        self.began, self.walked = self._began, time.perf_counter()
        while self._sent < len(self.buckets):
            self.send(idle)
        if self._tail_alone:
            self._flights.append((None, _Plain(self.ranks, self.tail)))
        if not self.compressed and len(self._flights) == 1:
            self.ranks.wait(self._flights[0][1].request)
        self.ranks.wait(self)
        self._sent = 0
        self._began = self.ended = time.perf_counter()

    def abandon(self) -> None:
        """The step has failed on this rank: what is under way stays so, and its numbers with it."""
        self._broken = self._broken or bool(self._sent)
