"""Distances of pairs and metric learning losses, as functions, by PyTorch's names and arguments."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from .. import functions
from ..errors import ArgumentError, ShapeError
from ..functions.apply import broadcast_shape
from ..tensor.recording import lift
from ..tensor.tensor import Tensor
from .loss_functions import reduced, require_reduction
from .shapes import normal_axis, shape_of

__all__ = [
    "contrastive_loss", "cosine_embedding_loss", "cosine_similarity", "hinge_embedding_loss", "margin_ranking_loss",
    "normalize", "nt_xent_loss", "pairwise_distance", "triplet_margin_loss", "triplet_margin_with_distance_loss",
]  # fmt: skip

Array = Tensor | ArrayLike


def normalize(input: Array, p: float = 2.0, dim: int = 1, eps: float = 1e-12) -> Tensor:
    """``x / max(norm(x), eps)`` with the `p`-norm along `dim`; of the shape of `input`."""
    x = lift(input)[0]
    return x / functions.clip(functions.vector_norm(x, p, dim, keepdims=True), eps)


def cosine_similarity(x1: Array, x2: Array, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """Cosine similarity along `dim`: ``x1 . x2 / (max(|x1|, eps) * max(|x2|, eps))``.

    Parameters
    ----------
    x1, x2 : Tensor or array, shapes that broadcast
    dim : int
    eps : float

    Returns
    -------
    Tensor
        The common shape without `dim`. At ``x1 = 0`` the gradient treats its norm as a constant.
    """
    a, b = lift(x1, x2)
    shape = broadcast_shape("cosine_similarity", a.shape, b.shape)
    axis = normal_axis(dim, shape, "cosine_similarity") - len(shape)  # from the end, where broadcasting aligns
    if any(t.ndim < -axis or t.shape[axis] != shape[axis] for t in (a, b)):
        a, b = functions.broadcast_to(a, shape), functions.broadcast_to(b, shape)
    floors = [functions.clip(functions.vector_norm(x, 2.0, axis, keepdims=True), eps) for x in (a, b)]
    return functions.sum((a / floors[0]) * (b / floors[1]), axis=axis)


def pairwise_distance(x1: Array, x2: Array, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Tensor:
    """The `p`-norm of ``x1 - x2 + eps`` along the last axis.

    Parameters
    ----------
    x1, x2 : Tensor or array, shapes that broadcast to (..., D)
    p : float
        See `tapegrad.vector_norm`.
    eps : float
        Avoids a zero gradient where both are equal.
    keepdim : bool

    Returns
    -------
    Tensor, shape (...,), or (..., 1) with `keepdim`
    """
    difference = functions.subtract(x1, x2)
    if eps:
        difference = functions.scale_shift(difference, 1.0, eps)
    return functions.vector_norm(difference, p, -1, keepdims=keepdim)


# ------------------------------------------------------------------ triplets


def triplet_margin_loss(
    anchor: Array, positive: Array, negative: Array, margin: float = 1.0, p: float = 2.0, eps: float = 1e-6,
    swap: bool = False, *, reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """``max(d(a, p) - d(a, n) + margin, 0)`` (Balntas et al. 2016, eq. 2), d being `pairwise_distance`.

    Parameters
    ----------
    anchor, positive, negative : Tensor or array, shape (N, D) or (D,)
    margin : float, positive
    p, eps : float
        Of the distance.
    swap : bool
        Use the distance of negative and positive where it is smaller.
    reduction : {"mean", "sum", "none"}

    Returns
    -------
    Tensor
        A scalar, or with "none" one loss a triplet.
    """
    return _triplets("triplet_margin_loss", anchor, positive, negative,
                     lambda a, b: pairwise_distance(a, b, p, eps), margin, swap, reduction)


def triplet_margin_with_distance_loss(
    anchor: Array, positive: Array, negative: Array, *,
    distance_function: Callable[[Array, Array], Tensor] | None = None, margin: float = 1.0, swap: bool = False,
    reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """`triplet_margin_loss` with any distance of two batches of points; `pairwise_distance` by default."""
    return _triplets("triplet_margin_with_distance_loss", anchor, positive, negative,
                     distance_function or pairwise_distance, margin, swap, reduction)


def _triplets(where: str, anchor: Array, positive: Array, negative: Array, distance: Callable[[Array, Array], Tensor],
              margin: float, swap: bool, reduction: str) -> Tensor:
    require_reduction(reduction, where)
    if not margin > 0:
        raise ArgumentError(f"{where}: margin must be positive, got {margin}")
    shapes = [shape_of(x) for x in (anchor, positive, negative)]
    if len({len(shape) for shape in shapes}) != 1:
        raise ShapeError(f"{where}: anchor, positive and negative must have as many axes; they have shapes "
                         f"{', '.join(str(list(shape)) for shape in shapes)}")
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = functions.minimum(far, distance(positive, negative))
    return reduced(functions.clip(functions.scale_shift(near - far, 1.0, margin), 0.0), reduction)


# ------------------------------------------------------------------ pairs with a label


def cosine_embedding_loss(
    input1: Array, input2: Array, target: Array, margin: float = 0.0, *, reduction: str = "mean"
) -> Tensor:
    """``1 - cos`` of similar pairs, ``max(cos - margin, 0)`` of dissimilar ones.

    Parameters
    ----------
    input1, input2 : Tensor or array, shape (N, D) or (D,)
    target : array, shape (N,) or ()
        1 and -1.
    margin : float
    reduction : {"mean", "sum", "none"}

    Notes
    -----
    As in PyTorch, 1e-12 is added to the squared norms instead of bounding them from below.
    """
    require_reduction(reduction, "cosine_embedding_loss")
    a, b = lift(input1, input2)
    if a.shape != b.shape or a.ndim not in (1, 2) or shape_of(target) != a.shape[:-1]:
        raise ShapeError(f"cosine_embedding_loss: inputs {list(a.shape)} and {list(b.shape)} and target "
                         f"{list(shape_of(target))}; expected (N, D) twice and (N,), or (D,) twice and ()")
    squares = [functions.scale_shift(functions.sum(functions.square(x), axis=-1), 1.0, 1e-12) for x in (a, b)]
    cosine = functions.sum(a * b, axis=-1) / functions.sqrt(squares[0] * squares[1])
    apart = functions.clip(functions.scale_shift(cosine, 1.0, -margin), 0.0)
    return reduced(_by_sign(target, functions.scale_shift(cosine, -1.0, 1.0), apart), reduction)


def _by_sign(target: Array, together: Tensor, apart: Tensor) -> Tensor:
    """`together` where the target is 1, `apart` where it is -1, else 0."""
    return functions.where(functions.equal(target, 1), together,
                           functions.where(functions.equal(target, -1), apart, 0.0))


def margin_ranking_loss(
    input1: Array, input2: Array, target: Array, margin: float = 0.0, *, reduction: str = "mean"
) -> Tensor:
    """``max(-target (input1 - input2) + margin, 0)``: target 1 if the first shall rank higher, -1 if the second.

    Parameters
    ----------
    input1, input2, target : Tensor or array, the same shape
    margin : float
    reduction : {"mean", "sum", "none"}
    """
    require_reduction(reduction, "margin_ranking_loss")
    shapes = [shape_of(x) for x in (input1, input2, target)]
    if len(set(shapes)) != 1:
        raise ShapeError("margin_ranking_loss: shapes " + ", ".join(str(list(s)) for s in shapes)
                         + " of the inputs and the target differ; make them equal")
    a, b, sign = lift(input1, input2, target)
    return reduced(functions.clip(functions.scale_shift(sign * (b - a), 1.0, margin), 0.0), reduction)


def hinge_embedding_loss(input: Array, target: Array, margin: float = 1.0, *, reduction: str = "mean") -> Tensor:
    """The distance `input` of similar pairs (target 1), ``max(margin - input, 0)`` of dissimilar ones (-1).

    Parameters
    ----------
    input, target : Tensor or array, the same shape
    margin : float
    reduction : {"mean", "sum", "none"}

    Notes
    -----
    As in PyTorch, another target counts as both.
    """
    require_reduction(reduction, "hinge_embedding_loss")
    x = lift(input)[0]
    if shape_of(target) != x.shape:
        raise ShapeError(f"hinge_embedding_loss: input has shape {list(x.shape)} and target {list(shape_of(target))}; "
                         "make them equal")
    apart = functions.clip(functions.scale_shift(x, -1.0, margin), 0.0)
    losses = functions.where(functions.not_equal(target, 1), apart, 0.0)
    return reduced(losses + functions.where(functions.not_equal(target, -1), x, 0.0), reduction)


def contrastive_loss(
    input1: Array, input2: Array, target: Array, margin: float = 1.0, p: float = 2.0, eps: float = 1e-6, *,
    reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """``d**2 / 2`` of similar pairs, ``max(margin - d, 0)**2 / 2`` of dissimilar ones (Hadsell et al. 2006, eq. 4).

    Parameters
    ----------
    input1, input2 : Tensor or array, shape (N, D) or (D,)
    target : array, shape (N,) or ()
        The paper's Y: 0 for similar pairs, 1 for dissimilar ones.
    margin : float, positive
    p, eps : float
        Of the distance d, which is `pairwise_distance`.
    reduction : {"mean", "sum", "none"}
    """
    require_reduction(reduction, "contrastive_loss")
    if not margin > 0:
        raise ArgumentError(f"contrastive_loss: margin must be positive, got {margin}")
    distance = pairwise_distance(input1, input2, p, eps)
    if shape_of(target) != distance.shape:
        raise ShapeError(f"contrastive_loss: inputs {list(shape_of(input1))} and {list(shape_of(input2))} make "
                         f"{list(distance.shape)} pairs, the target has shape {list(shape_of(target))}")
    apart = functions.clip(functions.scale_shift(distance, -1.0, margin), 0.0)
    of = functions.where(functions.equal(target, 0), distance, apart)
    return reduced(functions.scale_shift(functions.square(of), 0.5), reduction)


def nt_xent_loss(input1: Array, input2: Array, temperature: float = 0.5, *, reduction: str = "mean") -> Tensor:
    """NT-Xent, normalised temperature-scaled cross-entropy of two views of each example (SimCLR; Chen et al. 2020).

    Parameters
    ----------
    input1, input2 : Tensor or array, shape (N, D)
        Embeddings; row i of both are the two views of example i, and all other rows its negatives.
    temperature : float, positive
    reduction : {"mean", "sum", "none"}

    Returns
    -------
    Tensor
        A scalar, or with "none" shape (2 N,): the losses of `input1`, then of `input2`.
    """
    require_reduction(reduction, "nt_xent_loss")
    if not temperature > 0:
        raise ArgumentError(f"nt_xent_loss: temperature must be positive, got {temperature}")
    a, b = lift(input1, input2)
    if a.ndim != 2 or a.shape != b.shape:
        raise ShapeError(f"nt_xent_loss: inputs {list(a.shape)} and {list(b.shape)}; expected (N, D) twice")
    n = a.shape[0]
    z = normalize(functions.concatenate((a, b)))
    scores = functions.scale_shift(z @ z.T, 1.0 / temperature)
    scores = functions.where(np.eye(2 * n, dtype=bool), -np.inf, scores)  # no comparison with itself
    return functions.cross_entropy_rows(scores, np.roll(np.arange(2 * n), n), reduction=reduction)
