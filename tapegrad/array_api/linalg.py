"""Linear algebra of the array API standard over tensors."""

import numpy as _numpy

from .names import LINALG as _LINALG
from .names import over_tensors as _over_tensors

globals().update({name: _over_tensors(getattr(_numpy.linalg, name)) for name in _LINALG})
