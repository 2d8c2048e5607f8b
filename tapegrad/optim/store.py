"""Flat, persistent memory of parameters and their gradients."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..engine.storage import ALIGNMENT, address_of
from ..tensor.tensor import Tensor

__all__ = ["ParameterStore", "Segment", "aligned_zeros", "flat_offsets", "home_words", "house", "written_by"]


def aligned_zeros(count: int, dtype: np.dtype) -> np.ndarray:
    """`count` zeros, aligned to 64 bytes; untouched pages take no memory."""
    raw = np.zeros(count * dtype.itemsize + ALIGNMENT, np.uint8)
    skip = -address_of(raw) % ALIGNMENT
    return raw[skip:skip + count * dtype.itemsize].view(dtype)


def flat_offsets(sizes: Sequence[int], dtype: np.dtype) -> tuple[list[int], int]:
    """Offsets of ranges of `sizes` elements, each aligned to 64 bytes, and the elements of all.

    An empty range takes space too: a walk may clear one element of it.

    >>> flat_offsets([3, 20, 1], np.dtype(np.float32))
    ([0, 16, 48], 64)
    """
    line = ALIGNMENT // dtype.itemsize
    offsets, total = [], 0
    for size in sizes:
        offsets.append(total)
        total += -(-max(size, 1) // line) * line
    return offsets, total


def home_words(parameter: Tensor) -> tuple[int, int]:
    """Addresses, in elements, of the value and the gradient of a parameter in a store."""
    value, size = parameter.buffer, parameter.dtype.itemsize
    assert value is not None
    return value.address // size, parameter.node.home.address // size


def written_by(optimizer: Any) -> frozenset[Any]:
    """What an optimiser's steps write to: its own words, represented by its store, and its leaves."""
    leaves = {p.node for group in optimizer.param_groups for p in group["params"]}
    return frozenset({optimizer.store, *leaves} - {None})


@dataclass(eq=False)
class Segment:
    """A flat pair of arrays: the values of some parameters, and their gradients at the same offsets.

    Attributes
    ----------
    values, gradients : ndarray
        1-D, aligned to 64 bytes; padding between ranges is zero in both. To write to a row-sparse gradient here, rather
        than by ``parameter.grad[...] =``, call ``Changes.mark(parameter.node.home)``.
    beside : ndarray
        16 float32 or 8 float64 right behind the gradients, for what is summed over processes together with them.
    offsets, sizes : list of int
        Start of each parameter's range, and its length, in elements.
    """

    values: np.ndarray
    gradients: np.ndarray
    beside: np.ndarray
    offsets: list[int]
    sizes: list[int]


@dataclass(eq=False)
class ParameterStore:
    """Flat persistent pairs of values and gradients, with a range for each parameter.

    A parameter that is in a store already, this or another, stays there: two optimisers over the same model share its
    memory.

    Parameters
    ----------
    dtype : dtype
        float32 or float64, of all parameters.

    Attributes
    ----------
    segments : list of Segment
        One for each call of `house` with new parameters; the first holds those that were trainable when the optimiser
        was made.
    """

    dtype: np.dtype
    segments: list[Segment] = field(default_factory=list)

    def house(self, parameters: Iterable[Tensor]) -> None:
        """Move these leaves, values and gradients, into a segment, unless they are in a store already."""
        homeless = [p for p in parameters if p.node.home is None]
        if not homeless:
            return
        sizes = [p.numel() for p in homeless]
        offsets, total = flat_offsets(sizes, self.dtype)
        both = aligned_zeros(total + ALIGNMENT // self.dtype.itemsize, self.dtype)
        segment = Segment(aligned_zeros(total, self.dtype), both[:total], both[total:], offsets, sizes)
        values, gradients = address_of(segment.values), address_of(segment.gradients)
        for parameter, offset in zip(homeless, offsets, strict=True):
            nbytes = offset * self.dtype.itemsize
            parameter.rehome(values + nbytes, gradients + nbytes, segment)
        self.segments.append(segment)

    @property
    def nbytes(self) -> int:
        """Bytes of the values; the gradients take as many again."""
        return sum(segment.values.nbytes for segment in self.segments)


def house(store: ParameterStore, tensors: Iterable[Tensor]) -> None:
    """Move tensors into a store for good, frozen ones too."""
    kept = list(tensors)
    for tensor in kept:
        if tensor.node is None:
            tensor.requires_grad_(True).requires_grad_(False)  # a leaf from now on
    store.house(kept)
