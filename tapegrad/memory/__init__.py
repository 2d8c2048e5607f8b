"""Memory: what a recorded step needs, and what the define-by-run tapes hold."""

from . import plot  # noqa: F401  (makes its function a method of MemoryReport)
from .live import LiveMemory, memory_report
from .report import Instruction, Life, MemoryReport, Rows

__all__ = ["Instruction", "Life", "LiveMemory", "MemoryReport", "Rows", "memory_report"]
