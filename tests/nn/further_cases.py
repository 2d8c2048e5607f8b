"""Activations, pooling, rearrangements and losses that came later: calls that are held against PyTorch."""

from __future__ import annotations

from itertools import product

import numpy as np

from .parity_cases import REDUCTIONS, Case, _case, _draw

#: with the kinks of every activation
KINKS = np.array([-7.0, -3.5, -3.0, -1.25, -0.5, -1e-3, 0.0, 1e-3, 0.5, 0.75, 3.0, 4.5, 6.0, 25.0])


def module(name: str, x: np.ndarray, note: str = "", **made: object) -> Case:
    """A layer."""
    return Case(f"{name}[{'x'.join(map(str, x.shape))}]{made}{note}", name, {"input": x}, module=made)


def activations() -> list[Case]:
    """At their kinks and between, a scalar, an empty array, images.

    Without hardsigmoid, which PyTorch divides by 6 in float32 whatever the dtype.
    """
    cases = []
    for name, grid in {
        "celu": [{}, {"alpha": 0.5}, {"alpha": 3.0}], "mish": [{}], "hardswish": [{}],
        "hardshrink": [{}, {"lambd": 3.0}, {"lambd": 0.0}], "softshrink": [{}, {"lambd": 3.0}, {"lambd": 0.0}],
        "tanhshrink": [{}], "threshold": [{"threshold": 0.5, "value": 20.0}, {"threshold": -0.5, "value": -3.0}],
    }.items():
        for options in grid:
            cases.append(_case(name, {"input": KINKS}, options))
            cases.append(_case(name, {"input": _draw(1, 2, 3, 5)}, options))
            cases.append(_case(name, {"input": np.array(0.3)}, options))
        cases.append(_case(name, {"input": np.zeros((0, 3))}, grid[0]))
    for shape, dim in (((4, 6), -1), ((4, 6), 0), ((2, 4, 3), 1)):
        cases.append(_case("glu", {"input": _draw(2, *shape)}, {"dim": dim}))
        cases.append(_case("softmin", {"input": _draw(3, *shape)}, {"dim": dim}))
    for shape, slopes in (((4, 3), 1), ((4, 3), 3), ((2, 3, 4), 3), ((2, 3, 4, 5), 3), ((5,), 1), ((), 1)):
        x, weight = _draw(4, *shape), np.linspace(-0.5, 0.75, slopes)
        if x.ndim:
            x.flat[0] = 0.0
        cases.append(_case("prelu", {"input": x, "weight": weight}, {}, f" {slopes}"))
    image = _draw(5, 2, 3, 4, 5)
    for name, made in (("CELU", {"alpha": 2.0}), ("Mish", {}), ("Hardswish", {}),
                       ("Hardshrink", {"lambd": 0.3}), ("Softshrink", {"lambd": 0.3}), ("Tanhshrink", {}),
                       ("Threshold", {"threshold": 0.1, "value": 2.0}), ("PReLU", {}), ("PReLU", {"num_parameters": 3}),
                       ("GLU", {"dim": 2}), ("Softmin", {"dim": 1}), ("Softmax2d", {})):  # fmt: skip
        cases.append(module(name, image, **made))
    cases.append(module("Softmax2d", image[0]))
    return cases


def maxima(x: np.ndarray, axes: int, kernel: int, padding: int) -> tuple[np.ndarray, np.ndarray]:
    """The maxima of windows that touch each other, and their places."""
    widths = [(0, 0)] * (x.ndim - axes) + [(padding, padding)] * axes
    padded = np.pad(x, widths, constant_values=-np.inf)
    places = np.pad(np.broadcast_to(np.arange(np.prod(x.shape[-axes:])).reshape(x.shape[-axes:]), x.shape), widths)
    lead, counts = x.shape[:-axes], [n // kernel for n in padded.shape[-axes:]]
    cut = (..., *(slice(0, n * kernel) for n in counts))
    split = sum(([n, kernel] for n in counts), [])
    at = len(lead)
    order = (*range(at), *range(at, at + 2 * axes, 2), *range(at + 1, at + 2 * axes, 2))
    flat = [np.transpose(a[cut].reshape(*lead, *split), order).reshape(*lead, *counts, -1) for a in (padded, places)]
    best = flat[0].argmax(axis=-1)[..., None]
    return tuple(np.take_along_axis(a, best, axis=-1)[..., 0] for a in flat)


def pooling() -> list[Case]:
    """Windows over one to three axes, uneven, overlapping, with padding."""
    cases = []
    volume, small = _draw(21, 1, 2, 5, 7, 6), _draw(22, 2, 4, 5, 3)
    for kernel, stride, padding, ceil in product((2, (3, 2, 3)), (None, 1, (2, 1, 3)), (0, 1), (False, True)):
        options = {"kernel_size": kernel, "stride": stride, "padding": padding, "ceil_mode": ceil}
        for x in (volume, small):
            cases.append(_case("max_pool3d", {"input": x}, options))
            cases += [_case("avg_pool3d", {"input": x}, {**options, "count_include_pad": c}) for c in (False, True)]
    cases.append(_case("max_pool3d", {"input": volume}, {"kernel_size": 2, "dilation": (1, 2, 3), "stride": 1}))
    cases.append(_case("avg_pool3d", {"input": volume}, {"kernel_size": (2, 3, 1), "divisor_override": 5}))
    flat = np.round(volume)  # with equal elements: the first in order is the greatest
    cases.append(_case("max_pool3d", {"input": flat}, {"kernel_size": 3}, " equal"))
    for axes, (kernel, padding, shape, given) in product((1, 2, 3), (
            (2, 0, (4, 6, 6), False), (2, 0, (5, 7, 6), True), (3, 1, (4, 7, 4), False))):
        x, options = _draw(24, 2, 3, *shape[-axes:]), {"kernel_size": kernel, "padding": padding}
        y, at = maxima(x, axes, kernel, padding)
        size = shape[-axes:] if given else None
        cases.append(_case(f"max_unpool{axes}d", {"input": y, "indices": at}, {**options, "output_size": size}))
        cases.append(_case(f"max_pool{axes}d", {"input": x}, {**options, "return_indices": True}))
    for size in (1, 2, (3, 4, 5), (5, 7, 6), (None, 2, None), (7, 3, 2)):
        cases.append(_case("adaptive_avg_pool3d", {"input": volume}, {"output_size": size}))
        cases.append(_case("adaptive_max_pool3d", {"input": volume}, {"output_size": size}))
    cases.append(_case("adaptive_max_pool3d", {"input": flat}, {"output_size": 2}, " equal"))
    for size in (1, (3, 4), (None, 3), (9, 2)):
        for x in (volume[0], np.round(2 * volume[0])):
            cases.append(_case("adaptive_max_pool2d", {"input": x}, {"output_size": size}, f" {x.flat[0]:.3f}"))
    cases += [_case("adaptive_max_pool1d", {"input": volume[0, 0]}, {"output_size": s}) for s in (1, 4, 6, 9)]
    positive = np.abs(volume) + 0.1
    for norm, stride, ceil in product((1.0, 2.0, 3.5), (None, 1), (False, True)):
        options = {"norm_type": norm, "stride": stride, "ceil_mode": ceil}
        cases.append(_case("lp_pool1d", {"input": positive[0, 0]}, {**options, "kernel_size": 4}))
        cases.append(_case("lp_pool2d", {"input": positive[0]}, {**options, "kernel_size": (2, 3)}))
        cases.append(_case("lp_pool3d", {"input": positive}, {**options, "kernel_size": (2, 3, 1)}))
    for shape, size in product(((2, 5, 4), (2, 6, 3, 4), (1, 4, 2, 3, 2)), (1, 2, 3, 5)):
        cases.append(_case("local_response_norm", {"input": _draw(23, *shape)}, {"size": size, "alpha": 0.5, "k": 2.0}))
    cases.append(_case("local_response_norm", {"input": 3.0 * volume}, {"size": 2}))
    for name, made in (("MaxPool3d", {"kernel_size": 2, "padding": 1}), ("AvgPool3d", {"kernel_size": 3, "stride": 2}),
                       ("AdaptiveAvgPool3d", {"output_size": 2}), ("AdaptiveMaxPool3d", {"output_size": (2, None, 1)}),
                       ("LPPool3d", {"norm_type": 2, "kernel_size": 2}),
                       ("LocalResponseNorm", {"size": 3, "alpha": 0.1})):  # fmt: skip
        cases.append(module(name, volume, **made))
    for name, made in (("AdaptiveMaxPool2d", {"output_size": (2, None)}),
                       ("LPPool2d", {"norm_type": 2, "kernel_size": 2})):  # fmt: skip
        cases.append(module(name, volume[0], **made))
    for name, made in (("AdaptiveMaxPool1d", {"output_size": 4}), ("LPPool1d", {"norm_type": 2, "kernel_size": 3})):
        cases.append(module(name, volume[0, 0], **made))
    return cases


def rearrangements() -> list[Case]:
    """Shuffles."""
    cases = []
    for shape, factor in (((2, 8, 3, 2), 2), ((9, 2, 5), 3), ((1, 2, 4, 1, 3), 2)):
        cases.append(_case("pixel_shuffle", {"input": _draw(31, *shape)}, {"upscale_factor": factor}))
    for shape, factor in (((2, 3, 4, 6), 2), ((2, 3, 6), 3), ((1, 2, 1, 2, 4), 2)):
        cases.append(_case("pixel_unshuffle", {"input": _draw(32, *shape)}, {"downscale_factor": factor}))
    for shape, groups in (((2, 6, 3), 2), ((2, 6, 3, 2), 3), ((1, 6, 2, 1, 2), 6)):
        cases.append(_case("channel_shuffle", {"input": _draw(33, *shape)}, {"groups": groups}))
    image = _draw(34, 2, 4, 4, 6)
    cases.append(module("PixelUnshuffle", image, downscale_factor=2))
    return [*cases, module("PixelShuffle", image, upscale_factor=2), module("ChannelShuffle", image, groups=2)]


def losses() -> list[Case]:
    """Over the grid of their options."""
    cases = []
    x, y, var = _draw(41, 4, 3), _draw(42, 4, 3), np.abs(_draw(43, 4, 3)) + 0.1
    var[0, 0] = 1e-9  # below eps
    counts = np.array([[0.0, 1.0, 2.0], [5.0, 0.5, 0.0], [3.0, 1.0, 9.0], [0.0, 0.0, 4.0]])
    signs, labels = np.sign(y), np.array([2, 0, 1, 1])
    many = np.array([[0, 2, -1], [1, -1, 0], [-1, 0, 1], [2, 0, 1]])
    weight = np.array([0.5, 2.0, 0.0])
    for reduction in REDUCTIONS:
        r = {"reduction": reduction}
        for full in (False, True):
            arrays = {"input": x, "target": y}
            cases.append(_case("gaussian_nll_loss", {**arrays, "var": var}, {"full": full, **r}))
            cases.append(_case("gaussian_nll_loss", {**arrays, "var": var[:, 1:2]}, {"full": full, **r}, " one"))
            cases.append(_case("gaussian_nll_loss", {**arrays, "var": var[:, 1]}, {"full": full, **r}, " row"))
            cases.append(_case("poisson_nll_loss", {"input": x}, {"target": counts, "full": full, **r}))
            cases.append(_case("poisson_nll_loss", {"input": np.abs(x)},
                               {"target": counts, "full": full, "log_input": False, **r}))
        cases.append(_case("soft_margin_loss", {"input": 5 * x}, {"target": signs, **r}))
        cases.append(_case("soft_margin_loss", {"input": x[0]}, {"target": signs[0], **r}))
        for w in (None, weight):
            options = {"target": signs * 0.5 + 0.5, "weight": w, **r}
            cases.append(_case("multilabel_soft_margin_loss", {"input": x}, options))
            for p, margin in product((1, 2), (1.0, 0.25)):
                options = {"p": p, "margin": margin, "weight": w, **r}
                cases.append(_case("multi_margin_loss", {"input": x, "target": labels}, options))
        cases.append(_case("multi_margin_loss", {"input": x[0], "target": np.array(2)}, r))
        cases.append(_case("multilabel_margin_loss", {"input": x, "target": many}, r))
        cases.append(_case("multilabel_margin_loss", {"input": x[0], "target": many[1]}, r))
    deep, features = _draw(45, 3, 2, 4), {"input": x[:, :3]}
    for bias, options in product((None, _draw(46, 3)), ({}, {"ignore_index": 1, "label_smoothing": 0.1},
                                                        {"weight": weight, "reduction": "none"})):
        arrays = {**features, "linear_weight": _draw(47, 3, 3), "target": labels}
        arrays |= {} if bias is None else {"linear_bias": bias}
        cases.append(_case("linear_cross_entropy", arrays, options, " bias" * (bias is not None)))
    arrays = {"input": y[:, :3], "linear_weight": deep.reshape(4, 2, 3), "linear_bias": _draw(48, 4, 2)}
    cases.append(_case("linear_cross_entropy", {**arrays, "target": np.array([[0, 3], [1, 1], [2, 0], [3, 3]])}, {},
                       " two"))
    shares = np.abs(_draw(49, 4, 4, 2))
    cases.append(_case("linear_cross_entropy", arrays, {"target": shares / shares.sum(1, keepdims=True)}, " shares"))
    cases.append(_case("linear_cross_entropy", {"input": x[0], "linear_weight": _draw(47, 3, 3),
                                                "target": np.array(2)}, {}))
    for name, arrays, made, target in (
        ("LinearCrossEntropyLoss", {"input": x, "target": np.array([[1, 0], [0, 4], [3, 2], [2, 2]])},
         {"in_features": 3, "num_classes": 5, "out_features": (2,), "bias": True}, None),
        ("GaussianNLLLoss", {"input": x, "target": y, "var": var}, {"full": True, "eps": 0.5}, None),
        ("PoissonNLLLoss", {"input": x}, {"full": True}, counts),
        ("SoftMarginLoss", {"input": x}, {"reduction": "sum"}, signs),
        ("MultiLabelSoftMarginLoss", {"input": x}, {}, signs * 0.5 + 0.5),
        ("MultiLabelMarginLoss", {"input": x, "target": many}, {}, None),
        ("MultiMarginLoss", {"input": x, "target": labels}, {"p": 2, "margin": 0.5}, None),
    ):
        cases.append(Case(f"{name}{made}", name, arrays, {} if target is None else {"target": target}, module=made))
    return cases


def normalisation() -> list[Case]:
    """Running statistics of instances, layers over volumes and without bias."""
    cases = []
    for shape, own, momentum in product(((3, 4, 5), (2, 4, 2, 3), (1, 4, 6)), (True, False), (0.1, 0.7)):
        options = {"running_mean": _draw(51, 4), "running_var": np.abs(_draw(52, 4)) + 0.5, "use_input_stats": own,
                   "momentum": momentum}
        arrays = {"input": 3.0 + _draw(53, *shape), "weight": _draw(54, 4), "bias": _draw(55, 4)}
        cases.append(_case("instance_norm", arrays, options, " affine"))
        cases.append(_case("instance_norm", {"input": arrays["input"]}, options))
    volume = _draw(56, 2, 4, 3, 2, 3)
    for made in ({}, {"affine": True}, {"affine": True, "bias": False}, {"track_running_stats": True}):
        cases.append(module("InstanceNorm3d", volume, **made))
    cases.append(module("InstanceNorm1d", volume[0, :, :, 0, 0], affine=True))
    for made in ({}, {"bias": False}, {"track_running_stats": False}):
        cases.append(module("BatchNorm3d", volume, **{"num_features": 4, **made}))
    cases.append(module("GroupNorm", volume, num_groups=2, num_channels=4, bias=False))
    for case in cases:
        if case.function.startswith("InstanceNorm"):
            case.module["num_features"] = 4
    return cases


def embeddings() -> list[Case]:
    """Gradients divided by the indices' frequencies."""
    cases = []
    for shape, padding in product(((), (7,), (3, 4)), (None, 2)):
        arrays = {"input": np.random.RandomState(61).randint(0, 5, shape), "weight": _draw(62, 6, 3)}
        options = {"padding_idx": padding, "scale_grad_by_freq": True}
        cases.append(_case("embedding", arrays, options, f" {shape}"))
    made = {"num_embeddings": 6, "embedding_dim": 3, "scale_grad_by_freq": True}
    cases.append(Case("Embedding by frequency", "Embedding", {"input": arrays["input"]}, module=made))
    return cases


CASES = [*embeddings(), *activations(), *pooling(), *rearrangements(), *losses(), *normalisation()]
