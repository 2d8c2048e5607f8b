"""``numpy.fft``, whose functions know tensors."""

from typing import TYPE_CHECKING

from .names import mirror

if TYPE_CHECKING:
    from numpy.fft import *  # noqa: F403
else:
    __getattr__, __dir__ = mirror("numpy.fft", globals())
    __all__ = __dir__()
