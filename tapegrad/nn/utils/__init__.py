"""Gradient clipping, parameters as one vector, weights that are computed, where PyTorch users look for them."""

from __future__ import annotations

from collections.abc import Iterable

from numpy.typing import ArrayLike

from ... import functions
from ...errors import ShapeError
from ...optim import clip_grad_norm_, clip_grad_value_
from ...tensor.arrays import foreign_array
from ...tensor.tensor import Tensor
from . import parametrizations, parametrize
from .spectral_normalization import remove_spectral_norm, spectral_norm
from .weight_normalization import remove_weight_norm, weight_norm

__all__ = [
    "clip_grad_norm_", "clip_grad_value_", "parameters_to_vector", "parametrizations", "parametrize",
    "remove_spectral_norm", "remove_weight_norm", "spectral_norm", "vector_to_parameters", "weight_norm",
]


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """All values concatenated, shape (total,); differentiable."""
    flat = [functions.reshape(parameter, (parameter.size,)) for parameter in parameters]
    if not flat:
        raise ShapeError("parameters_to_vector: there are no parameters")
    return functions.concatenate(flat)


def vector_to_parameters(vec: Tensor | ArrayLike, parameters: Iterable[Tensor]) -> None:
    """Overwrite the parameters with consecutive slices of `vec`.

    Raises
    ------
    ShapeError
        If `vec` is not flat or its length is not the parameters' total; nothing is written then.
    """
    values = vec.numpy() if isinstance(vec, Tensor) else foreign_array(vec)
    parameters = list(parameters)
    total = sum(parameter.size for parameter in parameters)
    if values.shape != (total,):
        raise ShapeError(
            f"vector_to_parameters: vec has shape {list(values.shape)}, the parameters need [{total}]"
        )
    start = 0
    for parameter in parameters:
        stop = start + parameter.size
        parameter.copy_(values[start:stop].reshape(parameter.shape).astype(parameter.dtype))
        start = stop
