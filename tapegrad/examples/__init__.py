"""Whole models to read, run and change: ``tapegrad example`` lists them, ``tapegrad example NAME`` runs one.

Each module has its data, its model, a function `run` that trains and evaluates it, and one that draws the picture.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from .outcome import Outcome

__all__ = ["EXAMPLES", "Outcome", "example"]

#: name of each example, what it shows, and its default number of epochs
EXAMPLES = {
    "lenet": ("A convolutional network reads handwritten digits at 28 x 28 pixels", 30),
    "charlm": ("A transformer learns Shakespeare letter by letter, and writes some", 6),
    "lstm": ("A recurrent network forecasts sunspots, up to two years ahead", 20),
    "pinn": ("A network solves Poisson's equation by its own second derivatives", 30),
    "ensemble": ("Thirty-two networks trained at once say how sure they are", 60),
    "garch": ("A loop is fitted to oil prices, with standard errors: how nervous each day was", 100),
}


def example(name: str) -> Any:
    """The module of an example, whose ``run(epochs=, seed=, progress=)`` gives an `Outcome`."""
    return import_module(f".{name}", __name__)
