"""Validation of saved state dicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import StateDictError

__all__ = ["fitting"]


def fitting(state_dict: Any, groups: Sequence[slice],
            shapes: Sequence[Mapping[str, tuple[int, ...]]]) -> tuple[list[dict[str, Any]], dict[int, dict[str, Any]]]:
    """The groups of a state dict, and its states by the index of the parameter here.

    Parameters
    ----------
    state_dict : dict
        Of `Optimizer.state_dict`, or PyTorch's.
    groups : sequence of slice
        Indices of each group's parameters.
    shapes : sequence of dict
        For each parameter the shapes of its states, by name.

    Raises
    ------
    StateDictError
    """
    if not isinstance(state_dict, dict) or not {"state", "param_groups"} <= set(state_dict):
        raise StateDictError("an optimiser's state dict has the keys 'state' and 'param_groups'")
    saved_groups = state_dict["param_groups"]
    if len(saved_groups) != len(groups):
        raise StateDictError(f"the state dict has {len(saved_groups)} parameter groups, the optimiser {len(groups)}")
    places: dict[Any, int] = {}
    for g, (saved, part) in enumerate(zip(saved_groups, groups, strict=True)):
        count = part.stop - part.start
        if len(saved["params"]) != count:
            raise StateDictError(f"group {g} has {len(saved['params'])} parameters in the state dict and {count} "
                                 "in the optimiser")
        places.update(zip(saved["params"], range(part.start, part.stop), strict=True))
    state = {}
    for key, saved in state_dict["state"].items():
        k = places.get(key, places.get(int(key)) if isinstance(key, str) and key.isdigit() else None)
        if k is None:
            raise StateDictError(f"state for parameter {key!r}, which is in no group of the state dict")
        state[k] = saved
        for name, shape in shapes[k].items():
            given = None if saved.get(name) is None else np.shape(saved[name])
            if given not in (None, shape):
                raise StateDictError(f"{name} of parameter {k} has shape {list(given)} in the state dict, "
                                     f"the parameter {list(shape)}")
    return saved_groups, state


def listed(name: str, groups: list[dict[str, Any]]) -> str:
    """The `repr` of an optimiser: its groups and their hyper-parameters."""
    lines = [f"{name} ("]
    for g, group in enumerate(groups):
        lines.append(f"Parameter Group {g}")
        lines += [f"    {key}: {group[key]}" for key in sorted(group) if key not in ("params", "param_names")]
    return "\n".join([*lines, ")"])
