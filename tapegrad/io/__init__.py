"""Files of state dicts and of whole modules."""

from typing import TYPE_CHECKING, Any

from .files import load, save

if TYPE_CHECKING:
    from .onnx import to_onnx

__all__ = ["load", "save", "to_onnx"]


def __getattr__(name: str) -> Any:
    """What stands on modules is imported when it is first asked for."""
    if name == "to_onnx":
        from .onnx import to_onnx

        return to_onnx
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
