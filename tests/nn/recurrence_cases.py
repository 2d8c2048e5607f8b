"""Recurrent layers and cells that are held against PyTorch; see `record_layers.py`."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np

from .parity_cases import Case, _draw, _label

KINDS = ("RNN", "LSTM", "GRU")


def _module(kind: str, shape: tuple[int, ...], states: tuple[int, ...] | None = None, **options: Any) -> Case:
    """A layer of 3 inputs and 4 units; `states` is the shape of the initial state."""
    arrays = {"input": _draw(1, *shape)}
    if states is not None:
        arrays["hx"] = _draw(2, *states)
    name = f"{kind}[{'x'.join(map(str, shape))}]{_label(options)}{'' if states is None else ' from a state'}"
    return Case(name, kind, arrays, module={"input_size": 3, "hidden_size": 4, **options})


def layers() -> list[Case]:
    """Whole sequences over the grid of options."""
    cases = []
    for kind, layers, both, first, bias in product(KINDS, (1, 2), (False, True), (False, True), (True, False)):
        if first and not bias:
            continue
        options = {"num_layers": layers, "bidirectional": both, "batch_first": first, "bias": bias}
        cases.append(_module(kind, (2, 5, 3) if first else (5, 2, 3), **options))
        if kind != "LSTM":  # whose initial states are a pair
            states = (layers * (2 if both else 1), 2, 4)
            cases.append(_module(kind, (2, 5, 3) if first else (5, 2, 3), states, **options))
    for kind, shape in product(KINDS, ((1, 2, 3), (5, 1, 3), (1, 1, 3), (4, 3))):
        cases.append(_module(kind, shape, bidirectional=True))
    cases += [_module("RNN", (5, 2, 3), nonlinearity="relu", num_layers=2, bidirectional=b) for b in (False, True)]
    cases.append(_module("GRU", (4, 3), (2, 4), bidirectional=True))
    return cases


def cells() -> list[Case]:
    """Single steps."""
    cases = []
    for kind, shape, bias in product(KINDS, ((2, 3), (3,)), (True, False)):
        cases.append(_module(f"{kind}Cell", shape, bias=bias))
        if kind != "LSTM":
            cases.append(_module(f"{kind}Cell", shape, (*shape[:-1], 4), bias=bias))
    cases.append(_module("RNNCell", (2, 3), (2, 4), nonlinearity="relu"))
    return cases


CASES = [*layers(), *cells()]
assert np.unique([case.name for case in CASES]).size == len(CASES)
