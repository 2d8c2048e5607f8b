"""Files of state dicts."""

from .files import load, save

__all__ = ["load", "save"]
