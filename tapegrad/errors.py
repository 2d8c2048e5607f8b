"""The project's errors. Each also derives from the built-in one that a user would catch."""

from __future__ import annotations

import numpy as np

__all__ = [
    "ArgumentError",
    "CaptureError",
    "CompileError",
    "CopyError",
    "DataError",
    "DtypeError",
    "ExpressionError",
    "GradientError",
    "GraphReleasedError",
    "InPlaceError",
    "IndexRangeError",
    "LinAlgError",
    "MissingExtraError",
    "RanksError",
    "RecomputationError",
    "ShapeError",
    "StaleTensorError",
    "StateDictError",
    "SwallowedError",
    "TapeMemoryError",
    "TapegradError",
]


class TapegradError(Exception):
    """Base of every error that tapegrad raises on purpose."""


class ShapeError(TapegradError, ValueError):
    """Shapes that do not fit an op."""


class ArgumentError(TapegradError, ValueError):
    """An argument out of its range."""


class ExpressionError(ArgumentError):
    """An expression that cannot be evaluated; its text has a caret under the place.

    Attributes
    ----------
    reason : str
    place : str
        The expression, and the caret below it.
    """

    def __init__(self, reason: str, expression: str | None = None, column: int = 0) -> None:
        line = " ".join((expression or "").split("\n"))
        self.reason = reason
        self.place = "" if expression is None else f"{line}\n{' ' * max(0, min(column, len(line)))}^"
        super().__init__(f"{reason}\n{self.place}" if self.place else reason)


class DtypeError(TapegradError, TypeError):
    """A dtype that an op does not take, or two that do not match."""


class IndexRangeError(TapegradError, IndexError):
    """An index outside the axis that it addresses."""


class LinAlgError(TapegradError, np.linalg.LinAlgError):
    """A matrix that a factorization does not take: singular, not positive definite, or not finite."""


class TapeMemoryError(TapegradError, MemoryError):
    """The tape would exceed its memory limit."""


class GradientError(TapegradError, RuntimeError):
    """A reverse walk that is not possible: no graph, or no scalar to start from."""


class GraphReleasedError(GradientError):
    """The part of the tape that a tensor depends on was walked already and released."""


class StaleTensorError(TapegradError, RuntimeError):
    """A tensor of a recording, whose values cannot be read."""


class CaptureError(TapegradError, RuntimeError):
    """A recording would bake in a value that depends on its inputs."""


class InPlaceError(TapegradError, RuntimeError):
    """An in-place change of a recorded tensor."""


class SwallowedError(TapegradError, AttributeError):
    """An assignment that would have no effect."""


class DataError(TapegradError, ValueError):
    """A file or table that cannot be used as it is."""


class StateDictError(TapegradError, KeyError, ValueError):
    """A state dict that does not fit a module or an optimiser."""

    def __str__(self) -> str:  # KeyError would print the repr
        return str(self.args[0]) if self.args else ""


class MissingExtraError(TapegradError, ImportError):
    """An optional dependency is not installed."""


class RanksError(TapegradError, RuntimeError):
    """Processes that train together and differ, or cannot go on together."""


class CompileError(TapegradError, TypeError):
    """A user's function that numba cannot compile."""


class CopyError(TapegradError, TypeError):
    """Something that can be neither copied nor pickled."""


class CorruptionError(TapegradError, RuntimeError):
    """Bytes outside of an instruction's operands were written; checked with ``TAPEGRAD_DEBUG=1`` only."""


class RecomputationError(TapegradError, RuntimeError):
    """A recomputed instruction that gives another result."""
