"""Linear algebra, under the names of ``numpy.linalg`` and ``torch.linalg``."""

from .functions.algebra import *  # noqa: F403
from .functions.algebra import __all__ as __all__
