"""Containers: Sequential, ModuleList, ModuleDict, ParameterList, ParameterDict."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Mapping
from itertools import count
from typing import Any, TypeVar, overload

from numpy.typing import ArrayLike

from ..tensor.tensor import Tensor
from .errors import ModuleError
from .module import Module
from .parameter import Parameter

__all__ = ["ModuleDict", "ModuleList", "ParameterDict", "ParameterList", "Sequential"]

Self = TypeVar("Self", bound="_Numbered")


class _Numbered(Module):
    """Modules in order, named "0", "1", ... by default: the base of Sequential and ModuleList."""

    def _checked(self, modules: Iterable[Any]) -> list[Module]:
        modules = list(modules)
        for module in modules:
            if not isinstance(module, Module):
                raise ModuleError(
                    f"{type(self).__name__} holds modules, got {type(module).__name__}"
                    + ("; give it a class with forward(self, x)" if callable(module) else "")
                )
        return modules

    def _name_at(self, index: int) -> str:
        number = operator.index(index)
        if not -len(self) <= number < len(self):
            raise IndexError(f"{type(self).__name__} has {len(self)} modules; index {number} is out of range")
        return list(self._modules)[number]

    def _renumber(self, modules: Iterable[Module]) -> None:
        modules = list(modules)
        self._modules.clear()
        for index, module in enumerate(modules):
            self._modules[str(index)] = module

    def _is_numbered(self) -> bool:
        return all(name == str(index) for index, name in enumerate(self._modules))

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._modules.values())

    def __contains__(self, module: object) -> bool:
        return any(module is child for child in self)

    def __setitem__(self, index: int, module: Module) -> None:
        self.add_module(self._name_at(index), module)

    def __delitem__(self, index: int | slice) -> None:
        renumber = self._is_numbered()
        for name in list(self._modules)[index] if isinstance(index, slice) else [self._name_at(index)]:
            del self._modules[name]
        if renumber:
            self._renumber(self)

    def append(self: Self, module: Module) -> Self:
        """Append `module`; return this container."""
        return self.extend([module])

    def extend(self: Self, modules: Iterable[Module]) -> Self:
        """Append `modules`; return this container."""
        for module in self._checked(modules):
            # a slice of a Sequential keeps its names, so the next number may be taken
            free = next(name for name in map(str, count(len(self))) if name not in self._modules)
            self.add_module(free, module)
        return self

    def insert(self: Self, index: int, module: Module) -> Self:
        """Insert `module` before index `index`, renumbering; return this container."""
        if not self._is_numbered():
            raise ModuleError(
                f"{type(self).__name__}.insert: its modules have names of their own: {list(self._modules)}"
            )
        children = list(self)
        children.insert(operator.index(index), *self._checked([module]))
        self._renumber(children)
        return self

    def pop(self, index: int = -1) -> Any:
        """Remove and return the module at `index`."""
        module = self._modules[self._name_at(index)]
        del self[index]
        return module


class Sequential(_Numbered):
    """Modules applied in sequence.

    Parameters
    ----------
    *args : Module, or one dict of str to Module
        The modules, in order; with a dict, under its names.

    Examples
    --------
    >>> from tapegrad import nn
    >>> model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
    >>> model
    Sequential(
      (0): Linear(in_features=64, out_features=128, bias=True)  # 8,320 parameters
      (1): ReLU()
      (2): Linear(in_features=128, out_features=10, bias=True)  # 1,290 parameters
    )
    # total: 9,610 parameters
    >>> len(model[:2])
    2
    """

    def __init__(self, *args: Module | Mapping[str, Module]) -> None:
        super().__init__()
        if len(args) == 1 and isinstance(args[0], Mapping):
            for name, module in args[0].items():
                self._checked([module])
                self.add_module(name, module)
        else:
            self.extend(args)  # type: ignore[arg-type]

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> Sequential: ...
    def __getitem__(self, index: int | slice) -> Any:
        """The module at `index`, or a Sequential of a slice, which shares modules and keeps names."""
        if isinstance(index, slice):
            return Sequential(dict(list(self._modules.items())[index]))  # type: ignore[arg-type]
        return self._modules[self._name_at(index)]

    def forward(self, input: Any) -> Any:
        """The last module's output."""
        for module in self._modules.values():
            input = module(input)  # type: ignore[misc]
        return input


class ModuleList(_Numbered):
    """A list of registered modules, without ``forward``.

    Parameters
    ----------
    modules : iterable of Module, optional
    """

    _collapses_equal_children = True

    def __init__(self, modules: Iterable[Module] | None = None) -> None:
        super().__init__()
        self.extend(modules or ())

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> ModuleList: ...
    def __getitem__(self, index: int | slice) -> Any:
        """The module at `index`, or a ModuleList of a slice, which shares the modules."""
        if isinstance(index, slice):
            return ModuleList(list(self)[index])
        return self._modules[self._name_at(index)]


class ModuleDict(Module):
    """An ordered dict of registered modules, without ``forward``.

    Parameters
    ----------
    modules : mapping of str to Module, or iterable of such pairs, optional
    """

    def __init__(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]] | None = None) -> None:
        super().__init__()
        self.update(modules or {})

    def __getitem__(self, key: str) -> Any:
        return self._modules[key]

    def __setitem__(self, key: str, module: Module) -> None:
        self.add_module(key, module)

    def __delitem__(self, key: str) -> None:
        del self._modules[key]

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __contains__(self, key: object) -> bool:
        return key in self._modules

    def keys(self) -> Iterable[str]:
        """The names."""
        return self._modules.keys()

    def values(self) -> Iterable[Any]:
        """The modules."""
        return self._modules.values()

    def items(self) -> Iterable[tuple[str, Any]]:
        """Pairs of name and module."""
        return self._modules.items()

    def update(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]]) -> None:
        """Add or replace modules."""
        for name, module in dict(modules).items():
            self.add_module(name, module)

    def pop(self, key: str) -> Any:
        """Remove and return the module of that name."""
        return self._modules.pop(key)

    def clear(self) -> None:
        """Remove all modules."""
        self._modules.clear()


class ParameterList(Module):
    """A list of registered parameters.

    Parameters
    ----------
    values : iterable of Parameter, Tensor or array_like, optional
        Others than Parameters are converted to them.
    """

    def __init__(self, values: Iterable[Parameter | Tensor | ArrayLike] | None = None) -> None:
        super().__init__()
        self.extend(values or ())

    def append(self, value: Parameter | Tensor | ArrayLike) -> ParameterList:
        """Append a parameter; return this list."""
        self.register_parameter(str(len(self)), value if isinstance(value, Parameter) else Parameter(value))
        return self

    def extend(self, values: Iterable[Parameter | Tensor | ArrayLike]) -> ParameterList:
        """Append parameters; return this list."""
        for value in values:
            self.append(value)
        return self

    def __len__(self) -> int:
        return len(self._parameters)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._parameters.values())

    def __getitem__(self, index: int) -> Any:
        return list(self._parameters.values())[index]

    def __setitem__(self, index: int, value: Parameter | Tensor | ArrayLike) -> None:
        name = list(self._parameters)[index]
        self.register_parameter(name, value if isinstance(value, Parameter) else Parameter(value))

    def extra_repr(self) -> str:
        """The shape and dtype of each parameter."""
        return "\n".join(
            f"({name}): Parameter of {p.dtype}{list(p.shape)}"
            for name, p in self._parameters.items()
            if p is not None
        )


class ParameterDict(Module):
    """Registered parameters by name, in the order in which they were added.

    Parameters
    ----------
    parameters : mapping, or iterable of (str, Parameter, Tensor or array_like), optional
        Others than Parameters are converted to them.
    """

    def __init__(self, parameters: Mapping[str, Any] | Iterable[tuple[str, Any]] | None = None) -> None:
        super().__init__()
        self.update(parameters or {})

    def __getitem__(self, key: str) -> Any:
        return self._parameters[key]

    def __setitem__(self, key: str, value: Parameter | Tensor | ArrayLike) -> None:
        self.register_parameter(key, value if isinstance(value, Parameter) else Parameter(value))

    def __delitem__(self, key: str) -> None:
        del self._parameters[key]

    def __len__(self) -> int:
        return len(self._parameters)

    def __iter__(self) -> Iterator[str]:
        return iter(self._parameters)

    def __contains__(self, key: object) -> bool:
        return key in self._parameters

    def keys(self) -> Iterable[str]:
        """The names."""
        return self._parameters.keys()

    def values(self) -> Iterable[Any]:
        """The parameters."""
        return self._parameters.values()

    def items(self) -> Iterable[tuple[str, Any]]:
        """Pairs of name and parameter."""
        return self._parameters.items()

    def update(self, parameters: Mapping[str, Any] | Iterable[tuple[str, Any]]) -> None:
        """Add or replace parameters."""
        for name, value in dict(parameters).items():
            self[name] = value

    def get(self, key: str, default: Any = None) -> Any:
        """The parameter of that name, or `default`."""
        return self._parameters.get(key, default)

    def setdefault(self, key: str, default: Parameter | Tensor | ArrayLike) -> Any:
        """The parameter of that name, which is `default` if there was none."""
        if key not in self:
            self[key] = default
        return self[key]

    def copy(self) -> ParameterDict:
        """Another dict of the same parameters."""
        return ParameterDict(self._parameters)

    def fromkeys(self, keys: Iterable[str], default: Any = None) -> ParameterDict:
        """A dict with a parameter of the values `default` under each of `keys`."""
        return ParameterDict({key: default for key in keys})

    def popitem(self) -> tuple[str, Any]:
        """Remove and return the name and the parameter that were added last."""
        return self._parameters.popitem()

    def pop(self, key: str) -> Any:
        """Remove and return the parameter of that name."""
        return self._parameters.pop(key)

    def clear(self) -> None:
        """Remove all parameters."""
        self._parameters.clear()

    def extra_repr(self) -> str:
        """The shape and dtype of each parameter."""
        return "\n".join(f"({name}): Parameter of {p.dtype}{list(p.shape)}" for name, p in self._parameters.items()
                         if p is not None)
