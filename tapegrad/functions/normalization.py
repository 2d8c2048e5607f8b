"""Layer, RMS, group, instance and batch normalisation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from ..engine.caller import user_line
from ..engine.storage import Changes
from ..engine.threads.team import team_address
from ..engine.writers import Writing
from ..errors import ArgumentError, DtypeError, ShapeError
from ..ops.normalization import BATCH_NORM, BATCH_NORM_FIXED
from ..ops.row_normalization import PART_ELEMENTS, PARTS, ROW_NORM, ROW_NORM_PARTS
from ..tape.state import state
from ..tensor.arrays import FLOAT32, INT64
from ..tensor.recording import lift, lift_to, recorder
from ..tensor.tensor import Tensor, constant, fixed
from .reductions import mean

__all__ = ["batch_norm", "group_norm", "instance_norm", "layer_norm", "rms_norm"]

_NO_COUNT: list[Tensor] = []


def _affine(name: str, x: Any, weight: Any, bias: Any, shape: tuple[int, ...] | None) -> tuple[Tensor, Tensor, Tensor]:
    """Operands of one dtype; absent ones are a 0-d zero."""
    tensors = lift(*(v for v in (x, weight, bias) if v is not None))
    x = tensors.pop(0)
    found = []
    for label, v in (("weight", weight), ("bias", bias)):
        t = constant(0.0, x.dtype) if v is None else tensors.pop(0)
        if v is not None and t.shape != (shape or x.shape[1:2]):
            raise ShapeError(f"{name}: a {label} of shape {list(t.shape)} does not fit an input of {list(x.shape)}; "
                             f"expected {list(shape or x.shape[1:2])}")
        found.append(t)
    return x, found[0], found[1]


def row_norm(x: Tensor, w: Tensor | None, b: Tensor | None, rows: int, groups: int, s: int, eps: float, centred: bool,
             has: tuple[bool, bool]) -> Tensor:
    """`ROW_NORM` of so many rows; `has` says whether there are `w` and `b`."""
    if has[1] and not has[0]:
        raise ArgumentError("a normalisation with a bias needs a weight")
    if x.size == 0:  # gradients of w and b, which are zero
        rows, n, s = 0, (w.size if w is not None else 1) // max(groups, 1), 1
    else:
        n = x.size // rows
    size = x.dtype.itemsize
    parts = min(max(x.size // PART_ELEMENTS, 1), PARTS, max(rows, 1))
    forward, adjoint = (kernel.address(x.dtype) for kernel in ROW_NORM_PARTS)
    return recorder(ROW_NORM)(x.shape, dtype=x.dtype, x=x, weight=w, bias=b, mean=(rows * size, size),
                              rstd=(rows * size, size), rows=rows, n=n, groups=groups, s=s, eps=eps, centred=centred,
                              has_weight=has[0], has_bias=has[1], team=team_address(x.dtype), forward_part=forward,
                              adjoint_part=adjoint, parts=parts)


def _last_axes(name: str, x: Any, normalized_shape: int | Sequence[int]) -> tuple[int, ...]:
    shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    given = tuple(getattr(x, "shape", ()))
    if not shape or given[len(given) - len(shape):] != shape or len(given) < len(shape):
        raise ShapeError(f"{name}: an input of shape {list(given)} does not end in normalized_shape {list(shape)}")
    return shape


def layer_norm(input: Any, normalized_shape: int | Sequence[int], weight: Any = None, bias: Any = None,
               eps: float = 1e-5) -> Tensor:
    """``weight * (x - mean) / sqrt(var + eps) + bias``, mean and variance over the last axes (Ba et al. 2016).

    Parameters
    ----------
    input : array_like, (..., *normalized_shape)
    normalized_shape : int or sequence of int
    weight, bias : array_like, (*normalized_shape), optional
    eps : float

    Returns
    -------
    Tensor, of the shape of `input`
    """
    x = input if isinstance(input, Tensor) else lift(input)[0]
    shape = _last_axes("layer_norm", x, normalized_shape)
    x, w, b = _affine("layer_norm", x, _ones_if(bias, weight, shape), bias, shape)
    return row_norm(x, w, b, x.size // max(math.prod(shape), 1), 1, 1, eps, True, (weight is not None or
                     bias is not None, bias is not None))


def _ones_if(bias: Any, weight: Any, shape: tuple[int, ...]) -> Any:
    """A weight of ones where only a bias is given."""
    return np.ones(shape, np.float32) if weight is None and bias is not None else weight


def rms_norm(input: Any, normalized_shape: int | Sequence[int], weight: Any = None, eps: float | None = None) -> Tensor:
    """``weight * x / sqrt(mean(x^2) + eps)`` over the last axes (Zhang and Sennrich 2019).

    Parameters
    ----------
    input : array_like, (..., *normalized_shape)
    normalized_shape : int or sequence of int
    weight : array_like, (*normalized_shape), optional
    eps : float, optional
        The machine epsilon of the dtype if not given.

    Returns
    -------
    Tensor, of the shape of `input`
    """
    x = input if isinstance(input, Tensor) else lift(input)[0]
    shape = _last_axes("rms_norm", x, normalized_shape)
    x, w, b = _affine("rms_norm", x, weight, None, shape)
    if eps is None:
        eps = 2.0**-23 if x.dtype == FLOAT32 else 2.0**-52
    return row_norm(x, w, b, x.size // max(math.prod(shape), 1), 1, 1, eps, False, (weight is not None, False))


def group_norm(input: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Tensor:
    """Normalise each sample's groups of channels (Wu and He 2018).

    Parameters
    ----------
    input : array_like, (N, C, ...)
    num_groups : int
        A divisor of C.
    weight, bias : array_like, (C,), optional
    eps : float

    Returns
    -------
    Tensor, of the shape of `input`
    """
    x = input if isinstance(input, Tensor) else lift(input)[0]
    if x.ndim < 2 or num_groups < 1 or x.shape[1] % num_groups:
        raise ShapeError(f"group_norm: an input of shape {list(x.shape)} (N, C, ...) has no {num_groups} groups of "
                         "channels")
    shape = x.shape[1:2]
    x, w, b = _affine("group_norm", x, _ones_if(bias, weight, shape), bias, shape)
    return row_norm(x, w, b, x.shape[0] * num_groups, num_groups, math.prod(x.shape[2:]), eps, True,
                     (weight is not None or bias is not None, bias is not None))


def instance_norm(input: Any, running_mean: Tensor | None = None, running_var: Tensor | None = None, weight: Any = None,
                  bias: Any = None, use_input_stats: bool = True, momentum: float = 0.1, eps: float = 1e-5) -> Tensor:
    """Normalise each channel of each sample: `group_norm` with as many groups as channels (Ulyanov et al. 2016).

    Parameters
    ----------
    input : array_like, (N, C, ...)
    running_mean, running_var : Tensor, (C,), or None
        With `use_input_stats` updated in place towards the means over the samples of their means and unbiased
        variances, also by every replay of a recording; else read.
    weight, bias : array_like, (C,), optional
    use_input_stats : bool
        Whether to normalise each sample by its own statistics, or all by the running ones.
    momentum : float
        Weight of the new batch.
    eps : float

    Returns
    -------
    Tensor, of the shape of `input`
    """
    x = input if isinstance(input, Tensor) else lift(input)[0]
    if x.ndim < 3:
        raise ShapeError(f"instance_norm: an input of shape {list(x.shape)}; expected (N, C, ...)")
    tracked = running_mean is not None and running_var is not None
    if not use_input_stats:
        if not tracked:
            raise ArgumentError("instance_norm: without use_input_stats it needs running_mean and running_var")
        return batch_norm(x, running_mean, running_var, weight, bias, False, momentum, eps)
    if math.prod(x.shape[2:]) == 1:
        raise ShapeError(f"instance_norm: an input of shape {list(x.shape)} has one value a channel, whose deviation "
                         "from their mean is 0")
    if tracked:
        # a batch whose mean and variance are those: each sample moved to the common mean, deviations scaled by the
        # root of the ratio of (N S - 1) / N S and (S - 1) / S
        axes, still = tuple(range(2, x.ndim)), x.detach()
        s, n = math.prod(x.shape[2:]), x.size // max(x.shape[1], 1)
        own = mean(still, axis=axes, keepdims=True)
        moved = (still - own) * math.sqrt((n - 1) * s / (n * (s - 1))) + mean(own, axis=0, keepdims=True)
        batch_norm(moved, running_mean, running_var, None, None, True, momentum, eps)
    return group_norm(x, x.shape[1], weight, bias, eps)


def batch_norm(input: Any, running_mean: Tensor | None, running_var: Tensor | None, weight: Any = None,
               bias: Any = None, training: bool = False, momentum: float | None = 0.1, eps: float = 1e-5, *,
               num_batches_tracked: Tensor | None = None, sync: bool = False) -> Tensor:
    """Normalise each channel over the batch (Ioffe and Szegedy 2015).

    Parameters
    ----------
    input : array_like, (N, C, ...)
    running_mean, running_var : Tensor, (C,), or None
        Read unless `training`; in training updated in place towards the batch's mean and unbiased variance, also by
        every replay of a recording.
    weight, bias : array_like, (C,), optional
    training : bool
        Whether to normalise by the batch's statistics.
    momentum : float or None
        Weight of the new batch; None for the mean over all batches (needs `num_batches_tracked`).
    eps : float
    num_batches_tracked : Tensor of int64, (), optional
        Incremented in training.
    sync : bool, default False
        Whether the batch is that of all ranks, in training by a `TrainStep` with ``comm=``; such one refuses others.

    Returns
    -------
    Tensor, of the shape of `input`
    """
    x = input if isinstance(input, Tensor) else lift(input)[0]
    if x.ndim < 2:
        raise ShapeError(f"batch_norm: an input of shape {list(x.shape)}; expected (N, C, ...)")
    samples, channels, s = x.shape[0], x.shape[1], math.prod(x.shape[2:])
    tracked = running_mean is not None and running_var is not None
    if not training and not tracked:
        raise ArgumentError("batch_norm: running_mean and running_var are needed unless training")
    ranks = state.capture.ranks if training and state.capture is not None else 0
    if ranks and not sync:
        raise ArgumentError(f"{user_line()}: a TrainStep with comm= would normalise each rank's rows by their own "
                            "statistics: give batch normalisation sync=True, for the statistics of all ranks (running "
                            "statistics of instance normalisation have none: leave track_running_stats out)")
    if ranks:
        state.capture.wait_for_ranks()
    if training and samples * s == 1 and not ranks:
        raise ShapeError(f"batch_norm: training needs more than one value a channel; the input is {list(x.shape)}")
    if momentum is None and num_batches_tracked is None:
        if training and tracked:
            raise ArgumentError("batch_norm: momentum None needs num_batches_tracked")
    if training and running_mean is not None and not x.is_symbolic and not x.requires_grad:
        x = lift_to(x, running_mean.dtype)
    x, w, b = _affine("batch_norm", x, weight, bias, None)
    kept = []
    for name, t in (("running_mean", running_mean), ("running_var", running_var)):
        if t is None or not tracked:
            kept.append(constant(0.0, x.dtype))
            continue
        if t.shape != (channels,):
            raise ShapeError(f"batch_norm: {name} of shape {list(t.shape)} does not fit {channels} channels")
        if training and t.dtype != x.dtype:
            raise DtypeError(f"batch_norm: the input is {x.dtype}, {name} {t.dtype}; convert the module with .to()")
        if training and (t.is_symbolic or t.requires_grad):
            raise ArgumentError(f"batch_norm: {name} is overwritten in training, so it cannot be an argument of a "
                                "recording, nor require a gradient; make it a tensor of its own (a module's buffer)")
        kept.append(lift_to(t, x.dtype))
    overwritten = []
    if training and tracked:  # by the kernel, also in each replay
        overwritten = [t.buffer for t in kept]
        if num_batches_tracked is not None:
            overwritten.append(num_batches_tracked.buffer)
        for buffer in overwritten:
            Changes.unmark(buffer)
    if num_batches_tracked is None and not _NO_COUNT:
        _NO_COUNT.append(fixed(Tensor(0)))
    count = _NO_COUNT[0] if num_batches_tracked is None else num_batches_tracked
    if count.dtype != INT64:
        raise DtypeError(f"batch_norm: num_batches_tracked must be int64, not {count.dtype}")
    if count.size != 1:
        raise ShapeError(f"batch_norm: num_batches_tracked of shape {list(count.shape)}; expected one number")
    size = x.dtype.itemsize
    mean_stride, var_stride = ((t.strides or (0,))[0] for t in kept)
    run = partial(recorder(BATCH_NORM if training else BATCH_NORM_FIXED), x.shape, dtype=x.dtype, x=x, weight=w,
                  bias=b, running_mean=kept[0], running_var=kept[1], tracked=count, mean=(channels * size, size),
                  rstd=(channels * size, size), sums=(2 * channels * size, size), samples=samples, channels=channels,
                  s=s, eps=eps, momentum=-1.0 if momentum is None else momentum, has_weight=weight is not None,
                  has_bias=bias is not None, by_batch=training, follows=tracked,
                  counts=num_batches_tracked is not None, mean_stride=mean_stride, var_stride=var_stride, ranks=ranks)
    if not overwritten or state.capture is not None:
        return run()
    with Writing(overwritten):
        y = run()
        Changes.overwritten(overwritten)
    return y
