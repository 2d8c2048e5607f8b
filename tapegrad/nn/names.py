"""Lookup of parameters by dotted name, of their layer or their own."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

from .parameter import Parameter
from .protocols import Tree

_SHOWN = 6


def parameters_of(module: Tree, name: Any) -> list[Parameter]:
    """The parameters of the layer `name` and its descendants, or the one parameter of that name.

    Raises
    ------
    LookupError
        With suggestions: the nearest names, or the layers that have parameters.
    """
    if not isinstance(name, str):
        raise LookupError(f"{name!r} of type {type(name).__name__} is no name; names are strings such as '0' or "
                          "'0.weight', and a layer that you hold is asked itself, as in model[0].freeze()")
    parameters = dict(module.named_parameters(remove_duplicate=False))
    layers = {layer: list(m.parameters()) for layer, m in module.named_modules(remove_duplicate=False) if layer}
    if name in parameters:
        return [parameters[name]]
    if layers.get(name):
        return layers[name]
    trainable = [layer for layer, held in layers.items() if held]
    if name in layers:
        kind = type(module.get_submodule(name)).__name__
        raise LookupError(f"layer {name!r} ({kind}) has no parameters; {_listed('those that have are', trainable)}")
    near = get_close_matches(name, [*trainable, *parameters], _SHOWN, 0.5)
    if near:
        raise LookupError(f"no layer or parameter {name!r}; the nearest are {', '.join(near)}")
    raise LookupError(f"no layer or parameter {name!r}; {_listed('there are', trainable or list(parameters))}")


def _listed(what: str, names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{what} {', '.join(names[:_SHOWN]) or 'none'}{more}"
