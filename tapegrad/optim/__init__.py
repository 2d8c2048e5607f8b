"""Optimisers, learning-rate schedules and gradient clipping, by PyTorch's names.

Parameters, gradients and states are in flat arrays; a step over all of them is one compiled call.
"""

from . import lr_scheduler
from .adadelta import Adadelta
from .adagrad import Adagrad
from .adam import Adam, AdamW
from .clip import clip_grad_norm_, clip_grad_value_
from .lbfgs import LBFGS
from .nadam import NAdam
from .optimizer import Optimizer
from .rmsprop import RMSprop
from .rows import UpdateRows
from .sgd import SGD
from .sparse_adam import SparseAdam
from .store import ParameterStore

__all__ = [
    "LBFGS", "SGD", "Adadelta", "Adagrad", "Adam", "AdamW", "NAdam", "Optimizer", "ParameterStore", "RMSprop",
    "SparseAdam", "UpdateRows", "clip_grad_norm_", "clip_grad_value_", "lr_scheduler",
]
