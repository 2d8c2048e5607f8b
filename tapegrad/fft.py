"""Discrete Fourier transforms under the names of ``numpy.fft`` and ``torch.fft``, of complex numbers as pairs.

See `functions.fourier`.
"""

from .functions.fourier import *  # noqa: F403
from .functions.fourier import __all__ as __all__
