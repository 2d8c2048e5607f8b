"""Memory: what a recorded step needs, and what the define-by-run tapes hold."""

from ..program.planning.report import Instruction, Life, MemoryReport, Rows
from . import plot  # noqa: F401  (makes its function a method of MemoryReport)
from .live import LiveMemory, memory_report

__all__ = ["Instruction", "Life", "LiveMemory", "MemoryReport", "Rows", "memory_report"]
