"""Modules as files of the Open Neural Network Exchange."""

from .export import to_onnx

__all__ = ["to_onnx"]
