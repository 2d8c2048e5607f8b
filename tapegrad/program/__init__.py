"""Record once, replay: capture, planning, and the compiled training loop."""

from .compile import compile
from .train_step import History, TrainStep

__all__ = ["History", "TrainStep", "compile"]
