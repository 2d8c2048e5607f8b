"""Discrete Fourier transforms, as in ``numpy.fft``, of complex numbers as pairs: `tapegrad.fft`.

A complex array is a tensor with one more axis, the last, of two: real and imaginary part (PyTorch's
``torch.view_as_real``). Axes are counted without it, as if the elements were complex.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from ..engine.caller import user_line
from ..engine.mathematics.fourier import apart_by, length_of, roots, table_of
from ..engine.threads.team import team_address
from ..errors import ArgumentError, DtypeError, ShapeError
from ..ops.fourier import HALF, PAIRS, PART, REALS, TRANSFORM, Lines
from ..tensor.recording import as_tensor, lift, recorder
from ..tensor.tensor import Tensor, fixed
from .arranging import roll
from .layout import moveaxis, stack
from .padding import pad
from .scratch import scratch

__all__ = ["conj", "fft", "fft2", "fftfreq", "fftn", "fftshift", "hfft", "ifft", "ifft2", "ifftn", "ifftshift", "ihfft",
           "irfft", "irfft2", "irfftn", "multiply", "rfft", "rfft2", "rfftfreq", "rfftn"]

#: bytes of the rows that are transformed at once, with as much again to write to; most rows; operations of a part that
#: a thread takes at least; parts at most
AT_ONCE, LANES, GRAIN, PARTS = 1 << 18, 16, 1 << 17, 8


@lru_cache(maxsize=32)
def _table(kind: int, n: int, dtype: np.dtype) -> tuple[Tensor, int]:
    """The table of a transform, and where its own roots begin."""
    points = n if kind == PAIRS or n % 2 else n // 2
    table = table_of(points)
    own = roots(np.arange(points + 1), n) if points != n else np.zeros(0)
    return fixed(Tensor(np.concatenate([table, own.real, own.imag]).astype(dtype))), len(table)


def transformed(kind: int, x: Tensor, n: int, inverse: bool = False, scale: float = 1.0, inner: float = 1.0) -> Tensor:
    """A transform of `ops.fourier` along the last axis, or the last but that of the pairs; `n` is as NumPy counts."""
    half = (n // 2 + 1, 2)
    lead = x.shape[:-1] if kind == HALF else x.shape[:-2]
    shape = (*lead, *((n, 2) if kind == PAIRS else half if kind == HALF else (n,)))
    rows, size = math.prod(lead), x.dtype.itemsize
    length = length_of(n if kind == PAIRS or n % 2 else n // 2)
    row = 5 * length * max(length.bit_length(), 1) * (1 if kind == PAIRS or n % 2 or length == n // 2 else 2)
    parts = min(max(rows * row // GRAIN, 1), PARTS)
    lanes = max(min(rows, LANES * 4 // size, AT_ONCE // (2 * length * size)), 1)
    while lanes > 4 and -(-rows // lanes) < parts:
        lanes //= 2
    parts = min(parts, max(-(-rows // lanes), 1))
    room = 4 * apart_by(length, lanes)
    table, own = _table(kind, n, x.dtype)
    lines = Lines.words(rows=rows, n=n, inverse=inverse, scale=scale, inner=inner, length=length, roots=own,
                        lanes=lanes, room=room)
    return recorder(TRANSFORM)(shape, dtype=x.dtype, x=x, table=table, scratch=scratch(TRANSFORM, parts * room, x),
                               kind=kind, lines=lines, team=team_address(x.dtype), part=PART.address(x.dtype),
                               parts=parts)


# ------------------------------------------------------------------ arguments


def _pairs(name: str, x: Any, axes: int = 2) -> Tensor:
    """Complex numbers as a tensor of pairs, of at least so many axes."""
    if isinstance(x, np.ndarray) and x.dtype.kind == "c":
        x = np.stack([x.real, x.imag], -1)  # complex64 gives float32
    t = lift(x)[0]
    if t.ndim < axes or t.shape[-1] != 2:
        raise ShapeError(f"{user_line()}: {name}: an input of shape {list(t.shape)}; complex numbers are pairs of real "
                         "and imaginary part along a last axis of two, (..., n, 2); the transform of real numbers is "
                         "rfft, and tg.stack([x, tg.zeros_like(x)], -1) makes pairs of them")
    return t


def _reals(name: str, x: Any) -> Tensor:
    """Real numbers as a tensor."""
    if getattr(getattr(x, "dtype", None), "kind", "") == "c":
        raise DtypeError(f"{user_line()}: {name} is of real numbers, not of {x.dtype}; fft is of complex ones")
    t = lift(x)[0]
    if t.ndim < 1:
        raise ShapeError(f"{user_line()}: {name}: a number has no axis to transform")
    return t


def _axis(name: str, axis: Any, ndim: int) -> int:
    number = operator.index(axis)
    if not -ndim <= number < ndim:
        raise ShapeError(f"{user_line()}: {name}: axis {axis} of an array of {ndim} axes, not counting that of the "
                         "pairs")
    return number % ndim


def _count(name: str, n: Any) -> int:
    number = operator.index(n)
    if number < 1:
        raise ArgumentError(f"{user_line()}: {name}: {number} points; there must be at least 1")
    return number


def _factor(name: str, norm: str | None, n: int, inverse: bool) -> float:
    """The factor of a transform of `n` points."""
    if norm not in (None, "backward", "ortho", "forward"):
        raise ArgumentError(f"{user_line()}: {name}: norm {norm!r}; it is 'backward', 'ortho' or 'forward'")
    if norm == "ortho":
        return 1.0 / math.sqrt(n)
    return 1.0 / n if (norm == "forward") != inverse else 1.0


def _sized(t: Tensor, axis: int, n: int) -> Tensor:
    """The first `n` elements along an axis, followed by zeros if there are fewer."""
    given = t.shape[axis]
    if given > n:
        return t[(slice(None),) * axis + (slice(0, n),)]
    return t if given == n else pad(t, [(0, n - given if d == axis else 0) for d in range(t.ndim)])


def _along(kind: int, name: str, t: Tensor, n: int | None, axis: int, norm: str | None, inverse: bool) -> Tensor:
    """One of the three ops along an axis, counted from the front."""
    pairs = kind != HALF
    last = t.ndim - (2 if pairs else 1)
    given = t.shape[axis]
    count = _count(name, (2 * (given - 1) if kind == REALS else given) if n is None else n)
    t = _sized(t, axis, count // 2 + 1 if kind == REALS else count)
    rows = t if axis == last else moveaxis(t, axis, last)
    y = transformed(kind, rows, count, inverse and kind == PAIRS, _factor(name, norm, count, inverse),
                    2.0 if kind == REALS else 1.0)
    return y if axis == last else moveaxis(y, last, axis)


def _chosen(axis: int, dim: int | None) -> int:
    return axis if dim is None else dim


# ------------------------------------------------------------------ one axis


def fft(a: Any, n: int | None = None, axis: int = -1, norm: str | None = None, *, dim: int | None = None) -> Tensor:
    """The discrete Fourier transform of complex numbers, as ``numpy.fft.fft``.

    Parameters
    ----------
    a : array_like, (..., 2)
        Pairs of real and imaginary part, of at least two axes, or a complex array. Of real numbers see `rfft`.
    n : int, optional
        Number of points: the first `n`, followed by zeros if there are fewer.
    axis : int, default -1
        Counted without the axis of the pairs. `dim` is an alias.
    norm : {"backward", "ortho", "forward"}, default "backward"
        Which is divided by n: the inverse, both by its square root, or this.

    Returns
    -------
    Tensor, (..., 2)
        ``y_k = sum_j a_j e^(-2 pi i j k / n)``, as pairs.

    Raises
    ------
    ShapeError
        If the last axis is not of two.
    ArgumentError
        If there are no points.

    Notes
    -----
    Any length takes ``n log n`` operations. The gradient by the pairs is the conjugate transform of the result's. In
    float64 the error is some 1e-16 of the largest element, in float32 1e-7, as in NumPy.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.fft.fft(tg.tensor([[1.0, 0.0], [2.0, 0.0], [1.0, 0.0], [2.0, 0.0]]))
    tensor([[ 6.,  0.],
            [ 0.,  0.],
            [-2.,  0.],
            [ 0.,  0.]])
    """
    t = _pairs("fft", a)
    return _along(PAIRS, "fft", t, n, _axis("fft", _chosen(axis, dim), t.ndim - 1), norm, False)


def ifft(a: Any, n: int | None = None, axis: int = -1, norm: str | None = None, *, dim: int | None = None) -> Tensor:
    """The inverse of `fft`, ``y_j = sum_k a_k e^(2 pi i j k / n) / n``; arguments as of `fft`."""
    t = _pairs("ifft", a)
    return _along(PAIRS, "ifft", t, n, _axis("ifft", _chosen(axis, dim), t.ndim - 1), norm, True)


def rfft(a: Any, n: int | None = None, axis: int = -1, norm: str | None = None, *, dim: int | None = None) -> Tensor:
    """The first ``n // 2 + 1`` elements of the discrete Fourier transform of real numbers; the others are conjugates.

    Parameters
    ----------
    a : array_like, (..., n)
    n, norm
        See `fft`.
    axis : int, default -1
        `dim` is an alias.

    Returns
    -------
    Tensor, (..., n // 2 + 1, 2)
        Pairs of real and imaginary part.

    Examples
    --------
    The power spectrum of a wave:

    >>> import tapegrad as tg
    >>> spectrum = tg.fft.rfft(tg.tensor([0.0, 1.0, 0.0, -1.0]))
    >>> (spectrum**2).sum(-1)
    tensor([0., 4., 0.])
    """
    t = _reals("rfft", a)
    return _along(HALF, "rfft", t, n, _axis("rfft", _chosen(axis, dim), t.ndim), norm, False)


def irfft(a: Any, n: int | None = None, axis: int = -1, norm: str | None = None, *, dim: int | None = None) -> Tensor:
    """The inverse of `rfft`: real numbers.

    Parameters
    ----------
    a : array_like, (..., m, 2)
        Pairs, or a complex array.
    n : int, optional
        Number of real points, ``2 (m - 1)`` by default. Of ``n // 2 + 1`` pairs, the imaginary part of the first
        counts for nothing, nor for even n that of the last.
    axis, norm
        See `fft`.

    Returns
    -------
    Tensor, (..., n)

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.fft.irfft(tg.fft.rfft(tg.tensor([1.0, 2.0, 3.0])), n=3)
    tensor([1., 2., 3.])
    """
    t = _pairs("irfft", a)
    return _along(REALS, "irfft", t, n, _axis("irfft", _chosen(axis, dim), t.ndim - 1), norm, True)


def hfft(a: Any, n: int | None = None, axis: int = -1, norm: str | None = None, *, dim: int | None = None) -> Tensor:
    """The real transform of a signal of which half is given, for the other half are its conjugates; as `irfft`."""
    t = _pairs("hfft", a)
    d = _axis("hfft", _chosen(axis, dim), t.ndim - 1)
    return _along(REALS, "hfft", conj(t), n, d, norm, False)


def ihfft(a: Any, n: int | None = None, axis: int = -1, norm: str | None = None, *, dim: int | None = None) -> Tensor:
    """The inverse of `hfft`: half of the pairs; as `rfft`."""
    t = _reals("ihfft", a)
    d = _axis("ihfft", _chosen(axis, dim), t.ndim)
    return conj(_along(HALF, "ihfft", t, n, d, norm, True))


# ------------------------------------------------------------------ several axes


def _axes(name: str, s: Any, axes: Any, dim: Any, shape: Sequence[int]) -> list[tuple[int, int | None]]:
    """Axes, counted from the front, with their numbers of points.

    -1 is all that there are in NumPy's tongue; in PyTorch's, of `dim`, what the function takes by default.
    """
    ndim = len(shape)
    given = axes if dim is None else dim
    given = [given] if isinstance(given, (int, np.integer)) else given
    sizes: list[Any] | None = None if s is None else [s] if isinstance(s, (int, np.integer)) else list(s)
    if given is None:
        given = range(ndim) if sizes is None else range(ndim - len(sizes), ndim)
    found = [_axis(name, d, ndim) for d in given]
    if sizes is not None and len(sizes) != len(found):
        raise ArgumentError(f"{user_line()}: {name}: {len(sizes)} numbers of points for {len(found)} axes")
    if not found:
        raise ArgumentError(f"{user_line()}: {name}: no axes")
    if sizes is None:
        return [(d, None) for d in found]
    return [(d, n if n != -1 else shape[d] if dim is None else None) for d, n in zip(found, sizes)]


def _complex_over(name: str, a: Any, s: Any, axes: Any, norm: str | None, dim: Any, inverse: bool) -> Tensor:
    t = _pairs(name, a)
    for d, n in reversed(_axes(name, s, axes, dim, t.shape[:-1])):
        t = _along(PAIRS, name, t, n, d, norm, inverse)
    return t


def fftn(a: Any, s: Sequence[int] | None = None, axes: Sequence[int] | None = None, norm: str | None = None, *,
         dim: Sequence[int] | None = None) -> Tensor:
    """`fft` over several axes.

    Parameters
    ----------
    a : array_like, (..., 2)
        Pairs, or a complex array.
    s : sequence of int, optional
        Numbers of points; -1 for all that there are.
    axes : sequence of int, optional
        All by default, or the last ``len(s)``, counted without that of the pairs. `dim` is an alias.
    norm : {"backward", "ortho", "forward"}, default "backward"

    Returns
    -------
    Tensor, (..., 2)
    """
    return _complex_over("fftn", a, s, axes, norm, dim, False)


def ifftn(a: Any, s: Sequence[int] | None = None, axes: Sequence[int] | None = None, norm: str | None = None, *,
          dim: Sequence[int] | None = None) -> Tensor:
    """The inverse of `fftn`; arguments as there."""
    return _complex_over("ifftn", a, s, axes, norm, dim, True)


def fft2(a: Any, s: Sequence[int] | None = None, axes: Sequence[int] = (-2, -1), norm: str | None = None, *,
         dim: Sequence[int] | None = None) -> Tensor:
    """`fftn` over the last two axes before that of the pairs."""
    return _complex_over("fft2", a, s, axes, norm, dim, False)


def ifft2(a: Any, s: Sequence[int] | None = None, axes: Sequence[int] = (-2, -1), norm: str | None = None, *,
          dim: Sequence[int] | None = None) -> Tensor:
    """`ifftn` over the last two axes before that of the pairs."""
    return _complex_over("ifft2", a, s, axes, norm, dim, True)


def _real_over(name: str, a: Any, s: Any, axes: Any, norm: str | None, dim: Any) -> Tensor:
    t = _reals(name, a)
    *others, (d, n) = _axes(name, s, axes, dim, t.shape)
    t = _along(HALF, name, t, n, d, norm, False)
    for d, n in reversed(others):
        t = _along(PAIRS, name, t, n, d, norm, False)
    return t


def _real_inverse_over(name: str, a: Any, s: Any, axes: Any, norm: str | None, dim: Any) -> Tensor:
    t = _pairs(name, a)
    *others, (last, points) = _axes(name, s, axes, dim, t.shape[:-1])
    for d, n in others:
        t = _along(PAIRS, name, t, n, d, norm, True)
    return _along(REALS, name, t, points, last, norm, True)


def rfftn(a: Any, s: Sequence[int] | None = None, axes: Sequence[int] | None = None, norm: str | None = None, *,
          dim: Sequence[int] | None = None) -> Tensor:
    """`rfft` along the last of some axes, and `fft` along the others.

    Parameters
    ----------
    a : array_like
        Real numbers.
    s, axes, norm
        See `fftn`.

    Returns
    -------
    Tensor, (..., 2)
        Pairs: half of the points along the last of the axes.
    """
    return _real_over("rfftn", a, s, axes, norm, dim)


def irfftn(a: Any, s: Sequence[int] | None = None, axes: Sequence[int] | None = None, norm: str | None = None, *,
           dim: Sequence[int] | None = None) -> Tensor:
    """The inverse of `rfftn`: real numbers from pairs; the last of `s` as `n` of `irfft`.

    There -1 is the number of pairs, as in NumPy; with `dim` it is twice that less two, as in PyTorch.
    """
    return _real_inverse_over("irfftn", a, s, axes, norm, dim)


def rfft2(a: Any, s: Sequence[int] | None = None, axes: Sequence[int] = (-2, -1), norm: str | None = None, *,
          dim: Sequence[int] | None = None) -> Tensor:
    """`rfftn` over the last two axes."""
    return _real_over("rfft2", a, s, axes, norm, dim)


def irfft2(a: Any, s: Sequence[int] | None = None, axes: Sequence[int] = (-2, -1), norm: str | None = None, *,
           dim: Sequence[int] | None = None) -> Tensor:
    """`irfftn` over the last two axes before that of the pairs."""
    return _real_inverse_over("irfft2", a, s, axes, norm, dim)


# ------------------------------------------------------------------ arithmetic of pairs


def multiply(a: Any, b: Any) -> Tensor:
    """The products of complex numbers, elementwise and broadcast; ``a * b`` of pairs is another thing.

    Parameters
    ----------
    a, b : array_like, (..., 2)
        Pairs, or complex arrays.

    Returns
    -------
    Tensor, (..., 2)

    Examples
    --------
    A circular convolution:

    >>> import tapegrad as tg
    >>> x, h = tg.tensor([1.0, 2.0, 3.0, 4.0]), tg.tensor([1.0, -1.0, 0.0, 0.0])
    >>> tg.fft.irfft(tg.fft.multiply(tg.fft.rfft(x), tg.fft.rfft(h)))
    tensor([-3.,  1.,  1.,  1.])
    """
    u, v = lift(_pairs("multiply", a, 1), _pairs("multiply", b, 1))
    ar, ai, br, bi = u[..., 0], u[..., 1], v[..., 0], v[..., 1]
    return stack([ar * br - ai * bi, ar * bi + ai * br], -1)


def conj(a: Any) -> Tensor:
    """The conjugates of pairs."""
    t = _pairs("conj", a, 1)
    return t * np.array([1.0, -1.0], t.dtype)


# ------------------------------------------------------------------ frequencies


def fftfreq(n: int, d: float = 1.0) -> Tensor:
    """The frequencies of the points of `fft`, in cycles per unit of the sample spacing `d`; float32.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.fft.fftfreq(4)
    tensor([ 0.  ,  0.25, -0.5 , -0.25])
    """
    return Tensor(np.fft.fftfreq(_count("fftfreq", n), d), np.float32)


def rfftfreq(n: int, d: float = 1.0) -> Tensor:
    """The frequencies of the points of `rfft`; as `fftfreq`."""
    return Tensor(np.fft.rfftfreq(_count("rfftfreq", n), d), np.float32)


def _shifted(name: str, x: Any, axes: Any, dim: Any, turns: Any) -> Tensor:
    t = as_tensor(x)
    given = [d for d, _ in _axes(name, None, axes, dim, t.shape)]
    return roll(t, tuple(turns(t.shape[d]) for d in given), tuple(given))


def fftshift(x: Any, axes: int | Sequence[int] | None = None, *, dim: int | Sequence[int] | None = None) -> Tensor:
    """The frequency 0 in the middle, as ``numpy.fft.fftshift``: over all axes by default.

    Here the axis of pairs counts as any other: give `axes`, of which that is -1.
    """
    return _shifted("fftshift", x, axes, dim, lambda n: n // 2)


def ifftshift(x: Any, axes: int | Sequence[int] | None = None, *, dim: int | Sequence[int] | None = None) -> Tensor:
    """The inverse of `fftshift`."""
    return _shifted("ifftshift", x, axes, dim, lambda n: -(n // 2))
