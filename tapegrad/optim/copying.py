"""Copies and pickles of optimisers: hyper-parameters and state by value; rows are rebuilt."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import numpy as np

from ..engine.storage import address_of
from ..tensor.tensor import Tensor
from .store import aligned_zeros

__all__ = ["Copies"]

#: attributes that hold addresses, or are derived from the parameter groups
_MADE = frozenset({
    "_active", "_after", "_clip", "_first_hyper", "_given", "_hyper_words", "_index", "_list", "_listed",
    "_lists_made", "_loose", "_n", "_parameters", "_rows", "_slices", "_state", "_steps", "_synced", "_table",
    "_total", "_words", "dtype", "layout", "store",
})


class Copies:
    """Construction, copies and pickles of optimisers."""

    param_groups: list[dict[str, Any]]

    def _begin(self) -> None:
        """Start without parameters."""
        self.layout = 0
        self._loose: list[Any] = []
        self._parameters: list[Tensor] = []
        self._index: dict[int, int] = {}
        self._given: tuple[Any, tuple[int, ...]] = (None, ())  # a tuple of parameters, and their indices
        self._state: list[dict[str, np.ndarray]] = []
        self._slices: list[slice] = []
        self._table = np.zeros((0, 0), np.int64)

    def __copy__(self) -> Any:
        """An optimiser with its own state over the same parameters."""
        return deepcopy(self, {id(p): p for p in self._parameters})

    def __getstate__(self: Any) -> dict[str, Any]:
        kept = {name: value for name, value in vars(self).items() if name not in _MADE}
        return {"attributes": kept, "steps": self._table[:, self._steps].copy(),
                "arrays": [{name: array.copy() for name, array in held.items() if name in self.row.saved_names}
                           for held in self._state]}

    def __setstate__(self: Any, state: dict[str, Any]) -> None:
        vars(self).update(state["attributes"])
        self._begin()
        for group in self.param_groups:
            begin = len(self._parameters)
            self._parameters += group["params"]
            self._slices.append(slice(begin, len(self._parameters)))
        self._index = {id(p): k for k, p in enumerate(self._parameters)}
        self._state = [{} for _ in self._parameters]
        self._build()
        arrays = state["arrays"]
        self._activate([k for k, held in enumerate(arrays) if held])
        for k, held in enumerate(arrays):
            for name, array in held.items():
                self._place(k, name, array)
        self._table[:, self._steps] = state["steps"]

    def _place(self: Any, k: int, name: str, values: np.ndarray) -> None:
        """Set the state `name` of parameter `k`."""
        held = self._state[k]
        if name not in held:  # the hyper-parameter that needs it was switched off since
            held[name] = aligned_zeros(max(values.size, 1), self.dtype)[:values.size].reshape(values.shape)
            self._table[k, self.row.places[name]] = address_of(held[name]) // self.dtype.itemsize
        held[name][...] = values
