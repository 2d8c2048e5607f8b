"""``tapegrad train --mpi``: a command that every process of a job runs, and of which one may fail."""

from __future__ import annotations

import time
from typing import Any

from ..errors import DataError
from ..program.ranks.communicator import world

__all__ = ["end_job", "join", "wait_for_first"]

#: seconds by which others than rank 0 put off the end of the job: all may have the same error, and rank 0 tells it
_PATIENCE = 0.3
_joined: list[Any] = []


def join(mpi: bool, *excluded: tuple[str, Any]) -> tuple[Any, bool]:
    """The communicator of the job, or None without ``--mpi``; and whether this process writes and shows results.

    Raises
    ------
    DataError
        One of the `excluded` options is given, with its name.
    MissingExtraError
        Without mpi4py.
    """
    if not mpi:
        return None, True
    comm = world("--mpi")
    _joined[:] = [comm]
    for option, value in excluded:
        if value is not None:
            raise DataError(f"--mpi trains one network on all processes; leave {option} out")
    return comm, comm.Get_rank() == 0


def wait_for_first() -> None:
    """Let rank 0 tell an error that all ranks may have."""
    if _joined and _joined[0].Get_rank():
        time.sleep(_PATIENCE)


def end_job(status: int) -> None:
    """If this process is one of a job and ends with an error, end all."""
    if _joined and status and _joined[0].Get_size() > 1:
        wait_for_first()
        _joined[0].Abort(status)
