"""The picture of an explanation."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from ..errors import ArgumentError
from .drawing import graphviz
from .drawing.sketch import sketch

__all__ = ["draw"]

_FORMATS = (".svg", ".pdf", ".png")


def draw(explanation: Mapping[str, Any], path: str | PathLike[str], unfold: bool = False) -> None:
    """Draw the graph of an explanation, by graphviz's ``dot`` if that command is there, else by matplotlib.

    Values are blue, adjoints red, local derivatives green, on the edges. Scalars have their value above and their
    adjoint below; tensors their shape, and a histogram and the norm of either. Modules are frames.

    Parameters
    ----------
    explanation : mapping
        As `Explanation.to_dict` gives it.
    path : path
        File to write; its suffix gives the format (svg, pdf, png).
    unfold : bool, default False
        Draw every node. Else a graph of more than 60 nodes is drawn with one box for what a module computes.

    Raises
    ------
    ArgumentError
        Another suffix.
    MissingExtraError
        Without ``dot``, matplotlib or networkx (``pip install 'tapegrad[viz]'``).
    """
    path = Path(path)
    if path.suffix.lower() not in _FORMATS:
        raise ArgumentError(f"plot: the name of the file must end in .svg, .pdf or .png, not {path.name!r}")
    found = sketch(explanation, unfold)
    if not graphviz.drawn(found, path):
        from .drawing import canvas

        canvas.draw(found, path)
