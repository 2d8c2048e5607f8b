"""Connectionist temporal classification, held against PyTorch; see `record_layers.py`."""

from __future__ import annotations

from itertools import product

import numpy as np

from .parity_cases import REDUCTIONS, Case, _case, _draw

_SCORES = _draw(91, 7, 3, 4)
_LOGARITHMS = _SCORES - np.log(np.exp(_SCORES).sum(-1, keepdims=True))
_PADDED = np.array([[1, 2, 1], [3, 3, 0], [1, 0, 0]])


def ctc() -> list[Case]:
    """Padded labels and labels in a row, with and without alignments, of log-probabilities and of plain scores."""
    cases = []
    lengths = {"input_lengths": (7, 5, 3), "target_lengths": (3, 2, 1)}
    for (note, x), reduction, zero in product(
        ((" scores", _SCORES), ("", _LOGARITHMS)), REDUCTIONS, (False, True)
    ):
        options = {"reduction": reduction, "zero_infinity": zero}
        row = {"log_probs": x, "targets": np.array([1, 2, 1, 3, 3, 1])}
        cases.append(_case("ctc_loss", {"log_probs": x, "targets": _PADDED}, {**lengths, **options}, note))
        cases.append(_case("ctc_loss", row, {**lengths, **options}, f"{note} in a row"))
        few = {"input_lengths": (7, 4, 0), "target_lengths": (0, 3, 0), "blank": 3, **options}
        labels = np.array([[0, 0, 0], [1, 2, 1], [0, 1, 2]])
        cases.append(_case("ctc_loss", {"log_probs": x, "targets": labels}, few, f"{note} no labels"))
    tight = {"input_lengths": (4, 5, 2), "target_lengths": (3, 3, 3), "zero_infinity": True}
    repeated = {"log_probs": _LOGARITHMS, "targets": np.array([[1, 1, 1], [3, 1, 3], [2, 2, 2]])}
    cases += [_case("ctc_loss", repeated, {**tight, "reduction": r}, " do not fit") for r in REDUCTIONS]
    one = {"log_probs": _LOGARITHMS[:, 0], "targets": np.array([1, 2])}
    cases.append(_case("ctc_loss", one, {"input_lengths": (7,), "target_lengths": (2,)}, " one sample"))
    return cases


CASES = ctc()
