"""Weight normalisation: a parameter as a length and a direction."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np

from ... import functions
from ...errors import ArgumentError
from ...tensor.tensor import Tensor
from ..errors import ModuleError
from ..module import Module
from ..parameter import Parameter
from ..shapes import normal_axis

__all__ = ["remove_weight_norm", "weight_norm"]

M = TypeVar("M", bound=Module)


class WeightNorm:
    """How a module computes an attribute from ``<name>_g`` and ``<name>_v``."""

    def __init__(self, name: str, dim: int | None) -> None:
        self.name, self.dim = name, dim

    def axes(self, ndim: int) -> tuple[int, ...]:
        """Those over which a norm is taken."""
        return tuple(axis for axis in range(ndim) if axis != self.dim)

    def __call__(self, module: Module) -> Tensor:
        g, v = module._parameters[f"{self.name}_g"], module._parameters[f"{self.name}_v"]
        assert g is not None and v is not None
        return v * (g / functions.sqrt(functions.sum(functions.square(v), axis=self.axes(v.ndim), keepdims=True)))


def weight_norm(module: M, name: str = "weight", dim: int | None = 0) -> M:
    """Replace a parameter by ``<name>_g * <name>_v / |<name>_v|``, whose length and direction are trained.

    Parameters
    ----------
    module : Module
    name : str, default "weight"
        Of the parameter.
    dim : int or None, default 0
        The norms are those of the slices along this axis; None for one of all elements.

    Returns
    -------
    Module
        The same. Its state dict has ``<name>_g`` and ``<name>_v``, as PyTorch's ``nn.utils.weight_norm``.

    Raises
    ------
    ModuleError
        If the module has no such parameter, or an optimiser holds it already.

    Notes
    -----
    Salimans and Kingma, "Weight normalization", NeurIPS 2016.

    Examples
    --------
    >>> from tapegrad import nn
    >>> layer = nn.utils.weight_norm(nn.Linear(3, 2))
    >>> [(name, p.shape) for name, p in layer.named_parameters()]
    [('bias', (2,)), ('weight_g', (2, 1)), ('weight_v', (2, 3))]
    """
    weight = module._parameters.get(name)
    if weight is None:
        raise ModuleError(f"weight_norm: {type(module).__name__} has no parameter {name!r}")
    if weight.is_held:
        raise ModuleError(f"weight_norm: an optimiser holds {name}; apply weight_norm before the optimiser is made")
    if weight.ndim == 0:
        raise ArgumentError(f"weight_norm: {name} is a scalar")
    rule = WeightNorm(name, None if dim is None else normal_axis(dim, weight.shape, "weight_norm"))
    values = weight.numpy()
    norms = np.sqrt(np.square(values).sum(axis=rule.axes(values.ndim), keepdims=True))
    if rule.dim is None:
        norms = norms.reshape(())
    del module._parameters[name]
    for suffix, array in (("g", norms), ("v", values)):
        module.register_parameter(f"{name}_{suffix}", Parameter(array, weight.requires_grad, weight.dtype))
    compute(module, {**computed(module), name: rule})
    return module


def remove_weight_norm(module: M, name: str = "weight") -> M:
    """Undo `weight_norm`: the parameter has the present values.

    Raises
    ------
    ModuleError
        If the module's parameter is not normalised.
    """
    rule = computed(module).get(name)
    if rule is None:
        raise ModuleError(f"remove_weight_norm: {type(module).__name__}.{name} is not normalised")
    direction = module._parameters[f"{name}_v"]
    assert direction is not None
    values = rule(module).detach().numpy()
    compute(module, {other: kept for other, kept in computed(module).items() if other != name})
    for suffix in ("g", "v"):
        del module._parameters[f"{name}_{suffix}"]
    module.register_parameter(name, Parameter(values, direction.requires_grad, direction.dtype))
    return module


def computed(module: Module) -> dict[str, Any]:
    found: dict[str, Any] = module.__dict__.get("_computed", {})
    return found


def compute(module: Module, rules: dict[str, Any]) -> None:
    module._computed = rules
