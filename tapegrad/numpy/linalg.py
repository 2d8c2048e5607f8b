"""``numpy.linalg``, whose functions know tensors."""

from typing import TYPE_CHECKING

from .names import mirror

if TYPE_CHECKING:
    from numpy.linalg import *  # noqa: F403
else:
    __getattr__, __dir__ = mirror("numpy.linalg", globals())
    __all__ = __dir__()
