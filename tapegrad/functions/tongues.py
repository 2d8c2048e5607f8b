"""Names that NumPy and PyTorch both have, and mean differently by: the keyword decides.

``axis=``, ``keepdims=`` and positional arguments of functions, and of methods that NumPy's arrays have, mean NumPy;
``dim=`` and ``keepdim=``, and methods that only PyTorch has, mean PyTorch, wholly. `two_meanings` lists them all.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Any

import numpy as np

from ..errors import ArgumentError, ShapeError
from ..tensor.recording import as_tensor
from ..tensor.tensor import Tensor
from . import distances, layout, pairs, quantiles, reductions, sorting, statistics
from .distances import vector_norm
from .elementwise import equal
from .formulas import maximum, minimum
from .layout import one_axis
from .reductions import Axis, axes_of, mean
from .truth import all as all_over

__all__ = ["max", "median", "min", "nanmedian", "norm", "sort", "split", "squeeze", "std", "std_mean", "var",
           "var_mean"]


class _Unsaid(Enum):
    """The default of ``dim=``, whose None is said."""

    TOKEN = "not given"

    def __repr__(self) -> str:
        return "<not given>"


UNSAID = _Unsaid.TOKEN


def _in_one(name: str, pytorchs: str, **numpys: Any) -> None:
    """Raise where words of both are given in one call."""
    for word, value in numpys.items():
        if value is not None and value is not False:
            raise ArgumentError(f"{name}: {pytorchs}= is PyTorch's and {word}= or its position NumPy's, which mean "
                                f"different things; write dim= and keepdim=, or axis= and keepdims=")


def _without_dim(name: str, keepdim: bool) -> None:
    if keepdim:
        raise ArgumentError(f"{name}: keepdim= is PyTorch's and goes with dim=, which gives values and indices; beside "
                            "axis= or a position write keepdims=")


# ------------------------------------------------------------------ extremes, order, middle


def max(x: Any, axis: Any = None, keepdims: bool = False, *, dim: int | None = None, keepdim: bool = False,
        initial: Any = None, where: Any = None) -> Any:
    """Maximum over axes; NaN if there is one.

    Parameters
    ----------
    x : array_like
    axis : int or tuple of int, optional
        All axes by default. Ties share the gradient equally (see `grad`). A tensor is PyTorch's `maximum` with it.
    keepdims : bool, default False
        Keep the axes with extent 1; `keepdim` with `dim`.
    dim : int, optional
        PyTorch's: the first maximum along an axis, and its index; the gradient flows to that element alone.
    keepdim : bool, default False
        With `dim`.
    initial : array_like, optional
        NumPy's: what the elements are compared with too.
    where : array_like of bool, optional
        NumPy's: the elements that count; with `initial`.

    Returns
    -------
    Tensor, or Pair of values and int64 indices with `dim`

    Examples
    --------
    >>> import tapegrad as tg
    >>> x = tg.tensor([[1.0, 2.0], [4.0, 3.0]])
    >>> tg.max(x, axis=1)
    tensor([2., 4.])
    >>> values, indices = tg.max(x, dim=1)
    >>> indices
    tensor([1, 0])
    """
    if dim is not None:
        _in_one("max", "dim", axis=axis, initial=initial, where=where)
        return pairs.extreme("max", x, dim, keepdim or keepdims)
    _without_dim("max", keepdim)
    return maximum(x, axis) if isinstance(axis, Tensor) else reductions.max(x, axis, keepdims, initial=initial,
                                                                            where=where)


def min(x: Any, axis: Any = None, keepdims: bool = False, *, dim: int | None = None, keepdim: bool = False,
        initial: Any = None, where: Any = None) -> Any:
    """Minimum over axes; NaN if there is one. Arguments and result as of `max`."""
    if dim is not None:
        _in_one("min", "dim", axis=axis, initial=initial, where=where)
        return pairs.extreme("min", x, dim, keepdim or keepdims)
    _without_dim("min", keepdim)
    return minimum(x, axis) if isinstance(axis, Tensor) else reductions.min(x, axis, keepdims, initial=initial,
                                                                            where=where)


def sort(x: Any, axis: int | None = -1, descending: bool = False, *, kind: str | None = None, order: None = None,
         stable: bool | None = None, dim: int | None = None) -> Any:
    """A sorted copy; gradients are permuted back (of ties see `grad`).

    Parameters
    ----------
    x : array_like
    axis : int or None, default -1
        None for the flattened array.
    descending : bool, default False
    kind, order, stable : ignored
        The order is always stable. NaN counts as the maximum.
    dim : int, optional
        PyTorch's: sorted along an axis, with the indices.

    Returns
    -------
    Tensor, or Pair of values and int64 indices with `dim`

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.sort(tg.tensor([3.0, 1.0, 2.0]), descending=True)
    tensor([3., 2., 1.])
    >>> tg.sort(tg.tensor([3.0, 1.0, 2.0]), dim=0).indices
    tensor([1, 2, 0])
    """
    if dim is None:
        return sorting.sort(x, axis, descending)
    _in_one("sort", "dim", axis=None if axis == -1 else axis)
    return pairs.ordered(x, dim, bool(descending))


def median(x: Any, axis: Axis = None, keepdims: bool = False, *, dim: Any = UNSAID, keepdim: bool = False) -> Any:
    """Median over axes, NaN if an element is: the mean of the middle two of an even number.

    Parameters
    ----------
    x : array_like
    axis : int or tuple of int, optional
        All axes by default.
    keepdims : bool, default False
        Keep the axes with extent 1.
    dim : int, optional
        PyTorch's: the lower of the middle two, and its index.
    keepdim : bool, default False
        With `dim`.

    Returns
    -------
    Tensor, or Pair of values and int64 indices with `dim`

    Notes
    -----
    The method ``x.median()``, which NumPy's arrays lack, is PyTorch's too: the lower median of all elements.

    Examples
    --------
    >>> import tapegrad as tg
    >>> x = tg.tensor([4.0, 1.0, 2.0, 3.0])
    >>> tg.median(x), x.median()
    (tensor(2.5), tensor(2.))
    """
    if dim is UNSAID:
        _without_dim("median", keepdim)
        return quantiles.median(x, axis, keepdims)
    _in_one("median", "dim", axis=axis)
    return pairs.lower_median(x, dim, keepdim or keepdims)


def nanmedian(x: Any, axis: Axis = None, keepdims: bool = False, *, dim: Any = UNSAID, keepdim: bool = False) -> Any:
    """Median over axes of what is not NaN, as `median`, of which it has the arguments; NaN where nothing is.

    The method ``x.nanmedian()`` is PyTorch's, the lower median.

    Examples
    --------
    >>> import numpy as np, tapegrad as tg
    >>> tg.nanmedian(tg.tensor([4.0, np.nan, 2.0, 3.0, 1.0]))
    tensor(2.5)
    """
    if dim is UNSAID:
        _without_dim("nanmedian", keepdim)
        return statistics.nanmedian(x, axis, keepdims)
    _in_one("nanmedian", "dim", axis=axis)
    return pairs.nanmedian(x, dim, keepdim or keepdims)


# ------------------------------------------------------------------ spread


def _freedom(name: str, axis: Axis, ddof: float, keepdims: bool, dim: Any, keepdim: Any, unbiased: bool | None,
             correction: float | None) -> tuple[Axis, Axis, float, bool]:
    """`axis`, `dim`, what is subtracted from n, and whether axes are kept."""
    pytorchs = next((word for word, value in (("dim", dim), ("keepdim", keepdim), ("unbiased", unbiased))
                     if value is not UNSAID and value is not None or word == "dim" and value is None), None)
    if pytorchs is None:
        return axis, None, ddof if correction is None else correction, keepdims
    if pytorchs != "unbiased":
        _in_one(name, pytorchs, axis=axis)
    _in_one(name, pytorchs, ddof=None if ddof == 0 else ddof)
    if unbiased is not None and correction is not None:
        raise ArgumentError(f"{name}: give unbiased or correction, not both")
    less = float(unbiased) if unbiased is not None else 1.0 if correction is None else correction
    return axis, None if dim is UNSAID else dim, less, keepdims or keepdim is True


def var(x: Any, axis: Axis = None, ddof: float = 0, keepdims: bool = False, *, dim: Any = UNSAID,
        keepdim: Any = UNSAID, correction: float | None = None, unbiased: bool | None = None, dtype: Any = None,
        where: Any = None, mean: Any = None) -> Tensor:
    """Variance over axes: squared deviations from the mean over ``n - ddof``, in two passes.

    Parameters
    ----------
    x : array_like
    axis : int or tuple of int, optional
        All axes by default.
    ddof : float, default 0
        `correction` is the array API's name for it.
    keepdims : bool, default False
        Keep the axes with extent 1.
    dim : int, tuple of int or None
        PyTorch's: `correction` is 1 then by default, so that the variance is that of a sample.
    keepdim : bool
        As `dim`.
    unbiased : bool, optional
        PyTorch's: ``correction=1`` or 0.
    dtype : dtype, optional
        That `x` is converted to first; of what is recorded only its own.
    where : array_like of bool, optional
        The elements that count; it broadcasts to `x`.
    mean : array_like, optional
        What the deviations are from, with extent 1 along the axes; the mean of the elements by default.

    Returns
    -------
    Tensor
        With as many degrees of freedom as elements, or more, it is inf, NaN where all elements are equal.

    Examples
    --------
    >>> import tapegrad as tg
    >>> x = tg.tensor([1.0, 3.0])
    >>> tg.var(x, axis=0), tg.var(x, dim=0)
    (tensor(1.), tensor(2.))
    """
    axis, dim, less, kept = _freedom("var", axis, ddof, keepdims, dim, keepdim, unbiased, correction)
    return reductions.var(x, axis, less, kept, dim=dim, dtype=dtype, where=where, mean=mean)


def std(x: Any, axis: Axis = None, ddof: float = 0, keepdims: bool = False, *, dim: Any = UNSAID,
        keepdim: Any = UNSAID, correction: float | None = None, unbiased: bool | None = None, dtype: Any = None,
        where: Any = None, mean: Any = None) -> Tensor:
    """Standard deviation over axes, the root of `var`, whose arguments it has; where all are equal its derivatives are
    0 (see `grad`).
    """
    axis, dim, less, kept = _freedom("std", axis, ddof, keepdims, dim, keepdim, unbiased, correction)
    return reductions.std(x, axis, less, kept, dim=dim, dtype=dtype, where=where, mean=mean)


def var_mean(input: Any, dim: Axis = None, unbiased: bool | None = None, keepdim: bool = False, *,
             correction: float | None = None) -> tuple[Tensor, Tensor]:
    """Variance over ``n - 1`` and mean over axes, as PyTorch's; arguments as of `var`."""
    return (var(input, dim=dim, keepdim=keepdim, correction=correction, unbiased=unbiased),
            mean(input, dim=dim, keepdim=keepdim))


def std_mean(input: Any, dim: Axis = None, unbiased: bool | None = None, keepdim: bool = False, *,
             correction: float | None = None) -> tuple[Tensor, Tensor]:
    """Standard deviation over ``n - 1`` and mean over axes, as PyTorch's; arguments as of `var`."""
    return (std(input, dim=dim, keepdim=keepdim, correction=correction, unbiased=unbiased),
            mean(input, dim=dim, keepdim=keepdim))


def norm(x: Any, ord: float | str | None = None, axis: int | Sequence[int] | None = None, keepdims: bool = False, *,
         p: float | str | None = None, dim: Any = UNSAID, keepdim: bool = False) -> Tensor:
    """A norm of vectors or matrices, as ``linalg.norm``; without `ord`, with `p` or `dim`, that of ``torch.norm``.

    Parameters
    ----------
    x : array_like
    ord : float or "fro", optional
        As NumPy's and ``torch.linalg.norm``'s, so also with `dim`. Of vectors any power p, inf, -inf or 0, see
        `vector_norm`. Of matrices "fro", 1 and -1 (largest and smallest column sum of magnitudes), inf and -inf (row
        sum), 2 and -2 (largest and smallest singular value), "nuc" (their sum). By default 2 of vectors, "fro" of
        matrices.
    axis : int or pair of int, optional
        The axis of vectors, or the two of matrices. By default all of `x`, which must have 1 or 2 axes if `ord` is
        given.
    keepdims : bool, default False
        Keep the axes with extent 1.
    p : float, "fro" or "nuc", optional
        PyTorch's: a power of all elements over `dim`, whatever their layout; 2 by default. "nuc" is of matrices.
    dim : int, tuple of int or None
        PyTorch's; all axes by default.
    keepdim : bool, default False
        PyTorch's.

    Returns
    -------
    Tensor
        The gradient where the norm is 0 is 0.

    Notes
    -----
    The method ``x.norm(p, dim)``, which NumPy's arrays lack, is PyTorch's by position too.

    Examples
    --------
    >>> import tapegrad as tg
    >>> x = tg.tensor([[3.0, 4.0], [0.0, 1.0]])
    >>> tg.norm(x, 1), tg.norm(x, p=1)
    (tensor(5.), tensor(8.))
    """
    if p is None and dim is UNSAID and not keepdim:
        return distances.norm(x, ord, axis, keepdims)
    if p is None and ord is not None:  # torch.linalg.norm is NumPy's too
        _in_one("norm", "dim", axis=None if dim is UNSAID else axis)
        return distances.norm(x, ord, axis if dim is UNSAID else dim, keepdims or keepdim)
    _in_one("norm", "p" if p is not None else "keepdim" if dim is UNSAID else "dim", ord=ord, axis=axis)
    power = 2.0 if p is None or p == "fro" else p
    if power == "nuc":
        return distances.norm(x, "nuc", None if dim is UNSAID else dim, keepdim or keepdims)
    if isinstance(power, str):
        raise ArgumentError(f"norm: p {p!r} is not supported; known are numbers, inf, -inf, 'fro' and 'nuc'")
    return vector_norm(x, power, dim=None if dim is UNSAID else dim, keepdims=keepdim or keepdims)


# ------------------------------------------------------------------ layout


def split(x: Any, indices_or_sections: Any = None, axis: int = 0, *, dim: int | None = None,
          split_size: Any = None, split_size_or_sections: Any = None) -> Any:
    """Parts along an axis: a number of equal parts, or the indices of the cuts. Views.

    Parameters
    ----------
    x : array_like
    indices_or_sections : int or sequence of int
    axis : int, default 0
    dim : int, optional
        PyTorch's: a number is the extent of each part, of which the last may be shorter, and a sequence has the extents
        of all parts. `split_size` and `split_size_or_sections` are PyTorch's names of the argument.

    Returns
    -------
    list of Tensor, or tuple of Tensor with `dim`

    Notes
    -----
    The method ``x.split(size)``, which NumPy's arrays lack, is PyTorch's by position too.

    Examples
    --------
    >>> import tapegrad as tg
    >>> x = tg.tensor([1.0, 2.0, 3.0, 4.0])
    >>> tg.split(x, [1, 2])
    [tensor([1.]), tensor([2.]), tensor([3., 4.])]
    >>> tg.split(x, [1, 3], dim=0)
    (tensor([1.]), tensor([2., 3., 4.]))
    """
    sizes = split_size if split_size is not None else split_size_or_sections
    if dim is None and sizes is None:
        return layout.split(x, indices_or_sections, axis)
    _in_one("split", "dim" if sizes is None else "split_size", axis=None if axis == 0 else axis)
    return parts(x, indices_or_sections if sizes is None else sizes, 0 if dim is None else dim)


def parts(x: Any, sizes: Any, dim: int) -> tuple[Tensor, ...]:
    """Parts of given extents along an axis."""
    t = as_tensor(x)
    d = one_axis(dim, t.ndim, "split")
    n = t.shape[d]
    if isinstance(sizes, (int, np.integer)):
        size = int(sizes)
        if size < 0 or size == 0 and n:
            raise ShapeError(f"split: parts of {size} elements of axis {d} of {list(t.shape)}; a size is positive")
        extents = [size] * (n // size) + [n % size] * (n % size > 0) if size and n else [n]
    else:
        extents = [int(s) for s in sizes]
        if sum(extents) != n or any(s < 0 for s in extents):
            raise ShapeError(f"split: sizes {extents} do not add up to the extent {n} of axis {d} of {list(t.shape)}; "
                             "for indices of cuts write axis=")
    edges = np.cumsum([0, *extents]).tolist()
    return tuple(t[(slice(None),) * d + (slice(a, b),)] for a, b in zip(edges, edges[1:]))


def squeeze(x: Any, axis: int | Sequence[int] | None = None, *, dim: int | Sequence[int] | None = None) -> Tensor:
    """Without axes of extent 1: all of them, or the given ones; a view.

    Parameters
    ----------
    x : array_like
    axis : int or tuple of int, optional
        They must have extent 1.
    dim : int or tuple of int, optional
        PyTorch's: those that have another extent stay.

    Examples
    --------
    >>> import tapegrad as tg
    >>> tg.squeeze(tg.tensor([[1.0, 2.0]]), dim=(0, 1)).shape
    (2,)
    """
    if dim is None:
        return layout.squeeze(x, axis)
    _in_one("squeeze", "dim", axis=axis)
    t = as_tensor(x)
    axes = axes_of(None, dim, t.ndim, "squeeze") if dim != () and dim != [] else ()
    return layout.squeeze(t, tuple(d for d in axes if t.shape[d] == 1))


# ------------------------------------------------------------------ methods that only PyTorch's tensors have


def _median(self: Tensor, dim: Any = UNSAID, keepdim: bool = False, **numpys: Any) -> Any:
    if numpys:
        return median(self, *([] if dim is UNSAID else [dim]), **numpys)
    return pairs.median_of_all(self, True) if dim is UNSAID else median(self, dim=dim, keepdim=keepdim)


def _nanmedian(self: Tensor, dim: Any = None, keepdim: bool = False, **numpys: Any) -> Any:
    if numpys:
        return nanmedian(self, *([] if dim is None else [dim]), **numpys)
    return pairs.nanmedian(self, dim, keepdim)


def _norm(self: Tensor, p: float | str | None = "fro", dim: Any = None, keepdim: bool = False, **numpys: Any) -> Tensor:
    if numpys:
        return norm(self, **{**({} if p == "fro" else {"ord": p}), **numpys})
    return norm(self, p=p, dim=dim, keepdim=keepdim)


def _split(self: Tensor, split_size: Any = None, dim: int = 0, **numpys: Any) -> Any:
    if "axis" in numpys or "indices_or_sections" in numpys:
        return split(self, *([] if split_size is None else [split_size]), **numpys)
    return split(self, split_size, dim=dim, **numpys)


def _equal(self: Tensor, other: Any) -> bool:
    """Whether shapes and all elements are equal, as PyTorch's."""
    t = as_tensor(other)
    return self.shape == t.shape and bool(all_over(equal(self, t)))


#: methods with another meaning by position than the function of the name
METHODS = {"equal": _equal, "median": _median, "nanmedian": _nanmedian, "norm": _norm, "split": _split}
