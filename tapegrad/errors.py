"""The project's errors. Each also derives from the built-in one that a user would catch."""

from __future__ import annotations

__all__ = [
    "ArgumentError",
    "CaptureError",
    "CompileError",
    "CopyError",
    "DataError",
    "DtypeError",
    "GradientError",
    "GraphReleasedError",
    "InPlaceError",
    "IndexRangeError",
    "MissingExtraError",
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
    """A value that an argument may not have."""


class DtypeError(TapegradError, TypeError):
    """A dtype that an op does not take, or two that do not go together."""


class IndexRangeError(TapegradError, IndexError):
    """An index outside the axis that it addresses."""


class TapeMemoryError(TapegradError, MemoryError):
    """The tape would need more bytes than it may hold."""


class GradientError(TapegradError, RuntimeError):
    """A reverse walk that cannot be made: no graph, or no scalar to start from."""


class GraphReleasedError(GradientError):
    """The stretch of tape behind a tensor was walked already and given back."""


class StaleTensorError(TapegradError, RuntimeError):
    """A tensor whose buffer belongs to a recording: its values are not there to be read."""


class CaptureError(TapegradError, RuntimeError):
    """A recording would freeze a value that depends on its inputs."""


class InPlaceError(TapegradError, RuntimeError):
    """An in-place change of a recorded tensor."""


class SwallowedError(TapegradError, AttributeError):
    """An assignment that would be accepted and do nothing."""


class DataError(TapegradError, ValueError):
    """A file or table that cannot be used as it is."""


class StateDictError(TapegradError, KeyError, ValueError):
    """A state dict that does not fit a module or an optimiser."""

    def __str__(self) -> str:  # KeyError would print the repr
        return str(self.args[0]) if self.args else ""


class MissingExtraError(TapegradError, ImportError):
    """An optional dependency is not installed."""


class CompileError(TapegradError, TypeError):
    """A user's function that numba cannot compile."""


class CopyError(TapegradError, TypeError):
    """Something that can be neither copied nor pickled."""


class CorruptionError(TapegradError, RuntimeError):
    """Bytes that were not an instruction's own were written; looked for with ``TAPEGRAD_DEBUG=1`` only."""


class RecomputationError(TapegradError, RuntimeError):
    """An instruction that gives another result when it runs again."""
