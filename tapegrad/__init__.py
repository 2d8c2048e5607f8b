"""Reverse-mode automatic differentiation for NumPy users, compiled once for every model."""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING, Any

from . import errors as errors
from . import fft as fft
from . import functions as functions
from . import linalg as linalg
from . import transforms as transforms
from ._version import __version__ as __version__
from .config import config as config
from .config import get_num_threads as get_num_threads
from .config import set_num_threads as set_num_threads
from .engine.random import manual_seed as manual_seed
from .errors import *  # noqa: F403
from .explain import explain as explain
from .functions import *  # noqa: F403
from .functions.creation import from_dlpack as from_dlpack
from .functions.creation import tensor as tensor
from .functions.custom import CustomOp as CustomOp
from .functions.custom import custom_op as custom_op
from .io.files import load as load
from .io.files import save as save
from .loops import njit as njit
from .memory import MemoryReport as MemoryReport
from .memory import memory_report as memory_report
from .program import History as History
from .program import TrainStep as TrainStep
from .program import compile as compile
from .tape.recomputation import checkpoint as checkpoint
from .tape.state import enable_grad as enable_grad
from .tape.state import is_grad_enabled as is_grad_enabled
from .tape.state import no_grad as no_grad
from .tape.tape import Tape as Tape
from .tape.tape import current_tape as current_tape
from .tensor.tensor import Tensor as Tensor
from .transforms import *  # noqa: F403

from . import nn as nn, optim as optim  # isort: skip  (they stand on everything above)

if TYPE_CHECKING:
    from .explain.training.monitor import Monitor as Monitor
    from .io.checkpoint import Checkpoint as Checkpoint
    from .sweeps.running import sweep as sweep


def __getattr__(name: str) -> Any:
    """What is imported when it is first asked for."""
    if name == "Monitor":
        from .explain.training.monitor import Monitor

        return Monitor
    if name == "Checkpoint":
        from .io.checkpoint import Checkpoint

        return Checkpoint
    if name == "sweep":
        from .sweeps.running import sweep

        return sweep
    if name in ("numpy", "scipy"):
        return _import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


if not TYPE_CHECKING:  # see `functions`
    __all__ = [
        "Checkpoint", "CustomOp", "History", "MemoryReport", "Monitor", "Tape", "Tensor", "TrainStep", "__version__",
        "checkpoint", "compile", "config", "current_tape", "custom_op", "enable_grad", "errors", "explain",
        "from_dlpack", "functions", "get_num_threads", "is_grad_enabled", "linalg", "load", "manual_seed",
        "memory_report", "njit", "nn", "no_grad", "optim", "save", "set_num_threads", "sweep", "tensor",
    ]
    __all__ += functions.__all__
    __all__ += errors.__all__
    __all__ += transforms.__all__
