"""The Python array API standard over tensors: what ``t.__array_namespace__()`` gives to libraries written for it.

Its functions take tensors and give tensors, recorded where tapegrad knows the function. Integers, and what tapegrad has
no derivative of, are NumPy's, and raise for tensors with a history. The dtypes are those of tensors: float32, which is
the default, float64, int64 and bool. https://data-apis.org/array-api

Examples
--------
>>> import tapegrad as tg
>>> def softmax(x):
...     xp = x.__array_namespace__()
...     e = xp.exp(x - xp.max(x))
...     return e / xp.sum(e)
>>> softmax(tg.tensor([0.0, 0.0]))
tensor([0.5, 0.5])
"""

import numpy as _numpy

from . import linalg as linalg
from .names import NAMES as _NAMES
from .names import over_tensors as _over_tensors
from .own import *  # noqa: F403
from .own import DTYPES as _DTYPES
from .own import Info as __array_namespace_info__  # noqa: F401

__array_api_version__ = "2024.12"
e, inf, nan, newaxis, pi = _numpy.e, _numpy.inf, _numpy.nan, None, _numpy.pi
globals().update(_DTYPES)
globals().update({name: _over_tensors(getattr(_numpy, name)) for name in _NAMES if hasattr(_numpy, name)})
