"""The user's line: the innermost frame outside of the package and of installed libraries."""

from __future__ import annotations

import os
import sys
from typing import Any

_PACKAGE = os.path.join(os.path.dirname(os.path.dirname(__file__)), "")
_STANDARD = os.path.join(os.path.dirname(os.__file__), "")
_INSTALLED = f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}"
_OWN, _LIBRARY, _USER = range(3)
_owners: dict[str, int] = {}  # of files that were looked up


def is_own(file: str) -> bool:
    """Whether a file of code is the package's."""
    return file.startswith(_PACKAGE)


def _is_library(file: str) -> bool:
    """Whether a file belongs to Python or to an installed library, which may call for a user (NumPy)."""
    return file.startswith((_STANDARD, "<frozen", "<__array_function__")) or any(part in file for part in _INSTALLED)


def _owner(file: str) -> int:
    """The owner of a file."""
    owner = _owners[file] = _OWN if is_own(file) else _LIBRARY if _is_library(file) else _USER
    return owner


def user_frame() -> tuple[str, int]:
    """File and line of the innermost caller outside of the package and the libraries, if there is one."""
    frame: Any = sys._getframe(1)
    library = None
    while frame is not None:
        file = frame.f_code.co_filename
        owner = _owners[file] if file in _owners else _owner(file)
        if owner == _USER:
            return file, frame.f_lineno
        if owner == _LIBRARY and library is None:
            library = file, frame.f_lineno
        frame = frame.f_back
    return library or ("?", 0)


def is_called_by(module: str, name: str) -> bool:
    """Whether the package was entered from function `name` of a library's module or of one within it."""
    frame: Any = sys._getframe(1)
    while frame is not None and is_own(frame.f_code.co_filename):
        frame = frame.f_back
    within = str(frame.f_globals.get("__name__")) if frame is not None else ""
    return bool(frame) and frame.f_code.co_name == name and f"{within}.".startswith(f"{module}.")


def user_line() -> str:
    """`user_frame`, formatted for messages."""
    file, line = user_frame()
    return f"{file}:{line}"
