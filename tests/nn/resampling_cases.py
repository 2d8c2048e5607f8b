"""Up-sampling and padding: calls that are held against PyTorch."""

from __future__ import annotations

from itertools import product

from .parity_cases import Case, _case, _draw

SIGNAL, IMAGE, VOLUME = _draw(1, 2, 3, 5), _draw(2, 1, 2, 4, 5), _draw(3, 1, 2, 3, 4, 2)


def upsampling() -> list[Case]:
    """Sizes and scales, whole and not, larger and smaller, in every mode."""
    cases = []
    for x, size in ((SIGNAL, 12), (SIGNAL, 3), (IMAGE, (6, 13)), (IMAGE, (9, 2)), (VOLUME, (5, 4, 7))):
        cases.append(_case("interpolate", {"input": x}, {"size": size}))
    scales = (2, 1.7, 0.6)
    for x, scale, recompute in product((SIGNAL, IMAGE), scales, (None, True)):
        options = {"scale_factor": scale, "recompute_scale_factor": recompute}
        cases.append(_case("interpolate", {"input": x}, options))
        mode = "linear" if x is SIGNAL else "bilinear"
        for aligned in (None, False, True):
            cases.append(_case("interpolate", {"input": x}, {**options, "mode": mode, "align_corners": aligned}))
    for size, aligned in product((1, 3, (11, 5), (4, 9)), (False, True)):
        options = {"size": size, "mode": "bilinear", "align_corners": aligned}
        cases.append(_case("interpolate", {"input": IMAGE}, options))
    cases.append(_case("interpolate", {"input": IMAGE}, {"scale_factor": (1.5, 3.0)}))
    for layer, x, made in (
        ("Upsample", SIGNAL, {"scale_factor": 3, "mode": "linear", "align_corners": True}),
        ("Upsample", VOLUME, {"size": (3, 8, 5)}),
        ("Upsample", IMAGE, {"scale_factor": 2.5, "mode": "bilinear", "recompute_scale_factor": True}),
        ("UpsamplingNearest2d", IMAGE, {"scale_factor": 3}),
        ("UpsamplingBilinear2d", IMAGE, {"scale_factor": 2}),
        ("UpsamplingBilinear2d", IMAGE, {"size": 7}),
    ):
        cases.append(Case(f"{layer} {len(x.shape)} {made}", layer, {"input": x}, module=made))
    return cases


def padding() -> list[Case]:
    """Every mode over one to three axes, with the most that reflection allows, and widths that cut off."""
    cases = []
    widths = {(3, 5): (2, 3), (2, 3, 5): (4, 1), (2, 4, 5): (2, 0, 1, 3), (2, 2, 4, 5): (0, 4, 3, 0),
              (1, 3, 2, 4): (3, 1, 1, 1, 2, 2), (1, 2, 3, 2, 4): (0, 3, 0, 1, 2, 0)}  # fmt: skip
    for (shape, pad), mode in product(widths.items(), ("constant", "reflect", "replicate", "circular")):
        cases.append(_case("pad", {"input": _draw(11, *shape)}, {"pad": pad, "mode": mode}))
    x = _draw(12, 2, 3, 4, 5)
    for pad in ((2, -1), (-2, 1, -1, -1), (1, 1, 0, 0, 2, 0, 0, 1)):
        cases.append(_case("pad", {"input": x}, {"pad": pad, "value": 1.5}))
    for mode, pad in product(("reflect", "replicate", "circular"), ((-1, 2, 1, -2), (-1, -1, 0, 0))):
        cases.append(_case("pad", {"input": x}, {"pad": pad, "mode": mode}))
    for axes, padding in product((1, 2, 3), (1, None)):
        given = tuple(range(1, 2 * axes + 1)) if padding is None else padding
        x = _draw(13, 2, 3, *((8,) if axes == 1 else (5, 6) if axes == 2 else (8, 5, 3)))
        for layer, made in (("ConstantPad", {"value": -2.5}), ("ZeroPad", {}), ("ReflectionPad", {}),
                            ("ReplicationPad", {}), ("CircularPad", {})):  # fmt: skip
            name = f"{layer}{axes}d"
            cases.append(Case(f"{name}({given})", name, {"input": x}, module={"padding": given, **made}))
    return cases


CASES = [*upsampling(), *padding()]
