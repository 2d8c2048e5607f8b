"""Work stealing: teams of threads that share the parts of one piece of work (`share`).

Work is cut into parts by its size only, never by the number of threads, so results do not depend on it. The thread that
has the work starts at once and, if nobody is free to help, does all of it; it waits only for parts that others have
started. So a busy machine costs little, and a forked process, which has no helpers, nothing.

The helpers are Python threads that stay in compiled code, without the GIL. After a piece of work they spin for some
microseconds and then sleep in ``read`` on a pipe. How many may help is the number of threads of the BLAS library, asked
at each piece of work, so that `tapegrad.set_num_threads`, ``OPENBLAS_NUM_THREADS`` and a limit of threadpoolctl apply
here too.

The protocol. Parts are divided into queues, one a thread; each thread takes from its own, and when that is empty steals
from the others. The ticket of a queue holds the number of the piece of work and of the parts left. Taking one is a
compare-and-swap of the ticket, which succeeds only for the present piece of work, so that what was read beside the
ticket is valid. The owner's first part needs none. A piece of work is over when the helpers have done all the parts
that the owner has not. A helper announces that it sleeps, looks once more, and sleeps; the owner publishes the tickets
first and then looks who sleeps: one of the two sees the other.

A cache line that moves between cores takes some ten nanoseconds each time, in which the processor that waits for it
stalls. So a waiting helper polls its ticket only, which shares its line with all that it needs, and the owner goes on
at once: the fence that makes sure that nobody oversleeps comes after its first part, unless a look before has found
somebody asleep.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from .. import providers
from ..kernels import Kernel
from ..language import (
    FRAME_WORDS,
    c_call,
    call,
    device,
    enabled,
    frame,
    increase,
    look,
    offer,
    pause,
    publish,
    replace,
    row_address,
    settle,
)
from ..locks import TEAMS, Lock
from ..row import Part, Words
from ..storage import address_of, aligned_bytes

#: seconds that a helper polls before it sleeps, and a waiting thread before it yields; and polls to time one by, for
#: what a pause takes differs from processor to processor (some 10 to 50 ns on x86-64, less than one on arm64)
SPIN, TIMED = 4e-5, 1000

# Words of a team, those that threads write in cache lines of their own. Address of the kernel `share_parts`; number of
# helpers; addresses of C functions (number of threads that may run, ``read``, ``write``, yield); limit of threads (0:
# none); the number 1
SHARE, HELPERS, ALLOWED, READ, WRITE, YIELD, MOST_NOW, ONE = range(8)
# parts that helpers have done; whether the team is taken; parts that helpers had done before this piece of work
DONE, TAKEN, BEFORE, STATUS = 8, 16, 17, 24
# addresses of ``sched_getcpu`` and ``sched_setaffinity`` (0: there are none), and of the affinity mask of the helpers
GET_CPU, SET_AFFINITY, PROCESSORS, PROCESSOR_WORDS = 32, 33, 34, 35
# how many polls take SPIN seconds
LOOKS = 36
# from TICKETS on 8 words a thread: its ticket, and the piece of work
KERNEL, ROW, PARTS, THREADS = 1, 2, 3, 4
# from SLEEPERS on 8 words a helper: whether it sleeps, its pipe's ends to read and to write, its number for the system,
# and 1 + the processor that it is kept away from
ASLEEP, READS, WAKES, NATIVE, AWAY = range(5)
MOST = 64
TICKETS, SLEEPERS = 40, 40 + 8 * MOST
LEFT = (1 << 32) - 1


# ------------------------------------------------------------------ compiled


@device
def run_part(kernel: int, row: int, part: int, parts: int, f: Any, i: Any, b: Any) -> int:
    """Run a part of a piece of work."""
    words: Part = frame()
    words.row, words.number, words.count = row, part, parts
    return call(kernel, words, f, i, b)


@device
def take(team: int, stretch: int, number: int, f: Any, i: Any, b: Any) -> int:
    """Run one part of a queue as thread `number`; 0 if there is none left."""
    at = team + TICKETS + 8 * stretch
    while True:
        ticket = look(i, at)
        kernel, row, parts, threads = i[at + KERNEL], i[at + ROW], i[at + PARTS], i[at + THREADS]
        if ticket & LEFT == 0 or number >= threads:
            return 0
        if replace(i, at, ticket, ticket - 1) != 0:
            status = run_part(kernel, row, (stretch + 1) * parts // threads - (ticket & LEFT), parts, f, i, b)
            if status != 0:
                publish(i, team + STATUS, status)
            return 1


@device
def take_any(team: int, number: int, f: Any, i: Any, b: Any) -> int:
    """Run one part as thread `number`, of its own queue (for cache locality) or else stolen; 0 if none is left."""
    threads = i[team + TICKETS + 8 * number + THREADS]
    for turn in range(threads):
        if take(team, (number + turn) % threads, number, f, i, b) != 0:
            return 1
    return 0


@device
def keep_away(team: int, sleeper: int, i: Any) -> int:
    """Have a sleeping helper wake on another processor than this one.

    By default Linux often wakes it beside the thread that wakes it, mostly where processors are virtual, and the two
    take turns for as long as 20 ms.
    """
    if i[team + GET_CPU] == 0:
        return 0
    here, others, mask = c_call(i[team + GET_CPU], 0, 0, 0), 0, frame()
    if here < 0 or i[sleeper + AWAY] == here + 1:
        return 0
    for k in range(i[team + PROCESSOR_WORDS]):
        mask[k] = i[i[team + PROCESSORS] + k]
        if k == here >> 6:
            mask[k] &= ~(1 << (here & 63))
        others |= mask[k]
    if others != 0:
        c_call(i[team + SET_AFFINITY], i[sleeper + NATIVE], 8 * i[team + PROCESSOR_WORDS], row_address(mask) * 8)
    i[sleeper + AWAY] = here + 1
    return 0


@device
def wake(team: int, helpers: int, i: Any) -> int:
    """Wake those of the first `helpers` that sleep."""
    for helper in range(helpers):
        sleeper = team + SLEEPERS + 8 * helper
        if look(i, sleeper + ASLEEP) != 0 and replace(i, sleeper + ASLEEP, 1, 0) != 0:
            keep_away(team, sleeper, i)
            c_call(i[team + WRITE], i[sleeper + WAKES], (team + ONE) * 8, 8)
    return 0


class Shared(Words):
    """A piece of work."""

    team: int
    kernel: int
    row: int
    parts: int


def share_parts(op: Shared, f: Any, i: Any, b: Any) -> int:
    """Publish a piece of work, and take part in it until it is over."""
    team, parts, threads = op.team, op.parts, 1
    if parts > 1 and i[team + HELPERS] > 0:
        threads = min(c_call(i[team + ALLOWED], 0, 0, 0), i[team + HELPERS] + 1, parts)
        if i[team + MOST_NOW] > 0:
            threads = min(threads, i[team + MOST_NOW])
    if threads < 2 or replace(i, team + TAKEN, 0, 1) == 0:
        for part in range(parts):
            status = run_part(op.kernel, op.row, part, parts, f, i, b)
            if status != 0:
                return status
        return 0
    i[team + STATUS] = 0
    work = (i[team + TICKETS] >> 32) + 1 << 32
    for stretch in range(threads):
        at = team + TICKETS + 8 * stretch
        count = (stretch + 1) * parts // threads - stretch * parts // threads
        i[at + KERNEL], i[at + ROW], i[at + PARTS], i[at + THREADS] = op.kernel, op.row, parts, threads
        offer(i, at, work + count - (1 if stretch == 0 else 0))
    wake(team, threads - 1, i)
    status, own, looks = run_part(op.kernel, op.row, 0, parts, f, i, b), 1, 0
    settle()
    wake(team, threads - 1, i)
    while take_any(team, 0, f, i, b) != 0:
        own += 1
    done = i[team + BEFORE] + parts - own
    while look(i, team + DONE) != done:
        pause()
        looks += 1
        if looks >= i[team + LOOKS]:
            c_call(i[team + YIELD], 0, 0, 0)
    status = status if status != 0 else i[team + STATUS]
    i[team + BEFORE] = done
    offer(i, team + TAKEN, 0)
    return status


class Helper(Words):
    team: int
    number: int  # from 1 on


def help_team(op: Helper, f: Any, i: Any, b: Any) -> int:
    """The loop of a helper."""
    team, number = op.team, op.number
    sleeper, ticket = team + SLEEPERS + 8 * (number - 1), team + TICKETS + 8 * number
    buffer = frame()
    looks = 0
    while look(i, sleeper + READS) >= 0:
        if look(i, ticket) & LEFT != 0:
            looks = 0
            while take_any(team, number, f, i, b) != 0:
                increase(i, team + DONE, 1)
            continue
        pause()
        looks += 1
        if looks >= i[team + LOOKS]:
            looks = 0
            publish(i, sleeper + ASLEEP, 1)
            if look(i, ticket) & LEFT == 0:
                c_call(i[team + READ], i[sleeper + READS], row_address(buffer) * 8, 8)
            publish(i, sleeper + ASLEEP, 0)
    return 0


class Polls(Words):
    at: int
    count: int


def poll(op: Polls, f: Any, i: Any, b: Any) -> int:
    """Look at a word and pause, so many times."""
    for _ in range(op.count):
        if look(i, op.at) < 0:
            return 0
        pause()
    return 0


POLL = Kernel("team.poll", poll)
SHARE_PARTS, HELP = Kernel("team.share", share_parts), Kernel("team.help", help_team)


@device
def share(team: int, kernel: int, op: Any, parts: int, f: Any, i: Any, b: Any) -> int:
    """Run `kernel` once for each number below `parts`, on as many threads as may run; the first non-zero status.

    Parameters
    ----------
    team : int
        Element address of a team's words (`team_address`).
    kernel : int
        Address of a kernel. Its row has three words: the element address of `op`, the part, the number of parts.
        Parts must not write what others read or write.
    op : pointer to int64
        The row that the parts read.
    parts : int
        By the size of the work only, for results to be the same for any number of threads.
    """
    words: Shared = frame()
    words.team, words.kernel, words.row, words.parts = team, kernel, row_address(op), parts
    return call(i[team + SHARE], words, f, i, b)


# ------------------------------------------------------------------ the threads


_lock = Lock(TEAMS)
_teams: dict[np.dtype, np.ndarray] = {}


def team_address(dtype: np.dtype) -> int:
    """Element address of the team for kernels of `dtype`; its threads start when more than one may run."""
    with _lock.now:
        words = _teams.get(dtype)
        if words is None:
            words = _teams[dtype] = aligned_bytes(8 * (SLEEPERS + 8 * MOST)).view(np.int64)
            words[:] = 0
            words[ONE] = 1
            words[SHARE] = SHARE_PARTS.address(dtype)
            words[LOOKS] = _polls(words, dtype)
            _grow(words, dtype)
        return address_of(words) // 8


def _polls(words: np.ndarray, dtype: np.dtype) -> int:
    """How many polls of a word take SPIN seconds."""
    row, least = np.array(Polls.words(at=address_of(words) // 8, count=TIMED), np.int64), SPIN
    for _ in range(3):
        began = time.perf_counter()
        POLL(address_of(row), dtype)
        least = min(least, time.perf_counter() - began)
    return max(1, int(SPIN * TIMED / max(least, 1e-9)))


@contextmanager
def at_most(count: int, dtype: np.dtype) -> Iterator[None]:
    """Context: at most `count` threads share work of `dtype`, in all threads."""
    words = _teams.get(dtype)
    if words is None:
        yield
        return
    words[MOST_NOW] = count
    try:
        yield
    finally:
        words[MOST_NOW] = 0


def grow() -> None:
    """Start missing helpers, after the number of threads has changed."""
    with _lock.now:
        for dtype, words in _teams.items():
            _grow(words, dtype)


def _grow(words: np.ndarray, dtype: np.dtype) -> None:
    provider = providers.loaded()
    count = min(provider.threads, MOST) - 1
    system = _system_functions()
    if not enabled() or count <= words[HELPERS] or provider.threads_address == 0 or system is None:
        return
    words[ALLOWED], words[READ:YIELD + 1] = provider.threads_address, system
    _find_processors(words)
    for number in range(int(words[HELPERS]) + 1, count + 1):
        sleeper = words[SLEEPERS + 8 * (number - 1):]
        sleeper[[ASLEEP, READS, WAKES]] = 0, *os.pipe()
        row = np.array(Helper.words(team=address_of(words) // 8, number=number), np.int64)
        HELP.address(dtype)
        helper = threading.Thread(target=_help, args=(row, dtype), name=f"tapegrad-{number}", daemon=True)
        helper.start()
        sleeper[NATIVE], sleeper[AWAY] = helper.native_id, 0
        _helpers.append(helper)
        words[HELPERS] = number


_helpers: list[threading.Thread] = []


@atexit.register
def _dismiss() -> None:
    """Stop all helpers before the interpreter frees the code and the words that they use."""
    with _lock.now:
        for words in _teams.values():
            for number in range(int(words[HELPERS])):
                sleeper = words[SLEEPERS + 8 * number:]
                sleeper[READS] = -1
                os.write(int(sleeper[WAKES]), words[ONE:ONE + 1].tobytes())
            words[HELPERS] = 0
        for helper in _helpers:
            helper.join(1.0)
        _helpers.clear()


def _find_processors(words: np.ndarray) -> None:
    """Write the addresses of the affinity functions, and the helpers' affinity mask."""
    library = ctypes.CDLL(None) if hasattr(os, "sched_getaffinity") else None
    functions: list[Any] = [getattr(library, name, None) for name in ("sched_getcpu", "sched_setaffinity")]
    allowed = sum(1 << cpu for cpu in os.sched_getaffinity(0)) if library is not None else 0
    count = -(-allowed.bit_length() // 64)
    if None in functions or not 0 < count <= FRAME_WORDS:
        return
    mask = np.frombuffer(allowed.to_bytes(8 * count, sys.byteorder), np.int64)
    _kept.append(mask)
    words[GET_CPU:PROCESSOR_WORDS + 1] = (*(ctypes.cast(f, ctypes.c_void_p).value for f in functions),
                                          address_of(mask) // 8, count)


_kept: list[np.ndarray] = []  # memory that the words of teams point to


def _help(row: np.ndarray, dtype: np.dtype) -> None:
    HELP(address_of(row), dtype)


def _system_functions() -> tuple[int, int, int] | None:
    """Addresses of ``read``, ``write`` and yield."""
    for library, names in ((None, ("read", "write", "sched_yield")), ("ucrtbase", ("_read", "_write", "_getpid"))):
        try:
            functions = [getattr(ctypes.CDLL(library), name) for name in names]
        except (OSError, TypeError, AttributeError):
            continue
        read, write, rest = (ctypes.cast(function, ctypes.c_void_p).value or 0 for function in functions)
        return read, write, rest
    return None


def _after_fork() -> None:
    """A forked process has no helpers until `grow`, and its teams are free."""
    _helpers.clear()
    for words in _teams.values():
        words[HELPERS] = words[DONE] = words[TAKEN] = words[BEFORE] = 0
        words[SLEEPERS:] = 0
        words[TICKETS:SLEEPERS] = 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
