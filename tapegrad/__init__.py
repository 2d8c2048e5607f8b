"""Reverse-mode automatic differentiation for NumPy users, compiled once for every model."""

from . import errors, functions
from ._version import __version__
from .config import config, get_num_threads, set_num_threads
from .engine.random import manual_seed
from .errors import *  # noqa: F403
from .functions import *  # noqa: F403
from .functions.creation import tensor
from .functions.custom import CustomOp, custom_op
from .io.files import load, save
from .memory import MemoryReport, memory_report
from .program import History, TrainStep, compile
from .tape.recomputation import checkpoint
from .tape.state import enable_grad, is_grad_enabled, no_grad
from .tape.tape import Tape, current_tape
from .tensor.tensor import Tensor
from .transforms.grad import GradcheckError, grad, gradcheck, value_and_grad

from . import nn, optim  # isort: skip  (they stand on everything above)

__all__ = [
    "CustomOp", "GradcheckError", "History", "MemoryReport", "Tape", "Tensor", "TrainStep", "__version__", "checkpoint",
    "compile", "config", "current_tape", "custom_op", "enable_grad", "errors", "functions", "get_num_threads", "grad",
    "gradcheck", "is_grad_enabled", "load", "manual_seed", "memory_report", "nn", "no_grad", "optim", "save",
    "set_num_threads", "tensor", "value_and_grad",
]
__all__ += functions.__all__
__all__ += errors.__all__
