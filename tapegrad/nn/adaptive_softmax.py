"""Logarithms of a softmax over many classes, of which the rare ones stand in clusters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from .. import functions
from ..errors import ArgumentError, IndexRangeError, ShapeError
from ..tape.state import state
from ..tensor.recording import as_tensor
from ..tensor.tensor import Tensor
from .containers import ModuleList, Sequential
from .linear import Linear
from .module import Module
from .shapes import positive_int

__all__ = ["AdaptiveLogSoftmaxWithLoss"]


class AdaptiveLoss(NamedTuple):
    """What the layer gives: the logarithm of each target's probability, (N,), and minus its mean."""

    output: Tensor
    loss: Tensor


class AdaptiveLogSoftmaxWithLoss(Module):
    """Adaptive softmax (Grave et al., Efficient softmax approximation for GPUs, 2017).

    The head holds the frequent classes and one place for each cluster of rarer ones, whose own layers are narrower.

    Parameters
    ----------
    in_features, n_classes : int
    cutoffs : sequence of int
        The first class of each cluster; classes are sorted, frequent ones first.
    div_value : float, default 4.0
        Cluster k has ``in_features / div_value^(k + 1)`` hidden features.
    head_bias : bool, default False
    dtype : float32 or float64

    Attributes
    ----------
    head : Linear
    tail : ModuleList of Sequential

    Notes
    -----
    Define by run, a cluster is computed for the targets in it only. A recording, whose shapes are fixed, computes every
    cluster for all of the batch.

    Examples
    --------
    >>> import numpy as np, tapegrad as tg
    >>> from tapegrad import nn
    >>> layer = nn.AdaptiveLogSoftmaxWithLoss(16, 1000, [100, 500])
    >>> output, loss = layer(tg.tensor(np.ones((4, 16), np.float32)), np.array([0, 99, 100, 999]))
    >>> output.shape, loss.shape
    ((4,), ())
    """

    def __init__(self, in_features: int, n_classes: int, cutoffs: Sequence[int], div_value: float = 4.0,
                 head_bias: bool = False, dtype: DTypeLike | None = None) -> None:
        super().__init__()
        bounds = [int(c) for c in cutoffs]
        n_classes = positive_int(n_classes, "AdaptiveLogSoftmaxWithLoss: n_classes")
        if not bounds or bounds != sorted(set(bounds)) or bounds != list(cutoffs) or not (
                0 < bounds[0] and bounds[-1] < n_classes):
            raise ArgumentError(f"AdaptiveLogSoftmaxWithLoss: cutoffs {list(cutoffs)}; they are integers that "
                                f"increase, from 1 to n_classes - 1 = {n_classes - 1}")
        self.in_features = positive_int(in_features, "AdaptiveLogSoftmaxWithLoss: in_features")
        self.n_classes, self.cutoffs = n_classes, [*bounds, n_classes]
        self.div_value, self.head_bias = float(div_value), bool(head_bias)
        self.shortlist_size, self.n_clusters = bounds[0], len(bounds)
        self.head_size = self.shortlist_size + self.n_clusters
        widths = [int(self.in_features // self.div_value ** (k + 1)) for k in range(self.n_clusters)]
        if min(widths) < 1:
            raise ArgumentError(f"AdaptiveLogSoftmaxWithLoss: cluster {self.n_clusters - 1} has no hidden features: "
                                f"{in_features} / {div_value}^{self.n_clusters} is below 1; lower div_value")
        self.head = Linear(self.in_features, self.head_size, bias=self.head_bias, dtype=dtype)
        self.tail = ModuleList([
            Sequential(Linear(self.in_features, width, bias=False, dtype=dtype),
                       Linear(width, end - first, bias=False, dtype=dtype))
            for width, first, end in zip(widths, self.cutoffs, self.cutoffs[1:])])

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        self.head.reset_parameters()
        for cluster in self.tail:
            for layer in cluster:
                layer.reset_parameters()

    def forward(self, input: Any, target: Any) -> AdaptiveLoss:
        """Logarithms of the targets' probabilities, and the loss.

        Parameters
        ----------
        input : Tensor or array, (N, in_features) or (in_features,)
        target : integer array_like, (N,) or ()

        Returns
        -------
        output : Tensor, (N,) or ()
        loss : Tensor, ()

        Raises
        ------
        IndexRangeError
            If a target is no class.
        """
        x, index = as_tensor(input), as_tensor(target)
        if index.ndim != x.ndim - 1 or index.ndim > 1 or x.shape[:-1] != index.shape or (
                x.shape[-1] != self.in_features):
            raise ShapeError(f"AdaptiveLogSoftmaxWithLoss: an input of shape {list(x.shape)} and targets of "
                             f"{list(index.shape)}; expected (N, {self.in_features}) and (N,), or without N")
        single = index.ndim == 0
        if single:
            x, index = functions.expand_dims(x, 0), functions.expand_dims(index, 0)
        output = self._of_all(x, index) if state.capture is not None else self._of_each(x, index.numpy())
        loss = -functions.mean(output)
        return AdaptiveLoss(functions.squeeze(output, 0) if single else output, loss)

    def _of_each(self, x: Tensor, index: np.ndarray) -> Tensor:
        """Each cluster for the targets in it."""
        wrong = index[(index < 0) | (index >= self.n_classes)]
        if wrong.size:
            raise IndexRangeError(f"AdaptiveLogSoftmaxWithLoss: target {wrong[0]} is none of {self.n_classes} classes")
        place = self.shortlist_size + np.searchsorted(self.cutoffs, index, side="right") - 1
        head = np.where(index < self.shortlist_size, index, place)
        output = self._chosen(self.head(x), Tensor(head.astype(np.int64)))
        for k, cluster in enumerate(self.tail):
            rows = np.flatnonzero(place == self.shortlist_size + k)
            if rows.size:
                own = Tensor((index[rows] - self.cutoffs[k]).astype(np.int64))
                part = self._chosen(cluster(functions.take(x, rows, 0)), own)
                output = output + functions.scatter_add(np.zeros(len(index), part.dtype), 0, rows, part)
        return output

    def _of_all(self, x: Tensor, index: Tensor) -> Tensor:
        """Every cluster for all of the batch: of targets elsewhere, its first class, which then does not count."""
        head, parts = index, []
        for k, cluster in enumerate(self.tail):
            first, end = self.cutoffs[k], self.cutoffs[k + 1]
            inside = functions.logical_and(functions.greater_equal(index, first), functions.less(index, end))
            head = functions.where(inside, self.shortlist_size + k, head)
            own = self._chosen(cluster(x), functions.where(inside, index - first, 0))
            parts.append(functions.where(inside, own, 0.0))
        # a target that is no class is none of the head's places either
        head = functions.where(functions.greater_equal(index, self.n_classes), self.n_classes + self.head_size, head)
        output = self._chosen(self.head(x), head)
        for part in parts:
            output = output + part
        return output

    @staticmethod
    def _chosen(scores: Tensor, index: Tensor) -> Tensor:
        """The logarithm of the softmax at an index of each row."""
        logs = functions.gather(functions.log_softmax(scores, 1), 1, functions.expand_dims(index, 1))
        return functions.squeeze(logs, 1)

    def log_prob(self, input: Any) -> Tensor:
        """Logarithms of all classes' probabilities: from (N, in_features) to (N, n_classes)."""
        head = functions.log_softmax(self.head(input), 1)
        parts = [head[:, :self.shortlist_size]]
        for k, cluster in enumerate(self.tail):
            at = self.shortlist_size + k
            parts.append(functions.log_softmax(cluster(input), 1) + head[:, at:at + 1])
        return functions.concatenate(parts, 1)

    def predict(self, input: Any) -> Tensor:
        """The most probable class of each row: from (N, in_features) to (N,), of int64."""
        return functions.argmax(self.log_prob(input), 1)
