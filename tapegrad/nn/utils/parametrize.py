"""Parameters computed from others, by PyTorch's names: ``nn.utils.parametrize``."""

from __future__ import annotations

from typing import Any, TypeVar

from ...errors import ShapeError
from ...tape.state import no_grad
from ...tensor.tensor import Tensor
from ..containers import ModuleDict, ModuleList
from ..errors import ModuleError
from ..module import Module
from ..parameter import Parameter
from .weight_normalization import compute, computed

__all__ = ["ParametrizationList", "is_parametrized", "register_parametrization", "remove_parametrizations"]

M = TypeVar("M", bound=Module)


class ParametrizationList(ModuleList):
    """The modules by which a parameter is computed, one after the other, and what it is computed from.

    Attributes
    ----------
    original : Parameter
        Or ``original0``, ``original1`` and so on, where the first module's `right_inverse` gives several.
    """

    def __init__(self, modules: list[Module], given: Tensor) -> None:
        super().__init__(modules)
        with no_grad():
            inverse = getattr(modules[0], "right_inverse", None)
            found = given if inverse is None else inverse(given)
        self._several = len(found) if isinstance(found, (tuple, list)) else 0
        for k, part in enumerate(found if self._several else [found]):
            values = part.detach().numpy() if isinstance(part, Tensor) else part
            made = Parameter(values.copy(), given.requires_grad, given.dtype)
            self.register_parameter(f"original{k}" if self._several else "original", made)

    def forward(self) -> Any:
        """The parameter's present value."""
        if self._several:
            first, *others = self
            value = first(*(getattr(self, f"original{k}") for k in range(self._several)))
        else:
            others, value = list(self), self.original
        for module in others:
            value = module(value)
        return value


class _Computed:
    """How a module computes an attribute from its parametrization."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, module: Module) -> Tensor:
        value: Tensor = module.parametrizations[self.name]()
        return value


def register_parametrization(module: M, tensor_name: str, parametrization: Module, *, unsafe: bool = False) -> M:
    """Compute a parameter by a module, whose parameters are trained in its place.

    Parameters
    ----------
    module : Module
    tensor_name : str
        Of the parameter.
    parametrization : Module
        Maps what is trained to the parameter, of the same shape. With a method ``right_inverse`` what is trained begins
        at ``right_inverse(parameter)``, which may be a tuple, else at the parameter.
    unsafe : bool, default False
        Whether the shape may differ.

    Returns
    -------
    Module
        The same; its state dict has ``parametrizations.<name>.original``. A further parametrization is applied to the
        result of those before.

    Raises
    ------
    ModuleError
        If there is no such parameter, or an optimiser holds it already.

    Examples
    --------
    >>> from tapegrad import nn
    >>> from tapegrad.nn.utils import parametrize
    >>> class Symmetric(nn.Module):
    ...     def forward(self, x):
    ...         return x.triu() + x.triu(1).T
    >>> layer = parametrize.register_parametrization(nn.Linear(3, 3), "weight", Symmetric())
    >>> bool((layer.weight.detach().numpy() == layer.weight.detach().numpy().T).all())
    True
    """
    if is_parametrized(module, tensor_name):
        before = module.parametrizations[tensor_name]
        if getattr(parametrization, "right_inverse", None) is not None:
            raise ModuleError(f"register_parametrization: {tensor_name} is parametrized already, and what is trained "
                              "cannot be changed to fit a right_inverse; register that one first")
        before.append(parametrization)
        return module
    given = module._parameters.get(tensor_name)
    if given is None:
        raise ModuleError(f"register_parametrization: {type(module).__name__} has no parameter {tensor_name!r}")
    if given.is_held:
        raise ModuleError(f"register_parametrization: an optimiser holds {tensor_name}; parametrize it before the "
                          "optimiser is made")
    parametrization.train(module.training)
    made = ParametrizationList([parametrization], given)
    with no_grad():
        shape = made().shape
    if shape != given.shape and not unsafe:
        raise ShapeError(f"register_parametrization: {tensor_name} is of shape {list(given.shape)}, its "
                         f"parametrization gives {list(shape)}; unsafe=True allows it")
    del module._parameters[tensor_name]
    if "parametrizations" not in module._modules:
        module.add_module("parametrizations", ModuleDict())
    module.parametrizations[tensor_name] = made
    compute(module, {**computed(module), tensor_name: _Computed(tensor_name)})
    return module


def is_parametrized(module: Module, tensor_name: str | None = None) -> bool:
    """Whether a parameter of this name, or any, is computed by `register_parametrization`."""
    found = module._modules.get("parametrizations")
    names: list[str] = [] if found is None else list(found._modules)
    return bool(names) if tensor_name is None else tensor_name in names


def remove_parametrizations(module: M, tensor_name: str, leave_parametrized: bool = True) -> M:
    """Undo `register_parametrization`: the parameter has its present value, or the one that was trained.

    Raises
    ------
    ModuleError
        If the parameter is not parametrized, or what is trained are several and shall be left.
    """
    if not is_parametrized(module, tensor_name):
        raise ModuleError(f"remove_parametrizations: {type(module).__name__} has no parametrization of {tensor_name!r}")
    made = module.parametrizations[tensor_name]
    if not leave_parametrized and made._several:
        raise ModuleError(f"remove_parametrizations: {tensor_name} is computed from several parameters; "
                          "leave_parametrized=True keeps its value")
    first = next(iter(made._parameters.values()))
    with no_grad():
        values = (made() if leave_parametrized else made.original).detach().numpy().copy()
    compute(module, {name: rule for name, rule in computed(module).items() if name != tensor_name})
    del module.parametrizations[tensor_name]
    if not len(module.parametrizations):
        del module._modules["parametrizations"]
    module.register_parameter(tensor_name, Parameter(values, first.requires_grad, first.dtype))
    return module
