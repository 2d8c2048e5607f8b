"""Spectral normalisation under the names that it had first: ``weight_orig``, ``weight_u``, ``weight_v``."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np

from ... import functions
from ...errors import ArgumentError
from ...functions.spectral import power_iteration
from ...tensor.tensor import Tensor
from ..errors import ModuleError
from ..hooks import RemovableHandle
from ..module import Module
from ..parameter import Parameter
from ..shapes import normal_axis
from .weight_normalization import compute, computed

__all__ = ["remove_spectral_norm", "spectral_norm"]

M = TypeVar("M", bound=Module)


class SpectralNorm:
    """How a module computes an attribute from ``<name>_orig``, and the vectors of the call that runs."""

    def __init__(self, name: str, dim: int, iterations: int, eps: float) -> None:
        self.name, self.dim, self.iterations, self.eps = name, dim, iterations, eps
        self.vectors: tuple[Tensor, Tensor] | None = None
        self.handles: tuple[RemovableHandle, ...] = ()

    def matrix(self, weight: Tensor) -> Tensor:
        """The weight as a matrix."""
        first = weight if self.dim == 0 else functions.moveaxis(weight, self.dim, 0)
        return functions.reshape(first, (first.shape[0], -1))

    def before(self, module: Module, args: Any) -> None:
        """In training, iterate before each call."""
        if module.training:
            weight = module._parameters[f"{self.name}_orig"]
            u, v = (module._buffers[f"{self.name}_{k}"] for k in "uv")
            assert weight is not None and u is not None and v is not None
            self.vectors = power_iteration(self.matrix(weight), u, v, self.iterations, self.eps, False)

    def after(self, module: Module, args: Any, output: Any) -> None:
        """Forget the vectors of the call."""
        self.vectors = None

    def __call__(self, module: Module) -> Tensor:
        weight = module._parameters[f"{self.name}_orig"]
        assert weight is not None
        u, v = self.vectors or (module._buffers[f"{self.name}_{k}"] for k in "uv")
        return weight / functions.sum(u * functions.matmul(self.matrix(weight), v))


def spectral_norm(module: M, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12,
                  dim: int | None = None) -> M:
    """Divide a weight by its greatest singular value, as `parametrizations.spectral_norm`.

    Parameters
    ----------
    module : Module
    name : str, default "weight"
    n_power_iterations : int, default 1
        Steps of power iteration at each call in training.
    eps : float, default 1e-12
    dim : int, optional
        The axis of the matrix's rows: 0, but 1 of transposed convolutions.

    Returns
    -------
    Module
        The same. Its state dict has ``<name>_orig``, ``<name>_u`` and ``<name>_v``, as PyTorch's
        ``nn.utils.spectral_norm``.

    Raises
    ------
    ModuleError
        If the module has no such parameter, or an optimiser holds it already.
    """
    weight = module._parameters.get(name)
    if weight is None:
        raise ModuleError(f"spectral_norm: {type(module).__name__} has no parameter {name!r}")
    if weight.is_held:
        raise ModuleError(f"spectral_norm: an optimiser holds {name}; apply spectral_norm before the optimiser is made")
    if weight.ndim == 0 or n_power_iterations < 1:
        raise ArgumentError(f"spectral_norm: {name} of shape {list(weight.shape)} with {n_power_iterations} iterations"
                            "; it needs an axis and an iteration")
    if dim is None:
        dim = 1 if type(module).__name__.startswith("ConvTranspose") else 0
    rule = SpectralNorm(name, normal_axis(dim, weight.shape, "spectral_norm"), int(n_power_iterations), float(eps))
    values = weight.numpy().copy()
    del module._parameters[name]
    module.register_parameter(f"{name}_orig", Parameter(values, weight.requires_grad, weight.dtype))
    for suffix, n in zip("uv", rule.matrix(Tensor(values)).shape):
        drawn = functions.randn(n).numpy().astype(np.float64)
        module.register_buffer(f"{name}_{suffix}", Tensor((drawn / np.linalg.norm(drawn)).astype(weight.dtype)))
    compute(module, {**computed(module), name: rule})
    rule.handles = (module.register_forward_pre_hook(rule.before),
                    module.register_forward_hook(rule.after, always_call=True))
    return module


def remove_spectral_norm(module: M, name: str = "weight") -> M:
    """Undo `spectral_norm`: the parameter has the present values.

    Raises
    ------
    ModuleError
        If the module's parameter is not normalised.
    """
    rule = computed(module).get(name)
    if not isinstance(rule, SpectralNorm):
        raise ModuleError(f"remove_spectral_norm: {type(module).__name__}.{name} is not normalised")
    original = module._parameters[f"{name}_orig"]
    assert original is not None
    values = rule(module).detach().numpy()
    for handle in rule.handles:
        handle.remove()
    compute(module, {other: kept for other, kept in computed(module).items() if other != name})
    del module._parameters[f"{name}_orig"], module._buffers[f"{name}_u"], module._buffers[f"{name}_v"]
    module.register_parameter(name, Parameter(values, original.requires_grad, original.dtype))
    return module
