"""Memory accounting: what the define-by-run tapes hold, and pictures of a recorded step's report."""

from ..program.planning.report import Instruction, Life, MemoryReport, Rows
from . import plot  # noqa: F401  (makes `plot` a method of MemoryReport)
from .live import LiveMemory, memory_report

__all__ = ["Instruction", "Life", "LiveMemory", "MemoryReport", "Rows", "memory_report"]
