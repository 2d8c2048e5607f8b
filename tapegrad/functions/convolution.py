"""Convolution over one and two axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from ..engine.blas import gemm_address
from ..errors import ArgumentError, ShapeError
from ..ops.convolution import BLOCK, CONV, SCRATCH
from ..recording import lift, record
from ..state import state
from ..tensor import Tensor, constant
from .elementwise import contiguous
from .layout import expand_dims, reshape

__all__ = ["conv1d", "conv2d"]

Extent = int | Sequence[int]

#: the scratch of each recording in the making
_scratch: WeakKeyDictionary[Any, Tensor] = WeakKeyDictionary()

#: multiplications for an output pixel and group up to which the direct loops win
_DIRECT = 32


def extents(name: str, label: str, value: Any, axes: int, least: int) -> tuple[int, ...]:
    """One integer an axis, of at least `least`, from one for all or one each."""
    given = (value,) * axes if isinstance(value, (int, np.integer)) else tuple(value)
    if len(given) == 1:
        given *= axes
    if len(given) != axes or any(isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < least
                                 for n in given):
        raise ArgumentError(f"{name}: {label} must be an integer of at least {least}, or {axes} of them, not {value!r}")
    return tuple(int(n) for n in given)


def _padding(name: str, padding: Any, kernel: Sequence[int], stride: tuple[int, ...],
             dilation: tuple[int, ...]) -> list[tuple[int, int]]:
    """Padding before and after, an axis each."""
    if padding == "valid":
        return [(0, 0)] * len(kernel)
    if padding == "same":
        if any(s != 1 for s in stride):
            raise ArgumentError(f"{name}: padding 'same' needs a stride of 1, not {stride}")
        totals = [d * (k - 1) for d, k in zip(dilation, kernel)]
        return [(t // 2, t - t // 2) for t in totals]
    if isinstance(padding, str):
        raise ArgumentError(f"{name}: padding must be numbers, 'same' or 'valid', not {padding!r}")
    return [(p, p) for p in extents(name, "padding", padding, len(kernel), 0)]


def conv2d(input: Any, weight: Any, bias: Any = None, stride: Extent = 1, padding: Extent | str = 0,
           dilation: Extent = 1, groups: int = 1) -> Tensor:
    """Cross-correlation over the last two axes.

    Parameters
    ----------
    input : array_like, (N, C, H, W) or (C, H, W)
    weight : array_like, (O, C / groups, KH, KW)
    bias : array_like, (O,), optional
    stride, dilation : int or (int, int)
    padding : int, (int, int), "same" or "valid"
        Zeros on both sides of an axis; "same" keeps the extents (stride 1), the odd one behind.
    groups : int
        A divisor of C and O; C for depthwise convolution.

    Returns
    -------
    Tensor, (N, O, HO, WO) or (O, HO, WO)
        ``HO = (H + 2 padding - dilation (KH - 1) - 1) // stride + 1``.
    """
    return _conv("conv2d", 2, input, weight, bias, stride, padding, dilation, groups)


def conv1d(input: Any, weight: Any, bias: Any = None, stride: Extent = 1, padding: Extent | str = 0,
           dilation: Extent = 1, groups: int = 1) -> Tensor:
    """Cross-correlation over the last axis: `conv2d` with a height of 1.

    Parameters
    ----------
    input : array_like, (N, C, L) or (C, L)
    weight : array_like, (O, C / groups, K)
    bias : array_like, (O,), optional
    stride, padding, dilation, groups
        As for `conv2d`.

    Returns
    -------
    Tensor, (N, O, LO) or (O, LO)
    """
    return _conv("conv1d", 1, input, weight, bias, stride, padding, dilation, groups)


def _conv(name: str, axes: int, input: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any,
          groups: int) -> Tensor:
    given = [contiguous(t) for t in lift(*(v for v in (input, weight, bias) if v is not None))]
    x, w = given[:2]
    b = constant(0.0, w.dtype) if bias is None else given[2]
    if x.ndim not in (axes + 1, axes + 2) or w.ndim != axes + 2 or groups < 1 or w.shape[0] % groups \
            or x.shape[-axes - 1] != w.shape[1] * groups:
        raise ShapeError(f"{name}: an input of shape {list(x.shape)} does not fit a weight of {list(w.shape)} "
                         f"(out, in / groups, ...) with {groups} groups")
    if bias is not None and b.shape != w.shape[:1]:
        raise ShapeError(f"{name}: a bias of shape {list(b.shape)} does not fit a weight of {list(w.shape)}")
    steps, gaps = extents(name, "stride", stride, axes, 1), extents(name, "dilation", dilation, axes, 1)
    edges = _padding(name, padding, w.shape[2:], steps, gaps)
    single = x.ndim == axes + 1
    if single:
        x = expand_dims(x, 0)
    out = tuple((n + sum(p) - d * (k - 1) - 1) // s + 1
                for n, p, d, k, s in zip(x.shape[2:], edges, gaps, w.shape[2:], steps))
    if any(n < 1 for n in out) or 0 in w.shape:
        raise ShapeError(f"{name}: an input of shape {list(x.shape)} with padding {padding} is smaller than the kernel "
                         f"{list(w.shape[2:])} with dilation {list(gaps)}")
    shape = (x.shape[0], w.shape[0], *out)
    before = tuple(p for p, _ in edges)
    if axes == 1:
        x, w = expand_dims(x, 2), expand_dims(w, 2)
        steps, gaps, before, out = (1, *steps), (1, *gaps), (0, *before), (1, *out)
    y = _record(x, w, b, bias is not None, steps, before, gaps, out, groups)
    return reshape(y, shape[1:] if single else shape)


def _record(x: Tensor, w: Tensor, b: Tensor, biased: bool, stride: tuple[int, ...], before: tuple[int, ...],
            dilation: tuple[int, ...], out: tuple[int, ...], groups: int) -> Tensor:
    samples, channels, height, width = x.shape
    outputs, inputs, kh, kw = w.shape
    depth, (ho, wo) = inputs * kh * kw, out
    pixel = kh == kw == 1 and stride == (1, 1) and before == (0, 0) and out == (height, width)
    direct = not pixel and depth * (outputs // groups) <= _DIRECT
    rows = min(max(BLOCK // (depth * wo), 1), ho)
    columns = constant(0.0, x.dtype) if pixel or direct else _columns(depth * rows * wo, x, w, b)
    words = (gemm_address(x.dtype), samples, groups, inputs, height, width, outputs // groups, kh, kw, *stride, *before,
             *dilation, ho, wo, int(biased), rows, int(direct), int(pixel))
    return record(CONV, (x, w, b, columns), (samples, outputs, ho, wo), words, dtype=x.dtype)


def _columns(elements: int, *operands: Tensor) -> Tensor:
    """Scratch of at least so many elements: the recording's, or a new one."""
    dtype, capture = operands[0].dtype, state.capture
    if capture is None or not any(t.is_symbolic or t.requires_grad for t in operands):
        size = elements * dtype.itemsize
        return Tensor._made(state.tape(dtype).storage.allocate(size, "conv"), 0, (elements,), (1,), dtype)
    found = _scratch.get(capture)
    if found is None or found.size < elements:
        found = _scratch[capture] = record(SCRATCH, (), (elements,), dtype=dtype, always=True)
    return found
