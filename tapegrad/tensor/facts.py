"""What a tensor's shape says, in NumPy's and in PyTorch's words."""

from __future__ import annotations

import math
from typing import Any

from .arrays import on_cpu

__all__ = ["Facts", "Size"]


class Size(int):
    """The number of elements, which called is the shape: NumPy's ``x.size`` and PyTorch's ``x.size()``."""

    shape: tuple[int, ...]

    def __call__(self, dim: int | None = None) -> Any:
        """The shape, or the extent of an axis."""
        return self.shape if dim is None else self.shape[dim]

    def __reduce__(self) -> tuple[Any, ...]:
        return int, (int(self),)


class Facts:
    """Attributes that follow from the shape."""

    __slots__ = ()
    shape: Any  # tuple of int

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> Size:
        """Number of elements; called, the shape."""
        size = Size(math.prod(self.shape))
        size.shape = self.shape
        return size

    @property
    def device(self) -> str:
        """Where it is, as PyTorch's users ask: on the CPU."""
        return "cpu"

    def to_device(self, device: str, /, *, stream: None = None) -> Any:
        """The tensor itself, as the array API standard spells it: there is one device, the CPU."""
        on_cpu(device)
        return self

    def dim(self) -> int:
        """`ndim`, as PyTorch spells it."""
        return len(self.shape)

    def numel(self) -> int:
        """Number of elements, as PyTorch spells it."""
        return math.prod(self.shape)

    def nelement(self) -> int:
        """Number of elements, as PyTorch spells it too."""
        return math.prod(self.shape)
