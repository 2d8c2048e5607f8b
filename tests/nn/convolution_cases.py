"""Convolution in three axes, its transpose, padding modes, unfold and fold: calls that are held against PyTorch."""

from __future__ import annotations

from itertools import product

from .parity_cases import Case, _case, _draw


def volumes() -> list[Case]:
    """conv3d over stride, padding, dilation and groups."""
    cases = []
    for stride, padding, dilation, groups in product((1, (2, 1, 2)), (0, (1, 2, 0)), (1, (1, 2, 1)), (1, 2)):
        arrays = {"input": _draw(1, 1, 4, 4, 5, 3), "weight": _draw(2, 6, 4 // groups, 2, 2, 3), "bias": _draw(3, 6)}
        options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        cases.append(_case("conv3d", arrays, options))
    depthwise = {"input": _draw(4, 2, 3, 3, 4, 4), "weight": _draw(5, 3, 1, 2, 3, 2)}
    cases.append(_case("conv3d", depthwise, {"groups": 3, "padding": "same"}, " depthwise"))
    pixel = {"input": _draw(6, 3, 2, 3, 2), "weight": _draw(7, 4, 3, 1, 1, 1), "bias": _draw(8, 4)}
    return [*cases, _case("conv3d", pixel, {}, " pixelwise")]


def transposes() -> list[Case]:
    """conv_transpose1d and conv_transpose2d over stride, padding, output padding, dilation and groups."""
    cases = []
    sizes = {"conv_transpose1d": ((2, 4, 5), (3,)), "conv_transpose2d": ((1, 4, 3, 4), (3, 2))}
    for (function, (shape, kernel)), (stride, behind), padding, dilation, groups in product(
        sizes.items(), ((1, 0), (2, 1), (3, 2)), (0, 1), (1, 2), (1, 2, 4)
    ):
        arrays = {"input": _draw(11, *shape), "weight": _draw(12, 4, 8 // groups, *kernel), "bias": _draw(13, 8)}
        options = {"stride": stride, "padding": padding, "output_padding": behind, "groups": groups,
                   "dilation": dilation}  # fmt: skip
        cases.append(_case(function, arrays, options))
    for function, (shape, kernel) in sizes.items():
        arrays = {"input": _draw(14, *shape[1:]), "weight": _draw(15, 4, 3, *kernel)}
        cases.append(_case(function, arrays, {"dilation": 3, "output_padding": 2}))
        thin = {"input": _draw(16, *shape), "weight": _draw(17, 4, 1, *kernel)}
        cases += [_case(function, thin, {"groups": g, "stride": 2}, f" {g} thin") for g in (1, 4)]
        pixel = {"input": _draw(18, *shape), "weight": _draw(19, 4, 5, *(1,) * len(kernel)), "bias": _draw(20, 5)}
        cases += [_case(function, pixel, {"stride": s}, " pixelwise") for s in (1, 2)]
    return cases


def modules() -> list[Case]:
    """The layers: modes of padding, and the size that a transposed convolution is asked for."""
    cases = []
    shapes = {"Conv1d": (2, 3, 6), "Conv2d": (1, 3, 6, 5), "Conv3d": (1, 3, 4, 5, 4)}
    for (layer, shape), mode in product(shapes.items(), ("zeros", "reflect", "replicate", "circular")):
        for padding in (2, "same"):
            made = {"in_channels": 3, "out_channels": 2, "kernel_size": 4, "padding": padding, "padding_mode": mode}
            name = f"{layer}({mode}, {padding})"
            cases.append(Case(name, layer, {"input": _draw(21, *shape)}, module=made))
    made = {"in_channels": 4, "out_channels": 6, "kernel_size": 3, "stride": 3, "padding": 1, "groups": 2}
    for layer, shape, sizes in (("ConvTranspose1d", (2, 4, 3), ([7], [9])),
                                ("ConvTranspose2d", (2, 4, 2, 3), ([4, 9], [2, 6, 6, 8]))):  # fmt: skip
        for size in sizes:
            cases.append(Case(f"{layer} {size}", layer, {"input": _draw(22, *shape)}, {"output_size": size},
                              module=made))  # fmt: skip
        dilated = {**made, "bias": False, "dilation": 2, "output_padding": 1}
        cases.append(Case(f"{layer} dilated", layer, {"input": _draw(23, *shape[1:])}, module=dilated))
    return cases


def patches() -> list[Case]:
    """unfold and fold over dilation, padding and stride."""
    cases = []
    for dilation, padding, stride in product((1, (2, 1)), (0, (1, 2)), (1, (2, 3))):
        options = {"kernel_size": (2, 3), "dilation": dilation, "padding": padding, "stride": stride}
        cases.append(_case("unfold", {"input": _draw(31, 2, 3, 5, 6)}, options))
        rows, columns = ((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, d, p, s in zip(
            (5, 6), (2, 3), (dilation, dilation) if dilation == 1 else dilation, (0, 0) if padding == 0 else padding,
            (1, 1) if stride == 1 else stride))  # fmt: skip
        cases.append(_case("fold", {"input": _draw(32, 2, 12, rows * columns)}, {"output_size": (5, 6), **options}))
    cases.append(Case("Unfold one sample", "Unfold", {"input": _draw(33, 2, 4, 4)}, module={"kernel_size": 2}))
    made = {"output_size": 4, "kernel_size": 2, "stride": 2}
    return [*cases, Case("Fold one sample", "Fold", {"input": _draw(34, 8, 4)}, module=made)]


CASES = [*volumes(), *transposes(), *modules(), *patches()]
