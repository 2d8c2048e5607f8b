"""State dicts: the implementation of `Module.state_dict` and `Module.load_state_dict`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from ..errors import StateDictError
from ..tensor.tensor import Tensor
from .protocols import Tree

__all__ = ["LoadResult", "entries", "load"]

_SHOWN = 20


class LoadResult(NamedTuple):
    """The keys that a state dict lacked, and those unknown to the module."""

    missing_keys: list[str]
    unexpected_keys: list[str]


def entries(module: Tree) -> Iterator[tuple[str, Tensor]]:
    """Every parameter and persistent buffer with its name, in PyTorch's order: own ones, then the children's."""
    for owner_name, owner in module.named_modules(remove_duplicate=False):
        prefix = f"{owner_name}." if owner_name else ""
        for name, parameter in owner._parameters.items():
            if parameter is not None:
                yield prefix + name, parameter
        for name, buffer in owner._buffers.items():
            if buffer is not None and name not in owner._transient:
                yield prefix + name, buffer


def load(module: Tree, state: Mapping[str, Any], strict: bool) -> LoadResult:
    """Validate all of `state` against `module`, then write it; see `Module.load_state_dict`."""
    if not isinstance(state, Mapping):
        raise StateDictError(
            f"load_state_dict: expected a mapping of names to arrays, got {type(state).__name__}"
            + ("; read a file with tg.load(path)" if isinstance(state, (str, bytes)) else "")
        )
    targets = dict(entries(module))
    planned: dict[int, tuple[str, Tensor, np.ndarray]] = {}
    problems: list[str] = []
    for name, target in targets.items():
        if name not in state:
            continue
        try:
            values = _fitting(state[name], target)
        except StateDictError as error:
            problems.append(f"{name}: {error}")
            continue
        first = planned.setdefault(id(target), (name, target, values))
        if first[2] is not values and not np.array_equal(first[2], values, equal_nan=True):
            problems.append(f"{name}: is one tensor with {first[0]} in the module, but their values differ")
    # one name of a tied parameter is enough: some writers keep only one
    missing = [name for name, target in targets.items() if name not in state and id(target) not in planned]
    unexpected = [name for name in state if name not in targets]
    if problems or (strict and (missing or unexpected)):
        raise StateDictError(_complaint(module, missing, unexpected, problems, strict))
    for _, target, values in planned.values():
        target.copy_(values)
    return LoadResult(missing, unexpected)


def _fitting(value: Any, target: Tensor) -> np.ndarray:
    """`value` as an array of the target's shape and dtype."""
    if hasattr(value, "detach"):  # a Tensor, or PyTorch's
        value = value.detach()
        value = value.numpy() if isinstance(value, Tensor) else _from_torch(value)
    array = np.asarray(value)
    if array.shape != target.shape:
        raise StateDictError(f"the state has shape {list(array.shape)}, the module {list(target.shape)}")
    wanted = target.dtype
    if array.dtype.kind in "cOSUmM" or (array.dtype.kind == "f" and wanted.kind != "f"):
        raise StateDictError(f"the state has dtype {array.dtype}, which cannot become {wanted}")
    try:
        return array.astype(wanted, copy=False)
    except (TypeError, ValueError):
        raise StateDictError(f"the state has dtype {array.dtype}, which cannot become {wanted}") from None


def _from_torch(value: Any) -> Any:
    try:
        return value.cpu().numpy()
    except TypeError:  # NumPy has no bfloat16
        return value.cpu().float().numpy()


def _complaint(
    module: Tree, missing: list[str], unexpected: list[str], problems: list[str], strict: bool
) -> str:
    lines = [f"load_state_dict: the state does not fit {type(module).__name__}, which is unchanged"]
    if strict and missing:
        lines.append(f"  missing keys ({len(missing)}): {_listed(missing)}")
    if strict and unexpected:
        lines.append(f"  unexpected keys ({len(unexpected)}): {_listed(unexpected)}")
    lines.extend(f"  {problem}" for problem in problems[:_SHOWN])
    if len(problems) > _SHOWN:
        lines.append(f"  and {len(problems) - _SHOWN} more")
    if strict and missing and unexpected:
        heads = {name.partition(".")[0] for name in unexpected if isinstance(name, str)}
        if len(heads) == 1 and {name.partition(".")[2] for name in map(str, unexpected)} >= set(missing):
            head = heads.pop() + "."
            lines.append(
                f"  every key starts with {head!r}: pass {{k.removeprefix({head!r}): v for k, v in ...}}"
            )
    return "\n".join(lines)


def _listed(names: list[Any]) -> str:
    shown = ", ".join(str(name) for name in names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more"
