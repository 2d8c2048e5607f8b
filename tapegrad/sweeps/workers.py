"""Runs in other processes: forked ones, or those of an executor. What dies takes its own run with it and no other."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import warnings
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from multiprocessing.connection import Connection
from multiprocessing.connection import wait as wait_for
from typing import Any

from ..config import set_num_threads

__all__ = ["Died", "here", "in_executor", "in_processes", "usable_cores"]

#: numbers of runs that are made by one call
Task = list[int]
Work = Callable[[Task], list[Any]]


class Died(str):
    """Why a process ended before it gave its results."""


Outcome = list[Any] | Died


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def here(work: Work, queue: deque[Task]) -> Generator[tuple[Task, Outcome], None, None]:
    """The results of one task after the other, in this process."""
    while queue:
        task = queue.popleft()
        yield task, work(task)


def in_processes(work: Work, queue: deque[Task], workers: int, inherited: Sequence[Any] = ()
                 ) -> Generator[tuple[Task, Outcome], None, None]:
    """The results of tasks as they come, of forked processes, which share the cores.

    They end with the generator, and with this process, however it ends. The queue may grow while it is worked on.

    Parameters
    ----------
    inherited : sequence of objects with ``fileno()``
        Files that are none of the workers' business.
    """
    all_workers: list[_Worker] = []
    idle: list[_Worker] = []
    busy: dict[_Worker, Task] = {}
    try:
        while queue or busy:
            while queue and len(busy) < workers:
                worker = next((each for each in idle if each.process.is_alive()), None)
                if worker is not None:
                    idle.remove(worker)
                else:
                    ends = [each.connection for each in all_workers]
                    worker = _Worker(work, max(usable_cores() // workers, 1), [*ends, *inherited])
                    all_workers.append(worker)
                busy[worker] = queue.popleft()
                worker.give(busy[worker])
            wait_for([end for worker in busy for end in (worker.connection, worker.process.sentinel)])
            for worker in [worker for worker in busy if worker.is_done()]:
                outcome = worker.outcome()
                task = busy.pop(worker)
                (all_workers.remove if isinstance(outcome, Died) else idle.append)(worker)
                yield task, outcome
    finally:
        for worker in all_workers:
            worker.end()
        for worker in all_workers:
            worker.process.join()


class _Worker:
    """A forked process that works on one task after the other."""

    def __init__(self, work: Work, threads: int, inherited: Sequence[Any]) -> None:
        context = multiprocessing.get_context("fork")
        self.connection, end = context.Pipe()
        self.process = context.Process(target=_serve, args=(work, end, threads, [self.connection, *inherited]),
                                       daemon=False)
        with warnings.catch_warnings():
            # tapegrad's locks and threads are made for it: see `engine.locks`
            warnings.filterwarnings("ignore", "This process .* multi-threaded", DeprecationWarning)
            self.process.start()
        end.close()

    def give(self, task: Task) -> None:
        try:
            self.connection.send(task)
        except BrokenPipeError:
            pass  # it died: `outcome` says so

    def is_done(self) -> bool:
        return self.connection.poll() or not self.process.is_alive()

    def outcome(self) -> Outcome:
        """Its results, or why there are none."""
        try:
            if self.connection.poll():
                return self.connection.recv()
        except (EOFError, OSError):
            pass
        self.process.join()
        self.connection.close()
        return Died(f"the worker process was ended: {_ending(self.process.exitcode or 0)}")

    def end(self) -> None:
        if self.process.is_alive():
            self.process.kill()
        self.connection.close()


def _ending(status: int) -> str:
    """An exit status in words."""
    if status >= 0:
        return f"exit status {status}"
    name = signal.Signals(-status).name if -status in set(signal.Signals) else f"signal {-status}"
    return f"{name} (out of memory?)" if name == "SIGKILL" else name


def _serve(work: Work, end: Connection, threads: int, inherited: Sequence[Any]) -> None:
    """What a worker does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the sweep's process ends it
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for one in inherited:
        if isinstance(one, Connection):
            one.close()
        elif one.fileno() >= 0:
            os.close(one.fileno())
    threading.Thread(target=_follow, daemon=True).start()
    set_num_threads(threads)
    while True:
        try:
            task = end.recv()
        except EOFError:
            return
        end.send(work(task))


def _follow() -> None:
    """End with the process that forked this one."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def in_executor(work: Callable[[Task], Work], queue: deque[Task], executor: Executor,
                at_once: int | None) -> Generator[tuple[Task, Outcome], None, None]:
    """The results of tasks as they come, of an executor's processes.

    Parameters
    ----------
    work : callable
        From a task to the function that is sent, with no more than that task needs.
    at_once : int, optional
        Tasks that are handed over and not yet finished, at most; all without it.
    """
    handed: dict[Future[list[Any]], Task] = {}
    try:
        while queue or handed:
            while queue and (at_once is None or len(handed) < at_once):
                task = queue.popleft()
                handed[executor.submit(work(task), task)] = task
            done, _ = wait(handed, return_when=FIRST_COMPLETED)
            for future in done:
                task = handed.pop(future)
                error = future.exception()
                yield task, future.result() if error is None else Died(
                    f"the executor gave {type(error).__name__}: {' '.join(str(error).split())}")
    finally:
        for future in handed:
            future.cancel()
