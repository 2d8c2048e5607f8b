"""Layers whose weights are computed, or bounded, trained here and, to record what becomes of them, by PyTorch."""

from __future__ import annotations

import numpy as np

STEPS, RATE = 4, 0.1

#: by name: layer, its arguments, function of ``nn.utils`` and its options, or without such the layer's
CASES = {
    "spectral": ("Linear", (5, 4), "parametrizations.spectral_norm", {}),
    "spectral twice": ("Conv2d", (2, 3, 2), "parametrizations.spectral_norm", {"n_power_iterations": 2}),
    "spectral transposed": ("ConvTranspose2d", (2, 3, 2), "parametrizations.spectral_norm", {}),
    "spectral of old": ("Linear", (5, 4), "spectral_norm", {}),
    "spectral of old, transposed": ("ConvTranspose2d", (2, 3, 2), "spectral_norm", {"n_power_iterations": 2}),
    "weight norm": ("Linear", (5, 4), "parametrizations.weight_norm", {}),
    "weight norm of all": ("Conv2d", (2, 3, 2), "parametrizations.weight_norm", {"dim": None}),
    "weight norm of columns": ("Linear", (5, 4), "parametrizations.weight_norm", {"dim": 1}),
}
for _map in (None, "matrix_exp", "cayley", "householder"):
    for _shape in ((4, 4), (3, 5), (5, 3)):
        CASES[f"orthogonal {_map} {_shape}"] = ("Linear", _shape, "parametrizations.orthogonal",
                                                {"orthogonal_map": _map})
CASES["orthogonal plain"] = ("Linear", (3, 5), "parametrizations.orthogonal",
                             {"orthogonal_map": "householder", "use_trivialization": False})
for _layer in ("Embedding", "EmbeddingBag"):
    for _options in ({"norm_type": 2.0}, {"norm_type": 1.0}, {"norm_type": 3.5, "padding_idx": 1}, {
            "norm_type": float("inf")}):
        CASES[f"{_layer} {_options}"] = (_layer, (7, 3), "", {"max_norm": 0.7, **_options})


def given(layer: str, arguments: tuple[int, ...]) -> np.ndarray:
    """The input."""
    if layer.startswith("Embedding"):
        return np.array([[0, 3, 3], [6, 1, 0], [2, 3, 6]])
    shape = (6, arguments[0]) if layer == "Linear" else (2, arguments[0], 4, 4)
    return np.random.RandomState(5).standard_normal(shape)
