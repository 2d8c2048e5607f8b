"""The cache of machine code: one object file a kernel and dtype, which a later process gives to LLVM.

Numba's own cache is not used: it checks one source file only, and cannot key closures. The folder's name contains the
version, a hash of *all* sources of the package, the versions of numba and llvmlite and the CPU, so that an edit or an
upgrade never runs stale code. Files are renamed atomically and carry a checksum, so that any number of processes may
compile at once. A folder that cannot be used costs one warning, never an error.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
import warnings
from importlib import metadata
from pathlib import Path

from .._version import __version__
from . import processor

__all__ = ["cache_folder", "read", "write"]


def _sources_hash() -> str:
    digest = hashlib.sha256()
    root = Path(__file__).resolve().parent.parent
    files = [os.path.join(folder, name) for folder, _, names in os.walk(root) for name in names if name.endswith(".py")]
    for file in sorted(files):
        digest.update(file[len(str(root)):].encode())
        with open(file, "rb", buffering=0) as source:
            digest.update(source.read())
    return digest.hexdigest()[:16]


def _user_cache() -> Path:
    chosen = os.environ.get("TAPEGRAD_CACHE_DIR")
    if chosen:
        return Path(chosen)
    try:
        home = Path.home()
    except RuntimeError:  # no home directory: an unwritable folder, which costs the one warning
        home = Path(os.devnull)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", home)) / "tapegrad" / "cache"
    if sys.platform == "darwin":
        return home / "Library" / "Caches" / "tapegrad"
    return Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache") / "tapegrad"


_folder: Path | None = None


def cache_folder() -> Path:
    """The folder of this version's machine code (it may not exist yet)."""
    global _folder
    if _folder is None:
        compilers = f"numba{metadata.version('numba')}-llvmlite{metadata.version('llvmlite')}"
        cpu_hash = hashlib.sha256(f"{processor.NAME} {processor.FEATURES}".encode()).hexdigest()[:8]
        _folder = _user_cache() / f"{__version__}-{_sources_hash()}-{compilers}-{cpu_hash}"
    return _folder


_warned = False


def _warn_once(message: str) -> None:
    global _warned
    if not _warned:
        _warned = True
        warnings.warn(message, RuntimeWarning, stacklevel=2)


def read(file: str) -> tuple[str, bytes] | None:
    """Symbol and object code in a file, if it exists and is intact."""
    path = cache_folder() / file
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):  # reported by `write`, with the remedy
        return None
    except OSError as error:
        _warn_once(f"tapegrad cannot read its cache of compiled code ({error}); it compiles anew")
        return None
    checksum, _, rest = content.partition(b"\n")
    symbol, _, object_code = rest.partition(b"\n")
    if hashlib.sha256(rest).hexdigest().encode() != checksum:
        _warn_once(f"tapegrad's cache file {path} is damaged; it is compiled anew")
        return None
    return symbol.decode(), object_code


def write(file: str, symbol: str, object_code: bytes) -> None:
    """Write a symbol and its object code to a file, atomically."""
    folder = cache_folder()
    rest = symbol.encode() + b"\n" + object_code
    content = hashlib.sha256(rest).hexdigest().encode() + b"\n" + rest
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=folder, suffix=".part")
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        os.replace(temporary, folder / file)
    except OSError as error:
        _warn_once(f"tapegrad cannot keep compiled code ({error}); every process will compile anew. "
                   "Set TAPEGRAD_CACHE_DIR to a folder that can be written")
