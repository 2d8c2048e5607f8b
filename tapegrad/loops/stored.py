"""Derived adjoints on disk: what one process derived and compiled, the next one loads.

A key is a hash of all that the code depends on: the normal form of the user's function (in which what it calls is
written out), the constants that it captures, the types, the wanted parameters, the rules of this folder, and, by the
name of the cache's folder, the package, numba and the processor. The files are those of `engine.cache`: renamed
atomically, with a checksum; a file that is damaged or a folder that cannot be written costs one warning.
"""

from __future__ import annotations

import hashlib
import pickle
import sys
import types
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ..engine.cache import read, write
from .intrinsics import canonical

__all__ = ["CompiledFiles", "key_of", "recall", "remember"]


@cache
def _surroundings() -> str:
    """Rules, interpreter and settings, hashed."""
    from numba.core import config

    settings: Any = config
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).resolve().parent.glob("*.py")):
        digest.update(path.read_bytes())
    digest.update(repr((sys.implementation.cache_tag, np.__version__, settings.OPT, settings.BOUNDSCHECK,
                        settings.DEBUGINFO_DEFAULT, settings.ENABLE_AVX)).encode())
    return digest.hexdigest()


def key_of(constants: dict[str, Any], *more: Any) -> str | None:
    """A hash of constants by name and of whatever else has a `repr`; None if a constant's value cannot be hashed."""
    digest = hashlib.sha256(_surroundings().encode())
    for name in sorted(constants):
        digest.update(f"\n{name} ".encode())
        if not name.startswith("tapegrad_") and not _add(digest.update, constants[name]):  # ours are of this folder
            return None
    digest.update(("\n" + repr(more)).encode())
    return digest.hexdigest()[:40]


def _add(update: Callable[[bytes], None], value: Any) -> bool:
    """Hash a value; False if that is not known to be all of it."""
    if isinstance(value, types.ModuleType):
        update(f"module {value.__name__}".encode())
    elif canonical(value):
        update(f"function {canonical(value)}".encode())
    elif isinstance(value, np.ndarray) and value.dtype.kind in "biufc":
        update(f"array {value.dtype.str} {value.shape} {value.flags.c_contiguous} {value.flags.f_contiguous} ".encode())
        update(value.tobytes())
    elif isinstance(value, (bool, int, float, complex, str, np.generic)):
        update(f"{type(value).__name__} {value!r}".encode())
    elif isinstance(value, tuple):
        update(f"{type(value).__module__}.{type(value).__qualname__} {len(value)} ".encode())
        return all(_add(update, part) for part in value)
    else:
        return False
    return True


def remember(key: str, value: Any) -> None:
    """Keep what was derived."""
    write(f"loop-{key}", "derived", pickle.dumps(value))


def recall(key: str) -> Any:
    """What was derived in some process; None if nothing was kept."""
    found = read(f"loop-{key}")
    return None if found is None else pickle.loads(found[1])


class CompiledFiles:
    """Where a numba dispatcher looks for machine code, and keeps it: its `_cache`."""

    cache_path = None

    def __init__(self, key: str) -> None:
        self._key = key

    def _file(self, signature: Any) -> str:
        return f"loop-{self._key}-{hashlib.sha256(str(signature).encode()).hexdigest()[:16]}"

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The compiled function for a signature, if it was kept."""
        found = read(self._file(sig))
        if found is None:
            return None
        from numba.core.compiler import CompileResult
        from numba.core.runtime import rtsys

        rtsys.initialize(target_context)
        return CompileResult._rebuild(target_context, *pickle.loads(found[1]))

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep a compiled function, unless it holds addresses of this process (as it does with large constants, and
        with functions that call each other)."""
        from numba.core.serialize import dumps

        if not data.library.has_dynamic_globals and not data.lifted:
            code = dumps(data._reduce())
            if b".numba.unresolved$" not in code:
                write(self._file(sig), "compiled", code)

    def enable(self) -> None:
        """As numba's."""

    disable = flush = enable
