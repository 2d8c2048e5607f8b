"""State dicts on disk, in the safetensors format.

The format is a JSON header and the raw arrays. Reading it cannot run code, and PyTorch, JAX and others read and write
it, so that parameters travel both ways by name.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from ..engine.replacing import replacing
from ..errors import DataError, MissingExtraError

__all__ = ["load", "load_metadata", "save"]

#: types of the format that are also written; the key is NumPy's name
_TYPES = {
    "float64": "F64", "float32": "F32", "float16": "F16", "bool": "BOOL",
    "int64": "I64", "int32": "I32", "int16": "I16", "int8": "I8",
    "uint64": "U64", "uint32": "U32", "uint16": "U16", "uint8": "U8",
}  # fmt: skip
_METADATA = "__metadata__"
_DTYPES = {code: np.dtype(name).newbyteorder("<") for name, code in _TYPES.items()}


def save(
    state_dict: Mapping[str, Any], path: str | os.PathLike[str], *, metadata: Mapping[str, str] | None = None
) -> None:
    """Write named arrays to a safetensors file.

    The write is atomic: to a temporary file, which is flushed to the disk and then renamed.

    Parameters
    ----------
    state_dict : mapping of str to Tensor or array_like
        For example ``model.state_dict()``. Shapes of any rank, empty ones too; float, integer and boolean data. `load`
        returns them in the same order.
    path : path_like
        Where to write; a file that is there is replaced.
    metadata : mapping of str to str, optional
        Texts to store with the arrays; see `load_metadata`.

    Raises
    ------
    DataError
        A name or metadata entry is not text, a name is ``__metadata__``, or an array has a type that the format
        cannot hold.
    MissingExtraError
        The safetensors library is not installed (``pip install 'tapegrad[io]'``).
    OSError
        The file cannot be written.

    Examples
    --------
    >>> tg.save(model.state_dict(), "model.safetensors")            # doctest: +SKIP
    """
    library = _safetensors()
    arrays = {_checked_name(name): _storable(name, value) for name, value in state_dict.items()}
    texts = dict(metadata or {})
    for key, text in texts.items():
        if not (isinstance(key, str) and isinstance(text, str)):
            raise DataError(f"metadata must map text to text; {key!r} maps to {type(text).__name__}")

    target = Path(path)
    try:
        with replacing(target) as part:
            # created here first for the operating system's own error where it cannot be, and for its permissions: the
            # library makes its files readable to their owner only
            part.open("xb").close()
            mode = (target if target.exists() else part).stat().st_mode
            library.numpy.save_file(arrays, part, metadata=texts or None)
            _order_header(part, list(arrays))
            part.chmod(stat.S_IMODE(mode))
            _flush(part, os.O_RDWR)
        with suppress(OSError):  # where folders cannot be opened or flushed; the content is on the disk already
            _flush(target.parent, os.O_RDONLY)
    except library.SafetensorError as error:
        code = re.search(r"\(os error (\d+)\)", str(error))
        if code is None:
            raise
        raise OSError(int(code[1]), os.strerror(int(code[1])), str(target)) from error


def load(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Read the arrays of a safetensors file.

    Parameters
    ----------
    path : path_like
        A file written by `save`, or by the safetensors library from PyTorch, JAX or others.

    Returns
    -------
    dict of str to ndarray
        In the order in which they were saved, or in which another library's file lists them; each array owns its
        memory. bfloat16, which NumPy does not have, becomes float32 (exactly).

    Raises
    ------
    DataError
        The file is not in the safetensors format, or holds a type that NumPy cannot represent.
    MissingExtraError
        The safetensors library is not installed (``pip install 'tapegrad[io]'``).
    OSError
        The file cannot be read.

    Examples
    --------
    >>> model.load_state_dict(tg.load("model.safetensors"))         # doctest: +SKIP
    """
    with _opened(path) as file:
        names = [name for name in _header(path) if name != _METADATA]
        codes = {name: file.get_slice(name).get_dtype() for name in names}
        foreign = [name for name, code in codes.items() if code not in _DTYPES]
        if not foreign:
            return {name: np.array(file.get_tensor(name)) for name in codes}
    unreadable = [name for name in foreign if codes[name] != "BF16"]
    if unreadable:
        name = unreadable[0]
        raise DataError(f"{os.fspath(path)}: {name!r} is of type {codes[name]}, which NumPy cannot represent")
    entries = dict(_safetensors().deserialize(Path(path).read_bytes()))
    return {name: _decoded(entries[name]) for name in names}


def load_metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """Read the texts stored with the arrays of a safetensors file.

    Parameters
    ----------
    path : path_like
        A file in the safetensors format.

    Returns
    -------
    dict of str to str
        Empty when the file has none.

    Raises
    ------
    DataError, MissingExtraError, OSError
        As `load` does.
    """
    with _opened(path) as file:
        return dict(file.metadata() or {})


def _flush(path: Path, flags: int) -> None:
    """Have a file, or the names in a folder, reach the disk."""
    handle = os.open(path, flags)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _header(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The header: 8 bytes with its length, then as JSON each array's type, shape and offsets."""
    with open(path, "rb") as file:
        return json.loads(file.read(int.from_bytes(file.read(8), "little")))


def _order_header(path: Path, names: list[str]) -> None:
    """Reorder the header's entries; the library sorts them, as it must sort their bytes."""
    header = _header(path)
    ordered = {name: header[name] for name in ([_METADATA] if _METADATA in header else []) + names}
    text = json.dumps(ordered, ensure_ascii=False, separators=(",", ":")).encode()
    with open(path, "r+b") as file:
        length = int.from_bytes(file.read(8), "little")
        if len(text) > length:
            raise DataError(f"{path}: the header that safetensors wrote has no room for its entries in another order")
        file.write(text.ljust(length))


def _safetensors() -> Any:
    try:
        import safetensors
        import safetensors.numpy
    except ImportError as error:
        raise MissingExtraError(
            "reading and writing models needs the safetensors library: pip install 'tapegrad[io]'"
        ) from error
    return safetensors


def _opened(path: str | os.PathLike[str]) -> Any:
    library = _safetensors()
    # opened here first for the operating system's own error: no such file, a folder, no permission
    with open(path, "rb"):
        pass
    try:
        return library.safe_open(os.fspath(path), framework="numpy")
    except library.SafetensorError as error:
        raise DataError(f"{os.fspath(path)}: not a safetensors file ({error})") from error


def _checked_name(name: object) -> str:
    if not isinstance(name, str):
        raise DataError(f"names in a state dict must be text; got {name!r} ({type(name).__name__})")
    if name == _METADATA:
        raise DataError(f"no array can be saved as {name!r}, for the format keeps its metadata there; rename it")
    return name


def _storable(name: str, value: Any) -> np.ndarray:
    """The value as a C-contiguous little-endian array (the library writes its memory as it lies)."""
    array = np.asarray(value.numpy() if hasattr(value, "numpy") else value)
    if array.dtype.name not in _TYPES:
        raise DataError(f"cannot save {name!r}: type {array.dtype} is none of {', '.join(_TYPES)}")
    return np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C")


def _decoded(entry: Mapping[str, Any]) -> np.ndarray:
    if entry["dtype"] == "BF16":
        # bfloat16 is the upper half of a float32
        bits = np.frombuffer(entry["data"], dtype="<u2").astype(np.uint32) << np.uint32(16)
        return bits.view(np.float32).reshape(entry["shape"])
    dtype = _DTYPES[entry["dtype"]]
    return np.frombuffer(entry["data"], dtype=dtype).reshape(entry["shape"]).astype(dtype.newbyteorder("="))
