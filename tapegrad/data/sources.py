"""Where tables come from: files by name and by pattern, standard input, compressed ones, other encodings."""

from __future__ import annotations

import bz2
import glob
import gzip
import lzma
import os
import shutil
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from ..engine.lazy import lazy
from ..errors import DataError, MissingExtraError

__all__ = ["STORE", "Source", "sources"]

#: what the name of a file's store ends in
STORE = ".tapegrad"
_Path = str | os.PathLike[str]
#: what compressed files begin with, and the name of the format
_BEGINNINGS = (
    (b"\x1f\x8b", "gzip"), (b"BZh", "bzip2"), (b"\xfd7zXZ\x00", "xz"), (b"\x28\xb5\x2f\xfd", "zstandard"),
    (b"\x04\x22\x4d\x18", "lz4"),
)  # fmt: skip
_ENDINGS = {".gz": "gzip", ".bz2": "bzip2", ".xz": "xz", ".zst": "zstandard", ".lz4": "lz4"}
_DAMAGE = (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, ValueError)


class Source:
    """A file of a table, or standard input, which is kept in a temporary file so that it can be read twice.

    Parameters
    ----------
    path : path_like
        ``-`` is standard input.

    Attributes
    ----------
    name : str
        As errors name it.
    suffix : str
        Of the name without that of a compression, in small letters, such as ".csv".
    compression : str
        "gzip", "bzip2", "xz", "zstandard", "lz4", "zip", or "" for none.

    Raises
    ------
    OSError
        The file cannot be read.
    """

    def __init__(self, path: _Path) -> None:
        self.path: Path | None = None if os.fspath(path) == "-" else Path(path)
        self.name = os.fspath(path) if self.path is not None else "standard input"
        self._kept: IO[bytes] | None = None
        if self.path is None:
            self._kept = tempfile.TemporaryFile()
            shutil.copyfileobj(sys.stdin.buffer, self._kept)
            self._kept.flush()
        with self._raw() as file:
            beginning = file.read(8)
        suffixes = [] if self.path is None else [suffix.lower() for suffix in self.path.suffixes[-2:]]
        self.compression = next((name for start, name in _BEGINNINGS if beginning.startswith(start)), "")
        if suffixes and suffixes[-1] in _ENDINGS:
            self.compression = _ENDINGS[suffixes.pop()]
        self.suffix = suffixes[-1] if suffixes else ""
        if beginning.startswith(b"PK\x03\x04") and self.suffix not in (".npz",):
            self.compression, self.suffix = "zip", self._member_suffix

    def _raw(self) -> IO[bytes]:
        if self._kept is not None:
            again = os.fdopen(os.dup(self._kept.fileno()), "rb")
            again.seek(0)
            return again
        assert self.path is not None
        return open(self.path, "rb")

    @lazy
    def _member(self) -> str:
        """The one file of text in a zip archive."""
        with self._raw() as file:
            try:
                names = [name for name in zipfile.ZipFile(file).namelist() if not name.endswith("/")]
            except zipfile.BadZipFile:
                names = []
        if len(names) == 1:
            return names[0]
        what = f"a zip archive of {len(names)} files or a spreadsheet" if names else "a zip archive or spreadsheet"
        raise DataError(f"{self.name}: {what}, not text; export it as CSV")

    @property
    def _member_suffix(self) -> str:
        return Path(self._member).suffix.lower()

    def open(self) -> IO[bytes]:
        """The content from its beginning, decompressed; reading it may raise what `read` explains."""
        raw = self._raw()
        if not self.compression:
            return raw
        if self.compression == "zip":
            return zipfile.ZipFile(raw).open(self._member)
        if self.compression in ("zstandard", "lz4"):
            return self._by_arrow(raw)
        openers: dict[str, Any] = {"gzip": gzip.open, "bzip2": bz2.open, "xz": lzma.open}
        return openers[self.compression](raw)

    def _by_arrow(self, raw: IO[bytes]) -> Any:
        try:
            import pyarrow
        except ImportError as error:
            raise MissingExtraError(
                f"{self.name}: files compressed with {self.compression} need pyarrow: pip install 'tapegrad[cli]'"
            ) from error
        return pyarrow.CompressedInputStream(raw, "zstd" if self.compression == "zstandard" else "lz4")

    def read(self, content: Callable[[IO[bytes]], Any]) -> Any:
        """What a function makes of the content; a `DataError` where it cannot be decompressed."""
        with self.open() as file, self._explained():
            return content(file)

    def each(self, content: Callable[[IO[bytes]], Iterator[Any]]) -> Iterator[Any]:
        """What a generator makes of the content; a `DataError` where it cannot be decompressed."""
        with self.open() as file, self._explained():
            yield from content(file)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except DataError:
            raise
        except _DAMAGE as error:
            if not self.compression:
                raise
            raise DataError(f"{self.name}: not a {self.compression} file, or a damaged one ({error})") from error


def sources(paths: _Path | Sequence[_Path]) -> list[Source]:
    """The files that some names and patterns with ``*``, ``?`` and ``[...]`` name.

    A name that is a file's is that file, whatever brackets it holds. A pattern leaves out the stores of other files.

    Raises
    ------
    DataError
        No file fits a pattern.
    OSError
        A file cannot be read.
    """
    if isinstance(paths, (str, os.PathLike)):
        paths = [paths]
    found: list[Source] = []
    for path in paths:
        text = os.fspath(path)
        if os.path.exists(text) or text == "-" or not glob.has_magic(text):
            found.append(Source(path))
            continue
        matches = [match for match in sorted(glob.glob(text, recursive=True)) if not _is_store(match)]
        if not matches:
            raise DataError(f"{text}: no file fits this pattern")
        found += [Source(match) for match in matches if os.path.isfile(match)]
    return found


def _is_store(name: str) -> bool:
    return name.endswith(STORE) and os.path.isfile(name.removesuffix(STORE))
