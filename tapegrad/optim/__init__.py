"""Optimisers, learning-rate schedules and gradient clipping, by PyTorch's names.

Parameters, gradients and states are in flat arrays; a step over all of them is one compiled call.
"""

from . import lr_scheduler, swa_utils
from .adadelta import Adadelta
from .adafactor import Adafactor
from .adagrad import Adagrad
from .adam import Adam, AdamW
from .adamax import Adamax
from .asgd import ASGD
from .clip import clip_grad_norm_, clip_grad_value_
from .lamb import LAMB
from .lbfgs import LBFGS
from .lion import Lion
from .muon import Muon
from .nadam import NAdam
from .optimizer import Optimizer
from .radam import RAdam
from .rmsprop import RMSprop
from .rows import UpdateRows
from .rprop import Rprop
from .sgd import SGD
from .sparse_adam import SparseAdam
from .store import ParameterStore

__all__ = [
    "ASGD", "LAMB", "LBFGS", "SGD", "Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax", "Lion", "Muon",
    "NAdam", "Optimizer", "ParameterStore", "RAdam", "RMSprop", "Rprop", "SparseAdam", "UpdateRows", "clip_grad_norm_",
    "clip_grad_value_", "lr_scheduler", "swa_utils",
]
