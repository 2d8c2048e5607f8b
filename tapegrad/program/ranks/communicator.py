"""The processes of a job, over an MPI communicator: collectives that end within a time-out, and how the job ends."""

from __future__ import annotations

import sys
import time
from typing import Any, NoReturn

import numpy as np

from ...errors import ArgumentError, MissingExtraError, RanksError

__all__ = ["Ranks", "ranks_of", "world"]

#: tests of a request without a pause; then others may run on this core
_SPINS = 500
#: seconds between looks for a roll call, and at most for the answers to one
_LOOK, _ROLL_CALL = 0.05, 2.0
_TAG = 1


def ranks_of(comm: Any, timeout: float) -> Ranks | None:
    """The ranks of a communicator; None for one process.

    Raises
    ------
    ArgumentError
        `comm` is none of mpi4py, or the time-out is no positive number.
    MissingExtraError
        Without mpi4py.
    """
    if comm is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not timeout > 0.0:
        raise ArgumentError(f"timeout must be seconds, a positive number, not {timeout!r}")
    if isinstance(comm, str) and comm == "world":
        comm = world("comm='world'")
    if not all(hasattr(comm, name) for name in ("Iallreduce", "Ibarrier", "Dup", "allgather")):
        raise ArgumentError("comm must be an intracommunicator of mpi4py (MPI.COMM_WORLD) or 'world', not "
                            f"{type(comm).__name__}; mpi4py comes with: pip install 'tapegrad[mpi]'")
    return Ranks(comm, float(timeout)) if comm.Get_size() > 1 else None


def world(asked_by: str) -> Any:
    """The communicator of all processes of the job.

    Raises
    ------
    MissingExtraError
        mpi4py is not installed, or finds no MPI library.
    """
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        raise MissingExtraError(f"{asked_by} needs mpi4py and an MPI library, such as those of pip install "
                                f"'tapegrad[mpi]' ({error})") from None
    return MPI.COMM_WORLD


class Ranks:
    """The processes of a job that train one model together.

    Collectives must be called by all of them in the same order. Each polls, and ends the whole job when another process
    does not come to it within the time-out: it names the ranks that did not.

    Parameters
    ----------
    comm : mpi4py.MPI.Intracomm
        It is duplicated, so other messages on it do not meddle.
    timeout : float
        Seconds.

    Attributes
    ----------
    rank, size : int
    """

    def __init__(self, comm: Any, timeout: float) -> None:
        from mpi4py import MPI

        self._mpi, self.timeout = MPI, timeout
        self.rank, self.size = comm.Get_rank(), comm.Get_size()
        _end_job_on_errors(self)
        self._comm, self._calls = comm.Dup(), comm.Dup()
        # of buckets: ranks may make another sum between two of them at different places
        self._first, self._second = comm.Dup(), comm.Dup()
        #: bytes of a bucket at most, None for those that are predicted to end first; "bfloat16" or None
        self.bucket_bytes: int | None = None
        self.compression: str | None = None
        #: what was measured of sums over the ranks
        self.network: Any = None
        #: how gradients are exchanged, by the set of leaves
        self.exchanges: dict[Any, Any] = {}
        #: batches, by their rows, whose recordings were compared in this run
        self.compared: set[int] = set()
        #: what this process is doing, for messages
        self.doing = "the start"

    @property
    def first(self) -> bool:
        """Whether this is rank 0, which writes files and shows progress."""
        return bool(self.rank == 0)

    # -------------------------------------------------------------- collectives

    def add(self, array: np.ndarray) -> None:
        """Replace a contiguous array of floats or of int64 by its sum over the ranks."""
        self.wait(self._comm.Iallreduce(self._mpi.IN_PLACE, array, self._mpi.SUM))

    def begin_add(self, array: np.ndarray) -> Any:
        """Begin what `add` does; the request. Buckets are begun in the same order on all ranks."""
        return self._first.Iallreduce(self._mpi.IN_PLACE, array, self._mpi.SUM)

    def begin_exchange(self, given: np.ndarray, got: np.ndarray) -> Any:
        """Begin to send row r of an array, (size, n), to rank r; row s of `got` comes from rank s. The request."""
        return self._first.Ialltoall(given, got)

    def begin_gather(self, mine: np.ndarray, every: np.ndarray) -> Any:
        """Begin to gather the arrays (n,) of all ranks, (size, n); the request."""
        return self._second.Iallgather(mine, every)

    def gather_arrays(self, array: np.ndarray, counts: list[int]) -> np.ndarray:
        """The arrays of all ranks, of lengths `counts`, behind one another."""
        found = np.empty(sum(counts), array.dtype)
        places = np.concatenate([[0], np.cumsum(counts)[:-1]]).tolist()
        self.wait(self._comm.Iallgatherv(array, [found, (counts, places)]))
        return found

    def gather(self, value: Any) -> list[Any]:
        """The values of all ranks, any that can be pickled."""
        self.meet()
        return list(self._comm.allgather(value))

    def spread(self, value: Any) -> Any:
        """Rank 0's value."""
        self.meet()
        return self._comm.bcast(value, root=0)

    def spread_array(self, array: np.ndarray) -> None:
        """Overwrite a contiguous array by rank 0's."""
        self.wait(self._comm.Ibcast(array.reshape(-1).view(np.uint8), root=0))

    def meet(self) -> None:
        """Wait until all ranks have come here."""
        self.wait(self._comm.Ibarrier())

    def wait(self, request: Any) -> None:
        """Wait for a collective, or what has a method `Test` as its request has, or end the job."""
        test = request.Test
        for _ in range(_SPINS):
            if test():
                return
        began = looked = time.monotonic()
        while not test():
            time.sleep(0)
            now = time.monotonic()
            if now - looked > _LOOK:
                looked = now
                if now - began > self.timeout or self._calls.iprobe(self._mpi.ANY_SOURCE, _TAG):
                    self._call_roll(now - began)

    # -------------------------------------------------------------- the end of a job

    def _call_roll(self, waited: float) -> NoReturn:
        """Each rank that waits says so to all others; the lowest names those that are silent, and ends the job."""
        for other in range(self.size):
            if other != self.rank:
                self._calls.isend((self.doing, waited), other, _TAG)
        heard, until = {self.rank: (self.doing, waited)}, time.monotonic() + _ROLL_CALL
        while len(heard) < self.size and time.monotonic() < until:
            status = self._mpi.Status()
            if self._calls.iprobe(self._mpi.ANY_SOURCE, _TAG, status):
                heard[status.Get_source()] = self._calls.recv(source=status.Get_source(), tag=_TAG)
            else:
                time.sleep(0.01)
        if min(heard) != self.rank:
            time.sleep(2.0)  # the lowest one speaks
        silent = [r for r in range(self.size) if r not in heard]
        waited = max(seconds for _, seconds in heard.values())
        if silent:
            who = f"rank {silent[0]} has" if len(silent) == 1 else f"ranks {', '.join(map(str, silent))} have"
            text = f"{who} not answered for {waited:.0f} s, in {self.doing} (timeout={self.timeout:g} s)"
        else:
            text = "the ranks wait for each other at different places: " + "; ".join(
                f"rank {r} in {doing}" for r, (doing, _) in sorted(heard.items()))
        self.end_job(text)

    def end_job(self, text: str, status: int = 1) -> NoReturn:
        """End all processes, with a message."""
        sys.stdout.flush()
        print(f"tapegrad: {text}; the job of {self.size} ranks ends", file=sys.stderr, flush=True)
        time.sleep(0.2)  # for mpiexec to pass the message on
        self._mpi.COMM_WORLD.Abort(status)
        raise SystemExit(status)  # not reached

    def failed(self, error: BaseException) -> NoReturn:
        """End all processes because of an error on this rank, unless a lower one does so first: all may have it."""
        if self.rank:
            time.sleep(0.3 + 0.02 * min(self.rank, 50))
        name = type(error).__name__
        if isinstance(error, RanksError):
            self.end_job(str(error))
        self.end_job(f"rank {self.rank} of {self.size} failed: {name}: {error}")


_hooked: list[Ranks] = []


def _end_job_on_errors(ranks: Ranks) -> None:
    """Have an error that nobody catches end the job: the other ranks would wait for this one."""
    _hooked[:] = [ranks]
    if getattr(sys.excepthook, "of_ranks", False):
        return
    before = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: Any) -> None:
        ranks = _hooked[0]
        if ranks.rank:
            time.sleep(0.3 + 0.02 * min(ranks.rank, 50))  # all ranks may have it; the lowest speaks
        if not isinstance(error, RanksError):
            before(kind, error, trace)
        ranks.failed(error)

    setattr(hook, "of_ranks", True)
    sys.excepthook = hook
