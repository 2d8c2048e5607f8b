"""What the continuous distributions share: where they are taken, in units of their scale, and on which side."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ...functions import less, log, where
from ...tensor.recording import lift
from ...tensor.tensor import Tensor


def standard(x: Any, loc: Any, scale: Any) -> Tensor:
    """``(x - loc) / scale``."""
    return located(x, loc, scale)[0]


def located(x: Any, loc: Any, scale: Any, *shapes: Any) -> list[Tensor]:
    """``(x - loc) / scale``, the scale, and parameters, in one dtype."""
    x, loc, scale, *lifted = lift(x, loc, scale, *shapes)
    return [(x - loc) / scale, scale, *lifted]


def on_positive(density: Callable[[Tensor], Any], z: Tensor, scale: Tensor) -> Tensor:
    """A logarithmic density of what is not negative: minus infinity below 0, scaled."""
    outside = less(z, 0.0)
    return where(outside, -math.inf, density(where(outside, 1.0, z)) - log(scale))


def from_zero(distribution: Callable[[Tensor], Any], z: Tensor, below: float) -> Tensor:
    """A distribution function of what is not negative; constant below 0."""
    outside = less(z, 0.0)
    return where(outside, below, distribution(where(outside, 1.0, z)))
