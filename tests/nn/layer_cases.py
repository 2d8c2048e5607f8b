"""The grid of layer calls that are held against PyTorch; read by `record_layers.py` and `test_layer_parity.py`."""

from __future__ import annotations

from itertools import product

import numpy as np

from .parity_cases import Case, _case, _draw


def convolutions() -> list[Case]:
    """conv1d and conv2d over stride, padding, dilation and groups."""
    cases = []
    sizes = {"conv1d": ((2, 4, 9), (3,)), "conv2d": ((1, 4, 7, 6), (3, 2))}
    for (function, (shape, kernel)), stride, padding, dilation, groups in product(
        sizes.items(), (1, 2), (0, 2), (1, 2), (1, 2, 4)
    ):
        arrays = {"input": _draw(1, *shape), "weight": _draw(2, 8, 4 // groups, *kernel), "bias": _draw(3, 8)}
        options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        cases.append(_case(function, arrays, options))
    for function, (shape, kernel) in sizes.items():
        arrays = {"input": _draw(4, *shape), "weight": _draw(5, 6, 4, *kernel)}
        cases += [_case(function, arrays, {"padding": p, "dilation": d}) for p in ("same", "valid") for d in (1, 2)]
        cases.append(_case(function, {"input": _draw(6, *shape[1:]), "weight": arrays["weight"]}, {"padding": 1}))
        pixel = {"input": arrays["input"], "weight": _draw(7, 5, 4, *(1,) * len(kernel)), "bias": _draw(8, 5)}
        cases += [_case(function, pixel, {"stride": s}, " pixelwise") for s in (1, 2)]
    wide = {"input": _draw(9, 2, 16, 6, 6), "weight": _draw(10, 24, 16, 3, 3), "bias": _draw(11, 24)}
    cases.append(_case("conv2d", wide, {"padding": 1}, " wide"))
    return cases


def pooling() -> list[Case]:
    """Windows of every kind."""
    cases = []
    for kernel, stride, padding, ceil in product((2, 3), (None, 1, 2), (0, 1), (False, True)):
        options = {"kernel_size": kernel, "stride": stride, "padding": padding, "ceil_mode": ceil}
        for axes, shape in ((1, (2, 3, 8)), (2, (2, 3, 7, 6))):
            arrays = {"input": _draw(21, *shape)}
            cases.append(_case(f"max_pool{axes}d", arrays, options))
            cases += [_case(f"avg_pool{axes}d", arrays, {**options, "count_include_pad": c}) for c in (False, True)]
    image = {"input": _draw(22, 2, 3, 9, 8)}
    cases += [_case("max_pool2d", image, {"kernel_size": 3, "dilation": d, "padding": 1}) for d in (1, 2)]
    cases.append(_case("avg_pool2d", image, {"kernel_size": (2, 3), "divisor_override": 4}))
    cases += [_case("adaptive_avg_pool2d", image, {"output_size": s}) for s in (1, (3, 5), (9, 8), (None, 3))]
    cases += [_case("adaptive_avg_pool1d", {"input": _draw(23, 2, 3, 7)}, {"output_size": s}) for s in (1, 3, 7, 10)]
    return cases


def normalisation() -> list[Case]:
    """Layer, root-mean-square, group and batch normalisation with and without their parameters."""
    cases = []
    for shape in ((3,), (4, 3), (5, 4, 3)):
        for axes, eps in product(range(1, len(shape) + 1), (1e-5, 0.1)):
            x, last = _draw(31, *shape), shape[-axes:]
            w, b = _draw(32, *last), _draw(33, *last)
            options = {"normalized_shape": last, "eps": eps}
            cases.append(_case("layer_norm", {"input": x}, options))
            cases.append(_case("rms_norm", {"input": x}, options))
            cases.append(_case("layer_norm", {"input": x, "weight": w, "bias": b}, options, " affine"))
            cases.append(_case("rms_norm", {"input": x, "weight": w}, options, " affine"))
    for shape, groups in product(((2, 6), (2, 6, 5), (3, 6, 2, 3)), (1, 2, 3)):
        x = _draw(34, *shape)
        cases.append(_case("group_norm", {"input": x}, {"num_groups": groups}))
        arrays = {"input": x, "weight": _draw(35, 6), "bias": _draw(36, 6)}
        cases.append(_case("group_norm", arrays, {"num_groups": groups}, " affine"))
    for shape in ((2, 4, 5), (3, 4, 2, 3)):
        arrays = {"input": _draw(37, *shape), "weight": _draw(38, 4), "bias": _draw(39, 4)}
        cases.append(_case("instance_norm", {"input": arrays["input"]}, {}))
        cases.append(_case("instance_norm", arrays, {}, " affine"))
    for shape, training in product(((5, 4), (3, 4, 5), (2, 4, 3, 3)), (True, False)):
        arrays = {"input": _draw(40, *shape), "weight": _draw(41, 4), "bias": _draw(42, 4)}
        options = {"running_mean": _draw(43, 4), "running_var": np.abs(_draw(44, 4)) + 0.5, "training": training}
        cases.append(_case("batch_norm", arrays, options, " affine"))
        cases.append(_case("batch_norm", {"input": arrays["input"]}, options))
    return cases


def embeddings() -> list[Case]:
    """Rows of a table."""
    cases = []
    for shape, padding in product(((), (4,), (2, 3)), (None, 1, -1)):
        index = np.random.RandomState(51).randint(0, 5, shape)
        arrays = {"input": index, "weight": _draw(52, 5, 3)}
        cases.append(_case("embedding", arrays, {"padding_idx": padding}, f" {shape}"))
    return cases


CASES = [*convolutions(), *pooling(), *normalisation(), *embeddings()]
