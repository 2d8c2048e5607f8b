"""Layers, activations and losses as functions, by PyTorch's names and arguments.

``inplace`` is accepted where PyTorch has it and ignored: the memory plan of a recorded program reuses buffers in place
by itself.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from .. import functions
from ..errors import DtypeError, ShapeError
from ..functions import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    avg_pool1d,
    avg_pool2d,
    batch_norm,
    cdist,
    conv1d,
    conv2d,
    conv3d,
    conv_transpose1d,
    conv_transpose2d,
    conv_transpose3d,
    group_norm,
    instance_norm,
    layer_norm,
    max_pool1d,
    max_pool2d,
    pdist,
    rms_norm,
    rotary_embedding,
    scaled_dot_product_attention,
    sinusoidal_positions,
)
from ..functions.ctc import ctc_loss
from ..functions.padding import pad_last as pad
from ..functions.unfold import fold, unfold
from ..functions.upsampling import interpolate
from ..tensor.arrays import foreign_array
from ..tensor.tensor import Tensor
from .activation_functions import (
    celu,
    glu,
    gumbel_softmax,
    hardshrink,
    hardsigmoid,
    hardswish,
    mish,
    prelu,
    rrelu,
    softmin,
    softshrink,
    tanhshrink,
    threshold,
)
from .dropout_functions import alpha_dropout, dropout1d, dropout2d, dropout3d, feature_alpha_dropout
from .embedding_functions import embedding, embedding_bag
from .fractional_pooling import fractional_max_pool2d, fractional_max_pool3d
from .grid_sampling import affine_grid, grid_sample
from .loss_functions import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cross_entropy,
    huber_loss,
    kl_div,
    l1_loss,
    linear_cross_entropy,
    mse_loss,
    nll_loss,
    smooth_l1_loss,
)
from .margin_losses import (
    gaussian_nll_loss,
    multi_margin_loss,
    multilabel_margin_loss,
    multilabel_soft_margin_loss,
    poisson_nll_loss,
    soft_margin_loss,
)
from .metric_losses import (
    contrastive_loss,
    cosine_embedding_loss,
    cosine_similarity,
    hinge_embedding_loss,
    margin_ranking_loss,
    normalize,
    nt_xent_loss,
    pairwise_distance,
    triplet_margin_loss,
    triplet_margin_with_distance_loss,
)
from .pooling_functions import (
    adaptive_avg_pool3d,
    adaptive_max_pool1d,
    adaptive_max_pool2d,
    adaptive_max_pool3d,
    avg_pool3d,
    local_response_norm,
    lp_pool1d,
    lp_pool2d,
    lp_pool3d,
    max_pool3d,
    max_unpool1d,
    max_unpool2d,
    max_unpool3d,
)
from .rearranging import channel_shuffle, pixel_shuffle, pixel_unshuffle
from .shapes import normal_axis, shape_of

__all__ = [
    "bilinear", "binary_cross_entropy", "binary_cross_entropy_with_logits", "cosine_similarity",
    "cross_entropy", "dropout", "elu", "flatten", "gelu", "hardtanh", "huber_loss", "kl_div", "l1_loss",
    "linear_cross_entropy",
    "leaky_relu", "linear", "log_softmax", "logsigmoid", "mse_loss", "nll_loss", "normalize", "one_hot",
    "relu", "relu6", "selu", "sigmoid", "silu", "smooth_l1_loss", "softmax", "softplus", "softsign", "tanh",
    "unflatten",
    "batch_norm", "group_norm", "instance_norm", "layer_norm", "rms_norm", "embedding", "embedding_bag",
    "conv1d", "conv2d",
    "adaptive_avg_pool1d", "adaptive_avg_pool2d", "avg_pool1d", "avg_pool2d", "max_pool1d", "max_pool2d",
    "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "fold", "interpolate", "pad", "unfold",
    "affine_grid", "fractional_max_pool2d", "fractional_max_pool3d", "grid_sample",
    "scaled_dot_product_attention", "rotary_embedding", "sinusoidal_positions",
    "ctc_loss",
    "cdist", "contrastive_loss", "cosine_embedding_loss", "hinge_embedding_loss", "margin_ranking_loss",
    "nt_xent_loss", "pairwise_distance", "pdist", "triplet_margin_loss", "triplet_margin_with_distance_loss",
    "celu", "glu", "gumbel_softmax", "rrelu", "hardshrink", "hardsigmoid", "hardswish", "mish", "prelu", "softmin",
    "softshrink", "tanhshrink",
    "threshold", "alpha_dropout", "dropout1d", "dropout2d", "dropout3d", "feature_alpha_dropout",
    "adaptive_avg_pool3d", "adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d", "avg_pool3d",
    "local_response_norm", "lp_pool1d", "lp_pool2d", "lp_pool3d", "max_pool3d", "max_unpool1d",
    "max_unpool2d", "max_unpool3d",
    "channel_shuffle", "pixel_shuffle", "pixel_unshuffle",
    "gaussian_nll_loss", "multi_margin_loss", "multilabel_margin_loss", "multilabel_soft_margin_loss",
    "poisson_nll_loss", "soft_margin_loss",
]  # fmt: skip

Array: TypeAlias = Tensor | ArrayLike


def linear(input: Array, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``input @ weight.T + bias``: from (..., in) with a weight of shape (out, in) to (..., out)."""
    return functions.linear(input, weight, bias)


def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``y[..., o] = sum_ij input1[..., i] weight[o, i, j] input2[..., j] + bias[o]``.

    Parameters
    ----------
    input1 : Tensor, shape (..., in1)
    input2 : Tensor, shape (..., in2)
    weight : Tensor, shape (out, in1, in2)
    bias : Tensor, shape (out,), optional

    Returns
    -------
    Tensor, shape (..., out)
    """
    first, second, filters = shape_of(input1), shape_of(input2), shape_of(weight)
    if (
        len(filters) != 3
        or not first
        or not second
        or first[:-1] != second[:-1]
        or ((first[-1], second[-1]) != filters[1:])
    ):
        raise ShapeError(
            f"bilinear: inputs of shape {list(first)} and {list(second)} do not go with a weight of {list(filters)}; "
            "expected (..., in1), (..., in2) and (out, in1, in2)"
        )
    out, in1, in2 = filters
    # two passes: weight[o] @ input2, a matrix product, then the inner product with input1
    partial = functions.linear(input2, functions.reshape(weight, (out * in1, in2)))
    partial = functions.reshape(partial, (*first[:-1], out, in1))
    result = functions.sum(partial * functions.expand_dims(input1, -2), axis=-1)
    return result if bias is None else result + bias


def relu(input: Array, inplace: bool = False) -> Tensor:
    """``max(x, 0)``; its derivative at 0 is 0."""
    return functions.relu(input)


def relu6(input: Array, inplace: bool = False) -> Tensor:
    """``min(max(x, 0), 6)``."""
    return functions.hardtanh(input, 0.0, 6.0)


def leaky_relu(input: Array, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """``x`` where positive, else ``negative_slope * x``."""
    return functions.leaky_relu(input, negative_slope)


def elu(input: Array, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """``x`` where positive, else ``alpha * (exp(x) - 1)``."""
    return functions.elu(input, alpha)


def selu(input: Array, inplace: bool = False) -> Tensor:
    """``scale * elu(x, alpha)`` with the constants that keep mean 0 and variance 1 (Klambauer, 2017)."""
    return functions.selu(input)


def silu(input: Array, inplace: bool = False) -> Tensor:
    """``x * sigmoid(x)``, also called swish."""
    return functions.silu(input)


def gelu(input: Array, approximate: str = "none") -> Tensor:
    """``x * Phi(x)`` with the normal distribution function; with ``approximate="tanh"`` its tanh form."""
    return functions.gelu(input, approximate)


def tanh(input: Array) -> Tensor:
    """The hyperbolic tangent."""
    return functions.tanh(input)


def sigmoid(input: Array) -> Tensor:
    """``1 / (1 + exp(-x))``."""
    return functions.sigmoid(input)


def softplus(input: Array, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """``log(1 + exp(beta * x)) / beta``, and ``x`` itself where ``beta * x > threshold``."""
    return functions.softplus(input, beta, threshold)


def hardtanh(input: Array, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    """``min(max(x, min_val), max_val)``; its derivative is 1 strictly between the two, else 0."""
    return functions.hardtanh(input, min_val, max_val)


def softsign(input: Array) -> Tensor:
    """``x / (1 + |x|)``."""
    return input / (functions.abs(input) + 1.0)


def logsigmoid(input: Array) -> Tensor:
    """``log(sigmoid(x))`` without overflow or cancellation."""
    return functions.log_sigmoid(input)


def softmax(input: Array, dim: int | None = None) -> Tensor:
    """``exp(x) / sum(exp(x))`` along `dim`, which has to be given."""
    return functions.softmax(input, axis=_axis(dim, "softmax"))


def log_softmax(input: Array, dim: int | None = None) -> Tensor:
    """``log(softmax(x))`` along `dim`, which has to be given, without overflow or cancellation."""
    return functions.log_softmax(input, axis=_axis(dim, "log_softmax"))


def _axis(dim: int | None, where: str) -> int:
    # PyTorch guesses it from the number of axes, with a warning, and is about to forbid it
    if dim is None:
        raise ShapeError(f"{where}: say along which axis, for instance dim=-1")
    return operator.index(dim)


def dropout(input: Array, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Zero each element with probability `p` and divide the others by ``1 - p``; the identity unless `training`.

    Notes
    -----
    The mask is not stored but regenerated in the reverse walk, from `engine.random.dropout_key`. A recorded step draws
    new masks at every replay.
    """
    return functions.dropout(input, p, training)


def flatten(input: Array, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Merge the axes from `start_dim` to `end_dim`, both included, into one."""
    return functions.flatten(input, start_dim, end_dim)


def unflatten(input: Array, dim: int, sizes: Sequence[int]) -> Tensor:
    """Split axis `dim` into axes of `sizes`; one size may be -1."""
    shape = shape_of(input)
    axis = normal_axis(dim, shape, "unflatten")
    sizes = tuple(operator.index(size) for size in sizes)
    known = math.prod(size for size in sizes if size != -1)
    full = tuple(shape[axis] // max(known, 1) if size == -1 else size for size in sizes)
    if sizes.count(-1) > 1 or any(size < 0 for size in full) or math.prod(full) != shape[axis]:
        raise ShapeError(f"unflatten: axis {dim} of shape {list(shape)} has {shape[axis]} elements, not {sizes}")
    return functions.reshape(input, (*shape[:axis], *full, *shape[axis + 1 :]))


def one_hot(tensor: Array, num_classes: int = -1) -> np.ndarray | Tensor:
    """One-hot encoding along a new last axis.

    Parameters
    ----------
    tensor : integer array or Tensor, shape (...)
    num_classes : int
        The size of the new axis; -1 for the largest index plus 1.

    Returns
    -------
    numpy.ndarray of int64, shape (..., num_classes)
        Integers, as in PyTorch, in an array, for they are never differentiated. In a recording a Tensor of floats, for
        which `num_classes` must be given.
    """
    if isinstance(tensor, Tensor) and tensor.is_symbolic:
        return functions.one_hot_rows(tensor, num_classes)
    indices = tensor.numpy() if isinstance(tensor, Tensor) else foreign_array(tensor)
    if indices.dtype.kind not in "iu":
        raise DtypeError(f"one_hot: indices must be integers, got {indices.dtype}")
    classes = operator.index(num_classes)
    if classes == -1:
        if not indices.size:
            raise ShapeError("one_hot: give num_classes, for there is no index to find it from")
        classes = int(indices.max()) + 1
    if indices.size and (indices.min() < 0 or indices.max() >= classes):
        wrong = int(indices.min()) if indices.min() < 0 else int(indices.max())
        raise ShapeError(f"one_hot: index {wrong} is out of range for {classes} classes")
    return (indices[..., None] == np.arange(classes)).astype(np.int64)
