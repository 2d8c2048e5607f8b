"""Record once, replay: capture, planning, and the compiled training loop."""

from .compile import compile
from .epochs import History
from .train_step import TrainStep

__all__ = ["History", "TrainStep", "compile"]
