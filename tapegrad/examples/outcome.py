"""The result of an example: a table, numbers, and a picture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from os import PathLike
from typing import Any

from ..errors import MissingExtraError

__all__ = ["Outcome", "titled"]


@dataclass
class Outcome:
    """The result of an example.

    Attributes
    ----------
    title : str
    rows : list of (str, str)
        The final table.
    numbers : dict of str to float
        Measured quantities.
    draw : callable
        Draws the picture on a matplotlib figure.
    text : str
        What the model wrote, if it writes.
    """

    title: str
    rows: list[tuple[str, str]]
    numbers: dict[str, float]
    draw: Callable[[Any], None]
    text: str = ""
    inches: tuple[float, float] = field(default=(11.0, 6.5))

    def save_picture(self, path: str | PathLike[str]) -> None:
        """Draw the picture into a file (.png, .svg or .pdf)."""
        try:
            from matplotlib.backends.backend_agg import FigureCanvasAgg
            from matplotlib.figure import Figure
        except ImportError:
            raise MissingExtraError("the picture needs matplotlib: pip install 'tapegrad[viz]'") from None
        figure = Figure(figsize=self.inches, layout="constrained")
        FigureCanvasAgg(figure)
        figure.suptitle(self.title, fontsize=13, fontweight="bold")
        self.draw(figure)
        figure.savefig(path, dpi=120)


def titled(model: str, epochs: int) -> str:
    """The title of a model's results."""
    return f"{model} after {epochs} epoch{'' if epochs == 1 else 's'}"
