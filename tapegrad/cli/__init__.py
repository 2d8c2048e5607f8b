"""The command line: ``tapegrad train``, ``tapegrad sweep``, ``tapegrad predict``, ``tapegrad show``,
``tapegrad profile``, ``tapegrad example``, ``tapegrad explain``, ``tapegrad bench``."""

from __future__ import annotations

import sys

__all__ = ["main"]

_LIBRARIES = ("typer", "rich", "click", "shellingham", "safetensors")


def main() -> None:
    """Run the command that the process's arguments name, and exit.

    The exit status is 0, 2 after bad input (with one line on standard error that says what and where), 1 where
    training failed, 130 after Ctrl-C.
    """
    try:
        from .app import app
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in _LIBRARIES:
            raise
        print(f"tapegrad: the command line needs {error.name}: pip install 'tapegrad[cli]'", file=sys.stderr)
        sys.exit(2)
    app(prog_name="tapegrad")
