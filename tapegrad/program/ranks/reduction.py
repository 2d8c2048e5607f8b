"""What a step's compiled loop calls between its walks and its update: gradients and losses summed over the ranks."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ...engine.ranks import AVERAGE, BUCKET, DONE, FAILED, GRADIENTS
from ...engine.storage import array_at
from ...errors import CaptureError, RanksError, ShapeError
from .communicator import Ranks
from .exchange import Exchange
from .measuring import measured
from .schedule import Plan, planned

__all__ = ["Reduction", "Share", "elements_of_row", "share_of"]

#: numbers, prime, by which batches that differ are told apart
_CHECKS = 1021


class Share(NamedTuple):
    """A rank's rows of each micro-batch.

    Attributes
    ----------
    first, rows : int
    of : int
        The rows of all ranks.
    order : ndarray of int64 or None
        The numbers of the rows of all ranks, in an epoch.
    """

    first: int
    rows: int
    of: int
    order: np.ndarray | None = None

    @property
    def weight(self) -> float:
        """The share as a fraction."""
        return self.rows / self.of


def share_of(ranks: Ranks, rows: int, order: np.ndarray | None = None) -> Share:
    """The rows of a micro-batch that a rank runs on: shares differ by one row at most, and some may be empty."""
    first = rows * ranks.rank // ranks.size
    return Share(first, rows * (ranks.rank + 1) // ranks.size - first, rows, order)


def elements_of_row(drawn: tuple[tuple[int, ...], bool], more: tuple[tuple[int, ...], bool], rows: int) -> int:
    """Of what a random op draws for batches of `rows` and of one row more, the elements of a row; 0 if it has none.

    They follow each other for rows that do, in ranges of as many elements for every index of the axes before.
    """
    (shape, by_rows), (longer, _) = drawn, more
    if shape == longer:
        return 0
    axes = [k for k, (a, b) in enumerate(zip(shape, longer)) if a != b]
    if by_rows and len(shape) == len(longer) and len(axes) == 1:
        times, rest = divmod(shape[axes[0]], rows)
        if rest == 0 and longer[axes[0]] == times * (rows + 1):
            return times * math.prod(shape[axes[0] + 1:])
    raise CaptureError(f"with comm= the loss draws random numbers of shape {list(shape)} for {rows} rows and of "
                       f"{list(longer)} for {rows + 1}, which ranks cannot draw each for its rows alone; draw them "
                       "outside and give them as an argument")


class _Table(NamedTuple):
    """A leaf whose gradient has few rows that are not zero."""

    touched: Any
    gradient: np.ndarray


class Reduction:
    """The sums over the ranks that a recording's loop needs.

    An `Exchange` adds up the gradients, the loss and a check that all ranks run the same step. Of a table with a row
    list the ranks exchange the listed rows and their numbers, after the walk.

    Parameters
    ----------
    ranks : Ranks
    leaves : sequence of Leaf
        The leaves that are reached, in the order of the optimiser.
    dtype : dtype
    row : ndarray of int64
        Of the loop.
    done : int
        The word of `row` with the number of steps done.
    digest : int
        Of the recording.
    passes : int
        Walks of a step that say which gradients are ready: those that add to the gradients of the ones before.

    Attributes
    ----------
    address : int
        Of the function that the loop calls.
    exchange : Exchange or None
        None until `agree`.
    silent : bool
        Whether walks are run one by one, outside of a step of all ranks.
    error : BaseException or None
        Why the function failed.
    """

    def __init__(self, ranks: Ranks, leaves: Sequence[Any], dtype: np.dtype, row: np.ndarray, done: int,
                 digest: int, passes: int = 1) -> None:
        self.ranks, self.dtype, self._row, self._done, self._digest = ranks, dtype, row, done, digest
        self.error: BaseException | None = None
        self.share = Share(0, 1, 1)
        self.exchange: Exchange | None = None
        self.silent, self._passes, self._passed = False, passes, 0
        self.leaves = list(leaves)
        self._sort_out()
        self._function = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)(self._called)
        self.address = int(ctypes.cast(self._function, ctypes.c_void_p).value or 0)

    def _sort_out(self) -> None:
        """Tell leaves whose gradients are sent whole from those that are summed row by row."""
        self.dense = [leaf for leaf in self.leaves if leaf.touched is None]
        self._tables = [_Table(leaf.touched, self._gradient(leaf).reshape(leaf.shape)) for leaf in self.leaves
                        if leaf.touched is not None]

    def _gradient(self, leaf: Any) -> np.ndarray:
        return array_at(leaf.home.address, (leaf.nbytes // self.dtype.itemsize,), (1,), self.dtype, leaf.home)

    def planned_anew(self) -> bool:
        """Whether a gradient has got a row list since, by which it is summed from now on."""
        if len(self._tables) == sum(leaf.touched is not None for leaf in self.leaves):
            return False
        self._sort_out()
        self.exchange = None
        return True

    def agree(self, ends: Sequence[float], walk: float) -> Exchange:
        """Agree with the other ranks how gradients are exchanged, once for a set of leaves; a collective then.

        Parameters
        ----------
        ends : sequence of float
            When the walks have ended each of the `dense` gradients, in seconds.
        walk : float
            When they have ended.
        """
        ranks, key = self.ranks, tuple(self.dense)
        found = ranks.exchanges.get(key)
        if found is None:
            if ranks.network is None:
                ranks.network = measured(ranks)
            arrays = [self._gradient(leaf) for leaf in self.dense]
            sizes = [a.nbytes // (self.dtype.itemsize // 2 if ranks.compression else 1) for a in arrays]
            ranks.doing = "the choice of buckets"
            plan = Plan(*ranks.spread(tuple(planned(ranks.network, ends, sizes, walk, ranks.bucket_bytes))))
            beside = self.leaves[0].home.owner.beside[:2] if self.dense else None
            found = ranks.exchanges[key] = Exchange(ranks, arrays, self.dtype, beside, plan)
        self.exchange = found
        return found

    def begin(self) -> None:
        """A run begins."""
        self._passed = 0
        if self.exchange is not None:
            self.exchange.begin()

    def abandon(self) -> None:
        """A walk has failed."""
        if self.exchange is not None:
            self.exchange.abandon()

    # -------------------------------------------------------------- called by compiled code

    def _called(self, what: int, pointer: int, count: int) -> int:
        try:
            if what == BUCKET:
                self._bucket(pointer)
            elif what == GRADIENTS:
                self._gradients()
            else:
                self._statistics(what, pointer)
        except BaseException as error:
            self.error = error
            return FAILED
        return DONE

    def taken(self) -> BaseException:
        """The error of the function, once."""
        error, self.error = self.error, None
        return KeyboardInterrupt() if error is None else error

    def _bucket(self, number: int) -> None:
        """Send a bucket while the walk goes on; or let those under way go on, for most MPI libraries do so when asked.
        """
        exchange = self.exchange
        if self.silent or exchange is None:
            return
        if number == 0:
            self._passed += 1
        if self._passed == self._passes:
            self.ranks.doing = "a training step"
            exchange.advance()
            if number >= 0:
                exchange.send(self.share.rows == 0)

    def _gradients(self) -> None:
        ranks, share, exchange = self.ranks, self.share, self.exchange
        assert exchange is not None
        ranks.doing = "a training step"
        self._passed = 0
        check = (self._digest + 31 * share.of + int(self._row[self._done])) % _CHECKS
        tail = exchange.tail
        tail[1] = check
        if share.rows == 0:  # the walk ran on another rank's row
            tail[0] = 0.0
        exchange.finish(share.rows == 0)
        if tail[1] != check * ranks.size:
            raise RanksError(f"rank {ranks.rank} runs another step than the others do: its recording, the number of "
                             f"rows in its batch ({share.of}) or of its steps so far is not theirs")
        if self._tables:
            self._rows()

    def _rows(self) -> None:
        """Add up gradients with row lists: the rows, in the order of the ranks, so that all get the same bits."""
        ranks, idle = self.ranks, self.share.rows == 0
        mine = [np.empty(0, np.int64) if idle else table.touched.numbers for table in self._tables]
        counts = np.zeros((ranks.size, len(mine)), np.int64)
        counts[ranks.rank] = [-1 if numbers is None else len(numbers) for numbers in mine]
        ranks.add(counts)
        for k, (table, numbers) in enumerate(zip(self._tables, mine)):
            touched, gradient = table
            before = touched.numbers
            if idle:
                gradient[slice(None) if before is None else before] = 0.0
            if (counts[:, k] < 0).any():  # any row may be nonzero on some rank
                ranks.add(gradient)
                touched.everything()
                continue
            of_ranks, width = counts[:, k].tolist(), gradient.shape[1]
            every = ranks.gather_arrays(numbers, of_ranks)
            values = ranks.gather_arrays(gradient[numbers].reshape(-1), [n * width for n in of_ranks])
            rows, place = np.unique(every, return_inverse=True)
            sums, at = np.zeros((len(rows), width), self.dtype), 0
            for n in of_ranks:  # a rank lists a row once
                sums[place[at:at + n]] += values[at * width:(at + n) * width].reshape(n, width)
                at += n
            if before is not None:
                gradient[before] = 0.0
            gradient[rows] = sums
            touched.replace(rows)

    def _statistics(self, what: int, pointer: int) -> None:
        """Sum an array, or average it with the counts of the ranks as weights, which are summed."""
        words = array_at(pointer, (3,), (1,), np.dtype(np.int64), None)
        at, n, count = words.tolist()
        count = 0 if self.share.rows == 0 else count
        array = array_at(at * self.dtype.itemsize, (n,), (1,), self.dtype, None)
        sums = np.zeros(n + 2)
        if count:
            sums[:n] = array * float(count) if what == AVERAGE else array
        check = (self._digest + 31 * n + what) % _CHECKS
        sums[n:] = count, check
        self.ranks.add(sums)
        if sums[-1] != check * self.ranks.size:
            raise RanksError(f"rank {self.ranks.rank} runs another step than the others do")
        if sums[n] < 2.0:
            raise ShapeError("batch_norm: training needs more than one value a channel, over all ranks")
        array[:] = sums[:n] / sums[n] if what == AVERAGE else sums[:n]
        words[2] = int(sums[n])
