"""The flat, persistent home of parameters and their gradients."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..engine.storage import ALIGNMENT, address_of
from ..tensor.tensor import Tensor

__all__ = ["ParameterStore", "Segment", "aligned_zeros", "flat_offsets", "home_words", "written_by"]


def aligned_zeros(count: int, dtype: np.dtype) -> np.ndarray:
    """`count` zeros that begin at a multiple of 64 bytes; pages that are never touched cost no memory."""
    raw = np.zeros(count * dtype.itemsize + ALIGNMENT, np.uint8)
    skip = -address_of(raw) % ALIGNMENT
    return raw[skip:skip + count * dtype.itemsize].view(dtype)


def flat_offsets(sizes: Sequence[int], dtype: np.dtype) -> tuple[list[int], int]:
    """Where ranges of `sizes` elements begin, each at a multiple of 64 bytes, and the elements of all.

    An empty one has a place too: a walk may clear one element of it.

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
    """Addresses, in elements, of the value and the gradient of a parameter that has a home."""
    value, size = parameter.buffer, parameter.dtype.itemsize
    assert value is not None
    return value.address // size, parameter.node.home.address // size


def written_by(optimizer: Any) -> frozenset[Any]:
    """What the steps of an optimiser write to: its own words, for which its store stands, and its leaves."""
    leaves = {p.node for group in optimizer.param_groups for p in group["params"]}
    return frozenset({optimizer.store, *leaves} - {None})


@dataclass(eq=False)
class Segment:
    """A flat pair of arrays: the values of some parameters, and their gradients at the same offsets.

    Attributes
    ----------
    values, gradients : ndarray
        1-D, aligned to 64 bytes. What lies between two ranges is zero in both. Where a gradient lists the rows that it
        touches, whoever writes to it here rather than by ``parameter.grad[...] =`` has to call
        ``Changes.mark(parameter.node.home)``.
    offsets, sizes : list of int
        Where each parameter's range begins, and its length, in elements.
    """

    values: np.ndarray
    gradients: np.ndarray
    offsets: list[int]
    sizes: list[int]


@dataclass(eq=False)
class ParameterStore:
    """The flat persistent pair (values, gradients), one range a parameter.

    A parameter that has a home already, in this store or another, stays there: two optimisers over the same
    model share its memory.

    Parameters
    ----------
    dtype : dtype
        float32 or float64: that of every parameter in it.

    Attributes
    ----------
    segments : list of Segment
        One a call of `house` that found homeless parameters; the first holds those that were trainable when the
        optimiser was made.
    """

    dtype: np.dtype
    segments: list[Segment] = field(default_factory=list)

    def house(self, parameters: Iterable[Tensor]) -> None:
        """Give a range to each of these leaves that has none, keeping values and gradients."""
        homeless = [p for p in parameters if p.node.home is None]
        if not homeless:
            return
        sizes = [p.size for p in homeless]
        offsets, total = flat_offsets(sizes, self.dtype)
        segment = Segment(aligned_zeros(total, self.dtype), aligned_zeros(total, self.dtype), offsets, sizes)
        values, gradients = address_of(segment.values), address_of(segment.gradients)
        for parameter, offset in zip(homeless, offsets, strict=True):
            nbytes = offset * self.dtype.itemsize
            parameter.rehome(values + nbytes, gradients + nbytes, segment)
        self.segments.append(segment)

    @property
    def nbytes(self) -> int:
        """Bytes of the values; the gradients take as many again."""
        return sum(segment.values.nbytes for segment in self.segments)
