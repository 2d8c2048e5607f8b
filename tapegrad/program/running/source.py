"""Where the rows of a run come from: arrays that the compiled loop gathers from, or chunks prefetched by a thread."""

from __future__ import annotations

import mmap
import os
import sys
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, NamedTuple, Protocol

import numpy as np

from ...engine.locks import PATIENCE
from ...engine.random import generator, restore_shared_streams, shared_streams
from ...engine.storage import address_of
from ...errors import ArgumentError, ShapeError
from ..ranks.communicator import Ranks
from ..ranks.reduction import Share, share_of
from .arguments import as_input

#: about how many bytes a chunk has, and how many chunks an epoch has at least
_CHUNK_BYTES, _CHUNKS = 8 << 20, 8
#: about how many bytes the system maps when a row of a mapped file is read
_AROUND = 64 << 10


class Batches(NamedTuple):
    """Batches of one size: which rows, how many a batch, how many batches; and of which batches they are a share."""

    order: np.ndarray
    size: int
    steps: int
    share: Share | None = None

    @property
    def whole(self) -> int:
        """The rows of a batch, with those of all ranks."""
        return self.size if self.share is None else self.share.of * self.micro

    @property
    def name(self) -> str:
        """By which a checkpoint knows batches of a size, whose recordings depend on it; the rows come first."""
        return str(self.size) if self.share is None else f"{self.whole}, of which {self.size}"

    @property
    def micro(self) -> int:
        """The micro-batches of a batch of which this is a share."""
        return 1 if self.share is None else self.size // max(self.share.rows, 1)

    def shared(self, ranks: Ranks, micro: int) -> Batches:
        """A rank's share of each of the `micro` micro-batches of every batch.

        A rank without rows runs on one of another, and counts for nothing.
        """
        share = share_of(ranks, self.size // micro, self.order)
        first = min(share.first, share.of - 1)
        order = self.order.reshape(-1, share.of)[:, first:first + max(share.rows, 1)]
        return Batches(np.ascontiguousarray(order).reshape(-1), order.shape[1] * micro, self.steps, share)


class Stretch(NamedTuple):
    """Consecutive batches whose rows lie in arrays: batches `first` to `last`, rows `order` of `arrays`.

    `place` has the source give the same stretch once more.
    """

    batches: Batches
    first: int
    last: int
    arrays: list[np.ndarray]
    order: np.ndarray
    place: Any = None


class Source(Protocol):
    """Supplies the rows of an epoch, stretch by stretch.

    Attributes
    ----------
    kept : bool
        Whether a checkpoint is kept of the run, with places that have all that rows are drawn by.
    """

    kept: bool

    def __len__(self) -> int:
        """Number of rows."""

    def stretches(self, parts: Sequence[Batches], done: int = 0, place: Any = None) -> Generator[Stretch, None, None]:
        """The batches of an epoch, in order.

        Where some are `done` already, from the stretch on that holds the next (an empty one after the last of a size);
        it was given with `place`.
        """

    def settle(self) -> None:
        """Wait until no thread is drawing: what it draws would look as if a loss that is being recorded drew it."""

    def place(self) -> Any:
        """A place between two epochs."""


class Arrays:
    """Arrays from which the compiled loop gathers rows: one stretch for all batches of a size.

    Parameters
    ----------
    data : list of ndarray
        Contiguous, of equal length, in the recording's dtypes.
    """

    def __init__(self, data: list[np.ndarray]) -> None:
        self.data = data
        self.files = Files(data)
        self.kept = False

    def __len__(self) -> int:
        return len(self.data[0])

    def stretches(self, parts: Sequence[Batches], done: int = 0, place: Any = None) -> Generator[Stretch, None, None]:
        """The batches of an epoch, in order."""
        for part in parts:
            at_once = min(self.files.rows // part.size or 1, part.steps)
            for first in range(done, part.steps, at_once) if done < part.steps else [done]:
                last = min(first + at_once, part.steps)
                yield Stretch(part, first, last, self.data, part.order[first * part.size:last * part.size])
                self.files.release()
            done = 0

    def settle(self) -> None:
        """Nothing is drawn."""

    def place(self) -> Any:
        """Nothing: the order says all."""
        return None


class Files:
    """The memory-mapped files behind arrays, with a limit on their resident pages: a quarter of memory.

    The system evicts pages when memory runs short, but until then a process seems to grow by whole files. To map the
    pages of a row again takes 2 to 5 microseconds, so files that are smaller altogether stay mapped.

    Parameters
    ----------
    arrays : sequence of ndarray

    Attributes
    ----------
    rows : int
        Number of rows that may be read between two calls of `release`.
    """

    def __init__(self, arrays: Sequence[np.ndarray]) -> None:
        # a private copy ("c") holds writes that no file has
        mapped = [(a, m.base) for a in arrays if (m := mapped_by(a)) is not None and m.mode != "c"]
        most = mapped_limit()
        if sum(a.nbytes for a, _ in mapped) <= most:
            mapped = []
        self._files: list[Any] = [file for _, file in mapped]
        # random access: each row brings its own pages and those around it
        self.rows = most // sum(a.nbytes // max(len(a), 1) + _AROUND for a, _ in mapped) if mapped else sys.maxsize

    def release(self) -> None:
        """Unmap the pages that were read; they stay in the file and in the page cache."""
        for file in self._files:
            file.madvise(mmap.MADV_DONTNEED)


def mapped_limit() -> int:
    """Limit of resident bytes of mapped files: a quarter of the machine's memory, if known."""
    if not (hasattr(os, "sysconf") and hasattr(mmap, "MADV_DONTNEED")):
        return sys.maxsize
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 4


class Chunks:
    """Rows prefetched in chunks of batches: a thread fetches the next chunk while the loop runs over this one.

    Parameters
    ----------
    dataset : object
        With a length, ``rows(index, rng)`` and ``by_batch`` (see `tapegrad.data.Dataset`).
    dtype : dtype
        Of the float arrays that the loop reads.
    seed : int, optional
        Of the dataset's generator.
    """

    def __init__(self, dataset: Any, dtype: np.dtype, seed: int | None = None) -> None:
        self.dataset, self.dtype = dataset, dtype
        self.files = Files(held_arrays(dataset))
        self._read = 0
        self.kept = False
        self.rng = drawing_generator(seed)
        self._batch_bytes = 0
        self._coming: Future[Stretch] | None = None

    def __len__(self) -> int:
        return len(self.dataset)

    def stretches(self, parts: Sequence[Batches], done: int = 0, place: Any = None) -> Generator[Stretch, None, None]:
        """The batches of an epoch, in order."""
        thread, prepared = ThreadPoolExecutor(1, "tapegrad-chunks"), None
        first, last = 0, 0
        if place is not None:
            first, last = place.get("stretch", (0, 0))
            self.rng.bit_generator.state = place["generator"]
            if "shared" in place:
                restore_shared_streams(place["shared"])
            if "dataset" in place:
                self.dataset.load_state_dict(place["dataset"])
        try:
            for part in parts:
                while first < part.steps:
                    last = last or min(first + self._batches_at_once(part), part.steps)
                    self._coming = coming = thread.submit(self._chunk, part, first, last)
                    if prepared is not None:
                        yield prepared.result()
                    prepared, first, last = coming, last, 0
                first = 0
            if prepared is not None:
                yield prepared.result()
        finally:  # also if the run is aborted
            thread.shutdown(cancel_futures=True)

    def _batches_at_once(self, part: Batches) -> int:
        if not self._batch_bytes:  # not known yet
            return 1
        return max(1, min(_CHUNK_BYTES // self._batch_bytes, part.steps // _CHUNKS))

    def settle(self) -> None:
        """Wait until no thread is drawing, for some seconds at most: it may itself wait for what is being recorded."""
        if self._coming is not None:
            wait([self._coming], PATIENCE)

    def place(self) -> Any:
        """Where the generators are from which rows are drawn, and the dataset's own state if it has one."""
        place = {"generator": dict(self.rng.bit_generator.state)}
        if self.kept:
            place["shared"] = shared_streams()
            if hasattr(self.dataset, "state_dict") and hasattr(self.dataset, "load_state_dict"):
                place["dataset"] = copied(self.dataset.state_dict())
        return place

    def _chunk(self, part: Batches, first: int, last: int) -> Stretch:
        place = None if first else {"stretch": (first, last), **self.place()}  # a run goes on from a part's beginning
        index, size = part.order[first * part.size:last * part.size], part.size
        if self.dataset.by_batch:
            batches = [self._batch(part, k) for k in range(first, last)]
            check_alike(batches)
            arrays = batches[0] if len(batches) == 1 else [np.concatenate(of_input) for of_input in zip(*batches)]
        else:
            arrays = self._fetch(index)
        self._batch_bytes = max(1, sum(a.nbytes for a in arrays) * size // len(index))
        self._read += len(index)
        if self._read > self.files.rows:
            self.files.release()
            self._read = 0
        return Stretch(part, first, last, arrays, np.arange(len(index)), place)

    def _batch(self, part: Batches, k: int) -> list[np.ndarray]:
        """Batch number `k`. What is drawn for it is drawn for the rows of all ranks, so that all draw the same."""
        share, size = part.share, part.whole
        if share is None or share.order is None:
            return self._fetch(part.order[k * size:(k + 1) * size])
        first, rows = min(share.first, share.of - 1), max(share.rows, 1)
        return [np.ascontiguousarray(a.reshape(part.micro, share.of, *a.shape[1:])[:, first:first + rows]
                                     .reshape(part.size, *a.shape[1:]))
                for a in self._fetch(share.order[k * size:(k + 1) * size])]

    def _fetch(self, index: np.ndarray) -> list[np.ndarray]:
        arrays = [as_input(a) for a in self.dataset.rows(index, self.rng)]
        for a in arrays:
            if a.ndim == 0 or len(a) != len(index):
                raise ShapeError(f"run: {type(self.dataset).__name__} gave an array of shape {list(a.shape)} for "
                                 f"{len(index)} rows; the rows run along axis 0")
        return [_contiguous(a, self.dtype) for a in arrays]


def held_arrays(dataset: Any) -> list[np.ndarray]:
    """The arrays of a dataset, also those inside its parts."""
    held = getattr(dataset, "arrays", ())
    return [part for a in (held if isinstance(held, (tuple, list)) else ()) for part in getattr(a, "parts", [a])]


class _Rows:
    """A dataset of the rows of arrays, which are converted as they are read."""

    by_batch = False

    def __init__(self, arrays: Sequence[np.ndarray]) -> None:
        self.arrays = arrays

    def __len__(self) -> int:
        return len(self.arrays[0])

    def rows(self, index: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        """The rows of these numbers."""
        return tuple(a[index] for a in self.arrays)


def source_of(given: Sequence[Any], dtype: np.dtype, seed: int | None) -> Source:
    """The arguments of `TrainStep.run` as a source of rows.

    Arrays in memory are converted once, whole. Memory-mapped ones are gathered in place if they are contiguous and of
    the recording's dtype, else converted chunk by chunk, as are rows of a dataset.
    """
    if len(given) == 1 and hasattr(given[0], "by_batch"):
        dataset = given[0]
        if not len(dataset):
            raise ArgumentError(f"run: the {type(dataset).__name__} is empty")
        if dataset.resident is None:
            if seed is None and dataset.by_batch:
                seed = int(generator().integers(1 << 63))
            return Chunks(dataset, dtype, seed)
        given = dataset.resident
    elif any(hasattr(a, "by_batch") for a in given):
        raise ArgumentError("run takes one dataset alone, or arrays; ArrayDataset(x, y) holds several arrays")
    if not given:
        raise ArgumentError("run needs at least one array")
    views = [np.asarray(a) if mapped_by(a) is not None else as_input(a) for a in given]
    if None in (lengths := {a.shape[0] if a.ndim else None for a in views}) or len(lengths) != 1:
        raise ShapeError("run: arrays must have the same length along axis 0; shapes are "
                         + ", ".join(str(list(a.shape)) for a in views))
    if not len(views[0]):
        raise ArgumentError("run: the arrays are empty")
    if any(mapped_by(a) is not None and not _as_recorded(a, dtype) for a in views):
        return Chunks(_Rows(views), dtype)
    return Arrays([_contiguous(a, dtype) for a in views])


def drawing_generator(seed: int | None) -> np.random.Generator:
    """The generator of a dataset's draws in a run with this seed, independent of the shuffling."""
    return np.random.default_rng(seed).spawn(1)[0]


def mapped_by(array: Any) -> np.memmap | None:
    """The memory map that an array is, or is a view of."""
    while isinstance(array, np.ndarray):
        if isinstance(array, np.memmap) and isinstance(array.base, mmap.mmap):
            return array
        array = array.base
    return None


def _as_recorded(array: np.ndarray, dtype: np.dtype) -> bool:
    """Whether the compiled loop can read the array as it is."""
    wanted = dtype if array.dtype.kind == "f" else np.dtype(bool) if array.dtype.kind == "b" else np.dtype(np.int64)
    return array.dtype == wanted and array.flags.c_contiguous


def _contiguous(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    return np.ascontiguousarray(array, dtype if array.dtype.kind == "f" else array.dtype)


def check_alike(batches: Sequence[Sequence[np.ndarray]]) -> None:
    """Raise unless all batches have rows of the same shapes and dtypes."""
    kinds = [[(a.shape[1:], a.dtype) for a in batch] for batch in batches]
    for other in kinds[1:]:
        if other != kinds[0]:
            one, two = (", ".join(f"{dtype}{list(shape)}" for shape, dtype in kind) for kind in (kinds[0], other))
            raise ShapeError(f"run: the rows of a dataset must be of one shape; it gave {one} and then {two}")


def copied(value: Any) -> Any:
    """A tree whose lists, dicts and arrays are its own."""
    if isinstance(value, dict):
        return {key: copied(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(copied, value)) if not hasattr(value, "_fields") else tuple(map(copied, value))
    if isinstance(value, np.ndarray):
        return value.copy()
    return value.numpy() if hasattr(value, "numpy") else value


def table_of(arrays: Sequence[np.ndarray], inputs: Sequence[np.ndarray]) -> np.ndarray:
    """For each input of the loop: address of the rows, where they go, bytes of one."""
    return np.array([[address_of(a), address_of(t), a.nbytes // max(len(a), 1)] for a, t in zip(arrays, inputs)],
                    np.int64)
