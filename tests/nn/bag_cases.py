"""The grid of `embedding_bag` calls that are held against PyTorch; see `record_layers.py`."""

from __future__ import annotations

from itertools import product

import numpy as np

from .parity_cases import Case, _case, _draw


def bags() -> list[Case]:
    """Sums, means and maxima, in rows and by offsets, with factors and a padding index."""
    cases = []
    table, index = _draw(1, 6, 3), np.random.RandomState(2).randint(0, 6, (4, 5))
    for mode, padding in product(("sum", "mean", "max"), (None, 2)):
        options = {"mode": mode, "padding_idx": padding}
        cases.append(_case("embedding_bag", {"input": index, "weight": table}, options))
        for last in (False, True):
            arrays = {"input": index.ravel(), "weight": table, "offsets": np.array([0, 3, 3, 9, 20])}
            cases.append(_case("embedding_bag", arrays, {**options, "include_last_offset": last}))
    for padding, flat in product((None, 2), (False, True)):
        arrays = {"input": index, "weight": table, "per_sample_weights": _draw(3, 4, 5)}
        if flat:
            arrays = {name: array.ravel() if name != "weight" else array for name, array in arrays.items()}
            arrays["offsets"] = np.array([0, 3, 3, 9])
        cases.append(_case("embedding_bag", arrays, {"mode": "sum", "padding_idx": padding}, " weighted"))
    return cases


CASES = bags()
