"""Errors of modules."""

from __future__ import annotations

from ..errors import TapegradError

__all__ = ["ModuleError", "UninitialisedModuleError"]


class ModuleError(TapegradError, ValueError, TypeError):
    """A parameter, buffer or module that cannot be registered, or an argument that a module refuses."""


class UninitialisedModuleError(TapegradError, AttributeError, RuntimeError):
    """A module was used before ``super().__init__()``."""
