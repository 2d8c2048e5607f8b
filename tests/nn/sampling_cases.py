"""Interpolation in the modes that came later, grids, transposed convolution over volumes: held against PyTorch."""

from __future__ import annotations

from itertools import product

import numpy as np

from .parity_cases import Case, _case, _draw

SIGNAL, IMAGE, VOLUME = _draw(61, 2, 3, 7), _draw(62, 2, 2, 6, 5), _draw(63, 1, 2, 3, 4, 5)


def interpolation() -> list[Case]:
    """Every mode, larger and smaller, by sizes and by scales."""
    cases = []
    for x, size in ((SIGNAL, 3), (SIGNAL, 16), (IMAGE, (4, 9)), (VOLUME, (2, 7, 3))):
        for mode in ("area", "nearest-exact"):
            cases.append(_case("interpolate", {"input": x}, {"size": size, "mode": mode}))
    for x, scale in ((SIGNAL, 1.7), (IMAGE, (0.6, 2.5)), (VOLUME, 1.3)):
        cases.append(_case("interpolate", {"input": x}, {"scale_factor": scale, "mode": "nearest-exact"}))
        cases.append(_case("interpolate", {"input": x}, {"scale_factor": scale, "mode": "area"}))
    for aligned, scaled in product((False, True), (False, True)):
        options = {"align_corners": aligned}
        cases.append(_case("interpolate", {"input": VOLUME}, {"mode": "trilinear", **options, **(
            {"scale_factor": 1.6} if scaled else {"size": (2, 7, 1)})}))
        for size, scale, smooth in (((9, 3), (0.4, 2.2), True), ((1, 12), (1.7, 0.5), True), ((9, 3), 1.5, False)):
            given = {"scale_factor": scale} if scaled else {"size": size}
            for mode in ("bilinear", "bicubic") if smooth else ("bicubic",):
                cases.append(_case("interpolate", {"input": IMAGE},
                                   {"mode": mode, "antialias": smooth, **options, **given}))
    for size in ((9, 3), (2, 12)):
        options = {"mode": "lanczos", "antialias": True, "size": size}
        cases.append(_case("interpolate", {"input": _draw(64, 1, 1, 11, 8)}, options))
    for x, made in ((IMAGE, {"mode": "bicubic", "scale_factor": 2}), (VOLUME, {"mode": "trilinear", "size": 4})):
        cases.append(Case(f"Upsample {made}", "Upsample", {"input": x}, module=made))
    return cases


def grids() -> list[Case]:
    """Every mode and padding, with places inside and far outside."""
    cases = []
    flat, deep = 1.3 * _draw(65, 2, 3, 4, 2), 1.3 * _draw(66, 1, 2, 3, 2, 3)
    flat[0, 0, 0], deep[0, 0, 0, 0] = (-9.0, 7.0), (5.0, -3.0, 0.25)
    for mode, padding, aligned in product(("bilinear", "nearest", "bicubic"), ("zeros", "border", "reflection"),
                                          (False, True)):
        options = {"mode": mode, "padding_mode": padding, "align_corners": aligned}
        for x, grid in ((IMAGE, flat), (VOLUME, deep)):
            if mode == "nearest":  # no gradient by the grid
                cases.append(_case("grid_sample", {"input": x}, {"grid": grid, **options}))
            elif mode == "bilinear" or x is IMAGE:
                cases.append(_case("grid_sample", {"input": x, "grid": grid}, options))
    for aligned in (False, True):
        theta, deeper = _draw(67, 2, 2, 3), _draw(68, 1, 3, 4)
        cases.append(_case("affine_grid", {"theta": theta}, {"size": (2, 3, 4, 5), "align_corners": aligned}))
        cases.append(_case("affine_grid", {"theta": deeper}, {"size": (1, 1, 2, 1, 3), "align_corners": aligned}))
    line = {"input": IMAGE[:, :, :, :1], "grid": np.ascontiguousarray(flat)}
    return [*cases, _case("grid_sample", line, {"padding_mode": "reflection", "align_corners": True}, " thin")]


def layers() -> list[Case]:
    """Transposed convolution over volumes, windows at given random places, softmax in clusters, projections."""
    cases = []
    weight, bias = _draw(71, 2, 3, 2, 3, 1), _draw(72, 6)
    for options in ({}, {"stride": 2, "padding": 1, "output_padding": (1, 0, 1)}, {"dilation": (1, 2, 1)},
                    {"groups": 2, "stride": (1, 2, 3), "bias": bias}):
        cases.append(_case("conv_transpose3d", {"input": VOLUME, "weight": weight}, options))
    made = {"in_channels": 2, "out_channels": 3, "kernel_size": 2, "stride": 2}
    cases.append(Case("ConvTranspose3d", "ConvTranspose3d", {"input": VOLUME}, module=made))
    random = np.random.RandomState(73).random_sample((2, 2, 2))
    for options in ({"kernel_size": 2, "output_size": (3, 2)}, {"kernel_size": (3, 1), "output_ratio": (0.5, 0.7)},
                    {"kernel_size": 2, "output_size": (1, 4)}):
        cases.append(_case("fractional_max_pool2d", {"input": IMAGE}, {**options, "_random_samples": random}))
    options = {"kernel_size": (1, 1, 2), "output_size": (2, 3, 3)}
    options["_random_samples"] = random.reshape(-1)[:6].reshape(1, 2, 3)
    cases.append(_case("fractional_max_pool3d", {"input": VOLUME}, options))
    x, labels = _draw(74, 9, 8), np.array([0, 3, 4, 9, 10, 19, 2, 5, 12])
    for made in ({"cutoffs": [4]}, {"cutoffs": [1, 4, 10], "div_value": 2.0, "head_bias": True}):
        made = {"in_features": 8, "n_classes": 20, **made}
        given = {"input": x, "target": labels}
        cases.append(Case(f"Adaptive {made}", "AdaptiveLogSoftmaxWithLoss", given, module=made))
    one = {"input": x[0], "target": np.array(11)}
    cases.append(Case("Adaptive one", "AdaptiveLogSoftmaxWithLoss", one,
                      module={"in_features": 8, "n_classes": 20, "cutoffs": [10]}))
    sequence = _draw(75, 5, 3, 4)
    for more in ({}, {"num_layers": 2, "bidirectional": True}, {"bias": False, "batch_first": True}):
        made = {"input_size": 4, "hidden_size": 5, "proj_size": 2, **more}
        cases.append(Case(f"LSTM {made}", "LSTM", {"input": sequence}, module=made))
    cases.append(Case("LSTM single", "LSTM", {"input": sequence[:, 0]},
                      module={"input_size": 4, "hidden_size": 3, "proj_size": 1}))
    return cases


CASES = [*interpolation(), *grids(), *layers()]
