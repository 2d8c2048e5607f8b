"""Record once, replay: capture, planning, and the compiled training loop."""

from .running.compile import compile
from .running.epochs import History
from .running.train_step import TrainStep

__all__ = ["History", "TrainStep", "compile"]
