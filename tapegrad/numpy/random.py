"""``numpy.random`` itself: its numbers have no gradient, and `rand` and its like are drawn anew in each replay."""

from typing import TYPE_CHECKING

from .names import mirror

if TYPE_CHECKING:
    from numpy.random import *  # noqa: F403
else:
    __getattr__, __dir__ = mirror("numpy.random", globals())
    __all__ = __dir__()
