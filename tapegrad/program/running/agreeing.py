"""What the ranks of a job must have in common, and a checkpoint that rank 0 keeps for all."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import sys
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..._version import __version__
from ...engine.cache import cache_folder
from ...engine.random import restore_streams, streams
from ...errors import RanksError
from ..ranks.communicator import Ranks
from ..ranks.cores import share_cores
from .fingerprints import difference, of_model, of_optimizer, plain
from .keeping import buffers_of
from .protocols import Checkpointing
from .source import Source, held_arrays

__all__ = ["OfFirst", "begin_job", "check_recording", "check_run", "check_values", "share_streams"]

#: rows of an array whose values are compared
_ROWS = 256


def begin_job(ranks: Ranks, loss_fn: Any, optimizer: Any, parameters: Sequence[Any], accumulate: int) -> None:
    """Compare the programs, share out cores, and give all ranks rank 0's parameters and random streams."""
    main = Path(getattr(sys.modules.get("__main__"), "__file__", None) or os.devnull)
    compare(ranks, "programs", {
        "tapegrad": __version__, "its sources and compiler": cache_folder().name.rpartition("-")[0],
        "Python": platform.python_version(),
        "NumPy": np.__version__, "the script": _digest(main.read_bytes()) if main.is_file() else "",
        "loss_fn": _code(loss_fn), "accumulate": accumulate, "bucket_bytes": ranks.bucket_bytes,
        "compression": ranks.compression, "optimiser": of_optimizer(optimizer),
        "trained": [bool(p.requires_grad) for p in parameters]})
    share_cores(ranks)
    ranks.doing = "the parameters' broadcast"
    for p in parameters:
        values = np.ascontiguousarray(p._memory())
        ranks.spread_array(values)
        if not ranks.first:
            p.copy_(values)
    share_streams(ranks)


def share_streams(ranks: Ranks) -> None:
    """Have all ranks go on with rank 0's random streams."""
    state = ranks.spread(streams() if ranks.first else None)
    if not ranks.first:
        restore_streams(state)


def check_run(ranks: Ranks, source: Source, optimizer: Any, facts: dict[str, Any]) -> None:
    """Compare settings and data of a run, and the parameters and states that it begins with."""
    ranks.compared.clear()
    data = {"rows": len(source), **{f"argument {k}": _of_array(a) for k, a in enumerate(_arrays(source), 1)}}
    compare(ranks, "runs", {"settings": facts, "data": data, "optimiser": of_optimizer(optimizer)})
    check_values(ranks, optimizer, "begins with other parameters than")


def check_values(ranks: Ranks, optimizer: Any, what: str) -> None:
    """Compare parameters and optimiser states, bit by bit."""
    state, parameters = optimizer.state, [p for group in optimizer.param_groups for p in group["params"]]
    digests = {f"parameter {k} {list(p.shape)}": _digest(np.ascontiguousarray(p._memory()).tobytes())
               for k, p in enumerate(parameters)}
    for k, p in enumerate(parameters):
        for name, value in (state[p] if p in state else {}).items():
            digests[f"{name} of parameter {k}"] = _digest(np.ascontiguousarray(value).tobytes())
    compare(ranks, "values", digests, what)


def check_recording(ranks: Ranks, step: Any, rows: int) -> None:
    """Compare the modules of a recording and their buffers, once in a run for batches of a size."""
    if rows in ranks.compared:
        return
    ranks.compared.add(rows)
    digests = {f"buffer {k} {list(a.shape)}": _digest(np.ascontiguousarray(a).tobytes())
               for k, (_, a) in enumerate(buffers_of(step))}
    compare(ranks, "recordings", {"modules": of_model(step)["modules"], **digests})


def compare(ranks: Ranks, what: str, ours: dict[str, Any], words: str = "is not as") -> None:
    """Raise on all ranks where one has other facts than rank 0, naming it and the first difference.

    Digests are exchanged, and the facts only if these differ.
    """
    ours, ranks.doing = plain(ours), f"the comparison of {what}"
    digest = _digest(repr(ours).encode())
    digests = ranks.gather(digest)
    if all(d == digests[0] for d in digests):
        return
    every = ranks.gather(ours)
    other = next(r for r, d in enumerate(digests) if d != digests[0])
    found = difference(every[0], every[other], "", (" on rank 0", f" on rank {other}"))
    found = re.sub(" is [0-9a-f]{32} on rank 0, [0-9a-f]{32} on rank [0-9]+$", " differs", found or what)
    raise RanksError(f"rank {other} {words} rank 0: {found}")


def _arrays(source: Any) -> Sequence[np.ndarray]:
    return source.data if hasattr(source, "data") else held_arrays(getattr(source, "dataset", source))


def _of_array(array: np.ndarray) -> dict[str, Any]:
    rows = np.unique(np.linspace(0, max(len(array) - 1, 0), _ROWS).astype(np.int64)) if len(array) else slice(0)
    return {"shape": list(array.shape), "dtype": array.dtype.name,
            "values": _digest(np.ascontiguousarray(array[rows]).tobytes())}


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def _code(function: Any) -> str:
    """A digest of a function's instructions, constants and names, with those of functions inside it."""
    called = vars(type(function)).get("__call__")
    code = getattr(function, "__code__", None) or getattr(called, "__code__", None)
    parts: list[Any] = []

    def add(code: types.CodeType) -> None:
        parts.extend((code.co_code, code.co_names, code.co_varnames))
        for constant in code.co_consts:
            if isinstance(constant, types.CodeType):
                add(constant)
            elif not isinstance(constant, frozenset):  # its order is another in each process
                parts.append(constant)

    if isinstance(code, types.CodeType):
        add(code)
    return _digest(repr(parts).encode())


class OfFirst:
    """A checkpoint that rank 0 keeps, and from which all ranks go on.

    Parameters
    ----------
    checkpoint : Checkpointing
    ranks : Ranks
    """

    def __init__(self, checkpoint: Checkpointing, ranks: Ranks) -> None:
        self._checkpoint, self._ranks = checkpoint, ranks

    @property
    def name(self) -> str:
        """As errors name it."""
        return self._checkpoint.name

    def open(self) -> dict[str, Any] | None:
        """Rank 0 holds the place; the state in it, for all."""
        self._ranks.doing = f"the reading of {self.name}"
        return self._ranks.spread(self._checkpoint.open() if self._ranks.first else None)

    def due(self) -> bool:
        """Whether it is time to write; rank 0 alone does."""
        return self._ranks.first and self._checkpoint.due()

    def write(self, state: dict[str, Any], last: bool) -> None:
        """Write, on rank 0."""
        if self._ranks.first:
            self._checkpoint.write(state, last)

    def close(self) -> None:
        """Release the place."""
        if self._ranks.first:
            self._checkpoint.close()
