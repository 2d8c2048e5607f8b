"""By what a run is known again: its data, settings, optimiser, schedules, and the recording's modules and constants."""

from __future__ import annotations

import hashlib
import math
import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ...engine.storage import Changes, array_at
from ...errors import DataError
from ...ops.table import OPS
from .source import Arrays, Source, held_arrays, mapped_by

#: of a memory-mapped array so many blocks, evenly spaced, are read
_BLOCKS = 256
_LONGEST = 20_000  # characters of a list of instructions; of a longer one the digest is kept
_WORDS = {
    "settings": "other settings", "data": "other data", "optimizer": "another optimiser",
    "schedules": "other schedules", "model": "another model or loss", "outside": "other frozen parameters or constants",
}


def begun_with(source: Source, optimizer: Any) -> dict[str, Any]:
    """Of a run: its data, its optimiser and the schedules."""
    schedules = {f"schedule {k}": {"class": type(s).__name__, "interval": s.interval,
                                   **({} if s.interval == "average" else plain(s.state_dict()))}
                 for k, s in enumerate(optimizer.schedulers)}
    return {"data": _of_source(source), "optimizer": of_optimizer(optimizer), "schedules": schedules}


def _of_source(source: Source) -> dict[str, Any]:
    """Of the rows: shapes, dtypes and digests of the arrays."""
    if isinstance(source, Arrays):
        return {f"argument {k}": _of_array(a) for k, a in enumerate(source.data, 1)}
    dataset = getattr(source, "dataset", source)
    return {"dataset": type(dataset).__name__, "rows": len(source),
            **{f"array {k}": _of_array(a) for k, a in enumerate(held_arrays(dataset), 1)}}


def _of_array(array: np.ndarray) -> dict[str, Any]:
    digest = hashlib.blake2b(digest_size=16)
    if mapped_by(array) is None:
        digest.update(np.ascontiguousarray(array).data.cast("B") if array.size else b"")
    else:
        for k in np.unique(np.linspace(0, len(array) - 1, _BLOCKS).astype(np.int64)).tolist():
            digest.update(np.ascontiguousarray(array[k:k + 1]).tobytes())
    return {"shape": list(array.shape), "dtype": array.dtype.name, "values": digest.hexdigest()}


def of_optimizer(optimizer: Any) -> dict[str, Any]:
    """Of an optimiser: its class, bounds, hyper-parameters and the shapes of its parameters."""
    groups = {f"group {g}": {**{key: plain(value) for key, value in group.items() if key != "params"},
                             "shapes of its parameters": [list(p.shape) for p in group["params"]]}
              for g, group in enumerate(optimizer.param_groups)}
    return {"class": type(optimizer).__name__, "dtype": optimizer.dtype.name, "max_grad_norm": optimizer.max_grad_norm,
            "max_grad_value": optimizer.max_grad_value, **groups}


def of_model(step: Any) -> dict[str, Any]:
    """Of a recording: its modules as they print, and its instructions."""
    tape, roots = step.program.tape, step.program.capture.roots
    names = " ".join(OPS[code].name for code in tape._opcode[:step.program.count].tolist())
    # without addresses, and what is said of parameters, some of which may be unfrozen later
    modules = [re.sub(r" at 0x[0-9a-f]+|( *#.*)", "", line) for root in roots for line in repr(root).splitlines()]
    return {"modules": modules,
            "instructions": names if len(names) < _LONGEST else hashlib.sha256(names.encode()).hexdigest()}


def digest_of(step: Any) -> int:
    """Of a recording: its modules as they print, as one number."""
    return zlib.crc32("\n".join(of_model(step)["modules"]).encode())


class Outside:
    """What a recording reads and no step changes: frozen parameters and constants.

    Attributes
    ----------
    sources : dict of str to Leaf or Buffer
    digests : dict of str to str
    """

    def __init__(self, sources: Iterable[Any]) -> None:
        Changes.settle()
        self.sources = {str(k): source for k, source in enumerate(sources)}
        self.digests = {k: hashlib.blake2b(bytes_of(s).data, digest_size=16).hexdigest()
                        for k, s in self.sources.items()}
        self._versions = {k: buffer_of(s).version for k, s in self.sources.items()}

    def changed(self) -> dict[str, np.ndarray]:
        """The bytes of those that somebody else has changed since, or may have."""
        Changes.settle()
        return {k: bytes_of(s) for k, s in self.sources.items()
                if buffer_of(s).unmarked or buffer_of(s).version != self._versions[k]}

    def count_as_changed(self, keys: Iterable[str]) -> None:
        """Have `changed` give these in any case."""
        self._versions.update(dict.fromkeys(keys, -2))


def outside(step: Any, kept: Iterable[Any]) -> Outside:
    """What a recording reads from outside, without what is in one of the buffers `kept`."""
    known = set(kept)
    return Outside([source for source in step.program.tape._externals if buffer_of(source) not in known])


def buffer_of(source: Any) -> Any:
    """The buffer that a tensor or a leaf has now; a buffer itself."""
    return getattr(source, "buffer", source)


def bytes_of(source: Any) -> np.ndarray:
    """The bytes of a leaf or a buffer: uint8, a view."""
    buffer = buffer_of(source)
    return array_at(buffer.address, (buffer.asked,), (1,), np.dtype(np.uint8), buffer)


def plain(value: Any) -> Any:
    """A value that can be compared with itself after it was kept."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, Mapping):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    return value


def check_same(name: str, saved: Mapping[str, Any], here: Mapping[str, Any]) -> None:
    """Raise `DataError` at the first difference between a checkpoint's fingerprints and the run's."""
    for key, ours in here.items():
        if (found := difference(saved[key], ours, "")) is not None:
            raise DataError(f"{name}: its checkpoint is of a run with {_WORDS[key]}: {found}; go on with what it was "
                            "begun with, or begin anew in another folder")


def difference(there: Any, here: Any, place: str, words: tuple[str, str] = (" there", " here")) -> str | None:
    """The first difference of two trees, in words."""
    left, right = words
    if isinstance(there, dict) and isinstance(here, dict):
        for key in dict.fromkeys([*there, *here]):
            at = f"{place}, {key}" if place else str(key)
            if key not in here or key not in there:
                return f"{at} is{left if key in there else right} only"
            if (found := difference(there[key], here[key], at, words)) is not None:
                return found
        return None
    if isinstance(there, Sequence) and isinstance(here, Sequence) and not isinstance(there, str):
        there, here = list(there), list(here)
        if len(there) == len(here) and any(isinstance(a, (str, list)) and a != b for a, b in zip(there, here)):
            k, a, b = next((k, a, b) for k, (a, b) in enumerate(zip(there, here)) if a != b)
            return f"{place}, number {k}: {_shown(a)}{left}, {_shown(b)}{right}"
    if there == here or all(isinstance(v, float) and math.isnan(v) for v in (there, here)):
        return None
    if place.endswith("values") or len(str(there)) > 200:
        return f"{place.removesuffix(', values')} has other values"
    return f"{place} is {_shown(there)}{left}, {_shown(here)}{right}"


def _shown(value: Any) -> str:
    return value.strip() if isinstance(value, str) else repr(value)
