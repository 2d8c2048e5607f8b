"""`Checkpoint`: a folder that keeps the state of a training run, so that it can be killed at any moment."""

from __future__ import annotations

import fcntl
import json
import math
import os
import re
import time
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np

from .._version import __version__
from ..errors import ArgumentError, DataError
from .files import load, load_metadata, save

__all__ = ["Checkpoint", "holds_checkpoint", "newest"]

_FORMAT = 1
_KEPT = 2
_ENTRY = "tapegrad.checkpoint"
_NAME = re.compile(r"checkpoint-(\d{6,})\.safetensors")


class Checkpoint:
    """A folder that keeps the state of a training run; given to `TrainStep.run` as `checkpoint`.

    At the start of the run, then every so many seconds, when it is interrupted (Ctrl-C) and when it ends, the state is
    written between two batches: parameters, buffers, the states of optimiser and schedules, random state, the place in
    the shuffled epoch, the `History` so far. Each time that is a new file, which replaces the last but one when it is
    complete and on the disk. Whatever ends the process, the run goes on from the last file to the bit as if nothing
    had happened: the same call in a new process, with ``resume=True``.

    Parameters
    ----------
    path : path_like
        The folder, made if need be. It serves one run, and one process at a time.
    every : float, default 60.0
        Seconds between two writings, at least 0.
    resume : bool, default False
        Go on from the checkpoint in the folder; begin anew where there is none. Without it a folder that holds one is
        refused.
    say : callable, optional
        Takes a line of text about what went wrong and was got over: a file that is damaged (the run goes on from the
        one before) or could not be written (the run goes on, and tries again `every` seconds later). By default a
        warning.
    note : dict of str to str, optional
        Texts to keep with the state, for `newest`.

    Notes
    -----
    Files are in the safetensors format. Kept are the optimiser's parameters and what the recorded loss overwrites or
    reads that has changed since the run began; also, of a run in one process, the states of the generators that all
    share, from which ``numpy.random.normal()``, ``random.random()`` and their like draw. A callback or a dataset with
    methods ``state_dict()`` and ``load_state_dict(state)`` is kept as well; what else a script changes while it trains,
    such as a generator of its own, is not. To the bit means on the same machine with the same libraries and number of
    threads.

    Data, model, loss, optimiser and settings must be those of the run's beginning, which is checked; the number of
    epochs may be another one. A run that its callback has ended is over whatever their number: it returns at once.

    Examples
    --------
    >>> import numpy as np, tapegrad as tg, tempfile
    >>> from tapegrad import nn, optim
    >>> def train(epochs, folder):
    ...     tg.manual_seed(0)
    ...     model = nn.Linear(2, 1)
    ...     step = tg.TrainStep(lambda x, y: ((model(x) - y) ** 2).mean(), optim.Adam(model.parameters()))
    ...     x = np.random.default_rng(0).normal(size=(64, 2))
    ...     return step.run(x, x[:, :1], batch_size=16, epochs=epochs, checkpoint=tg.Checkpoint(folder, resume=True))
    >>> with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
    ...     stopped, resumed, whole = train(2, one), train(5, one), train(5, other)
    >>> len(stopped), len(resumed), bool((resumed.loss == whole.loss).all())
    (8, 20, True)
    """

    def __init__(self, path: str | os.PathLike[str], every: float = 60.0, *, resume: bool = False,
                 say: Callable[[str], Any] | None = None, note: dict[str, str] | None = None) -> None:
        if isinstance(every, bool) or not isinstance(every, (int, float)) or not 0.0 <= every < math.inf:
            raise ArgumentError(f"every must be seconds, a number of at least 0, not {every!r}")
        self.path, self.every, self.resume = Path(path), float(every), bool(resume)
        self.note = dict(note or {})
        self._say = say or (lambda text: warnings.warn(text, RuntimeWarning, stacklevel=3))
        self._lock: IO[str] | None = None
        self._number, self._next = 0, -math.inf
        self._used = self._wrote = self._failed = False

    @property
    def name(self) -> str:
        """The folder, as errors name it."""
        return os.fspath(self.path)

    # -------------------------------------------------------------- called by the run

    def open(self) -> dict[str, Any] | None:
        """Hold the folder; the state in it, or None.

        Raises
        ------
        ArgumentError
            The object has served a run already, or the folder holds a checkpoint and `resume` is not set.
        DataError
            The path is a file's, another process holds the folder, or nothing in it can be read.
        OSError
            The folder cannot be made or written to.
        """
        if self._used:
            raise ArgumentError(f"{self.name}: a Checkpoint serves one run; give the next one a Checkpoint and a "
                                "folder of its own")
        if self.path.exists() and not self.path.is_dir():
            raise DataError(f"{self.name}: is a file; a checkpoint is kept in a folder")
        self.path.mkdir(parents=True, exist_ok=True)
        lock = open(self.path / "lock", "a+")
        try:
            self._hold(lock)
            files = _files(self.path)
            self._number = files[0][0] if files else 0
            state = None
            if files:
                if not self.resume:
                    raise ArgumentError(f"{self.name}: holds a checkpoint already; to go on from it write "
                                        "Checkpoint(path, resume=True), or else give another folder")
                state, _ = _read_newest(self.path, files, self._say)
            for part in self.path.glob(".checkpoint-*.part"):  # of a process that was killed
                part.unlink(missing_ok=True)
        except BaseException:
            lock.close()
            raise
        self._lock, self._used = lock, True
        return state

    def _hold(self, lock: IO[str]) -> None:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read().strip()
            raise DataError(f"{self.name}: another run{holder and ' (' + holder + ')'} keeps its checkpoints there; "
                            "end it first, or give this one another folder") from None
        lock.truncate(0)
        lock.write(f"process {os.getpid()}")
        lock.flush()

    def due(self) -> bool:
        """Whether it is time to write."""
        return time.monotonic() >= self._next

    def write(self, state: dict[str, Any], last: bool) -> None:
        """Write a state, then remove the last but one.

        Raises
        ------
        OSError
            The first one cannot be written. Of later failures `say` is told.
        """
        arrays: dict[str, np.ndarray] = {}
        packed = _packed(state, arrays, "")
        path = self.path / f"checkpoint-{self._number + 1:06}.safetensors"
        text = json.dumps({"format": _FORMAT, "version": __version__, "note": self.note, "sum": _sum(arrays),
                           "state": packed})
        self._next = time.monotonic() + self.every
        try:
            save(arrays, path, metadata={_ENTRY: text})
        except OSError as error:
            if not self._wrote:
                raise
            if not self._failed:  # told once, until one is written again
                self._say(f"{path}: could not be written ({error.strerror or error}); the one before is kept"
                          + ("" if last else f", the next is tried every {self.every:g} s"))
            self._failed = True
            return
        self._wrote, self._failed = True, False
        self._number += 1
        for _, old in _files(self.path)[_KEPT:]:
            old.unlink(missing_ok=True)

    def close(self) -> None:
        """Release the folder."""
        if self._lock is not None:
            self._lock.truncate(0)
            self._lock.close()
            self._lock = None


def newest(path: str | os.PathLike[str], say: Callable[[str], Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """State and note of the newest checkpoint in a folder that can be read.

    Raises
    ------
    DataError
        There is none.
    OSError
        The folder cannot be read.
    """
    folder = Path(path)
    files = _files(folder)
    if not files:
        raise DataError(f"{folder}: holds no checkpoint")
    return _read_newest(folder, files, say)


def holds_checkpoint(path: str | os.PathLike[str]) -> bool:
    """Whether there is a checkpoint in a folder, which need not be there."""
    return Path(path).is_dir() and bool(_files(Path(path)))


def _files(folder: Path) -> list[tuple[int, Path]]:
    """The checkpoints in a folder with their numbers, the newest first."""
    found = [(int(match[1]), entry) for entry in folder.iterdir() if (match := _NAME.fullmatch(entry.name))]
    return sorted(found, reverse=True)


def _read_newest(folder: Path, files: list[tuple[int, Path]],
                 say: Callable[[str], Any]) -> tuple[dict[str, Any], dict[str, str]]:
    problems: list[str] = []
    for _, path in files:
        try:
            found = _read(path)
        except (DataError, OSError) as error:
            problems.append(str(error))
            continue
        for problem in problems:
            say(f"{problem}; going on from the one before, {path.name}")
        return found
    raise DataError(f"{folder}: no checkpoint in it can be read: {'; '.join(problems)}")


def _read(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """State and note of a file."""
    text = load_metadata(path).get(_ENTRY)
    if text is None:
        raise DataError(f"{path}: is no checkpoint of a run")
    entry = json.loads(text)
    if entry["format"] != _FORMAT:
        raise DataError(f"{path}: was written by tapegrad {entry['version']} in format {entry['format']}; this version "
                        f"reads format {_FORMAT}")
    arrays = load(path)
    if _sum(arrays) != entry["sum"]:
        raise DataError(f"{path}: is damaged: its checksum does not fit")
    return _unpacked(entry["state"], arrays), entry["note"]


def _sum(arrays: dict[str, np.ndarray]) -> int:
    """A checksum of arrays."""
    total = 0
    for array in arrays.values():
        total = zlib.crc32(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data, total)
    return total


# A tree in JSON: what it has no type for is an object with one key.


def _packed(value: Any, arrays: dict[str, np.ndarray], place: str) -> Any:
    """A tree as JSON has it; its arrays are put apart."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        while place in arrays:  # of the keys 1 and "1", or "a/b" and "b" in "a"
            place += "'"
        arrays[place] = value
        return {"array": place}
    if isinstance(value, dict):
        return {"dict": [[_packed(key, arrays, ""), _packed(one, arrays, f"{place}/{key}".lstrip("/"))]
                         for key, one in value.items()]}
    if isinstance(value, (list, tuple)):
        items = [_packed(one, arrays, f"{place}/{k}") for k, one in enumerate(value)]
        return items if isinstance(value, list) else {"tuple": items}
    raise DataError(f"a checkpoint cannot keep {place!r}, which is a {type(value).__name__}; numbers, text, arrays, "
                    "and lists, tuples and dicts of them can be kept")


def _unpacked(value: Any, arrays: dict[str, np.ndarray]) -> Any:
    if isinstance(value, list):
        return [_unpacked(one, arrays) for one in value]
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "array":
        return arrays[content]
    if kind == "tuple":
        return tuple(_unpacked(one, arrays) for one in content)
    return {_unpacked(key, arrays): _unpacked(one, arrays) for key, one in content}
