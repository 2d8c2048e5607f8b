"""`Module`: a tree of layers with their parameters and buffers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from ..errors import ArgumentError, SwallowedError
from ..optim.lists import zero_gradient
from ..tape.state import ABSENT, Modes, Version, state
from ..tensor.tensor import Tensor
from .errors import ModuleError, UninitialisedModuleError
from .hooks import Hooks
from .members import Copies, Members
from .names import parameters_of
from .parameter import Parameter, float_dtype, refuse_swallowed
from .state_dict import LoadResult, entries, load
from .summary import describe

__all__ = ["Module"]

Self = TypeVar("Self", bound="Module")
_REGISTRIES = {"_parameters": "an nn.Parameter", "_buffers": "a Tensor", "_modules": "an nn.Module"}


class Module(Hooks, Copies):
    """Base of all layers and models.

    A subclass calls ``super().__init__()``, assigns parameters and modules to attributes, and defines ``forward``. What
    is assigned is registered under the attribute's name; these names, joined by dots, are the keys of `state_dict`.
    They are PyTorch's for PyTorch's layers.

    Attributes
    ----------
    training : bool
        Set by `train` and `eval`; read by layers such as `Dropout`.

    Examples
    --------
    >>> import tapegrad as tg
    >>> from tapegrad import nn
    >>> class Net(nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.hidden = nn.Linear(4, 8)
    ...         self.out = nn.Linear(8, 1)
    ...     def forward(self, x):
    ...         return self.out(tg.tanh(self.hidden(x)))
    >>> net = Net()
    >>> [name for name, _ in net.named_parameters()]
    ['hidden.weight', 'hidden.bias', 'out.weight', 'out.bias']
    >>> net
    Net(
      (hidden): Linear(in_features=4, out_features=8, bias=True)  # 40 parameters
      (out): Linear(in_features=8, out_features=1, bias=True)  # 9 parameters
    )
    # total: 49 parameters
    """

    training: bool
    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _modules: dict[str, Module | None]
    _transient: set[str]
    _computed: dict[str, Callable[[Module], Tensor]]  # attributes that are computed from parameters, if any
    _version: Version
    _collapses_equal_children = False  # whether `repr` collapses a run of equal children into one line

    def __init__(self) -> None:
        version = Version()
        members = {registry: Members(version) for registry in _REGISTRIES}
        self.__dict__.update(members, _transient=set(), _version=version, training=True)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the module's output; defined by every subclass."""
        raise NotImplementedError(f"{type(self).__name__} does not define forward(self, ...)")

    # registration

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Register `param` under `name`; None reserves the name, as for a bias that is left out."""
        if param is not None and not isinstance(param, Parameter):
            raise ModuleError(
                f"cannot register {type(param).__name__} as parameter {name!r}; wrap it in nn.Parameter(...)"
            )
        self._register("_parameters", name, param)

    def register_buffer(self, name: str, tensor: ArrayLike | Tensor | None, persistent: bool = True) -> None:
        """Register a tensor that belongs to the module but is not trained, such as running statistics.

        Parameters
        ----------
        name : str
            The attribute's name.
        tensor : Tensor, array_like or None
            Kept as a Tensor without gradient; None reserves the name.
        persistent : bool
            Whether `state_dict` holds it.
        """
        if tensor is not None and not isinstance(tensor, Tensor):
            tensor = Tensor(tensor)
        self._register("_buffers", name, tensor)
        (self._transient.discard if persistent else self._transient.add)(name)

    def register_module(self, name: str, module: Module | None) -> None:
        """`add_module`."""
        self.add_module(name, module)

    def add_module(self, name: str, module: Module | None) -> None:
        """Register `module` as a child under `name`; None reserves the name."""
        if module is not None and not isinstance(module, Module):
            raise ModuleError(
                f"cannot register {type(module).__name__} as module {name!r}: it is no nn.Module"
            )
        self._register("_modules", name, module)

    def _register(self, registry: str, name: str, value: Any) -> None:
        registries = self._registries()
        if not isinstance(name, str):
            raise ModuleError(f"a name must be a string, got {name!r} of type {type(name).__name__}")
        if not name or "." in name:
            raise ModuleError(f"{name!r} cannot be a name: it must not be empty and must not contain a dot")
        if name not in registries[registry] and (
            name in self.__dict__ or hasattr(type(self), name) or any(name in r for r in registries.values())
            or name in self.__dict__.get("_computed", ())
        ):
            raise ModuleError(f"{type(self).__name__} already has an attribute {name!r}")
        registries[registry][name] = value

    def _registries(self) -> dict[str, dict[str, Any]]:
        try:
            return {registry: self.__dict__[registry] for registry in _REGISTRIES}
        except KeyError:
            raise UninitialisedModuleError(
                f"{type(self).__name__}: call super().__init__() before assigning parameters or modules"
            ) from None

    # attributes

    def __setattr__(self, name: str, value: Any) -> None:
        registry = "_parameters" if isinstance(value, Parameter) else "_modules" if isinstance(value, Module) else None
        if registry is not None:
            self.__dict__.pop(name, None)
            for other, others in self._registries().items():
                if other != registry:
                    others.pop(name, None)
            self._register(registry, name, value)
            return
        for registry, wanted in _REGISTRIES.items():
            members = self.__dict__.get(registry)
            if members is not None and name in members:
                if value is not None and not (registry == "_buffers" and isinstance(value, Tensor)):
                    raise ModuleError(
                        f"{type(self).__name__}.{name} holds {wanted}; cannot assign {type(value).__name__} "
                        f"(delete the attribute first, or change values with {name}.copy_(array))"
                    )
                if Modes.recordings and state.capture is not None and value is not None:
                    state.capture.replaces(self, name, value)
                members[name] = value
                return
        self._check_taken_up(name, value)
        before = self.__dict__.get(name, ABSENT)
        object.__setattr__(self, name, value)
        if before is not value:
            self._changed(name, before, value)

    def _check_taken_up(self, name: str, value: Any) -> None:
        """Raise if a plain attribute would hide a method, or is a misspelling of an attribute with a meaning."""
        kind = type(self)
        if callable(getattr(Module, name, None)) and not callable(value):
            raise SwallowedError(f"{kind.__name__}.{name} is a method: an assignment would hide it and do nothing "
                                 f"else; call {name}(...)")
        if not hasattr(kind, name):
            refuse_swallowed(kind.__name__, name, ("requires_grad",), "say requires_grad_(False) or freeze()")

    def _changed(self, name: str, before: Any, after: Any) -> None:
        """A plain attribute has changed: invalidate recordings that may depend on it."""
        if Modes.recordings and state.capture is not None:
            state.capture.assigns(self, name, before, after)
        elif "_version" in self.__dict__:
            self._version.attribute(name)

    def __getattr__(self, name: str) -> Any:
        attributes = self.__dict__
        for registry in _REGISTRIES:
            members = attributes.get(registry)
            if members is not None and name in members:
                if Modes.recordings and state.capture is not None:
                    state.capture.seen[id(self)] = self
                return members[name]
        if name in attributes.get("_computed", ()):
            return attributes["_computed"][name](self)
        if name in ("training", "_transient", *_REGISTRIES):
            raise UninitialisedModuleError(
                f"{type(self).__name__}: call super().__init__() first in {type(self).__name__}.__init__"
            )
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __delattr__(self, name: str) -> None:
        for registry in _REGISTRIES:
            members = self.__dict__.get(registry)
            if members is not None and name in members:
                del members[name]
                self._transient.discard(name)
                return
        before = self.__dict__.get(name, ABSENT)
        object.__delattr__(self, name)
        self._changed(name, before, ABSENT)

    def __dir__(self) -> list[str]:
        names = set(super().__dir__())
        for registry in _REGISTRIES:
            names.update(self.__dict__.get(registry, ()))
        return sorted(names)

    # traversal

    def named_modules(
        self, memo: set[int] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """This module and its descendants with their dotted names, in preorder; a shared module comes once."""
        memo = set() if memo is None else memo
        if id(self) in memo:
            return
        if remove_duplicate:
            memo.add(id(self))
        yield prefix, self
        for name, module in self._modules.items():
            if module is not None:
                yield from module.named_modules(memo, _join(prefix, name), remove_duplicate)

    def modules(self) -> Iterator[Module]:
        """This module and its descendants, in preorder; a shared module comes once."""
        for _, module in self.named_modules():
            yield module

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The direct children with their names; a shared module comes once."""
        seen: set[int] = set()
        for name, module in self._modules.items():
            if module is not None and id(module) not in seen:
                seen.add(id(module))
                yield name, module

    def children(self) -> Iterator[Module]:
        """The direct children; a shared module comes once."""
        for _, module in self.named_children():
            yield module

    def _named_members(
        self, registry: str, prefix: str, recurse: bool, remove_duplicate: bool
    ) -> Iterator[tuple[str, Any]]:
        owners = (
            self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate)
            if recurse
            else [(prefix, self)]
        )
        seen: set[int] = set()
        for owner_name, owner in owners:
            for name, member in getattr(owner, registry).items():
                if member is None or id(member) in seen:
                    continue
                if remove_duplicate:
                    seen.add(id(member))
                yield _join(owner_name, name), member

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """Parameters with their dotted names; a shared one comes once, under its first name."""
        return self._named_members("_parameters", prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """Parameters of this module and, with `recurse`, of its descendants; a shared one comes once."""
        for _, parameter in self.named_parameters(recurse=recurse):
            yield parameter

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """Buffers with their dotted names; a shared one comes once."""
        return self._named_members("_buffers", prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """Buffers of this module and, with `recurse`, of its descendants; a shared one comes once."""
        for _, buffer in self.named_buffers(recurse=recurse):
            yield buffer

    def get_submodule(self, target: str) -> Module:
        """The module of that dotted name, ``""`` for this one; an `AttributeError` says where the path breaks off."""
        module: Module = self
        walked = ""
        for name in target.split(".") if target else ():
            found = module._modules.get(name)
            if found is None:
                raise AttributeError(
                    f"{walked or type(self).__name__} has no submodule {name!r} (asked for {target!r}); "
                    f"it has {sorted(n for n, m in module._modules.items() if m is not None)}"
                )
            module, walked = found, _join(walked, name)
        return module

    def get_parameter(self, target: str) -> Parameter:
        """The parameter of that dotted name; an `AttributeError` lists what the module has."""
        return self._get_member("_parameters", "parameter", target)

    def get_buffer(self, target: str) -> Tensor:
        """The buffer of that dotted name; an `AttributeError` lists what the module has."""
        return self._get_member("_buffers", "buffer", target)

    def _get_member(self, registry: str, kind: str, target: str) -> Any:
        path, _, name = target.rpartition(".")
        members = getattr(self.get_submodule(path), registry)
        if members.get(name) is None:
            have = sorted(n for n, member in members.items() if member is not None)
            raise AttributeError(f"{path or type(self).__name__} has no {kind} {name!r}; it has {have}")
        return members[name]

    def apply(self: Self, fn: Callable[[Module], Any]) -> Self:
        """Call `fn` on every descendant, then on this module (to initialise them, say); return this module."""
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    # state

    def state_dict(self, *, prefix: str = "") -> dict[str, np.ndarray]:
        """Copies of all parameters and persistent buffers by dotted name, in PyTorch's order.

        Returns
        -------
        dict of str to numpy.ndarray
            Copies, so that a kept best state does not change as training goes on (PyTorch's arrays alias the model). A
            shared parameter appears under each of its names. For `tg.save` or the safetensors library.
        """
        return {prefix + name: tensor.numpy() for name, tensor in entries(self)}

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True) -> LoadResult:
        """Overwrite parameters and persistent buffers with the arrays of `state_dict`, all or none.

        Parameters
        ----------
        state_dict : mapping of str to array
            NumPy arrays, Tensors or PyTorch's tensors, by dotted name; cast to the module's dtype.
        strict : bool
            Whether missing and unexpected keys are errors. Different shapes always are.

        Returns
        -------
        LoadResult
            The lists ``missing_keys`` and ``unexpected_keys``; both empty when `strict`.

        Raises
        ------
        StateDictError
            Naming every missing and unexpected key, and both shapes of every mismatch. The module is then
            unchanged.
        """
        return load(self, state_dict, strict)

    def train(self: Self, mode: bool = True) -> Self:
        """Put this module and its descendants in training mode (or, with False, evaluation mode); return it."""
        if not isinstance(mode, (bool, np.bool_)):
            raise ArgumentError(f"train(mode): expected a boolean, got {mode!r}")
        for module in self.modules():
            module.training = bool(mode)
        return self

    def eval(self: Self) -> Self:
        """Put this module and its descendants in evaluation mode; return it."""
        return self.train(False)

    def requires_grad_(self: Self, requires_grad: bool = True) -> Self:
        """Set `requires_grad` of every parameter; return this module."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def freeze(self: Self, *names: str) -> Self:
        """Freeze every parameter of this module and its descendants, or only those named; return this module.

        What only their gradients needed is then neither kept nor computed.

        Parameters
        ----------
        *names : str
            Dotted names of layers (with their descendants) and of parameters, as in `named_modules` and
            `named_parameters`.

        Raises
        ------
        ModuleError
            If no layer with parameters and no parameter has a given name; suggests the nearest names. Nothing is
            changed then.

        Examples
        --------
        >>> from tapegrad import nn
        >>> model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
        >>> _ = model[0].freeze()
        >>> model
        Sequential(
          (0): Linear(in_features=4, out_features=4, bias=True)  # 20 parameters, frozen
          (1): Linear(in_features=4, out_features=2, bias=True)  # 10 parameters
        )
        # total: 30 parameters, 10 trainable
        >>> model.unfreeze("0.bias").num_parameters(trainable_only=True)
        14
        """
        return self._train_named("freeze", names, False)

    def unfreeze(self: Self, *names: str) -> Self:
        """Undo `freeze`: train every parameter again, or only those named."""
        return self._train_named("unfreeze", names, True)

    def _train_named(self: Self, what: str, names: tuple[str, ...], requires_grad: bool) -> Self:
        if not names:
            return self.requires_grad_(requires_grad)
        try:
            chosen = [parameter for name in names for parameter in parameters_of(self, name)]
        except LookupError as error:
            raise ModuleError(f"{type(self).__name__}.{what}: {error}") from None
        for parameter in chosen:
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Set the gradients of all parameters to None; with ``set_to_none=False`` fill them with zeros."""
        for parameter in self.parameters():
            if parameter.grad is None:
                continue
            if set_to_none:
                parameter.grad = None
            else:
                zero_gradient(parameter)

    def to(self: Self, dtype: DTypeLike) -> Self:
        """Change the dtype of all parameters and float buffers, in place; return this module.

        Parameters
        ----------
        dtype : float32 or float64
            Rounds when it narrows. Gradients are set to None.

        Raises
        ------
        ModuleError
            If an optimiser holds one of the parameters, in memory of their present dtype.
        """
        wanted = float_dtype(dtype, f"{type(self).__name__}.to")
        changing = [(name, p) for name, p in self.named_parameters() if p.dtype != wanted]
        for name, parameter in changing:
            if parameter.is_held:
                raise ModuleError(
                    f"{type(self).__name__}.to({wanted}): an optimiser holds {name} as {parameter.dtype}; "
                    "convert the module before the optimiser is made, or convert copy.deepcopy(module)"
                )
        for _, parameter in changing:
            parameter.convert_(wanted)
        changed: dict[int, Tensor] = {}  # a shared buffer stays shared
        for module in self.modules():
            for name, buffer in module._buffers.items():
                if buffer is not None and buffer.dtype.kind == "f" and buffer.dtype != wanted:
                    module._buffers[name] = changed.setdefault(id(buffer), Tensor(buffer, wanted))
        return self

    def float(self: Self) -> Self:
        """``to("float32")``."""
        return self.to(np.float32)

    def double(self: Self) -> Self:
        """``to("float64")``."""
        return self.to(np.float64)

    def num_parameters(self, trainable_only: bool = False) -> int:
        """Number of elements of all parameters; a shared parameter counts once."""
        return sum(p.size for p in self.parameters() if p.requires_grad or not trainable_only)

    # text

    def extra_repr(self) -> str:
        """The arguments in the module's `repr`."""
        return ""

    def __repr__(self) -> str:
        return describe(self, Module.__repr__)


def _join(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name
