"""What comes after the training, compiled by another process while the network trains."""

from __future__ import annotations

import multiprocessing
import signal
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from ..config import get_num_threads
from ..engine.cache import cache_folder

__all__ = ["compiled_ahead"]

_PATIENCE = 60.0  # seconds; who waits in vain compiles for himself


@contextmanager
def compiled_ahead(work: Callable[[], Any], dtype: str) -> Iterator[None]:
    """Have `work` done in a forked process too, whose machine code is found in the cache after the ``with``.

    Parameters
    ----------
    work : callable
        What it returns or raises there is thrown away.
    dtype : str
        Of the kernels that it needs: if some are in the cache, nothing is compiled ahead.
    """
    can_fork = "fork" in multiprocessing.get_all_start_methods() and get_num_threads() > 1
    if not can_fork or any(cache_folder().glob(f"*.{dtype}.o")):
        yield
        return
    process = multiprocessing.get_context("fork").Process(target=_silently, args=(work,), daemon=True)
    process.start()
    try:
        yield
        process.join(_PATIENCE)
    finally:
        process.kill()
        process.join()


def _silently(work: Callable[[], Any]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    warnings.simplefilter("ignore")
    with suppress(Exception):
        work()
