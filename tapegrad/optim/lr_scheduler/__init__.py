"""Learning-rate schedules, with PyTorch's names, arguments and values.

Every schedule is one affine rule: on reaching epoch `e`, the rate of group `k` becomes ``a(e, k) lr + c(e, k)``.
Schedules that multiply the present rate have ``c = 0`` and continue from a rate that a user has set; those with a
closed form have ``a = 0``. Rules are evaluated for many epochs at once, so that a recorded training loop gets the rates
of its next thousands of steps in one table.

With ``interval="step"`` or ``"epoch"`` a scheduler registers itself with its optimiser, and `TrainStep` steps it. One
made without is stepped by its caller, or by a `TrainStep.run` of several epochs (see `LRScheduler`).
"""

from .combined import ChainedScheduler, SequentialLR
from .cosine import CosineAnnealingLR, CosineAnnealingWarmRestarts
from .cycles import CyclicLR, OneCycleLR
from .lambdas import LambdaLR, MultiplicativeLR
from .multiplied import ConstantLR, ExponentialLR, LinearLR, MultiStepLR, PolynomialLR, StepLR
from .plateau import ReduceLROnPlateau
from .scheduler import LRScheduler

__all__ = [
    "ChainedScheduler", "ConstantLR", "CosineAnnealingLR", "CosineAnnealingWarmRestarts", "CyclicLR", "ExponentialLR",
    "LRScheduler", "LambdaLR", "LinearLR", "MultiStepLR", "MultiplicativeLR", "OneCycleLR", "PolynomialLR",
    "ReduceLROnPlateau", "SequentialLR", "StepLR",
]
