"""Reverse-mode automatic differentiation for NumPy users, compiled once for every model."""

from ._version import __version__

from . import errors, functions
from .errors import *  # noqa: F403
from .functions import *  # noqa: F403
from .random import manual_seed
from .state import enable_grad, is_grad_enabled, no_grad
from .tape import Tape
from .tensor import Tensor, tensor
