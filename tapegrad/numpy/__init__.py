"""NumPy's names for programs that differentiate: ``import tapegrad.numpy as np``, as with autograd's ``numpy``.

Of plain arrays every function is NumPy's own and gives arrays. Of tensors, which functions receive while they are
differentiated or recorded, those that tapegrad knows give tensors with their history; the others raise with their name.
Where NumPy's own namespace asks tensors nothing, this one does: ``np.array([x[0], 1.0])``, ``np.full(3, x)`` and
``np.sum([x, y])`` keep the history.

Examples
--------
>>> import tapegrad as tg
>>> import tapegrad.numpy as np
>>> def rotated(angle):
...     c, s = np.cos(angle), np.sin(angle)
...     return np.dot(np.array([[c, -s], [s, c]]), np.array([1.0, 2.0]))
>>> rotated(0.0)
array([1., 2.])
>>> tg.jacobian(rotated)(np.pi / 2)
array([-1., -2.])
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # of which types are NumPy's
    from numpy import *  # noqa: F403
else:
    from numpy import __version__  # noqa: F401

    from . import fft, linalg, random  # noqa: F401
    from .arrays import *  # noqa: F403
    from .names import mirror

    __getattr__, __dir__ = mirror("numpy", globals())
    __all__ = __dir__()
